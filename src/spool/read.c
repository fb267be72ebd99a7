/* SPDX-License-Identifier: Apache-2.0 */

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

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
            if (!segment->offsets || segment->active || segment->unsynced || segment->in_memory ||
                segment->n_tail)
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

/* --- reading with the lock let go ------------------------------------------------------------ */

/*
 * Whoever appends must not wait for a disk that is slow to read. So with the lock held it is only
 * looked up where a record is; the file is read without it, by a descriptor of its own, for the
 * segment may go meanwhile.
 */

/** Reading - a record, by the names and numbers that a hub knows */
typedef struct Reading {
    unsigned hub;
    EpochId shown;
    uint64_t sequence; /* the epoch's own from here on */
    uint64_t from;
    BatchCounts from_totals;
    uint64_t number; /* of its segment */
    uint64_t bytes;  /* of the segment */
    size_t offset;
    int fd;            /* the reading's own; -1: it is in memory, or not there */
    size_t size;       /* of the payload that is wanted; NO_PAYLOAD: only the head */
    SpoolBlock *block; /* the payload lies in, at `at` */
    const uint8_t *at;
    bool no_index; /* the segment cannot be read */
} Reading;

enum { READING_TORN = 100 }; /* beside the spool's answers */
#define NO_PAYLOAD SIZE_MAX

static bool is_passing(int error) {
    return error == EMFILE || error == ENFILE || error == ENOMEM;
}

static bool starts_reading(Spool *spool, Reading *reading, SpoolEpoch **epochp) {
    SpoolEpoch *epoch = spool_find_shown(spool, &reading->shown);
    if (!epoch || !is_for(epoch, reading->hub))
        return false;
    reading->from = epoch->from;
    reading->from_totals = epoch->from_totals;
    *epochp = epoch;
    return true;
}

/** make_index() - without the lock; then it is the segment's, if that is still there */
static int make_index(Spool *spool, const Segment *segment, Reading *reading) {
    Segment copy = {.number = segment->number,
                    .first = segment->first,
                    .last = segment->last,
                    .before = segment->before,
                    .totals = segment->totals,
                    .bytes = segment->bytes,
                    .begun_ms = segment->begun_ms,
                    .fd = -1};
    SegmentEnd end = {0};
    (void)pthread_mutex_unlock(&spool->lock);
    const int r = segment_index(&copy, spool->folder, false, &end);
    (void)pthread_mutex_lock(&spool->lock);
    Segment *to = NULL;
    for (size_t i = 0; i < spool->n_segments && !to; i++)
        to = spool->segments[i]->number == copy.number ? spool->segments[i] : NULL;
    if (r || !to || to->offsets) {
        segment_unindex(&copy);
        reading->no_index = r != 0;
        return is_passing(r) ? SPOOL_E_LATER : 0;
    }
    if (to->fd >= 0)
        (void)close(to->fd);
    to->fd = copy.fd;
    to->offsets = copy.offsets;
    to->ages_s = copy.ages_s;
    to->n_offsets = copy.n_offsets;
    to->capacity = copy.capacity;
    to->used = ++spool->use;
    if (!to->counted) {
        spool->tally.torn_bytes += end.torn_bytes;
        spool->tally.torn_batches += end.torn_batches;
        to->counted = true;
    }
    spool_forget_indexes(spool);
    return 0;
}

/** locate() - 0: *segmentp may have it, NULL: it is gone, or never was */
static int locate(Spool *spool, Reading *reading, SpoolEpoch **epochp, Segment **segmentp) {
    for (;;) {
        *segmentp = NULL;
        if (!starts_reading(spool, reading, epochp))
            return SPOOL_E_UNKNOWN;
        const uint64_t sequence = reading->sequence + reading->from;
        if (reading->sequence == 0 || sequence > (*epochp)->last)
            return SPOOL_E_UNKNOWN;
        Segment *segment = find_segment(spool, *epochp, sequence);
        if (!segment || sequence < segment->first || segment->in_memory || segment->offsets ||
            reading->no_index) {
            *segmentp = segment;
            return 0;
        }
        int r = make_index(spool, segment, reading);
        if (r)
            return r;
    }
}

/** open_reading() - of a file; 0 also when it cannot be opened, for then it cannot be read */
static int open_reading(const Spool *spool, Segment *segment, uint64_t sequence, Reading *reading) {
    reading->fd = -1;
    if (sequence - segment->first >= segment->n_offsets ||
        segment->offsets[sequence - segment->first] == OFFSET_NONE)
        return 0;
    int r = segment_open(segment, spool->folder);
    reading->fd = r ? -1 : fcntl(segment->fd, F_DUPFD_CLOEXEC, 0);
    if (reading->fd < 0 && is_passing(r ? r : errno))
        return SPOOL_E_LATER;
    reading->number = segment->number;
    reading->bytes = segment_written(segment);
    reading->offset = segment->offsets[sequence - segment->first];
    return 0;
}

/** read_file() - without the lock: the head, and the payload if it is wanted and of that size */
static int read_file(Reading *reading, uint64_t sequence, Record *record) {
    uint8_t head[RECORD_HEAD_MAX_BYTES];
    const bool wanted = reading->size != NO_PAYLOAD;
    const size_t left = reading->offset < reading->bytes ? reading->bytes - reading->offset : 0;
    size_t most = RECORD_HEAD_MAX_BYTES + (wanted ? reading->size : 0);
    most = left < most ? left : most;
    if (wanted && !(reading->block = spool_block_new(most)))
        return SPOOL_E_LATER;
    uint8_t *bytes = wanted ? reading->block->bytes : head;
    size_t head_bytes = 0;
    if (!segment_read_at(reading->fd, bytes, most, reading->offset) ||
        record_read(record, &head_bytes, bytes, most) != 0 || record->sequence != sequence ||
        (wanted && record->payload_bytes != reading->size))
        return SPOOL_E_UNKNOWN;
    if (!wanted)
        return 0;
    reading->at = bytes + head_bytes;
    const bool sound =
        most - head_bytes >= reading->size && record_payload_sound(record, reading->at);
    return sound ? 0 : READING_TORN;
}

/** in_memory() - the segment, or what was held back of it */
static bool in_memory(const Segment *segment, uint64_t sequence) {
    const uint64_t i = sequence - segment->first;
    return segment->in_memory ||
           (segment->n_tail && i < segment->n_offsets && segment->offsets[i] != OFFSET_NONE &&
            segment->offsets[i] >= segment_written(segment));
}

/** read_memory() - likewise, of what is not in a file: there is nothing to wait for */
static int read_memory(const Spool *spool, Segment *segment, uint64_t sequence, Reading *reading,
                       Record *record) {
    size_t offset = 0;
    if (!segment_read_head(segment, spool->folder, sequence, record, &offset))
        return SPOOL_E_UNKNOWN;
    if (reading->size == NO_PAYLOAD)
        return 0;
    if (record->payload_bytes != reading->size)
        return SPOOL_E_UNKNOWN;
    if (!(reading->block = spool_block_new(reading->size)))
        return SPOOL_E_LATER;
    reading->at = reading->block->bytes;
    return segment_read(segment, spool->folder, offset, reading->block->bytes, reading->size)
               ? 0
               : SPOOL_E_UNKNOWN;
}

/** read_recent() - false: it is not in memory any more */
static bool read_recent(Spool *spool, Reading *reading, Record *record) {
    SpoolEpoch *epoch = NULL;
    if (!starts_reading(spool, reading, &epoch) || !epoch->live)
        return false;
    SpoolBlock *block = NULL;
    for (unsigned i = 0; i < spool->n_lanes && !block; i++)
        if (spool->lanes[i].epoch == epoch)
            block = recent_find(&spool->lanes[i].recent, reading->sequence + reading->from, record);
    if (!block || reading->size == NO_PAYLOAD)
        return block != NULL;
    if (record->payload_bytes != reading->size)
        return false;
    reading->block = spool_block_hold(block);
    reading->at = block->bytes + (block->size - reading->size);
    return true;
}

static void note_torn(Spool *spool, const Reading *reading, uint64_t sequence, size_t size) {
    for (size_t i = 0; i < spool->n_segments; i++) {
        Segment *segment = spool->segments[i];
        if (segment->number != reading->number)
            continue;
        if (segment->offsets && sequence - segment->first < segment->n_offsets)
            segment->offsets[sequence - segment->first] = OFFSET_NONE;
        spool->tally.torn_batches++;
        spool->tally.torn_bytes += size;
    }
}

/** read_record() - the lock is held before and after, not between; *segmentp as of locate(), and
 * only when nothing could be read */
static int read_record(Spool *spool, Reading *reading, Record *record) {
    SpoolEpoch *epoch = NULL;
    Segment *segment = NULL;
    if (read_recent(spool, reading, record))
        return 0;
    int r = locate(spool, reading, &epoch, &segment);
    if (r)
        return r;
    const uint64_t sequence = reading->sequence + reading->from;
    if (!segment || sequence < segment->first)
        return READING_TORN; /* let go */
    if (in_memory(segment, sequence))
        return read_memory(spool, segment, sequence, reading, record);
    segment->used = ++spool->use;
    r = open_reading(spool, segment, sequence, reading);
    if (r || reading->fd < 0)
        return r ? r : READING_TORN;
    (void)pthread_mutex_unlock(&spool->lock);
    r = read_file(reading, sequence, record);
    (void)close(reading->fd);
    (void)pthread_mutex_lock(&spool->lock);
    if (r == READING_TORN)
        note_torn(spool, reading, sequence, reading->size);
    return r;
}

/* --- the interface -------------------------------------------------------------------------- */

/** gap_at() - there is no record: how far that goes. The few reads that takes are of a damaged file
 */
static int gap_at(Spool *spool, Reading *reading, SpoolBatch *batch) {
    SpoolEpoch *epoch = NULL;
    Segment *segment = NULL;
    int r = locate(spool, reading, &epoch, &segment);
    if (r)
        return r;
    const uint64_t sequence = reading->sequence + reading->from;
    *batch = (SpoolBatch){.first = sequence, .gap = true};
    if (segment && sequence >= segment->first) {
        gap_to(spool, segment, sequence, batch);
        return 0;
    }
    batch->last = segment ? segment->first - 1 : epoch->last;
    batch->totals = segment ? segment->before : epoch->last_totals;
    return 0;
}

int spool_peek(Spool *spool, unsigned hub, const EpochId *shown, uint64_t sequence,
               SpoolBatch *batch) {
    Reading reading = {.hub = hub, .shown = *shown, .sequence = sequence, .size = NO_PAYLOAD};
    Record record;
    (void)pthread_mutex_lock(&spool->lock);
    int r = read_record(spool, &reading, &record);
    if (r == 0)
        *batch = (SpoolBatch){.first = sequence + reading.from,
                              .last = sequence + reading.from,
                              .bytes = record.payload_bytes,
                              .counts = record.counts,
                              .totals = record.totals};
    else if (r != SPOOL_E_LATER)
        r = gap_at(spool, &reading, batch);
    if (!r) {
        batch->epoch = reading.shown;
        batch->first -= reading.from;
        batch->last -= reading.from;
        batch->totals = batch_counts_subtract(batch->totals, reading.from_totals);
    }
    leave_reading(spool);
    return r;
}

int spool_borrow(Spool *spool, unsigned hub, const EpochId *shown, uint64_t sequence, size_t size,
                 SpoolBytes *lent) {
    Reading reading = {.hub = hub, .shown = *shown, .sequence = sequence, .size = size};
    Record record;
    (void)pthread_mutex_lock(&spool->lock);
    int r = read_record(spool, &reading, &record);
    leave_reading(spool);
    if (r) {
        spool_block_free(reading.block);
        return r == READING_TORN ? SPOOL_E_UNKNOWN : r;
    }
    *lent = (SpoolBytes){.bytes = (void *)(uintptr_t)reading.at,
                         .crc32c = record.payload_crc32c,
                         .block = reading.block};
    return 0;
}

int spool_fetch(Spool *spool, unsigned hub, const EpochId *shown, uint64_t sequence, void *to,
                size_t size) {
    SpoolBytes lent;
    int r = spool_borrow(spool, hub, shown, sequence, size, &lent);
    if (r)
        return r;
    if (lent.bytes)
        memcpy(to, lent.bytes, size);
    spool_give_back(lent.bytes, lent.block);
    return 0;
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
    for (unsigned i = 0; moved && i < spool->n_lanes; i++)
        if (spool->lanes[i].epoch == epoch)
            recent_forget(&spool->lanes[i].recent, spool_least_stored(epoch, NULL));
    if (moved) {
        spool_uncount_dropped(spool, epoch);
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

static uint64_t oldest_written_ms(const Spool *spool) {
    for (size_t i = 0; i < spool->n_segments; i++) {
        const Segment *segment = spool->segments[i];
        uint64_t next = spool_least_stored(segment->epoch, NULL) + 1;
        if (segment->last < next || segment->last < segment->first)
            continue;
        if (next > segment->first && segment->offsets && next - segment->first < segment->n_offsets)
            return segment->begun_ms + (uint64_t)segment->ages_s[next - segment->first] * 1000;
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
