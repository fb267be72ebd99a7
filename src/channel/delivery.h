#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Delivery
 *
 * The promise of the channel as two pure state machines: no sockets, clocks, threads or randomness
 * inside; time and bytes come in, actions go out. docs/wire/channel.md tells the rules;
 * test-delivery-sim.c drives both through ten million batches and every fault.
 *
 * Every batch carries the totals of its epoch up to and including itself. A gap is a range of
 * sequences with the totals at its end, so the hub works out what is missing by subtraction from
 * where it stands: exact, whatever it had received before.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/batch_counts.h"
#include "base/cleanup.h"
#include "channel/identity.h"

enum {
    DELIVERY_CREDIT_MIN_BYTES = 64 * 1024,
    DELIVERY_CREDIT_MAX_BYTES = 16 * 1024 * 1024,
    DELIVERY_STALE_MS = 5000,   /* older unstored batches at a session's start close the epoch */
    DELIVERY_HELLO_MS = 1000,   /* an unanswered hello is repeated */
    DELIVERY_FINISHED_MAX = 32, /* epochs that are over and still remembered */
};

/** DeliveryMark - where an epoch stands */
typedef struct DeliveryMark {
    EpochId epoch;
    uint64_t received;  /* last sequence taken */
    uint64_t stored;    /* last sequence committed */
    bool counted;       /* an older hub does not say the totals */
    BatchCounts totals; /* of the epoch, up to and including `received` */
} DeliveryMark;

/** DeliveryState - what the hub repeats to one probe: state, not commands; any of it may be lost */
typedef struct DeliveryState {
    uint64_t nonce;    /* another one than before: go back to `received` and resend */
    uint64_t hello_id; /* of the last hello the hub has seen */
    uint32_t credit_bytes;
    bool admitted;
    size_t n_marks;
    DeliveryMark marks[DELIVERY_EPOCHS_MAX];
} DeliveryState;

typedef struct DeliveryEpoch {
    EpochId epoch;
    bool closed;
    uint64_t last; /* of a closed epoch its last sequence, else 0 */
} DeliveryEpoch;

/** DeliveryHello - opens a session: which epochs the probe holds */
typedef struct DeliveryHello {
    uint64_t hello_id;
    bool keep; /* at the hub: what was announced before stays, another process may have said it */
    size_t n_epochs;
    DeliveryEpoch epochs[DELIVERY_EPOCHS_MAX];
} DeliveryHello;

/** DeliveryBatch - one sequenced message; a gap has no bytes and stands for first..last */
typedef struct DeliveryBatch {
    EpochId epoch;
    uint64_t first;
    uint64_t last; /* == first unless a gap */
    bool gap;
    uint32_t bytes;         /* size of the payload */
    BatchCounts counts;     /* of this batch; zero in a gap */
    BatchCounts totals;     /* of the epoch, up to and including last */
    uint64_t backlog_bytes; /* what the probe still has behind this one: the demand for credit */
} DeliveryBatch;

/* ------------------------------------------------------------------------- the probe's side */

typedef struct DeliverySender DeliverySender;

typedef enum DeliveryItemKind {
    DELIVERY_ITEM_HELLO,
    DELIVERY_ITEM_BATCH,
    DELIVERY_ITEM_GAP,
} DeliveryItemKind;

typedef struct DeliveryItem {
    DeliveryItemKind kind;
    DeliveryBatch batch; /* of a batch or gap */
} DeliveryItem;

typedef struct DeliverySenderStatus {
    bool session; /* between session_begin and session_end */
    bool synced;  /* the hub has answered this session's hello */
    bool admitted;
    uint64_t pending_batches; /* appended, neither stored nor dropped */
    uint64_t pending_bytes;   /* of a former run about */
    BatchCounts pending;
    BatchCounts stored;
    BatchCounts dropped; /* gaps. The hub's figure is the exact one */
    uint64_t resent_batches;
    uint64_t in_flight_bytes;
    uint32_t credit_bytes;
    size_t epochs;
} DeliverySenderStatus;

/**
 * DeliveryOwner - who keeps the batches, the spool. The machine holds only what is on its way; how
 * an epoch goes on it asks when it gets there, so a backlog of any size takes no memory here.
 */
typedef struct DeliveryOwner {
    void *userdata;
    /* what stands at this place; a gap reaches as far as it goes. Or an answer of below */
    int (*load)(void *userdata, const EpochId *epoch, uint64_t sequence, DeliveryBatch *batch);
    /* all of the epoch up to here is stored, or known to be missing: it will not be asked for.
     * Without totals: all that there is, and it is not to be remembered */
    void (*release)(void *userdata, const EpochId *epoch, uint64_t last, const BatchCounts *totals);
} DeliveryOwner;

enum {
    _DELIVERY_E_SUCCESS,
    DELIVERY_E_LATER,   /* it cannot be told now; what comes behind it waits */
    DELIVERY_E_UNKNOWN, /* nothing is known of it, which makes the rest of the epoch a gap */
};

/**
 * DeliveryFormer - an epoch of a former run: what the hub has as far as is known, and its end. One
 * that is stored to its end is only remembered, should the hub's store go back to a backup.
 */
typedef struct DeliveryFormer {
    EpochId epoch;
    uint64_t stored;
    BatchCounts stored_totals;
    uint64_t last;
    BatchCounts last_totals;
    uint64_t bytes; /* between the two, about */
} DeliveryFormer;

int delivery_sender_new(DeliverySender **senderp, const DeliveryOwner *owner);
DeliverySender *delivery_sender_free(DeliverySender *sender);

/**
 * delivery_sender_restore() - before the first session, oldest first. The hub may have more of the
 * epoch than `stored` says, and even more than `last`: what the disk lost with the power may have
 * been sent before. That is right, since nothing is ever added to this epoch again.
 */
int delivery_sender_restore(DeliverySender *sender, const DeliveryFormer *former);

/** delivery_sender_append() - the next batch; one of another epoch than before closes that one */
int delivery_sender_append(DeliverySender *sender, const DeliveryBatch *batch, uint64_t now_ms);

/** delivery_sender_wants_epoch() - the next batch should begin a new one: the live one lags */
bool delivery_sender_wants_epoch(const DeliverySender *sender);

/**
 * delivery_sender_drop() - the owner no longer has anything of the epoch up to here; as far as it
 * is not stored it becomes part of a gap. `bytes` is about what that was.
 */
void delivery_sender_drop(DeliverySender *sender, const EpochId *epoch, uint64_t last,
                          const BatchCounts *totals, uint64_t bytes);

/** delivery_sender_torn() - this one batch cannot be read */
void delivery_sender_torn(DeliverySender *sender, const EpochId *epoch, uint64_t sequence);

/**
 * delivery_sender_diverged() - an epoch that is over because the hub has another's batches of it
 * (delivery_fork.c). What the owner has of it from first to last is to be appended anew, in another
 * epoch; delivery_sender_moved() says that this was done.
 */
bool delivery_sender_diverged(const DeliverySender *sender, EpochId *epoch, uint64_t *firstp,
                              uint64_t *lastp);
void delivery_sender_moved(DeliverySender *sender, const EpochId *epoch);

/** delivery_sender_session_begin() - a subscription frame came. hello_id is random */
void delivery_sender_session_begin(DeliverySender *sender, uint64_t hello_id, uint64_t now_ms);
void delivery_sender_session_end(DeliverySender *sender);

void delivery_sender_state(DeliverySender *sender, const DeliveryState *state);

/**
 * delivery_sender_next() - what to send now, or false. Only delivery_sender_sent() makes it count
 * as sent, so a send that would block is simply tried again later.
 */
bool delivery_sender_next(DeliverySender *sender, DeliveryItem *item, uint64_t now_ms);
void delivery_sender_sent(DeliverySender *sender, const DeliveryItem *item, uint64_t now_ms);

void delivery_sender_hello(const DeliverySender *sender, DeliveryHello *hello);
void delivery_sender_status(const DeliverySender *sender, DeliverySenderStatus *status);

/* --------------------------------------------------------------------------- the hub's side */

typedef struct DeliveryReceiver DeliveryReceiver;

typedef enum DeliveryVerdict {
    DELIVERY_TAKEN,
    DELIVERY_DUPLICATE,
    DELIVERY_OUT_OF_ORDER,
    DELIVERY_OVER_BUDGET,
    DELIVERY_NOT_ADMITTED,
    DELIVERY_DIVERGED,  /* the next in sequence, but what is before it there is not what is here */
    DELIVERY_MALFORMED, /* a sequence of 0, an end before the start, too large, too many epochs */
    DELIVERY_N_VERDICTS,
} DeliveryVerdict;

typedef struct DeliveryReceiverConfig {
    uint64_t budget_bytes; /* taken and not yet stored, of all probes */
    uint64_t nonce_seed;   /* random */
    uint64_t repeat_ms;    /* an unchanged state is repeated; 1000 */
    uint64_t quick_ms;     /* a changed one is sent; 50 */
    uint64_t resync_ms;    /* least time between two new nonces of a probe; 500 */
    uint64_t silent_ms;    /* a probe not heard of for so long is told nothing more; 60000 */
} DeliveryReceiverConfig;

typedef struct DeliveryPeerStatus {
    PeerKey key;
    bool admitted;
    uint64_t heard_ms;
    uint64_t held_bytes;
    uint64_t backlog_bytes;
    uint32_t credit_bytes;
    uint64_t n_verdicts[DELIVERY_N_VERDICTS]; /* batches by verdict */
    BatchCounts received; /* taken since start; a discarded group counts again when resent */
    BatchCounts gaps;     /* of gaps taken since start */
    uint64_t n_elsewhere; /* times that another key got stored what this one has, too */
} DeliveryPeerStatus;

int delivery_receiver_new(DeliveryReceiver **receiverp, const DeliveryReceiverConfig *config);
DeliveryReceiver *delivery_receiver_free(DeliveryReceiver *receiver);

/** delivery_receiver_load() - at start: what the store holds */
int delivery_receiver_load(DeliveryReceiver *receiver, const PeerKey *key, const EpochId *epoch,
                           uint64_t stored, BatchCounts totals);

/** delivery_receiver_peer() - find or make: the index of this key, which stays the same for ever */
int delivery_receiver_peer(DeliveryReceiver *receiver, const PeerKey *key, size_t *ip);

/** delivery_receiver_find() - the index, SIZE_MAX when there is none */
size_t delivery_receiver_find(const DeliveryReceiver *receiver, const PeerKey *key);

int delivery_receiver_hello(DeliveryReceiver *receiver, const PeerKey *key,
                            const DeliveryHello *hello, uint64_t now_ms);

/** delivery_receiver_heard() - something else came from it (a pulse): it is there */
void delivery_receiver_heard(DeliveryReceiver *receiver, const PeerKey *key, uint64_t now_ms);

/**
 * delivery_receiver_take() - *verdictp says what became of it. Taken: the caller passes it on to
 * the store; *takenp is what it stands for (of a gap the flows that are missing).
 */
int delivery_receiver_take(DeliveryReceiver *receiver, const PeerKey *key,
                           const DeliveryBatch *batch, uint64_t now_ms, DeliveryVerdict *verdictp,
                           BatchCounts *takenp);

/** delivery_receiver_untake() - the batch just taken could not be passed on after all */
void delivery_receiver_untake(DeliveryReceiver *receiver, const PeerKey *key,
                              const DeliveryBatch *batch);

/** delivery_receiver_stored() - everything of the epoch up to sequence is committed */
void delivery_receiver_stored(DeliveryReceiver *receiver, const PeerKey *key, const EpochId *epoch,
                              uint64_t sequence);

/** delivery_receiver_discard() - nothing that was not stored ever will be: ask for it again */
void delivery_receiver_discard(DeliveryReceiver *receiver);

void delivery_receiver_admit(DeliveryReceiver *receiver, const PeerKey *key, bool admitted);

/** delivery_receiver_tell() - it has just subscribed: the state is due at once */
void delivery_receiver_tell(DeliveryReceiver *receiver, const PeerKey *key);

/** delivery_receiver_next_state() - the next state that is due, or false; call until false */
bool delivery_receiver_next_state(DeliveryReceiver *receiver, uint64_t now_ms, PeerKey *key,
                                  DeliveryState *state);

size_t delivery_receiver_peers(const DeliveryReceiver *receiver);
bool delivery_receiver_status(const DeliveryReceiver *receiver, size_t i,
                              DeliveryPeerStatus *status);

DEFINE_CLEANUP(DeliverySender *, delivery_sender_free)
DEFINE_CLEANUP(DeliveryReceiver *, delivery_receiver_free)
