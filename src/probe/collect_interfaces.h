#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Counters of Interfaces
 *
 * What exporters last said of each of their interfaces (sFlow counter samples), until it is
 * reported: the newest of an interface counts, and since counters only grow, one that took
 * another's place costs resolution and no octets. Packet counters of 32 bits are carried on in 64.
 * Bounded; one thread.
 *
 * In a report a row is an array:
 *
 *     [exporter, sub agent, interface, time_ms, run, sample, samples skipped, speed in bit/s,
 *      status, in octets, in packets, in discards, in errors, out octets, out packets,
 *      out discards, out errors]
 *
 * `run` changes when the counters began anew; `sample` counts those that came since the probe's
 * start, `skipped` those of them that were never reported.
 */

#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "collect/collect.h"

typedef struct CollectInterfaces CollectInterfaces;
typedef struct Json Json;

enum { COLLECT_INTERFACES_MAX = 1 << 16 };

int collect_interfaces_new(CollectInterfaces **tablep, uint64_t seed);
CollectInterfaces *collect_interfaces_free(CollectInterfaces *table);

/** collect_interfaces_take() - false: there are too many, or no memory */
bool collect_interfaces_take(CollectInterfaces *table, const CollectInterface *sample);

/** collect_interfaces_write() - rows not yet reported, oldest first, until `to` has grown by
 * `bytes`; the array's elements */
void collect_interfaces_write(CollectInterfaces *table, Json *json, size_t bytes);

DEFINE_CLEANUP(CollectInterfaces *, collect_interfaces_free)
