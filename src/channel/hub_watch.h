#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Hub Watch
 *
 * The thread that drains the monitors of all the hub's sockets: who failed the handshake, why, and
 * from where. Internal to the layer.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "channel/hub_link.h"

typedef struct HubWatch HubWatch;

typedef struct HubWatchSide {
    void *socket;
    bool bind;
    unsigned interface;
    char peer[64]; /* of a connecting socket: the host it connects to */
} HubWatchSide;

typedef struct HubWatchCounts {
    uint64_t n_wrong_key;
    uint64_t n_plain_peer;
    uint64_t n_not_spoken;
    uint64_t n_too_many; /* connections cut so that descriptors and memory last */
} HubWatchCounts;

int hub_watch_new(HubWatch **watchp, void *context, const HubWatchSide *sides, size_t n_sides,
                  int wake_fd);
/** hub_watch_free() - before the sockets are closed, by the thread that owns them */
HubWatch *hub_watch_free(HubWatch *watch);

/** hub_watch_problem() - the next problem not told yet; each once a minute and address */
bool hub_watch_problem(HubWatch *watch, HubEvent *event);

/** hub_watch_spoke() - a message came to a side by this descriptor: no silent stranger. Of one key
 * HUB_LINK_KEY_MAX may speak. Any thread, quick */
void hub_watch_spoke(HubWatch *watch, size_t side, int fd, const PeerKey *key);

/** hub_watch_again() - is it time to call zsock_again() for this connecting side? Then it is noted
 */
bool hub_watch_again(HubWatch *watch, size_t side);

void hub_watch_counts(HubWatch *watch, size_t side, HubWatchCounts *counts);

DEFINE_CLEANUP(HubWatch *, hub_watch_free)
