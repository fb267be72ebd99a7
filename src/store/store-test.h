#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What the store's tests share: a store in a folder of its own, flows that look alive, and checks.
 */

#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "flow/field.h"
#include "store/store.h"

#define TEST_START_MS 1700000000000ull

typedef struct TestStore {
    char dir[64];
    StoreConfig config;
    Store *store;
} TestStore;

__attribute__((unused)) static void test_remove_dir(const char *dir) {
    static const char *const names[] = {"flows.duckdb", "flows.duckdb.wal", "lock", "tmp", ""};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        char path[300];
        (void)snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
        (void)remove(path);
    }
}

__attribute__((unused)) static void test_reopen(TestStore *t) {
    Reason reason = {0};
    t->store = store_close(t->store);
    if (store_open(&t->store, &t->config, &reason))
        fail_msg("%s", reason.text);
}

__attribute__((unused)) static int test_store_setup(void **state) {
    TestStore *t = calloc(1, sizeof(*t));
    assert_non_null(t);
    (void)snprintf(t->dir, sizeof(t->dir), "/tmp/weir-test-store-XXXXXX");
    assert_non_null(mkdtemp(t->dir));
    t->config = (StoreConfig){.dir = t->dir, .memory_limit_bytes = 512 << 20};
    test_reopen(t);
    *state = t;
    return 0;
}

__attribute__((unused)) static int test_store_teardown(void **state) {
    TestStore *t = *state;
    store_close(t->store);
    test_remove_dir(t->dir);
    free(t);
    return 0;
}

/** test_fill() - n flows that look alive, by a seed; flow_id counts them from 0 */
__attribute__((unused)) static void test_fill(FlowBatch *batch, size_t n, uint64_t seed) {
    static const char *const apps[] = {"TLS", "DNS", "HTTP", "TLS.Wikipedia", "QUIC", ""};
    static const uint16_t ports[] = {443, 53, 80, 443, 443, 22};
    static const char *const names[] = {"host1.example.org", "a.example", "", "HOST11.example.com"};
    uint64_t state = seed * 0x9e3779b97f4a7c15u + 1;
    for (size_t i = 0; i < n; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        uint64_t r = state >> 16;
        FlowRecord *record = flow_batch_add(batch);
        record->flow_id = i;
        record->first_ms = TEST_START_MS + i * 40;
        record->last_ms = record->first_ms + r % 60000;
        uint8_t v4[4] = {10, 0, 0, (uint8_t)(r % 16)};
        uint8_t v6[16] = {0x20, 0x01, 0x0d, 0xb8, (uint8_t)(r >> 3 & 0xff)};
        v6[15] = (uint8_t)(r >> 11 & 7);
        record->src_ip = r % 5 ? net_address_v4(v4) : net_address_v6(v6);
        v4[3] = (uint8_t)(r / 16 % 16);
        v4[0] = r % 7 ? 10 : 192;
        v6[15]++;
        record->dst_ip = r % 5 ? net_address_v4(v4) : net_address_v6(v6);
        size_t app = r / 7 % 6;
        record->app_name = (FlowText){.text = apps[app], .size = (uint32_t)strlen(apps[app])};
        const char *name = names[r / 11 % 4];
        record->server_name = (FlowText){.text = name, .size = (uint32_t)strlen(name)};
        record->src_port = (uint16_t)(1000 + r % 60000);
        record->dst_port = ports[app];
        record->protocol = app == 1 || app == 4 ? 17 : 6;
        record->vlan = (uint16_t)(r % 3);
        record->packets = 1 + r % 30;
        record->rev_packets = r / 3 % 30;
        record->octets = record->packets * (40 + r % 1400);
        record->rev_octets = record->rev_packets * (40 + r / 5 % 1400);
        record->tcp_flags = record->protocol == 6 ? 0x1b : 0;
        record->end_reason = (uint8_t)(1 + r % 3);
        record->src_mac = (FlowMac){{2, 0, 0, 0, 0, (uint8_t)(r % 8)}};
        record->app_id = (uint16_t)(app * 7);
        record->app_risk = state; /* something that does not compress */
        record->probe = 1;
        record->received_ms = record->last_ms + 900;
    }
}

/** test_append() - one group, in the hour where the clock of the tests starts */
__attribute__((unused)) static void test_append(Store *store, const FlowBatch *batch,
                                                const StoreCursor *cursors, size_t n) {
    const FlowBatch *batches[] = {batch};
    StoreGroup group = {.batches = batches,
                        .batch_n = 1,
                        .cursors = cursors,
                        .cursor_n = n,
                        .now_ms = TEST_START_MS};
    Reason reason = {0};
    int r = store_append(store, &group, &reason);
    if (r)
        fail_msg("append answered %d: %s", r, reason.text);
}

__attribute__((unused)) static QueryPlan test_plan(QueryKind kind) {
    return (QueryPlan){.kind = kind, .to_ms = 1ull << 42, .limit = 100, .step_ms = 60000};
}

__attribute__((unused)) static StoreResult *test_query(Store *store, const QueryPlan *plan) {
    StoreResult *result = NULL;
    Reason reason = {0};
    StoreBudget budget = {.timeout_ms = 60000};
    int r = store_query(store, plan, &budget, &result, &reason);
    if (r)
        fail_msg("query answered %d: %s", r, reason.text);
    return result;
}

__attribute__((unused)) static uint64_t test_count(Store *store) {
    QueryPlan plan = test_plan(QUERY_TOTALS);
    StoreResult *result = test_query(store, &plan);
    uint64_t n = result->rows[0].flows;
    store_result_free(result);
    return n;
}

__attribute__((unused)) static void test_same_record(const FlowRecord *a, const FlowRecord *b) {
    for (size_t i = 0; i < _FLOW_FIELD_N; i++) {
        const FlowField *field = &flow_fields[i];
        const void *at = flow_field_at(a, field);
        const void *bt = flow_field_at(b, field);
        bool same = field->kind == FLOW_KIND_TEXT ? false : memcmp(at, bt, field->size) == 0;
        if (field->kind == FLOW_KIND_TEXT) {
            const FlowText *x = at;
            const FlowText *y = bt;
            same = x->size == y->size && (!x->size || memcmp(x->text, y->text, x->size) == 0);
        }
        if (!same)
            fail_msg("%s differs", field->name);
    }
}
