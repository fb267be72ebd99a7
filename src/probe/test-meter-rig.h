#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A meter for tests, what it emitted, and whether everything that was put in is accounted for.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>

#include "probe/counters.h"
#include "probe/meter.h"

#define SECOND UINT64_C(1000000000)
#define START  (UINT64_C(1700000000) * SECOND)

enum { RECORDS = 4096 };

/* a meter, what it emitted, and what was put in */
typedef struct Rig {
    Meter *meter;
    MetricValue counters[_COUNTER_N];
    FlowRecord records[RECORDS];
    size_t n;
    uint64_t packets; /* sums over all records */
    uint64_t frame_octets;
    uint64_t swept; /* flows that were told together, and the records of it */
    uint64_t swept_records;
} Rig;

static inline void take(void *userdata, const FlowRecord *record) {
    Rig *rig = userdata;
    if (rig->n < RECORDS)
        rig->records[rig->n] = *record;
    rig->n++;
    rig->packets += record->packets + record->rev_packets;
    rig->frame_octets += record->l2_octets + record->rev_l2_octets;
    rig->swept += record->flows;
    rig->swept_records += record->flows != 0;
}

static inline Rig *rig_left_out(uint32_t max_flows, MeterVlan vlan_key, DissectMode mode,
                                uint32_t left_out) {
    Rig *rig = calloc(1, sizeof(*rig));
    assert_non_null(rig);
    MeterConfig config = {
        .max_flows = max_flows,
        .idle_s = 15,
        .active_s = 60,
        .seed = 1,
        .flow_id = 100,
        .vlan_key = vlan_key,
        .left_out = left_out,
        .mode = mode,
        .counters = rig->counters,
        .record = take,
        .userdata = rig,
    };
    assert_int_equal(meter_new(&rig->meter, &config), 0);
    return rig;
}

static inline Rig *rig_made(uint32_t max_flows, MeterVlan vlan_key, DissectMode mode) {
    return rig_left_out(max_flows, vlan_key, mode, 0);
}

static inline Rig *rig_new(uint32_t max_flows) {
    return rig_made(max_flows, METER_VLAN_ALL, DISSECT_INNERMOST);
}

/* received = ignored + metered; metered = in records + in live flows; packets and bytes */
static inline void assert_conserved(Rig *rig) {
    uint64_t packets = 0;
    uint64_t bytes = 0;
    for (int answer = 1; answer < _DISSECT_E_N; answer++) {
        packets += metric_get(&rig->counters[counter_ignored_packets(answer)]);
        bytes += metric_get(&rig->counters[counter_ignored_bytes(answer)]);
    }
    MeterLive live;
    meter_live(rig->meter, &live);
    assert_true(metric_get(&rig->counters[COUNTER_PACKETS_RECEIVED]) ==
                packets + rig->packets + live.packets);
    assert_true(metric_get(&rig->counters[COUNTER_BYTES_RECEIVED]) ==
                bytes + rig->frame_octets + live.frame_octets);
    assert_true(metric_get(&rig->counters[COUNTER_PACKETS_EXPORTED]) == rig->packets);
    assert_true(metric_get(&rig->counters[COUNTER_BYTES_EXPORTED]) == rig->frame_octets);
    assert_true(metric_get(&rig->counters[COUNTER_FLOWS_LIVE]) == live.flows);
}

static inline void rig_end(Rig *rig) {
    assert_conserved(rig);
    meter_flush(rig->meter);
    assert_conserved(rig);
    MeterLive live;
    meter_live(rig->meter, &live);
    assert_true(live.flows == 0 && live.packets == 0);
    assert_true(metric_get(&rig->counters[COUNTER_FLOWS_SWEPT]) == rig->swept);
    meter_free(rig->meter);
    free(rig);
}

/* a raw IPv4 packet: hosts are the last two bytes of 10.0.x.x */
typedef struct Sent {
    uint16_t from, to, sport, dport;
    uint8_t protocol, flags;
    uint64_t at_ns;
} Sent;

static inline void send(Rig *rig, Sent s) {
    uint8_t b[40] = {0x45, 0, 0, 40, 0, 1, 0, 0, 64, s.protocol};
    b[12] = b[16] = 10;
    b[14] = (uint8_t)(s.from >> 8);
    b[15] = (uint8_t)s.from;
    b[18] = (uint8_t)(s.to >> 8);
    b[19] = (uint8_t)s.to;
    b[20] = (uint8_t)(s.sport >> 8);
    b[21] = (uint8_t)s.sport;
    b[22] = (uint8_t)(s.dport >> 8);
    b[23] = (uint8_t)s.dport;
    if (s.protocol == IP_TCP) {
        b[32] = 0x50;
        b[33] = s.flags;
    } else {
        b[25] = 20;
    }
    Frame frame = {.bytes = b,
                   .time_ns = s.at_ns,
                   .captured_bytes = sizeof(b),
                   .wire_bytes = sizeof(b) + 14, /* as if a link header had been there */
                   .link_type = FRAME_LINK_RAW};
    meter_frames(rig->meter, &frame, 1);
}

static inline void udp(Rig *rig, uint16_t from, uint16_t to, uint16_t sport, uint16_t dport,
                       uint64_t at) {
    send(rig, (Sent){from, to, sport, dport, IP_UDP, 0, at});
}

static inline void tcp(Rig *rig, uint16_t from, uint16_t to, uint16_t sport, uint16_t dport,
                       uint8_t flags, uint64_t at) {
    send(rig, (Sent){from, to, sport, dport, IP_TCP, flags, at});
}
