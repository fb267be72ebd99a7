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
    c.readers = c.readers ? c.readers : c.threads < 2 ? 2 : c.threads;
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
    close_database(store);
    if (store->dir_fd >= 0)
        (void)close(store->dir_fd);
    (void)pthread_cond_destroy(&store->changed);
    (void)pthread_mutex_destroy(&store->lock);
    free(store->segments);
    free(store->probes);
    free(store->probe_slots);
    free(store->dir);
    free(store->path);
    free(store->wal_path);
    free(store->temp_path);
    free(store);
    return NULL;
}

void store_status(Store *store, StoreStatus *status) {
    (void)pthread_mutex_lock(&store->lock);
    *status = (StoreStatus){
        .segments = store->segment_n,
        .checkpoints = store->checkpoints,
        .checkpoints_failed = store->checkpoints_failed,
        .checkpoints_put_off = store->checkpoints_put_off,
        .reopened = store->reopens,
        .checkpoint_problem = store->checkpoint_problem,
    };
    for (size_t i = 0; i < store->segment_n; i++) {
        const Segment *segment = &store->segments[i];
        status->rows += segment->rows;
        if (segment->rows &&
            (status->rows == segment->rows || segment->first_last_ms < status->oldest_ms))
            status->oldest_ms = segment->first_last_ms;
    }
    (void)pthread_mutex_unlock(&store->lock);
    status->file_bytes = keeper_file_bytes(store->path);
    status->wal_bytes = keeper_file_bytes(store->wal_path);
    status->free_bytes = keeper_free_bytes(store);
}
