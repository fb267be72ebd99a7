/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Delivery, the hub's side
 *
 * A peer is a probe's key with its epochs; an epoch keeps a ring of what was taken and is not yet
 * stored, so that `received` can go back to `stored` with the totals that belong there. What an
 * epoch has stored is never forgotten while the probe may still send of it.
 */

#include "channel/delivery.h"

#include <errno.h>
#include <stdlib.h>

#include "base/error.h"
#include "base/hash.h"
#include "channel/delivery_peer.h"

#ifndef MUTANT /* test-delivery-mutants.c breaks the machine here and there to test its test */
#define MUTANT(name) false
#endif

enum {
    PEER_EPOCHS_MAX = 4096, /* what one key may make the hub remember */
    RESYNC_DOUBLINGS = 6,   /* 0.5 s becomes 32 s while a probe does not come back in step */
    SCAN_MS = 5,
};

struct DeliveryReceiver {
    DeliveryReceiverConfig config;
    Peer **peers;
    size_t n_peers, capacity;
    uint32_t *table; /* index of the peer + 1, open addressing */
    size_t table_size;
    uint64_t held_bytes;
    uint64_t demand; /* sum of all peers' */
    uint64_t n_nonces;
    size_t *urgent; /* indices of peers, a stack */
    size_t n_urgent;
    size_t scan; /* where the round over all peers stands; n_peers when it is over */
    uint64_t scan_ms;
};

/* -------------------------------------------------------------------------------- the peers */

static size_t slot_of(const DeliveryReceiver *receiver, const PeerKey *key) {
    size_t mask = receiver->table_size - 1;
    size_t slot = hash_bytes(key->z85, sizeof(key->z85), receiver->config.nonce_seed) & mask;
    while (receiver->table[slot] &&
           memcmp(&receiver->peers[receiver->table[slot] - 1]->key, key, sizeof(*key)) != 0)
        slot = (slot + 1) & mask;
    return slot;
}

size_t delivery_receiver_find(const DeliveryReceiver *receiver, const PeerKey *key) {
    uint32_t found = receiver->table[slot_of(receiver, key)];
    return found ? found - 1 : SIZE_MAX;
}

static Peer *find_peer(const DeliveryReceiver *receiver, const PeerKey *key) {
    size_t i = delivery_receiver_find(receiver, key);
    return i == SIZE_MAX ? NULL : receiver->peers[i];
}

static int grow(DeliveryReceiver *receiver) {
    size_t capacity = receiver->capacity ? receiver->capacity * 2 : 16;
    Peer **peers = realloc(receiver->peers, capacity * sizeof(*peers));
    if (!peers)
        return error_origin(-ENOMEM);
    receiver->peers = peers;
    size_t *urgent = realloc(receiver->urgent, capacity * sizeof(*urgent));
    if (!urgent)
        return error_origin(-ENOMEM);
    receiver->urgent = urgent;
    uint32_t *table = calloc(capacity * 4, sizeof(*table));
    if (!table)
        return error_origin(-ENOMEM);
    free(receiver->table);
    receiver->table = table;
    receiver->table_size = capacity * 4;
    receiver->capacity = capacity;
    for (size_t i = 0; i < receiver->n_peers; i++)
        table[slot_of(receiver, &peers[i]->key)] = (uint32_t)i + 1;
    return 0;
}

static uint64_t new_nonce(DeliveryReceiver *receiver) {
    uint64_t nonce = hash_u64(++receiver->n_nonces, receiver->config.nonce_seed);
    return nonce ? nonce : 1;
}

static int need_peer(DeliveryReceiver *receiver, const PeerKey *key, Peer **peerp) {
    Peer *peer = find_peer(receiver, key);
    if (!peer) {
        if (receiver->n_peers == receiver->capacity) {
            int r = grow(receiver);
            if (r)
                return error_trace(r);
        }
        peer = calloc(1, sizeof(*peer));
        if (!peer)
            return error_origin(-ENOMEM);
        peer->key = *key;
        peer->status.key = *key;
        peer->admitted = true;
        peer->nonce = new_nonce(receiver);
        size_t slot = slot_of(receiver, key);
        receiver->peers[receiver->n_peers++] = peer;
        receiver->table[slot] = (uint32_t)receiver->n_peers;
    }
    *peerp = peer;
    return 0;
}

static void tell_soon(DeliveryReceiver *receiver, Peer *peer, bool at_once) {
    peer->dirty = true;
    if (at_once && !peer->urgent) {
        peer->urgent = true;
        receiver->urgent[receiver->n_urgent++] = delivery_receiver_find(receiver, &peer->key);
    }
}

static void set_demand(DeliveryReceiver *receiver, Peer *peer, uint64_t backlog_bytes) {
    uint64_t most = DELIVERY_CREDIT_MAX_BYTES - DELIVERY_CREDIT_MIN_BYTES;
    uint64_t demand = DELIVERY_CREDIT_MIN_BYTES + (backlog_bytes < most ? backlog_bytes : most);
    receiver->demand += demand;
    receiver->demand -= peer->demand;
    peer->demand = demand;
}

static uint64_t left(uint64_t whole, uint64_t part) {
    return whole > part ? whole - part : 0;
}

/* ------------------------------------------------------------------------------- the epochs */

static ReceiverEpoch *peer_epoch(Peer *peer, const EpochId *id) {
    if (peer->recent < peer->n_epochs && epoch_equal(&peer->epochs[peer->recent].id, id))
        return &peer->epochs[peer->recent];
    for (size_t i = peer->n_epochs; i-- > 0;)
        if (epoch_equal(&peer->epochs[i].id, id)) {
            peer->recent = i;
            return &peer->epochs[i];
        }
    return NULL;
}

static void drop_epoch(Peer *peer, size_t i) {
    ReceiverEpoch *epoch = &peer->epochs[i];
    free(epoch->ring);
    memmove(epoch, epoch + 1, (peer->n_epochs - i - 1) * sizeof(*epoch));
    peer->n_epochs--;
}

/** forget_epoch() - make room: the oldest that the probe no longer speaks of and nothing is held of
 */
static void forget_epoch(Peer *peer) {
    for (size_t i = 0; i < peer->n_epochs; i++)
        if (!peer->epochs[i].announced && !peer->epochs[i].n) {
            drop_epoch(peer, i);
            return;
        }
}

/** forget_unused() - but the newest announced: one hello after the other must not cost memory */
static void forget_unused(Peer *peer) {
    size_t kept = 0;
    for (size_t i = peer->n_epochs; i-- > 0;) {
        const ReceiverEpoch *epoch = &peer->epochs[i];
        if (epoch->received || epoch->stored || epoch->n || epoch->out_of_step)
            continue;
        if (epoch->announced && kept < DELIVERY_EPOCHS_MAX)
            kept++;
        else
            drop_epoch(peer, i);
    }
}

/** need_epoch() - *epochp is NULL when this peer has too many */
static int need_epoch(Peer *peer, const EpochId *id, ReceiverEpoch **epochp) {
    ReceiverEpoch *epoch = peer_epoch(peer, id);
    if (!epoch) {
        if (peer->n_epochs == PEER_EPOCHS_MAX)
            forget_epoch(peer);
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
        epoch = &peer->epochs[peer->n_epochs++];
        *epoch = (ReceiverEpoch){.id = *id};
    }
    *epochp = epoch;
    return 0;
}

static Held *held_at(const ReceiverEpoch *epoch, size_t i) {
    return &epoch->ring[(epoch->head + i) & (epoch->capacity - 1)];
}

static int hold(ReceiverEpoch *epoch, const Held *held) {
    if (epoch->n == epoch->capacity) {
        size_t capacity = epoch->capacity ? epoch->capacity * 2 : 8;
        Held *ring = malloc(capacity * sizeof(*ring));
        if (!ring)
            return error_origin(-ENOMEM);
        for (size_t i = 0; i < epoch->n; i++)
            ring[i] = *held_at(epoch, i);
        free(epoch->ring);
        epoch->ring = ring;
        epoch->capacity = capacity;
        epoch->head = 0;
    }
    epoch->n++;
    *held_at(epoch, epoch->n - 1) = *held;
    return 0;
}

static void unhold(DeliveryReceiver *receiver, Peer *peer, const Held *held) {
    receiver->held_bytes -= held->bytes;
    peer->status.held_bytes -= held->bytes;
}

/* ------------------------------------------------------------------------------ the interface */

int delivery_receiver_new(DeliveryReceiver **receiverp, const DeliveryReceiverConfig *config) {
    cleanup(delivery_receiver_freep) DeliveryReceiver *receiver = calloc(1, sizeof(*receiver));
    if (!receiver)
        return error_origin(-ENOMEM);
    receiver->config = *config;
    int r = grow(receiver);
    if (r)
        return error_trace(r);
    *receiverp = receiver;
    receiver = NULL;
    return 0;
}

DeliveryReceiver *delivery_receiver_free(DeliveryReceiver *receiver) {
    if (!receiver)
        return NULL;
    for (size_t i = 0; i < receiver->n_peers; i++) {
        Peer *peer = receiver->peers[i];
        for (size_t k = 0; k < peer->n_epochs; k++)
            free(peer->epochs[k].ring);
        free(peer->epochs);
        free(peer);
    }
    free(receiver->peers);
    free(receiver->table);
    free(receiver->urgent);
    free(receiver);
    return NULL;
}

int delivery_receiver_load(DeliveryReceiver *receiver, const PeerKey *key, const EpochId *id,
                           uint64_t stored, BatchCounts totals) {
    Peer *peer = NULL;
    ReceiverEpoch *epoch = NULL;
    int r = need_peer(receiver, key, &peer);
    if (!r)
        r = need_epoch(peer, id, &epoch);
    if (r || !epoch)
        return error_trace(r);
    epoch->stored = epoch->received = stored;
    epoch->stored_totals = epoch->received_totals = totals;
    return 0;
}

int delivery_receiver_peer(DeliveryReceiver *receiver, const PeerKey *key, size_t *ip) {
    Peer *peer = NULL;
    int r = need_peer(receiver, key, &peer);
    if (r)
        return error_trace(r);
    *ip = delivery_receiver_find(receiver, key);
    return 0;
}

int delivery_receiver_hello(DeliveryReceiver *receiver, const PeerKey *key,
                            const DeliveryHello *hello, uint64_t now_ms) {
    Peer *peer = NULL;
    int r = need_peer(receiver, key, &peer);
    if (r)
        return error_trace(r);
    for (size_t i = 0; i < peer->n_epochs; i++) {
        peer->epochs[i].announced = peer->epochs[i].announced && hello->keep;
        if (hello->hello_id != peer->hello_id) /* a new session sends from where this side stands */
            peer->epochs[i].out_of_step = false;
    }
    for (size_t i = 0; i < hello->n_epochs && i < DELIVERY_EPOCHS_MAX; i++) {
        ReceiverEpoch *epoch = NULL;
        r = need_epoch(peer, &hello->epochs[i].epoch, &epoch);
        if (r)
            return error_trace(r);
        if (epoch)
            epoch->announced = true;
    }
    forget_unused(peer);
    peer->hello_id = hello->hello_id;
    peer->heard_ms = now_ms;
    peer->n_resyncs = 0;
    if (!peer->demand)
        set_demand(receiver, peer, 0);
    tell_soon(receiver, peer, true);
    return 0;
}

void delivery_receiver_heard(DeliveryReceiver *receiver, const PeerKey *key, uint64_t now_ms) {
    Peer *peer = find_peer(receiver, key);
    if (peer)
        peer->heard_ms = now_ms;
}

static bool well_formed(const DeliveryBatch *batch) {
    if (!batch->first || batch->last < batch->first || batch->bytes > BATCH_PAYLOAD_MAX_BYTES)
        return false;
    return batch->gap ? batch->bytes == 0 : batch->first == batch->last;
}

static DeliveryVerdict judge(const DeliveryReceiver *receiver, const Peer *peer,
                             const ReceiverEpoch *epoch, const DeliveryBatch *batch) {
    if (!peer->admitted)
        return DELIVERY_NOT_ADMITTED;
    if (batch->last <= epoch->received && !MUTANT(TAKES_TWICE))
        return DELIVERY_DUPLICATE;
    if (batch->first > epoch->received + 1 && !MUTANT(TAKES_ANY_ORDER))
        return DELIVERY_OUT_OF_ORDER;
    if (batch->bytes && receiver->held_bytes + batch->bytes > receiver->config.budget_bytes)
        return DELIVERY_OVER_BUDGET;
    return DELIVERY_TAKEN;
}

static int take(DeliveryReceiver *receiver, Peer *peer, ReceiverEpoch *epoch,
                const DeliveryBatch *batch, BatchCounts *takenp) {
    Held held = {.last = batch->last, .bytes = batch->bytes, .totals = batch->totals};
    int r = hold(epoch, &held);
    if (r)
        return error_trace(r);
    BatchCounts before = epoch->received_totals;
    BatchCounts missing = {.flows = left(batch->totals.flows, before.flows),
                           .packets = left(batch->totals.packets, before.packets),
                           .octets = left(batch->totals.octets, before.octets)};
    *takenp = batch->gap ? missing : batch->counts;
    BatchCounts *sum = batch->gap ? &peer->status.gaps : &peer->status.received;
    *sum = batch_counts_add(*sum, *takenp);
    epoch->received = batch->last;
    epoch->received_totals = batch->totals;
    epoch->out_of_step = false;
    peer->n_resyncs = 0;
    receiver->held_bytes += batch->bytes;
    peer->status.held_bytes += batch->bytes;
    peer->taken_since_told += batch->bytes;
    tell_soon(receiver, peer, peer->taken_since_told >= peer->credit / 4);
    return 0;
}

int delivery_receiver_take(DeliveryReceiver *receiver, const PeerKey *key,
                           const DeliveryBatch *batch, uint64_t now_ms, DeliveryVerdict *verdictp,
                           BatchCounts *takenp) {
    Peer *peer = NULL;
    ReceiverEpoch *epoch = NULL;
    int r = need_peer(receiver, key, &peer);
    if (r)
        return error_trace(r);
    peer->heard_ms = now_ms;
    DeliveryVerdict verdict = DELIVERY_MALFORMED;
    if (well_formed(batch)) {
        r = need_epoch(peer, &batch->epoch, &epoch);
        if (r)
            return error_trace(r);
    }
    if (epoch) {
        epoch->announced = true;
        peer->status.backlog_bytes = batch->backlog_bytes;
        set_demand(receiver, peer, batch->backlog_bytes);
        verdict = judge(receiver, peer, epoch, batch);
        if (verdict == DELIVERY_OUT_OF_ORDER || verdict == DELIVERY_OVER_BUDGET)
            epoch->out_of_step = true;
        if (verdict == DELIVERY_TAKEN) {
            r = take(receiver, peer, epoch, batch, takenp);
            if (r)
                return error_trace(r);
        }
    }
    peer->status.n_verdicts[verdict]++;
    *verdictp = verdict;
    return 0;
}

void delivery_receiver_tell(DeliveryReceiver *receiver, const PeerKey *key) {
    Peer *peer = find_peer(receiver, key);
    if (peer)
        tell_soon(receiver, peer, true);
}

/** step_back() - received and its totals are where the last held batch ends, else where stored is
 */
static void step_back(ReceiverEpoch *epoch) {
    const Held *held = epoch->n ? held_at(epoch, epoch->n - 1) : NULL;
    epoch->received = held ? held->last : epoch->stored;
    if (!MUTANT(KEEPS_TOTALS))
        epoch->received_totals = held ? held->totals : epoch->stored_totals;
}

void delivery_receiver_untake(DeliveryReceiver *receiver, const PeerKey *key,
                              const DeliveryBatch *batch) {
    Peer *peer = find_peer(receiver, key);
    ReceiverEpoch *epoch = peer ? peer_epoch(peer, &batch->epoch) : NULL;
    if (!epoch || !epoch->n || held_at(epoch, epoch->n - 1)->last != batch->last)
        return;
    unhold(receiver, peer, held_at(epoch, epoch->n - 1));
    epoch->n--;
    BatchCounts to = epoch->received_totals;
    step_back(epoch);
    epoch->out_of_step = true;
    peer->status.n_verdicts[DELIVERY_TAKEN]--;
    peer->status.n_verdicts[DELIVERY_OVER_BUDGET]++;
    BatchCounts *sum = batch->gap ? &peer->status.gaps : &peer->status.received;
    *sum = batch_counts_subtract(
        *sum, batch->gap ? batch_counts_subtract(to, epoch->received_totals) : batch->counts);
}

void delivery_receiver_stored(DeliveryReceiver *receiver, const PeerKey *key, const EpochId *id,
                              uint64_t sequence) {
    Peer *peer = find_peer(receiver, key);
    ReceiverEpoch *epoch = peer ? peer_epoch(peer, id) : NULL;
    if (!epoch)
        return;
    while (epoch->n && held_at(epoch, 0)->last <= sequence) {
        const Held *held = held_at(epoch, 0);
        unhold(receiver, peer, held);
        epoch->stored = held->last;
        epoch->stored_totals = held->totals;
        epoch->head = (epoch->head + 1) & (epoch->capacity - 1);
        epoch->n--;
    }
    tell_soon(receiver, peer, false);
}

void delivery_receiver_discard(DeliveryReceiver *receiver) {
    for (size_t i = 0; i < receiver->n_peers; i++) {
        Peer *peer = receiver->peers[i];
        bool lost = false;
        for (size_t k = 0; k < peer->n_epochs; k++) {
            ReceiverEpoch *epoch = &peer->epochs[k];
            lost = lost || epoch->n;
            while (epoch->n) {
                unhold(receiver, peer, held_at(epoch, epoch->n - 1));
                epoch->n--;
            }
            step_back(epoch);
        }
        if (lost) {
            peer->nonce = new_nonce(receiver);
            tell_soon(receiver, peer, true);
        }
    }
}

void delivery_receiver_admit(DeliveryReceiver *receiver, const PeerKey *key, bool admitted) {
    Peer *peer = find_peer(receiver, key);
    if (!peer || peer->admitted == admitted)
        return;
    peer->admitted = admitted;
    if (admitted) /* what it sent meanwhile was not taken */
        peer->nonce = new_nonce(receiver);
    tell_soon(receiver, peer, true);
}

/* ------------------------------------------------------------------------ state to be repeated */

/** credit_of() - a share of the free budget by demand; the demand is the probe's backlog */
static uint32_t credit_of(const DeliveryReceiver *receiver, const Peer *peer) {
    uint64_t room = left(receiver->config.budget_bytes, receiver->held_bytes);
    double share = receiver->demand ? (double)room * (double)peer->demand / (double)receiver->demand
                                    : (double)room;
    if (share < DELIVERY_CREDIT_MIN_BYTES)
        return DELIVERY_CREDIT_MIN_BYTES;
    return share > DELIVERY_CREDIT_MAX_BYTES ? DELIVERY_CREDIT_MAX_BYTES : (uint32_t)share;
}

/** ask_again() - a new nonce for a peer that is out of step, once there is room for what comes */
static void ask_again(DeliveryReceiver *receiver, Peer *peer, uint64_t now_ms) {
    bool out_of_step = false;
    for (size_t i = 0; i < peer->n_epochs && !out_of_step; i++)
        out_of_step = peer->epochs[i].out_of_step;
    uint64_t wait_ms = receiver->config.resync_ms << peer->n_resyncs;
    if (!out_of_step || now_ms - peer->nonce_ms < wait_ms ||
        left(receiver->config.budget_bytes, receiver->held_bytes) <
            receiver->config.budget_bytes / 4)
        return;
    for (size_t i = 0; i < peer->n_epochs; i++)
        peer->epochs[i].out_of_step = false;
    if (!MUTANT(NEVER_ASKS_AGAIN))
        peer->nonce = new_nonce(receiver);
    peer->nonce_ms = now_ms;
    if (peer->n_resyncs < RESYNC_DOUBLINGS)
        peer->n_resyncs++;
    peer->dirty = true;
}

static void write_state(DeliveryReceiver *receiver, Peer *peer, uint64_t now_ms,
                        DeliveryState *state) {
    peer->credit = credit_of(receiver, peer);
    peer->dirty = false;
    peer->told_ms = now_ms;
    peer->taken_since_told = 0;
    state->nonce = peer->nonce;
    state->hello_id = peer->hello_id;
    state->credit_bytes = peer->credit;
    state->admitted = peer->admitted;
    state->n_marks = 0;
    for (size_t i = peer->n_epochs; i-- > 0 && state->n_marks < DELIVERY_EPOCHS_MAX;) {
        const ReceiverEpoch *epoch = &peer->epochs[i];
        if (epoch->announced)
            state->marks[state->n_marks++] = (DeliveryMark){
                .epoch = epoch->id, .received = epoch->received, .stored = epoch->stored};
    }
}

/** is_due() - also looks after what only time brings: silence, and asking again */
static bool is_due(DeliveryReceiver *receiver, Peer *peer, uint64_t now_ms) {
    if (!peer->hello_id)
        return false;
    if (now_ms - peer->heard_ms > receiver->config.silent_ms) {
        receiver->demand -= peer->demand;
        peer->demand = 0;
        return false;
    }
    ask_again(receiver, peer, now_ms);
    uint64_t wait_ms = peer->dirty ? receiver->config.quick_ms : receiver->config.repeat_ms;
    return now_ms - peer->told_ms >= wait_ms;
}

bool delivery_receiver_next_state(DeliveryReceiver *receiver, uint64_t now_ms, PeerKey *key,
                                  DeliveryState *state) {
    while (receiver->n_urgent) {
        Peer *peer = receiver->peers[receiver->urgent[--receiver->n_urgent]];
        peer->urgent = false;
        if (!peer->hello_id)
            continue;
        *key = peer->key;
        write_state(receiver, peer, now_ms, state);
        return true;
    }
    if (receiver->scan >= receiver->n_peers) {
        if (now_ms - receiver->scan_ms < SCAN_MS)
            return false;
        receiver->scan = 0;
        receiver->scan_ms = now_ms;
    }
    while (receiver->scan < receiver->n_peers) {
        Peer *peer = receiver->peers[receiver->scan++];
        if (is_due(receiver, peer, now_ms)) {
            *key = peer->key;
            write_state(receiver, peer, now_ms, state);
            return true;
        }
    }
    return false;
}

size_t delivery_receiver_peers(const DeliveryReceiver *receiver) {
    return receiver->n_peers;
}

bool delivery_receiver_status(const DeliveryReceiver *receiver, size_t i,
                              DeliveryPeerStatus *status) {
    if (i >= receiver->n_peers)
        return false;
    const Peer *peer = receiver->peers[i];
    *status = peer->status;
    status->admitted = peer->admitted;
    status->heard_ms = peer->heard_ms;
    status->credit_bytes = peer->credit;
    return true;
}
