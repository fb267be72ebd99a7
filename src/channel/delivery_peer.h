#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A peer and its epochs as the receiver sees them: a part of channel/delivery_receiver.c with no
 * decisions in it.
 *
 * An epoch is one thing, whoever sends of it: its id alone says which (128 random bits). A spool
 * that comes under another key, or under two keys at once, goes on where the hub stands with it.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/batch_counts.h"
#include "channel/delivery.h"

/** Held - taken and not yet stored */
typedef struct Held {
    uint64_t last;
    uint32_t bytes;
    uint32_t peer; /* index of who sent it */
    BatchCounts totals;
} Held;

typedef struct HubEpoch HubEpoch;
struct HubEpoch {
    EpochId id;
    HubEpoch *next; /* in its bucket */
    uint32_t n_peers;
    uint32_t n_back; /* times that received went back */
    uint64_t received, stored;
    BatchCounts received_totals, stored_totals;
    Held *ring;
    size_t head, n, capacity;
};

/** EpochTable - of all peers */
typedef struct EpochTable {
    HubEpoch **buckets;
    size_t n, n_buckets; /* a power of two, or 0 */
    uint64_t seed;
} EpochTable;

/** PeerEpoch - what a peer has to do with an epoch */
typedef struct PeerEpoch {
    HubEpoch *at;
    bool announced;
    bool out_of_step; /* something was discarded that only a new nonce brings back */
    uint32_t n_back;  /* of the epoch, when this peer was last told where it stands */
} PeerEpoch;

/* epochs of one key of which only what is stored is remembered: one a minute for six weeks */
enum { PEER_SETTLED_MAX = 65536 };

typedef struct Peer {
    PeerKey key;
    bool admitted;
    bool dirty;  /* the state differs from the one last sent */
    bool urgent; /* queued to be told at once */
    bool astray; /* sent of an epoch that is not known here, and not from its beginning */
    uint64_t hello_id, nonce;
    uint64_t heard_ms, told_ms, nonce_ms;
    unsigned n_resyncs; /* since the last batch taken */
    uint64_t demand;
    uint64_t taken_since_told;
    uint32_t credit;
    PeerEpoch *epochs;
    size_t n_epochs, capacity, recent;
    HubEpoch **settled; /* a ring: these had to make room */
    size_t settled_head, n_settled, settled_capacity;
    DeliveryPeerStatus status;
} Peer;

HubEpoch *epoch_table_find(const EpochTable *table, const EpochId *id);
void epoch_table_free(EpochTable *table);

/** hub_epoch_held() - the i-th that is held, oldest first */
Held *hub_epoch_held(const HubEpoch *epoch, size_t i);
int hub_epoch_hold(HubEpoch *epoch, const Held *held);

/** hub_epoch_step_back() - received is where the last held batch ends, else where stored is */
void hub_epoch_step_back(HubEpoch *epoch);

PeerEpoch *peer_epoch(Peer *peer, const EpochId *id);

/** peer_epoch_need() - made when new; *epochp is NULL when this peer has too many */
int peer_epoch_need(EpochTable *table, Peer *peer, const EpochId *id, PeerEpoch **epochp);

/** peer_epoch_drop() - the i-th; what nobody has any more is forgotten */
void peer_epoch_drop(EpochTable *table, Peer *peer, size_t i);

/** peer_forget_unused() - but the newest announced: one hello after the other must not cost memory
 */
void peer_forget_unused(EpochTable *table, Peer *peer);

/** peer_is_behind() - an epoch of it went back since it was last told to send again */
bool peer_is_behind(const Peer *peer);
void peer_catches_up(Peer *peer);
