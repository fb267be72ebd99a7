#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Probes
 *
 * What the hub knows of each probe, by its public key: number and name, session, what it last
 * said in its hello and pulses, what was stored of it. And peers that could not become probes:
 * where from, why, how often. Bounded; any thread may call; times are passed in.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/batch_counts.h"
#include "base/cleanup.h"
#include "channel/cause.h"
#include "channel/hub_link.h"
#include "channel/identity.h"
#include "channel/server_keys.h"
#include "hub/ledger.h"
#include "hub/probe_clock.h"
#include "licence/licence.h"

typedef struct Probes Probes;

enum {
    PROBES_MAX = 20000,
    PROBES_PROBLEMS_MAX = 256, /* the one not seen for longest makes room */
    PROBES_CAPTURES_MAX = 8,
    PROBES_CLONE_MS = 12000, /* the link tells of clones each 5 s while there are any */
    PROBES_SILENT_MS = 5000, /* without a pulse for so long, rates are unknown: shown as 0 */
};

typedef enum ProbeDisk {
    PROBE_DISK_UNKNOWN, /* not said, or in no word that is known */
    PROBE_DISK_NONE,
    PROBE_DISK_GOOD,
    PROBE_DISK_FULL,
    PROBE_DISK_FAILING,
    _PROBE_DISK_N,
} ProbeDisk;

extern const char *const probe_disk_names[_PROBE_DISK_N]; /* as the probe says them, "unknown" */

/* what a probe says of its spool; all 0 of an older one */
typedef struct ProbeSpool {
    uint64_t hubs; /* it waits for; 0: nothing was said of a spool */
    ProbeDisk disk;
    uint64_t flows; /* not yet stored by all of them */
    uint64_t batches;
    uint64_t bytes;
    uint64_t limit_bytes;
    uint64_t oldest_ms;
    double hours_left;       /* 0: not known, or full */
    uint64_t flows_appended; /* from here on since the probe's start */
    uint64_t flows_dropped;
    uint64_t batches_torn;
} ProbeSpool;

/* what one pulse says of its second, see pulse.h */
typedef struct ProbePulse {
    uint64_t time_ms; /* the probe's clock */
    uint64_t packets;
    uint64_t octets;
    uint64_t drops;
    uint64_t flows_active;
    uint64_t flows_waiting;
    uint64_t flows_metered; /* since the probe's start */
    uint64_t flows_export_dropped;
    ProbeSpool spool;
    uint64_t packets_per_s;
    uint64_t octets_per_s;
    ProbeEcho echo;
    Cause cause; /* what it says is wrong with it, in the hub's words, or CAUSE_NONE */
} ProbePulse;

typedef enum ProbeVia {
    PROBE_VIA_OPEN,
    PROBE_VIA_TOKEN,
    PROBE_VIA_APPROVE,
    _PROBE_VIA_N,
} ProbeVia;

extern const char *const probe_via_names[_PROBE_VIA_N];

/** ProbeEnrolment - what was decided of it; admission.h decides, and keeps it beyond a restart */
typedef struct ProbeEnrolment {
    HubAdmission admission; /* HUB_UNKNOWN: nothing yet */
    ProbeVia via;
    char given_name[256]; /* by an administrator, or "" */
    char site[65];
    char tenant[65];
    uint64_t enrolled_ms;
    uint64_t token;   /* id of the one it was admitted by, or 0 */
    char reason[160]; /* why it must wait */
    PeerKey namesake; /* the probe it says it is, by its --probe-id; "" nobody */
    char namesake_name[256];
    uint64_t namesake_seen_ms;
    uint8_t brought[32]; /* hash of the join token in its hello */
    bool brings;         /* one is there */
    bool dirty;          /* not yet as in the settings file */
} ProbeEnrolment;

typedef enum ProbeSeatState {
    PROBE_SEAT_NONE, /* away, or not admitted */
    PROBE_SEAT_HELD,
    PROBE_SEAT_WAITING,
    PROBE_SEAT_OWN, /* it needs none: it has a licence of its own */
    _PROBE_SEAT_N,
} ProbeSeatState;

extern const char *const probe_seat_names[_PROBE_SEAT_N];

/** ProbeSeat - its part of the hub's licence; licensing.h decides */
typedef struct ProbeSeat {
    ProbeSeatState state;
    bool pinned;                   /* by an administrator, and kept */
    bool there;                    /* connected, when seats were given last */
    uint64_t gone_ms;              /* monotonic; 0: it is there, or never was */
    uint64_t since_ms;             /* wall clock: has its seat, or waits */
    uint32_t ahead;                /* of one that waits: how many of these come before it */
    char reason[HUB_REASON_BYTES]; /* why it must wait */
    HubAdmission told;             /* to the link */
    bool shows;                    /* a licence of its own, verified: */
    Licence own;
    SystemId at;
} ProbeSeat;

typedef struct Probe {
    PeerKey key;
    uint32_t number; /* the store's; 0: not yet known */
    ProbeEnrolment enrolment;
    ProbeSeat seat;
    char probe_id[256];
    uint64_t clone_ms; /* when the link last told of two processes with its key; 0: never */
    char clone_text[160];
    unsigned interface;
    bool connected;
    bool announced; /* this session stands in the log */
    char name[256];
    char address[64];
    char version[64];
    char captures[PROBES_CAPTURES_MAX][128];
    size_t n_captures;
    uint64_t first_seen_ms;
    uint64_t last_seen_ms;
    uint64_t session_ms;     /* connected or gone since */
    uint64_t pulse_ms;       /* of the last pulse; 0: none yet */
    uint64_t last_packet_ms; /* of the last pulse that had packets in it */
    bool had_packets;        /* this session */
    ProbePulse pulse;        /* the last one */
    uint64_t packets;        /* sums over all pulses */
    uint64_t octets;
    uint64_t drops;
    int64_t clock_offset_ms; /* the probe's clock minus the hub's */
    uint64_t round_trip_ms;  /* while round_trip_known; else the offset has the way in it */
    bool round_trip_known;
    ProbeClock clock;
    int64_t second_offset; /* hub's second of a pulse minus the probe's, kept while it fits */
    bool second_known;
    BatchCounts received;    /* since the hub started */
    BatchCounts missing;     /* of all gaps stored, those of former runs included */
    BatchCounts undecodable; /* of these since the hub started: set aside in quarantine/ */
    uint64_t flows_stored;
    Ledger ledger;
    uint64_t n_elsewhere; /* as of HubProbeStatus */
    uint64_t instance;    /* hash of that in its hello: its run */
    ServerKeysHeld held;  /* as it said last, of this run of the hub; else only .now is known */
} Probe;

typedef enum PeerProblemKind {
    PEER_WRONG_KEY,
    PEER_RETIRED_KEY,
    PEER_PLAIN,
    PEER_MALFORMED,
    PEER_TOO_MANY,
    _PEER_PROBLEM_N,
} PeerProblemKind;

extern const char *const peer_problem_names[_PEER_PROBLEM_N]; /* "wrong_key", ... */

typedef struct PeerProblem {
    PeerProblemKind kind;
    unsigned interface;
    char address[64];
    uint64_t count; /* reports; the link sends at most one a minute and address */
    uint64_t first_ms;
    uint64_t last_ms;
} PeerProblem;

int probes_new(Probes **probesp);
Probes *probes_free(Probes *probes);

/**
 * probes_lock() - the probe of a key, for the caller alone until probes_unlock(). NULL (and nothing
 * locked): it is not known. probes_lock_new() adds it if need be; NULL then means too many probes,
 * or out of memory.
 */
Probe *probes_lock(Probes *probes, const PeerKey *key);
Probe *probes_lock_new(Probes *probes, const PeerKey *key);
void probes_unlock(Probes *probes);

/** probes_remove() - forget it */
void probes_remove(Probes *probes, const PeerKey *key);

/** probes_touch() - something changed that browsers should see at once */
void probes_touch(Probes *probes);

/** probes_name() - as people know it: given, else as it says, else its key */
const char *probes_name(const Probe *probe);

/** probes_hello() - a session began or its probe says something new of itself: json */
void probes_hello(Probes *probes, const PeerKey *key, unsigned interface, const char *address,
                  const char *json, uint64_t now_ms);
/** probes_clone() - two processes use its key; true: that is news */
bool probes_clone(Probes *probes, const PeerKey *key, const char *address, const char *other,
                  uint64_t now_ms);
void probes_end(Probes *probes, const PeerKey *key, uint64_t now_ms);

/** probes_pulse() - its totals; returns the hub's second that the pulse belongs to, 0: unknown */
uint64_t probes_pulse(Probes *probes, const PeerKey *key, const ProbePulse *pulse, uint64_t now_ms);

/** probes_take_status() - what the link counts */
void probes_take_status(Probes *probes, const HubProbeStatus *statuses, size_t n);
/** probes_only_these() - none else has a session. From the thread that takes the link's events */
void probes_only_these(Probes *probes, const HubProbeStatus *statuses, size_t n, uint64_t now_ms);

void probes_problem(Probes *probes, PeerProblemKind kind, unsigned interface, const char *address,
                    uint64_t now_ms);

/* walks; under the lock, so the callback is quick and calls nothing here. Probes by number */
typedef void ProbesEach(void *context, const Probe *probe);
void probes_each(Probes *probes, ProbesEach *each, void *context);
/** probes_walk() - likewise, in no order: quicker */
void probes_walk(Probes *probes, ProbesEach *each, void *context);
typedef void ProbesProblemEach(void *context, const PeerProblem *problem);
void probes_problems_each(Probes *probes, ProbesProblemEach *each, void *context);

/** probes_change() - likewise, and it may be changed */
typedef void ProbesChange(void *context, Probe *probe);
void probes_change(Probes *probes, ProbesChange *change, void *context);

/** probes_connected() - admitted ones */
uint64_t probes_connected(Probes *probes);

/** probe_ledger() - whether what it has metered since is accounted for, as of its last pulse */
LedgerState probe_ledger(const Probe *probe, uint64_t now_ms);

/** probe_delivers() - connected and admitted, with a seat if it needs one */
static inline bool probe_delivers(const Probe *probe) {
    return probe->connected && probe->enrolment.admission == HUB_ADMITTED &&
           probe->seat.state != PROBE_SEAT_WAITING;
}

/** probes_changed() - did any come, go or change its state since the last call? (one caller) */
bool probes_changed(Probes *probes);

typedef enum ProbeState {
    PROBE_AWAY,
    PROBE_CAPTURING,
    PROBE_ATTENTION, /* connected, and the text says what is not as it should be */
    PROBE_PENDING,   /* not admitted */
    PROBE_REVOKED,
} ProbeState;

/** probe_state() - and one line for people: "capturing", "clock 41 s ahead", "no packets for…" */
ProbeState probe_state(const Probe *probe, uint64_t now_ms, char *text, size_t size);
const char *probe_state_name(ProbeState state);

/** peer_problem_text() - what it means and what to do, without the address */
const char *peer_problem_text(PeerProblemKind kind);

DEFINE_CLEANUP(Probes *, probes_free)
