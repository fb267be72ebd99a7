/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Ten million batches through the simulator: each is stored exactly once or is part of a gap with
 * exact counts, in order, within the credit, and everything drains when the faults stop.
 * WEIR_SEED repeats a run, WEIR_SIM_BATCHES changes its length.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include <cmocka.h>

#include "base/sanitized.h"
#include "channel/delivery-sim.h"

static uint64_t setting(const char *name, uint64_t unset) {
    const char *text = getenv(name);
    return text ? strtoull(text, NULL, 10) : unset;
}

static void run_many(uint64_t share, const SimPlan *shape, const char *name) {
    uint64_t usual = WEIR_SANITIZED ? 1000000 : 10000000;
    uint64_t batches = setting("WEIR_SIM_BATCHES", usual) * share / 100;
    uint64_t seed = setting("WEIR_SEED", (uint64_t)time(NULL));
    size_t most_epochs = 0;
    uint64_t done = 0, stored = 0, gaps = 0, faults = 0, discarded = 0;
    print_message("%s: seed %" PRIu64 "\n", name, seed);
    static Sim sim;
    for (uint64_t i = 0; done < batches; i++) {
        SimPlan plan = *shape;
        plan.seed = seed + i;
        plan.batches = 200000;
        plan.faults = (double[]){0.2, 1, 5, 20}[i % 4];
        if (!sim_run(&sim, &plan))
            fail_msg("%s: WEIR_SEED=%" PRIu64 ", round %" PRIu64 " at %" PRIu64 " ms: %s", name,
                     seed, i, sim.now_ms, sim.failure);
        done += sim.appended;
        stored += sim.n_stored;
        gaps += sim.n_gaps;
        faults += sim.n_faults;
        discarded += sim.n_discarded;
        most_epochs = sim.most_epochs > most_epochs ? sim.most_epochs : most_epochs;
    }
    print_message("%s: %" PRIu64 " batches, %" PRIu64 " faults: %" PRIu64 " stored, %" PRIu64
                  " in gaps, %" PRIu64 " discarded on the way\n",
                  name, done, faults, stored, gaps, discarded);
    if (!shape->limited && !shape->rollbacks)
        assert_int_equal(gaps, 0);
    assert_true(faults > 0);
    if (shape->restarts) {
        print_message("%s: up to %zu epochs at a time\n", name, most_epochs);
        assert_true(batches < 1000000 || most_epochs > 2 * DELIVERY_EPOCHS_MAX);
    }
}

static void test_unlimited(void **state) {
    (void)state;
    run_many(20, &(SimPlan){0}, "unlimited spool");
}

static void test_small_budget(void **state) {
    (void)state;
    run_many(20, &(SimPlan){.small_credit = true}, "small ingest budget");
}

static void test_limited(void **state) {
    (void)state;
    run_many(20, &(SimPlan){.limited = true}, "limited spool");
}

static void test_power(void **state) {
    (void)state;
    run_many(10, &(SimPlan){.power = true}, "power lost");
    run_many(10, &(SimPlan){.power = true, .limited = true}, "power lost, limited spool");
}

static void test_many_restarts(void **state) {
    (void)state;
    run_many(10, &(SimPlan){.restarts = true, .power = true}, "many restarts");
}

static void test_other_keys(void **state) {
    (void)state;
    run_many(10, &(SimPlan){.keys = true, .limited = true}, "old spool, new key");
}

static void test_rollbacks(void **state) {
    (void)state;
    run_many(10, &(SimPlan){.limited = true, .rollbacks = true}, "store back to a backup");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_unlimited),     cmocka_unit_test(test_small_budget),
        cmocka_unit_test(test_limited),       cmocka_unit_test(test_power),
        cmocka_unit_test(test_many_restarts), cmocka_unit_test(test_rollbacks),
        cmocka_unit_test(test_other_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
