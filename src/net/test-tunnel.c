/* SPDX-License-Identifier: Apache-2.0 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdbool.h>
#include <string.h>

#include "net/dissect.h"
#include "net/test-hex.h"

#define MACS_IN "0200000000bb 0200000000aa "
#define OUT4(total, protocol)                                                                      \
    "4500 " total " 0007 0000 40" protocol " 0000 ac100001 ac100002 " /* 172.16.0.1 to .2 */
#define OUT6(payload, next)                                                                        \
    "60000000 " payload " " next " 40 20010db80000000000000000000000f1 "                           \
    "20010db80000000000000000000000f2 "
#define IN4 "4500 0020 0001 0000 4011 0000 0a000001 0a000002 9c41 0035 000c 0000 61626364 "
#define IN6                                                                                        \
    "60000000 000c 11 40 20010db8000000000000000000000001 20010db8000000000000000000000002 "       \
    "9c41 0035 000c 0000 61626364 "
#define FRAME4         MACS_IN "0800 " IN4       /* 46 bytes */
#define UDPH(src, dst) src " " dst " 0000 0000 " /* length 0: to the end */

typedef struct Case {
    const char *frame; /* raw IP */
    const char *chain;
    uint32_t id;
    uint32_t inner_version;
} Case;

/* each carries 10.0.0.1:40001 to 10.0.0.2:53, or the same in IPv6, whose payload is abcd */
static const Case cases[] = {
    {OUT4("0038", "2f") "0000 0800 " IN4, "gre", 0, 4},
    {OUT4("0000", "2f") "a000 0800 0000 0000 00000007 " IN4, "gre", 7, 4},
    {OUT4("0000", "2f") "b000 86dd 0000 0000 00000008 00000001 " IN6, "gre", 8, 6},
    {OUT4("0000", "2f") "3000 6558 0000004d 00000001 " FRAME4, "gre", 77, 4},
    {OUT4("0000", "2f") "2000 6558 0000004d " FRAME4, "gre", 77, 4},
    {OUT4("0000", "2f") "2000 6558 00177207 " FRAME4, "nvgre", 0x1772, 4},
    {OUT4("0000", "2f") "0000 8847 00064140 " IN4, "gre", 0, 4},
    {OUT4("0000", "11") UDPH("c000", "1292") "2000 0800 00000006 " IN4, "gre", 6, 4},
    {OUT4("0000", "2f") "0000 883e 00000000 " IN4, "gre", 0, 4},
    {OUT4("0000", "2f") "3081 880b 0025 0009 00000001 00000000 ff03 0021 " IN4, "pptp", 9, 4},
    {OUT4("0000", "2f") "1000 88be 00000001 1000 0003 00000000 " FRAME4, "erspan", 3, 4},
    {OUT4("0000", "2f") "0000 88be " FRAME4, "erspan", 0, 4},
    {OUT4("0000", "2f") "1000 22eb 00000001 2000 0004 00000000 0000 0000 " FRAME4, "erspan", 4, 4},
    {OUT4("0000", "2f") "1000 22eb 00000001 2000 0004 00000000 0000 0001 0000000000000000 " FRAME4,
     "erspan", 4, 4},
    {OUT4("0034", "04") IN4, "ipip", 0, 4},
    {OUT4("0048", "29") IN6, "6in4", 0, 6},
    {OUT6("0020", "04") IN4, "4in6", 0, 4},
    {OUT6("0034", "29") IN6, "6in6", 0, 6},
    {OUT6("0028", "3c") "0400 010400000000 " IN4, "4in6", 0, 4},
    {OUT4("0000", "61") "3000 " FRAME4, "etherip", 0, 4},
    {OUT6("002e", "8f") FRAME4, "srv6", 0, 4},
    {OUT4("0000", "89") "00064140 " IN4, "mpls", 0, 4},
    {OUT4("0000", "11") UDPH("c000", "12b5") "08000000 00002a00 " FRAME4, "vxlan", 42, 4},
    {OUT4("0000", "11") UDPH("c000", "2118") "08000000 00002a00 " FRAME4, "vxlan", 42, 4},
    {OUT6("003e", "11") UDPH("c000", "12b5") "08000000 00002b00 " FRAME4, "vxlan", 43, 4},
    {OUT4("0000", "11") UDPH("c000", "17c1") "0000 6558 00002c00 " FRAME4, "geneve", 44, 4},
    {OUT4("0000", "11") UDPH("c000", "17c1") "0240 86dd 00002c00 0102030400000000 " IN6, "geneve",
     44, 6},
    {OUT4("0000", "11") UDPH("0868", "0868") "30ff 0020 00001234 " IN4, "gtp-u", 0x1234, 4},
    {OUT4("0000", "11") UDPH("0868", "0868") "34ff 0028 00001235 0000 00 85 01 0009 00 " IN4,
     "gtp-u", 0x1235, 4},
    {OUT4("0000", "11") UDPH("c000", "0868") "32ff 0038 00001236 0001 00 00 " IN6, "gtp-u", 0x1236,
     6},
    {OUT4("0000", "11") UDPH("06a5", "06a5") "0002 0001 0002 ff03 0021 " IN4, "l2tp", 0x10002, 4},
    {OUT4("0000", "11") UDPH("06a5", "c000") "4a02 0032 0001 0003 0000 0000 0002 0000 0021 " IN4,
     "l2tp", 0x10003, 4},
    {OUT4("0000", "11") UDPH("0dd8", "c000") IN6, "teredo", 0, 6},
    {OUT4("0000", "11")
         UDPH("c000", "0dd8") "0001 00 00 0000000000000000 00 0000 ffff 00000000 " IN6,
     "teredo", 0, 6},
    {OUT4("0000", "2f") "0000 0800 " OUT4("003c", "2f") "2000 0800 00000005 " IN4, "gre in gre", 5,
     4},
    {OUT4("0000", "11") UDPH("c000", "12b5") "08000000 00002a00 " MACS_IN "0800 " OUT4("0000", "11")
         UDPH("0868", "0868") "30ff 0020 00000077 " IN4,
     "gtp-u in vxlan", 0x77, 4},
};

static int dissect(const Hex *h, uint16_t link_type, DissectMode mode, Packet *packet) {
    Frame frame = {
        .bytes = h->bytes, .captured_bytes = h->n, .wire_bytes = h->n, .link_type = link_type};
    return dissect_frame(&frame, mode, packet);
}

static void assert_inner(const Packet *p, unsigned version) {
    assert_int_equal(p->ip_version, version);
    assert_int_equal(p->src[version == 4 ? 3 : 15], 1);
    assert_int_equal(p->dst[version == 4 ? 3 : 15], 2);
    assert_int_equal(p->src_port, 40001);
    assert_int_equal(p->dst_port, 53);
    assert_int_equal(p->protocol, IP_UDP);
    assert_int_equal(p->ip_bytes, version == 4 ? 32 : 52);
    assert_int_equal(p->payload_bytes, 4);
    assert_memory_equal(p->payload, "abcd", 4);
    assert_int_equal(p->notes, 0);
}

static void test_each_tunnel(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const Case *c = &cases[i];
        Hex h = hex(c->frame);
        Packet p;
        char chain[TUNNEL_TEXT_MAX];
        assert_int_equal(dissect(&h, FRAME_LINK_RAW, DISSECT_INNERMOST, &p), 0);
        size_t n = tunnel_chain(p.path.types, p.path.depth, chain);
        if (n != strlen(c->chain) || memcmp(chain, c->chain, n) != 0 || p.path.id != c->id)
            fail_msg("case %zu: %.*s id %u, not %s %u", i, (int)n, chain, p.path.id, c->chain,
                     c->id);
        assert_inner(&p, c->inner_version);
        assert_int_equal(p.frame_bytes, h.n);
        bool v6 = c->frame[0] == '6';
        assert_int_equal(p.path.ip_version, v6 ? 6 : 4);
        assert_memory_equal(p.path.src, v6 ? "\x20\x01\x0d\xb8" : "\xac\x10\0\1", 4);

        /* the tunnel itself */
        assert_int_equal(dissect(&h, FRAME_LINK_RAW, DISSECT_OUTERMOST, &p), 0);
        assert_int_equal(p.path.depth, 0);
        assert_int_equal(p.ip_bytes, h.n);
        assert_int_equal(p.src[v6 ? 15 : 3], v6 ? 0xf1 : 1);
        assert_int_equal(p.src[0], v6 ? 0x20 : 0xac);
    }
}

/* every prefix is an answer or a packet within it; wholly inside or wholly outside */
static void test_every_truncation(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        Hex h = hex(cases[i].frame);
        for (uint32_t n = 0; n < h.n; n++) {
            Frame frame = {.bytes = h.bytes,
                           .captured_bytes = n,
                           .wire_bytes = h.n,
                           .link_type = FRAME_LINK_RAW};
            Packet p;
            if (dissect_frame(&frame, DISSECT_INNERMOST, &p) != 0)
                continue;
            assert_true(p.ip >= h.bytes && p.ip + p.ip_captured_bytes <= h.bytes + n);
            assert_true(p.ip_captured_bytes <= p.ip_bytes);
            if (p.path.depth && p.payload && p.src_port == 40001)
                assert_int_equal(p.ip_bytes, cases[i].inner_version == 4 ? 32 : 52);
            if (p.path.depth == 0) {
                assert_int_equal(p.src[0], h.bytes[0] >> 4 == 4 ? 0xac : 0x20);
                assert_int_equal(p.ip_bytes, h.n);
            }
        }
    }
}

static void test_links(void **state) {
    (void)state;
    static const struct {
        const char *frame;
        uint32_t label;
        uint16_t vlan, inner_vlan, outer_vlan;
        uint32_t id;
    } links[] = {
        {MACS_IN "8847 00064140 " IN4, 100, 0, 0, 0, 0},
        {MACS_IN "8847 00064040 000c8040 0012c140 " IN4, 100, 0, 0, 0, 0},
        {MACS_IN "8847 00064140 00000000 " FRAME4, 100, 0, 0, 0, 0}, /* control word */
        {MACS_IN "8848 00064140 " FRAME4, 100, 0, 0, 0, 0},          /* none, the MAC begins 02 */
        {MACS_IN "8847 00064140 460011220001 020000000001 0800 " IN4, 100, 0, 0, 0, 0},
        {MACS_IN "8847 00064140 a20000000001 020000000001 8100 0005 0800 " IN4, 100, 5, 0, 0, 0},
        {MACS_IN "8100 0007 8847 00064140 a20000000001 020000000001 8100 0005 0800 " IN4, 100, 5, 0,
         7, 0},
        {MACS_IN "8864 1100 0009 0022 0021 " IN4 "0000", 0, 0, 0, 0, 9},
        {MACS_IN "88a8 00c8 8100 012c 0800 " IN4, 0, 200, 300, 0, 0},
        {MACS_IN "9100 00c8 8100 0000 8100 012c 0800 " IN4, 0, 200, 300, 0, 0},
        {MACS_IN "8100 0032 86dd " OUT6("0042", "11")
             UDPH("c000", "12b5") "08000000 00002c00 " MACS_IN "8100 0007 0800 " IN4,
         0, 7, 0, 50, 44},
        /* the tag that mirroring took off stands in its header */
        {MACS_IN
         "8100 0032 0800 " OUT4("0000", "2f") "1000 88be 00000001 1014 1003 00000000 " FRAME4,
         0, 20, 0, 50, 3},
    };
    for (size_t i = 0; i < sizeof(links) / sizeof(links[0]); i++) {
        Hex h = hex(links[i].frame);
        Packet p;
        assert_int_equal(dissect(&h, FRAME_LINK_ETHERNET, DISSECT_INNERMOST, &p), 0);
        assert_inner(&p, 4);
        assert_int_equal(p.path.mpls_label, links[i].label);
        assert_int_equal(p.vlan, links[i].vlan);
        assert_int_equal(p.inner_vlan, links[i].inner_vlan);
        assert_int_equal(p.path.vlan, links[i].outer_vlan);
        assert_int_equal(p.path.id, links[i].id);
    }
}

/* what is no packet inside leaves the flow of the tunnel, with a note where something is wrong */
static void test_not_entered(void **state) {
    (void)state;
    static const struct {
        const char *frame;
        uint8_t protocol;
        uint16_t dst_port;
        uint8_t notes;
    } outside[] = {
        {OUT4("0000", "11") UDPH("c000", "12b5") "08000000 00002a00 " MACS_IN "0806 0001", IP_UDP,
         4789, 0}, /* ARP */
        {OUT4("0000", "11") UDPH("c000", "12b5") "00000000 00002a00 " FRAME4, IP_UDP, 4789, 0},
        {OUT4("0000", "11") UDPH("12b5", "c000") "08000000 00002a00 " FRAME4, IP_UDP, 0xc000, 0},
        {OUT4("0000", "11") UDPH("0868", "0868") "3001 0000 00000000", IP_UDP, 2152, 0}, /* echo */
        {OUT4("0000", "11") UDPH("0868", "0868") "34ff 0008 00000001 0000 00 85 00", IP_UDP, 2152,
         PACKET_TUNNEL_CUT}, /* an extension of no length */
        {OUT4("0000", "11") UDPH("06a5", "06a5") "c802 000c 0001 0000 0000 0000", IP_UDP, 1701, 0},
        {OUT4("0000", "11") UDPH("06a5", "06a5") "0002 0001 0002 ff03 c021 0101", IP_UDP, 1701, 0},
        {OUT4("0000", "11") UDPH("0dd8", "0dd8") "deadbeef", IP_UDP, 3544, 0},
        {OUT4("0000", "2f") "2081 880b 0000 0009 00000005", IP_GRE, 0, 0}, /* acknowledges */
        {OUT4("0000", "2f") "0000 0000", IP_GRE, 0, 0},                    /* keepalive */
        {OUT4("0000", "2f") "4000 0800 0000 0000 00000000 " IN4, IP_GRE, 0, 0},
        {OUT4("0000", "2f") "0002 0800 " IN4, IP_GRE, 0, 0},
        {OUT4("0000", "2f") "2000", IP_GRE, 0, PACKET_TUNNEL_CUT},
        {OUT4("0000", "04") "4500 0020 0001", IP_IPV4, 0, PACKET_TUNNEL_CUT},
        {OUT4("0000", "04") "4400 0020 0001 0000 4011 0000 0a000001 0a000002", IP_IPV4, 0,
         PACKET_TUNNEL_BAD},
        {OUT4("0000", "04") "4500 0010 0001 0000 4011 0000 0a000001 0a000002", IP_IPV4, 0,
         PACKET_TUNNEL_BAD},
        {OUT4("0000", "32") "00000001 00000001 6565656565656565", 50, 0, 0}, /* ESP */
    };
    for (size_t i = 0; i < sizeof(outside) / sizeof(outside[0]); i++) {
        Hex h = hex(outside[i].frame);
        Packet p;
        assert_int_equal(dissect(&h, FRAME_LINK_RAW, DISSECT_INNERMOST, &p), 0);
        if (p.protocol != outside[i].protocol || p.dst_port != outside[i].dst_port ||
            p.notes != outside[i].notes || p.path.depth)
            fail_msg("case %zu: protocol %u port %u notes %u depth %u", i, p.protocol, p.dst_port,
                     p.notes, p.path.depth);
        assert_int_equal(p.ip_bytes, h.n);
        assert_int_equal(p.src[0], 0xac);
    }
}

static void test_answers_of_links(void **state) {
    (void)state;
    static const struct {
        const char *frame;
        int answer;
    } rows[] = {
        {MACS_IN "8847 00064140 1000 0021", DISSECT_E_MPLS}, /* associated channel */
        {MACS_IN "8847 00064140", DISSECT_E_TRUNCATED},
        {MACS_IN "8847 00064040", DISSECT_E_TRUNCATED},
        {MACS_IN "8864 1100 0009 0006 c021 0101 0004", DISSECT_E_PPPOE},
        {MACS_IN "8863 1109 0000 0004 0101 0000", DISSECT_E_PPPOE},
        {MACS_IN "8864 2200 0009 0022 0021 " IN4, DISSECT_E_BAD_HEADER},
        {MACS_IN "8864 1100 0009", DISSECT_E_TRUNCATED},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        Hex h = hex(rows[i].frame);
        Packet p;
        assert_int_equal(dissect(&h, FRAME_LINK_ETHERNET, DISSECT_INNERMOST, &p), rows[i].answer);
    }
    /* a stack without bottom, and frames in frames in frames: an answer, and soon */
    Hex h = hex(MACS_IN "8847 ");
    while (h.n + 4 <= sizeof(h.bytes))
        memcpy(h.bytes + h.n, "\0\6\x40\x40", 4), h.n += 4;
    Packet p;
    assert_int_equal(dissect(&h, FRAME_LINK_ETHERNET, DISSECT_INNERMOST, &p), DISSECT_E_MPLS);
    h.n = 0;
    while (h.n + 22 <= sizeof(h.bytes))
        memcpy(h.bytes + h.n, "\0\0\0\0\0\1\0\0\0\0\0\2\x88\x47\0\6\x41\x40\0\0\0\0", 22),
            h.n += 22;
    assert_int_equal(dissect(&h, FRAME_LINK_ETHERNET, DISSECT_INNERMOST, &p), DISSECT_E_MPLS);
}

static void test_depth(void **state) {
    (void)state;
    Hex h = {.n = 0};
    const unsigned layers = TUNNEL_DEPTH_MAX + 4;
    for (unsigned i = 0; i < layers; i++) {
        Hex header = hex(OUT4("0000", "04"));
        memcpy(h.bytes + h.n, header.bytes, header.n);
        h.n += header.n;
    }
    Hex inner = hex(IN4);
    memcpy(h.bytes + h.n, inner.bytes, inner.n);
    h.n += inner.n;
    Packet p;
    assert_int_equal(dissect(&h, FRAME_LINK_RAW, DISSECT_INNERMOST, &p), 0);
    assert_int_equal(p.path.depth, TUNNEL_DEPTH_MAX);
    assert_int_equal(p.protocol, IP_IPV4);
    assert_int_equal(p.notes, PACKET_TUNNEL_DEEP);
    assert_int_equal(p.ip_bytes, h.n - TUNNEL_DEPTH_MAX * 20);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_tunnel),
        cmocka_unit_test(test_every_truncation),
        cmocka_unit_test(test_links),
        cmocka_unit_test(test_not_entered),
        cmocka_unit_test(test_answers_of_links),
        cmocka_unit_test(test_depth),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
