/* SPDX-License-Identifier: Apache-2.0 */

#include "load.h"

#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/hash.h"
#include "collect/record.h"

enum {
    TEMPLATE_ID = 300,
    DOMAIN_ID = 7,
    UPTIME_MS = 3600 * 1000,
    BYTES = 1400,       /* of a datagram, about */
    HEADER_BYTES = 128, /* of a sampled packet */
    ETHERNET_BYTES = 14,
    RATE = 512, /* of sFlow */
    IP_TCP = 6,
    IP_UDP = 17,
};

/* --- the record --- */

/* what a flow is, from its number alone */
static CollectRecord record_of(const LoadConfig *config, uint32_t i) {
    const uint64_t a = hash_u64(i, config->seed);
    const uint64_t b = hash_u64(i, ~(uint64_t)config->seed);
    const uint64_t now_ms = (uint64_t)config->time_s * 1000;
    CollectRecord record = {
        .ip_version = 4,
        .direction = (uint8_t)(a >> 63),
        .src_mask = (uint8_t)(8 + b % 25),
        .dst_mask = (uint8_t)(8 + (b >> 5) % 25),
        .flow = {.src_port = (uint16_t)(1024 + (a >> 8) % 64000),
                 .dst_port = (uint16_t)(b >> 16 & 1 ? 443 : 53),
                 .protocol = b >> 16 & 1 ? IP_TCP : IP_UDP,
                 .tos = (uint8_t)(b >> 20 & 0xfc),
                 .tcp_flags = b >> 16 & 1 ? 0x1b : 0,
                 .packets = 1 + (b >> 30) % 1000,
                 .input_if = (uint32_t)(1 + (a >> 40) % 48),
                 .output_if = (uint32_t)(1 + (a >> 46) % 48),
                 .src_as = (uint32_t)(1 + (a >> 20) % 60000),
                 .dst_as = (uint32_t)(1 + (b >> 40) % 60000),
                 .vlan = (uint16_t)(1 + (a >> 52) % 4000)},
    };
    FlowRecord *flow = &record.flow;
    const uint8_t src[4] = {10, (uint8_t)(i >> 16), (uint8_t)(i >> 8), (uint8_t)i};
    const uint8_t dst[4] = {198, 18, (uint8_t)(a >> 24), (uint8_t)(a >> 32)};
    const uint8_t hop[4] = {192, 0, 2, (uint8_t)flow->output_if};
    flow->src_ip = net_address_v4(src);
    flow->dst_ip = net_address_v4(dst);
    flow->next_hop = net_address_v4(hop);
    flow->octets = flow->packets * (64 + (b >> 50) % 1400);
    flow->last_ms = now_ms - (a >> 12) % 1000;
    flow->first_ms = flow->last_ms - (b >> 8) % 60000;
    return record;
}

static void see(CollectRecord *record, const uint8_t *fields, size_t n) {
    for (size_t i = 0; i < n; i++)
        collect_see(record, fields[i]);
}

#define N(rows) (sizeof(rows) / sizeof((rows)[0]))

/* --- NetFlow v9 and IPFIX --- */

typedef struct Row {
    uint16_t element;
    uint16_t bytes;
    CollectFieldId field;
} Row;

#define COMMON_ROWS                                                                                \
    {8, 4, COLLECT_SRC_IP}, {12, 4, COLLECT_DST_IP}, {15, 4, COLLECT_NEXT_HOP},                    \
        {10, 4, COLLECT_INPUT_IF}, {14, 4, COLLECT_OUTPUT_IF}, {2, 8, COLLECT_PACKETS},            \
        {1, 8, COLLECT_OCTETS}, {7, 2, COLLECT_SRC_PORT}, {11, 2, COLLECT_DST_PORT},               \
        {6, 1, COLLECT_TCP_FLAGS}, {4, 1, COLLECT_PROTOCOL}, {5, 1, COLLECT_TOS},                  \
        {61, 1, COLLECT_DIRECTION}, {16, 4, COLLECT_SRC_AS}, {17, 4, COLLECT_DST_AS},              \
        {9, 1, COLLECT_SRC_MASK}, {13, 1, COLLECT_DST_MASK}, {                                     \
        58, 2, COLLECT_VLAN                                                                        \
    }

static const Row rows_v9[] = {COMMON_ROWS, {22, 4, COLLECT_FIRST_MS}, {21, 4, COLLECT_LAST_MS}};
static const Row rows_ipfix[] = {
    COMMON_ROWS, {152, 8, COLLECT_FIRST_MS}, {153, 8, COLLECT_LAST_MS}};

static void put_big_endian(Buffer *to, uint64_t v, size_t bytes) {
    while (bytes-- > 0)
        buffer_put_u8(to, (uint8_t)(v >> (8 * bytes)));
}

static uint64_t number_of(const CollectRecord *record, CollectFieldId id) {
    const CollectField *field = &collect_fields[id];
    uint64_t v = 0; /* the machine is little endian, as the rest of weir expects */
    memcpy(&v, (const uint8_t *)record + field->offset, field->size);
    return v;
}

static void put_row(Buffer *to, const LoadConfig *config, const CollectRecord *record,
                    const Row *row) {
    const uint64_t boot_ms = (uint64_t)config->time_s * 1000 - UPTIME_MS;
    if (collect_fields[row->field].kind == COLLECT_KIND_ADDRESS) {
        const NetAddress *address =
            (const void *)((const uint8_t *)record + collect_fields[row->field].offset);
        buffer_put(to, address->bytes, row->bytes);
        return;
    }
    const bool uptime = row->element == 21 || row->element == 22;
    put_big_endian(to, number_of(record, row->field) - (uptime ? boot_ms : 0), row->bytes);
}

static void put_v9_header(Buffer *to, const LoadConfig *config, size_t count) {
    buffer_put_u16(to, 9);
    buffer_put_u16(to, (uint16_t)count);
    buffer_put_u32(to, UPTIME_MS);
    buffer_put_u32(to, config->time_s);
    buffer_put_u32(to, 0);
    buffer_put_u32(to, DOMAIN_ID);
}

static void put_ipfix_header(Buffer *to, const LoadConfig *config) {
    buffer_put_u16(to, 10);
    buffer_put_u16(to, 0);
    buffer_put_u32(to, config->time_s);
    buffer_put_u32(to, 0);
    buffer_put_u32(to, DOMAIN_ID);
}

/* the datagram that began at `from` is whole: its length, of IPFIX, and that of its only set */
static void patch_lengths(Buffer *to, const LoadConfig *config, size_t from, size_t set) {
    if (config->kind == LOAD_IPFIX)
        buffer_patch_u16(to, from + 2, (uint16_t)(to->size - from));
    buffer_patch_u16(to, set + 2, (uint16_t)(to->size - set));
}

static void put_sets_header(Buffer *to, const LoadConfig *config, size_t n) {
    if (config->kind == LOAD_V9)
        put_v9_header(to, config, n);
    else
        put_ipfix_header(to, config);
}

static void put_definition(Buffer *to, const LoadConfig *config) {
    const bool v9 = config->kind == LOAD_V9;
    const Row *rows = v9 ? rows_v9 : rows_ipfix;
    const size_t n = v9 ? N(rows_v9) : N(rows_ipfix);
    put_sets_header(to, config, 1);
    const size_t set = to->size;
    buffer_put_u16(to, v9 ? 0 : 2);
    buffer_put_u16(to, 0);
    buffer_put_u16(to, TEMPLATE_ID);
    buffer_put_u16(to, (uint16_t)n);
    for (size_t i = 0; i < n; i++) {
        buffer_put_u16(to, rows[i].element);
        buffer_put_u16(to, rows[i].bytes);
    }
    patch_lengths(to, config, 0, set);
}

static uint64_t put_sets(Buffer *to, const LoadConfig *config, uint32_t first, uint32_t n) {
    const bool v9 = config->kind == LOAD_V9;
    const Row *rows = v9 ? rows_v9 : rows_ipfix;
    const size_t n_rows = v9 ? N(rows_v9) : N(rows_ipfix);
    const size_t from = to->size;
    CollectChecksum checksum = {0};
    put_sets_header(to, config, n);
    const size_t set = to->size;
    buffer_put_u16(to, TEMPLATE_ID);
    buffer_put_u16(to, 0);
    for (uint32_t i = 0; i < n; i++) {
        static const uint8_t said[] = {COLLECT_PROTO_VERSION, COLLECT_OBSERVATION_DOMAIN,
                                       COLLECT_TEMPLATE_ID};
        CollectRecord record = record_of(config, (first + i) % config->flows);
        for (size_t k = 0; k < n_rows; k++) {
            put_row(to, config, &record, &rows[k]);
            collect_see(&record, rows[k].field);
        }
        record.proto_version = v9 ? 9 : 10;
        record.template_id = TEMPLATE_ID;
        record.flow.observation_domain = DOMAIN_ID;
        see(&record, said, N(said));
        collect_checksum_add(&checksum, &record);
    }
    patch_lengths(to, config, from, set);
    return checksum.sum;
}

/* --- NetFlow v5 --- */

static void put_v5_record(Buffer *to, const LoadConfig *config, const CollectRecord *record) {
    const FlowRecord *flow = &record->flow;
    const uint64_t boot_ms = (uint64_t)config->time_s * 1000 - UPTIME_MS;
    buffer_put(to, flow->src_ip.bytes, 4);
    buffer_put(to, flow->dst_ip.bytes, 4);
    buffer_put(to, flow->next_hop.bytes, 4);
    buffer_put_u16(to, (uint16_t)flow->input_if);
    buffer_put_u16(to, (uint16_t)flow->output_if);
    buffer_put_u32(to, (uint32_t)flow->packets);
    buffer_put_u32(to, (uint32_t)flow->octets);
    buffer_put_u32(to, (uint32_t)(flow->first_ms - boot_ms));
    buffer_put_u32(to, (uint32_t)(flow->last_ms - boot_ms));
    buffer_put_u16(to, flow->src_port);
    buffer_put_u16(to, flow->dst_port);
    buffer_put_u8(to, 0);
    buffer_put_u8(to, (uint8_t)flow->tcp_flags);
    buffer_put_u8(to, flow->protocol);
    buffer_put_u8(to, flow->tos);
    buffer_put_u16(to, (uint16_t)flow->src_as);
    buffer_put_u16(to, (uint16_t)flow->dst_as);
    buffer_put_u8(to, record->src_mask);
    buffer_put_u8(to, record->dst_mask);
    buffer_put_u16(to, 0);
}

static uint64_t put_v5(Buffer *to, const LoadConfig *config, uint32_t first, uint32_t n) {
    static const uint8_t said[] = {COLLECT_PROTO_VERSION, COLLECT_SRC_IP,      COLLECT_DST_IP,
                                   COLLECT_NEXT_HOP,      COLLECT_INPUT_IF,    COLLECT_OUTPUT_IF,
                                   COLLECT_PACKETS,       COLLECT_OCTETS,      COLLECT_FIRST_MS,
                                   COLLECT_LAST_MS,       COLLECT_SRC_PORT,    COLLECT_DST_PORT,
                                   COLLECT_TCP_FLAGS,     COLLECT_PROTOCOL,    COLLECT_TOS,
                                   COLLECT_SRC_AS,        COLLECT_DST_AS,      COLLECT_SRC_MASK,
                                   COLLECT_DST_MASK,      COLLECT_ENGINE_TYPE, COLLECT_ENGINE_ID};
    CollectChecksum checksum = {0};
    buffer_put_u16(to, 5);
    buffer_put_u16(to, (uint16_t)n);
    buffer_put_u32(to, UPTIME_MS);
    buffer_put_u32(to, config->time_s);
    buffer_put_u32(to, 0);
    buffer_put_u32(to, 0);
    buffer_put_u32(to, 0);
    for (uint32_t i = 0; i < n; i++) {
        CollectRecord record = record_of(config, (first + i) % config->flows);
        put_v5_record(to, config, &record);
        record.proto_version = 5;
        see(&record, said, N(said));
        collect_checksum_add(&checksum, &record);
    }
    return checksum.sum;
}

/* --- sFlow --- */

/* the head of a TCP or UDP packet in an Ethernet frame */
static void put_packet(Buffer *to, const CollectRecord *record) {
    static const uint8_t zeros[HEADER_BYTES];
    const FlowRecord *flow = &record->flow;
    const size_t from = to->size;
    buffer_put(to, flow->dst_mac.bytes, 6);
    buffer_put(to, flow->src_mac.bytes, 6);
    buffer_put_u16(to, 0x0800);
    buffer_put_u8(to, 0x45);
    buffer_put_u8(to, flow->tos);
    buffer_put_u16(to, (uint16_t)record->l3_octets);
    buffer_put_u32(to, 0);
    buffer_put_u8(to, 64);
    buffer_put_u8(to, flow->protocol);
    buffer_put_u16(to, 0);
    buffer_put(to, flow->src_ip.bytes, 4);
    buffer_put(to, flow->dst_ip.bytes, 4);
    buffer_put_u16(to, flow->src_port);
    buffer_put_u16(to, flow->dst_port);
    if (flow->protocol == IP_TCP) {
        buffer_put_u32(to, 1);
        buffer_put_u32(to, 1);
        buffer_put_u16(to, (uint16_t)(0x5000 | flow->tcp_flags));
    } else {
        buffer_put_u16(to, (uint16_t)(record->l3_octets - 20));
    }
    buffer_put(to, zeros, HEADER_BYTES - (to->size - from));
}

static void put_sample(Buffer *to, const CollectRecord *record, uint32_t sequence) {
    buffer_put_u32(to, 1);
    buffer_put_u32(to, 8 * 4 + 8 + 16 + HEADER_BYTES);
    buffer_put_u32(to, sequence);
    buffer_put_u32(to, record->source_id);
    buffer_put_u32(to, RATE);
    buffer_put_u32(to, sequence * RATE);
    buffer_put_u32(to, 0);
    buffer_put_u32(to, record->flow.input_if);
    buffer_put_u32(to, record->flow.output_if);
    buffer_put_u32(to, 1);
    buffer_put_u32(to, 1);
    buffer_put_u32(to, 16 + HEADER_BYTES);
    buffer_put_u32(to, 1); /* Ethernet */
    buffer_put_u32(to, (uint32_t)record->flow.octets);
    buffer_put_u32(to, 4);
    buffer_put_u32(to, HEADER_BYTES);
    put_packet(to, record);
}

/* one packet of the flow */
static void sampled(CollectRecord *record) {
    static const uint8_t said[] = {
        COLLECT_PROTO_VERSION, COLLECT_SUB_AGENT_ID,    COLLECT_SOURCE_ID, COLLECT_SAMPLING,
        COLLECT_INPUT_IF,      COLLECT_OUTPUT_IF,       COLLECT_PACKETS,   COLLECT_OCTETS,
        COLLECT_SRC_MAC,       COLLECT_DST_MAC,         COLLECT_SRC_IP,    COLLECT_DST_IP,
        COLLECT_ETHER_TYPE,    COLLECT_HEADER_PROTOCOL, COLLECT_PROTOCOL,  COLLECT_TOS,
        COLLECT_IP_VERSION,    COLLECT_L3_OCTETS,       COLLECT_SRC_PORT,  COLLECT_DST_PORT};
    FlowRecord *flow = &record->flow;
    record->proto_version = COLLECT_VERSION_SFLOW;
    record->sub_agent_id = DOMAIN_ID;
    record->source_id = flow->input_if;
    record->header_protocol = 1;
    record->ether_type = 0x0800;
    flow->sampling = RATE;
    record->l3_octets = flow->octets / flow->packets + HEADER_BYTES;
    flow->octets = record->l3_octets + ETHERNET_BYTES + 4;
    flow->packets = 1;
    memcpy(flow->src_mac.bytes, "\x02\x00\x00\x00\x00\x0a", 6);
    memcpy(flow->dst_mac.bytes, "\x02\x00\x00\x00\x00\x0b", 6);
    see(record, said, N(said));
    if (flow->protocol == IP_TCP)
        collect_see(record, COLLECT_TCP_FLAGS);
}

static uint64_t put_sflow(Buffer *to, const LoadConfig *config, uint32_t first, uint32_t n) {
    CollectChecksum checksum = {0};
    buffer_put_u32(to, 5);
    buffer_put_u32(to, 1);
    buffer_put_u32(to, 0xc6336401); /* the agent, 198.51.100.1 */
    buffer_put_u32(to, DOMAIN_ID);
    buffer_put_u32(to, 0);
    buffer_put_u32(to, UPTIME_MS);
    buffer_put_u32(to, n);
    for (uint32_t i = 0; i < n; i++) {
        CollectRecord record = record_of(config, (first + i) % config->flows);
        sampled(&record);
        put_sample(to, &record, first + i);
        collect_checksum_add(&checksum, &record);
    }
    return checksum.sum;
}

/* --- all of them --- */

static const struct {
    LoadKind kind;
    const char *names[2];
    uint32_t per_datagram, most;
    uint32_t sequence_at; /* in the header */
    bool numbers_flows;
    uint64_t (*put)(Buffer *to, const LoadConfig *config, uint32_t first, uint32_t n);
} kinds[] = {
    {LOAD_V5, {"5", "v5"}, 29, 30, 16, true, put_v5},
    {LOAD_V9, {"9", "v9"}, 21, 900, 12, false, put_sets},
    {LOAD_IPFIX, {"10", "ipfix"}, 18, 900, 8, true, put_sets},
    {LOAD_SFLOW, {"sflow", "sFlow"}, 6, 300, 16, false, put_sflow},
};

static size_t row_of(LoadKind kind) {
    size_t i = 0;
    while (kinds[i].kind != kind)
        i++;
    return i;
}

LoadKind load_kind(const char *text) {
    for (size_t i = 0; i < N(kinds); i++)
        if (strcmp(text, kinds[i].names[0]) == 0 || strcmp(text, kinds[i].names[1]) == 0)
            return kinds[i].kind;
    return 0;
}

uint32_t load_number(const Load *load, uint8_t *bytes, uint32_t flows, uint32_t sequence) {
    const size_t row = row_of(load->kind);
    uint8_t *p = bytes + kinds[row].sequence_at;
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(sequence >> (24 - 8 * i));
    return sequence + (kinds[row].numbers_flows ? flows : 1);
}

int load_make(Load *load, const LoadConfig *config) {
    const size_t row = row_of(config->kind);
    uint32_t per = config->per_datagram ? config->per_datagram : kinds[row].per_datagram;
    Buffer bytes = {0};
    per = per < kinds[row].most ? per : kinds[row].most;
    *load = (Load){.kind = config->kind};
    if (config->kind == LOAD_V9 || config->kind == LOAD_IPFIX) {
        put_definition(&bytes, config);
        memcpy(load->definition, bytes.bytes, bytes.size);
        load->definition_bytes = (uint32_t)bytes.size;
        buffer_clear(&bytes);
    }
    load->datagrams = calloc(config->flows / per + 1, sizeof(*load->datagrams));
    for (uint32_t at = 0; load->datagrams && at < config->flows; at += per) {
        LoadDatagram *datagram = &load->datagrams[load->n++];
        datagram->at = (uint32_t)bytes.size;
        datagram->flows = per;
        datagram->checksum = kinds[row].put(&bytes, config, at, per);
        datagram->size = (uint32_t)bytes.size - datagram->at;
    }
    load->bytes = bytes.bytes;
    if (!bytes.failed && load->datagrams)
        return 0;
    load_deinit(load);
    return -1;
}

void load_deinit(Load *load) {
    free(load->bytes);
    free(load->datagrams);
    *load = (Load){0};
}
