/* SPDX-License-Identifier: Apache-2.0 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "hub/ledger.h"

static const uint64_t start_ms = 1700000000000;

/* a probe that met 40 flows of a former run, and has gone on for so many seconds at 5 a second */
static LedgerCounts at_second(uint64_t s) {
    return (LedgerCounts){
        .metered = 100 + s * 5,
        .appended = 100 + s * 5,
        .waiting = 40 + 100,
        .stored = 7 + s * 5,
        .missing = 3,
    };
}

static void run(Ledger *ledger, uint64_t from, uint64_t to) {
    for (uint64_t s = from; s <= to; s++) {
        const LedgerCounts counts = at_second(s);
        ledger_pulse(ledger, &counts, start_ms + s * 1000);
    }
}

static void test_adds_up(void **state) {
    (void)state;
    Ledger ledger = {0};
    assert_int_equal(ledger_state(&ledger), LEDGER_UNKNOWN);
    run(&ledger, 0, 1);
    assert_int_equal(ledger_state(&ledger), LEDGER_SETTLING);
    run(&ledger, 2, 100);
    assert_int_equal(ledger_state(&ledger), LEDGER_BALANCED);
    const LedgerSums sums = ledger_sums(&ledger);
    assert_int_equal(sums.waited + sums.metered, sums.stored + sums.waiting);
    assert_int_equal(sums.stored, sums.metered);
    assert_true(sums.stored >= 90 * 5 && sums.stored <= 100 * 5);
    assert_int_equal(sums.missing, 0); /* of before */
    assert_int_equal(sums.unexplained, 0);
}

/* what hub and probe have still to tell each other in the first seconds is no loss */
static void test_settles(void **state) {
    (void)state;
    Ledger ledger = {0};
    LedgerCounts counts = at_second(0);
    counts.waiting = 1000; /* the hub has most of it already, and says so now */
    ledger_pulse(&ledger, &counts, start_ms);
    ledger_pulse(&ledger, &counts, start_ms + 1);
    run(&ledger, 1, 30);
    assert_int_equal(ledger_state(&ledger), LEDGER_BALANCED);
    assert_int_equal(ledger_sums(&ledger).unexplained, 0);

    /* never twice the same: nothing can be said, not even that it differs */
    ledger = (Ledger){0};
    for (uint64_t s = 0; s < 60; s++) {
        counts = at_second(s);
        counts.stored += s % 2;
        ledger_pulse(&ledger, &counts, start_ms + s * 1000);
    }
    assert_int_equal(ledger_state(&ledger), LEDGER_SETTLING);
    assert_int_equal(ledger_sums(&ledger).metered, 0);
}

/* a pulse that crosses a commit is off for a moment; what stays away is told after 10 s */
static void test_lost(void **state) {
    (void)state;
    for (int sign = -1; sign <= 1; sign += 2) {
        Ledger ledger = {0};
        run(&ledger, 0, 20);
        for (uint64_t s = 21; s < 60; s++) {
            LedgerCounts counts = at_second(s);
            counts.waiting += s % 9 ? 50 : 0; /* the word of it is under way */
            ledger_pulse(&ledger, &counts, start_ms + s * 1000);
            assert_int_equal(ledger_state(&ledger), LEDGER_BALANCED);
        }
        for (uint64_t s = 60; s < 80; s++) {
            LedgerCounts counts = at_second(s);
            counts.waiting = (uint64_t)((int64_t)counts.waiting + sign * 4);
            ledger_pulse(&ledger, &counts, start_ms + s * 1000);
            if (s < 64)
                assert_int_equal(ledger_state(&ledger), LEDGER_BALANCED);
        }
        assert_int_equal(ledger_state(&ledger), LEDGER_DIFFERS);
        assert_int_equal(ledger_sums(&ledger).unexplained, -sign * 4);
        ledger_session(&ledger); /* away and back: it has 10 s again */
        assert_int_equal(ledger_state(&ledger), LEDGER_BALANCED);
        run(&ledger, 80, 81); /* it was late only */
        assert_int_equal(ledger_state(&ledger), LEDGER_BALANCED);
        assert_int_equal(ledger_sums(&ledger).unexplained, 0);
    }
}

/* what a full spool lets go is known before its gap is stored; an undecodable batch is told apart
 */
static void test_gaps(void **state) {
    (void)state;
    Ledger ledger = {0};
    run(&ledger, 0, 20);
    LedgerCounts counts = at_second(20);
    counts.waiting -= 60;
    counts.let_go = 60;
    for (uint64_t s = 21; s < 60; s++)
        ledger_pulse(&ledger, &counts, start_ms + s * 1000);
    assert_int_equal(ledger_state(&ledger), LEDGER_BALANCED);
    assert_int_equal(ledger_sums(&ledger).unannounced, 60);
    counts.missing += 60;
    counts.waiting -= 9;
    counts.missing += 9;
    counts.undecodable += 9;
    ledger_pulse(&ledger, &counts, start_ms + 60000);
    const LedgerSums sums = ledger_sums(&ledger);
    assert_int_equal(sums.unannounced, 0);
    assert_int_equal(sums.missing, 60);
    assert_int_equal(sums.undecodable, 9);
    assert_int_equal(sums.unexplained, 0);
}

static void test_begins_anew(void **state) {
    (void)state;
    Ledger ledger = {0};
    run(&ledger, 0, 30);
    LedgerCounts counts = {.stored = 500, .missing = 3, .appended = 1, .metered = 2};
    ledger_pulse(&ledger, &counts, start_ms + 31000);
    assert_int_equal(ledger_state(&ledger), LEDGER_SETTLING);
    assert_int_equal(ledger_sums(&ledger).stored, 0);
}

/* figures that no probe would send change nothing but themselves */
static void test_odd(void **state) {
    (void)state;
    Ledger ledger = {0};
    const uint64_t most = UINT64_C(1) << 53;
    LedgerCounts counts = {0};
    ledger_pulse(&ledger, &counts, start_ms);
    ledger_pulse(&ledger, &counts, start_ms);
    for (uint64_t s = 0; s < 40; s++) {
        counts = (LedgerCounts){.metered = most,
                                .export_dropped = most,
                                .appended = most,
                                .waiting = s % 2 ? most : 0,
                                .let_go = s * most / 40};
        ledger_pulse(&ledger, &counts, start_ms + s * 1000);
        (void)ledger_sums(&ledger);
        (void)ledger_state(&ledger);
    }
    ledger_pulse(&ledger, &counts, 0); /* the hub's clock was set back */
    (void)ledger_state(&ledger);
    assert_true(ledger_sums(&ledger).unexplained <= (int64_t)most);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_adds_up),     cmocka_unit_test(test_settles),
        cmocka_unit_test(test_lost),        cmocka_unit_test(test_gaps),
        cmocka_unit_test(test_begins_anew), cmocka_unit_test(test_odd),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
