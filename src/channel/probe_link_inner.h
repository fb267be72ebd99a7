#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Inside the Probe Link
 *
 * Shared by probe_link.c (the thread, what comes in, the interface) and probe_link_send.c (what
 * goes out). Internal to the layer.
 */

#include <pthread.h>
#include <stdatomic.h>

#include "channel/delivery.h"
#include "channel/frame.h"
#include "channel/probe_keys.h"
#include "channel/probe_lines.h"
#include "channel/probe_link.h"
#include "channel/probe_link_desk.h"

struct ProbeLink {
    ProbeLinkConfig config;
    Endpoint endpoints[PROBE_N_SIDES];
    ProbeLines *lines; /* the thread's once it runs */
    int wake_fd;
    pthread_t thread;
    bool started;
    atomic_bool stop;

    LinkDesk desk; /* for other threads */

    /* the thread's own */
    DeliverySender *sender;
    char *hello, *pulse;
    bool hello_again;
    ProbeLinkStatus status;
    uint64_t session_ms, state_ms; /* monotonic; 0 for none */
    ControlState state;
    ProbeKeys keys;
    Buffer header;
    unsigned n_again[PROBE_N_SIDES];
    bool blocked; /* it is tried again soon */
    bool waiting; /* there was no room, and it is told when there is */
    bool full;    /* blocked since the last pulse */
    uint64_t pulse_ms, pulse_room_bytes;
};

/** link_do_jobs() - what other threads have left */
int link_do_jobs(ProbeLink *link);

/** link_send_due() - true when there may be more to send at once */
bool link_send_due(ProbeLink *link);
