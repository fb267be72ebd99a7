/* SPDX-License-Identifier: Apache-2.0 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "probe/counters.h"
#include "probe/dedup.h"

enum { BYTES = 64, TAGGED = BYTES + 4, MS = 1000000 };

static MetricValue counters[_COUNTER_N];

static Dedup *dedup_of(void) {
    Dedup *dedup = NULL;
    memset(counters, 0, sizeof(counters));
    assert_int_equal(dedup_new(&dedup, 42, counters), 0);
    return dedup;
}

static Frame frame_of(const uint8_t *bytes, uint32_t size, uint64_t time_ns) {
    return (Frame){.bytes = bytes,
                   .time_ns = time_ns,
                   .captured_bytes = size,
                   .wire_bytes = size,
                   .link_type = FRAME_LINK_ETHERNET};
}

/* number in the packet, as an identification would be */
static void packet(uint8_t bytes[BYTES], uint32_t number) {
    memset(bytes, 0, BYTES);
    bytes[12] = 0x08;
    memcpy(bytes + 18, &number, sizeof(number));
}

static size_t take_one(Dedup *dedup, Frame frame) {
    return dedup_take(dedup, &frame, 1);
}

/* the copy of a mirror port may have other addresses of the link and a tag of the port's VLAN, in
 * the frame or taken out of it by the kernel */
static void test_copies(void **state) {
    (void)state;
    Dedup *dedup = dedup_of();
    uint8_t bytes[BYTES];
    uint8_t tagged[TAGGED];
    packet(bytes, 1);
    memset(tagged, 0x55, 12);
    memcpy(tagged + 12, (const uint8_t[]){0x81, 0x00, 0x00, 0x0a}, 4);
    memcpy(tagged + 16, bytes + 12, BYTES - 12);
    Frame stripped = frame_of(bytes, BYTES, 3 * MS);
    stripped.tag_type = 0x8100;
    stripped.wire_bytes += 4;

    assert_int_equal(take_one(dedup, frame_of(bytes, BYTES, 1 * MS)), 1);
    assert_int_equal(take_one(dedup, frame_of(bytes, BYTES, 1 * MS)), 0);
    assert_int_equal(take_one(dedup, frame_of(tagged, TAGGED, 2 * MS)), 0);
    assert_int_equal(take_one(dedup, stripped), 0);
    assert_int_equal(metric_get(&counters[COUNTER_PACKETS_DUPLICATE]), 3);
    assert_int_equal(metric_get(&counters[COUNTER_BYTES_DUPLICATE]), BYTES + TAGGED + BYTES + 4);
    assert_int_equal(metric_get(&counters[COUNTER_PACKETS_RECEIVED]), 3);
    dedup_free(dedup);
}

/* later, longer or in one bit another: no copy */
static void test_no_copies(void **state) {
    (void)state;
    Dedup *dedup = dedup_of();
    uint8_t bytes[BYTES];
    packet(bytes, 1);
    assert_int_equal(take_one(dedup, frame_of(bytes, BYTES, 100 * MS)), 1);
    assert_int_equal(
        take_one(dedup, frame_of(bytes, BYTES, (100 + DEDUP_WINDOW_MS) * (uint64_t)MS + 1)), 1);
    Frame longer = frame_of(bytes, BYTES, 101 * MS);
    longer.wire_bytes++; /* of which no more was captured */
    assert_int_equal(take_one(dedup, longer), 1);
    for (size_t bit = 12 * 8; bit < BYTES * 8; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_int_equal(take_one(dedup, frame_of(bytes, BYTES, 101 * MS)), 1);
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    assert_int_equal(metric_get(&counters[COUNTER_PACKETS_DUPLICATE]), 0);
    dedup_free(dedup);
}

/* every packet twice, the copy 100 packets later, at 2 Mpps: those that stay are the first ones */
static void test_stream(void **state) {
    (void)state;
    enum { N = 200000, LAG = 100 };
    static uint8_t bytes[N][BYTES];
    Dedup *dedup = dedup_of();
    uint64_t kept = 0;
    for (uint32_t i = 0; i < N + LAG; i++) {
        Frame two[2];
        size_t n = 0;
        if (i < N) {
            packet(bytes[i], i);
            two[n++] = frame_of(bytes[i], BYTES, i * UINT64_C(500));
        }
        if (i >= LAG)
            two[n++] = frame_of(bytes[i - LAG], BYTES, i * UINT64_C(500));
        const size_t stay = dedup_take(dedup, two, n);
        kept += stay;
        assert_int_equal(stay, i < N ? 1 : 0);
        if (stay)
            assert_ptr_equal(two[0].bytes, bytes[i]);
    }
    assert_int_equal(kept, N);
    assert_int_equal(metric_get(&counters[COUNTER_PACKETS_DUPLICATE]), N);
    dedup_free(dedup);
}

/* fewer bytes than addresses have */
static void test_short(void **state) {
    (void)state;
    Dedup *dedup = dedup_of();
    uint8_t bytes[BYTES] = {0x81};
    for (uint32_t size = 0; size < 20; size++)
        (void)take_one(dedup, frame_of(bytes, size, 1 * MS));
    dedup_free(dedup);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_copies),
        cmocka_unit_test(test_no_copies),
        cmocka_unit_test(test_stream),
        cmocka_unit_test(test_short),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
