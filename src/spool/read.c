/* SPDX-License-Identifier: Apache-2.0 */

#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "spool/inside.h"

enum { INDEXES_A_HUB = 2, INDEXES_SPARE = 2 };

/* --- finding a place ------------------------------------------------------------------------ */

/* the segment that this sequence is or was in, or the first one behind it */
static Segment *find_segment(const Spool *spool, const SpoolEpoch *epoch, uint64_t sequence) {
    for (size_t i = 0; i < spool->n_segments; i++) {
        Segment *segment = spool->segments[i];
        if (segment->epoch == epoch && sequence <= segment->last)
            return segment;
    }
    return NULL;
}

void spool_forget_indexes(Spool *spool) {
    size_t most = (size_t)spool->config.n_hubs * INDEXES_A_HUB + INDEXES_SPARE;
    for (;;) {
        Segment *least = NULL;
        size_t n = 0;
        for (size_t i = 0; i < spool->n_segments; i++) {
            Segment *segment = spool->segments[i];
            if (!segment->offsets || segment->active || segment->unsynced || segment->in_memory)
                continue;
            n++;
            if (!least || segment->used < least->used)
                least = segment;
        }
        if (n <= most)
            return;
        segment_unindex(least);
    }
}

static bool is_passing(int error) {
    return error == EMFILE || error == ENFILE || error == ENOMEM;
}

/** need_index() - 0 even if it cannot be read, for all of it is a gap then; or SPOOL_E_LATER */
static int need_index(Spool *spool, Segment *segment) {
    segment->used = ++spool->use;
    SegmentEnd end = {0};
    int r = segment->offsets ? segment_open(segment, spool->folder)
                             : segment_index(segment, spool->folder, false, &end);
    if (!r && !segment->counted) {
        spool->tally.torn_bytes += end.torn_bytes;
        spool->tally.torn_batches += end.torn_batches;
        segment->counted = true;
    }
    if (r)
        segment_unindex(segment);
    spool_forget_indexes(spool);
    return is_passing(r) ? SPOOL_E_LATER : 0;
}

/** gap_to() - from a sequence that cannot be read to where the segment goes on, or ends */
static void gap_to(Spool *spool, Segment *segment, uint64_t sequence, SpoolBatch *batch) {
    batch->gap = true;
    batch->last = segment->last;
    batch->totals = segment->totals;
    for (uint64_t at = sequence + 1; at <= segment->last; at++) {
        Record record;
        size_t offset = 0;
        if (at - segment->first >= segment->n_offsets)
            return;
        if (!segment_read_head(segment, spool->folder, at, &record, &offset))
            continue;
        batch->last = at - 1;
        batch->totals = batch_counts_subtract(record.totals, record.counts);
        return;
    }
}

/** look() - what stands at a sequence of the epoch, in the epoch's own numbers */
static int look(Spool *spool, const SpoolEpoch *epoch, uint64_t sequence, SpoolBatch *batch) {
    if (sequence == 0 || sequence > epoch->last)
        return SPOOL_E_UNKNOWN;
    *batch = (SpoolBatch){.epoch = epoch->id, .first = sequence};
    Segment *segment = find_segment(spool, epoch, sequence);
    if (!segment || sequence < segment->first) { /* gone */
        batch->gap = true;
        batch->last = segment ? segment->first - 1 : epoch->last;
        batch->totals = segment ? segment->before : epoch->last_totals;
        return 0;
    }
    if (need_index(spool, segment))
        return SPOOL_E_LATER;
    Record record;
    size_t offset = 0;
    if (!segment_read_head(segment, spool->folder, sequence, &record, &offset)) {
        gap_to(spool, segment, sequence, batch);
        return 0;
    }
    batch->last = sequence;
    batch->bytes = record.payload_bytes;
    batch->counts = record.counts;
    batch->totals = record.totals;
    return 0;
}

static bool is_for(const SpoolEpoch *epoch, unsigned hub) {
    for (unsigned i = 0; i < epoch->n_holders; i++)
        if (epoch->holders[i].hub == (int)hub)
            return true;
    return false;
}

/* reading changes nothing but what is known to be torn */
static void leave_reading(Spool *spool) {
    const SpoolStatus *shown = &spool->published.status; /* written with the spool's lock only */
    if (spool->tally.torn_bytes != shown->torn_bytes ||
        spool->tally.torn_batches != shown->torn_batches)
        spool_publish(spool);
    (void)pthread_mutex_unlock(&spool->lock);
}

/* --- the interface -------------------------------------------------------------------------- */

int spool_peek(Spool *spool, unsigned hub, const EpochId *shown, uint64_t sequence,
               SpoolBatch *batch) {
    (void)pthread_mutex_lock(&spool->lock);
    const SpoolEpoch *epoch = spool_find_shown(spool, shown);
    int r = SPOOL_E_UNKNOWN;
    if (epoch && is_for(epoch, hub))
        r = look(spool, epoch, sequence + epoch->from, batch);
    if (!r) {
        batch->epoch = epoch->shown;
        batch->first -= epoch->from;
        batch->last -= epoch->from;
        batch->totals = batch_counts_subtract(batch->totals, epoch->from_totals);
    }
    leave_reading(spool);
    return r;
}

static int fetch(Spool *spool, const SpoolEpoch *epoch, uint64_t sequence, void *to, size_t size) {
    Segment *segment = find_segment(spool, epoch, sequence);
    if (!segment || sequence < segment->first)
        return SPOOL_E_UNKNOWN;
    if (need_index(spool, segment))
        return SPOOL_E_LATER;
    Record record;
    size_t offset = 0;
    if (!segment_read_head(segment, spool->folder, sequence, &record, &offset) ||
        record.payload_bytes != size)
        return SPOOL_E_UNKNOWN;
    if (segment_read(segment, spool->folder, offset, to, size) && record_payload_sound(&record, to))
        return 0;
    segment->offsets[sequence - segment->first] = OFFSET_NONE;
    spool->tally.torn_batches++;
    spool->tally.torn_bytes += size;
    return SPOOL_E_UNKNOWN;
}

int spool_fetch(Spool *spool, unsigned hub, const EpochId *shown, uint64_t sequence, void *to,
                size_t size) {
    (void)pthread_mutex_lock(&spool->lock);
    const SpoolEpoch *epoch = spool_find_shown(spool, shown);
    int r = SPOOL_E_UNKNOWN;
    if (epoch && is_for(epoch, hub))
        r = fetch(spool, epoch, sequence + epoch->from, to, size);
    leave_reading(spool);
    return r;
}

void spool_release(Spool *spool, unsigned hub, const EpochId *shown, uint64_t last,
                   const BatchCounts *totals) {
    (void)pthread_mutex_lock(&spool->lock);
    SpoolEpoch *epoch = spool_find_shown(spool, shown);
    bool moved = false;
    if (epoch && !totals)
        epoch->renounced = true;
    for (unsigned i = 0; epoch && i < epoch->n_holders; i++) {
        HolderMark *mark = &epoch->holders[i];
        const uint64_t to = totals ? last + epoch->from : epoch->last;
        if (mark->hub != (int)hub || mark->stored >= to)
            continue;
        mark->stored = to;
        mark->totals = totals ? batch_counts_add(*totals, epoch->from_totals) : epoch->last_totals;
        moved = true;
    }
    if (moved) {
        spool->cursors_changed = true;
        spool_sweep(spool);
    }
    spool_leave(spool);
}

static uint64_t bytes_of(const Spool *spool, const SpoolEpoch *epoch, uint64_t stored) {
    uint64_t bytes = 0;
    for (size_t i = 0; i < spool->n_segments; i++) {
        const Segment *segment = spool->segments[i];
        if (segment->epoch != epoch || segment->last <= stored || segment->last < segment->first)
            continue;
        uint64_t n = segment->last - segment->first + 1;
        uint64_t done = stored >= segment->first ? stored - segment->first + 1 : 0;
        bytes += segment->bytes / n * (n - done);
    }
    return bytes;
}

bool spool_former(Spool *spool, unsigned hub, size_t i, SpoolFormer *former) {
    bool found = false;
    (void)pthread_mutex_lock(&spool->lock);
    for (size_t k = 0; k < spool->n_epochs && !found; k++) {
        const SpoolEpoch *epoch = spool->epochs[k];
        for (unsigned h = 0; h < epoch->n_holders && !found && !epoch->live; h++) {
            const HolderMark *mark = &epoch->holders[h];
            if (mark->hub != (int)hub || mark->stored >= epoch->last || i-- > 0)
                continue;
            found = true;
            *former = (SpoolFormer){
                .epoch = epoch->shown,
                .stored = mark->stored - epoch->from,
                .stored_totals = batch_counts_subtract(mark->totals, epoch->from_totals),
                .last = epoch->last - epoch->from,
                .last_totals = batch_counts_subtract(epoch->last_totals, epoch->from_totals),
                .bytes = bytes_of(spool, epoch, mark->stored),
            };
        }
    }
    (void)pthread_mutex_unlock(&spool->lock);
    return found;
}

static bool has_all(const SpoolEpoch *epoch, unsigned hub) {
    for (unsigned i = 0; i < epoch->n_holders; i++)
        if (epoch->holders[i].hub == (int)hub && epoch->holders[i].stored >= epoch->last)
            return !epoch->live && !epoch->goes_on && !epoch->adopted && !epoch->renounced &&
                   epoch->last;
    return false;
}

bool spool_finished(Spool *spool, unsigned hub, size_t i, SpoolFormer *former) {
    bool found = false;
    (void)pthread_mutex_lock(&spool->lock);
    for (size_t k = 0; k < spool->n_over + spool->n_epochs && !found; k++) {
        const SpoolEpoch *epoch =
            k < spool->n_over ? spool->over[k] : spool->epochs[k - spool->n_over];
        found = has_all(epoch, hub) && i-- == 0;
        if (found)
            *former = (SpoolFormer){.epoch = epoch->id,
                                    .stored = epoch->last,
                                    .stored_totals = epoch->last_totals,
                                    .last = epoch->last,
                                    .last_totals = epoch->last_totals};
    }
    (void)pthread_mutex_unlock(&spool->lock);
    return found;
}

/* --- status --------------------------------------------------------------------------------- */

static uint64_t oldest_written_ms(Spool *spool) {
    for (size_t i = 0; i < spool->n_segments; i++) {
        Segment *segment = spool->segments[i];
        uint64_t next = spool_least_stored(segment->epoch, NULL) + 1;
        if (segment->last < next || segment->last < segment->first)
            continue;
        Record record;
        size_t offset = 0;
        if (next > segment->first && segment->offsets &&
            segment_read_head(segment, spool->folder, next, &record, &offset))
            return record.written_ms;
        return segment->begun_ms;
    }
    return 0;
}

void spool_publish(Spool *spool) {
    SpoolPublished published = {
        .status = spool->tally,
        .oldest_written_ms = oldest_written_ms(spool),
        .rate_ms = spool->rate_ms,
        .payload_bytes = spool->payload_bytes - spool->rate_bytes,
    };
    SpoolStatus *s = &published.status;
    s->bytes = s->disk_bytes + s->memory_bytes;
    s->disk = spool->disk;
    s->limit_bytes =
        s->disk == SPOOL_DISK_GOOD ? spool->config.limit_bytes : spool->config.memory_bytes;
    memcpy(s->reason, spool->disk_reason, sizeof(s->reason));
    for (size_t i = 0; i < spool->n_epochs; i++) {
        const SpoolEpoch *epoch = spool->epochs[i];
        BatchCounts at;
        uint64_t least = spool_least_stored(epoch, &at);
        s->batches += epoch->last - least;
        s->held = batch_counts_add(s->held, batch_counts_subtract(epoch->last_totals, at));
    }
    s->bytes_s = spool->bytes_s;
    (void)pthread_mutex_lock(&spool->published_lock);
    spool->published = published;
    (void)pthread_mutex_unlock(&spool->published_lock);
}

void spool_leave(Spool *spool) {
    spool_publish(spool);
    (void)pthread_mutex_unlock(&spool->lock);
}

/* the thread that reads packets asks: it must not wait for the spool's lock, nor for the disk */
void spool_status(Spool *spool, SpoolStatus *status) {
    (void)pthread_mutex_lock(&spool->published_lock);
    SpoolPublished published = spool->published;
    (void)pthread_mutex_unlock(&spool->published_lock);
    SpoolStatus s = published.status;
    uint64_t now_ms = clock_wall_ms();
    if (published.oldest_written_ms)
        s.oldest_ms =
            now_ms > published.oldest_written_ms ? now_ms - published.oldest_written_ms : 1;
    uint64_t passed_ms = clock_monotonic_ms() - published.rate_ms;
    if (s.bytes_s <= 0 && passed_ms >= 1000) /* of less than a minute so far */
        s.bytes_s = (double)published.payload_bytes * 1e3 / (double)passed_ms;
    uint64_t used = s.disk == SPOOL_DISK_GOOD ? s.disk_bytes : s.memory_bytes;
    if (s.bytes_s > 0 && s.limit_bytes > used)
        s.hours_left = (double)(s.limit_bytes - used) / s.bytes_s / 3600;
    *status = s;
}

const char *spool_disk_word(SpoolDisk disk) {
    static const char *const words[SPOOL_DISK_N_WORDS] = {
        [SPOOL_DISK_NONE] = "memory only",
        [SPOOL_DISK_GOOD] = "good",
        [SPOOL_DISK_FULL] = "disk full",
        [SPOOL_DISK_FAILING] = "disk failing",
    };
    return disk < SPOOL_DISK_N_WORDS ? words[disk] : "unknown";
}
