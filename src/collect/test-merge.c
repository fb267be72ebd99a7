/* SPDX-License-Identifier: Apache-2.0 */

#include "collect/merge.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "collect/counters.h"

/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
/* clang-format on */

enum { SPAN_MS = 60000, OUT_MAX = 16, NOW_MS = 1000000, KEPT_LEAST_BYTES = sizeof(FlowRecord) };

typedef struct Scene {
    CollectMerge *merge;
    MetricValue counters[_COLLECT_COUNT_N];
    CollectRecord out[OUT_MAX];
    char names[OUT_MAX][32];
    uint64_t n, octets, packets;
} Scene;

static void keep(void *userdata, const CollectRecord *record) {
    Scene *scene = userdata;
    if (scene->n < OUT_MAX) {
        scene->out[scene->n] = *record;
        memcpy(scene->names[scene->n], record->input_if_name.text ? record->input_if_name.text : "",
               record->input_if_name.size);
    }
    scene->n++;
    scene->octets += record->flow.octets;
    scene->packets += record->flow.packets;
}

static void begin(Scene *scene, size_t flows) {
    memset(scene, 0, sizeof(*scene));
    const CollectMergeConfig config = {.seed = 7,
                                       .span_ms = SPAN_MS,
                                       .flows = flows,
                                       .counters = scene->counters,
                                       .record = keep,
                                       .userdata = scene};
    assert_int_equal(collect_merge_new(&scene->merge, &config), 0);
}

static uint64_t count(const Scene *scene, int id) {
    return metric_get(&scene->counters[id]);
}

static CollectRecord record_of(uint32_t host, uint64_t packets) {
    CollectRecord record = {.proto_version = 9, .ip_version = 4};
    FlowRecord *flow = &record.flow;
    flow->src_ip = (NetAddress){
        .family = 4, .bytes = {10, (uint8_t)(host >> 16), (uint8_t)(host >> 8), (uint8_t)host}};
    flow->dst_ip = (NetAddress){.family = 4, .bytes = {192, 0, 2, 1}};
    flow->exporter_ip = (NetAddress){.family = 4, .bytes = {192, 0, 2, 9}};
    flow->dst_port = 443;
    flow->protocol = 6;
    flow->packets = packets;
    flow->octets = 100 * packets;
    flow->first_ms = NOW_MS - 5000;
    flow->last_ms = NOW_MS;
    return record;
}

static void take(Scene *scene, const CollectRecord *record, uint64_t now_ms) {
    collect_merge_take(scene->merge, record, now_ms);
}

static void test_updates_become_one(void **state) {
    Scene *scene = *state;
    begin(scene, 0);
    char name[] = "Gi0/1";
    CollectRecord record = record_of(1, 10);
    record.input_if_name = (FlowText){.text = name, .size = 5};
    record.flow.tcp_flags = 2;
    record.min_ttl = 60;
    collect_see(&record, COLLECT_MIN_TTL);
    take(scene, &record, NOW_MS);
    memset(name, 'x', sizeof(name)); /* texts are good until a call returns */
    record = record_of(1, 32);
    record.flow.tcp_flags = 0x11;
    record.flow.first_ms = NOW_MS;
    record.flow.last_ms = NOW_MS + 9000;
    record.flow.rev_packets = 3;
    record.min_ttl = 50;
    collect_see(&record, COLLECT_MIN_TTL);
    take(scene, &record, NOW_MS + 9000);
    collect_merge_tick(scene->merge, NOW_MS + SPAN_MS - 1);
    assert_int_equal(scene->n, 0);
    assert_int_equal(count(scene, COLLECT_COUNT_MERGE_HELD), 1);
    collect_merge_tick(scene->merge, NOW_MS + SPAN_MS);
    assert_int_equal(scene->n, 1);
    const FlowRecord *flow = &scene->out[0].flow;
    assert_int_equal(flow->packets, 42);
    assert_int_equal(flow->octets, 4200);
    assert_int_equal(flow->rev_packets, 3);
    assert_int_equal(flow->tcp_flags, 0x13);
    assert_int_equal(flow->first_ms, NOW_MS - 5000);
    assert_int_equal(flow->last_ms, NOW_MS + 9000);
    assert_int_equal(scene->out[0].min_ttl, 50);
    assert_string_equal(scene->names[0], "Gi0/1");
    assert_int_equal(count(scene, COLLECT_COUNT_MERGED), 1);
    assert_int_equal(count(scene, COLLECT_COUNT_MERGE_HELD), 0);
    collect_merge_free(scene->merge);
}

/* each of these alone makes another flow of it */
static void test_what_tells_flows_apart(void **state) {
    Scene *scene = *state;
    begin(scene, 0);
    uint64_t sent = 0;
#define APART(...)                                                                                 \
    do {                                                                                           \
        CollectRecord record = record_of(1, 1);                                                    \
        __VA_ARGS__;                                                                               \
        take(scene, &record, NOW_MS);                                                              \
        sent++;                                                                                    \
    } while (0)
    APART((void)record);
    APART(record.flow.exporter_ip.bytes[3] = 1);
    APART(record.flow.observation_domain = 1);
    APART(record.flow.input_if = 1);
    APART(record.flow.output_if = 1);
    APART(record.flow.vrf_in = 1);
    APART(record.flow.src_port = 1);
    APART(record.flow.vlan = 1);
    APART(record.flow.tos = 1);
    APART(record.flow.sampling = 1);
    APART(record.flow.flow_id = 1);
    APART(record.flow.post_nat_src_port = 1);
    APART(record.direction = 1);
    APART(record.proto_version = 10);
#undef APART
    assert_int_equal(count(scene, COLLECT_COUNT_MERGE_HELD), sent);
    assert_int_equal(count(scene, COLLECT_COUNT_MERGED), 0);
    collect_merge_flush(scene->merge);
    assert_int_equal(scene->n, sent);
    collect_merge_free(scene->merge);
}

static void test_what_goes_at_once(void **state) {
    Scene *scene = *state;
    begin(scene, 0);
    CollectRecord record = record_of(1, 1);
    take(scene, &record, NOW_MS);
    record.flow.end_reason = FLOW_END_DETECTED;
    take(scene, &record, NOW_MS);
    assert_int_equal(scene->n, 1);
    assert_int_equal(scene->out[0].flow.packets, 2);
    assert_int_equal(scene->out[0].flow.end_reason, FLOW_END_DETECTED);
    take(scene, &record, NOW_MS); /* nothing of it is held */
    assert_int_equal(scene->n, 2);

    record = record_of(2, 1);
    record.flow.firewall_event = 2;
    take(scene, &record, NOW_MS);
    take(scene, &record, NOW_MS);
    assert_int_equal(scene->n, 4);
    assert_int_equal(count(scene, COLLECT_COUNT_MERGE_HELD), 0);

    record = record_of(5, 1);
    record.proto_version = COLLECT_VERSION_SFLOW;
    record.flow.drop_reason = (FlowText){.text = "acl", .size = 3};
    take(scene, &record, NOW_MS);
    assert_int_equal(scene->n, 5);
    scene->n = 4;

    record = record_of(3, 1);
    record.flow.octets = UINT64_MAX - 5;
    take(scene, &record, NOW_MS);
    record.flow.octets = 6;
    take(scene, &record, NOW_MS);
    assert_int_equal(scene->n, 5);
    assert_true(scene->out[4].flow.octets == UINT64_MAX - 5);

    static const char longer[2000] = "x";
    record = record_of(4, 1);
    record.user_name = (FlowText){.text = longer, .size = sizeof(longer)};
    take(scene, &record, NOW_MS);
    assert_int_equal(scene->n, 6);
    collect_merge_tick(scene->merge, 5); /* a clock that went back holds nothing up */
    assert_int_equal(scene->n, 7);
    collect_merge_free(scene->merge);
}

/* records at random through a table of 100: all that went in comes out, once */
static void test_nothing_is_lost(void **state) {
    Scene *scene = *state;
    begin(scene, 100);
    uint64_t packets = 0;
    const uint64_t records = 200000;
    for (uint64_t i = 0; i < records; i++) {
        const uint64_t dice = hash_u64(i, 3);
        CollectRecord record = record_of((uint32_t)(dice % 300), dice >> 20 & 0xff);
        if (dice >> 40 & 1)
            record.user_name = (FlowText){.text = "somebody", .size = 8};
        record.flow.end_reason = (uint8_t)(dice >> 50 & 3);
        packets += record.flow.packets;
        take(scene, &record, NOW_MS + 20 * i);
        const uint64_t held = count(scene, COLLECT_COUNT_MERGE_HELD);
        assert_true(held <= 100);
        assert_int_equal(scene->n + held + count(scene, COLLECT_COUNT_MERGED), i + 1);
    }
    assert_true(count(scene, COLLECT_COUNT_MERGE_FULL) > 1000);
    assert_true(count(scene, COLLECT_COUNT_MERGED) > 1000);
    collect_merge_flush(scene->merge);
    assert_int_equal(count(scene, COLLECT_COUNT_MERGE_HELD), 0);
    assert_int_equal(scene->n + count(scene, COLLECT_COUNT_MERGED), records);
    assert_int_equal(scene->packets, packets);
    assert_int_equal(scene->octets, 100 * packets);
    collect_merge_free(scene->merge);
}

/* neither records nor their texts take more than they may, and all come out once */
static void test_bytes_have_a_bound(void **state) {
    Scene *scene = *state;
    enum { RECORDS = 60000, TEXT = 900 };
    static const char text[TEXT] = "x";
    begin(scene, 0);
    collect_merge_free(scene->merge);
    const CollectMergeConfig config = {.span_ms = SPAN_MS,
                                       .bytes = 4 << 20,
                                       .counters = scene->counters,
                                       .record = keep,
                                       .userdata = scene};
    assert_int_equal(collect_merge_new(&scene->merge, &config), 0);
    for (uint32_t i = 0; i < RECORDS; i++) {
        CollectRecord record = record_of(i, 1);
        if (i >= RECORDS / 2)
            record.user_name = (FlowText){.text = text, .size = TEXT};
        take(scene, &record, NOW_MS);
        const uint64_t held = count(scene, COLLECT_COUNT_MERGE_HELD);
        assert_int_equal(scene->n + held, i + 1);
        assert_true(held * KEPT_LEAST_BYTES <= config.bytes);
        if (i + 1 == RECORDS / 2)
            assert_true(held > 1000);
    }
    /* a quarter of the bytes is for texts, and no more of them are held */
    assert_true(count(scene, COLLECT_COUNT_MERGE_HELD) <= config.bytes / 4 / TEXT);
    assert_true(count(scene, COLLECT_COUNT_MERGE_HELD) > config.bytes / 4 / TEXT / 2);
    collect_merge_flush(scene->merge);
    assert_int_equal(scene->n, RECORDS);
    collect_merge_free(scene->merge);
}

int main(void) {
    static Scene scene;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_prestate(test_updates_become_one, &scene),
        cmocka_unit_test_prestate(test_what_tells_flows_apart, &scene),
        cmocka_unit_test_prestate(test_what_goes_at_once, &scene),
        cmocka_unit_test_prestate(test_nothing_is_lost, &scene),
        cmocka_unit_test_prestate(test_bytes_have_a_bound, &scene),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
