#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Watch
 *
 * One thread that follows the probes: sessions and pulses as they come, a tick of the live tables
 * each second, and what browsers that listen are told. The link's receive thread only queues here.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "channel/hub_link.h"

typedef struct Watch Watch;
typedef struct Hub Hub;

/* rates of the last seconds of an interface, from what its probes say */
typedef struct WatchRates {
    double flows_per_s;
    double bits_per_s;
} WatchRates;

int watch_new(Watch **watchp, Hub *hub);

/** watch_start() - when all parts of the hub are there */
int watch_start(Watch *watch);
void watch_stop(Watch *watch);
Watch *watch_free(Watch *watch);

/* HubLinkConfig.on_pulse and on_event, userdata is the watch */
void watch_pulse(void *watch, const PeerKey *key, unsigned interface, const char *json,
                 size_t size);
void watch_event(void *watch, const HubEvent *event);

WatchRates watch_rates(Watch *watch, unsigned interface);

DEFINE_CLEANUP(Watch *, watch_free)
