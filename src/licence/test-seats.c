/* SPDX-License-Identifier: Apache-2.0 */

/* who sits: against a plain reading of the rule, in every order and through long random lives */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "licence/seats.h"

enum { N = 9, SEATS = 4, MINUTE = 60000 };

static uint64_t draw(uint64_t *x) {
    *x ^= *x << 13;
    *x ^= *x >> 7;
    *x ^= *x << 17;
    return *x;
}

static SeatProbe probe(uint32_t number) {
    return (SeatProbe){.number = number, .enrolled = number, .connected = true};
}

static const SeatProbe *find(const SeatProbe *probes, size_t n, uint32_t number) {
    for (size_t i = 0; i < n; i++)
        if (probes[i].number == number)
            return &probes[i];
    fail_msg("%u is missing", number);
    return NULL;
}

/* the rule as it is written: a probe sits when fewer than N others come before it */
static bool sits(const SeatProbe *probes, size_t n, const SeatProbe *one, uint64_t now_ms) {
    uint32_t before = 0;
    for (size_t i = 0; i < n; i++) {
        const SeatProbe *other = &probes[i];
        bool there = other->connected || (other->gone_ms && now_ms - other->gone_ms < 600000);
        bool earlier = other->pinned != one->pinned       ? other->pinned
                       : other->enrolled != one->enrolled ? other->enrolled < one->enrolled
                                                          : other->number < one->number;
        before += there && !other->exempt && earlier;
    }
    bool there = one->connected || (one->gone_ms && now_ms - one->gone_ms < 600000);
    return there && !one->exempt && before < SEATS;
}

static void test_any_life(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 200; seed++) {
        uint64_t x = seed * 0x9e3779b97f4a7c15u;
        uint64_t now_ms = 1000000;
        SeatProbe probes[N];
        for (uint32_t i = 0; i < N; i++) {
            probes[i] = (SeatProbe){.number = i + 1, .enrolled = draw(&x) % 6};
            probes[i].exempt = draw(&x) % 12 == 0;
        }
        for (size_t step = 0; step < 300; step++) {
            SeatProbe *one = &probes[draw(&x) % N];
            now_ms += draw(&x) % (4ull * MINUTE);
            if (one->connected)
                one->gone_ms = now_ms;
            one->connected = !one->connected;
            if (draw(&x) % 20 == 0)
                one->pinned = !one->pinned;
            uint64_t next_ms = seats_assign(probes, N, SEATS, now_ms);
            assert_true(next_ms > now_ms);
            size_t seated = 0;
            for (size_t i = 0; i < N; i++) {
                assert_int_equal(probes[i].seated, sits(probes, N, &probes[i], now_ms));
                seated += probes[i].seated;
                /* nothing changes before it is said to */
                if (next_ms != UINT64_MAX)
                    assert_int_equal(sits(probes, N, &probes[i], next_ms - 1), probes[i].seated);
            }
            assert_true(seated <= SEATS);
        }
    }
}

/* one is away for 5 minutes and for 30, with two more probes than seats */
static void test_away(void **state) {
    (void)state;
    SeatProbe probes[SEATS + 2];
    for (uint32_t i = 0; i < SEATS + 2; i++)
        probes[i] = probe(i + 1);
    uint64_t now_ms = MINUTE;
    assert_int_equal(seats_assign(probes, SEATS + 2, SEATS, now_ms), UINT64_MAX);
    assert_false(find(probes, SEATS + 2, 5)->seated);
    assert_int_equal(find(probes, SEATS + 2, 5)->ahead, 0);
    assert_int_equal(find(probes, SEATS + 2, 6)->ahead, 1);

    probes[1].connected = false;
    probes[1].gone_ms = now_ms;
    const uint64_t left_ms = now_ms;
    for (; now_ms < left_ms + SEATS_KEPT_MS; now_ms += MINUTE) { /* kept for it */
        assert_int_equal(seats_assign(probes, SEATS + 2, SEATS, now_ms), left_ms + SEATS_KEPT_MS);
        assert_true(find(probes, SEATS + 2, 2)->seated);
        assert_false(find(probes, SEATS + 2, 5)->seated);
    }
    (void)seats_assign(probes, SEATS + 2, SEATS, now_ms);
    assert_false(find(probes, SEATS + 2, 2)->seated);
    assert_true(find(probes, SEATS + 2, 5)->seated);
    assert_false(find(probes, SEATS + 2, 6)->seated);

    now_ms += 20 * (uint64_t)MINUTE; /* back: the newest waits again */
    probes[1].connected = true;
    (void)seats_assign(probes, SEATS + 2, SEATS, now_ms);
    assert_true(find(probes, SEATS + 2, 2)->seated);
    assert_false(find(probes, SEATS + 2, 5)->seated);
}

/* after a start of the hub, all who sat count as gone since then: nobody slips in meanwhile */
static void test_restart(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 100; seed++) {
        uint64_t x = seed * 0x2545f4914f6cdd1du;
        SeatProbe probes[N];
        bool sat[N + 1];
        uint64_t now_ms = 1000000;
        for (uint32_t i = 0; i < N; i++)
            probes[i] = probe(i + 1);
        (void)seats_assign(probes, N, SEATS, now_ms);
        for (size_t i = 0; i < N; i++) {
            sat[probes[i].number] = probes[i].seated;
            probes[i].connected = false;
            probes[i].gone_ms = probes[i].seated ? now_ms : 0;
        }
        for (size_t back = 0; back < N;) { /* in any order */
            SeatProbe *one = &probes[draw(&x) % N];
            back += !one->connected;
            one->connected = true;
            now_ms += 1000;
            (void)seats_assign(probes, N, SEATS, now_ms);
            for (size_t i = 0; i < N; i++)
                assert_true(!probes[i].seated || sat[probes[i].number]);
        }
        for (size_t i = 0; i < N; i++)
            assert_int_equal(probes[i].seated, sat[probes[i].number]);
    }
}

static void test_edges(void **state) {
    (void)state;
    SeatProbe one = probe(1);
    assert_int_equal(seats_assign(NULL, 0, 3, 1), UINT64_MAX);
    (void)seats_assign(&one, 1, 0, 1);
    assert_false(one.seated);
    (void)seats_assign(&one, 1, 1, 1);
    assert_true(one.seated);
    SeatProbe two[2] = {probe(1), probe(2)};
    two[1].pinned = true;
    (void)seats_assign(two, 2, 1, 1);
    assert_true(find(two, 2, 2)->seated);
    assert_false(find(two, 2, 1)->seated);
    two[0].exempt = true; /* the pinned one: it leaves its seat to the other */
    (void)seats_assign(two, 2, 1, 1);
    assert_true(find(two, 2, 1)->seated);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_any_life),
        cmocka_unit_test(test_away),
        cmocka_unit_test(test_restart),
        cmocka_unit_test(test_edges),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
