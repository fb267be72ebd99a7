/* SPDX-License-Identifier: Apache-2.0 */

#include "channel/hub_bound.h"

#include <errno.h>
#include <malloc.h>
#include <sodium.h>
#include <string.h>

#include "base/error.h"
#include "channel/hub_link_inner.h"
#include "channel/zsock.h"

enum { CROWD = 512 }; /* strangers that are worth giving back what they took */

/* ---------------------------------------------------------------------------- what comes of it */

static void name_of(PeerKey *key, const ZmtpPeer *peer) {
    (void)zmq_z85_encode(key->z85, peer->key, CURVE_KEY_BYTES);
}

static void line_of(SessionLine *line, const ZmtpPeer *peer) {
    *line = (SessionLine){.fd = peer->fd, .port = peer->port};
    session_address(line->address, peer->address);
}

static bool on_admits(void *userdata, const uint8_t bytes[CURVE_KEY_BYTES]) {
    const HubLink *link = userdata;
    PeerKey key;
    return zmq_z85_encode(key.z85, bytes, CURVE_KEY_BYTES) &&
           hub_keys_get(link->keys, &key, NULL) != HUB_REVOKED;
}

/** on_knows() - else it is one of those that anyone can make as many of as he likes */
static bool on_knows(void *userdata, const uint8_t bytes[CURVE_KEY_BYTES]) {
    const HubLink *link = userdata;
    PeerKey key;
    return zmq_z85_encode(key.z85, bytes, CURVE_KEY_BYTES) &&
           hub_keys_get(link->keys, &key, NULL) == HUB_ADMITTED;
}

static void on_message(void *userdata, const ZmtpPeer *peer, const ZmtpMessage *message) {
    HubLink *link = userdata;
    Arrival *arrival = link->arrival;
    arrival->interface = link->sides[peer->side].interface;
    if (message->n_parts != 2) {
        hub_count_malformed(link, arrival->interface, NULL);
        return;
    }
    name_of(&arrival->key, peer);
    line_of(&arrival->line, peer);
    arrival->address = peer->address;
    arrival->header = message->first;
    arrival->header_size = message->first_size;
    arrival->payload = message->last;
    arrival->payload_size = message->last_size;
    /* out of memory: what came is lost here, safe in the spool, and asked for again */
    (void)hub_take_message(link, arrival);
}

/** on_topic() - a probe may listen to its own topic only */
static bool on_topic(void *userdata, const ZmtpPeer *peer, const uint8_t *topic, size_t size,
                     bool on) {
    HubLink *link = userdata;
    PeerKey key;
    SessionLine line;
    name_of(&key, peer);
    line_of(&line, peer);
    if (size < FRAME_STATE_TOPIC_BYTES || size > 40 || memcmp(key.z85, topic, size) != 0)
        return false;
    if (on || !zmtp_server_listens(link->bound, peer->side, peer->key))
        (void)hub_take_topic(link, peer->side, &key, &line, on, true);
    return true;
}

static void on_twins(void *userdata, const ZmtpPeer *newest, const ZmtpPeer *other) {
    const HubLink *link = userdata;
    PeerKey key;
    name_of(&key, newest);
    hub_watch_twins(link->watch, newest->side, &key, newest->address, other->address,
                    newest->heard_ms - other->heard_ms);
}

static void on_down(void *userdata, const ZmtpPeer *peer, ZmtpFault fault, bool up) {
    HubLink *link = userdata;
    const Side *side = &link->sides[peer->side];
    PeerKey key;
    SessionLine line;
    if (!link->watch || atomic_load(&link->stop))
        return;
    hub_watch_down(link->watch, peer->side, fault, up, peer->address);
    if (!up)
        return;
    name_of(&key, peer);
    line_of(&line, peer);
    if (fault == ZMTP_MALFORMED || fault == ZMTP_TOO_LARGE)
        hub_count_malformed(link, side->interface, &key);
    if (peer->side < link->n_data)
        hub_line_ended(link, &key, &line);
    else if (!zmtp_server_listens(link->bound, peer->side, peer->key))
        (void)hub_take_topic(link, peer->side, &key, &line, false, false);
}

int hub_bound_init(HubLink *link) {
    const ZmtpCallbacks callbacks = {.userdata = link,
                                     .admits = on_admits,
                                     .knows = on_knows,
                                     .on_message = on_message,
                                     .on_topic = on_topic,
                                     .on_twins = on_twins,
                                     .on_down = on_down};
    link->arrival = calloc(1, sizeof(*link->arrival));
    if (!link->arrival)
        return error_origin(-ENOMEM);
    return error_trace(zmtp_server_new(&link->bound, &callbacks));
}

void hub_bound_turn(HubLink *link) {
    const size_t n = zmtp_server_counts(link->bound).n_strangers;
    if (n > link->most_strangers)
        link->most_strangers = n;
    if (link->most_strangers < CROWD || n > link->most_strangers / 4)
        return;
    (void)malloc_trim(0); /* a crowd has gone; what it had is free, but not the system's */
    link->most_strangers = n;
}

/* ---------------------------------------------------------------------------------- listening */

static int curve_keys(CurveKeys *to, const KeyPair *keys) {
    return zmq_z85_decode(to->public, keys->public_z85) &&
                   zmq_z85_decode(to->secret, keys->secret_z85)
               ? 0
               : error_origin(-EINVAL);
}

static int refused(const Endpoint *endpoint, uint16_t port, int r, Reason *reason) {
    Endpoint at = *endpoint;
    char text[280];
    at.port = port;
    endpoint_write(&at, text, sizeof(text));
    zsock_refused(-r, endpoint, true, text, reason);
    return HUB_LINK_E_REFUSED;
}

static int listen_at(HubLink *link, const ZmtpListen *what, HubAddress at, uint16_t port,
                     ZmtpListener **listenerp) {
    hub_address_set_port(&at, port);
    return zmtp_listen(link->bound, what, (const struct sockaddr *)&at.at, at.size, listenerp);
}

static int listen_any(HubLink *link, const ZmtpListen *what, uint16_t port,
                      ZmtpListener **listenerp) {
    const int r = listen_at(link, what, hub_address_any(port, false), port, listenerp);
    if (r != -EAFNOSUPPORT && r != -EADDRNOTAVAIL) /* else a machine without IPv6 */
        return r;
    return listen_at(link, what, hub_address_any(port, true), port, listenerp);
}

int hub_bound_listen(HubLink *link, size_t i, uint16_t port, const KeyPair *keys,
                     ZmtpListener **listenerp, Reason *reason) {
    const Side *side = &link->sides[i];
    ZmtpListen what = {
        .side = (unsigned)i, .kind = i < link->n_data ? ZMTP_SUB : ZMTP_XPUB, .topic = FRAME_TOPIC};
    int r = curve_keys(&what.keys, keys);
    if (!r)
        r = side->endpoint.any ? listen_any(link, &what, port, listenerp)
                               : listen_at(link, &what, side->address, port, listenerp);
    sodium_memzero(&what, sizeof(what));
    return r ? refused(&side->endpoint, port, r, reason) : 0;
}

int hub_bound_attach(HubLink *link, size_t i, Reason *reason) {
    Side *side = &link->sides[i];
    const uint16_t port = side->endpoint.port;
    int r = side->endpoint.any ? 0 : hub_address_find(&side->address, &side->endpoint);
    if (r)
        return refused(&side->endpoint, port, r, reason);
    r = hub_bound_listen(link, i, port, &link->config.keys, &side->listener, reason);
    if (r)
        return error_trace(r);
    Endpoint resolved = side->endpoint;
    resolved.port = zmtp_listener_port(side->listener);
    endpoint_write(&resolved, side->attached, sizeof(side->attached));
    return 0;
}

void hub_bound_rekey(HubLink *link, size_t side, const KeyPair *keys) {
    CurveKeys to;
    if (curve_keys(&to, keys) == 0)
        zmtp_listener_rekey(link->sides[side].listener, &to);
    sodium_memzero(&to, sizeof(to));
}

void hub_bound_send(HubLink *link, size_t side, const PeerKey *key, const void *text, size_t size) {
    uint8_t bytes[CURVE_KEY_BYTES];
    const void *const parts[] = {key->z85, text};
    const size_t sizes[] = {40, size};
    if (zmq_z85_decode(bytes, key->z85))
        (void)zmtp_server_send(link->bound, (unsigned)side, bytes, parts, sizes, 2);
}
