#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Pulse
 *
 * What went by in the last second: totals, and the top applications, hosts and conversations, so
 * that live charts need not wait for flows to end. The meter marks which flows had packets and adds
 * each once a second, so a packet costs a look at one bit. Tables are fixed; a flow that finds no
 * place in one counts in the totals only. One thread.
 *
 * pulse_write() gives one JSON object:
 *
 *     {"v":1,"time_ms":…,"interval_ms":…,"packets":…,"octets":…,"drops":…,"flows_active":…,
 *      "flows_exported":…,"flows_waiting":…,"flows_metered":…,"flows_export_dropped":…,
 *      "spool":{"hubs":1,"disk":"good","flows":…,"batches":…,"bytes":…,"limit_bytes":…,
 *               "oldest_ms":…,"hours_left":…,"flows_appended":…,"flows_dropped":…,
 *               "batches_torn":…},
 *      "causes":["LINK_DOWN"],
 *      "configuration":{"version":7,"id":"…16 hex","state":"applied","reason":"",
 *                       "running":{…},"started_with":{…}},
 *      "collectors":{"messages_sent":…,"records_sent":…,"messages_failed":…,"records_failed":…,
 *                    "flows_unfit":…,"flows_withheld":…,"limit_records":25000,"records_left":…},
 *      "exporters":{…},
 *      "apps":[{"name":"TLS.Wikipedia","category":"Web","octets":…,"packets":…}, …32],
 *      "hosts":[{"ip":"10.0.0.1","vlan":5,"octets_in":…,"octets_out":…,"packets":…}, …20],
 *      "conversations":[{"src_ip","dst_ip","vlan","app_name","octets","rev_octets","packets"},
 * …20]}
 *
 * The link adds, when it sends it to a hub that has spoken, "echo":{"hub_ms","held_ms","sent_ms"}:
 * the hub's time in its last state, how long ago that came, and the probe's time now.
 *
 * Octets are IP bytes, as in flow records. octets_out is what the host sent. src_ip is the
 * initiator. vlan and app_name only where there is one. flows_metered, flows_export_dropped and the
 * last three of spool count since the probe's start; spool holds also what former runs left, and is
 * the whole spool, whichever hub it waits for. collectors is there when the probe has some (-n);
 * limit_records is 0 when a licence or a lease lifts the limit. A hub takes pulses without it, of
 * older probes. exporters is there when the probe collects: see collect_report.h.
 */

#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "channel/configuration.h"
#include "probe/doors.h"
#include "probe/flow_entry.h"
#include "probe/trouble.h"
#include "spool/spool.h"

typedef struct Pulse Pulse;
typedef struct Dpi Dpi;
typedef struct Json Json;

typedef struct PulseTotals {
    uint64_t time_ms;
    uint64_t interval_ms;
    uint64_t packets;
    uint64_t octets;
    uint64_t drops;
    uint64_t flows_active;
    uint64_t flows_exported;
    uint64_t flows_waiting;        /* exported, not stored by their hub */
    uint64_t flows_metered;        /* records made since the start */
    uint64_t flows_export_dropped; /* of these, before the spool */
    uint64_t hubs;
    SpoolStatus spool;
    Cause causes[TROUBLE_MAX]; /* of what keeps it from having more to say */
    size_t n_causes;
    const ConfigurationReport *configuration; /* NULL: none is kept */
    const DoorsStatus *collectors;            /* NULL: there are none */
    /* writes what is told of exporters, see collect_report.h; NULL: nothing is collected */
    void (*exporters)(void *userdata, uint64_t now_ms, Json *json);
    void *exporters_userdata;
} PulseTotals;

/** pulse_new() - dpi, which names the applications, is borrowed and may be NULL */
int pulse_new(Pulse **pulsep, Dpi *dpi, uint64_t seed);
Pulse *pulse_free(Pulse *pulse);

/* what a flow had counted when its first packet since the last pulse came */
typedef struct PulseMark {
    uint32_t number; /* of the flow; 0: it has ended and was added */
    uint32_t packets;
    uint64_t octets[2];
} PulseMark;

/* what came of a flow since then */
typedef struct PulseFlow {
    const FlowKey *key;
    unsigned initiator;
    uint64_t octets[2]; /* by side */
    uint64_t packets;
    uint16_t app;
    uint16_t master;
    uint16_t category;
} PulseFlow;

/** pulse_mark() - a place for a flow, NULL when there are too many; its number is *placep */
PulseMark *pulse_mark(Pulse *pulse, uint32_t *placep);

/** pulse_marks() - those of this second, by place */
PulseMark *pulse_marks(Pulse *pulse, size_t *np);

void pulse_add(Pulse *pulse, const PulseFlow *flow);

/** pulse_merge() - add what another one has noted since its last time, which forgets it */
void pulse_merge(Pulse *pulse, Pulse *from);

/** pulse_write() - the object; forgets everything for the next second */
void pulse_write(Pulse *pulse, const PulseTotals *totals, Json *json);

DEFINE_CLEANUP(Pulse *, pulse_free)
