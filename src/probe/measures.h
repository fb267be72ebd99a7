#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Measures
 *
 * How well a flow goes: handshake and latencies, what of TCP was lost, repeated or out of order,
 * windows, jitter, and how its packets are spread over sizes and gaps. 192 bytes for a flow that
 * has more than a packet or two; a packet touches the first 128.
 *
 * TCP's events are told by the rules of Wireshark's sequence analysis, as far as one pass with this
 * memory allows; docs/measures.md has them, and where they differ. One thread; no allocation.
 */

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>

#include "flow/record.h"
#include "net/dissect.h"

enum {
    MEASURES_BUCKETS = 6,
    MEASURES_HISTOGRAM_MIN = 16, /* packets of a flow whose histograms are told */
    MEASURES_TEXT_MAX = 80,
};

/* the first packet of each side; of TCP where the flow's first one ended. Kept for every flow */
typedef struct Firsts {
    uint32_t next_seq;
    uint32_t options; /* of a SYN: kinds of its options, four bits each, the first one lowest, 15
                         for any other; else its acknowledgement */
    uint16_t window;
    uint16_t mss;
    uint8_t scale;
    uint8_t flags;  /* FIRSTS_... */
    uint8_t ttl[2]; /* by side */
} Firsts;

enum {
    FIRSTS_SYN = 1,
    FIRSTS_SCALE = 2, /* it has a window scale */
    FIRSTS_ECN = 4,   /* ECE and CWR */
    FIRSTS_DF = 8,    /* do not fragment; of IPv6 always */
    FIRSTS_V6 = 16,
    FIRSTS_TCP = 32, /* its header was all there */
    FIRSTS_ACK = 64,
    FIRSTS_SYN_ACK = 128, /* the answer to a SYN that was not seen */
};

typedef struct TcpSide {
    uint32_t next_seq; /* behind the furthest byte */
    uint32_t ack;
    uint32_t next_us; /* when that was sent */
    uint32_t ack_us;
    uint16_t window; /* as in the last header */
    uint16_t window_max;
    uint8_t duplicates; /* acknowledgements alike since the last one that was new */
    uint8_t scale;
    uint8_t state; /* SIDE_... */
    uint8_t spare;
} TcpSide;

typedef struct UdpSide {
    uint32_t jitter; /* times 16; of RTP whose clock is not known yet the first time stamp */
    uint32_t last_us;
    uint32_t gap_us; /* of RTP whose clock is not known yet the time of its first packet */
    uint32_t stamp;  /* of RTP */
    uint32_t source;
    uint16_t sequence;
    uint8_t state; /* SIDE_... */
    uint8_t clock; /* of RTP: 1 + index of its rate */
} UdpSide;

typedef struct Measures {
    union {
        TcpSide tcp[2];
        UdpSide udp[2];
    } side;
    uint8_t ttl_min[2];
    uint8_t ttl_max[2];
    uint8_t state; /* MEASURES_... */
    uint8_t spare[3];
    uint16_t mss[2];
    uint16_t window_syn[2]; /* of SYN and SYN-ACK, which are never scaled */
    /* second line */
    uint32_t sizes[MEASURES_BUCKETS];
    uint32_t gaps[MEASURES_BUCKETS];
    uint32_t handshake_us; /* until it is over the time of the SYN */
    uint32_t client_us;    /* until it is over the time of the SYN-ACK */
    uint32_t server_us;
    uint32_t app_us; /* until it is answered the time of the question */
    /* third line */
    uint32_t retransmitted[2];
    uint32_t out_of_order[2];
    uint32_t lost[2];
    uint32_t duplicate_acks[2];
    uint32_t zero_windows[2];
    Firsts firsts;
    uint32_t spare_2[2];
} Measures;

static_assert(sizeof(Firsts) == 16, "four to a cache line");
static_assert(sizeof(Measures) == 192, "three cache lines");

/** measures_prefetch() - all of it */
static inline void measures_prefetch(const Measures *measures) {
    __builtin_prefetch(measures, 1);
    __builtin_prefetch((const uint8_t *)measures + 64, 1);
    __builtin_prefetch((const uint8_t *)measures + 128, 1);
}

/** firsts_note() - the first packet of a side; `first` is it of the flow too */
void firsts_note(Firsts *firsts, unsigned side, const Packet *packet, bool first);

/** measures_begin() - of a flow that had packets before: one, or one of each side */
typedef struct MeasuresBefore {
    uint64_t first_ns, last_ns;
    uint32_t packets[2]; /* each 0 or 1 */
    uint32_t octets[2];
    bool tcp;
    unsigned initiator;
} MeasuresBefore;

void measures_begin(Measures *measures, const Firsts *firsts, const MeasuresBefore *before);

/** measures_packet() - `last_ns` is when the flow's packet before it came */
void measures_packet(Measures *measures, unsigned side, unsigned initiator, const Packet *packet,
                     uint64_t last_ns);

/** measures_split() - a record was made and the flow goes on: counts begin again */
void measures_split(Measures *measures);

/* where the texts of a record stay */
typedef struct MeasuresTexts {
    char sizes[MEASURES_TEXT_MAX];
    char gaps[MEASURES_TEXT_MAX];
    char fingerprint[MEASURES_TEXT_MAX];
} MeasuresTexts;

/** measures_record() - into a record that has addresses, packets and protocol already */
void measures_record(const Measures *measures, unsigned initiator, FlowRecord *record,
                     MeasuresTexts *texts);

/** firsts_record() - the same of a flow without measures */
void firsts_record(const Firsts *firsts, unsigned initiator, FlowRecord *record,
                   MeasuresTexts *texts);
