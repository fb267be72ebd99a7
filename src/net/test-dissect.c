/* SPDX-License-Identifier: Apache-2.0 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "net/dissect_internal.h"
#include "net/test-hex.h"

static int dissect(const Hex *h, uint16_t link_type, Packet *packet) {
    Frame frame = {
        .bytes = h->bytes, .captured_bytes = h->n, .wire_bytes = h->n, .link_type = link_type};
    return dissect_frame(&frame, DISSECT_INNERMOST, packet);
}

#define MACS  "020000000002 020000000001 "
#define UDP4  "4500 0020 0001 0000 4011 0000 0a000001 0a000002 " /* total 32 */
#define UDP   "9c41 0035 000c 0000 61626364 "
#define ADDR6 "20010db8000000000000000000000001 20010db8000000000000000000000002 "

static void test_udp_over_ethernet(void **state) {
    (void)state;
    Hex h = hex(MACS "0800 " UDP4 UDP "ffffffffffff"); /* six bytes of padding */
    Packet p;
    assert_int_equal(dissect(&h, FRAME_LINK_ETHERNET, &p), 0);
    assert_int_equal(p.ip_version, 4);
    assert_memory_equal(p.src, "\x0a\0\0\1\0\0\0\0\0\0\0\0\0\0\0\0", 16);
    assert_memory_equal(p.dst, "\x0a\0\0\2\0\0\0\0\0\0\0\0\0\0\0\0", 16);
    assert_int_equal(p.src_port, 40001);
    assert_int_equal(p.dst_port, 53);
    assert_int_equal(p.protocol, IP_UDP);
    assert_int_equal(p.frame_bytes, 14 + 32 + 6);
    assert_int_equal(p.ip_bytes, 32);
    assert_int_equal(p.payload_bytes, 4);
    assert_memory_equal(p.payload, "abcd", 4);
    assert_ptr_equal(p.macs, h.bytes);
    assert_int_equal(p.notes, 0);
    assert_int_equal(p.vlan, 0);
}

static void test_tags_keep_the_outermost(void **state) {
    (void)state;
    Packet p;
    Hex one = hex(MACS "8100 0064 0800 " UDP4 UDP);
    assert_int_equal(dissect(&one, FRAME_LINK_ETHERNET, &p), 0);
    assert_int_equal(p.vlan, 100);
    Hex two = hex(MACS "88a8 20c8 8100 012c 0800 " UDP4 UDP);
    assert_int_equal(dissect(&two, FRAME_LINK_ETHERNET, &p), 0);
    assert_int_equal(p.vlan, 200);
    assert_int_equal(p.dst_port, 53);

    /* the kernel took the outer one out; its bytes are in wire_bytes only */
    Frame frame = {.bytes = one.bytes,
                   .captured_bytes = one.n,
                   .wire_bytes = one.n + 4,
                   .link_type = FRAME_LINK_ETHERNET,
                   .tag_type = 0x88a8,
                   .tag = 0x6007};
    assert_int_equal(dissect_frame(&frame, DISSECT_INNERMOST, &p), 0);
    assert_int_equal(p.vlan, 7);
    assert_int_equal(p.frame_bytes, one.n + 4);
    assert_int_equal(p.notes, 0);
}

static void test_tcp_with_options(void **state) {
    (void)state;
    Packet p;
    Hex h = hex(MACS "0800 4600 0033 0001 0000 4006 0000 0a000001 0a000002 94040000 "
                     "c000 01bb 00000005 00000006 6018 0100 0000 0000 020405b4 616263");
    assert_int_equal(dissect(&h, FRAME_LINK_ETHERNET, &p), 0);
    assert_int_equal(p.src_port, 49152);
    assert_int_equal(p.tcp_flags, TCP_PSH | TCP_ACK);
    assert_int_equal(p.tcp_seq, 5);
    assert_int_equal(p.payload_bytes, 3);
    assert_memory_equal(p.payload, "abc", 3);
}

static void test_ipv6_extension_headers(void **state) {
    (void)state;
    Packet p;
    /* hop by hop, routing, destination options, then UDP */
    Hex h = hex(MACS "86dd 6ab00000 0024 00 40 " ADDR6 "2b00 010400000000 3c00 000000000000 "
                     "1100 010400000000 " UDP);
    assert_int_equal(dissect(&h, FRAME_LINK_ETHERNET, &p), 0);
    assert_int_equal(p.ip_version, 6);
    assert_int_equal(p.protocol, IP_UDP);
    assert_int_equal(p.dst_port, 53);
    assert_int_equal(p.tos, 0xab);
    assert_int_equal(p.ip_bytes, 40 + 36);
    assert_int_equal(p.payload_bytes, 4);

    /* a chain that never ends */
    Hex loop = hex(MACS "86dd 60000000 0100 00 40 " ADDR6);
    for (; loop.n < 54 + 256; loop.n += 8)
        memcpy(loop.bytes + loop.n, "\0\0\1\4\0\0\0\0", 8);
    assert_int_equal(dissect(&loop, FRAME_LINK_ETHERNET, &p), 0);
    assert_int_equal(p.notes, PACKET_TRANSPORT_CUT);
    assert_int_equal(p.protocol, 0);
    assert_int_equal(p.ip_bytes, 40 + 256);
}

static void test_other_links(void **state) {
    (void)state;
    Packet p;
    Hex raw = hex(UDP4 UDP);
    assert_int_equal(dissect(&raw, FRAME_LINK_RAW, &p), 0);
    assert_int_equal(p.dst_port, 53);
    assert_null(p.macs);
    Hex cooked = hex("0000 0001 0006 020000000001 0000 0800 " UDP4 UDP);
    assert_int_equal(dissect(&cooked, FRAME_LINK_COOKED, &p), 0);
    assert_int_equal(p.dst_port, 53);
    Hex cooked2 = hex("0800 0000 00000002 0001 00 06 020000000001 0000 " UDP4 UDP);
    assert_int_equal(dissect(&cooked2, FRAME_LINK_COOKED2, &p), 0);
    assert_int_equal(p.dst_port, 53);
    Hex null_le = hex("02000000 " UDP4 UDP);
    assert_int_equal(dissect(&null_le, FRAME_LINK_NULL, &p), 0);
    Hex loop_be = hex("00000002 " UDP4 UDP);
    assert_int_equal(dissect(&loop_be, FRAME_LINK_LOOP, &p), 0);
    assert_int_equal(p.dst_port, 53);
    Hex ppp = hex("ff03 0021 " UDP4 UDP);
    assert_int_equal(dissect(&ppp, FRAME_LINK_PPP, &p), 0);
    assert_int_equal(p.dst_port, 53);
    Hex snap = hex(MACS "0028 aaaa03 000000 0800 " UDP4 UDP);
    assert_int_equal(dissect(&snap, FRAME_LINK_ETHERNET, &p), 0);
    assert_int_equal(p.dst_port, 53);
    assert_false(dissect_link_known(105));
    assert_int_equal(dissect(&raw, 105, &p), DISSECT_E_LINK_TYPE);
}

static void test_other_transports(void **state) {
    (void)state;
    Packet p;
    Hex icmp = hex("4500 001c 0001 0000 4001 0000 0a000001 0a000002 0800 0000 0001 0002");
    assert_int_equal(dissect(&icmp, FRAME_LINK_RAW, &p), 0);
    assert_int_equal(p.icmp_type, 8);
    assert_int_equal(p.src_port, 0);
    Hex sctp = hex("4500 0024 0001 0000 4084 0000 0a000001 0a000002 "
                   "0b59 0b5a 00000000 00000000 01000004");
    assert_int_equal(dissect(&sctp, FRAME_LINK_RAW, &p), 0);
    assert_int_equal(p.sctp_chunk, 1);
    assert_int_equal(p.dst_port, 0x0b5a);
    Hex ah = hex("4500 0038 0001 0000 4033 0000 0a000001 0a000002 "
                 "1104 0000 00000001 00000001 000000000000000000000000 " UDP);
    assert_int_equal(dissect(&ah, FRAME_LINK_RAW, &p), 0);
    assert_int_equal(p.protocol, IP_UDP);
    assert_int_equal(p.dst_port, 53);
}

static void test_bad_frames_are_answers(void **state) {
    (void)state;
    static const struct {
        const char *frame;
        int answer;
    } cases[] = {
        {MACS "0806 0001 0800 0604 0001", DISSECT_E_ARP},
        {"0180c2000000 020000000001 0026 4242030000", DISSECT_E_LLC},
        {MACS "88cc 0207", DISSECT_E_NOT_IP},
        {"020000000002", DISSECT_E_TRUNCATED},
        {MACS "8100 00", DISSECT_E_TRUNCATED},
        {MACS "0800 4500 0020 0001", DISSECT_E_TRUNCATED},
        {MACS "86dd 60000000 0020 11", DISSECT_E_TRUNCATED},
        {MACS "0800 4400 0020 0001 0000 4011 0000 0a000001 0a000002", DISSECT_E_BAD_HEADER},
        {MACS "0800 6500 0020 0001 0000 4011 0000 0a000001 0a000002", DISSECT_E_BAD_HEADER},
        {MACS "86dd 40000000 0000 11 40 " ADDR6, DISSECT_E_BAD_HEADER},
        {MACS "0800 4500 0010 0001 0000 4011 0000 0a000001 0a000002", DISSECT_E_BAD_LENGTH},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        Hex h = hex(cases[i].frame);
        Packet p;
        assert_int_equal(dissect(&h, FRAME_LINK_ETHERNET, &p), cases[i].answer);
    }
}

static void test_oddities_are_noted(void **state) {
    (void)state;
    Packet p;
    /* claims 1500 bytes, carries 32 */
    Hex beyond = hex("4500 05dc 0001 0000 4011 0000 0a000001 0a000002 " UDP);
    assert_int_equal(dissect(&beyond, FRAME_LINK_RAW, &p), 0);
    assert_int_equal(p.notes, PACKET_LENGTH_BEYOND);
    assert_int_equal(p.ip_bytes, 32);

    /* a snapshot: 1500 on the wire, the header captured up to the ports */
    Hex cut = hex("4500 05dc 0001 0000 4006 0000 0a000001 0a000002 0050 c000");
    Frame frame = {.bytes = cut.bytes,
                   .captured_bytes = cut.n,
                   .wire_bytes = 1500,
                   .link_type = FRAME_LINK_RAW};
    assert_int_equal(dissect_frame(&frame, DISSECT_INNERMOST, &p), 0);
    assert_int_equal(p.notes, PACKET_TRANSPORT_CUT);
    assert_int_equal(p.ip_bytes, 1500);
    assert_int_equal(p.ip_captured_bytes, 24);
    assert_int_equal(p.src_port, 80);
    assert_int_equal(p.dst_port, 0xc000);
    assert_null(p.payload);

    /* half a pair of ports is none */
    frame.captured_bytes = 22;
    assert_int_equal(dissect_frame(&frame, DISSECT_INNERMOST, &p), 0);
    assert_int_equal(p.src_port, 0);

    Hex offset = hex("4500 0028 0001 0000 4006 0000 0a000001 0a000002 "
                     "0050 c000 00000000 00000000 1002 0000 0000 0000");
    assert_int_equal(dissect(&offset, FRAME_LINK_RAW, &p), 0);
    assert_int_equal(p.notes, PACKET_TRANSPORT_BAD);
    assert_int_equal(p.tcp_flags, TCP_SYN);

    Hex tso = hex("4500 0000 0001 0000 4011 0000 0a000001 0a000002 " UDP);
    assert_int_equal(dissect(&tso, FRAME_LINK_RAW, &p), 0);
    assert_int_equal(p.ip_bytes, 32);
}

/* every prefix of a frame: no answer but the declared ones, and never more than there is */
static void test_every_truncation(void **state) {
    (void)state;
    Hex h = hex(MACS "8100 0064 86dd 6ab00000 0024 00 40 " ADDR6
                     "2b00 010400000000 3c00 000000000000 1100 010400000000 " UDP);
    for (uint32_t n = 0; n <= h.n; n++) {
        Frame frame = {.bytes = h.bytes,
                       .captured_bytes = n,
                       .wire_bytes = h.n,
                       .link_type = FRAME_LINK_ETHERNET};
        Packet p;
        int r = dissect_frame(&frame, DISSECT_INNERMOST, &p);
        assert_true(n < 58 ? r == DISSECT_E_TRUNCATED : r == 0);
        if (r == 0) {
            assert_int_equal(p.ip_bytes, 76);
            assert_int_equal(p.ip_captured_bytes, n - 18);
            assert_int_equal(p.dst_port, n >= 86 ? 53 : 0);
        }
    }
}

static void assert_straight(const Frame *frame, DissectMode mode) {
    Packet straight;
    Packet walked;
    memset(&straight, 0, sizeof(straight));
    memset(&walked, 0, sizeof(walked));
    const int r = dissect_walk(frame, mode, &walked);
    assert_int_equal(dissect_frame(frame, mode, &straight), r);
    if (r == 0)
        assert_memory_equal(&straight, &walked, sizeof(walked));
}

/* the straight way says what the long one does: of usual frames with each bit turned, cut anywhere,
 * with more or less on the wire than is there */
static void test_straight(void **state) {
    static const int32_t off_wire[] = {-30, -1, 0, 1, 7, 100};
    const Hex frames[] = {
        hex(MACS "0800 " UDP4 UDP "ffffffffffff"),
        hex(MACS "0800 " UDP4 "9c41 12b5 000c 0000 08000000"), /* to VXLAN's port */
        hex(MACS "0800 4500 0030 0001 4000 4006 0000 0a000001 0a000002 "
                 "9c41 01bb 00000001 00000002 6018 ffff 0000 0000 020405b4 61626364"),
        hex(MACS "8100 0064 0800 " UDP4 UDP),
        hex(MACS "88a8 20c8 8100 012c 86dd 6ab00000 000c 11 40 " ADDR6 UDP "0000"),
        hex(MACS "86dd 60000000 0014 06 40 " ADDR6
                 "9c41 01bb 00000001 00000002 5010 ffff 0000 0000"),
    };
    (void)state;
    for (size_t f = 0; f < sizeof(frames) / sizeof(frames[0]); f++) {
        for (uint32_t bit = 0; bit < frames[f].n * 8; bit++) {
            Hex h = frames[f];
            h.bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
            for (size_t i = 0; i < sizeof(off_wire) / sizeof(off_wire[0]); i++)
                for (uint32_t n = 0; n <= h.n; n++) {
                    const int32_t wire = (int32_t)n + off_wire[i];
                    const Frame frame = {.bytes = h.bytes,
                                         .time_ns = 7,
                                         .captured_bytes = n,
                                         .wire_bytes = wire > 0 ? (uint32_t)wire : 0,
                                         .link_type = FRAME_LINK_ETHERNET,
                                         .input = 3};
                    assert_straight(&frame, DISSECT_INNERMOST);
                    assert_straight(&frame, DISSECT_OUTERMOST);
                }
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_udp_over_ethernet),
        cmocka_unit_test(test_tags_keep_the_outermost),
        cmocka_unit_test(test_tcp_with_options),
        cmocka_unit_test(test_ipv6_extension_headers),
        cmocka_unit_test(test_other_links),
        cmocka_unit_test(test_other_transports),
        cmocka_unit_test(test_bad_frames_are_answers),
        cmocka_unit_test(test_oddities_are_noted),
        cmocka_unit_test(test_every_truncation),
        cmocka_unit_test(test_straight),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
