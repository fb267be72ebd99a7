#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * IPFIX
 *
 * Flow records to IPFIX Messages and back: RFC 7011, biflows as RFC 5103, files as RFC 5655.
 *
 *       0                   1                   2                   3
 *       0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 *      +-------------------------------+-------------------------------+
 *      |         version = 10          |            length             |
 *      +-------------------------------+-------------------------------+
 *      |                  export time, seconds since 1970              |
 *      |                        sequence number                        |
 *      |                     observation domain id                     |
 *      +-------------------------------+-------------------------------+
 *      |  set id: 2 templates, 3 options templates, 256.. data         |
 *
 * The encoder writes what fields.def says travels. Records are put in groups by the fields they
 * have set, each group with a template of just those at just the width they need (section 6.2), so
 * that a lean flow stays lean; the id of a template is drawn from its content, so that one id means
 * the same in message after message.
 *
 * The decoder takes any template: what fields.def or a well-known equivalent names is kept, the
 * rest is skipped by its length. Templates are compiled once into plans and kept by (domain, id).
 * One decoder serves one exporter (transport session), on one thread.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"

typedef struct Buffer Buffer;
typedef struct FlowBatch FlowBatch;
typedef struct FlowRecord FlowRecord;
typedef struct IpfixDecoder IpfixDecoder;

enum {
    IPFIX_MESSAGE_MAX = 60000,  /* bytes of a message that we write */
    IPFIX_TEXT_MAX = 1024,      /* a longer text is cut */
    IPFIX_TEMPLATES_MAX = 4096, /* kept by a decoder */
    IPFIX_FIELDS_MAX = 512,     /* of a template that is read */
};

/* answers of ipfix_decode() */
enum {
    _IPFIX_E_SUCCESS,
    IPFIX_E_MALFORMED,   /* counted by reason; sets that are well formed were still taken */
    IPFIX_E_NO_TEMPLATE, /* a data set whose template is not known was left out */
};

/* why something was not taken; spelled out by ipfix_malformed_name() */
typedef enum IpfixMalformed {
    IPFIX_MALFORMED_HEADER,  /* too short for a message header */
    IPFIX_MALFORMED_VERSION, /* not version 10 */
    IPFIX_MALFORMED_LENGTH,  /* the message says another length than it has */
    IPFIX_MALFORMED_SET,     /* a set shorter than its header or beyond the message; id 0, 1, 4.. */
    IPFIX_MALFORMED_TEMPLATE, /* cut short, no fields, no length, or a bad id */
    IPFIX_MALFORMED_LIMIT,    /* more templates, or fields in one, than are kept */
    IPFIX_MALFORMED_RECORD,   /* a variable length beyond the set */
    _IPFIX_MALFORMED_N,
} IpfixMalformed;

typedef struct IpfixCounts {
    uint64_t messages;
    uint64_t flows, packets, octets; /* both directions; records taken */
    uint64_t templates;              /* definitions and withdrawals read, options included */
    uint64_t options;                /* options records read */
    uint64_t gaps;                   /* of them, those that say what was not sent */
    uint64_t lost_flows, lost_packets, lost_octets; /* the sums of these */
    uint64_t no_template_sets;
    uint64_t malformed[_IPFIX_MALFORMED_N];
} IpfixCounts;

/* A stretch of flows that will never come (elements 166 to 168). */
typedef struct IpfixGap {
    uint32_t process_id; /* exportingProcessId, the scope */
    uint64_t flows, packets, octets;
} IpfixGap;

const char *ipfix_malformed_name(IpfixMalformed reason);

/**
 * ipfix_encode() - append one message with the first records, at least one and as many as fit
 * @taken:    how many that were, never 0 unless n is
 * @sequence: records sent before in this domain, modulo 2^32
 *
 * Returns 0, or -ENOMEM.
 */
int ipfix_encode(Buffer *to, const FlowRecord *records, size_t n, size_t *takenp, uint32_t domain,
                 uint32_t sequence, uint64_t export_ms);

/** ipfix_encode_gap() - append one message with one gap record and its options template */
int ipfix_encode_gap(Buffer *to, const IpfixGap *gap, uint32_t domain, uint32_t sequence,
                     uint64_t export_ms);

int ipfix_decoder_new(IpfixDecoder **decoderp);
IpfixDecoder *ipfix_decoder_free(IpfixDecoder *decoder);
void ipfix_decoder_forget(IpfixDecoder *decoder); /* all templates */

/** ipfix_decoder_alone() - from now on a message may use only templates that it carries itself */
void ipfix_decoder_alone(IpfixDecoder *decoder, bool alone);

/**
 * ipfix_decode() - read one message, its records to the end of out, its counts onto counts
 *
 * Texts are copied to the batch's arena. Returns 0, an answer, or -ENOMEM.
 */
int ipfix_decode(IpfixDecoder *decoder, const uint8_t *bytes, size_t size, FlowBatch *out,
                 IpfixCounts *counts);

/** ipfix_decode_in_place() - the same, but texts point into bytes, which must outlive the records
 */
int ipfix_decode_in_place(IpfixDecoder *decoder, const uint8_t *bytes, size_t size, FlowBatch *out,
                          IpfixCounts *counts);

DEFINE_CLEANUP(IpfixDecoder *, ipfix_decoder_free)
