/* SPDX-License-Identifier: Apache-2.0 */

#include "spool/recent.h"

#include <stdlib.h>

SpoolBlock *spool_block_new(size_t size) {
    SpoolBlock *block = malloc(sizeof(*block) + size);
    if (!block)
        return NULL;
    atomic_init(&block->holders, 1);
    block->size = size;
    return block;
}

SpoolBlock *spool_block_hold(SpoolBlock *block) {
    (void)atomic_fetch_add_explicit(&block->holders, 1, memory_order_relaxed);
    return block;
}

SpoolBlock *spool_block_free(SpoolBlock *block) {
    if (block && atomic_fetch_sub_explicit(&block->holders, 1, memory_order_acq_rel) == 1)
        free(block);
    return NULL;
}

void spool_give_back(void *bytes, void *block) {
    (void)bytes;
    spool_block_free(block);
}

void recent_init(Recent *recent, size_t most_bytes) {
    *recent = (Recent){.first = 1, .most_bytes = most_bytes};
}

void recent_deinit(Recent *recent) {
    recent_forget(recent, recent->last);
    free(recent->records);
    recent->records = NULL;
}

void recent_forget(Recent *recent, uint64_t last) {
    for (; recent->first <= last && recent->first <= recent->last; recent->first++) {
        SpoolBlock **block = &recent->blocks[recent->first % RECENT_BATCHES];
        if (*block)
            recent->bytes -= (*block)->size;
        *block = spool_block_free(*block);
    }
}

void recent_clear(Recent *recent) {
    recent_forget(recent, recent->last);
    recent->first = 1;
    recent->last = 0;
}

void recent_put(Recent *recent, const Record *record, SpoolBlock *block) {
    if (!recent->records && recent->most_bytes)
        recent->records = calloc(RECENT_BATCHES, sizeof(*recent->records));
    if (!recent->records)
        return;
    const uint64_t sequence = record->sequence;
    if (sequence != recent->last + 1)
        recent_clear(recent); /* what was between is in memory anyway */
    if (recent->first > recent->last)
        recent->first = sequence;
    recent->last = sequence;
    while (recent->first < sequence && (recent->bytes + block->size > recent->most_bytes ||
                                        sequence - recent->first >= RECENT_BATCHES))
        recent_forget(recent, recent->first);
    recent->records[sequence % RECENT_BATCHES] = *record;
    recent->blocks[sequence % RECENT_BATCHES] = spool_block_hold(block);
    recent->bytes += block->size;
}

SpoolBlock *recent_find(const Recent *recent, uint64_t sequence, Record *record) {
    if (sequence < recent->first || sequence > recent->last)
        return NULL;
    *record = recent->records[sequence % RECENT_BATCHES];
    return recent->blocks[sequence % RECENT_BATCHES];
}
