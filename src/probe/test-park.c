/* SPDX-License-Identifier: Apache-2.0 */

/* States come back as they were stored, whatever is in them, and in as many as there may be. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/hash.h"
#include "probe/park.h"

enum { STATES = 500, BYTES = 736, ROUNDS = 20000 };

static Park park;

/* of each 32 words some are not zero, as many of them as `share` of 256 says */
static void make(uint8_t state[BYTES], uint64_t seed, unsigned share) {
    memset(state, 0, BYTES);
    for (size_t i = 0; i < BYTES / 4; i++) {
        const uint64_t random = hash_u64(i, seed);
        if ((random & 255) < share)
            state[i * 4 + (random >> 8) % 4] = (uint8_t)(random >> 16 | 1);
    }
}

static void store_and_load(uint32_t whole) {
    static uint8_t expected[STATES][BYTES];
    uint32_t numbers[STATES];
    uint8_t room[BYTES];
    memset(expected, 0, sizeof(expected));
    assert_int_equal(park_init(&park, STATES, whole, BYTES), 0);
    for (size_t i = 0; i < STATES; i++) {
        numbers[i] = park_take(&park);
        assert_int_not_equal(numbers[i], 0);
    }
    assert_int_equal(park_take(&park), 0);
    for (uint64_t i = 0; i < ROUNDS; i++) {
        const size_t at = hash_u64(i, 1) % STATES;
        uint8_t *got = park_load(&park, numbers[at], room);
        assert_memory_equal(got, expected[at], BYTES);
        make(expected[at], i, (unsigned)(hash_u64(i, 2) % 257));
        memcpy(got, expected[at], BYTES);
        numbers[at] = park_store(&park, numbers[at], got);
        if (i % 7 == 0) {
            park_return(&park, numbers[at]);
            numbers[at] = park_take(&park);
            memset(expected[at], 0, BYTES);
        }
    }
    assert_int_equal(park.used, STATES);
    for (size_t i = 0; i < STATES; i++)
        park_return(&park, numbers[i]);
    assert_int_equal(park.used, 0);
    park_deinit(&park);
}

static void test_round(void **context) {
    (void)context;
    store_and_load(0);
    store_and_load(1);
    store_and_load(STATES / 2);
    store_and_load(STATES);
}

static void test_full_and_empty(void **context) {
    uint8_t full[BYTES];
    uint8_t empty[BYTES] = {0};
    uint8_t room[BYTES];
    (void)context;
    memset(full, 0xff, sizeof(full));
    assert_int_equal(park_init(&park, 2, 0, BYTES), 0);
    uint32_t number = park_take(&park);
    number = park_store(&park, number, full);
    assert_memory_equal(park_load(&park, number, room), full, BYTES);
    number = park_store(&park, number, empty);
    assert_memory_equal(park_load(&park, number, room), empty, BYTES);
    park_deinit(&park);
}

static void test_sizes_refused(void **context) {
    (void)context;
    assert_true(park_init(&park, 1, 0, PARK_STATE_MAX + 8) < 0);
    assert_true(park_init(&park, 1, 0, 12) < 0);
    assert_int_equal(park_init(&park, 1, 0, PARK_STATE_MAX), 0);
    park_deinit(&park);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round),
        cmocka_unit_test(test_full_and_empty),
        cmocka_unit_test(test_sizes_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
