/* SPDX-License-Identifier: Apache-2.0 */

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "store/embedded.h"
#include "store/schema.h"

static const Segment segment_empty = {.first_last_ms = UINT64_MAX};

/** add() - with the lock held, or before the threads run; NULL when out of memory */
static Segment *add(Store *store) {
    Segment *grown = reallocarray(store->segments, store->segment_n + 1, sizeof(*grown));
    if (!grown)
        return NULL;
    store->segments = grown;
    Segment *segment = &store->segments[store->segment_n++];
    *segment = segment_empty;
    return segment;
}

static int take_segment(void *context, duckdb_data_chunk chunk, idx_t row) {
    Segment *segment = add(context);
    if (!segment)
        return error_origin(-ENOMEM);
    segment->id = duck_u64(chunk, 0, row);
    segment->opened_ms = duck_u64(chunk, 1, row);
    segment->rows = duck_u64(chunk, 2, row);
    if (!duck_null(chunk, 3, row))
        segment->first_last_ms = duck_u64(chunk, 3, row);
    segment->last_last_ms = duck_u64(chunk, 4, row);
    return 0;
}

static int take_extent(void *context, duckdb_data_chunk chunk, idx_t row) {
    Segment *segment = context;
    segment->rows = duck_u64(chunk, 0, row);
    if (segment->rows) {
        segment->first_last_ms = duck_u64(chunk, 1, row);
        segment->last_last_ms = duck_u64(chunk, 2, row);
    }
    return 0;
}

DuckAnswer segments_load(Store *store, Reason *reason) {
    store->segment_n = 0;
    int end = 0;
    DuckAnswer answer =
        duck_each(store->writer,
                  "SELECT s.id, s.opened_ms, e.rows, e.first_last_ms, e.last_last_ms"
                  " FROM segment s LEFT JOIN segment_end e USING (id) ORDER BY s.id",
                  take_segment, store, &end, reason);
    if (answer == DUCK_OK && end) {
        reason_set(reason, "out of memory");
        answer = DUCK_MEMORY;
    }
    for (size_t i = 0; i < store->segment_n && answer == DUCK_OK; i++)
        answer = schema_upgrade(store->writer, store->segments[i].id, &store->appendable, reason);
    if (answer != DUCK_OK || !store->segment_n)
        return answer;

    Segment *newest = &store->segments[store->segment_n - 1];
    char sql[200];
    (void)snprintf(sql, sizeof(sql),
                   "SELECT count(*)::UBIGINT, min(epoch_ms(last_ms))::BIGINT,"
                   " max(epoch_ms(last_ms))::BIGINT FROM flow_%" PRIu64,
                   newest->id);
    return duck_each(store->writer, sql, take_extent, newest, NULL, reason);
}

static void put_cursor_table(Buffer *sql, uint64_t id, const Segment *previous, uint64_t now_ms) {
    buffer_printf(sql,
                  "CREATE TABLE cursor_%" PRIu64 " (probe UINTEGER, epoch BLOB, sequence UBIGINT,"
                  " at_ms UBIGINT, flows UBIGINT, packets UBIGINT, octets UBIGINT,"
                  " finished BOOLEAN);",
                  id);
    if (!previous)
        return;
    uint64_t keep_ms = STORE_CURSOR_KEEP_DAYS * 86400000ull;
    buffer_printf(sql,
                  "INSERT INTO cursor_%" PRIu64 " SELECT probe, epoch, max(sequence), max(at_ms),"
                  " max(flows), max(packets), max(octets), bool_or(finished) FROM cursor_%" PRIu64
                  " GROUP BY probe, epoch"
                  " HAVING NOT bool_or(finished) OR max(at_ms) >= %" PRIu64 ";"
                  "DROP TABLE cursor_%" PRIu64 ";",
                  id, previous->id, now_ms > keep_ms ? now_ms - keep_ms : 0, previous->id);
}

static void put_end(Buffer *sql, const Segment *segment) {
    if (segment->rows)
        buffer_printf(sql,
                      "INSERT INTO segment_end VALUES (%" PRIu64 ", %" PRIu64 ", %" PRIu64
                      ", %" PRIu64 ");",
                      segment->id, segment->rows, segment->first_last_ms, segment->last_last_ms);
    else
        buffer_printf(sql, "INSERT INTO segment_end VALUES (%" PRIu64 ", 0, NULL, NULL);",
                      segment->id);
}

DuckAnswer segment_next(Store *store, uint64_t now_ms, Reason *reason) {
    const Segment *previous = store->segment_n ? &store->segments[store->segment_n - 1] : NULL;
    uint64_t id = previous ? previous->id + 1 : 1;
    Buffer sql = {0};
    buffer_put_text(&sql, "BEGIN;");
    schema_flow_table(&sql, id);
    buffer_put_text(&sql, ";");
    put_cursor_table(&sql, id, previous, now_ms);
    if (previous)
        put_end(&sql, previous);
    buffer_printf(&sql,
                  "INSERT INTO segment VALUES (%" PRIu64 ", 'hot', 'flow_%" PRIu64 "', %" PRIu64
                  "); COMMIT",
                  id, id, now_ms);
    DuckAnswer answer = DUCK_MEMORY;
    commit_begin(store);
    if (!sql.failed)
        answer = duck_run(store->writer, buffer_text(&sql), reason);
    commit_end(store);
    buffer_deinit(&sql);
    if (answer != DUCK_OK) {
        duck_roll_back(store->writer);
        return answer;
    }

    (void)pthread_mutex_lock(&store->lock);
    Segment *segment = add(store);
    if (segment) {
        segment->id = id;
        segment->opened_ms = now_ms;
        store->appendable = true;
    }
    (void)pthread_mutex_unlock(&store->lock);
    return segment ? DUCK_OK : DUCK_FATAL; /* in the file but not in our list: read it again */
}

/* retention */

static void put_drop(Buffer *sql, uint64_t id) {
    buffer_printf(sql,
                  "DROP TABLE flow_%" PRIu64 "; DELETE FROM segment WHERE id = %" PRIu64
                  "; DELETE FROM segment_end WHERE id = %" PRIu64 ";",
                  id, id, id);
}

/** drop() - in one transaction every old segment, never the newest; then out of our list */
static DuckAnswer drop(Store *store, uint64_t before_ms, uint64_t *droppedp, Reason *reason) {
    Buffer sql = {0};
    uint64_t dropped = 0;
    buffer_put_text(&sql, "BEGIN;");
    for (size_t i = 0; i + 1 < store->segment_n; i++) {
        if (store->segments[i].last_last_ms >= before_ms)
            continue;
        put_drop(&sql, store->segments[i].id);
        dropped++;
    }
    buffer_put_text(&sql, "COMMIT");
    DuckAnswer answer = DUCK_OK;
    commit_begin(store);
    if (sql.failed)
        answer = DUCK_MEMORY;
    else if (dropped)
        answer = duck_run(store->writer, buffer_text(&sql), reason);
    commit_end(store);
    buffer_deinit(&sql);
    if (answer != DUCK_OK) {
        duck_roll_back(store->writer);
        return answer;
    }
    (void)pthread_mutex_lock(&store->lock);
    size_t kept = 0;
    for (size_t i = 0; i < store->segment_n; i++)
        if (i + 1 == store->segment_n || store->segments[i].last_last_ms >= before_ms)
            store->segments[kept++] = store->segments[i];
    store->segment_n = kept;
    (void)pthread_mutex_unlock(&store->lock);
    *droppedp = dropped;
    return DUCK_OK;
}

int store_drop_before(Store *store, uint64_t before_ms, uint64_t *segmentsp) {
    Reason reason = {0};
    int r = use_begin(store, &reason);
    if (r)
        return r;
    write_begin(store, true);
    DuckAnswer answer = drop(store, before_ms, segmentsp, &reason);
    write_end(store);
    if (answer == DUCK_FATAL || answer == DUCK_ERROR)
        use_failed(store);
    use_end(store);
    if (answer == DUCK_OK)
        return 0;
    return answer == DUCK_FULL     ? STORE_E_FULL
           : answer == DUCK_MEMORY ? STORE_E_MEMORY
                                   : STORE_E_UNAVAILABLE;
}
