/* SPDX-License-Identifier: Apache-2.0 */

#include "probe/young.h"

#include <errno.h>
#include <stdbool.h>
#include <sys/mman.h>

#include "base/error.h"

static size_t young_bytes(const Young *young) {
    return ((size_t)young->mask + 1) * sizeof(YoungNote);
}

int young_init(Young *young, uint32_t flows) {
    uint64_t n = 64;
    while (n < flows)
        n *= 2;
    young->mask = (uint32_t)(n - 1);
    void *notes = mmap(NULL, young_bytes(young), PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (notes == MAP_FAILED)
        return error_origin(-errno);
    young->notes = notes;
    return 0;
}

void young_deinit(Young *young) {
    if (young->notes)
        (void)munmap(young->notes, young_bytes(young));
    *young = (Young){0};
}

static bool is_young(const FlowEntry *entry, const FlowMore *more, const YoungNote *note) {
    return flow_packets(entry) == 1 && !(entry->state & ENTRY_SPLIT) &&
           (uint32_t)more->first_ns == note->stamp;
}

uint32_t young_take(Young *young, const FlowEntry *entries, const FlowMore *mores) {
    while (young->taken < young->put) {
        const YoungNote *note = &young->notes[young->taken++ & young->mask];
        if (is_young(&entries[note->number], &mores[note->number], note))
            return note->number;
    }
    return 0;
}
