/* SPDX-License-Identifier: Apache-2.0 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "net/test-hex.h"
#include "probe/test-meter-rig.h"

static void test_both_directions_meet(void **state) {
    (void)state;
    Rig *rig = rig_new(64);
    udp(rig, 9, 1, 5000, 53, START);
    udp(rig, 1, 9, 53, 5000, START + 5000000);
    udp(rig, 9, 1, 5000, 53, START + 7000000);
    meter_flush(rig->meter);
    assert_int_equal(rig->n, 1);
    const FlowRecord *r = &rig->records[0];
    assert_int_equal(r->src_ip.bytes[3], 9);
    assert_int_equal(r->src_port, 5000);
    assert_int_equal(r->packets, 2);
    assert_int_equal(r->rev_packets, 1);
    assert_int_equal(r->octets, 80);
    assert_int_equal(r->rev_l2_octets, 54);
    assert_true(r->first_ms == START / 1000000);
    assert_true(r->last_ms == START / 1000000 + 7);
    assert_int_equal(r->end_reason, FLOW_END_FORCED);
    assert_int_equal(r->biflow_direction, FLOW_DIRECTION_INITIATOR);
    rig_end(rig);
}

static void test_direction(void **state) {
    (void)state;
    static const struct {
        Sent first;
        uint16_t initiator;
        uint8_t told;
    } cases[] = {
        /* an answer from a well-known port, without the question */
        {{1, 2, 53, 5000, IP_UDP, 0, START}, 2, FLOW_DIRECTION_REVERSE},
        {{1, 2, 5000, 53, IP_UDP, 0, START}, 1, FLOW_DIRECTION_INITIATOR},
        {{1, 2, 4000, 5000, IP_UDP, 0, START}, 1, FLOW_DIRECTION_INITIATOR},
        {{1, 2, 5000, 4000, IP_UDP, 0, START}, 1, FLOW_DIRECTION_INITIATOR},
        /* SYN and SYN-ACK against the ports */
        {{1, 2, 443, 5000, IP_TCP, TCP_SYN, START}, 1, FLOW_DIRECTION_INITIATOR},
        {{1, 2, 5000, 443, IP_TCP, TCP_SYN | TCP_ACK, START}, 2, FLOW_DIRECTION_INITIATOR},
        /* met in the middle: the lower port serves */
        {{1, 2, 8080, 40000, IP_TCP, TCP_ACK, START}, 2, FLOW_DIRECTION_REVERSE},
        {{1, 2, 40000, 8080, IP_TCP, TCP_ACK, START}, 1, FLOW_DIRECTION_INITIATOR},
    };
    Rig *rig = rig_new(64);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        send(rig, cases[i].first);
        meter_flush(rig->meter);
        assert_int_equal(rig->n, i + 1);
        assert_int_equal(rig->records[i].src_ip.bytes[3], cases[i].initiator);
        assert_int_equal(rig->records[i].biflow_direction, cases[i].told);
    }
    rig_end(rig);
}

/* the SYN comes late (reordered): it corrects what the ports told */
static void test_late_syn_corrects(void **state) {
    (void)state;
    Rig *rig = rig_new(64);
    tcp(rig, 1, 2, 80, 90, TCP_ACK, START);
    tcp(rig, 2, 1, 90, 80, TCP_SYN, START + 1);
    meter_flush(rig->meter);
    assert_int_equal(rig->records[0].src_ip.bytes[3], 2);
    assert_int_equal(rig->records[0].packets, 1);
    assert_int_equal(rig->records[0].tcp_flags, TCP_SYN);
    assert_int_equal(rig->records[0].rev_tcp_flags, TCP_ACK);
    rig_end(rig);
}

static void test_idle_timeout(void **state) {
    (void)state;
    Rig *rig = rig_new(64);
    udp(rig, 1, 2, 1, 2, START);
    udp(rig, 3, 4, 1, 2, START + 14 * SECOND);
    assert_int_equal(rig->n, 0);
    meter_tick(rig->meter, START + 16 * SECOND); /* no packet needed */
    assert_int_equal(rig->n, 1);
    assert_int_equal(rig->records[0].end_reason, FLOW_END_IDLE);
    assert_int_equal(rig->records[0].src_ip.bytes[3], 1);
    /* the flow comes back: another flow */
    udp(rig, 1, 2, 1, 2, START + 17 * SECOND);
    meter_flush(rig->meter);
    assert_int_equal(rig->n, 3);
    assert_true(rig->records[0].flow_id != rig->records[2].flow_id);
    rig_end(rig);
}

static void test_active_timeout_keeps_id_and_direction(void **state) {
    (void)state;
    Rig *rig = rig_new(64);
    tcp(rig, 2, 1, 50000, 60000, TCP_SYN, START);
    for (uint64_t s = 1; s <= 150; s++)
        tcp(rig, 1, 2, 60000, 50000, TCP_ACK, START + s * SECOND);
    meter_flush(rig->meter);
    assert_int_equal(rig->n, 3);
    for (size_t i = 0; i < 3; i++) {
        assert_true(rig->records[i].flow_id == 100);
        assert_int_equal(rig->records[i].src_ip.bytes[3], 2);
        assert_int_equal(rig->records[i].end_reason, i < 2 ? FLOW_END_ACTIVE : FLOW_END_FORCED);
    }
    assert_true(rig->records[0].packets + rig->records[0].rev_packets == 60);
    assert_true(rig->records[1].first_ms == (START + 60 * SECOND) / 1000000);
    assert_int_equal(rig->records[1].packets, 0);
    assert_int_equal(rig->records[1].rev_packets, 60);
    assert_int_equal(metric_get(&rig->counters[COUNTER_FLOWS_CREATED]), 1);
    rig_end(rig);
}

/* a long flow that falls silent right after its split: no empty record */
static void test_no_empty_record(void **state) {
    (void)state;
    Rig *rig = rig_new(64);
    for (uint64_t s = 0; s < 60; s++)
        udp(rig, 1, 2, 1, 2, START + s * SECOND);
    meter_tick(rig->meter, START + 61 * SECOND);
    assert_int_equal(rig->n, 1);
    meter_tick(rig->meter, START + 200 * SECOND);
    assert_int_equal(rig->n, 1);
    rig_end(rig);
}

static void test_tcp_end_lingers(void **state) {
    (void)state;
    Rig *rig = rig_new(64);
    uint64_t t = START;
    tcp(rig, 1, 2, 1000, 80, TCP_SYN, t++);
    tcp(rig, 2, 1, 80, 1000, TCP_SYN | TCP_ACK, t++);
    tcp(rig, 1, 2, 1000, 80, TCP_FIN | TCP_ACK, t++);
    tcp(rig, 2, 1, 80, 1000, TCP_FIN | TCP_ACK, t++);
    tcp(rig, 1, 2, 1000, 80, TCP_ACK, t + SECOND); /* the trailing ACK, and one sent again */
    assert_int_equal(rig->n, 0);
    tcp(rig, 1, 2, 1000, 80, TCP_ACK, t + 2 * SECOND);
    meter_tick(rig->meter, t + 5 * SECOND);
    assert_int_equal(rig->n, 1);
    assert_int_equal(rig->records[0].end_reason, FLOW_END_DETECTED);
    assert_int_equal(rig->records[0].packets, 4);
    assert_int_equal(rig->records[0].rev_packets, 2);
    rig_end(rig);
}

static void test_ports_used_again(void **state) {
    (void)state;
    Rig *rig = rig_new(64);
    tcp(rig, 1, 2, 1000, 80, TCP_SYN, START);
    tcp(rig, 2, 1, 80, 1000, TCP_RST | TCP_ACK, START + 1);
    tcp(rig, 1, 2, 1000, 80, TCP_SYN, START + SECOND); /* within the linger */
    meter_flush(rig->meter);
    assert_int_equal(rig->n, 2);
    assert_int_equal(rig->records[0].end_reason, FLOW_END_DETECTED);
    assert_true(rig->records[0].flow_id != rig->records[1].flow_id);
    rig_end(rig);
}

static void test_clock_steps(void **state) {
    (void)state;
    Rig *rig = rig_new(64);
    udp(rig, 1, 2, 1, 2, START);
    udp(rig, 3, 4, 1, 2, START - 2 * SECOND); /* out of order: nothing happens */
    assert_int_equal(rig->n, 0);
    udp(rig, 1, 2, 1, 2, START - 3600 * SECOND); /* an hour back: all flows end */
    assert_int_equal(rig->n, 2);
    assert_int_equal(metric_get(&rig->counters[COUNTER_CLOCK_STEPS]), 1);
    meter_tick(rig->meter, START - 3580 * SECOND);
    assert_int_equal(rig->n, 3);
    assert_int_equal(rig->records[2].end_reason, FLOW_END_IDLE);
    udp(rig, 5, 6, 1, 2, START + UINT64_C(100000000) * SECOND); /* far ahead */
    rig_end(rig);
}

/* many flows that come and go at random, held against sums kept here */
static void test_random_traffic_is_conserved(void **state) {
    (void)state;
    Rig *rig = rig_new(300);
    uint64_t t = START;
    uint64_t x = 88172645463325252u;
    for (int i = 0; i < 200000; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        t += x % 20000000;
        static const uint8_t flags[] = {TCP_SYN,           TCP_ACK, TCP_ACK | TCP_FIN, TCP_RST,
                                        TCP_SYN | TCP_ACK, TCP_ACK, TCP_ACK,           TCP_ACK};
        uint16_t from = (uint16_t)(x >> 20 & 31);
        uint16_t to = (uint16_t)(x >> 30 & 31);
        if (x >> 40 & 1)
            tcp(rig, from, to, (uint16_t)(x >> 50 & 3), 80, flags[x >> 54 & 7], t);
        else
            udp(rig, from, to, (uint16_t)(x >> 50 & 3), 53, t);
        if (i % 4096 == 0)
            assert_conserved(rig);
    }
    assert_int_equal(metric_get(&rig->counters[COUNTER_PACKETS_METERED]), 200000);
    meter_flush(rig->meter);
    assert_int_equal(rig->packets, 200000);
    rig_end(rig);
}

static void test_ignored_frames_are_counted(void **state) {
    (void)state;
    Rig *rig = rig_new(64);
    uint8_t arp[60] = {[12] = 0x08, [13] = 0x06};
    Frame frames[3] = {
        {.bytes = arp,
         .time_ns = START,
         .captured_bytes = sizeof(arp),
         .wire_bytes = sizeof(arp),
         .link_type = FRAME_LINK_ETHERNET},
        {.bytes = arp, .captured_bytes = 5, .wire_bytes = 64, .link_type = FRAME_LINK_ETHERNET},
        {.bytes = arp, .captured_bytes = 60, .wire_bytes = 60, .link_type = 12345},
    };
    meter_frames(rig->meter, frames, 3);
    assert_int_equal(metric_get(&rig->counters[COUNTER_IGNORED_PACKETS_ARP]), 1);
    assert_int_equal(metric_get(&rig->counters[COUNTER_IGNORED_BYTES_TRUNCATED]), 64);
    assert_int_equal(metric_get(&rig->counters[COUNTER_IGNORED_PACKETS_LINK_TYPE]), 1);
    rig_end(rig);
}

/* a record has a single rate: a flow that goes on is split at its first packet of the new one */
static void test_sampling_changes(void **state) {
    (void)state;
    Rig *rig = rig_new(64);
    udp(rig, 9, 1, 5000, 53, START);
    udp(rig, 9, 1, 5000, 53, START + SECOND / 2);
    udp(rig, 8, 1, 5001, 53, START + SECOND / 2);
    meter_sampling(rig->meter, 10);
    meter_sampling(rig->meter, 10); /* the same is no change */
    udp(rig, 9, 1, 5000, 53, START + SECOND);
    udp(rig, 9, 1, 5000, 53, START + SECOND);
    assert_int_equal(rig->n, 1);
    assert_int_equal(rig->records[0].packets, 2);
    assert_int_equal(rig->records[0].sampling, 0);
    meter_flush(rig->meter);
    assert_int_equal(rig->n, 3);
    for (size_t i = 1; i < 3; i++) {
        const FlowRecord *r = &rig->records[i];
        assert_int_equal(r->sampling, r->src_port == 5000 ? 10 : 0);
        assert_true(r->src_port != 5000 || r->flow_id == rig->records[0].flow_id);
        assert_int_equal(r->packets, r->src_port == 5000 ? 2 : 1);
    }
    rig_end(rig);
}

/* a shorter timeout ends flows that were to live on; a longer one keeps them */
static void test_timeouts_change(void **state) {
    (void)state;
    Rig *rig = rig_new(64);
    udp(rig, 9, 1, 5000, 53, START);
    udp(rig, 8, 1, 5001, 53, START + 10 * SECOND);
    meter_timeouts(rig->meter, 5, 60);
    meter_tick(rig->meter, START + 11 * SECOND);
    assert_int_equal(rig->n, 1);
    assert_int_equal(rig->records[0].src_port, 5000);
    assert_int_equal(rig->records[0].end_reason, FLOW_END_IDLE);
    meter_timeouts(rig->meter, 100, 600);
    meter_tick(rig->meter, START + 80 * SECOND);
    assert_int_equal(rig->n, 1);
    meter_timeouts(rig->meter, 300, 30);
    meter_tick(rig->meter, START + 82 * SECOND);
    assert_int_equal(rig->n, 2);
    assert_int_equal(rig->records[1].end_reason, FLOW_END_ACTIVE);
    rig_end(rig);
}

/* --- what carries flows ------------------------------------------------------------------- */

static void ethernet(Rig *rig, const char *text, uint64_t at_ns) {
    Hex h = hex(text);
    Frame frame = {.bytes = h.bytes,
                   .time_ns = at_ns,
                   .captured_bytes = h.n,
                   .wire_bytes = h.n,
                   .link_type = FRAME_LINK_ETHERNET};
    meter_frames(rig->meter, &frame, 1);
}

#define MACS  "020000000002 020000000001 "
#define THERE "0a000001 0a000002 9c41 1f90 000c 0000 61626364"
#define BACK  "0a000002 0a000001 1f90 9c41 000c 0000 61626364"
#define IP4   "4500 0020 0001 0000 4011 0000 "
#define GTP4(ends, teid)                                                                           \
    MACS "0800 4500 0044 0007 0000 4011 0000 " ends "0868 0868 0030 0000 30ff 0020 " teid IP4

static void test_path_of_a_flow(void **state) {
    (void)state;
    Rig *rig = rig_new(64);
    ethernet(rig, GTP4("ac100001 ac100002 ", "00001234 ") THERE, START);
    ethernet(rig, GTP4("ac100002 ac100001 ", "00001235 ") BACK, START + 1);
    ethernet(rig, MACS "8847 00064140 " IP4 "0a000003 0a000004 9c41 1f90 000c 0000 61626364",
             START + 2);
    meter_flush(rig->meter);
    assert_int_equal(rig->n, 2);
    const FlowRecord *r = &rig->records[rig->records[0].mpls_label ? 1 : 0];
    assert_int_equal(r->src_ip.bytes[0], 10);
    assert_int_equal(r->src_port, 40001);
    assert_int_equal(r->packets, 1);
    assert_int_equal(r->rev_packets, 1);
    assert_int_equal(r->octets, 32);
    assert_int_equal(r->l2_octets, 14 + 68);
    assert_int_equal(r->tunnel_type.size, 5);
    assert_int_equal(r->tunnel_id, 0x1234);
    assert_int_equal(r->rev_tunnel_id, 0x1235);
    assert_int_equal(r->tunnel_src_ip.family, 4);
    assert_memory_equal(r->tunnel_src_ip.bytes, "\xac\x10\0\1", 4);
    assert_memory_equal(r->tunnel_dst_ip.bytes, "\xac\x10\0\2", 4);
    const FlowRecord *labelled = &rig->records[rig->records[0].mpls_label ? 0 : 1];
    assert_int_equal(labelled->mpls_label, 100);
    assert_int_equal(labelled->tunnel_type.size, 0);
    assert_int_equal(labelled->tunnel_src_ip.family, 0);
    rig_end(rig);

    rig = rig_made(64, METER_VLAN_ALL, DISSECT_OUTERMOST);
    ethernet(rig, GTP4("ac100001 ac100002 ", "00001234 ") THERE, START);
    meter_flush(rig->meter);
    assert_int_equal(rig->records[0].src_port, 2152);
    assert_int_equal(rig->records[0].octets, 68);
    assert_int_equal(rig->records[0].tunnel_id, 0);
    rig_end(rig);
}

static void test_vlans_in_the_key(void **state) {
    (void)state;
    static const char *const frames[] = {MACS "0800 " IP4 THERE, MACS "8100 0005 0800 " IP4 BACK,
                                         MACS "88a8 0005 8100 0006 0800 " IP4 THERE,
                                         MACS "88a8 0005 8100 0007 0800 " IP4 BACK};
    static const size_t flows[] = {
        [METER_VLAN_ALL] = 4, [METER_VLAN_OUTER] = 2, [METER_VLAN_NONE] = 1};
    for (size_t key = 0; key < 3; key++) {
        Rig *rig = rig_made(64, (MeterVlan)key, DISSECT_INNERMOST);
        for (size_t i = 0; i < 4; i++)
            ethernet(rig, frames[i], START + i);
        meter_flush(rig->meter);
        assert_int_equal(rig->n, flows[key]);
        for (size_t i = 0; i < rig->n; i++) /* the tags are there in each case */
            assert_true(key == METER_VLAN_NONE || rig->records[i].vlan == 5 ||
                        rig->records[i].packets + rig->records[i].rev_packets == 1);
        rig_end(rig);
    }
}

#define PART(id, offset, more) MACS "0800 4500 " more id offset "4011 0000 "

static void test_fragments_wait(void **state) {
    (void)state;
    Rig *rig = rig_new(64);
    static const char later[] = PART("00aa ", "0002 ", "0018 ") "0a000001 0a000002 78787878";
    static const char first[] = PART("00aa ", "2000 ", "0020 ") THERE;
    ethernet(rig, later, START);
    assert_conserved(rig);
    assert_int_equal(metric_get(&rig->counters[COUNTER_FRAGMENTS_HELD]), 1);
    assert_int_equal(metric_get(&rig->counters[COUNTER_FRAGMENTS_HELD_BYTES]), 38);
    assert_int_equal(metric_get(&rig->counters[COUNTER_PACKETS_METERED]), 0);
    ethernet(rig, first, START + 1000000);
    assert_conserved(rig);
    assert_int_equal(metric_get(&rig->counters[COUNTER_FRAGMENTS_HELD]), 0);
    meter_flush(rig->meter);
    assert_int_equal(rig->n, 1);
    assert_int_equal(rig->records[0].packets, 2);
    assert_int_equal(rig->records[0].dst_port, 8080);
    assert_true(rig->records[0].first_ms == START / 1000000);

    /* given up: after 3 s without packets, after a leap of time, at the end */
    ethernet(rig, later, START + 60 * SECOND);
    assert_conserved(rig);
    meter_tick(rig->meter, START + 64 * SECOND);
    assert_conserved(rig);
    assert_int_equal(metric_get(&rig->counters[COUNTER_FRAGMENTS_ORPHANED]), 1);
    ethernet(rig, later, START + 100 * SECOND);
    udp(rig, 1, 2, 3, 4, START + 5000 * SECOND);
    assert_conserved(rig);
    assert_int_equal(metric_get(&rig->counters[COUNTER_FRAGMENTS_ORPHANED]), 2);
    assert_int_equal(metric_get(&rig->counters[COUNTER_CLOCK_STEPS]), 0);
    ethernet(rig, later, START + 5001 * SECOND);
    meter_flush(rig->meter);
    assert_int_equal(metric_get(&rig->counters[COUNTER_FRAGMENTS_ORPHANED]), 3);
    assert_int_equal(rig->packets, 6);
    rig_end(rig);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_both_directions_meet),
        cmocka_unit_test(test_direction),
        cmocka_unit_test(test_late_syn_corrects),
        cmocka_unit_test(test_idle_timeout),
        cmocka_unit_test(test_active_timeout_keeps_id_and_direction),
        cmocka_unit_test(test_no_empty_record),
        cmocka_unit_test(test_tcp_end_lingers),
        cmocka_unit_test(test_ports_used_again),
        cmocka_unit_test(test_clock_steps),
        cmocka_unit_test(test_random_traffic_is_conserved),
        cmocka_unit_test(test_ignored_frames_are_counted),
        cmocka_unit_test(test_sampling_changes),
        cmocka_unit_test(test_timeouts_change),
        cmocka_unit_test(test_path_of_a_flow),
        cmocka_unit_test(test_vlans_in_the_key),
        cmocka_unit_test(test_fragments_wait),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
