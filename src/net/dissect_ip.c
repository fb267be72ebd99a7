/* SPDX-License-Identifier: Apache-2.0 */

#include <string.h>

#include "net/dissect_internal.h"

enum { EXTENSIONS_MAX = 256 }; /* more than fit a frame of 1500 bytes */

enum { IPV6_NO_NEXT = 59 };

/* --- transport ---------------------------------------------------------------------------- */

/*
 * TCP, RFC 9293:   source port | destination port | sequence | acknowledgement |
 *                  offset 4, reserved 3, flags 9 | window | checksum | urgent | options
 */
static bool dissect_tcp(Walk *w) {
    Cursor *c = &w->c;
    Packet *p = w->p;
    const uint8_t *start = cursor_peek(c, 20);
    if (!start) {
        p->src_port = cursor_u16(c);
        p->dst_port = cursor_u16(c);
        c->failed = true;
        p->notes |= PACKET_TRANSPORT_CUT;
        return false;
    }
    p->src_port = load_u16(start);
    p->dst_port = load_u16(start + 2);
    p->tcp_seq = load_u32(start + 4);
    const uint16_t offset_flags = load_u16(start + 12);
    p->tcp_flags = offset_flags & 0x1ff;
    size_t header = (size_t)(offset_flags >> 12) * 4;
    if (header < 20) {
        cursor_skip(c, 20);
        p->notes |= PACKET_TRANSPORT_BAD;
        return false;
    }
    cursor_skip(c, header);
    if (c->failed)
        p->notes |= PACKET_TRANSPORT_CUT;
    return false;
}

/* UDP, RFC 768:   source port | destination port | length | checksum */
static bool dissect_udp(Walk *w) {
    Cursor *c = &w->c;
    Packet *p = w->p;
    p->src_port = cursor_u16(c);
    p->dst_port = cursor_u16(c);
    uint16_t length = cursor_u16(c);
    cursor_skip(c, 2);
    if (c->failed) {
        p->notes |= PACKET_TRANSPORT_CUT;
        return false;
    }
    if (length >= 8)
        walk_bound(w, length - 8u);
    else if (length != 0) { /* 0: a jumbogram, or left to the network card */
        p->notes |= PACKET_TRANSPORT_BAD;
        return false;
    }
    return w->mode == DISSECT_INNERMOST && tunnel_udp(w);
}

/* ICMP, RFC 792; ICMPv6, RFC 4443:   type | code | checksum | body */
static bool dissect_icmp(Walk *w) {
    w->p->icmp_type = cursor_u8(&w->c);
    w->p->icmp_code = cursor_u8(&w->c);
    cursor_skip(&w->c, 2);
    if (w->c.failed)
        w->p->notes |= PACKET_TRANSPORT_CUT;
    return false;
}

/* SCTP, RFC 9260:   source port | destination port | tag | checksum | chunk type | ... */
static bool dissect_sctp(Walk *w) {
    w->p->src_port = cursor_u16(&w->c);
    w->p->dst_port = cursor_u16(&w->c);
    cursor_skip(&w->c, 8);
    if (w->c.failed)
        w->p->notes |= PACKET_TRANSPORT_CUT;
    const uint8_t *chunk = cursor_peek(&w->c, 1);
    w->p->sctp_chunk = chunk ? *chunk : 0xff;
    return false;
}

/* protocols of which only the ports are wanted */
static bool dissect_ports(Walk *w) {
    w->p->src_port = cursor_u16(&w->c);
    w->p->dst_port = cursor_u16(&w->c);
    if (w->c.failed)
        w->p->notes |= PACKET_TRANSPORT_CUT;
    return false;
}

/* what stands behind an IP header; true: a tunnel was entered, and the packet is what it carries.
 * What is not here has no ports: ESP is a flow between two addresses. */
static TunnelStep *const transports[256] = {
    [IP_TCP] = dissect_tcp,      [IP_UDP] = dissect_udp,        [IP_ICMP] = dissect_icmp,
    [IP_SCTP] = dissect_sctp,    [IP_ICMPV6] = dissect_icmp,    [IP_DCCP] = dissect_ports,
    [IP_GRE] = tunnel_gre,       [IP_UDPLITE] = dissect_ports,  [IP_IPV4] = tunnel_ipv4,
    [IP_IPV6] = tunnel_ipv6,     [IP_ETHERIP] = tunnel_etherip, [IP_MPLS] = tunnel_mpls,
    [IP_ETHERNET] = tunnel_srv6,
};

static void dissect_transport(Walk *w) {
    Cursor *c = &w->c;
    Packet *p = w->p;
    const uint8_t *start = c->at;
    TunnelStep *step = transports[p->protocol];
    if (step && step(w))
        return;
    if (c->failed && p->src_port && !p->dst_port && c->end - start < 4)
        p->src_port = 0; /* half a pair of ports says nothing */
    if (!c->failed) {
        p->payload = c->at;
        p->payload_bytes = (uint32_t)(c->end - c->at);
        p->header_bytes = (uint16_t)(c->at - start);
    }
}

/* --- network ------------------------------------------------------------------------------ */

static size_t offset_of(const Walk *w, const uint8_t *at) {
    return (size_t)(at - w->frame->bytes);
}

/* bytes there were on the wire from here on; never less than were captured */
static size_t wire_left(const Walk *w, const uint8_t *from) {
    size_t captured = (size_t)(w->c.end - from);
    size_t before = offset_of(w, from);
    size_t wire = w->wire_end > before ? w->wire_end - before : 0;
    return wire > captured ? wire : captured;
}

/* the IP length, held against what is around it; the cursor ends with the IP packet */
static void bound_ip(Walk *w, size_t ip_bytes) {
    Packet *p = w->p;
    size_t captured = (size_t)(w->c.end - p->ip);
    size_t wire = wire_left(w, p->ip);
    if (ip_bytes > wire) {
        if (p->n_datagrams == 0) /* else the rest is in the later fragments of the tunnel */
            p->notes |= PACKET_LENGTH_BEYOND;
        ip_bytes = wire;
    }
    p->ip_bytes = (uint32_t)ip_bytes;
    p->ip_captured_bytes = (uint32_t)(captured < ip_bytes ? captured : ip_bytes);
    w->c.end = p->ip + p->ip_captured_bytes;
    w->wire_end = offset_of(w, p->ip) + ip_bytes;
}

/* a fragment, the cursor behind its headers */
static void note_fragment(Walk *w, uint8_t part, uint32_t id) {
    Packet *p = w->p;
    p->fragment = part;
    p->fragment_bytes = (uint32_t)(w->wire_end - offset_of(w, w->c.at));
    if (p->n_datagrams == PACKET_DATAGRAMS_MAX)
        return;
    Datagram *datagram = &p->datagrams[p->n_datagrams++];
    memcpy(datagram->src, p->src, 16);
    memcpy(datagram->dst, p->dst, 16);
    datagram->id = id;
    datagram->tunnel_id = p->path.id;
    datagram->vlan = p->vlan;
    datagram->inner_vlan = p->inner_vlan;
    datagram->protocol = p->ip_version == 4 ? p->protocol : 0;
    datagram->ip_version = p->ip_version;
    datagram->part = part;
    datagram->depth = p->path.depth;
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
int dissect_ipv4(Walk *w) {
    Cursor *c = &w->c;
    Packet *p = w->p;
    p->ip = c->at;
    const uint8_t *start = cursor_take(c, 20);
    if (!start)
        return DISSECT_E_TRUNCATED;
    const uint8_t version_length = start[0];
    p->tos = start[1];
    size_t total = load_u16(start + 2);
    const uint16_t id = load_u16(start + 4);
    const uint16_t fragment = load_u16(start + 6);
    p->ttl = start[8];
    p->protocol = start[9];
    memcpy(p->src, start + 12, 4);
    memcpy(p->dst, start + 16, 4);
    size_t header = (size_t)(version_length & 15) * 4;
    if (version_length >> 4 != 4 || header < 20)
        return DISSECT_E_BAD_HEADER;
    if (total == 0) /* segmentation left to the network card: all that the frame has */
        total = wire_left(w, p->ip);
    if (total < header)
        return DISSECT_E_BAD_LENGTH;
    p->ip_version = 4;
    bound_ip(w, total);

    if (header > 20)
        cursor_skip(c, header - 20);
    if (fragment & 0x1fff) {
        note_fragment(w, PACKET_FRAGMENT_LATER, id);
        return 0;
    }
    if (fragment & 0x2000)
        note_fragment(w, PACKET_FRAGMENT_FIRST, id);
    if (p->protocol == IP_AH)
        dissect_ah(c, p);
    dissect_transport(w);
    return 0;
}

/* FRAGMENT, RFC 8200 section 4.5:   next header | reserved | offset 13, reserved 2, more | id */
static void dissect_fragment(Walk *w) {
    uint8_t next = cursor_u8(&w->c);
    cursor_skip(&w->c, 1);
    uint16_t offset = cursor_u16(&w->c);
    uint32_t id = cursor_u32(&w->c);
    if (w->c.failed)
        return;
    w->p->protocol = next;
    if (offset & 0xfff8)
        note_fragment(w, PACKET_FRAGMENT_LATER, id);
    else if (offset & 1)
        note_fragment(w, PACKET_FRAGMENT_FIRST, id);
}

/* one IPv6 extension header; false: the chain does not go on behind it, or it is none */
static bool dissect_extension(Walk *w) {
    Cursor *c = &w->c;
    Packet *p = w->p;
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
        dissect_fragment(w);
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
int dissect_ipv6(Walk *w) {
    Cursor *c = &w->c;
    Packet *p = w->p;
    p->ip = c->at;
    uint32_t version_class = cursor_u32(c);
    size_t payload = cursor_u16(c);
    p->protocol = cursor_u8(c);
    p->ttl = cursor_u8(c);
    cursor_copy(c, p->src, 16);
    cursor_copy(c, p->dst, 16);
    if (c->failed)
        return DISSECT_E_TRUNCATED;
    if (version_class >> 28 != 6)
        return DISSECT_E_BAD_HEADER;
    p->tos = (uint8_t)(version_class >> 20);
    p->ip_version = 6;
    if (payload == 0 && p->protocol != IPV6_NO_NEXT) /* a jumbogram, or left to the network card */
        payload = wire_left(w, c->at);
    bound_ip(w, payload + 40);

    unsigned extensions = 0;
    while (extensions < EXTENSIONS_MAX && dissect_extension(w))
        extensions++;
    if (c->failed)
        p->notes |= PACKET_TRANSPORT_CUT;
    else if (extensions == EXTENSIONS_MAX)
        p->notes |= PACKET_TRANSPORT_BAD;
    else if (p->fragment != PACKET_FRAGMENT_LATER)
        dissect_transport(w);
    return 0;
}

int dissect_ip(Walk *w) {
    const uint8_t *first = cursor_peek(&w->c, 1);
    if (!first)
        return DISSECT_E_TRUNCATED;
    return *first >> 4 == 6 ? dissect_ipv6(w) : dissect_ipv4(w);
}

/* what this packet claims, not one in it, which a tunnel may have cut */
int dissect_fitting_ip(Walk *w) {
    const uint8_t *head = cursor_peek(&w->c, 6);
    if (head) {
        const bool v4 = head[0] >> 4 == 4;
        const size_t claimed = v4 ? load_u16(head + 2) : 40 + (size_t)load_u16(head + 4);
        if (claimed > wire_left(w, head) && w->p->n_datagrams == 0)
            return DISSECT_E_BAD_LENGTH;
    }
    return dissect_ip(w);
}
