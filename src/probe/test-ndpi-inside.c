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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_texts),
        cmocka_unit_test(test_texts_left),
        cmocka_unit_test(test_places),
        cmocka_unit_test(test_masks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
