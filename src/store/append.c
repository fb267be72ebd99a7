/* SPDX-License-Identifier: Apache-2.0 */

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/error.h"
#include "store/embedded.h"
#include "store/schema.h"

enum { MEMORY_PAUSE_MS = 50 };

/* one transaction */

/** appender_close() - what an appender holds back fails here, if it does */
static DuckAnswer appender_close(duckdb_appender *appender, Reason *reason) {
    DuckAnswer answer = DUCK_OK;
    if (duckdb_appender_close(*appender) != DuckDBSuccess) {
        duckdb_error_data error = duckdb_appender_error_data(*appender);
        const char *message = duckdb_error_data_message(error);
        reason_set(reason, "%.*s", message ? (int)strcspn(message, "\n") : 0,
                   message ? message : "");
        answer = duck_classify(duckdb_error_data_error_type(error), message);
        duckdb_destroy_error_data(&error);
    }
    (void)duckdb_appender_destroy(appender);
    return answer;
}

static DuckAnswer appender_open(Store *store, const char *table, duckdb_appender *appenderp,
                                Reason *reason) {
    if (duckdb_appender_create(store->writer, NULL, table, appenderp) == DuckDBSuccess)
        return DUCK_OK;
    DuckAnswer answer = appender_close(appenderp, reason);
    return answer == DUCK_OK ? DUCK_ERROR : answer;
}

static duckdb_data_chunk chunk_new(void) {
    duckdb_logical_type types[_FLOW_FIELD_N];
    for (size_t i = 0; i < _FLOW_FIELD_N; i++)
        types[i] = duckdb_create_logical_type(schema_type(flow_fields[i].kind));
    duckdb_data_chunk chunk = duckdb_create_data_chunk(types, _FLOW_FIELD_N);
    for (size_t i = 0; i < _FLOW_FIELD_N; i++)
        duckdb_destroy_logical_type(&types[i]);
    return chunk;
}

/** put_rows() - every record of the group through one chunk; an error stays in the appender */
static void put_rows(duckdb_appender appender, const StoreGroup *group, Arena *scratch,
                     const FlowRecord **rows) {
    duckdb_data_chunk chunk = chunk_new();
    size_t max = duckdb_vector_size();
    size_t n = 0;
    bool failed = false;
    for (size_t b = 0; b < group->batch_n; b++) {
        const FlowBatch *batch = group->batches[b];
        for (size_t i = 0; i < batch->n && !failed; i++) {
            rows[n++] = &batch->records[i];
            if (n < max)
                continue;
            fill_chunk(chunk, rows, n, scratch);
            failed = duckdb_append_data_chunk(appender, chunk) != DuckDBSuccess;
            arena_reset(scratch);
            n = 0;
        }
    }
    if (n && !failed) {
        fill_chunk(chunk, rows, n, scratch);
        (void)duckdb_append_data_chunk(appender, chunk);
    }
    duckdb_destroy_data_chunk(&chunk);
}

static DuckAnswer append_rows(Store *store, const StoreGroup *group, uint64_t segment,
                              Reason *reason) {
    char table[32];
    (void)snprintf(table, sizeof(table), "flow_%" PRIu64, segment);
    cleanup(arena_freep) Arena *scratch = NULL;
    cleanup(freep) const FlowRecord **rows = calloc(duckdb_vector_size(), sizeof(*rows));
    if (!rows || arena_new(&scratch, 16 << 10)) {
        reason_set(reason, "out of memory");
        return DUCK_MEMORY;
    }
    duckdb_appender appender = NULL;
    DuckAnswer answer = appender_open(store, table, &appender, reason);
    if (answer != DUCK_OK)
        return answer;
    put_rows(appender, group, scratch, rows);
    return appender_close(&appender, reason);
}

static DuckAnswer append_probes(Store *store, size_t n, Reason *reason) {
    duckdb_appender appender = NULL;
    DuckAnswer answer = appender_open(store, "probe", &appender, reason);
    if (answer != DUCK_OK)
        return answer;
    for (size_t i = store->probe_durable; i < n; i++) {
        (void)pthread_mutex_lock(&store->lock); /* the array may move */
        ProbeKey key = store->probes[i];
        (void)pthread_mutex_unlock(&store->lock);
        (void)duckdb_append_uint32(appender, (uint32_t)i + 1);
        (void)duckdb_append_blob(appender, key.bytes, sizeof(key.bytes));
        (void)duckdb_appender_end_row(appender);
    }
    return appender_close(&appender, reason);
}

static void put_counts(duckdb_appender appender, const BatchCounts *counts) {
    (void)duckdb_append_uint64(appender, counts->flows);
    (void)duckdb_append_uint64(appender, counts->packets);
    (void)duckdb_append_uint64(appender, counts->octets);
}

/** put_epoch() - the columns that cursors and gaps begin with; the key has a number by now */
static void put_epoch(Store *store, duckdb_appender appender, const uint8_t *key,
                      const uint8_t *epoch) {
    uint32_t number = 0;
    (void)store_probe(store, key, &number);
    (void)duckdb_append_uint32(appender, number);
    (void)duckdb_append_blob(appender, epoch, STORE_EPOCH_BYTES);
}

static DuckAnswer append_cursors(Store *store, const StoreGroup *group, uint64_t segment,
                                 Reason *reason) {
    char table[32];
    (void)snprintf(table, sizeof(table), "cursor_%" PRIu64, segment);
    duckdb_appender appender = NULL;
    DuckAnswer answer = appender_open(store, table, &appender, reason);
    if (answer != DUCK_OK)
        return answer;
    for (size_t i = 0; i < group->cursor_n; i++) {
        const StoreCursor *cursor = &group->cursors[i];
        put_epoch(store, appender, cursor->key, cursor->epoch);
        (void)duckdb_append_uint64(appender, cursor->sequence);
        (void)duckdb_append_uint64(appender, cursor->at_ms);
        put_counts(appender, &cursor->totals);
        (void)duckdb_append_bool(appender, cursor->finished);
        (void)duckdb_appender_end_row(appender);
    }
    return appender_close(&appender, reason);
}

static DuckAnswer append_gaps(Store *store, const StoreGroup *group, Reason *reason) {
    duckdb_appender appender = NULL;
    DuckAnswer answer = appender_open(store, "gap", &appender, reason);
    if (answer != DUCK_OK)
        return answer;
    for (size_t i = 0; i < group->gap_n; i++) {
        const StoreGap *gap = &group->gaps[i];
        put_epoch(store, appender, gap->key, gap->epoch);
        (void)duckdb_append_uint64(appender, gap->first);
        (void)duckdb_append_uint64(appender, gap->last);
        put_counts(appender, &gap->counts);
        (void)duckdb_append_uint64(appender, gap->at_ms);
        (void)duckdb_append_uint32(appender, gap->reason);
        (void)duckdb_appender_end_row(appender);
    }
    return appender_close(&appender, reason);
}

/** number_keys() - every key gets its number before the transaction looks how many are new */
static int number_keys(Store *store, const StoreGroup *group) {
    uint32_t number = 0;
    int r = 0;
    for (size_t i = 0; i < group->cursor_n && !r; i++)
        r = store_probe(store, group->cursors[i].key, &number);
    for (size_t i = 0; i < group->gap_n && !r; i++)
        r = store_probe(store, group->gaps[i].key, &number);
    return error_trace(r);
}

static size_t group_rows(const StoreGroup *group) {
    size_t n = 0;
    for (size_t i = 0; i < group->batch_n; i++)
        n += group->batches[i]->n;
    return n;
}

/** widen() - before the rows can be seen, so that no reader leaves their segment out */
static void widen(Store *store, const StoreGroup *group) {
    (void)pthread_mutex_lock(&store->lock);
    Segment *segment = &store->segments[store->segment_n - 1];
    for (size_t b = 0; b < group->batch_n; b++) {
        for (size_t i = 0; i < group->batches[b]->n; i++) {
            uint64_t last_ms = group->batches[b]->records[i].last_ms;
            if (last_ms > SCHEMA_TIME_MAX_MS)
                last_ms = SCHEMA_TIME_MAX_MS;
            if (last_ms < segment->first_last_ms)
                segment->first_last_ms = last_ms;
            if (last_ms > segment->last_last_ms)
                segment->last_last_ms = last_ms;
        }
    }
    (void)pthread_mutex_unlock(&store->lock);
}

static bool needs_segment(const Store *store, uint64_t now_ms) {
    if (!store->segment_n || !store->appendable)
        return true;
    const Segment *newest = &store->segments[store->segment_n - 1];
    return newest->rows && (now_ms / 3600000 > newest->opened_ms / 3600000 ||
                            newest->rows >= store->config.segment_rows);
}

static DuckAnswer append_once(Store *store, const StoreGroup *group, Reason *reason) {
    DuckAnswer answer = DUCK_OK;
    if (needs_segment(store, group->now_ms))
        answer = segment_next(store, group->now_ms, reason);
    if (answer != DUCK_OK)
        return answer;
    widen(store, group);
    uint64_t segment = store->segments[store->segment_n - 1].id;
    (void)pthread_mutex_lock(&store->lock);
    size_t probe_n = store->probe_n;
    (void)pthread_mutex_unlock(&store->lock);

    answer = duck_run(store->writer, "BEGIN", reason);
    if (answer == DUCK_OK && probe_n > store->probe_durable)
        answer = append_probes(store, probe_n, reason);
    if (answer == DUCK_OK && group_rows(group))
        answer = append_rows(store, group, segment, reason);
    if (answer == DUCK_OK && group->cursor_n)
        answer = append_cursors(store, group, segment, reason);
    if (answer == DUCK_OK && group->gap_n)
        answer = append_gaps(store, group, reason);
    if (answer == DUCK_OK) {
        commit_begin(store);
        answer = duck_run(store->writer, "COMMIT", reason);
        commit_end(store);
    }
    if (answer != DUCK_OK) {
        duck_roll_back(store->writer);
        return answer;
    }
    (void)pthread_mutex_lock(&store->lock);
    store->segments[store->segment_n - 1].rows += group_rows(group);
    store->probe_durable = probe_n;
    (void)pthread_mutex_unlock(&store->lock);
    return DUCK_OK;
}

/* and around it */

static void set_stop_queries(Store *store, bool stop) {
    (void)pthread_mutex_lock(&store->lock);
    store->stop_queries = stop;
    (void)pthread_cond_broadcast(&store->changed);
    (void)pthread_mutex_unlock(&store->lock);
}

/** append_patiently() - memory is shared with queries: they make room for what comes in */
static DuckAnswer append_patiently(Store *store, const StoreGroup *group, Reason *reason) {
    uint64_t until_ms = clock_monotonic_ms() + store->config.memory_patience_ms;
    DuckAnswer answer = append_once(store, group, reason);
    if (answer != DUCK_MEMORY)
        return answer;
    set_stop_queries(store, true);
    while (answer == DUCK_MEMORY && clock_monotonic_ms() < until_ms) {
        struct timespec pause = {.tv_nsec = MEMORY_PAUSE_MS * 1000000L};
        (void)nanosleep(&pause, NULL);
        answer = append_once(store, group, reason);
    }
    set_stop_queries(store, false);
    return answer;
}

static bool take_reopened(Store *store) {
    (void)pthread_mutex_lock(&store->lock);
    bool reopened = store->reopened;
    store->reopened = false;
    (void)pthread_mutex_unlock(&store->lock);
    return reopened;
}

/** reopen_now() - whether the group is in can only be told by reading the cursors again */
static int reopen_now(Store *store, Reason *reason) {
    Reason why = {0};
    use_failed(store);
    int r = use_begin(store, &why);
    if (r) {
        reason_append(reason, "; %s", why.text);
        return r;
    }
    use_end(store);
    (void)take_reopened(store);
    return STORE_E_REOPENED;
}

int store_append(Store *store, const StoreGroup *group, Reason *reason) {
    Reason why = {0};
    int r = use_begin(store, reason);
    if (r)
        return r;
    if (take_reopened(store)) {
        use_end(store);
        reason_set(reason, "the store had to be opened again");
        return STORE_E_REOPENED;
    }
    r = number_keys(store, group);
    DuckAnswer answer = DUCK_OK;
    if (!r) {
        write_begin(store, false);
        answer = append_patiently(store, group, &why);
        write_end(store);
    }
    use_end(store);
    if (r)
        return error_trace(r);
    if (answer != DUCK_OK)
        reason_set(reason, "cannot store a group of %zu flows: %s", group_rows(group), why.text);
    switch (answer) {
    case DUCK_OK:
        return 0;
    case DUCK_FULL:
        return STORE_E_FULL;
    case DUCK_MEMORY:
        return STORE_E_MEMORY;
    default:
        return reopen_now(store, reason);
    }
}
