/* SPDX-License-Identifier: Apache-2.0 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "net/fragment.h"
#include "net/test-hex.h"

#define SECOND UINT64_C(1000000000)
#define START  (UINT64_C(1700000000) * SECOND)

#define MACS  "020000000002 020000000001 "
#define UDP   "9c41 0035 000c 0000 61626364 "
#define ADDR6 "20010db8000000000000000000000001 20010db8000000000000000000000002 "

#define FIRST(id) MACS "0800 4500 0020 " id " 2000 4011 0000 0a000001 0a000002 " UDP
#define LATER(id) MACS "0800 4500 0018 " id " 0002 4011 0000 0a000001 0a000002 78787878"

static FragmentCache *cache_new(uint32_t datagrams, uint32_t held) {
    FragmentCache *cache = NULL;
    assert_int_equal(fragment_cache_new(&cache, datagrams, held, 7), 0);
    return cache;
}

static int resolve(FragmentCache *cache, const char *text, uint64_t at_ns, Packet *p) {
    Hex h = hex(text);
    Frame frame = {.bytes = h.bytes,
                   .time_ns = at_ns,
                   .captured_bytes = h.n,
                   .wire_bytes = h.n,
                   .link_type = FRAME_LINK_ETHERNET};
    assert_int_equal(dissect_frame(&frame, DISSECT_INNERMOST, p), 0);
    assert_true(p->n_datagrams > 0);
    return fragment_resolve(cache, p);
}

static void assert_take(FragmentCache *cache, bool known, uint16_t dst_port, uint64_t at_ns) {
    Packet p;
    bool found = !known;
    assert_true(fragment_take(cache, &p, &found));
    assert_int_equal(found, known);
    assert_int_equal(p.dst_port, dst_port);
    assert_true(p.time_ns == at_ns);
    assert_non_null(p.macs);
    assert_memory_equal(p.macs, "\2\0\0\0\0\2\2\0\0\0\0\1", 12);
    assert_null(p.payload);
}

static void assert_none(FragmentCache *cache) {
    Packet p;
    bool known = false;
    assert_false(fragment_take(cache, &p, &known));
}

static void test_in_order(void **state) {
    (void)state;
    FragmentCache *cache = cache_new(16, 8);
    Packet p;
    assert_int_equal(resolve(cache, FIRST("00aa"), START, &p), 0);
    assert_int_equal(resolve(cache, LATER("00aa"), START + 1, &p), 0);
    assert_int_equal(p.src_port, 40001);
    assert_int_equal(p.dst_port, 53);
    assert_int_equal(p.ip_bytes, 24);
    /* as long as they come it is remembered, and no longer */
    assert_int_equal(resolve(cache, LATER("00aa"), START + 29 * SECOND, &p), 0);
    assert_int_equal(resolve(cache, LATER("00aa"), START + 58 * SECOND, &p), 0);
    assert_int_equal(resolve(cache, LATER("00aa"), START + 89 * SECOND, &p), FRAGMENT_E_HELD);

    /* IPv6: the fragment header's next header need not be the transport of the first */
    static const char first6[] = MACS "86dd 60000000 001c 2c 40 " ADDR6 "3c00 0001 00000bad "
                                      "1100 010400000000 " UDP;
    static const char later6[] = MACS "86dd 60000000 000c 2c 40 " ADDR6 "3c00 0010 00000bad "
                                      "61616161";
    assert_int_equal(resolve(cache, first6, START, &p), 0);
    assert_int_equal(resolve(cache, later6, START, &p), 0);
    assert_int_equal(p.protocol, IP_UDP);
    assert_int_equal(p.dst_port, 53);
    fragment_cache_free(cache);
}

static void test_any_order(void **state) {
    (void)state;
    FragmentCache *cache = cache_new(16, 8);
    Packet p;
    assert_int_equal(resolve(cache, LATER("0001"), START, &p), FRAGMENT_E_HELD);
    assert_int_equal(resolve(cache, LATER("0002"), START + 1, &p), FRAGMENT_E_HELD);
    assert_int_equal(resolve(cache, LATER("0001"), START + 2, &p), FRAGMENT_E_HELD);
    assert_none(cache);
    assert_int_equal(fragment_held(cache).packets, 3);
    assert_int_equal(fragment_held(cache).frame_bytes, 3 * 38);
    assert_int_equal(resolve(cache, FIRST("0001"), START + 3, &p), 0);
    assert_take(cache, true, 53, START);
    assert_take(cache, true, 53, START + 2);
    assert_none(cache);
    assert_int_equal(resolve(cache, LATER("0001"), START + 4, &p), 0);
    assert_int_equal(p.dst_port, 53);

    /* the other one has waited for 3 s */
    fragment_expire(cache, START + 1 + 3 * SECOND);
    assert_none(cache);
    fragment_expire(cache, START + 2 + 3 * SECOND);
    assert_take(cache, false, 0, START + 1);
    assert_none(cache);
    assert_int_equal(fragment_held(cache).packets, 0);
    /* the first one comes after all: of those after it */
    assert_int_equal(resolve(cache, FIRST("0002"), START + 4 * SECOND, &p), 0);
    assert_int_equal(resolve(cache, LATER("0002"), START + 4 * SECOND, &p), 0);
    fragment_cache_free(cache);
}

/* without fragment_expire() in between the times of the packets alone say the same */
static void test_late_by_packet_time(void **state) {
    (void)state;
    FragmentCache *cache = cache_new(16, 8);
    Packet p;
    assert_int_equal(resolve(cache, LATER("0001"), START, &p), FRAGMENT_E_HELD);
    assert_int_equal(resolve(cache, FIRST("0001"), START + 4 * SECOND, &p), 0);
    assert_take(cache, false, 0, START);
    assert_int_equal(resolve(cache, LATER("0002"), START, &p), FRAGMENT_E_HELD);
    assert_int_equal(resolve(cache, LATER("0002"), START + 4 * SECOND, &p), FRAGMENT_E_HELD);
    assert_take(cache, false, 0, START);
    assert_int_equal(resolve(cache, FIRST("0002"), START + 5 * SECOND, &p), 0);
    assert_take(cache, true, 53, START + 4 * SECOND);
    fragment_expire(cache, UINT64_MAX);
    assert_none(cache);
    fragment_cache_free(cache);
}

static void test_bounds(void **state) {
    (void)state;
    FragmentCache *cache = cache_new(4, 3); /* one set, three that wait */
    Packet p;
    assert_int_equal(resolve(cache, LATER("0001"), START, &p), FRAGMENT_E_HELD);
    assert_int_equal(resolve(cache, LATER("0001"), START + 1, &p), FRAGMENT_E_HELD);
    assert_int_equal(resolve(cache, LATER("0002"), START + 2, &p), FRAGMENT_E_HELD);
    assert_int_equal(resolve(cache, LATER("0003"), START + 3, &p), FRAGMENT_E_UNKNOWN);
    assert_int_equal(p.dst_port, 0);
    /* two more datagrams fill the set, a third one takes the place of the oldest */
    assert_int_equal(resolve(cache, FIRST("0004"), START + 4, &p), 0);
    assert_int_equal(resolve(cache, FIRST("0005"), START + 5, &p), 0);
    assert_none(cache);
    assert_int_equal(resolve(cache, FIRST("0006"), START + 6, &p), 0);
    assert_take(cache, false, 0, START);
    assert_take(cache, false, 0, START + 1);
    assert_none(cache);
    fragment_expire(cache, UINT64_MAX);
    assert_take(cache, false, 0, START + 2);
    assert_none(cache);
    /* many that need not wait for long: none of them is given up */
    for (unsigned i = 0; i < 1000; i++) {
        uint64_t at = START + SECOND + i * 2;
        assert_int_equal(resolve(cache, LATER("0007"), at, &p), FRAGMENT_E_HELD);
        assert_int_equal(resolve(cache, FIRST("0007"), at, &p), 0);
        assert_take(cache, true, 53, at);
        assert_none(cache);
        /* and it is forgotten */
        assert_int_equal(resolve(cache, FIRST("0008"), at + 1, &p), 0);
        assert_int_equal(resolve(cache, FIRST("0009"), at + 1, &p), 0);
        assert_int_equal(resolve(cache, FIRST("000a"), at + 1, &p), 0);
        assert_int_equal(resolve(cache, FIRST("000b"), at + 1, &p), 0);
        assert_none(cache);
    }
    fragment_cache_free(cache);
}

/* GRE from 172.16.0.1, cut in two behind the inner header: the second part has nothing of it */
static void test_of_a_tunnel(void **state) {
    (void)state;
    static const char first[] =
        MACS "0800 4500 0038 0005 2000 402f 0000 ac100001 ac100002 0000 0800 "
             "4500 0024 0001 0000 4011 0000 0a000001 0a000002 9c41 0035 0010 0000 61626364";
    static const char later[] = MACS "0800 4500 0018 0005 0005 402f 0000 ac100001 ac100002 "
                                     "65666768";
    FragmentCache *cache = cache_new(16, 8);
    Packet p;
    assert_int_equal(resolve(cache, later, START, &p), FRAGMENT_E_HELD);
    assert_int_equal(resolve(cache, first, START + 1, &p), 0);
    assert_int_equal(p.notes, 0);
    assert_int_equal(p.dst_port, 53);
    assert_int_equal(p.ip_bytes, 32);
    bool known = false;
    Packet q;
    assert_true(fragment_take(cache, &q, &known));
    assert_true(known);
    assert_int_equal(q.dst_port, 53);
    assert_int_equal(q.src[0], 10);
    assert_int_equal(q.path.depth, 1);
    assert_int_equal(q.ip_bytes, 4); /* with the first one the 36 that the inner header claims */
    assert_int_equal(q.frame_bytes, 14 + 24);
    fragment_cache_free(cache);
}

/* a first fragment of a tunnel in which there is a later fragment whose first one is not there yet
 */
static void test_fragment_in_a_fragment(void **state) {
    (void)state;
#define OUTSIDE(id, offset) "0800 4500 0000 " id " " offset " 4004 0000 ac100001 ac100002 "
    static const char nested[] =
        MACS OUTSIDE("0005", "2000") "4500 0018 00aa 0002 4011 0000 0a000001 0a000002 78787878";
    static const char rest[] = MACS OUTSIDE("0005", "0003") "79797979";
    static const char whole[] =
        MACS OUTSIDE("0006", "0000") "4500 0020 00aa 2000 4011 0000 0a000001 0a000002 " UDP;
    FragmentCache *cache = cache_new(16, 8);
    Packet p;
    assert_int_equal(resolve(cache, nested, START, &p), FRAGMENT_E_HELD);
    assert_int_equal(p.n_datagrams, 2);
    assert_int_equal(resolve(cache, rest, START + 1, &p), FRAGMENT_E_HELD);
    assert_int_equal(resolve(cache, whole, START + 2, &p), 0);
    assert_take(cache, true, 53, START);
    assert_take(cache, true, 53, START + 1); /* learnt when the one before was taken */
    assert_none(cache);
    fragment_cache_free(cache);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_in_order),
        cmocka_unit_test(test_any_order),
        cmocka_unit_test(test_late_by_packet_time),
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_of_a_tunnel),
        cmocka_unit_test(test_fragment_in_a_fragment),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
