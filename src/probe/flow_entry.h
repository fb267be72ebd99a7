#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Flow Entries
 *
 * A live flow in memory, in parts by how often they are needed: FlowEntry is the one cache line
 * that every packet touches; FlowMore is for the first and the last packet and for timers; FlowApp
 * is what nDPI found; pairs, paths, measures and metadata are in
 * pools of their own for flows that have them.
 * The first three go by the same number.
 *
 * Both directions share an entry: ends are put in one order (the lower address and port first),
 * counters are kept per side, and which side is the initiator is one bit.
 */

#include <assert.h>
#include <stdint.h>

#include "net/tunnel.h"

/* what tells flows apart, for who wants to read it */
typedef struct FlowKey {
    uint8_t address[2][16]; /* side 0 is the lower one; IPv4 in the first four bytes */
    uint16_t port[2];
    uint16_t vlan; /* as far as --vlan-key lets them in, else 0 */
    uint16_t inner_vlan;
    uint8_t protocol;
    uint8_t ip_version;
} FlowKey;

/* the same as it is kept and compared */
typedef struct FlowTag {
    uint32_t address[2]; /* IPv4: their bytes; IPv6: number of the pair, and 32 bits of its hash */
    uint16_t port[2];
    uint16_t vlan;
    uint16_t inner_vlan;
    uint8_t protocol;
    uint8_t ip_version;
    uint8_t zero[2];
} FlowTag;

/* the addresses of an IPv6 flow */
typedef struct FlowPair {
    uint8_t address[2][16];
} FlowPair;

enum {
    ENTRY_FIN_0 = 1,      /* side 0 sent FIN, and... */
    ENTRY_FIN_1 = 2,      /* ...side 1 */
    ENTRY_CLOSING = 4,    /* TCP end seen: the flow lingers for trailing packets */
    ENTRY_INITIATOR = 8,  /* the side that opened the flow */
    ENTRY_SYN = 16,       /* told by SYN, no doubt about the direction */
    ENTRY_REVERSED = 32,  /* told against the first packet, by port or protocol */
    ENTRY_SPLIT = 64,     /* a record of it was made already: the direction stays */
    ENTRY_DPI_DONE = 128, /* nDPI has nothing more to see */
    ENTRY_PULSED = 256,   /* has a place in the pulse of this second */
    ENTRY_NEARLY = 512,   /* the active timeout is near: packets are held against it */
    ENTRY_TOLD = 1024,    /* a well-known port, its type or nDPI has told the direction */
};

typedef struct FlowEntry {
    FlowTag tag;
    uint8_t sampled; /* Meter.sampled when it was begun or last split */
    uint8_t inputs;  /* by which each side's packets came, plus 1: four bits each */
    uint16_t state;  /* ENTRY_..., or-ed */
    uint16_t tcp_flags[2];
    uint32_t packets[2];
    uint32_t octets[2];       /* the lower 32 bits; FlowMore has the rest */
    uint32_t frame_octets[2]; /* the same */
    uint32_t measures;        /* number in the pool of measures, 0: it has none */
    uint64_t last_ns;
} FlowEntry;

typedef struct FlowMore {
    uint64_t id;
    uint64_t first_ns;
    uint16_t octets_high[2]; /* above the entry's 32 bits */
    uint16_t frame_octets_high[2];
    uint32_t wheel_next;
    uint32_t wheel_prev;
    uint16_t wheel_slot;
    uint8_t mac[2][6]; /* by side, as of the first packet */
    uint8_t tos[2];
    uint8_t icmp_type;
    uint8_t icmp_code;
    uint8_t has_macs;
    uint8_t dpi_packets;
    uint32_t path;  /* number in the pool of paths, 0: nothing carried it */
    uint32_t pulse; /* its place there, while ENTRY_PULSED */
    uint16_t vlan;  /* tags of the first packet */
    uint16_t inner_vlan;
} FlowMore;

/* never touched without nDPI */
typedef struct FlowApp {
    uint64_t risk;
    uint32_t metadata; /* number of its first chunk (metadata.h), 0: none */
    uint32_t dpi;      /* number of nDPI's state, 0: none */
    uint16_t app;
    uint16_t master;
    uint8_t category;
    uint8_t confidence;
    uint8_t spare[2];
} FlowApp;

/* what carried a flow; by side as of the first packet from there */
typedef struct FlowPath {
    uint8_t address[2][16]; /* outside, of packets from the initiator's side: that of side 0, 1 */
    uint32_t id[2];
    uint32_t mpls_label;
    uint16_t vlan;
    uint8_t ip_version; /* of the addresses; 0: none */
    uint8_t depth;
    uint8_t types[TUNNEL_DEPTH_MAX];
} FlowPath;

static_assert(sizeof(FlowTag) == 20, "hashed and compared as bytes");
static_assert(sizeof(FlowEntry) == 64, "one cache line");
static_assert(sizeof(FlowMore) == 64, "one cache line");
static_assert(sizeof(FlowApp) == 24, "no holes");

/* the frame's input by which packets of a side come, -1: there were none */
static inline int entry_input(const FlowEntry *entry, unsigned side) {
    return (entry->inputs >> (4 * side) & 15) - 1;
}

static inline void entry_set_input(FlowEntry *entry, unsigned side, unsigned input) {
    const unsigned kept = entry->inputs & (15u << (4 * !side));
    entry->inputs = (uint8_t)(kept | ((input + 1) & 15) << (4 * side));
}

static inline unsigned entry_initiator(const FlowEntry *entry) {
    return entry->state & ENTRY_INITIATOR ? 1 : 0;
}

static inline uint64_t flow_octets(const FlowEntry *entry, const FlowMore *more, unsigned side) {
    return (uint64_t)more->octets_high[side] << 32 | entry->octets[side];
}

static inline uint64_t flow_frame_octets(const FlowEntry *entry, const FlowMore *more,
                                         unsigned side) {
    return (uint64_t)more->frame_octets_high[side] << 32 | entry->frame_octets[side];
}

static inline uint64_t flow_packets(const FlowEntry *entry) {
    return (uint64_t)entry->packets[0] + entry->packets[1];
}
