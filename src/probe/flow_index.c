/* SPDX-License-Identifier: Apache-2.0 */

#include "probe/flow_index.h"

#include <assert.h>
#include <errno.h>
#include <sys/mman.h>

#include "base/error.h"

static size_t index_bytes(const FlowIndex *index) {
    return ((size_t)index->mask + 1) * sizeof(FlowIndexSlot);
}

int flow_index_init(FlowIndex *index, uint32_t entries) {
    uint64_t n = 64;
    while (n < (uint64_t)entries * 2)
        n *= 2;
    index->mask = (uint32_t)(n - 1);
    void *slots = mmap(NULL, index_bytes(index), PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (slots == MAP_FAILED)
        return error_origin(-errno);
    (void)madvise(slots, index_bytes(index), MADV_HUGEPAGE);
    index->slots = slots;
    return 0;
}

void flow_index_deinit(FlowIndex *index) {
    if (index->slots)
        (void)munmap(index->slots, index_bytes(index));
    *index = (FlowIndex){0};
}

void flow_index_add(FlowIndex *index, uint32_t hash, uint32_t number) {
    uint32_t at = hash & index->mask;
    while (index->slots[at].number)
        at = (at + 1) & index->mask;
    index->slots[at] = (FlowIndexSlot){.hash = hash, .number = number};
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
}
