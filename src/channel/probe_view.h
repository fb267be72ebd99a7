#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Probe View
 *
 * How the two connections of a probe stand, whoever makes them. Internal to the layer.
 */

#include <stdbool.h>
#include <stdint.h>

#include "channel/probe_link.h"

typedef enum ProbeSide { PROBE_SIDE_DATA, PROBE_SIDE_EVENTS, PROBE_N_SIDES } ProbeSide;

/** ProbeView - how one stands */
typedef struct ProbeView {
    bool ready;            /* handshake done, connection up */
    uint64_t ready_ms;     /* monotonic: since when it is, or is not */
    bool connected;        /* TCP is; the handshake may not be done */
    uint64_t connected_ms; /* monotonic: since when it is, or is not */
    ProbeLinkWord trouble; /* PROBE_LINK_CONNECTING: none known */
    uint64_t trouble_ms;   /* monotonic: when it was last found */
    char detail[128];      /* errno text and the like, or "" */
    bool given_up;         /* it is not tried again before probe_lines_again() */
    uint64_t given_up_ms;
} ProbeView;
