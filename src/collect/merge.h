#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Merging of Collected Records
 *
 * An exporter tells of a flow that goes on again and again, after each active timeout, and of a
 * sampled one with every packet. Here such records become one: those of one exporter, domain and
 * version that have the same addresses, ports, protocol, tags, interfaces, VRFs, class of service,
 * direction, flow id and sampling rate, within a span of time from the first of them. Counters are
 * summed, times span all of them, TCP flags are or-ed, reason and event are those of the last; all
 * else is as the first had it. Nothing is lost: a record is handed on as it came, is in another
 * one, or is held, and each of these is counted.
 *
 * A record goes on at once, with what was held of its flow, when it says that the flow has ended;
 * and when a sum would not fit 64 bits. Events (NAT, firewalls but their updates, packets that
 * sFlow says were dropped) and records whose texts are long are handed on as they came. The table
 * has a bound; when it is full the oldest goes early. Times of records should be mended before.
 * Time is passed in. One thread.
 */

#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/metric.h"
#include "collect/record.h"

typedef struct CollectMerge CollectMerge;

enum {
    COLLECT_MERGE_FLOWS = 65536,    /* held, where nobody said how many, and */
    COLLECT_MERGE_BYTES = 40 << 20, /* no more than these, the texts of records among them */
};

typedef struct CollectMergeConfig {
    uint64_t seed;
    uint64_t span_ms;      /* from the first record of a flow until it goes on */
    size_t flows;          /* 0: as many as go into the bytes, COLLECT_MERGE_FLOWS at most */
    size_t bytes;          /* 0: COLLECT_MERGE_BYTES. With `flows`, only of their texts */
    MetricValue *counters; /* borrowed; _COLLECT_COUNT_N of them, the rows MERGE_... are used */
    /* takes each record, good until it returns */
    void (*record)(void *userdata, const CollectRecord *record);
    void *userdata;
} CollectMergeConfig;

int collect_merge_new(CollectMerge **mergep, const CollectMergeConfig *config);
CollectMerge *collect_merge_free(CollectMerge *merge); /* what is held is lost: flush it before */

/** collect_merge_take() - a record that came now */
void collect_merge_take(CollectMerge *merge, const CollectRecord *record, uint64_t now_ms);

/** collect_merge_tick() - what has been held for the span goes on */
void collect_merge_tick(CollectMerge *merge, uint64_t now_ms);

/** collect_merge_flush() - all that is held goes on */
void collect_merge_flush(CollectMerge *merge);

DEFINE_CLEANUP(CollectMerge *, collect_merge_free)
