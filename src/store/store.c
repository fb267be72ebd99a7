/* SPDX-License-Identifier: Apache-2.0 */

#include "store/store.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/file.h"
#include "store/embedded.h"
#include "store/schema.h"

static StoreConfig with_defaults(const StoreConfig *config) {
    StoreConfig c = *config;
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    c.memory_limit_bytes = c.memory_limit_bytes ? c.memory_limit_bytes : 1ull << 30;
    c.temp_limit_bytes = c.temp_limit_bytes ? c.temp_limit_bytes : 4ull << 30;
    c.checkpoint_reserve_bytes =
        c.checkpoint_reserve_bytes ? c.checkpoint_reserve_bytes : 256ull << 20;
    c.checkpoint_wal_bytes = c.checkpoint_wal_bytes ? c.checkpoint_wal_bytes : 32ull << 20;
    c.segment_rows = c.segment_rows ? c.segment_rows : 4000000;
    c.checkpoint_interval_ms = c.checkpoint_interval_ms ? c.checkpoint_interval_ms : 600000;
    c.memory_patience_ms = c.memory_patience_ms ? c.memory_patience_ms : 10000;
    c.threads = c.threads ? c.threads : processors > 0 ? (unsigned)processors : 1;
    c.readers = c.readers ? c.readers : 4;
    if (c.readers > STORE_READERS_MAX)
        c.readers = STORE_READERS_MAX;
    return c;
}

static int set_paths(Store *store, const char *dir) {
    store->dir = strdup(dir);
    if (!store->dir || asprintf(&store->path, "%s/flows.duckdb", dir) < 0 ||
        asprintf(&store->wal_path, "%s/flows.duckdb.wal", dir) < 0 ||
        asprintf(&store->temp_path, "%s/tmp", dir) < 0)
        return error_origin(-ENOMEM);
    store->config.dir = store->dir;
    return 0;
}

static void store_init(Store *store) {
    pthread_condattr_t attr;
    (void)pthread_condattr_init(&attr);
    (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&store->changed, &attr);
    (void)pthread_condattr_destroy(&attr);
    (void)pthread_mutex_init(&store->lock, NULL);
    store->dir_fd = -1;
}

int store_open(Store **storep, const StoreConfig *config, Reason *reason) {
    cleanup(store_closep) Store *store = calloc(1, sizeof(*store));
    if (!store)
        return error_origin(-ENOMEM);
    store_init(store);
    store->config = with_defaults(config);
    int r = set_paths(store, config->dir);
    if (!r && dir_own(&store->dir_fd, config->dir, reason))
        r = STORE_E_REFUSED;
    if (!r)
        r = database_open(store, reason);
    if (!r)
        r = keeper_start(store);
    if (r)
        return error_trace(r);
    *storep = store;
    store = NULL;
    return 0;
}

static void close_database(Store *store) {
    (void)pthread_mutex_lock(&store->lock);
    bool usable = store->database && !store->broken;
    (void)pthread_mutex_unlock(&store->lock);
    if (usable && keeper_file_bytes(store->wal_path))
        (void)store_checkpoint(store, NULL); /* a short log, so that opening is quick */

    (void)pthread_mutex_lock(&store->lock);
    store->closing = true;
    (void)pthread_cond_broadcast(&store->changed);
    while (store->users || store->opening)
        (void)pthread_cond_wait(&store->changed, &store->lock);
    (void)pthread_mutex_unlock(&store->lock);
    keeper_stop(store);
    database_close(store);
}

Store *store_close(Store *store) {
    if (!store)
        return NULL;
    if (store->database)
        close_database(store);
    keeper_stop(store);
    if (store->dir_fd >= 0)
        (void)close(store->dir_fd);
    (void)pthread_cond_destroy(&store->changed);
    (void)pthread_mutex_destroy(&store->lock);
    free(store->segments);
    free(store->probes);
    free(store->dir);
    free(store->path);
    free(store->wal_path);
    free(store->temp_path);
    free(store);
    return NULL;
}

/* probes */

int store_probe(Store *store, const uint8_t key[STORE_KEY_BYTES], uint32_t *numberp) {
    int r = 0;
    (void)pthread_mutex_lock(&store->lock);
    size_t i = 0;
    while (i < store->probe_n && memcmp(store->probes[i].bytes, key, STORE_KEY_BYTES) != 0)
        i++;
    if (i == store->probe_n) {
        ProbeKey *grown = reallocarray(store->probes, i + 1, sizeof(*grown));
        if (grown) {
            store->probes = grown;
            memcpy(store->probes[store->probe_n++].bytes, key, STORE_KEY_BYTES);
        } else {
            r = error_origin(-ENOMEM);
        }
    }
    if (!r)
        *numberp = (uint32_t)i + 1;
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

static int take_cursor(void *context, duckdb_data_chunk chunk, idx_t row) {
    const CursorCall *call = context;
    StoreCursor cursor = {0};
    uint32_t key_size = 0;
    uint32_t epoch_size = 0;
    const char *key = duck_text(chunk, 0, row, &key_size);
    const char *epoch = duck_text(chunk, 1, row, &epoch_size);
    if (key_size != sizeof(cursor.key) || epoch_size != sizeof(cursor.epoch))
        return error_origin(-EBADMSG);
    memcpy(cursor.key, key, sizeof(cursor.key));
    memcpy(cursor.epoch, epoch, sizeof(cursor.epoch));
    cursor.sequence = duck_u64(chunk, 2, row);
    cursor.at_ms = duck_u64(chunk, 3, row);
    cursor.totals.flows = duck_u64(chunk, 4, row);
    cursor.totals.packets = duck_u64(chunk, 5, row);
    cursor.totals.octets = duck_u64(chunk, 6, row);
    cursor.finished = duck_bool(chunk, 7, row);
    return call->fn(call->context, &cursor);
}

int store_cursors(Store *store, StoreCursorFn *fn, void *context) {
    Reason reason = {0};
    int r = use_begin(store, &reason);
    if (r)
        return r;
    write_begin(store, false);
    DuckAnswer answer = DUCK_OK;
    if (store->segment_n) {
        char sql[400];
        (void)snprintf(sql, sizeof(sql),
                       "SELECT p.key, c.epoch, max(c.sequence), max(c.at_ms),"
                       " max(c.flows), max(c.packets), max(c.octets), bool_or(c.finished)"
                       " FROM cursor_%" PRIu64 " c JOIN probe p ON p.number = c.probe"
                       " GROUP BY p.key, c.epoch",
                       store->segments[store->segment_n - 1].id);
        CursorCall call = {.fn = fn, .context = context};
        answer = duck_each(store->writer, sql, take_cursor, &call, &r, &reason);
    }
    write_end(store);
    if (answer == DUCK_FATAL)
        use_failed(store);
    use_end(store);
    return answer == DUCK_OK ? r : answer == DUCK_MEMORY ? STORE_E_MEMORY : STORE_E_UNAVAILABLE;
}

void store_status(Store *store, StoreStatus *status) {
    (void)pthread_mutex_lock(&store->lock);
    *status = (StoreStatus){
        .segments = store->segment_n,
        .checkpoints = store->checkpoints,
        .checkpoints_failed = store->checkpoints_failed,
        .checkpoints_put_off = store->checkpoints_put_off,
        .reopened = store->reopens,
    };
    for (size_t i = 0; i < store->segment_n; i++) {
        const Segment *segment = &store->segments[i];
        status->rows += segment->rows;
        if (segment->rows && (!status->oldest_ms || segment->first_last_ms < status->oldest_ms))
            status->oldest_ms = segment->first_last_ms;
    }
    (void)pthread_mutex_unlock(&store->lock);
    status->file_bytes = keeper_file_bytes(store->path);
    status->wal_bytes = keeper_file_bytes(store->wal_path);
    status->free_bytes = keeper_free_bytes(store);
}
