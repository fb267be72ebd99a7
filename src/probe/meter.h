#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Meter
 *
 * Frames in, flow records out. A flow is both directions of (VLANs, addresses, ports, protocol); a
 * record is made when it has been idle, when it has lasted for the active timeout (it goes on under
 * the same id), a while after its TCP end, when the table is full, and at meter_flush(). Everything
 * is allocated in meter_new(); the packet path allocates nothing. Time comes with the frames, and
 * from meter_tick() when a link is quiet. One thread.
 *
 * At the cap the oldest flow makes room that never had a second packet or never became a
 * connection, so that a flood does not push out established flows; such flows are told together
 * (swept.h). When there are none, one that has been idle for long has to go.
 */

#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/metric.h"
#include "base/reason.h"
#include "flow/record.h"
#include "net/dissect.h"
#include "probe/dpi.h"

typedef struct Meter Meter;
typedef struct Pulse Pulse;

enum {
    METER_FLOW_BYTES = 240 /* of memory, with index and measures; IPv6 addresses, server names and
                            * what nDPI keeps apart */
};

enum { METER_BATCH = 32 }; /* most frames in one call */

/* which VLAN tags tell flows apart; their ids are in the records in each case */
typedef enum MeterVlan {
    METER_VLAN_ALL, /* both */
    METER_VLAN_OUTER,
    METER_VLAN_NONE,
} MeterVlan;

typedef struct MeterConfig {
    uint32_t max_flows;
    uint32_t idle_s;
    uint32_t active_s;
    const uint32_t *input_ifs; /* the index of each input of frames, 0: unknown; borrowed, and may
                                * change; NULL: unknown */
    uint64_t seed;             /* of the hash; random where packets come from outside */
    uint64_t flow_id;          /* flow ids count up from here */
    MeterVlan vlan_key;
    uint32_t left_out;           /* AGGREGATION_..., or-ed */
    uint32_t observation_domain; /* of every record */
    DissectMode mode;            /* whether tunnels are entered */
    Dpi *dpi;                    /* borrowed; NULL: no application detection */
    Pulse *pulse;                /* borrowed; NULL: none */
    MetricValue *counters;       /* borrowed; _COUNTER_N of them */
    /* takes each record; texts in it are good until it returns */
    void (*record)(void *userdata, const FlowRecord *record);
    void *userdata;
} MeterConfig;

/* packets and octets with those of fragments that wait for the first one of their datagram and are
 * in no flow yet, and of flows that are to be told together */
typedef struct MeterLive {
    uint64_t flows;
    uint64_t packets;
    uint64_t frame_octets;
} MeterLive;

int meter_new(Meter **meterp, const MeterConfig *config);
Meter *meter_free(Meter *meter);

void meter_frames(Meter *meter, const Frame *frames, size_t n);

/** meter_timeouts() - from now on, for flows that live too */
void meter_timeouts(Meter *meter, uint32_t idle_s, uint32_t active_s);

/** meter_sampling() - what comes is one of so many packets (0 and 1: all). A flow that has packets
 * of the former rate is split at its next one, so that a record has a single rate. */
void meter_sampling(Meter *meter, uint32_t rate);

/** meter_tick() - time goes on without packets; time that goes back is ignored */
void meter_tick(Meter *meter, uint64_t now_ns);

/** meter_pulse() - add what came since the last call to the pulse */
void meter_pulse(Meter *meter);

/** meter_flush() - end every flow (flowEndReason 4) */
void meter_flush(Meter *meter);

/** meter_live() - what is in flows of which no record was made yet; walks the table */
void meter_live(const Meter *meter, MeterLive *live);

DEFINE_CLEANUP(Meter *, meter_free)
