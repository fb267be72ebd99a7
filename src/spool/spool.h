#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Spool
 *
 * Opaque batches with their counts, kept until everyone they are meant for has released them. Held
 * in memory up to a limit; then the oldest go, each told to on_drop and counted exactly. Any
 * thread. Ids start at 1 and grow.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/batch_counts.h"
#include "base/cleanup.h"

typedef struct Spool Spool;

typedef struct SpoolConfig {
    uint64_t limit_bytes;
    unsigned holders; /* how many must release a batch before it is freed; one a hub */
    /* called by the appending thread, outside of the spool's lock, before spool_append() returns */
    void (*on_drop)(void *userdata, uint64_t id);
    void *userdata;
} SpoolConfig;

typedef struct SpoolStatus {
    uint64_t batches;
    uint64_t bytes;
    uint64_t limit_bytes;
    BatchCounts held;
    BatchCounts appended;
    BatchCounts dropped; /* for the limit */
    uint64_t dropped_batches;
} SpoolStatus;

int spool_new(Spool **spoolp, const SpoolConfig *config);
Spool *spool_free(Spool *spool);

/** spool_append() - copies; a batch larger than the limit is taken and everything else dropped */
int spool_append(Spool *spool, const void *bytes, size_t size, const BatchCounts *counts,
                 uint64_t *idp);

/** spool_fetch() - copy the batch; false: not there (any more), or not of this size */
bool spool_fetch(Spool *spool, uint64_t id, void *to, size_t size);

/** spool_release() - one holder is done with it */
void spool_release(Spool *spool, uint64_t id);

void spool_status(Spool *spool, SpoolStatus *status);

DEFINE_CLEANUP(Spool *, spool_free)
