#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * NetFlow Templates
 *
 * What a record of NetFlow v9 or IPFIX has in it. A NetflowFields is a list of columns, out of the
 * names of -T (netflow_fields_parse()) or the usual ones of a version; a NetflowTemplate is such a
 * list made ready for records of one variant: what the collector is told, and for each direction
 * how the bytes are written. Columns come from a flow's record (fields.def), or are made of it
 * (NetflowMade): times since the exporter began, type and code of ICMP, and what the exporter
 * knows of itself.
 *
 * Elements are those that readers expect: IANA's; both directions in one record by RFC 5103 in
 * IPFIX, by the types 23 and 24 in v9; those of ntop as PEN 35632 in IPFIX and as 57472 + n in v9,
 * which has no PEN. A v9 text has a fixed length and zeros behind it.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/reason.h"
#include "flow/field.h"

typedef enum NetflowVersion {
    NETFLOW_5 = 5,
    NETFLOW_9 = 9,
    NETFLOW_IPFIX = 10,
} NetflowVersion;

enum {
    NETFLOW_COLUMNS_MAX = 128,
    NETFLOW_V9_NTOP = 57472, /* of ntop's elements, in v9 */

    /* variants of records, or-ed */
    NETFLOW_V6 = 1,
    NETFLOW_ICMP = 2,
    NETFLOW_SAMPLED = 4,
    NETFLOW_TUNNEL = 8,
    NETFLOW_VARIANTS = 16,
};

/* what is made of a record, or known beside it, for one direction */
typedef struct NetflowMade {
    /* what the usual fields want */
    uint32_t first_up_ms, last_up_ms;
    uint32_t sampling;           /* 1: all packets */
    uint32_t sampler;            /* id of the options record that describes it, 0: none */
    uint32_t mpls;               /* label, no class, bottom of the stack: 24 bits */
    uint16_t src_port, dst_port; /* of ICMP 0, and type * 256 + code */
    uint16_t icmp;
    uint16_t flags; /* of v9 with both directions in a record: of both */
    /* what -T may */
    uint64_t first_ntp, last_ntp; /* RFC 5905: 32.32 seconds since 1900 */
    uint32_t first_s, last_s;
    uint32_t duration_ms, duration_us;
    uint32_t export_s;
    uint32_t total_flows; /* records sent before in this stream */
    uint32_t client_latency_ms, server_latency_ms, app_latency_ms;
    uint16_t server_port;
    uint8_t ip_version;
    uint8_t direction; /* 0 from the initiator, 1 back */
    uint8_t algorithm; /* 0 no sampling, 2 random */
    uint8_t source;    /* 0 packets, 1 collected */
    NetAddress exporter, self;
    FlowText protocol_name, instance, tls_name, http_name,
        dns_name; /* last: see NETFLOW_PUT_WORD */
} NetflowMade;

typedef struct NetflowElement {
    uint32_t pen;
    uint16_t number;    /* 0: cannot be said */
    uint16_t number_v6; /* in records of IPv6, where it is another one; else 0 */
} NetflowElement;

typedef struct NetflowColumn {
    const char *name;
    bool made;     /* of NetflowMade, else of FlowRecord */
    uint8_t kind;  /* FlowKind */
    uint8_t width; /* bytes; 0: the kind's own */
    uint16_t offset, reverse_offset;
    uint16_t size; /* in memory */
    NetflowElement ipfix, v9;
} NetflowColumn;

typedef struct NetflowFields {
    NetflowColumn columns[NETFLOW_COLUMNS_MAX];
    size_t n;
    bool both; /* both directions are in one record; else each is one of its own */
} NetflowFields;

typedef enum NetflowHow {
    NETFLOW_PUT_WORD, /* up to eight bytes at once, where as many can be read */
    NETFLOW_PUT_1,
    NETFLOW_PUT_2,
    NETFLOW_PUT_3,
    NETFLOW_PUT_4,
    NETFLOW_PUT_8,
    NETFLOW_PUT_V4, /* zeros for an address of the other family */
    NETFLOW_PUT_V6,
    NETFLOW_PUT_MAPPED, /* either family in 16 bytes */
    NETFLOW_PUT_MAC,
    NETFLOW_PUT_TEXT,  /* with its length before it */
    NETFLOW_PUT_FIXED, /* a text, zeros behind it */
} NetflowHow;

typedef struct NetflowOp {
    uint8_t how;
    uint8_t made;
    uint8_t shift;  /* of a word: brings its bytes to the top */
    uint8_t plain;  /* of a word: its bytes stand in memory as they are sent */
    uint16_t width; /* at least */
    uint16_t offset;
} NetflowOp;

typedef struct NetflowTemplate {
    uint16_t id;
    uint16_t n;
    uint16_t record_bytes; /* at least */
    uint16_t n_texts;      /* of variable length */
    uint8_t texts[NETFLOW_COLUMNS_MAX];
    struct {
        uint32_t pen;
        uint16_t number;
        uint16_t length;
    } elements[NETFLOW_COLUMNS_MAX];
    NetflowOp ops[2][NETFLOW_COLUMNS_MAX]; /* from the initiator, back */
} NetflowTemplate;

enum {
    _NETFLOW_E_SUCCESS,
    NETFLOW_E_USAGE, /* not a template: the reason says what is wrong with it */
};

/**
 * netflow_fields_parse() - what -T says: %NAMES and @NTOPNG@
 * @collecting: @NTOPNG@ stands for something else then
 * @absent:     filled with names that nProbe has and nothing here measures, which were left out
 *
 * Names in any case, with or without %, those of nProbe, of IANA and of weir itself. Returns 0,
 * NETFLOW_E_USAGE, or -ENOMEM.
 */
int netflow_fields_parse(NetflowFields *fields, const char *text, NetflowVersion version,
                         bool collecting, Buffer *absent, Reason *reason);

/** netflow_fields_usual() - those of a version for this variant */
void netflow_fields_usual(NetflowFields *fields, NetflowVersion version, unsigned variant);

/** netflow_column_of_field() - a field by its own row */
NetflowColumn netflow_column_of_field(FlowFieldId id);

/** netflow_column_find() - by name; false: there is none */
bool netflow_column_find(const char *name, size_t size, NetflowColumn *column);

/** netflow_template_make() - id is left to the caller */
void netflow_template_make(NetflowTemplate *template, const NetflowFields *fields,
                           NetflowVersion version, bool v6);

/** netflow_template_write() - the definition, without a set around it */
void netflow_template_write(Buffer *to, const NetflowTemplate *template);

/** netflow_template_bytes() - of that */
size_t netflow_template_bytes(const NetflowTemplate *template);

/** netflow_record_bytes() - room that this record wants, in one direction: a word more than it has
 */
size_t netflow_record_bytes(const NetflowTemplate *template, const FlowRecord *record,
                            const NetflowMade *made, bool reverse);

/** netflow_record_write() - to room for that; the byte behind it */
uint8_t *netflow_record_write(uint8_t *to, const NetflowTemplate *template,
                              const FlowRecord *record, const NetflowMade *made, bool reverse);
