/* SPDX-License-Identifier: Apache-2.0 */

#include "channel/probe_routes.h"

#include <string.h>

static void add(ProbeRoutes *routes, const char *z85, uint16_t data_port, uint16_t events_port) {
    ProbeRoute *route = &routes->routes[routes->n++];
    *route = (ProbeRoute){.data_port = data_port, .events_port = events_port};
    memcpy(route->server_z85, z85, sizeof(route->server_z85));
}

static bool same(const ProbeRoute *a, const ProbeRoute *b) {
    return strcmp(a->server_z85, b->server_z85) == 0 && a->data_port == b->data_port &&
           a->events_port == b->events_port;
}

void probe_routes_set(ProbeRoutes *routes, const char *configured_z85, const ServerKeys *kept,
                      bool bind, uint64_t now_ms) {
    const bool first = !routes->n;
    routes->bind = bind;
    routes->n = 0;
    if (kept->version && *kept->next && !bind && kept->data_port && kept->events_port)
        add(routes, kept->next, kept->data_port, kept->events_port);
    add(routes, kept->version ? kept->now : configured_z85, 0, 0);
    if (kept->version && *kept->next)
        add(routes, kept->next, 0, 0);
    if (first) {
        routes->current = routes->routes[0];
        routes->since_ms = now_ms;
    }
}

/** is_good() - both ends have shown that they have the keys */
static bool is_good(const ProbeView views[PROBE_N_SIDES]) {
    return views[PROBE_SIDE_DATA].ready && views[PROBE_SIDE_EVENTS].ready;
}

/** has_failed() - by what was found since this route was taken */
static bool has_failed(const ProbeView *view, uint64_t since_ms) {
    switch (view->trouble) {
    case PROBE_LINK_REFUSED:
    case PROBE_LINK_NO_ROUTE:
    case PROBE_LINK_NO_ANSWER:
    case PROBE_LINK_WRONG_KEY:
    case PROBE_LINK_PLAIN_PEER:
    case PROBE_LINK_NO_HANDSHAKE:
        return !view->ready && view->trouble_ms >= since_ms;
    default:
        return false;
    }
}

/** has_no_other() - no other port or key would help */
static bool has_no_other(const ProbeView *view) {
    return view->trouble == PROBE_LINK_KEY_REVOKED || view->trouble == PROBE_LINK_NAME_UNKNOWN;
}

static bool is_over(const ProbeRoutes *routes, const ProbeView views[PROBE_N_SIDES],
                    uint64_t now_ms) {
    const ProbeView *data = &views[PROBE_SIDE_DATA];
    const ProbeView *events = &views[PROBE_SIDE_EVENTS];
    const uint64_t on_ms = now_ms - routes->since_ms;
    const bool first = same(&routes->current, &routes->routes[0]);
    if (on_ms < (first ? PROBE_ROUTE_FIRST_MS : PROBE_ROUTE_LEAST_MS) || has_no_other(data) ||
        has_no_other(events))
        return false;
    if (routes->bind) /* who does not come says nothing of keys; who comes with another one does */
        return data->trouble == PROBE_LINK_WRONG_KEY && has_failed(data, routes->since_ms);
    return on_ms >= PROBE_ROUTE_MOST_MS || has_failed(data, routes->since_ms) ||
           has_failed(events, routes->since_ms);
}

/** following() - at the same port with another key only when another key answers there */
static unsigned following(const ProbeRoutes *routes, const ProbeView views[PROBE_N_SIDES]) {
    unsigned at = 0;
    while (at < routes->n && !same(&routes->current, &routes->routes[at]))
        at++;
    if (at + 1 >= routes->n)
        return 0;
    const bool other_key = views[PROBE_SIDE_DATA].trouble == PROBE_LINK_WRONG_KEY ||
                           views[PROBE_SIDE_EVENTS].trouble == PROBE_LINK_WRONG_KEY;
    const bool same_place = routes->routes[at + 1].data_port == routes->current.data_port;
    return same_place && !other_key ? 0 : at + 1;
}

static bool go(ProbeRoutes *routes, unsigned to, uint64_t now_ms) {
    const ProbeRoute before = routes->current;
    routes->current = routes->routes[to];
    routes->since_ms = now_ms;
    return !same(&before, &routes->current);
}

bool probe_routes_step(ProbeRoutes *routes, const ProbeView views[PROBE_N_SIDES], uint64_t now_ms) {
    if (is_good(views)) {
        routes->was_good = true;
        return false;
    }
    if (routes->was_good && !views[PROBE_SIDE_DATA].ready) { /* the next connection */
        routes->was_good = false;
        /* who listens goes on with the key that was good: the hub will come back with it */
        if (!routes->bind)
            return go(routes, 0, now_ms);
        routes->since_ms = now_ms;
    }
    if (routes->was_good || !is_over(routes, views, now_ms))
        return false;
    return go(routes, following(routes, views), now_ms);
}

bool probe_routes_trying(const ProbeRoutes *routes, const ProbeView views[PROBE_N_SIDES]) {
    return !routes->bind && !is_good(views) && !same(&routes->current, &routes->routes[0]);
}
