/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The hub's receive thread. It never waits for anything but the network: what it cannot take now
 * is asked for again (docs/wire/channel.md).
 */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/crc32c.h"
#include "base/error.h"
#include "channel/frame.h"
#include "channel/hub_link_inner.h"
#include "channel/zsock.h"

enum {
    TURN_MS = 10,
    BURST = 32,         /* messages of one socket before the next has its turn */
    STATES_BURST = 512, /* states told in one turn */
    SWEEP_MS = 250,     /* between two looks for ended sessions */
    CLONE_AGAIN_MS = 5000,
};

/** Owned - a HubBatch and its payload */
typedef struct Owned {
    HubBatch batch;
    uint8_t payload[];
} Owned;

HubBatch *hub_batch_free(HubBatch *batch) {
    if (batch)
        free(batch->owner);
    return NULL;
}

/* -------------------------------------------------------------------------------- receiving */

void hub_post(HubLink *link, const HubEvent *event) {
    if (link->config.on_event)
        link->config.on_event(link->config.userdata, event);
}

/** note_clone() - true: time to tell of two live processes with one key */
static bool note_clone(Session *session, const SessionLine *line, uint64_t now_ms,
                       HubEvent *event) {
    const SessionLine *other = session_other(session, line, now_ms);
    if (!other || (session->clone_ms && now_ms - session->clone_ms < CLONE_AGAIN_MS))
        return false;
    session->clone_ms = now_ms;
    memcpy(event->other, other->address, sizeof(event->other));
    return true;
}

enum { HEARD_E_SENT_OFF = 1000 }; /* it delivers no longer, since a moment ago */

/**
 * note_heard() - the session it belongs to; tells of a new one. `hello` is NULL for other kinds.
 * Who was sent off since this message was found to be of one that delivers has no session here: one
 * that began anew would end as silent while the probe is there, waiting
 */
static int note_heard(HubLink *link, Arrival *arrival, const char *hello) {
    Session *session = NULL;
    char *copy = hello ? strdup(hello) : NULL;
    if (hello && !copy)
        return error_origin(-ENOMEM);
    HubEvent event = {.kind = HUB_EVENT_SESSION_BEGIN, .interface = arrival->interface};
    (void)pthread_mutex_lock(&link->lock);
    int r = hub_keys_get(link->keys, &arrival->key, NULL) == HUB_ADMITTED ? 0 : HEARD_E_SENT_OFF;
    if (!r)
        r = delivery_receiver_peer(link->receiver, &arrival->key, &arrival->peer);
    if (!r)
        r = sessions_get(&link->sessions, arrival->peer, &arrival->key, &session);
    if (r) {
        (void)pthread_mutex_unlock(&link->lock);
        free(copy);
        return error_trace(r);
    }
    uint64_t now_ms = clock_monotonic_ms();
    bool news =
        session_heard(session, arrival->interface, arrival->address, now_ms, clock_wall_ms());
    delivery_receiver_heard(link->receiver, &arrival->key, now_ms);
    SessionLine *line = session_line(session, &arrival->line, now_ms);
    if (copy) {
        session_line_hello(session, line, copy, arrival->frame.hello.hello_id, now_ms);
        news = news || arrival->frame.hello.hello_id != session->hello_id ||
               strcmp(copy, session->hello ? session->hello : "") != 0;
        session->hello_id = arrival->frame.hello.hello_id;
        free(session->hello);
        session->hello = copy;
    }
    event.key = session->key;
    memcpy(event.address, session->address, sizeof(event.address));
    event.json = session->hello ? session->hello : "{}"; /* only this thread replaces it */
    const bool twins = note_clone(session, line, now_ms, &event);
    (void)pthread_mutex_unlock(&link->lock);
    if (news)
        hub_post(link, &event);
    event.kind = HUB_EVENT_CLONE;
    if (twins)
        hub_post(link, &event);
    return 0;
}

char *hub_payload_text(const Arrival *arrival, size_t most) {
    const size_t size = arrival->payload_size;
    if (size > most)
        return NULL;
    char *text = malloc(size + 1);
    if (!text)
        return NULL;
    memcpy(text, arrival->payload, size);
    text[size] = '\0';
    return text;
}

static void line_of(SessionLine *line, zmq_msg_t *message) {
    const char *address = zmq_msg_gets(message, "Peer-Address");
    *line = (SessionLine){.fd = zmq_msg_get(message, ZMQ_SRCFD)};
    line->port = zsock_peer_port(line->fd);
    session_address(line->address, address ? address : "");
}

void hub_count_malformed(HubLink *link, unsigned interface, const PeerKey *key) {
    (void)pthread_mutex_lock(&link->lock);
    link->interfaces[interface].malformed++;
    size_t i = 0;
    Session *session = NULL;
    if (key && hub_keys_get(link->keys, key, NULL) == HUB_ADMITTED &&
        delivery_receiver_peer(link->receiver, key, &i) == 0 &&
        sessions_get(&link->sessions, i, key, &session) == 0)
        session->n_malformed++;
    (void)pthread_mutex_unlock(&link->lock);
}

/** others_speak() - on another connection of this key, by what may be another process. One that
 * says to be the same speaks only if it does so beside this one: else it is what this one left */
static bool others_speak(const Session *session, const Arrival *arrival) {
    const uint64_t now_ms = clock_monotonic_ms();
    const SessionLine *own = NULL;
    for (size_t i = 0; i < SESSION_LINES; i++)
        if (session->lines[i].fd == arrival->line.fd &&
            session->lines[i].port == arrival->line.port)
            own = &session->lines[i];
    for (size_t i = 0; i < SESSION_LINES; i++) {
        const SessionLine *line = &session->lines[i];
        const bool same = own && strcmp(own->instance, line->instance) == 0;
        if (line->fd && line != own && (!same || line->heard_ms > own->since_ms) &&
            now_ms - line->heard_ms < SESSION_LINE_SILENT_MS)
            return true;
    }
    return false;
}

static int on_hello(HubLink *link, Arrival *arrival) {
    char *text = hub_payload_text(arrival, FRAME_JSON_MAX_BYTES);
    if (!text) {
        hub_count_malformed(link, arrival->interface, &arrival->key);
        return 0;
    }
    int r = note_heard(link, arrival, text);
    (void)pthread_mutex_lock(&link->lock);
    if (!r) {
        arrival->frame.hello.keep = others_speak(&link->sessions.sessions[arrival->peer], arrival);
        r = delivery_receiver_hello(link->receiver, &arrival->key, &arrival->frame.hello,
                                    clock_monotonic_ms());
    }
    (void)pthread_mutex_unlock(&link->lock);
    free(text);
    return error_trace(r);
}

static int on_pulse(HubLink *link, Arrival *arrival) {
    int r = note_heard(link, arrival, NULL);
    char *text = r ? NULL : hub_payload_text(arrival, FRAME_JSON_MAX_BYTES);
    if (r)
        return error_trace(r);
    if (!text) {
        hub_count_malformed(link, arrival->interface, &arrival->key);
        return 0;
    }
    (void)pthread_mutex_lock(&link->lock);
    link->interfaces[arrival->interface].pulses++;
    (void)pthread_mutex_unlock(&link->lock);
    if (link->config.on_pulse)
        link->config.on_pulse(link->config.userdata, &arrival->key, arrival->interface, text,
                              strlen(text));
    free(text);
    return 0;
}

/** take() - the delivery's verdict, and the counters that follow from it */
static int take(HubLink *link, Arrival *arrival, HubBatch *batch, bool *takenp) {
    DeliveryVerdict verdict = DELIVERY_MALFORMED;
    const size_t bytes = arrival->payload_size;
    *takenp = false;
    (void)pthread_mutex_lock(&link->lock);
    if (link->sessions.sessions[arrival->peer].unserved != CAUSE_NONE) { /* it was told */
        link->interfaces[arrival->interface].n_refused++;
        (void)pthread_mutex_unlock(&link->lock);
        return 0;
    }
    int r = delivery_receiver_take(link->receiver, &arrival->key, &arrival->frame.batch,
                                   clock_monotonic_ms(), &verdict, &batch->counts);
    batch->generation = link->generation;
    HubInterfaceStatus *interface = &link->interfaces[arrival->interface];
    Session *session = &link->sessions.sessions[arrival->peer];
    if (!r && verdict == DELIVERY_TAKEN) {
        interface->batches++;
        interface->bytes += bytes;
        if (!batch->gap)
            interface->flows = batch_counts_add(interface->flows, batch->counts);
        session->batches++;
        session->bytes += bytes;
    }
    interface->malformed += verdict == DELIVERY_MALFORMED;
    (void)pthread_mutex_unlock(&link->lock);
    *takenp = verdict == DELIVERY_TAKEN;
    return error_trace(r);
}

/** hand_over() - to the daemon; what it has no room for is asked for again */
static void hand_over(HubLink *link, Arrival *arrival, Owned *owned) {
    if (link->config.on_batch(link->config.userdata, &owned->batch))
        return;
    (void)pthread_mutex_lock(&link->lock);
    delivery_receiver_untake(link->receiver, &arrival->key, &arrival->frame.batch);
    (void)pthread_mutex_unlock(&link->lock);
    hub_batch_free(&owned->batch);
}

static int on_batch(HubLink *link, Arrival *arrival) {
    DeliveryBatch *batch = &arrival->frame.batch;
    const void *bytes = arrival->payload;
    const size_t size = arrival->payload_size;
    if (size != batch->bytes) {
        hub_count_malformed(link, arrival->interface, &arrival->key);
        return 0;
    }
    int r = note_heard(link, arrival, NULL);
    if (r)
        return error_trace(r);
    bool corrupt = !batch->gap && crc32c(0, bytes, size) != arrival->frame.crc32c;
    if (corrupt) { /* CURVE let it through, so it was so when sent, and will be when sent again */
        batch->gap = true;
        batch->bytes = 0;
    }
    Owned *owned = malloc(sizeof(*owned) + size);
    if (!owned)
        return error_origin(-ENOMEM);
    owned->batch = (HubBatch){
        .key = arrival->key,
        .epoch = batch->epoch,
        .first = batch->first,
        .last = batch->last,
        .gap = batch->gap,
        .corrupt = corrupt,
        .interface = arrival->interface,
        .totals = batch->totals,
        .received_ms = clock_wall_ms(),
        .owner = owned,
    };
    bool taken = false;
    r = take(link, arrival, &owned->batch, &taken);
    if (r || !taken) {
        free(owned);
        return error_trace(r);
    }
    if (!batch->gap) { /* the bytes are the connection's own, until the next come */
        memcpy(owned->payload, bytes, size);
        owned->batch.payload = owned->payload;
        owned->batch.size = size;
    }
    hand_over(link, arrival, owned);
    return 0;
}

int hub_take_message(HubLink *link, Arrival *arrival) {
    static int (*const handlers[])(HubLink *, Arrival *) = {
        [FRAME_HELLO] = on_hello,
        [FRAME_BATCH] = on_batch,
        [FRAME_GAP] = on_batch,
        [FRAME_PULSE] = on_pulse,
    };
    int r = frame_read(&arrival->frame, arrival->header, arrival->header_size);
    if (r == 0) {
        r = hub_admit_message(link, arrival) ? handlers[arrival->frame.kind](link, arrival) : 0;
        return r == HEARD_E_SENT_OFF ? 0 : error_trace(r);
    }
    if (r == FRAME_E_FOREIGN) {
        (void)pthread_mutex_lock(&link->lock);
        link->interfaces[arrival->interface].foreign++;
        (void)pthread_mutex_unlock(&link->lock);
    } else {
        hub_count_malformed(link, arrival->interface, &arrival->key);
    }
    return 0;
}

/* -------------------------------------------------------------------- where the hub connects */

/** read_message() - false: none there. A message of other than two frames is malformed */
static bool read_message(HubLink *link, Side *side, zmq_msg_t *header, zmq_msg_t *payload,
                         bool *goodp) {
    (void)zmq_msg_init(header);
    (void)zmq_msg_init(payload);
    *goodp = false;
    if (zmq_msg_recv(header, side->socket, ZMQ_DONTWAIT) < 0)
        return false;
    if (zmq_msg_more(header) && zmq_msg_recv(payload, side->socket, 0) >= 0)
        *goodp = !zmq_msg_more(payload);
    if (*goodp)
        return true;
    while (zmq_msg_more(payload))
        if (zmq_msg_recv(payload, side->socket, 0) < 0)
            break;
    hub_count_malformed(link, side->interface, NULL);
    return true;
}

static int on_message(HubLink *link, Arrival *arrival, zmq_msg_t *header, zmq_msg_t *payload) {
    const char *user = zmq_msg_gets(header, "User-Id");
    const char *address = zmq_msg_gets(header, "Peer-Address");
    line_of(&arrival->line, header);
    if (!user || strlen(user) != 40) { /* hub_zap.c names every peer */
        hub_count_malformed(link, arrival->interface, NULL);
        zsock_cut(arrival->line.fd, arrival->line.address, arrival->line.port);
        return 0;
    }
    memcpy(arrival->key.z85, user, sizeof(arrival->key.z85));
    arrival->address = address ? address : "";
    arrival->header = zmq_msg_data(header);
    arrival->header_size = zmq_msg_size(header);
    arrival->payload = zmq_msg_data(payload);
    arrival->payload_size = zmq_msg_size(payload);
    return error_trace(hub_take_message(link, arrival));
}

/** read_data() - *morep: there may be more, and nothing will say so */
static int read_data(HubLink *link, Side *side, Arrival *arrival, bool *morep) {
    int r = 0;
    bool any = true;
    for (int i = 0; i < BURST && any && !r; i++) {
        bool good = false;
        arrival->interface = side->interface;
        zmq_msg_t header, payload;
        any = read_message(link, side, &header, &payload, &good);
        if (good)
            r = on_message(link, arrival, &header, &payload);
        (void)zmq_msg_close(&header);
        (void)zmq_msg_close(&payload);
    }
    *morep = *morep || any;
    return error_trace(r);
}

/* ---------------------------------------------------------------------------------- events */

/** whose_topic() - who had subscribed to it: a connection that went away says no User-Id */
static bool whose_topic(HubLink *link, const uint8_t *topic, size_t size, PeerKey *key) {
    bool found = false;
    (void)pthread_mutex_lock(&link->lock);
    for (size_t i = 0; i < link->sessions.n && !found; i++) {
        *key = link->sessions.sessions[i].key;
        found = memcmp(key->z85, topic, size) == 0;
    }
    for (size_t i = 0; i < HUB_WAITING_MAX && link->waiting.n && !found; i++) {
        if (!link->waiting.peers[i])
            continue;
        *key = link->waiting.peers[i]->session.key;
        found = memcmp(key->z85, topic, size) == 0;
    }
    (void)pthread_mutex_unlock(&link->lock);
    return found;
}

/** on_subscription() - a probe may listen to its own topic only (ZMQ_XPUB_MANUAL) */
static int on_subscription(HubLink *link, size_t side, zmq_msg_t *message) {
    const uint8_t *bytes = zmq_msg_data(message);
    const size_t size = zmq_msg_size(message) - 1; /* of the topic; empty: a large number */
    const char *user = zmq_msg_gets(message, "User-Id");
    PeerKey key = {""};
    if (size < FRAME_STATE_TOPIC_BYTES || size > 40)
        return 0;
    const bool own = user && strlen(user) == 40 && memcmp(user, bytes + 1, size) == 0;
    if (own && zmq_setsockopt(link->sides[side].socket, bytes[0] ? ZMQ_SUBSCRIBE : ZMQ_UNSUBSCRIBE,
                              bytes + 1, size) < 0)
        return 0;
    SessionLine line;
    line_of(&line, message);
    if (bytes[0] && !user) /* as in on_message() */
        zsock_cut(line.fd, line.address, line.port);
    if (own)
        memcpy(key.z85, user, sizeof(key.z85));
    else if (bytes[0] || user || !whose_topic(link, bytes + 1, size, &key))
        return 0;
    return error_trace(hub_take_topic(link, side, &key, &line, bytes[0], own));
}

static int read_events(HubLink *link, size_t side, bool *morep) {
    int r = 0;
    int i = 0;
    for (; i < BURST && !r; i++) {
        zmq_msg_t message;
        (void)zmq_msg_init(&message);
        if (zmq_msg_recv(&message, link->sides[side].socket, ZMQ_DONTWAIT) < 0) {
            (void)zmq_msg_close(&message);
            break;
        }
        r = on_subscription(link, side, &message);
        (void)zmq_msg_close(&message);
    }
    *morep = *morep || i == BURST;
    return error_trace(r);
}

/* Its subscription may have come when there was no room to note it, and does not come again: then
 * all are tried, as only a socket to which it has subscribed passes it on. */
void hub_send_state(HubLink *link, unsigned events, const PeerKey *key, const ControlState *state) {
    buffer_clear(&link->text);
    control_write(&link->text, state);
    const size_t end = events ? events + 1 : link->n_sides;
    for (size_t i = events ? events : link->n_data; i < end && !link->text.failed; i++) {
        void *socket = link->sides[i].socket;
        if (link->sides[i].bind)
            hub_bound_send(link, i, key, link->text.bytes, link->text.size);
        else if (zmq_send(socket, key->z85, 40, ZMQ_SNDMORE | ZMQ_DONTWAIT) == 40)
            (void)zmq_send(socket, link->text.bytes, link->text.size, ZMQ_DONTWAIT);
    }
}

/** send_states() - to two processes of one key as well: each takes the one with its own hello */
static void send_states(HubLink *link, unsigned events, const PeerKey *key, ControlState *state,
                        const uint64_t hellos[SESSION_LINES]) {
    const uint64_t told = state->delivery.hello_id;
    hub_send_state(link, events, key, state);
    for (size_t i = 0; i < SESSION_LINES; i++) {
        if (!hellos[i] || hellos[i] == told)
            continue;
        state->delivery.hello_id = hellos[i];
        hub_send_state(link, events, key, state);
    }
}

/** refuse_version() - a probe of a version that is not served: it keeps what it has, and why it is
 * told, for an older one does not find out by itself */
static void refuse_version(const Session *session, ControlState *state) {
    state->delivery.admitted = false;
    state->delivery.n_marks = 0;
    state->delivery.credit_bytes = 0;
    state->lease = (Lease){0};
    (void)snprintf(state->admission, sizeof(state->admission), "pending");
    cause_line(state->reason, sizeof(state->reason), session->unserved, "", session->version);
}

static void tell_states(HubLink *link) {
    ControlState state;
    PeerKey key;
    for (int i = 0; i < STATES_BURST; i++) {
        size_t peer = 0;
        Session *session = NULL;
        unsigned events = 0;
        uint64_t hellos[SESSION_LINES] = {0};
        const uint64_t now_ms = clock_monotonic_ms();
        state = (ControlState){.admission = "admitted"};
        (void)pthread_mutex_lock(&link->lock);
        bool due = delivery_receiver_next_state(link->receiver, now_ms, &key, &state.delivery);
        if (due && state.delivery.admitted &&
            delivery_receiver_peer(link->receiver, &key, &peer) == 0 &&
            sessions_get(&link->sessions, peer, &key, &session) == 0) {
            events = session->events;
            (void)snprintf(state.configuration, sizeof(state.configuration), "%s",
                           session->configuration ? session->configuration : "");
            state.server_keys = hub_serve_said(link, session->interface);
            state.lease = link->lease;
            if (session->unserved != CAUSE_NONE)
                refuse_version(session, &state);
            for (size_t k = 0; k < SESSION_LINES; k++)
                if (session->lines[k].fd &&
                    now_ms - session->lines[k].heard_ms < SESSION_LINE_SILENT_MS)
                    hellos[k] = session->lines[k].hello_id;
        }
        (void)pthread_mutex_unlock(&link->lock);
        if (!due)
            return;
        if (!session) /* not admitted any more: it is told by the waiting room */
            continue;
        state.server_time_ms = clock_wall_ms();
        state.notice = atomic_load(&link->notice);
        send_states(link, events, &key, &state, hellos);
    }
}

/* ------------------------------------------------------------------------------- the thread */

static void end_sessions(HubLink *link) {
    uint64_t now_ms = clock_monotonic_ms();
    if (now_ms - link->sweep_ms < SWEEP_MS)
        return;
    link->sweep_ms = now_ms;
    for (size_t i = 0;; i++) {
        HubEvent event = {.kind = HUB_EVENT_SESSION_END};
        bool over = false;
        (void)pthread_mutex_lock(&link->lock);
        bool end = i >= link->sessions.n;
        if (!end) {
            Session *session = &link->sessions.sessions[i];
            over = session_over(session, now_ms);
            event.key = session->key;
            event.interface = session->interface;
            memcpy(event.address, session->address, sizeof(event.address));
            event.json = session->hello;
        }
        (void)pthread_mutex_unlock(&link->lock);
        if (end)
            return;
        if (over)
            hub_post(link, &event);
    }
}

static void look_after(HubLink *link) {
    HubEvent event;
    while (hub_watch_problem(link->watch, &event))
        hub_post(link, &event);
    for (size_t i = 0; i < link->n_sides; i++)
        if (!link->sides[i].bind && hub_watch_again(link->watch, i))
            zsock_again(link->sides[i].socket, link->sides[i].attached);
    end_sessions(link);
    hub_admit_look_after(link);
    hub_serve_turn(link);
    hub_bound_turn(link);
}

/** wait_on() - a side's descriptor; one that binds has none of its own */
static struct pollfd wait_on(const Side *side) {
    int fd = -1;
    size_t size = sizeof(fd);
    if (!side->bind)
        (void)zmq_getsockopt(side->socket, ZMQ_FD, &fd, &size);
    return (struct pollfd){.fd = fd, .events = POLLIN};
}

/**
 * wait_for_any() - zmq_poll() would ask each socket before and after, a call to the system each.
 * All were read until nothing was left, so whatever comes makes the descriptor readable
 * (zmq_getsockopt(3), ZMQ_FD); what a send has taken note of meanwhile is seen a turn later.
 */
static void wait_for_any(HubLink *link, bool more) {
    for (size_t i = 0; i < link->n_sides; i++)
        link->items[i] = wait_on(&link->sides[i]);
    struct pollfd *wake = &link->items[link->n_sides];
    wake[0] = (struct pollfd){.fd = link->wake_fd, .events = POLLIN};
    wake[1] = (struct pollfd){.fd = zmtp_server_fd(link->bound), .events = POLLIN};
    (void)poll(link->items, link->n_sides + 2, more ? 0 : TURN_MS);
    if (wake->revents)
        zsock_wake_clear(link->wake_fd);
}

void *hub_receive(void *arg) {
    HubLink *link = arg;
    bool more = false;
    int r = 0;
    while (!atomic_load(&link->stop)) {
        wait_for_any(link, more);
        more = zmtp_server_turn(link->bound, clock_monotonic_ms());
        /* out of memory: what came is lost here, safe in the spool, and asked for again */
        for (size_t i = 0; i < link->n_sides; i++)
            r = link->sides[i].bind ? 0
                : i < link->n_data  ? read_data(link, &link->sides[i], link->arrival, &more)
                                    : read_events(link, i, &more);
        (void)r;
        tell_states(link);
        look_after(link);
    }
    return NULL;
}
