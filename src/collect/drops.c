/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Names of reasons to drop a packet: of sFlow (sflow.org, "sFlow Dropped Packet Notification
 * Structures", October 2020, drop_reason; the first are ICMP's codes of "unreachable"), and of
 * forwardingStatus (RFC 7270 section 4.12).
 */

#include "collect/message.h"

enum { SFLOW_MORE = 256, STATUS_DROPPED = 128, STATUS_CONSUMED = 192 };

static const char *const unreachable[] = {
    "net_unreachable",          "host_unreachable",      "protocol_unreachable",
    "port_unreachable",         "frag_needed",           "src_route_failed",
    "dst_net_unknown",          "dst_host_unknown",      "src_host_isolated",
    "dst_net_prohibited",       "dst_host_prohibited",   "dst_net_tos_unreachable",
    "dst_host_tos_unreachable", "comm_admin_prohibited", "host_precedence_violation",
    "precedence_cutoff",
};

static const char *const more[] = {
    "unknown",
    "ttl_exceeded",
    "acl",
    "no_buffer_space",
    "red",
    "traffic_shaping",
    "pkt_too_big",
    "src_mac_is_multicast",
    "vlan_tag_mismatch",
    "ingress_vlan_filter",
    "ingress_spanning_tree_filter",
    "port_list_is_empty",
    "port_loopback_filter",
    "blackhole_route",
    "non_ip",
    "uc_dip_over_mc_dmac",
    "dip_is_loopback_address",
    "sip_is_mc",
    "sip_is_loopback_address",
    "ip_header_corrupted",
    "ipv4_sip_is_limited_bc",
    "ipv6_mc_dip_reserved_scope",
    "ipv6_mc_dip_interface_local_scope",
    "unresolved_neigh",
    "mc_reverse_path_forwarding",
    "non_routable_packet",
    "decap_error",
    "overlay_smac_is_mc",
    "unknown_l2",
    "unknown_l3",
    "unknown_l3_exception",
    "unknown_buffer",
    "unknown_tunnel",
    "unknown_l4",
    "sip_is_unspecified",
    "mlag_port_isolation",
    "blackhole_arp_neigh",
    "src_mac_is_dmac",
    "dmac_is_reserved",
    "sip_is_class_e",
    "mc_dmac_mismatch",
    "sip_is_dip",
    "dip_is_local_network",
    "dip_is_link_local",
    "overlay_smac_is_dmac",
    "egress_vlan_filter",
    "uc_reverse_path_forwarding",
    "split_horizon",
};

static const char *const statuses[] = {
    "unknown",
    "acl_deny",
    "acl_drop",
    "unroutable",
    "adjacency",
    "fragmentation_and_df",
    "bad_header_checksum",
    "bad_total_length",
    "bad_header_length",
    "bad_ttl",
    "policer",
    "wred",
    "rpf",
    "for_us",
    "bad_output_interface",
    "hardware",
};

#define TEXT_AT(names, i)                                                                          \
    ((i) < sizeof(names) / sizeof((names)[0]) ? text_of((names)[i]) : (FlowText){0})

static FlowText text_of(const char *name) {
    return (FlowText){.text = name, .size = (uint32_t)strlen(name)};
}

FlowText drop_text_sflow(uint32_t reason) {
    return reason < SFLOW_MORE ? TEXT_AT(unreachable, reason) : TEXT_AT(more, reason - SFLOW_MORE);
}

FlowText drop_text_status(uint8_t status) {
    if (status < STATUS_DROPPED || status >= STATUS_CONSUMED)
        return (FlowText){0};
    return TEXT_AT(statuses, (uint32_t)status - STATUS_DROPPED);
}
