#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Flow Index
 *
 * From the hash of a key to the numbers of entries that may have it: open addressing with linear
 * steps, at most half full, eight slots a cache line. Removing moves followers back, so there are
 * no tombstones and a long run stays as fast as a fresh one.
 *
 * It begins with 8 MB and doubles when half full, up to what the most entries need: address space
 * for all sizes is reserved at the beginning, so a large limit costs nothing before it is used, and
 * nothing is allocated later.
 */

#include <stddef.h>
#include <stdint.h>

typedef struct FlowIndexSlot {
    uint32_t hash;
    uint32_t number; /* 0: empty */
} FlowIndexSlot;

typedef struct FlowIndex {
    FlowIndexSlot *slots;
    uint32_t mask;
    uint32_t used;
    void *reserved;
    size_t reserved_bytes;
} FlowIndex;

int flow_index_init(FlowIndex *index, uint32_t entries);
void flow_index_deinit(FlowIndex *index);
void flow_index_add(FlowIndex *index, uint32_t hash, uint32_t number);
void flow_index_remove(FlowIndex *index, uint32_t hash, uint32_t number);

static inline void flow_index_prefetch(const FlowIndex *index, uint32_t hash) {
    __builtin_prefetch(&index->slots[hash & index->mask]);
}

/** flow_index_next() - the next number with this hash; *atp starts as the hash, 0 ends */
static inline uint32_t flow_index_next(const FlowIndex *index, uint32_t hash, uint32_t *atp) {
    for (;;) {
        const FlowIndexSlot *slot = &index->slots[*atp & index->mask];
        (*atp)++;
        if (slot->number == 0 || slot->hash == hash)
            return slot->number;
    }
}
