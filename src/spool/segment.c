/* SPDX-License-Identifier: Apache-2.0 */

#include "spool/segment.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"

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

Segment *segment_free(Segment *segment) {
    if (!segment)
        return NULL;
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

int segment_put(Segment *segment, const Record *record, const void *bytes, size_t size) {
    int r = need_offset(segment, segment->n_offsets + 1);
    if (!r && segment->in_memory) {
        buffer_put(&segment->memory, bytes, size);
        if (segment->memory.failed) {
            segment->memory.failed = false;
            segment->memory.size = segment->bytes;
            r = ENOMEM;
        }
    } else if (!r) {
        r = write_at(segment->fd, bytes, size, segment->bytes);
        if (r && ftruncate(segment->fd, (off_t)segment->bytes) < 0)
            return r; /* a torn tail, which the next start passes over */
    }
    if (r)
        return r;
    put_offset(segment, (uint32_t)segment->bytes, record->written_ms);
    segment->bytes += size;
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

bool segment_read(Segment *segment, int folder, size_t offset, void *to, size_t size) {
    if (segment_open(segment, folder) || offset > segment->bytes || segment->bytes - offset < size)
        return false;
    if (!segment->in_memory)
        return read_at(segment->fd, to, size, offset);
    memcpy(to, segment->memory.bytes + offset, size);
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
