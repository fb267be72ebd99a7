/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The ingest with a real store and the channel's real state machine, when the store's answers are
 * the worst ones: a commit that is durable and yet reported as failed, a disk that is full for one
 * group and not for the next.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <pthread.h>
#include <time.h>

#include "base/buffer.h"
#include "channel/delivery.h"
#include "channel/hub_link.h"
#include "codec/batch.h"
#include "hub/live.h"
#include "hub/metrics.h"
#include "hub/probes.h"
#include "store/store-test.h"

enum { FLOWS = 20, PATIENCE_MS = 20000 };

/* the next answers of the store, in order; afterwards its own */
typedef struct Script {
    struct {
        bool real; /* the append is made all the same */
        int answer;
    } steps[4];
    uint64_t full_sequence; /* of this batch the disk is always full */
} Script;

static struct {
    pthread_mutex_t lock;
    DeliveryReceiver *receiver;
    uint64_t generation;
    Script script;
    size_t n_appends;
} world = {.lock = PTHREAD_MUTEX_INITIALIZER};

static int scripted_append(Store *store, const StoreGroup *group, Reason *reason) {
    (void)pthread_mutex_lock(&world.lock);
    const size_t at = world.n_appends++;
    const Script script = world.script;
    (void)pthread_mutex_unlock(&world.lock);
    if (script.full_sequence && group->cursors[0].sequence == script.full_sequence)
        return STORE_E_FULL;
    if (at >= sizeof(script.steps) / sizeof(script.steps[0]) || !script.steps[at].answer)
        return store_append(store, group, reason);
    if (script.steps[at].real)
        assert_int_equal(store_append(store, group, reason), 0);
    return script.steps[at].answer;
}

static void told_stored(HubLink *link, const PeerKey *key, const EpochId *epoch,
                        uint64_t sequence) {
    (void)link;
    (void)pthread_mutex_lock(&world.lock);
    delivery_receiver_stored(world.receiver, key, epoch, sequence);
    (void)pthread_mutex_unlock(&world.lock);
}

static uint64_t told_discard(HubLink *link) {
    (void)link;
    (void)pthread_mutex_lock(&world.lock);
    delivery_receiver_discard(world.receiver);
    const uint64_t generation = ++world.generation;
    (void)pthread_mutex_unlock(&world.lock);
    return generation;
}

static HubBatch *batch_free(HubBatch *batch) {
    if (batch) {
        free(batch->owner);
        free(batch);
    }
    return NULL;
}

static void batch_freep(HubBatch **batch) {
    (void)batch_free(*batch);
}

#define store_append     scripted_append
#define hub_link_stored  told_stored
#define hub_link_discard told_discard
#define hub_batch_free   batch_free
#define hub_batch_freep  batch_freep
#include "hub/ingest.c" /* NOLINT(bugprone-suspicious-include) */

/* ------------------------------------------------------------------------------------ a probe */

typedef struct World {
    TestStore *store;
    Live *live;
    Probes *probes;
    Ingest *ingest;
    MetricValue metrics[_HUB_METRIC_N];
    PeerKey key;
    EpochId epoch;
    Buffer payload; /* every batch has the same flows */
    BatchCounts counts;
    uint64_t gap_first; /* the probe dropped these; 0: none */
    uint64_t gap_last;
} World;

static void make_payload(World *w) {
    BatchCodec *codec = NULL;
    FlowBatch *flows = NULL;
    size_t taken = 0;
    assert_int_equal(batch_codec_new(&codec), 0);
    assert_int_equal(flow_batch_new(&flows, FLOWS), 0);
    test_fill(flows, FLOWS, 1);
    assert_int_equal(
        batch_encode(codec, &w->payload, flows->records, FLOWS, TEST_START_MS, &taken, &w->counts),
        0);
    assert_int_equal(taken, FLOWS);
    (void)flow_batch_free(flows);
    (void)batch_codec_free(codec);
}

static BatchCounts times(BatchCounts counts, uint64_t n) {
    return (BatchCounts){counts.flows * n, counts.packets * n, counts.octets * n};
}

/** send() - what the receive thread does with a batch or gap */
static void send(World *w, uint64_t first, uint64_t last, bool gap) {
    DeliveryBatch batch = {.epoch = w->epoch,
                           .first = first,
                           .last = last,
                           .gap = gap,
                           .bytes = gap ? 0 : (uint32_t)w->payload.size,
                           .counts = gap ? (BatchCounts){0} : w->counts,
                           .totals = times(w->counts, last)};
    DeliveryVerdict verdict = DELIVERY_MALFORMED;
    HubBatch *made = calloc(1, sizeof(*made));
    assert_non_null(made);
    *made = (HubBatch){.key = w->key,
                       .epoch = w->epoch,
                       .first = first,
                       .last = last,
                       .gap = gap,
                       .totals = batch.totals,
                       .received_ms = TEST_START_MS};
    if (!gap) {
        made->owner = malloc(w->payload.size);
        assert_non_null(made->owner);
        memcpy(made->owner, w->payload.bytes, w->payload.size);
        made->payload = made->owner;
        made->size = w->payload.size;
    }
    (void)pthread_mutex_lock(&world.lock);
    assert_int_equal(
        delivery_receiver_take(world.receiver, &w->key, &batch, 1000, &verdict, &made->counts), 0);
    made->generation = world.generation;
    (void)pthread_mutex_unlock(&world.lock);
    if (verdict != DELIVERY_TAKEN || !ingest_take(w->ingest, made))
        (void)batch_free(made);
}

static DeliveryMark where(const World *w) {
    static uint64_t now_ms = 1000000;
    PeerKey key;
    DeliveryState state = {0};
    (void)pthread_mutex_lock(&world.lock);
    delivery_receiver_tell(world.receiver, &w->key);
    assert_true(delivery_receiver_next_state(world.receiver, now_ms += 1000, &key, &state));
    (void)pthread_mutex_unlock(&world.lock);
    assert_int_equal(state.n_marks, 1);
    return state.marks[0];
}

/** deliver() - send again from where the hub stands, until it has stored up to `last` */
static void deliver(World *w, uint64_t last) {
    for (unsigned waited_ms = 0; where(w).stored < last; waited_ms += 50) {
        assert_in_range(waited_ms, 0, PATIENCE_MS);
        for (uint64_t next = where(w).received + 1; next <= last; next++) {
            const bool gap = next >= w->gap_first && next <= w->gap_last;
            const uint64_t end = gap ? w->gap_last : next;
            send(w, next, end, gap);
            next = end;
        }
        pause_ms(50);
    }
}

static int setup(void **state) {
    World *w = calloc(1, sizeof(*w));
    void *store = NULL;
    assert_non_null(w);
    assert_int_equal(test_store_setup(&store), 0);
    w->store = store;
    (void)snprintf(w->key.z85, sizeof(w->key.z85), "%040d", 7);
    w->epoch.bytes[0] = 1;
    make_payload(w);
    world.generation = 1;
    world.n_appends = 0;
    world.script = (Script){0};
    const DeliveryReceiverConfig receiver = {.budget_bytes = 1 << 20,
                                             .nonce_seed = 1,
                                             .repeat_ms = 1000,
                                             .quick_ms = 50,
                                             .resync_ms = 500,
                                             .silent_ms = 60000};
    const DeliveryHello hello = {.hello_id = 1, .n_epochs = 1, .epochs = {{.epoch = w->epoch}}};
    assert_int_equal(delivery_receiver_new(&world.receiver, &receiver), 0);
    assert_int_equal(delivery_receiver_hello(world.receiver, &w->key, &hello, 1000), 0);
    assert_int_equal(live_new(&w->live), 0);
    assert_int_equal(probes_new(&w->probes), 0);
    assert_non_null(probes_lock_new(w->probes, &w->key));
    probes_unlock(w->probes);
    const IngestConfig config = {.store = w->store->store,
                                 .live = w->live,
                                 .probes = w->probes,
                                 .data_dir = w->store->dir,
                                 .metrics = w->metrics};
    assert_int_equal(ingest_new(&w->ingest, &config), 0);
    assert_int_equal(ingest_start(w->ingest, NULL), 0);
    *state = w;
    return 0;
}

static int teardown(void **state) {
    World *w = *state;
    (void)ingest_free(w->ingest);
    (void)live_free(w->live);
    (void)probes_free(w->probes);
    world.receiver = delivery_receiver_free(world.receiver);
    buffer_deinit(&w->payload);
    void *store = w->store;
    (void)test_store_teardown(&store);
    free(w);
    return 0;
}

/* -------------------------------------------------------------------------------------- tests */

static void test_delivers(void **state) {
    World *w = *state;
    deliver(w, 3);
    assert_int_equal(test_count(w->store->store), 3 * FLOWS);
}

/* durable, and yet reported as failed: the cursors say so, and nothing is asked for again */
static void test_in_after_all(void **state) {
    World *w = *state;
    world.script.steps[0].real = true;
    world.script.steps[0].answer = STORE_E_REOPENED;
    deliver(w, 2);
    assert_int_equal(test_count(w->store->store), 2 * FLOWS);
}

/* the same, and the store cannot be opened for a while */
static void test_in_and_away(void **state) {
    World *w = *state;
    world.script.steps[0].real = true;
    world.script.steps[0].answer = STORE_E_UNAVAILABLE;
    world.script.steps[1].answer = STORE_E_UNAVAILABLE;
    world.script.steps[2].answer = STORE_E_REOPENED;
    deliver(w, 2);
    assert_int_equal(test_count(w->store->store), 2 * FLOWS);
}

static void test_not_in(void **state) {
    World *w = *state;
    world.script.steps[0].answer = STORE_E_REOPENED;
    world.script.steps[1].answer = STORE_E_MEMORY;
    world.script.steps[2].answer = STORE_E_FULL;
    deliver(w, 2);
    assert_int_equal(test_count(w->store->store), 2 * FLOWS);
}

static int see_gap(void *context, const StoreGap *gap) {
    BatchCounts *sum = context;
    *sum = batch_counts_add(*sum, gap->counts);
    assert_int_equal(gap->first, 2);
    assert_int_equal(gap->last, 4);
    assert_int_equal(gap->reason, GROUP_GAP_DROPPED);
    return 0;
}

/* a gap is stored with the flows beside it, once however often it had to be said */
static void test_gap(void **state) {
    World *w = *state;
    world.script.steps[0].answer = STORE_E_MEMORY;
    world.script.steps[1].answer = STORE_E_REOPENED;
    w->gap_first = 2;
    w->gap_last = 4;
    deliver(w, 6);
    assert_int_equal(test_count(w->store->store), 3 * FLOWS);
    BatchCounts sum = {0};
    assert_int_equal(store_gaps(w->store->store, &(StoreGapPage){0}, see_gap, &sum, NULL), 0);
    assert_true(batch_counts_equal(sum, times(w->counts, 3)));
    const Probe *probe = probes_lock(w->probes, &w->key);
    assert_non_null(probe);
    const BatchCounts missing = probe->missing;
    probes_unlock(w->probes);
    assert_true(batch_counts_equal(missing, sum));
}

/* a group that found no room must not be passed by a later one that does, not even at the end */
static void test_stop_when_full(void **state) {
    World *w = *state;
    world.script.full_sequence = 1;
    send(w, 1, 1, false);
    for (unsigned waited_ms = 0; ingest_state(w->ingest) != INGEST_DISK_FULL; waited_ms += 50) {
        assert_in_range(waited_ms, 0, PATIENCE_MS);
        pause_ms(50);
    }
    send(w, 2, 2, false);
    pause_ms(200);
    ingest_stop(w->ingest);
    assert_int_equal(where(w).stored, 0);
    assert_int_equal(test_count(w->store->store), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_delivers, setup, teardown),
        cmocka_unit_test_setup_teardown(test_in_after_all, setup, teardown),
        cmocka_unit_test_setup_teardown(test_in_and_away, setup, teardown),
        cmocka_unit_test_setup_teardown(test_not_in, setup, teardown),
        cmocka_unit_test_setup_teardown(test_gap, setup, teardown),
        cmocka_unit_test_setup_teardown(test_stop_when_full, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
