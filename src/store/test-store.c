/* SPDX-License-Identifier: Apache-2.0 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/buffer.h"
#include "base/clock.h"
#include "query/filter.h"
#include "store/duck.h"
#include "store/schema.h"
#include "store/store-test.h"
#include "store/store.h"

/* every value of every field comes back, extremes included */

static void fill_extremes(FlowBatch *batch) {
    FlowRecord *low = flow_batch_add(batch);
    low->last_ms = 1;
    FlowRecord *high = flow_batch_add(batch);
    for (size_t i = 0; i < _FLOW_FIELD_N; i++) {
        const FlowField *field = &flow_fields[i];
        unsigned char *at = (unsigned char *)high + field->offset;
        switch (field->kind) {
        case FLOW_KIND_ADDRESS:
            ((NetAddress *)at)->family = 6;
            memset(((NetAddress *)at)->bytes, 0xff, 16);
            break;
        case FLOW_KIND_TEXT:
            *(FlowText *)at = (FlowText){.text = "longer than twelve bytes: \xc3\xa9", .size = 28};
            break;
        case FLOW_KIND_TIME_MS:
            *(uint64_t *)at = SCHEMA_TIME_MAX_MS;
            break;
        case FLOW_KIND_U64: {
            uint64_t v = field->unit[0] ? SCHEMA_COUNTER_MAX : UINT64_MAX;
            memcpy(at, &v, sizeof(v));
            break;
        }
        default:
            memset(at, 0xff, field->size);
        }
    }
    high->last_ms = 2;
    FlowRecord *beyond = flow_batch_add(batch);
    beyond->last_ms = 3;
    beyond->first_ms = UINT64_MAX;
    beyond->octets = UINT64_MAX;
    beyond->rev_octets = UINT64_MAX;
    beyond->server_name = (FlowText){.text = "a\xff\xc3(\xe2\x82", .size = 6};
    beyond->src_ip = net_address_v4((const uint8_t[]){255, 0, 0, 1});
}

static void test_fields(void **state) {
    TestStore *t = *state;
    cleanup(flow_batch_freep) FlowBatch *batch = NULL;
    assert_int_equal(flow_batch_new(&batch, 4), 0);
    fill_extremes(batch);
    test_append(t->store, batch, NULL, 0);

    QueryPlan plan = test_plan(QUERY_FLOWS);
    plan.sort = FLOW_LAST_MS;
    plan.ascending = true;
    StoreResult *result = test_query(t->store, &plan);
    assert_int_equal(result->flows->n, 3);
    assert_false(result->more);
    test_same_record(&result->flows->records[0], &batch->records[0]);
    test_same_record(&result->flows->records[1], &batch->records[1]);

    const FlowRecord *beyond = &result->flows->records[2];
    assert_true(beyond->first_ms == SCHEMA_TIME_MAX_MS);
    assert_true(beyond->octets == SCHEMA_COUNTER_MAX);
    assert_int_equal(beyond->server_name.size, 14);
    assert_memory_equal(beyond->server_name.text,
                        "a\xef\xbf\xbd\xef\xbf\xbd(\xef\xbf\xbd\xef\xbf\xbd", 14);
    store_result_free(result);

    /* sums of what senders may claim do not overflow */
    plan = test_plan(QUERY_TOTALS);
    result = test_query(t->store, &plan);
    assert_int_equal(result->rows[0].flows, 3);
    assert_true(result->rows[0].octets == 2 * SCHEMA_COUNTER_MAX);
    assert_true(result->rows[0].value == 4 * SCHEMA_COUNTER_MAX);
    store_result_free(result);
}

/* the store answers as the evaluator in memory does */

static uint64_t count_matches(const FlowBatch *batch, const QueryFilter *filter) {
    uint64_t n = 0;
    for (size_t i = 0; i < batch->n; i++)
        n += query_match(filter, &batch->records[i]);
    return n;
}

/* the chunks before have none of these, and NULL for all of them */
static void add_rare(FlowBatch *batch) {
    for (size_t i = 4096; i < batch->n; i += 3) {
        batch->records[i].lost = (uint32_t)(i % 5);
        batch->records[i].ja4 = (FlowText){.text = i % 2 ? "t13d" : "q13i", .size = 4};
        batch->records[i].next_hop = net_address_v4((const uint8_t[]){10, 0, 0, (uint8_t)i});
    }
}

static void test_filters(void **state) {
    TestStore *t = *state;
    cleanup(flow_batch_freep) FlowBatch *batch = NULL;
    assert_int_equal(flow_batch_new(&batch, 4), 0);
    test_fill(batch, 5000, 7);
    add_rare(batch);
    test_append(t->store, batch, NULL, 0);
    static const char *const texts[] = {
        "",
        "lost = 0",
        "not lost > 1",
        "lost != 2 and ja4 = ''",
        "not ja4 ~ T13",
        "next_hop in 10.0.0.0/25",
        "not next_hop in 10.0.0.0/8",
        "tls_version = 0 and http_url = ''",
        "app = TLS",
        "app ~ tls",
        "app ~ 'S.'",
        "not app in (TLS, DNS, '')",
        "server_name = '' or server_name ~ host1",
        "duration > 5",
        "not duration <= 300000",
        "bytes > 10K and packets < 20",
        "octets <= 5000 or IN_BYTES > 90000",
        "src_ip in 10.0.0.0/8",
        "not src_ip in 10.0.0.0/30",
        "dst_ip in 0.0.0.0/0",
        "dst_ip in ::/0",
        "ip in 2001:db8::/33",
        "ip = 10.0.0.3",
        "ip != 10.0.0.3",
        "ip not in (10.0.0.0/30, 2001:db8::/32)",
        "port in (53, 80, 443) and protocol = UDP",
        "port < 100",
        "not port < 100",
        "src_port >= 1024 and dst_port != 443",
        "src_mac = 02:00:00:00:00:03",
        "vlan > 0 and (end_reason = 1 or end_reason = 3)",
        "last_ms >= 1700000100000 and first_ms < 1700000200000",
        "flow_id < 100",
        "app = \"'; DROP TABLE segment; --\"",
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        cleanup(query_filter_freep) QueryFilter *filter = NULL;
        Reason reason = {0};
        if (query_filter_new(&filter, texts[i], &reason))
            fail_msg("%s: %s", texts[i], reason.text);
        QueryPlan plan = test_plan(QUERY_TOTALS);
        plan.filter = filter;
        StoreResult *result = test_query(t->store, &plan);
        uint64_t expected = count_matches(batch, filter);
        if (result->rows[0].flows != expected)
            fail_msg("%s: %" PRIu64 " flows, expected %" PRIu64, texts[i], result->rows[0].flows,
                     expected);
        store_result_free(result);
    }
}

/* the kinds of plans, against sums made by hand */

static void test_top(void **state) {
    TestStore *t = *state;
    cleanup(flow_batch_freep) FlowBatch *batch = NULL;
    assert_int_equal(flow_batch_new(&batch, 4), 0);
    test_fill(batch, 3000, 11);
    test_append(t->store, batch, NULL, 0);

    QueryPlan plan = test_plan(QUERY_TOP);
    plan.group[0] = QUERY_FIELD_IP;
    plan.group_n = 1;
    plan.limit = 5;
    StoreResult *result = test_query(t->store, &plan);
    assert_int_equal(result->row_n, 5);
    assert_true(result->more);
    for (size_t i = 0; i < result->row_n; i++) {
        const StoreRow *row = &result->rows[i];
        uint64_t flows = 0;
        uint64_t sent = 0;
        uint64_t received = 0;
        for (size_t k = 0; k < batch->n; k++) {
            const FlowRecord *r = &batch->records[k];
            bool src = net_address_equal(&r->src_ip, &row->keys[0].address);
            bool dst = net_address_equal(&r->dst_ip, &row->keys[0].address);
            flows += src || dst;
            sent += src ? r->octets : dst ? r->rev_octets : 0;
            received += src ? r->rev_octets : dst ? r->octets : 0;
        }
        assert_int_equal(row->flows, flows);
        assert_int_equal(row->octets, sent);
        assert_int_equal(row->rev_octets, received);
        assert_int_equal(row->value, sent + received);
        assert_true(i == 0 || row->value <= result->rows[i - 1].value);
    }
    store_result_free(result);

    plan.group[0] = FLOW_APP_NAME;
    plan.group[1] = FLOW_PROTOCOL;
    plan.group_n = 2;
    plan.limit = 1000;
    plan.metric = QUERY_FLOW_COUNT;
    result = test_query(t->store, &plan);
    uint64_t flows = 0;
    for (size_t i = 0; i < result->row_n; i++)
        flows += result->rows[i].value;
    assert_int_equal(flows, batch->n);
    assert_false(result->more);
    store_result_free(result);
}

static void test_series(void **state) {
    TestStore *t = *state;
    cleanup(flow_batch_freep) FlowBatch *batch = NULL;
    assert_int_equal(flow_batch_new(&batch, 4), 0);
    test_fill(batch, 3000, 13);
    test_append(t->store, batch, NULL, 0);

    QueryPlan plan = test_plan(QUERY_SERIES);
    plan.from_ms = TEST_START_MS;
    plan.to_ms = TEST_START_MS + 10ull * 86400000;
    plan.step_ms = 60000;
    plan.group[0] = FLOW_APP_NAME;
    plan.group_n = 1;
    plan.limit = 2;
    StoreResult *result = test_query(t->store, &plan);
    uint64_t sum = 0;
    size_t others = 0;
    for (size_t i = 0; i < result->row_n; i++) {
        const StoreRow *row = &result->rows[i];
        assert_int_equal(row->bucket_ms % 60000, 0);
        assert_true(i == 0 || row->bucket_ms >= result->rows[i - 1].bucket_ms);
        uint64_t expected = 0;
        for (size_t k = 0; k < batch->n && !row->other; k++) {
            const FlowRecord *r = &batch->records[k];
            if (r->last_ms / 60000 * 60000 == row->bucket_ms &&
                r->app_name.size == row->keys[0].text.size &&
                (!r->app_name.size ||
                 memcmp(r->app_name.text, row->keys[0].text.text, r->app_name.size) == 0))
                expected += r->octets + r->rev_octets;
        }
        if (!row->other)
            assert_int_equal(row->value, expected);
        others += row->other;
        sum += row->value;
    }
    assert_true(others > 0);
    store_result_free(result);

    plan.group_n = 0;
    result = test_query(t->store, &plan);
    uint64_t plain = 0;
    for (size_t i = 0; i < result->row_n; i++)
        plain += result->rows[i].value;
    assert_int_equal(plain, sum);
    store_result_free(result);
}

static void test_pages(void **state) {
    TestStore *t = *state;
    cleanup(flow_batch_freep) FlowBatch *batch = NULL;
    assert_int_equal(flow_batch_new(&batch, 4), 0);
    test_fill(batch, 1000, 17);
    test_append(t->store, batch, NULL, 0);
    static const QueryField sorts[] = {FLOW_LAST_MS,  QUERY_FIELD_BYTES, FLOW_PROTOCOL,
                                       FLOW_APP_NAME, FLOW_SRC_IP,       QUERY_FIELD_DURATION};
    for (size_t s = 0; s < sizeof(sorts) / sizeof(sorts[0]); s++) {
        static bool seen[1000];
        memset(seen, 0, sizeof(seen));
        size_t n = 0;
        for (bool more = true; more;) {
            QueryPlan plan = test_plan(QUERY_FLOWS);
            plan.sort = sorts[s];
            plan.limit = 300;
            plan.offset = n;
            StoreResult *result = test_query(t->store, &plan);
            for (size_t i = 0; i < result->flows->n; i++) {
                uint64_t id = result->flows->records[i].flow_id;
                assert_true(id < 1000 && !seen[id]);
                seen[id] = true;
                test_same_record(&result->flows->records[i], &batch->records[id]);
            }
            n += result->flows->n;
            more = result->more;
            store_result_free(result);
        }
        assert_int_equal(n, 1000);
    }
}

static void test_empty(void **state) {
    TestStore *t = *state;
    for (QueryKind kind = QUERY_FLOWS; kind <= QUERY_TOTALS; kind++) {
        QueryPlan plan = test_plan(kind);
        plan.group[0] = FLOW_APP_NAME;
        plan.group_n = kind == QUERY_TOP;
        plan.to_ms = plan.from_ms + 1000;
        plan.step_ms = 100;
        StoreResult *result = test_query(t->store, &plan);
        assert_int_equal(result->row_n, kind == QUERY_TOTALS);
        store_result_free(result);
    }
}

/* cursors, probes, segments */

typedef struct Seen {
    StoreCursor cursors[64];
    size_t n;
} Seen;

static int see_cursor(void *context, const StoreCursor *cursor) {
    Seen *seen = context;
    seen->cursors[seen->n++] = *cursor;
    return 0;
}

static int see_probe(void *context, uint32_t number, const uint8_t *key) {
    assert_int_equal(key[0], number + 100);
    ++*(uint32_t *)context;
    return 0;
}

static void test_cursors(void **state) {
    TestStore *t = *state;
    cleanup(flow_batch_freep) FlowBatch *batch = NULL;
    assert_int_equal(flow_batch_new(&batch, 4), 0);
    test_fill(batch, 10, 1);
    uint64_t hour_ms = 3600000;
    for (uint64_t i = 1; i <= 6; i++) {
        StoreCursor cursors[2] = {
            {.key = {101}, .epoch = {1}, .sequence = i, .totals = {i, 2 * i, 3 * i}},
            {.key = {102}, .epoch = {9}, .sequence = 10 * i, .at_ms = TEST_START_MS},
        };
        cursors[1].finished = i == 2;
        if (i > 2)
            cursors[1].epoch[0] = 10;
        uint32_t number = 0;
        assert_int_equal(store_probe(t->store, cursors[1].key, &number), 0);
        assert_int_equal(number, i == 1 ? 1 : 1);
        const FlowBatch *batches[] = {batch};
        StoreGroup group = {.batches = batches,
                            .batch_n = 1,
                            .cursors = cursors,
                            .cursor_n = 2,
                            .now_ms = TEST_START_MS + i * hour_ms};
        assert_int_equal(store_append(t->store, &group, NULL), 0);
        if (i % 2 == 0)
            test_reopen(t);
    }
    Seen seen = {0};
    assert_int_equal(store_cursors(t->store, see_cursor, &seen), 0);
    assert_int_equal(seen.n, 3);
    for (size_t i = 0; i < seen.n; i++) {
        const StoreCursor *c = &seen.cursors[i];
        assert_true(i == 0 || c->at_ms >= c[-1].at_ms);
        uint64_t expected = c->epoch[0] == 1 ? 6 : c->epoch[0] == 9 ? 20 : 60;
        assert_int_equal(c->sequence, expected);
        if (c->epoch[0] == 1)
            assert_int_equal(c->totals.octets, 18);
        assert_int_equal(c->key[0], c->epoch[0] == 1 ? 101 : 102);
        assert_int_equal(c->finished, c->epoch[0] == 9);
    }
    StoreStatus status;
    store_status(t->store, &status);
    assert_int_equal(status.segments, 6);
    assert_int_equal(status.rows, 60);

    /* a month later the finished epoch is forgotten, the others are not */
    const FlowBatch *batches[] = {batch};
    StoreGroup group = {
        .batches = batches, .batch_n = 1, .now_ms = TEST_START_MS + 31ull * 24 * hour_ms};
    assert_int_equal(store_append(t->store, &group, NULL), 0);
    seen.n = 0;
    assert_int_equal(store_cursors(t->store, see_cursor, &seen), 0);
    assert_int_equal(seen.n, 2);
}

static void test_probes(void **state) {
    TestStore *t = *state;
    cleanup(flow_batch_freep) FlowBatch *batch = NULL;
    assert_int_equal(flow_batch_new(&batch, 4), 0);
    for (uint8_t i = 0; i < 20; i++) {
        StoreCursor cursor = {.key = {(uint8_t)(101 + i)}, .epoch = {1}, .sequence = 1};
        uint32_t number = 0;
        assert_int_equal(store_probe(t->store, cursor.key, &number), 0);
        assert_int_equal(number, i + 1);
        test_append(t->store, batch, &cursor, 1); /* a cursor without flows */
    }
    test_reopen(t);
    uint32_t n = 0;
    assert_int_equal(store_probes(t->store, see_probe, &n), 0);
    assert_int_equal(n, 20);
}

static int see_gap(void *context, const StoreGap *gap) {
    StoreGap *last = context;
    assert_true(gap->at_ms > last->at_ms);
    *last = *gap;
    return 0;
}

static void test_gaps(void **state) {
    TestStore *t = *state;
    StoreGap gaps[2] = {
        {.key = {1}, .epoch = {2}, .first = 5, .last = 9, .counts = {10, 20, 30}, .at_ms = 100},
        {.key = {3}, .epoch = {4}, .first = 1, .last = 1, .counts = {1, 2, 3}, .at_ms = 200},
    };
    gaps[1].reason = 7;
    StoreGroup group = {.gaps = gaps, .gap_n = 2, .now_ms = TEST_START_MS};
    assert_int_equal(store_append(t->store, &group, NULL), 0);
    test_reopen(t);
    StoreGap last = {0};
    uint64_t total = 0;
    assert_int_equal(store_gaps(t->store, &(StoreGapPage){0}, see_gap, &last, NULL), 0);
    assert_memory_equal(&last, &gaps[1], sizeof(last));
    last = (StoreGap){0};
    StoreGapPage page = {.since_ms = 100, .limit = 1};
    assert_int_equal(store_gaps(t->store, &page, see_gap, &last, &total), 0);
    assert_memory_equal(&last, &gaps[0], sizeof(last));
    assert_int_equal(total, 2);
    page.offset = 1;
    assert_int_equal(store_gaps(t->store, &page, see_gap, &last, &total), 0);
    assert_memory_equal(&last, &gaps[1], sizeof(last));
    last = (StoreGap){0};
    page = (StoreGapPage){.since_ms = 201};
    assert_int_equal(store_gaps(t->store, &page, see_gap, &last, &total), 0);
    assert_int_equal(last.at_ms, 0);
    assert_int_equal(total, 0);
}

/* a flow that says no time is the oldest, and is not taken for none */
static void test_oldest(void **state) {
    TestStore *t = *state;
    StoreStatus status;
    for (uint64_t hour = 0; hour < 3; hour++) { /* a segment each */
        cleanup(flow_batch_freep) FlowBatch *batch = NULL;
        assert_int_equal(flow_batch_new(&batch, 4), 0);
        flow_batch_add(batch)->last_ms = hour == 1 ? 0 : TEST_START_MS;
        const FlowBatch *batches[] = {batch};
        StoreGroup group = {
            .batches = batches, .batch_n = 1, .now_ms = TEST_START_MS + hour * 3600000};
        assert_int_equal(store_append(t->store, &group, NULL), 0);
        store_status(t->store, &status);
        assert_int_equal(status.rows, hour + 1);
        assert_int_equal(status.oldest_ms, hour ? 0 : TEST_START_MS);
    }
}

static void test_retention(void **state) {
    TestStore *t = *state;
    for (uint64_t hour = 0; hour < 5; hour++) {
        cleanup(flow_batch_freep) FlowBatch *batch = NULL;
        assert_int_equal(flow_batch_new(&batch, 4), 0);
        FlowRecord *record = flow_batch_add(batch);
        record->last_ms = TEST_START_MS + hour * 3600000;
        const FlowBatch *batches[] = {batch};
        StoreGroup group = {.batches = batches, .batch_n = 1, .now_ms = record->last_ms};
        assert_int_equal(store_append(t->store, &group, NULL), 0);
    }
    uint64_t dropped = 0;
    assert_int_equal(store_drop_before(t->store, TEST_START_MS + 2 * 3600000, &dropped), 0);
    assert_int_equal(dropped, 2);
    assert_int_equal(test_count(t->store), 3);
    test_reopen(t);
    assert_int_equal(test_count(t->store), 3);
    StoreStatus status;
    store_status(t->store, &status);
    assert_int_equal(status.oldest_ms, TEST_START_MS + 2 * 3600000);
    /* the newest stays, for its cursors */
    assert_int_equal(store_drop_before(t->store, UINT64_MAX, &dropped), 0);
    assert_int_equal(dropped, 2);
    assert_int_equal(test_count(t->store), 1);
}

/* opening */

static void run_sql(const TestStore *t, const char *sql) {
    char path[300];
    (void)snprintf(path, sizeof(path), "%s/flows.duckdb", t->config.dir);
    duckdb_database database = NULL;
    duckdb_connection connection = NULL;
    Reason reason = {0};
    assert_int_equal(duckdb_open(path, &database), DuckDBSuccess);
    assert_int_equal(duckdb_connect(database, &connection), DuckDBSuccess);
    if (duck_run(connection, sql, &reason) != DUCK_OK)
        fail_msg("%s: %s", sql, reason.text);
    duckdb_disconnect(&connection);
    duckdb_close(&database);
}

static void test_new_field(void **state) {
    TestStore *t = *state;
    cleanup(flow_batch_freep) FlowBatch *batch = NULL;
    assert_int_equal(flow_batch_new(&batch, 4), 0);
    test_fill(batch, 100, 3);
    test_append(t->store, batch, NULL, 0);

    /* as a version left it that did not know these yet: the last field, and one before */
    t->store = store_close(t->store);
    run_sql(t, "ALTER TABLE flow_1 DROP COLUMN received_ms;"
               "ALTER TABLE flow_1 DROP COLUMN server_name; CHECKPOINT");
    test_reopen(t);
    assert_int_equal(test_count(t->store), 100);
    test_append(t->store, batch, NULL, 0);
    assert_int_equal(test_count(t->store), 200);

    QueryPlan plan = test_plan(QUERY_TOP);
    plan.group[0] = FLOW_SERVER_NAME;
    plan.group_n = 1;
    plan.limit = 1000;
    StoreResult *result = test_query(t->store, &plan);
    uint64_t flows = 0;
    for (size_t i = 0; i < result->row_n; i++)
        flows += result->rows[i].flows;
    assert_int_equal(flows, 200);
    store_result_free(result);
    plan = test_plan(QUERY_FLOWS);
    plan.sort = FLOW_SRC_IP;
    plan.limit = 1000;
    result = test_query(t->store, &plan);
    assert_int_equal(result->flows->n, 200);
    store_result_free(result);
}

static void expect_refused(const TestStore *t, const char *text) {
    Store *store = NULL;
    Reason reason = {0};
    assert_int_equal(store_open(&store, &t->config, &reason), STORE_E_REFUSED);
    if (!strstr(reason.text, text))
        fail_msg("reason: %s", reason.text);
}

static void test_refused(void **state) {
    TestStore *t = *state;
    expect_refused(t, "in use by another process");
    t->store = store_close(t->store);

    run_sql(t, "INSERT INTO weir_schema VALUES (2); DELETE FROM weir_schema WHERE version = 1");
    expect_refused(t, "written by a newer weir (schema 2, this one knows up to 1)");
    run_sql(t, "DROP TABLE weir_schema");
    expect_refused(t, "it is a database of something else");

    char path[300];
    (void)snprintf(path, sizeof(path), "%s/flows.duckdb", t->config.dir);
    FILE *file = fopen(path, "r+");
    assert_non_null(file);
    for (int i = 0; i < 4096; i++)
        (void)fputc('x', file);
    assert_int_equal(fclose(file), 0);
    expect_refused(t, "cannot open the store");

    TestStore other = *t;
    other.config.dir = "/proc/no/such/folder";
    expect_refused(&other, "/proc/no/such/folder");
    other.config.dir = "/proc";
    expect_refused(&other, "cannot write in the folder /proc");
}

/* what a running query is told to do */

static void test_temp_wiped(void **state) {
    TestStore *t = *state;
    char path[300];
    (void)snprintf(path, sizeof(path), "%s/tmp/left-behind", t->dir);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fclose(file), 0);
    test_reopen(t);
    assert_int_equal(access(path, F_OK), -1);
}

int main(int argc, char **argv) {
#define IN_STORE(test) cmocka_unit_test_setup_teardown(test, test_store_setup, test_store_teardown)
    const struct CMUnitTest tests[] = {
        IN_STORE(test_fields),    IN_STORE(test_filters),    IN_STORE(test_top),
        IN_STORE(test_series),    IN_STORE(test_pages),      IN_STORE(test_empty),
        IN_STORE(test_cursors),   IN_STORE(test_probes),     IN_STORE(test_gaps),
        IN_STORE(test_retention), IN_STORE(test_oldest),     IN_STORE(test_new_field),
        IN_STORE(test_refused),   IN_STORE(test_temp_wiped),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
