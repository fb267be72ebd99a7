#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Licensing, inside
 *
 * What its two parts share: licensing.c (the licence in force, and what is said of it) and
 * licensing_seats.c (who has a seat). All of it is called with the lock held.
 */

#include <pthread.h>

#include "hub/licensing.h"

enum { LICENSING_CANDIDATES = 64 };

struct Licensing {
    LicensingConfig config;
    pthread_mutex_t lock;
    Holder *holder;
    LicensingView view;
    uint64_t looked_ms; /* monotonic */
    bool speaks;        /* the hub is up: what changes is said */
    char said[640];     /* the last line about the licence */
    bool unwritten;     /* what is to be remembered could not be written, which was said */

    /* seats */
    PeerKey candidates[LICENSING_CANDIDATES]; /* whose hello came since seats were last given */
    size_t n_candidates;
    bool all;          /* give all seats anew */
    uint64_t given_ms; /* monotonic: when that was done last */
    size_t n_enrolled; /* at most so many have been admitted */
    bool started;
};

/** licensing_give() - seats to all, and tell the link what is new */
void licensing_give(Licensing *licensing, const LicensingTime *now);

/** licensing_give_new() - to those whose hello came; false: seats are too few to do it singly */
bool licensing_give_new(Licensing *licensing, const LicensingTime *now);
