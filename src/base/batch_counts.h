#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Batch Counts
 *
 * What a batch of flow records stands for. Spool, channel and stores carry it beside the opaque
 * bytes, so that whatever is lost can be said in flows, packets and octets (both directions).
 */

#include <stdbool.h>
#include <stdint.h>

typedef struct BatchCounts {
    uint64_t flows;
    uint64_t packets;
    uint64_t octets;
} BatchCounts;

static inline BatchCounts batch_counts_add(BatchCounts a, BatchCounts b) {
    return (BatchCounts){a.flows + b.flows, a.packets + b.packets, a.octets + b.octets};
}

static inline BatchCounts batch_counts_subtract(BatchCounts a, BatchCounts b) {
    return (BatchCounts){a.flows - b.flows, a.packets - b.packets, a.octets - b.octets};
}

static inline bool batch_counts_equal(BatchCounts a, BatchCounts b) {
    return a.flows == b.flows && a.packets == b.packets && a.octets == b.octets;
}
