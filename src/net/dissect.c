/* SPDX-License-Identifier: Apache-2.0 */

#include <string.h>

#include "net/dissect_internal.h"

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

/* more tags and labels than any switch pushes, and more frames in frames: each way in is tried, so
 * their number must be small */
enum { TAGS_MAX = 8, LABELS_MAX = 16, NESTED_MAX = 4 };

int walk_try(Walk *w, DissectStep *step) {
    const Walk walk = *w;
    const Packet packet = *w->p;
    int r = step(w);
    if (r) {
        *w = walk;
        *w->p = packet;
    }
    return r;
}

/* --- MPLS --------------------------------------------------------------------------------- */

/*
 * A pseudowire's control word (RFC 4448), then the frame:   0 (8) | fragmentation 2, length 6 |
 * sequence. The length stands there only of what was padded; so most MAC addresses that begin with
 * 0 are none, which matters: four bytes further on a tagged frame looks like one without tag.
 */
static int dissect_controlled(Walk *w) {
    size_t left = cursor_left(&w->c);
    uint32_t word = cursor_u32(&w->c);
    size_t length = (word >> 16) & 0x3f;
    if (word >> 22 != 0 || (length && length != left))
        return DISSECT_E_NOT_IP;
    return dissect_ethernet(w);
}

/*
 * Nothing in the labels says what follows (RFC 4928). Its first four bits do where it is IP; a
 * control word begins with 0, as do many MAC addresses; and a MAC address may look like IP. So each
 * possibility is tried, the likeliest first.
 */
static int dissect_labelled(Walk *w) {
    static DissectStep *const guesses[16] = {
        [0x0] = dissect_controlled, [0x4] = dissect_fitting_ip, [0x6] = dissect_fitting_ip};
    const uint8_t *first = cursor_peek(&w->c, 1);
    if (!first)
        return DISSECT_E_TRUNCATED;
    /* 1 is the associated channel of a pseudowire */
    if (*first >> 4 == 1 || w->nested++ == NESTED_MAX)
        return DISSECT_E_MPLS;
    DissectStep *guess = guesses[*first >> 4];
    bool ip = guess == dissect_fitting_ip;
    int answer = guess ? walk_try(w, guess) : DISSECT_E_MPLS;
    if (answer == 0 || walk_try(w, dissect_ethernet) == 0)
        return 0;
    if (ip)
        return dissect_ip(w);
    return answer == DISSECT_E_NOT_IP || answer == DISSECT_E_LLC ? DISSECT_E_MPLS : answer;
}

/* RFC 3032:   label 20 | traffic class 3 | bottom of stack 1 | time to live */
int dissect_mpls(Walk *w) {
    for (unsigned labels = 0; labels < LABELS_MAX; labels++) {
        uint32_t entry = cursor_u32(&w->c);
        if (w->c.failed)
            return DISSECT_E_TRUNCATED;
        if (!w->p->path.mpls_label)
            w->p->path.mpls_label = entry >> 12;
        if (entry & 0x100)
            return dissect_labelled(w);
    }
    return DISSECT_E_MPLS;
}

/* --- PPP ---------------------------------------------------------------------------------- */

/* RFC 1661, with or without the address and control bytes of RFC 1662 */
int dissect_ppp(Walk *w) {
    static const struct {
        uint16_t protocol;
        DissectStep *step;
    } protocols[] = {
        {0x21, dissect_ipv4}, {0x57, dissect_ipv6}, {0x281, dissect_mpls}, {0x283, dissect_mpls}};
    const uint8_t *hdlc = cursor_peek(&w->c, 2);
    if (hdlc && hdlc[0] == 0xff && hdlc[1] == 0x03)
        cursor_skip(&w->c, 2);
    uint32_t protocol = cursor_u8(&w->c);
    if (!(protocol & 1)) /* else compressed to one byte */
        protocol = protocol << 8 | cursor_u8(&w->c);
    if (w->c.failed)
        return DISSECT_E_TRUNCATED;
    for (size_t i = 0; i < sizeof(protocols) / sizeof(protocols[0]); i++)
        if (protocols[i].protocol == protocol)
            return protocols[i].step(w);
    return DISSECT_E_NOT_IP;
}

/* RFC 2516:   version 4, type 4 | code | session | length | PPP without its address bytes */
static int dissect_pppoe(Walk *w) {
    uint8_t version = cursor_u8(&w->c);
    uint8_t code = cursor_u8(&w->c);
    uint16_t session = cursor_u16(&w->c);
    cursor_skip(&w->c, 2); /* the length: that of the IP packet says it better */
    if (w->c.failed)
        return DISSECT_E_TRUNCATED;
    if (version != 0x11)
        return DISSECT_E_BAD_HEADER;
    if (code != 0)
        return DISSECT_E_PPPOE;
    int r = tunnel_enter(w, TUNNEL_PPPOE, session, dissect_ppp);
    return r == DISSECT_E_NOT_IP ? DISSECT_E_PPPOE : r;
}

/* --- behind an ethertype ------------------------------------------------------------------ */

static int answer_arp(Walk *w) {
    (void)w;
    return DISSECT_E_ARP;
}

static int answer_pppoe(Walk *w) {
    (void)w;
    return DISSECT_E_PPPOE;
}

static bool is_tag(uint16_t type) {
    return type == TYPE_VLAN || type == TYPE_QINQ || type == TYPE_QINQ_OLD;
}

/* the ids of a frame's tags, the outermost first; 0 is a priority without a VLAN */
static void take_tag(Packet *p, uint16_t tag) {
    uint16_t id = tag & 0x0fff;
    if (!p->vlan)
        p->vlan = id;
    else if (!p->inner_vlan)
        p->inner_vlan = id;
}

static int dissect_rare(Walk *w, uint16_t type) {
    static const struct {
        uint16_t type;
        DissectStep *step;
    } types[] = {
        {TYPE_PPPOE, dissect_pppoe},  {TYPE_MPLS, dissect_mpls},
        {TYPE_MPLS_UP, dissect_mpls}, {TYPE_ARP, answer_arp},
        {TYPE_RARP, answer_arp},      {TYPE_PPPOE_DISCOVERY, answer_pppoe},
    };
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
        if (types[i].type == type)
            return types[i].step(w);
    return DISSECT_E_NOT_IP;
}

static int dissect_type(Walk *w, uint16_t type) {
    for (unsigned tags = 0; is_tag(type) && tags < TAGS_MAX; tags++) {
        uint16_t tag = cursor_u16(&w->c);
        type = cursor_u16(&w->c);
        if (w->c.failed)
            return DISSECT_E_TRUNCATED;
        take_tag(w->p, tag);
    }
    if (type == TYPE_IPV4)
        return dissect_ipv4(w);
    if (type == TYPE_IPV6)
        return dissect_ipv6(w);
    if (type < TYPE_LEAST) { /* 802.3: a length, then LLC and perhaps SNAP (RFC 1042) */
        const uint8_t *llc = cursor_peek(&w->c, 8);
        if (!llc || memcmp(llc, "\xaa\xaa\x03\x00\x00\x00", 6) != 0 || w->nested++ == NESTED_MAX)
            return DISSECT_E_LLC;
        cursor_skip(&w->c, 6);
        type = cursor_u16(&w->c);
        return type < TYPE_LEAST ? DISSECT_E_LLC : dissect_type(w, type);
    }
    return dissect_rare(w, type);
}

int dissect_ethernet(Walk *w) {
    Packet *p = w->p;
    const uint8_t *macs = cursor_take(&w->c, 14);
    if (!macs)
        return DISSECT_E_TRUNCATED;
    const uint16_t type = load_u16(macs + 12);
    if (p->macs || p->path.depth) { /* a frame in a frame: its tags are those of the flow */
        if (!p->path.vlan)
            p->path.vlan = p->vlan;
        p->vlan = p->inner_vlan = 0;
    }
    p->macs = macs;
    return dissect_type(w, type);
}

/* --- links -------------------------------------------------------------------------------- */

/* LINKTYPE_LINUX_SLL:   packet type | ARPHRD | address length | address 8 | protocol */
static int dissect_cooked(Walk *w) {
    cursor_skip(&w->c, 14);
    uint16_t type = cursor_u16(&w->c);
    if (w->c.failed)
        return DISSECT_E_TRUNCATED;
    return dissect_type(w, type);
}

/* LINKTYPE_LINUX_SLL2:   protocol | reserved | interface 4 | ARPHRD | type | length | address 8 */
static int dissect_cooked2(Walk *w) {
    uint16_t type = cursor_u16(&w->c);
    cursor_skip(&w->c, 18);
    if (w->c.failed)
        return DISSECT_E_TRUNCATED;
    return dissect_type(w, type);
}

/* the BSD loopback header: an address family in the byte order of whoever wrote the file */
static int dissect_null(Walk *w) {
    uint32_t family = cursor_u32(&w->c);
    if (w->c.failed)
        return DISSECT_E_TRUNCATED;
    if (family > 0xffff)
        family = __builtin_bswap32(family);
    switch (family) {
    case 2:
        return dissect_ipv4(w);
    case 10: /* Linux */
    case 24: /* NetBSD, OpenBSD */
    case 28: /* FreeBSD */
    case 30: /* macOS */
        return dissect_ipv6(w);
    default:
        return DISSECT_E_NOT_IP;
    }
}

static const struct {
    uint16_t link_type;
    DissectStep *dissect;
} links[] = {
    {FRAME_LINK_ETHERNET, dissect_ethernet}, {FRAME_LINK_COOKED, dissect_cooked},
    {FRAME_LINK_COOKED2, dissect_cooked2},   {FRAME_LINK_RAW, dissect_ip},
    {FRAME_LINK_IPV4, dissect_ip},           {FRAME_LINK_IPV6, dissect_ip},
    {FRAME_LINK_NULL, dissect_null},         {FRAME_LINK_LOOP, dissect_null},
    {FRAME_LINK_PPP, dissect_ppp},           {FRAME_LINK_PPP_HDLC, dissect_ppp},
    {FRAME_LINK_PPPOE, dissect_pppoe},       {FRAME_LINK_MPLS, dissect_mpls},
};

static DissectStep *link_find(int link_type) {
    for (size_t i = 0; i < sizeof(links) / sizeof(links[0]); i++)
        if (links[i].link_type == link_type)
            return links[i].dissect;
    return NULL;
}

int dissect_link_known(int link_type) {
    return link_find(link_type) != NULL;
}

static void packet_begin(Packet *packet, const Frame *frame) {
    /* the rest of the path and the datagrams mean something only as far as counted */
    memset(packet, 0, offsetof(Packet, path.types));
    packet->time_ns = frame->time_ns;
    packet->input = (uint8_t)frame->input;
    packet->frame_bytes = frame->wire_bytes;
}

int dissect_walk(const Frame *frame, DissectMode mode, Packet *packet) {
    packet_begin(packet, frame);
    Walk w = {.c = cursor_make(frame->bytes, frame->captured_bytes),
              .p = packet,
              .frame = frame,
              .wire_end = frame->wire_bytes,
              .mode = mode};
    if (frame->tag_type) {
        take_tag(packet, frame->tag);
        w.wire_end = frame->wire_bytes > 4 ? frame->wire_bytes - 4 : 0;
    }
    if (frame->link_type == FRAME_LINK_ETHERNET)
        return dissect_ethernet(&w);
    DissectStep *dissect = link_find(frame->link_type);
    return dissect ? dissect(&w) : DISSECT_E_LINK_TYPE;
}

/* --- the straight way --------------------------------------------------------------------- */

/*
 * Most packets are TCP or UDP in a whole IP packet without options or extension headers in an
 * Ethernet frame with two tags at most, of which nothing is odd. These are read here at once, and
 * say the same as by dissect_walk(), which takes all others.
 */

enum {
    LINK_BYTES = 14,
    TAG_BYTES = 4,
    IPV4_BYTES = 20,
    IPV6_BYTES = 40,
    TCP_BYTES = 20,
    UDP_BYTES = 8
};

/* transport header and what is captured behind it; false: not straight */
static bool straight_tcp(Packet *p, const uint8_t *tcp, size_t left) {
    if (left < TCP_BYTES)
        return false;
    const uint16_t offset_flags = load_u16(tcp + 12);
    const size_t header = (size_t)(offset_flags >> 12) * 4;
    if (header < TCP_BYTES || header > left)
        return false;
    p->tcp_seq = load_u32(tcp + 4);
    p->tcp_flags = offset_flags & 0x1ff;
    p->header_bytes = (uint16_t)header;
    p->payload = tcp + header;
    p->payload_bytes = (uint32_t)(left - header);
    return true;
}

static bool straight_udp(Packet *p, const uint8_t *udp, size_t left, DissectMode mode) {
    if (left < UDP_BYTES)
        return false;
    const size_t length = load_u16(udp + 4);
    if (length < UDP_BYTES ||
        (mode == DISSECT_INNERMOST && tunnel_likely(load_u16(udp), load_u16(udp + 2))))
        return false;
    p->header_bytes = UDP_BYTES;
    p->payload = udp + UDP_BYTES;
    p->payload_bytes = (uint32_t)((length < left ? length : left) - UDP_BYTES);
    return true;
}

/* behind the IP header, which says that the packet is so long */
static inline bool straight_rest(const Frame *frame, DissectMode mode, Packet *p, const uint8_t *ip,
                                 size_t header, size_t total) {
    const size_t at = (size_t)(ip - frame->bytes);
    const size_t there = frame->captured_bytes - at;
    if (total < header || (total > there && at + total > frame->wire_bytes))
        return false;
    const size_t captured = total < there ? total : there;
    const uint8_t *transport = ip + header;
    if (!(p->protocol == IP_TCP ? straight_tcp(p, transport, captured - header)
                                : straight_udp(p, transport, captured - header, mode)))
        return false;
    p->src_port = load_u16(transport);
    p->dst_port = load_u16(transport + 2);
    p->macs = frame->bytes;
    p->ip = ip;
    p->ip_bytes = (uint32_t)total;
    p->ip_captured_bytes = (uint32_t)captured;
    return true;
}

static inline bool straight_v4(const Frame *frame, DissectMode mode, Packet *p, const uint8_t *ip) {
    if (ip[0] != 0x45 || (load_u16(ip + 6) & 0x3fff) != 0 || (ip[9] != IP_TCP && ip[9] != IP_UDP))
        return false;
    packet_begin(p, frame);
    p->ip_version = 4;
    p->tos = ip[1];
    p->ttl = ip[8];
    p->protocol = ip[9];
    memcpy(p->src, ip + 12, 4);
    memcpy(p->dst, ip + 16, 4);
    return straight_rest(frame, mode, p, ip, IPV4_BYTES, load_u16(ip + 2));
}

static inline bool straight_v6(const Frame *frame, DissectMode mode, Packet *p, const uint8_t *ip) {
    const size_t payload = load_u16(ip + 4);
    if (ip[0] >> 4 != 6 || payload == 0 || (ip[6] != IP_TCP && ip[6] != IP_UDP))
        return false;
    packet_begin(p, frame);
    p->ip_version = 6;
    p->tos = (uint8_t)(load_u16(ip) >> 4);
    p->protocol = ip[6];
    p->ttl = ip[7];
    memcpy(p->src, ip + 8, 16);
    memcpy(p->dst, ip + 24, 16);
    return straight_rest(frame, mode, p, ip, IPV6_BYTES, payload + IPV6_BYTES);
}

/* behind two tags at most */
static bool straight_behind_tags(const Frame *frame, DissectMode mode, Packet *p) {
    enum { STRAIGHT_TAGS = 2 };
    const uint8_t *ip = frame->bytes + LINK_BYTES;
    unsigned tags = 0;
    for (; is_tag(load_u16(ip - 2)) && tags < STRAIGHT_TAGS; tags++)
        ip += TAG_BYTES;
    const uint16_t type = load_u16(ip - 2);
    const size_t there = frame->captured_bytes - (size_t)(ip - frame->bytes);
    if (!(type == TYPE_IPV4   ? there >= IPV4_BYTES && straight_v4(frame, mode, p, ip)
          : type == TYPE_IPV6 ? there >= IPV6_BYTES && straight_v6(frame, mode, p, ip)
                              : false))
        return false;
    for (const uint8_t *tag = frame->bytes + LINK_BYTES; tag < ip; tag += TAG_BYTES)
        take_tag(p, load_u16(tag));
    return true;
}

static bool go_straight(const Frame *frame, DissectMode mode, Packet *p) {
    if (frame->captured_bytes < LINK_BYTES + IPV4_BYTES) /* two tags fit as well */
        return false;
    if (load_u16(frame->bytes + LINK_BYTES - 2) == TYPE_IPV4)
        return straight_v4(frame, mode, p, frame->bytes + LINK_BYTES);
    return straight_behind_tags(frame, mode, p);
}

int dissect_frame(const Frame *frame, DissectMode mode, Packet *packet) {
    if (frame->link_type == FRAME_LINK_ETHERNET && !frame->tag_type &&
        go_straight(frame, mode, packet))
        return 0;
    return dissect_walk(frame, mode, packet);
}
