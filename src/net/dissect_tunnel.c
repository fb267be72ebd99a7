/* SPDX-License-Identifier: Apache-2.0 */

#include <string.h>

#include "net/dissect_internal.h"

/* --- going in, and coming back ------------------------------------------------------------ */

/* what is said of the packet so far is said of the tunnel */
static void path_add(Packet *p, TunnelType type, uint32_t id) {
    PacketPath *path = &p->path;
    path->types[path->depth++] = (uint8_t)type;
    if (id)
        path->id = id;
    if (!path->ip_version && p->ip_version) {
        path->ip_version = p->ip_version;
        memcpy(path->src, p->src, 16);
        memcpy(path->dst, p->dst, 16);
    }
    memset(p->src, 0, sizeof(p->src));
    memset(p->dst, 0, sizeof(p->dst));
    p->src_port = p->dst_port = 0;
    p->fragment = 0;
    p->icmp_type = p->icmp_code = 0;
}

static void note_answer(Packet *p, int answer) {
    if (answer == DISSECT_E_TRUNCATED)
        p->notes |= PACKET_TUNNEL_CUT;
    else if (answer == DISSECT_E_BAD_HEADER || answer == DISSECT_E_BAD_LENGTH)
        p->notes |= PACKET_TUNNEL_BAD;
}

int tunnel_enter(Walk *w, TunnelType type, uint32_t id, DissectStep *inner) {
    Packet *p = w->p;
    if (p->path.depth == TUNNEL_DEPTH_MAX) {
        p->notes |= PACKET_TUNNEL_DEEP;
        return DISSECT_E_NOT_IP;
    }
    const Walk walk = *w;
    const Packet outside = *p;
    path_add(p, type, id);
    int r = inner(w);
    if (r) {
        *w = walk;
        *p = outside;
        note_answer(p, r);
    }
    return r;
}

/* the header of a tunnel was read as far as it goes: enter, or be where it began */
static bool enter_from(Walk *w, const Walk *start, TunnelType type, uint32_t id,
                       DissectStep *inner) {
    if (w->c.failed)
        w->p->notes |= PACKET_TUNNEL_CUT;
    else if (tunnel_enter(w, type, id, inner) == 0)
        return true;
    *w = *start;
    return false;
}

/* --- IP in IP, Ethernet in IP, MPLS in IP ------------------------------------------------- */

static bool enters(const Walk *w) {
    return w->mode == DISSECT_INNERMOST;
}

bool tunnel_ipv4(Walk *w) {
    TunnelType type = w->p->ip_version == 4 ? TUNNEL_IPIP : TUNNEL_4IN6;
    return enters(w) && tunnel_enter(w, type, 0, dissect_ipv4) == 0;
}

bool tunnel_ipv6(Walk *w) {
    TunnelType type = w->p->ip_version == 4 ? TUNNEL_6IN4 : TUNNEL_6IN6;
    return enters(w) && tunnel_enter(w, type, 0, dissect_ipv6) == 0;
}

bool tunnel_mpls(Walk *w) {
    return enters(w) && tunnel_enter(w, TUNNEL_MPLS, 0, dissect_mpls) == 0;
}

bool tunnel_srv6(Walk *w) {
    return enters(w) && tunnel_enter(w, TUNNEL_SRV6, 0, dissect_ethernet) == 0;
}

/* RFC 3378:   version 4 (3), reserved 12 | frame */
bool tunnel_etherip(Walk *w) {
    const Walk start = *w;
    if (!enters(w) || cursor_u16(&w->c) >> 12 != 3) {
        *w = start;
        return false;
    }
    return enter_from(w, &start, TUNNEL_ETHERIP, 0, dissect_ethernet);
}

/* --- GRE ---------------------------------------------------------------------------------- */

enum { GRE_CHECKSUM = 0x8000, GRE_ROUTING = 0x4000, GRE_KEY = 0x2000, GRE_SEQUENCE = 0x1000 };
enum { GRE_ACKNOWLEDGEMENT = 0x0080 /* version 1 */ };
enum { GRE_TEB = 0x6558, GRE_ERSPAN = 0x88be, GRE_PPP = 0x880b };

/* RFC 7637 section 3.2: identifiers below are reserved, as is the highest. GRE that bridges with a
 * key of its own looks the same; its keys are mostly small, and then it is plain GRE. */
enum { VSID_MIN = 0x1000, VSID_MAX = 0xfffffe };

/* VLAN of the mirrored frame, where mirroring took its tag off */
static int dissect_mirrored(Walk *w, uint16_t vlan) {
    Packet *p = w->p;
    unsigned depth = p->path.depth;
    int r = dissect_ethernet(w);
    if (r == 0 && !p->vlan && p->path.depth == depth)
        p->vlan = vlan;
    return r;
}

/*
 * ERSPAN type II:   version 4 (1), VLAN 12 | class 3, encapsulation 2, truncated 1, session 10 |
 *                   reserved 12, index 20 | frame
 */
static int dissect_erspan2(Walk *w) {
    uint16_t version_vlan = cursor_u16(&w->c);
    uint16_t session = cursor_u16(&w->c);
    cursor_skip(&w->c, 4);
    if (w->c.failed)
        return DISSECT_E_TRUNCATED;
    if (version_vlan >> 12 > 1) /* 0 is written by some, though it is type I that has no header */
        return DISSECT_E_NOT_IP;
    unsigned encapsulation = (session >> 11) & 3; /* 0 no tag, 1 ISL, 2 802.1Q, 3 still there */
    w->p->path.id = session & 0x3ff;
    bool taken = encapsulation == 1 || encapsulation == 2;
    return dissect_mirrored(w, taken ? version_vlan & 0xfff : 0);
}

/*
 * ERSPAN type III:  version 4 (2), VLAN 12 | class 3, bad or short 2, truncated 1, session 10 |
 *                   timestamp | security group | PDU 1, frame type 5, hardware 6, direction 1,
 *                   granularity 2, sub-header 1 | [8 bytes] | frame
 */
static int dissect_erspan3(Walk *w) {
    uint16_t version_vlan = cursor_u16(&w->c);
    uint16_t session = cursor_u16(&w->c);
    cursor_skip(&w->c, 6);
    uint16_t flags = cursor_u16(&w->c);
    if (flags & 1)
        cursor_skip(&w->c, 8);
    if (w->c.failed)
        return DISSECT_E_TRUNCATED;
    if (version_vlan >> 12 != 2)
        return DISSECT_E_NOT_IP;
    w->p->path.id = session & 0x3ff;
    unsigned type = (flags >> 10) & 31; /* 0 Ethernet, 2 IP */
    return type == 2 ? dissect_ip(w) : dissect_mirrored(w, version_vlan & 0xfff);
}

/* WCCP version 2 puts four bytes before the packet, version 1 none */
static int dissect_wccp(Walk *w) {
    const uint8_t *first = cursor_peek(&w->c, 1);
    if (first && *first >> 4 != 4)
        cursor_skip(&w->c, 4);
    return dissect_ipv4(w);
}

/* version 1, RFC 2637:   flags | protocol | length | call | [sequence] | [acknowledgement] | PPP */
static bool tunnel_pptp(Walk *w, const Walk *start, uint16_t flags, uint16_t protocol) {
    uint16_t length = cursor_u16(&w->c);
    uint16_t call = cursor_u16(&w->c);
    if (flags & GRE_ACKNOWLEDGEMENT)
        cursor_skip(&w->c, 4);
    if (protocol != GRE_PPP || !(flags & GRE_SEQUENCE)) { /* an acknowledgement and nothing else */
        *w = *start;
        return false;
    }
    cursor_skip(&w->c, 4);
    if (!w->c.failed)
        walk_bound(w, length);
    return enter_from(w, start, TUNNEL_PPTP, call, dissect_ppp);
}

static bool tunnel_gre_0(Walk *w, const Walk *start, uint16_t flags, uint16_t protocol) {
    static const struct {
        uint16_t protocol;
        uint16_t type;
        DissectStep *step;
    } rows[] = {
        {0x0800, TUNNEL_GRE, dissect_ipv4},       {0x86dd, TUNNEL_GRE, dissect_ipv6},
        {GRE_TEB, TUNNEL_GRE, dissect_ethernet},  {0x8847, TUNNEL_GRE, dissect_mpls},
        {0x8848, TUNNEL_GRE, dissect_mpls},       {GRE_ERSPAN, TUNNEL_ERSPAN, dissect_erspan2},
        {0x22eb, TUNNEL_ERSPAN, dissect_erspan3}, {0x883e, TUNNEL_GRE, dissect_wccp},
    };
    if (flags & GRE_CHECKSUM)
        cursor_skip(&w->c, 4);
    uint32_t key = flags & GRE_KEY ? cursor_u32(&w->c) : 0;
    if (flags & GRE_SEQUENCE)
        cursor_skip(&w->c, 4);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (rows[i].protocol != protocol)
            continue;
        DissectStep *step = rows[i].step;
        if (protocol == GRE_ERSPAN && !(flags & GRE_SEQUENCE))
            step = dissect_ethernet; /* type I has no header */
        uint32_t vsid = key >> 8;
        if (protocol == GRE_TEB && (flags & ~7) == GRE_KEY && vsid >= VSID_MIN && vsid <= VSID_MAX)
            return enter_from(w, start, TUNNEL_NVGRE, vsid, step);
        return enter_from(w, start, (TunnelType)rows[i].type, key, step);
    }
    *w = *start;
    return false;
}

/* RFC 2784, 2890:   flags 13, version 3 | protocol | [checksum] | [key] | [sequence] | payload */
bool tunnel_gre(Walk *w) {
    const Walk start = *w;
    if (!enters(w))
        return false;
    uint16_t flags = cursor_u16(&w->c);
    uint16_t protocol = cursor_u16(&w->c);
    if (w->c.failed) {
        w->p->notes |= PACKET_TUNNEL_CUT;
        return false;
    }
    if ((flags & 7) == 1)
        return tunnel_pptp(w, &start, flags, protocol);
    if ((flags & 7) == 0 && !(flags & GRE_ROUTING)) /* source routes: RFC 1701, never used */
        return tunnel_gre_0(w, &start, flags, protocol);
    *w = start;
    return false;
}

/* --- in UDP ------------------------------------------------------------------------------- */

/* RFC 7348:   flags (0x08: has a VNI) | reserved 3 | VNI 3 | reserved | frame */
static bool tunnel_vxlan(Walk *w) {
    const Walk start = *w;
    uint32_t flags = cursor_u32(&w->c);
    uint32_t vni = cursor_u32(&w->c) >> 8;
    if (w->c.failed || flags & 0x08000000)
        return enter_from(w, &start, TUNNEL_VXLAN, vni, dissect_ethernet);
    *w = start;
    return false;
}

/* RFC 8926:   version 2, options length 6 | flags | protocol | VNI 3 | reserved | options | … */
static bool tunnel_geneve(Walk *w) {
    static const struct {
        uint16_t protocol;
        DissectStep *step;
    } rows[] = {{GRE_TEB, dissect_ethernet}, {0x0800, dissect_ipv4}, {0x86dd, dissect_ipv6}};
    const Walk start = *w;
    uint8_t version_length = cursor_u8(&w->c);
    cursor_skip(&w->c, 1);
    uint16_t protocol = cursor_u16(&w->c);
    uint32_t vni = cursor_u32(&w->c) >> 8;
    cursor_skip(&w->c, (size_t)(version_length & 0x3f) * 4);
    if (w->c.failed)
        return enter_from(w, &start, TUNNEL_GENEVE, vni, NULL);
    for (size_t i = 0; version_length >> 6 == 0 && i < sizeof(rows) / sizeof(rows[0]); i++)
        if (rows[i].protocol == protocol)
            return enter_from(w, &start, TUNNEL_GENEVE, vni, rows[i].step);
    *w = start;
    return false;
}

enum { GTP_EXTENSIONS = 4, GTP_OPTIONAL = 7, GTP_G_PDU = 255 };

/*
 * 3GPP TS 29.281:   version 3 (1), type 1, spare 1, flags 3 | message | length | TEID |
 *                   [sequence | N-PDU | next extension | extensions] | packet
 */
static bool tunnel_gtp(Walk *w) {
    const Walk start = *w;
    Cursor *c = &w->c;
    uint8_t flags = cursor_u8(c);
    uint8_t message = cursor_u8(c);
    uint16_t length = cursor_u16(c);
    uint32_t teid = cursor_u32(c);
    if (!c->failed && (flags >> 4 != 3 || message != GTP_G_PDU)) {
        *w = start;
        return false;
    }
    if (!c->failed)
        walk_bound(w, length);
    if (flags & GTP_OPTIONAL) {
        cursor_skip(c, 3);
        uint8_t next = cursor_u8(c);
        while ((flags & GTP_EXTENSIONS) && next && !c->failed) {
            size_t bytes = (size_t)cursor_u8(c) * 4;
            if (bytes == 0) /* its length counts itself */
                c->failed = true;
            cursor_skip(c, bytes - 2);
            next = cursor_u8(c);
        }
    }
    return enter_from(w, &start, TUNNEL_GTP, teid, dissect_ip);
}

enum { L2TP_CONTROL = 0x8000, L2TP_LENGTH = 0x4000, L2TP_SEQUENCE = 0x0800, L2TP_OFFSET = 0x0200 };

/*
 * RFC 2661:   flags 12, version 4 (2) | [length] | tunnel | session | [sequence | expected] |
 *             [offset | padding] | PPP
 */
static bool tunnel_l2tp(Walk *w) {
    const Walk start = *w;
    Cursor *c = &w->c;
    uint16_t flags = cursor_u16(c);
    if (!c->failed && (flags & 15) != 2) {
        *w = start;
        return false;
    }
    if (flags & L2TP_CONTROL) {
        *w = start;
        return false;
    }
    uint16_t length = flags & L2TP_LENGTH ? cursor_u16(c) : 0;
    if (length >= 4 && !c->failed)
        walk_bound(w, length - 4u);
    uint32_t id = cursor_u32(c);
    if (flags & L2TP_SEQUENCE)
        cursor_skip(c, 4);
    if (flags & L2TP_OFFSET)
        cursor_skip(c, cursor_u16(c));
    return enter_from(w, &start, TUNNEL_L2TP, id, dissect_ppp);
}

enum { TEREDO_ORIGIN = 0, TEREDO_AUTHENTICATION = 1 };

/*
 * RFC 4380 section 5.1.1:   [1 | id length | value length | id | value | nonce 8 | confirmation] |
 *                           [0 | port | address] | IPv6 packet
 */
static bool tunnel_teredo(Walk *w) {
    const Walk start = *w;
    Cursor *c = &w->c;
    const uint8_t *peek = cursor_peek(c, 4);
    if (peek && peek[0] == 0 && peek[1] == TEREDO_AUTHENTICATION) {
        cursor_skip(c, (size_t)4 + peek[2] + peek[3] + 9);
        peek = cursor_peek(c, 4);
    }
    if (peek && peek[0] == 0 && peek[1] == TEREDO_ORIGIN) {
        cursor_skip(c, 8);
        peek = cursor_peek(c, 4);
    }
    if (peek && peek[0] >> 4 != 6) {
        *w = start;
        return false;
    }
    return enter_from(w, &start, TUNNEL_TEREDO, 0, dissect_ipv6);
}

typedef struct TunnelPort {
    uint16_t port;
    bool both; /* either side has the port, not only who receives */
    TunnelStep *step;
} TunnelPort;

/* each is in tunnel_likely() too */
static const TunnelPort tunnel_ports[] = {
    {4789, false, tunnel_vxlan}, {8472, false, tunnel_vxlan}, {6081, false, tunnel_geneve},
    {2152, false, tunnel_gtp},   {4754, false, tunnel_gre},   {1701, true, tunnel_l2tp},
    {3544, true, tunnel_teredo},
};

bool tunnel_udp(Walk *w) {
    const Packet *p = w->p;
    if (!tunnel_likely(p->src_port, p->dst_port))
        return false;
    for (size_t i = 0; i < sizeof(tunnel_ports) / sizeof(tunnel_ports[0]); i++) {
        const TunnelPort *row = &tunnel_ports[i];
        if (p->dst_port == row->port || (p->src_port == row->port && row->both))
            return row->step(w);
    }
    return false;
}
