/* SPDX-License-Identifier: Apache-2.0 */

#include "channel/hub_serve.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "channel/hub_link_inner.h"
#include "channel/zsock.h"

int hub_serve_init(HubLink *link) {
    HubServe *serve = &link->serve;
    (void)pthread_cond_init(&serve->answered, NULL);
    serve->settled = true;
    serve->now = link->config.keys;
    serve->sides = calloc(link->n_sides + 1, sizeof(*serve->sides));
    serve->said = calloc(link->n_data + 1, sizeof(*serve->said));
    serve->ports = calloc(link->n_data + 1, sizeof(*serve->ports));
    return serve->sides && serve->said && serve->ports ? 0 : error_origin(-ENOMEM);
}

void hub_serve_deinit(HubLink *link) {
    HubServe *serve = &link->serve;
    if (!serve->sides)
        return;
    (void)pthread_cond_destroy(&serve->answered);
    key_pair_wipe(&serve->now);
    key_pair_wipe(&serve->next);
    free(serve->sides);
    free(serve->said);
    free(serve->ports);
}

int hub_serve_attached(HubLink *link, size_t side) {
    HubServeSide *to = &link->serve.sides[side];
    return error_trace(zsock_last(link->sides[side].socket, to->present, sizeof(to->present)));
}

ServerKeys hub_serve_said(const HubLink *link, unsigned interface) {
    return interface < link->n_data ? link->serve.said[interface] : (ServerKeys) { 0 };
}

/* ------------------------------------------------------------------------------- the next key */

static void close_next(HubLink *link) {
    for (size_t i = 0; i < link->n_sides; i++) {
        HubServeSide *side = &link->serve.sides[i];
        if (side->next)
            zmtp_listener_close(side->next);
        side->next = NULL;
    }
}

/** has_port() - the next key has one beside this side's: where the hub binds data */
static bool has_port(const HubLink *link, size_t i) {
    const Side *side = &link->sides[i];
    bool data = false; /* of an interface, or of any if it serves all */
    for (size_t k = 0; k < link->n_data; k++)
        data = data || (link->sides[k].bind && (i >= link->n_shared || k == side->interface));
    return side->bind && data;
}

/** open_side() - at this port (0: any) with the next key */
static int open_side(HubLink *link, size_t i, const HubServerKeys *keys, uint16_t port,
                     uint16_t *gotp, Reason *reason) {
    ZmtpListener **nextp = &link->serve.sides[i].next;
    const int r = hub_bound_listen(link, i, port, &keys->next, nextp, reason);
    if (!r)
        *gotp = zmtp_listener_port(*nextp);
    return r;
}

/** open_next() - all its ports, or none */
static int open_next(HubLink *link, const HubServerKeys *keys, ServerKeys *said, Reason *reason) {
    int r = 0;
    for (size_t i = 0; i < link->n_sides && !r; i++) {
        const bool data = i < link->n_data;
        const unsigned interface = link->sides[i].interface;
        const HubNextPorts ports = keys->ports[interface];
        uint16_t got = 0;
        if (!has_port(link, i))
            continue;
        r = open_side(link, i, keys, data ? ports.data : ports.events, &got, reason);
        for (unsigned k = 0; k < link->n_data && !r; k++) {
            if (data && k == interface)
                said[k].data_port = got;
            else if (!data && link->sides[k].bind && (i >= link->n_shared || k == interface))
                said[k].events_port = got;
        }
    }
    if (r)
        close_next(link);
    return r;
}

static bool same_ports(const HubLink *link, const HubNextPorts *ports) {
    return memcmp(link->serve.ports, ports, link->n_data * sizeof(*ports)) == 0;
}

/** take_next() - where it is as it was, its ports stay open */
static int take_next(HubLink *link, const HubServerKeys *keys, ServerKeys *said, Reason *reason) {
    HubServe *serve = &link->serve;
    if (strcmp(serve->next.public_z85, keys->next.public_z85) == 0 &&
        same_ports(link, keys->ports)) {
        for (size_t k = 0; k < link->n_data; k++) {
            said[k].data_port = serve->said[k].data_port;
            said[k].events_port = serve->said[k].events_port;
        }
        return 0;
    }
    close_next(link);
    serve->next = (KeyPair){0};
    const int r = open_next(link, keys, said, reason);
    if (r)
        return r;
    serve->next = keys->next;
    memcpy(serve->ports, keys->ports, link->n_data * sizeof(*serve->ports));
    return 0;
}

/* ------------------------------------------------------------------------------ what is over */

/** attach_anew() - with the present key, at the same place; 0, or in a turn of its own again */
static int attach_anew(HubLink *link, size_t i, Reason *reason) {
    const Side *side = &link->sides[i];
    HubServeSide *to = &link->serve.sides[i];
    char text[280];
    if (side->bind) {
        hub_bound_rekey(link, i, &link->serve.now);
        to->stale = false;
        return 0;
    }
    if (*to->present)
        zsock_detach(side->socket, false, side->attached);
    to->present[0] = '\0';
    int r = zsock_curve(side->socket, &link->serve.now, NULL);
    if (!r)
        r = zsock_attach(side->socket, &side->endpoint, false, text, sizeof(text), reason);
    if (!r)
        r = zsock_last(side->socket, to->present, sizeof(to->present));
    to->stale = r != 0;
    return r;
}

static void settle(HubLink *link) {
    HubServe *serve = &link->serve;
    Reason reason = {""};
    bool left = false;
    if (!*serve->next.public_z85)
        close_next(link);
    for (size_t i = 0; i < link->n_sides; i++)
        if (serve->sides[i].stale)
            left = attach_anew(link, i, &reason) != 0 || left;
    (void)pthread_mutex_lock(&link->lock);
    serve->settled = !left;
    if (!left || clock_monotonic_ms() - serve->due_ms > HUB_SERVE_GRACE_MS)
        (void)snprintf(serve->trouble, sizeof(serve->trouble), "%.255s", reason.text);
    (void)pthread_mutex_unlock(&link->lock);
    if (!left)
        serve->due_ms = 0;
}

/* -------------------------------------------------------------------------------- being asked */

/** take() - on the link's thread */
static int take(HubLink *link, const HubServerKeys *keys, Reason *reason) {
    HubServe *serve = &link->serve;
    ServerKeys *said = calloc(link->n_data + 1, sizeof(*said));
    const bool other = strcmp(serve->now.public_z85, keys->now.public_z85) != 0;
    const bool over = !*keys->next.public_z85 && *serve->next.public_z85;
    if (!said)
        return error_origin(-ENOMEM);
    int r = *keys->next.public_z85 ? take_next(link, keys, said, reason) : 0;
    if (r) {
        free(said);
        return r;
    }
    if (!*keys->next.public_z85)
        serve->next = (KeyPair){0};
    serve->now = keys->now;
    for (size_t i = 0; i < link->n_sides; i++)
        serve->sides[i].stale = serve->sides[i].stale || other;
    if (other || over)
        serve->due_ms = clock_monotonic_ms() + HUB_SERVE_GRACE_MS;
    (void)pthread_mutex_lock(&link->lock);
    for (size_t k = 0; k < link->n_data; k++) {
        said[k].version = keys->version;
        memcpy(said[k].now, keys->now.public_z85, sizeof(said[k].now));
        memcpy(said[k].next, keys->next.public_z85, sizeof(said[k].next));
        serve->said[k] = said[k];
    }
    serve->settled = serve->settled && !serve->due_ms;
    (void)pthread_mutex_unlock(&link->lock);
    free(said);
    return 0;
}

void hub_serve_turn(HubLink *link) {
    HubServe *serve = &link->serve;
    (void)pthread_mutex_lock(&link->lock);
    const HubServerKeys *asked = serve->asked; /* stands until it is answered */
    (void)pthread_mutex_unlock(&link->lock);
    if (asked) {
        const int r = take(link, asked, serve->reason);
        (void)pthread_mutex_lock(&link->lock);
        serve->answer = r;
        serve->asked = NULL;
        (void)pthread_cond_broadcast(&serve->answered);
        (void)pthread_mutex_unlock(&link->lock);
    }
    if (serve->due_ms && clock_monotonic_ms() >= serve->due_ms)
        settle(link);
}

int hub_link_serve(HubLink *link, const HubServerKeys *keys, Reason *reason) {
    HubServe *serve = &link->serve;
    if (!link->started)
        return error_origin(-EINVAL);
    (void)pthread_mutex_lock(&link->lock);
    while (serve->asked)
        (void)pthread_cond_wait(&serve->answered, &link->lock);
    serve->asked = keys;
    serve->reason = reason;
    zsock_wake(link->wake_fd);
    while (serve->asked == keys)
        (void)pthread_cond_wait(&serve->answered, &link->lock);
    const int r = serve->answer;
    (void)pthread_mutex_unlock(&link->lock);
    return error_trace(r);
}

ServerKeys hub_link_served(HubLink *link, unsigned interface, bool *settledp, char trouble[256]) {
    (void)pthread_mutex_lock(&link->lock);
    const ServerKeys said = hub_serve_said(link, interface);
    *settledp = link->serve.settled;
    memcpy(trouble, link->serve.trouble, sizeof(link->serve.trouble));
    (void)pthread_mutex_unlock(&link->lock);
    return said;
}
