/* SPDX-License-Identifier: Apache-2.0 */

#include "probe/flow_index.h"

#include <assert.h>
#include <errno.h>
#include <sys/mman.h>

#include "base/error.h"

enum { FIRST_SLOTS = 1 << 20 }; /* 8 MB */

static size_t bytes_of(uint64_t slots) {
    return (size_t)slots * sizeof(FlowIndexSlot);
}

/* sizes stand behind each other, each twice the one before: together less than twice the last */
int flow_index_init(FlowIndex *index, uint32_t entries) {
    uint64_t most = 64;
    while (most < (uint64_t)entries * 2)
        most *= 2;
    const uint64_t first = most < FIRST_SLOTS ? most : FIRST_SLOTS;
    void *slots = mmap(NULL, bytes_of(2 * most - first), PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (slots == MAP_FAILED)
        return error_origin(-errno);
    (void)madvise(slots, bytes_of(2 * most - first), MADV_HUGEPAGE);
    *index = (FlowIndex){.slots = slots,
                         .mask = (uint32_t)(first - 1),
                         .reserved = slots,
                         .reserved_bytes = bytes_of(2 * most - first)};
    return 0;
}

void flow_index_deinit(FlowIndex *index) {
    if (index->reserved)
        (void)munmap(index->reserved, index->reserved_bytes);
    *index = (FlowIndex){0};
}

static void put(FlowIndex *index, uint32_t hash, uint32_t number) {
    uint32_t at = hash & index->mask;
    while (index->slots[at].number)
        at = (at + 1) & index->mask;
    index->slots[at] = (FlowIndexSlot){.hash = hash, .number = number};
}

/* who stands in order of the lower bits of his hash goes to one of two places, so both sides are
 * walked nearly in order: some 5 ns a flow */
static void grow(FlowIndex *index) {
    FlowIndexSlot *before = index->slots;
    const uint64_t n = (uint64_t)index->mask + 1;
    index->slots = before + n;
    index->mask = (uint32_t)(2 * n - 1);
    for (uint64_t at = 0; at < n; at++)
        if (before[at].number)
            put(index, before[at].hash, before[at].number);
    (void)madvise(before, bytes_of(n), MADV_DONTNEED);
}

void flow_index_add(FlowIndex *index, uint32_t hash, uint32_t number) {
    const uint64_t n = (uint64_t)index->mask + 1;
    if (index->used >= n / 2 &&
        (uint8_t *)(index->slots + 3 * n) <= (uint8_t *)index->reserved + index->reserved_bytes)
        grow(index);
    put(index, hash, number);
    index->used++;
}

void flow_index_remove(FlowIndex *index, uint32_t hash, uint32_t number) {
    uint32_t hole = hash & index->mask;
    while (index->slots[hole].number != number) {
        assert(index->slots[hole].number);
        hole = (hole + 1) & index->mask;
    }
    /* whoever stands behind the hole and may stand in it by his hash moves up */
    for (uint32_t at = (hole + 1) & index->mask; index->slots[at].number;
         at = (at + 1) & index->mask) {
        uint32_t home = index->slots[at].hash & index->mask;
        if (((at - home) & index->mask) >= ((at - hole) & index->mask)) {
            index->slots[hole] = index->slots[at];
            hole = at;
        }
    }
    index->slots[hole] = (FlowIndexSlot){0};
    index->used--;
}
