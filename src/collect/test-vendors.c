/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Templates as vendors' documentation describes them, filled in by hand: enterprise elements that
 * no field is made of, among those that are known. Whatever they hold, the record beside them is
 * read; with --keep-unknown they stand in it as they came.
 */

#include "collect/test-messages.h"

static void begin_as(Scene *s, bool keep_unknown) {
    begin(s, 0);
    collector_free(s->collector);
    const CollectConfig config = {
        .counters = s->counters, .record = keep, .userdata = s, .keep_unknown = keep_unknown};
    assert_int_equal(collector_new(&s->collector, &config), 0);
    ipfix(s, 0);
}

static void nothing_wrong(const Scene *s) {
    for (int id = COLLECT_MALFORMED_HEADER; id <= COLLECT_MALFORMED_STREAM; id++)
        assert_int_equal(count(s, id), 0);
    assert_int_equal(count(s, COLLECT_COUNT_HELD) + count(s, COLLECT_COUNT_NO_TEMPLATE), 0);
}

static bool has_bytes(const CollectRecord *record, uint32_t pen, uint16_t element,
                      const char *value, size_t size) {
    for (uint32_t i = 0; i < record->n_unknown; i++) {
        const CollectUnknown *u = &record->unknown[i];
        if (u->pen == pen && u->element == element)
            return u->size == size && (!size || memcmp(u->bytes, value, size) == 0);
    }
    return false;
}

static bool has_unknown(const CollectRecord *record, uint32_t pen, uint16_t element,
                        const char *value) {
    return has_bytes(record, pen, element, value, strlen(value));
}

/* fixed, variable, empty, and of the long form of a length, between what is known */
static void test_each_enterprise(void **state) {
    (void)state;
    static const struct {
        const char *vendor;
        uint32_t pen;
    } rows[] = {{"Cisco", 9},         {"Nokia", 637},      {"Extreme", 1916},
                {"Huawei", 2011},     {"Juniper", 2636},   {"Enterasys", 5624},
                {"Citrix", 5951},     {"VMware", 6876},    {"Barracuda", 10704},
                {"Fortinet", 12356},  {"Aruba", 14823},    {"MikroTik", 14988},
                {"Palo Alto", 25461}, {"Ubiquiti", 41112}, {"largest", UINT32_MAX}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        for (int keeps = 0; keeps < 2; keeps++) {
            Scene s;
            begin_as(&s, keeps);
            const PlanField fields[] = {{.element = 8, .length = 4},
                                        {.element = 1, .length = 4, .pen = rows[i].pen},
                                        {.element = 2, .length = 0xffff, .pen = rows[i].pen},
                                        {.element = 12, .length = 4},
                                        {.element = 32767, .length = 0xffff, .pen = rows[i].pen},
                                        {.element = 1, .length = 8},
                                        {.element = 4, .length = 0xffff, .pen = rows[i].pen},
                                        {.element = 2, .length = 4}};
            put_template(&s, 256, fields, sizeof(fields) / sizeof(fields[0]));
            put_data(
                &s, 256,
                "c0000201 61626364 00 c6336402 ff0005 68656c6c6f 0000000000000064 01 21 00000002"
                "c0000203 00000000 03 666f6f c6336404 00 0000000000000065 ff0000 00000003");
            send(&s);
            nothing_wrong(&s);
            assert_int_equal(s.n, 2);
            assert_true(is_address(&s.records[0].flow.src_ip, "192.0.2.1"));
            assert_true(is_address(&s.records[1].flow.dst_ip, "198.51.100.4"));
            assert_int_equal(s.records[0].flow.octets, 100);
            assert_int_equal(s.records[1].flow.octets, 101);
            assert_int_equal(s.records[1].flow.packets, 3);
            assert_int_equal(s.records[0].n_unknown, keeps ? 4 : 0);
            if (keeps) {
                assert_true(has_unknown(&s.records[0], rows[i].pen, 1, "abcd"));
                assert_true(has_unknown(&s.records[0], rows[i].pen, 2, ""));
                assert_true(has_unknown(&s.records[0], rows[i].pen, 32767, "hello"));
                assert_true(has_unknown(&s.records[0], rows[i].pen, 4, "!"));
            }
            end(&s);
        }
}

/* AppFlow: several templates in a message, of transactions whose texts may be empty; a record of
 * each side of the connection through the load balancer */
static void test_citrix_appflow(void **state) {
    (void)state;
    Scene s;
    begin_as(&s, true);
    /* round-trip time, transaction, request URL, flags, connection, method, host, agent */
    TEMPLATE(&s, 256, E(8, 4), E(12, 4), E(7, 2), E(11, 2), E(4, 1), E(2, 8), E(1, 8), E(6, 1),
             E(154, 8), E(155, 8), P(128, 4, 5951), P(129, 4, 5951), P(130, 0xffff, 5951),
             P(132, 8, 5951), P(133, 4, 5951), P(141, 0xffff, 5951), P(142, 0xffff, 5951),
             P(143, 0xffff, 5951));
    /* the answer: status, length */
    TEMPLATE(&s, 257, E(8, 4), E(12, 4), E(7, 2), E(11, 2), E(4, 1), E(2, 8), E(1, 8),
             P(144, 2, 5951), P(145, 8, 5951), P(129, 4, 5951));
    TEMPLATE(&s, 258, P(134, 1, 5951), P(136, 8, 5951), P(135, 0xffff, 5951)); /* syslog */
    put_data(&s, 256,
             "c0000201 c6336402 c350 0050 06 0000000000000003 00000000000000c8 1b"
             "e8fe6c00 00000000 e8fe6c01 80000000"
             "00000005 00000007 0b 2f696e6465782e68746d6c 0000000000000001 00000009"
             "03 474554 0b 6578616d706c652e636f6d 00");
    put_data(&s, 257,
             "c6336402 c0000201 0050 c350 06 0000000000000004 0000000000000400"
             "00c8 0000000000000380 00000007");
    put_data(&s, 258, "86 0000018bcfe56800 06 7570202833 29");
    send(&s);
    nothing_wrong(&s);
    assert_int_equal(s.n, 3);
    assert_true(is_address(&s.records[0].flow.src_ip, "192.0.2.1"));
    assert_int_equal(s.records[0].flow.octets, 200);
    assert_int_equal(s.records[0].flow.last_ms - s.records[0].flow.first_ms, 1500);
    assert_true(has_unknown(&s.records[0], 5951, 130, "/index.html"));
    assert_true(has_unknown(&s.records[0], 5951, 143, ""));
    assert_int_equal(s.records[1].flow.octets, 1024);
    assert_int_equal(s.records[1].flow.src_port, 80);
    assert_true(has_unknown(&s.records[2], 5951, 135, "up (3)"));
    end(&s);
}

/* a virtual switch that encapsulates: the outer flow is the flow, the tenant's is beside it */
static void test_vmware_tenants(void **state) {
    (void)state;
    for (int keeps = 0; keeps < 2; keeps++) {
        Scene s;
        begin_as(&s, keeps);
        TEMPLATE(&s, 256, E(8, 4), E(12, 4), E(1, 8), E(2, 8), E(152, 8), E(153, 8), E(7, 2),
                 E(11, 2), E(10, 4), E(14, 4), E(351, 8), E(4, 1), E(136, 1), E(6, 1), E(5, 1),
                 E(61, 1), P(880, 1, 6876), P(881, 4, 6876), P(882, 4, 6876), P(886, 2, 6876),
                 P(887, 2, 6876), P(888, 2, 6876), P(889, 1, 6876), P(890, 2, 6876));
        put_data(&s, 256,
                 "c0000201 c6336402 0000000000000190 0000000000000004"
                 "0000018bcfe56000 0000018bcfe567d0 d903 12b5 00000005 00000006 0100000000001389"
                 "11 02 00 00 01"
                 "06 0a000001 0a000002 c000 0016 0001 01 0002");
        TEMPLATE(&s, 257, E(8, 4), E(12, 4), E(1, 8), P(950, 4, 6876), P(951, 16, 6876),
                 P(952, 4, 6876), P(953, 0xffff, 6876), E(2, 8)); /* rule, machine, its port */
        put_data(&s, 257,
                 "0a000001 0a000002 00000000000001f4 000003ec 00112233445566778899aabbccddeeff"
                 "00000001 00 0000000000000005");
        send(&s);
        nothing_wrong(&s);
        assert_int_equal(s.n, 2);
        const FlowRecord *flow = &s.records[0].flow;
        assert_true(is_address(&flow->src_ip, "192.0.2.1"));
        assert_int_equal(flow->protocol, 17);
        assert_int_equal(flow->dst_port, 4789);
        assert_int_equal(flow->octets, 400);
        assert_int_equal(flow->end_reason, 2);
        assert_int_equal(flow->last_ms - flow->first_ms, 2000);
        assert_int_equal(s.records[0].direction, 1);
        assert_int_equal(s.records[1].flow.octets, 500);
        assert_int_equal(s.records[1].flow.packets, 5);
        if (keeps) {
            assert_true(has_bytes(&s.records[0], 6876, 881, "\x0a\0\0\x01", 4));
            assert_true(has_bytes(&s.records[0], 6876, 887, "\0\x16", 2));
            assert_true(has_unknown(&s.records[1], 6876, 953, ""));
        }
        end(&s);
    }
}

/* updates of a session that goes on, both ways in one record, totals from its begin */
static void test_barracuda_sessions(void **state) {
    (void)state;
    Scene s;
    begin_as(&s, false);
    TEMPLATE(&s, 256, P(1, 4, 10704), P(2, 1, 10704), P(3, 1, 10704), E(8, 4), E(12, 4), E(7, 2),
             E(11, 2), E(4, 1), P(4, 0xffff, 10704), P(5, 0xffff, 10704), E(161, 4), E(85, 8),
             E(86, 8), P(85, 8, 29305), P(86, 8, 29305), E(153, 8), P(6, 4, 10704),
             P(7, 0xffff, 10704));
    put_data(&s, 256,
             "6553f100 01 00 c0000201 c6336402 c350 01bb 06 04 4c414e31 05 4854545053"
             "000007d0 0000000000000064 0000000000000002 00000000000000c8 0000000000000003"
             "0000018bcfe567d0 00000000 00"
             "6553f13c 02 00 c0000201 c6336402 c350 01bb 06 04 4c414e31 05 4854545053"
             "0000ea60 00000000000003e8 0000000000000014 00000000000007d0 000000000000001e"
             "0000018bcfe65230 00000000 0e 53657373696f6e20636c6f736564");
    send(&s);
    nothing_wrong(&s);
    assert_int_equal(s.n, 2);
    assert_int_equal(s.records[0].flow.octets, 100);
    assert_int_equal(s.records[0].flow.rev_packets, 3);
    assert_int_equal(s.records[0].flow.last_ms - s.records[0].flow.first_ms, 2000);
    assert_int_equal(s.records[1].flow.octets, 1000);
    assert_int_equal(s.records[1].flow.rev_octets, 2000);
    assert_int_equal(s.records[1].flow.last_ms - s.records[1].flow.first_ms, 60000);
    end(&s);
}

/* SR OS: NAT of subscribers beside its service ids, MPLS and frames */
static void test_nokia_services(void **state) {
    (void)state;
    Scene s;
    begin_as(&s, false);
    TEMPLATE(&s, 256, E(230, 1), E(8, 4), E(225, 4), E(7, 2), E(227, 2), E(4, 1), E(323, 8),
             P(91, 2, 637), P(92, 2, 637), P(93, 0xffff, 637));
    put_data(&s, 256,
             "01 0a000001 cb007101 c000 0400 06 0000018bcfe56800 0064 00c8 07 737562732d3031"
             "02 0a000001 cb007101 c000 0400 06 0000018bcfe56bd0 0064 00c8 00");
    TEMPLATE(&s, 257, E(56, 6), E(80, 6), E(256, 2), E(58, 2), E(70, 3), E(71, 3), E(1, 8), E(2, 8),
             P(301, 4, 637));
    put_data(&s, 257,
             "02000000000a 02000000000b 8847 0064 000641 000c81 0000000000000064"
             "0000000000000001 00000007");
    send(&s);
    nothing_wrong(&s);
    assert_int_equal(s.n, 3);
    assert_int_equal(s.records[0].flow.nat_event, 1);
    assert_true(is_address(&s.records[0].flow.post_nat_src_ip, "203.0.113.1"));
    assert_int_equal(s.records[0].flow.post_nat_src_port, 1024);
    assert_int_equal(s.records[1].flow.nat_event, 2);
    assert_int_equal(s.records[1].event_ms - s.records[0].event_ms, 976);
    assert_int_equal(s.records[2].flow.vlan, 100);
    assert_int_equal(s.records[2].mpls_labels.n, 2);
    assert_int_equal(s.records[2].mpls_labels.values[0], 100);
    assert_int_equal(s.records[2].flow.octets, 100);
    end(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_enterprise), cmocka_unit_test(test_citrix_appflow),
        cmocka_unit_test(test_vmware_tenants),  cmocka_unit_test(test_barracuda_sessions),
        cmocka_unit_test(test_nokia_services),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
