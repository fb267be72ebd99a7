#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Exporters
 *
 * What probes report of the routers and switches they collect from (src/probe/collect_report.h): an
 * exporter is an address at a probe, with its domains, the names it has for its numbers, and the
 * counters of its interfaces. Kept while a probe says nothing, so that who is silent is seen; those
 * silent for longest make room. Any thread may call; times are passed in, by the hub's clock.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include "base/cleanup.h"
#include "channel/identity.h"
#include "net/address.h"
#include "store/store.h"

typedef struct Exporters Exporters;

enum {
    EXPORTERS_MAX = 1 << 16,
    EXPORTERS_OF_PROBE_MAX = 8192,
    EXPORTERS_DOMAINS_MAX = 256,     /* of an exporter */
    EXPORTERS_NAMES_MAX = 1 << 16,   /* of an exporter */
    EXPORTERS_INTERFACES_MAX = 4096, /* of an exporter */
    EXPORTERS_SILENT_MS = 60 * 1000, /* without a datagram for so long, an exporter is silent */
    EXPORTERS_PENDING_MAX = 1 << 16, /* counters that wait to be stored; then the oldest go */
    EXPORTERS_RATE_MS = 30 * 1000,   /* rates are of the last one to two of these */
};

/* numbers of a domain, by the names they have in the report */
#define EXPORTER_NUMBERS(N)                                                                        \
    N(DATAGRAMS, datagrams)                                                                        \
    N(BYTES, bytes)                                                                                \
    N(FLOWS, flows)                                                                                \
    N(OPTIONS, options)                                                                            \
    N(SENT, sent)                                                                                  \
    N(DECODED, decoded)                                                                            \
    N(LOST, lost)                                                                                  \
    N(DROPPED, dropped)                                                                            \
    N(NO_TEMPLATE, no_template)                                                                    \
    N(MALFORMED, malformed)                                                                        \
    N(HELD, held)                                                                                  \
    N(RESETS, resets)                                                                              \
    N(TEMPLATES, templates)

typedef enum ExporterNumber {
#define N(id, name) EXPORTER_##id,
    EXPORTER_NUMBERS(N)
#undef N
        _EXPORTER_NUMBER_N,
} ExporterNumber;

extern const char *const exporter_number_names[_EXPORTER_NUMBER_N];

typedef struct ExporterAnchor {
    uint64_t at_ms; /* 0: none */
    uint64_t flows, datagrams, wrong;
} ExporterAnchor;

typedef struct ExporterDomain {
    struct ExporterDomain *next;
    uint32_t version; /* 245: sFlow */
    uint32_t domain, sub_agent;
    bool tcp;
    uint64_t run; /* the probe's number of it: another one counts from 0 */
    uint64_t numbers[_EXPORTER_NUMBER_N];
    uint32_t sampling;
    char sampling_from[12];
    NetAddress from;
    uint64_t first_ms, last_ms; /* of its datagrams */
    uint64_t told_ms;
    ExporterAnchor anchors[2]; /* the older one first */
} ExporterDomain;

typedef struct ExporterName {
    uint8_t kind; /* ExporterNameKind */
    uint64_t key;
    char *text;
} ExporterName;

typedef enum ExporterNameKind {
    EXPORTER_NAME_INTERFACE,
    EXPORTER_NAME_APPLICATION,
    EXPORTER_NAME_VRF,
    _EXPORTER_NAME_N,
} ExporterNameKind;

extern const char *const exporter_name_kinds[_EXPORTER_NAME_N];

/* in the order of a report's row, behind exporter, sub agent and interface */
typedef enum InterfaceNumber {
    INTERFACE_TIME_MS,
    INTERFACE_RUN,
    INTERFACE_SAMPLED,
    INTERFACE_SKIPPED,
    INTERFACE_SPEED,
    INTERFACE_STATUS,
    INTERFACE_IN_OCTETS,
    INTERFACE_IN_PACKETS,
    INTERFACE_IN_DISCARDS,
    INTERFACE_IN_ERRORS,
    INTERFACE_OUT_OCTETS,
    INTERFACE_OUT_PACKETS,
    INTERFACE_OUT_DISCARDS,
    INTERFACE_OUT_ERRORS,
    _INTERFACE_NUMBER_N,
} InterfaceNumber;

typedef struct ExporterInterface {
    uint32_t sub_agent, index;
    uint64_t received; /* samples that came here, of those the probe had since its run began */
    uint64_t now[_INTERFACE_NUMBER_N], before[_INTERFACE_NUMBER_N]; /* before: all 0 at first */
} ExporterInterface;

typedef struct Exporter {
    struct Exporter *next; /* of its bucket */
    uint64_t id;           /* the same as long as probe and address are; below 2^53 */
    PeerKey probe;
    NetAddress ip;
    char name[65], site[65];
    ExporterDomain *domains;
    size_t n_domains;
    ExporterName *names; /* by kind and key */
    size_t n_names, names_room;
    ExporterInterface *interfaces; /* by sub agent and index */
    size_t n_interfaces, interfaces_room;
    bool dirty; /* not yet as in the settings file */
} Exporter;

/** ExporterSum - over the domains of one */
typedef struct ExporterSum {
    uint64_t numbers[_EXPORTER_NUMBER_N];
    uint64_t first_ms, last_ms;
    double flows_per_s, datagrams_per_s;
    uint64_t wrong; /* units of the last minute that were not decoded and are not held */
    const ExporterDomain *newest;
} ExporterSum;

int exporters_new(Exporters **exportersp);
Exporters *exporters_free(Exporters *exporters);

/** exporters_take() - "exporters" of a pulse, that the probe wrote at time_ms by its own clock */
void exporters_take(Exporters *exporters, const PeerKey *probe, const json_t *report,
                    uint64_t time_ms, uint64_t now_ms);
/** exporters_forget() - all of a probe */
void exporters_forget(Exporters *exporters, const PeerKey *probe);

/** exporters_pending() - counters of interfaces that are not yet stored, taken out, oldest first;
 * how many. *lostp: how many had to go since the start */
size_t exporters_pending(Exporters *exporters, StoreCounter *to, size_t max, uint64_t *lostp);

/* walks under the lock, as probes_each() */
typedef void ExportersEach(void *context, Exporter *exporter);
void exporters_each(Exporters *exporters, ExportersEach *each, void *context);
/** exporters_each_and() - the same, and the lock is kept until exporters_unlock() */
void exporters_each_and(Exporters *exporters, ExportersEach *each, void *context);
/** exporters_lock() - the one of this id, until exporters_unlock(); NULL: not locked, not known */
Exporter *exporters_lock(Exporters *exporters, uint64_t id);
void exporters_unlock(Exporters *exporters);

/** exporters_restore() - one that was known before the hub started; false: too many */
bool exporters_restore(Exporters *exporters, const PeerKey *probe, const NetAddress *ip,
                       const char *name, const char *site, const ExporterDomain *domain);

ExporterSum exporter_sum(const Exporter *exporter, uint64_t now_ms);
double exporter_domain_rate(const ExporterDomain *domain, uint64_t now_ms);

/** exporter_interface_grown() - between its last two samples; 0 when there is one only */
uint64_t exporter_interface_grown(const ExporterInterface *interface, InterfaceNumber which);

/** exporters_name() - what an exporter calls this, copied; false, "": it has no name for it */
bool exporters_name(Exporters *exporters, const PeerKey *probe, const NetAddress *ip,
                    ExporterNameKind kind, uint64_t key, char *to, size_t size);
/** exporter_name() - likewise, of one that is locked; NULL: none */
const char *exporter_name(const Exporter *exporter, ExporterNameKind kind, uint64_t key);

typedef enum ExporterState {
    EXPORTER_SENDING,
    EXPORTER_ATTENTION, /* it sends, and the text says what is not as it should be */
    EXPORTER_SILENT,
    EXPORTER_UNKNOWN, /* its probe says nothing */
    _EXPORTER_STATE_N,
} ExporterState;

extern const char *const exporter_state_names[_EXPORTER_STATE_N];

/** exporter_state() - and one line for people */
ExporterState exporter_state(const Exporter *exporter, const ExporterSum *sum, bool probe_is_there,
                             uint64_t now_ms, char *text, size_t size);

DEFINE_CLEANUP(Exporters *, exporters_free)
