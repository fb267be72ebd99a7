/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Delivery, the probe's side
 *
 * Each epoch is a ring of entries in sequence order: what the spool still holds, and what it had
 * to drop. An entry leaves when the hub has stored it. `next` is the sequence to send; it goes
 * back only when a hello is answered or the hub's nonce changes.
 */

#include "channel/delivery.h"

#include <errno.h>
#include <stdlib.h>

#include "base/error.h"

#ifndef MUTANT /* test-delivery-mutants.c breaks the machine here and there to test its test */
#define MUTANT(name) false
#endif

enum {
    SHARE_PERCENT = 80,    /* of the credit, for the closed epochs; likewise for the live one */
    COMPACT_ENTRIES = 256, /* dropped entries that may be merged */
};

typedef struct Entry {
    uint64_t first, last; /* differ only in merged gaps */
    uint64_t id;
    uint64_t appended_ms;
    BatchCounts counts;
    BatchCounts totals;
    uint32_t bytes;
    uint32_t charged; /* bytes it holds of the window */
    bool gone;
    bool sent;        /* ever: the hub may have it */
    bool sent_as_gap; /* the hub did not have it and was told of the gap */
} Entry;

typedef struct SenderEpoch {
    EpochId id;
    bool closed;
    bool announced;
    uint64_t last; /* appended */
    uint64_t next; /* to send */
    uint64_t received;
    uint64_t base; /* last sequence that was freed, and the totals there */
    BatchCounts base_totals;
    uint64_t in_flight;
    Entry *ring;
    size_t head, n, capacity;
    size_t n_mergeable;
} SenderEpoch;

struct DeliverySender {
    void (*release)(void *userdata, uint64_t id);
    void *userdata;
    SenderEpoch *epochs; /* oldest first; the last one is live */
    size_t n_epochs, capacity;

    bool session, synced, admitted;
    uint64_t hello_id, nonce;
    uint64_t hello_ms;
    bool hello_sent;
    uint32_t credit;
    bool closed_turn;
    DeliverySenderStatus status;
};

/* --------------------------------------------------------------------------------- the ring */

static Entry *entry_at(const SenderEpoch *epoch, size_t i) {
    return &epoch->ring[(epoch->head + i) & (epoch->capacity - 1)];
}

static int ring_push(SenderEpoch *epoch, const Entry *entry) {
    if (epoch->n == epoch->capacity) {
        size_t capacity = epoch->capacity ? epoch->capacity * 2 : 16;
        Entry *ring = malloc(capacity * sizeof(*ring));
        if (!ring)
            return error_origin(-ENOMEM);
        for (size_t i = 0; i < epoch->n; i++)
            ring[i] = *entry_at(epoch, i);
        free(epoch->ring);
        epoch->ring = ring;
        epoch->capacity = capacity;
        epoch->head = 0;
    }
    epoch->n++;
    *entry_at(epoch, epoch->n - 1) = *entry;
    return 0;
}

/** find_sequence() - index of the first entry that ends at or behind the sequence */
static size_t find_sequence(const SenderEpoch *epoch, uint64_t sequence) {
    size_t low = 0;
    size_t high = epoch->n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (entry_at(epoch, middle)->last < sequence)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static Entry *find_id(const SenderEpoch *epoch, uint64_t id) {
    size_t low = 0;
    size_t high = epoch->n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (entry_at(epoch, middle)->id < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low < epoch->n && entry_at(epoch, low)->id == id ? entry_at(epoch, low) : NULL;
}

/* ------------------------------------------------------------------------------- the epochs */

static SenderEpoch *live_epoch(const DeliverySender *sender) {
    return &sender->epochs[sender->n_epochs - 1];
}

static int open_epoch(DeliverySender *sender, const EpochId *id) {
    if (sender->n_epochs == sender->capacity) {
        size_t capacity = sender->capacity ? sender->capacity * 2 : 4;
        SenderEpoch *epochs = realloc(sender->epochs, capacity * sizeof(*epochs));
        if (!epochs)
            return error_origin(-ENOMEM);
        sender->epochs = epochs;
        sender->capacity = capacity;
    }
    sender->epochs[sender->n_epochs++] = (SenderEpoch){.id = *id, .next = 1};
    return 0;
}

static SenderEpoch *find_epoch(const DeliverySender *sender, const EpochId *id) {
    for (size_t i = sender->n_epochs; i-- > 0;)
        if (epoch_equal(&sender->epochs[i].id, id))
            return &sender->epochs[i];
    return NULL;
}

/** close_finished() - a closed epoch that is stored to its end is over */
static void close_finished(DeliverySender *sender) {
    size_t kept = 0;
    bool waiting = false;
    for (size_t i = 0; i < sender->n_epochs; i++) {
        SenderEpoch *epoch = &sender->epochs[i];
        if (epoch->closed && epoch->n == 0 && epoch->next > epoch->base) {
            free(epoch->ring);
            continue;
        }
        waiting = waiting || !epoch->announced;
        sender->epochs[kept++] = *epoch;
    }
    bool removed = kept < sender->n_epochs;
    sender->n_epochs = kept;
    if (removed && waiting && sender->session) { /* there is room to announce the others */
        sender->hello_id++;
        sender->hello_sent = false;
        sender->synced = false;
    }
}

int delivery_sender_new(DeliverySender **senderp, const EpochId *live,
                        void (*release)(void *userdata, uint64_t id), void *userdata) {
    cleanup(delivery_sender_freep) DeliverySender *sender = calloc(1, sizeof(*sender));
    if (!sender)
        return error_origin(-ENOMEM);
    sender->release = release;
    sender->userdata = userdata;
    int r = open_epoch(sender, live);
    if (r)
        return error_trace(r);
    *senderp = sender;
    sender = NULL;
    return 0;
}

DeliverySender *delivery_sender_free(DeliverySender *sender) {
    if (!sender)
        return NULL;
    for (size_t i = 0; i < sender->n_epochs; i++)
        free(sender->epochs[i].ring);
    free(sender->epochs);
    free(sender);
    return NULL;
}

/* -------------------------------------------------------------------------- what comes, goes */

static int add_entry(DeliverySender *sender, SenderEpoch *epoch, const Entry *entry) {
    int r = ring_push(epoch, entry);
    if (r)
        return error_trace(r);
    epoch->last = entry->last;
    sender->status.pending_batches++;
    sender->status.pending_bytes += entry->bytes;
    sender->status.pending = batch_counts_add(sender->status.pending, entry->counts);
    return 0;
}

int delivery_sender_append(DeliverySender *sender, uint64_t id, uint32_t bytes, BatchCounts counts,
                           uint64_t now_ms) {
    SenderEpoch *epoch = live_epoch(sender);
    BatchCounts before = epoch->n ? entry_at(epoch, epoch->n - 1)->totals : epoch->base_totals;
    Entry entry = {
        .first = epoch->last + 1,
        .last = epoch->last + 1,
        .id = id,
        .appended_ms = now_ms,
        .counts = counts,
        .totals = batch_counts_add(before, counts),
        .bytes = bytes,
    };
    return error_trace(add_entry(sender, epoch, &entry));
}

static void uncharge(SenderEpoch *epoch, Entry *entry) {
    epoch->in_flight -= entry->charged;
    entry->charged = 0;
}

static void no_longer_pending(DeliverySender *sender, const Entry *entry) {
    sender->status.pending_batches--;
    sender->status.pending_bytes -= entry->bytes;
    sender->status.pending = batch_counts_subtract(sender->status.pending, entry->counts);
}

/** merge_gaps() - neighbours that are gone and were never sent become one entry */
static void merge_gaps(SenderEpoch *epoch) {
    size_t kept = 0;
    for (size_t i = 0; i < epoch->n; i++) {
        Entry entry = *entry_at(epoch, i);
        Entry *before = kept ? entry_at(epoch, kept - 1) : NULL;
        if (before && before->gone && !before->sent && entry.gone && !entry.sent &&
            before->sent_as_gap == entry.sent_as_gap) {
            entry.first = before->first;
            entry.counts = batch_counts_add(before->counts, entry.counts);
            *before = entry;
        } else {
            *entry_at(epoch, kept++) = entry;
        }
    }
    epoch->n = kept;
    epoch->n_mergeable = 0;
}

static void drop_entry(DeliverySender *sender, SenderEpoch *epoch, Entry *entry) {
    if (entry->gone)
        return;
    no_longer_pending(sender, entry);
    sender->status.dropped = batch_counts_add(sender->status.dropped, entry->counts);
    entry->gone = true;
    if (!entry->sent)
        epoch->n_mergeable++;
    if (epoch->n_mergeable > COMPACT_ENTRIES && epoch->n_mergeable > epoch->n / 8)
        merge_gaps(epoch);
}

static int open_former_epoch(DeliverySender *sender, const DeliveryBatch *batch) {
    int r = open_epoch(sender, &batch->epoch);
    if (r)
        return error_trace(r);
    SenderEpoch *live = &sender->epochs[sender->n_epochs - 2];
    SenderEpoch *former = &sender->epochs[sender->n_epochs - 1];
    SenderEpoch swap = *live; /* the live one stays last */
    *live = *former;
    *former = swap;
    former = live;
    former->closed = true;
    former->base = former->last = batch->first - 1;
    former->base_totals = batch_counts_subtract(batch->totals, batch->counts);
    return 0;
}

int delivery_sender_restore(DeliverySender *sender, const DeliveryBatch *batch, uint64_t id) {
    if (!find_epoch(sender, &batch->epoch)) {
        int r = open_former_epoch(sender, batch);
        if (r)
            return error_trace(r);
    }
    Entry entry = {
        .first = batch->first,
        .last = batch->last,
        .id = id,
        .counts = batch->counts,
        .totals = batch->totals,
        .bytes = batch->bytes,
        .sent = true, /* as far as this run can know */
    };
    SenderEpoch *epoch = find_epoch(sender, &batch->epoch);
    int r = add_entry(sender, epoch, &entry);
    if (!r && batch->gap)
        drop_entry(sender, epoch, entry_at(epoch, epoch->n - 1));
    return error_trace(r);
}

void delivery_sender_drop(DeliverySender *sender, uint64_t id) {
    for (size_t i = 0; i < sender->n_epochs; i++) {
        SenderEpoch *epoch = &sender->epochs[i];
        Entry *entry = find_id(epoch, id);
        if (entry) {
            drop_entry(sender, epoch, entry);
            return;
        }
    }
}

/** free_stored() - everything up to the sequence is in the hub's store, as a batch or as a gap */
static void free_stored(DeliverySender *sender, SenderEpoch *epoch, uint64_t stored) {
    while (epoch->n && entry_at(epoch, 0)->last <= stored) {
        Entry *entry = entry_at(epoch, 0);
        uncharge(epoch, entry);
        if (!entry->gone) {
            no_longer_pending(sender, entry);
            sender->release(sender->userdata, entry->id);
        } else if (!entry->sent_as_gap) { /* dropped here, but the hub had it by then */
            sender->status.dropped = batch_counts_subtract(sender->status.dropped, entry->counts);
        }
        if (!entry->gone || !entry->sent_as_gap)
            sender->status.stored = batch_counts_add(sender->status.stored, entry->counts);
        epoch->base = entry->last;
        epoch->base_totals = entry->totals;
        epoch->head = (epoch->head + 1) & (epoch->capacity - 1);
        epoch->n--;
    }
    if (epoch->next <= epoch->base && epoch->received >= epoch->base)
        epoch->next = epoch->base + 1;
}

/* ----------------------------------------------------------------------------- the session */

int delivery_sender_session_begin(DeliverySender *sender, uint64_t hello_id, const EpochId *fresh,
                                  bool *fresh_usedp, uint64_t now_ms) {
    SenderEpoch *live = live_epoch(sender);
    size_t oldest = 0;
    while (oldest < live->n && entry_at(live, oldest)->gone)
        oldest++;
    bool stale =
        oldest < live->n && now_ms - entry_at(live, oldest)->appended_ms > DELIVERY_STALE_MS;
    bool used = false;
    if (stale && sender->n_epochs < DELIVERY_EPOCHS_MAX) {
        int r = open_epoch(sender, fresh);
        if (r)
            return error_trace(r);
        sender->epochs[sender->n_epochs - 2].closed = true;
        used = true;
    }
    sender->session = true;
    sender->synced = false;
    sender->hello_sent = false;
    sender->hello_id = hello_id;
    *fresh_usedp = used;
    return 0;
}

void delivery_sender_session_end(DeliverySender *sender) {
    sender->session = false;
    sender->synced = false;
}

void delivery_sender_hello(const DeliverySender *sender, DeliveryHello *hello) {
    *hello = (DeliveryHello){.hello_id = sender->hello_id};
    for (size_t i = 0; i < sender->n_epochs; i++) {
        const SenderEpoch *epoch = &sender->epochs[i];
        if (hello->n_epochs == DELIVERY_EPOCHS_MAX - 1 && epoch->closed)
            continue; /* a place for the live one is kept */
        hello->epochs[hello->n_epochs++] = (DeliveryEpoch){
            .epoch = epoch->id, .closed = epoch->closed, .last = epoch->closed ? epoch->last : 0};
    }
}

static void mark_announced(DeliverySender *sender) {
    for (size_t i = 0; i < sender->n_epochs; i++)
        sender->epochs[i].announced = !sender->epochs[i].closed || i < DELIVERY_EPOCHS_MAX - 1;
}

static const DeliveryMark *find_mark(const DeliveryState *state, const EpochId *epoch) {
    for (size_t i = 0; i < state->n_marks; i++)
        if (epoch_equal(&state->marks[i].epoch, epoch))
            return &state->marks[i];
    return NULL;
}

/** go_back() - send again from where the hub says it stands */
static void go_back(SenderEpoch *epoch, uint64_t received) {
    for (size_t i = find_sequence(epoch, epoch->received + 1); i < epoch->n; i++) {
        Entry *entry = entry_at(epoch, i);
        if (entry->first >= epoch->next)
            break;
        uncharge(epoch, entry);
    }
    epoch->received = received < epoch->last ? received : epoch->last;
    epoch->next = epoch->received + 1;
}

static void move_window(SenderEpoch *epoch, uint64_t received) {
    if (received > epoch->last)
        received = epoch->last;
    if (received <= epoch->received)
        return;
    for (size_t i = find_sequence(epoch, epoch->received + 1); i < epoch->n; i++) {
        Entry *entry = entry_at(epoch, i);
        if (entry->last > received)
            break;
        uncharge(epoch, entry);
    }
    epoch->received = received;
    if (epoch->next <= received)
        epoch->next = received + 1;
}

void delivery_sender_state(DeliverySender *sender, const DeliveryState *state) {
    sender->admitted = state->admitted;
    bool answered = sender->session && sender->hello_sent && state->hello_id == sender->hello_id;
    bool resync =
        answered && (!sender->synced || (state->nonce != sender->nonce && !MUTANT(IGNORES_NONCE)));
    for (size_t i = 0; i < sender->n_epochs; i++) {
        SenderEpoch *epoch = &sender->epochs[i];
        const DeliveryMark *mark = find_mark(state, &epoch->id);
        if (resync && !MUTANT(NEVER_GOES_BACK))
            go_back(epoch, mark ? mark->received : 0);
        else if (answered && mark)
            move_window(epoch, mark->received);
        if (mark)
            free_stored(sender, epoch, mark->stored);
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
    close_finished(sender);
}

/* -------------------------------------------------------------------------- what to send next */

/** item_of() - the epoch's next message: one batch, or all that is missing at this place */
static void item_of(const SenderEpoch *epoch, DeliveryItem *item) {
    DeliveryBatch batch = {.epoch = epoch->id, .first = epoch->next, .gap = true};
    *item = (DeliveryItem){.kind = DELIVERY_ITEM_GAP};
    if (epoch->next <= epoch->base) { /* the hub's store went back behind what it had stored */
        batch.last = epoch->base;
        batch.totals = epoch->base_totals;
        item->batch = batch;
        return;
    }
    size_t i = find_sequence(epoch, epoch->next);
    const Entry *entry = entry_at(epoch, i);
    if (!entry->gone) {
        batch.gap = false;
        batch.bytes = entry->bytes;
        batch.counts = entry->counts;
        item->kind = DELIVERY_ITEM_BATCH;
        item->id = entry->id;
    }
    while (entry->gone && i + 1 < epoch->n && entry_at(epoch, i + 1)->gone)
        entry = entry_at(epoch, ++i);
    batch.last = entry->last;
    batch.totals = entry->totals;
    item->batch = batch;
}

static SenderEpoch *oldest_waiting(const DeliverySender *sender) {
    for (size_t i = 0; i + 1 < sender->n_epochs; i++) {
        SenderEpoch *epoch = &sender->epochs[i];
        if (epoch->announced && epoch->next <= epoch->last)
            return epoch;
    }
    return NULL;
}

/**
 * next_batch() - closed and live take turns while both have something to send. A class that has
 * used its share lets the other go; one that only waits for room makes the other wait too, else
 * small batches would keep a large one out for ever.
 */
static bool next_batch(const DeliverySender *sender, DeliveryItem *item) {
    SenderEpoch *live = live_epoch(sender);
    SenderEpoch *closed = oldest_waiting(sender);
    bool live_waits = live->next <= live->last;
    uint64_t closed_bytes = 0;
    for (size_t i = 0; i + 1 < sender->n_epochs; i++)
        closed_bytes += sender->epochs[i].in_flight;
    uint64_t total = closed_bytes + live->in_flight;
    uint64_t share = (uint64_t)sender->credit * SHARE_PERCENT / 100;

    for (int turn = 0; turn < 2; turn++) {
        bool take_closed = sender->closed_turn == (turn == 0);
        SenderEpoch *epoch = take_closed ? closed : live_waits ? live : NULL;
        if (!epoch)
            continue;
        item_of(epoch, item);
        uint64_t bytes = item->batch.bytes;
        uint64_t used = take_closed ? closed_bytes : live->in_flight;
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
    for (size_t i = 0; i < sender->n_epochs; i++)
        in_flight += sender->epochs[i].in_flight;
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
    SenderEpoch *epoch = find_epoch(sender, &item->batch.epoch);
    if (!epoch)
        return;
    for (size_t i = find_sequence(epoch, item->batch.first); i < epoch->n; i++) {
        Entry *entry = entry_at(epoch, i);
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
    status->epochs = sender->n_epochs;
    status->in_flight_bytes = 0;
    for (size_t i = 0; i < sender->n_epochs; i++)
        status->in_flight_bytes += sender->epochs[i].in_flight;
}
