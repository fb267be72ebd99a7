/* SPDX-License-Identifier: Apache-2.0 */

#include "channel/hub_waiting.h"

#include <stdlib.h>

enum { WAITING_FULL_MS = 250 };

void waiting_deinit(Waiting *waiting) {
    for (uint32_t i = 0; i < HUB_WAITING_MAX; i++)
        waiting_remove(waiting, i);
}

void waiting_remove(Waiting *waiting, uint32_t slot) {
    WaitingPeer *peer = waiting->peers[slot];
    if (!peer)
        return;
    free(peer->session.hello);
    free(peer);
    waiting->peers[slot] = NULL;
    waiting->n--;
}

/** longest_silent() - a free place, else the one whose turn it is to go */
static uint32_t longest_silent(const Waiting *waiting) {
    uint32_t found = 0;
    for (uint32_t i = 0; i < HUB_WAITING_MAX; i++) {
        if (!waiting->peers[i])
            return i;
        if (waiting->peers[i]->session.heard_ms < waiting->peers[found]->session.heard_ms)
            found = i;
    }
    return found;
}

bool waiting_add(Waiting *waiting, const PeerKey *key, uint64_t now_ms, uint32_t *slotp,
                 Session *evictedp) {
    *evictedp = (Session){0};
    if (waiting->n == HUB_WAITING_MAX && now_ms - waiting->full_ms < WAITING_FULL_MS)
        return false;
    const uint32_t slot = longest_silent(waiting);
    const WaitingPeer *there = waiting->peers[slot];
    if (there && now_ms - there->session.heard_ms < WAITING_SILENT_MS) {
        waiting->full_ms = now_ms;
        return false;
    }
    WaitingPeer *peer = calloc(1, sizeof(*peer));
    if (!peer)
        return false;
    if (there)
        *evictedp = there->session;
    evictedp->hello = NULL;
    waiting_remove(waiting, slot);
    peer->session.key = *key;
    peer->session.heard_ms = now_ms;
    waiting->peers[slot] = peer;
    waiting->n++;
    *slotp = slot;
    return true;
}
