#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Dissection, inside
 *
 * dissect.c holds the links and what stands behind an ethertype, dissect_ip.c IP and transport,
 * dissect_tunnel.c what carries other packets. A step reads one layer off the walk's cursor and
 * goes on to the next: its answer is that of the whole rest.
 */

#include <stdbool.h>
#include <stddef.h>

#include "base/cursor.h"
#include "net/dissect.h"

typedef struct Walk {
    Cursor c;
    Packet *p;
    const Frame *frame;
    size_t wire_end; /* of the innermost layer so far, from the first byte of the frame */
    unsigned nested; /* headers after which a frame or another chain of types begins */
    DissectMode mode;
} Walk;

/* 0, or a DISSECT_E_ answer */
typedef int DissectStep(Walk *w);

DissectStep dissect_ethernet;
DissectStep dissect_ppp;
DissectStep dissect_mpls;
DissectStep dissect_ipv4;
DissectStep dissect_ipv6;
DissectStep dissect_ip;         /* either, by its first bits */
DissectStep dissect_fitting_ip; /* one that is not longer than what is there */

/* what a tunnel's protocol number or port stands for; false: not entered, the cursor is where it
 * was and the packet is that of the tunnel */
typedef bool TunnelStep(Walk *w);

TunnelStep tunnel_ipv4;
TunnelStep tunnel_ipv6;
TunnelStep tunnel_gre;
TunnelStep tunnel_etherip;
TunnelStep tunnel_srv6;
TunnelStep tunnel_mpls;

/** tunnel_udp() - by the ports, the cursor behind the UDP header */
bool tunnel_udp(Walk *w);

/** tunnel_likely() - false: none of those of tunnel_udp(). A bit for each port in its six lower
 * ones: most others need no search */
static inline bool tunnel_likely(uint16_t src_port, uint16_t dst_port) {
    const uint64_t marks = UINT64_C(1) << (4789 & 63) | UINT64_C(1) << (8472 & 63) |
                           UINT64_C(1) << (6081 & 63) | UINT64_C(1) << (2152 & 63) |
                           UINT64_C(1) << (4754 & 63) | UINT64_C(1) << (1701 & 63) |
                           UINT64_C(1) << (3544 & 63);
    return (marks >> (dst_port & 63) | marks >> (src_port & 63)) & 1;
}

/** dissect_walk() - dissect_frame() without its straight way, layer by layer */
int dissect_walk(const Frame *frame, DissectMode mode, Packet *packet);

/** tunnel_enter() - go on with what the tunnel carries (id 0: has none); on an answer everything is
 * as it was before, but for a note of what was wrong */
int tunnel_enter(Walk *w, TunnelType type, uint32_t id, DissectStep *inner);

/** walk_try() - a step that leaves no trace unless it answers 0 */
int walk_try(Walk *w, DissectStep *step);

/* of bytes that a cursor gave: a header is taken at once, for that costs one comparison */
static inline uint16_t load_u16(const uint8_t *at) {
    return (uint16_t)(at[0] << 8 | at[1]);
}

static inline uint32_t load_u32(const uint8_t *at) {
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

/** walk_bound() - what follows ends after so many bytes, if not before */
static inline void walk_bound(Walk *w, size_t bytes) {
    size_t end = (size_t)(w->c.at - w->frame->bytes) + bytes;
    if (bytes < (size_t)(w->c.end - w->c.at))
        w->c.end = w->c.at + bytes;
    if (end < w->wire_end)
        w->wire_end = end;
}
