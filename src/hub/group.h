#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Group
 *
 * Flows of many batches and, for each (probe, epoch) among them, how far they reach: what one
 * transaction stores. One owner at a time.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "channel/hub_link.h"
#include "flow/record.h"

typedef struct GroupCursor {
    HubCursor cursor;
    uint64_t at_ms;
    uint64_t flows; /* of this group */
} GroupCursor;

typedef struct Group {
    FlowBatch *flows;
    GroupCursor *cursors;
    size_t n;
    size_t capacity;
    uint32_t *slots; /* index + 1 into cursors; twice the capacity */
    uint64_t generation;
    uint64_t opened_ms; /* monotonic, when the first batch came */
} Group;

int group_init(Group *group, size_t rows);
void group_deinit(Group *group);
void group_clear(Group *group);

/** group_cover() - the group now reaches to the end of this batch, which brought `flows` of it */
int group_cover(Group *group, const HubBatch *batch, uint64_t flows);
