/* SPDX-License-Identifier: Apache-2.0 */

#include "hub/probes.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/hash.h"
#include "channel/version.h"

enum {
    BUCKETS = 4096,
    CLONE_NEWS_MS = 60000,
    QUIET_MS = 8000, /* without packets for so long: the text says so */
    NO_PACKETS_MS =
        60000, /* and from here on it asks for attention; one that never had any: before */
};

typedef struct Entry {
    Probe probe;        /* first: find() gives it */
    bool listed;        /* while probes_only_these() looks */
    struct Entry *next; /* in its bucket */
} Entry;

struct Probes {
    pthread_mutex_t lock;
    Entry *buckets[BUCKETS];
    Entry **all; /* in order of arrival */
    size_t n;
    size_t capacity;
    uint64_t seed;
    PeerProblem problems[PROBES_PROBLEMS_MAX];
    size_t n_problems;
    atomic_bool changed;
};

const char *const probe_via_names[_PROBE_VIA_N] = {
    [PROBE_VIA_OPEN] = "open",
    [PROBE_VIA_TOKEN] = "token",
    [PROBE_VIA_APPROVE] = "approve",
};

const char *const probe_seat_names[_PROBE_SEAT_N] = {
    [PROBE_SEAT_NONE] = "none",
    [PROBE_SEAT_HELD] = "held",
    [PROBE_SEAT_WAITING] = "waiting",
    [PROBE_SEAT_OWN] = "own",
};

const char *const peer_problem_names[_PEER_PROBLEM_N] = {
    [PEER_WRONG_KEY] = "wrong_key", [PEER_RETIRED_KEY] = "retired_key", [PEER_PLAIN] = "plain",
    [PEER_MALFORMED] = "malformed", [PEER_TOO_MANY] = "too_many",
};

const char *const probe_disk_names[_PROBE_DISK_N] = {
    [PROBE_DISK_UNKNOWN] = "unknown",
    [PROBE_DISK_NONE] = "memory only",
    [PROBE_DISK_GOOD] = "good",
    [PROBE_DISK_FULL] = "disk full",
    [PROBE_DISK_FAILING] = "disk failing",
};

const char *peer_problem_text(PeerProblemKind kind) {
    static const Cause causes[_PEER_PROBLEM_N] = {
        [PEER_WRONG_KEY] = CAUSE_PEER_WRONG_KEY, [PEER_RETIRED_KEY] = CAUSE_PEER_RETIRED_KEY,
        [PEER_PLAIN] = CAUSE_PEER_PLAIN,         [PEER_MALFORMED] = CAUSE_PEER_NOT_SPOKEN,
        [PEER_TOO_MANY] = CAUSE_PEER_TOO_MANY,
    };
    return cause_rows[causes[kind]].line;
}

int probes_new(Probes **probesp) {
    Probes *probes = calloc(1, sizeof(*probes));
    if (!probes)
        return error_origin(-ENOMEM);
    (void)pthread_mutex_init(&probes->lock, NULL);
    probes->seed = hash_u64(clock_monotonic_ns(), (uint64_t)(uintptr_t)probes);
    *probesp = probes;
    return 0;
}

Probes *probes_free(Probes *probes) {
    if (!probes)
        return NULL;
    for (size_t i = 0; i < probes->n; i++)
        free(probes->all[i]);
    free(probes->all);
    (void)pthread_mutex_destroy(&probes->lock);
    free(probes);
    return NULL;
}

static bool grow(Probes *probes) {
    if (probes->n >= PROBES_MAX)
        return false;
    if (probes->n < probes->capacity)
        return true;
    const size_t capacity = probes->capacity ? probes->capacity * 2 : 64;
    Entry **all = realloc(probes->all, capacity * sizeof(Entry *));
    if (!all)
        return false;
    probes->all = all;
    probes->capacity = capacity;
    return true;
}

static Entry **bucket_of(Probes *probes, const PeerKey *key) {
    return &probes->buckets[(size_t)hash_bytes(key->z85, strlen(key->z85), probes->seed) % BUCKETS];
}

static Probe *find(Probes *probes, const PeerKey *key) {
    for (Entry *entry = *bucket_of(probes, key); entry; entry = entry->next) {
        if (strcmp(entry->probe.key.z85, key->z85) == 0)
            return &entry->probe;
    }
    return NULL;
}

Probe *probes_lock(Probes *probes, const PeerKey *key) {
    (void)pthread_mutex_lock(&probes->lock);
    Probe *probe = find(probes, key);
    if (!probe)
        (void)pthread_mutex_unlock(&probes->lock);
    return probe;
}

Probe *probes_lock_new(Probes *probes, const PeerKey *key) {
    (void)pthread_mutex_lock(&probes->lock);
    Probe *probe = find(probes, key);
    if (probe)
        return probe;
    Entry *entry = grow(probes) ? calloc(1, sizeof(*entry)) : NULL;
    if (!entry) {
        (void)pthread_mutex_unlock(&probes->lock);
        return NULL;
    }
    entry->probe.key = *key;
    Entry **bucket = bucket_of(probes, key);
    entry->next = *bucket;
    *bucket = entry;
    probes->all[probes->n++] = entry;
    return &entry->probe;
}

void probes_unlock(Probes *probes) {
    (void)pthread_mutex_unlock(&probes->lock);
}

void probes_remove(Probes *probes, const PeerKey *key) {
    (void)pthread_mutex_lock(&probes->lock);
    Entry **at = bucket_of(probes, key);
    while (*at && strcmp((*at)->probe.key.z85, key->z85) != 0)
        at = &(*at)->next;
    Entry *entry = *at;
    if (entry) {
        *at = entry->next;
        size_t i = 0;
        while (probes->all[i] != entry)
            i++;
        probes->all[i] = probes->all[--probes->n];
        free(entry);
    }
    (void)pthread_mutex_unlock(&probes->lock);
    atomic_store(&probes->changed, true);
}

void probes_touch(Probes *probes) {
    atomic_store(&probes->changed, true);
}

const char *probes_name(const Probe *probe) {
    return *probe->enrolment.given_name ? probe->enrolment.given_name
           : *probe->name               ? probe->name
                                        : probe->key.z85;
}

/* a text of a probe, which may be hostile: without what would control a terminal or break a line */
static void take_text(char *to, size_t size, const json_t *value) {
    const char *text = json_string_value(value);
    if (!text)
        return;
    size_t n = strnlen(text, size);
    if (n == size) { /* too long: cut before a character, not within it */
        n = size - 1;
        while (n && ((unsigned char)text[n] & 0xc0) == 0x80)
            n--;
    }
    for (size_t i = 0; i < n; i++)
        to[i] = (char)((unsigned char)text[i] < 0x20 || text[i] == 0x7f ? ' ' : text[i]);
    to[n] = 0;
}

/* captures may be texts, or objects with a name */
static void take_captures(Probe *probe, const json_t *list) {
    if (!json_is_array(list))
        return;
    probe->n_captures = 0;
    size_t i;
    json_t *value;
    json_array_foreach(list, i, value) {
        if (probe->n_captures == PROBES_CAPTURES_MAX)
            break;
        const json_t *name = json_is_object(value) ? json_object_get(value, "name") : value;
        if (json_is_string(name))
            take_text(probe->captures[probe->n_captures++], sizeof(probe->captures[0]), name);
    }
}

/* another run counts from 0 again */
static void take_instance(Probe *probe, const json_t *value) {
    const char *text = json_string_value(value);
    const uint64_t instance = text ? hash_bytes(text, strlen(text), 0) : 0;
    if (instance != probe->instance)
        probe->ledger = (Ledger){0};
    probe->instance = instance;
}

void probes_hello(Probes *probes, const PeerKey *key, unsigned interface, const char *address,
                  const char *json, uint64_t now_ms) {
    json_t *hello = json ? json_loads(json, 0, NULL) : NULL;
    Probe *probe = probes_lock_new(probes, key);
    if (probe) {
        take_text(probe->name, sizeof(probe->name), json_object_get(hello, "name"));
        take_text(probe->version, sizeof(probe->version), json_object_get(hello, "version"));
        take_text(probe->probe_id, sizeof(probe->probe_id), json_object_get(hello, "probe_id"));
        take_captures(probe, json_object_get(hello, "interfaces"));
        (void)snprintf(probe->address, sizeof(probe->address), "%s", address);
        probe->interface = interface;
        take_instance(probe, json_object_get(hello, "instance"));
        if (!probe->connected) {
            ledger_session(&probe->ledger);
            probe->clock = (ProbeClock){0};
            probe->session_ms = now_ms;
            probe->pulse_ms = 0;
            probe->second_known = false;
            probe->announced = false;
            probe->had_packets = false;
        }
        probe->connected = true;
        probe->last_seen_ms = now_ms;
        if (!probe->first_seen_ms)
            probe->first_seen_ms = now_ms;
        probes_unlock(probes);
    }
    json_decref(hello);
    atomic_store(&probes->changed, true);
}

static uint64_t since(uint64_t then_ms, uint64_t now_ms) {
    return now_ms > then_ms ? now_ms - then_ms : 0;
}

bool probes_clone(Probes *probes, const PeerKey *key, const char *address, const char *other,
                  uint64_t now_ms) {
    char where[140];
    (void)snprintf(where, sizeof(where), strcmp(address, other) ? "at %s and %s" : "both at %s",
                   address, other);
    Probe *probe = probes_lock(probes, key);
    if (!probe)
        return false;
    const bool news = !probe->clone_ms || since(probe->clone_ms, now_ms) > CLONE_NEWS_MS;
    probe->clone_ms = now_ms;
    (void)snprintf(probe->clone_text, sizeof(probe->clone_text), "%s", where);
    probes_unlock(probes);
    atomic_store(&probes->changed, true);
    return news;
}

static void end(Probe *probe, uint64_t now_ms) {
    probe->connected = false;
    probe->session_ms = now_ms;
    probe->pulse.packets_per_s = 0;
    probe->pulse.octets_per_s = 0;
}

void probes_end(Probes *probes, const PeerKey *key, uint64_t now_ms) {
    Probe *probe = probes_lock(probes, key);
    if (!probe)
        return;
    end(probe, now_ms);
    probes_unlock(probes);
    atomic_store(&probes->changed, true);
}

static void take_ledger(Probe *probe, uint64_t now_ms) {
    const ProbePulse *pulse = &probe->pulse;
    if (pulse->spool.hubs != 1)
        return;
    const LedgerCounts counts = {
        .metered = pulse->flows_metered,
        .export_dropped = pulse->flows_export_dropped,
        .appended = pulse->spool.flows_appended,
        .waiting = pulse->spool.flows,
        .let_go = pulse->spool.flows_dropped,
        .stored = probe->flows_stored,
        .missing = probe->missing.flows,
        .undecodable = probe->undecodable.flows,
    };
    ledger_pulse(&probe->ledger, &counts, now_ms);
}

LedgerState probe_ledger(const Probe *probe, uint64_t now_ms) {
    if (!probe->connected || since(probe->pulse_ms, now_ms) > PROBES_SILENT_MS)
        return LEDGER_UNKNOWN;
    if (probe->pulse.spool.hubs > 1)
        return LEDGER_SEVERAL_HUBS;
    return probe->pulse.spool.hubs ? ledger_state(&probe->ledger) : LEDGER_UNKNOWN;
}

static void take_clock(Probe *probe, uint64_t now_ms) {
    const ProbePulse *pulse = &probe->pulse;
    if (!pulse->echo.hub_ms) { /* an older probe, or nothing was told to it yet */
        probe->clock_offset_ms = (int64_t)pulse->time_ms - (int64_t)now_ms;
        probe->round_trip_known = false;
        return;
    }
    (void)probe_clock_take(&probe->clock, &pulse->echo, now_ms);
    probe->round_trip_known =
        probe_clock_read(&probe->clock, &probe->clock_offset_ms, &probe->round_trip_ms);
}

uint64_t probes_pulse(Probes *probes, const PeerKey *key, const ProbePulse *pulse,
                      uint64_t now_ms) {
    Probe *probe = probes_lock(probes, key);
    if (!probe)
        return 0;
    if (!probe->pulse_ms || pulse->packets)
        probe->last_packet_ms = now_ms;
    probe->had_packets = probe->had_packets || pulse->packets;
    const bool was_silent = !probe->pulse_ms;
    probe->pulse = *pulse;
    take_ledger(probe, now_ms);
    probe->packets = batch_counts_sum(probe->packets, pulse->packets);
    probe->octets = batch_counts_sum(probe->octets, pulse->octets);
    probe->drops = batch_counts_sum(probe->drops, pulse->drops);
    probe->pulse_ms = now_ms;
    probe->last_seen_ms = now_ms;
    take_clock(probe, now_ms);

    /* one pulse a second: keep the distance to the hub's seconds while it stays within one, so
     * that uneven travel does not put two pulses into one second and none into the next */
    const int64_t mine = (int64_t)(now_ms / 1000);
    const int64_t theirs = (int64_t)(pulse->time_ms / 1000);
    const int64_t off = theirs + probe->second_offset - mine;
    if (!probe->second_known || off < -1 || off > 1)
        probe->second_offset = mine - theirs;
    probe->second_known = true;
    const uint64_t second = (uint64_t)(theirs + probe->second_offset);
    probes_unlock(probes);
    if (was_silent)
        atomic_store(&probes->changed, true);
    return second;
}

void probes_take_status(Probes *probes, const HubProbeStatus *statuses, size_t n) {
    for (size_t i = 0; i < n; i++) {
        Probe *probe = probes_lock(probes, &statuses[i].key);
        if (!probe)
            continue;
        if (probe->connected != statuses[i].session) { /* the event was lost */
            probe->connected = statuses[i].session;
            probe->session_ms = statuses[i].session_ms;
            atomic_store(&probes->changed, true);
        }
        probe->received = statuses[i].received;
        if (probe->n_elsewhere != statuses[i].n_elsewhere)
            probe->ledger = (Ledger){0}; /* what it waits with gets less by what others bring */
        probe->n_elsewhere = statuses[i].n_elsewhere;
        if (statuses[i].heard_ms > probe->last_seen_ms)
            probe->last_seen_ms = statuses[i].heard_ms;
        probes_unlock(probes);
    }
}

void probes_only_these(Probes *probes, const HubProbeStatus *statuses, size_t n, uint64_t now_ms) {
    (void)pthread_mutex_lock(&probes->lock);
    for (size_t i = 0; i < probes->n; i++)
        probes->all[i]->listed = false;
    for (size_t i = 0; i < n; i++) {
        Entry *entry = (Entry *)find(probes, &statuses[i].key);
        if (entry)
            entry->listed = true;
    }
    for (size_t i = 0; i < probes->n; i++) {
        Probe *probe = &probes->all[i]->probe;
        if (probe->connected && !probes->all[i]->listed) { /* the event was lost */
            end(probe, now_ms);
            probe->enrolment.dirty = true;
            atomic_store(&probes->changed, true);
        }
    }
    (void)pthread_mutex_unlock(&probes->lock);
}

#define UNKNOWN "unknown address"

/* a peer that was gone before its address could be read is most likely one that tries again */
static bool is_same_peer(const char *known, const char *address) {
    return !*address || strcmp(known, UNKNOWN) == 0 || strcmp(known, address) == 0;
}

void probes_problem(Probes *probes, PeerProblemKind kind, unsigned interface, const char *address,
                    uint64_t now_ms) {
    (void)pthread_mutex_lock(&probes->lock);
    PeerProblem *found = NULL;
    PeerProblem *oldest = &probes->problems[0];
    for (size_t i = 0; i < probes->n_problems && !found; i++) {
        PeerProblem *problem = &probes->problems[i];
        if (problem->kind == kind && problem->interface == interface &&
            is_same_peer(problem->address, address))
            found = problem;
        if (problem->last_ms < oldest->last_ms)
            oldest = problem;
    }
    if (!found) {
        found = probes->n_problems < PROBES_PROBLEMS_MAX ? &probes->problems[probes->n_problems++]
                                                         : oldest;
        *found = (PeerProblem){.kind = kind, .interface = interface, .first_ms = now_ms};
        (void)snprintf(found->address, sizeof(found->address), "%s", UNKNOWN);
    }
    if (*address)
        (void)snprintf(found->address, sizeof(found->address), "%s", address);
    found->count++;
    found->last_ms = now_ms;
    (void)pthread_mutex_unlock(&probes->lock);
    atomic_store(&probes->changed, true);
}

static int by_number(const void *a, const void *b) {
    const Probe *x = &(*(Entry *const *)a)->probe;
    const Probe *y = &(*(Entry *const *)b)->probe;
    if (x->number != y->number)
        return x->number < y->number ? -1 : 1;
    return strcmp(x->key.z85, y->key.z85);
}

void probes_each(Probes *probes, ProbesEach *each, void *context) {
    (void)pthread_mutex_lock(&probes->lock);
    if (probes->n)
        qsort(probes->all, probes->n, sizeof(Entry *), by_number);
    for (size_t i = 0; i < probes->n; i++)
        each(context, &probes->all[i]->probe);
    (void)pthread_mutex_unlock(&probes->lock);
}

void probes_walk(Probes *probes, ProbesEach *each, void *context) {
    (void)pthread_mutex_lock(&probes->lock);
    for (size_t i = 0; i < probes->n; i++)
        each(context, &probes->all[i]->probe);
    (void)pthread_mutex_unlock(&probes->lock);
}

void probes_change(Probes *probes, ProbesChange *change, void *context) {
    (void)pthread_mutex_lock(&probes->lock);
    for (size_t i = 0; i < probes->n; i++)
        change(context, &probes->all[i]->probe);
    (void)pthread_mutex_unlock(&probes->lock);
}

void probes_problems_each(Probes *probes, ProbesProblemEach *each, void *context) {
    (void)pthread_mutex_lock(&probes->lock);
    for (size_t i = 0; i < probes->n_problems; i++)
        each(context, &probes->problems[i]);
    (void)pthread_mutex_unlock(&probes->lock);
}

uint64_t probes_connected(Probes *probes) {
    uint64_t n = 0;
    (void)pthread_mutex_lock(&probes->lock);
    for (size_t i = 0; i < probes->n; i++)
        n += probe_delivers(&probes->all[i]->probe);
    (void)pthread_mutex_unlock(&probes->lock);
    return n;
}

bool probes_changed(Probes *probes) {
    return atomic_exchange(&probes->changed, false);
}

/* "40 s", "3 min", "5 h", "2 days" */
static void span_text(uint64_t ms, char text[32]) {
    const uint64_t s = ms / 1000;
    if (s < 120)
        (void)snprintf(text, 32, "%" PRIu64 " s", s);
    else if (s < 7200)
        (void)snprintf(text, 32, "%" PRIu64 " min", s / 60);
    else if (s < 172800)
        (void)snprintf(text, 32, "%" PRIu64 " h", s / 3600);
    else
        (void)snprintf(text, 32, "%" PRIu64 " days", s / 86400);
}

const char *probe_state_name(ProbeState state) {
    static const char *const names[] = {
        [PROBE_AWAY] = "away",           [PROBE_CAPTURING] = "capturing",
        [PROBE_ATTENTION] = "attention", [PROBE_PENDING] = "pending",
        [PROBE_REVOKED] = "revoked",
    };
    return names[state];
}

/** report_state() - of one that is admitted and connected: what its pulses say */
static ProbeState report_state(const Probe *probe, uint64_t now_ms, char *text, size_t size) {
    char span[32];
    const int64_t offset = probe->clock_offset_ms;
    if (!probe->pulse_ms) {
        (void)snprintf(text, size, "connected, no report yet");
        return PROBE_CAPTURING;
    }
    if (since(probe->pulse_ms, now_ms) > PROBES_SILENT_MS) {
        span_text(since(probe->pulse_ms, now_ms), span);
        (void)snprintf(text, size, "connected, no report for %s", span);
        return PROBE_ATTENTION;
    }
    if (cause_clock_is_off(offset)) {
        char detail[48];
        span_text((uint64_t)(offset < 0 ? -offset : offset), span);
        (void)snprintf(detail, sizeof(detail), "%s %s", span, offset < 0 ? "behind" : "ahead");
        cause_text(text, size, CAUSE_PEER_CLOCK, "", detail);
        return PROBE_ATTENTION;
    }
    if (probe->pulse.cause != CAUSE_NONE) {
        cause_text(text, size, probe->pulse.cause, probe->n_captures ? probe->captures[0] : "", "");
        return PROBE_ATTENTION;
    }
    const uint64_t quiet_ms = since(probe->last_packet_ms, now_ms);
    if (quiet_ms > QUIET_MS) {
        span_text(quiet_ms, span);
        cause_text(text, size, CAUSE_PEER_NO_PACKETS, "", span);
        return quiet_ms > NO_PACKETS_MS || !probe->had_packets ? PROBE_ATTENTION : PROBE_CAPTURING;
    }
    (void)snprintf(text, size, "capturing");
    return PROBE_CAPTURING;
}

ProbeState probe_state(const Probe *probe, uint64_t now_ms, char *text, size_t size) {
    char span[32];
    if (probe->enrolment.admission == HUB_REVOKED) {
        (void)snprintf(text, size, "its key is revoked");
        return PROBE_REVOKED;
    }
    const bool no_seat = probe->seat.state == PROBE_SEAT_WAITING;
    if ((probe->enrolment.admission == HUB_PENDING || no_seat) && probe->connected) {
        (void)snprintf(text, size, "waits: %s",
                       no_seat ? probe->seat.reason : probe->enrolment.reason);
        return PROBE_PENDING;
    }
    if (probe->enrolment.admission == HUB_PENDING) {
        span_text(since(probe->last_seen_ms, now_ms), span);
        (void)snprintf(text, size, "not admitted, and gone, last heard %s ago", span);
        return PROBE_PENDING;
    }
    if (!probe->connected) {
        span_text(since(probe->last_seen_ms, now_ms), span);
        (void)snprintf(text, size, "not connected, last heard %s ago", span);
        return PROBE_AWAY;
    }
    if (probe->clone_ms && since(probe->clone_ms, now_ms) < PROBES_CLONE_MS) {
        (void)snprintf(text, size,
                       "two running probes use this key, %s; stop one and start it again with an "
                       "empty data directory",
                       probe->clone_text);
        return PROBE_ATTENTION;
    }
    const Cause version = version_judge(WEIR_VERSION, probe->version);
    if (version != CAUSE_NONE) {
        cause_text(text, size, version, "", probe->version);
        return PROBE_ATTENTION;
    }
    return report_state(probe, now_ms, text, size);
}
