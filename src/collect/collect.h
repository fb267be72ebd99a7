#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Collector
 *
 * Datagrams of exporters in, flow records out: NetFlow v1, v5, v7, v9 (RFC 3954), IPFIX (RFC 7011),
 * sFlow v5, told apart by their first bytes. What an exporter has said before (templates, sampling,
 * names, when it started) is kept by (exporter's address, version, domain): its source port may
 * change. Of a connection it is kept for that connection alone.
 *
 * Data that comes before its template is held, within bounds of bytes and time, and decoded when
 * the template comes. Malformed input is a counter, never an error; everything that grows has a
 * bound. Time is passed in. One thread.
 */

#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/metric.h"
#include "collect/account.h"
#include "collect/counters.h"
#include "collect/record.h"

typedef struct Buffer Buffer;
typedef struct Collector Collector;

typedef struct CollectSource {
    NetAddress address;
    uint16_t port;
    uint32_t stream; /* number of the connection, 0: a datagram */
    uint64_t received_ms;
    uint64_t socket_drops; /* datagrams of any exporter that we dropped before this one came */
} CollectSource;

/** CollectInterface - counters of an interface (sFlow version 5, section 5.3, if_counters) */
typedef struct CollectInterface {
    NetAddress exporter;
    uint32_t sub_agent;
    uint32_t index;
    uint32_t sequence; /* of the samples of this source */
    uint64_t received_ms;
    uint64_t speed_bits; /* a second */
    uint32_t status;     /* 1: administratively up, 2: operating */
    uint64_t in_octets, out_octets;
    uint32_t in_packets[3], out_packets[3]; /* unicast, multicast, broadcast; these go round */
    uint32_t in_discards, in_errors, out_discards, out_errors;
} CollectInterface;

typedef enum CollectNameKind {
    COLLECT_NAME_INTERFACE,
    COLLECT_NAME_APPLICATION,
    COLLECT_NAME_VRF,
    _COLLECT_NAME_N,
} CollectNameKind;

/** CollectName - what an exporter calls one of its numbers */
typedef struct CollectName {
    NetAddress exporter;
    CollectNameKind kind;
    uint64_t key;
    const char *text; /* not NUL-terminated */
    size_t size;
} CollectName;

typedef struct CollectConfig {
    uint64_t seed;              /* of hashes; random where datagrams come from outside */
    uint64_t serial;            /* of its first domain */
    size_t held_bytes;          /* 0: COLLECT_HELD_BYTES */
    size_t held_exporter_bytes; /* of these of one exporter, 0: COLLECT_HELD_EXPORTER_BYTES */
    uint64_t held_ms;           /* 0: COLLECT_HELD_MS */
    size_t learnt_bytes;        /* 0: COLLECT_LEARNT_BYTES */
    bool keep_unknown;          /* elements that are no field: CollectRecord.unknown */
    MetricValue *counters;      /* borrowed; _COLLECT_COUNT_N of them */
    /* takes each record; it is good until it returns; its rate and where that is
     * from may be changed */
    void (*record)(void *userdata, CollectRecord *record);
    /* takes what sFlow says of an interface; NULL: nobody wants it */
    void (*interface)(void *userdata, const CollectInterface *interface);
    void *userdata;
} CollectConfig;

/* for who reports of a domain: its number, never given again, and what was reported last */
typedef struct CollectMark {
    uint64_t serial;
    uint64_t datagrams, held;
    uint64_t told_ms;
} CollectMark;

/** CollectExporter - one domain of an exporter: what it sent, and what became of it */
typedef struct CollectExporter {
    NetAddress address;
    NetAddress source; /* of its last datagram: another one behind NAT, or of sFlow */
    uint32_t stream;   /* 0: datagrams */
    uint8_t version;
    uint32_t domain, sub_agent;
    uint64_t first_ms, last_ms; /* of datagrams, by our clock */
    uint64_t datagrams, bytes, flows, options;
    CollectAccount account;
    uint32_t templates;
    uint32_t rate; /* of its last flow; 0: not known */
    CollectRate rate_from;
    CollectMark *mark;
} CollectExporter;

enum {
    COLLECT_EXPORTERS_MAX = 4096,
    COLLECT_DOMAINS_MAX = 16384,     /* of all exporters */
    COLLECT_TEMPLATES_MAX = 65536,   /* of all domains */
    COLLECT_NAMES_MAX = 65536,       /* of all domains */
    COLLECT_SAMPLERS_MAX = 64,       /* of a domain; then the oldest goes */
    COLLECT_LEARNT_BYTES = 32 << 20, /* of templates and names, of all domains */
    COLLECT_HELD_SETS = 131072,      /* that wait for a template */
    COLLECT_HELD_EXPORTER_SETS = 32768,
    COLLECT_HELD_BYTES = 32 << 20,
    COLLECT_HELD_EXPORTER_BYTES = 8 << 20,
    COLLECT_HELD_MS =
        35 * 60 * 1000, /* templates of v9 come every 30 minutes where nobody set it */
    COLLECT_KEPT_BYTES = 64 << 20,
};

/* what is kept over a restart holds for so long after it was told last: 24 hours */
#define COLLECT_KEPT_MS (UINT64_C(24) * 60 * 60 * 1000)

enum {
    _COLLECT_E_SUCCESS,
    COLLECT_E_DAMAGED, /* what was kept is none of it */
};

int collector_new(Collector **collectorp, const CollectConfig *config);
Collector *collector_free(Collector *collector);

/** collector_take() - one datagram, or one message of a connection; 0 or -ENOMEM */
int collector_take(Collector *collector, const CollectSource *source, const uint8_t *bytes,
                   size_t size);

/** collector_end_stream() - a connection has ended: what it has said is forgotten */
void collector_end_stream(Collector *collector, const CollectSource *source);

/** collector_tick() - time goes on: what was held too long is let go */
void collector_tick(Collector *collector, uint64_t now_ms);

/** collector_finish() - nothing more comes: what is held is let go */
void collector_finish(Collector *collector);

/** collector_each() - all domains, in no order; the views are good until `each` returns */
void collector_each(Collector *collector,
                    void (*each)(void *userdata, const CollectExporter *exporter), void *userdata);

/** collector_each_name() - likewise, all that options have told */
void collector_each_name(const Collector *collector,
                         void (*each)(void *userdata, const CollectName *name), void *userdata);
/** collector_names_changed() - how often one was learnt or changed */
uint64_t collector_names_changed(const Collector *collector);

/*
 * What exporters have said (templates, sampling, names, when they started), for a later run: of any
 * number of collectors, between collect_keep_begin() and _end(). Connections' is left out.
 */
void collect_keep_begin(Buffer *to);
void collect_keep(const Collector *collector, Buffer *to);
void collect_keep_end(Buffer *to);

/** collect_changes() - grows whenever collect_keep() would write something else */
uint64_t collect_changes(const Collector *collector);

/**
 * collect_recall() - what was kept, of those exporters that are mine (NULL: all of them). It holds
 * until it is told again. COLLECT_E_DAMAGED: it is not what was written, and nothing was taken.
 */
int collect_recall(Collector *collector, const uint8_t *bytes, size_t size, uint64_t now_ms,
                   bool (*mine)(void *userdata, const NetAddress *exporter), void *userdata);

/**
 * collect_mend_times() - of a record that is to be stored. Uptimes that began anew are put right;
 * a clock more than an hour away from ours is set right by the difference at the export; a flow
 * that still ends more than an hour ahead, or a month ago, ends at its arrival; times that are
 * missing become those of the event or of the arrival; a start behind its end becomes the end. True
 * when anything was changed; nothing is dropped.
 */
bool collect_mend_times(CollectRecord *record);

DEFINE_CLEANUP(Collector *, collector_free)
