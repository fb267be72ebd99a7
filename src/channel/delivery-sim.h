#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Delivery Simulator
 *
 * Both machines of channel/delivery.h in a world of their own: links that keep order within a
 * session and lose its tail, old sessions that still deliver beside new ones, control messages that
 * are lost, doubled and late, a spool with a limit, a store whose transactions {batches, cursors}
 * survive crashes or do not, restarts of either side, a store that goes back to a backup.
 * Everything follows from the seed. The truth is kept apart from what the machines believe.
 * Included by test-delivery-sim.c and, with broken machines, by test-delivery-mutants.c.
 */

#include "channel/delivery-world.h"

/* --------------------------------------------------------------------------------- the link */

static void link_clear(Link *link, size_t keep) {
    while (link->n > keep) {
        Message *message = &link->messages[(link->head + --link->n) % SIM_LINK];
        free(message->hello_body);
        message->hello_body = NULL;
    }
}

static void sim_begin(Sim *sim, SimProbe *probe) {
    delivery_sender_session_begin(probe->sender, sim_random(sim) | 1, sim->now_ms);
    probe->up = true;
}

/** sim_cut() - the session ends; a part of what is on the way may still arrive, late */
static void sim_cut(Sim *sim, SimProbe *probe, uint64_t down_ms) {
    if (!probe->up)
        return;
    delivery_sender_session_end(probe->sender);
    probe->up = false;
    probe->up_at_ms = sim->now_ms + sim_below(sim, down_ms);
    link_clear(&probe->old, 0);
    link_clear(&probe->link, sim_below(sim, probe->link.n + 1));
    Link swap = probe->old;
    probe->old = probe->link;
    probe->link = swap;
}

static void sim_note_sent(Sim *sim, SimProbe *probe, const DeliveryItem *item) {
    TruthEpoch *epoch = sim_find_epoch(probe, &item->batch.epoch);
    if (!epoch || item->batch.last > epoch->n) {
        SIM_FAIL(sim, "sent a sequence that does not exist");
        return;
    }
    epoch->sent = item->batch.last;
    if (item->kind != DELIVERY_ITEM_BATCH)
        return;
    const Truth *truth = &probe->truth[epoch->start + item->batch.last - 1];
    if (item->batch.last > epoch->kept || item->batch.bytes != truth->bytes || truth->dropped ||
        truth->released)
        SIM_FAIL(sim, "sent the wrong bytes");
    if (sim->plan.limited || sim->plan.rollbacks)
        return; /* gaps take no room, so the count below would be too high */
    uint64_t in_flight = 0;
    for (size_t i = 0; i < probe->n_epochs; i++) {
        const TruthEpoch *e = &probe->epochs[i];
        const Truth *base = &probe->truth[e->start] - 1;
        uint64_t done = e->received > e->stored ? e->received : e->stored;
        if (e->sent > done)
            in_flight += base[e->sent].bytes_to - (done ? base[done].bytes_to : 0);
    }
    if (in_flight > probe->credit_seen)
        SIM_FAIL(sim, "window %" PRIu64 " beyond the credit %" PRIu32, in_flight,
                 probe->credit_seen);
}

/** sim_torn() - the spool finds that it cannot read this one */
static bool sim_torn(Sim *sim, SimProbe *probe, const DeliveryItem *item) {
    if (!sim->plan.limited || !sim_strikes(sim, 20000))
        return false;
    const TruthEpoch *epoch = sim_find_epoch(probe, &item->batch.epoch);
    Truth *truth = &probe->truth[epoch->start + item->batch.last - 1];
    truth->dropped = true;
    probe->spooled_bytes -= truth->bytes;
    delivery_sender_torn(probe->sender, &item->batch.epoch, item->batch.last);
    return true;
}

static void sim_send(Sim *sim, SimProbe *probe) {
    DeliveryItem item;
    while (probe->link.n < SIM_LINK && delivery_sender_next(probe->sender, &item, sim->now_ms)) {
        if (sim_random(sim) % 64 == 0)
            return; /* would block */
        Message message = {.key = probe->key, .batch = item.batch};
        if (item.kind == DELIVERY_ITEM_HELLO) {
            message.hello = true;
            message.hello_body = malloc(sizeof(DeliveryHello));
            if (!message.hello_body)
                abort();
            delivery_sender_hello(probe->sender, message.hello_body);
        } else if (item.kind == DELIVERY_ITEM_BATCH && sim_torn(sim, probe, &item)) {
            continue;
        } else {
            sim_note_sent(sim, probe, &item);
        }
        delivery_sender_sent(probe->sender, &item, sim->now_ms);
        probe->link.messages[(probe->link.head + probe->link.n++) % SIM_LINK] = message;
    }
}

/* ---------------------------------------------------------------------------------- the hub */

static void sim_arrive(Sim *sim, SimProbe *probe, const Message *message) {
    if (!sim->receiver)
        return;
    if (message->hello) {
        if (delivery_receiver_hello(sim->receiver, &message->key, message->hello_body, sim->now_ms))
            SIM_FAIL(sim, "hello failed");
        return;
    }
    DeliveryVerdict verdict = DELIVERY_MALFORMED;
    Taken taken = {
        .probe = (size_t)(probe - sim->probes), .key = message->key, .batch = message->batch};
    if (delivery_receiver_take(sim->receiver, &message->key, &message->batch, sim->now_ms, &verdict,
                               &taken.counts))
        SIM_FAIL(sim, "take failed");
    if (verdict == DELIVERY_MALFORMED)
        SIM_FAIL(sim, "malformed");
    if (verdict != DELIVERY_TAKEN) {
        sim->n_discarded++;
        return;
    }
    if (sim_strikes(sim, 2000)) { /* the queue behind is full */
        delivery_receiver_untake(sim->receiver, &message->key, &message->batch);
        return;
    }
    sim->pending = sim_grow(sim->pending, sim->n_pending, &sim->pending_capacity, sizeof(Taken));
    sim->pending[sim->n_pending++] = taken;
}

static void sim_deliver(Sim *sim, SimProbe *probe, Link *link, uint64_t n) {
    for (; n && link->n; n--) {
        Message *message = &link->messages[link->head];
        sim_arrive(sim, probe, message);
        free(message->hello_body);
        message->hello_body = NULL;
        link->head = (link->head + 1) % SIM_LINK;
        link->n--;
    }
}

static TruthRow *sim_row(TruthEpoch *epoch, const PeerKey *key) {
    for (size_t i = 0; i < epoch->n_rows; i++)
        if (memcmp(&epoch->rows[i].key, key, sizeof(*key)) == 0)
            return &epoch->rows[i];
    epoch->rows[epoch->n_rows] = (TruthRow){.key = *key};
    return &epoch->rows[epoch->n_rows++];
}

/** sim_store() - what the store does with one row of a transaction; the heart of the test */
static void sim_store(Sim *sim, const Taken *taken) {
    SimProbe *probe = &sim->probes[taken->probe];
    const DeliveryBatch *batch = &taken->batch;
    TruthEpoch *epoch = sim_find_epoch(probe, &batch->epoch);
    if (!epoch || batch->last > epoch->n)
        SIM_FAIL(sim, "stored a batch nobody appended");
    else if (batch->last <= epoch->cursor)
        SIM_FAIL(sim, "stored twice: sequence %" PRIu64, batch->last);
    else if (batch->first > epoch->cursor + 1)
        SIM_FAIL(sim, "left out sequence %" PRIu64, epoch->cursor + 1);
    if (!epoch || sim->failure[0])
        return;

    Truth *last = &probe->truth[epoch->start + batch->last - 1];
    BatchCounts before =
        epoch->cursor ? probe->truth[epoch->start + epoch->cursor - 1].totals : (BatchCounts){0};
    if (!batch_counts_equal(taken->counts, batch_counts_subtract(last->totals, before)) ||
        !batch_counts_equal(batch->totals, last->totals))
        SIM_FAIL(sim, "wrong counts of a %s", batch->gap ? "gap" : "batch");
    for (uint64_t s = epoch->cursor + 1; s <= batch->last; s++) {
        Truth *truth = &probe->truth[epoch->start + s - 1];
        if (truth->state != TRUTH_WAITS)
            SIM_FAIL(sim, "stored twice");
        if (batch->gap && !truth->dropped && !truth->rolled)
            SIM_FAIL(sim, "a gap where nothing was lost");
        truth->state = batch->gap ? TRUTH_GAP : TRUTH_STORED;
        sim->n_gaps += batch->gap;
        sim->n_stored += !batch->gap;
    }
    epoch->cursor = batch->last;
    sim_row(epoch, &taken->key)->cursor = batch->last;
}

static void sim_commit(Sim *sim, size_t n, bool tell) {
    for (size_t i = 0; i < n && !sim->failure[0]; i++)
        sim_store(sim, &sim->pending[i]);
    for (size_t i = 0; tell && i < n; i++) {
        const Taken *taken = &sim->pending[i];
        if (i + 1 < n && sim->pending[i + 1].probe == taken->probe &&
            epoch_equal(&sim->pending[i + 1].batch.epoch, &taken->batch.epoch))
            continue; /* cumulative */
        delivery_receiver_stored(sim->receiver, &taken->key, &taken->batch.epoch,
                                 taken->batch.last);
    }
    sim->n_pending -= n;
    memmove(sim->pending, sim->pending + n, sim->n_pending * sizeof(*sim->pending));
}

static void sim_start_hub(Sim *sim) {
    DeliveryReceiverConfig config = {
        .budget_bytes = sim->plan.small_credit ? 400000 : 8u << 20,
        .nonce_seed = sim_random(sim),
        .repeat_ms = 1000,
        .quick_ms = 50,
        .resync_ms = 500,
        .silent_ms = 60000,
    };
    if (delivery_receiver_new(&sim->receiver, &config))
        abort();
    for (size_t p = 0; p < SIM_PROBES; p++) {
        SimProbe *probe = &sim->probes[p];
        for (size_t i = 0; i < probe->n_epochs; i++) {
            const TruthEpoch *epoch = &probe->epochs[i];
            const Truth *base = &probe->truth[epoch->start] - 1;
            for (size_t k = epoch->n_rows; k-- > 0;) { /* the order says nothing */
                const TruthRow *row = &epoch->rows[k];
                if (row->cursor && delivery_receiver_load(sim->receiver, &row->key, &epoch->id,
                                                          row->cursor, base[row->cursor].totals))
                    abort();
            }
        }
    }
}

static void sim_back_up(Sim *sim) {
    for (size_t p = 0; p < SIM_PROBES; p++)
        for (size_t i = 0; i < sim->probes[p].n_epochs; i++) {
            TruthEpoch *epoch = &sim->probes[p].epochs[i];
            epoch->backup = epoch->cursor;
            for (size_t k = 0; k < epoch->n_rows; k++)
                epoch->rows[k].backup = epoch->rows[k].cursor;
        }
}

static void sim_roll_back(SimProbe *probe) {
    for (size_t i = 0; i < probe->n_epochs; i++) {
        TruthEpoch *epoch = &probe->epochs[i];
        for (uint64_t s = epoch->backup + 1; s <= epoch->cursor; s++) {
            Truth *truth = &probe->truth[epoch->start + s - 1];
            truth->state = TRUTH_WAITS;
            truth->rolled = true;
            truth->beyond = i + DELIVERY_FINISHED_MAX / 2 < probe->n_epochs;
        }
        epoch->cursor = epoch->backup;
        for (size_t k = 0; k < epoch->n_rows; k++)
            epoch->rows[k].cursor = epoch->rows[k].backup;
    }
}

static void sim_crash_hub(Sim *sim) {
    if (sim->n_pending && sim_below(sim, 2)) /* just behind the commit, before anyone was told */
        sim_commit(sim, sim->n_pending, false);
    sim->n_pending = 0;
    sim->receiver = delivery_receiver_free(sim->receiver);
    sim->hub_at_ms = sim->now_ms + sim_below(sim, sim_below(sim, 8) ? 2000 : 20000);
    for (size_t p = 0; p < SIM_PROBES; p++) {
        sim_cut(sim, &sim->probes[p], 3000);
        link_clear(&sim->probes[p].old, 0);
        if (sim->plan.rollbacks && sim_below(sim, 4) == 0)
            sim_roll_back(&sim->probes[p]);
    }
}

/* ------------------------------------------------------------------------------ control state */

static void sim_tell(Sim *sim) {
    PeerKey key;
    DeliveryState state;
    while (delivery_receiver_next_state(sim->receiver, sim->now_ms, &key, &state)) {
        SimProbe *probe = &sim->probes[key.z85[0] - 'A'];
        for (size_t i = 0; i < state.n_marks; i++) {
            const TruthEpoch *epoch = sim_find_epoch(probe, &state.marks[i].epoch);
            if (!epoch || state.marks[i].stored > epoch->cursor ||
                state.marks[i].received < state.marks[i].stored)
                SIM_FAIL(sim, "the hub acknowledged what it has not stored");
        }
        uint64_t copies = sim->quiet ? 1 : sim_random(sim) % 16;
        copies = copies == 0 ? 0 : copies == 1 ? 2 : 1;
        for (; copies && probe->n_controls < SIM_CONTROLS; copies--) {
            uint64_t late_ms = sim_below(sim, sim_below(sim, 50) || sim->quiet ? 30 : 3000);
            Control *control = &probe->controls[probe->n_controls++];
            control->due_ms = sim->now_ms + late_ms;
            control->state = state;
        }
    }
}

static void sim_note_state(SimProbe *probe, const DeliveryState *state) {
    for (size_t i = 0; i < state->n_marks; i++) {
        TruthEpoch *epoch = sim_find_epoch(probe, &state->marks[i].epoch);
        if (epoch && state->marks[i].stored > epoch->stored)
            epoch->stored = state->marks[i].stored;
    }
    DeliveryHello hello;
    delivery_sender_hello(probe->sender, &hello);
    if (!probe->up || state->hello_id != hello.hello_id)
        return;
    bool back = probe->hello_seen != state->hello_id || probe->nonce_seen != state->nonce;
    for (size_t i = 0; i < probe->n_epochs; i++) {
        TruthEpoch *epoch = &probe->epochs[i];
        uint64_t received = 0;
        for (size_t k = 0; k < state->n_marks; k++)
            if (epoch_equal(&state->marks[k].epoch, &epoch->id))
                received = state->marks[k].received;
        if (back || received > epoch->received)
            epoch->received = received;
        if (back || epoch->sent < epoch->received)
            epoch->sent = epoch->received;
    }
    probe->hello_seen = state->hello_id;
    probe->nonce_seen = state->nonce;
    probe->credit_seen = state->credit_bytes;
}

static void sim_hear(Sim *sim, SimProbe *probe) {
    for (size_t i = 0; i < probe->n_controls;) {
        Control *control = &probe->controls[i];
        if (control->due_ms > sim->now_ms) {
            i++;
            continue;
        }
        sim_note_state(probe, &control->state);
        delivery_sender_state(probe->sender, &control->state);
        *control = probe->controls[--probe->n_controls];
    }
}

/* ------------------------------------------------------------------------------------ the run */

static void sim_step_probe(Sim *sim, SimProbe *probe) {
    if (sim_strikes(sim, sim->plan.restarts ? 200 : 6000)) {
        sim_cut(sim, probe, 3000);
        probe->up_at_ms = sim->now_ms + sim_below(sim, 3000);
        sim_start_probe(sim, probe);
        DeliverySenderStatus status;
        delivery_sender_status(probe->sender, &status);
        if (status.epochs > sim->most_epochs)
            sim->most_epochs = status.epochs;
    }
    if (sim_strikes(sim, 3000))
        sim_cut(sim, probe, sim_below(sim, 8) ? 500 : 15000);
    if (!probe->up && sim->receiver && sim->now_ms >= probe->up_at_ms)
        sim_begin(sim, probe);
    else if (probe->up && sim_strikes(sim, 6000))
        sim_begin(sim, probe); /* a second subscription frame without an end before it */
    if (sim->appended < sim->plan.batches)
        for (uint64_t n = sim_below(sim, 24); n; n--)
            sim_append(sim, probe);
    sim_hear(sim, probe);
    if (probe->up)
        sim_send(sim, probe);
    sim_deliver(sim, probe, &probe->link, sim_below(sim, SIM_LINK));
    if (probe->old.n && sim_below(sim, 8) == 0)
        sim_deliver(sim, probe, &probe->old, sim_below(sim, SIM_LINK));
}

static void sim_step_hub(Sim *sim) {
    if (!sim->receiver) {
        if (sim->now_ms >= sim->hub_at_ms)
            sim_start_hub(sim);
        return;
    }
    sim_tell(sim);
    if (sim_strikes(sim, 6000))
        sim->stall_until_ms = sim->now_ms + sim_below(sim, 8000);
    if (sim->n_pending && sim->now_ms >= sim->stall_until_ms && sim_below(sim, 10) == 0)
        sim_commit(sim, 1 + sim_below(sim, sim->n_pending), true);
    if (sim_strikes(sim, 6000)) { /* the transaction failed: group discarded */
        sim->n_pending = 0;
        delivery_receiver_discard(sim->receiver);
    }
    if (sim_strikes(sim, 6000))
        sim_crash_hub(sim);
    if (sim->plan.rollbacks && sim_below(sim, 2000) == 0)
        sim_back_up(sim);
}

static bool is_missing(const Truth *truth) {
    return truth->state == TRUTH_WAITS && !truth->beyond && !truth->lost;
}

static bool sim_drained(Sim *sim) {
    for (size_t p = 0; p < SIM_PROBES; p++) {
        DeliverySenderStatus status;
        delivery_sender_status(sim->probes[p].sender, &status);
        if (status.pending_batches || status.pending_bytes || status.epochs > 1)
            return false;
        DeliveryHello hello;
        delivery_sender_hello(sim->probes[p].sender, &hello);
        for (size_t i = 0; i < hello.n_epochs; i++) {
            const TruthEpoch *epoch = sim_find_epoch(&sim->probes[p], &hello.epochs[i].epoch);
            if (epoch->cursor < epoch->kept)
                return false;
        }
        for (size_t i = 0; i < sim->probes[p].n_truth; i++)
            if (is_missing(&sim->probes[p].truth[i]))
                return false;
    }
    return true;
}

static void sim_check_end(Sim *sim) {
    for (size_t p = 0; p < SIM_PROBES; p++) {
        const SimProbe *probe = &sim->probes[p];
        for (size_t i = 0; i < probe->n_truth; i++) {
            if (is_missing(&probe->truth[i]))
                SIM_FAIL(sim, "probe %zu: batch %zu is neither stored nor in a gap", p, i);
        }
        if (probe->spooled_bytes)
            SIM_FAIL(sim, "probe %zu: %" PRIu64 " bytes never freed", p, probe->spooled_bytes);
    }
}

/** sim_run() - true when nothing went wrong; else sim->failure says what */
static bool sim_run(Sim *sim, const SimPlan *plan) {
    *sim = (Sim){.plan = *plan, .random = plan->seed, .now_ms = 1000000};
    for (size_t p = 0; p < SIM_PROBES; p++) {
        memset(sim->probes[p].key.z85, 'A' + (int)p, 40);
        sim_start_probe(sim, &sim->probes[p]);
    }
    sim_start_hub(sim);
    uint64_t quiet_steps = 0, progress = 0;
    while (!sim->failure[0]) {
        for (size_t p = 0; p < SIM_PROBES; p++)
            sim_step_probe(sim, &sim->probes[p]);
        sim_step_hub(sim);
        sim->now_ms += SIM_STEP_MS;
        sim->quiet = sim->appended >= plan->batches;
        if (sim->quiet && sim_drained(sim))
            break;
        if (!sim->quiet || progress != sim->n_stored + sim->n_gaps)
            quiet_steps = 0;
        progress = sim->n_stored + sim->n_gaps;
        if (++quiet_steps > 12000)
            SIM_FAIL(sim, "stalled: nothing stored for 2 minutes without a fault");
    }
    if (!sim->failure[0])
        sim_check_end(sim);
    for (size_t p = 0; p < SIM_PROBES; p++) {
        SimProbe *probe = &sim->probes[p];
        delivery_sender_free(probe->sender);
        link_clear(&probe->link, 0);
        link_clear(&probe->old, 0);
        free(probe->truth);
        free(probe->epochs);
    }
    delivery_receiver_free(sim->receiver);
    free(sim->pending);
    return !sim->failure[0];
}
