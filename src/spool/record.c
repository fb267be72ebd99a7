/* SPDX-License-Identifier: Apache-2.0 */

#include "spool/record.h"

#include <string.h>

#include "base/buffer.h"
#include "base/crc32c.h"
#include "base/cursor.h"

enum {
    VERSION = 1,
    FRAME_HEAD_BYTES = 8,
    CHECK_BYTES = 4,
    REST_MAX_BYTES = 4096, /* of any version */
};

static const uint8_t magic[4] = {0x57, 0x2a, 0x4d, 0x18}; /* 0x184D2A50 to 5F are skippable */
static const uint8_t tag[4] = {'W', 'S', 'P', 'L'};

static void put_le32(Buffer *to, uint32_t v) {
    buffer_put(
        to, (uint8_t[]){(uint8_t)v, (uint8_t)(v >> 8), (uint8_t)(v >> 16), (uint8_t)(v >> 24)}, 4);
}

static uint32_t get_le32(Cursor *c) {
    const uint8_t *p = cursor_take(c, 4);
    return p ? (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24
             : 0;
}

static void put_counts(Buffer *to, const BatchCounts *counts) {
    buffer_put_u64(to, counts->flows);
    buffer_put_u64(to, counts->packets);
    buffer_put_u64(to, counts->octets);
}

static BatchCounts get_counts(Cursor *c) {
    BatchCounts counts;
    counts.flows = cursor_u64(c);
    counts.packets = cursor_u64(c);
    counts.octets = cursor_u64(c);
    return counts;
}

void record_write(Buffer *to, const Record *record) {
    size_t rest = RECORD_HEAD_MIN_BYTES - FRAME_HEAD_BYTES + (size_t)8 * record->n_hubs;
    buffer_put(to, magic, sizeof(magic));
    put_le32(to, (uint32_t)rest);
    size_t start = to->size;
    buffer_put(to, tag, sizeof(tag));
    buffer_put_u8(to, VERSION);
    buffer_put_u8(to, (uint8_t)record->n_hubs);
    buffer_put_u16(to, 0);
    buffer_put(to, record->epoch.bytes, sizeof(record->epoch.bytes));
    buffer_put_u64(to, record->sequence);
    buffer_put_u64(to, record->written_ms);
    put_counts(to, &record->counts);
    put_counts(to, &record->totals);
    buffer_put_u32(to, record->payload_bytes);
    buffer_put_u32(to, record->payload_crc32c);
    for (unsigned i = 0; i < record->n_hubs; i++)
        buffer_put_u64(to, record->hubs[i]);
    if (!to->failed)
        buffer_put_u32(to, crc32c(0, to->bytes + start, to->size - start));
}

/** read_body() - what is between the tag and the checksum */
static int read_body(Cursor *c, Record *record) {
    Record read = {.n_hubs = cursor_u8(c)};
    cursor_skip(c, 2);
    cursor_copy(c, read.epoch.bytes, sizeof(read.epoch.bytes));
    read.sequence = cursor_u64(c);
    read.written_ms = cursor_u64(c);
    read.counts = get_counts(c);
    read.totals = get_counts(c);
    read.payload_bytes = cursor_u32(c);
    read.payload_crc32c = cursor_u32(c);
    for (unsigned i = 0; i < read.n_hubs && i < SPOOL_HUBS_MAX; i++)
        read.hubs[i] = cursor_u64(c);
    if (c->failed || cursor_left(c) || read.n_hubs > SPOOL_HUBS_MAX || !read.sequence ||
        read.payload_bytes > SPOOL_PAYLOAD_MAX_BYTES)
        return RECORD_E_DAMAGED;
    *record = read;
    return 0;
}

int record_read(Record *record, size_t *head_bytesp, const void *bytes, size_t size) {
    Cursor c = cursor_make(bytes, size);
    const uint8_t *begin = cursor_take(&c, sizeof(magic));
    uint32_t rest = get_le32(&c);
    if (c.failed)
        return RECORD_E_CUT;
    if (memcmp(begin, magic, sizeof(magic)) != 0 || rest < sizeof(tag) + 1 + CHECK_BYTES ||
        rest > REST_MAX_BYTES)
        return RECORD_E_DAMAGED;
    Cursor body = cursor_sub(&c, rest - CHECK_BYTES);
    const uint8_t *start = body.at;
    uint32_t check = cursor_u32(&c);
    if (c.failed)
        return RECORD_E_CUT;
    if (memcmp(start, tag, sizeof(tag)) != 0 || check != crc32c(0, start, rest - CHECK_BYTES))
        return RECORD_E_DAMAGED;
    cursor_skip(&body, sizeof(tag));
    uint8_t version = cursor_u8(&body);
    if (version > VERSION)
        return RECORD_E_NEWER;
    int r = version ? read_body(&body, record) : RECORD_E_DAMAGED;
    if (r == 0)
        *head_bytesp = FRAME_HEAD_BYTES + rest;
    return r;
}

size_t record_find(const void *bytes, size_t size, size_t from) {
    const uint8_t *start = bytes;
    while (from < size) {
        const uint8_t *at = memchr(start + from, magic[0], size - from);
        if (!at)
            return size;
        from = (size_t)(at - start);
        Record record;
        size_t head_bytes = 0;
        if (record_read(&record, &head_bytes, at, size - from) == 0)
            return from;
        from++;
    }
    return size;
}

bool record_scan(RecordScan *scan, Record *record, size_t *offsetp, bool *wholep) {
    size_t head_bytes = 0;
    while (scan->at < scan->size) {
        size_t left = scan->size - scan->at;
        if (record_read(record, &head_bytes, scan->bytes + scan->at, left) != 0) {
            size_t found = record_find(scan->bytes, scan->size, scan->at + 1);
            scan->torn_bytes += found - scan->at;
            scan->at = found;
            continue;
        }
        *offsetp = scan->at;
        *wholep = left - head_bytes >= record->payload_bytes;
        if (!*wholep)
            scan->torn_bytes += left;
        scan->at = *wholep ? scan->at + head_bytes + record->payload_bytes : scan->size;
        return true;
    }
    return false;
}

bool record_payload_sound(const Record *record, const void *payload) {
    return crc32c(0, payload, record->payload_bytes) == record->payload_crc32c;
}
