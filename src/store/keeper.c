/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The store's own two threads: the keeper checkpoints, the watchdog ends queries.
 */

#include <errno.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>

#include "base/clock.h"
#include "base/error.h"
#include "store/embedded.h"

enum {
    WATCHDOG_TICK_MS = 20,
    KEEPER_TICK_MS = 250,
};

uint64_t keeper_file_bytes(const char *path) {
    struct stat st;
    return stat(path, &st) < 0 ? 0 : (uint64_t)st.st_size;
}

uint64_t keeper_free_bytes(const Store *store) {
    struct statvfs vfs;
    return statvfs(store->dir, &vfs) < 0 ? 0 : (uint64_t)vfs.f_bavail * vfs.f_frsize;
}

/** checkpoint() - a failed one that finds no room for its new blocks invalidates the database */
static int checkpoint(Store *store, Reason *reason) {
    uint64_t needed = keeper_file_bytes(store->wal_path) + store->config.checkpoint_reserve_bytes;
    if (keeper_free_bytes(store) <= needed) {
        (void)pthread_mutex_lock(&store->lock);
        store->checkpoints_put_off++;
        (void)pthread_mutex_unlock(&store->lock);
        reason_set(reason, "too little space is free to checkpoint the store");
        return STORE_E_FULL;
    }
    write_begin(store, true);
    /* never FORCE: it waits for readers, and holds up the writer meanwhile */
    Reason why = {0};
    commit_begin(store);
    DuckAnswer answer = duck_run(store->writer, "CHECKPOINT", &why);
    commit_end(store);
    write_end(store);

    (void)pthread_mutex_lock(&store->lock);
    store->checkpoints += answer == DUCK_OK;
    if (answer != DUCK_OK) {
        store->checkpoints_failed++;
        store->checkpoint_problem = why;
        reason_set(reason, "%s", why.text);
    }
    store->broken = store->broken || answer == DUCK_FATAL;
    (void)pthread_mutex_unlock(&store->lock);
    return answer == DUCK_OK ? 0 : answer == DUCK_FATAL ? STORE_E_REOPENED : STORE_E_MEMORY;
}

int store_checkpoint(Store *store, Reason *reason) {
    int r = use_begin(store, reason);
    if (r)
        return r;
    r = checkpoint(store, reason);
    use_end(store);
    return r;
}

void keeper_wait(Store *store, unsigned ms) {
    struct timespec until = {0};
    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += ms / 1000;
    until.tv_nsec += (long)(ms % 1000) * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    (void)pthread_cond_timedwait(&store->changed, &store->lock, &until);
}

static void *keeper_main(void *context) {
    Store *store = context;
    uint64_t last_ms = clock_monotonic_ms();
    uint64_t tick_ms = last_ms;
    (void)pthread_mutex_lock(&store->lock);
    while (store->keeper_runs) {
        uint64_t now_ms = clock_monotonic_ms();
        if (now_ms < tick_ms) {
            keeper_wait(store, (unsigned)(tick_ms - now_ms));
            continue;
        }
        (void)pthread_mutex_unlock(&store->lock);
        tick_ms = now_ms + KEEPER_TICK_MS;
        uint64_t wal_bytes = keeper_file_bytes(store->wal_path);
        if (wal_bytes >= store->config.checkpoint_wal_bytes ||
            (wal_bytes && now_ms - last_ms >= store->config.checkpoint_interval_ms))
            if (store_checkpoint(store, NULL) == 0)
                last_ms = clock_monotonic_ms();
        (void)pthread_mutex_lock(&store->lock);
    }
    (void)pthread_mutex_unlock(&store->lock);
    return NULL;
}

/** verdict() - why a running query should end, or 0 */
static int verdict(const Store *store, const Reader *reader, uint64_t now_ms) {
    if (reader->cancelled && atomic_load(reader->cancelled))
        return STORE_E_CANCELLED;
    if (store->stop_queries || store->closing)
        return STORE_E_CANCELLED;
    return now_ms >= reader->deadline_ms ? STORE_E_TIMEOUT : 0;
}

static void *watchdog_main(void *context) {
    Store *store = context;
    (void)pthread_mutex_lock(&store->lock);
    while (store->watchdog_runs) {
        bool busy = false;
        uint64_t now_ms = clock_monotonic_ms();
        for (size_t i = 0; i < store->config.readers; i++) {
            Reader *reader = &store->readers[i];
            if (!reader->busy)
                continue;
            busy = true;
            int stopped = reader->settled ? 0 : verdict(store, reader, now_ms);
            if (stopped && !reader->stopped)
                reader->stopped = stopped;
            /* again each tick: one that comes before the statement starts is forgotten by it */
            if (reader->stopped && !reader->settled)
                duckdb_interrupt(reader->connection);
        }
        if (busy)
            keeper_wait(store, WATCHDOG_TICK_MS);
        else
            (void)pthread_cond_wait(&store->changed, &store->lock);
    }
    (void)pthread_mutex_unlock(&store->lock);
    return NULL;
}

int keeper_start(Store *store) {
    store->watchdog_runs = true;
    if (pthread_create(&store->watchdog, NULL, watchdog_main, store)) {
        store->watchdog_runs = false;
        return error_origin(-EAGAIN);
    }
    store->keeper_runs = true;
    if (pthread_create(&store->keeper, NULL, keeper_main, store)) {
        store->keeper_runs = false;
        return error_origin(-EAGAIN);
    }
    return 0;
}

static void stop_thread(Store *store, bool *runs, pthread_t thread) {
    (void)pthread_mutex_lock(&store->lock);
    bool ran = *runs;
    *runs = false;
    (void)pthread_cond_broadcast(&store->changed);
    (void)pthread_mutex_unlock(&store->lock);
    if (ran)
        (void)pthread_join(thread, NULL);
}

void keeper_stop(Store *store) {
    stop_thread(store, &store->keeper_runs, store->keeper);
    stop_thread(store, &store->watchdog_runs, store->watchdog);
}
