/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Delivery, the hub's side
 *
 * A peer is a probe's key with its epochs. An epoch is known by its id alone, whichever keys send
 * of it: two that do (a copied spool, a new key with an old one) take turns in one sequence. It
 * keeps a ring of what was taken and is not yet stored, so that `received` can go back to `stored`
 * with the totals that belong there. What an epoch has stored is never forgotten while a probe may
 * still send of it.
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
    RESYNC_DOUBLINGS = 6, /* 0.5 s becomes 32 s while a probe does not come back in step */
    SCAN_MS = 5,
};

struct DeliveryReceiver {
    DeliveryReceiverConfig config;
    EpochTable epochs;
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

static void unhold(DeliveryReceiver *receiver, const Held *held) {
    receiver->held_bytes -= held->bytes;
    receiver->peers[held->peer]->status.held_bytes -= held->bytes;
}

/* ------------------------------------------------------------------------------ the interface */

int delivery_receiver_new(DeliveryReceiver **receiverp, const DeliveryReceiverConfig *config) {
    cleanup(delivery_receiver_freep) DeliveryReceiver *receiver = calloc(1, sizeof(*receiver));
    if (!receiver)
        return error_origin(-ENOMEM);
    receiver->config = *config;
    receiver->epochs.seed = config->nonce_seed;
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
        free(receiver->peers[i]->epochs);
        free(receiver->peers[i]->settled);
        free(receiver->peers[i]);
    }
    epoch_table_free(&receiver->epochs);
    free(receiver->peers);
    free(receiver->table);
    free(receiver->urgent);
    free(receiver);
    return NULL;
}

int delivery_receiver_load(DeliveryReceiver *receiver, const PeerKey *key, const EpochId *id,
                           uint64_t stored, BatchCounts totals) {
    Peer *peer = NULL;
    PeerEpoch *epoch = NULL;
    int r = need_peer(receiver, key, &peer);
    if (!r)
        r = peer_epoch_need(&receiver->epochs, peer, id, &epoch);
    if (r || !epoch)
        return error_trace(r);
    if (stored <= epoch->at->stored && !MUTANT(LOADS_BACKWARDS))
        return 0; /* it has come further under another key */
    epoch->at->stored = epoch->at->received = stored;
    epoch->at->stored_totals = epoch->at->received_totals = totals;
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
    /* a new session sends from where this side stands; that of another process goes on as it was */
    const bool anew = hello->hello_id != peer->hello_id && !hello->keep;
    for (size_t i = 0; i < peer->n_epochs; i++) {
        peer->epochs[i].announced = peer->epochs[i].announced && hello->keep;
        peer->epochs[i].out_of_step = peer->epochs[i].out_of_step && !anew;
    }
    peer->astray = peer->astray && !anew;
    if (anew)
        peer_catches_up(peer);
    for (size_t i = 0; i < hello->n_epochs && i < DELIVERY_EPOCHS_MAX; i++) {
        PeerEpoch *epoch = NULL;
        r = peer_epoch_need(&receiver->epochs, peer, &hello->epochs[i].epoch, &epoch);
        if (r)
            return error_trace(r);
        if (epoch)
            epoch->announced = true;
    }
    peer_forget_unused(&receiver->epochs, peer);
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

/** is_count() - one that can be added up, and of a batch is a part of its epoch's */
static bool is_count(uint64_t n, uint64_t total) {
    return total <= INT64_MAX && n <= total;
}

static bool well_formed(const DeliveryBatch *batch) {
    const BatchCounts *counts = &batch->counts;
    const BatchCounts *totals = &batch->totals;
    if (!is_count(counts->flows, totals->flows) || !is_count(counts->packets, totals->packets) ||
        !is_count(counts->octets, totals->octets))
        return false;
    if (!batch->first || batch->last < batch->first || batch->bytes > BATCH_PAYLOAD_MAX_BYTES)
        return false;
    return batch->gap ? batch->bytes == 0 : batch->first == batch->last;
}

/** follows() - two histories of one epoch differ in their totals (delivery_fork.c) */
static bool follows(const HubEpoch *epoch, const DeliveryBatch *batch) {
    const BatchCounts before = epoch ? epoch->received_totals : (BatchCounts){0};
    if (batch->gap || MUTANT(TAKES_TWICE))
        return true;
    if (MUTANT(TAKES_ANY_ORDER))
        return true;
    return batch_counts_equal(batch_counts_add(before, batch->counts), batch->totals);
}

/** judge() - `epoch` is NULL when it is not known */
static DeliveryVerdict judge(const DeliveryReceiver *receiver, const Peer *peer,
                             const HubEpoch *epoch, const DeliveryBatch *batch) {
    const uint64_t received = epoch ? epoch->received : 0;
    if (!peer->admitted)
        return DELIVERY_NOT_ADMITTED;
    if (batch->last <= received && !MUTANT(TAKES_TWICE))
        return DELIVERY_DUPLICATE;
    if (batch->first > received + 1 && !MUTANT(TAKES_ANY_ORDER))
        return DELIVERY_OUT_OF_ORDER;
    if (!follows(epoch, batch))
        return DELIVERY_DIVERGED;
    if (batch->bytes && receiver->held_bytes + batch->bytes > receiver->config.budget_bytes)
        return DELIVERY_OVER_BUDGET;
    return DELIVERY_TAKEN;
}

static int take(DeliveryReceiver *receiver, Peer *peer, PeerEpoch *of, const DeliveryBatch *batch,
                BatchCounts *takenp) {
    HubEpoch *epoch = of->at;
    Held held = {.last = batch->last,
                 .bytes = batch->bytes,
                 .peer = (uint32_t)delivery_receiver_find(receiver, &peer->key),
                 .totals = batch->totals};
    int r = hub_epoch_hold(epoch, &held);
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
    of->out_of_step = false;
    of->announced = true;
    peer->n_resyncs = 0;
    receiver->held_bytes += batch->bytes;
    peer->status.held_bytes += batch->bytes;
    peer->taken_since_told += batch->bytes;
    tell_soon(receiver, peer, peer->taken_since_told >= peer->credit / 4);
    return 0;
}

/** note_discarded() - an epoch gets a place only by what is taken of it or a hello, else one that
 * makes them up would fill the memory */
static void note_discarded(Peer *peer, PeerEpoch *epoch) {
    if (epoch)
        epoch->out_of_step = true;
    else
        peer->astray = true;
}

int delivery_receiver_take(DeliveryReceiver *receiver, const PeerKey *key,
                           const DeliveryBatch *batch, uint64_t now_ms, DeliveryVerdict *verdictp,
                           BatchCounts *takenp) {
    Peer *peer = NULL;
    int r = need_peer(receiver, key, &peer);
    if (r)
        return error_trace(r);
    peer->heard_ms = now_ms;
    DeliveryVerdict verdict = DELIVERY_MALFORMED;
    if (well_formed(batch)) {
        PeerEpoch *epoch = peer_epoch(peer, &batch->epoch);
        peer->status.backlog_bytes = batch->backlog_bytes;
        set_demand(receiver, peer, batch->backlog_bytes);
        verdict = judge(receiver, peer, epoch_table_find(&receiver->epochs, &batch->epoch), batch);
        if (epoch)
            epoch->announced = true;
        if (verdict == DELIVERY_OUT_OF_ORDER || verdict == DELIVERY_OVER_BUDGET)
            note_discarded(peer, epoch);
        if (verdict == DELIVERY_DIVERGED) /* the totals in the state tell it */
            tell_soon(receiver, peer, true);
        if (verdict == DELIVERY_TAKEN) {
            r = peer_epoch_need(&receiver->epochs, peer, &batch->epoch, &epoch);
            if (!r && epoch)
                r = take(receiver, peer, epoch, batch, takenp);
            if (r)
                return error_trace(r);
            verdict = epoch ? verdict : DELIVERY_MALFORMED;
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

/** step_back() - and its totals with it */
static void step_back(HubEpoch *epoch) {
    const BatchCounts totals = epoch->received_totals;
    hub_epoch_step_back(epoch);
    if (MUTANT(KEEPS_TOTALS))
        epoch->received_totals = totals;
}

void delivery_receiver_untake(DeliveryReceiver *receiver, const PeerKey *key,
                              const DeliveryBatch *batch) {
    Peer *peer = find_peer(receiver, key);
    PeerEpoch *of = peer ? peer_epoch(peer, &batch->epoch) : NULL;
    HubEpoch *epoch = of ? of->at : NULL;
    if (!epoch || !epoch->n || hub_epoch_held(epoch, epoch->n - 1)->last != batch->last)
        return;
    unhold(receiver, hub_epoch_held(epoch, epoch->n - 1));
    epoch->n--;
    BatchCounts to = epoch->received_totals;
    step_back(epoch);
    of->out_of_step = true;
    peer->status.n_verdicts[DELIVERY_TAKEN]--;
    peer->status.n_verdicts[DELIVERY_OVER_BUDGET]++;
    BatchCounts *sum = batch->gap ? &peer->status.gaps : &peer->status.received;
    *sum = batch_counts_subtract(
        *sum, batch->gap ? batch_counts_subtract(to, epoch->received_totals) : batch->counts);
}

/** note_elsewhere() - the others that have this epoch need not send it: their spools get smaller
 * without anything of theirs being stored */
static void note_elsewhere(DeliveryReceiver *receiver, const Peer *peer, const HubEpoch *epoch) {
    for (size_t i = 0; epoch->n_peers > 1 && i < receiver->n_peers; i++)
        if (receiver->peers[i] != peer && peer_epoch(receiver->peers[i], &epoch->id))
            receiver->peers[i]->status.n_elsewhere++;
}

void delivery_receiver_stored(DeliveryReceiver *receiver, const PeerKey *key, const EpochId *id,
                              uint64_t sequence) {
    Peer *peer = find_peer(receiver, key);
    HubEpoch *epoch = epoch_table_find(&receiver->epochs, id);
    if (!epoch)
        return;
    note_elsewhere(receiver, peer, epoch);
    while (epoch->n && hub_epoch_held(epoch, 0)->last <= sequence) {
        const Held *held = hub_epoch_held(epoch, 0);
        unhold(receiver, held);
        epoch->stored = held->last;
        epoch->stored_totals = held->totals;
        epoch->head = (epoch->head + 1) & (epoch->capacity - 1);
        epoch->n--;
    }
    if (peer)
        tell_soon(receiver, peer, false);
}

void delivery_receiver_discard(DeliveryReceiver *receiver) {
    for (size_t i = 0; i < receiver->epochs.n_buckets; i++)
        for (HubEpoch *epoch = receiver->epochs.buckets[i]; epoch; epoch = epoch->next) {
            if (!epoch->n)
                continue;
            while (epoch->n)
                unhold(receiver, hub_epoch_held(epoch, --epoch->n));
            step_back(epoch);
        }
    for (size_t i = 0; i < receiver->n_peers; i++) {
        Peer *peer = receiver->peers[i];
        if (!peer_is_behind(peer))
            continue;
        peer_catches_up(peer);
        peer->nonce = new_nonce(receiver);
        tell_soon(receiver, peer, true);
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
    bool out_of_step = peer->astray || peer_is_behind(peer);
    for (size_t i = 0; i < peer->n_epochs && !out_of_step; i++)
        out_of_step = peer->epochs[i].out_of_step;
    uint64_t wait_ms = receiver->config.resync_ms << peer->n_resyncs;
    if (!out_of_step || now_ms - peer->nonce_ms < wait_ms ||
        left(receiver->config.budget_bytes, receiver->held_bytes) <
            receiver->config.budget_bytes / 4)
        return;
    for (size_t i = 0; i < peer->n_epochs; i++)
        peer->epochs[i].out_of_step = false;
    peer_catches_up(peer);
    peer->astray = false;
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
        const HubEpoch *epoch = peer->epochs[i].at;
        if (peer->epochs[i].announced)
            state->marks[state->n_marks++] = (DeliveryMark){.epoch = epoch->id,
                                                            .received = epoch->received,
                                                            .stored = epoch->stored,
                                                            .counted = true,
                                                            .totals = epoch->received_totals};
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
