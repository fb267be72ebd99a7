#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A peer and its epochs as the receiver sees them: a part of channel/delivery_receiver.c with no
 * decisions in it.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/batch_counts.h"
#include "channel/delivery.h"

typedef struct Held {
    uint64_t last;
    uint32_t bytes;
    BatchCounts totals;
} Held;

typedef struct ReceiverEpoch {
    EpochId id;
    bool announced;
    bool out_of_step; /* something was discarded that only a new nonce brings back */
    uint64_t received, stored;
    BatchCounts received_totals, stored_totals;
    Held *ring;
    size_t head, n, capacity;
} ReceiverEpoch;

typedef struct Peer {
    PeerKey key;
    bool admitted;
    bool dirty;  /* the state differs from the one last sent */
    bool urgent; /* queued to be told at once */
    uint64_t hello_id, nonce;
    uint64_t heard_ms, told_ms, nonce_ms;
    unsigned n_resyncs; /* since the last batch taken */
    uint64_t demand;
    uint64_t taken_since_told;
    uint32_t credit;
    ReceiverEpoch *epochs;
    size_t n_epochs, capacity, recent;
    DeliveryPeerStatus status;
} Peer;
