/* SPDX-License-Identifier: Apache-2.0 */

#include "spool/segment.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "spool/recent.h"

void segment_name(char *name, uint64_t number) {
    (void)snprintf(name, SEGMENT_NAME_BYTES, "%016" PRIx64 ".ipfix.zst", number);
}

Segment *segment_new(uint64_t number) {
    Segment *segment = calloc(1, sizeof(*segment));
    if (segment) {
        segment->number = number;
        segment->fd = -1;
    }
    return segment;
}

static void forget_tail(Segment *segment) {
    while (segment->n_tail)
        spool_block_free(segment->tail[--segment->n_tail]);
    segment->tail_bytes = 0;
}

Segment *segment_free(Segment *segment) {
    if (!segment)
        return NULL;
    forget_tail(segment);
    free(segment->tail);
    closep(&segment->fd);
    buffer_deinit(&segment->memory);
    free(segment->offsets);
    free(segment->ages_s);
    free(segment);
    return NULL;
}

static int write_at(int fd, const uint8_t *bytes, size_t size, uint64_t offset) {
    while (size) {
        ssize_t n = pwrite(fd, bytes, size, (off_t)offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? errno : EIO;
        bytes += n;
        size -= (size_t)n;
        offset += (uint64_t)n;
    }
    return 0;
}

static bool read_at(int fd, uint8_t *to, size_t size, uint64_t offset) {
    while (size) {
        ssize_t n = pread(fd, to, size, (off_t)offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        to += n;
        size -= (size_t)n;
        offset += (uint64_t)n;
    }
    return true;
}

int segment_make_file(Segment *segment, int folder) {
    char name[SEGMENT_NAME_BYTES];
    segment_name(name, segment->number);
    int fd = openat(folder, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return errno;
    int r = write_at(fd, segment->memory.bytes, segment->memory.size, 0);
    if (r) {
        (void)unlinkat(folder, name, 0);
        (void)close(fd);
        return r;
    }
    segment->fd = fd;
    segment->in_memory = false;
    segment->unsynced = true;
    buffer_deinit(&segment->memory);
    segment->memory = (Buffer){0};
    return 0;
}

static int need_offset(Segment *segment, size_t n) {
    if (n <= segment->capacity)
        return 0;
    size_t capacity = segment->capacity ? segment->capacity : 64;
    while (capacity < n)
        capacity *= 2;
    uint32_t *offsets = realloc(segment->offsets, capacity * sizeof(*offsets));
    if (!offsets)
        return ENOMEM;
    segment->offsets = offsets;
    uint32_t *ages_s = realloc(segment->ages_s, capacity * sizeof(*ages_s));
    if (!ages_s)
        return ENOMEM;
    segment->ages_s = ages_s;
    segment->capacity = capacity;
    return 0;
}

static void put_offset(Segment *segment, uint32_t offset, uint64_t written_ms) {
    const uint64_t age_ms = written_ms > segment->begun_ms ? written_ms - segment->begun_ms : 0;
    segment->ages_s[segment->n_offsets] = (uint32_t)(age_ms / 1000);
    segment->offsets[segment->n_offsets++] = offset;
}

uint64_t segment_written(const Segment *segment) {
    return segment->bytes - segment->tail_bytes;
}

/* a write may take less than it was given: what follows then goes by itself */
static int write_blocks(int fd, SpoolBlock *const *blocks, size_t n, uint64_t offset) {
    struct iovec parts[SEGMENT_TAIL_RECORDS];
    for (size_t i = 0; i < n; i++)
        parts[i] = (struct iovec){blocks[i]->bytes, blocks[i]->size};
    const ssize_t written = n > 1 ? pwritev(fd, parts, (int)n, (off_t)offset) : 0;
    if (written < 0 && errno != EINTR)
        return errno;
    size_t done = written > 0 ? (size_t)written : 0;
    int r = 0;
    for (size_t i = 0; i < n && !r; i++) {
        const size_t had = done < blocks[i]->size ? done : blocks[i]->size;
        r = write_at(fd, blocks[i]->bytes + had, blocks[i]->size - had, offset + had);
        offset += blocks[i]->size;
        done -= had;
    }
    return r;
}

int segment_write_tail(Segment *segment, int folder) {
    if (!segment->n_tail)
        return 0;
    int r = segment_open(segment, folder);
    const uint64_t offset = segment_written(segment);
    if (!r)
        r = write_blocks(segment->fd, segment->tail, segment->n_tail, offset);
    if (!r)
        forget_tail(segment);
    else if (segment->fd >= 0 && ftruncate(segment->fd, (off_t)offset) < 0)
        return r; /* a torn tail, which the next start passes over */
    return r;
}

static int put_memory(Segment *segment, const SpoolBlock *block) {
    buffer_put(&segment->memory, block->bytes, block->size);
    if (!segment->memory.failed)
        return 0;
    segment->memory.failed = false;
    segment->memory.size = segment->bytes;
    return ENOMEM;
}

/** put_tail() - to what is written next, and that is at once unless it may wait */
static int put_tail(Segment *segment, SpoolBlock *block, bool gather) {
    if (!segment->tail)
        segment->tail = malloc(SEGMENT_TAIL_RECORDS * sizeof(segment->tail[0]));
    if (!segment->tail)
        return ENOMEM;
    segment->tail[segment->n_tail++] = spool_block_hold(block);
    segment->tail_bytes += block->size;
    segment->bytes += block->size;
    const bool full =
        segment->n_tail == SEGMENT_TAIL_RECORDS || segment->tail_bytes >= SEGMENT_TAIL_BYTES;
    const int r = full || !gather ? segment_write_tail(segment, -1) : 0;
    segment->bytes -= block->size;
    if (!r)
        return 0;
    segment->tail_bytes -= block->size;
    spool_block_free(segment->tail[--segment->n_tail]);
    return r;
}

int segment_put(Segment *segment, const Record *record, SpoolBlock *block, bool gather) {
    int r = need_offset(segment, segment->n_offsets + 1);
    if (!r)
        r = segment->in_memory ? put_memory(segment, block) : put_tail(segment, block, gather);
    if (r)
        return r;
    put_offset(segment, (uint32_t)segment->bytes, record->written_ms);
    segment->bytes += block->size;
    segment->unsynced = !segment->in_memory;
    segment->last = record->sequence;
    segment->totals = record->totals;
    return 0;
}

int segment_open(Segment *segment, int folder) {
    if (segment->fd >= 0 || segment->in_memory)
        return 0;
    char name[SEGMENT_NAME_BYTES];
    segment_name(name, segment->number);
    segment->fd = openat(folder, name, O_RDWR | O_CLOEXEC);
    if (segment->fd < 0) /* a disk that went read-only can still be read */
        segment->fd = openat(folder, name, O_RDONLY | O_CLOEXEC);
    return segment->fd < 0 ? errno : 0;
}

static void read_tail(const Segment *segment, uint8_t *to, size_t size, uint64_t offset) {
    uint64_t at = segment_written(segment);
    for (size_t i = 0; i < segment->n_tail && size; at += segment->tail[i++]->size) {
        const SpoolBlock *block = segment->tail[i];
        if (offset >= at + block->size)
            continue;
        const size_t from = (size_t)(offset - at);
        const size_t n = block->size - from < size ? block->size - from : size;
        memcpy(to, block->bytes + from, n);
        to += n;
        size -= n;
        offset += n;
    }
}

bool segment_read(Segment *segment, int folder, size_t offset, void *to, size_t size) {
    if (segment_open(segment, folder) || offset > segment->bytes || segment->bytes - offset < size)
        return false;
    if (segment->in_memory) {
        memcpy(to, segment->memory.bytes + offset, size);
        return true;
    }
    const uint64_t written = segment_written(segment);
    const size_t left = offset < written ? (size_t)(written - offset) : 0;
    const size_t filed = left < size ? left : size;
    if (filed && !read_at(segment->fd, to, filed, offset))
        return false;
    read_tail(segment, (uint8_t *)to + filed, size - filed, offset + filed);
    return true;
}

bool segment_read_at(int fd, void *to, size_t size, uint64_t offset) {
    return read_at(fd, to, size, offset);
}

bool segment_read_head(Segment *segment, int folder, uint64_t sequence, Record *record,
                       size_t *payload_offsetp) {
    if (sequence < segment->first || sequence - segment->first >= segment->n_offsets)
        return false;
    size_t offset = segment->offsets[sequence - segment->first];
    if (offset == OFFSET_NONE || offset >= segment->bytes)
        return false;
    uint8_t bytes[RECORD_HEAD_MAX_BYTES];
    size_t size = segment->bytes - offset;
    if (size > sizeof(bytes))
        size = sizeof(bytes);
    size_t head_bytes = 0;
    if (!segment_read(segment, folder, offset, bytes, size) ||
        record_read(record, &head_bytes, bytes, size) != 0 || record->sequence != sequence)
        return false;
    *payload_offsetp = offset + head_bytes;
    return true;
}

/* the whole file, or what it has in memory; *bytesp is the caller's to free when it is a file's */
static int take_bytes(Segment *segment, int folder, uint8_t **bytesp, size_t *sizep) {
    if (segment->in_memory) {
        *bytesp = segment->memory.bytes;
        *sizep = segment->memory.size;
        return 0;
    }
    struct stat st;
    int r = segment_open(segment, folder);
    if (r || fstat(segment->fd, &st) < 0)
        return r ? r : errno;
    if (st.st_size > SEGMENT_FILE_MAX_BYTES)
        return EFBIG;
    size_t size = (size_t)st.st_size;
    uint8_t *bytes = malloc(size ? size : 1);
    if (!bytes)
        return ENOMEM;
    if (!read_at(segment->fd, bytes, size, 0)) {
        free(bytes);
        return EIO;
    }
    *bytesp = bytes;
    *sizep = size;
    return 0;
}

static bool belongs(const EpochId *epoch, const Record *record, uint64_t after, uint64_t end) {
    return epoch_equal(&record->epoch, epoch) && record->sequence > after &&
           record->sequence <= end;
}

static int note_offset(Segment *segment, const Record *record, size_t offset) {
    size_t i = (size_t)(record->sequence - segment->first);
    if (i >= SEGMENT_FILE_MAX_BYTES / RECORD_HEAD_MIN_BYTES)
        return ERANGE;
    int r = need_offset(segment, i + 1);
    if (r)
        return r;
    while (segment->n_offsets < i)
        put_offset(segment, OFFSET_NONE, record->written_ms);
    put_offset(segment, (uint32_t)offset, record->written_ms);
    return 0;
}

static int index_bytes(Segment *segment, const uint8_t *bytes, size_t size, bool verify,
                       const EpochId *epoch, SegmentEnd *end) {
    RecordScan scan = {.bytes = bytes, .size = size};
    Record record;
    size_t offset = 0;
    bool whole = false;
    uint64_t limit = segment->last >= segment->first ? segment->last : UINT64_MAX;
    *end = (SegmentEnd){.last = segment->first - 1, .totals = segment->before};
    segment->n_offsets = 0;
    while (record_scan(&scan, &record, &offset, &whole)) {
        if (!belongs(epoch, &record, end->last, limit)) {
            end->torn_bytes += record.payload_bytes; /* about: the copy of something else */
            continue;
        }
        if (note_offset(segment, &record, offset))
            continue;
        end->last = record.sequence;
        end->totals = record.totals;
        bool sound =
            whole &&
            (!verify || record_payload_sound(&record, bytes + scan.at - record.payload_bytes));
        if (sound) {
            end->bytes = scan.at;
            continue;
        }
        segment->offsets[segment->n_offsets - 1] = OFFSET_NONE;
        end->torn_batches++;
        if (whole)
            end->torn_bytes += record.payload_bytes;
    }
    end->torn_bytes += scan.torn_bytes;
    return 0;
}

/** index_heads() - from head to head, without a look at the payloads; false: one is not sound */
static bool index_heads(Segment *segment, int folder, SegmentEnd *end) {
    uint8_t bytes[RECORD_HEAD_MAX_BYTES];
    Record record;
    EpochId epoch = {0};
    *end = (SegmentEnd){.last = segment->first - 1, .totals = segment->before};
    segment->n_offsets = 0;
    for (uint64_t at = 0; at < segment->bytes;) {
        uint64_t left = segment->bytes - at;
        size_t size = left < sizeof(bytes) ? (size_t)left : sizeof(bytes);
        size_t head_bytes = 0;
        if (!segment_read(segment, folder, at, bytes, size) ||
            record_read(&record, &head_bytes, bytes, size) != 0 ||
            left - head_bytes < record.payload_bytes)
            return false;
        if (at == 0)
            epoch = record.epoch;
        if (!belongs(&epoch, &record, end->last, segment->last) ||
            note_offset(segment, &record, at))
            return false;
        at += head_bytes + record.payload_bytes;
        end->last = record.sequence;
        end->totals = record.totals;
        end->bytes = at;
    }
    return true;
}

int segment_index(Segment *segment, int folder, bool verify, SegmentEnd *end) {
    uint8_t *bytes = NULL;
    size_t size = 0;
    int r = segment_open(segment, folder);
    if (!r && !verify && segment->last >= segment->first && index_heads(segment, folder, end))
        return 0;
    if (!r)
        r = take_bytes(segment, folder, &bytes, &size);
    if (r)
        return r;
    RecordScan scan = {.bytes = bytes, .size = size};
    Record first;
    size_t offset = 0;
    bool whole = false;
    bool any = record_scan(&scan, &first, &offset, &whole);
    if (any)
        r = index_bytes(segment, bytes, size, verify, &first.epoch, end);
    else
        *end = (SegmentEnd){
            .last = segment->first - 1, .totals = segment->before, .torn_bytes = scan.torn_bytes};
    if (!segment->in_memory)
        free(bytes);
    return r;
}

void segment_unindex(Segment *segment) {
    free(segment->offsets);
    free(segment->ages_s);
    segment->offsets = segment->ages_s = NULL;
    segment->n_offsets = segment->capacity = 0;
    if (segment->fd >= 0)
        (void)close(segment->fd);
    segment->fd = -1;
}
