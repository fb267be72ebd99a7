/* SPDX-License-Identifier: Apache-2.0 */

/* the parts of the flow table: pool, index, wheel */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "probe/flow_index.h"
#include "probe/pool.h"
#include "probe/wheel.h"

static uint64_t next_random(uint64_t *x) {
    *x ^= *x << 13;
    *x ^= *x >> 7;
    *x ^= *x << 17;
    return *x;
}

static void test_pool_gives_each_once(void **state) {
    (void)state;
    enum { N = 1000 };
    Pool pool;
    assert_int_equal(pool_init(&pool, N, 24), 0);
    uint8_t out[N + 1] = {0};
    for (uint32_t i = 0; i < N; i++) {
        uint32_t number = pool_take(&pool);
        assert_true(number >= 1 && number <= N && !out[number]);
        out[number] = 1;
    }
    assert_int_equal(pool_take(&pool), 0);
    for (uint32_t number = 1; number <= N; number += 2)
        pool_return(&pool, number);
    assert_int_equal(pool.used, N / 2);
    for (uint32_t i = 0; i < N / 2; i++)
        assert_int_equal(pool_take(&pool) % 2, 1);
    assert_int_equal(pool_take(&pool), 0);
    pool_deinit(&pool);
}

static int index_has(const FlowIndex *index, uint32_t hash, uint32_t number) {
    uint32_t at = hash;
    uint32_t found = 0;
    while ((found = flow_index_next(index, hash, &at)) != 0)
        if (found == number)
            return 1;
    return 0;
}

/* random adding and removing with many equal and neighbouring hashes, held against an array */
static void test_index_against_an_array(void **state) {
    (void)state;
    enum { N = 200 };
    FlowIndex index;
    assert_int_equal(flow_index_init(&index, N), 0);
    uint32_t hashes[N + 1];
    uint8_t in[N + 1] = {0};
    uint64_t x = 42;
    for (int i = 0; i < 100000; i++) {
        uint32_t number = (uint32_t)(next_random(&x) % N + 1);
        if (in[number]) {
            flow_index_remove(&index, hashes[number], number);
        } else {
            /* a few homes at the end of the table, so that runs wrap around */
            hashes[number] = (uint32_t)(next_random(&x) % 40) - 20;
            flow_index_add(&index, hashes[number], number);
        }
        in[number] = !in[number];
        for (uint32_t k = 1; i % 101 == 0 && k <= N; k++)
            if (in[k])
                assert_true(index_has(&index, hashes[k], k));
    }
    for (uint32_t k = 1; k <= N; k++)
        if (in[k])
            flow_index_remove(&index, hashes[k], k);
    for (uint32_t at = 0; at <= index.mask; at++)
        assert_int_equal(index.slots[at].number, 0);
    flow_index_deinit(&index);
}

/* more than the first size holds: it grows and everything is found again, and again when it shrinks
 * to nothing */
static void test_index_grows(void **state) {
    (void)state;
    enum { N = 1300000 };
    FlowIndex index;
    assert_int_equal(flow_index_init(&index, N), 0);
    const uint32_t first = index.mask;
    for (uint32_t i = 1; i <= N; i++)
        flow_index_add(&index, i * 2654435761u, i);
    assert_true((uint64_t)index.mask + 1 == ((uint64_t)first + 1) * 4);
    assert_true((uint64_t)N * 2 <= (uint64_t)index.mask + 1);
    for (uint32_t i = 1; i <= N; i++)
        assert_true(index_has(&index, i * 2654435761u, i));
    for (uint32_t i = 1; i <= N; i++)
        flow_index_remove(&index, i * 2654435761u, i);
    assert_int_equal(index.used, 0);
    for (uint32_t at = 0; at <= index.mask; at++)
        assert_true(index.slots[at].number == 0);
    flow_index_deinit(&index);
}

static void test_wheel_in_time(void **state) {
    (void)state;
    enum { N = 500 };
    const uint64_t tick_ns = UINT64_C(1) << WHEEL_TICK_SHIFT;
    Wheel *wheel = calloc(1, sizeof(*wheel));
    FlowMore *flows = calloc(N + 1, sizeof(*flows));
    uint64_t deadlines[N + 1];
    assert_non_null(wheel);
    assert_non_null(flows);
    wheel->flows = flows;
    wheel->tick = 1000;
    uint64_t x = 7;
    uint64_t now = 1000 * tick_ns;
    for (uint32_t i = 1; i <= N; i++) {
        /* up to three times the wheel's span ahead */
        deadlines[i] = now + next_random(&x) % (3 * WHEEL_SLOTS * tick_ns);
        wheel_add(wheel, i, deadlines[i]);
    }
    for (uint32_t i = 1; i <= N; i += 10)
        wheel_remove(wheel, i);
    uint32_t taken = 0;
    while (taken < N - N / 10) {
        now += next_random(&x) % (20 * tick_ns);
        uint32_t number = 0;
        while ((number = wheel_take(wheel, now)) != 0) {
            if (deadlines[number] > now) {
                wheel_add(wheel, number, deadlines[number]);
                continue;
            }
            assert_int_not_equal(number % 10, 1);
            deadlines[number] = UINT64_MAX;
            taken++;
        }
        /* nothing that is due by more than two ticks is still in */
        for (uint32_t i = 2; i <= N; i++)
            if (i % 10 != 1 && deadlines[i] != UINT64_MAX)
                assert_true(deadlines[i] + 2 * tick_ns > now);
    }
    assert_int_equal(wheel_first(wheel), 0);
    free(flows);
    free(wheel);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pool_gives_each_once),
        cmocka_unit_test(test_index_against_an_array),
        cmocka_unit_test(test_index_grows),
        cmocka_unit_test(test_wheel_in_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
