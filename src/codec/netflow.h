#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * NetFlow
 *
 * Flow records as collectors of others read them: NetFlow v5 and v9 (RFC 3954), each direction a
 * record of its own, and IPFIX (RFC 7011) with both directions in one (RFC 5103). Unlike the
 * encoder of ipfix.h, which packs as tightly as it can, this one has a few templates that stay as
 * they are, with fields of the usual widths, and messages that fit a datagram.
 *
 * v5 and v9 tell times in milliseconds since the exporter was started, in 32 bits: the stream
 * chooses that moment an hour before the first flow, and anew when a flow does not fit.
 *
 * v5 cannot say IPv6: such flows are counted and left out. Octets beyond 32 bits become more than
 * one record, so that the sum is right; a flow of more records than a message holds is left out.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/batch_counts.h"
#include "codec/ipfix-layout.h"

typedef struct Buffer Buffer;

typedef enum NetflowVersion {
    NETFLOW_5 = 5,
    NETFLOW_9 = 9,
    NETFLOW_IPFIX = 10,
} NetflowVersion;

enum { NETFLOW_TEMPLATES = 8 }; /* IPv4 or IPv6, ports or ICMP, sampled or not */

/* what is sent to one collector, in order */
typedef struct NetflowStream {
    NetflowVersion version;
    uint32_t domain;   /* observation domain, source id, engine */
    uint32_t sequence; /* of the next message, counted as the version does */
    uint64_t boot_ms;
    uint8_t used; /* templates that the collector was told of, a bit each */
    Template templates[NETFLOW_TEMPLATES];
} NetflowStream;

typedef struct NetflowRoom {
    size_t bytes;   /* of a message, headers and templates included */
    size_t records; /* at most so many; a flow whose records do not all fit stays */
    bool templates; /* say again those that were used */
} NetflowRoom;

typedef struct NetflowTaken {
    size_t flows;       /* done with, sayable or not */
    size_t unfit;       /* of these: not sayable in this version, or longer than a message */
    size_t records;     /* in the message */
    BatchCounts counts; /* of the flows in the message, both directions */
} NetflowTaken;

typedef struct NetflowShape {
    NetflowVersion version;
    uint32_t domain;
    uint16_t first_template; /* the ids of all are this one and those behind it */
    bool told;               /* the collector knows them (netflow_introduce()) */
} NetflowShape;

enum { NETFLOW_TEMPLATE_MIN = 256, NETFLOW_TEMPLATE_MAX = 65536 - NETFLOW_TEMPLATES };

void netflow_stream_init(NetflowStream *stream, const NetflowShape *shape);

/**
 * netflow_encode() - append one message with the first records, as many as there is room for
 *
 * Nothing is appended when there is nothing to say; a message may have templates only, and its
 * records come with the next call. Returns 0, or -ENOMEM.
 */
int netflow_encode(NetflowStream *stream, Buffer *to, const FlowRecord *records, size_t n,
                   const NetflowRoom *room, uint64_t export_ms, NetflowTaken *taken);

/** netflow_introduce() - append a message with all templates, to be sent before this one */
void netflow_introduce(const NetflowStream *stream, const uint8_t *message, Buffer *to);
