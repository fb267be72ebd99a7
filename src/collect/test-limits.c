/* SPDX-License-Identifier: Apache-2.0 */

/* What exporters can make the collector keep: each kind has a bound, and one that is reached is
 * counted, hurts nobody else, and is free again when what took the room has gone. */

#include "collect/state.h"
#include "collect/test-messages.h"

static void put_domain(Scene *s, uint32_t domain) {
    buffer_patch_u16(&s->message, 12, (uint16_t)(domain >> 16));
    buffer_patch_u16(&s->message, 14, (uint16_t)domain);
}

static void set_exporter(Scene *s, uint32_t number) {
    s->source.address = (NetAddress){
        .family = 4,
        .bytes = {10, (uint8_t)(number >> 16), (uint8_t)(number >> 8), (uint8_t)number}};
}

static void put_wide_template(Scene *s, uint16_t id, size_t fields) {
    static PlanField wide[PLAN_FIELDS_MAX];
    for (size_t i = 0; i < fields; i++)
        wide[i] = (PlanField){.element = (uint16_t)(i % 2 ? 2 : 1), .length = 4};
    put_template(s, id, wide, fields);
}

static size_t learnt(const Scene *s) {
    assert_true(s->collector->learnt_bytes <= s->collector->config.learnt_bytes);
    return s->collector->learnt_bytes;
}

static void test_templates(void **state) {
    (void)state;
    Scene s;
    begin(&s, 0);
    uint32_t domain = 0;
    while (count(&s, COLLECT_MALFORMED_LIMIT) == 0) {
        ipfix(&s, 0);
        put_domain(&s, ++domain);
        put_wide_template(&s, 256, 300);
        send(&s);
        (void)learnt(&s);
        assert_true(domain < COLLECT_DOMAINS_MAX);
    }
    const size_t templates = s.collector->n_templates;
    assert_true(templates > 1000 && templates < COLLECT_TEMPLATES_MAX);
    assert_true(learnt(&s) > COLLECT_LEARNT_BYTES - 64 * 1024);
    ipfix(&s, 0); /* one that is known may be told again, or become smaller */
    put_domain(&s, 1);
    put_wide_template(&s, 256, 300);
    send(&s);
    ipfix(&s, 0);
    put_domain(&s, 1);
    put_wide_template(&s, 256, 10);
    send(&s);
    assert_int_equal(count(&s, COLLECT_MALFORMED_LIMIT), 1);
    ipfix(&s, 0); /* and one that is withdrawn makes room */
    put_domain(&s, 2);
    put_data(&s, 2, "0100 0000");
    send(&s);
    ipfix(&s, 0);
    put_domain(&s, 3);
    put_wide_template(&s, 257, 300);
    send(&s);
    assert_int_equal(count(&s, COLLECT_MALFORMED_LIMIT), 1);
    assert_int_equal(s.collector->n_templates, templates);
    /* nothing is left of an exporter that is gone */
    state_forget(s.collector, s.collector->latest);
    assert_int_equal(learnt(&s), 0);
    assert_int_equal(s.collector->n_templates + s.collector->n_domains, 0);
    end(&s);
}

static void count_name(void *userdata, const CollectName *name) {
    size_t *n = userdata;
    *n += name->size > 0;
}

static void test_names(void **state) {
    (void)state;
    Scene s;
    begin(&s, 0);
    char longest[NAME_TEXT_MAX];
    memset(longest, 'x', sizeof(longest));
    for (uint32_t i = 0; i < COLLECT_NAMES_MAX + 5000; i++) {
        if (i % 500 == 0) {
            ipfix(&s, 0);
            put_domain(&s, i);
            put_data(&s, 3, "0136 0002 0001 000a 0004 0052 ffff");
            send(&s);
        }
        ipfix(&s, 0);
        put_domain(&s, i - i % 500);
        open_set(&s, 0x136);
        buffer_put_u32(&s.message, i);
        buffer_put_u8(&s.message, NAME_TEXT_MAX);
        buffer_put_u16(&s.message, NAME_TEXT_MAX);
        buffer_put(&s.message, longest, sizeof(longest));
        close_set(&s);
        send(&s);
        (void)learnt(&s);
    }
    size_t n = 0;
    collector_each_name(s.collector, count_name, &n);
    assert_int_equal(n, COLLECT_NAMES_MAX);
    state_forget(s.collector, s.collector->latest);
    assert_int_equal(learnt(&s), 0);
    assert_int_equal(s.collector->n_names, 0);
    end(&s);
}

/* sets of hardly any bytes take room, too */
static void test_held_sets(void **state) {
    (void)state;
    Scene s;
    begin(&s, 0);
    uint64_t sent = 0;
    for (uint32_t exporter = 0; exporter < 5; exporter++) {
        set_exporter(&s, exporter);
        for (uint32_t i = 0; i < 400; i++) {
            ipfix(&s, 0);
            for (uint32_t k = 0; k < 100; k++, sent++)
                put_data(&s, (uint16_t)(256 + k), "00");
            send(&s);
        }
        const uint64_t held = (exporter + 1) * (uint64_t)COLLECT_HELD_EXPORTER_SETS;
        assert_int_equal(count(&s, COLLECT_COUNT_HELD),
                         held < COLLECT_HELD_SETS ? held : COLLECT_HELD_SETS);
    }
    assert_int_equal(count(&s, COLLECT_COUNT_HELD) + count(&s, COLLECT_COUNT_HELD_FULL), sent);
    collector_finish(s.collector);
    assert_int_equal(count(&s, COLLECT_COUNT_HELD), 0);
    assert_int_equal(count(&s, COLLECT_COUNT_HELD_BYTES), 0);
    assert_int_equal(count(&s, COLLECT_COUNT_NO_TEMPLATE), COLLECT_HELD_SETS);
    end(&s);
}

/* of too many exporters those go that were silent longest, with all that they had said */
static void test_exporters(void **state) {
    (void)state;
    Scene s;
    begin(&s, 0);
    enum { EXPORTERS = 20000 };
    for (uint32_t i = 0; i < EXPORTERS; i++) {
        set_exporter(&s, i);
        s.source.received_ms++;
        ipfix(&s, 0);
        put_wide_template(&s, 256, 50);
        put_data(&s, 300, "00000001");
        send(&s);
        assert_true(s.collector->n_exporters <= COLLECT_EXPORTERS_MAX);
        (void)learnt(&s);
    }
    assert_int_equal(count(&s, COLLECT_COUNT_EXPORTERS), COLLECT_EXPORTERS_MAX);
    assert_int_equal(count(&s, COLLECT_COUNT_EXPORTERS_LET_GO), EXPORTERS - COLLECT_EXPORTERS_MAX);
    assert_int_equal(s.collector->n_templates, COLLECT_EXPORTERS_MAX);
    assert_int_equal(count(&s, COLLECT_COUNT_HELD), COLLECT_EXPORTERS_MAX);
    assert_int_equal(count(&s, COLLECT_COUNT_NO_TEMPLATE), EXPORTERS - COLLECT_EXPORTERS_MAX);
    end(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_templates),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_held_sets),
        cmocka_unit_test(test_exporters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
