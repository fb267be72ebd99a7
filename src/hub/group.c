/* SPDX-License-Identifier: Apache-2.0 */

#include "hub/group.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/hash.h"
#include "hub/ingest.h"

enum { CURSORS_FIRST = 64 };

int group_init(Group *group, size_t rows) {
    *group = (Group){.capacity = CURSORS_FIRST};
    group->cursors = calloc(group->capacity, sizeof(*group->cursors));
    group->slots = calloc(group->capacity * 2, sizeof(*group->slots));
    if (!group->cursors || !group->slots)
        return error_origin(-ENOMEM);
    return error_trace(flow_batch_new(&group->flows, rows));
}

void group_deinit(Group *group) {
    (void)flow_batch_free(group->flows);
    free(group->cursors);
    free(group->slots);
    free(group->gaps);
    *group = (Group){0};
}

void group_clear(Group *group) {
    flow_batch_clear(group->flows);
    memset(group->slots, 0, group->capacity * 2 * sizeof(*group->slots));
    group->n = 0;
    group->gap_n = 0;
    group->opened_ms = 0;
}

/* keys are public and epochs random: no seed is needed against aimed collisions of a known probe */
static uint32_t *slot_of(const Group *group, const PeerKey *key, const EpochId *epoch) {
    const size_t mask = group->capacity * 2 - 1;
    const uint64_t hash = hash_bytes(key->z85, sizeof(key->z85), 1);
    size_t at = (size_t)hash_bytes(epoch->bytes, sizeof(epoch->bytes), hash) & mask;
    while (group->slots[at]) {
        const HubCursor *cursor = &group->cursors[group->slots[at] - 1].cursor;
        if (epoch_equal(&cursor->epoch, epoch) && strcmp(cursor->key.z85, key->z85) == 0)
            break;
        at = (at + 1) & mask;
    }
    return &group->slots[at];
}

static int grow(Group *group) {
    const size_t capacity = group->capacity * 2;
    GroupCursor *cursors = realloc(group->cursors, capacity * sizeof(*cursors));
    if (!cursors)
        return error_origin(-ENOMEM);
    group->cursors = cursors;
    uint32_t *slots = calloc(capacity * 2, sizeof(*slots));
    if (!slots)
        return error_origin(-ENOMEM);
    free(group->slots);
    group->slots = slots;
    group->capacity = capacity;
    for (size_t i = 0; i < group->n; i++)
        *slot_of(group, &cursors[i].cursor.key, &cursors[i].cursor.epoch) = (uint32_t)(i + 1);
    return 0;
}

/** entry_of() - of the batch's (probe, epoch), made when new; NULL: out of memory */
static GroupCursor *entry_of(Group *group, const HubBatch *batch) {
    if (group->n == group->capacity) {
        if (grow(group))
            return NULL;
    }
    uint32_t *slot = slot_of(group, &batch->key, &batch->epoch);
    if (!*slot) {
        group->cursors[group->n++] =
            (GroupCursor){.cursor = {.key = batch->key, .epoch = batch->epoch}};
        *slot = (uint32_t)group->n;
    }
    return &group->cursors[*slot - 1];
}

int group_cover(Group *group, const HubBatch *batch, uint64_t flows) {
    GroupCursor *entry = entry_of(group, batch);
    if (!entry)
        return error_origin(-ENOMEM);
    entry->cursor.sequence = batch->last;
    entry->cursor.totals = batch->totals;
    entry->at_ms = batch->received_ms;
    entry->flows += flows;
    return 0;
}

/** goes_on() - the newest gap of the group ends where this one begins: one that announces them one
 * by one does not get a row for each */
static StoreGap *goes_on(const Group *group, const HubBatch *batch, GroupGapReason reason) {
    uint8_t key[STORE_KEY_BYTES];
    StoreGap *gap = group->gap_n ? &group->gaps[group->gap_n - 1] : NULL;
    ingest_key_bytes(key, &batch->key);
    return gap && gap->reason == (uint32_t)reason && gap->last + 1 == batch->first &&
                   memcmp(gap->epoch, batch->epoch.bytes, sizeof(gap->epoch)) == 0 &&
                   memcmp(gap->key, key, sizeof(key)) == 0
               ? gap
               : NULL;
}

int group_miss(Group *group, const HubBatch *batch, GroupGapReason reason) {
    if (group->gap_n == group->gap_capacity) {
        const size_t capacity = group->gap_capacity ? group->gap_capacity * 2 : 16;
        StoreGap *gaps = realloc(group->gaps, capacity * sizeof(*gaps));
        if (!gaps)
            return error_origin(-ENOMEM);
        group->gaps = gaps;
        group->gap_capacity = capacity;
    }
    GroupCursor *entry = entry_of(group, batch);
    if (!entry)
        return error_origin(-ENOMEM);
    entry->missing = batch_counts_add(entry->missing, batch->counts);
    StoreGap *gap = goes_on(group, batch, reason);
    if (gap) {
        gap->last = batch->last;
        gap->counts = batch_counts_add(gap->counts, batch->counts);
        return 0;
    }
    gap = &group->gaps[group->gap_n++];
    *gap = (StoreGap){.first = batch->first,
                      .last = batch->last,
                      .counts = batch->counts,
                      .at_ms = batch->received_ms,
                      .reason = (uint32_t)reason};
    ingest_key_bytes(gap->key, &batch->key);
    memcpy(gap->epoch, batch->epoch.bytes, sizeof(gap->epoch));
    return 0;
}
