/* SPDX-License-Identifier: Apache-2.0 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "hub/probe_clock.h"

enum { START_MS = 1700000000 };

/* a report a second; ways and clock are the truth, what the hub makes of them is asked for */
static bool exchange(ProbeClock *clock, uint64_t at_ms, int64_t offset_ms, uint64_t there_ms,
                     uint64_t back_ms) {
    const uint64_t held_ms = 300;
    const uint64_t sent_ms = at_ms + there_ms + held_ms;
    const ProbeEcho echo = {
        .hub_ms = at_ms, .held_ms = held_ms, .sent_ms = (uint64_t)((int64_t)sent_ms + offset_ms)};
    return probe_clock_take(clock, &echo, sent_ms + back_ms);
}

static void assert_clock(const ProbeClock *clock, int64_t offset_ms, int64_t give_ms,
                         uint64_t way_ms) {
    int64_t offset = 0;
    uint64_t way = 0;
    assert_true(probe_clock_read(clock, &offset, &way));
    if (offset < offset_ms - give_ms || offset > offset_ms + give_ms)
        fail_msg("%ld ms is not %ld ms", (long)offset, (long)offset_ms);
    assert_int_equal(way, way_ms);
}

static void test_offset(void **state) {
    (void)state;
    static const int64_t offsets[] = {0, 7, -7, 45000, -45000, 7200000};
    for (size_t i = 0; i < sizeof(offsets) / sizeof(offsets[0]); i++) {
        ProbeClock clock = {0};
        assert_true(exchange(&clock, START_MS, offsets[i], 40, 40));
        assert_clock(&clock, offsets[i], 0, 80);
    }
}

/* a way that is slow now and then, on one side: the shortest counts */
static void test_uneven_ways(void **state) {
    (void)state;
    ProbeClock clock = {0};
    for (uint64_t i = 0; i < 40; i++)
        assert_true(exchange(&clock, START_MS + i * 1000, 500, 1, i % 10 == 5 ? 1 : i * 37 % 400));
    assert_clock(&clock, 500, 1, 2);
}

/* a clock that is set is believed at once, forwards or back */
static void test_step(void **state) {
    (void)state;
    ProbeClock clock = {0};
    for (uint64_t i = 0; i < 20; i++)
        assert_true(exchange(&clock, START_MS + i * 1000, 0, 2, 2));
    assert_true(exchange(&clock, START_MS + 20000, -3600000, 2, 2));
    assert_clock(&clock, -3600000, 1, 4);
}

static void test_nothing(void **state) {
    (void)state;
    ProbeClock clock = {0};
    int64_t offset = 0;
    uint64_t way = 0;
    assert_false(probe_clock_take(&clock, &(ProbeEcho){.sent_ms = START_MS}, START_MS));
    const ProbeEcho back = {.hub_ms = START_MS, .sent_ms = START_MS};
    assert_false(probe_clock_take(&clock, &back, START_MS - 1000)); /* the hub's was set back */
    const ProbeEcho late = {.hub_ms = START_MS, .held_ms = 10, .sent_ms = START_MS};
    assert_false(probe_clock_take(&clock, &late, START_MS + 5));
    assert_false(probe_clock_take(&clock, &back, START_MS + 3600000)); /* and forwards */
    assert_false(probe_clock_read(&clock, &offset, &way));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_offset),
        cmocka_unit_test(test_uneven_ways),
        cmocka_unit_test(test_step),
        cmocka_unit_test(test_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
