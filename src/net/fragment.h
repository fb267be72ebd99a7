#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Fragments
 *
 * Only the first fragment of a datagram carries ports. This cache keeps them, keyed by addresses,
 * VLAN, protocol and id, and gives them to the later fragments, so that all count into one flow.
 * Fixed size, sets of four, the oldest of a set makes room; an entry is good until 30 s after the
 * last fragment (RFC 791 suggests 15 s from the first, RFC 8200 60 s). A fragment that comes before
 * the first one stays without ports.
 */

#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "net/dissect.h"

typedef struct FragmentCache FragmentCache;

enum {
    _FRAGMENT_E_SUCCESS,
    FRAGMENT_E_UNKNOWN, /* a later fragment whose first one is not known */
};

int fragment_cache_new(FragmentCache **cachep, size_t entries, uint64_t seed);
FragmentCache *fragment_cache_free(FragmentCache *cache);

/** fragment_resolve() - of a packet that is a fragment: learn its ports, or fill them in */
int fragment_resolve(FragmentCache *cache, Packet *packet);

DEFINE_CLEANUP(FragmentCache *, fragment_cache_free)
