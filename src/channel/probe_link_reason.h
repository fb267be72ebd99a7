#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Probe Link Reason
 *
 * From what is known of the two sockets and the session to the one word and line a person reads.
 * Pure. Internal to the layer.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "channel/cause.h"
#include "channel/probe_link.h"
#include "channel/probe_view.h"

typedef struct ProbeStanding {
    ProbeView views[PROBE_N_SIDES];
    const char *endpoints[PROBE_N_SIDES];
    bool bind;
    bool events_assumed; /* not given: the port after that of data */
    uint64_t session_ms; /* since when, 0 for no session */
    uint64_t state_ms;   /* last state of this session, 0 for none */
    bool synced, admitted;
    const char *admission_reason;
    Cause version; /* of this probe, for this hub: CAUSE_NONE is served */
    bool hub_full;
    int64_t clock_offset_ms; /* the hub's clock minus this machine's */
    uint64_t now_ms;
} ProbeStanding;

/** probe_link_judge() - `before` is the word until now, kept while it is too early for another */
ProbeLinkWord probe_link_judge(const ProbeStanding *standing, ProbeLinkWord before, char *reason,
                               size_t size);

/** probe_link_judge_events() - data is connected and events is not: why */
ProbeLinkWord probe_link_judge_events(const ProbeView *view, const char *endpoint, bool assumed,
                                      char *reason, size_t size);

/** probe_link_say() - the line of a word */
void probe_link_say(char *reason, size_t size, ProbeLinkWord word, const char *endpoint,
                    const char *detail);
