#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Swept Flows
 *
 * Under a flood the table is full of flows of a single packet and of TCP connections that were
 * never opened, and each new one pushes out an old one. A record for each would make a flood of
 * records of it. So they are told together: one record for all that went to the same address,
 * port, protocol and VLAN, with the number of flows, all their packets and bytes, and nobody
 * (0.0.0.0 or ::) as the initiator. Nothing of what was counted is lost, only who it was.
 *
 * A thousand destinations have a place of their own until the next record; what finds none is put
 * together by protocol and port, and at last by protocol. One thread.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"

typedef struct SweptKey {
    uint8_t address[16]; /* of the responder; zeros: several */
    uint16_t port;       /* its port; 0: several */
    uint16_t vlan;
    uint16_t inner_vlan;
    uint8_t protocol; /* 0: several */
    uint8_t ip_version;
} SweptKey;

/* what was swept together; side 0 is the initiators */
typedef struct SweptFlow {
    SweptKey key;
    uint32_t flows; /* 0: the place is free */
    uint64_t first_ns;
    uint64_t last_ns;
    uint64_t packets[2];
    uint64_t octets[2];
    uint64_t frame_octets[2];
    uint16_t tcp_flags[2];
    uint32_t input_if; /* 0: not known, or several */
} SweptFlow;

typedef struct Swept Swept;

int swept_new(Swept **sweptp, uint64_t seed);
Swept *swept_free(Swept *swept);

/** swept_add() - one flow (flows is 1), swept now */
void swept_add(Swept *swept, const SweptFlow *flow, uint64_t now_ns);

/** swept_since() - when the first of what is in was added; 0: there is nothing */
uint64_t swept_since(const Swept *swept);

/** swept_take() - the next, false when there is no more; its place is free then */
bool swept_take(Swept *swept, SweptFlow *flow);

/** swept_sum() - of all that is in */
void swept_sum(const Swept *swept, uint64_t *packetsp, uint64_t *frame_octetsp);

DEFINE_CLEANUP(Swept *, swept_free)
