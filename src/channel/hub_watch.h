#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Hub Watch
 *
 * Who failed the handshake, why, and from where: of sides that connect by the monitors of their
 * sockets, which it drains on a thread of its own; of sides that bind it is told. Internal to the
 * layer.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "channel/hub_link.h"
#include "zmtp/server.h"

typedef struct HubWatch HubWatch;

typedef struct HubWatchSide {
    void *socket; /* of one that connects */
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

/** hub_watch_down() - of a side that binds: a connection is over. `up`: its handshake was over */
void hub_watch_down(HubWatch *watch, size_t side, ZmtpFault fault, bool up, const char *address);

/** hub_watch_twins() - of a side that binds: a key has one connection too many, and the one at
 * `other`, silent for `silent_ms`, is cut */
void hub_watch_twins(HubWatch *watch, size_t side, const PeerKey *key, const char *address,
                     const char *other, uint64_t silent_ms);

/** hub_watch_again() - is it time to call zsock_again() for this connecting side? Then it is noted
 */
bool hub_watch_again(HubWatch *watch, size_t side);

void hub_watch_counts(HubWatch *watch, size_t side, HubWatchCounts *counts);

DEFINE_CLEANUP(HubWatch *, hub_watch_free)
