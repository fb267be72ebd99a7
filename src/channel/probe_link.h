#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Probe Link
 *
 * A probe's connection to one hub: two sockets, one thread that owns them, one for their monitors.
 * Batches stay with their owner, the spool; the link keeps what it must know of each and asks for
 * the bytes when they are to be sent. With several hubs, one spool serves several links.
 *
 *     spool_append(spool, bytes, size, counts, &batch)    first in the spool, which numbers it,
 *     probe_link_submit(link, &batch)                     then, for every hub, here
 *
 * All functions may be called from any thread; none waits for the network, nor for what the link
 * asks of the spool, but probe_link_drain().
 * Callbacks come from the link's thread; they must be quick and must not call the link.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/batch_counts.h"
#include "base/cleanup.h"
#include "base/reason.h"
#include "channel/delivery.h"
#include "channel/keys.h"
#include "channel/lease.h"
#include "channel/server_keys.h"

typedef struct ProbeLink ProbeLink;

/** ProbeLinkBytes - a batch as it lies in memory, lent to the link */
typedef struct ProbeLinkBytes {
    void *bytes;
    uint32_t crc32c; /* of them, as it was written: the hub finds what was damaged since */
    void *owner;
    void (*give_back)(void *bytes, void *owner); /* once, from any thread */
} ProbeLinkBytes;

/** ProbeLinkSpool - what the link asks of the spool, from the link's thread or a caller's */
typedef struct ProbeLinkSpool {
    void *spool;
    /* as of DeliveryOwner: what stands there, and what will not be asked for again (without
     * totals: all of it, and it is not to be remembered) */
    int (*load)(void *spool, const EpochId *epoch, uint64_t sequence, DeliveryBatch *batch);
    void (*release)(void *spool, const EpochId *epoch, uint64_t last, const BatchCounts *totals);
    /* lend the `size` bytes of the batch; DELIVERY_E_UNKNOWN: no longer there, or damaged */
    int (*fetch)(void *spool, const EpochId *epoch, uint64_t sequence, size_t size,
                 ProbeLinkBytes *lent);
    /* the i-th epoch that former runs left for this hub, oldest first; asked for once, by
     * probe_link_new(). May be NULL */
    bool (*former)(void *spool, size_t i, DeliveryFormer *former);
} ProbeLinkSpool;

/** ProbeLinkWord - where the link stands; probe_link_word() gives the text form */
typedef enum ProbeLinkWord {
    PROBE_LINK_CONNECTING,
    PROBE_LINK_NAME_UNKNOWN, /* the host name does not resolve */
    PROBE_LINK_REFUSED,      /* TCP connection refused: nothing listens there */
    PROBE_LINK_NO_ROUTE,
    PROBE_LINK_NO_ANSWER,     /* filtered, or the host is down */
    PROBE_LINK_WRONG_KEY,     /* the hub closed the handshake */
    PROBE_LINK_PLAIN_PEER,    /* the peer does not encrypt */
    PROBE_LINK_NO_HANDSHAKE,  /* connected, but no ZeroMQ peer speaks there */
    PROBE_LINK_KEY_REVOKED,   /* this probe's key was refused at the handshake */
    PROBE_LINK_EVENTS_CLOSED, /* data port reached, events port not */
    PROBE_LINK_NO_STATE,      /* both reached, and the hub says nothing */
    PROBE_LINK_WAITING,       /* connected; the hub has not admitted this probe: see the reason */
    PROBE_LINK_NO_HUB,        /* listening, and nobody comes */
    PROBE_LINK_WRONG_PORT,    /* the hub closed the handshake, and has the key at its other port */
    PROBE_LINK_BOTH_CONNECT,  /* data port closed, events port of a hub open */
    PROBE_LINK_HUB_FULL,      /* up, and the hub has no room to store */
    PROBE_LINK_CLOCK_OFF,     /* up, and the clocks differ by more than 30 s */
    PROBE_LINK_VERSION,       /* the hub does not serve this version of a probe */
    PROBE_LINK_UP,
    PROBE_LINK_N_WORDS,
} ProbeLinkWord;

typedef struct ProbeLinkStatus {
    ProbeLinkWord word;
    char reason[512]; /* one line for a person: what, where, what to do */
    char peer[280];   /* the data endpoint, as attached: a port * is resolved */
    char events[280]; /* likewise */
    bool session;
    uint64_t pending_batches;
    uint64_t pending_bytes;
    BatchCounts pending; /* submitted, neither stored nor dropped */
    BatchCounts stored;
    BatchCounts dropped; /* explicit gaps */
    uint64_t resent_batches;
    uint64_t sent_batches;
    uint64_t sent_bytes;
    uint64_t sessions;
    uint64_t malformed_states;
    int64_t clock_offset_ms; /* the hub's clock minus this machine's, at the last state */
    LeaseWord lease;         /* by this run's states */
} ProbeLinkStatus;

typedef struct ProbeLinkConfig {
    const char *endpoint;        /* tcp://hub:5556 */
    const char *events_endpoint; /* NULL: same host, port + 1, bound by whoever binds data */
    bool bind;                   /* the probe binds data; else it connects (--zmq-probe-mode) */
    const char *server_z85;      /* the hub's public key, 40 characters Z85 */
    KeyPair keys;
    const char *hello_json; /* an object: name, probe_id, version, instance, mode, interfaces */
    ProbeLinkSpool spool;

    /* word or reason changed; once a change. May be NULL */
    void (*on_change)(void *userdata, ProbeLinkWord word, const char *reason);
    /* what the hub wants this probe to be set to, again with each state until it has read its
     * answer in a pulse; configuration.h. May be NULL */
    void (*on_configuration)(void *userdata, const char *json);
    void *userdata;

    /* another server key, as the hub hands it over (server_keys.h) */
    ServerKeys kept; /* from the disk; .version 0: nothing was */
    /* to the disk; false: not now, it is asked again. NULL: the link stays with server_z85 */
    bool (*keep)(void *userdata, const ServerKeys *keys);
    void (*on_note)(void *userdata, const char *text); /* a line for the log. May be NULL */
} ProbeLinkConfig;

enum {
    _PROBE_LINK_E_SUCCESS,
    PROBE_LINK_E_REFUSED, /* bad endpoint or key, port in use: the reason says which */
    PROBE_LINK_E_LEFT,    /* probe_link_drain(): not everything is stored */
};

int probe_link_new(ProbeLink **linkp, const ProbeLinkConfig *config, Reason *reason);

/** probe_link_free() - closes at once; what is not stored stays in the spool */
ProbeLink *probe_link_free(ProbeLink *link);

int probe_link_submit(ProbeLink *link, const DeliveryBatch *batch);

/** probe_link_wants_epoch() - the next batch should begin a new one, for the live one lags behind
 */
bool probe_link_wants_epoch(ProbeLink *link);

/**
 * probe_link_diverged() - the hub has batches of another process under this epoch's name (a virtual
 * machine went back to a snapshot, or was copied): what the spool has of it from first to last is
 * to be appended and submitted anew, and then probe_link_moved() to be called. After each submit
 */
bool probe_link_diverged(ProbeLink *link, EpochId *epoch, uint64_t *firstp, uint64_t *lastp);
void probe_link_moved(ProbeLink *link, const EpochId *epoch);

/**
 * probe_link_dropped() - the spool let go of the epoch up to here, for its limit: what the hub has
 * not stored becomes an explicit gap
 */
void probe_link_dropped(ProbeLink *link, const EpochId *epoch, uint64_t last,
                        const BatchCounts *totals, uint64_t bytes);

/** probe_link_pulse() - unsequenced, sent if a session is up, else forgotten */
int probe_link_pulse(ProbeLink *link, const char *json);

/** probe_link_hello() - replace what the hello says (an interface was added) and say it again */
int probe_link_hello(ProbeLink *link, const char *json);

/** probe_link_status() - as of the last turn of the link's thread, and what was submitted since */
void probe_link_status(ProbeLink *link, ProbeLinkStatus *status);
const char *probe_link_word(ProbeLinkWord word);

/** probe_link_lease() - what was said of it, as of probe_link_status() */
void probe_link_lease(ProbeLink *link, LeaseWord *word);

/** probe_link_drain() - wait until all is stored; PROBE_LINK_E_LEFT and *left_flowsp when not */
int probe_link_drain(ProbeLink *link, unsigned timeout_ms, uint64_t *left_flowsp);

DEFINE_CLEANUP(ProbeLink *, probe_link_free)
