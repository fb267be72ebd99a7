/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The test of the test: each way of breaking the machines must make the simulator fail.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

typedef enum Mutant {
    NONE,
    TAKES_TWICE,      /* no check for duplicates */
    TAKES_ANY_ORDER,  /* does not insist on the next in sequence */
    KEEPS_TOTALS,     /* received goes back, its totals do not */
    NEVER_ASKS_AGAIN, /* no new nonce after a discard */
    IGNORES_NONCE,    /* does not send again when the hub asks */
    NEVER_GOES_BACK,  /* does not send again at all */
    IGNORES_CREDIT,
    LATER_IS_NEVER,       /* what the spool cannot tell just now is made a gap */
    FORGETS_THE_FINISHED, /* of a store that went back, only what is not over is made good */
} Mutant;

static Mutant mutant;
#define MUTANT(name) (mutant == (name))

/* the machines themselves, broken on demand, instead of those in the library */
#include "channel/delivery_receiver.c" /* NOLINT(bugprone-suspicious-include) */
#include "channel/delivery_sender.c"   /* NOLINT(bugprone-suspicious-include) */

#include "channel/delivery-sim.h"

static bool survives(Mutant which, const SimPlan *shape) {
    static Sim sim;
    mutant = which;
    for (uint64_t seed = 1; seed <= 8; seed++) {
        SimPlan plan = *shape;
        plan.seed = seed;
        plan.batches = 60000;
        plan.faults = 20;
        if (!sim_run(&sim, &plan)) {
            print_message("mutant %d: %s\n", (int)which, sim.failure);
            return false;
        }
    }
    return true;
}

static void test_mutants(void **state) {
    (void)state;
    const SimPlan plain = {0};
    const SimPlan limited = {.limited = true};
    const SimPlan small = {.small_credit = true};
    const SimPlan power = {.power = true};
    const SimPlan rollbacks = {.rollbacks = true};
    assert_true(survives(NONE, &plain));
    assert_true(survives(NONE, &limited));
    assert_true(survives(NONE, &small));
    assert_true(survives(NONE, &power));
    assert_true(survives(NONE, &rollbacks));
    assert_false(survives(TAKES_TWICE, &plain));
    assert_false(survives(TAKES_ANY_ORDER, &plain));
    assert_false(survives(KEEPS_TOTALS, &limited));
    assert_false(survives(NEVER_ASKS_AGAIN, &small));
    assert_false(survives(IGNORES_NONCE, &small));
    assert_false(survives(NEVER_GOES_BACK, &plain));
    assert_false(survives(IGNORES_CREDIT, &small));
    assert_false(survives(LATER_IS_NEVER, &power));
    assert_false(survives(FORGETS_THE_FINISHED, &rollbacks));
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_mutants)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
