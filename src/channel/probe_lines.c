/* SPDX-License-Identifier: Apache-2.0 */

#include "channel/probe_lines.h"

#include <errno.h>
#include <poll.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

#include "base/clock.h"
#include "base/error.h"
#include "channel/frame.h"
#include "channel/probe_watch.h"
#include "channel/zsock.h"
#include "zmtp/dial.h"

typedef struct Line {
    ZmtpDial *dial; /* NULL: it is awaited */
    void *socket;   /* likewise, libzmq's */
    Endpoint endpoint;
    char attached[PROBE_LINES_TEXT_BYTES];
} Line;

struct ProbeLines {
    ProbeLinesConfig config;
    void *context; /* of what is awaited, or NULL */
    ProbeWatch *watch;
    Line lines[PROBE_N_SIDES];
    unsigned n_subscribers;
};

/* ------------------------------------------------------------------------------- what comes in */

/** subscribed() - every awaited peer's counts; of what we have made there is one */
static void subscribed(ProbeLines *lines, const uint8_t *topic, size_t size, bool on, bool many) {
    if (size > strlen(FRAME_TOPIC) || memcmp(topic, FRAME_TOPIC, size) != 0)
        return; /* to something that is not ours to send */
    if (!on && !lines->n_subscribers)
        return;
    lines->n_subscribers = !many ? on : on ? lines->n_subscribers + 1 : lines->n_subscribers - 1;
    if (lines->config.on_subscription && (on || !lines->n_subscribers))
        lines->config.on_subscription(lines->config.userdata, on);
}

static void on_topic(void *userdata, const uint8_t *topic, size_t size, bool on) {
    subscribed(userdata, topic, size, on, false);
}

static void on_message(void *userdata, const ZmtpMessage *message) {
    const ProbeLines *lines = userdata;
    if (message->n_parts == 2 && lines->config.on_state)
        lines->config.on_state(lines->config.userdata, message->last, message->last_size);
}

/** read_subscriptions() - 0x01 or 0x00 and a topic (zmq_socket(3), XPUB) */
static int read_subscriptions(ProbeLines *lines, void *socket) {
    uint8_t frame[256];
    for (;;) {
        const int n = zmq_recv(socket, frame, sizeof(frame), ZMQ_DONTWAIT);
        if (n < 0)
            return errno == EAGAIN || errno == EINTR ? 0 : error_origin(-errno);
        if (n > 0 && (size_t)n <= sizeof(frame) && frame[0] <= 1)
            subscribed(lines, frame + 1, (size_t)n - 1, frame[0], true);
    }
}

static int read_states(ProbeLines *lines, void *socket) {
    const ProbeLinesConfig *config = &lines->config;
    for (;;) {
        zmq_msg_t part;
        (void)zmq_msg_init(&part);
        const int n = zmq_msg_recv(&part, socket, ZMQ_DONTWAIT);
        if (n < 0) {
            (void)zmq_msg_close(&part);
            return errno == EAGAIN || errno == EINTR ? 0 : error_origin(-errno);
        }
        for (int i = 0; zmq_msg_more(&part); i++) { /* topic, then JSON; any further is nothing */
            if (zmq_msg_recv(&part, socket, 0) < 0)
                break;
            if (i == 0 && config->on_state)
                config->on_state(config->userdata, zmq_msg_data(&part), zmq_msg_size(&part));
        }
        (void)zmq_msg_close(&part);
    }
}

int probe_lines_read(ProbeLines *lines, ProbeSide side) {
    const Line *line = &lines->lines[side];
    if (line->dial) {
        zmtp_dial_turn(line->dial, clock_monotonic_ms());
        return 0;
    }
    return error_trace(
        (side == PROBE_SIDE_DATA ? read_subscriptions : read_states)(lines, line->socket));
}

unsigned probe_lines_subscribers(const ProbeLines *lines) {
    return lines->n_subscribers;
}

/**
 * probe_lines_wait() - zmq_poll() would ask each socket before and after, a call to the system
 * each. Both were read until nothing was left, so whatever comes makes the descriptor readable
 * (zmq_getsockopt(3), ZMQ_FD).
 */
void probe_lines_wait(ProbeLines *lines, int wake_fd, int timeout_ms) {
    struct pollfd items[PROBE_N_SIDES + 1] = {{.fd = wake_fd, .events = POLLIN}};
    for (int i = 0; i < PROBE_N_SIDES; i++) {
        const Line *line = &lines->lines[i];
        struct pollfd *item = &items[i + 1];
        *item = (struct pollfd){.fd = -1, .events = POLLIN};
        size_t size = sizeof(item->fd);
        if (line->dial)
            *item = zmtp_dial_poll(line->dial);
        else if (line->socket)
            (void)zmq_getsockopt(line->socket, ZMQ_FD, &item->fd, &size);
    }
    (void)poll(items, PROBE_N_SIDES + 1, timeout_ms);
    if (items[0].revents)
        zsock_wake_clear(wake_fd);
}

/* --------------------------------------------------------------------------------- what goes out
 */

void probe_payload_return(const ProbePayload *payload) {
    union {
        const void *lent;
        void *bytes;
    } of = {payload->bytes};
    if (payload->give_back)
        payload->give_back(of.bytes, payload->owner);
}

/** copied() - a message of libzmq's with these bytes */
static int copied(zmq_msg_t *part, const void *bytes, size_t size) {
    if (zmq_msg_init_size(part, size) < 0)
        return -1;
    if (size)
        memcpy(zmq_msg_data(part), bytes, size);
    return 0;
}

static ProbeLinesSent send_part(void *socket, zmq_msg_t *part, int flags) {
    if (zmq_msg_send(part, socket, flags | ZMQ_DONTWAIT) >= 0)
        return PROBE_LINES_SENT;
    const bool full = errno == EAGAIN;
    (void)zmq_msg_close(part);
    return full ? PROBE_LINES_FULL : PROBE_LINES_FAILED;
}

/** send_bound() - the payload goes as it lies; libzmq gives it back */
static ProbeLinesSent send_bound(void *socket, const Buffer *header, const ProbePayload *payload) {
    zmq_msg_t first, last;
    union {
        const void *lent;
        void *bytes;
    } of = {payload->bytes};
    const int r = payload->give_back ? zmq_msg_init_data(&last, of.bytes, payload->size,
                                                         payload->give_back, payload->owner)
                                     : copied(&last, payload->bytes, payload->size);
    if (r < 0) {
        probe_payload_return(payload);
        return PROBE_LINES_FAILED;
    }
    ProbeLinesSent sent = PROBE_LINES_FAILED;
    if (copied(&first, header->bytes, header->size) == 0)
        sent = send_part(socket, &first, ZMQ_SNDMORE);
    if (sent == PROBE_LINES_SENT) /* room is counted in whole messages: this one has it, too */
        return send_part(socket, &last, 0);
    (void)zmq_msg_close(&last);
    return sent;
}

ProbeLinesSent probe_lines_send(ProbeLines *lines, const Buffer *header,
                                const ProbePayload *payload) {
    const Line *line = &lines->lines[PROBE_SIDE_DATA];
    if (!line->dial)
        return send_bound(line->socket, header, payload);
    const bool sent =
        zmtp_dial_put(line->dial, header->bytes, header->size, payload->bytes, payload->size);
    probe_payload_return(payload);
    return sent ? PROBE_LINES_SENT : PROBE_LINES_FULL;
}

void probe_lines_flush(ProbeLines *lines) {
    if (lines->lines[PROBE_SIDE_DATA].dial)
        zmtp_dial_flush(lines->lines[PROBE_SIDE_DATA].dial);
}

bool probe_lines_tells_room(const ProbeLines *lines) {
    return lines->lines[PROBE_SIDE_DATA].dial;
}

/* -------------------------------------------------------------------------------- how they stand
 */

static ProbeLinkWord word_of(ZmtpTrouble trouble) {
    static const ProbeLinkWord words[ZMTP_TROUBLES] = {
        [ZMTP_TROUBLE_NONE] = PROBE_LINK_CONNECTING,
        [ZMTP_TROUBLE_NAME] = PROBE_LINK_NAME_UNKNOWN,
        [ZMTP_TROUBLE_REFUSED] = PROBE_LINK_REFUSED,
        [ZMTP_TROUBLE_NO_ROUTE] = PROBE_LINK_NO_ROUTE,
        [ZMTP_TROUBLE_NO_ANSWER] = PROBE_LINK_NO_ANSWER,
        [ZMTP_TROUBLE_WRONG_KEY] = PROBE_LINK_WRONG_KEY,
        [ZMTP_TROUBLE_OTHER_SOCKET] = PROBE_LINK_WRONG_KEY, /* its words name both */
        [ZMTP_TROUBLE_NOT_ENCRYPTED] = PROBE_LINK_PLAIN_PEER,
        [ZMTP_TROUBLE_NOT_SPOKEN] = PROBE_LINK_NO_HANDSHAKE,
        [ZMTP_TROUBLE_UNWANTED] = PROBE_LINK_KEY_REVOKED,
    };
    return words[trouble];
}

void probe_lines_view(ProbeLines *lines, ProbeSide side, ProbeView *view) {
    const Line *line = &lines->lines[side];
    ZmtpDialView dial;
    if (!line->dial) {
        probe_watch_view(lines->watch, side, view);
        return;
    }
    zmtp_dial_view(line->dial, &dial);
    *view = (ProbeView){
        .ready = dial.up,
        .ready_ms = dial.up_ms,
        .connected = dial.connected,
        .connected_ms = dial.connected_ms,
        .trouble = word_of(dial.trouble),
        .trouble_ms = dial.trouble_ms,
        .given_up = dial.given_up,
        .given_up_ms = dial.given_up_ms,
    };
    memcpy(view->detail, dial.detail, sizeof(view->detail));
}

void probe_lines_again(ProbeLines *lines, ProbeSide side) {
    if (lines->lines[side].dial)
        zmtp_dial_again(lines->lines[side].dial);
}

/* ------------------------------------------------------------------------------------ attaching */

const char *probe_lines_attached(const ProbeLines *lines, ProbeSide side) {
    return lines->lines[side].attached;
}

static int dial_to(Line *line, const char *server_z85, const Endpoint *endpoint) {
    uint8_t server[CURVE_KEY_BYTES];
    if (!zmq_z85_decode(server, server_z85))
        return error_origin(-EINVAL);
    zmtp_dial_to(line->dial, endpoint->host, endpoint->port, server, clock_monotonic_ms());
    endpoint_write(endpoint, line->attached, sizeof(line->attached));
    return 0;
}

int probe_lines_attach(ProbeLines *lines, ProbeSide side, Reason *reason) {
    Line *line = &lines->lines[side];
    if (line->dial)
        return error_trace(dial_to(line, lines->config.server_z85, &line->endpoint));
    return error_trace(zsock_attach(line->socket, &line->endpoint, true, line->attached,
                                    sizeof(line->attached), reason));
}

int probe_lines_move(ProbeLines *lines, ProbeSide side, const char *server_z85,
                     const Endpoint *endpoint) {
    Line *line = &lines->lines[side];
    if (line->dial)
        return error_trace(dial_to(line, server_z85, endpoint));
    const int r = zsock_move(line->socket, server_z85, endpoint, true, line->attached,
                             sizeof(line->attached));
    probe_watch_move(lines->watch, side);
    return error_trace(r);
}

/* ---------------------------------------------------------------------------- making, unmaking */

static int open_dial(ProbeLines *lines, ProbeSide side) {
    const ProbeLinesConfig *config = &lines->config;
    ZmtpDialConfig dial = {
        .kind = side == PROBE_SIDE_DATA ? ZMTP_XPUB : ZMTP_SUB,
        .userdata = lines,
        .on_message = on_message,
        .on_topic = on_topic,
    };
    memcpy(dial.topic, config->keys->public_z85, config->topic_bytes);
    int r = zmq_z85_decode(dial.keys.public, config->keys->public_z85) &&
                    zmq_z85_decode(dial.keys.secret, config->keys->secret_z85)
                ? zmtp_dial_new(&lines->lines[side].dial, &dial)
                : error_origin(-EINVAL);
    sodium_memzero(&dial, sizeof(dial));
    return error_trace(r);
}

static int set_data(void *socket) {
    const int one = 1;
    return zmq_setsockopt(socket, ZMQ_XPUB_NODROP, &one, sizeof(one)) < 0 ||
                   zmq_setsockopt(socket, ZMQ_XPUB_VERBOSER, &one, sizeof(one)) < 0
               ? error_origin(-errno)
               : 0;
}

static int set_events(void *socket, const ProbeLinesConfig *config) {
    return config->topic_bytes && zmq_setsockopt(socket, ZMQ_SUBSCRIBE, config->keys->public_z85,
                                                 config->topic_bytes) < 0
               ? error_origin(-errno)
               : 0;
}

static int open_bound(ProbeLines *lines, ProbeSide side) {
    static const int types[] = {ZMQ_XPUB, ZMQ_SUB};
    const ProbeLinesConfig *config = &lines->config;
    if (!lines->context)
        lines->context = zsock_context_new();
    void *socket = lines->context ? zsock_open(lines->context, types[side]) : NULL;
    lines->lines[side].socket = socket;
    if (!socket)
        return error_origin(-errno);
    int r = zsock_curve(socket, config->keys, config->server_z85);
    if (!r)
        r = side == PROBE_SIDE_DATA ? set_data(socket) : set_events(socket, config);
    return error_trace(r);
}

int probe_lines_new(ProbeLines **linesp, const ProbeLinesConfig *config) {
    cleanup(probe_lines_freep) ProbeLines *lines = calloc(1, sizeof(*lines));
    void *sockets[PROBE_N_SIDES] = {NULL};
    int r = lines ? 0 : error_origin(-ENOMEM);
    if (r)
        return error_trace(r);
    lines->config = *config;
    for (int i = 0; i < PROBE_N_SIDES && !r; i++) {
        lines->lines[i].endpoint = config->endpoints[i];
        r = (config->binds[i] ? open_bound : open_dial)(lines, (ProbeSide)i);
        sockets[i] = lines->lines[i].socket;
    }
    if (!r && lines->context)
        r = probe_watch_new(&lines->watch, lines->context, sockets, config->wake_fd);
    if (r)
        return error_trace(r);
    *linesp = lines;
    lines = NULL;
    return 0;
}

ProbeLines *probe_lines_free(ProbeLines *lines) {
    if (!lines)
        return NULL;
    lines->config.on_subscription = NULL;
    probe_watch_free(lines->watch);
    for (int i = 0; i < PROBE_N_SIDES; i++) {
        zmtp_dial_free(lines->lines[i].dial);
        if (lines->lines[i].socket)
            (void)zmq_close(lines->lines[i].socket);
    }
    if (lines->context)
        zsock_context_end(lines->context);
    free(lines);
    return NULL;
}
