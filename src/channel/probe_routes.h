#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Probe Routes
 *
 * With which server key, and at which ports, a probe tries its hub, in which order, and when it is
 * time for another one. With no change of the key under way there is one route, and nothing to
 * decide. Pure: time and what is seen of the sockets are passed in. Internal to the layer.
 *
 * While a change is under way: the next key at its own port; the present one where the probe is
 * configured to; and, if another key answers there, the next one there, for that is where it comes
 * to when the change is finished.
 * Which key is the present one is told by the hub, not by --zmq-encryption-key: a key that was
 * retired is never used again.
 */

#include <stdbool.h>
#include <stdint.h>

#include "channel/probe_view.h"
#include "channel/server_keys.h"

enum {
    PROBE_ROUTES_MAX = 3,
    PROBE_ROUTE_FIRST_MS = 2500, /* on the first, whatever is found: a hub may be starting */
    PROBE_ROUTE_LEAST_MS = 1000, /* on another */
    PROBE_ROUTE_MOST_MS = 6000,  /* without an answer */
};

typedef struct ProbeRoute {
    char server_z85[41];
    uint16_t data_port; /* 0: as configured */
    uint16_t events_port;
} ProbeRoute;

typedef struct ProbeRoutes {
    bool bind; /* the hub connects: only the key can be another */
    ProbeRoute routes[PROBE_ROUTES_MAX];
    unsigned n;
    ProbeRoute current; /* may be none of them, until its connection ends */
    bool was_good;
    uint64_t since_ms;
} ProbeRoutes;

/** probe_routes_set() - what was kept of the hub's words (.version 0: nothing); first or again */
void probe_routes_set(ProbeRoutes *routes, const char *configured_z85, const ServerKeys *kept,
                      bool bind, uint64_t now_ms);

/** probe_routes_step() - true: time to go over to routes->current, which has changed */
bool probe_routes_step(ProbeRoutes *routes, const ProbeView views[PROBE_N_SIDES], uint64_t now_ms);

/** probe_routes_trying() - it is on one that is not the first, and that does not answer (yet) */
bool probe_routes_trying(const ProbeRoutes *routes, const ProbeView views[PROBE_N_SIDES]);
