#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Probe Watch
 *
 * The thread that drains the monitors of a probe's two sockets, and finds out by an own connection
 * attempt why a peer cannot be reached. Internal to the layer.
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "channel/endpoint.h"
#include "channel/probe_link.h"

typedef struct ProbeWatch ProbeWatch;

typedef enum ProbeSide { PROBE_SIDE_DATA, PROBE_SIDE_EVENTS, PROBE_N_SIDES } ProbeSide;

/** ProbeView - how one socket stands */
typedef struct ProbeView {
    bool ready;            /* handshake done, connection up */
    uint64_t ready_ms;     /* monotonic: since when it is, or is not */
    bool connected;        /* TCP is; the handshake may not be done */
    uint64_t connected_ms; /* monotonic: since when it is, or is not */
    ProbeLinkWord trouble; /* PROBE_LINK_CONNECTING: none known */
    uint64_t trouble_ms;   /* monotonic: when it was last found */
    char detail[128];      /* errno text and the like, or "" */
    bool given_up;         /* libzmq does not try again by itself: zsock_again() */
    uint64_t given_up_ms;
} ProbeView;

typedef struct ProbeWatchSide {
    void *socket;
    Endpoint endpoint;
    bool bind;
} ProbeWatchSide;

/** probe_watch_new() - before the sockets are attached. wake_fd is written to at each change */
int probe_watch_new(ProbeWatch **watchp, void *context, const ProbeWatchSide sides[PROBE_N_SIDES],
                    int wake_fd);

/** probe_watch_free() - before the sockets are closed, by the thread that owns them */
ProbeWatch *probe_watch_free(ProbeWatch *watch);

void probe_watch_view(ProbeWatch *watch, ProbeSide side, ProbeView *view);

/** probe_watch_again() - zsock_again() was called */
void probe_watch_again(ProbeWatch *watch, ProbeSide side);

/** probe_watch_move() - the socket is now attached there, with another key: all begins anew */
void probe_watch_move(ProbeWatch *watch, ProbeSide side, const Endpoint *endpoint);

DEFINE_CLEANUP(ProbeWatch *, probe_watch_free)
