#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Dissection
 *
 * From a captured frame to the addresses, ports and lengths that a flow meter needs, in one pass
 * over the headers: nothing is copied but addresses, nothing is allocated, no state is kept (later
 * fragments get their ports from net/fragment.h). A frame that cannot be metered is an answer, each
 * reason one row of DISSECT_ANSWERS; malformed input has no other effect.
 *
 * Ethernet (802.3 with LLC/SNAP, 802.1Q and 802.1ad tags, MPLS, PPPoE), Linux cooked v1 and v2,
 * loopback, PPP (also in HDLC and PPPoE) and raw IP; IPv4 (RFC 791), IPv6 with extension headers (RFC 8200), AH; TCP, UDP,
 * UDP-Lite, DCCP, SCTP, ICMP, ICMPv6.
 *
 * Tunnels (net/tunnel.def) are entered: the innermost IP packet is the flow, and `path` says what
 * carried it. What carries no IP packet, or a broken one, stays the flow of the tunnel itself, with
 * a note where something was wrong.
 */

#include <stdint.h>

#include "net/tunnel.h"

/* what a capture hands over; the bytes belong to it */
typedef struct Frame {
    const uint8_t *bytes;
    uint64_t time_ns; /* UTC since 1970 */
    uint32_t captured_bytes;
    uint32_t wire_bytes; /* without checksum, with a tag that the kernel took out */
    uint16_t link_type;  /* FRAME_LINK_..., as numbered by libpcap */
    uint16_t tag_type;   /* ethertype of the tag that the kernel took out, 0 without one */
    uint16_t tag;        /* its 16 bits */
    uint16_t input;      /* which of the capture's inputs it came by, from 0 */
} Frame;

enum {
    FRAME_LINK_NULL = 0,
    FRAME_LINK_ETHERNET = 1,
    FRAME_LINK_PPP = 9,
    FRAME_LINK_RAW = 12,
    FRAME_LINK_PPP_HDLC = 50,
    FRAME_LINK_PPPOE = 51,
    FRAME_LINK_LOOP = 108,
    FRAME_LINK_COOKED = 113,
    FRAME_LINK_MPLS = 219,
    FRAME_LINK_IPV4 = 228,
    FRAME_LINK_IPV6 = 229,
    FRAME_LINK_COOKED2 = 276,
};

/* TCP control bits */
enum {
    TCP_FIN = 0x01,
    TCP_SYN = 0x02,
    TCP_RST = 0x04,
    TCP_PSH = 0x08,
    TCP_ACK = 0x10,
};

enum {
    IP_ICMP = 1,
    IP_IPV4 = 4,
    IP_TCP = 6,
    IP_UDP = 17,
    IP_DCCP = 33,
    IP_IPV6 = 41,
    IP_GRE = 47,
    IP_AH = 51,
    IP_ICMPV6 = 58,
    IP_ETHERIP = 97,
    IP_SCTP = 132,
    IP_UDPLITE = 136,
    IP_MPLS = 137,
    IP_ETHERNET = 143,
};

enum {
    PACKET_FRAGMENT_FIRST = 1, /* more follow */
    PACKET_FRAGMENT_LATER = 2, /* no transport header in it */
};

/* oddities of packets that are metered all the same */
enum {
    PACKET_TRANSPORT_CUT = 1, /* the transport header is not all there; ports may be 0 */
    PACKET_LENGTH_BEYOND = 2, /* the IP header claims more than the frame carried */
    PACKET_TRANSPORT_BAD = 4, /* impossible length in the transport header */
    PACKET_TUNNEL_CUT = 8,    /* ends within a tunnel's or the inner header: not entered */
    PACKET_TUNNEL_BAD = 16,   /* what the tunnel carries is malformed: not entered */
    PACKET_TUNNEL_DEEP = 32,  /* more than TUNNEL_DEPTH_MAX tunnels in each other */
};

/* what the fragments of one datagram have in common; compared as bytes */
typedef struct Datagram {
    uint8_t src[16];
    uint8_t dst[16];
    uint32_t id;
    uint32_t tunnel_id;
    uint16_t vlan;
    uint16_t inner_vlan;
    uint8_t protocol; /* IPv4 only: in IPv6 it differs between the first and later ones */
    uint8_t ip_version;
    uint8_t part;  /* PACKET_FRAGMENT_...; not compared */
    uint8_t depth; /* tunnels around it */
} Datagram;

/* a fragment of a tunnel's packet that has a fragment in it is in two of them */
enum { PACKET_DATAGRAMS_MAX = 2 };

/* what carried a packet */
typedef struct PacketPath {
    uint8_t depth;                   /* tunnels */
    uint8_t ip_version;              /* of src and dst below; 0: no IP outside */
    uint16_t vlan;                   /* outermost tag outside the innermost Ethernet frame */
    uint32_t id;                     /* of the innermost tunnel that has one */
    uint32_t mpls_label;             /* topmost label, 20 bits */
    uint8_t types[TUNNEL_DEPTH_MAX]; /* TUNNEL_..., the outermost first */
    uint8_t src[16];                 /* of the outermost IP header */
    uint8_t dst[16];
} PacketPath;

/* pointers go into the frame and live as long as it */
typedef struct Packet {
    uint8_t src[16]; /* IPv4 in the first four, zeros behind */
    uint8_t dst[16];
    uint16_t src_port;
    uint16_t dst_port;
    uint16_t vlan;       /* id of the outermost tag that is not 0 */
    uint16_t inner_vlan; /* and of the next one (QinQ) */
    uint8_t protocol;    /* after extension headers */
    uint8_t ip_version;  /* 4 or 6 */
    uint64_t time_ns;
    const uint8_t *macs;    /* destination and source, 12 bytes, or NULL */
    const uint8_t *ip;      /* the IP header */
    const uint8_t *payload; /* behind the transport header, or NULL */
    uint32_t frame_bytes;   /* on the wire */
    uint32_t ip_bytes;      /* IP header and payload */
    uint32_t ip_captured_bytes;
    uint32_t payload_bytes;  /* of those, captured behind the transport header */
    uint32_t fragment_bytes; /* of a later fragment: ip_bytes without headers */
    uint32_t tcp_seq;
    uint16_t tcp_flags;
    uint16_t header_bytes; /* of the transport header, which ends at payload */
    uint8_t tos;
    uint8_t ttl; /* or hop limit */
    uint8_t icmp_type;
    uint8_t icmp_code;
    uint8_t sctp_chunk; /* type of the first chunk */
    uint8_t fragment;   /* PACKET_FRAGMENT_..., 0: whole */
    uint8_t notes;      /* PACKET_..., or-ed */
    uint8_t n_datagrams;
    uint8_t input; /* that of the frame */
    PacketPath path;
    Datagram datagrams[PACKET_DATAGRAMS_MAX]; /* that it is a fragment of, the outermost first */
} Packet;

/* why a frame is not metered: ANSWER(NAME, "label", "sentence") */
#define DISSECT_ANSWERS(ANSWER)                                                                    \
    ANSWER(ARP, "arp", "Address resolution, not IP.")                                              \
    ANSWER(LLC, "llc", "802.3 frame without IP: spanning tree, IS-IS and the like.")               \
    ANSWER(MPLS, "mpls", "MPLS without IP or Ethernet behind the labels.")                         \
    ANSWER(PPPOE, "pppoe", "PPPoE and PPP control: discovery, LCP, authentication.")               \
    ANSWER(NOT_IP, "not_ip", "Any other protocol than IP on the link.")                            \
    ANSWER(LINK_TYPE, "link_type", "Link type that is not known.")                                 \
    ANSWER(TRUNCATED, "truncated", "Ends within the link or IP header.")                           \
    ANSWER(BAD_HEADER, "bad_header", "IP version or header length impossible.")                    \
    ANSWER(BAD_LENGTH, "bad_length", "IP length shorter than its own header.")

enum {
    _DISSECT_E_SUCCESS,
#define ANSWER(name, ...) DISSECT_E_##name,
    DISSECT_ANSWERS(ANSWER)
#undef ANSWER
        _DISSECT_E_N,
};

/* PPPoE, MPLS and tags are entered in both cases: there is no IP outside of them */
typedef enum DissectMode {
    DISSECT_INNERMOST, /* the usual */
    DISSECT_OUTERMOST, /* the outermost IP packet is the flow */
} DissectMode;

/** dissect_frame() - fill the packet; 0 or a DISSECT_E_ answer, on which the packet means nothing
 */
int dissect_frame(const Frame *frame, DissectMode mode, Packet *packet);

/** dissect_link_known() - whether frames of this link type can be read at all */
int dissect_link_known(int link_type);
