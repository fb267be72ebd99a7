#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Hub Link
 *
 * The hub's end of the channel: one data socket an interface, one events socket for all, one
 * thread that is always in receive, one for ZAP, one for the monitors. What arrives is handed over
 * in callbacks from the receive thread, which must only queue it: the callback takes ownership.
 * What is not taken (queue full, budget exceeded) is safe in the probe's spool and asked for again.
 *
 * The hub's part of the bargain: store each HubBatch and its cursor in one transaction, then call
 * hub_link_stored(); when a transaction fails, hub_link_discard() and forget every batch whose
 * generation is older than the one it returns.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/batch_counts.h"
#include "base/cleanup.h"
#include "base/reason.h"
#include "channel/cause.h"
#include "channel/identity.h"
#include "channel/keys.h"
#include "channel/lease.h"
#include "channel/server_keys.h"

typedef struct HubLink HubLink;

/** HubBatch - one batch, or a gap: sequences first..last that will never come */
typedef struct HubBatch {
    PeerKey key;
    EpochId epoch;
    uint64_t first;
    uint64_t last;      /* the cursor once stored */
    bool gap;           /* no payload; counts is what is missing */
    bool corrupt;       /* a gap for a batch whose checksum was wrong */
    unsigned interface; /* index into HubLinkConfig.interfaces */
    BatchCounts counts;
    BatchCounts totals;   /* of the epoch up to last: part of the cursor, store it too */
    uint64_t received_ms; /* wall clock */
    uint64_t generation;
    const void *payload;
    size_t size;
    void *owner; /* the link's business */
} HubBatch;

HubBatch *hub_batch_free(HubBatch *batch);

/** HubCursor - what the store keeps of (key, epoch), in the same transaction as the flows */
typedef struct HubCursor {
    PeerKey key;
    EpochId epoch;
    uint64_t sequence;
    BatchCounts totals;
} HubCursor;

typedef enum HubEventKind {
    HUB_EVENT_SESSION_BEGIN, /* json: the probe's hello */
    HUB_EVENT_SESSION_END,   /* disconnected, or silent */
    HUB_EVENT_WRONG_KEY,     /* a peer at address used another server key */
    HUB_EVENT_PLAIN_PEER,    /* a peer at address does not encrypt */
    HUB_EVENT_NOT_SPOKEN,    /* a peer at address connected and did not finish the handshake */
    HUB_EVENT_TOO_MANY,      /* a peer at address opens connections and says nothing on them */
    HUB_EVENT_CLONE,         /* two live processes use this key, at address and other; each 5 s */
} HubEventKind;

/** HubEvent - lives as long as the callback. Peer problems come once a minute and address */
typedef struct HubEvent {
    HubEventKind kind;
    unsigned interface;
    PeerKey key;      /* "" when the peer has none */
    char address[64]; /* without port */
    char other[64];   /* of a clone: where the other one is */
    const char *json;
} HubEvent;

/** HubAdmission - what the hub thinks of a key; see hub_link_admit() */
typedef enum HubAdmission {
    HUB_UNKNOWN,  /* not decided: told nothing yet, its hello comes as an event again and again */
    HUB_PENDING,  /* stays connected, is told why it must wait; nothing of it is taken */
    HUB_ADMITTED, /* delivers */
    HUB_REVOKED,  /* refused at the handshake */
} HubAdmission;

enum {
    HUB_WAITING_MAX = 1024, /* keys connected and not admitted; the longest silent makes room */
    HUB_LINK_KEY_MAX = 4,   /* connections of one key that speak, at one listening socket */
    HUB_REASON_BYTES = 160, /* of a state's reason */
    HUB_SERVE_GRACE_MS = 3000,
};

typedef struct HubInterfaceConfig {
    const char
        *endpoint;      /* tcp://A:5556c binds; without c the hub connects to a probe that binds */
    const char *events; /* NULL: the next of config.events, else same host, port + 1 */
} HubInterfaceConfig;

typedef struct HubLinkConfig {
    const HubInterfaceConfig *interfaces;
    size_t n_interfaces;
    const char *const *events; /* --zmq-publish-events: always bound by the hub; serves all */
    size_t n_events;
    KeyPair keys;
    uint64_t budget_bytes; /* received and not yet stored; 0: 256 MiB */
    bool ask;              /* keys wait for hub_link_admit(); else every key is admitted */

    /* true: taken over, hub_batch_free() it later. false: no room now, the link keeps it */
    bool (*on_batch)(void *userdata, HubBatch *batch);
    void (*on_pulse)(void *userdata, const PeerKey *key, unsigned interface, const char *json,
                     size_t size);
    void (*on_event)(void *userdata, const HubEvent *event);
    void *userdata;
} HubLinkConfig;

enum {
    _HUB_LINK_E_SUCCESS,
    HUB_LINK_E_REFUSED, /* bad endpoint, address not ours, port in use: the reason says which */
};

typedef struct HubInterfaceStatus {
    char endpoint[280]; /* as bound: a port `*` is resolved */
    char events[280];   /* "" when config.events serves it */
    bool bound;         /* else connects */
    uint64_t probes;    /* sessions now */
    uint64_t batches;
    uint64_t bytes;
    BatchCounts flows;
    uint64_t pulses;
    uint64_t malformed;   /* frames that could not be read */
    uint64_t foreign;     /* messages of topics nobody here understands */
    uint64_t n_wrong_key; /* handshakes */
    uint64_t n_plain_peer;
    uint64_t n_too_many; /* connections that were cut, silent or too many of a key */
    uint64_t n_refused;  /* batches of keys that are pending, messages of revoked ones */
} HubInterfaceStatus;

typedef struct HubProbeStatus {
    PeerKey key;
    unsigned interface;
    bool session;
    char address[64];
    uint64_t session_ms; /* wall clock of its start */
    uint64_t heard_ms;   /* wall clock */
    bool waiting;        /* not admitted: all below is 0 */
    uint64_t batches;
    uint64_t bytes;
    uint64_t held_bytes;
    uint64_t backlog_bytes;
    uint32_t credit_bytes;
    uint64_t n_duplicate;
    uint64_t n_out_of_order;
    uint64_t n_over_budget;
    uint64_t n_malformed;
    BatchCounts received;
    BatchCounts gaps;
    uint64_t n_elsewhere; /* as of DeliveryPeerStatus */
} HubProbeStatus;

int hub_link_new(HubLink **linkp, const HubLinkConfig *config, Reason *reason);

/** hub_link_load_cursor() - after new and before start, for every cursor the store holds */
int hub_link_load_cursor(HubLink *link, const HubCursor *cursor);

/** hub_link_start() - from here on probes connect */
int hub_link_start(HubLink *link, Reason *reason);
HubLink *hub_link_free(HubLink *link);

/** hub_link_stored() - committed: everything of (key, epoch) up to sequence. Any thread */
void hub_link_stored(HubLink *link, const PeerKey *key, const EpochId *epoch, uint64_t sequence);

/**
 * hub_link_discard() - the open transaction is lost. Probes resend what was not stored. Returns
 * the new generation; batches of older ones must not be stored any more. If it is not known whether
 * the transaction was committed, find out first and call hub_link_stored() for what was. Any
 * thread.
 */
uint64_t hub_link_discard(HubLink *link);

/**
 * hub_link_admit() - the verdict on a key; before start for all that are known, then any time. One
 * that waits and is admitted delivers at once; one that is revoked has its connections cut, and
 * what it still sends is dropped. `reason` is for a person, of HUB_PENDING only. Any thread.
 */
int hub_link_admit(HubLink *link, const PeerKey *key, HubAdmission admission, const char *reason);

/**
 * hub_link_configure() - tell an admitted probe this with each state, from now on until NULL; json
 * is an object (configuration.h). Any thread.
 */
int hub_link_configure(HubLink *link, const PeerKey *key, const char *json);

/** hub_link_lease() - what admitted probes are told they have, from now on. Any thread */
void hub_link_lease(HubLink *link, const Lease *lease);

/* snapshots; any thread. *statusesp is the caller's to free() */
bool hub_link_interface(HubLink *link, unsigned interface, HubInterfaceStatus *status);
int hub_link_probes(HubLink *link, HubProbeStatus **statusesp, size_t *np);

/** HubNextPorts - where the next server key is served; 0: any free port */
typedef struct HubNextPorts {
    uint16_t data;
    uint16_t events;
} HubNextPorts;

/** HubServerKeys - by which keys the hub is to be reached */
typedef struct HubServerKeys {
    uint64_t version;          /* of what probes are told; grows with each change, above 0 */
    KeyPair now;               /* that of the endpoints in the config */
    KeyPair next;              /* to come: handed to every probe, and served beside it; "": none */
    const HubNextPorts *ports; /* of `next`, an interface each; used only where the hub binds */
} HubServerKeys;

/**
 * hub_link_serve() - from now on; once started, any thread. What is new is there when it returns;
 * what is over (ports of a next key that is none any more, the former key of the endpoints) stays
 * for HUB_SERVE_GRACE_MS, so that probes are told first. HUB_LINK_E_REFUSED: a port of the next key
 * is in use; it is not served there.
 */
int hub_link_serve(HubLink *link, const HubServerKeys *keys, Reason *reason);

/**
 * hub_link_served() - what the probes of an interface are told; *settledp: nothing is over any
 * more. `trouble` says what keeps it from being so, or "". Any thread
 */
ServerKeys hub_link_served(HubLink *link, unsigned interface, bool *settledp, char trouble[256]);

/** hub_link_notice() - CAUSE_HUB_IS_FULL or CAUSE_NONE, for probes to say. Any thread */
void hub_link_notice(HubLink *link, Cause notice);

DEFINE_CLEANUP(HubLink *, hub_link_free)
DEFINE_CLEANUP(HubBatch *, hub_batch_free)
