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

/** batch_counts_sum() - of what others say: it stays at the most that reads well everywhere */
static inline uint64_t batch_counts_sum(uint64_t a, uint64_t b) {
    return b < INT64_MAX && a < INT64_MAX - b ? a + b : INT64_MAX;
}

static inline BatchCounts batch_counts_pile(BatchCounts a, BatchCounts b) {
    return (BatchCounts){batch_counts_sum(a.flows, b.flows), batch_counts_sum(a.packets, b.packets),
                         batch_counts_sum(a.octets, b.octets)};
}

static inline BatchCounts batch_counts_subtract(BatchCounts a, BatchCounts b) {
    return (BatchCounts){a.flows - b.flows, a.packets - b.packets, a.octets - b.octets};
}

static inline bool batch_counts_equal(BatchCounts a, BatchCounts b) {
    return a.flows == b.flows && a.packets == b.packets && a.octets == b.octets;
}
