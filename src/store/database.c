/* SPDX-License-Identifier: Apache-2.0 */

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/buffer.h"
#include "base/clock.h"
#include "base/error.h"
#include "store/embedded.h"
#include "store/schema.h"

/* the database */

static int remove_entry(const char *path, const struct stat *st, int kind, struct FTW *ftw) {
    (void)st;
    (void)kind;
    if (ftw->level > 0)
        (void)remove(path);
    return 0;
}

/** wipe_temp() - what queries had spilled when the last run ended is of no use to anyone */
static int wipe_temp(Store *store, Reason *reason) {
    if (mkdir(store->temp_path, 0700) < 0 && errno != EEXIST) {
        reason_set(reason, "cannot make the folder %s: %s", store->temp_path, strerror(errno));
        return STORE_E_REFUSED;
    }
    (void)nftw(store->temp_path, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    return 0;
}

static int configure(Store *store, duckdb_config *configp) {
    /* Reading the log back takes memory of its size; the limit proper is set after opening. */
    uint64_t wal_bytes = keeper_file_bytes(store->wal_path);
    uint64_t open_bytes = store->config.memory_limit_bytes;
    if (open_bytes < 2 * wal_bytes + (256ull << 20))
        open_bytes = 2 * wal_bytes + (256ull << 20);
    char memory[32];
    char spill[32];
    char threads[16];
    (void)snprintf(memory, sizeof(memory), "%" PRIu64 "B", open_bytes);
    (void)snprintf(spill, sizeof(spill), "%" PRIu64 "B", store->config.temp_limit_bytes);
    (void)snprintf(threads, sizeof(threads), "%u", store->config.threads);
    const struct {
        const char *name;
        const char *value;
    } settings[] = {
        {"storage_compatibility_version", "latest"},
        {"memory_limit", memory},
        {"threads", threads},
        {"temp_directory", store->temp_path},
        {"max_temp_directory_size", spill},
        {"autoinstall_known_extensions", "false"},
        {"autoload_known_extensions", "false"},
        {"allow_community_extensions", "false"},
        /* Checkpoints are the keeper's alone: one that DuckDB starts on its own at the end of a
         * commit would not look at the free space first, and failing is fatal. */
        {"wal_autocheckpoint", "1TB"},
        {"preserve_insertion_order", "false"},
    };
    duckdb_config config = NULL;
    if (duckdb_create_config(&config) != DuckDBSuccess)
        return error_origin(-ENOMEM);
    for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++) {
        if (duckdb_set_config(config, settings[i].name, settings[i].value) != DuckDBSuccess) {
            duckdb_destroy_config(&config);
            return error_origin(-EINVAL);
        }
    }
    *configp = config;
    return 0;
}

static int open_file(Store *store, Reason *reason) {
    duckdb_config config = NULL;
    int r = configure(store, &config);
    if (r)
        return error_trace(r);
    char *message = NULL;
    duckdb_state state = duckdb_open_ext(store->path, &store->database, config, &message);
    duckdb_destroy_config(&config);
    if (state != DuckDBSuccess) {
        const char *text = message ? message : "no message";
        if (duck_classify(DUCKDB_ERROR_INVALID, text) == DUCK_LOCKED)
            reason_set(reason, "the store %s is in use by another process", store->path);
        else
            reason_set(reason, "cannot open the store %s: %.*s", store->path,
                       (int)strcspn(text, "\n"), text);
        r = STORE_E_REFUSED;
    }
    duckdb_free(message);
    return r;
}

/** lock_down() - from here on no statement reaches a file that is not ours, or changes a setting */
static DuckAnswer lock_down(Store *store, Reason *reason) {
    Buffer sql = {0};
    buffer_printf(&sql, "SET memory_limit='%" PRIu64 "B'; SET allowed_directories=['",
                  store->config.memory_limit_bytes);
    for (const char *p = store->dir; *p; p++) {
        if (*p == '\'')
            buffer_put_u8(&sql, '\'');
        buffer_put_u8(&sql, (uint8_t)*p);
    }
    buffer_put_text(&sql, "']; SET enable_external_access=false;"
                          "PRAGMA disable_checkpoint_on_shutdown;"
                          "SET lock_configuration=true");
    DuckAnswer answer = DUCK_MEMORY;
    if (!sql.failed)
        answer = duck_run(store->writer, buffer_text(&sql), reason);
    buffer_deinit(&sql);
    return answer;
}

typedef struct ProbeLoad {
    Store *store;
    size_t n;
} ProbeLoad;

static int take_probe(void *context, duckdb_data_chunk chunk, idx_t row) {
    ProbeLoad *load = context;
    uint32_t size = 0;
    const char *key = duck_text(chunk, 1, row, &size);
    uint8_t bytes[STORE_KEY_BYTES];
    uint32_t number = 0;
    if (size != sizeof(bytes))
        return STORE_E_REFUSED;
    memcpy(bytes, key, sizeof(bytes));
    (void)pthread_mutex_lock(&load->store->lock);
    int r = probe_number(load->store, bytes, &number);
    (void)pthread_mutex_unlock(&load->store->lock);
    load->n++;
    if (!r && (number != load->n || number != duck_u32(chunk, 0, row)))
        r = STORE_E_REFUSED;
    return r;
}

/** probes_load() - numbers given out but not yet durable stay behind those in the file */
static int probes_load(Store *store, Reason *reason) {
    ProbeLoad load = {.store = store};
    int r = 0;
    if (duck_each(store->writer, "SELECT number, key FROM probe ORDER BY number", take_probe, &load,
                  &r, reason) != DUCK_OK)
        return STORE_E_REFUSED;
    if (r > 0)
        reason_set(reason, "its list of probes does not hang together");
    if (!r)
        store->probe_durable = load.n;
    return r;
}

static int open_connections(Store *store) {
    if (duckdb_connect(store->database, &store->writer) != DuckDBSuccess)
        return error_origin(-ENOMEM);
    for (unsigned i = 0; i < store->config.readers; i++)
        if (duckdb_connect(store->database, &store->readers[i].connection) != DuckDBSuccess)
            return error_origin(-ENOMEM);
    return 0;
}

int database_open(Store *store, Reason *reason) {
    Reason inner = {0};
    int r = wipe_temp(store, reason);
    if (!r)
        r = open_file(store, reason);
    if (r)
        return error_trace(r);
    r = open_connections(store);
    if (!r && lock_down(store, &inner) != DUCK_OK)
        r = STORE_E_REFUSED;
    if (!r)
        r = schema_open(store->writer, &inner);
    if (!r)
        r = probes_load(store, &inner);
    if (!r && segments_load(store, &inner) != DUCK_OK)
        r = STORE_E_REFUSED;
    if (r) {
        reason_set(reason, "cannot use the store %s: %s", store->path, inner.text);
        database_close(store);
    }
    return r;
}

void database_close(Store *store) {
    for (size_t i = 0; i < STORE_READERS_MAX; i++)
        if (store->readers[i].connection)
            duckdb_disconnect(&store->readers[i].connection);
    if (store->writer)
        duckdb_disconnect(&store->writer);
    if (store->database)
        duckdb_close(&store->database);
}

/* who may use it */

/** reopen() - called with the lock held, which it lets go meanwhile */
static void reopen(Store *store, Reason *reason) {
    store->opening = true;
    store->stop_queries = true;
    (void)pthread_cond_broadcast(&store->changed);
    while (store->users)
        (void)pthread_cond_wait(&store->changed, &store->lock);
    (void)pthread_mutex_unlock(&store->lock);

    database_close(store);
    int r = database_open(store, reason);

    (void)pthread_mutex_lock(&store->lock);
    store->missing = r != 0;
    store->broken = false;
    store->reopened = true;
    store->reopens++;
    store->stop_queries = false;
    store->opening = false;
    (void)pthread_cond_broadcast(&store->changed);
}

int use_begin(Store *store, Reason *reason) {
    int r = 0;
    (void)pthread_mutex_lock(&store->lock);
    while (store->opening)
        (void)pthread_cond_wait(&store->changed, &store->lock);
    if (!store->closing && (store->broken || store->missing))
        reopen(store, reason);
    if (store->closing) {
        reason_set(reason, "the store is closing");
        r = STORE_E_UNAVAILABLE;
    } else if (store->missing) {
        r = STORE_E_UNAVAILABLE;
    } else {
        store->users++;
    }
    (void)pthread_mutex_unlock(&store->lock);
    return r;
}

void use_end(Store *store) {
    (void)pthread_mutex_lock(&store->lock);
    store->users--;
    (void)pthread_cond_broadcast(&store->changed);
    (void)pthread_mutex_unlock(&store->lock);
}

void use_failed(Store *store) {
    (void)pthread_mutex_lock(&store->lock);
    store->broken = true;
    (void)pthread_mutex_unlock(&store->lock);
}

void write_begin(Store *store, bool maintenance) {
    (void)pthread_mutex_lock(&store->lock);
    store->maintenance_waiting += maintenance;
    while (store->writing || (!maintenance && store->maintenance_waiting))
        (void)pthread_cond_wait(&store->changed, &store->lock);
    store->maintenance_waiting -= maintenance;
    store->writing = true;
    (void)pthread_mutex_unlock(&store->lock);
}

bool write_begin_soon(Store *store) {
    const uint64_t until_ms = clock_monotonic_ms() + STORE_PATIENCE_MS;
    (void)pthread_mutex_lock(&store->lock);
    while ((store->writing || store->maintenance_waiting) && clock_monotonic_ms() < until_ms)
        keeper_wait(store, 50);
    const bool free = !store->writing && !store->maintenance_waiting;
    store->writing = store->writing || free;
    (void)pthread_mutex_unlock(&store->lock);
    return free;
}

void write_end(Store *store) {
    (void)pthread_mutex_lock(&store->lock);
    store->writing = false;
    (void)pthread_cond_broadcast(&store->changed);
    (void)pthread_mutex_unlock(&store->lock);
}

void commit_begin(Store *store) {
    (void)pthread_mutex_lock(&store->lock);
    store->committing = true;
    store->committing_ms = clock_monotonic_ms();
    while (store->beginning)
        (void)pthread_cond_wait(&store->changed, &store->lock);
    (void)pthread_mutex_unlock(&store->lock);
}

/* what questions left that were answered during the commit */
static void end_readers(Store *store) {
    for (size_t i = 0; i < store->config.readers; i++) {
        Reader *reader = &store->readers[i];
        (void)pthread_mutex_lock(&store->lock);
        const bool unended = reader->unended;
        (void)pthread_mutex_unlock(&store->lock);
        if (!unended)
            continue;
        duck_roll_back(reader->connection);
        (void)pthread_mutex_lock(&store->lock);
        reader->unended = reader->busy = false;
        (void)pthread_cond_broadcast(&store->changed);
        (void)pthread_mutex_unlock(&store->lock);
    }
}

void commit_end(Store *store) {
    (void)pthread_mutex_lock(&store->lock);
    store->committing = false;
    (void)pthread_cond_broadcast(&store->changed);
    (void)pthread_mutex_unlock(&store->lock);
    end_readers(store);
}
