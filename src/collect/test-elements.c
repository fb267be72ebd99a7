/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Elements as vendors use them, and as the standards allow though few do; each test says which rule
 * it is of.
 */

#include "base/json.h"
#include "collect/test-messages.h"

#define ONE(scene, id, hex)                                                                        \
    do {                                                                                           \
        put_data(scene, id, hex);                                                                  \
        send(scene);                                                                               \
    } while (0)

static void begin_ipfix(Scene *s) {
    begin(s, 0);
    ipfix(s, 0);
}

/* RFC 7011 section 6.2: any number may be sent in fewer bytes */
static void test_reduced_sizes(void **state) {
    (void)state;
    Scene s;
    begin_ipfix(&s);
    TEMPLATE(&s, 256, E(1, 5), E(2, 1), E(10, 1), E(16, 3), E(234, 2), E(7, 1), E(152, 6), E(6, 1));
    ONE(&s, 256, "0102030405 ff 07 01e240 0009 35 018bcfe56800 12");
    const FlowRecord *flow = &s.records[0].flow;
    assert_int_equal(flow->octets, 0x0102030405);
    assert_int_equal(flow->packets, 255);
    assert_int_equal(flow->input_if, 7);
    assert_int_equal(flow->src_as, 123456);
    assert_int_equal(flow->vrf_in, 9);
    assert_int_equal(flow->src_port, 53);
    assert_int_equal(flow->first_ms, UINT64_C(1000) * NOW_S);
    assert_int_equal(flow->tcp_flags, 0x12);
    end(&s);
}

/* a number too big for its place is the biggest, and not another one */
static void test_wide_numbers(void **state) {
    (void)state;
    Scene s;
    begin_ipfix(&s);
    TEMPLATE(&s, 256, E(10, 8), E(6, 2), E(58, 4), E(4, 2));
    ONE(&s, 256, "0000000100000000 01ff 00000064 0011");
    assert_int_equal(s.records[0].flow.input_if, UINT32_MAX);
    assert_int_equal(s.records[0].flow.tcp_flags, 0x1ff);
    assert_int_equal(s.records[0].flow.vlan, 100);
    assert_int_equal(s.records[0].flow.protocol, 17);
    end(&s);
}

/* section 7: any element may be of variable length, and a long length may stand for a short one */
static void test_variable_lengths_of_anything(void **state) {
    (void)state;
    Scene s;
    begin_ipfix(&s);
    TEMPLATE(&s, 256, E(8, 0xffff), E(27, 0xffff), E(1, 0xffff), E(56, 0xffff), E(7, 0xffff),
             E(371, 0xffff), E(2, 2));
    put_data(&s, 256,
             "04 c0000201 00 03 0186a0 06 020000000001 ff0002 01bb ff0005 616c696365 0009"
             "03 c00002 10 20010db8000000000000000000000001 00 00 00 00 0001");
    send(&s);
    assert_int_equal(s.n, 2);
    assert_true(is_address(&s.records[0].flow.src_ip, "192.0.2.1"));
    assert_int_equal(s.records[0].flow.octets, 100000);
    assert_int_equal(s.records[0].flow.src_mac.bytes[5], 1);
    assert_int_equal(s.records[0].flow.src_port, 443);
    assert_int_equal(s.records[0].user_name.size, 5);
    assert_int_equal(s.records[0].flow.packets, 9);
    /* an address of three bytes is none */
    assert_true(is_address(&s.records[1].flow.src_ip, "2001:db8::1"));
    assert_int_equal(s.records[1].flow.packets, 1);
    end(&s);
}

/* RFC 6313: basicList 291, subTemplateList 292, subTemplateMultiList 293, of whatever is in them */
static void test_structured_data_is_stepped_over(void **state) {
    (void)state;
    Scene s;
    begin_ipfix(&s);
    TEMPLATE(&s, 256, E(291, 0xffff), E(292, 0xffff), E(293, 8), E(1, 4), E(291, 0xffff));
    ONE(&s, 256,
        "09 ff 0001 0004 0000000a"
        "ff0007 03 0101 00000005"
        "ff01020008000000 00000064 00");
    assert_int_equal(s.n, 1);
    assert_int_equal(s.records[0].flow.octets, 100);
    end(&s);
}

/* RFC 5103: the reverse of IANA's elements, and that of another enterprise, which is none of ours
 */
static void test_reverse(void **state) {
    (void)state;
    Scene s;
    begin_ipfix(&s);
    TEMPLATE(&s, 256, P(1, 4, 29305), P(2, 8, 29305), P(6, 1, 29305), P(5, 1, 29305),
             P(21, 4, 29305), E(239, 1), P(1, 4, 6871));
    ONE(&s, 256, "00000064 0000000000000002 1b 08 00000007 01 0000ffff");
    const FlowRecord *flow = &s.records[0].flow;
    assert_int_equal(flow->rev_octets, 100);
    assert_int_equal(flow->rev_packets, 2);
    assert_int_equal(flow->rev_tcp_flags, 0x1b);
    assert_int_equal(flow->rev_tos, 8);
    assert_int_equal(flow->biflow_direction, 1);
    assert_int_equal(flow->octets, 0);
    end(&s);
}

/* a firewall's events: Cisco ASA, NetFlow v9, octets of both sides and no packets */
static void test_nsel(void **state) {
    (void)state;
    Scene s;
    begin(&s, 0);
    v9(&s, 0);
    TEMPLATE(&s, 263, E(148, 4), E(8, 4), E(7, 2), E(10, 2), E(12, 4), E(11, 2), E(14, 2), E(4, 1),
             E(176, 1), E(177, 1), E(225, 4), E(226, 4), E(227, 2), E(228, 2), E(233, 1),
             E(33002, 2), E(323, 8), E(231, 4), E(232, 4), E(33000, 12), E(40000, 20));
    ONE(&s, 263,
        "00000063 0a000001 c001 0003 c6336402 0050 0004 06 00 00 cb007101 c6336402 d001 0050 02"
        "07ec 0000018bcfe56c00 00000400 00001000 0123456789abcdef01234567"
        "616c69636500000000000000000000000000000000");
    const FlowRecord *flow = &s.records[0].flow;
    assert_int_equal(s.n, 1);
    assert_int_equal(flow->flow_id, 99);
    assert_int_equal(flow->firewall_event, 2);
    assert_true(is_address(&flow->post_nat_src_ip, "203.0.113.1"));
    assert_int_equal(flow->post_nat_src_port, 0xd001);
    assert_int_equal(flow->octets, 1024);
    assert_int_equal(flow->rev_octets, 4096);
    assert_int_equal(s.records[0].event_ms, UINT64_C(1000) * NOW_S + 1024);
    assert_int_equal(s.records[0].user_name.size, 20);
    /* no times but that of the event: it is theirs, and they say that they were made */
    assert_true(collect_mend_times(&s.records[0]));
    assert_int_equal(flow->last_ms, UINT64_C(1000) * NOW_S + 1024);
    end(&s);
}

/* RFC 8158, and Cisco's event logging, which has numbers of its own in v9 */
static void test_nat_events(void **state) {
    (void)state;
    Scene s;
    begin(&s, 0);
    v9(&s, 0);
    TEMPLATE(&s, 256, E(323, 8), E(8, 4), E(40001, 4), E(7, 2), E(40003, 2), E(230, 1), E(234, 4));
    ONE(&s, 256, "0000018bcfe56800 64400001 cb007105 1000 2000 04 00000007");
    ipfix(&s, 0);
    TEMPLATE(&s, 257, E(324, 8), E(27, 16), E(281, 16), E(225, 4), E(228, 2), E(230, 1));
    ONE(&s, 257,
        "e8fe6f8080000000 20010db8000000000000000000000001 00000000000000000000000000000000"
        "cb007106 0035 0a");
    assert_true(is_address(&s.records[0].flow.post_nat_src_ip, "203.0.113.5"));
    assert_int_equal(s.records[0].flow.post_nat_src_port, 0x2000);
    assert_int_equal(s.records[0].flow.nat_event, 4);
    /* NAT64: the one of the two that is not zero */
    assert_true(is_address(&s.records[1].flow.post_nat_src_ip, "203.0.113.6"));
    assert_int_equal(s.records[1].flow.post_nat_dst_port, 53);
    assert_int_equal(s.records[1].flow.nat_event, 10);
    assert_int_equal(s.records[1].event_ms, UINT64_C(1000) * NOW_S + 500);
    end(&s);
}

/* labels as 3 bytes with TTL left off or 4 with it; those of a shorter stack are zero */
static void test_mpls(void **state) {
    (void)state;
    Scene s;
    begin_ipfix(&s);
    TEMPLATE(&s, 256, E(70, 3), E(71, 4), E(72, 3), E(73, 3));
    ONE(&s, 256, "000641 000c81ff 0012c1 000000");
    const CollectList *labels = &s.records[0].mpls_labels;
    assert_int_equal(labels->n, 4);
    assert_int_equal(labels->values[0], 100);
    assert_int_equal(labels->values[1], 200);
    assert_int_equal(labels->values[2], 300);
    assert_int_equal(labels->values[3], 0);
    end(&s);
}

/* RFC 5477: the algorithm says which parameters count */
static void test_sampling_algorithms(void **state) {
    (void)state;
    Scene s;
    static const struct {
        const char *options; /* 302 | 304 305 306 309 310 311 */
        uint32_t rate;
    } rows[] = {
        {"00000001 0001 00000001 00000063 00000001 00000100 3f000000", 100},
        {"00000002 0003 00000001 00000000 00000001 00000100 3f000000", 256},
        {"00000003 0004 00000000 00000000 00000000 00000000 3c23d70a", 100},
        {"00000004 0000 0000000a 0000005a 00000000 00000000 00000000", 10},
        {"00000005 0003 00000000 00000000 00000003 00000c00 00000000", 1024},
        {"00000006 0004 00000000 00000000 00000000 00000000 7fc00000", 0}, /* not a number */
        {"00000007 0001 00000001 00000000 00000000 00000000 00000000", 1},
    };
    begin_ipfix(&s);
    put_data(&s, 3,
             "0104 0007 0001 012e 0004 0130 0002 0131 0004 0132 0004 0135 0004 0136 0004 0137 "
             "0004");
    TEMPLATE(&s, 256, E(302, 8));
    send(&s);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char data[20];
        ipfix(&s, 0);
        put_data(&s, 260, rows[i].options);
        (void)snprintf(data, sizeof(data), "%016x", (unsigned)i + 1);
        ONE(&s, 256, data);
        assert_int_equal(s.records[i].flow.sampling, rows[i].rate);
    }
    end(&s);
}

/* IOS: 305 alone is one of so many; of the interface where there is no sampler; Juniper: the only
 * one there is goes for all */
static void test_sampling_without_selector(void **state) {
    (void)state;
    Scene s;
    begin(&s, 0);
    v9(&s, 0);
    put_data(&s, 1, "0100 0004 0008 0002 0004 0022 0004 0023 0001 000000"); /* interface | 34 35 */
    put_data(&s, 256, "00000003 000003e8 02 00000004 00000064 02");
    TEMPLATE(&s, 300, E(10, 4), E(14, 4));
    ONE(&s, 300, "00000003 00000009 00000004 00000009 00000005 00000009");
    assert_int_equal(s.records[0].flow.sampling, 1000);
    assert_int_equal(s.records[1].flow.sampling, 100);
    assert_int_equal(s.records[2].flow.sampling, 0);
    s.source.address.bytes[3] = 99;
    ipfix(&s, 0);
    put_data(&s, 3, "0200 0003 0001 0090 0004 0022 0004 00a0 0008"); /* process | 34 160 */
    put_data(&s, 512, "00000001 00000032 0000018bcfe56800");
    TEMPLATE(&s, 300, E(10, 4), E(22, 4));
    ONE(&s, 300, "00000003 00000010");
    assert_int_equal(s.records[3].flow.sampling, 50);
    assert_int_equal(s.records[3].flow.first_ms, UINT64_C(1000) * NOW_S + 16);
    end(&s);
}

static void domain(Scene *s, uint8_t id) {
    s->message.bytes[15] = id;
}

/* RFC 7011 section 3.1: domain 0 is none in particular; what it says goes for the others, unless
 * they say otherwise */
static void test_domain_0_speaks_for_all(void **state) {
    (void)state;
    Scene s;
    begin_ipfix(&s);
    domain(&s, 0);
    put_data(&s, 3, "0200 0004 0001 0090 0004 0022 0004 00a0 0008 000a 0004");
    put_data(&s, 512, "00000001 00000032 0000018bcfe56800 00000000");
    put_data(&s, 3, "0201 0002 0001 000a 0004 0052 0004");
    put_data(&s, 513, "00000003 65746830");
    send(&s);
    for (uint8_t id = 7; id < 9; id++) {
        ipfix(&s, 0);
        domain(&s, id);
        if (id == 8) {
            put_data(&s, 3, "0200 0002 0001 0090 0004 0022 0004");
            put_data(&s, 512, "00000001 00000010");
        }
        TEMPLATE(&s, 300, E(10, 4), E(22, 4));
        ONE(&s, 300, "00000003 00000010");
    }
    assert_int_equal(s.records[0].flow.sampling, 50);
    assert_int_equal(s.records[0].flow.first_ms, UINT64_C(1000) * NOW_S + 16);
    assert_string_equal(s.names[0], "eth0");
    assert_int_equal(s.records[1].flow.sampling, 16);
    end(&s);
}

/* a flow that says how long it was, beside one of its ends */
static void test_durations(void **state) {
    (void)state;
    Scene s;
    begin_ipfix(&s);
    TEMPLATE(&s, 256, E(152, 8), E(161, 4));
    TEMPLATE(&s, 257, E(162, 4), E(153, 8));
    TEMPLATE(&s, 258, E(152, 8), E(153, 8), E(161, 4));
    TEMPLATE(&s, 259, E(161, 4));
    TEMPLATE(&s, 260, E(158, 4), E(159, 4));
    put_data(&s, 256, "0000018bcfe56800 000003e8");
    put_data(&s, 257, "000f4240 0000018bcfe56800");
    put_data(&s, 258, "0000018bcfe56800 0000018bcfe56801 000003e8");
    put_data(&s, 259, "000003e8");
    put_data(&s, 260, "000f4240 000003e8");
    send(&s);
    const uint64_t now_ms = UINT64_C(1000) * NOW_S;
    assert_int_equal(s.records[0].flow.last_ms, now_ms + 1000);
    assert_int_equal(s.records[1].flow.first_ms, now_ms - 1000);
    assert_int_equal(s.records[2].flow.last_ms, now_ms + 1);
    assert_false(collect_seen(&s.records[3], COLLECT_FIRST_MS));
    assert_false(collect_seen(&s.records[3], COLLECT_LAST_MS));
    assert_int_equal(s.records[4].flow.first_ms, now_ms - 1000);
    assert_int_equal(s.records[4].flow.last_ms, now_ms - 1);
    end(&s);
}

/* RFC 7133: the packet itself, of IOS-XR and others; the counts are those of its frame */
static void test_frame_sections(void **state) {
    (void)state;
    Scene s;
    static const char frame[] = "02000000000b 02000000000a 8100 0064 0800"
                                "45080028 00000000 40060000 c0000201 c6336402"
                                "9c40 01bb 00000001 00000001 5012 0000 0000 0000";
    char data[256];
    begin_ipfix(&s);
    TEMPLATE(&s, 256, E(10, 4), E(312, 2), E(315, 0xffff));
    TEMPLATE(&s, 257, E(408, 2), E(315, 0xffff));
    TEMPLATE(&s, 258, E(313, 0xffff));
    (void)snprintf(data, sizeof(data), "00000003 05dc 3a %s", frame);
    put_data(&s, 256, data);
    (void)snprintf(data, sizeof(data), "0002 3a %s", frame); /* of 802.11, which it says */
    put_data(&s, 257, data);
    put_data(&s, 258, "1c 4500001c 00000000 40110000 c0000201 c6336402 0035 0036 0008 0000");
    send(&s);
    const CollectRecord *record = &s.records[0];
    assert_int_equal(s.n, 3);
    assert_true(is_address(&record->flow.src_ip, "192.0.2.1"));
    assert_int_equal(record->flow.dst_port, 443);
    assert_int_equal(record->flow.tcp_flags, 0x12);
    assert_int_equal(record->flow.vlan, 100);
    assert_int_equal(record->flow.octets, 1500);
    assert_int_equal(record->flow.packets, 1);
    assert_int_equal(record->l3_octets, 40);
    assert_true(record->from_frame_section);
    assert_int_equal(s.records[1].flow.src_ip.family, 0);
    assert_int_equal(s.records[2].flow.src_port, 53);
    end(&s);
}

/* names beside flows; ntop's and PAN-OS's numbers in v9 */
static void test_vendors_numbers_in_v9(void **state) {
    (void)state;
    Scene s;
    begin(&s, 0);
    v9(&s, 0);
    TEMPLATE(&s, 256, E(8, 4), E(57590, 2), E(57591, 8), E(56701, 8), E(56702, 6));
    ONE(&s, 256, "c0000201 005b 544c532e58000000 736d7470 00000000 616c69636500");
    assert_int_equal(s.records[0].flow.app_id, 91);
    assert_int_equal(s.records[0].flow.app_name.size, 5);
    assert_int_equal(s.records[0].app_name.size, 4);
    assert_int_equal(s.records[0].user_name.size, 6);
    end(&s);
}

/* --keep-unknown */
static void test_unknown_is_kept(void **state) {
    (void)state;
    Scene s;
    Buffer text = {0};
    begin(&s, 0);
    collector_free(s.collector);
    const CollectConfig config = {
        .counters = s.counters, .record = keep, .userdata = &s, .keep_unknown = true};
    assert_int_equal(collector_new(&s.collector, &config), 0);
    ipfix(&s, 0);
    TEMPLATE(&s, 256, P(7, 0xffff, 4242), E(1, 4), E(210, 3), P(8, 2, 4242), E(8, 3), E(4, 1));
    ONE(&s, 256, "06 6162632f6400 0000000a 000000 abcd c00002 06");
    assert_int_equal(s.records[0].flow.octets, 10);
    assert_int_equal(s.records[0].flow.protocol, 6);
    assert_int_equal(s.records[0].n_unknown, 3);
    Json json = json_make(&text);
    collect_record_write_json(&s.records[0], &json);
    assert_non_null(strstr(buffer_text(&text),
                           "\"unknown\":[{\"pen\":4242,\"element\":7,\"value\":\"abc/d\"},"
                           "{\"pen\":4242,\"element\":8,\"value\":\"0xabcd\"},"
                           "{\"pen\":0,\"element\":8,\"value\":\"0xc00002\"}]"));
    buffer_deinit(&text);
    end(&s);
}

/* records of one template, of which an earlier one said more: nothing of it is left in the next */
static void test_nothing_is_left_over(void **state) {
    (void)state;
    Scene s;
    begin_ipfix(&s);
    TEMPLATE(&s, 256, E(8, 4), E(27, 16), E(9, 1), E(29, 1), E(70, 3), E(32, 2));
    TEMPLATE(&s, 257, E(371, 0xffff), E(1, 0xffff));
    TEMPLATE(&s, 258, E(7, 2), E(11, 2));
    put_data(&s, 256,
             "c0000201 00000000000000000000000000000000 18 00 000641 0800"
             "00000000 20010db8000000000000000000000001 00 40 000000 0000");
    put_data(&s, 257, "01 61 01 05   00 00");
    put_data(&s, 258, "0001 0002");
    send(&s);
    for (uint32_t i = 0; i < 40; i++) { /* more than are read at a time */
        ipfix(&s, 0);
        put_data(&s, 258, "0001 0002");
        s.n = 5;
        send(&s);
        assert_int_equal(s.records[5].flow.octets, 0);
        assert_int_equal(s.records[5].flow.src_ip.family, 0);
    }
    assert_true(is_address(&s.records[1].flow.src_ip, "2001:db8::1"));
    assert_int_equal(s.records[1].src_mask, 64);
    assert_int_equal(s.records[1].mpls_labels.values[0], 0);
    assert_int_equal(s.records[1].flow.icmp_type, 0);
    assert_int_equal(s.records[3].user_name.size, 0);
    assert_int_equal(s.records[3].flow.octets, 0);
    end(&s);
}

/* elements of ntop: latencies in milliseconds, and the way back in types 23 and 24, which are of
 * the same direction in every other template (RFC 3954 section 8) */
static void test_elements_of_ntop(void **state) {
    (void)state;
    Scene s;
    begin(&s, 0);
    v9(&s, 0);
    TEMPLATE(&s, 256, E(1, 4), E(2, 4), E(23, 4), E(24, 4), E(57595, 4), E(57596, 4), E(57597, 4),
             E(57888, 2), E(57660, 8));
    put_data(&s, 256,
             "00000064 00000002 000000c8 00000003 00000005 00000007 ffffffff 1000"
             "6578616d706c6500");
    TEMPLATE(&s, 257, E(1, 4), E(2, 4), E(23, 4), E(24, 4));
    put_data(&s, 257, "00000064 00000002 000000c8 00000003");
    send(&s);
    assert_int_equal(s.n, 2);
    const FlowRecord *flow = &s.records[0].flow;
    assert_int_equal(flow->octets, 100);
    assert_int_equal(flow->rev_octets, 200);
    assert_int_equal(flow->rev_packets, 3);
    assert_int_equal(flow->client_latency_us, 5000);
    assert_int_equal(flow->server_latency_us, 7000);
    assert_int_equal(flow->app_latency_us, UINT32_MAX);
    assert_int_equal(flow->tcp_window_max, 4096);
    assert_int_equal(flow->server_name.size, 7);
    assert_int_equal(s.records[1].flow.rev_octets, 0);
    assert_int_equal(s.records[1].out_octets, 200);
    ipfix(&s, 0);
    TEMPLATE(&s, 300, E(1, 4), P(123, 4, 35632), P(14, 4, 32473));
    put_data(&s, 300, "00000001 00000005 00001389"); /* our own is finer, and goes before */
    send(&s);
    assert_int_equal(s.records[2].flow.client_latency_us, 5001);
    end(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reduced_sizes),
        cmocka_unit_test(test_wide_numbers),
        cmocka_unit_test(test_variable_lengths_of_anything),
        cmocka_unit_test(test_structured_data_is_stepped_over),
        cmocka_unit_test(test_reverse),
        cmocka_unit_test(test_nsel),
        cmocka_unit_test(test_nat_events),
        cmocka_unit_test(test_mpls),
        cmocka_unit_test(test_sampling_algorithms),
        cmocka_unit_test(test_sampling_without_selector),
        cmocka_unit_test(test_domain_0_speaks_for_all),
        cmocka_unit_test(test_durations),
        cmocka_unit_test(test_frame_sections),
        cmocka_unit_test(test_vendors_numbers_in_v9),
        cmocka_unit_test(test_elements_of_ntop),
        cmocka_unit_test(test_unknown_is_kept),
        cmocka_unit_test(test_nothing_is_left_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
