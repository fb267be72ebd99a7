#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * NetFlow
 *
 * Flow records as collectors of others read them: NetFlow v5 and v9 (RFC 3954), each direction a
 * record of its own, and IPFIX (RFC 7011) with both directions in one (RFC 5103). Unlike the
 * encoder of ipfix.h, which packs as tightly as it can, this one has a few templates that stay as
 * they are, with fields of the usual widths, and messages that fit a datagram. With fields of the
 * user's own (-T) both versions have one record a flow when a count of the way back is among them,
 * and one a direction when not.
 *
 * A message is filled by one or more calls of netflow_add() and completed by netflow_end(). Beside
 * messages of records there are those of netflow_announce(): templates, and options records on
 * sampling, the exporter, what was not metered and not sent, and interfaces.
 *
 * v5 and v9 tell times in milliseconds since the exporter was started, in 32 bits: the stream
 * chooses that moment an hour before the first flow, and anew when a flow does not fit.
 *
 * Sequence numbers: v5 counts flow records, v9 messages, IPFIX data records, those of options
 * included.
 *
 * v5 cannot say IPv6: such flows are counted and left out. Octets beyond 32 bits become more than
 * one record, so that the sum is right; a flow of more records than a message holds is left out.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/batch_counts.h"
#include "base/buffer.h"
#include "codec/netflow-template.h"

enum {
    NETFLOW_OPTIONS = 4, /* kinds of options records, each with a template */
    NETFLOW_TEMPLATES = NETFLOW_VARIANTS + NETFLOW_OPTIONS,
    NETFLOW_RATES_MAX = 16, /* of sampling that are described in options records */
    NETFLOW_TEMPLATE_MIN = 256,
    NETFLOW_TEMPLATE_MAX = 65536 - NETFLOW_TEMPLATES,
};

/* what an exporter knows of itself: totals since it began */
typedef struct NetflowFacts {
    uint64_t init_ms;
    const char *name;      /* of the exporter */
    const char *interface; /* captured from, or NULL */
    uint32_t interface_index;
    NetAddress self;          /* where it sends from */
    uint64_t ignored_packets; /* seen and not metered, whatever the reason */
    uint64_t ignored_octets;
    uint64_t dropped_packets; /* of these, lost for want of room before they were looked at */
    uint64_t observed_flows;
    uint64_t unsent_flows, unsent_packets, unsent_octets;
} NetflowFacts;

typedef struct NetflowShape {
    NetflowVersion version;
    uint32_t domain;
    uint16_t first_template;     /* the ids of all are this one and those behind it */
    bool told;                   /* the collector knows them (netflow_introduce()) */
    const NetflowFields *fields; /* of -T; NULL: the usual ones */
} NetflowShape;

/* what is sent to one collector, in order */
typedef struct NetflowStream {
    NetflowVersion version;
    uint32_t domain;   /* observation domain, source id, engine */
    uint32_t sequence; /* of the next message, counted as the version does */
    uint64_t boot_ms;
    uint64_t messages, records, octets; /* completed */
    uint16_t first_template;
    uint16_t used; /* variants whose template the collector was told, a bit each */
    bool chosen;   /* templates are of -T: they know of IPv4 and IPv6 only */
    bool both;     /* directions, in one record */
    bool told;     /* templates need not be said */
    uint32_t rates[NETFLOW_RATES_MAX];
    size_t n_rates;
    NetAddress self;
    FlowText instance; /* borrowed */
    NetflowTemplate templates[NETFLOW_VARIANTS];
} NetflowStream;

typedef struct NetflowMessage {
    Buffer bytes;
    size_t set;        /* where the present data set begins; 0: none */
    unsigned variant;  /* its template */
    uint32_t sampling; /* of v5, which has it in the header */
    size_t templates;
    size_t records;
    BatchCounts counts; /* of the flows, both directions */
} NetflowMessage;

typedef struct NetflowRoom {
    size_t bytes;   /* of a message, headers and templates included */
    size_t records; /* at most so many more; a flow whose records do not all fit stays */
} NetflowRoom;

typedef struct NetflowTaken {
    size_t flows;         /* done with, sayable or not */
    size_t unfit;         /* of these: not sayable in this version, or longer than a message */
    BatchCounts left_out; /* those, both directions */
    size_t records;       /* added to the message */
    bool full;            /* the next flow wants a message of its own */
} NetflowTaken;

void netflow_stream_init(NetflowStream *stream, const NetflowShape *shape);

/** netflow_learn() - a sampling rate; true: it is new, and is to be announced before its flows */
bool netflow_learn(NetflowStream *stream, uint32_t sampling);

/**
 * netflow_add() - the first records, as many as there is room for, to a message
 *
 * A message may come out full with templates only; its records come with the next one. Returns 0,
 * or -ENOMEM.
 */
int netflow_add(NetflowStream *stream, NetflowMessage *message, const FlowRecord *records, size_t n,
                const NetflowRoom *room, uint64_t export_ms, NetflowTaken *taken);

/** netflow_end() - complete it; nothing comes out of one without records and templates */
int netflow_end(NetflowStream *stream, NetflowMessage *message, uint64_t export_ms);

/** netflow_clear() - for the next one */
void netflow_clear(NetflowMessage *message);
void netflow_message_deinit(NetflowMessage *message);

/**
 * netflow_announce() - one more message of what is to be said again and again
 * @step: 0 at first; as many messages as it takes to say all
 *
 * Templates that were used, then what the facts are; to a collector that was told all templates the
 * facts alone. False: all is said (v5 has nothing to say), or there is no memory. The message is
 * complete.
 */
bool netflow_announce(NetflowStream *stream, const NetflowFacts *facts, NetflowMessage *message,
                      size_t room_bytes, uint64_t export_ms, unsigned *step);

/** netflow_introduce() - append a message with all templates, to be sent before this one */
void netflow_introduce(const NetflowStream *stream, const uint8_t *message, Buffer *to);

/** netflow_withdraw() - append a message that takes all templates back (RFC 7011 section 8.1);
 * nothing but in IPFIX */
void netflow_withdraw(const NetflowStream *stream, uint64_t export_ms, Buffer *to);
