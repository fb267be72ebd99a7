/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Delivery, the probe's side
 *
 * Each epoch is a ring of entries in sequence order: what is on its way to the hub, and a little
 * that is not yet. What comes behind the ring the owner knows; it is loaded when its turn comes. An
 * entry leaves when the hub has stored it. `next` is the sequence to send; it goes back only when a
 * hello is answered or the hub's nonce changes.
 *
 * Epochs that are over are remembered for a while, and the first hello of a session has them, too:
 * a hub whose store went back to a backup then lacks some of what it had stored, which becomes
 * gaps. The second hello leaves them out again, else they would be in every state.
 */

#include "channel/delivery.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "channel/delivery_inner.h"

enum {
    SHARE_PERCENT = 80, /* of the credit, for the closed epochs; likewise for the live one */
};

/* ------------------------------------------------------------------------------- the epochs */

SenderEpoch *sender_live(const DeliverySender *sender) {
    SenderEpoch *last = sender->epochs.n ? &sender->epochs.at[sender->epochs.n - 1] : NULL;
    return last && !last->closed ? last : NULL;
}

SenderEpoch *sender_find(const DeliverySender *sender, const EpochId *id) {
    return epoch_list_find(&sender->epochs, id);
}

/** sender_bring_in() - former epochs, as long as half the room is free: each time costs a hello */
void sender_bring_in(DeliverySender *sender) {
    if (!sender->former.n || sender->epochs.n > DELIVERY_EPOCHS_MAX / 2)
        return;
    size_t n = 0;
    while (n < sender->former.n && sender->epochs.n < DELIVERY_EPOCHS_MAX - 2) {
        if (epoch_list_insert(&sender->epochs, sender->n_restored, &sender->former.at[n]))
            break; /* another time */
        sender->n_restored++;
        n++;
    }
    sender->former.n -= n;
    memmove(sender->former.at, sender->former.at + n, sender->former.n * sizeof(SenderEpoch));
}

void sender_say_hello_again(DeliverySender *sender) {
    if (!sender->session)
        return;
    sender->hello_id++;
    sender->hello_sent = false;
    sender->synced = false;
}

static const DeliveryMark *find_mark(const DeliveryState *state, const EpochId *epoch) {
    for (size_t i = 0; i < state->n_marks; i++)
        if (epoch_equal(&state->marks[i].epoch, epoch))
            return &state->marks[i];
    return NULL;
}

void sender_remember(DeliverySender *sender, const SenderEpoch *epoch) {
    if (!epoch->last)
        return;
    EpochList *list = &sender->finished;
    const SenderEpoch over = {
        .id = epoch->id,
        .closed = true,
        .last = epoch->last,
        .last_totals = epoch->last_totals,
        .loaded = epoch->last,
        .loaded_totals = epoch->last_totals,
        .base = epoch->last,
        .base_totals = epoch->last_totals,
        .next = 1,
    };
    if (list->n == DELIVERY_FINISHED_MAX) {
        list->n--;
        memmove(list->at, list->at + 1, list->n * sizeof(*list->at));
    }
    (void)epoch_list_insert(list, list->n, &over); /* for want of memory, one less */
}

/** look_back() - those of which the hub's store no longer has all come back */
static void look_back(DeliverySender *sender, const DeliveryState *state) {
    EpochList *list = &sender->finished;
    size_t kept = 0;
    size_t n = 0;
    for (size_t i = 0; i < list->n; i++) {
        const DeliveryMark *mark = find_mark(state, &list->at[i].id);
        bool back = mark && mark->received < list->at[i].last;
        if (back && !epoch_list_insert(&sender->former, n, &list->at[i]))
            n++;
        else
            list->at[kept++] = list->at[i];
    }
    list->n = kept;
    sender->looks_back = false;
    sender_bring_in(sender);
    sender_say_hello_again(sender);
}

/** sender_close_finished() - a closed epoch that is stored to its end is over */
void sender_close_finished(DeliverySender *sender) {
    size_t kept = 0;
    size_t restored = 0;
    bool waiting = false;
    for (size_t i = 0; i < sender->epochs.n; i++) {
        SenderEpoch *epoch = &sender->epochs.at[i];
        if (epoch->closed && epoch->diverged == epoch->moved && epoch->base >= epoch->last &&
            epoch->next > epoch->base && epoch->confirmed >= epoch->last) {
            sender->status.pending_bytes -= epoch->bytes; /* what was said "about" */
            sender_remember(sender, epoch);
            free(epoch->ring);
            continue;
        }
        restored += i < sender->n_restored;
        sender->epochs.at[kept++] = *epoch;
    }
    bool removed = kept < sender->epochs.n;
    sender->epochs.n = kept;
    sender->n_restored = restored;
    if (!removed)
        return;
    sender_bring_in(sender);
    for (size_t i = 0; i < sender->epochs.n; i++)
        waiting = waiting || !sender->epochs.at[i].announced;
    if (waiting) /* there is room to announce the others */
        sender_say_hello_again(sender);
}

int delivery_sender_new(DeliverySender **senderp, const DeliveryOwner *owner) {
    DeliverySender *sender = calloc(1, sizeof(*sender));
    if (!sender)
        return error_origin(-ENOMEM);
    sender->owner = *owner;
    *senderp = sender;
    return 0;
}

DeliverySender *delivery_sender_free(DeliverySender *sender) {
    if (!sender)
        return NULL;
    epoch_list_free(&sender->epochs);
    epoch_list_free(&sender->former);
    epoch_list_free(&sender->finished);
    free(sender);
    return NULL;
}

/* ----------------------------------------------------------------------------- the session */

static bool is_stale(const SenderEpoch *live, uint64_t now_ms) {
    for (size_t i = 0; i < live->n; i++)
        if (!epoch_entry(live, i)->gone)
            return now_ms - epoch_entry(live, i)->appended_ms > DELIVERY_STALE_MS;
    return live->loaded < live->last;
}

void delivery_sender_session_begin(DeliverySender *sender, uint64_t hello_id, uint64_t now_ms) {
    const SenderEpoch *live = sender_live(sender);
    sender->wants_epoch =
        live && sender->epochs.n < DELIVERY_EPOCHS_MAX - 1 && is_stale(live, now_ms);
    sender_bring_in(sender);
    sender->looks_back = sender->finished.n && !MUTANT(FORGETS_THE_FINISHED);
    sender->session = true;
    sender->synced = false;
    sender->hello_sent = false;
    sender->hello_id = hello_id;
}

void delivery_sender_session_end(DeliverySender *sender) {
    sender->session = false;
    sender->synced = false;
}

void delivery_sender_hello(const DeliverySender *sender, DeliveryHello *hello) {
    *hello = (DeliveryHello){.hello_id = sender->hello_id};
    for (size_t i = 0; i < sender->epochs.n; i++) {
        const SenderEpoch *epoch = &sender->epochs.at[i];
        if (hello->n_epochs == DELIVERY_EPOCHS_MAX - 1 && epoch->closed)
            continue; /* a place for the live one is kept */
        hello->epochs[hello->n_epochs++] = (DeliveryEpoch){
            .epoch = epoch->id, .closed = epoch->closed, .last = epoch->closed ? epoch->last : 0};
    }
    for (size_t i = sender->finished.n; sender->looks_back && i-- > 0;) {
        const SenderEpoch *epoch = &sender->finished.at[i];
        if (hello->n_epochs < DELIVERY_EPOCHS_MAX)
            hello->epochs[hello->n_epochs++] =
                (DeliveryEpoch){.epoch = epoch->id, .closed = true, .last = epoch->last};
    }
}

static void mark_announced(DeliverySender *sender) {
    for (size_t i = 0; i < sender->epochs.n; i++)
        sender->epochs.at[i].announced =
            !sender->epochs.at[i].closed || i < DELIVERY_EPOCHS_MAX - 1;
}

void delivery_sender_state(DeliverySender *sender, const DeliveryState *state) {
    sender->admitted = state->admitted;
    bool answered = sender->session && sender->hello_sent && state->hello_id == sender->hello_id;
    bool resync =
        answered && (!sender->synced || (state->nonce != sender->nonce && !MUTANT(IGNORES_NONCE)));
    for (size_t i = 0; i < sender->epochs.n; i++) {
        SenderEpoch *epoch = &sender->epochs.at[i];
        const DeliveryMark *mark = find_mark(state, &epoch->id);
        if (mark)
            sender_compare(sender, epoch, mark);
        if (resync && !MUTANT(NEVER_GOES_BACK))
            epoch_go_back(epoch, mark ? mark->received : 0);
        else if (answered && mark)
            epoch_move_window(epoch, mark->received);
        if (mark && (resync || mark->stored > epoch->confirmed))
            epoch->confirmed = mark->stored;
        if (mark)
            sender_free_stored(sender, epoch, mark->stored);
    }
    if (answered) {
        sender->synced = true;
        sender->nonce = state->nonce;
        sender->credit = state->credit_bytes;
        if (sender->credit < DELIVERY_CREDIT_MIN_BYTES)
            sender->credit = DELIVERY_CREDIT_MIN_BYTES;
        if (sender->credit > DELIVERY_CREDIT_MAX_BYTES)
            sender->credit = DELIVERY_CREDIT_MAX_BYTES;
    }
    sender_close_finished(sender);
    if (answered && state->admitted && sender->looks_back)
        look_back(sender, state);
}

/* -------------------------------------------------------------------------- what to send next */

static SenderEpoch *oldest_waiting(const DeliverySender *sender) {
    for (size_t i = 0; i < sender->epochs.n; i++) {
        SenderEpoch *epoch = &sender->epochs.at[i];
        if (epoch->closed && epoch->announced && epoch->next <= sender_end(epoch))
            return epoch;
    }
    return NULL;
}

/**
 * next_batch() - closed and live take turns while both have something to send. A class that has
 * used its share lets the other go; one that only waits for room makes the other wait too, else
 * small batches would keep a large one out for ever.
 */
static bool next_batch(DeliverySender *sender, DeliveryItem *item) {
    SenderEpoch *live = sender_live(sender);
    SenderEpoch *closed = oldest_waiting(sender);
    bool live_waits = live && live->next <= sender_end(live);
    uint64_t closed_bytes = 0;
    for (size_t i = 0; i < sender->epochs.n; i++)
        closed_bytes += sender->epochs.at[i].closed ? sender->epochs.at[i].in_flight : 0;
    uint64_t live_bytes = live ? live->in_flight : 0;
    uint64_t total = closed_bytes + live_bytes;
    uint64_t share = (uint64_t)sender->credit * SHARE_PERCENT / 100;

    for (int turn = 0; turn < 2; turn++) {
        bool take_closed = sender->closed_turn == (turn == 0);
        SenderEpoch *epoch = take_closed ? closed : live_waits ? live : NULL;
        if (!epoch || !sender_load_up_to(sender, epoch, epoch->next))
            continue;
        epoch_item(epoch, item);
        uint64_t bytes = item->batch.bytes;
        uint64_t used = take_closed ? closed_bytes : live_bytes;
        bool limited = take_closed || closed;
        if (bytes && limited && used && used + bytes > share)
            continue;
        if (bytes && total + bytes > sender->credit && !MUTANT(IGNORES_CREDIT))
            return false;
        return true;
    }
    return false;
}

bool delivery_sender_next(DeliverySender *sender, DeliveryItem *item, uint64_t now_ms) {
    if (!sender->session)
        return false;
    if (!sender->hello_sent ||
        (!sender->synced && now_ms - sender->hello_ms >= DELIVERY_HELLO_MS)) {
        *item = (DeliveryItem){.kind = DELIVERY_ITEM_HELLO};
        return true;
    }
    if (!sender->synced || !sender->admitted || !next_batch(sender, item))
        return false;
    uint64_t in_flight = 0;
    for (size_t i = 0; i < sender->epochs.n; i++)
        in_flight += sender->epochs.at[i].in_flight;
    uint64_t behind = in_flight + item->batch.bytes;
    uint64_t pending = sender->status.pending_bytes;
    item->batch.backlog_bytes = pending > behind ? pending - behind : 0;
    return true;
}

void delivery_sender_sent(DeliverySender *sender, const DeliveryItem *item, uint64_t now_ms) {
    if (item->kind == DELIVERY_ITEM_HELLO) {
        sender->hello_sent = true;
        sender->hello_ms = now_ms;
        mark_announced(sender);
        return;
    }
    SenderEpoch *epoch = sender_find(sender, &item->batch.epoch);
    if (!epoch)
        return;
    for (size_t i = epoch_find(epoch, item->batch.first); i < epoch->n; i++) {
        Entry *entry = epoch_entry(epoch, i);
        if (entry->first > item->batch.last)
            break;
        if (item->kind == DELIVERY_ITEM_GAP) {
            entry->sent_as_gap = true;
            continue;
        }
        sender->status.resent_batches += entry->sent;
        entry->sent = true;
        entry->charged = entry->bytes;
        epoch->in_flight += entry->bytes;
    }
    epoch->next = item->batch.last + 1;
    sender->closed_turn = !epoch->closed;
}

void delivery_sender_status(const DeliverySender *sender, DeliverySenderStatus *status) {
    *status = sender->status;
    status->session = sender->session;
    status->synced = sender->synced;
    status->admitted = sender->admitted;
    status->credit_bytes = sender->credit;
    status->epochs = sender->epochs.n + sender->former.n;
    status->in_flight_bytes = 0;
    for (size_t i = 0; i < sender->epochs.n; i++)
        status->in_flight_bytes += sender->epochs.at[i].in_flight;
}
