#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Hub Serve
 *
 * By which server keys the hub is reached, and where: its endpoints have one; another one that is
 * to come has ports of its own beside them. listeners of both are the
 * same side, and a session over either is a session like any other. Internal to the layer.
 */

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/reason.h"
#include "channel/hub_link.h"
#include "channel/server_keys.h"
#include "zmtp/server.h"

/** HubServeSide - of one side; the thread's own */
typedef struct HubServeSide {
    char present[300];  /* as libzmq calls what it connects to; "" when it is to do so anew */
    ZmtpListener *next; /* of the next key, where the hub binds; NULL: none */
    bool stale;         /* to be attached anew, for it still has (or had) the former key */
} HubServeSide;

typedef struct HubServe {
    pthread_cond_t answered; /* the link's lock */
    const HubServerKeys *asked;
    Reason *reason;
    int answer;
    ServerKeys *said;  /* an interface each; what states tell; the link's lock */
    bool settled;      /* nothing is left to do; the link's lock */
    char trouble[256]; /* what keeps it from being done, or ""; the link's lock */

    /* the thread's own */
    HubServeSide *sides;
    KeyPair now, next;
    HubNextPorts *ports; /* where `next` is served, as asked for, an interface each */
    uint64_t due_ms;     /* when what is over is closed, 0: not */
} HubServe;

int hub_serve_init(HubLink *link);
void hub_serve_deinit(HubLink *link);

/** hub_serve_attached() - the side was connected; before the thread runs */
int hub_serve_attached(HubLink *link, size_t side);

/** hub_serve_said() - for the state of a probe of this interface; locked */
ServerKeys hub_serve_said(const HubLink *link, unsigned interface);

/** hub_serve_turn() - each turn of the thread */
void hub_serve_turn(HubLink *link);
