/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Counters of exporters' interfaces: what came and went between two samples. They are no part of
 * delivery, so they have a transaction of their own, and a table that the first of them makes.
 */

#include <inttypes.h>
#include <stdio.h>

#include "store/embedded.h"

#define COLUMNS                                                                                    \
    "exporter UBIGINT, sub_agent UINTEGER, interface UINTEGER, at_ms UBIGINT, ms UBIGINT,"         \
    " in_octets UBIGINT, in_packets UBIGINT, in_discards UBIGINT, in_errors UBIGINT,"              \
    " out_octets UBIGINT, out_packets UBIGINT, out_discards UBIGINT, out_errors UBIGINT"

enum { HOUR_MS = 3600 * 1000 };

static DuckAnswer put_rows(Store *store, const StoreCounter *rows, size_t n, Reason *reason) {
    duckdb_appender appender = NULL;
    if (duckdb_appender_create(store->writer, NULL, "interface_counter", &appender) ==
        DuckDBError) {
        reason_set(reason, "%s", appender ? duckdb_appender_error(appender) : "no appender");
        (void)duckdb_appender_destroy(&appender);
        return DUCK_FATAL;
    }
    for (size_t i = 0; i < n; i++) {
        const StoreCounter *row = &rows[i];
        (void)duckdb_append_uint64(appender, row->exporter);
        (void)duckdb_append_uint32(appender, row->sub_agent);
        (void)duckdb_append_uint32(appender, row->interface);
        (void)duckdb_append_uint64(appender, row->at_ms);
        (void)duckdb_append_uint64(appender, row->ms);
        for (size_t k = 0; k < _STORE_COUNTER_N; k++)
            (void)duckdb_append_uint64(appender, row->grown[k]);
        (void)duckdb_appender_end_row(appender);
    }
    const bool good = duckdb_appender_close(appender) != DuckDBError;
    if (!good)
        reason_set(reason, "%s", duckdb_appender_error(appender));
    (void)duckdb_appender_destroy(&appender);
    return good ? DUCK_OK : DUCK_MEMORY;
}

static DuckAnswer append(Store *store, const StoreCounter *rows, size_t n, Reason *reason) {
    const uint64_t newest_ms = rows[n - 1].at_ms;
    DuckAnswer answer = duck_run(
        store->writer, "CREATE TABLE IF NOT EXISTS interface_counter (" COLUMNS ")", reason);
    if (answer == DUCK_OK)
        answer = duck_run(store->writer, "BEGIN", reason);
    if (answer != DUCK_OK)
        return answer;
    answer = put_rows(store, rows, n, reason);
    if (answer == DUCK_OK && newest_ms / HOUR_MS != store->counters_hour &&
        newest_ms > (uint64_t)STORE_COUNTERS_KEEP_DAYS * 24 * HOUR_MS)
        answer =
            duck_runf(store->writer, reason, "DELETE FROM interface_counter WHERE at_ms < %" PRIu64,
                      newest_ms - (uint64_t)STORE_COUNTERS_KEEP_DAYS * 24 * HOUR_MS);
    if (answer == DUCK_OK)
        answer = duck_run(store->writer, "COMMIT", reason);
    if (answer != DUCK_OK)
        duck_roll_back(store->writer);
    else
        store->counters_hour = newest_ms / HOUR_MS;
    return answer;
}

int store_append_counters(Store *store, const StoreCounter *rows, size_t n, Reason *reason) {
    if (n == 0)
        return 0;
    int r = use_begin(store, reason);
    if (r)
        return r;
    write_begin(store, false);
    const DuckAnswer answer = append(store, rows, n, reason);
    if (answer == DUCK_FATAL)
        use_failed(store);
    write_end(store);
    use_end(store);
    return answer == DUCK_OK ? 0 : answer == DUCK_FULL ? STORE_E_FULL : STORE_E_UNAVAILABLE;
}

/* --- reading --- */

typedef struct Call {
    StoreCounterFn *fn;
    void *context;
} Call;

static int take(void *context, duckdb_data_chunk chunk, idx_t row) {
    const Call *call = context;
    StoreCounter out = {.at_ms = duck_u64(chunk, 0, row), .ms = duck_u64(chunk, 1, row)};
    for (size_t k = 0; k < _STORE_COUNTER_N; k++)
        out.grown[k] = duck_u64(chunk, (idx_t)(2 + k), row);
    return call->fn(call->context, &out);
}

static int has_table(void *context, duckdb_data_chunk chunk, idx_t row) {
    *(bool *)context = duck_u64(chunk, 0, row) > 0;
    return 0;
}

int store_counters(Store *store, const StoreCounterQuery *query, StoreCounterFn *fn,
                   void *context) {
    char sql[1024];
    bool there = false;
    int r = use_begin(store, NULL);
    if (r)
        return r;
    if (!write_begin_soon(store)) {
        use_end(store);
        return STORE_E_UNAVAILABLE;
    }
    int end = 0;
    DuckAnswer answer = duck_each(store->writer,
                                  "SELECT count(*)::UBIGINT FROM duckdb_tables()"
                                  " WHERE table_name = 'interface_counter'",
                                  has_table, &there, &end, NULL);
    (void)snprintf(sql, sizeof(sql),
                   "SELECT (at_ms // %" PRIu64 " * %" PRIu64 ")::UBIGINT AS b, sum(ms)::UBIGINT,"
                   " sum(in_octets)::UBIGINT, sum(in_packets)::UBIGINT, sum(in_discards)::UBIGINT,"
                   " sum(in_errors)::UBIGINT, sum(out_octets)::UBIGINT,"
                   " sum(out_packets)::UBIGINT, sum(out_discards)::UBIGINT,"
                   " sum(out_errors)::UBIGINT FROM interface_counter WHERE exporter = %" PRIu64
                   " AND sub_agent = %" PRIu32 " AND interface = %" PRIu32 " AND at_ms >= %" PRIu64
                   " AND at_ms < %" PRIu64 " GROUP BY b ORDER BY b",
                   query->step_ms, query->step_ms, query->exporter, query->sub_agent,
                   query->interface, query->from_ms, query->to_ms);
    Call call = {.fn = fn, .context = context};
    if (answer == DUCK_OK && there)
        answer = duck_each(store->writer, sql, take, &call, &end, NULL);
    if (answer == DUCK_FATAL)
        use_failed(store);
    write_end(store);
    use_end(store);
    return answer == DUCK_OK ? end : STORE_E_UNAVAILABLE;
}
