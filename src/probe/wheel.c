/* SPDX-License-Identifier: Apache-2.0 */

#include "probe/wheel.h"

void wheel_add(Wheel *wheel, uint32_t number, uint64_t deadline_ns) {
    uint64_t tick = wheel_tick(deadline_ns) + 1; /* the deadline has passed when the slot comes */
    if (tick <= wheel->tick)
        tick = wheel->tick + 1;
    if (tick > wheel->tick + WHEEL_SLOTS - 1)
        tick = wheel->tick + WHEEL_SLOTS - 1;
    uint32_t slot = (uint32_t)(tick % WHEEL_SLOTS);
    FlowMore *flow = &wheel->flows[number];
    flow->wheel_slot = (uint16_t)slot;
    flow->wheel_next = 0;
    flow->wheel_prev = wheel->tail[slot];
    if (flow->wheel_prev)
        wheel->flows[flow->wheel_prev].wheel_next = number;
    else
        wheel->head[slot] = number;
    wheel->tail[slot] = number;
    wheel->busy[slot / 64] |= UINT64_C(1) << slot % 64;
}

void wheel_remove(Wheel *wheel, uint32_t number) {
    const FlowMore *flow = &wheel->flows[number];
    uint32_t slot = flow->wheel_slot;
    if (flow->wheel_prev)
        wheel->flows[flow->wheel_prev].wheel_next = flow->wheel_next;
    else
        wheel->head[slot] = flow->wheel_next;
    if (flow->wheel_next)
        wheel->flows[flow->wheel_next].wheel_prev = flow->wheel_prev;
    else
        wheel->tail[slot] = flow->wheel_prev;
    if (!wheel->head[slot])
        wheel->busy[slot / 64] &= ~(UINT64_C(1) << slot % 64);
}

/* how many ticks after wheel->tick the first busy slot stands; 0: none is busy */
static uint32_t wheel_distance(const Wheel *wheel) {
    uint32_t start = (uint32_t)((wheel->tick + 1) % WHEEL_SLOTS);
    for (uint32_t word = 0; word <= WHEEL_SLOTS / 64; word++) {
        uint32_t at = (start / 64 + word) % (WHEEL_SLOTS / 64);
        uint64_t bits = wheel->busy[at];
        if (word == 0)
            bits &= ~UINT64_C(0) << start % 64;
        if (!bits)
            continue;
        uint32_t slot = at * 64 + (uint32_t)__builtin_ctzll(bits);
        return (slot + WHEEL_SLOTS - start) % WHEEL_SLOTS + 1;
    }
    return 0;
}

uint32_t wheel_first(const Wheel *wheel) {
    uint32_t distance = wheel_distance(wheel);
    return distance ? wheel->head[(wheel->tick + distance) % WHEEL_SLOTS] : 0;
}

uint32_t wheel_take(Wheel *wheel, uint64_t now_ns) {
    uint64_t now = wheel_tick(now_ns);
    if (now <= wheel->tick)
        return 0;
    uint32_t distance = wheel_distance(wheel);
    if (distance == 0 || wheel->tick + distance > now) {
        wheel->tick = now; /* nothing on the way: jump */
        return 0;
    }
    /* stand right before the slot, so that an entry added now lands behind it */
    wheel->tick += distance - 1;
    uint32_t number = wheel->head[(wheel->tick + 1) % WHEEL_SLOTS];
    const uint32_t next = wheel->flows[number].wheel_next;
    wheel_remove(wheel, number);
    wheel->ahead = next ? wheel->flows[next].wheel_next : 0;
    __builtin_prefetch(&wheel->flows[wheel->ahead], 1);
    return number;
}
