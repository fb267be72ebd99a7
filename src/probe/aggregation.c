/* SPDX-License-Identifier: Apache-2.0 */

#include "probe/aggregation.h"

#include <string.h>

/* one part, 0 or 1, and what stands behind it */
static bool take_part(const char **at, char end, uint32_t part, uint32_t *left_out) {
    const char *text = *at;
    if ((text[0] != '0' && text[0] != '1') || text[1] != end)
        return false;
    if (text[0] == '0')
        *left_out |= part;
    *at = text + 1 + (end != '\0');
    return true;
}

static bool parse(uint32_t *left_out, const char *at) {
    static const uint32_t parts[] = {AGGREGATION_PROTOCOL, AGGREGATION_ADDRESS,
                                     AGGREGATION_PORT,     AGGREGATION_TOS,
                                     0 /* SCTP */,         AGGREGATION_EXPORTER};
    const size_t n = sizeof(parts) / sizeof(parts[0]);
    const bool two = *at && at[1] == '.';
    if (two ? !take_part(&at, '.', AGGREGATION_VLAN, left_out) ||
                  !take_part(&at, '/', AGGREGATION_INNER_VLAN, left_out)
            : !take_part(&at, '/', AGGREGATION_VLAN | AGGREGATION_INNER_VLAN, left_out))
        return false;
    for (size_t i = 0; i < n; i++)
        if (!take_part(&at, i + 1 < n ? '/' : '\0', parts[i], left_out))
            return false;
    return true;
}

int aggregation_parse(uint32_t *left_outp, const char *text, Reason *reason) {
    uint32_t left_out = 0;
    *left_outp = 0;
    if (text && !parse(&left_out, text)) {
        reason_set(reason,
                   "--aggregation %s: seven parts, each 0 or 1, are accepted: "
                   "VLAN/PROTOCOL/IP/PORT/TOS/SCTP/EXPORTER, such as 1/1/1/0/1/1/1; VLAN may be "
                   "OUTER.INNER",
                   text);
        return AGGREGATION_E_USAGE;
    }
    *left_outp = left_out;
    return 0;
}

void aggregation_packet(Packet *packet, uint32_t left_out) {
    if (left_out & AGGREGATION_VLAN)
        packet->vlan = packet->path.vlan = 0;
    if (left_out & AGGREGATION_INNER_VLAN)
        packet->inner_vlan = 0;
    if (left_out & AGGREGATION_PROTOCOL)
        packet->protocol = packet->icmp_type = packet->icmp_code = packet->sctp_chunk = 0;
    if (left_out & AGGREGATION_ADDRESS) {
        memset(packet->src, 0, sizeof(packet->src));
        memset(packet->dst, 0, sizeof(packet->dst));
        memset(packet->path.src, 0, sizeof(packet->path.src));
        memset(packet->path.dst, 0, sizeof(packet->path.dst));
        packet->macs = NULL; /* they would tell of one of many */
    }
    if (left_out & AGGREGATION_PORT)
        packet->src_port = packet->dst_port = 0;
    if (left_out & AGGREGATION_TOS)
        packet->tos = 0;
}

/* 0.0.0.0 or :: */
static NetAddress nobody(const NetAddress *address) {
    return (NetAddress){.family = address->family};
}

void aggregation_flow(FlowRecord *flow, uint32_t left_out) {
    static const NetAddress none;
    if (left_out & AGGREGATION_VLAN)
        flow->vlan = flow->tunnel_vlan = 0;
    if (left_out & AGGREGATION_INNER_VLAN)
        flow->inner_vlan = 0;
    if (left_out & AGGREGATION_PROTOCOL)
        flow->protocol = flow->icmp_type = flow->icmp_code = 0;
    if (left_out & AGGREGATION_ADDRESS) {
        flow->src_ip = nobody(&flow->src_ip);
        flow->dst_ip = nobody(&flow->dst_ip);
        flow->post_nat_src_ip = flow->post_nat_dst_ip = none;
        flow->tunnel_src_ip = flow->tunnel_dst_ip = none;
        memset(&flow->src_mac, 0, sizeof(flow->src_mac));
        memset(&flow->dst_mac, 0, sizeof(flow->dst_mac));
    }
    if (left_out & AGGREGATION_PORT) {
        flow->src_port = flow->dst_port = 0;
        flow->post_nat_src_port = flow->post_nat_dst_port = 0;
    }
    if (left_out & AGGREGATION_TOS)
        flow->tos = flow->rev_tos = flow->dscp = flow->rev_dscp = 0;
    if (left_out & AGGREGATION_EXPORTER)
        flow->exporter_ip = nobody(&flow->exporter_ip);
}
