#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Trouble
 *
 * What keeps a live probe from having anything to say: an interface is down, gone or has no
 * carrier, no packets come, its spool is full. Looked at once a second; what begins and ends goes
 * to the log once, what is goes to the hub with each pulse.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "channel/cause.h"

enum { TROUBLE_MAX = 3, TROUBLE_INTERFACES_MAX = 15 };

typedef struct TroubleInterface {
    const char *name;
    Cause link; /* GONE, LINK_DOWN, NO_CARRIER or CAUSE_NONE */
    uint64_t packets;
    uint64_t packet_ms;   /* when the last ones came */
    uint64_t patience_ms; /* a silence that is told is at least so long, and longer each time */
    bool silent;          /* and told */
} TroubleInterface;

typedef struct Trouble {
    TroubleInterface interfaces[TROUBLE_INTERFACES_MAX];
    size_t n;               /* 0: a file, which is never in trouble */
    bool disk_failing;      /* the spool's */
    uint64_t spool_full_ms; /* when the spool last let go of flows, 0: never */
} Trouble;

/** trouble_add() - one more interface; the name stays */
void trouble_add(Trouble *trouble, const char *interface, uint64_t now_ms);

/** trouble_second() - of the i-th: packets received so far */
void trouble_second(Trouble *trouble, size_t i, uint64_t packets, uint64_t now_ms);

/** trouble_spool() - letting_go: it has dropped flows since the last second */
void trouble_spool(Trouble *trouble, bool letting_go, bool disk_failing, uint64_t now_ms);

/** trouble_causes() - those that are, most important first */
size_t trouble_causes(const Trouble *trouble, uint64_t now_ms, Cause causes[TROUBLE_MAX]);

/** trouble_link() - GONE, LINK_DOWN, NO_CARRIER or CAUSE_NONE of an interface as it is now */
Cause trouble_link(const char *interface);
