#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Flow Entries
 *
 * A live flow in memory: 128 bytes that a packet touches (two cache lines) and 64 that it does
 * not. Both directions share an entry: the key is put in one order (the lower address and port
 * first), counters are kept per side, and which side is the initiator is one bit.
 */

#include <assert.h>
#include <stdint.h>

#include "net/tunnel.h"

typedef struct FlowKey {
    uint8_t address[2][16]; /* side 0 is the lower one; IPv4 in the first four bytes */
    uint16_t port[2];
    uint16_t vlan; /* as far as --vlan-key lets them in, else 0 */
    uint16_t inner_vlan;
    uint8_t protocol;
    uint8_t ip_version;
    uint8_t zero[2];
} FlowKey;

enum {
    ENTRY_FIN_0 = 1,      /* side 0 sent FIN, and... */
    ENTRY_FIN_1 = 2,      /* ...side 1 */
    ENTRY_CLOSING = 4,    /* TCP end seen: the flow lingers for trailing packets */
    ENTRY_INITIATOR = 8,  /* the side that opened the flow */
    ENTRY_SYN = 16,       /* told by SYN, no doubt about the direction */
    ENTRY_REVERSED = 32,  /* told against the first packet, by port or protocol */
    ENTRY_SPLIT = 64,     /* a record of it was made already: the direction stays */
    ENTRY_DPI_DONE = 128, /* nDPI has nothing more to see */
};

typedef struct FlowEntry {
    FlowKey key;
    uint8_t state;   /* ENTRY_..., or-ed */
    uint8_t sampled; /* Meter.sampled when it was begun or last split */
    uint16_t wheel_slot;
    uint64_t last_ns;
    uint32_t packets[2];
    /* second line */
    uint64_t first_ns;
    uint64_t octets[2];
    uint64_t frame_octets[2];
    uint16_t tcp_flags[2];
    uint32_t wheel_next;
    uint32_t wheel_prev;
    uint32_t pulse_octets[2]; /* since the last pulse */
    uint32_t pulse_packets;
} FlowEntry;

static_assert(sizeof(FlowKey) == 44, "hashed and compared as bytes");
static_assert(sizeof(FlowEntry) == 128, "two cache lines");

typedef struct FlowMore {
    uint64_t id;
    uint64_t risk;
    uint8_t mac[2][6]; /* by side, as of the first packet */
    uint8_t tos[2];
    uint8_t icmp_type;
    uint8_t icmp_code;
    uint16_t app;
    uint16_t app_master;
    uint16_t app_category;
    uint16_t risk_score;
    uint8_t confidence;
    uint8_t dpi_packets;
    uint8_t has_macs;
    uint8_t name_bytes;
    uint32_t name;     /* number in the pool of server names, 0: none */
    uint32_t sampling; /* one of so many packets was counted; 0: all */
    uint32_t dpi;      /* number of nDPI's state, 0: none */
    uint32_t path;     /* number in the pool of paths, 0: nothing carried it */
    uint16_t vlan;     /* tags of the first packet */
    uint16_t inner_vlan;
} FlowMore;

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

static_assert(sizeof(FlowMore) == 64, "one cache line");

static inline unsigned entry_initiator(const FlowEntry *entry) {
    return entry->state & ENTRY_INITIATOR ? 1 : 0;
}
