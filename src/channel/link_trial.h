#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Link Trial
 *
 * Tries a hub as a probe would and takes no part: both ports, the handshake and, with the probe's
 * own key, what the hub has to say to it. Nothing is sent on the data port, so there is no session,
 * nothing is enrolled and no seat is taken. Causes and words are those of the probe link.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/reason.h"
#include "channel/cause.h"
#include "channel/keys.h"

typedef struct LinkTrialConfig {
    const char *endpoint;
    const char *events_endpoint; /* NULL: not given, the port after that of data */
    bool bind;                   /* the probe listens and the hub connects */
    const char *server_z85;
    const KeyPair *keys;
    bool ask; /* the keys are the probe's own: listen to what the hub says to it */
    unsigned timeout_ms;
} LinkTrialConfig;

typedef struct LinkTrialSide {
    char endpoint[280];
    bool good;      /* the handshake was done */
    bool wrong_key; /* or it was closed, as it is for another key */
    char line[640]; /* else "ENDPOINT: what it is; what to do" */
} LinkTrialSide;

typedef struct LinkTrial {
    LinkTrialSide data, events;
    bool told; /* the hub said something: */
    bool admitted;
    char reason[160];        /* why not */
    bool full;               /* the hub's disk is */
    Cause version;           /* CAUSE_NONE: the hub serves this one */
    int64_t clock_offset_ms; /* the hub's clock minus this machine's */
} LinkTrial;

/** link_trial() - waits; a hub that cannot be used is no error, the trial says so */
int link_trial(LinkTrial *trial, const LinkTrialConfig *config);
