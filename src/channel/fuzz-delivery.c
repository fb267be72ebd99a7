/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What a hub keeps of a probe, driven by whatever a probe may send: steps of a byte that says what
 * (0 to 3: a frame, whose length follows; stored, discard, time, state) and what it needs. The
 * budget is kept, and no state says more is stored than received.
 */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/cursor.h"
#include "channel/delivery.h"
#include "channel/frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { BUDGET_BYTES = 1 << 20, STEPS_MAX = 4096 };

typedef struct World {
    DeliveryReceiver *receiver;
    PeerKey key;
    uint64_t now_ms;
    DeliveryBatch taken; /* the last, unless it was dealt with */
} World;

static void take_frame(World *world, const uint8_t *bytes, size_t size) {
    static Frame frame;
    DeliveryVerdict verdict = DELIVERY_MALFORMED;
    BatchCounts counts = {0};
    if (frame_read(&frame, bytes, size) != 0)
        return;
    if (frame.kind == FRAME_HELLO) {
        (void)delivery_receiver_hello(world->receiver, &world->key, &frame.hello, world->now_ms);
        return;
    }
    if (frame.kind == FRAME_PULSE)
        return;
    frame.batch.gap = frame.kind == FRAME_GAP;
    if (delivery_receiver_take(world->receiver, &world->key, &frame.batch, world->now_ms, &verdict,
                               &counts) == 0 &&
        verdict == DELIVERY_TAKEN)
        world->taken = frame.batch;
}

static void check(World *world) {
    DeliveryPeerStatus status;
    size_t i = 0;
    if (delivery_receiver_peer(world->receiver, &world->key, &i) == 0 &&
        delivery_receiver_status(world->receiver, i, &status) && status.held_bytes > BUDGET_BYTES)
        abort();
    static DeliveryState state;
    PeerKey key;
    for (int n = 0;
         n < 4 && delivery_receiver_next_state(world->receiver, world->now_ms, &key, &state); n++) {
        if (state.credit_bytes > DELIVERY_CREDIT_MAX_BYTES || state.n_marks > DELIVERY_EPOCHS_MAX)
            abort();
        for (size_t k = 0; k < state.n_marks; k++)
            if (state.marks[k].stored > state.marks[k].received)
                abort();
    }
}

static void step(World *world, Cursor *cursor) {
    const uint8_t what = cursor_u8(cursor);
    if (what < 4) {
        const size_t size = cursor_u8(cursor);
        const uint8_t *bytes = cursor_take(cursor, size);
        if (bytes)
            take_frame(world, bytes, size);
    } else if (what < 6 && world->taken.last) {
        delivery_receiver_stored(world->receiver, &world->key, &world->taken.epoch,
                                 world->taken.last);
        world->taken.last = 0;
    } else if (what < 8) {
        delivery_receiver_discard(world->receiver);
        world->taken.last = 0;
    } else if (what < 10 && world->taken.last) {
        delivery_receiver_untake(world->receiver, &world->key, &world->taken);
        world->taken.last = 0;
    } else {
        world->now_ms += (uint64_t)what * 10;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const DeliveryReceiverConfig config = {.budget_bytes = BUDGET_BYTES,
                                           .nonce_seed = 1,
                                           .repeat_ms = 1000,
                                           .quick_ms = 50,
                                           .resync_ms = 500,
                                           .silent_ms = 60000};
    World world = {.now_ms = 1000};
    memset(world.key.z85, 'a', 40);
    if (delivery_receiver_new(&world.receiver, &config))
        return 0;
    delivery_receiver_admit(world.receiver, &world.key, true);
    Cursor cursor = cursor_make(data, size);
    for (int i = 0; i < STEPS_MAX && cursor_left(&cursor); i++) {
        step(&world, &cursor);
        check(&world);
    }
    delivery_receiver_free(world.receiver);
    return 0;
}
