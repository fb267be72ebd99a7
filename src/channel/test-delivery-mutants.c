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
    LOADS_BACKWARDS,      /* of two keys with one epoch the one that is behind counts */
    FORGETS_THE_FINISHED, /* of a store that went back, only what is not over is made good */
} Mutant;

static Mutant mutant;
#define MUTANT(name) (mutant == (name))

/* the machines themselves, broken on demand, instead of those in the library */
#include "channel/delivery_entries.c"  /* NOLINT(bugprone-suspicious-include) */
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
    const SimPlan keys = {.keys = true};
    assert_true(survives(NONE, &plain));
    assert_true(survives(NONE, &limited));
    assert_true(survives(NONE, &small));
    assert_true(survives(NONE, &power));
    assert_true(survives(NONE, &rollbacks));
    assert_true(survives(NONE, &keys));
    assert_false(survives(TAKES_TWICE, &plain));
    assert_false(survives(TAKES_ANY_ORDER, &plain));
    assert_false(survives(KEEPS_TOTALS, &limited));
    assert_false(survives(NEVER_ASKS_AGAIN, &small));
    assert_false(survives(IGNORES_NONCE, &small));
    assert_false(survives(NEVER_GOES_BACK, &plain));
    assert_false(survives(IGNORES_CREDIT, &small));
    assert_false(survives(LATER_IS_NEVER, &power));
    assert_false(survives(LOADS_BACKWARDS, &keys));
    assert_false(survives(FORGETS_THE_FINISHED, &rollbacks));
}

/* hello after hello, each with epochs nothing comes of: no more than one hello's worth stays */
static void test_unused_epochs(void **state) {
    (void)state;
    const PeerKey key = {"0123456789012345678901234567890123456789"};
    const EpochId kept = {{1}};
    cleanup(delivery_receiver_freep) DeliveryReceiver *receiver = NULL;
    assert_int_equal(delivery_receiver_new(&receiver, &(DeliveryReceiverConfig){0}), 0);
    if (!receiver)
        return; /* never, but lint does not know what the line above means */
    assert_int_equal(delivery_receiver_load(receiver, &key, &kept, 7, (BatchCounts){0}), 0);
    static DeliveryHello hello = {.n_epochs = DELIVERY_EPOCHS_MAX};
    for (unsigned i = 1; i <= 1000; i++) {
        hello.hello_id = i;
        hello.keep = i % 2;
        for (unsigned k = 0; k < DELIVERY_EPOCHS_MAX; k++) {
            const unsigned id[] = {i, k, 9};
            memcpy(&hello.epochs[k].epoch, id, sizeof(id));
        }
        assert_int_equal(delivery_receiver_hello(receiver, &key, &hello, i), 0);
    }
    assert_int_equal(find_peer(receiver, &key)->n_epochs, DELIVERY_EPOCHS_MAX + 1);
    assert_int_equal(peer_epoch(find_peer(receiver, &key), &kept)->at->stored, 7);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_mutants),
                                       cmocka_unit_test(test_unused_epochs)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
