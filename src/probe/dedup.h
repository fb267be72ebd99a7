#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Duplicates
 *
 * A mirror port that copies what comes in and what goes out gives each packet of a switched flow
 * twice, within microseconds. A packet is one of those when all of it behind MAC addresses and
 * VLAN tags is as in another one of the last 5 ms: time to live, identification and checksums
 * included, so that a retransmission or a packet routed on is none, but a host that sends the same
 * bytes twice at once loses one here. Digests of 64 bits stand for packets, in a table of fixed
 * size whose oldest go first. Left out is counted as received and as skipped. One thread.
 */

#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/metric.h"
#include "net/dissect.h"

typedef struct Dedup Dedup;

enum { DEDUP_WINDOW_MS = 5 };

/** dedup_new() - counters are borrowed; _COUNTER_N of them */
int dedup_new(Dedup **dedupp, uint64_t seed, MetricValue *counters);
Dedup *dedup_free(Dedup *dedup);

/** dedup_take() - puts those that are no duplicates first; how many they are */
size_t dedup_take(Dedup *dedup, Frame *frames, size_t n);

DEFINE_CLEANUP(Dedup *, dedup_free)
