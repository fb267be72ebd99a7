/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Delivery, the probe's side: what is appended, dropped, loaded and freed
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "channel/delivery_inner.h"

enum { AHEAD_ENTRIES = 64 }; /* appended ones that are kept though their turn has not come */

static uint64_t less(uint64_t whole, uint64_t part) {
    return whole > part ? whole - part : 0;
}

void sender_no_longer_pending(DeliverySender *sender, SenderEpoch *epoch, const Entry *entry,
                              uint64_t bytes) {
    uint64_t before = epoch->bytes;
    epoch->bytes = less(before, bytes);
    sender->status.pending_bytes -= before - epoch->bytes;
    sender->status.pending_batches -= entry->last - entry->first + 1;
    sender->status.pending = batch_counts_subtract(sender->status.pending, entry->counts);
}

static void add_pending(DeliverySender *sender, SenderEpoch *epoch, uint64_t batches,
                        uint64_t bytes, BatchCounts counts) {
    epoch->bytes += bytes;
    sender->status.pending_bytes += bytes;
    sender->status.pending_batches += batches;
    sender->status.pending = batch_counts_add(sender->status.pending, counts);
}

static void drop_entry(DeliverySender *sender, SenderEpoch *epoch, Entry *entry, uint64_t bytes) {
    if (entry->gone)
        return;
    sender_no_longer_pending(sender, epoch, entry, bytes);
    sender->status.dropped = batch_counts_add(sender->status.dropped, entry->counts);
    entry->gone = true;
}

/** put_gone() - a gap behind the ring, up to this place; it grows the gap that is there, if any */
static int put_gone(DeliverySender *sender, SenderEpoch *epoch, uint64_t last, BatchCounts totals,
                    uint64_t bytes) {
    Entry entry = {
        .first = epoch->loaded + 1,
        .last = last,
        .counts = batch_counts_subtract(totals, epoch->loaded_totals),
        .totals = totals,
    };
    Entry *before = epoch->n ? epoch_entry(epoch, epoch->n - 1) : NULL;
    bool grows = before && before->gone && !before->sent && !before->sent_as_gap;
    int r = grows ? 0 : epoch_push(epoch, &entry);
    if (r)
        return error_trace(r);
    epoch->loaded = last;
    epoch->loaded_totals = totals;
    drop_entry(sender, epoch, grows ? &entry : epoch_entry(epoch, epoch->n - 1), bytes);
    if (grows) {
        before->last = last;
        before->totals = totals;
        before->counts = batch_counts_add(before->counts, entry.counts);
    }
    return 0;
}

/** load_next() - one more into the ring, or not now */
static int load_next(DeliverySender *sender, SenderEpoch *epoch) {
    DeliveryBatch batch = {.last = epoch->last, .totals = epoch->last_totals, .gap = true};
    uint64_t sequence = epoch->loaded + 1;
    int r = sender->owner.load(sender->owner.userdata, &epoch->id, sequence, &batch);
    if (r < 0 || (r == DELIVERY_E_LATER && !MUTANT(LATER_IS_NEVER)))
        return r;
    if (r || batch.last > epoch->last)
        batch = (DeliveryBatch){.last = epoch->last, .totals = epoch->last_totals, .gap = true};
    if (batch.gap)
        return error_trace(put_gone(sender, epoch, batch.last, batch.totals, 0));
    Entry entry = {
        .first = sequence,
        .last = sequence,
        .counts = batch.counts,
        .totals = batch.totals,
        .bytes = batch.bytes,
    };
    r = epoch_push(epoch, &entry);
    if (r)
        return error_trace(r);
    epoch->loaded = sequence;
    epoch->loaded_totals = batch.totals;
    return 0;
}

/** sender_load_up_to() - false: not all of it now */
bool sender_load_up_to(DeliverySender *sender, SenderEpoch *epoch, uint64_t sequence) {
    if (sequence > epoch->last)
        sequence = epoch->last;
    while (epoch->loaded < sequence)
        if (load_next(sender, epoch))
            return false;
    return true;
}

static int open_epoch(DeliverySender *sender, const EpochId *id) {
    SenderEpoch epoch = {.id = *id, .next = 1, .announced = true};
    size_t before = sender->epochs.n;
    int r = epoch_list_insert(&sender->epochs, before, &epoch);
    if (r)
        return error_trace(r);
    if (before)
        sender->epochs.at[before - 1].closed = true;
    sender->wants_epoch = false;
    if (before >= DELIVERY_EPOCHS_MAX - 1) /* more than the hub speaks of: say which first */
        sender_say_hello_again(sender);
    return 0;
}

int delivery_sender_append(DeliverySender *sender, const DeliveryBatch *batch, uint64_t now_ms) {
    SenderEpoch *epoch = sender_live(sender);
    if (!epoch || !epoch_equal(&epoch->id, &batch->epoch)) {
        int r = open_epoch(sender, &batch->epoch);
        if (r)
            return error_trace(r);
        epoch = sender_live(sender);
    }
    if (batch->last != epoch->last + 1)
        return error_origin(-EINVAL);
    Entry entry = {
        .first = batch->last,
        .last = batch->last,
        .appended_ms = now_ms,
        .counts = batch->counts,
        .totals = batch->totals,
        .bytes = batch->bytes,
    };
    bool in_turn =
        epoch->loaded == epoch->last && less(epoch->loaded + 1, epoch->next) < AHEAD_ENTRIES;
    int r = in_turn ? epoch_push(epoch, &entry) : 0;
    if (r)
        return error_trace(r);
    epoch->last = batch->last;
    epoch->last_totals = batch->totals;
    if (in_turn) {
        epoch->loaded = batch->last;
        epoch->loaded_totals = batch->totals;
    }
    add_pending(sender, epoch, 1, batch->bytes, batch->counts);
    return 0;
}

int delivery_sender_restore(DeliverySender *sender, const DeliveryFormer *former) {
    SenderEpoch epoch = {
        .id = former->epoch,
        .closed = true,
        .former = true,
        .last = former->last,
        .last_totals = former->last_totals,
        .loaded = former->stored,
        .loaded_totals = former->stored_totals,
        .base = former->stored,
        .base_totals = former->stored_totals,
        .next = 1,
    };
    if (former->stored >= former->last) {
        sender_remember(sender, &epoch);
        return 0;
    }
    int r = epoch_list_insert(&sender->former, sender->former.n, &epoch);
    if (r)
        return error_trace(r);
    add_pending(sender, &sender->former.at[sender->former.n - 1], former->last - former->stored,
                former->bytes, batch_counts_subtract(former->last_totals, former->stored_totals));
    sender_bring_in(sender);
    return 0;
}

bool delivery_sender_wants_epoch(const DeliverySender *sender) {
    return sender->wants_epoch;
}

void delivery_sender_drop(DeliverySender *sender, const EpochId *id, uint64_t last,
                          const BatchCounts *totals, uint64_t bytes) {
    SenderEpoch *epoch = sender_find(sender, id);
    if (!epoch)
        epoch = epoch_list_find(&sender->former, id);
    if (!epoch)
        return;
    for (size_t i = 0; i < epoch->n && epoch_entry(epoch, i)->last <= last; i++) {
        Entry *entry = epoch_entry(epoch, i);
        bytes = less(bytes, entry->gone ? 0 : entry->bytes);
        drop_entry(sender, epoch, entry, entry->bytes);
    }
    if (last > epoch->loaded && last <= epoch->last)
        (void)put_gone(sender, epoch, last, *totals, bytes); /* or found out when it is loaded */
}

void delivery_sender_torn(DeliverySender *sender, const EpochId *id, uint64_t sequence) {
    SenderEpoch *epoch = sender_find(sender, id);
    size_t i = epoch ? epoch_find(epoch, sequence) : 0;
    if (epoch && i < epoch->n && epoch_entry(epoch, i)->first == sequence)
        drop_entry(sender, epoch, epoch_entry(epoch, i), epoch_entry(epoch, i)->bytes);
}

static void free_first(DeliverySender *sender, SenderEpoch *epoch) {
    Entry *entry = epoch_entry(epoch, 0);
    epoch_uncharge(epoch, entry);
    if (!entry->gone)
        sender_no_longer_pending(sender, epoch, entry, entry->bytes);
    else if (!entry->sent_as_gap) /* dropped here, but the hub had it by then */
        sender->status.dropped = batch_counts_subtract(sender->status.dropped, entry->counts);
    if (!entry->gone || !entry->sent_as_gap)
        sender->status.stored = batch_counts_add(sender->status.stored, entry->counts);
    epoch->base = entry->last;
    epoch->base_totals = entry->totals;
    epoch->head = (epoch->head + 1) & (epoch->capacity - 1);
    epoch->n--;
}

void sender_release(DeliverySender *sender, const SenderEpoch *epoch) {
    const bool all = epoch->moved && epoch->base >= epoch->last;
    sender->owner.release(sender->owner.userdata, &epoch->id, epoch->base,
                          all ? NULL : &epoch->base_totals);
}

/** sender_free_stored() - everything up to the sequence is in the hub's store, as a batch or as a
 * gap */
void sender_free_stored(DeliverySender *sender, SenderEpoch *epoch, uint64_t stored) {
    uint64_t before = epoch->base;
    if (stored > sender_end(epoch))
        stored = sender_end(epoch);
    while (epoch->base < stored) {
        if (!epoch->n && load_next(sender, epoch))
            break;
        if (epoch_entry(epoch, 0)->last > stored)
            break;
        free_first(sender, epoch);
    }
    if (epoch->next <= epoch->base && epoch->received >= epoch->base)
        epoch->next = epoch->base + 1;
    if (epoch->base > before)
        sender_release(sender, epoch);
}
