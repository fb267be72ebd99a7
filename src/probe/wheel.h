#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Timer Wheel
 *
 * When to look at which flow again. 1024 slots of 67 ms hold doubly linked lists of entries, in
 * order of arrival. A packet does not move its flow: when the slot's turn comes, the owner works
 * out the deadline anew and puts the entry where it belongs, so a flow is visited about once per
 * timeout, whatever its packets.
 */

#include <stdbool.h>
#include <stdint.h>

#include "probe/flow_entry.h"

enum { WHEEL_SLOTS = 1024, WHEEL_TICK_SHIFT = 26 };

typedef struct Wheel {
    FlowMore *flows; /* indexed by number */
    uint64_t tick;   /* all slots up to here are done */
    uint32_t head[WHEEL_SLOTS];
    uint32_t tail[WHEEL_SLOTS];
    uint64_t busy[WHEEL_SLOTS / 64]; /* a bit a slot */
    uint32_t ahead; /* the entry after the next one of what was taken last, on its way from memory;
                     * 0: none */
} Wheel;

static inline uint64_t wheel_tick(uint64_t time_ns) {
    return time_ns >> WHEEL_TICK_SHIFT;
}

void wheel_add(Wheel *wheel, uint32_t number, uint64_t deadline_ns);
void wheel_remove(Wheel *wheel, uint32_t number);

/** wheel_take() - one entry whose turn has come by now_ns, removed; 0 when there is none left */
uint32_t wheel_take(Wheel *wheel, uint64_t now_ns);

/** wheel_first() - the entry whose turn comes soonest, still in; 0: the wheel is empty */
uint32_t wheel_first(const Wheel *wheel);
