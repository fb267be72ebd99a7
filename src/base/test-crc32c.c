/* SPDX-License-Identifier: Apache-2.0 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "base/crc32c.h"

/* RFC 3720 appendix B.4 */
static void test_published_values(void **state) {
    (void)state;
    uint8_t bytes[32];
    memset(bytes, 0, sizeof(bytes));
    assert_int_equal(crc32c(0, bytes, 32), 0x8a9136aa);
    assert_int_equal(crc32c_portable(0, bytes, 32), 0x8a9136aa);
    memset(bytes, 0xff, sizeof(bytes));
    assert_int_equal(crc32c(0, bytes, 32), 0x62a8ab43);
    for (size_t i = 0; i < 32; i++)
        bytes[i] = (uint8_t)i;
    assert_int_equal(crc32c(0, bytes, 32), 0x46dd794e);
    assert_int_equal(crc32c_portable(0, bytes, 32), 0x46dd794e);
    assert_int_equal(crc32c(0, "123456789", 9), 0xe3069283);
    assert_int_equal(crc32c_portable(0, "123456789", 9), 0xe3069283);
}

static void test_pieces_and_both_ways_agree(void **state) {
    (void)state;
    uint8_t bytes[257];
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)(i * 37 + 11);
    for (size_t n = 0; n <= sizeof(bytes); n++) {
        uint32_t whole = crc32c(0, bytes, n);
        assert_int_equal(whole, crc32c_portable(0, bytes, n));
        assert_int_equal(whole, crc32c(crc32c(0, bytes, n / 3), bytes + n / 3, n - n / 3));
    }
}

static void test_long_ones(void **state) {
    (void)state;
    static uint8_t bytes[65536];
    uint32_t x = 1;
    for (size_t i = 0; i < sizeof(bytes); i++) {
        x = x * 1664525 + 1013904223;
        bytes[i] = (uint8_t)(x >> 24);
    }
    for (size_t n = 6000; n < sizeof(bytes) - 8; n += n < 6300 || n > 12200 ? 997 : 1)
        assert_int_equal(crc32c((uint32_t)n, bytes + n % 8, n),
                         crc32c_portable((uint32_t)n, bytes + n % 8, n));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_published_values),
        cmocka_unit_test(test_pieces_and_both_ways_agree),
        cmocka_unit_test(test_long_ones),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
