#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Probe Watch
 *
 * The thread that drains the monitors of those sockets of a probe which are bound. Internal to the
 * layer.
 */

#include "base/cleanup.h"
#include "channel/probe_view.h"

typedef struct ProbeWatch ProbeWatch;

/** probe_watch_new() - before the sockets are attached; one that is NULL is not watched. wake_fd is
 * written to at each change */
int probe_watch_new(ProbeWatch **watchp, void *context, void *const sockets[PROBE_N_SIDES],
                    int wake_fd);

/** probe_watch_free() - before the sockets are closed, by the thread that owns them */
ProbeWatch *probe_watch_free(ProbeWatch *watch);

void probe_watch_view(ProbeWatch *watch, ProbeSide side, ProbeView *view);

/** probe_watch_move() - the socket is now attached elsewhere, or with another key: all begins anew
 */
void probe_watch_move(ProbeWatch *watch, ProbeSide side);

DEFINE_CLEANUP(ProbeWatch *, probe_watch_free)
