/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What the store keeps of delivery: probes and their numbers, cursors, gaps.
 */

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/hash.h"
#include "store/embedded.h"

/* probes: an array by number, and an open-addressed index of it by key, at most half full */

static size_t index_of(const Store *store, const uint8_t *key) {
    return hash_bytes(key, STORE_KEY_BYTES, 0) & (store->probe_slot_n - 1);
}

static void index_put(Store *store, uint32_t number) {
    size_t i = index_of(store, store->probes[number - 1].bytes);
    while (store->probe_slots[i])
        i = (i + 1) & (store->probe_slot_n - 1);
    store->probe_slots[i] = number;
}

static int index_grow(Store *store) {
    size_t n = store->probe_slot_n ? 2 * store->probe_slot_n : 64;
    uint32_t *slots = calloc(n, sizeof(*slots));
    ProbeKey *keys = reallocarray(store->probes, n / 2, sizeof(*keys));
    if (keys)
        store->probes = keys;
    if (!slots || !keys) {
        free(slots);
        return error_origin(-ENOMEM);
    }
    free(store->probe_slots);
    store->probe_slots = slots;
    store->probe_slot_n = n;
    for (uint32_t i = 0; i < store->probe_n; i++)
        index_put(store, i + 1);
    return 0;
}

static uint32_t index_find(const Store *store, const uint8_t *key) {
    if (!store->probe_slot_n)
        return 0;
    for (size_t i = index_of(store, key);; i = (i + 1) & (store->probe_slot_n - 1)) {
        uint32_t number = store->probe_slots[i];
        if (!number || memcmp(store->probes[number - 1].bytes, key, STORE_KEY_BYTES) == 0)
            return number;
    }
}

int probe_number(Store *store, const uint8_t key[STORE_KEY_BYTES], uint32_t *numberp) {
    uint32_t number = index_find(store, key);
    if (!number) {
        int r = 2 * store->probe_n >= store->probe_slot_n ? index_grow(store) : 0;
        if (r)
            return error_trace(r);
        memcpy(store->probes[store->probe_n].bytes, key, STORE_KEY_BYTES);
        number = (uint32_t)++store->probe_n;
        index_put(store, number);
    }
    *numberp = number;
    return 0;
}

int store_probe(Store *store, const uint8_t key[STORE_KEY_BYTES], uint32_t *numberp) {
    (void)pthread_mutex_lock(&store->lock);
    int r = probe_number(store, key, numberp);
    (void)pthread_mutex_unlock(&store->lock);
    return r;
}

int store_probes(Store *store, StoreProbeFn *fn, void *context) {
    int r = 0;
    for (uint32_t i = 0; !r; i++) {
        (void)pthread_mutex_lock(&store->lock);
        bool end = i == store->probe_n;
        ProbeKey key = end ? (ProbeKey){0} : store->probes[i];
        (void)pthread_mutex_unlock(&store->lock);
        if (end)
            break;
        r = fn(context, i + 1, key.bytes);
    }
    return r;
}

/* cursors */

typedef struct CursorCall {
    StoreCursorFn *fn;
    void *context;
} CursorCall;

static bool take_bytes(uint8_t *to, uint32_t n, duckdb_data_chunk chunk, idx_t column, idx_t row) {
    uint32_t size = 0;
    const char *bytes = duck_text(chunk, column, row, &size);
    if (size == n)
        memcpy(to, bytes, n);
    return size == n;
}

static int take_cursor(void *context, duckdb_data_chunk chunk, idx_t row) {
    const CursorCall *call = context;
    StoreCursor cursor = {0};
    if (!take_bytes(cursor.key, sizeof(cursor.key), chunk, 0, row) ||
        !take_bytes(cursor.epoch, sizeof(cursor.epoch), chunk, 1, row))
        return error_origin(-EBADMSG);
    cursor.sequence = duck_u64(chunk, 2, row);
    cursor.at_ms = duck_u64(chunk, 3, row);
    cursor.totals.flows = duck_u64(chunk, 4, row);
    cursor.totals.packets = duck_u64(chunk, 5, row);
    cursor.totals.octets = duck_u64(chunk, 6, row);
    cursor.finished = duck_bool(chunk, 7, row);
    return call->fn(call->context, &cursor);
}

/** read_rows() - between writes, so that what it sees is what store_append() last answered for */
static int read_rows(Store *store, const char *sql, DuckRowFn *fn, void *context) {
    int r = 0;
    DuckAnswer answer = duck_each(store->writer, sql, fn, context, &r, NULL);
    if (answer == DUCK_FATAL)
        use_failed(store);
    return answer == DUCK_OK ? r : answer == DUCK_MEMORY ? STORE_E_MEMORY : STORE_E_UNAVAILABLE;
}

int store_cursors(Store *store, StoreCursorFn *fn, void *context) {
    int r = use_begin(store, NULL);
    if (r)
        return r;
    write_begin(store, false);
    if (store->segment_n) {
        char sql[400];
        (void)snprintf(sql, sizeof(sql),
                       "SELECT p.key, c.epoch, max(c.sequence), max(c.at_ms),"
                       " max(c.flows), max(c.packets), max(c.octets), bool_or(c.finished)"
                       " FROM cursor_%" PRIu64 " c JOIN probe p ON p.number = c.probe"
                       " GROUP BY p.key, c.epoch ORDER BY max(c.at_ms)",
                       store->segments[store->segment_n - 1].id);
        CursorCall call = {.fn = fn, .context = context};
        r = read_rows(store, sql, take_cursor, &call);
    }
    write_end(store);
    use_end(store);
    return r;
}

/* gaps */

typedef struct GapCall {
    StoreGapFn *fn;
    void *context;
} GapCall;

static int take_gap(void *context, duckdb_data_chunk chunk, idx_t row) {
    const GapCall *call = context;
    StoreGap gap = {0};
    if (!take_bytes(gap.key, sizeof(gap.key), chunk, 0, row) ||
        !take_bytes(gap.epoch, sizeof(gap.epoch), chunk, 1, row))
        return error_origin(-EBADMSG);
    gap.first = duck_u64(chunk, 2, row);
    gap.last = duck_u64(chunk, 3, row);
    gap.counts.flows = duck_u64(chunk, 4, row);
    gap.counts.packets = duck_u64(chunk, 5, row);
    gap.counts.octets = duck_u64(chunk, 6, row);
    gap.at_ms = duck_u64(chunk, 7, row);
    gap.reason = duck_u32(chunk, 8, row);
    return call->fn(call->context, &gap);
}

static int take_total(void *context, duckdb_data_chunk chunk, idx_t row) {
    *(uint64_t *)context = duck_u64(chunk, 0, row);
    return 0;
}

/** read_gaps() - only what is asked for: whoever waits to write waits meanwhile */
static int read_gaps(Store *store, const StoreGapPage *page, GapCall *call, uint64_t *totalp) {
    char where[60];
    char part[80] = "";
    char sql[600];
    (void)snprintf(where, sizeof(where), " WHERE at_ms >= %" PRIu64, page->since_ms);
    if (page->limit)
        (void)snprintf(part, sizeof(part), " LIMIT %" PRIu64 " OFFSET %" PRIu64, page->limit,
                       page->offset);
    (void)snprintf(sql, sizeof(sql), "SELECT count(*) FROM gap%s", where);
    int r = totalp ? read_rows(store, sql, take_total, totalp) : 0;
    if (r)
        return r;
    (void)snprintf(sql, sizeof(sql),
                   "SELECT p.key, g.epoch, g.first, g.last, g.flows, g.packets, g.octets, g.at_ms,"
                   " g.reason FROM (FROM gap%s ORDER BY at_ms, first, probe, epoch%s) g"
                   " JOIN probe p ON p.number = g.probe ORDER BY g.at_ms, g.first, g.probe,"
                   " g.epoch",
                   where, part);
    return read_rows(store, sql, take_gap, call);
}

int store_gaps(Store *store, const StoreGapPage *page, StoreGapFn *fn, void *context,
               uint64_t *totalp) {
    int r = use_begin(store, NULL);
    if (r)
        return r;
    GapCall call = {.fn = fn, .context = context};
    r = STORE_E_UNAVAILABLE;
    if (write_begin_soon(store)) {
        r = read_gaps(store, page, &call, totalp);
        write_end(store);
    }
    use_end(store);
    return r;
}
