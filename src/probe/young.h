#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Young Flows
 *
 * The flows in order of their making, so that at the cap the oldest one that never had a second
 * packet, or never became a TCP connection, can make room. Nothing is taken out when a flow ends or
 * grows up: who asks checks that the flow is still the one that was noted. As many places as flows,
 * a million at most; when they are full the oldest note is overwritten.
 */

#include <stdint.h>

#include "probe/flow_entry.h"

typedef struct YoungNote {
    uint32_t number;
    uint32_t stamp; /* of first_ns, to tell a flow from the next one under the same number */
} YoungNote;

typedef struct Young {
    YoungNote *notes;
    uint32_t mask;
    uint64_t put;   /* notes ever made */
    uint64_t taken; /* notes ever given out or overwritten */
} Young;

int young_init(Young *young, uint32_t flows);
void young_deinit(Young *young);

static inline void young_put(Young *young, uint32_t number, uint64_t first_ns) {
    young->notes[young->put++ & young->mask] = (YoungNote){number, (uint32_t)first_ns};
    if (young->put - young->taken > (uint64_t)young->mask + 1)
        young->taken++;
}

/** young_take() - the number of the oldest of these flows, 0: there is none left */
uint32_t young_take(Young *young, const FlowEntry *entries, const FlowMore *mores);
