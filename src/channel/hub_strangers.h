#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Hub Strangers
 *
 * Connections to one listening endpoint on which no message came yet: how many there are, of which
 * address, and who has to go when they are too many. Known by their descriptors. Internal to the
 * layer; all but strangers_spoke() is for the thread of hub_watch.c.
 *
 * One that says nothing costs 4 KB and next to no time: it is left until its handshake is over due.
 * One whose greeting is complete has 14 KB in libzmq, so that these ("begun") are limited: beyond
 * the limit who has had time enough makes room, and who begins is cut. A probe's handshake mostly
 * is over before anybody looks. An address from which a probe has spoken may go beyond the limit.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"

enum {
    STRANGERS_MAX = 512,          /* begun */
    STRANGERS_PATIENCE_MS = 2000, /* and what they have for it, when they are many */
    STRANGERS_KNOWN_MAX = 64,     /* of an address that is known, beyond the limit */
    STRANGERS_LOOK = 1000,        /* descriptors looked at in one turn */
};

typedef struct Strangers Strangers;

/**
 * strangers_new() - descriptors are less than n_fds; others are not looked at. `begun` says whether
 * what came by a descriptor is a whole greeting
 */
int strangers_new(Strangers **strangersp, size_t n_fds, bool (*begun)(int fd));
Strangers *strangers_free(Strangers *strangers);

/** strangers_came() - it was accepted */
void strangers_came(Strangers *strangers, uint32_t fd, const char *address, uint64_t now_ms);

/**
 * strangers_look() - the next descriptor that has to go; false: none. Each turn looks on from where
 * the last ended; *np is how many it may still look at, at first STRANGERS_LOOK
 */
bool strangers_look(Strangers *strangers, uint64_t now_ms, size_t *np, uint32_t *fdp);

/** strangers_cut() - it was cut by us, whatever for: it does not count any more */
void strangers_cut(Strangers *strangers, uint32_t fd);

/** strangers_went() - it is closed; true: as it was cut */
bool strangers_went(Strangers *strangers, uint32_t fd);

/** strangers_spoke() - a message came of it. Any thread, quick */
void strangers_spoke(Strangers *strangers, int fd);

size_t strangers_count(const Strangers *strangers);

/** strangers_of() - of an address, and of those few others that share its slot */
size_t strangers_of(const Strangers *strangers, const char *address);

DEFINE_CLEANUP(Strangers *, strangers_free)
