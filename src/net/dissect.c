/* SPDX-License-Identifier: Apache-2.0 */

#include "net/dissect.h"

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "base/cursor.h"

enum {
    TYPE_IPV4 = 0x0800,
    TYPE_ARP = 0x0806,
    TYPE_RARP = 0x8035,
    TYPE_VLAN = 0x8100,
    TYPE_IPV6 = 0x86dd,
    TYPE_MPLS = 0x8847,
    TYPE_MPLS_UP = 0x8848,
    TYPE_PPPOE_DISCOVERY = 0x8863,
    TYPE_PPPOE = 0x8864,
    TYPE_QINQ = 0x88a8,
    TYPE_QINQ_OLD = 0x9100,
    TYPE_LEAST = 0x0600, /* below it the field is an 802.3 length */
};

/* more than fit a frame of 1500 bytes, and more tags than any switch pushes */
enum { EXTENSIONS_MAX = 256, TAGS_MAX = 8 };

enum { IPV6_NO_NEXT = 59 };

/* --- transport ---------------------------------------------------------------------------- */

/*
 * TCP, RFC 9293:   source port | destination port | sequence | acknowledgement |
 *                  offset 4, reserved 3, flags 9 | window | checksum | urgent | options
 */
static void dissect_tcp(Cursor *c, Packet *p) {
    const uint8_t *start = c->at;
    p->src_port = cursor_u16(c);
    p->dst_port = cursor_u16(c);
    p->tcp_seq = cursor_u32(c);
    cursor_skip(c, 4);
    uint16_t offset_flags = cursor_u16(c);
    cursor_skip(c, 6);
    if (c->failed) {
        p->tcp_seq = 0;
        p->notes |= PACKET_TRANSPORT_CUT;
        return;
    }
    p->tcp_flags = offset_flags & 0x1ff;
    size_t header = (size_t)(offset_flags >> 12) * 4;
    if (header < 20) {
        p->notes |= PACKET_TRANSPORT_BAD;
        return;
    }
    cursor_skip(c, header - (size_t)(c->at - start));
    if (c->failed)
        p->notes |= PACKET_TRANSPORT_CUT;
}

/* UDP, RFC 768:   source port | destination port | length | checksum */
static void dissect_udp(Cursor *c, Packet *p) {
    p->src_port = cursor_u16(c);
    p->dst_port = cursor_u16(c);
    uint16_t length = cursor_u16(c);
    cursor_skip(c, 2);
    if (c->failed) {
        p->notes |= PACKET_TRANSPORT_CUT;
        return;
    }
    if (length < 8) {
        if (length != 0) /* 0: a jumbogram, or left to the network card */
            p->notes |= PACKET_TRANSPORT_BAD;
        return;
    }
    if ((size_t)length - 8 < cursor_left(c))
        c->end = c->at + length - 8;
}

/* ICMP, RFC 792; ICMPv6, RFC 4443:   type | code | checksum | body */
static void dissect_icmp(Cursor *c, Packet *p) {
    p->icmp_type = cursor_u8(c);
    p->icmp_code = cursor_u8(c);
    cursor_skip(c, 2);
    if (c->failed)
        p->notes |= PACKET_TRANSPORT_CUT;
}

/* SCTP, RFC 9260:   source port | destination port | tag | checksum | chunk type | ... */
static void dissect_sctp(Cursor *c, Packet *p) {
    p->src_port = cursor_u16(c);
    p->dst_port = cursor_u16(c);
    cursor_skip(c, 8);
    if (c->failed)
        p->notes |= PACKET_TRANSPORT_CUT;
    const uint8_t *chunk = cursor_peek(c, 1);
    p->sctp_chunk = chunk ? *chunk : 0xff;
}

/* protocols of which only the ports are wanted */
static void dissect_ports(Cursor *c, Packet *p) {
    p->src_port = cursor_u16(c);
    p->dst_port = cursor_u16(c);
    if (c->failed)
        p->notes |= PACKET_TRANSPORT_CUT;
}

static void dissect_transport(Cursor *c, Packet *p) {
    const uint8_t *start = c->at;
    switch (p->protocol) {
    case IP_TCP:
        dissect_tcp(c, p);
        break;
    case IP_UDP:
        dissect_udp(c, p);
        break;
    case IP_ICMP:
    case IP_ICMPV6:
        dissect_icmp(c, p);
        break;
    case IP_SCTP:
        dissect_sctp(c, p);
        break;
    case IP_DCCP:
    case IP_UDPLITE:
        dissect_ports(c, p);
        break;
    default:
        break;
    }
    if (c->failed && p->src_port && !p->dst_port && c->end - start < 4)
        p->src_port = 0; /* half a pair of ports says nothing */
    if (!c->failed) {
        p->payload = c->at;
        p->payload_bytes = (uint32_t)(c->end - c->at);
    }
    /* Tunnels begin here: GRE, IPIP by protocol, VXLAN, GENEVE, GTP-U by port. Entering one calls
     * dissect_network() again on what is left of the cursor. */
}

/* --- network ------------------------------------------------------------------------------ */

/* bytes that the frame had on the wire from here on; never less than were captured */
static size_t wire_left(const Frame *frame, const Cursor *c, const uint8_t *from) {
    size_t captured = (size_t)(c->end - from);
    size_t before = (size_t)(from - frame->bytes) + (frame->tag_type ? 4 : 0);
    size_t wire = frame->wire_bytes > before ? frame->wire_bytes - before : 0;
    return wire > captured ? wire : captured;
}

/* the IP length, held against what the frame carried; the cursor ends with the IP packet */
static void bound_ip(Cursor *c, Packet *p, const Frame *frame, size_t ip_bytes) {
    size_t captured = (size_t)(c->end - p->ip);
    size_t wire = wire_left(frame, c, p->ip);
    if (ip_bytes > wire) {
        p->notes |= PACKET_LENGTH_BEYOND;
        ip_bytes = wire;
    }
    p->ip_bytes = (uint32_t)ip_bytes;
    p->ip_captured_bytes = (uint32_t)(captured < ip_bytes ? captured : ip_bytes);
    c->end = p->ip + p->ip_captured_bytes;
}

/* AH, RFC 4302:   next header | length in 4-byte units minus 2 | reserved | index | ... */
static void dissect_ah(Cursor *c, Packet *p) {
    uint8_t next = cursor_u8(c);
    if (!c->failed)
        p->protocol = next;
    size_t length = ((size_t)cursor_u8(c) + 2) * 4;
    cursor_skip(c, length - 2);
}

/*
 * IPv4, RFC 791:   version 4, header length 4 | tos | total length | id |
 *                  flags 3, fragment offset 13 | ttl | protocol | checksum | source | destination
 */
static int dissect_ipv4(Cursor *c, Packet *p, const Frame *frame) {
    p->ip = c->at;
    uint8_t version_length = cursor_u8(c);
    p->tos = cursor_u8(c);
    size_t total = cursor_u16(c);
    p->fragment_id = cursor_u16(c);
    uint16_t fragment = cursor_u16(c);
    cursor_skip(c, 1);
    p->protocol = cursor_u8(c);
    cursor_skip(c, 2);
    cursor_copy(c, p->src, 4);
    cursor_copy(c, p->dst, 4);
    if (c->failed)
        return DISSECT_E_TRUNCATED;
    size_t header = (size_t)(version_length & 15) * 4;
    if (version_length >> 4 != 4 || header < 20)
        return DISSECT_E_BAD_HEADER;
    if (total == 0) /* segmentation left to the network card: all that the frame has */
        total = wire_left(frame, c, p->ip);
    if (total < header)
        return DISSECT_E_BAD_LENGTH;
    p->ip_version = 4;
    bound_ip(c, p, frame, total);

    cursor_skip(c, header - 20);
    if (fragment & 0x1fff)
        p->fragment = PACKET_FRAGMENT_LATER;
    else if (fragment & 0x2000)
        p->fragment = PACKET_FRAGMENT_FIRST;
    if (p->fragment == PACKET_FRAGMENT_LATER)
        return 0;
    if (p->protocol == IP_AH)
        dissect_ah(c, p);
    dissect_transport(c, p);
    return 0;
}

/* FRAGMENT, RFC 8200 section 4.5:   next header | reserved | offset 13, reserved 2, more | id */
static void dissect_fragment(Cursor *c, Packet *p) {
    uint8_t next = cursor_u8(c);
    cursor_skip(c, 1);
    uint16_t offset = cursor_u16(c);
    uint32_t id = cursor_u32(c);
    if (c->failed)
        return;
    p->protocol = next;
    p->fragment_id = id;
    if (offset & 0xfff8)
        p->fragment = PACKET_FRAGMENT_LATER;
    else if (offset & 1)
        p->fragment = PACKET_FRAGMENT_FIRST;
}

/* one IPv6 extension header; false: the chain does not go on behind it, or it is none */
static bool dissect_extension(Cursor *c, Packet *p) {
    switch (p->protocol) {
    case 0:   /* hop by hop */
    case 43:  /* routing */
    case 60:  /* destination options */
    case 135: /* mobility */
    case 139: /* host identity */
    case 140: /* shim6 */
    {
        uint8_t next = cursor_u8(c);
        /* mobility and host identity are a conversation of their own, with nothing behind */
        if (!c->failed && (p->protocol < 135 || next != IPV6_NO_NEXT))
            p->protocol = next;
        size_t length = ((size_t)cursor_u8(c) + 1) * 8;
        cursor_skip(c, length - 2);
        if (next == IPV6_NO_NEXT)
            return false;
        break;
    }
    case 44:
        dissect_fragment(c, p);
        break;
    case IP_AH:
        dissect_ah(c, p);
        break;
    default:
        return false;
    }
    return !c->failed && p->fragment != PACKET_FRAGMENT_LATER;
}

/*
 * IPv6, RFC 8200:   version 4, traffic class 8, flow label 20 | payload length | next header |
 *                   hop limit | source | destination
 */
static int dissect_ipv6(Cursor *c, Packet *p, const Frame *frame) {
    p->ip = c->at;
    uint32_t version_class = cursor_u32(c);
    size_t payload = cursor_u16(c);
    p->protocol = cursor_u8(c);
    cursor_skip(c, 1);
    cursor_copy(c, p->src, 16);
    cursor_copy(c, p->dst, 16);
    if (c->failed)
        return DISSECT_E_TRUNCATED;
    if (version_class >> 28 != 6)
        return DISSECT_E_BAD_HEADER;
    p->tos = (uint8_t)(version_class >> 20);
    p->ip_version = 6;
    if (payload == 0 && p->protocol != IPV6_NO_NEXT) /* a jumbogram, or left to the network card */
        payload = wire_left(frame, c, c->at);
    bound_ip(c, p, frame, payload + 40);

    unsigned extensions = 0;
    while (extensions < EXTENSIONS_MAX && dissect_extension(c, p))
        extensions++;
    if (c->failed)
        p->notes |= PACKET_TRANSPORT_CUT;
    else if (extensions == EXTENSIONS_MAX)
        p->notes |= PACKET_TRANSPORT_BAD;
    else if (p->fragment != PACKET_FRAGMENT_LATER)
        dissect_transport(c, p);
    return 0;
}

/* --- link --------------------------------------------------------------------------------- */

static bool is_tag(uint16_t type) {
    return type == TYPE_VLAN || type == TYPE_QINQ || type == TYPE_QINQ_OLD;
}

/* what stands behind an ethertype; also the way back in from a tunnel */
static int dissect_network(Cursor *c, Packet *p, const Frame *frame, uint16_t type) {
    for (unsigned tags = 0; is_tag(type) && tags < TAGS_MAX; tags++) {
        uint16_t tag = cursor_u16(c);
        type = cursor_u16(c);
        if (c->failed)
            return DISSECT_E_TRUNCATED;
        if (!p->vlan)
            p->vlan = tag & 0x0fff;
    }
    if (type == TYPE_IPV4)
        return dissect_ipv4(c, p, frame);
    if (type == TYPE_IPV6)
        return dissect_ipv6(c, p, frame);
    if (type < TYPE_LEAST) { /* 802.3: a length, then LLC and perhaps SNAP (RFC 1042) */
        const uint8_t *llc = cursor_peek(c, 8);
        if (!llc || memcmp(llc, "\xaa\xaa\x03\x00\x00\x00", 6) != 0)
            return DISSECT_E_LLC;
        cursor_skip(c, 6);
        type = cursor_u16(c);
        return type < TYPE_LEAST ? DISSECT_E_LLC : dissect_network(c, p, frame, type);
    }
    switch (type) {
    case TYPE_ARP:
    case TYPE_RARP:
        return DISSECT_E_ARP;
    case TYPE_MPLS:
    case TYPE_MPLS_UP:
        return DISSECT_E_MPLS;
    case TYPE_PPPOE:
    case TYPE_PPPOE_DISCOVERY:
        return DISSECT_E_PPPOE;
    default:
        return DISSECT_E_NOT_IP;
    }
}

static int dissect_ethernet(Cursor *c, Packet *p, const Frame *frame) {
    p->macs = cursor_take(c, 12);
    uint16_t type = cursor_u16(c);
    if (c->failed)
        return DISSECT_E_TRUNCATED;
    return dissect_network(c, p, frame, type);
}

/* LINKTYPE_LINUX_SLL:   packet type | ARPHRD | address length | address 8 | protocol */
static int dissect_cooked(Cursor *c, Packet *p, const Frame *frame) {
    cursor_skip(c, 14);
    uint16_t type = cursor_u16(c);
    if (c->failed)
        return DISSECT_E_TRUNCATED;
    return dissect_network(c, p, frame, type);
}

/* LINKTYPE_LINUX_SLL2:   protocol | reserved | interface 4 | ARPHRD | type | length | address 8 */
static int dissect_cooked2(Cursor *c, Packet *p, const Frame *frame) {
    uint16_t type = cursor_u16(c);
    cursor_skip(c, 18);
    if (c->failed)
        return DISSECT_E_TRUNCATED;
    return dissect_network(c, p, frame, type);
}

static int dissect_raw(Cursor *c, Packet *p, const Frame *frame) {
    const uint8_t *first = cursor_peek(c, 1);
    if (!first)
        return DISSECT_E_TRUNCATED;
    return *first >> 4 == 6 ? dissect_ipv6(c, p, frame) : dissect_ipv4(c, p, frame);
}

/* the BSD loopback header: an address family in the byte order of whoever wrote the file */
static int dissect_null(Cursor *c, Packet *p, const Frame *frame) {
    uint32_t family = cursor_u32(c);
    if (c->failed)
        return DISSECT_E_TRUNCATED;
    if (family > 0xffff)
        family = __builtin_bswap32(family);
    switch (family) {
    case 2:
        return dissect_ipv4(c, p, frame);
    case 10: /* Linux */
    case 24: /* NetBSD, OpenBSD */
    case 28: /* FreeBSD */
    case 30: /* macOS */
        return dissect_ipv6(c, p, frame);
    default:
        return DISSECT_E_NOT_IP;
    }
}

/* PPP, RFC 1661, with or without the address and control bytes of RFC 1662 */
static int dissect_ppp(Cursor *c, Packet *p, const Frame *frame) {
    const uint8_t *hdlc = cursor_peek(c, 2);
    if (hdlc && hdlc[0] == 0xff && hdlc[1] == 0x03)
        cursor_skip(c, 2);
    uint32_t protocol = cursor_u8(c);
    if (!(protocol & 1)) /* else compressed to one byte */
        protocol = protocol << 8 | cursor_u8(c);
    if (c->failed)
        return DISSECT_E_TRUNCATED;
    switch (protocol) {
    case 0x21:
        return dissect_ipv4(c, p, frame);
    case 0x57:
        return dissect_ipv6(c, p, frame);
    case 0x281:
    case 0x283:
        return DISSECT_E_MPLS;
    default:
        return DISSECT_E_NOT_IP;
    }
}

typedef int DissectLink(Cursor *c, Packet *p, const Frame *frame);

static const struct {
    uint16_t link_type;
    DissectLink *dissect;
} links[] = {
    {FRAME_LINK_ETHERNET, dissect_ethernet}, {FRAME_LINK_COOKED, dissect_cooked},
    {FRAME_LINK_COOKED2, dissect_cooked2},   {FRAME_LINK_RAW, dissect_raw},
    {FRAME_LINK_IPV4, dissect_raw},          {FRAME_LINK_IPV6, dissect_raw},
    {FRAME_LINK_NULL, dissect_null},         {FRAME_LINK_LOOP, dissect_null},
    {FRAME_LINK_PPP, dissect_ppp},           {FRAME_LINK_PPP_HDLC, dissect_ppp},
};

static DissectLink *link_find(int link_type) {
    for (size_t i = 0; i < sizeof(links) / sizeof(links[0]); i++)
        if (links[i].link_type == link_type)
            return links[i].dissect;
    return NULL;
}

int dissect_link_known(int link_type) {
    return link_find(link_type) != NULL;
}

int dissect_frame(const Frame *frame, Packet *packet) {
    memset(packet, 0, sizeof(*packet));
    packet->time_ns = frame->time_ns;
    packet->frame_bytes = frame->wire_bytes;
    if (frame->tag_type)
        packet->vlan = frame->tag & 0x0fff;

    Cursor c = cursor_make(frame->bytes, frame->captured_bytes);
    if (frame->link_type == FRAME_LINK_ETHERNET)
        return dissect_ethernet(&c, packet, frame);
    DissectLink *dissect = link_find(frame->link_type);
    return dissect ? dissect(&c, packet, frame) : DISSECT_E_LINK_TYPE;
}
