/* SPDX-License-Identifier: Apache-2.0 */

#include "channel/delivery_peer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/hash.h"
#include "channel/ring.h"

enum {
    PEER_EPOCHS_MAX = 4096, /* what one key may make the hub remember */
    BUCKETS_FIRST = 64,
    SETTLED_FIRST = 64,
};

/* -------------------------------------------------------------------------------- the epochs */

static HubEpoch **bucket_of(const EpochTable *table, const EpochId *id) {
    uint64_t hash = hash_bytes(id->bytes, sizeof(id->bytes), table->seed);
    return &table->buckets[hash & (table->n_buckets - 1)];
}

HubEpoch *epoch_table_find(const EpochTable *table, const EpochId *id) {
    if (!table->n_buckets)
        return NULL;
    for (HubEpoch *epoch = *bucket_of(table, id); epoch; epoch = epoch->next)
        if (epoch_equal(&epoch->id, id))
            return epoch;
    return NULL;
}

static int grow(EpochTable *table) {
    const EpochTable old = *table;
    size_t n = old.n_buckets ? old.n_buckets * 2 : BUCKETS_FIRST;
    HubEpoch **buckets = calloc(n, sizeof(HubEpoch *));
    if (!buckets)
        return error_origin(-ENOMEM);
    table->buckets = buckets;
    table->n_buckets = n;
    for (size_t i = 0; i < old.n_buckets; i++)
        for (HubEpoch *epoch = old.buckets[i], *next = NULL; epoch; epoch = next) {
            HubEpoch **bucket = bucket_of(table, &epoch->id);
            next = epoch->next;
            epoch->next = *bucket;
            *bucket = epoch;
        }
    free(old.buckets);
    return 0;
}

static int need(EpochTable *table, const EpochId *id, HubEpoch **epochp) {
    HubEpoch *epoch = epoch_table_find(table, id);
    if (!epoch) {
        int r = table->n >= table->n_buckets ? grow(table) : 0;
        if (r)
            return error_trace(r);
        epoch = calloc(1, sizeof(*epoch));
        if (!epoch)
            return error_origin(-ENOMEM);
        HubEpoch **bucket = bucket_of(table, id);
        epoch->id = *id;
        epoch->next = *bucket;
        *bucket = epoch;
        table->n++;
    }
    *epochp = epoch;
    return 0;
}

static void forget(EpochTable *table, HubEpoch *epoch) {
    HubEpoch **place = bucket_of(table, &epoch->id);
    while (*place != epoch)
        place = &(*place)->next;
    *place = epoch->next;
    table->n--;
    free(epoch->ring);
    free(epoch);
}

void epoch_table_free(EpochTable *table) {
    for (size_t i = 0; i < table->n_buckets; i++)
        for (HubEpoch *epoch = table->buckets[i], *next = NULL; epoch; epoch = next) {
            next = epoch->next;
            free(epoch->ring);
            free(epoch);
        }
    free(table->buckets);
    *table = (EpochTable){0};
}

Held *hub_epoch_held(const HubEpoch *epoch, size_t i) {
    return &epoch->ring[(epoch->head + i) & (epoch->capacity - 1)];
}

int hub_epoch_hold(HubEpoch *epoch, const Held *held) {
    int r = ring_grow(&epoch->ring, &epoch->head, epoch->n, &epoch->capacity, sizeof(*held), 8);
    if (r)
        return error_trace(r);
    epoch->n++;
    *hub_epoch_held(epoch, epoch->n - 1) = *held;
    return 0;
}

void hub_epoch_step_back(HubEpoch *epoch) {
    const Held *held = epoch->n ? hub_epoch_held(epoch, epoch->n - 1) : NULL;
    epoch->received = held ? held->last : epoch->stored;
    epoch->received_totals = held ? held->totals : epoch->stored_totals;
    epoch->n_back++;
}

/* ------------------------------------------------------------------------ the epochs of a peer */

PeerEpoch *peer_epoch(Peer *peer, const EpochId *id) {
    if (peer->recent < peer->n_epochs && epoch_equal(&peer->epochs[peer->recent].at->id, id))
        return &peer->epochs[peer->recent];
    for (size_t i = peer->n_epochs; i-- > 0;)
        if (epoch_equal(&peer->epochs[i].at->id, id)) {
            peer->recent = i;
            return &peer->epochs[i];
        }
    return NULL;
}

static void leave(EpochTable *table, HubEpoch *epoch) {
    if (--epoch->n_peers == 0)
        forget(table, epoch);
}

void peer_epoch_drop(EpochTable *table, Peer *peer, size_t i) {
    PeerEpoch *epoch = &peer->epochs[i];
    leave(table, epoch->at);
    memmove(epoch, epoch + 1, (peer->n_epochs - i - 1) * sizeof(*epoch));
    peer->n_epochs--;
}

/** settle() - it loses its place, not what is stored of it: from a spool that goes back to a backup
 * it may come again. The oldest of too many is forgotten */
static int settle(EpochTable *table, Peer *peer, HubEpoch *epoch) {
    int r = 0;
    if (peer->n_settled == PEER_SETTLED_MAX) {
        leave(table, peer->settled[peer->settled_head]);
        peer->settled_head = (peer->settled_head + 1) & (peer->settled_capacity - 1);
        peer->n_settled--;
    }
    r = ring_grow(&peer->settled, &peer->settled_head, peer->n_settled, &peer->settled_capacity,
                  sizeof(HubEpoch *), SETTLED_FIRST);
    if (r)
        return error_trace(r);
    free(epoch->ring);
    epoch->ring = NULL;
    epoch->head = epoch->capacity = 0;
    epoch->n_peers++;
    peer->settled[(peer->settled_head + peer->n_settled++) & (peer->settled_capacity - 1)] = epoch;
    return 0;
}

/** make_room() - the oldest that the probe no longer speaks of and nothing is held of */
static int make_room(EpochTable *table, Peer *peer) {
    for (size_t i = 0; i < peer->n_epochs; i++) {
        HubEpoch *epoch = peer->epochs[i].at;
        if (peer->epochs[i].announced || epoch->n)
            continue;
        int r = epoch->stored ? settle(table, peer, epoch) : 0;
        if (r)
            return error_trace(r);
        peer_epoch_drop(table, peer, i);
        return 0;
    }
    return 0;
}

void peer_forget_unused(EpochTable *table, Peer *peer) {
    size_t kept = 0;
    for (size_t i = peer->n_epochs; i-- > 0;) {
        const PeerEpoch *epoch = &peer->epochs[i];
        if (epoch->at->received || epoch->at->stored || epoch->at->n || epoch->out_of_step)
            continue;
        if (epoch->announced && kept < DELIVERY_EPOCHS_MAX)
            kept++;
        else
            peer_epoch_drop(table, peer, i);
    }
}

int peer_epoch_need(EpochTable *table, Peer *peer, const EpochId *id, PeerEpoch **epochp) {
    PeerEpoch *epoch = peer_epoch(peer, id);
    if (!epoch) {
        int r = peer->n_epochs == PEER_EPOCHS_MAX ? make_room(table, peer) : 0;
        if (r)
            return error_trace(r);
        if (peer->n_epochs == PEER_EPOCHS_MAX) {
            *epochp = NULL;
            return 0;
        }
        if (peer->n_epochs == peer->capacity) {
            size_t capacity = peer->capacity ? peer->capacity * 2 : 2;
            epoch = realloc(peer->epochs, capacity * sizeof(*epoch));
            if (!epoch)
                return error_origin(-ENOMEM);
            peer->epochs = epoch;
            peer->capacity = capacity;
        }
        HubEpoch *at = NULL;
        r = need(table, id, &at);
        if (r)
            return error_trace(r);
        at->n_peers++;
        epoch = &peer->epochs[peer->n_epochs++];
        *epoch = (PeerEpoch){.at = at, .n_back = at->n_back};
    }
    *epochp = epoch;
    return 0;
}

bool peer_is_behind(const Peer *peer) {
    for (size_t i = 0; i < peer->n_epochs; i++)
        if (peer->epochs[i].n_back != peer->epochs[i].at->n_back)
            return true;
    return false;
}

void peer_catches_up(Peer *peer) {
    for (size_t i = 0; i < peer->n_epochs; i++)
        peer->epochs[i].n_back = peer->epochs[i].at->n_back;
}
