/* SPDX-License-Identifier: Apache-2.0 */

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "channel/probe_link_inner.h"

enum {
    BURST = 64,           /* batches between two looks at what comes in */
    PULSE_SHARE = 10,     /* of a line that is full, pulses may have one part in so many */
    PULSE_LATE_MS = 5000, /* but one goes after so long */
};

/** send_message() - `frame` and the payload, which it takes over; false: not now */
static bool send_message(ProbeLink *link, const Frame *frame, const ProbePayload *payload) {
    buffer_clear(&link->header);
    frame_write(&link->header, frame);
    if (link->header.failed) {
        probe_payload_return(payload);
        return false;
    }
    const ProbeLinesSent sent = probe_lines_send(link->lines, &link->header, payload);
    if (sent == PROBE_LINES_FULL && probe_lines_tells_room(link->lines))
        link->waiting = true;
    else if (sent == PROBE_LINES_FULL)
        link->blocked = true;
    if (sent != PROBE_LINES_SENT)
        return false;
    const size_t size = link->header.size + payload->size;
    link->status.sent_bytes += size;
    link->pulse_room_bytes += size / PULSE_SHARE;
    return true;
}

static bool send_text(ProbeLink *link, const Frame *frame, const char *text) {
    return send_message(link, frame, &(ProbePayload){.bytes = text, .size = strlen(text)});
}

static bool send_hello(ProbeLink *link) {
    Frame frame = {.kind = FRAME_HELLO};
    delivery_sender_hello(link->sender, &frame.hello);
    const char *text = probe_keys_hello(&link->keys, link->hello);
    return text && send_text(link, &frame, text);
}

static bool send_gap(ProbeLink *link, const DeliveryBatch *batch) {
    Frame frame = {.kind = FRAME_GAP, .batch = *batch};
    return send_text(link, &frame, "");
}

static bool send_batch(ProbeLink *link, const DeliveryItem *item) {
    const ProbeLinkSpool *spool = &link->config.spool;
    const DeliveryBatch *batch = &item->batch;
    ProbeLinkBytes lent;
    int r = spool->fetch(spool->spool, &batch->epoch, batch->last, batch->bytes, &lent);
    if (r) {
        if (r == DELIVERY_E_UNKNOWN)
            delivery_sender_torn(link->sender, &batch->epoch, batch->last);
        else
            link->blocked = true; /* it is tried again soon */
        return false;
    }
    const Frame frame = {.kind = FRAME_BATCH, .batch = *batch, .crc32c = lent.crc32c};
    if (!send_message(link, &frame,
                      &(ProbePayload){.bytes = lent.bytes,
                                      .size = batch->bytes,
                                      .give_back = lent.give_back,
                                      .owner = lent.owner}))
        return false;
    link->status.sent_batches++;
    return true;
}

static bool send_item(ProbeLink *link, const DeliveryItem *item) {
    switch (item->kind) {
    case DELIVERY_ITEM_HELLO:
        return send_hello(link);
    case DELIVERY_ITEM_GAP:
        return send_gap(link, &item->batch);
    case DELIVERY_ITEM_BATCH:
        return send_batch(link, item);
    }
    return false;
}

/** send_pulse() - the newest, with what the hub needs to tell the clocks apart, as of this very
 * moment; on a slow line they would leave little room for flows */
static void send_pulse(ProbeLink *link) {
    const uint64_t now_ms = clock_monotonic_ms();
    if (!link->pulse || (link->full && now_ms - link->pulse_ms < PULSE_LATE_MS &&
                         link->pulse_room_bytes < strlen(link->pulse)))
        return;
    const PulseEcho echo = {.hub_ms = link->state_ms ? link->state.server_time_ms : 0,
                            .held_ms = now_ms - link->state_ms,
                            .sent_ms = clock_wall_ms()};
    char *text = pulse_with_echo(link->pulse, &echo);
    const bool sent = text && send_text(link, &(Frame){.kind = FRAME_PULSE}, text);
    free(text);
    if (!sent)
        return;
    free(link->pulse);
    link->pulse = NULL;
    link->pulse_ms = now_ms;
    link->pulse_room_bytes = 0;
    link->full = false;
}

static void take_texts(ProbeLink *link) {
    char *pulse = link_desk_take_text(&link->desk, &link->desk.pulse);
    char *hello = link_desk_take_text(&link->desk, &link->desk.hello);
    if (pulse) {
        free(link->pulse);
        link->pulse = pulse;
    }
    if (hello) {
        free(link->hello);
        link->hello = hello;
        link->hello_again = true;
    }
}

int link_do_jobs(ProbeLink *link) {
    const LinkJob *jobs = NULL;
    const size_t n = link_desk_take(&link->desk, &jobs);
    int r = 0;
    for (size_t i = 0; i < n && !r; i++) {
        const DeliveryBatch *batch = &jobs[i].batch;
        switch (jobs[i].kind) {
        case LINK_JOB_SUBMIT:
            r = delivery_sender_append(link->sender, batch, jobs[i].now_ms);
            break;
        case LINK_JOB_DROP:
            delivery_sender_drop(link->sender, &batch->epoch, batch->last, &batch->totals,
                                 jobs[i].bytes);
            break;
        case LINK_JOB_MOVED:
            delivery_sender_moved(link->sender, &batch->epoch);
            break;
        }
    }
    return error_trace(r);
}

bool link_send_due(ProbeLink *link) {
    DeliveryItem item;
    bool more = true;
    link->blocked = link->waiting = false;
    take_texts(link);
    if (probe_lines_subscribers(link->lines))
        send_pulse(link);
    if (probe_lines_subscribers(link->lines) && link->hello_again && send_hello(link))
        link->hello_again = false;
    for (int i = 0; i < BURST && more && !link->blocked && !link->waiting; i++) {
        uint64_t now_ms = clock_monotonic_ms();
        more = delivery_sender_next(link->sender, &item, now_ms);
        if (more && send_item(link, &item))
            delivery_sender_sent(link->sender, &item, now_ms);
    }
    probe_lines_flush(link->lines);
    link->full = link->full || link->blocked || link->waiting;
    return more && !link->blocked && !link->waiting;
}
