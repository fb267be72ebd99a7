#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Sampler
 *
 * Of each N packets in a row one, drawn at random, goes on (RFC 5475 section 5.1 calls it
 * stratified): exactly one of N over any time, and none that follows a beat of the traffic. What
 * is left out is counted as received and as skipped. One thread.
 */

#include <stddef.h>
#include <stdint.h>

#include "base/metric.h"
#include "net/dissect.h"

typedef struct Sampler {
    uint32_t rate; /* one of so many; 0 and 1: all */
    uint32_t left; /* packets of this group still to come */
    uint32_t keep; /* the one of them that goes on: when `left` is this */
    uint64_t random;
    MetricValue *counters; /* borrowed; _COUNTER_N of them */
} Sampler;

Sampler sampler_make(uint64_t seed, MetricValue *counters);

/** sampler_set() - a group that was begun is over */
void sampler_set(Sampler *sampler, uint32_t rate);

/** sampler_take() - puts those that go on first; how many they are */
size_t sampler_take(Sampler *sampler, Frame *frames, size_t n);
