#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Recent
 *
 * What a lane has appended last, still in memory: a link that is just behind needs not read it from
 * the disk. Only of the lane's present epoch. And the blocks that batches lie in, which may be lent
 * to others and go with the last of them. No locks but for the lending: the spool's.
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "spool/record.h"
#include "spool/spool.h"

/** SpoolBlock - a record: its head, then the batch */
typedef struct SpoolBlock {
    atomic_uint holders;
    size_t size;
    uint8_t bytes[];
} SpoolBlock;

/** spool_block_new() - held by the caller; NULL: out of memory */
SpoolBlock *spool_block_new(size_t size);
SpoolBlock *spool_block_hold(SpoolBlock *block);
SpoolBlock *spool_block_free(SpoolBlock *block);

enum { RECENT_BATCHES = 256 };

typedef struct Recent {
    SpoolBlock *blocks[RECENT_BATCHES]; /* of a sequence, at sequence % RECENT_BATCHES */
    Record *records;                    /* likewise; NULL before the first */
    uint64_t first, last;               /* last == first - 1: empty */
    size_t bytes, most_bytes;
} Recent;

/** recent_init() - most_bytes 0 keeps nothing */
void recent_init(Recent *recent, size_t most_bytes);
void recent_deinit(Recent *recent);

/** recent_put() - the record that follows; holds the block. Without memory it keeps nothing */
void recent_put(Recent *recent, const Record *record, SpoolBlock *block);

/** recent_forget() - up to this sequence */
void recent_forget(Recent *recent, uint64_t last);

/** recent_clear() - what follows is of another epoch */
void recent_clear(Recent *recent);

/** recent_find() - the block, still the recent's, or NULL */
SpoolBlock *recent_find(const Recent *recent, uint64_t sequence, Record *record);
