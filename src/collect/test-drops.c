/* SPDX-License-Identifier: Apache-2.0 */

#include "collect/test-messages.h"

/* Ethernet, IPv4, UDP 5353 -> 53 */
#define FRAME                                                                                      \
    "02000000000b 02000000000a 0800"                                                               \
    "45000024 00000000 40110000 c0000201 c6336402"                                                 \
    "14e90035 00100000 0000000000000000"

static void sflow(Scene *s, uint32_t sequence, uint32_t samples) {
    buffer_clear(&s->message);
    put_hex(s, "00000005 00000001 cb007109 00000007");
    buffer_put_u32(&s->message, sequence);
    buffer_put_u32(&s->message, 3600000);
    buffer_put_u32(&s->message, samples);
}

/* of interfaces 3 and 4, the frame with 4 bytes removed */
static void put_discard(Scene *s, uint32_t reason) {
    Buffer *b = &s->message;
    put_hex(s, "00000005 00000068");
    put_hex(s, "00000001 00000000 00000003 00000000 00000003 00000004");
    buffer_put_u32(b, reason);
    put_hex(s, "00000001 00000001 00000040"); /* one record, a header */
    put_hex(s, "00000001 00000046 00000004 00000030");
    put_hex(s, FRAME);
    b->size -= 2; /* 50 bytes of the frame are 48 here */
}

static bool is_text(const FlowText *text, const char *expected) {
    return text->size == strlen(expected) &&
           (!text->size || memcmp(text->text, expected, text->size) == 0);
}

static void test_discarded_packets(void **state) {
    (void)state;
    static const struct {
        uint32_t reason;
        const char *name;
    } rows[] = {{0, "net_unreachable"}, {13, "comm_admin_prohibited"},
                {16, "unknown"},        {255, "unknown"},
                {256, "unknown"},       {257, "ttl_exceeded"},
                {258, "acl"},           {280, "mc_reverse_path_forwarding"},
                {303, "split_horizon"}, {304, "unknown"},
                {UINT32_MAX, "unknown"}};
    enum { N = sizeof(rows) / sizeof(rows[0]) };
    Scene s;
    begin(&s, 0);
    sflow(&s, 1, N);
    for (size_t i = 0; i < N; i++)
        put_discard(&s, rows[i].reason);
    send(&s);
    assert_int_equal(count(&s, COLLECT_COUNT_DISCARD_SAMPLES), N);
    assert_int_equal(count(&s, COLLECT_COUNT_FLOWS), N);
    assert_int_equal(count(&s, COLLECT_MALFORMED_SAMPLE), 0);
    assert_int_equal(s.n, N);
    for (size_t i = 0; i < N; i++) {
        const FlowRecord *flow = &s.records[i].flow;
        assert_true(is_text(&flow->drop_reason, rows[i].name));
        assert_int_equal(flow->forwarding_status, COLLECT_STATUS_DROPPED);
        assert_true(is_address(&flow->src_ip, "192.0.2.1"));
        assert_true(is_address(&flow->exporter_ip, "203.0.113.9"));
        assert_int_equal(flow->dst_port, 53);
        assert_int_equal(flow->packets, 1);
        assert_int_equal(flow->octets, 70);
        assert_int_equal(flow->input_if, 3);
        assert_int_equal(flow->output_if, 4);
        assert_int_equal(flow->sampling, 0);
        assert_true(collect_is_discard(&s.records[i]));
    }
    end(&s);
}

/* at every length: no flow out of half a sample's head, and one when only its packet is cut */
static void test_cut_discards(void **state) {
    (void)state;
    Scene s;
    begin(&s, 0);
    sflow(&s, 1, 1);
    put_discard(&s, 258);
    const size_t whole = s.message.size;
    for (size_t size = 28; size < whole; size++) {
        const uint64_t before = count(&s, COLLECT_MALFORMED_SAMPLE);
        assert_int_equal(collector_take(s.collector, &s.source, s.message.bytes, size), 0);
        assert_int_equal(count(&s, COLLECT_MALFORMED_SAMPLE), before + 1);
    }
    assert_int_equal(s.n, 0);
    buffer_patch_u16(&s.message, 28 + 8 + 32 + 10, 0x5000); /* its record says it is longer */
    send(&s);
    assert_int_equal(s.n, 1);
    assert_true(is_text(&s.records[0].flow.drop_reason, "acl"));
    end(&s);
}

/* of NetFlow and IPFIX: one byte, or four that mean the same */
static void test_forwarding_status(void **state) {
    (void)state;
    Scene s;
    begin(&s, 0);
    v9(&s, 0);
    TEMPLATE(&s, 256, E(1, 4), E(2, 4), E(89, 1));
    put_data(&s, 256,
             "00000064 00000001 40  00000064 00000001 81  00000064 00000001 c3"
             "00000064 00000001 83  00000064 00000001 bf 000000");
    send(&s);
    ipfix(&s, 0);
    TEMPLATE(&s, 256, E(1, 4), E(2, 4), E(89, 4));
    put_data(&s, 256, "00000064 00000001 00000080  00000064 00000001 00000040");
    send(&s);
    static const char *const expected[] = {"", "acl_deny", "", "unroutable", "", "unknown", ""};
    static const uint8_t status[] = {64, 129, 195, 131, 191, 128, 64};
    assert_int_equal(s.n, sizeof(status));
    for (size_t i = 0; i < s.n; i++) {
        assert_int_equal(s.records[i].flow.forwarding_status, status[i]);
        assert_true(is_text(&s.records[i].flow.drop_reason, expected[i]));
        assert_int_equal(collect_seen(&s.records[i], COLLECT_DROP_REASON), expected[i][0] != '\0');
        assert_false(collect_is_discard(&s.records[i]));
    }
    end(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_discarded_packets),
        cmocka_unit_test(test_cut_discards),
        cmocka_unit_test(test_forwarding_status),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
