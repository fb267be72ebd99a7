/* SPDX-License-Identifier: Apache-2.0 */

#include "collect/test-messages.h"

static void keep_all(const Scene *scene, Buffer *kept) {
    collect_keep_begin(kept);
    collect_keep(scene->collector, kept);
    collect_keep_end(kept);
    assert_false(kept->failed);
}

/* a collector that has heard templates, samplers, names and a start */
static void hear(Scene *s) {
    begin(s, 0);
    ipfix(s, 0);
    put_data(s, 3, "0104 0003 0001 012e 0004 0131 0004 0132 0004"); /* 302 | 305 306 */
    put_data(s, 260, "00000001 00000001 00000063");
    put_data(s, 3, "0105 0003 0001 000a 0004 0052 ffff 00a0 0008"); /* 10 | 82 160 */
    put_data(s, 261, "00000003 04 65746830 0000018bcfe56800");
    TEMPLATE(s, 256, E(302, 4), E(10, 4), E(22, 4), P(7, 0xffff, 4242));
    send(s);
    v9(s, 0);
    TEMPLATE(s, 256, E(1, 4), E(22, 4));
    put_data(s, 1, "0106 0004 0008 0001 0004 0030 0001 0032 0004 0000"); /* system | 48 50 */
    send(s);
}

/* a restart: the same exporter's data is read at once, and as before */
static void test_over_a_restart(void **state) {
    (void)state;
    Scene s;
    Buffer kept = {0};
    Buffer again = {0};
    hear(&s);
    keep_all(&s, &kept);
    end(&s);
    begin(&s, 0);
    s.source.port = 9; /* another source port */
    const uint64_t now_ms = s.source.received_ms + 1000;
    assert_int_equal(collect_recall(s.collector, kept.bytes, kept.size, now_ms, NULL, NULL), 0);
    assert_int_equal(count(&s, COLLECT_COUNT_TEMPLATES), 0);
    assert_int_equal(count(&s, COLLECT_COUNT_EXPORTERS), 1);
    keep_all(&s, &again);
    assert_int_equal(again.size, kept.size);
    ipfix(&s, 0);
    put_data(&s, 256, "00000001 00000003 000003e8 02 ffff");
    send(&s);
    v9(&s, 0);
    put_data(&s, 256, "0000002a 0036ee80");
    put_data(&s, 262, "00000000 01 0000000a 000000");
    send(&s);
    assert_int_equal(s.n, 2);
    assert_int_equal(s.records[0].flow.sampling, 100);
    assert_string_equal(s.names[0], "eth0");
    assert_int_equal(s.records[0].flow.first_ms, UINT64_C(1000) * NOW_S + 1000);
    assert_int_equal(s.records[1].flow.octets, 42);
    assert_int_equal(s.records[1].flow.first_ms, UINT64_C(1000) * NOW_S);
    assert_int_equal(count(&s, COLLECT_COUNT_HELD), 0);
    assert_int_equal(count(&s, COLLECT_COUNT_OPTIONS), 1);
    ipfix(&s, 1); /* what is told anew takes the place of what was kept */
    TEMPLATE(&s, 256, E(1, 2));
    put_data(&s, 256, "0007");
    send(&s);
    assert_int_equal(s.records[2].flow.octets, 7);
    buffer_deinit(&kept);
    buffer_deinit(&again);
    end(&s);
}

/* a day after it was told last it is not taken */
static void test_what_is_old_is_left(void **state) {
    (void)state;
    Scene s;
    Buffer kept = {0};
    hear(&s);
    const uint64_t told_ms = s.source.received_ms;
    s.source.received_ms += 10000; /* v9's is told again: it counts from then */
    v9(&s, 1);
    TEMPLATE(&s, 256, E(1, 4), E(22, 4));
    send(&s);
    keep_all(&s, &kept);
    end(&s);
    begin(&s, 0);
    assert_int_equal(collect_recall(s.collector, kept.bytes, kept.size,
                                    told_ms + COLLECT_KEPT_MS + 1, NULL, NULL),
                     0);
    ipfix(&s, 0);
    put_data(&s, 256, "00000001 00000003 000003e8 02 ffff");
    send(&s);
    assert_int_equal(s.n, 0);
    v9(&s, 0);
    put_data(&s, 256, "0000002a 0036ee80");
    send(&s);
    assert_int_equal(s.n, 1);
    buffer_deinit(&kept);
    end(&s);
}

/* a byte of it is another, or the end is missing: nothing is taken */
static void test_what_is_damaged_is_left(void **state) {
    (void)state;
    Scene s;
    Buffer kept = {0};
    hear(&s);
    keep_all(&s, &kept);
    end(&s);
    begin(&s, 0);
    for (size_t i = 0; i < kept.size; i++) {
        kept.bytes[i] ^= 0x10;
        assert_int_equal(collect_recall(s.collector, kept.bytes, kept.size, 0, NULL, NULL),
                         COLLECT_E_DAMAGED);
        kept.bytes[i] ^= 0x10;
        assert_int_equal(collect_recall(s.collector, kept.bytes, i, 0, NULL, NULL),
                         COLLECT_E_DAMAGED);
    }
    assert_int_equal(count(&s, COLLECT_COUNT_EXPORTERS), 0);
    buffer_deinit(&kept);
    end(&s);
}

static bool is_not(void *userdata, const NetAddress *exporter) {
    return !net_address_equal(exporter, userdata);
}

/* several collectors in one, and each takes its own; a connection's templates end with it */
static void test_whose_it_is(void **state) {
    (void)state;
    Scene s;
    Buffer kept = {0};
    NetAddress second = {.family = 6, .bytes = {0x20, 1, 0xd, 0xb8}};
    hear(&s);
    s.source.stream = 5;
    ipfix(&s, 0);
    TEMPLATE(&s, 300, E(1, 4));
    send(&s);
    s.source.stream = 0;
    s.source.address = second;
    ipfix(&s, 0);
    TEMPLATE(&s, 301, E(1, 4));
    send(&s);
    keep_all(&s, &kept);
    end(&s);
    begin(&s, 0);
    assert_int_equal(collect_recall(s.collector, kept.bytes, kept.size, 0, is_not, &second), 0);
    assert_int_equal(count(&s, COLLECT_COUNT_EXPORTERS), 1);
    ipfix(&s, 0);
    put_data(&s, 300, "00000001");
    send(&s);
    s.source.address = second;
    ipfix(&s, 0);
    put_data(&s, 301, "00000001");
    send(&s);
    assert_int_equal(s.n, 0);
    assert_int_equal(count(&s, COLLECT_COUNT_HELD), 2);
    buffer_deinit(&kept);
    end(&s);
}

static void test_changes_are_told(void **state) {
    (void)state;
    Scene s;
    hear(&s);
    const uint64_t changes = collect_changes(s.collector);
    assert_true(changes > 0);
    ipfix(&s, 0); /* the same again is none */
    put_data(&s, 260, "00000001 00000001 00000063");
    put_data(&s, 261, "00000003 04 65746830 0000018bcfe56800");
    TEMPLATE(&s, 256, E(302, 4), E(10, 4), E(22, 4), P(7, 0xffff, 4242));
    send(&s);
    assert_int_equal(collect_changes(s.collector), changes);
    const char *const news[] = {"00000001 00000001 00000064", "00000002 00000001 00000063"};
    for (size_t i = 0; i < 2; i++) {
        ipfix(&s, 0);
        put_data(&s, 260, news[i]);
        send(&s);
        assert_int_equal(collect_changes(s.collector), changes + 1 + i);
    }
    end(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_over_a_restart),          cmocka_unit_test(test_what_is_old_is_left),
        cmocka_unit_test(test_what_is_damaged_is_left), cmocka_unit_test(test_whose_it_is),
        cmocka_unit_test(test_changes_are_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
