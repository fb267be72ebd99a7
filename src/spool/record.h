#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Spool Record
 *
 * What stands in a segment for each batch: a zstd skippable frame (RFC 8878 section 3.1.2) with
 * what weir must know of it, then the batch as it is. Batches are zstd frames, so `zstd -dc` of a
 * segment passes over ours and gives their contents one behind the other.
 *
 *     0x184D2A57 4, size of the rest 4                     little endian, as zstd has them
 *     "WSPL" 4, version 1, hubs 1, reserved 2              big endian from here
 *     epoch 16, sequence 8, written at 8 (ms since 1970)
 *     counts 3 x 8, totals 3 x 8                           flows, packets, octets
 *     payload bytes 4, payload CRC-32C 4
 *     hubs x 8                                             whom the batch is for
 *     CRC-32C 4                                            of all from "WSPL" on
 *
 * Of every version tag, version and checksum stand at these places.
 *
 * All functions are pure; malformed bytes are an answer.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/batch_counts.h"
#include "base/epoch.h"

typedef struct Buffer Buffer;

enum {
    SPOOL_HUBS_MAX = 16,
    SPOOL_PAYLOAD_MAX_BYTES = 1 << 20,
    RECORD_HEAD_MIN_BYTES = 8 + 8 + 16 + 16 + 48 + 8 + 4,
    RECORD_HEAD_MAX_BYTES = RECORD_HEAD_MIN_BYTES + 8 * SPOOL_HUBS_MAX,
};

typedef struct Record {
    EpochId epoch;
    uint64_t sequence;
    uint64_t written_ms; /* wall clock */
    BatchCounts counts;
    BatchCounts totals; /* of the epoch, with this batch */
    uint32_t payload_bytes;
    uint32_t payload_crc32c;
    unsigned n_hubs;
    uint64_t hubs[SPOOL_HUBS_MAX];
} Record;

enum {
    _RECORD_E_SUCCESS,
    RECORD_E_CUT,     /* the bytes end within the head */
    RECORD_E_DAMAGED, /* no head of ours, or its checksum is wrong */
    RECORD_E_NEWER,   /* of a version that this program does not know */
};

/** record_write() - append the head; the payload follows it */
void record_write(Buffer *to, const Record *record);

/** record_read() - the head at the beginning of the bytes; *head_bytesp is its size */
int record_read(Record *record, size_t *head_bytesp, const void *bytes, size_t size);

/**
 * record_find() - the first offset from `from` on at which a sound head stands, or `size`. What it
 * passes over is torn.
 */
size_t record_find(const void *bytes, size_t size, size_t from);

/** RecordScan - walks over the bytes of a segment; set bytes and size, the rest to zero */
typedef struct RecordScan {
    const uint8_t *bytes;
    size_t size;
    size_t at;
    uint64_t torn_bytes; /* passed over */
} RecordScan;

/**
 * record_scan() - the next record with a sound head, or false at the end. *offsetp is where it
 * begins; *wholep says that its payload is there (not that it is sound).
 */
bool record_scan(RecordScan *scan, Record *record, size_t *offsetp, bool *wholep);

/** record_payload_sound() - its checksum fits */
bool record_payload_sound(const Record *record, const void *payload);
