/* SPDX-License-Identifier: Apache-2.0 */

#include "spool/spool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/crc32c.h"
#include "base/error.h"
#include "base/hash.h"
#include "spool/inside.h"

/* --- epochs and segments -------------------------------------------------------------------- */

SpoolEpoch *spool_find_epoch(const Spool *spool, const EpochId *id) {
    for (size_t i = spool->n_epochs; i-- > 0;)
        if (epoch_equal(&spool->epochs[i]->id, id))
            return spool->epochs[i];
    return NULL;
}

SpoolEpoch *spool_find_shown(const Spool *spool, const EpochId *shown) {
    for (size_t i = spool->n_epochs; i-- > 0;)
        if (epoch_equal(&spool->epochs[i]->shown, shown))
            return spool->epochs[i];
    return NULL;
}

/** grow() - of an array of pointers */
static int grow(void *arrayp, size_t n, size_t *capacityp) {
    void **array = *(void ***)arrayp;
    if (n < *capacityp)
        return 0;
    size_t capacity = *capacityp ? *capacityp * 2 : 16;
    void **more = realloc(array, capacity * sizeof(*more));
    if (!more)
        return error_origin(-ENOMEM);
    *(void ***)arrayp = more;
    *capacityp = capacity;
    return 0;
}

int spool_add_epoch(Spool *spool, const EpochId *id, SpoolEpoch **epochp) {
    int r = grow(&spool->epochs, spool->n_epochs, &spool->epochs_capacity);
    if (r)
        return error_trace(r);
    SpoolEpoch *epoch = calloc(1, sizeof(*epoch));
    if (!epoch)
        return error_origin(-ENOMEM);
    epoch->id = epoch->shown = *id;
    spool->epochs[spool->n_epochs++] = epoch;
    *epochp = epoch;
    return 0;
}

int spool_add_segment(Spool *spool, Segment *segment) {
    int r = grow(&spool->segments, spool->n_segments, &spool->segments_capacity);
    if (r)
        return error_trace(r);
    spool->segments[spool->n_segments++] = segment;
    return 0;
}

void spool_remove_segment(Spool *spool, size_t i) {
    Segment *segment = spool->segments[i];
    if (segment->in_memory) {
        spool->tally.memory_bytes -= segment->bytes;
    } else {
        char name[SEGMENT_NAME_BYTES];
        segment_name(name, segment->number);
        (void)unlinkat(spool->folder, name, 0); /* should it come back, the hub has it */
        spool->tally.disk_bytes -= segment->bytes;
    }
    for (unsigned k = 0; k < spool->n_lanes; k++) {
        SpoolLane *lane = &spool->lanes[k];
        if (lane->active == segment)
            lane->active = NULL;
        if (lane->epoch && lane->epoch == segment->epoch)
            recent_forget(&lane->recent, segment->last);
    }
    segment_free(segment);
    memmove(&spool->segments[i], &spool->segments[i + 1],
            (spool->n_segments - i - 1) * sizeof(*spool->segments));
    spool->n_segments--;
}

uint64_t spool_least_stored(const SpoolEpoch *epoch, BatchCounts *totals) {
    uint64_t least = epoch->last;
    BatchCounts at = epoch->last_totals;
    for (unsigned i = 0; i < epoch->n_holders; i++) {
        const HolderMark *mark = &epoch->holders[i];
        if (mark->hub < 0 || mark->stored >= least)
            continue;
        least = mark->stored;
        at = mark->totals;
    }
    if (least < epoch->gone) {
        least = epoch->gone;
        at = epoch->gone_totals;
    }
    if (totals)
        *totals = at;
    return least;
}

/* a gap at its end has to be told, too: only what the hubs have confirmed is over */
static bool is_over(const SpoolEpoch *epoch) {
    for (unsigned i = 0; i < epoch->n_holders; i++)
        if (epoch->holders[i].hub >= 0 && epoch->holders[i].stored < epoch->last)
            return false;
    return !epoch->live && !epoch->goes_on;
}

/* should a hub's store go back to a backup, it must learn of what it then lacks of it */
static void remember(Spool *spool, SpoolEpoch *epoch) {
    if (!epoch->last || epoch->adopted || epoch->renounced) {
        free(epoch);
        return;
    }
    if (spool->n_over == OVER_MAX) {
        free(spool->over[0]);
        spool->n_over--;
        memmove(&spool->over[0], &spool->over[1], spool->n_over * sizeof(spool->over[0]));
    }
    spool->over[spool->n_over++] = epoch;
    spool->cursors_changed = true;
    spool->cursors_ms = 0; /* soon */
}

void spool_sweep(Spool *spool) {
    for (size_t i = 0; i < spool->n_segments;) {
        const Segment *segment = spool->segments[i];
        if (!segment->active && segment->last <= spool_least_stored(segment->epoch, NULL))
            spool_remove_segment(spool, i);
        else
            i++;
    }
    size_t kept = 0;
    for (size_t i = 0; i < spool->n_epochs; i++) {
        SpoolEpoch *epoch = spool->epochs[i];
        if (is_over(epoch)) /* its segments went above */
            remember(spool, epoch);
        else
            spool->epochs[kept++] = epoch;
    }
    spool->n_epochs = kept;
}

void spool_say(Spool *spool, bool trouble, const char *format, ...) {
    if (spool->n_words == SPOOL_WORDS_MAX)
        return;
    va_list ap;
    va_start(ap, format);
    (void)vsnprintf(spool->words[spool->n_words].text, sizeof(spool->words[0].text), format, ap);
    va_end(ap);
    spool->words[spool->n_words++].trouble = trouble;
}

void spool_unlock(Spool *spool) {
    spool_publish(spool);
    while (spool->n_words) {
        char text[sizeof(spool->words[0].text)];
        bool trouble = spool->words[0].trouble;
        memcpy(text, spool->words[0].text, sizeof(text));
        spool->n_words--;
        memmove(&spool->words[0], &spool->words[1], spool->n_words * sizeof(spool->words[0]));
        (void)pthread_mutex_unlock(&spool->lock);
        if (spool->config.on_word)
            spool->config.on_word(spool->config.userdata, trouble, text);
        (void)pthread_mutex_lock(&spool->lock);
    }
    (void)pthread_mutex_unlock(&spool->lock);
}

/* --- life ----------------------------------------------------------------------------------- */

static int open_folder(Spool *spool, Reason *reason) {
    const char *folder = spool->config.folder;
    if (!folder || !spool->config.limit_bytes)
        return 0;
    spool->path = strdup(folder);
    if (!spool->path)
        return error_origin(-ENOMEM);
    spool->folder = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (spool->folder < 0) {
        reason_set(reason, "cannot open the folder %s: %s", folder, strerror(errno));
        return SPOOL_E_REFUSED;
    }
    cleanup(closep) int parent = openat(spool->folder, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (parent >= 0)
        (void)fsync(parent); /* the folder may be new; if this fails, so will what follows */
    spool->disk = SPOOL_DISK_GOOD;
    return error_trace(spool_recover(spool));
}

int spool_new(Spool **spoolp, const SpoolConfig *config, Reason *reason) {
    cleanup(spool_freep) Spool *spool = calloc(1, sizeof(*spool));
    if (!spool)
        return error_origin(-ENOMEM);
    spool->config = *config;
    spool->folder = -1;
    spool->next_number = 1;
    spool->n_lanes = config->fanout ? 1 : config->n_hubs;
    spool->rate_ms = spool->cursors_ms = clock_monotonic_ms();
    for (unsigned i = 0; i < spool->n_lanes; i++)
        recent_init(&spool->lanes[i].recent, config->recent_bytes / spool->n_lanes);
    pthread_condattr_t monotonic;
    (void)pthread_condattr_init(&monotonic);
    (void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    (void)pthread_mutex_init(&spool->lock, NULL);
    (void)pthread_mutex_init(&spool->published_lock, NULL);
    (void)pthread_cond_init(&spool->wake, &monotonic);
    (void)pthread_cond_init(&spool->synced, &monotonic);
    (void)pthread_condattr_destroy(&monotonic);

    (void)pthread_mutex_lock(&spool->lock);
    int r = open_folder(spool, reason);
    uint64_t limit = spool->folder < 0 ? config->memory_bytes : config->limit_bytes;
    uint64_t segment = limit / SEGMENTS_A_LIMIT / (spool->n_lanes ? spool->n_lanes : 1);
    spool->segment_bytes = segment < SEGMENT_MIN_BYTES   ? SEGMENT_MIN_BYTES
                           : segment > SEGMENT_MAX_BYTES ? SEGMENT_MAX_BYTES
                                                         : (size_t)segment;
    if (!r)
        spool_drop_beyond(spool);
    spool_unlock(spool);
    if (!r)
        r = spool_commit_start(spool);
    if (r)
        return error_trace(r);
    *spoolp = spool;
    spool = NULL;
    return 0;
}

Spool *spool_free(Spool *spool) {
    if (!spool)
        return NULL;
    spool_commit_stop(spool);
    if (spool->started) {
        (void)pthread_mutex_lock(&spool->lock);
        for (unsigned i = 0; i < spool->n_lanes; i++)
            spool_rotate_lane(spool, &spool->lanes[i]);
        spool_sweep(spool);
        if (spool->folder >= 0)
            (void)cursors_write(spool);
        (void)pthread_mutex_unlock(&spool->lock);
    }
    for (size_t i = 0; i < spool->n_segments; i++)
        segment_free(spool->segments[i]);
    for (size_t i = 0; i < spool->n_epochs; i++)
        free(spool->epochs[i]);
    for (size_t i = 0; i < spool->n_over; i++)
        free(spool->over[i]);
    free(spool->segments);
    free(spool->epochs);
    free(spool->path);
    closep(&spool->folder);
    for (unsigned i = 0; i < spool->n_lanes; i++)
        recent_deinit(&spool->lanes[i].recent);
    buffer_deinit(&spool->head);
    (void)pthread_cond_destroy(&spool->wake);
    (void)pthread_cond_destroy(&spool->synced);
    (void)pthread_mutex_destroy(&spool->published_lock);
    (void)pthread_mutex_destroy(&spool->lock);
    free(spool);
    return NULL;
}

unsigned spool_lanes(const Spool *spool) {
    return spool->n_lanes;
}

/* --- appending ------------------------------------------------------------------------------ */

void spool_rotate_lane(Spool *spool, SpoolLane *lane) {
    const int r = spool_close_active(spool, lane);
    recent_clear(&lane->recent);
    if (lane->epoch)
        lane->epoch->live = false;
    lane->epoch = NULL;
    if (r && spool->disk == SPOOL_DISK_GOOD) /* else that is known, and why this lane rotates */
        spool_disk_failed(spool, r);
}

/* a virtual machine that went back to a snapshot may draw the same numbers again: so the time, too
 */
static int draw_epoch(EpochId *id) {
    if (getrandom(id, sizeof(*id), 0) != sizeof(*id))
        return error_origin(-errno);
    const uint64_t now[] = {clock_wall_ms(), clock_monotonic_ns()};
    for (size_t i = 0; i < sizeof(*id); i += 8) {
        uint64_t random = 0;
        memcpy(&random, id->bytes + i, 8);
        random ^= hash_bytes(now, sizeof(now), i + 1);
        memcpy(id->bytes + i, &random, 8);
    }
    return 0;
}

static int open_epoch(Spool *spool, unsigned lane) {
    EpochId id;
    int r = draw_epoch(&id);
    if (r)
        return error_trace(r);
    SpoolEpoch *epoch = NULL;
    r = spool_add_epoch(spool, &id, &epoch);
    if (r)
        return error_trace(r);
    unsigned first = spool->config.fanout ? 0 : lane;
    epoch->n_holders = spool->config.fanout ? spool->config.n_hubs : 1;
    for (unsigned i = 0; i < epoch->n_holders; i++)
        epoch->holders[i] =
            (HolderMark){.id = spool->config.hubs[first + i], .hub = (int)(first + i)};
    epoch->live = true;
    spool->lanes[lane].epoch = epoch;
    return 0;
}

/** write_record() - NULL: out of memory */
static SpoolBlock *write_record(Spool *spool, const SpoolEpoch *epoch, const void *bytes,
                                size_t size, Record *record) {
    record->n_hubs = epoch->n_holders;
    for (unsigned i = 0; i < epoch->n_holders; i++)
        record->hubs[i] = epoch->holders[i].id;
    buffer_clear(&spool->head);
    record_write(&spool->head, record);
    SpoolBlock *block = spool->head.failed ? NULL : spool_block_new(spool->head.size + size);
    if (!block)
        return NULL;
    memcpy(block->bytes, spool->head.bytes, spool->head.size);
    memcpy(block->bytes + spool->head.size, bytes, size);
    return block;
}

/** put() - into the lane's segment; 0, -ENOMEM, or the disk's errno */
static int put(Spool *spool, SpoolLane *lane, const Record *record, SpoolBlock *block) {
    int r = 0;
    if (lane->active && lane->active->bytes >= spool->segment_bytes)
        r = spool_close_active(spool, lane);
    if (!r && !lane->active)
        r = spool_open_active(spool, lane);
    if (r)
        return r;
    r = segment_put(lane->active, record, block, spool->gather);
    if (r)
        return r == ENOMEM ? error_origin(-ENOMEM) : r;
    uint64_t *bytes =
        lane->active->in_memory ? &spool->tally.memory_bytes : &spool->tally.disk_bytes;
    *bytes += block->size;
    if (!lane->active->in_memory)
        recent_put(&lane->recent, record, block);
    return 0;
}

static int append(Spool *spool, unsigned lane_number, const void *bytes, size_t size,
                  const BatchCounts *counts, SpoolBatch *batch) {
    SpoolLane *lane = &spool->lanes[lane_number];
    int r = lane->epoch ? 0 : open_epoch(spool, lane_number);
    SpoolEpoch *epoch = lane->epoch;
    if (r)
        return error_trace(r);
    if (!epoch)
        return error_origin(-EINVAL); /* never: open_epoch() gives the lane one */
    Record record = {
        .epoch = epoch->id,
        .sequence = epoch->last + 1,
        .written_ms = clock_wall_ms(),
        .counts = *counts,
        .totals = batch_counts_add(epoch->last_totals, *counts),
        .payload_bytes = (uint32_t)size,
        .payload_crc32c = crc32c(0, bytes, size),
    };
    SpoolBlock *block = write_record(spool, epoch, bytes, size, &record);
    if (!block)
        return error_origin(-ENOMEM);
    r = put(spool, lane, &record, block);
    spool_block_free(block);
    if (r > 0) { /* the disk: told once, and memory takes its place */
        spool_disk_failed(spool, r);
        return r;
    }
    if (r)
        return error_trace(r);
    epoch->last = record.sequence;
    epoch->last_totals = record.totals;
    spool->cursors_changed = spool->cursors_changed || !lane->active->in_memory;
    spool->n_appended++;
    spool->payload_bytes += size;
    spool->tally.appended = batch_counts_add(spool->tally.appended, *counts);
    *batch = (SpoolBatch){.epoch = epoch->id,
                          .first = record.sequence,
                          .last = record.sequence,
                          .bytes = (uint32_t)size,
                          .counts = *counts,
                          .totals = record.totals};
    if (spool->n_appended - spool->n_synced == 1)
        (void)pthread_cond_signal(&spool->wake);
    return 0;
}

int spool_append(Spool *spool, unsigned lane, const void *bytes, size_t size,
                 const BatchCounts *counts, SpoolBatch *batch) {
    if (size > SPOOL_PAYLOAD_MAX_BYTES || lane >= spool->n_lanes)
        return error_origin(-EINVAL);
    SpoolDrop drops[SPOOL_HUBS_MAX];
    unsigned n_drops = 0;
    (void)pthread_mutex_lock(&spool->lock);
    spool_disk_again(spool);
    int r = append(spool, lane, bytes, size, counts, batch);
    if (r > 0)
        r = append(spool, lane, bytes, size, counts, batch);
    const Segment *keep = spool->lanes[lane].active;
    while (!r && spool_drop_oldest(spool, keep, drops, &n_drops)) {
        spool_leave(spool);
        for (unsigned i = 0; i < n_drops && spool->config.on_drop; i++)
            spool->config.on_drop(spool->config.userdata, &drops[i]);
        (void)pthread_mutex_lock(&spool->lock);
        keep = spool->lanes[lane].active;
    }
    spool_unlock(spool);
    return error_fold(r);
}

void spool_rotate(Spool *spool, unsigned lane) {
    (void)pthread_mutex_lock(&spool->lock);
    spool_rotate_lane(spool, &spool->lanes[lane]);
    spool_sweep(spool);
    spool_leave(spool);
}
