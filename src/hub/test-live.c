/* SPDX-License-Identifier: Apache-2.0 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <jansson.h>

#include "base/json.h"
#include "hub/live.h"
#include "hub/tally.h"

enum { T0 = 1700000000 };

static json_t *parse(Buffer *text) {
    json_error_t error;
    json_t *root = json_loads(buffer_text(text), 0, &error);
    if (!root)
        fail_msg("%s: %s", error.text, buffer_text(text));
    return root;
}

static json_int_t number(const json_t *object, const char *name) {
    return json_integer_value(json_object_get(object, name));
}

/* two probes in one second become one tick; shared names are summed, the largest come first */
static void test_merge(void **state) {
    (void)state;
    cleanup(live_freep) Live *live = NULL;
    assert_int_equal(live_new(&live), 0);
    Buffer none = {0};
    assert_false(live_close(live, T0 * 1000ull + LIVE_GRACE_MS, 0, &none));

    live_add_totals(live, T0, 10, 1000, 1, 5);
    live_add_totals(live, T0, 20, 3000, 0, 7);
    live_add_app(live, T0, "DNS", 100, 1);
    live_add_app(live, T0, "TLS", 500, 3);
    live_add_app(live, T0, "TLS", 300, 2);
    live_add_app(live, T0, "many small packets", 200, 100000);
    live_add_host(live, T0, "192.0.2.1", 5, 700);
    live_add_host(live, T0, "192.0.2.2", 400, 400);
    live_add_conversation(live, T0, "192.0.2.1", "2001:db8::1", "TLS", 3, 4);
    live_add_conversation(live, T0, "192.0.2.1", "2001:db8::1", "TLS", 5, 6);

    Buffer tick = {0};
    assert_false(live_close(live, T0 * 1000ull + 1000 + LIVE_GRACE_MS - 1, 2, &tick));
    assert_true(live_close(live, T0 * 1000ull + 1000 + LIVE_GRACE_MS, 2, &tick));
    json_t *root = parse(&tick);
    assert_int_equal(number(root, "time_ms"), T0 * 1000ll);
    assert_int_equal(number(root, "packets"), 30);
    assert_int_equal(number(root, "octets"), 4000);
    assert_int_equal(number(root, "drops"), 1);
    assert_int_equal(number(root, "flows_active"), 12);
    assert_int_equal(number(root, "probes_connected"), 2);
    const json_t *apps = json_object_get(root, "apps");
    assert_int_equal(json_array_size(apps), 3);
    assert_string_equal(json_string_value(json_object_get(json_array_get(apps, 0), "name")), "TLS");
    assert_int_equal(number(json_array_get(apps, 0), "octets"), 800);
    assert_int_equal(number(json_array_get(apps, 0), "packets"), 5);
    assert_string_equal(json_string_value(json_object_get(json_array_get(apps, 1), "name")),
                        "many small packets");
    const json_t *hosts = json_object_get(root, "hosts");
    assert_string_equal(json_string_value(json_object_get(json_array_get(hosts, 0), "ip")),
                        "192.0.2.2");
    const json_t *talk = json_array_get(json_object_get(root, "conversations"), 0);
    assert_string_equal(json_string_value(json_object_get(talk, "dst_ip")), "2001:db8::1");
    assert_string_equal(json_string_value(json_object_get(talk, "app_name")), "TLS");
    assert_int_equal(number(talk, "octets"), 8);
    assert_int_equal(number(talk, "rev_octets"), 10);
    json_decref(root);
    buffer_deinit(&tick);
}

/* a second without a pulse leaves no tick; a late pulse lands in the oldest that is open */
static void test_gaps_and_late(void **state) {
    (void)state;
    cleanup(live_freep) Live *live = NULL;
    assert_int_equal(live_new(&live), 0);
    Buffer tick = {0};
    uint64_t now = T0 * 1000ull + LIVE_GRACE_MS;
    (void)live_close(live, now, 0, &tick);
    live_add_totals(live, T0, 1, 1, 0, 0);
    assert_true(live_close(live, now + 1000, 1, &tick));
    assert_true(tick.size > 0);
    buffer_clear(&tick);
    assert_true(live_close(live, now + 2000, 1, &tick));
    assert_int_equal(tick.size, 0);

    live_add_totals(live, T0, 7, 7, 0, 0);       /* T0 is closed: T0 + 2 is open */
    live_add_totals(live, T0 + 100, 5, 5, 0, 0); /* far ahead: the newest that is open */
    assert_true(live_close(live, now + 3000, 1, &tick));
    json_t *root = parse(&tick);
    assert_int_equal(number(root, "packets"), 7);
    assert_int_equal(number(root, "time_ms"), (T0 + 2) * 1000ll);
    json_decref(root);

    Buffer all = {0};
    Json json = json_make(&all);
    live_write_ticks(live, &json, NULL);
    root = parse(&all);
    assert_int_equal(json_array_size(root), 2);
    assert_int_equal(number(json_array_get(root, 0), "time_ms"), T0 * 1000ll);
    json_decref(root);
    buffer_deinit(&all);
    buffer_deinit(&tick);
}

/* the clock jumps: seconds are not counted through one by one */
static void test_clock_jump(void **state) {
    (void)state;
    cleanup(live_freep) Live *live = NULL;
    assert_int_equal(live_new(&live), 0);
    Buffer tick = {0};
    uint64_t now = T0 * 1000ull + LIVE_GRACE_MS;
    (void)live_close(live, now, 0, &tick);
    size_t n = 0;
    while (live_close(live, now + 86400000, 0, &tick))
        n++;
    assert_in_range(n, 0, LIVE_SECONDS);
    while (live_close(live, now, 0, &tick)) /* and back */
        n++;
    live_add_totals(live, T0, 3, 3, 0, 0);
    assert_true(live_close(live, now + 1000, 0, &tick));
    assert_true(tick.size > 0);
    buffer_deinit(&tick);
}

/* the ring holds the newest flows after their batch is gone, newest first */
static void test_flows(void **state) {
    (void)state;
    cleanup(live_freep) Live *live = NULL;
    assert_int_equal(live_new(&live), 0);
    for (unsigned turn = 0; turn < 3; turn++) {
        cleanup(flow_batch_freep) FlowBatch *batch = NULL;
        assert_int_equal(flow_batch_new(&batch, 40), 0);
        char names[40][16];
        for (unsigned i = 0; i < 40; i++) {
            FlowRecord *record = flow_batch_add(batch);
            (void)snprintf(names[i], sizeof(names[i]), "name-%u", turn * 40 + i);
            record->server_name = (FlowText){names[i], (uint32_t)strlen(names[i])};
            record->first_ms = turn * 40 + i;
        }
        live_add_flows(live, batch->records, batch->n);
        memset(names, 'x', sizeof(names));
    }
    Buffer text = {0};
    assert_int_equal(live_new_flows(live, &text), LIVE_FLOWS);
    json_t *root = parse(&text);
    assert_int_equal(json_array_size(root), LIVE_FLOWS);
    const json_t *first = json_array_get(root, 0);
    assert_string_equal(json_string_value(json_object_get(first, "server_name")), "name-119");
    assert_int_equal(number(json_array_get(root, 49), "first_ms"), 70);
    json_decref(root);
    buffer_clear(&text);
    assert_int_equal(live_new_flows(live, &text), 0);
    buffer_deinit(&text);
}

/* a full tally keeps what it has and goes on counting it */
static void test_tally_full(void **state) {
    (void)state;
    cleanup(tally_freep) Tally *tally = NULL;
    assert_int_equal(tally_new(&tally, 4), 0);
    for (unsigned i = 0; i < 100; i++) {
        char key[8];
        const int size = snprintf(key, sizeof(key), "%u", i % 10);
        tally_add(tally, key, (size_t)size, i % 10, 1);
    }
    const TallyEntry *top[8];
    assert_int_equal(tally_top(tally, false, top, 8), 4);
    assert_memory_equal(top[0]->key, "3", 1);
    assert_int_equal(top[0]->a, 30);
    assert_int_equal(top[0]->b, 10);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_merge),      cmocka_unit_test(test_gaps_and_late),
        cmocka_unit_test(test_clock_jump), cmocka_unit_test(test_flows),
        cmocka_unit_test(test_tally_full),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
