/* SPDX-License-Identifier: Apache-2.0 */

#include "hub/probe_clock.h"

enum { STEP_MS = 100 }; /* beyond what the ways explain: a clock was set */

static size_t best_of(const ProbeClock *clock) {
    size_t best = 0;
    for (size_t i = 1; i < clock->n; i++)
        if (clock->samples[i].way_ms < clock->samples[best].way_ms)
            best = i;
    return best;
}

bool probe_clock_take(ProbeClock *clock, const ProbeEcho *echo, uint64_t now_ms) {
    if (!echo->hub_ms || now_ms < echo->hub_ms || now_ms - echo->hub_ms < echo->held_ms)
        return false; /* none, or this hub's clock was set back meanwhile */
    const uint64_t way_ms = now_ms - echo->hub_ms - echo->held_ms;
    if (way_ms > PROBE_CLOCK_WAY_MAX_MS)
        return false;
    const int64_t offset_ms = (int64_t)echo->sent_ms - (int64_t)(now_ms - way_ms / 2);
    if (clock->n) {
        const size_t best = best_of(clock);
        const int64_t apart_ms = offset_ms - clock->samples[best].offset_ms;
        const uint64_t explained_ms = (way_ms + clock->samples[best].way_ms) / 2 + STEP_MS;
        if ((uint64_t)(apart_ms < 0 ? -apart_ms : apart_ms) > explained_ms)
            *clock = (ProbeClock){0};
    }
    clock->samples[clock->next].offset_ms = offset_ms;
    clock->samples[clock->next].way_ms = way_ms;
    clock->next = (clock->next + 1) % PROBE_CLOCK_SAMPLES;
    if (clock->n < PROBE_CLOCK_SAMPLES)
        clock->n++;
    return true;
}

bool probe_clock_read(const ProbeClock *clock, int64_t *offset_msp, uint64_t *way_msp) {
    if (!clock->n)
        return false;
    const size_t best = best_of(clock);
    *offset_msp = clock->samples[best].offset_ms;
    *way_msp = clock->samples[best].way_ms;
    return true;
}
