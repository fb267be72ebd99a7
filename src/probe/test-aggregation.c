/* SPDX-License-Identifier: Apache-2.0 */

#include "probe/test-meter-rig.h"

#include <string.h>

#include "probe/aggregation.h"

static void test_written(void **state) {
    (void)state;
    static const struct {
        const char *text;
        uint32_t left_out;
    } rows[] = {
        {NULL, 0},
        {"1/1/1/1/1/1/1", 0},
        {"0/1/1/1/1/1/1", AGGREGATION_VLAN | AGGREGATION_INNER_VLAN},
        {"1.0/1/1/1/1/1/1", AGGREGATION_INNER_VLAN},
        {"0.1/0/1/1/1/1/1", AGGREGATION_VLAN | AGGREGATION_PROTOCOL},
        {"1/1/0/1/1/1/1", AGGREGATION_ADDRESS},
        {"1/1/1/0/1/1/1", AGGREGATION_PORT},
        {"1/1/1/1/0/1/1", AGGREGATION_TOS},
        {"1/1/1/1/1/0/1", 0},
        {"1/1/1/1/1/1/0", AGGREGATION_EXPORTER},
        {"0/0/0/0/0/0/0", 127},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        uint32_t got = 99;
        Reason reason = {""};
        assert_int_equal(aggregation_parse(&got, rows[i].text, &reason), 0);
        assert_int_equal(got, rows[i].left_out);
    }
}

static void test_refused(void **state) {
    (void)state;
    static const char *const texts[] = {"",
                                        "1",
                                        "1.",
                                        "1.1",
                                        "1/1/1/1/1/1",
                                        "1/1/1/1/1/1/",
                                        "1/1/1/1/1/1/1/1",
                                        "1/1/1/1/1/1/2",
                                        "1/1//1/1/1/1",
                                        "11/1/1/1/1/1/1",
                                        "1.1.1/1/1/1/1/1/1",
                                        "1/1.1/1/1/1/1/1",
                                        " 1/1/1/1/1/1/1",
                                        "1/1/1/1/1/1/1 "};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        uint32_t got = 99;
        Reason reason = {""};
        assert_int_equal(aggregation_parse(&got, texts[i], &reason), AGGREGATION_E_USAGE);
        assert_int_equal(got, 0);
        assert_non_null(strstr(reason.text, "VLAN/PROTOCOL/IP/PORT/TOS/SCTP/EXPORTER"));
    }
}

/* a frame of Ethernet, a tag, IPv4 and TCP */
typedef struct Segment {
    uint8_t vlan, tos, src, dst, src_port, dst_port, flags;
} Segment;

static void put(Rig *rig, const Segment *sent, uint64_t time_ns) {
    uint8_t bytes[] = {2,    0,
                       0,    0,
                       0,    2,
                       2,    0,
                       0,    0,
                       0,    1, /* MACs */
                       0x81, 0,
                       0,    sent->vlan,
                       8,    0, /* tag */
                       0x45, sent->tos,
                       0,    40,
                       0,    0,
                       0,    0,
                       64,   6,
                       0,    0,
                       10,   0,
                       0,    sent->src,
                       10,   0,
                       0,    sent->dst,
                       0,    sent->src_port,
                       0,    sent->dst_port,
                       0,    0,
                       0,    1,
                       0,    0,
                       0,    1,
                       0x50, sent->flags,
                       1,    0,
                       0,    0,
                       0,    0};
    const Frame frame = {.bytes = bytes,
                         .captured_bytes = sizeof(bytes),
                         .wire_bytes = sizeof(bytes),
                         .time_ns = time_ns,
                         .link_type = FRAME_LINK_ETHERNET};
    meter_frames(rig->meter, &frame, 1);
}

enum { SYN = 2, RST = 4, ACK = 16 };

/* two connections of one client to one server, one of another, both directions; over and begun */
static const Segment sent[] = {
    {5, 8, 1, 9, 50, 80, SYN}, {5, 8, 9, 1, 80, 50, SYN | ACK}, {6, 8, 1, 9, 51, 80, SYN},
    {5, 8, 2, 9, 50, 80, SYN}, {5, 8, 1, 9, 50, 80, RST},       {5, 8, 2, 9, 50, 80, ACK},
};
enum { SENT = sizeof(sent) / sizeof(sent[0]) };

static Rig *metered(uint32_t left_out) {
    Rig *rig = rig_left_out(64, METER_VLAN_ALL, DISSECT_INNERMOST, left_out);
    for (size_t i = 0; i < SENT; i++)
        put(rig, &sent[i], START + i * 1000000);
    meter_flush(rig->meter);
    assert_int_equal(rig->packets, SENT);
    return rig;
}

static void test_of_packets(void **state) {
    (void)state;
    static const struct {
        uint32_t left_out;
        size_t flows;
    } rows[] = {
        {0, 3},
        {AGGREGATION_TOS, 3},
        {AGGREGATION_PROTOCOL, 3},
        {AGGREGATION_PORT, 3}, /* the client's two differ in the tag */
        {AGGREGATION_PORT | AGGREGATION_VLAN, 2},
        {AGGREGATION_ADDRESS, 2},
        {AGGREGATION_ADDRESS | AGGREGATION_VLAN, 2},
        {AGGREGATION_ADDRESS | AGGREGATION_PORT | AGGREGATION_VLAN, 1},
        {127, 1},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const uint32_t left_out = rows[i].left_out;
        Rig *rig = metered(left_out);
        assert_int_equal(rig->n, rows[i].flows);
        for (size_t at = 0; at < rig->n; at++) {
            const FlowRecord *flow = &rig->records[at];
            const bool no_port = left_out & AGGREGATION_PORT;
            assert_int_equal(flow->protocol, left_out & AGGREGATION_PROTOCOL ? 0 : 6);
            assert_int_equal(flow->src_port + flow->dst_port == 0, no_port);
            assert_int_equal(flow->vlan == 0, (left_out & AGGREGATION_VLAN) != 0);
            assert_int_equal(flow->tos, left_out & AGGREGATION_TOS ? 0 : 8);
            assert_int_equal(flow->dscp, left_out & AGGREGATION_TOS ? 0 : 2);
            assert_int_equal(flow->src_ip.family, 4);
            assert_int_equal(flow->src_ip.bytes[0], left_out & AGGREGATION_ADDRESS ? 0 : 10);
            assert_int_equal(flow->dst_ip.bytes[3] == 0, (left_out & AGGREGATION_ADDRESS) != 0);
            assert_int_equal(flow->src_mac.bytes[0], left_out & AGGREGATION_ADDRESS ? 0 : 2);
            /* nothing of one connection is told of several */
            if (left_out & AGGREGATION_JOINS)
                assert_int_equal(flow->handshake_us + flow->app_latency_us + flow->ttl_min, 0);
        }
        rig_end(rig);
    }
}

/* a connection that is over does not end what others are in */
static void test_end_of_one(void **state) {
    (void)state;
    Rig *rig = rig_left_out(64, METER_VLAN_ALL, DISSECT_INNERMOST, AGGREGATION_PORT);
    for (unsigned i = 0; i < 20; i++) {
        put(rig, &(Segment){5, 0, 1, 9, (uint8_t)(50 + i), 80, SYN}, START + i * SECOND);
        put(rig, &(Segment){5, 0, 1, 9, (uint8_t)(50 + i), 80, RST}, START + i * SECOND + 1000);
    }
    meter_flush(rig->meter);
    assert_int_equal(rig->n, 1);
    assert_int_equal(rig->records[0].packets, 40);
    assert_int_equal(rig->records[0].tcp_flags, SYN | RST);
    rig_end(rig);
}

static void test_of_exporters(void **state) {
    (void)state;
    const uint8_t v4[4] = {192, 0, 2, 1};
    const FlowRecord from = {.src_ip = net_address_v4(v4),
                             .dst_ip = net_address_v4(v4),
                             .post_nat_src_ip = net_address_v4(v4),
                             .exporter_ip = net_address_v4(v4),
                             .src_port = 1,
                             .dst_port = 2,
                             .protocol = 6,
                             .tos = 4,
                             .vlan = 5,
                             .inner_vlan = 6,
                             .packets = 7};
    FlowRecord flow = from;
    aggregation_flow(&flow, 0);
    assert_memory_equal(&flow, &from, sizeof(flow));
    aggregation_flow(&flow, 127);
    const NetAddress zero = {.family = 4};
    const FlowRecord left = {.src_ip = zero, .dst_ip = zero, .exporter_ip = zero, .packets = 7};
    assert_memory_equal(&flow, &left, sizeof(flow));
    flow = from;
    aggregation_flow(&flow, AGGREGATION_EXPORTER | AGGREGATION_VLAN);
    assert_memory_equal(&flow.src_ip, &from.src_ip, sizeof(from.src_ip));
    assert_int_equal(flow.inner_vlan, 6);
    assert_int_equal(flow.vlan, 0);
    assert_true(net_address_equal(&flow.exporter_ip, &zero));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_written),      cmocka_unit_test(test_refused),
        cmocka_unit_test(test_of_packets),   cmocka_unit_test(test_end_of_one),
        cmocka_unit_test(test_of_exporters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
