#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Licensing, inside
 *
 * What its two parts share: licensing.c (the licence in force, and what is said of it) and
 * licensing_seats.c (who has a seat).
 *
 * Two locks, taken in this order: `looking` is held by who works on the holder, which reads and
 * writes files, and by who gives seats; `lock` by who touches the rest, and only for moments, since
 * the link's threads and the API's wait for it. What is to be logged is collected under them and
 * written with `looking` alone.
 */

#include <pthread.h>

#include "base/log.h"
#include "hub/licensing.h"

enum { LICENSING_CANDIDATES = 64, LICENSING_LINES = 24 };

/** LicensingNews - lines for the log */
typedef struct LicensingNews {
    struct {
        LogLevel level;
        char text[800];
    } lines[LICENSING_LINES]; /* more are not told */
    size_t n;
} LicensingNews;

struct Licensing {
    LicensingConfig config;
    pthread_mutex_t looking;
    Holder *holder;
    LicensingNews news;
    uint64_t looked_ms; /* monotonic */
    bool started;
    bool speaks;    /* the hub is up: what changes is said */
    char said[640]; /* the last line about the licence */
    bool unwritten; /* what is to be remembered could not be written, which was said */

    pthread_mutex_t lock; /* from here on */
    LicensingView view;

    /* seats */
    PeerKey candidates[LICENSING_CANDIDATES]; /* whose hello came since seats were last given */
    size_t n_candidates;
    bool all;          /* give all seats anew */
    uint64_t given_ms; /* monotonic: when that was done last */
    size_t n_enrolled; /* at most so many have been admitted */
};

/** licensing_news() - to be logged; with `looking` held */
__attribute__((format(printf, 3, 4))) void licensing_news(Licensing *licensing, LogLevel level,
                                                          const char *format, ...);

/* both locks are held */

/** licensing_give() - seats to all, and tell the link what is new */
void licensing_give(Licensing *licensing, const LicensingTime *now);

/** licensing_give_new() - to those whose hello came; false: seats are too few to do it singly */
bool licensing_give_new(Licensing *licensing, const LicensingTime *now);
