#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Hub Waiting
 *
 * Who is connected and not admitted: bounded, whoever holds the hub's public key can come here.
 * Nothing of them is kept but session and hello. Time is passed in. Internal to the layer.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "channel/delivery.h"
#include "channel/hub_link.h"
#include "channel/hub_session.h"

enum {
    WAITING_HELLO_MAX_BYTES = 8 * 1024,
    WAITING_SILENT_MS = 5000, /* one heard of since does not make room for another */
};

typedef struct WaitingPeer {
    Session session;
    DeliveryHello hello;
    bool decided; /* pending: is told so, and why */
    bool due;
    bool news; /* to be posted, though not at once: each event costs the hub a decision */
    char reason[HUB_REASON_BYTES];
    uint64_t told_ms;   /* monotonic */
    uint64_t posted_ms; /* monotonic: its hello, as an event */
} WaitingPeer;

/** Waiting - places stay where they are; NULL is free */
typedef struct Waiting {
    WaitingPeer *peers[HUB_WAITING_MAX];
    size_t n;
    uint64_t full_ms; /* monotonic: when there was no room; not looked for again at once */
} Waiting;

void waiting_deinit(Waiting *waiting);

/**
 * waiting_add() - a place for a key that has none: *slotp and *evictedp, who had to go for it
 * (its key is "" in most cases, its hello is gone). false: no room, all were heard of just now, or
 * out of memory.
 */
bool waiting_add(Waiting *waiting, const PeerKey *key, uint64_t now_ms, uint32_t *slotp,
                 Session *evictedp);
void waiting_remove(Waiting *waiting, uint32_t slot);
