#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Inside the Sender
 *
 * Shared by delivery_sender.c (sessions, and what to send next), delivery_entries.c (what comes and
 * goes) and delivery_fork.c (an epoch that another goes on with). Internal to the layer.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "channel/delivery.h"
#include "channel/delivery_epoch.h"

#ifndef MUTANT /* test-delivery-mutants.c breaks the machine here and there to test its test */
#define MUTANT(name) false
#endif

struct DeliverySender {
    DeliveryOwner owner;
    EpochList epochs;   /* the last one is live unless it is closed */
    EpochList former;   /* of former runs, for which there is no room above yet */
    EpochList finished; /* remembered, in the order in which they ended */
    size_t n_restored;  /* of `epochs` the first so many are of former runs */

    bool session, synced, admitted;
    bool wants_epoch;
    bool looks_back; /* the hello has the finished epochs too */
    uint64_t hello_id, nonce;
    uint64_t hello_ms;
    bool hello_sent;
    uint32_t credit;
    bool closed_turn;
    DeliverySenderStatus status;
};

/* delivery_sender.c */
SenderEpoch *sender_live(const DeliverySender *sender);
SenderEpoch *sender_find(const DeliverySender *sender, const EpochId *id);
void sender_bring_in(DeliverySender *sender);
void sender_say_hello_again(DeliverySender *sender);
void sender_remember(DeliverySender *sender, const SenderEpoch *epoch);
/** sender_close_finished() - a closed epoch that is stored to its end is over */
void sender_close_finished(DeliverySender *sender);

/* delivery_entries.c */
/** sender_load_up_to() - false: not all of it now */
bool sender_load_up_to(DeliverySender *sender, SenderEpoch *epoch, uint64_t sequence);
/** sender_free_stored() - everything up to here is in the hub's store, as a batch or as a gap */
void sender_free_stored(DeliverySender *sender, SenderEpoch *epoch, uint64_t stored);
void sender_no_longer_pending(DeliverySender *sender, SenderEpoch *epoch, const Entry *entry,
                              uint64_t bytes);
/** sender_release() - tells the owner how far the epoch is over */
void sender_release(DeliverySender *sender, const SenderEpoch *epoch);

/* delivery_fork.c */
/** sender_compare() - is what the hub has of it what was sent from here? */
void sender_compare(DeliverySender *sender, SenderEpoch *epoch, const DeliveryMark *mark);
/** sender_end() - the last of the epoch that is to be delivered under its name */
uint64_t sender_end(const SenderEpoch *epoch);
