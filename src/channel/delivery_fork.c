/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Delivery, the probe's side: when another goes on with an epoch of this process
 *
 * A virtual machine that went back to a snapshot, or a copy of one that runs, has the epoch of
 * another process in its memory and goes on with it: the same sequences, other batches. The hub
 * takes one of each, and says with `received` what the totals of the epoch are there. Where they
 * are others than here, or where it has more than ever was here, what follows the last place at
 * which both agreed is not what the hub has. The epoch ends there; the owner puts the rest into a
 * new one.
 */

#include <string.h>

#include "channel/delivery_inner.h"

uint64_t sender_end(const SenderEpoch *epoch) {
    return epoch->diverged ? epoch->common : epoch->last;
}

/** totals_at() - false: it is not known here (any more) */
static bool totals_at(DeliverySender *sender, SenderEpoch *epoch, uint64_t sequence,
                      BatchCounts *totals) {
    if (sequence < epoch->base)
        return false;
    if (sequence == epoch->base || sequence == epoch->last) {
        *totals = sequence == epoch->base ? epoch->base_totals : epoch->last_totals;
        return true;
    }
    if (!sender_load_up_to(sender, epoch, sequence))
        return false;
    size_t i = epoch_find(epoch, sequence);
    if (i == epoch->n || epoch_entry(epoch, i)->last != sequence)
        return false; /* within a gap */
    *totals = epoch_entry(epoch, i)->totals;
    return true;
}

void sender_compare(DeliverySender *sender, SenderEpoch *epoch, const DeliveryMark *mark) {
    BatchCounts totals;
    if (epoch->diverged || !mark->received || !mark->counted)
        return;
    if (mark->received > epoch->last) {
        if (epoch->former)
            return; /* was sent, and then lost here with the power */
    } else if (!totals_at(sender, epoch, mark->received, &totals)) {
        return;
    } else if (batch_counts_equal(totals, mark->totals)) {
        if (mark->received > epoch->common) {
            epoch->common = mark->received;
            epoch->common_totals = totals;
        }
        return;
    }
    if (epoch->common < epoch->base) {
        epoch->common = epoch->base;
        epoch->common_totals = epoch->base_totals;
    }
    epoch->diverged = true;
    sender->wants_epoch = sender->wants_epoch || epoch == sender_live(sender);
}

bool delivery_sender_diverged(const DeliverySender *sender, EpochId *epoch, uint64_t *firstp,
                              uint64_t *lastp) {
    for (size_t i = 0; i < sender->epochs.n; i++) {
        const SenderEpoch *each = &sender->epochs.at[i];
        if (!each->diverged || !each->closed || each->moved)
            continue;
        *epoch = each->id;
        *firstp = each->common + 1;
        *lastp = each->last;
        return true;
    }
    return false;
}

/** cut_ring() - what is behind the end goes; of what is not in the ring the sum is known */
static void cut_ring(DeliverySender *sender, SenderEpoch *epoch) {
    uint64_t held = 0;
    for (size_t i = 0; i < epoch->n; i++)
        held += epoch_entry(epoch, i)->gone ? 0 : epoch_entry(epoch, i)->bytes;
    if (epoch->last > epoch->loaded) {
        const Entry rest = {.first = epoch->loaded + 1,
                            .last = epoch->last,
                            .counts =
                                batch_counts_subtract(epoch->last_totals, epoch->loaded_totals)};
        sender_no_longer_pending(sender, epoch, &rest,
                                 epoch->bytes > held ? epoch->bytes - held : 0);
    }
    while (epoch->n && epoch_entry(epoch, epoch->n - 1)->first > epoch->common) {
        Entry *entry = epoch_entry(epoch, epoch->n - 1);
        epoch_uncharge(epoch, entry);
        if (!entry->gone)
            sender_no_longer_pending(sender, epoch, entry, entry->bytes);
        epoch->n--;
    }
    if (epoch->loaded > epoch->common || !epoch->n) {
        epoch->loaded = epoch->common;
        epoch->loaded_totals = epoch->common_totals;
    }
}

void delivery_sender_moved(DeliverySender *sender, const EpochId *id) {
    SenderEpoch *epoch = sender_find(sender, id);
    if (!epoch || !epoch->diverged || !epoch->closed || epoch->moved)
        return;
    cut_ring(sender, epoch);
    epoch->moved = true;
    epoch->last = epoch->common;
    epoch->last_totals = epoch->common_totals;
    if (epoch->received > epoch->last)
        epoch->received = epoch->last;
    if (epoch->next > epoch->last + 1)
        epoch->next = epoch->last + 1;
    if (epoch->base >= epoch->last)
        sender_release(sender, epoch);
    sender_close_finished(sender);
}
