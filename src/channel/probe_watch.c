/* SPDX-License-Identifier: Apache-2.0 */

#include "channel/probe_watch.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <zmq.h>

#include "base/clock.h"
#include "base/error.h"
#include "channel/zsock.h"

enum {
    TURN_MS = 100,
    SHAKE_MS = 10000, /* a handshake that fails later than this was never spoken */
    CLOSED_TWICE = 2, /* handshakes closed by the peer before it is called a wrong key */
};

typedef struct Side {
    void *socket, *pair;
    ProbeView view;
    unsigned n_closed;
} Side;

struct ProbeWatch {
    pthread_t thread;
    bool started;
    atomic_bool stop;
    pthread_mutex_t lock; /* the views */
    Side sides[PROBE_N_SIDES];
    int wake_fd;
};

static void set_trouble(Side *side, ProbeLinkWord word) {
    side->view.trouble = word;
    side->view.trouble_ms = clock_monotonic_ms();
}

static void set_ready(Side *side, bool ready, uint64_t now_ms) {
    if (side->view.ready != ready)
        side->view.ready_ms = now_ms;
    side->view.ready = ready;
}

static void set_connected(Side *side, bool connected, uint64_t now_ms) {
    side->view.connected = connected;
    side->view.connected_ms = now_ms;
}

static void closed_in_handshake(Side *side, uint64_t now_ms) {
    if (now_ms - side->view.connected_ms > SHAKE_MS)
        set_trouble(side, PROBE_LINK_NO_HANDSHAKE);
    else if (++side->n_closed >= CLOSED_TWICE)
        set_trouble(side, PROBE_LINK_WRONG_KEY);
}

static void refused_in_handshake(Side *side, uint32_t value) {
    set_trouble(side, value == ZMQ_PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH ? PROBE_LINK_PLAIN_PEER
                      : value == ZMQ_PROTOCOL_ERROR_ZMTP_CRYPTOGRAPHIC    ? PROBE_LINK_WRONG_KEY
                                                                       : PROBE_LINK_NO_HANDSHAKE);
}

static void on_event(Side *side, const ZsockEvent *event, uint64_t now_ms) {
    switch (event->kind) {
    case ZMQ_EVENT_ACCEPTED:
        set_connected(side, true, now_ms);
        break;
    case ZMQ_EVENT_HANDSHAKE_SUCCEEDED:
        set_ready(side, true, now_ms);
        set_trouble(side, PROBE_LINK_CONNECTING);
        side->n_closed = 0;
        break;
    case ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL:
        refused_in_handshake(side, event->value);
        break;
    case ZMQ_EVENT_HANDSHAKE_FAILED_AUTH:
        set_trouble(side, PROBE_LINK_KEY_REVOKED);
        break;
    case ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL:
        closed_in_handshake(side, now_ms);
        break;
    case ZMQ_EVENT_DISCONNECTED:
        set_connected(side, false, now_ms);
        set_ready(side, false, now_ms);
        break;
    default:
        break;
    }
}

/* -------------------------------------------------------------------------------- the thread */

static void drain(ProbeWatch *watch, Side *side) {
    ZsockEvent event;
    bool any = false;
    while (side->pair && zsock_monitor_read(side->pair, &event)) {
        (void)pthread_mutex_lock(&watch->lock);
        on_event(side, &event, clock_monotonic_ms());
        (void)pthread_mutex_unlock(&watch->lock);
        any = true;
    }
    if (any)
        zsock_wake(watch->wake_fd);
}

static void *run(void *arg) {
    ProbeWatch *watch = arg;
    while (!atomic_load(&watch->stop)) {
        zmq_pollitem_t items[PROBE_N_SIDES];
        int n = 0;
        for (int i = 0; i < PROBE_N_SIDES; i++)
            if (watch->sides[i].pair)
                items[n++] = (zmq_pollitem_t){.socket = watch->sides[i].pair, .events = ZMQ_POLLIN};
        (void)zmq_poll(items, n, TURN_MS);
        for (int i = 0; i < PROBE_N_SIDES; i++)
            drain(watch, &watch->sides[i]);
    }
    return NULL;
}

int probe_watch_new(ProbeWatch **watchp, void *context, void *const sockets[PROBE_N_SIDES],
                    int wake_fd) {
    static const char *const names[] = {"probe-data", "probe-events"};
    cleanup(probe_watch_freep) ProbeWatch *watch = calloc(1, sizeof(*watch));
    if (!watch)
        return error_origin(-ENOMEM);
    (void)pthread_mutex_init(&watch->lock, NULL);
    watch->wake_fd = wake_fd;
    for (int i = 0; i < PROBE_N_SIDES; i++) {
        Side *side = &watch->sides[i];
        side->socket = sockets[i];
        side->view.connected_ms = side->view.ready_ms = clock_monotonic_ms();
        const int r = sockets[i] ? zsock_monitor(&side->pair, context, sockets[i], names[i]) : 0;
        if (r)
            return error_trace(r);
    }
    int r = pthread_create(&watch->thread, NULL, run, watch);
    if (r)
        return error_origin(-r);
    watch->started = true;
    *watchp = watch;
    watch = NULL;
    return 0;
}

ProbeWatch *probe_watch_free(ProbeWatch *watch) {
    if (!watch)
        return NULL;
    /* while the thread still drains: a monitor that nobody reads blocks its socket */
    for (int i = 0; i < PROBE_N_SIDES; i++)
        if (watch->sides[i].pair)
            (void)zmq_socket_monitor(watch->sides[i].socket, NULL, 0);
    atomic_store(&watch->stop, true);
    if (watch->started)
        (void)pthread_join(watch->thread, NULL);
    for (int i = 0; i < PROBE_N_SIDES; i++)
        if (watch->sides[i].pair)
            (void)zmq_close(watch->sides[i].pair);
    (void)pthread_mutex_destroy(&watch->lock);
    free(watch);
    return NULL;
}

void probe_watch_view(ProbeWatch *watch, ProbeSide side, ProbeView *view) {
    (void)pthread_mutex_lock(&watch->lock);
    *view = watch->sides[side].view;
    (void)pthread_mutex_unlock(&watch->lock);
}

void probe_watch_move(ProbeWatch *watch, ProbeSide at) {
    const uint64_t now_ms = clock_monotonic_ms();
    Side *side = &watch->sides[at];
    (void)pthread_mutex_lock(&watch->lock);
    side->view = (ProbeView){.connected_ms = now_ms, .ready_ms = now_ms};
    side->n_closed = 0;
    (void)pthread_mutex_unlock(&watch->lock);
}
