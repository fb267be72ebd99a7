#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Segment
 *
 * Records of one epoch one behind the other, in a file or in memory; the bytes are the same. Where
 * each record begins is kept only while the segment is written or read. No locks: the spool's.
 *
 * Functions that may meet a failing disk answer with its errno, a positive number, or 0.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/batch_counts.h"
#include "base/buffer.h"
#include "base/epoch.h"
#include "spool/record.h"

typedef struct SpoolBlock SpoolBlock;
typedef struct SpoolEpoch SpoolEpoch;

typedef struct Segment {
    uint64_t number;
    SpoolEpoch *epoch;
    uint64_t first, last;       /* last == first - 1 while it is empty */
    BatchCounts before, totals; /* of the epoch at first - 1 and at last */
    uint64_t bytes;             /* of the file and its tail, or in memory */
    uint64_t begun_ms;          /* wall clock, of the first record */
    bool in_memory;
    bool active;   /* being appended to */
    bool unsynced; /* the file has bytes that fdatasync has not seen */
    int fd;        /* -1: not open */
    Buffer memory;
    SpoolBlock **tail; /* records that are not in the file yet, the last of `bytes` */
    size_t n_tail, tail_bytes;
    uint32_t *offsets; /* of sequence first + i; OFFSET_NONE: not there */
    uint32_t *ages_s;  /* likewise: written so long after begun_ms */
    size_t n_offsets, capacity;
    uint64_t used; /* when the offsets were last of use */
    bool counted;  /* what is torn in it was told */
    bool left;     /* could not be read at the start: the next one tries again */
} Segment;

enum {
    SEGMENT_FILE_MAX_BYTES = 256 << 20,
    SEGMENT_NAME_BYTES = 40,
    /* in one write the file system finds and makes its pages in large pieces: 0.4 ms a megabyte all
     * in all, 0.7 in writes of 60 KB */
    SEGMENT_TAIL_BYTES = 512 << 10,
    SEGMENT_TAIL_RECORDS = 128,
};

#define OFFSET_NONE UINT32_MAX

/** SegmentEnd - what a look at all of its bytes tells */
typedef struct SegmentEnd {
    uint64_t last;
    BatchCounts totals;
    uint64_t bytes; /* up to the end of the last whole record */
    uint64_t torn_bytes;
    uint64_t torn_batches; /* heads without a sound payload */
} SegmentEnd;

/** segment_name() - 0000000000000012.ipfix.zst */
void segment_name(char *name, uint64_t number);

Segment *segment_new(uint64_t number);
Segment *segment_free(Segment *segment);

/** segment_make_file() - a new file, empty, or with what is in memory so far */
int segment_make_file(Segment *segment, int folder);

/**
 * segment_put() - one more record; after an answer it is as before, as far as the disk lets it.
 * `gather`: its block may be held back, to be written with others
 */
int segment_put(Segment *segment, const Record *record, SpoolBlock *block, bool gather);

/** segment_write_tail() - what was held back; after an answer it still is, and can be read */
int segment_write_tail(Segment *segment, int folder);

/** segment_written() - where its tail begins */
uint64_t segment_written(const Segment *segment);

/** segment_read_head() - the head of this sequence; false: not there, or damaged by now */
bool segment_read_head(Segment *segment, int folder, uint64_t sequence, Record *record,
                       size_t *payload_offsetp);

/** segment_open() - what reading needs */
int segment_open(Segment *segment, int folder);

/** segment_read() - bytes from an offset on */
bool segment_read(Segment *segment, int folder, size_t offset, void *to, size_t size);

/** segment_read_at() - likewise, of a descriptor of it */
bool segment_read_at(int fd, void *to, size_t size, uint64_t offset);

/** segment_index() - find where its records begin; `verify` checks the payloads as well */
int segment_index(Segment *segment, int folder, bool verify, SegmentEnd *end);

/** segment_unindex() - forget that, and close the file */
void segment_unindex(Segment *segment);
