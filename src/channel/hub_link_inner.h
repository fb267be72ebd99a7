#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Inside the Hub Link
 *
 * Shared by hub_link.c (making, asking) and hub_receive.c (the thread). Internal to the layer.
 */

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <zmq.h>

#include "base/buffer.h"
#include "channel/delivery.h"
#include "channel/endpoint.h"
#include "channel/hub_link.h"
#include "channel/hub_session.h"
#include "channel/hub_watch.h"
#include "channel/hub_zap.h"

/** Side - one socket: a data endpoint or an events endpoint */
typedef struct Side {
    void *socket;
    Endpoint endpoint;
    bool bind;
    unsigned interface;
    char attached[280];
} Side;

struct HubLink {
    HubLinkConfig config; /* without its pointers, once new() is over */
    void *context;
    Side *sides; /* the data endpoints, then the events endpoints */
    size_t n_data, n_sides;
    size_t n_shared; /* events endpoints that serve every interface: the first of them */
    zmq_pollitem_t *items;
    HubZap *zap;
    HubWatch *watch;
    int wake_fd;
    pthread_t thread;
    bool started;
    atomic_bool stop;
    _Atomic Cause notice;

    pthread_mutex_t lock;
    DeliveryReceiver *receiver;
    Sessions sessions;
    HubInterfaceStatus *interfaces;
    uint64_t generation;

    uint64_t sweep_ms; /* the thread's own */
    Buffer text;
};

/** hub_receive() - the thread's function; its argument is the link */
void *hub_receive(void *link);
