#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Group
 *
 * Flows of many batches, what is missing between them and, for each (probe, epoch) among them, how
 * far they reach: what one transaction stores. One owner at a time.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "channel/hub_link.h"
#include "flow/record.h"
#include "store/store.h"

/** GroupGapReason - StoreGap.reason; these numbers are in files */
typedef enum GroupGapReason {
    GROUP_GAP_DROPPED = 1, /* the probe no longer had them */
    GROUP_GAP_CORRUPT = 2, /* the checksum was wrong */
    GROUP_GAP_UNDECODABLE = 3,
} GroupGapReason;

typedef struct GroupCursor {
    HubCursor cursor;
    uint64_t at_ms;
    uint64_t flows;      /* of this group */
    BatchCounts missing; /* of this group's gaps */
} GroupCursor;

typedef struct Group {
    FlowBatch *flows;
    GroupCursor *cursors;
    size_t n;
    size_t capacity;
    uint32_t *slots; /* index + 1 into cursors; twice the capacity */
    StoreGap *gaps;
    size_t gap_n;
    size_t gap_capacity;
    uint64_t generation;
    uint64_t opened_ms; /* monotonic, when the first batch came */
} Group;

int group_init(Group *group, size_t rows);
void group_deinit(Group *group);
void group_clear(Group *group);

/** group_cover() - the group now reaches to the end of this batch, which brought `flows` of it */
int group_cover(Group *group, const HubBatch *batch, uint64_t flows);

/** group_miss() - what the batch stands for will never come; it is covered like any other */
int group_miss(Group *group, const HubBatch *batch, GroupGapReason reason);
