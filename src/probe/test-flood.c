/* SPDX-License-Identifier: Apache-2.0 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "probe/swept.h"
#include "probe/test-meter-rig.h"

enum { CAP = 1000, KEPT = 100, FLOOD = 60000, SERVER = 60000, VICTIM = 60001 };

static void open_connections(Rig *rig, uint64_t at) {
    for (unsigned k = 0; k < KEPT; k++) {
        const uint16_t i = (uint16_t)k;
        tcp(rig, i, SERVER, 1000, 80, TCP_SYN, at);
        tcp(rig, SERVER, i, 80, 1000, TCP_SYN | TCP_ACK, at);
        tcp(rig, i, SERVER, 1000, 80, TCP_ACK, at);
    }
}

static uint64_t live_flows(const Rig *rig) {
    MeterLive live;
    meter_live(rig->meter, &live);
    return live.flows;
}

/* 10,000 SYNs a second, each from another address and port, answered or not */
static uint64_t flood(Rig *rig, bool answered, uint64_t at) {
    for (uint32_t i = 0; i < FLOOD; i++) {
        const uint16_t from = (uint16_t)(i % 50000 + 200);
        const uint16_t port = (uint16_t)(i / 50000 + 7);
        at += 100000;
        tcp(rig, from, VICTIM, port, 80, TCP_SYN, at);
        if (answered)
            tcp(rig, VICTIM, from, 80, port, TCP_SYN | TCP_ACK, at);
        if (i % 997 == 0) {
            assert_conserved(rig);
            assert_true(live_flows(rig) <= CAP);
        }
    }
    return at;
}

static void flood_spares(bool answered) {
    Rig *rig = rig_new(CAP);
    open_connections(rig, START);
    uint64_t t = flood(rig, answered, START);
    /* full all along, and every one that went is counted */
    assert_int_equal(live_flows(rig), CAP);
    assert_int_equal(metric_get(&rig->counters[COUNTER_FLOWS_SWEPT]), KEPT + FLOOD - CAP);
    assert_int_equal(rig->n, 0); /* in 6 s nothing of it is told */
    for (unsigned k = 0; k < KEPT; k++)
        tcp(rig, (uint16_t)k, SERVER, 1000, 80, TCP_ACK, t);
    assert_int_equal(metric_get(&rig->counters[COUNTER_FLOWS_CREATED]), KEPT + FLOOD);
    assert_conserved(rig);
    meter_tick(rig->meter, t + 5 * SECOND);
    assert_int_equal(rig->n, 1); /* 59,100 flows */
    const FlowRecord *r = &rig->records[0];
    assert_int_equal(r->flows, KEPT + FLOOD - CAP);
    assert_int_equal(r->packets, r->flows);
    assert_int_equal(r->rev_packets, answered ? r->flows : 0);
    assert_int_equal(r->src_ip.family, 4);
    assert_memory_equal(r->src_ip.bytes, "\0\0\0\0", 4);
    assert_memory_equal(r->dst_ip.bytes + 2, "\xea\x61", 2);
    assert_int_equal(r->src_port, 0);
    assert_int_equal(r->dst_port, 80);
    assert_int_equal(r->tcp_flags, TCP_SYN);
    assert_int_equal(r->end_reason, FLOW_END_RESOURCES);
    meter_flush(rig->meter);
    assert_int_equal(rig->n, 1 + CAP);
    rig_end(rig);
}

static void test_flood_spares_connections(void **state) {
    (void)state;
    flood_spares(false);
}

static void test_answered_flood_spares_connections(void **state) {
    (void)state;
    flood_spares(true);
}

/* one host looks at every port of every address: more destinations than have places */
static void test_scan(void **state) {
    (void)state;
    enum { PACKETS = 120000 };
    Rig *rig = rig_new(CAP);
    open_connections(rig, START);
    uint64_t t = START;
    for (uint32_t i = 0; i < PACKETS; i++) {
        t += 100000;
        send(rig, (Sent){1, (uint16_t)(i % 59000 + 200), 40000, (uint16_t)(i * 7919),
                         i % 3 ? IP_TCP : IP_UDP, TCP_SYN, t});
        if (i % 9973 == 0)
            assert_conserved(rig);
    }
    for (unsigned k = 0; k < KEPT; k++)
        tcp(rig, (uint16_t)k, SERVER, 1000, 80, TCP_ACK, t);
    meter_flush(rig->meter);
    /* 12 s of it, told every 10 s */
    assert_in_range(rig->swept_records, 2 * 1000, 2 * 2047);
    assert_int_equal(rig->n, rig->swept_records + CAP);
    assert_int_equal(rig->packets, PACKETS + 4 * KEPT);
    rig_end(rig);
}

/* nothing but connections: one that has been idle for long goes, with a record of its own */
static void test_full_of_connections(void **state) {
    (void)state;
    Rig *rig = rig_new(KEPT);
    open_connections(rig, START);
    for (unsigned k = 1; k < KEPT; k++)
        tcp(rig, (uint16_t)k, SERVER, 1000, 80, TCP_ACK, START + 5 * SECOND);
    udp(rig, 1, 2, 3, 4, START + 6 * SECOND);
    assert_int_equal(rig->n, 1);
    assert_int_equal(rig->records[0].src_ip.bytes[3], 0);
    assert_int_equal(rig->records[0].end_reason, FLOW_END_RESOURCES);
    assert_int_equal(rig->records[0].packets + rig->records[0].rev_packets, 3);
    assert_int_equal(rig->records[0].flows, 0);
    rig_end(rig);
}

/* the places: exact as long as there are some, then wider; sums stay what they are */
static void test_places(void **state) {
    (void)state;
    enum { N = 200000 };
    Swept *swept = NULL;
    uint64_t packets = 0;
    uint64_t octets = 0;
    assert_int_equal(swept_new(&swept, 7), 0);
    for (unsigned round = 0; round < 2; round++) {
        for (uint32_t i = 0; i < N; i++) {
            SweptFlow flow = {.key = {.port = (uint16_t)(i / 5),
                                      .protocol = (uint8_t)(i % 256),
                                      .ip_version = i & 1 ? 4 : 6},
                              .flows = 1,
                              .packets = {2, 1},
                              .frame_octets = {60, 54}};
            memcpy(flow.key.address, &i, sizeof(i));
            swept_add(swept, &flow, 10 + i);
        }
        assert_true(swept_since(swept) == 10);
        swept_sum(swept, &packets, &octets);
        assert_true(packets == N * 3 && octets == N * UINT64_C(114));
        SweptFlow flow;
        uint64_t flows = 0;
        uint64_t records = 0;
        for (; swept_take(swept, &flow); records++)
            flows += flow.flows;
        assert_true(flows == N);
        assert_in_range(records, 1900, 2047);
        assert_true(swept_since(swept) == 0);
        swept_sum(swept, &packets, &octets);
        assert_true(packets == 0 && octets == 0);
    }
    swept_free(swept);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_flood_spares_connections),
        cmocka_unit_test(test_answered_flood_spares_connections),
        cmocka_unit_test(test_scan),
        cmocka_unit_test(test_full_of_connections),
        cmocka_unit_test(test_places),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
