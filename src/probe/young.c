/* SPDX-License-Identifier: Apache-2.0 */

#include "probe/young.h"

#include <errno.h>
#include <stdbool.h>
#include <sys/mman.h>

#include "base/error.h"
#include "net/dissect.h"

enum { NOTES_MAX = 1 << 20, HALF_OPEN_PACKETS = 16 /* both sides say theirs again */ };

static size_t young_bytes(const Young *young) {
    return ((size_t)young->mask + 1) * sizeof(YoungNote);
}

int young_init(Young *young, uint32_t flows) {
    uint64_t n = 64;
    while (n < flows && n < NOTES_MAX)
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

/* whoever opened it never acknowledged: an answered SYN of an address that is not there is no more
 * than an unanswered one */
static bool is_half_open(const FlowEntry *entry) {
    const uint16_t flags = entry->tcp_flags[entry_initiator(entry)];
    return entry->tag.protocol == IP_TCP && (flags & TCP_SYN) && !(flags & TCP_ACK) &&
           flow_packets(entry) <= HALF_OPEN_PACKETS;
}

static bool is_young(const FlowEntry *entry, const FlowMore *more, const YoungNote *note) {
    return (flow_packets(entry) == 1 || is_half_open(entry)) && !(entry->state & ENTRY_SPLIT) &&
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
