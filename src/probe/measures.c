/* SPDX-License-Identifier: Apache-2.0 */

#include "probe/measures.h"

#include <string.h>

#include "base/cursor.h"
#include "probe/jitter.h"

enum { TCP_HEADER_BYTES = 20, TCP_URG = 0x20, TCP_ECE = 0x40, TCP_CWR = 0x80 };

/* Measures.state */
enum {
    MEASURES_TCP = 1,
    MEASURES_SYN = 2,       /* SYN seen */
    MEASURES_SYN_ACK = 4,   /* and its answer */
    MEASURES_SHAKEN = 8,    /* and the answer to that: the times stand */
    MEASURES_ASKED = 16,    /* the initiator sent payload */
    MEASURES_ANSWERED = 32, /* and the responder after it */
    MEASURES_TOLD = 64,     /* the fingerprint is in a record already */
};

/* TcpSide.state */
enum {
    SIDE_SEQ = 1,        /* next_seq means something */
    SIDE_ACK = 2,        /* ack and window do */
    SIDE_SCALE = 4,      /* its SYN had a window scale */
    SIDE_KEEP_ALIVE = 8, /* its last packet was one */
    SIDE_PROBE = 16,     /* its last packet tried a zero window */
    SIDE_SYN = 32,       /* its SYN was seen */
};

static uint32_t us_of(uint64_t ns) {
    return (uint32_t)(ns / 1000);
}

static bool seq_after(uint32_t a, uint32_t b) {
    return (int32_t)(a - b) > 0;
}

/* --- first packets ------------------------------------------------------------------------ */

/* RFC 9293 section 3.2: kind, and but for the first two a length and what belongs to it */
static void take_options(Firsts *firsts, Cursor c) {
    enum { END = 0, NOP = 1, MSS = 2, SCALE = 3, OTHER = 15, OPTIONS_MAX = 8 };
    for (unsigned i = 0; i < OPTIONS_MAX && cursor_left(&c) > 0; i++) {
        uint8_t kind = cursor_u8(&c);
        if (kind == END)
            break;
        firsts->options |= (uint32_t)(kind < OTHER ? kind : OTHER) << (4 * i);
        if (kind == NOP)
            continue;
        uint8_t length = cursor_u8(&c);
        Cursor body = cursor_sub(&c, length >= 2 ? length - 2u : cursor_left(&c) + 1);
        if (kind == MSS && cursor_left(&body) == 2)
            firsts->mss = cursor_u16(&body);
        if (kind == SCALE && cursor_left(&body) == 1) {
            uint8_t scale = cursor_u8(&body);
            firsts->scale = scale <= 14 ? scale : 14; /* RFC 7323 section 2.3 */
            firsts->flags |= FIRSTS_SCALE;
        }
    }
}

static const uint8_t *tcp_header(const Packet *packet) {
    return packet->payload && packet->header_bytes >= TCP_HEADER_BYTES
               ? packet->payload - packet->header_bytes
               : NULL;
}

static uint32_t wire_payload(const Packet *packet) {
    uint32_t before = (uint32_t)(packet->payload - packet->ip);
    return packet->ip_bytes > before ? packet->ip_bytes - before : 0;
}

static void take_syn(Firsts *syn, const Packet *packet, const uint8_t *tcp) {
    if ((packet->tcp_flags & (TCP_ECE | TCP_CWR)) == (TCP_ECE | TCP_CWR))
        syn->flags |= FIRSTS_ECN;
    if (packet->ip_version == 6)
        syn->flags |= FIRSTS_V6;
    else if (packet->ip[6] & 0x40)
        syn->flags |= FIRSTS_DF;
    take_options(
        syn, cursor_make(tcp + TCP_HEADER_BYTES, (size_t)packet->header_bytes - TCP_HEADER_BYTES));
}

static void take_first(Firsts *firsts, const Packet *packet, const uint8_t *tcp) {
    Cursor c = cursor_make(tcp + 8, TCP_HEADER_BYTES - 8);
    const uint16_t flags = packet->tcp_flags;
    firsts->flags = FIRSTS_TCP;
    firsts->next_seq =
        packet->tcp_seq + wire_payload(packet) + ((flags & (TCP_SYN | TCP_FIN)) != 0);
    uint32_t ack = cursor_u32(&c);
    cursor_skip(&c, 2);
    firsts->window = cursor_u16(&c);
    if (flags & TCP_SYN) {
        take_syn(firsts, packet, tcp);
        firsts->flags |= flags & TCP_ACK ? FIRSTS_SYN_ACK : FIRSTS_SYN;
    }
    if (firsts->flags & FIRSTS_SYN)
        return;
    firsts->options = ack;
    firsts->flags |= flags & TCP_ACK ? FIRSTS_ACK : 0;
}

void firsts_note(Firsts *firsts, unsigned side, const Packet *packet, bool first) {
    if (first)
        *firsts = (Firsts){0};
    firsts->ttl[side] = packet->ttl;
    const uint8_t *tcp = first && packet->protocol == IP_TCP ? tcp_header(packet) : NULL;
    if (tcp)
        take_first(firsts, packet, tcp);
}

/* --- beginning ---------------------------------------------------------------------------- */

static unsigned size_bucket(uint32_t bytes) {
    return (unsigned)(bytes > 128) + (bytes > 256) + (bytes > 512) + (bytes > 1024) +
           (bytes > 1514);
}

static unsigned gap_bucket(uint64_t ns) {
    return (unsigned)(ns > 100000) + (ns > 1000000) + (ns > 10000000) + (ns > 100000000) +
           (ns > 1000000000);
}

static void note_syn(Measures *m, unsigned side, const Firsts *syn, uint16_t window) {
    TcpSide *s = &m->side.tcp[side];
    m->mss[side] = syn->mss;
    m->window_syn[side] = window;
    s->scale = syn->scale;
    s->state |= SIDE_SYN;
    s->state |= syn->flags & FIRSTS_SCALE ? SIDE_SCALE : 0;
}

static void begin_udp(Measures *m, const MeasuresBefore *before) {
    unsigned i = before->initiator;
    for (unsigned s = 0; s < 2; s++)
        if (before->packets[s])
            jitter_begin(&m->side.udp[s], us_of(s == i ? before->first_ns : before->last_ns));
    if (!before->packets[i])
        return;
    m->state |= MEASURES_ASKED;
    m->app_us = us_of(before->first_ns);
    if (!before->packets[!i])
        return;
    m->state |= MEASURES_ANSWERED;
    m->app_us = us_of(before->last_ns) - us_of(before->first_ns);
}

/* the flow's first packet, as far as it was kept */
static void begin_tcp(Measures *m, const MeasuresBefore *before) {
    const Firsts *f = &m->firsts;
    unsigned side = before->packets[1] ? 1 : 0;
    TcpSide *s = &m->side.tcp[side];
    m->state = MEASURES_TCP;
    if (!(f->flags & FIRSTS_TCP))
        return;
    uint32_t us = us_of(before->first_ns);
    s->next_seq = f->next_seq;
    s->next_us = us;
    s->state = SIDE_SEQ;
    if (f->flags & (FIRSTS_SYN | FIRSTS_SYN_ACK))
        note_syn(m, side, f, f->window);
    else
        s->window_max = f->window;
    if (f->flags & FIRSTS_SYN) {
        m->state |= MEASURES_SYN;
        m->handshake_us = us;
        return;
    }
    if (f->flags & FIRSTS_ACK) {
        s->ack = f->options;
        s->ack_us = us;
        s->window = f->window;
        s->state |= SIDE_ACK;
    }
}

void measures_begin(Measures *m, const Firsts *firsts, const MeasuresBefore *before) {
    *m = (Measures){.firsts = *firsts};
    for (unsigned s = 0; s < 2; s++) {
        m->ttl_min[s] = m->ttl_max[s] = firsts->ttl[s];
        if (before->packets[s])
            m->sizes[size_bucket(before->octets[s])]++;
    }
    if (before->packets[0] && before->packets[1])
        m->gaps[gap_bucket(before->last_ns - before->first_ns)]++;
    if (before->tcp)
        begin_tcp(m, before);
    else
        begin_udp(m, before);
}

/* --- TCP ---------------------------------------------------------------------------------- */

/* one packet, with what it says of the sequence */
typedef struct Segment {
    uint32_t seq, ack, now_us;
    uint32_t bytes; /* of payload on the wire */
    uint32_t span;  /* those, and one for SYN or FIN */
    uint16_t flags;
    uint16_t window;
} Segment;

static void take_handshake(Measures *m, unsigned side, unsigned initiator, const Segment *g) {
    if (m->state & MEASURES_SHAKEN)
        return;
    if (g->flags & TCP_SYN) {
        if (!(g->flags & TCP_ACK) && side == initiator && !(m->state & MEASURES_SYN_ACK)) {
            m->state |= MEASURES_SYN; /* the last one counts */
            m->handshake_us = g->now_us;
        } else if ((g->flags & TCP_ACK) && side != initiator && (m->state & MEASURES_SYN)) {
            m->state |= MEASURES_SYN_ACK;
            m->client_us = g->now_us;
            m->server_us = g->now_us - m->handshake_us;
        }
        return;
    }
    /* where only the initiator's side is captured, its ACK is all there is to see */
    if (side != initiator || !(m->state & MEASURES_SYN) || !(g->flags & TCP_ACK) ||
        (g->flags & TCP_RST))
        return;
    m->state |= MEASURES_SHAKEN;
    if (m->state & MEASURES_SYN_ACK)
        m->client_us = g->now_us - m->client_us;
    m->handshake_us = g->now_us - m->handshake_us;
}

static void take_syn_of_side(Measures *m, unsigned side, const Packet *packet, const uint8_t *tcp,
                             uint16_t window) {
    Firsts syn = {0};
    take_syn(&syn, packet, tcp);
    note_syn(m, side, &syn, window);
}

/* an acknowledgement without anything else that is like the one before */
static bool is_repeated_ack(const TcpSide *s, const Segment *g) {
    return g->bytes == 0 && !(g->flags & (TCP_SYN | TCP_FIN | TCP_RST)) &&
           (s->state & (SIDE_SEQ | SIDE_ACK)) == (SIDE_SEQ | SIDE_ACK) && g->seq == s->next_seq &&
           g->ack == s->ack && g->window == s->window;
}

/* a segment that does not reach further: one that was late, or one sent again */
static void take_old(Measures *m, unsigned side, const Segment *g) {
    const TcpSide *s = &m->side.tcp[side];
    const TcpSide *o = &m->side.tcp[!side];
    enum { FAST_US = 20000, LATE_US = 3000, DUPLICATES = 2 };
    const bool fast = o->duplicates >= DUPLICATES && o->ack == g->seq &&
                      (uint32_t)(g->now_us - o->ack_us) < FAST_US;
    const bool had = (o->state & SIDE_ACK) && g->bytes > 0 && !seq_after(g->seq + g->bytes, o->ack);
    uint32_t late_us = (m->state & MEASURES_SHAKEN) && m->handshake_us ? m->handshake_us : LATE_US;
    const bool late =
        (uint32_t)(g->now_us - s->next_us) < late_us && s->next_seq != g->seq + g->span;
    if (!fast && !had && late)
        m->out_of_order[side]++;
    else
        m->retransmitted[side]++;
}

static void take_ack(Measures *m, unsigned side, const Segment *g) {
    TcpSide *s = &m->side.tcp[side];
    if (!(g->flags & TCP_ACK))
        return;
    if (!(s->state & SIDE_ACK) || g->ack != s->ack)
        s->duplicates = 0;
    if (!(s->state & SIDE_ACK) || g->ack != s->ack || g->bytes == 0)
        s->ack_us = g->now_us;
    s->ack = g->ack;
    s->window = g->window;
    s->state |= SIDE_ACK;
}

static void take_next(TcpSide *s, const Segment *g) {
    uint32_t next = g->seq + g->span;
    if ((s->state & SIDE_SEQ) && !seq_after(next, s->next_seq))
        return;
    s->next_seq = next;
    s->next_us = g->now_us;
    s->state |= SIDE_SEQ;
}

/*
 * Wireshark's order: a probe of a zero window, a zero window, a gap, keep-alives, repeated
 * acknowledgements, and then what does not reach further.
 */
static void take_sequence(Measures *m, unsigned side, const Segment *g) {
    TcpSide *s = &m->side.tcp[side];
    TcpSide *o = &m->side.tcp[!side];
    const bool known = s->state & SIDE_SEQ;
    const bool control = g->flags & (TCP_SYN | TCP_FIN | TCP_RST);
    const uint8_t answered = o->state & (SIDE_KEEP_ALIVE | SIDE_PROBE);
    s->state &= (uint8_t) ~(SIDE_KEEP_ALIVE | SIDE_PROBE);
    if (known && g->bytes == 1 && g->seq == s->next_seq && (o->state & SIDE_ACK) &&
        o->window == 0 && !control) {
        s->state |= SIDE_PROBE;
        take_ack(m, side, g);
        return;
    }
    if (g->window == 0 && !control)
        m->zero_windows[side]++;
    if (known && seq_after(g->seq, s->next_seq) && !(g->flags & TCP_RST))
        m->lost[side]++;
    if (known && g->bytes <= 1 && g->seq == s->next_seq - 1 && !control)
        s->state |= SIDE_KEEP_ALIVE;
    else if (is_repeated_ack(s, g)) {
        if (g->window != 0 && !(answered & SIDE_KEEP_ALIVE)) {
            m->duplicate_acks[side]++;
            if (s->duplicates < UINT8_MAX)
                s->duplicates++;
        }
    } else if (known && g->span && seq_after(s->next_seq, g->seq) && !(g->flags & TCP_RST))
        take_old(m, side, g);
    take_ack(m, side, g);
    if (!(g->flags & TCP_RST) || !known)
        take_next(s, g);
}

static void take_app(Measures *m, bool by_initiator, uint32_t now_us) {
    if (by_initiator && !(m->state & MEASURES_ASKED)) {
        m->state |= MEASURES_ASKED;
        m->app_us = now_us;
    } else if (!by_initiator && (m->state & MEASURES_ASKED)) {
        m->state |= MEASURES_ANSWERED;
        m->app_us = now_us - m->app_us;
    }
}

static void take_tcp(Measures *m, unsigned side, unsigned initiator, const Packet *packet) {
    const uint8_t *tcp = tcp_header(packet);
    if (!tcp)
        return;
    Cursor c = cursor_make(tcp + 8, TCP_HEADER_BYTES - 8);
    Segment g = {
        .now_us = us_of(packet->time_ns), .flags = packet->tcp_flags, .seq = packet->tcp_seq};
    g.ack = cursor_u32(&c);
    cursor_skip(&c, 2);
    g.window = cursor_u16(&c);
    g.bytes = wire_payload(packet);
    g.span = g.bytes + ((g.flags & (TCP_SYN | TCP_FIN)) != 0);
    if (g.flags & TCP_SYN)
        take_syn_of_side(m, side, packet, tcp, g.window);
    else if (g.window > m->side.tcp[side].window_max)
        m->side.tcp[side].window_max = g.window;
    take_sequence(m, side, &g);
    take_handshake(m, side, initiator, &g);
    if (g.bytes && !(m->state & MEASURES_ANSWERED))
        take_app(m, side == initiator, g.now_us);
}

/* --- packets ------------------------------------------------------------------------------ */

void measures_packet(Measures *m, unsigned side, unsigned initiator, const Packet *packet,
                     uint64_t last_ns) {
    m->sizes[size_bucket(packet->ip_bytes)]++;
    m->gaps[gap_bucket(packet->time_ns > last_ns ? packet->time_ns - last_ns : 0)]++;
    uint8_t ttl = packet->ttl;
    if (ttl && (m->ttl_min[side] == 0 || ttl < m->ttl_min[side]))
        m->ttl_min[side] = ttl;
    if (ttl > m->ttl_max[side])
        m->ttl_max[side] = ttl;
    if (packet->fragment == PACKET_FRAGMENT_LATER)
        return;
    if (m->state & MEASURES_TCP) {
        take_tcp(m, side, initiator, packet);
        return;
    }
    uint32_t now_us = us_of(packet->time_ns);
    jitter_packet(&m->side.udp[side], packet, now_us);
    if (!(m->state & MEASURES_ANSWERED))
        take_app(m, side == initiator, now_us);
}

void measures_split(Measures *m) {
    memset(m->sizes, 0, sizeof(m->sizes));
    memset(m->gaps, 0, sizeof(m->gaps));
    memset(m->retransmitted, 0, sizeof(m->retransmitted));
    memset(m->out_of_order, 0, sizeof(m->out_of_order));
    memset(m->lost, 0, sizeof(m->lost));
    memset(m->duplicate_acks, 0, sizeof(m->duplicate_acks));
    memset(m->zero_windows, 0, sizeof(m->zero_windows));
    for (unsigned s = 0; s < 2; s++) {
        if (m->state & MEASURES_TCP)
            m->side.tcp[s].window_max = 0;
        m->ttl_min[s] = m->ttl_max[s] = 0;
    }
    m->state |= MEASURES_TOLD;
}

/* --- records ------------------------------------------------------------------------------ */

/* printf would take a tenth of all the time of a probe that sees short flows */
static char *put_number(char *to, uint32_t v) {
    char digits[10];
    unsigned n = 0;
    do
        digits[n++] = (char)('0' + v % 10);
    while ((v /= 10) != 0);
    while (n > 0)
        *to++ = digits[--n];
    return to;
}

static char *put_part(char *to, uint32_t v) {
    *to++ = ':';
    return put_number(to, v);
}

static FlowText histogram(const uint32_t counts[MEASURES_BUCKETS], char text[MEASURES_TEXT_MAX]) {
    char *to = put_number(text, counts[0]);
    for (unsigned i = 1; i < MEASURES_BUCKETS; i++) {
        *to++ = ',';
        to = put_number(to, counts[i]);
    }
    return (FlowText){.text = text, .size = (uint32_t)(to - text)};
}

/* version:window:options:mss:scale:ttl:flags, as docs/measures.md has it */
static FlowText fingerprint(const Firsts *f, uint8_t ttl, char text[MEASURES_TEXT_MAX]) {
    static const char letters[16] = ".NMWKS..T......?"; /* by kind; those without one as a dot */
    char *to = text;
    *to++ = f->flags & FIRSTS_V6 ? '6' : '4';
    to = put_part(to, f->window);
    *to++ = ':';
    if (!f->options)
        *to++ = '-';
    for (uint32_t left = f->options; left; left >>= 4)
        *to++ = letters[left & 15];
    to = put_part(to, f->mss);
    if (f->flags & FIRSTS_SCALE) {
        to = put_part(to, f->scale);
    } else {
        *to++ = ':';
        *to++ = '-';
    }
    to = put_part(to, ttl);
    *to++ = ':';
    if (f->flags & FIRSTS_DF)
        *to++ = 'd';
    if (f->flags & FIRSTS_ECN)
        *to++ = 'e';
    return (FlowText){.text = text, .size = (uint32_t)(to - text)};
}

static void put_fingerprint(const Firsts *firsts, unsigned initiator, FlowRecord *record,
                            MeasuresTexts *texts) {
    if (firsts->flags & FIRSTS_SYN)
        record->tcp_fingerprint = fingerprint(firsts, firsts->ttl[initiator], texts->fingerprint);
}

void firsts_record(const Firsts *firsts, unsigned initiator, FlowRecord *record,
                   MeasuresTexts *texts) {
    record->ttl_min = record->ttl_max = firsts->ttl[initiator];
    record->rev_ttl_min = record->rev_ttl_max = firsts->ttl[!initiator];
    if (firsts->flags & FIRSTS_SYN) {
        record->tcp_mss = firsts->mss;
        record->tcp_window_max = firsts->window;
        put_fingerprint(firsts, initiator, record, texts);
    }
}

static uint32_t window_max(const Measures *m, unsigned side) {
    const TcpSide *s = &m->side.tcp[side];
    /* scaled is what both have offered (RFC 7323 section 2.2); one that was not seen may have */
    const uint8_t other = m->side.tcp[!side].state;
    const bool scaled = (s->state & SIDE_SCALE) && (!(other & SIDE_SYN) || (other & SIDE_SCALE));
    uint32_t syn = m->window_syn[side];
    uint32_t max = (uint32_t)s->window_max << (scaled ? s->scale : 0);
    return max > syn || (m->state & MEASURES_TOLD) ? max : syn;
}

static void put_tcp(const Measures *m, unsigned i, FlowRecord *record) {
    unsigned r = !i;
    record->retransmitted = m->retransmitted[i];
    record->rev_retransmitted = m->retransmitted[r];
    record->out_of_order = m->out_of_order[i];
    record->rev_out_of_order = m->out_of_order[r];
    record->lost = m->lost[i];
    record->rev_lost = m->lost[r];
    record->duplicate_acks = m->duplicate_acks[i];
    record->rev_duplicate_acks = m->duplicate_acks[r];
    record->zero_windows = m->zero_windows[i];
    record->rev_zero_windows = m->zero_windows[r];
    record->tcp_window_max = window_max(m, i);
    record->rev_tcp_window_max = window_max(m, r);
    record->tcp_mss = m->mss[i];
    record->rev_tcp_mss = m->mss[r];
}

/* what happens once in a flow is told in the record of the part in which it did */
static void put_once(const Measures *m, FlowRecord *record) {
    if (m->state & MEASURES_SHAKEN) {
        record->handshake_us = m->handshake_us;
        record->client_latency_us = m->client_us / 2;
    }
    if (m->state & MEASURES_SYN_ACK)
        record->server_latency_us = m->server_us / 2;
    if (m->state & MEASURES_ANSWERED)
        record->app_latency_us = m->app_us;
}

void measures_record(const Measures *m, unsigned i, FlowRecord *record, MeasuresTexts *texts) {
    uint64_t packets = 0;
    for (unsigned b = 0; b < MEASURES_BUCKETS; b++)
        packets += m->sizes[b];
    if (packets >= MEASURES_HISTOGRAM_MIN) {
        record->packet_sizes = histogram(m->sizes, texts->sizes);
        record->packet_gaps = histogram(m->gaps, texts->gaps);
    }
    record->ttl_min = m->ttl_min[i];
    record->ttl_max = m->ttl_max[i];
    record->rev_ttl_min = m->ttl_min[!i];
    record->rev_ttl_max = m->ttl_max[!i];
    if (!(m->state & MEASURES_TOLD)) {
        put_once(m, record);
        put_fingerprint(&m->firsts, i, record, texts);
    }
    if (m->state & MEASURES_TCP) {
        put_tcp(m, i, record);
        return;
    }
    record->jitter_us = jitter_us(&m->side.udp[i]);
    record->rev_jitter_us = jitter_us(&m->side.udp[!i]);
}
