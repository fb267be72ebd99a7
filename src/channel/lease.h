#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Lease
 *
 * What a hub lends to a probe that has a seat: until then it may do all that its own licence would
 * allow. It is told with every state, and so moves on as long as the two are connected.
 */

#include <stdbool.h>
#include <stdint.h>

enum { LEASE_S = 7 * 24 * 3600, LEASE_LICENCE_BYTES = 40 };

typedef struct Lease {
    int64_t until_s;                   /* by the hub's licence clock; 0: there is none */
    char licence[LEASE_LICENCE_BYTES]; /* id of the hub's licence, or "evaluation" */
} Lease;

/* what has been said of it to a probe */
typedef struct LeaseWord {
    Lease lease;      /* the one told last; until_s 0: none stands */
    uint64_t told_ms; /* when it was, monotonic: each state that has one renews it */
    bool over;        /* the hub said that this probe has none: it waits */
} LeaseWord;
