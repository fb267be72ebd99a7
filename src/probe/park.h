#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Park
 *
 * States of one size that are mostly zeros, kept small between uses when there are many: what is
 * not zero of a state's 32-bit words, and a bit for each of the words. Some are kept whole, and
 * used where they are. A state is named by a number, which changes as it grows and shrinks. Memory
 * is asked for once, and the kernel gives pages as they are touched. One thread.
 */

#include <stddef.h>
#include <stdint.h>

#include "probe/pool.h"

enum {
    PARK_STATE_MAX = 1024, /* bytes of a state */
    PARK_SIZES = 4,
    PARK_MAX = 1 << 30, /* states */
};

typedef struct Park {
    Pool pools[PARK_SIZES]; /* by size of what is kept, the smallest first; the last: whole ones */
    size_t state_bytes;
    uint32_t max;
    uint32_t whole; /* so many at least are kept whole */
    uint32_t used;
} Park;

/** park_init() - for `max` states of so many bytes, a multiple of 8; `whole` of them stay whole */
int park_init(Park *park, uint32_t max, uint32_t whole, size_t state_bytes);
void park_deinit(Park *park);

/** park_take() - a state that is all zeros; 0: there are as many as there may be */
uint32_t park_take(Park *park);

/** park_load() - the state: where it is, or unpacked at `room` */
void *park_load(const Park *park, uint32_t number, void *room);

/** park_store() - after the state that park_load() gave was changed, there or at its room; the
 * number that it has from now on */
uint32_t park_store(Park *park, uint32_t number, const void *state);

void park_return(Park *park, uint32_t number);
