/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A virtual machine that goes back to a snapshot, and a copy of a running one.
 *
 * The sender is a pure machine, so a second one that is told the same is its copy, memory and all.
 * From the snapshot on each is told its own. Every batch has a number of its own that the machines
 * do not know: the store must have each once, whoever sent it under which name. What the hub had
 * not yet confirmed at the moment of the snapshot may be there twice, and nothing else.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "channel/delivery.h"

enum { BATCHES_MAX = 20000, EPOCHS_MAX = 64, STEP_MS = 10 };

typedef struct Place {
    uint32_t content;
    BatchCounts totals;
} Place;

typedef struct Epoch {
    EpochId id;
    uint64_t n;
    Place *at;
} Epoch;

typedef struct Machine {
    DeliverySender *sender;
    Epoch epochs[EPOCHS_MAX];
    size_t n_epochs;
    bool begun;
    uint64_t hello_id;
    bool connected;
    DeliveryState state; /* of the last hello that it said */
    unsigned n_renounced;
} Machine;

typedef struct Sent {
    uint32_t content;
    DeliveryBatch batch;
} Sent;

static struct {
    uint64_t random;
    uint64_t now_ms;
    uint32_t n_contents;
    unsigned stored[BATCHES_MAX];
    bool doubtful[BATCHES_MAX]; /* not confirmed at the snapshot */
    DeliveryReceiver *receiver;
    Sent taken[BATCHES_MAX];
    size_t n_taken;
    bool twins; /* both are told the same */
} world;

static const PeerKey key = {"kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk"};

static uint64_t chance(uint64_t n) {
    uint64_t z = (world.random += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return (z ^ (z >> 31)) % n;
}

/* --- the machine and its spool --- */

static Epoch *find(Machine *m, const EpochId *id) {
    for (size_t i = 0; i < m->n_epochs; i++)
        if (memcmp(&m->epochs[i].id, id, sizeof(*id)) == 0)
            return &m->epochs[i];
    return NULL;
}

static void fill(const Epoch *epoch, uint64_t sequence, DeliveryBatch *batch) {
    const Place *place = &epoch->at[sequence - 1];
    *batch = (DeliveryBatch){
        .epoch = epoch->id,
        .first = sequence,
        .last = sequence,
        .bytes = 500,
        .counts =
            sequence > 1 ? batch_counts_subtract(place->totals, place[-1].totals) : place->totals,
        .totals = place->totals,
    };
}

static int load(void *userdata, const EpochId *id, uint64_t sequence, DeliveryBatch *batch) {
    const Epoch *epoch = find(userdata, id);
    if (!epoch || sequence > epoch->n)
        return DELIVERY_E_UNKNOWN;
    fill(epoch, sequence, batch);
    return 0;
}

static void release(void *userdata, const EpochId *id, uint64_t last, const BatchCounts *totals) {
    Machine *m = userdata;
    const Epoch *epoch = find(m, id);
    m->n_renounced += !totals;
    if (totals && last)
        assert_true(batch_counts_equal(*totals, epoch->at[last - 1].totals));
}

static void append(Machine *m, uint32_t content, uint64_t packets, const EpochId *fresh) {
    if (!m->begun || delivery_sender_wants_epoch(m->sender)) {
        assert_true(m->n_epochs < EPOCHS_MAX);
        Epoch *epoch = &m->epochs[m->n_epochs++];
        *epoch = (Epoch){.id = *fresh, .at = calloc(BATCHES_MAX, sizeof(Place))};
        m->begun = true;
    }
    Epoch *epoch = &m->epochs[m->n_epochs - 1];
    const BatchCounts counts = {.flows = 1, .packets = packets, .octets = packets * 60};
    epoch->at[epoch->n] = (Place){
        content,
        batch_counts_add(epoch->n ? epoch->at[epoch->n - 1].totals : (BatchCounts){0}, counts)};
    epoch->n++;
    DeliveryBatch batch;
    fill(epoch, epoch->n, &batch);
    assert_int_equal(delivery_sender_append(m->sender, &batch, world.now_ms), 0);
}

static EpochId fresh_id(void) {
    EpochId id;
    for (size_t i = 0; i < sizeof(id.bytes); i++)
        id.bytes[i] = (uint8_t)chance(256);
    return id;
}

/** submit() - what the exporting thread does */
static void submit(Machine *machines, size_t n) {
    const uint64_t packets = 1 + chance(1000);
    const EpochId fresh = fresh_id();
    const uint32_t content = world.n_contents++;
    assert_true(content < BATCHES_MAX);
    for (size_t i = 0; i < n; i++) {
        Machine *m = &machines[i];
        EpochId from;
        uint64_t first = 0, last = 0;
        append(m, content, packets, &fresh);
        while (delivery_sender_diverged(m->sender, &from, &first, &last)) {
            for (uint64_t s = first; s <= last; s++)
                append(m, find(m, &from)->at[s - 1].content, 1 + chance(1000), &fresh);
            delivery_sender_moved(m->sender, &from);
        }
    }
}

static void machine_new(Machine *m) {
    const DeliveryOwner owner = {.userdata = m, .load = load, .release = release};
    *m = (Machine){0};
    assert_int_equal(delivery_sender_new(&m->sender, &owner), 0);
}

static void machine_free(Machine *m) {
    delivery_sender_free(m->sender);
    for (size_t i = 0; i < m->n_epochs; i++)
        free(m->epochs[i].at);
}

static void connect(Machine *m, uint64_t hello_id) {
    delivery_sender_session_begin(m->sender, hello_id, world.now_ms);
    m->connected = true;
}

static void disconnect(Machine *m) {
    delivery_sender_session_end(m->sender);
    m->connected = false;
}

/* --- the hub --- */

static void arrive(Machine *m, const DeliveryItem *item, bool keep) {
    if (item->kind == DELIVERY_ITEM_HELLO) {
        DeliveryHello hello;
        delivery_sender_hello(m->sender, &hello);
        hello.keep = keep;
        m->hello_id = hello.hello_id;
        assert_int_equal(delivery_receiver_hello(world.receiver, &key, &hello, world.now_ms), 0);
        return;
    }
    DeliveryVerdict verdict = DELIVERY_MALFORMED;
    BatchCounts counts;
    assert_int_equal(
        delivery_receiver_take(world.receiver, &key, &item->batch, world.now_ms, &verdict, &counts),
        0);
    if (verdict != DELIVERY_TAKEN)
        return;
    assert_int_equal(item->kind, DELIVERY_ITEM_BATCH);
    world.taken[world.n_taken++] =
        (Sent){find(m, &item->batch.epoch)->at[item->batch.last - 1].content, item->batch};
}

/** pump() - all that there is to send; its copy says the same, and is not heard */
static void pump(Machine *m, Machine *twin, bool keep) {
    DeliveryItem item, same;
    while (m->connected && delivery_sender_next(m->sender, &item, world.now_ms)) {
        arrive(m, &item, keep);
        delivery_sender_sent(m->sender, &item, world.now_ms);
        if (!twin)
            continue;
        assert_true(delivery_sender_next(twin->sender, &same, world.now_ms));
        assert_int_equal(same.kind, item.kind);
        delivery_sender_sent(twin->sender, &same, world.now_ms);
    }
}

static void commit(void) {
    for (size_t i = 0; i < world.n_taken; i++) {
        const Sent *sent = &world.taken[i];
        world.stored[sent->content]++;
        delivery_receiver_stored(world.receiver, &key, &sent->batch.epoch, sent->batch.last);
    }
    world.n_taken = 0;
}

static void tell(Machine *machines, size_t n) {
    PeerKey to;
    DeliveryState state;
    while (delivery_receiver_next_state(world.receiver, world.now_ms, &to, &state))
        for (size_t i = 0; i < n; i++) {
            if (!machines[i].connected)
                continue;
            state.hello_id = world.twins ? machines[0].hello_id : machines[i].hello_id;
            delivery_sender_state(machines[i].sender, &state);
        }
}

static void world_new(uint64_t seed) {
    static const DeliveryReceiverConfig config = {.budget_bytes = 64 << 20,
                                                  .repeat_ms = 1000,
                                                  .quick_ms = 50,
                                                  .resync_ms = 500,
                                                  .silent_ms = 60000,
                                                  .nonce_seed = 7};
    memset(&world, 0, sizeof(world));
    world.random = seed;
    world.now_ms = 1000;
    assert_int_equal(delivery_receiver_new(&world.receiver, &config), 0);
}

static void step(Machine *machines, size_t n, bool appends) {
    if (appends)
        for (uint64_t k = chance(4); k; k--)
            submit(machines, 1);
    for (size_t i = 0; i < n; i++)
        pump(&machines[i], NULL, true);
    if (chance(20) == 0)
        commit();
    tell(machines, n);
    world.now_ms += STEP_MS;
}

/** settle() - a last batch of each, for what is put aside goes with the next one; then all drains
 */
static void settle(Machine *machines, size_t n) {
    for (unsigned round = 0; round < 3; round++) {
        for (size_t i = 0; i < n; i++)
            submit(&machines[i], 1);
        for (unsigned s = 0; s < 300; s++)
            step(machines, n, false);
        commit();
        for (unsigned s = 0; s < 200; s++)
            step(machines, n, false);
    }
    for (size_t i = 0; i < n; i++) {
        DeliverySenderStatus status;
        delivery_sender_status(machines[i].sender, &status);
        assert_int_equal(status.pending_batches, 0);
        assert_int_equal(status.pending_bytes, 0);
        assert_int_equal(status.in_flight_bytes, 0);
        assert_int_equal(status.dropped.flows, 0);
    }
}

static unsigned check(void) {
    unsigned doubled = 0;
    for (uint32_t i = 0; i < world.n_contents; i++) {
        if (!world.stored[i])
            fail_msg("batch %u is lost", i);
        if (world.stored[i] > 1 && !world.doubtful[i])
            fail_msg("batch %u is stored %u times", i, world.stored[i]);
        doubled += world.stored[i] > 1;
    }
    return doubled;
}

/** run_twins() - up to the snapshot; quietly: all is confirmed when it is taken */
static void run_twins(Machine machines[2], bool quietly) {
    world.twins = true;
    for (size_t i = 0; i < 2; i++) {
        machine_new(&machines[i]);
        connect(&machines[i], 77);
    }
    const uint64_t steps = 20 + chance(300);
    for (uint64_t s = 0; s < steps + (quietly ? 30 : 0); s++) {
        for (uint64_t k = chance(4); k && s < steps; k--)
            submit(machines, 2);
        pump(&machines[0], &machines[1], true);
        if (chance(20) == 0)
            commit();
        tell(machines, 2);
        world.now_ms += STEP_MS;
    }
    if (!quietly) { /* 50 ms pass between two states, and the last of it was not yet said */
        const uint32_t from = world.n_contents > 30 ? world.n_contents - 30 : 0;
        memset(world.doubtful + from, true, world.n_contents - from);
    }
    world.twins = false;
}

/* back to the snapshot: what the first did since then is at the hub, the second comes instead */
static void run_revert(uint64_t seed, bool quietly) {
    static Machine machines[2];
    world_new(seed);
    run_twins(machines, quietly);
    for (uint64_t s = 0, n = chance(200); s < n; s++)
        step(machines, 1, true);
    for (unsigned s = 0; s < 30; s++)
        step(machines, 1, false); /* all that it did is at the hub, else nobody could know of it */
    disconnect(&machines[0]);
    commit();
    Machine *second = &machines[1];
    for (uint64_t k = chance(30); k; k--) /* into a connection that is dead */
        submit(second, 1);
    DeliveryItem item;
    while (chance(10) && delivery_sender_next(second->sender, &item, world.now_ms))
        delivery_sender_sent(second->sender, &item, world.now_ms);
    disconnect(second);
    for (uint64_t k = chance(200); k; k--)
        submit(second, 1);
    connect(second, 1000);
    for (uint64_t s = 0, n = chance(300); s < n; s++)
        step(second, 1, true);
    settle(second, 1);
    unsigned doubled = check();
    if (quietly)
        assert_int_equal(doubled, 0);
    for (size_t i = 0; i < 2; i++)
        machine_free(&machines[i]);
    delivery_receiver_free(world.receiver);
}

/* a copy of a running one beside it: both go on */
static void run_copy(uint64_t seed, bool quietly) {
    static Machine machines[2];
    world_new(seed);
    run_twins(machines, quietly);
    disconnect(&machines[1]);
    for (uint64_t s = 0, n = chance(3) ? chance(100) : 0; s < n; s++) {
        step(machines, 1, true);
        if (chance(3) == 0)
            submit(&machines[1], 1);
    }
    connect(&machines[1], 1000);
    for (uint64_t s = 0, n = chance(300); s < n; s++) {
        if (chance(2))
            submit(&machines[1], 1);
        if (chance(4))
            pump(&machines[1], NULL, true);
        step(machines, chance(3) ? 2 : 1, true);
    }
    settle(machines, 2);
    unsigned doubled = check();
    if (quietly)
        assert_int_equal(doubled, 0);
    for (size_t i = 0; i < 2; i++)
        machine_free(&machines[i]);
    delivery_receiver_free(world.receiver);
}

static void test_revert(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 300; seed++) {
        run_revert(seed, true);
        run_revert(seed, false);
    }
}

static void test_copy(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 300; seed++) {
        run_copy(seed, true);
        run_copy(seed, false);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_revert), cmocka_unit_test(test_copy)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
