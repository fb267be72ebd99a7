/* SPDX-License-Identifier: Apache-2.0 */

/*
 * sFlow version 5 (sflow.org, "sFlow Version 5", July 2004): datagrams of samples, samples of
 * records, all in XDR.
 *
 *       datagram: version = 5, agent's address, sub-agent id, sequence, uptime, samples
 *       sample:   enterprise (20 bits) and format (12), length, ...
 *       record:   the same, ...
 *
 * A flow sample becomes a flow of one packet, its rate beside it; a sample of counters tells of an
 * interface. A discarded packet (sflow.org, "sFlow Dropped Packet Notification Structures", October
 * 2020) becomes a flow of one packet, with why it was dropped. It is not sampled, so has no rate.
 */

#include "collect/message.h"
#include "net/dissect.h"

enum {
    SAMPLE_FLOW = 1,
    SAMPLE_COUNTERS = 2,
    SAMPLE_FLOW_EXPANDED = 3,
    SAMPLE_COUNTERS_EXPANDED = 4,
    SAMPLE_DISCARD = 5,

    COUNTERS_INTERFACE = 1,

    ADDRESS_NONE = 0,
    ADDRESS_IPV4 = 1,
    ADDRESS_IPV6 = 2,

    INTERFACE_BITS = 0x3fffffff, /* of a compact interface; above them is its format */
    INTERFACE_FORMAT_SHIFT = 30,
};

static bool read_address(Cursor *c, NetAddress *to) {
    const uint32_t type = cursor_u32(c);
    const uint8_t *p = NULL;
    *to = (NetAddress){0};
    if (type == ADDRESS_IPV4 && (p = cursor_take(c, 4)))
        *to = net_address_v4(p);
    else if (type == ADDRESS_IPV6 && (p = cursor_take(c, 16)))
        *to = net_address_v6(p);
    else if (type != ADDRESS_NONE)
        c->failed = true;
    return !c->failed;
}

/* --- records --- */

static void put_number(CollectRecord *record, CollectFieldId id, uint32_t *to, uint32_t v) {
    *to = v;
    collect_see(record, id);
}

static void put_address(CollectRecord *record, CollectFieldId id, NetAddress *to,
                        const NetAddress *v) {
    if (!v->family)
        return;
    *to = *v;
    collect_see(record, id);
}

static void put_octets(CollectRecord *record, uint32_t octets) {
    record->flow.octets = octets;
    collect_see(record, COLLECT_OCTETS);
}

/* numbers of the header protocols, section 5.3, as link types */
static uint16_t link_of(uint32_t protocol) {
    static const struct {
        uint32_t protocol;
        uint16_t link;
    } rows[] = {{1, FRAME_LINK_ETHERNET},  {7, FRAME_LINK_PPP},  {13, FRAME_LINK_MPLS},
                {14, FRAME_LINK_PPP_HDLC}, {11, FRAME_LINK_RAW}, {12, FRAME_LINK_RAW}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        if (rows[i].protocol == protocol)
            return rows[i].link;
    return UINT16_MAX;
}

static void raw_header(CollectRecord *record, Cursor *c) {
    const uint32_t protocol = cursor_u32(c);
    const uint32_t frame_bytes = cursor_u32(c);
    (void)cursor_u32(c); /* bytes removed, the checksum among them */
    const uint32_t size = cursor_u32(c);
    const uint8_t *bytes = cursor_take(c, size);
    if (!bytes)
        return;
    put_number(record, COLLECT_HEADER_PROTOCOL, &record->header_protocol, protocol);
    put_octets(record, frame_bytes);
    (void)section_read(record, bytes, size, frame_bytes, link_of(protocol));
}

static void take_mac(CollectRecord *record, Cursor *c, CollectFieldId id, FlowMac *to) {
    cursor_copy(c, to->bytes, sizeof(to->bytes));
    cursor_skip(c, 2);
    collect_see(record, id);
}

static void ethernet_header(CollectRecord *record, Cursor *c) {
    const uint32_t octets = cursor_u32(c);
    take_mac(record, c, COLLECT_SRC_MAC, &record->flow.src_mac);
    take_mac(record, c, COLLECT_DST_MAC, &record->flow.dst_mac);
    record->ether_type = (uint16_t)cursor_u32(c);
    collect_see(record, COLLECT_ETHER_TYPE);
    if (!collect_seen(record, COLLECT_OCTETS))
        put_octets(record, octets);
}

static void ip_header(CollectRecord *record, Cursor *c, uint8_t version) {
    FlowRecord *flow = &record->flow;
    const size_t n = version == 4 ? 4 : 16;
    const uint32_t octets = cursor_u32(c);
    const uint32_t protocol = cursor_u32(c);
    const uint8_t *src = cursor_take(c, n);
    const uint8_t *dst = cursor_take(c, n);
    const uint32_t src_port = cursor_u32(c);
    const uint32_t dst_port = cursor_u32(c);
    const uint32_t flags = cursor_u32(c);
    const uint32_t tos = cursor_u32(c);
    if (c->failed || collect_seen(record, COLLECT_SRC_IP))
        return;
    flow->src_ip = version == 4 ? net_address_v4(src) : net_address_v6(src);
    flow->dst_ip = version == 4 ? net_address_v4(dst) : net_address_v6(dst);
    flow->protocol = (uint8_t)protocol;
    flow->src_port = (uint16_t)src_port;
    flow->dst_port = (uint16_t)dst_port;
    flow->tcp_flags = (uint16_t)flags;
    flow->tos = (uint8_t)tos;
    record->ip_version = version;
    record->l3_octets = octets;
    static const uint8_t said[] = {COLLECT_SRC_IP,     COLLECT_DST_IP,    COLLECT_PROTOCOL,
                                   COLLECT_SRC_PORT,   COLLECT_DST_PORT,  COLLECT_TOS,
                                   COLLECT_IP_VERSION, COLLECT_L3_OCTETS, COLLECT_TCP_FLAGS};
    for (size_t i = 0; i < sizeof(said); i++)
        collect_see(record, said[i]);
    if (!collect_seen(record, COLLECT_OCTETS))
        put_octets(record, octets);
}

static void ipv4_header(CollectRecord *record, Cursor *c) {
    ip_header(record, c, 4);
}

static void ipv6_header(CollectRecord *record, Cursor *c) {
    ip_header(record, c, 6);
}

/* a VLAN of 0 says nothing beside the tag of the frame itself */
static void extended_switch(CollectRecord *record, Cursor *c) {
    const uint32_t vlan = cursor_u32(c);
    (void)cursor_u32(c); /* priority */
    const uint32_t post_vlan = cursor_u32(c);
    (void)cursor_u32(c);
    if (c->failed)
        return;
    if (vlan && vlan <= UINT16_MAX)
        record->flow.vlan = (uint16_t)vlan;
    if (post_vlan <= UINT16_MAX)
        record->post_vlan = (uint16_t)post_vlan;
    collect_see(record, COLLECT_VLAN);
    collect_see(record, COLLECT_POST_VLAN);
}

static void extended_router(CollectRecord *record, Cursor *c) {
    NetAddress next_hop;
    if (!read_address(c, &next_hop))
        return;
    const uint32_t src_mask = cursor_u32(c);
    const uint32_t dst_mask = cursor_u32(c);
    if (c->failed)
        return;
    put_address(record, COLLECT_NEXT_HOP, &record->flow.next_hop, &next_hop);
    record->src_mask = (uint8_t)src_mask;
    record->dst_mask = (uint8_t)dst_mask;
    collect_see(record, COLLECT_SRC_MASK);
    collect_see(record, COLLECT_DST_MASK);
}

/* segments of the path, one behind the other; the last AS is where the packet goes */
static void read_as_path(CollectRecord *record, Cursor *c) {
    CollectList *path = &record->as_path;
    uint32_t last = 0;
    for (uint32_t segments = cursor_u32(c); segments > 0 && !c->failed; segments--) {
        (void)cursor_u32(c); /* set or sequence */
        for (uint32_t n = cursor_u32(c); n > 0 && !c->failed; n--) {
            last = cursor_u32(c);
            if (path->n < COLLECT_LIST_MAX && !c->failed)
                path->values[path->n++] = last;
        }
    }
    if (path->n == 0)
        return;
    collect_see(record, COLLECT_AS_PATH);
    put_number(record, COLLECT_DST_AS, &record->flow.dst_as, last);
}

static void extended_gateway(CollectRecord *record, Cursor *c) {
    NetAddress next_hop;
    if (!read_address(c, &next_hop))
        return;
    put_address(record, COLLECT_BGP_NEXT_HOP, &record->bgp_next_hop, &next_hop);
    put_number(record, COLLECT_ROUTER_AS, &record->router_as, cursor_u32(c));
    put_number(record, COLLECT_SRC_AS, &record->flow.src_as, cursor_u32(c));
    put_number(record, COLLECT_SRC_PEER_AS, &record->src_peer_as, cursor_u32(c));
    read_as_path(record, c);
}

static void extended_user(CollectRecord *record, Cursor *c) {
    (void)cursor_u32(c); /* character set */
    const uint32_t size = cursor_u32(c);
    const uint8_t *name = cursor_take(c, size);
    if (!name || !size)
        return;
    record->user_name = (FlowText){.text = (const char *)name, .size = size};
    collect_see(record, COLLECT_USER_NAME);
}

static void extended_mpls(CollectRecord *record, Cursor *c) {
    NetAddress next_hop;
    if (!read_address(c, &next_hop))
        return;
    CollectList *labels = &record->mpls_labels;
    for (uint32_t n = cursor_u32(c); n > 0 && !c->failed; n--) {
        const uint32_t entry = cursor_u32(c);
        if (labels->n < COLLECT_LIST_MAX && !c->failed)
            labels->values[labels->n++] = entry >> 12;
    }
    collect_see(record, COLLECT_MPLS_LABELS);
}

static void extended_nat(CollectRecord *record, Cursor *c) {
    NetAddress src;
    NetAddress dst;
    if (!read_address(c, &src) || !read_address(c, &dst))
        return;
    put_address(record, COLLECT_POST_NAT_SRC_IP, &record->flow.post_nat_src_ip, &src);
    put_address(record, COLLECT_POST_NAT_DST_IP, &record->flow.post_nat_dst_ip, &dst);
}

static void extended_nat_port(CollectRecord *record, Cursor *c) {
    record->flow.post_nat_src_port = (uint16_t)cursor_u32(c);
    record->flow.post_nat_dst_port = (uint16_t)cursor_u32(c);
    collect_see(record, COLLECT_POST_NAT_SRC_PORT);
    collect_see(record, COLLECT_POST_NAT_DST_PORT);
}

static void extended_vni(CollectRecord *record, Cursor *c) {
    record->flow.tunnel_id = cursor_u32(c);
}

static const struct {
    uint32_t format;
    void (*read)(CollectRecord *record, Cursor *c);
} record_kinds[] = {
    {1, raw_header},          {2, ethernet_header},      {3, ipv4_header},
    {4, ipv6_header},         {1001, extended_switch},   {1002, extended_router},
    {1003, extended_gateway}, {1004, extended_user},     {1006, extended_mpls},
    {1007, extended_nat},     {1020, extended_nat_port}, {1029, extended_vni},
    {1030, extended_vni},
};

/* false: cut short. A record of a kind that is not known is stepped over */
static bool read_record(CollectRecord *record, Cursor *c) {
    const uint32_t format = cursor_u32(c);
    const uint32_t length = cursor_u32(c);
    Cursor inside = cursor_sub(c, length);
    if (c->failed)
        return false;
    for (size_t i = 0; i < sizeof(record_kinds) / sizeof(record_kinds[0]); i++)
        if (record_kinds[i].format == format)
            record_kinds[i].read(record, &inside);
    return !inside.failed;
}

/* --- samples --- */

static void put_interface(CollectRecord *record, CollectFieldId id, uint32_t *to, uint32_t index,
                          CollectFieldId format_id, uint8_t *format_to, uint32_t format) {
    put_number(record, id, to, index);
    if (!format)
        return;
    *format_to = (uint8_t)format;
    collect_see(record, format_id);
}

typedef struct Ends {
    uint32_t source, rate;
    uint32_t input, input_format;
    uint32_t output, output_format;
} Ends;

static Ends read_compact(Cursor *c) {
    Ends ends = {0};
    (void)cursor_u32(c); /* sequence */
    ends.source = cursor_u32(c);
    ends.rate = cursor_u32(c);
    cursor_skip(c, 8); /* pool, drops */
    const uint32_t input = cursor_u32(c);
    const uint32_t output = cursor_u32(c);
    ends.input = input & INTERFACE_BITS;
    ends.input_format = input >> INTERFACE_FORMAT_SHIFT;
    ends.output = output & INTERFACE_BITS;
    ends.output_format = output >> INTERFACE_FORMAT_SHIFT;
    return ends;
}

static Ends read_expanded(Cursor *c) {
    Ends ends = {0};
    (void)cursor_u32(c); /* sequence */
    (void)cursor_u32(c); /* class of the source */
    ends.source = cursor_u32(c);
    ends.rate = cursor_u32(c);
    cursor_skip(c, 8);
    ends.input_format = cursor_u32(c);
    ends.input = cursor_u32(c);
    ends.output_format = cursor_u32(c);
    ends.output = cursor_u32(c);
    return ends;
}

static void put_ends(CollectRecord *record, const Ends *ends) {
    put_number(record, COLLECT_SOURCE_ID, &record->source_id, ends->source);
    put_number(record, COLLECT_SAMPLING, &record->flow.sampling, ends->rate);
    record->sampling_from = COLLECT_RATE_SFLOW;
    put_interface(record, COLLECT_INPUT_IF, &record->flow.input_if, ends->input,
                  COLLECT_INPUT_IF_FORMAT, &record->input_if_format, ends->input_format);
    put_interface(record, COLLECT_OUTPUT_IF, &record->flow.output_if, ends->output,
                  COLLECT_OUTPUT_IF_FORMAT, &record->output_if_format, ends->output_format);
    record->flow.packets = 1;
    collect_see(record, COLLECT_PACKETS);
}

/* n records, and the flow that they tell of goes on its way */
static void read_records(Message *message, CollectRecord *record, Cursor *c, uint32_t n) {
    record->sub_agent_id = message->domain->sub_id;
    collect_see(record, COLLECT_SUB_AGENT_ID);
    for (uint32_t i = 0; i < n; i++)
        if (!read_record(record, c)) { /* the sample was taken all the same */
            message_malformed(message, COLLECT_MALFORMED_SAMPLE);
            break;
        }
    message_emit(message, record, &message->when);
}

static void read_flow(Message *message, Cursor c, bool expanded) {
    CollectRecord *record = message_record(message);
    const Ends ends = expanded ? read_expanded(&c) : read_compact(&c);
    const uint32_t n = cursor_u32(&c);
    if (c.failed) {
        message_malformed(message, COLLECT_MALFORMED_SAMPLE);
        return;
    }
    put_ends(record, &ends);
    read_records(message, record, &c, n);
}

static void put_end(CollectRecord *record, CollectFieldId id, uint32_t *to, uint32_t index) {
    if (index) /* 0: not known */
        put_number(record, id, to, index);
}

static void read_discard(Message *message, Cursor c) {
    CollectRecord *record = message_record(message);
    cursor_skip(&c, 8); /* sequence, class of the source */
    const uint32_t source = cursor_u32(&c);
    cursor_skip(&c, 4); /* how many were not told of */
    const uint32_t input = cursor_u32(&c);
    const uint32_t output = cursor_u32(&c);
    const uint32_t reason = cursor_u32(&c);
    const uint32_t n = cursor_u32(&c);
    if (c.failed) {
        message_malformed(message, COLLECT_MALFORMED_SAMPLE);
        return;
    }
    put_number(record, COLLECT_SOURCE_ID, &record->source_id, source);
    put_end(record, COLLECT_INPUT_IF, &record->flow.input_if, input);
    put_end(record, COLLECT_OUTPUT_IF, &record->flow.output_if, output);
    record->flow.forwarding_status = COLLECT_STATUS_DROPPED;
    collect_see(record, COLLECT_FORWARDING_STATUS);
    record->flow.drop_reason = drop_text_sflow(reason);
    if (!record->flow.drop_reason.size)
        record->flow.drop_reason = drop_text_status(COLLECT_STATUS_DROPPED);
    collect_see(record, COLLECT_DROP_REASON);
    record->flow.packets = 1;
    collect_see(record, COLLECT_PACKETS);
    read_records(message, record, &c, n);
}

/* section 5.3, if_counters; others (Ethernet, VLAN, processor) are stepped over */
static void interface_counters(Message *message, Cursor *c, uint32_t sequence) {
    CollectInterface out = {.exporter = message->exporter->address,
                            .sub_agent = message->domain->sub_id,
                            .sequence = sequence,
                            .received_ms = message->source->received_ms};
    out.index = cursor_u32(c);
    (void)cursor_u32(c); /* type */
    out.speed_bits = cursor_u64(c);
    (void)cursor_u32(c); /* direction: half or full duplex */
    out.status = cursor_u32(c);
    out.in_octets = cursor_u64(c);
    for (size_t i = 0; i < 3; i++)
        out.in_packets[i] = cursor_u32(c);
    out.in_discards = cursor_u32(c);
    out.in_errors = cursor_u32(c);
    (void)cursor_u32(c); /* of unknown protocols */
    out.out_octets = cursor_u64(c);
    for (size_t i = 0; i < 3; i++)
        out.out_packets[i] = cursor_u32(c);
    out.out_discards = cursor_u32(c);
    out.out_errors = cursor_u32(c);
    if (c->failed)
        return;
    collect_count(message->collector, COLLECT_COUNT_INTERFACES, 1);
    if (message->collector->config.interface)
        message->collector->config.interface(message->collector->config.userdata, &out);
}

static void read_counters(Message *message, Cursor c, bool expanded) {
    const uint32_t sequence = cursor_u32(&c);
    cursor_skip(&c, expanded ? 8 : 4); /* the source */
    for (uint32_t n = cursor_u32(&c); n > 0 && !c.failed; n--) {
        const uint32_t format = cursor_u32(&c);
        const uint32_t length = cursor_u32(&c);
        Cursor inside = cursor_sub(&c, length);
        if (c.failed)
            break;
        if (format == COUNTERS_INTERFACE)
            interface_counters(message, &inside, sequence);
        c.failed = inside.failed;
    }
    if (c.failed)
        message_malformed(message, COLLECT_MALFORMED_SAMPLE);
}

static void read_sample(Message *message, Cursor *c) {
    const uint32_t format = cursor_u32(c);
    const uint32_t length = cursor_u32(c);
    Cursor inside = cursor_sub(c, length);
    if (c->failed) {
        message_malformed(message, COLLECT_MALFORMED_SAMPLE);
        return;
    }
    switch (format) {
    case SAMPLE_FLOW:
    case SAMPLE_FLOW_EXPANDED:
        read_flow(message, inside, format == SAMPLE_FLOW_EXPANDED);
        break;
    case SAMPLE_COUNTERS:
    case SAMPLE_COUNTERS_EXPANDED:
        collect_count(message->collector, COLLECT_COUNT_COUNTER_SAMPLES, 1);
        read_counters(message, inside, format == SAMPLE_COUNTERS_EXPANDED);
        break;
    case SAMPLE_DISCARD:
        collect_count(message->collector, COLLECT_COUNT_DISCARD_SAMPLES, 1);
        read_discard(message, inside);
        break;
    default:
        collect_count(message->collector, COLLECT_COUNT_OTHER_SAMPLES, 1);
    }
}

int collect_sflow(Message *message) {
    Cursor c = cursor_make(message->bytes, message->size);
    NetAddress agent;
    (void)cursor_u32(&c); /* version */
    if (!read_address(&c, &agent)) {
        message_malformed(message, COLLECT_MALFORMED_HEADER);
        return 0;
    }
    const uint32_t sub_agent = cursor_u32(&c);
    const uint32_t sequence = cursor_u32(&c);
    (void)cursor_u32(&c); /* uptime */
    const uint32_t n = cursor_u32(&c);
    if (c.failed) {
        message_malformed(message, COLLECT_MALFORMED_HEADER);
        return 0;
    }
    /* the agent is who exports, by whatever way its datagrams come */
    if (agent.family)
        message->exporter = state_exporter(message->collector, &agent, message->source->stream,
                                           message->source->received_ms);
    if (!message->exporter || !message_domain(message, COLLECT_VERSION_SFLOW, 0, sub_agent))
        return 0;
    collect_count(message->collector, COLLECT_COUNT_SFLOW, 1);
    account_message(message->collector, message->domain, message->source, sequence, 1);
    for (uint32_t i = 0; i < n && !c.failed; i++)
        read_sample(message, &c);
    account_units(message->domain, message->fate, 1);
    return 0;
}
