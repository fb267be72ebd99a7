/* SPDX-License-Identifier: Apache-2.0 */

#include "hub/ingest.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <zmq.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/queue.h"
#include "codec/batch.h"
#include "hub/group.h"
#include "hub/live.h"
#include "hub/metrics.h"
#include "hub/probes.h"
#include "hub/quarantine.h"
#include "store/store.h"

enum {
    INBOX_BATCHES = 65536,
    GROUP_AGE_MS = 5000,
    GROUP_BYTES = 64 << 20, /* of batches decompressed: three full groups of ordinary ones */
    QUIET_MS = 500,         /* nothing came for so long: commit what there is */
    SET_ASIDE_MAX = 10,     /* kept of a second: nothing may wait for disk and log */
    TICK_MS = 100,          /* how finely the two are looked at */
    FULL_RETRY_MS = 1000,
    INTERFACES_MAX = 256,
    GAPS_MAX = 10000,   /* of a group, then it is committed */
    FUTURE_MS = 300000, /* a clock that is further ahead is not believed */
};

struct Ingest {
    IngestConfig config;
    HubLink *link;
    Queue *inbox;
    BatchCodec *codec;
    Group groups[2];
    Group *filling;              /* the decoder's */
    uint64_t set_aside_second;   /* monotonic; the decoder's */
    unsigned set_aside_n;        /* in that second */
    uint64_t newest_ms;          /* monotonic, of the last batch; the decoder's */
    _Atomic uint64_t generation; /* set by the writer, see hub_link_discard() */
    _Atomic uint64_t last_flow_ms[INTERFACES_MAX];
    _Atomic int state; /* IngestState */

    pthread_mutex_t lock;
    pthread_cond_t turn;
    Group *ready; /* handed to the writer, which clears it and sets it back to NULL */
    bool decoder_done;
    atomic_bool stopping;
    bool running;
    pthread_t decoder_thread;
    pthread_t writer_thread;
};

int ingest_new(Ingest **ingestp, const IngestConfig *config) {
    cleanup(ingest_freep) Ingest *ingest = calloc(1, sizeof(*ingest));
    if (!ingest)
        return error_origin(-ENOMEM);
    ingest->config = *config;
    (void)pthread_mutex_init(&ingest->lock, NULL);
    (void)pthread_cond_init(&ingest->turn, NULL);
    int r = queue_new(&ingest->inbox, INBOX_BATCHES);
    for (size_t i = 0; !r && i < 2; i++)
        r = group_init(&ingest->groups[i], STORE_GROUP_ROWS);
    if (!r)
        r = batch_codec_new(&ingest->codec);
    if (r)
        return error_trace(r);
    ingest->filling = &ingest->groups[0];
    *ingestp = ingest;
    ingest = NULL;
    return 0;
}

Ingest *ingest_free(Ingest *ingest) {
    if (!ingest)
        return NULL;
    ingest_stop(ingest);
    if (ingest->inbox) {
        HubBatch *batch;
        while ((batch = queue_pop(ingest->inbox, 0)))
            (void)hub_batch_free(batch);
        (void)queue_free(ingest->inbox);
    }
    for (size_t i = 0; i < 2; i++)
        group_deinit(&ingest->groups[i]);
    (void)batch_codec_free(ingest->codec);
    (void)pthread_mutex_destroy(&ingest->lock);
    (void)pthread_cond_destroy(&ingest->turn);
    free(ingest);
    return NULL;
}

bool ingest_take(void *userdata, HubBatch *batch) {
    Ingest *ingest = userdata;
    if (!atomic_load(&ingest->stopping) && queue_push(ingest->inbox, batch))
        return true;
    metric_add(&ingest->config.metrics[HUB_METRIC_BATCHES_REFUSED], 1);
    return false;
}

IngestState ingest_state(const Ingest *ingest) {
    return (IngestState)atomic_load(&ingest->state);
}

uint64_t ingest_last_flow_ms(const Ingest *ingest, unsigned interface) {
    return interface < INTERFACES_MAX ? atomic_load(&ingest->last_flow_ms[interface]) : 0;
}

void ingest_key_bytes(uint8_t bytes[STORE_KEY_BYTES], const PeerKey *key) {
    if (!zmq_z85_decode(bytes, key->z85))
        memset(bytes, 0, STORE_KEY_BYTES);
}

/* ------------------------------------------------------------------------------------ decoder */

/* what only the hub knows; and a time that has not come yet is taken for the time of arrival */
static void enrich(FlowRecord *records, size_t n, uint32_t probe, const HubBatch *batch) {
    for (size_t i = 0; i < n; i++) {
        FlowRecord *record = &records[i];
        record->probe = probe;
        record->interface = (uint16_t)(batch->interface + 1);
        record->received_ms = batch->received_ms;
        if (record->last_ms > batch->received_ms + FUTURE_MS)
            record->last_ms = batch->received_ms;
        if (record->first_ms > record->last_ms)
            record->first_ms = record->last_ms;
    }
}

/* the number by which flows name the probe, remembered with it */
static int probe_number(Ingest *ingest, const PeerKey *key, uint32_t *numberp) {
    uint32_t number = 0;
    Probe *probe = probes_lock(ingest->config.probes, key);
    if (probe) {
        number = probe->number;
        probes_unlock(ingest->config.probes);
    }
    if (!number) {
        uint8_t bytes[STORE_KEY_BYTES];
        ingest_key_bytes(bytes, key);
        int r = error_fold(store_probe(ingest->config.store, bytes, &number));
        if (r)
            return error_trace(r);
        probe = probes_lock(ingest->config.probes, key);
        if (probe) {
            probe->number = number;
            probes_unlock(ingest->config.probes);
        }
    }
    *numberp = number;
    return 0;
}

/* nothing behind it may wait for a batch that cannot be read: set aside, counted, acknowledged */
static void set_aside(Ingest *ingest, const HubBatch *batch) {
    const uint64_t second = clock_monotonic_ms() / 1000;
    if (second != ingest->set_aside_second)
        ingest->set_aside_n = 0;
    ingest->set_aside_second = second;
    if (ingest->set_aside_n++ < SET_ASIDE_MAX) {
        Reason where = {0};
        quarantine_put(ingest->config.data_dir, batch, &where);
        log_warning("probe %s: a batch of %" PRIu64 " flows cannot be decoded; %s%s",
                    batch->key.z85, batch->counts.flows, where.text,
                    ingest->set_aside_n == SET_ASIDE_MAX ? "; more of this second are only counted"
                                                         : "");
    }
    metric_add(&ingest->config.metrics[HUB_METRIC_BATCHES_UNDECODABLE], 1);
    metric_add(&ingest->config.metrics[HUB_METRIC_FLOWS_UNDECODABLE], batch->counts.flows);
    Probe *probe = probes_lock(ingest->config.probes, &batch->key);
    if (probe) {
        probe->undecodable = batch_counts_pile(probe->undecodable, batch->counts);
        probes_unlock(ingest->config.probes);
    }
}

/* the flows of one batch to the end of the group; when it cannot be read, a gap instead */
static int decode(Ingest *ingest, const HubBatch *batch, uint64_t *flowsp) {
    FlowBatch *flows = ingest->filling->flows;
    const size_t before = flows->n;
    BatchCounts sums = {0};
    int r = batch_decode(ingest->codec, batch->payload, batch->size, flows, &sums);
    if (r < 0)
        return error_trace(r);
    /* fewer than were announced would be a silent loss */
    if (r > 0 || sums.flows != batch->counts.flows) {
        flows->n = before;
        set_aside(ingest, batch);
        return error_trace(group_miss(ingest->filling, batch, GROUP_GAP_UNDECODABLE));
    }
    const size_t n = flows->n - before;
    uint32_t number = 0;
    r = probe_number(ingest, &batch->key, &number);
    if (r)
        return error_trace(r);
    enrich(flows->records + before, n, number, batch);
    live_add_flows(ingest->config.live, flows->records + before, n);
    if (n && batch->interface < INTERFACES_MAX)
        atomic_store(&ingest->last_flow_ms[batch->interface], batch->received_ms);
    metric_add(&ingest->config.metrics[HUB_METRIC_BATCHES], 1);
    metric_add(&ingest->config.metrics[HUB_METRIC_FLOWS], n);
    *flowsp = n;
    return 0;
}

/* batches from before a discard come again; they and what was gathered of them go */
static bool is_stale(Ingest *ingest, const HubBatch *batch) {
    if (batch->generation < atomic_load(&ingest->generation)) {
        atomic_fetch_add(&ingest->config.metrics[HUB_METRIC_FLOWS_DROPPED_STALE],
                         batch->counts.flows);
        return true;
    }
    Group *group = ingest->filling;
    if (group->n && group->generation != batch->generation) {
        atomic_fetch_add(&ingest->config.metrics[HUB_METRIC_FLOWS_DROPPED_STALE], group->flows->n);
        group_clear(group);
    }
    return false;
}

/* Out of memory: nothing of this group can be kept in step with its cursors. Not while the writer
 * is at a commit, which could still succeed and would then be sent again. */
static void give_up(Ingest *ingest, int r) {
    char text[256];
    log_error("cannot take a batch: %s", error_describe(r, text, sizeof(text)));
    (void)pthread_mutex_lock(&ingest->lock);
    while (ingest->ready)
        (void)pthread_cond_wait(&ingest->turn, &ingest->lock);
    atomic_store(&ingest->generation, hub_link_discard(ingest->link));
    (void)pthread_mutex_unlock(&ingest->lock);
    group_clear(ingest->filling);
    atomic_fetch_add(&ingest->config.metrics[HUB_METRIC_DISCARDS], 1);
}

static void take(Ingest *ingest, const HubBatch *batch) {
    if (is_stale(ingest, batch))
        return;
    Group *group = ingest->filling;
    uint64_t flows = 0;
    int r = !batch->gap      ? decode(ingest, batch, &flows)
            : batch->corrupt ? group_miss(group, batch, GROUP_GAP_CORRUPT)
                             : group_miss(group, batch, GROUP_GAP_DROPPED);
    if (!r)
        r = group_cover(group, batch, flows);
    if (r) {
        give_up(ingest, r);
        return;
    }
    ingest->newest_ms = clock_monotonic_ms();
    if (group->n == 1 && !group->opened_ms) {
        group->generation = batch->generation;
        group->opened_ms = ingest->newest_ms;
    }
}

static bool is_due(const Ingest *ingest, bool last) {
    const Group *group = ingest->filling;
    const uint64_t now_ms = clock_monotonic_ms();
    return group->n &&
           (last || group->flows->n >= STORE_GROUP_ROWS || group->gap_n >= GAPS_MAX ||
            arena_used(group->flows->texts) >= GROUP_BYTES ||
            now_ms - group->opened_ms >= GROUP_AGE_MS || now_ms - ingest->newest_ms >= QUIET_MS);
}

/* waits for the writer, which has the other group */
static void hand_over(Ingest *ingest) {
    (void)pthread_mutex_lock(&ingest->lock);
    while (ingest->ready)
        (void)pthread_cond_wait(&ingest->turn, &ingest->lock);
    ingest->ready = ingest->filling;
    ingest->filling =
        ingest->filling == &ingest->groups[0] ? &ingest->groups[1] : &ingest->groups[0];
    (void)pthread_cond_broadcast(&ingest->turn);
    (void)pthread_mutex_unlock(&ingest->lock);
}

static void *run_decoder(void *userdata) {
    Ingest *ingest = userdata;
    for (;;) {
        cleanup(hub_batch_freep) HubBatch *batch = queue_pop(ingest->inbox, TICK_MS);
        if (batch)
            take(ingest, batch);
        const bool last = !batch && queue_closed(ingest->inbox);
        if (is_due(ingest, last))
            hand_over(ingest);
        if (last)
            break;
    }
    (void)pthread_mutex_lock(&ingest->lock);
    ingest->decoder_done = true;
    (void)pthread_cond_broadcast(&ingest->turn);
    (void)pthread_mutex_unlock(&ingest->lock);
    return NULL;
}

/* ------------------------------------------------------------------------------------- writer */

static void set_state(Ingest *ingest, IngestState state, const char *reason) {
    if (atomic_exchange(&ingest->state, (int)state) != (int)state && ingest->config.on_state)
        ingest->config.on_state(ingest->config.userdata, state, reason);
}

static void take_off(uint64_t *n, uint64_t part) {
    *n -= part < *n ? part : *n;
}

static void acknowledge(Ingest *ingest, const Group *group) {
    for (size_t i = 0; i < group->n; i++) {
        const GroupCursor *entry = &group->cursors[i];
        hub_link_stored(ingest->link, &entry->cursor.key, &entry->cursor.epoch,
                        entry->cursor.sequence);
        Probe *probe = probes_lock(ingest->config.probes, &entry->cursor.key);
        if (probe) {
            probe->flows_stored += entry->flows;
            probe->missing = batch_counts_pile(probe->missing, entry->missing);
            /* what waited at the last pulse; the next one says anew */
            take_off(&probe->pulse.flows_waiting, entry->flows);
            take_off(&probe->pulse.spool.flows, entry->flows);
            probes_unlock(ingest->config.probes);
        }
    }
}

/* one try; 0 or the store's answer */
static int commit(Ingest *ingest, const Group *group, Reason *reason) {
    StoreCursor *cursors = calloc(group->n, sizeof(*cursors));
    if (!cursors)
        return error_origin(-ENOMEM);
    for (size_t i = 0; i < group->n; i++) {
        const GroupCursor *entry = &group->cursors[i];
        ingest_key_bytes(cursors[i].key, &entry->cursor.key);
        memcpy(cursors[i].epoch, entry->cursor.epoch.bytes, STORE_EPOCH_BYTES);
        cursors[i].sequence = entry->cursor.sequence;
        cursors[i].totals = entry->cursor.totals;
        cursors[i].at_ms = entry->at_ms;
    }
    const FlowBatch *const batches[] = {group->flows};
    const StoreGroup out = {.batches = batches,
                            .batch_n = group->flows->n ? 1 : 0,
                            .cursors = cursors,
                            .cursor_n = group->n,
                            .gaps = group->gaps,
                            .gap_n = group->gap_n,
                            .now_ms = clock_wall_ms()};
    const uint64_t begin_ms = clock_monotonic_ms();
    const int r = store_append(ingest->config.store, &out, reason);
    free(cursors);
    metric_add(&ingest->config.metrics[r ? HUB_METRIC_COMMITS_FAILED : HUB_METRIC_COMMITS], 1);
    metric_add(&ingest->config.metrics[HUB_METRIC_COMMIT_MS], clock_monotonic_ms() - begin_ms);
    return r;
}

static void discard(Ingest *ingest, int r, const Reason *reason) {
    char text[256];
    log_warning("a group of flows could not be stored and is asked for again: %s",
                *reason->text ? reason->text : error_describe(r, text, sizeof(text)));
    atomic_store(&ingest->generation, hub_link_discard(ingest->link));
    atomic_fetch_add(&ingest->config.metrics[HUB_METRIC_DISCARDS], 1);
}

static void pause_ms(unsigned ms) {
    const struct timespec time = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};
    (void)nanosleep(&time, NULL);
}

typedef struct Lookup {
    StoreCursor wanted;
    bool found;
} Lookup;

static int look_at_cursor(void *context, const StoreCursor *cursor) {
    Lookup *lookup = context;
    lookup->found =
        lookup->found || (memcmp(cursor->key, lookup->wanted.key, STORE_KEY_BYTES) == 0 &&
                          memcmp(cursor->epoch, lookup->wanted.epoch, STORE_EPOCH_BYTES) == 0 &&
                          cursor->sequence >= lookup->wanted.sequence);
    return 0;
}

/* a group is stored wholly or not at all, so its first cursor speaks for it */
static int look_for(Ingest *ingest, const Group *group, bool *storedp) {
    const HubCursor *first = &group->cursors[0].cursor;
    Lookup lookup = {.wanted.sequence = first->sequence};
    ingest_key_bytes(lookup.wanted.key, &first->key);
    memcpy(lookup.wanted.epoch, first->epoch.bytes, STORE_EPOCH_BYTES);
    const int r = store_cursors(ingest->config.store, look_at_cursor, &lookup);
    if (!r)
        *storedp = lookup.found;
    return r;
}

/* One try; 0 or the store's answer. A commit can be durable and yet have been reported as failed:
 * once the database was opened again, its cursors tell. Until they were read it is in doubt, and
 * neither another try nor asking the probes would be right. */
static int try_group(Ingest *ingest, const Group *group, bool *doubtfulp, Reason *reason) {
    const int r = *doubtfulp ? STORE_E_REOPENED : commit(ingest, group, reason);
    if (r != STORE_E_REOPENED)
        return r;
    bool stored = false;
    *doubtfulp = look_for(ingest, group, &stored) != 0;
    if (*doubtfulp) {
        reason_set(reason, "the store does not say how far it came");
        return STORE_E_UNAVAILABLE;
    }
    return stored ? 0 : r;
}

/* A file that was removed takes what is written all the same, and then it is nowhere. The hub ends
 * when it sees that; or somebody puts it back. */
static bool is_kept(Ingest *ingest) {
    bool kept = true;
    while (ingest->config.is_kept && !(kept = ingest->config.is_kept(ingest->config.userdata)) &&
           !atomic_load(&ingest->stopping))
        pause_ms(TICK_MS);
    return kept;
}

static void write_group(Ingest *ingest, const Group *group) {
    bool doubtful = false;
    while (group->generation >= atomic_load(&ingest->generation)) {
        Reason reason = {0};
        const int r = try_group(ingest, group, &doubtful, &reason);
        if (r == 0 && !is_kept(ingest))
            return;
        if (r == 0) {
            metric_add(&ingest->config.metrics[HUB_METRIC_FLOWS_STORED], group->flows->n);
            acknowledge(ingest, group);
            set_state(ingest, INGEST_READY, "");
            return;
        }
        const bool keep = r == STORE_E_FULL || r == STORE_E_UNAVAILABLE;
        if (keep)
            set_state(ingest, r == STORE_E_FULL ? INGEST_DISK_FULL : INGEST_UNAVAILABLE,
                      reason.text);
        /* also when stopping: what follows must not be stored when this is not */
        if (!keep || atomic_load(&ingest->stopping))
            discard(ingest, r, &reason);
        if (r < 0 || (keep && !atomic_load(&ingest->stopping)))
            pause_ms(FULL_RETRY_MS);
    }
    atomic_fetch_add(&ingest->config.metrics[HUB_METRIC_FLOWS_DROPPED_STALE], group->flows->n);
}

static void *run_writer(void *userdata) {
    Ingest *ingest = userdata;
    (void)pthread_mutex_lock(&ingest->lock);
    for (;;) {
        while (!ingest->ready && !ingest->decoder_done)
            (void)pthread_cond_wait(&ingest->turn, &ingest->lock);
        Group *group = ingest->ready;
        if (!group)
            break;
        (void)pthread_mutex_unlock(&ingest->lock);
        write_group(ingest, group);
        group_clear(group);
        (void)pthread_mutex_lock(&ingest->lock);
        ingest->ready = NULL;
        (void)pthread_cond_broadcast(&ingest->turn);
    }
    (void)pthread_mutex_unlock(&ingest->lock);
    return NULL;
}

/* ------------------------------------------------------------------------------- start and stop */

int ingest_start(Ingest *ingest, HubLink *link) {
    ingest->link = link;
    int r = pthread_create(&ingest->decoder_thread, NULL, run_decoder, ingest);
    if (r)
        return error_origin(-r);
    r = pthread_create(&ingest->writer_thread, NULL, run_writer, ingest);
    if (r) {
        queue_close(ingest->inbox);
        (void)pthread_join(ingest->decoder_thread, NULL);
        return error_origin(-r);
    }
    ingest->running = true;
    return 0;
}

void ingest_stop(Ingest *ingest) {
    if (!ingest->running)
        return;
    atomic_store(&ingest->stopping, true);
    queue_close(ingest->inbox);
    (void)pthread_join(ingest->decoder_thread, NULL);
    (void)pthread_join(ingest->writer_thread, NULL);
    ingest->running = false;
}
