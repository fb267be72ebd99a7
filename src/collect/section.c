/* SPDX-License-Identifier: Apache-2.0 */

#include "collect/message.h"
#include "net/dissect.h"

enum {
    MACS_BYTES = 12,
    VLAN_ID_BITS = 0x0fff,
};

static bool is_tag(uint16_t type) {
    return type == 0x8100 || type == 0x88a8 || type == 0x9100;
}

/* what an Ethernet header says, whatever is in the frame */
static void read_ethernet(CollectRecord *record, const uint8_t *bytes, size_t size) {
    Cursor c = cursor_make(bytes, size);
    const uint8_t *macs = cursor_take(&c, MACS_BYTES);
    uint16_t type = cursor_u16(&c);
    if (c.failed)
        return;
    memcpy(record->flow.dst_mac.bytes, macs, sizeof(FlowMac));
    memcpy(record->flow.src_mac.bytes, macs + sizeof(FlowMac), sizeof(FlowMac));
    collect_see(record, COLLECT_SRC_MAC);
    collect_see(record, COLLECT_DST_MAC);
    CollectList *tags = &record->hdr_vlans;
    while (is_tag(type) && tags->n < COLLECT_LIST_MAX && cursor_left(&c) >= 4) {
        tags->values[tags->n++] = cursor_u16(&c) & VLAN_ID_BITS;
        type = cursor_u16(&c);
    }
    if (tags->n) {
        collect_see(record, COLLECT_HDR_VLANS);
        if (!record->flow.vlan)
            record->flow.vlan = (uint16_t)tags->values[0];
        collect_see(record, COLLECT_VLAN);
    }
    record->ether_type = type;
    collect_see(record, COLLECT_ETHER_TYPE);
}

static NetAddress address_of(const Packet *packet, const uint8_t *bytes) {
    return packet->ip_version == 6 ? net_address_v6(bytes) : net_address_v4(bytes);
}

static bool has_ports(const Packet *packet) {
    return packet->protocol == IP_TCP || packet->protocol == IP_UDP ||
           packet->protocol == IP_SCTP || packet->protocol == IP_DCCP ||
           packet->protocol == IP_UDPLITE;
}

static void put_transport(CollectRecord *record, const Packet *packet) {
    FlowRecord *flow = &record->flow;
    if (packet->fragment == PACKET_FRAGMENT_LATER)
        return;
    if (has_ports(packet)) {
        flow->src_port = packet->src_port;
        flow->dst_port = packet->dst_port;
        collect_see(record, COLLECT_SRC_PORT);
        collect_see(record, COLLECT_DST_PORT);
    }
    if (packet->protocol == IP_TCP) {
        flow->tcp_flags = packet->tcp_flags;
        collect_see(record, COLLECT_TCP_FLAGS);
    }
    if (packet->protocol == IP_ICMP || packet->protocol == IP_ICMPV6) {
        flow->icmp_type = packet->icmp_type;
        flow->icmp_code = packet->icmp_code;
        collect_see(record, COLLECT_ICMP_TYPE);
        collect_see(record, COLLECT_ICMP_CODE);
    }
}

static void put_packet(CollectRecord *record, const Packet *packet) {
    FlowRecord *flow = &record->flow;
    flow->src_ip = address_of(packet, packet->src);
    flow->dst_ip = address_of(packet, packet->dst);
    flow->protocol = packet->protocol;
    flow->tos = packet->tos;
    record->ip_version = packet->ip_version;
    record->l3_octets = packet->ip_bytes;
    collect_see(record, COLLECT_SRC_IP);
    collect_see(record, COLLECT_DST_IP);
    collect_see(record, COLLECT_PROTOCOL);
    collect_see(record, COLLECT_TOS);
    collect_see(record, COLLECT_IP_VERSION);
    collect_see(record, COLLECT_L3_OCTETS);
    put_transport(record, packet);
}

bool section_read(CollectRecord *record, const uint8_t *bytes, size_t size, uint32_t wire_bytes,
                  uint16_t link_type) {
    const Frame frame = {.bytes = bytes,
                         .captured_bytes = (uint32_t)size,
                         .wire_bytes = wire_bytes > size ? wire_bytes : (uint32_t)size,
                         .link_type = link_type};
    Packet packet;
    if (link_type == FRAME_LINK_ETHERNET)
        read_ethernet(record, bytes, size);
    if (dissect_frame(&frame, DISSECT_OUTERMOST, &packet) != 0)
        return false;
    put_packet(record, &packet);
    return true;
}
