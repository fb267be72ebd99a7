/* SPDX-License-Identifier: Apache-2.0 */

#include "codec/netflow.h"

#include <errno.h>
#include <string.h>

#include "base/buffer.h"
#include "base/error.h"
#include "codec/ipfix-wire.h"
#include "codec/ipfix-write.h"

enum {
    V5_HEADER_BYTES = 24,
    V5_RECORD_BYTES = 48,
    V5_RECORDS_MAX = 30,
    V9_HEADER_BYTES = 20,
    V9_SET_TEMPLATE = 0,
    BEFORE_MS = 3600000, /* the exporter "was started" so long before the first flow */
};

/* --- templates ---------------------------------------------------------------------------- */

enum { VARIANT_V6 = 1, VARIANT_ICMP = 2, VARIANT_SAMPLED = 4 };

typedef enum When { ALWAYS, WITH_PORTS, WITH_ICMP, WHEN_SAMPLED } When;

/* zero: what the field's own row in fields.def says */
typedef struct Row {
    FlowFieldId field;
    uint16_t element;
    uint16_t element_v6; /* where element is given and another one is for IPv6 */
    uint8_t width;
    When when;
} Row;

/* times are relative when these are written, and an ICMP flow's type and code are in dst_port */
static const Row v9_rows[] = {
    {.field = FLOW_SRC_IP},
    {.field = FLOW_DST_IP},
    {.field = FLOW_SRC_PORT},
    {.field = FLOW_DST_PORT},
    {.field = FLOW_DST_PORT, .element = 32, .when = WITH_ICMP}, /* ICMP_TYPE */
    {.field = FLOW_PROTOCOL},
    {.field = FLOW_TCP_FLAGS, .width = 1},
    {.field = FLOW_TOS},
    {.field = FLOW_OCTETS},
    {.field = FLOW_PACKETS},
    {.field = FLOW_FIRST_MS, .element = 22, .width = 4}, /* FIRST_SWITCHED */
    {.field = FLOW_LAST_MS, .element = 21, .width = 4},  /* LAST_SWITCHED */
    {.field = FLOW_INPUT_IF},
    {.field = FLOW_OUTPUT_IF},
    {.field = FLOW_VLAN},
    {.field = FLOW_SAMPLING, .when = WHEN_SAMPLED},
};

static const Row ipfix_rows[] = {
    {.field = FLOW_FIRST_MS},
    {.field = FLOW_LAST_MS},
    {.field = FLOW_SRC_IP},
    {.field = FLOW_DST_IP},
    {.field = FLOW_SRC_PORT, .when = WITH_PORTS},
    {.field = FLOW_DST_PORT, .when = WITH_PORTS},
    {.field = FLOW_ICMP_TYPE, .when = WITH_ICMP},
    {.field = FLOW_ICMP_CODE, .when = WITH_ICMP},
    {.field = FLOW_DST_PORT, .element = 32, .element_v6 = 139, .when = WITH_ICMP}, /* both */
    {.field = FLOW_PROTOCOL},
    {.field = FLOW_OCTETS},
    {.field = FLOW_PACKETS},
    {.field = FLOW_REV_OCTETS},
    {.field = FLOW_REV_PACKETS},
    /* some readers take the last one for the flow's, whatever its direction */
    {.field = FLOW_REV_TCP_FLAGS},
    {.field = FLOW_TCP_FLAGS},
    {.field = FLOW_REV_TOS},
    {.field = FLOW_TOS},
    {.field = FLOW_INPUT_IF},
    {.field = FLOW_OUTPUT_IF},
    {.field = FLOW_VLAN},
    {.field = FLOW_SRC_MAC},
    {.field = FLOW_DST_MAC},
    {.field = FLOW_END_REASON},
    {.field = FLOW_DIRECTION_KNOWN},
    {.field = FLOW_FLOW_ID},
    {.field = FLOW_APP_NAME},
    {.field = FLOW_SERVER_NAME},
    {.field = FLOW_SAMPLING, .when = WHEN_SAMPLED},
};

static bool row_applies(const Row *row, unsigned variant) {
    switch (row->when) {
    case WITH_PORTS:
        return !(variant & VARIANT_ICMP);
    case WITH_ICMP:
        return variant & VARIANT_ICMP;
    case WHEN_SAMPLED:
        return variant & VARIANT_SAMPLED;
    default:
        return true;
    }
}

static EncodeOp row_op(const Row *row, bool v6) {
    const FlowField *field = &flow_fields[row->field];
    uint16_t element = row->element ? row->element : field->element;
    uint16_t element_v6 = row->element ? row->element_v6 : field->element_v6;
    uint8_t width = field->kind == FLOW_KIND_ADDRESS ? (v6 ? 16 : 4)
                    : field->kind == FLOW_KIND_TEXT  ? 1
                                                     : (uint8_t)field->size;
    return encode_op_make(field, v6 && element_v6 ? element_v6 : element,
                          row->width ? row->width : width);
}

static void template_build(Template *template, unsigned variant, const Row *rows, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (row_applies(&rows[i], variant)) {
            template->ops[template->n] = row_op(&rows[i], variant & VARIANT_V6);
            template->record_bytes += template->ops[template->n++].width;
        }
}

void netflow_stream_init(NetflowStream *stream, const NetflowShape *shape) {
    const bool v9 = shape->version == NETFLOW_9;
    *stream = (NetflowStream){
        .version = shape->version, .domain = shape->domain, .used = shape->told ? UINT8_MAX : 0};
    for (unsigned v = 0; shape->version != NETFLOW_5 && v < NETFLOW_TEMPLATES; v++) {
        stream->templates[v].id = (uint16_t)(shape->first_template + v);
        template_build(&stream->templates[v], v, v9 ? v9_rows : ipfix_rows,
                       v9 ? sizeof(v9_rows) / sizeof(Row) : sizeof(ipfix_rows) / sizeof(Row));
    }
}

static size_t templates_write(Buffer *to, const NetflowStream *stream, uint8_t mask) {
    const size_t start = to->size;
    size_t n = 0;
    buffer_put_u16(to, stream->version == NETFLOW_9 ? V9_SET_TEMPLATE : IPFIX_SET_TEMPLATE);
    buffer_put_u16(to, 0);
    for (unsigned variant = 0; variant < NETFLOW_TEMPLATES; variant++)
        if (mask & (1u << variant)) {
            ipfix_template_write(to, &stream->templates[variant]);
            n++;
        }
    if (!to->failed)
        buffer_patch_u16(to, start + 2, (uint16_t)(to->size - start));
    return n;
}

/* --- a message ---------------------------------------------------------------------------- */

typedef struct Message {
    NetflowStream *stream;
    Buffer *to;
    const NetflowRoom *room;
    size_t start;
    uint64_t export_ms;
    bool open;
    size_t set;        /* where the present data set begins; 0: none */
    unsigned variant;  /* its template */
    uint32_t sampling; /* of v5, which has it in the header */
    size_t templates;
    size_t records;
    bool too_long; /* what did not fit last: for the message, not for the records allowed */
} Message;

static uint64_t least(uint64_t a, uint64_t b) {
    return a < b ? a : b;
}

static bool clock_fits(const NetflowStream *stream, const FlowRecord *record) {
    return record->first_ms >= stream->boot_ms && record->last_ms - stream->boot_ms <= UINT32_MAX;
}

static uint64_t before(uint64_t time_ms) {
    return time_ms > BEFORE_MS ? time_ms - BEFORE_MS : 0;
}

/* the flow's times must come out right; the time of export, where it is far from them, need not */
static void clock_begin(Message *message, const FlowRecord *record) {
    NetflowStream *stream = message->stream;
    if (!stream->boot_ms || !clock_fits(stream, record) || message->export_ms < stream->boot_ms ||
        message->export_ms - stream->boot_ms > UINT32_MAX) {
        stream->boot_ms = before(least(record->first_ms, message->export_ms));
        if (!clock_fits(stream, record))
            stream->boot_ms = before(record->first_ms);
    }
    if (message->export_ms < stream->boot_ms)
        message->export_ms = stream->boot_ms;
    message->export_ms = least(message->export_ms, stream->boot_ms + UINT32_MAX);
}

static void header_v5(Message *m) {
    const uint64_t uptime_ms = m->export_ms - m->stream->boot_ms;
    buffer_put_u16(m->to, NETFLOW_5);
    buffer_put_u16(m->to, 0);
    buffer_put_u32(m->to, (uint32_t)uptime_ms);
    buffer_put_u32(m->to, (uint32_t)(m->export_ms / 1000));
    buffer_put_u32(m->to, (uint32_t)(m->export_ms % 1000 * 1000000));
    buffer_put_u32(m->to, m->stream->sequence);
    buffer_put_u16(m->to, (uint16_t)m->stream->domain); /* engine type and id */
    /* mode 1, deterministic: what readers understand; 14 bits */
    buffer_put_u16(m->to, m->sampling > 1 ? (uint16_t)(1u << 14 | least(m->sampling, 0x3fff)) : 0);
}

/* the time is told in seconds, so the uptime is that of the second's beginning */
static void header_v9(Message *m) {
    const uint64_t export_s = m->export_ms / 1000;
    const uint64_t boot_ms = least(m->stream->boot_ms, export_s * 1000);
    buffer_put_u16(m->to, NETFLOW_9);
    buffer_put_u16(m->to, 0);
    buffer_put_u32(m->to, (uint32_t)(export_s * 1000 - boot_ms));
    buffer_put_u32(m->to, (uint32_t)export_s);
    buffer_put_u32(m->to, m->stream->sequence);
    buffer_put_u32(m->to, m->stream->domain);
}

static void begin(Message *m, const FlowRecord *record) {
    m->open = true;
    m->sampling = record->sampling;
    clock_begin(m, record);
    if (m->stream->version == NETFLOW_5)
        header_v5(m);
    else if (m->stream->version == NETFLOW_9)
        header_v9(m);
    else
        ipfix_header_write(m->to, m->stream->domain, m->stream->sequence, m->export_ms);
    if (m->room->templates && m->stream->used)
        m->templates += templates_write(m->to, m->stream, m->stream->used);
}

/* sets of v9 end at a multiple of four bytes (RFC 3954 section 5.3) */
static void close_set(Message *m) {
    while (m->set && m->stream->version == NETFLOW_9 && (m->to->size - m->set) % 4)
        buffer_put_u8(m->to, 0);
    if (m->set && !m->to->failed)
        buffer_patch_u16(m->to, m->set + 2, (uint16_t)(m->to->size - m->set));
    m->set = 0;
}

static void end(Message *m) {
    NetflowStream *stream = m->stream;
    close_set(m);
    if (m->to->failed)
        return;
    const size_t count = m->templates + m->records;
    buffer_patch_u16(m->to, m->start + 2,
                     (uint16_t)(stream->version == NETFLOW_IPFIX ? m->to->size - m->start : count));
    stream->sequence += stream->version == NETFLOW_9 ? 1 : (uint32_t)m->records;
}

/* --- records ------------------------------------------------------------------------------ */

static uint32_t since_boot(const Message *m, uint64_t time_ms) {
    const uint64_t boot_ms = m->stream->boot_ms;
    return (uint32_t)least(time_ms > boot_ms ? time_ms - boot_ms : 0, UINT32_MAX);
}

/* type and code as every reader of v5 and v9 expects them; an echo is answered by a reply */
static uint16_t icmp_port(const FlowRecord *record, bool reverse) {
    unsigned type = record->icmp_type;
    if (reverse && (type == 8 || type == 128))
        type = type == 8 ? 0 : 129;
    return (uint16_t)(type << 8 | record->icmp_code);
}

/* one direction, from its sender */
static FlowRecord direction(const Message *m, const FlowRecord *record, bool reverse) {
    FlowRecord one = *record;
    if (reverse) {
        one.src_ip = record->dst_ip;
        one.dst_ip = record->src_ip;
        one.src_port = record->dst_port;
        one.dst_port = record->src_port;
        one.octets = record->rev_octets;
        one.packets = record->rev_packets;
        one.tcp_flags = record->rev_tcp_flags;
        one.tos = record->rev_tos;
        one.input_if = record->output_if;
        one.output_if = record->input_if;
    }
    if (flow_record_is_icmp(record)) {
        one.src_port = 0;
        one.dst_port = icmp_port(record, reverse);
    }
    one.first_ms = since_boot(m, record->first_ms);
    one.last_ms = since_boot(m, record->last_ms);
    return one;
}

static unsigned variant_of(const FlowRecord *record) {
    return (record->src_ip.family == 6 ? VARIANT_V6 : 0u) |
           (flow_record_is_icmp(record) ? VARIANT_ICMP : 0u) |
           (record->sampling > 1 ? VARIANT_SAMPLED : 0u);
}

static size_t text_bytes(const Template *template, const FlowRecord *record) {
    size_t bytes = 0;
    for (size_t i = 0; i < template->n; i++)
        if (template->ops[i].how == HOW_TEXT) {
            const void *at = (const uint8_t *)record + template->ops[i].offset;
            size_t size = layout_text_bytes(at);
            bytes += size + (size < 255 ? 0 : 2);
        }
    return bytes;
}

static void put_templated(Message *m, const FlowRecord *record) {
    const unsigned variant = variant_of(record);
    const Template *template = &m->stream->templates[variant];
    if (!(m->stream->used & (1u << variant))) {
        close_set(m);
        m->templates += templates_write(m->to, m->stream, (uint8_t)(1u << variant));
        m->stream->used |= (uint8_t)(1u << variant);
    }
    if (m->set && m->variant != variant)
        close_set(m);
    if (!m->set) {
        m->set = m->to->size;
        m->variant = variant;
        buffer_put_u16(m->to, template->id);
        buffer_put_u16(m->to, 0);
    }
    uint8_t *at = buffer_reserve(m->to, template->record_bytes + text_bytes(template, record));
    if (at)
        m->to->size += (size_t)(ipfix_record_write(at, template, record) - at);
    m->records++;
}

static void put_v5(Message *m, const FlowRecord *one) {
    Buffer *to = m->to;
    buffer_put(to, one->src_ip.bytes, 4);
    buffer_put(to, one->dst_ip.bytes, 4);
    buffer_put_u32(to, 0); /* next hop */
    buffer_put_u16(to, (uint16_t)least(one->input_if, UINT16_MAX));
    buffer_put_u16(to, (uint16_t)least(one->output_if, UINT16_MAX));
    buffer_put_u32(to, (uint32_t)least(one->packets, UINT32_MAX));
    buffer_put_u32(to, (uint32_t)one->octets);
    buffer_put_u32(to, (uint32_t)one->first_ms);
    buffer_put_u32(to, (uint32_t)one->last_ms);
    buffer_put_u16(to, one->src_port);
    buffer_put_u16(to, one->dst_port);
    buffer_put_u8(to, 0);
    buffer_put_u8(to, (uint8_t)one->tcp_flags);
    buffer_put_u8(to, one->protocol);
    buffer_put_u8(to, one->tos);
    buffer_put_u64(to, 0); /* AS numbers, prefix lengths: not known */
    m->records++;
}

/* in so many records that each count fits; a packet has at most 65,535 octets, so there are enough
 * of them */
static void put_v5_pieces(Message *m, FlowRecord one) {
    uint64_t octets = one.octets;
    uint64_t packets = one.packets;
    while (octets > UINT32_MAX && m->records <= V5_RECORDS_MAX) { /* more never fit */
        one.octets = UINT32_MAX;
        one.packets = packets / (octets / UINT32_MAX + 1);
        put_v5(m, &one);
        octets -= one.octets;
        packets -= one.packets;
    }
    one.octets = octets;
    one.packets = packets;
    put_v5(m, &one);
}

static void put_direction(Message *m, const FlowRecord *record, bool reverse) {
    const FlowRecord one = direction(m, record, reverse);
    if (m->stream->version == NETFLOW_5)
        put_v5_pieces(m, one);
    else
        put_templated(m, &one);
}

/* --- as many as there is room for --------------------------------------------------------- */

static bool is_too_long(const Message *m) {
    enum { PADDING = 3 };
    return m->to->size - m->start + PADDING > m->room->bytes ||
           (m->stream->version == NETFLOW_5 && m->records > V5_RECORDS_MAX);
}

/* false: it does not fit any more, and nothing was written of it */
static bool put_flow(Message *m, const FlowRecord *record) {
    const Message before = *m;
    const size_t size = m->to->size;
    const uint8_t used = m->stream->used;
    if (m->stream->version == NETFLOW_IPFIX) {
        FlowRecord both = *record;
        if (flow_record_is_icmp(record))
            both.dst_port = icmp_port(record, false);
        put_templated(m, &both);
    } else {
        if (record->packets || !record->rev_packets)
            put_direction(m, record, false);
        if (record->rev_packets)
            put_direction(m, record, true);
    }
    const bool too_long = is_too_long(m);
    if (!too_long && m->records <= m->room->records)
        return true;
    m->to->size = size;
    *m = before;
    m->too_long = too_long;
    m->stream->used = used;
    return false;
}

static bool is_sayable(const NetflowStream *stream, const FlowRecord *record) {
    return record->src_ip.family == record->dst_ip.family &&
           (record->src_ip.family == 4 ||
            (record->src_ip.family == 6 && stream->version != NETFLOW_5));
}

static bool shares_header(const Message *m, const FlowRecord *record) {
    return m->stream->version == NETFLOW_IPFIX ||
           (clock_fits(m->stream, record) &&
            (m->stream->version == NETFLOW_9 || m->sampling == record->sampling));
}

/* a flow for which there is no room in an empty message: it has more records than are allowed, or
 * comes with the next message, or never fits */
static bool never_fits(const Message *m) {
    return m->too_long && !m->templates;
}

int netflow_encode(NetflowStream *stream, Buffer *to, const FlowRecord *records, size_t n,
                   const NetflowRoom *room, uint64_t export_ms, NetflowTaken *taken) {
    Message m = {
        .stream = stream, .to = to, .room = room, .start = to->size, .export_ms = export_ms};
    *taken = (NetflowTaken){0};
    for (; taken->flows < n && room->records; taken->flows++) {
        const FlowRecord *record = &records[taken->flows];
        if (!is_sayable(stream, record)) {
            taken->unfit++;
            continue;
        }
        if (!m.open)
            begin(&m, record);
        else if (!shares_header(&m, record))
            break;
        if (!put_flow(&m, record)) {
            if (m.records || !never_fits(&m))
                break;
            taken->unfit++;
            continue;
        }
        taken->counts.flows++;
        taken->counts.packets += record->packets + record->rev_packets;
        taken->counts.octets += record->octets + record->rev_octets;
    }
    taken->records = m.records;
    if (m.records || m.templates)
        end(&m);
    else if (m.open)
        to->size = m.start;
    return to->failed ? error_origin(-ENOMEM) : 0;
}

void netflow_introduce(const NetflowStream *stream, const uint8_t *message, Buffer *to) {
    enum { V9_SEQUENCE_AT = 12 };
    const bool v9 = stream->version == NETFLOW_9;
    const size_t start = to->size;
    buffer_put(to, message, v9 ? V9_HEADER_BYTES : IPFIX_HEADER_BYTES);
    const size_t n = templates_write(to, stream, UINT8_MAX);
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
