#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Probe Clock
 *
 * How far a probe's clock is from the hub's, and how long the way there and back takes, as NTP does
 * it (RFC 5905, 8 and 10): the hub's state says when it was sent, the probe's report says how long
 * ago that came and when it was sent itself. What is left over is the way, and half of it is taken
 * off. Of the last samples the one with the shortest way counts, for what waited somewhere waited
 * on one side only. Pure: times are passed in.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { PROBE_CLOCK_SAMPLES = 16, PROBE_CLOCK_WAY_MAX_MS = 60000 };

/** ProbeEcho - of a report */
typedef struct ProbeEcho {
    uint64_t hub_ms;  /* server_time_ms of the last state; 0: it says none */
    uint64_t held_ms; /* so long ago that came */
    uint64_t sent_ms; /* the probe's clock, when the report was sent */
} ProbeEcho;

typedef struct ProbeClock {
    struct {
        int64_t offset_ms;
        uint64_t way_ms;
    } samples[PROBE_CLOCK_SAMPLES];
    size_t n, next;
} ProbeClock;

/** probe_clock_take() - a report that came at now_ms, hub's clock; false: it tells nothing */
bool probe_clock_take(ProbeClock *clock, const ProbeEcho *echo, uint64_t now_ms);

/** probe_clock_read() - probe's minus hub's; false: nothing is known yet */
bool probe_clock_read(const ProbeClock *clock, int64_t *offset_msp, uint64_t *way_msp);
