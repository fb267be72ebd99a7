/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The hub's state for a probe: what reads is written and reads back the same, and a probe that is
 * told it, whatever it says, asks for nothing that is not there.
 */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "channel/delivery.h"
#include "channel/frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { APPENDED = 5 };

static int load(void *userdata, const EpochId *epoch, uint64_t sequence, DeliveryBatch *batch) {
    (void)userdata;
    if (epoch->bytes[0] != 1 || sequence < 1 || sequence > APPENDED)
        return DELIVERY_E_UNKNOWN;
    *batch = (DeliveryBatch){.epoch = *epoch, .first = sequence, .last = sequence, .bytes = 100};
    batch->counts.flows = 1;
    batch->totals.flows = sequence;
    return 0;
}

static void release(void *userdata, const EpochId *epoch, uint64_t last, const BatchCounts *n) {
    (void)userdata;
    (void)epoch;
    (void)last;
    (void)n;
}

/* a sender with batches 1 to APPENDED of one epoch, its session, and this state */
static void tell(const ControlState *state) {
    const DeliveryOwner owner = {.load = load, .release = release};
    DeliverySender *sender = NULL;
    DeliveryBatch batch;
    DeliveryItem item;
    const EpochId epoch = {.bytes = {1}};
    if (delivery_sender_new(&sender, &owner))
        return;
    for (uint64_t i = 1; i <= APPENDED; i++) {
        (void)load(NULL, &epoch, i, &batch);
        if (delivery_sender_append(sender, &batch, 1))
            abort();
    }
    delivery_sender_session_begin(sender, 2, 1);
    for (uint64_t now_ms = 1; now_ms < 4; now_ms++) {
        delivery_sender_state(sender, &state->delivery);
        for (int i = 0; i < 64 && delivery_sender_next(sender, &item, now_ms); i++) {
            if (item.kind == DELIVERY_ITEM_BATCH &&
                (!state->delivery.admitted || state->delivery.hello_id != 2 ||
                 item.batch.last < 1 || item.batch.last > APPENDED ||
                 item.batch.first != item.batch.last))
                abort();
            delivery_sender_sent(sender, &item, now_ms);
        }
    }
    DeliverySenderStatus status;
    delivery_sender_status(sender, &status);
    if (status.stored.flows + status.dropped.flows + status.pending.flows != APPENDED)
        abort();
    delivery_sender_free(sender);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static ControlState state, again;
    Buffer text = {0};
    Buffer back = {0};
    if (control_read(&state, data, size) == 0) {
        control_write(&text, &state);
        if (control_read(&again, text.bytes, text.size) != 0)
            abort();
        control_write(&back, &again);
        if (text.failed || back.failed || text.size != back.size ||
            memcmp(text.bytes, back.bytes, text.size) != 0)
            abort();
        tell(&state);
    }
    buffer_deinit(&text);
    buffer_deinit(&back);
    return 0;
}
