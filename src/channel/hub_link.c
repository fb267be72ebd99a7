/* SPDX-License-Identifier: Apache-2.0 */

#include "channel/hub_link.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "channel/frame.h"
#include "channel/hub_link_inner.h"
#include "channel/zsock.h"

enum { BUDGET_BYTES = 256 * 1024 * 1024 };

/* ------------------------------------------------------------------------------- the interface */

static int add_side(HubLink *link, const Endpoint *endpoint, bool bind, unsigned interface) {
    Side *side = &link->sides[link->n_sides];
    *side = (Side){.endpoint = *endpoint, .bind = bind, .interface = interface};
    if (bind) { /* hub_bound.c */
        link->n_sides++;
        return 0;
    }
    side->socket = zsock_open(link->context, link->n_sides < link->n_data ? ZMQ_SUB : ZMQ_XPUB);
    if (!side->socket)
        return error_origin(-errno);
    link->n_sides++;
    int r = zsock_curve(side->socket, &link->config.keys, NULL);
    int one = 1;
    if (!r && (link->n_sides <= link->n_data
                   ? zmq_setsockopt(side->socket, ZMQ_SUBSCRIBE, FRAME_TOPIC, strlen(FRAME_TOPIC))
                   : zmq_setsockopt(side->socket, ZMQ_XPUB_MANUAL, &one, sizeof(one))) < 0)
        r = error_origin(-errno);
    return error_trace(r);
}

static int add_text(HubLink *link, const char *text, bool data, unsigned interface,
                    Reason *reason) {
    Endpoint endpoint;
    if (endpoint_parse(&endpoint, text, reason))
        return HUB_LINK_E_REFUSED;
    return error_trace(add_side(link, &endpoint, data ? endpoint.collector : true, interface));
}

static int add_sides(HubLink *link, const HubLinkConfig *config, Reason *reason) {
    int r = 0;
    for (unsigned i = 0; i < link->n_data && !r; i++)
        r = add_text(link, config->interfaces[i].endpoint, true, i, reason);
    for (unsigned i = 0; i < link->n_data && !r; i++) {
        const Side *data = &link->sides[i];
        Endpoint next;
        if (config->interfaces[i].events)
            r = add_text(link, config->interfaces[i].events, false, i, reason);
        else if (!config->n_events)
            r = endpoint_next_port(&next, &data->endpoint, reason)
                    ? HUB_LINK_E_REFUSED
                    : add_side(link, &next, data->bind, i);
    }
    link->n_shared = link->n_sides;
    for (size_t i = 0; i < config->n_events && !r; i++)
        r = add_text(link, config->events[i], false, 0, reason);
    return error_trace(r);
}

static int open_link(HubLink *link, const HubLinkConfig *config, Reason *reason) {
    link->context = zsock_context_new();
    link->n_data = config->n_interfaces;
    size_t most = config->n_interfaces * 2 + config->n_events;
    link->sides = calloc(most + 1, sizeof(*link->sides));
    link->items = calloc(most + 2, sizeof(*link->items));
    link->interfaces = calloc(config->n_interfaces + 1, sizeof(*link->interfaces));
    if (!link->context || !link->sides || !link->items || !link->interfaces)
        return error_origin(-ENOMEM);
    /* the default of 1023 counts sockets, of which there are few; descriptors are the process's */
    DeliveryReceiverConfig receiver = {
        .budget_bytes = config->budget_bytes ? config->budget_bytes : BUDGET_BYTES,
        .repeat_ms = 1000,
        .quick_ms = 50,
        .resync_ms = 500,
        .silent_ms = SESSION_SILENT_MS,
    };
    randombytes_buf(&receiver.nonce_seed, sizeof(receiver.nonce_seed));
    randombytes_buf(&link->waiting_nonce, sizeof(link->waiting_nonce));
    int r = hub_keys_new(&link->keys);
    if (!r)
        r = delivery_receiver_new(&link->receiver, &receiver);
    if (!r)
        r = zsock_wake_new(&link->wake_fd);
    if (!r)
        r = hub_bound_init(link);
    if (!r)
        r = add_sides(link, config, reason);
    if (!r)
        r = hub_serve_init(link);
    return error_trace(r);
}

int hub_link_new(HubLink **linkp, const HubLinkConfig *config, Reason *reason) {
    if (sodium_init() < 0)
        return error_origin(-EIO);
    cleanup(hub_link_freep) HubLink *link = calloc(1, sizeof(*link));
    if (!link)
        return error_origin(-ENOMEM);
    (void)pthread_mutex_init(&link->lock, NULL);
    link->wake_fd = -1;
    link->generation = 1;
    link->config = *config;
    int r = open_link(link, config, reason);
    if (r)
        return error_trace(r);
    link->config.interfaces = NULL; /* the caller's */
    link->config.events = NULL;
    *linkp = link;
    link = NULL;
    return 0;
}

int hub_link_load_cursor(HubLink *link, const HubCursor *cursor) {
    (void)pthread_mutex_lock(&link->lock);
    int r = delivery_receiver_load(link->receiver, &cursor->key, &cursor->epoch, cursor->sequence,
                                   cursor->totals);
    (void)pthread_mutex_unlock(&link->lock);
    return error_trace(r);
}

static int watch_sides(HubLink *link) {
    HubWatchSide *sides = calloc(link->n_sides + 1, sizeof(*sides));
    if (!sides)
        return error_origin(-ENOMEM);
    for (size_t i = 0; i < link->n_sides; i++) {
        const Side *side = &link->sides[i];
        sides[i] = (HubWatchSide){side->socket, side->bind, side->interface, ""};
        (void)snprintf(sides[i].peer, sizeof(sides[i].peer), "%.63s", side->endpoint.host);
    }
    int r = hub_watch_new(&link->watch, link->context, sides, link->n_sides, link->wake_fd);
    free(sides);
    return error_trace(r);
}

static bool connects(const HubLink *link) {
    for (size_t i = 0; i < link->n_sides; i++)
        if (!link->sides[i].bind)
            return true;
    return false;
}

int hub_link_start(HubLink *link, Reason *reason) {
    int r = connects(link) ? hub_zap_new(&link->zap, link->context, link->keys) : 0;
    if (!r)
        r = watch_sides(link);
    for (size_t i = 0; i < link->n_sides && !r; i++) {
        Side *side = &link->sides[i];
        r = side->bind ? hub_bound_attach(link, i, reason)
                       : zsock_attach(side->socket, &side->endpoint, false, side->attached,
                                      sizeof(side->attached), reason);
        if (r > 0)
            return HUB_LINK_E_REFUSED;
        if (!r && !side->bind)
            r = hub_serve_attached(link, i);
        HubInterfaceStatus *interface = &link->interfaces[side->interface];
        if (i < link->n_data) {
            interface->bound = side->bind;
            (void)snprintf(interface->endpoint, sizeof(interface->endpoint), "%s", side->attached);
        } else if (i < link->n_shared) {
            (void)snprintf(interface->events, sizeof(interface->events), "%s", side->attached);
        }
    }
    if (!r)
        r = -pthread_create(&link->thread, NULL, hub_receive, link);
    if (r)
        return error_trace(r);
    link->started = true;
    return 0;
}

HubLink *hub_link_free(HubLink *link) {
    if (!link)
        return NULL;
    atomic_store(&link->stop, true);
    if (link->started) {
        zsock_wake(link->wake_fd);
        (void)pthread_join(link->thread, NULL);
    }
    link->bound = zmtp_server_free(link->bound);
    hub_watch_free(link->watch);
    for (size_t i = 0; i < link->n_sides; i++)
        if (link->sides[i].socket)
            (void)zmq_close(link->sides[i].socket);
    hub_zap_free(link->zap);
    if (link->context)
        zsock_context_end(link->context);
    if (link->wake_fd >= 0)
        (void)close(link->wake_fd);
    delivery_receiver_free(link->receiver);
    sessions_deinit(&link->sessions);
    waiting_deinit(&link->waiting);
    hub_keys_free(link->keys);
    buffer_deinit(&link->text);
    hub_serve_deinit(link);
    key_pair_wipe(&link->config.keys);
    free(link->arrival);
    free(link->interfaces);
    free(link->items);
    free(link->sides);
    (void)pthread_mutex_destroy(&link->lock);
    free(link);
    return NULL;
}

void hub_link_stored(HubLink *link, const PeerKey *key, const EpochId *epoch, uint64_t sequence) {
    (void)pthread_mutex_lock(&link->lock);
    delivery_receiver_stored(link->receiver, key, epoch, sequence);
    (void)pthread_mutex_unlock(&link->lock);
}

void hub_link_notice(HubLink *link, Cause notice) {
    atomic_store(&link->notice, notice);
}

void hub_link_lease(HubLink *link, const Lease *lease) {
    (void)pthread_mutex_lock(&link->lock);
    link->lease = *lease; /* the states that are told each second have it */
    (void)pthread_mutex_unlock(&link->lock);
}

int hub_link_configure(HubLink *link, const PeerKey *key, const char *json) {
    char *copy = json ? strdup(json) : NULL;
    if (json && !copy)
        return error_origin(-ENOMEM);
    (void)pthread_mutex_lock(&link->lock);
    bool news = false;
    const size_t i = delivery_receiver_find(link->receiver, key);
    if (i < link->sessions.n) { /* else it comes when the probe has said something */
        char **place = &link->sessions.sessions[i].configuration;
        news = copy && (!*place || strcmp(*place, copy) != 0);
        char *before = *place;
        *place = copy;
        copy = before;
        if (news)
            delivery_receiver_tell(link->receiver, key);
    }
    (void)pthread_mutex_unlock(&link->lock);
    free(copy);
    if (news)
        zsock_wake(link->wake_fd);
    return 0;
}

uint64_t hub_link_discard(HubLink *link) {
    (void)pthread_mutex_lock(&link->lock);
    uint64_t generation = ++link->generation;
    delivery_receiver_discard(link->receiver);
    (void)pthread_mutex_unlock(&link->lock);
    zsock_wake(link->wake_fd);
    return generation;
}

bool hub_link_interface(HubLink *link, unsigned interface, HubInterfaceStatus *status) {
    if (interface >= link->n_data)
        return false;
    HubWatchCounts counts = {0};
    if (link->watch)
        hub_watch_counts(link->watch, interface, &counts);
    (void)pthread_mutex_lock(&link->lock);
    *status = link->interfaces[interface];
    status->probes = 0;
    for (size_t i = 0; i < link->sessions.n; i++) {
        const Session *session = &link->sessions.sessions[i];
        status->probes += session->up && session->interface == interface;
    }
    (void)pthread_mutex_unlock(&link->lock);
    status->n_wrong_key = counts.n_wrong_key;
    status->n_plain_peer = counts.n_plain_peer;
    status->n_too_many = counts.n_too_many;
    return true;
}

static void fill_probe(HubProbeStatus *status, const Session *session,
                       const DeliveryPeerStatus *delivery) {
    *status = (HubProbeStatus){
        .key = session->key,
        .interface = session->interface,
        .session = session->up,
        .session_ms = session->begin_ms,
        .heard_ms = session->heard_wall_ms,
        .batches = session->batches,
        .bytes = session->bytes,
        .held_bytes = delivery->held_bytes,
        .backlog_bytes = delivery->backlog_bytes,
        .credit_bytes = delivery->credit_bytes,
        .n_duplicate = delivery->n_verdicts[DELIVERY_DUPLICATE],
        .n_out_of_order =
            delivery->n_verdicts[DELIVERY_OUT_OF_ORDER] + delivery->n_verdicts[DELIVERY_DIVERGED],
        .n_over_budget = delivery->n_verdicts[DELIVERY_OVER_BUDGET],
        .n_malformed = delivery->n_verdicts[DELIVERY_MALFORMED] + session->n_malformed,
        .received = delivery->received,
        .gaps = delivery->gaps,
        .n_elsewhere = delivery->n_elsewhere,
    };
    memcpy(status->address, session->address, sizeof(status->address));
}

int hub_link_probes(HubLink *link, HubProbeStatus **statusesp, size_t *np) {
    (void)pthread_mutex_lock(&link->lock);
    size_t n = link->sessions.n;
    HubProbeStatus *statuses = calloc(n + link->waiting.n + 1, sizeof(*statuses));
    size_t kept = 0;
    for (size_t i = 0; statuses && i < n; i++) {
        const Session *session = &link->sessions.sessions[i];
        DeliveryPeerStatus delivery;
        if (session->begin_ms && hub_keys_get(link->keys, &session->key, NULL) == HUB_ADMITTED &&
            delivery_receiver_status(link->receiver, i, &delivery))
            fill_probe(&statuses[kept++], session, &delivery);
    }
    for (size_t i = 0; statuses && i < HUB_WAITING_MAX; i++) {
        const DeliveryPeerStatus none = {0};
        const WaitingPeer *peer = link->waiting.peers[i];
        if (!peer || !peer->session.begin_ms)
            continue;
        fill_probe(&statuses[kept], &peer->session, &none);
        statuses[kept++].waiting = true;
    }
    (void)pthread_mutex_unlock(&link->lock);
    if (!statuses)
        return error_origin(-ENOMEM);
    *statusesp = statuses;
    *np = kept;
    return 0;
}
