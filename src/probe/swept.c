/* SPDX-License-Identifier: Apache-2.0 */

#include "probe/swept.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/hash.h"
#include "net/dissect.h"

enum {
    PLACES = 2048, /* a power of two */
    EXACT_MAX = 1024,
    WIDER_MAX = PLACES - 64, /* beyond it only by protocol, of which there are few */
};

struct Swept {
    uint64_t seed;
    uint64_t since_ns;
    uint32_t used;
    uint32_t taken; /* places looked at by swept_take() */
    SweptFlow places[PLACES];
};

static_assert(sizeof(SweptKey) == 24, "hashed and compared as bytes");

int swept_new(Swept **sweptp, uint64_t seed) {
    Swept *swept = calloc(1, sizeof(*swept));
    if (!swept)
        return error_origin(-ENOMEM);
    swept->seed = seed;
    *sweptp = swept;
    return 0;
}

Swept *swept_free(Swept *swept) {
    free(swept);
    return NULL;
}

/* that of this key, or a free one if not more than `most` are in use, or NULL */
static SweptFlow *place_of(Swept *swept, const SweptKey *key, uint32_t most) {
    uint64_t at = hash_bytes(key, sizeof(*key), swept->seed);
    for (;; at++) {
        SweptFlow *place = &swept->places[at & (PLACES - 1)];
        if (place->flows && memcmp(&place->key, key, sizeof(*key)) == 0)
            return place;
        if (place->flows)
            continue;
        if (swept->used >= most)
            return NULL;
        swept->used++;
        *place = (SweptFlow){.key = *key, .first_ns = UINT64_MAX};
        return place;
    }
}

static SweptFlow *find_place(Swept *swept, const SweptKey *key) {
    SweptKey wider = *key;
    SweptFlow *place = place_of(swept, &wider, EXACT_MAX);
    if (!place) {
        memset(wider.address, 0, sizeof(wider.address));
        wider.vlan = wider.inner_vlan = 0;
        place = place_of(swept, &wider, WIDER_MAX);
    }
    if (!place) {
        wider.port = 0;
        if (wider.protocol != IP_TCP && wider.protocol != IP_UDP && wider.protocol != IP_ICMP)
            wider.protocol = 0;
        place = place_of(swept, &wider, PLACES - 1);
    }
    return place; /* of the last kind there are eight at most, and they have room */
}

void swept_add(Swept *swept, const SweptFlow *flow, uint64_t now_ns) {
    SweptFlow *to = find_place(swept, &flow->key);
    if (to->flows++ == 0)
        to->input_if = flow->input_if;
    else if (to->input_if != flow->input_if)
        to->input_if = 0;
    for (unsigned side = 0; side < 2; side++) {
        to->packets[side] += flow->packets[side];
        to->octets[side] += flow->octets[side];
        to->frame_octets[side] += flow->frame_octets[side];
        to->tcp_flags[side] |= flow->tcp_flags[side];
    }
    if (flow->first_ns < to->first_ns)
        to->first_ns = flow->first_ns;
    if (flow->last_ns > to->last_ns)
        to->last_ns = flow->last_ns;
    if (!swept->since_ns)
        swept->since_ns = now_ns;
}

uint64_t swept_since(const Swept *swept) {
    return swept->since_ns;
}

bool swept_take(Swept *swept, SweptFlow *flow) {
    for (; swept->used && swept->taken < PLACES; swept->taken++) {
        SweptFlow *place = &swept->places[swept->taken];
        if (!place->flows)
            continue;
        *flow = *place;
        place->flows = 0;
        swept->used--;
        return true;
    }
    swept->taken = 0;
    swept->since_ns = 0;
    return false;
}

void swept_sum(const Swept *swept, uint64_t *packetsp, uint64_t *frame_octetsp) {
    *packetsp = *frame_octetsp = 0;
    for (uint32_t i = 0; swept->used && i < PLACES; i++) {
        const SweptFlow *place = &swept->places[i];
        if (!place->flows)
            continue;
        *packetsp += place->packets[0] + place->packets[1];
        *frame_octetsp += place->frame_octets[0] + place->frame_octets[1];
    }
}
