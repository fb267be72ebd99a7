/* SPDX-License-Identifier: Apache-2.0 */

#include "probe/jitter.h"

#include "base/cursor.h"

enum {
    RTP_BYTES = 12,
    RTP_DYNAMIC = 96,
    RTP_JUMP_MAX = 64, /* sequence numbers missing between two packets of a stream */
    CLOCK_WAIT_US = 500000,
};

/* UdpSide.state */
enum {
    SIDE_BEGUN = 1,  /* there was a packet before */
    SIDE_GAP = 2,    /* and a gap */
    SIDE_RTP = 4,    /* the one before looked like RTP */
    SIDE_STREAM = 8, /* and so did the one before that: it is RTP */
};

static const uint32_t clocks[] = {8000, 16000, 32000, 44100, 48000, 90000};
enum { CLOCKS = sizeof(clocks) / sizeof(clocks[0]) };

/* 1 + index of the rate; RFC 3551 section 6, 0: none */
static uint8_t clock_of_type(uint8_t type) {
    if (type == 10 || type == 11)
        return 4;
    if (type == 14 || (type >= 25 && type <= 34))
        return 6;
    return type <= 18 ? 1 : 0;
}

typedef struct Rtp {
    uint32_t stamp, source;
    uint16_t sequence;
    uint8_t type;
} Rtp;

/* RFC 3550 section 5.1:  version 2, padding, extension, sources 4 | marker, type 7 | sequence |
 *                        time stamp | source */
static bool rtp_read(Rtp *rtp, const Packet *packet) {
    Cursor c = cursor_make(packet->payload, packet->payload ? packet->payload_bytes : 0);
    if (packet->protocol != IP_UDP || cursor_left(&c) < RTP_BYTES)
        return false;
    uint8_t first = cursor_u8(&c);
    rtp->type = cursor_u8(&c) & 0x7f;
    rtp->sequence = cursor_u16(&c);
    rtp->stamp = cursor_u32(&c);
    rtp->source = cursor_u32(&c);
    const bool rtcp = rtp->type >= 72 && rtp->type <= 76; /* RFC 5761 section 4 */
    return first >> 6 == 2 && !rtcp && (rtp->type <= 34 || rtp->type >= RTP_DYNAMIC);
}

void jitter_begin(UdpSide *side, uint32_t us) {
    *side = (UdpSide){.last_us = us, .state = SIDE_BEGUN};
}

static void jitter_add(UdpSide *side, int64_t d) {
    uint32_t off = (uint32_t)(d < 0 ? -d : d);
    side->jitter += off - ((side->jitter + 8) >> 4);
}

static void clock_learn(UdpSide *side, const Rtp *rtp, uint32_t now_us) {
    uint32_t us = now_us - side->gap_us;
    if (us < CLOCK_WAIT_US)
        return;
    uint64_t rate = (uint64_t)(rtp->stamp - side->jitter) * 1000000 / us;
    unsigned best = 0;
    for (unsigned i = 1; i < CLOCKS; i++) {
        uint64_t off = rate > clocks[i] ? rate - clocks[i] : clocks[i] - rate;
        uint64_t best_off = rate > clocks[best] ? rate - clocks[best] : clocks[best] - rate;
        if (off < best_off)
            best = i;
    }
    side->clock = (uint8_t)(best + 1);
    side->jitter = 0;
}

static void stream_begin(UdpSide *side, const Rtp *rtp, uint32_t now_us) {
    side->state |= SIDE_STREAM;
    side->clock = clock_of_type(rtp->type);
    side->jitter = side->clock ? 0 : rtp->stamp;
    side->gap_us = now_us;
}

/* false: it is none of a stream */
static bool take_rtp(UdpSide *side, const Rtp *rtp, uint32_t now_us) {
    uint16_t jump = (uint16_t)(rtp->sequence - side->sequence);
    if (!(side->state & SIDE_RTP) || rtp->source != side->source || jump == 0 ||
        jump > RTP_JUMP_MAX)
        return false;
    if (!(side->state & SIDE_STREAM))
        stream_begin(side, rtp, now_us);
    else if (!side->clock)
        clock_learn(side, rtp, now_us);
    else {
        int64_t sent_us =
            (int64_t)(int32_t)(rtp->stamp - side->stamp) * 1000000 / clocks[side->clock - 1];
        int64_t came_us = (int32_t)(now_us - side->last_us);
        if (sent_us > -10000000 && sent_us < 10000000) /* else the clock was set */
            jitter_add(side, came_us - sent_us);
    }
    return true;
}

static void take_gap(UdpSide *side, uint32_t now_us) {
    uint32_t gap = now_us - side->last_us;
    if (side->state & SIDE_GAP)
        jitter_add(side, (int64_t)gap - side->gap_us);
    side->gap_us = gap;
    side->state |= SIDE_GAP;
}

void jitter_packet(UdpSide *side, const Packet *packet, uint32_t now_us) {
    Rtp rtp;
    const bool looks = rtp_read(&rtp, packet);
    if (!(side->state & SIDE_BEGUN))
        jitter_begin(side, now_us);
    else if (looks && take_rtp(side, &rtp, now_us))
        side->state &= (uint8_t)~SIDE_GAP;
    else if (!(side->state & SIDE_STREAM))
        take_gap(side, now_us);
    else
        return; /* what is between the packets of a stream is not of it */
    side->last_us = now_us;
    side->state &= (uint8_t)~SIDE_RTP;
    if (looks) {
        side->state |= SIDE_RTP;
        side->stamp = rtp.stamp;
        side->source = rtp.source;
        side->sequence = rtp.sequence;
    }
}

uint32_t jitter_us(const UdpSide *side) {
    if ((side->state & SIDE_STREAM) && !side->clock)
        return 0;
    return side->jitter >> 4;
}
