/* SPDX-License-Identifier: Apache-2.0 */

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/error.h"
#include "query/filter.h"
#include "store/embedded.h"
#include "store/schema.h"

enum {
    DEFAULT_TIMEOUT_MS = 10000,
    WAIT_TICK_MS = 20,
    NEWEST_FACTOR = 30,
};

/* readers */

/** reader_take() - waits for a free connection until the query's time is over */
static int reader_take(Store *store, const StoreBudget *budget, Reader **readerp) {
    unsigned timeout_ms = budget && budget->timeout_ms ? budget->timeout_ms : DEFAULT_TIMEOUT_MS;
    uint64_t deadline_ms = clock_monotonic_ms() + timeout_ms;
    const atomic_bool *cancelled = budget ? budget->cancelled : NULL;
    Reader *reader = NULL;
    int r = 0;
    (void)pthread_mutex_lock(&store->lock);
    while (!reader && !r) {
        for (size_t i = 0; i < store->config.readers && !reader && !store->committing; i++)
            if (!store->readers[i].busy)
                reader = &store->readers[i];
        if (store->stop_queries || store->closing || (cancelled && atomic_load(cancelled)))
            r = STORE_E_CANCELLED;
        else if (clock_monotonic_ms() >= deadline_ms)
            r = STORE_E_TIMEOUT;
        else if (store->committing &&
                 clock_monotonic_ms() - store->committing_ms > STORE_PATIENCE_MS)
            r = STORE_E_UNAVAILABLE;
        else if (!reader)
            keeper_wait(store, WAIT_TICK_MS); /* nobody says when it is cancelled */
    }
    if (!r) {
        reader->busy = true;
        reader->deadline_ms = deadline_ms;
        reader->cancelled = cancelled;
        reader->stopped = 0;
        reader->settled = false;
        reader->unended = false;
        store->beginning++;
        (void)pthread_cond_broadcast(&store->changed);
        *readerp = reader;
    }
    (void)pthread_mutex_unlock(&store->lock);
    return r;
}

/** reader_passed() - its transaction has begun or ended, or not: commits go on */
static void reader_passed(Store *store) {
    (void)pthread_mutex_lock(&store->lock);
    store->beginning--;
    (void)pthread_cond_broadcast(&store->changed);
    (void)pthread_mutex_unlock(&store->lock);
}

/**
 * reader_give() - ends its transaction, or leaves that to the commit under way; returns why the
 * watchdog stopped it, or 0. An interrupt from here on would hit the next question.
 */
static int reader_give(Store *store, Reader *reader) {
    (void)pthread_mutex_lock(&store->lock);
    const int stopped = reader->stopped;
    const bool left = store->committing;
    reader->settled = true;
    reader->unended = left;
    store->beginning += !left;
    (void)pthread_mutex_unlock(&store->lock);
    if (left)
        return stopped; /* it may be another's by now */
    duck_roll_back(reader->connection);
    (void)pthread_mutex_lock(&store->lock);
    reader->busy = false;
    (void)pthread_mutex_unlock(&store->lock);
    reader_passed(store);
    return stopped;
}

/* segments, as the reader's own snapshot has them */

typedef struct Snapshot {
    Segment *segments; /* newest first */
    size_t n;
    uint64_t newest_ms; /* largest last_ms of all */
} Snapshot;

/** extent_of() - what is remembered of a segment; one just dropped has been forgotten: anything */
static Segment extent_of(const Store *store, uint64_t id) {
    for (size_t i = 0; i < store->segment_n; i++)
        if (store->segments[i].id == id)
            return store->segments[i];
    return (Segment){.id = id, .last_last_ms = UINT64_MAX};
}

static int take_id(Snapshot *snapshot, const Store *store, uint64_t id) {
    Segment *grown = reallocarray(snapshot->segments, snapshot->n + 1, sizeof(*grown));
    if (!grown)
        return error_origin(-ENOMEM);
    snapshot->segments = grown;
    grown[snapshot->n] = extent_of(store, id);
    if (grown[snapshot->n].last_last_ms > snapshot->newest_ms)
        snapshot->newest_ms = grown[snapshot->n].last_last_ms;
    snapshot->n++;
    return 0;
}

static DuckAnswer take_snapshot(Store *store, duckdb_connection connection, Snapshot *snapshot,
                                Reason *reason) {
    DuckAnswer answer = duck_run(connection, "BEGIN TRANSACTION READ ONLY", reason);
    if (answer != DUCK_OK) {
        reader_passed(store);
        return answer;
    }
    int end = 0;
    duckdb_result result;
    /* only at its first access it really begins */
    const duckdb_state state =
        duckdb_query(connection, "SELECT id FROM segment ORDER BY id DESC", &result);
    reader_passed(store);
    if (state != DuckDBSuccess) {
        answer = duck_fail(&result, reason);
        duckdb_destroy_result(&result);
        return answer;
    }
    /* with the snapshot taken: what is remembered now is at least as wide as what it holds */
    (void)pthread_mutex_lock(&store->lock);
    for (duckdb_data_chunk chunk = duckdb_fetch_chunk(result); chunk;
         chunk = duckdb_fetch_chunk(result)) {
        for (idx_t i = 0; i < duckdb_data_chunk_get_size(chunk) && !end; i++)
            end = take_id(snapshot, store, duck_u64(chunk, 0, i));
        duckdb_destroy_data_chunk(&chunk);
    }
    (void)pthread_mutex_unlock(&store->lock);
    duckdb_destroy_result(&result);
    return end ? DUCK_MEMORY : DUCK_OK;
}

/* bindings */

static duckdb_state bind_one(duckdb_prepared_statement prepared, idx_t at, const Binding *b) {
    switch (b->kind) {
    case FLOW_KIND_U8:
        return duckdb_bind_uint8(prepared, at, (uint8_t)b->number);
    case FLOW_KIND_U16:
        return duckdb_bind_uint16(prepared, at, (uint16_t)b->number);
    case FLOW_KIND_U32:
        return duckdb_bind_uint32(prepared, at, (uint32_t)b->number);
    case FLOW_KIND_U64:
    case FLOW_KIND_MAC:
        return duckdb_bind_uint64(prepared, at, b->number);
    case FLOW_KIND_TIME_MS: {
        uint64_t ms = b->number < SCHEMA_TIME_MAX_MS ? b->number : SCHEMA_TIME_MAX_MS;
        duckdb_value value =
            duckdb_create_timestamp_ms((duckdb_timestamp_ms){.millis = (int64_t)ms});
        duckdb_state state = duckdb_bind_value(prepared, at, value);
        duckdb_destroy_value(&value);
        return state;
    }
    case FLOW_KIND_ADDRESS:
        return duckdb_bind_blob(prepared, at, b->address.bytes, net_address_bytes(&b->address));
    case FLOW_KIND_TEXT:
        return duckdb_bind_varchar_length(prepared, at, b->text.text, b->text.size);
    }
    return DuckDBError;
}

static DuckAnswer bind_all(duckdb_prepared_statement prepared, const Statement *statement,
                           Reason *reason) {
    for (size_t i = 0; i < statement->n; i++) {
        if (bind_one(prepared, i + 1, &statement->bindings[i]) != DuckDBSuccess) {
            const char *message = duckdb_prepare_error(prepared);
            reason_set(reason, "value %zu of the filter cannot be used: %s", i + 1,
                       message ? message : "not valid UTF-8?");
            return DUCK_ERROR;
        }
    }
    return DUCK_OK;
}

/* rows */

static int take_flow(StoreResult *result, const QueryPlan *plan, duckdb_data_chunk chunk,
                     idx_t row) {
    if (result->flows->n == plan->limit) {
        result->more = true;
        return 0;
    }
    FlowRecord *record = flow_batch_add(result->flows);
    if (!record)
        return error_origin(-ENOMEM);
    return error_trace(fill_record(record, chunk, row, result->flows->texts));
}

/** row_add() - in steps of powers of two, of which row_n itself tells when */
static StoreRow *row_add(StoreResult *result) {
    if ((result->row_n & (result->row_n - 1)) == 0) {
        size_t capacity = result->row_n ? 2 * result->row_n : 1;
        StoreRow *grown = reallocarray(result->rows, capacity, sizeof(*grown));
        if (!grown)
            return NULL;
        result->rows = grown;
    }
    StoreRow *row = &result->rows[result->row_n++];
    *row = (StoreRow){0};
    return row;
}

static int take_row(StoreResult *result, const QueryPlan *plan, duckdb_data_chunk chunk, idx_t at) {
    if (plan->kind == QUERY_TOP && result->row_n == plan->limit) {
        result->more = true;
        return 0;
    }
    StoreRow *row = row_add(result);
    if (!row)
        return error_origin(-ENOMEM);
    row->flows = duck_u64(chunk, 0, at);
    row->octets = duck_u64(chunk, 1, at);
    row->rev_octets = duck_u64(chunk, 2, at);
    row->packets = duck_u64(chunk, 3, at);
    row->rev_packets = duck_u64(chunk, 4, at);
    row->value = duck_u64(chunk, 5, at);
    idx_t column = 6;
    if (plan->kind == QUERY_SERIES)
        row->bucket_ms = duck_u64(chunk, column++, at);
    if (plan->kind == QUERY_SERIES && plan->group_n)
        row->other = !duck_bool(chunk, column++, at);
    if (plan->kind == QUERY_TOTALS) {
        row->first_ms = duck_u64(chunk, column++, at);
        row->last_ms = duck_u64(chunk, column++, at);
        return 0;
    }
    int r = 0;
    for (size_t i = 0; i < plan->group_n && !r; i++)
        r = fill_value(&row->keys[i], query_field_kind(plan->group[i]), chunk, column++, at,
                       result->texts);
    return error_trace(r);
}

static int take_chunks(StoreResult *result, const QueryPlan *plan, duckdb_result *answer) {
    int r = 0;
    for (duckdb_data_chunk chunk = duckdb_fetch_chunk(*answer); chunk;
         chunk = duckdb_fetch_chunk(*answer)) {
        for (idx_t i = 0; i < duckdb_data_chunk_get_size(chunk) && !r; i++)
            r = plan->kind == QUERY_FLOWS ? take_flow(result, plan, chunk, i)
                                          : take_row(result, plan, chunk, i);
        duckdb_destroy_data_chunk(&chunk);
    }
    return r;
}

/* the query */

static DuckAnswer run(duckdb_connection connection, const QueryPlan *plan, Statement *statement,
                      StoreResult *result, Reason *reason) {
    duckdb_prepared_statement prepared = NULL;
    DuckAnswer answer = DUCK_OK;
    if (duckdb_prepare(connection, buffer_text(&statement->sql), &prepared) != DuckDBSuccess) {
        const char *message = duckdb_prepare_error(prepared);
        message = message ? message : "no message";
        reason_set(reason, "%.*s", (int)strcspn(message, "\n"), message);
        answer = duck_classify(DUCKDB_ERROR_INVALID, message);
    }
    if (answer == DUCK_OK)
        answer = bind_all(prepared, statement, reason);
    if (answer == DUCK_OK) {
        duckdb_result rows;
        if (duckdb_execute_prepared(prepared, &rows) != DuckDBSuccess)
            answer = duck_fail(&rows, reason);
        else if (take_chunks(result, plan, &rows))
            answer = DUCK_MEMORY;
        duckdb_destroy_result(&rows);
    }
    duckdb_destroy_prepare(&prepared);
    return answer;
}

/** query_snapshot() - those of its segments that can hold something of the plan's time range */
static DuckAnswer query_snapshot(const Snapshot *snapshot, duckdb_connection connection,
                                 const QueryPlan *plan, StoreResult *result, Reason *reason) {
    cleanup(freep) uint64_t *ids = calloc(snapshot->n + 1, sizeof(*ids));
    size_t n = 0;
    if (!ids)
        return DUCK_MEMORY;
    for (size_t i = 0; i < snapshot->n; i++)
        if (snapshot->segments[i].last_last_ms >= plan->from_ms &&
            snapshot->segments[i].first_last_ms < plan->to_ms)
            ids[n++] = snapshot->segments[i].id;
    if (!n)
        return DUCK_OK;
    Statement statement = {0};
    statement_build(&statement, plan, ids, n);
    DuckAnswer answer =
        statement.failed ? DUCK_MEMORY : run(connection, plan, &statement, result, reason);
    statement_deinit(&statement);
    return answer;
}

/**
 * query_newest() - the newest flows are looked for in the last second, then further and further
 * back: exact, and it does not read a day to show its last hundred flows.
 */
static DuckAnswer query_newest(const Snapshot *snapshot, duckdb_connection connection,
                               const QueryPlan *plan, StoreResult *result, Reason *reason) {
    uint64_t end_ms = snapshot->newest_ms < plan->to_ms ? snapshot->newest_ms + 1 : plan->to_ms;
    for (uint64_t window_ms = 1000;; window_ms *= NEWEST_FACTOR) {
        QueryPlan part = *plan;
        if (end_ms > window_ms && end_ms - window_ms > plan->from_ms)
            part.from_ms = end_ms - window_ms;
        flow_batch_clear(result->flows);
        DuckAnswer answer = query_snapshot(snapshot, connection, &part, result, reason);
        if (answer != DUCK_OK || result->more || part.from_ms == plan->from_ms)
            return answer;
    }
}

static DuckAnswer query(Store *store, Reader *reader, const QueryPlan *plan, StoreResult *result,
                        Reason *reason) {
    Snapshot snapshot = {0};
    DuckAnswer answer = take_snapshot(store, reader->connection, &snapshot, reason);
    bool newest = plan->kind == QUERY_FLOWS && plan->sort == FLOW_LAST_MS && !plan->ascending;
    if (answer == DUCK_OK)
        answer = (newest ? query_newest : query_snapshot)(&snapshot, reader->connection, plan,
                                                          result, reason);
    if (answer == DUCK_OK && plan->kind == QUERY_TOTALS && !result->row_n && !row_add(result))
        answer = DUCK_MEMORY;
    free(snapshot.segments);
    return answer;
}

static int result_new(StoreResult **resultp, const QueryPlan *plan) {
    cleanup(store_result_freep) StoreResult *result = calloc(1, sizeof(*result));
    if (!result)
        return error_origin(-ENOMEM);
    int r = plan->kind == QUERY_FLOWS ? flow_batch_new(&result->flows, 64)
                                      : arena_new(&result->texts, 4096);
    if (r)
        return error_trace(r);
    *resultp = result;
    result = NULL;
    return 0;
}

StoreResult *store_result_free(StoreResult *result) {
    if (!result)
        return NULL;
    flow_batch_free(result->flows);
    arena_free(result->texts);
    free(result->rows);
    free(result);
    return NULL;
}

static int answer_of(DuckAnswer answer, int stopped, const Reason *why, Reason *reason) {
    if (answer == DUCK_OK)
        return 0;
    if (stopped == STORE_E_TIMEOUT)
        reason_set(reason, "the question took too long; a shorter time range or a filter helps");
    else if (stopped == STORE_E_UNAVAILABLE)
        reason_set(reason, "the disk takes its time to write; flows wait at the probes");
    else if (stopped)
        reason_set(reason, "the question was cancelled");
    if (stopped)
        return stopped;
    if (answer == DUCK_MEMORY || answer == DUCK_FULL) {
        reason_set(reason, "the question needs more memory than the store has; a shorter time"
                           " range or a filter helps");
        return STORE_E_MEMORY;
    }
    reason_set(reason, "%s", why->text);
    return answer == DUCK_FATAL ? STORE_E_UNAVAILABLE : STORE_E_REFUSED;
}

int store_query(Store *store, const QueryPlan *plan, const StoreBudget *budget,
                StoreResult **resultp, Reason *reason) {
    if (query_plan_check(plan, reason))
        return STORE_E_REFUSED;
    uint64_t start_ms = clock_monotonic_ms();
    cleanup(store_result_freep) StoreResult *result = NULL;
    int r = result_new(&result, plan);
    if (r)
        return error_trace(r);
    r = use_begin(store, reason);
    if (r)
        return r;
    Reader *reader = NULL;
    r = reader_take(store, budget, &reader);
    if (r) {
        use_end(store);
        return answer_of(DUCK_INTERRUPTED, r, NULL, reason);
    }
    Reason why = {0};
    DuckAnswer answer = query(store, reader, plan, result, &why);
    int stopped = reader_give(store, reader);
    if (answer == DUCK_FATAL)
        use_failed(store);
    use_end(store);
    r = answer_of(answer, stopped, &why, reason);
    if (r)
        return r;
    result->elapsed_ms = clock_monotonic_ms() - start_ms;
    *resultp = result;
    result = NULL;
    return 0;
}
