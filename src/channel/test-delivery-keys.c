/* SPDX-License-Identifier: Apache-2.0 */

/*
 * One epoch under two keys, and two processes under one: the hub's side.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "channel/delivery.h"

static const PeerKey key_a = {"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"};
static const PeerKey key_b = {"bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"};
static const EpochId epoch_e = {{14}};

static DeliveryReceiver *receiver_new(void) {
    static const DeliveryReceiverConfig config = {.budget_bytes = 1 << 20,
                                                  .repeat_ms = 1000,
                                                  .quick_ms = 50,
                                                  .resync_ms = 500,
                                                  .silent_ms = 60000,
                                                  .nonce_seed = 7};
    DeliveryReceiver *receiver = NULL;
    assert_int_equal(delivery_receiver_new(&receiver, &config), 0);
    assert_non_null(receiver);
    return receiver;
}

/* every batch has 10 flows */
static BatchCounts flows_of(uint64_t batches) {
    return (BatchCounts){.flows = batches * 10};
}

static DeliveryVerdict take(DeliveryReceiver *receiver, const PeerKey *key, const EpochId *epoch,
                            uint64_t sequence) {
    const DeliveryBatch batch = {.epoch = *epoch,
                                 .first = sequence,
                                 .last = sequence,
                                 .bytes = 100,
                                 .counts = flows_of(1),
                                 .totals = flows_of(sequence)};
    DeliveryVerdict verdict = DELIVERY_MALFORMED;
    BatchCounts taken = {0};
    assert_int_equal(delivery_receiver_take(receiver, key, &batch, 1, &verdict, &taken), 0);
    if (verdict == DELIVERY_TAKEN)
        assert_int_equal(taken.flows, 10);
    return verdict;
}

static void hello(DeliveryReceiver *receiver, const PeerKey *key, uint64_t id, bool keep,
                  const EpochId *epoch) {
    const DeliveryHello hello = {
        .hello_id = id, .keep = keep, .n_epochs = 1, .epochs = {{.epoch = *epoch}}};
    assert_int_equal(delivery_receiver_hello(receiver, key, &hello, 1), 0);
}

/** state_of() - what this key is told next; false: nothing is due */
static bool state_of(DeliveryReceiver *receiver, const PeerKey *key, uint64_t now_ms,
                     DeliveryState *state) {
    PeerKey to;
    bool found = false;
    DeliveryState each;
    while (delivery_receiver_next_state(receiver, now_ms, &to, &each)) {
        if (memcmp(&to, key, sizeof(to)) != 0)
            continue;
        *state = each;
        found = true;
    }
    return found;
}

/* a state folder whose key was deleted: the epoch is known from before, under another key */
static void test_new_key(void **unused) {
    (void)unused;
    DeliveryState state;
    DeliveryReceiver *receiver = receiver_new();
    assert_int_equal(delivery_receiver_load(receiver, &key_a, &epoch_e, 5, flows_of(5)), 0);
    hello(receiver, &key_b, 1, false, &epoch_e);
    assert_true(state_of(receiver, &key_b, 1, &state));
    assert_int_equal(state.n_marks, 1);
    assert_int_equal(state.marks[0].stored, 5);
    assert_int_equal(state.marks[0].received, 5);
    assert_int_equal(take(receiver, &key_b, &epoch_e, 5), DELIVERY_DUPLICATE);
    assert_int_equal(take(receiver, &key_b, &epoch_e, 6), DELIVERY_TAKEN);
    delivery_receiver_free(receiver);
}

/* the store has a cursor of each key, in any order: the furthest counts */
static void test_load(void **unused) {
    (void)unused;
    DeliveryReceiver *receiver = receiver_new();
    assert_int_equal(delivery_receiver_load(receiver, &key_b, &epoch_e, 9, flows_of(9)), 0);
    assert_int_equal(delivery_receiver_load(receiver, &key_a, &epoch_e, 5, flows_of(5)), 0);
    assert_int_equal(take(receiver, &key_a, &epoch_e, 6), DELIVERY_DUPLICATE);
    assert_int_equal(take(receiver, &key_a, &epoch_e, 10), DELIVERY_TAKEN);
    delivery_receiver_free(receiver);
}

/* both keys send it at the same time: one sequence, whoever is first; and who was told of what is
 * then discarded is asked for it again, whichever of the two that is */
static void test_two_at_once(void **unused) {
    (void)unused;
    DeliveryState before, after;
    DeliveryPeerStatus status;
    DeliveryReceiver *receiver = receiver_new();
    hello(receiver, &key_a, 1, false, &epoch_e);
    hello(receiver, &key_b, 2, false, &epoch_e);
    unsigned n = 0;
    for (uint64_t sequence = 1; sequence <= 20; sequence++)
        for (unsigned k = 0; k < 2; k++)
            n += take(receiver, k ? &key_a : &key_b, &epoch_e, sequence) == DELIVERY_TAKEN;
    assert_int_equal(n, 20);
    assert_int_equal(take(receiver, &key_a, &epoch_e, 21), DELIVERY_TAKEN);
    assert_true(state_of(receiver, &key_b, 2000, &before));
    assert_int_equal(before.marks[0].received, 21);
    delivery_receiver_stored(receiver, &key_b, &epoch_e, 20);
    delivery_receiver_discard(receiver);
    assert_true(state_of(receiver, &key_b, 2000, &after));
    assert_int_equal(after.marks[0].received, 20);
    assert_int_equal(after.marks[0].stored, 20);
    assert_true(after.nonce != before.nonce);
    assert_int_equal(take(receiver, &key_b, &epoch_e, 21), DELIVERY_TAKEN);
    const DeliveryBatch last = {
        .epoch = epoch_e, .first = 21, .last = 21, .bytes = 100, .counts = flows_of(1)};
    delivery_receiver_untake(receiver, &key_b, &last);
    assert_true(state_of(receiver, &key_a, 9000, &before));
    assert_int_equal(before.marks[0].received, 20);
    assert_int_equal(take(receiver, &key_a, &epoch_e, 21), DELIVERY_TAKEN);
    delivery_receiver_stored(receiver, &key_a, &epoch_e, 21);
    for (size_t i = 0; i < 2; i++) {
        assert_true(delivery_receiver_status(receiver, i, &status));
        assert_int_equal(status.held_bytes, 0);
    }
    delivery_receiver_free(receiver);
}

/* of two processes of one key, what one says must not make the hub forget what it must ask the
 * other for again */
static void test_hello_of_a_clone(void **unused) {
    (void)unused;
    const EpochId epoch_f = {{15}};
    DeliveryState before, after;
    DeliveryReceiver *receiver = receiver_new();
    hello(receiver, &key_a, 1, false, &epoch_e);
    assert_true(state_of(receiver, &key_a, 1000, &before));
    assert_int_equal(take(receiver, &key_a, &epoch_e, 2), DELIVERY_OUT_OF_ORDER);
    hello(receiver, &key_a, 2, true, &epoch_f);
    assert_true(state_of(receiver, &key_a, 4000, &after)); /* to be told of the hello */
    assert_true(state_of(receiver, &key_a, 8000, &after));
    assert_true(after.nonce != before.nonce);
    delivery_receiver_free(receiver);
}

/* batches of epochs nobody has said hello with: they are asked for, and take no place */
static void test_made_up_epochs(void **unused) {
    (void)unused;
    DeliveryState before, after;
    DeliveryReceiver *receiver = receiver_new();
    hello(receiver, &key_a, 1, false, &epoch_e);
    assert_true(state_of(receiver, &key_a, 1000, &before));
    for (uint32_t i = 1; i < 10000; i++) {
        EpochId id = {{0}};
        memcpy(id.bytes + 4, &i, sizeof(i));
        assert_int_equal(take(receiver, &key_a, &id, 7), DELIVERY_OUT_OF_ORDER);
    }
    assert_true(state_of(receiver, &key_a, 8000, &after));
    assert_int_equal(after.n_marks, 1);
    assert_true(after.nonce != before.nonce);
    delivery_receiver_free(receiver);
}

/* more epochs of a key than have a place (a link that flaps): the first of them come again, from a
 * spool that was put back to a backup, and are not stored twice */
static void test_many_epochs(void **unused) {
    (void)unused;
    enum { EPOCHS = 4500 };
    DeliveryState state;
    DeliveryReceiver *receiver = receiver_new();
    EpochId id = {{0}};
    for (uint32_t i = 1; i <= EPOCHS; i++) {
        memcpy(id.bytes + 4, &i, sizeof(i));
        hello(receiver, &key_a, i, false, &id);
        assert_int_equal(take(receiver, &key_a, &id, 1), DELIVERY_TAKEN);
        assert_int_equal(take(receiver, &key_a, &id, 2), DELIVERY_TAKEN);
        delivery_receiver_stored(receiver, &key_a, &id, 2);
    }
    for (uint32_t i = 1; i <= EPOCHS; i++) {
        memcpy(id.bytes + 4, &i, sizeof(i));
        assert_int_equal(take(receiver, i % 2 ? &key_a : &key_b, &id, 1), DELIVERY_DUPLICATE);
        hello(receiver, &key_a, EPOCHS + i, false, &id);
        assert_int_equal(take(receiver, &key_a, &id, 2), DELIVERY_DUPLICATE);
    }
    assert_true(state_of(receiver, &key_a, 1000, &state));
    assert_int_equal(state.n_marks, 1);
    assert_int_equal(state.marks[0].stored, 2);
    assert_int_equal(take(receiver, &key_a, &id, 3), DELIVERY_TAKEN);
    delivery_receiver_free(receiver);
}

/* what nobody can have metered is not taken, so that no sum wraps */
static void test_too_much(void **unused) {
    (void)unused;
    DeliveryReceiver *receiver = receiver_new();
    DeliveryBatch batch = {.epoch = epoch_e, .first = 1, .last = 5, .gap = true};
    DeliveryVerdict verdict;
    BatchCounts taken = {0};
    batch.totals.octets = UINT64_MAX;
    assert_int_equal(delivery_receiver_take(receiver, &key_a, &batch, 1, &verdict, &taken), 0);
    assert_int_equal(verdict, DELIVERY_MALFORMED);
    batch.totals = flows_of(1);
    assert_int_equal(delivery_receiver_take(receiver, &key_a, &batch, 1, &verdict, &taken), 0);
    assert_int_equal(verdict, DELIVERY_TAKEN);
    batch = (DeliveryBatch){.epoch = epoch_e, .first = 6, .last = 6};
    batch.counts.flows = UINT64_MAX - 4; /* and the totals of before make 5 */
    batch.totals.flows = 5;
    assert_int_equal(delivery_receiver_take(receiver, &key_a, &batch, 1, &verdict, &taken), 0);
    assert_int_equal(verdict, DELIVERY_MALFORMED);
    delivery_receiver_free(receiver);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_new_key),        cmocka_unit_test(test_load),
        cmocka_unit_test(test_two_at_once),    cmocka_unit_test(test_hello_of_a_clone),
        cmocka_unit_test(test_made_up_epochs), cmocka_unit_test(test_many_epochs),
        cmocka_unit_test(test_too_much),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
