#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Seats
 *
 * Who of the connected probes is at work when there are more than the licence has seats for. At
 * every moment it is the first N, those an administrator pinned before the others and then by the
 * order of enrolment, of the probes that are connected or have been gone for less than ten minutes.
 * Nothing else plays a part: no history, no order of starting, no chance. So whoever knows the
 * probes knows the answer, and a hub that starts again finds the same.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SEATS_KEPT_MS = 600000, SEATS_EVALUATION = 2 };

typedef struct SeatProbe {
    uint64_t enrolled; /* the order: time of enrolment, or any number that grows */
    uint32_t number;   /* of two enrolled at once the lower comes first; no two have one */
    bool pinned;
    bool exempt; /* needs no seat: it has a licence of its own */
    bool connected;
    uint64_t gone_ms; /* since then it is not connected; 0: it never was */
    bool seated;      /* the answer */
    uint32_t ahead;   /* of one that waits: how many come before it beyond the seats */
} SeatProbe;

/**
 * seats_assign() - sorts the probes and sets who is seated and how far away the others are
 *
 * Returns when the answer may change by itself (a place kept long enough), UINT64_MAX: never.
 */
uint64_t seats_assign(SeatProbe *probes, size_t n, uint32_t seats, uint64_t now_ms);
