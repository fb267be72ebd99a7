/* SPDX-License-Identifier: Apache-2.0 */

/* What stands in for functions of libndpi and of the C library says what those say. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <limits.h>
#include <ndpi_main.h>
#include <stdio.h>
#include <string.h>

#include "probe/ndpi_inside.h"

int __snprintf_chk(char *to, size_t size, int flag, size_t room, const char *format, ...);

/* the same through ours and through the C library's, with every size of room */
#define SAME(...)                                                                                  \
    for (size_t size = 0; size <= 40; size++) {                                                    \
        char ours[41], theirs[41];                                                                 \
        memset(ours, 'z', sizeof(ours));                                                           \
        memset(theirs, 'z', sizeof(theirs));                                                       \
        assert_int_equal(__snprintf_chk(ours, size, 1, sizeof(ours), __VA_ARGS__),                 \
                         (snprintf)(theirs, size, __VA_ARGS__));                                   \
        assert_memory_equal(ours, theirs, sizeof(ours));                                           \
    }

static void test_texts(void **state) {
    (void)state;
    SAME("%s%u", "-", 49195u)
    SAME("%u", 0u)
    SAME("%u,%d,%d,%d", UINT_MAX, INT_MIN, -1, INT_MAX)
    SAME("%02x%02X%08x", 10u, 255u, 0xdeadu)
    SAME("%x %X", 0xabcdefu, 0xabcdefu)
    SAME("no numbers")
}

/* what it does not know is the C library's, also after what it knows */
static void test_texts_left(void **state) {
    (void)state;
    SAME("%s %lu%%", "much", ULONG_MAX)
    SAME("%u %.3s|%5u|%-4d|%c", 7u, "abcdef", 42u, 3, 'x')
    SAME("%d %04d %.1f", 5, -7, 2.5)
}

static void test_places(void **state) {
    (void)state;
    const char *text = "GET / HTTP/1.1";
    assert_ptr_equal(ndpi_strnstr(text, "HTTP", 14), text + 6);
    assert_ptr_equal(ndpi_strnstr(text, "HTTP", 10), text + 6);
    assert_null(ndpi_strnstr(text, "HTTP", 9));
    assert_null(ndpi_strnstr("a\0b", "b", 3));
    assert_ptr_equal(ndpi_strnstr(text, "", 3), text);
    assert_null(ndpi_strnstr(NULL, "HTTP", 0));
}

static void test_masks(void **state) {
    (void)state;
    for (unsigned i = 0; i < NDPI_NUM_FDS_BITS * 32; i++) {
        NDPI_PROTOCOL_BITMASK a, b;
        NDPI_BITMASK_RESET(a);
        NDPI_BITMASK_RESET(b);
        NDPI_ADD_PROTOCOL_TO_BITMASK(a, i);
        assert_false(NDPI_BITMASK_COMPARE(a, b));
        const unsigned other = i ^ 1;
        NDPI_ADD_PROTOCOL_TO_BITMASK(b, other);
        assert_false(NDPI_BITMASK_COMPARE(a, b));
        NDPI_ADD_PROTOCOL_TO_BITMASK(b, i);
        assert_true(NDPI_BITMASK_COMPARE(a, b));
    }
}

/* a flow has what nDPI left in its buffer, and where there was nothing an empty one, which passes
 * from flow to flow */
static void test_buffers(void **state) {
    struct ndpi_flow_struct a = {.l4_proto = 6}, b = {.l4_proto = 6}, udp = {.l4_proto = 17};
    NdpiSpare spare = {0};
    message_t *of_a = &a.l4.tcp.tls.message, *of_b = &b.l4.tcp.tls.message;
    (void)state;
    udp.l4.tcp.tls.message.buffer = (void *)&udp; /* means something else there */
    udp.l4.tcp.tls.message.buffer_len = 2048;
    assert_false(ndpi_pack(&udp, &spare));
    assert_ptr_equal(udp.l4.tcp.tls.message.buffer, &udp);
    assert_false(ndpi_pack(&a, &spare)); /* never had one */
    ndpi_unpack(&a, &spare, false);
    assert_null(of_a->buffer);

    of_a->buffer = ndpi_malloc(2048);
    of_a->buffer_len = 2048;
    uint8_t *first = of_a->buffer;
    assert_true(ndpi_pack(&a, &spare));
    assert_null(of_a->buffer);
    ndpi_unpack(&b, &spare, true);
    assert_ptr_equal(of_b->buffer, first);
    assert_int_equal(of_b->buffer_len, 2048);
    memcpy(of_b->buffer, "part of a hello", 15);
    of_b->buffer_used = 15;
    assert_false(ndpi_pack(&b, &spare));
    assert_int_equal(of_b->buffer_len, 15);
    ndpi_unpack(&a, &spare, true);
    assert_ptr_equal(of_a->buffer, first);
    ndpi_unpack(&b, &spare, false);
    assert_int_equal(of_b->buffer_len, 2048);
    assert_memory_equal(of_b->buffer, "part of a hello", 15);
    of_b->buffer_used = 600; /* stays as it is */
    assert_false(ndpi_pack(&b, &spare));
    assert_int_equal(of_b->buffer_len, 2048);
    ndpi_free(of_b->buffer);
    assert_true(ndpi_pack(&a, &spare));
    ndpi_spare_deinit(&spare);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_texts),   cmocka_unit_test(test_texts_left),
        cmocka_unit_test(test_places),  cmocka_unit_test(test_masks),
        cmocka_unit_test(test_buffers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
