#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Sampling as it is written
 *
 * -S takes what nProbe's does: PACKETS[:COLLECTED[:EXPORTED]], each "one of so many", 1 all.
 *
 * PACKETS of those captured are metered. With @ before it, this probe leaves none out: what comes
 * was sampled before, at that rate, and flows say so. COLLECTED: what exporters send was sampled at
 * that rate, where they do not say one themselves; nothing is left out, and @ before it changes
 * nothing. EXPORTED of the flows go to collectors (-n); a hub gets all.
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/reason.h"

typedef struct Sampling {
    uint32_t packets;
    uint32_t told; /* at which packets come sampled already; 1: they do not */
    uint32_t collected;
    uint32_t exported;
} Sampling;

enum {
    _SAMPLING_E_SUCCESS,
    SAMPLING_E_USAGE, /* the reason says what is accepted */
};

int sampling_parse(Sampling *sampling, const char *text, Reason *reason);
