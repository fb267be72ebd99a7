#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Live Tables
 *
 * The last five minutes second by second, summed over the pulses of all probes, and the newest
 * flows. A second stays open until a little after its end, so that pulses which travel unevenly
 * still land in their own; then it becomes one LiveTick, kept as the JSON that is served.
 *
 * Threads: one (the watcher) adds pulses and closes seconds; one (the decoder) adds flows; any may
 * write JSON. Time is passed in.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/cleanup.h"
#include "flow/record.h"

typedef struct Live Live;
typedef struct Json Json;

enum {
    LIVE_SECONDS = 300,
    LIVE_FLOWS = 50,
    LIVE_TOP = 12,       /* of each table of a tick */
    LIVE_GRACE_MS = 300, /* a second is closed so long after its end */
};

int live_new(Live **livep);
Live *live_free(Live *live);

/* pulses: what one probe saw in one second. `second` is the hub's, since 1970 */

void live_add_totals(Live *live, uint64_t second, uint64_t packets, uint64_t octets, uint64_t drops,
                     uint64_t flows_active);
void live_add_app(Live *live, uint64_t second, const char *name, uint64_t octets, uint64_t packets);
void live_add_host(Live *live, uint64_t second, const char *ip, uint64_t octets_in,
                   uint64_t octets_out);
void live_add_conversation(Live *live, uint64_t second, const char *src_ip, const char *dst_ip,
                           const char *app_name, uint64_t octets, uint64_t rev_octets);

/**
 * live_close() - turn the next second that is over into a tick. True: there was one; its JSON is
 * appended to `tick` unless nobody pulsed in it. Call until false.
 */
bool live_close(Live *live, uint64_t now_ms, uint64_t probes_connected, Buffer *tick);

/** live_rates() - flows of the second closed last, for the state of the hub */
uint64_t live_flows_per_s(const Live *live);

/* flows, as the decoder hands them over; the newest are copied */

void live_add_flows(Live *live, const FlowRecord *records, size_t n);

/** live_new_flows() - JSON array of the flows since the last call (one caller); how many */
size_t live_new_flows(Live *live, Buffer *to);

/* the two arrays of Live: ticks oldest first, flows newest first */
void live_write_ticks(Live *live, Json *json, const char *name);
void live_write_flows(Live *live, Json *json, const char *name);

DEFINE_CLEANUP(Live *, live_free)
