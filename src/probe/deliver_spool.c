/* SPDX-License-Identifier: Apache-2.0 */

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>

#include "base/error.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/log.h"
#include "probe/deliver_inside.h"

enum { RECENT_BYTES = 4 << 20 /* a link that keeps up needs not read the disk */ };

/* the spool is full and let go of its oldest: a link that knows it makes it a gap */
static void on_drop(void *userdata, const SpoolDrop *drop) {
    const Deliver *deliver = userdata;
    ProbeLink *link = deliver->hubs[drop->hub].link;
    if (link)
        probe_link_dropped(link, &drop->epoch, drop->last, &drop->totals, drop->bytes);
}

static void on_word(void *userdata, bool trouble, const char *text) {
    (void)userdata;
    log_write(trouble ? LOG_LEVEL_WARNING : LOG_LEVEL_NOTICE, "%s", text);
}

void deliver_batch(const SpoolBatch *from, DeliveryBatch *to) {
    *to = (DeliveryBatch){
        .epoch = from->epoch,
        .first = from->first,
        .last = from->last,
        .gap = from->gap,
        .bytes = from->bytes,
        .counts = from->counts,
        .totals = from->totals,
    };
}

static int to_answer(int r) {
    return r == SPOOL_E_LATER ? DELIVERY_E_LATER : r > 0 ? DELIVERY_E_UNKNOWN : r;
}

static int load(void *userdata, const EpochId *epoch, uint64_t sequence, DeliveryBatch *batch) {
    const Hub *hub = userdata;
    SpoolBatch found;
    int r = spool_peek(hub->deliver->spool, hub->number, epoch, sequence, &found);
    if (r)
        return to_answer(r);
    deliver_batch(&found, batch);
    return 0;
}

static int fetch(void *userdata, const EpochId *epoch, uint64_t sequence, size_t size,
                 ProbeLinkBytes *lent) {
    const Hub *hub = userdata;
    SpoolBytes bytes;
    int r = spool_borrow(hub->deliver->spool, hub->number, epoch, sequence, size, &bytes);
    if (r)
        return to_answer(r);
    *lent = (ProbeLinkBytes){bytes.bytes, bytes.crc32c, bytes.block, spool_give_back};
    return 0;
}

static void release(void *userdata, const EpochId *epoch, uint64_t last,
                    const BatchCounts *totals) {
    const Hub *hub = userdata;
    spool_release(hub->deliver->spool, hub->number, epoch, last, totals);
}

static bool former(void *userdata, size_t i, DeliveryFormer *to) {
    const Hub *hub = userdata;
    Spool *spool = hub->deliver->spool;
    SpoolFormer from;
    size_t n = 0; /* what is over comes first */
    while (n <= i && spool_finished(spool, hub->number, n, &from))
        n++;
    if (n <= i && !spool_former(spool, hub->number, i - n, &from))
        return false;
    *to = (DeliveryFormer){
        .epoch = from.epoch,
        .stored = from.stored,
        .stored_totals = from.stored_totals,
        .last = from.last,
        .last_totals = from.last_totals,
        .bytes = from.bytes,
    };
    return true;
}

ProbeLinkSpool deliver_link_spool(Hub *hub) {
    return (ProbeLinkSpool){
        .spool = hub, .load = load, .release = release, .fetch = fetch, .former = former};
}

/* the same hub in the next run, whatever its place in the command line */
static uint64_t hub_id(const Hub *hub) {
    const char *key = hub->kept.first; /* that of a hub that changed its key stays the same */
    return hash_bytes(hub->data, strlen(hub->data), 0) << 32 |
           (hash_bytes(key, strlen(key), 0) & UINT32_MAX);
}

/* a folder of its own, or NULL: memory only */
static int own_folder(Deliver *deliver, const ProbeConfig *config, Reason *reason) {
    if (!config->spool_bytes)
        return 0;
    int n = config->spool_dir
                ? snprintf(deliver->spool_dir, sizeof(deliver->spool_dir), "%s", config->spool_dir)
                : snprintf(deliver->spool_dir, sizeof(deliver->spool_dir), "%s/spool",
                           config->data_dir);
    if (n < 0 || (size_t)n >= sizeof(deliver->spool_dir)) {
        reason_set(reason, "--spool-dir: %s", strerror(ENAMETOOLONG));
        return DELIVER_E_REFUSED;
    }
    int r = dir_own(&deliver->spool_lock, deliver->spool_dir, reason);
    return r > 0 ? DELIVER_E_REFUSED : error_trace(r);
}

/* the usual size is too much for a small disk */
static uint64_t spool_limit(const Deliver *deliver, uint64_t bytes) {
    struct statvfs disk;
    if (bytes != (uint64_t)SPOOL_BYTES_USUAL << 30 || statvfs(deliver->spool_dir, &disk) < 0)
        return bytes;
    uint64_t tenth = (uint64_t)disk.f_blocks * disk.f_frsize / 10;
    return tenth && tenth < bytes ? tenth : bytes;
}

int deliver_open_spool(Deliver *deliver, const ProbeConfig *config, Reason *reason) {
    int r = own_folder(deliver, config, reason);
    if (r)
        return r;
    SpoolConfig spool = {
        .folder = deliver->spool_dir[0] ? deliver->spool_dir : NULL,
        .limit_bytes = spool_limit(deliver, config->spool_bytes),
        .memory_bytes = config->spool_memory_bytes,
        .recent_bytes = RECENT_BYTES,
        .n_hubs = (unsigned)deliver->n_hubs,
        .fanout = deliver->fanout,
        .on_drop = on_drop,
        .on_word = on_word,
        .userdata = deliver,
    };
    for (size_t i = 0; i < deliver->n_hubs; i++)
        spool.hubs[i] = hub_id(&deliver->hubs[i]);
    r = spool_new(&deliver->spool, &spool, reason);
    if (r)
        return r > 0 ? DELIVER_E_REFUSED : error_trace(r);
    SpoolStatus status;
    spool_status(deliver->spool, &status);
    if (status.held.flows)
        log_notice("%" PRIu64 " flows of former runs wait in %s", status.held.flows,
                   deliver->spool_dir);
    return 0;
}
