#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Clock
 *
 * The only place that reads a clock. Everything with a decision in it takes the time as an
 * argument, so that it replays the same in a test.
 */

#include <stdint.h>

uint64_t clock_wall_ms(void);      /* UTC, milliseconds since 1970; may step */
uint64_t clock_monotonic_ms(void); /* never steps; also counts while suspended */
uint64_t clock_monotonic_ns(void);
