#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Flow Records
 *
 * FlowRecord is one bidirectional flow (RFC 5103), its members read off fields.def. A record is
 * plain memory: addresses and numbers by value, texts pointing into memory that the holder of the
 * record names (a FlowBatch's arena, a probe's flow). Zero and empty mean "not known".
 *
 * FlowBatch owns records and the arena of their texts. One owner, no sharing between threads.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/cleanup.h"
#include "net/address.h"

typedef struct Arena Arena;

typedef struct FlowText {
    const char *text; /* not NUL-terminated */
    uint32_t size;
} FlowText;

typedef struct FlowMac {
    uint8_t bytes[6];
} FlowMac;

typedef enum FlowKind {
    FLOW_KIND_U8,
    FLOW_KIND_U16,
    FLOW_KIND_U32,
    FLOW_KIND_U64,
    FLOW_KIND_TIME_MS,
    FLOW_KIND_ADDRESS,
    FLOW_KIND_MAC,
    FLOW_KIND_TEXT,
} FlowKind;

#define FLOW_TYPE_U8      uint8_t
#define FLOW_TYPE_U16     uint16_t
#define FLOW_TYPE_U32     uint32_t
#define FLOW_TYPE_U64     uint64_t
#define FLOW_TYPE_TIME_MS uint64_t
#define FLOW_TYPE_ADDRESS NetAddress
#define FLOW_TYPE_MAC     FlowMac
#define FLOW_TYPE_TEXT    FlowText

typedef struct FlowRecord {
#define FLOW_FIELD(id, member, kind, ...) FLOW_TYPE_##kind member;
#include "flow/fields.def"
#undef FLOW_FIELD
} FlowRecord;

typedef enum FlowFieldId {
#define FLOW_FIELD(id, ...) FLOW_##id,
#include "flow/fields.def"
#undef FLOW_FIELD
    _FLOW_FIELD_N,
} FlowFieldId;

/* the rows from this one on are of fields that many flows lack */
#define FLOW_RARE_FIRST FLOW_SAMPLING

/** flow_record_has_rare() - false: none of those fields is set. Reads them as words, all at once */
static inline bool flow_record_has_rare(const FlowRecord *record) {
    enum { FROM = offsetof(FlowRecord, sampling) / 8 * 8 };
    uint64_t all = 0;
    for (size_t at = FROM; at < sizeof(FlowRecord); at += sizeof(all)) {
        uint64_t word = 0;
        memcpy(&word, (const unsigned char *)record + at, sizeof(word));
        all |= word;
    }
    return all != 0;
}

/* values of end_reason: IANA flowEndReason */
enum {
    FLOW_END_IDLE = 1,
    FLOW_END_ACTIVE = 2,
    FLOW_END_DETECTED = 3,
    FLOW_END_FORCED = 4,
    FLOW_END_RESOURCES = 5,
};

/* values of biflow_direction: IANA biflowDirection */
enum {
    FLOW_DIRECTION_ARBITRARY = 0,
    FLOW_DIRECTION_INITIATOR = 1,
    FLOW_DIRECTION_REVERSE = 2,
};

static inline bool flow_record_is_icmp(const FlowRecord *record) {
    return record->protocol == 1 || record->protocol == 58;
}

typedef struct FlowBatch {
    FlowRecord *records;
    size_t n;
    size_t capacity;
    Arena *texts;
} FlowBatch;

int flow_batch_new(FlowBatch **batchp, size_t capacity);
FlowBatch *flow_batch_free(FlowBatch *batch);
void flow_batch_clear(FlowBatch *batch);

/** flow_batch_add() - a zeroed record at the end, growing if need be; NULL when out of memory */
FlowRecord *flow_batch_add(FlowBatch *batch);

/** flow_batch_place() - the same, not zeroed, for who writes all of it */
FlowRecord *flow_batch_place(FlowBatch *batch);

DEFINE_CLEANUP(FlowBatch *, flow_batch_free)
