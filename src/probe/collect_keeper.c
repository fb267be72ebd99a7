/* SPDX-License-Identifier: Apache-2.0 */

#include "probe/collect_keeper.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "base/queue.h"
#include "collect/collect.h"
#include "probe/collect_socket.h"

enum {
    SAVE_MS = 5000,
    REFRESH_MS = 600 * 1000, /* when templates were told again and are the same */
    WAIT_MS = 1000,
};

struct CollectKeeper {
    Workers *workers;
    char path[PATH_MAX];
    int folder_lock;
    uint64_t changes; /* in the last bytes */
    uint64_t looked_ms, saved_ms;
    Buffer bytes;   /* being written; the thread's while they are in the queue or with it */
    Queue *written; /* of Buffers: handed back */
    Queue *todo;
    bool told; /* that it cannot be written */
    pthread_t thread;
    bool running;
};

/* --- gathering, on the run's thread --- */

typedef struct Gather {
    uint64_t changes;
    Buffer *bytes;
} Gather;

static void add_changes(Worker *worker, void *userdata) {
    Gather *gather = userdata;
    gather->changes += collect_changes(collect_feed_collector(worker->feed));
}

static void add_bytes(Worker *worker, void *userdata) {
    Gather *gather = userdata;
    collect_keep(collect_feed_collector(worker->feed), gather->bytes);
}

/* one worker after the other, for they share what they add to */
static void ask_each(CollectKeeper *keeper, WorkerCall *call, Gather *gather) {
    for (size_t i = 0; i < workers_n(keeper->workers); i++)
        workers_ask_one(keeper->workers, i, call, gather);
}

static void gather_bytes(CollectKeeper *keeper, uint64_t changes) {
    Gather gather = {.bytes = &keeper->bytes};
    keeper->changes = changes;
    collect_keep_begin(&keeper->bytes);
    ask_each(keeper, add_bytes, &gather);
    collect_keep_end(&keeper->bytes);
}

/* --- writing, on the keeper's thread ---  */

/* said once when it begins and once when it is over */
static void tell(CollectKeeper *keeper, int r, const Reason *reason) {
    char text[256];
    if (r && !keeper->told)
        log_notice("templates of exporters are not kept over a restart: %s",
                   r > 0 ? reason->text : error_describe(r, text, sizeof(text)));
    if (!r && keeper->told)
        log_notice("templates of exporters are kept again");
    keeper->told = r != 0;
}

static void save(CollectKeeper *keeper) {
    Reason reason = {""};
    const Buffer *bytes = &keeper->bytes;
    const int r = bytes->failed
                      ? -ENOMEM
                      : file_write(keeper->path, bytes->bytes, bytes->size, 0600, &reason);
    tell(keeper, r, &reason);
}

static void *keeper_run(void *userdata) {
    CollectKeeper *keeper = userdata;
    while (!queue_closed(keeper->todo) || queue_length(keeper->todo)) {
        void *wish = queue_pop(keeper->todo, WAIT_MS);
        if (!wish)
            continue;
        save(keeper);
        (void)queue_push(keeper->written, wish);
    }
    return NULL;
}

void collect_keeper_tick(CollectKeeper *keeper, uint64_t now_ms) {
    if (!keeper || now_ms - keeper->looked_ms < SAVE_MS)
        return;
    Gather gather = {0};
    keeper->looked_ms = now_ms;
    ask_each(keeper, add_changes, &gather);
    if (gather.changes == keeper->changes && now_ms - keeper->saved_ms < REFRESH_MS)
        return;
    void *free_now = queue_pop(keeper->written, 0);
    if (!free_now) /* a disk that takes long */
        return;
    gather_bytes(keeper, gather.changes);
    keeper->saved_ms = now_ms;
    (void)queue_push(keeper->todo, free_now); /* has room */
}

/* --- reading --- */

typedef struct Mine {
    unsigned number, n;
} Mine;

static bool is_mine(void *userdata, const NetAddress *exporter) {
    const Mine *mine = userdata;
    return collect_socket_of(exporter, mine->n) == mine->number;
}

static void recall(CollectKeeper *keeper) {
    Reason reason = {""};
    int r = 0;
    const size_t n = workers_n(keeper->workers);
    if (access(keeper->path, F_OK) != 0)
        return;
    r = file_read(&keeper->bytes, keeper->path, COLLECT_KEPT_BYTES, &reason);
    for (size_t i = 0; r == 0 && i < n; i++) {
        Mine mine = {.number = (unsigned)i, .n = (unsigned)n};
        r = collect_recall(collect_feed_collector(workers_at(keeper->workers, i)->feed),
                           keeper->bytes.bytes, keeper->bytes.size, clock_wall_ms(), is_mine,
                           &mine);
        if (r == COLLECT_E_DAMAGED)
            reason_set(&reason, "it is damaged");
    }
    if (r)
        log_notice("%s is not used: %s; templates come again from the exporters", keeper->path,
                   r > 0 ? reason.text : "no memory");
    Gather gather = {0};
    ask_each(keeper, add_changes, &gather);
    keeper->changes = gather.changes;
}

/* --- life --- */

static int folder_take(CollectKeeper *keeper, const char *folder, bool owned, Reason *reason) {
    if (owned)
        return 0;
    if (access(folder, F_OK) != 0) {
        reason_set(reason, "there is no folder %s (--data-dir)", folder);
        return FILE_E_REFUSED;
    }
    return dir_own(&keeper->folder_lock, folder, reason);
}

static int keeper_start(CollectKeeper *keeper) {
    int r = queue_new(&keeper->todo, 1);
    if (r == 0)
        r = queue_new(&keeper->written, 1);
    if (r)
        return error_trace(r);
    (void)queue_push(keeper->written, keeper);
    sigset_t all;
    sigset_t before;
    (void)sigfillset(&all); /* signals are for the thread that started the run */
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    r = -pthread_create(&keeper->thread, NULL, keeper_run, keeper);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    keeper->running = r == 0;
    return error_origin(r);
}

CollectKeeper *collect_keeper_new(Workers *workers, const char *folder, bool folder_owned) {
    Reason reason = {""};
    cleanup(collect_keeper_freep) CollectKeeper *keeper = calloc(1, sizeof(*keeper));
    if (!keeper)
        return NULL;
    keeper->workers = workers;
    keeper->folder_lock = -1;
    keeper->looked_ms = keeper->saved_ms = clock_monotonic_ms();
    (void)snprintf(keeper->path, sizeof(keeper->path), "%s/" COLLECT_KEEPER_FILE, folder);
    int r = folder_take(keeper, folder, folder_owned, &reason);
    if (r == 0)
        recall(keeper);
    if (r == 0)
        r = keeper_start(keeper);
    if (r) {
        tell(keeper, r, &reason);
        return NULL;
    }
    CollectKeeper *out = keeper;
    keeper = NULL;
    return out;
}

static void keeper_stop(CollectKeeper *keeper) {
    if (!keeper->running)
        return;
    queue_close(keeper->todo);
    (void)pthread_join(keeper->thread, NULL);
    keeper->running = false;
}

void collect_keeper_finish(CollectKeeper *keeper) {
    if (!keeper)
        return;
    keeper_stop(keeper);
    gather_bytes(keeper, 0);
    save(keeper);
}

CollectKeeper *collect_keeper_free(CollectKeeper *keeper) {
    if (!keeper)
        return NULL;
    keeper_stop(keeper);
    queue_free(keeper->todo);
    queue_free(keeper->written);
    if (keeper->folder_lock >= 0)
        (void)close(keeper->folder_lock);
    buffer_deinit(&keeper->bytes);
    free(keeper);
    return NULL;
}
