#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Fragments
 *
 * Only the first fragment of a datagram carries ports, and only it says what a tunnel holds. This
 * cache keeps what it said, by what all fragments of the datagram have in common, and gives it to
 * the others, so that all count into one flow. Those that come before the first one wait for it, at
 * most 3 s of packet time, and are then handed out as they are.
 *
 * Fixed size: datagrams in sets of four, of which the oldest makes room; a limited number of
 * packets wait. A datagram is remembered until 30 s after its last fragment (RFC 791 suggests 15 s
 * from the first, RFC 8200 60 s). Time comes with the packets. One thread.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "net/dissect.h"

typedef struct FragmentCache FragmentCache;

enum {
    _FRAGMENT_E_SUCCESS,
    FRAGMENT_E_UNKNOWN, /* the first one is not known, and there is no room to wait for it */
    FRAGMENT_E_HELD,    /* the packet waits in the cache: fragment_take() gives it back */
};

typedef struct FragmentHeld {
    uint64_t packets;
    uint64_t frame_bytes;
} FragmentHeld;

/** fragment_cache_new() - for so many datagrams, and so many packets that wait */
int fragment_cache_new(FragmentCache **cachep, uint32_t datagrams, uint32_t held, uint64_t seed);
FragmentCache *fragment_cache_free(FragmentCache *cache);

/** fragment_resolve() - of a packet with datagrams: learn what it says, or fill in what is known */
int fragment_resolve(FragmentCache *cache, Packet *packet);

/** fragment_expire() - what has waited too long is given up; now_ns UINT64_MAX: all that waits */
void fragment_expire(FragmentCache *cache, uint64_t now_ns);

/** fragment_take() - the next packet that waits no more, false when there is none. Known: filled
 * in, else given up. Its macs stay good until the next call; its bytes are gone. */
bool fragment_take(FragmentCache *cache, Packet *packet, bool *knownp);

/** fragment_held() - what is in the cache now */
FragmentHeld fragment_held(const FragmentCache *cache);

DEFINE_CLEANUP(FragmentCache *, fragment_cache_free)
