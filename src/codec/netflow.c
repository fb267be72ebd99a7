/* SPDX-License-Identifier: Apache-2.0 */

#include "codec/netflow.h"

#include <errno.h>
#include <string.h>

#include "base/error.h"
#include "codec/ipfix-wire.h"
#include "codec/ipfix-write.h"
#include "codec/netflow-inside.h"

enum {
    BEFORE_MS = 3600000, /* the exporter "was started" so long before the first flow */
    PADDING = 3,
};

void netflow_stream_init(NetflowStream *stream, const NetflowShape *shape) {
    NetflowFields usual;
    *stream = (NetflowStream){.version = shape->version,
                              .domain = shape->domain,
                              .first_template = shape->first_template,
                              .used = shape->told ? UINT16_MAX : 0,
                              .told = shape->told,
                              .chosen = shape->fields && shape->version != NETFLOW_5};
    if (shape->version == NETFLOW_5)
        return;
    stream->both = shape->fields ? shape->fields->both : shape->version == NETFLOW_IPFIX;
    for (unsigned variant = 0; variant < NETFLOW_VARIANTS; variant++) {
        NetflowTemplate *template = &stream->templates[variant];
        if (shape->fields && variant > NETFLOW_V6)
            break;
        if (!shape->fields)
            netflow_fields_usual(&usual, shape->version, variant);
        template->id = (uint16_t)(shape->first_template + variant);
        netflow_template_make(template, shape->fields ? shape->fields : &usual, shape->version,
                              variant & NETFLOW_V6);
    }
}

bool netflow_learn(NetflowStream *stream, uint32_t sampling) {
    if (sampling <= 1 || stream->version == NETFLOW_5)
        return false;
    for (size_t i = 0; i < stream->n_rates; i++)
        if (stream->rates[i] == sampling)
            return false;
    if (stream->n_rates == NETFLOW_RATES_MAX)
        return false;
    stream->rates[stream->n_rates++] = sampling;
    return true;
}

/* --- the moment that times are counted from ----------------------------------------------- */

static bool clock_fits(const NetflowStream *stream, const FlowRecord *record) {
    return record->first_ms >= stream->boot_ms && record->last_ms - stream->boot_ms <= UINT32_MAX;
}

static uint64_t before(uint64_t time_ms) {
    return time_ms > BEFORE_MS ? time_ms - BEFORE_MS : 0;
}

/* the flow's times must come out right; the time of export, where it is far from them, need not */
static void clock_begin(NetflowStream *stream, const FlowRecord *record, uint64_t export_ms) {
    if (!stream->boot_ms || !clock_fits(stream, record) || export_ms < stream->boot_ms ||
        export_ms - stream->boot_ms > UINT32_MAX) {
        stream->boot_ms = before(netflow_least(record->first_ms, export_ms));
        if (!clock_fits(stream, record))
            stream->boot_ms = before(record->first_ms);
    }
}

/* --- records ------------------------------------------------------------------------------ */

static unsigned variant_of(const NetflowStream *stream, const FlowRecord *record) {
    const unsigned family = record->src_ip.family == 6 ? NETFLOW_V6 : 0u;
    if (stream->chosen)
        return family;
    return family | (flow_record_is_icmp(record) ? NETFLOW_ICMP : 0u) |
           (record->sampling > 1 ? NETFLOW_SAMPLED : 0u) |
           (record->tunnel_type.size || record->tunnel_id || record->inner_vlan ||
                    record->mpls_label
                ? NETFLOW_TUNNEL
                : 0u);
}

static void put_templated(NetflowStream *stream, NetflowMessage *message, const FlowRecord *record,
                          bool reverse, uint64_t export_ms) {
    const unsigned variant = variant_of(stream, record);
    const NetflowTemplate *template = &stream->templates[variant];
    NetflowMade made;
    if (!(stream->used & (1u << variant))) {
        netflow_set_close(stream, message);
        message->templates +=
            netflow_templates_write(&message->bytes, stream, (uint16_t)(1u << variant));
        stream->used |= (uint16_t)(1u << variant);
    }
    if (message->set && message->variant != variant)
        netflow_set_close(stream, message);
    if (!message->set) {
        netflow_set_open(message, template->id);
        message->variant = variant;
    }
    netflow_make(&made, stream, record, reverse, export_ms);
    uint8_t *at =
        buffer_reserve(&message->bytes, netflow_record_bytes(template, record, &made, reverse));
    if (at)
        message->bytes.size +=
            (size_t)(netflow_record_write(at, template, record, &made, reverse) - at);
    message->records++;
}

static void put_direction(NetflowStream *stream, NetflowMessage *message, const FlowRecord *record,
                          bool reverse, uint64_t export_ms) {
    if (stream->version == NETFLOW_5)
        netflow5_put(stream, message, record, reverse);
    else
        put_templated(stream, message, record, reverse, export_ms);
}

/* --- as many as there is room for --------------------------------------------------------- */

typedef struct Adding {
    NetflowStream *stream;
    NetflowMessage *message;
    const NetflowRoom *room;
    uint64_t export_ms;
    size_t most_records; /* in the message */
    bool too_long;       /* what did not fit last: for the message, not for the records allowed */
} Adding;

static bool is_too_long(const Adding *adding) {
    return adding->message->bytes.size + PADDING > adding->room->bytes ||
           (adding->stream->version == NETFLOW_5 && adding->message->records > V5_RECORDS_MAX);
}

/* false: it does not fit any more, and nothing was written of it */
static bool put_flow(Adding *adding, const FlowRecord *record) {
    NetflowStream *stream = adding->stream;
    NetflowMessage *message = adding->message;
    const size_t size = message->bytes.size;
    const size_t set = message->set;
    const size_t templates = message->templates;
    const size_t records = message->records;
    const unsigned variant = message->variant;
    const uint16_t used = stream->used;
    if (stream->both) {
        put_direction(stream, message, record, false, adding->export_ms);
    } else {
        if (record->packets || !record->rev_packets)
            put_direction(stream, message, record, false, adding->export_ms);
        if (record->rev_packets)
            put_direction(stream, message, record, true, adding->export_ms);
    }
    adding->too_long = is_too_long(adding);
    if (!adding->too_long && message->records <= adding->most_records)
        return true;
    message->bytes.size = size;
    message->set = set;
    message->templates = templates;
    message->records = records;
    message->variant = variant;
    stream->used = used;
    return false;
}

static bool is_sayable(const NetflowStream *stream, const FlowRecord *record) {
    return record->src_ip.family == record->dst_ip.family &&
           (record->src_ip.family == 4 ||
            (record->src_ip.family == 6 && stream->version != NETFLOW_5));
}

static bool shares_header(const NetflowStream *stream, const NetflowMessage *message,
                          const FlowRecord *record) {
    return stream->version == NETFLOW_IPFIX ||
           (clock_fits(stream, record) &&
            (stream->version == NETFLOW_9 || message->sampling == record->sampling));
}

/* a template for which there is no room beside its first record goes alone */
static bool put_template_alone(Adding *adding, const FlowRecord *record) {
    NetflowStream *stream = adding->stream;
    const unsigned variant = variant_of(stream, record);
    if (stream->version == NETFLOW_5 || stream->used & (1u << variant))
        return false;
    adding->message->templates +=
        netflow_templates_write(&adding->message->bytes, stream, (uint16_t)(1u << variant));
    stream->used |= (uint16_t)(1u << variant);
    return true;
}

static void count_flow(BatchCounts *counts, const FlowRecord *record) {
    counts->flows++;
    counts->packets += record->packets + record->rev_packets;
    counts->octets += record->octets + record->rev_octets;
}

static bool leave_out(const FlowRecord *record, NetflowTaken *taken) {
    taken->unfit++;
    count_flow(&taken->left_out, record);
    return true;
}

/* true: go on with the next one */
static bool add_one(Adding *adding, const FlowRecord *record, NetflowTaken *taken) {
    NetflowMessage *message = adding->message;
    if (!is_sayable(adding->stream, record))
        return leave_out(record, taken);
    const bool begins = !message->bytes.size;
    if (begins) {
        netflow_begin(adding->stream, message);
        message->sampling = record->sampling;
        clock_begin(adding->stream, record, adding->export_ms);
    } else if (!shares_header(adding->stream, message, record)) {
        taken->full = true;
        return false;
    }
    if (put_flow(adding, record)) {
        count_flow(&message->counts, record);
        return true;
    }
    if (message->records || message->templates) {
        taken->full = true;
    } else if (!adding->too_long) { /* more records than are allowed */
        netflow_clear(message);
    } else if (put_template_alone(adding, record)) {
        taken->full = true;
    } else {
        netflow_clear(message);
        return leave_out(record, taken);
    }
    return false;
}

int netflow_add(NetflowStream *stream, NetflowMessage *message, const FlowRecord *records, size_t n,
                const NetflowRoom *room, uint64_t export_ms, NetflowTaken *taken) {
    const size_t before_records = message->records;
    Adding adding = {.stream = stream,
                     .message = message,
                     .room = room,
                     .export_ms = export_ms,
                     .most_records = room->records < SIZE_MAX - before_records
                                         ? before_records + room->records
                                         : SIZE_MAX};
    *taken = (NetflowTaken){0};
    while (taken->flows < n && room->records) {
        if (!add_one(&adding, &records[taken->flows], taken))
            break;
        taken->flows++;
    }
    taken->records = message->records - before_records;
    return message->bytes.failed ? error_origin(-ENOMEM) : 0;
}

/* --- what is said beside records ---------------------------------------------------------- */

/* as many of the templates from this variant on as fit, at least one; the variant behind them */
static unsigned announce_templates(NetflowStream *stream, NetflowMessage *message,
                                   size_t room_bytes, unsigned variant) {
    uint16_t mask = 0;
    size_t bytes = netflow_header_bytes(stream->version) + IPFIX_SET_HEADER_BYTES + PADDING;
    for (; variant < NETFLOW_VARIANTS; variant++) {
        if (!(stream->used & (1u << variant)) || !stream->templates[variant].n)
            continue;
        bytes += netflow_template_bytes(&stream->templates[variant]);
        if (mask && bytes > room_bytes)
            break;
        mask |= (uint16_t)(1u << variant);
    }
    netflow_begin(stream, message);
    message->templates = netflow_templates_write(&message->bytes, stream, mask);
    return variant;
}

bool netflow_announce(NetflowStream *stream, const NetflowFacts *facts, NetflowMessage *message,
                      size_t room_bytes, uint64_t export_ms, unsigned *step) {
    if (stream->version == NETFLOW_5)
        return false;
    if (!stream->boot_ms)
        stream->boot_ms = before(export_ms);
    netflow_clear(message);
    if (stream->told && *step < NETFLOW_VARIANTS)
        *step = NETFLOW_VARIANTS;
    while (*step < NETFLOW_VARIANTS && !message->templates)
        *step = announce_templates(stream, message, room_bytes, *step);
    if (!message->templates && *step == NETFLOW_VARIANTS) {
        ++*step;
        netflow_begin(stream, message);
        if (!stream->told)
            message->templates = netflow_options_templates(&message->bytes, stream);
        message->records = netflow_options_records(stream, message, facts);
    }
    return (message->templates || message->records) && netflow_end(stream, message, export_ms) == 0;
}

void netflow_introduce(const NetflowStream *stream, const uint8_t *message, Buffer *to) {
    enum { V9_SEQUENCE_AT = 12 };
    const bool v9 = stream->version == NETFLOW_9;
    const size_t start = to->size;
    buffer_put(to, message, netflow_header_bytes(stream->version));
    const size_t n =
        netflow_templates_write(to, stream, UINT16_MAX) + netflow_options_templates(to, stream);
    if (to->failed)
        return;
    buffer_patch_u16(to, start + 2, (uint16_t)(v9 ? n : to->size - start));
    if (v9) { /* it counts messages, and this one comes before */
        const uint8_t *at = message + V9_SEQUENCE_AT;
        const uint32_t sequence =
            ((uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3]) - 1;
        buffer_patch_u16(to, start + V9_SEQUENCE_AT, (uint16_t)(sequence >> 16));
        buffer_patch_u16(to, start + V9_SEQUENCE_AT + 2, (uint16_t)sequence);
    }
}

void netflow_withdraw(const NetflowStream *stream, uint64_t export_ms, Buffer *to) {
    static const uint16_t sets[] = {IPFIX_SET_TEMPLATE, IPFIX_SET_OPTIONS};
    const size_t start = to->size;
    if (stream->version != NETFLOW_IPFIX)
        return;
    ipfix_header_write(to, stream->domain, stream->sequence, export_ms);
    for (size_t i = 0; i < 2; i++) { /* the set's number as the template's: all of that kind */
        buffer_put_u16(to, sets[i]);
        buffer_put_u16(to, 8);
        buffer_put_u16(to, sets[i]);
        buffer_put_u16(to, 0);
    }
    if (!to->failed)
        buffer_patch_u16(to, start + 2, (uint16_t)(to->size - start));
}
