/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Input: packets of 6 bytes, each a fragment: kind (bits: later, IPv6, around another, tunnel,
 * expire), id, host, seconds since the one before in sixteenths, size, depth. Whatever the order,
 * every packet that goes in comes out once, and what waits is what the cache says.
 */

#include <stdlib.h>
#include <string.h>

#include "net/fragment.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { LATER = 1, V6 = 2, AROUND = 4, TUNNEL = 8, EXPIRE = 16 };

static Packet packet_of(const uint8_t *d, uint64_t now_ns) {
    static const uint8_t macs[12];
    Packet p = {.time_ns = now_ns,
                .macs = d[0] & V6 ? NULL : macs,
                .protocol = IP_UDP,
                .ip_version = d[0] & V6 ? 6 : 4,
                .src_port = 1,
                .dst_port = d[1],
                .frame_bytes = d[4],
                .ip_bytes = d[4],
                .fragment_bytes = d[4] / 2,
                .path.depth = (uint8_t)(d[0] & TUNNEL ? 1 + d[5] % TUNNEL_DEPTH_MAX : 0)};
    p.src[0] = d[2];
    p.n_datagrams = d[0] & AROUND ? 2 : 1;
    for (unsigned i = 0; i < p.n_datagrams; i++) {
        p.datagrams[i] = (Datagram){.id = d[1] + i, .ip_version = p.ip_version};
        p.datagrams[i].src[0] = d[2];
        p.datagrams[i].part = i == p.n_datagrams - 1u && (d[0] & LATER) ? PACKET_FRAGMENT_LATER
                                                                        : PACKET_FRAGMENT_FIRST;
    }
    return p;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    FragmentCache *cache = NULL;
    if (fragment_cache_new(&cache, 16, 6, 1) < 0)
        return 0;
    uint64_t now_ns = 1;
    FragmentHeld in = {0};
    Packet p;
    bool known = false;
    for (; size >= 6; data += 6, size -= 6) {
        now_ns += data[3] * UINT64_C(62500000);
        p = packet_of(data, now_ns);
        uint32_t bytes = p.frame_bytes;
        if (fragment_resolve(cache, &p) == FRAGMENT_E_HELD) {
            in.packets++;
            in.frame_bytes += bytes;
        }
        if (data[0] & EXPIRE)
            fragment_expire(cache, now_ns);
        while ((data[5] & 1) && fragment_take(cache, &p, &known)) {
            in.packets--;
            in.frame_bytes -= p.frame_bytes;
        }
        FragmentHeld held = fragment_held(cache);
        if (held.packets != in.packets || held.frame_bytes != in.frame_bytes || held.packets > 6)
            abort();
    }
    fragment_expire(cache, UINT64_MAX);
    for (; fragment_take(cache, &p, &known); in.packets--)
        in.frame_bytes -= p.frame_bytes;
    if (in.packets || in.frame_bytes)
        abort();
    fragment_cache_free(cache);
    return 0;
}
