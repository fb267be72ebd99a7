/* SPDX-License-Identifier: Apache-2.0 */

#include "collect/test-messages.h"

/* --- templates --- */

static void test_redefined_and_withdrawn(void **state) {
    (void)state;
    Scene s;
    begin(&s, 0);
    ipfix(&s, 0);
    TEMPLATE(&s, 256, E(1, 4), E(2, 4));
    put_data(&s, 256, "00000064 00000002");
    send(&s);
    ipfix(&s, 1); /* the same id, the other way round and narrower */
    TEMPLATE(&s, 256, E(2, 1), E(1, 2));
    put_data(&s, 256, "03 0100");
    send(&s);
    assert_int_equal(s.n, 2);
    assert_int_equal(s.records[0].flow.octets, 100);
    assert_int_equal(s.records[1].flow.packets, 3);
    assert_int_equal(s.records[1].flow.octets, 256);
    ipfix(&s, 2);
    put_data(&s, 2, "0100 0000");
    put_data(&s, 256, "03 0100");
    send(&s);
    assert_int_equal(s.n, 2);
    assert_int_equal(count(&s, COLLECT_COUNT_HELD), 1);
    assert_int_equal(count(&s, COLLECT_COUNT_SEQUENCE_LOST), 0);
    end(&s);
}

static void test_held_within_bounds(void **state) {
    (void)state;
    Scene s;
    begin(&s, 10);
    ipfix(&s, 0);
    put_data(&s, 256, "0000000a");
    put_data(&s, 256, "0000000b");
    put_data(&s, 256, "0000000c"); /* one too many */
    send(&s);
    assert_int_equal(count(&s, COLLECT_COUNT_HELD), 2);
    assert_int_equal(count(&s, COLLECT_COUNT_HELD_FULL), 1);
    s.source.port = 4321; /* the exporter is the same */
    ipfix(&s, 0);
    TEMPLATE(&s, 256, E(1, 4));
    send(&s);
    assert_int_equal(s.n, 2);
    assert_int_equal(s.records[0].flow.octets, 10);
    assert_int_equal(s.records[1].flow.octets, 11);
    assert_int_equal(count(&s, COLLECT_COUNT_HELD), 0);
    ipfix(&s, 0);
    put_data(&s, 300, "0000000a");
    send(&s);
    collector_tick(s.collector, s.source.received_ms + 59999);
    assert_int_equal(count(&s, COLLECT_COUNT_HELD), 1);
    collector_tick(s.collector, s.source.received_ms + 70000);
    assert_int_equal(count(&s, COLLECT_COUNT_HELD), 0);
    assert_int_equal(count(&s, COLLECT_COUNT_NO_TEMPLATE), 1);
    end(&s);
}

/* one that sends no template does not take the room of the others */
static void test_held_of_one_exporter(void **state) {
    (void)state;
    Scene s;
    begin(&s, 0);
    collector_free(s.collector);
    const CollectConfig config = {.held_bytes = 12,
                                  .held_exporter_bytes = 8,
                                  .counters = s.counters,
                                  .record = keep,
                                  .userdata = &s};
    assert_int_equal(collector_new(&s.collector, &config), 0);
    for (uint32_t sequence = 0; sequence < 4; sequence++) {
        ipfix(&s, sequence);
        s.message.bytes[15] = (uint8_t)sequence; /* in domains of its own, too */
        put_data(&s, 256, "0000000a");
        send(&s);
    }
    assert_int_equal(count(&s, COLLECT_COUNT_HELD), 2);
    assert_int_equal(count(&s, COLLECT_COUNT_HELD_FULL), 2);
    s.source.address.bytes[3] = 8;
    ipfix(&s, 0);
    put_data(&s, 256, "0000000b");
    send(&s);
    assert_int_equal(count(&s, COLLECT_COUNT_HELD), 3);
    ipfix(&s, 0); /* what is let go makes room */
    TEMPLATE(&s, 256, E(1, 4));
    send(&s);
    assert_int_equal(s.n, 1);
    ipfix(&s, 0);
    put_data(&s, 257, "0000000b");
    send(&s);
    assert_int_equal(count(&s, COLLECT_COUNT_HELD), 3);
    end(&s);
}

/* another domain, another stream: other templates */
static void test_templates_are_kept_apart(void **state) {
    (void)state;
    Scene s;
    begin(&s, 0);
    ipfix(&s, 0);
    TEMPLATE(&s, 256, E(1, 4));
    send(&s);
    ipfix(&s, 0);
    put_data(&s, 256, "00000001");
    s.message.bytes[15] = 98;
    send(&s);
    s.source.stream = 5;
    ipfix(&s, 0);
    put_data(&s, 256, "00000001");
    send(&s);
    assert_int_equal(s.n, 0);
    assert_int_equal(count(&s, COLLECT_COUNT_HELD), 2);
    collector_end_stream(s.collector, &s.source);
    assert_int_equal(count(&s, COLLECT_COUNT_NO_TEMPLATE), 1);
    end(&s);
}

/* --- elements --- */

static void test_what_is_unknown_is_stepped_over(void **state) {
    (void)state;
    Scene s;
    begin(&s, 0);
    ipfix(&s, 0); /* an enterprise's, a list, a string, a number of 3 bytes, the reverse */
    TEMPLATE(&s, 256, P(7, 0xffff, 4242), E(291, 0xffff), E(82, 9), E(2, 3), P(1, 2, 29305),
             E(460, 0xffff));
    put_data(&s, 256,
             "03 616263 07 03000100040102 000000000000000000 010000 0009 ff0002 6869"
             "00 00 000000000000000000 000002 0001 00");
    send(&s);
    assert_int_equal(s.n, 2);
    assert_int_equal(s.records[0].flow.packets, 65536);
    assert_int_equal(s.records[0].flow.rev_octets, 9);
    assert_int_equal(s.records[1].flow.packets, 2);
    end(&s);
}

static void test_addresses_of_both_families(void **state) {
    (void)state;
    Scene s;
    begin(&s, 0);
    ipfix(&s, 0);
    TEMPLATE(&s, 256, E(8, 4), E(27, 16), E(60, 1));
    put_data(&s, 256,
             "c0000201 20010db8000000000000000000000001 04"
             "c0000201 20010db8000000000000000000000001 06"
             "00000000 20010db8000000000000000000000001 06");
    TEMPLATE(&s, 257, E(27, 16), E(8, 4));
    put_data(&s, 257, "00000000000000000000000000000000 c0000202");
    put_data(&s, 257, "20010db8000000000000000000000002 00000000");
    send(&s);
    assert_int_equal(s.n, 5);
    assert_true(is_address(&s.records[0].flow.src_ip, "192.0.2.1"));
    assert_true(is_address(&s.records[1].flow.src_ip, "2001:db8::1"));
    assert_true(is_address(&s.records[2].flow.src_ip, "2001:db8::1"));
    assert_true(is_address(&s.records[3].flow.src_ip, "192.0.2.2"));
    assert_true(is_address(&s.records[4].flow.src_ip, "2001:db8::2"));
    end(&s);
}

/* one of the two is 0, whichever stands first */
static void test_numbers_of_both_families(void **state) {
    (void)state;
    Scene s;
    begin(&s, 0);
    ipfix(&s, 0);
    TEMPLATE(&s, 256, E(9, 1), E(29, 1), E(178, 1), E(176, 1));
    put_data(&s, 256, "18 00 87 00   00 40 00 08");
    send(&s);
    assert_int_equal(s.records[0].src_mask, 24);
    assert_int_equal(s.records[0].flow.icmp_type, 135);
    assert_int_equal(s.records[1].src_mask, 64);
    assert_int_equal(s.records[1].flow.icmp_type, 8);
    end(&s);
}

/* an outer header and an inner one: the inner is the flow */
static void test_two_layers(void **state) {
    (void)state;
    Scene s;
    begin(&s, 0);
    ipfix(&s, 0);
    TEMPLATE(&s, 256, E(27, 16), E(4, 1), E(7, 2), E(8, 4), E(4, 1), E(7, 2), E(70, 3), E(71, 3));
    put_data(&s, 256, "20010db8000000000000000000000001 04 0000 c0000201 11 0035 000640 000011");
    send(&s);
    assert_int_equal(s.n, 1);
    assert_true(is_address(&s.records[0].flow.src_ip, "192.0.2.1"));
    assert_int_equal(s.records[0].flow.protocol, 17);
    assert_int_equal(s.records[0].flow.src_port, 53);
    assert_int_equal(s.records[0].mpls_labels.n, 2);
    assert_int_equal(s.records[0].mpls_labels.values[0], 100);
    end(&s);
}

static void test_ranks(void **state) {
    (void)state;
    Scene s;
    begin(&s, 0);
    ipfix(&s, 0); /* what went out counts only where nothing says what came in */
    TEMPLATE(&s, 256, E(23, 4), E(1, 4));
    TEMPLATE(&s, 257, E(23, 4));
    TEMPLATE(&s, 258, E(231, 4), E(232, 4), E(85, 4));
    put_data(&s, 256, "00000005 00000007");
    put_data(&s, 257, "00000005");
    put_data(&s, 258, "00000001 00000002 00000003");
    send(&s);
    assert_int_equal(s.records[0].flow.octets, 7);
    assert_int_equal(s.records[0].out_octets, 5);
    assert_int_equal(s.records[1].flow.octets, 5);
    assert_int_equal(s.records[2].flow.octets, 3);
    assert_int_equal(s.records[2].flow.rev_octets, 2);
    end(&s);
}

/* --- options --- */

static void test_options(void **state) {
    (void)state;
    Scene s;
    begin(&s, 0);
    ipfix(&s, 0);
    put_data(&s, 3, "0104 0003 0001 012e 0004 0131 0004 0132 0004"); /* 302 | 305 306 */
    put_data(&s, 260, "00000001 00000001 00000063  00000002 0000000a 0000005a");
    put_data(&s, 3, "0105 0003 0001 000a 0004 0052 ffff 00a0 0008"); /* 10 | 82 160 */
    put_data(&s, 261, "00000003 04 65746830 0000018bcfe56800");      /* started at NOW_S */
    TEMPLATE(&s, 256, E(302, 4), E(10, 4), E(22, 4));
    put_data(&s, 256, "00000001 00000003 000003e8  00000002 00000004 000007d0");
    send(&s);
    assert_int_equal(s.n, 2);
    assert_int_equal(s.records[0].flow.sampling, 100);
    assert_int_equal(s.records[1].flow.sampling, 10);
    assert_string_equal(s.names[0], "eth0");
    assert_string_equal(s.names[1], "");
    assert_int_equal(s.records[0].flow.first_ms, UINT64_C(1000) * NOW_S + 1000);
    assert_int_equal(count(&s, COLLECT_COUNT_OPTIONS), 3);
    end(&s);
}

/* --- numbers, lengths --- */

static void test_sequence(void **state) {
    (void)state;
    Scene s;
    begin(&s, 0);
    /* two records each; ten lost; two of them late; began anew */
    const uint32_t sequences[] = {0xfffffffe, 0, 12, 5, 0};
    for (size_t i = 0; i < 5; i++) {
        ipfix(&s, sequences[i]);
        TEMPLATE(&s, 256, E(1, 4));
        put_data(&s, 256, "00000001 00000002");
        send(&s);
    }
    assert_int_equal(s.n, 10);
    assert_int_equal(count(&s, COLLECT_COUNT_SEQUENCE_LOST), 10);
    assert_int_equal(count(&s, COLLECT_COUNT_SEQUENCE_LATE), 2);
    assert_int_equal(count(&s, COLLECT_COUNT_SEQUENCE_RESETS), 1);
    end(&s);
}

static void test_malformed(void **state) {
    (void)state;
    Scene s;
    begin(&s, 0);
    assert_int_equal(collector_take(s.collector, &s.source, (const uint8_t *)"\0\x0a", 2), 0);
    assert_int_equal(collector_take(s.collector, &s.source, (const uint8_t *)"\0\x08zz", 4), 0);
    assert_int_equal(collector_take(s.collector, &s.source, NULL, 0), 0);
    assert_int_equal(count(&s, COLLECT_MALFORMED_HEADER), 1);
    assert_int_equal(count(&s, COLLECT_MALFORMED_VERSION), 2);
    ipfix(&s, 0);
    put_data(&s, 2, "0100 0001 0001 0000"); /* a record of no bytes */
    put_data(&s, 5, "");
    TEMPLATE(&s, 257, E(82, 0xffff));
    put_data(&s, 257, "05 6162"); /* beyond the set */
    TEMPLATE(&s, 256, E(1, 4));
    put_data(&s, 256, "00000001 0000"); /* and padding */
    send(&s);
    assert_int_equal(count(&s, COLLECT_MALFORMED_TEMPLATE), 1);
    assert_int_equal(count(&s, COLLECT_MALFORMED_SET), 1);
    assert_int_equal(count(&s, COLLECT_MALFORMED_RECORD), 1);
    assert_int_equal(s.n, 1);
    end(&s);
}

/* many made-up senders: there is a bound, and the one that goes on sending keeps its templates */
static void test_many_exporters(void **state) {
    (void)state;
    Scene s;
    begin(&s, 0);
    for (uint32_t i = 0; i < 2 * COLLECT_EXPORTERS_MAX; i++) {
        s.source.address.bytes[1] = (uint8_t)(i >> 8);
        s.source.address.bytes[2] = (uint8_t)i;
        s.source.received_ms++;
        ipfix(&s, 0);
        TEMPLATE(&s, 256, E(1, 4));
        send(&s);
    }
    assert_int_equal(count(&s, COLLECT_COUNT_EXPORTERS), COLLECT_EXPORTERS_MAX);
    assert_int_equal(count(&s, COLLECT_COUNT_EXPORTERS_LET_GO), COLLECT_EXPORTERS_MAX);
    end(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_redefined_and_withdrawn),
        cmocka_unit_test(test_held_within_bounds),
        cmocka_unit_test(test_held_of_one_exporter),
        cmocka_unit_test(test_templates_are_kept_apart),
        cmocka_unit_test(test_what_is_unknown_is_stepped_over),
        cmocka_unit_test(test_addresses_of_both_families),
        cmocka_unit_test(test_numbers_of_both_families),
        cmocka_unit_test(test_two_layers),
        cmocka_unit_test(test_ranks),
        cmocka_unit_test(test_options),
        cmocka_unit_test(test_sequence),
        cmocka_unit_test(test_malformed),
        cmocka_unit_test(test_many_exporters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
