#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/* A spool with one hub, as a link wants it; the probe's own is in src/probe/deliver.c. */

#include "channel/probe_link.h"
#include "spool/spool.h"

enum { OWNER_RECENT_BYTES = 4 << 20 /* as weir-probe */ };

static DeliveryBatch owner_batch(const SpoolBatch *from) {
    return (DeliveryBatch){.epoch = from->epoch,
                           .first = from->first,
                           .last = from->last,
                           .gap = from->gap,
                           .bytes = from->bytes,
                           .counts = from->counts,
                           .totals = from->totals};
}

static int owner_load(void *spool, const EpochId *epoch, uint64_t sequence, DeliveryBatch *batch) {
    SpoolBatch found;
    if (spool_peek(spool, 0, epoch, sequence, &found))
        return DELIVERY_E_UNKNOWN;
    *batch = owner_batch(&found);
    return 0;
}

static int owner_fetch(void *spool, const EpochId *epoch, uint64_t sequence, size_t size,
                       ProbeLinkBytes *lent) {
    SpoolBytes bytes;
    if (spool_borrow(spool, 0, epoch, sequence, size, &bytes))
        return DELIVERY_E_UNKNOWN;
    *lent = (ProbeLinkBytes){bytes.bytes, bytes.crc32c, bytes.block, spool_give_back};
    return 0;
}

static void owner_release(void *spool, const EpochId *epoch, uint64_t last,
                          const BatchCounts *totals) {
    spool_release(spool, 0, epoch, last, totals);
}

static ProbeLinkSpool owner_for_link(Spool *spool) {
    return (ProbeLinkSpool){
        .spool = spool, .load = owner_load, .release = owner_release, .fetch = owner_fetch};
}
