/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Who may deliver. Keys that are not admitted are kept apart from delivery: no cursor, no credit,
 * no memory that lasts. A revoked one is refused by ZAP; as ZAP acts only at the handshake, its
 * open connections are cut here.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "channel/hub_link_inner.h"
#include "channel/zsock.h"

enum {
    ASK_AGAIN_MS = 500, /* the event with its hello may have been lost; and not more often */
    TELL_MS = 1000,
};

/* ------------------------------------------------------------------------------- the verdict */

/** find_session() - of a key that is, or was, admitted */
static Session *find_session(HubLink *link, const PeerKey *key) {
    const size_t i = delivery_receiver_find(link->receiver, key);
    return i < link->sessions.n ? &link->sessions.sessions[i] : NULL;
}

/** cut() - all that is known to be open; the sweep tells that the session is over */
static void cut(Session *session) {
    for (size_t i = 0; i < SESSION_LINES; i++)
        if (session->lines[i].fd > 0)
            zsock_cut(session->lines[i].fd, session->lines[i].address, session->lines[i].port);
    if (session->events_fd > 0)
        zsock_cut(session->events_fd, session->address, session->events_port);
    memset(session->lines, 0, sizeof(session->lines));
    session->events_fd = 0;
    session->leaving_ms = 1;
}

/** promote() - from the waiting room to delivery; its hello need not come again */
static int promote(HubLink *link, const PeerKey *key, uint32_t slot) {
    WaitingPeer *waiting = link->waiting.peers[slot];
    size_t i = 0;
    Session *session = NULL;
    int r = delivery_receiver_peer(link->receiver, key, &i);
    if (!r)
        r = sessions_get(&link->sessions, i, key, &session);
    const uint64_t now_ms = clock_monotonic_ms();
    if (!r && waiting->hello.hello_id)
        r = delivery_receiver_hello(link->receiver, key, &waiting->hello, now_ms);
    if (r)
        return error_trace(r);
    delivery_receiver_heard(link->receiver, key, now_ms);
    free(session->hello);
    char *configuration = session->configuration;
    *session = waiting->session;
    session->configuration = configuration;
    waiting->session.hello = NULL;
    waiting_remove(&link->waiting, slot);
    return 0;
}

static int let_in(HubLink *link, const PeerKey *key, bool waits, uint32_t slot) {
    int r = waits ? promote(link, key, slot) : 0;
    if (!r)
        r = hub_keys_set(link->keys, key, HUB_ADMITTED, 0);
    if (!r)
        delivery_receiver_admit(link->receiver, key, true);
    return error_trace(r);
}

static int expel(HubLink *link, const PeerKey *key, bool waits, uint32_t slot) {
    int r = hub_keys_set(link->keys, key, HUB_REVOKED, 0);
    delivery_receiver_admit(link->receiver, key, false);
    Session *session = waits ? &link->waiting.peers[slot]->session : find_session(link, key);
    if (session)
        cut(session);
    if (waits)
        waiting_remove(&link->waiting, slot);
    return error_trace(r);
}

/** is_there() - connected as far as is known, and its hello was heard */
static bool is_there(const Session *session, uint64_t now_ms) {
    return session && session->hello_id && !session->leaving_ms &&
           now_ms - session->heard_ms <= SESSION_SILENT_MS;
}

/**
 * take_place() - a place in the waiting room for a key that has none; NULL: no room. One that
 * delivered until now does not say its hello again, so it stays what it was: what delivery knows
 * of its epochs is kept there until it comes back
 */
static WaitingPeer *take_place(HubLink *link, const PeerKey *key, uint64_t now_ms,
                               Session *evictedp) {
    uint32_t slot = UINT32_MAX;
    if (!waiting_add(&link->waiting, key, now_ms, &slot, evictedp))
        return NULL;
    if (*evictedp->key.z85)
        hub_keys_remove(link->keys, &evictedp->key);
    if (hub_keys_set(link->keys, key, HUB_PENDING, slot)) {
        waiting_remove(&link->waiting, slot);
        return NULL;
    }
    WaitingPeer *peer = link->waiting.peers[slot];
    const Session *before = find_session(link, key);
    if (is_there(before, now_ms)) {
        peer->session = *before;
        peer->session.configuration = NULL;
        peer->session.hello = before->hello ? strdup(before->hello) : NULL;
    }
    return peer;
}

/** send_off() - one that delivers; what it has under way is stored, or asked for when it is back */
static void send_off(HubLink *link, const PeerKey *key, bool pending, const char *reason) {
    const uint64_t now_ms = clock_monotonic_ms();
    Session *session = find_session(link, key);
    Session evicted; /* that its session is over is seen in the next list of all that there are */
    delivery_receiver_admit(link->receiver, key, false);
    hub_keys_remove(link->keys, key);
    WaitingPeer *peer = pending && session && session->up && is_there(session, now_ms)
                            ? take_place(link, key, now_ms, &evicted)
                            : NULL;
    if (session)
        session->up = false; /* it goes on, or begins anew, in the waiting room */
    if (!peer)
        return;
    peer->decided = true;
    peer->due = true;
    (void)snprintf(peer->reason, sizeof(peer->reason), "%s", reason ? reason : "");
}

/** put_off() - pending, or unknown again */
static void put_off(HubLink *link, const PeerKey *key, bool waits, uint32_t slot, bool pending,
                    const char *reason) {
    if (!waits) {
        send_off(link, key, pending, reason);
        return;
    }
    WaitingPeer *peer = link->waiting.peers[slot];
    peer->decided = pending;
    peer->due = true;
    (void)snprintf(peer->reason, sizeof(peer->reason), "%s", reason ? reason : "");
}

int hub_link_admit(HubLink *link, const PeerKey *key, HubAdmission admission, const char *reason) {
    int r = 0;
    uint32_t slot = UINT32_MAX;
    (void)pthread_mutex_lock(&link->lock);
    const HubAdmission before = hub_keys_get(link->keys, key, &slot);
    const bool waits = (before == HUB_UNKNOWN || before == HUB_PENDING) && slot != UINT32_MAX;
    if (admission == HUB_ADMITTED)
        r = let_in(link, key, waits, slot);
    else if (admission == HUB_REVOKED)
        r = expel(link, key, waits, slot);
    else
        put_off(link, key, waits, slot, admission == HUB_PENDING, reason);
    (void)pthread_mutex_unlock(&link->lock);
    zsock_wake(link->wake_fd);
    return error_trace(r);
}

/* -------------------------------------------------------------------------- the waiting room */

static void count_refused(HubLink *link, unsigned interface) {
    if (interface < link->n_data)
        link->interfaces[interface].n_refused++;
}

static HubEvent session_end(const Session *session) {
    HubEvent event = {.kind = HUB_EVENT_SESSION_END,
                      .interface = session->interface,
                      .key = session->key,
                      .json = "{}"};
    memcpy(event.address, session->address, sizeof(event.address));
    return event;
}

/**
 * wait_for() - its place in the waiting room, made when there is none; NULL: no room. Locked. *endp
 * is to be posted when it has a key: the session that had to go for it is over
 */
static WaitingPeer *wait_for(HubLink *link, const PeerKey *key, uint64_t now_ms, HubEvent *endp) {
    uint32_t slot = UINT32_MAX;
    const HubAdmission admission = hub_keys_get(link->keys, key, &slot);
    if (admission == HUB_ADMITTED || admission == HUB_REVOKED)
        return NULL; /* decided just now: the next message goes the right way */
    if (slot != UINT32_MAX)
        return link->waiting.peers[slot];
    Session evicted = {0};
    WaitingPeer *peer = take_place(link, key, now_ms, &evicted);
    if (peer)
        peer->session.up = false; /* that it is there is news */
    if (evicted.up)
        *endp = session_end(&evicted);
    return peer;
}

/** take_hello() - true: it is to be decided on (again) */
static bool take_hello(WaitingPeer *peer, const Arrival *arrival, char **textp, uint64_t now_ms) {
    const char *known = peer->session.hello ? peer->session.hello : "";
    const bool news = arrival->frame.hello.hello_id != peer->session.hello_id ||
                      strcmp(*textp, known) != 0 ||
                      (!peer->decided && now_ms - peer->posted_ms >= ASK_AGAIN_MS);
    peer->hello = arrival->frame.hello;
    peer->hello.keep = false;
    peer->session.hello_id = arrival->frame.hello.hello_id;
    peer->due = true;
    char *old = peer->session.hello;
    peer->session.hello = strdup(*textp);
    free(old);
    return news;
}

/** to_post() - is there news of it, and is it time to tell? */
static bool to_post(WaitingPeer *peer, uint64_t now_ms) {
    if (!peer->news || !peer->session.hello ||
        (peer->posted_ms && now_ms - peer->posted_ms < ASK_AGAIN_MS))
        return false;
    peer->news = false;
    peer->posted_ms = now_ms;
    return true;
}

/** hear_waiting() - one message of somebody who is not admitted */
static void hear_waiting(HubLink *link, Arrival *arrival) {
    const uint64_t now_ms = clock_monotonic_ms();
    const bool is_hello = arrival->frame.kind == FRAME_HELLO;
    char *text = is_hello ? hub_payload_text(arrival, WAITING_HELLO_MAX_BYTES) : NULL;
    HubEvent event = {.kind = HUB_EVENT_SESSION_BEGIN,
                      .interface = arrival->interface,
                      .key = arrival->key,
                      .json = text ? text : "{}"};
    HubEvent end = {.json = "{}"};
    bool news = false;
    (void)pthread_mutex_lock(&link->lock);
    WaitingPeer *peer = wait_for(link, &arrival->key, now_ms, &end);
    if (peer) {
        Session *session = &peer->session;
        news =
            session_heard(session, arrival->interface, arrival->address, now_ms, clock_wall_ms());
        SessionLine *line = session_line(session, &arrival->line, now_ms);
        memcpy(event.address, session->address, sizeof(event.address));
        if (text) {
            news = take_hello(peer, arrival, &text, now_ms) || news;
            session_line_hello(session, line, text, arrival->frame.hello.hello_id, now_ms);
        }
        peer->news = peer->news || news;
        news = to_post(peer, now_ms);
    }
    if (arrival->frame.kind == FRAME_BATCH || arrival->frame.kind == FRAME_GAP)
        count_refused(link, arrival->interface);
    char *said = news && !text ? strdup(peer->session.hello) : NULL;
    (void)pthread_mutex_unlock(&link->lock);
    if (*end.key.z85)
        hub_post(link, &end);
    if (said)
        event.json = said;
    if (news)
        hub_post(link, &event);
    free(said);
    free(text);
}

bool hub_admit_message(HubLink *link, Arrival *arrival) {
    const HubAdmission admission = hub_keys_get(link->keys, &arrival->key, NULL);
    if (admission == HUB_ADMITTED)
        return true;
    if (admission == HUB_REVOKED) {
        zsock_cut(arrival->line.fd, arrival->line.address, arrival->line.port);
        (void)pthread_mutex_lock(&link->lock);
        count_refused(link, arrival->interface);
        (void)pthread_mutex_unlock(&link->lock);
        return false;
    }
    if (!link->config.ask)
        return hub_link_admit(link, &arrival->key, HUB_ADMITTED, NULL) == 0;
    hear_waiting(link, arrival);
    return false;
}

bool hub_admit_subscription(HubLink *link, unsigned side, const PeerKey *key,
                            const SessionLine *line, bool on) {
    const HubAdmission admission = hub_keys_get(link->keys, key, NULL);
    if (admission == HUB_ADMITTED)
        return true;
    if (admission == HUB_REVOKED) {
        if (on)
            zsock_cut(line->fd, line->address, line->port);
        return false;
    }
    if (!link->config.ask)
        return !on || hub_link_admit(link, key, HUB_ADMITTED, NULL) == 0;
    const uint64_t now_ms = clock_monotonic_ms();
    (void)pthread_mutex_lock(&link->lock);
    uint32_t slot = UINT32_MAX;
    HubEvent end = {.json = "{}"};
    if (!on)
        (void)hub_keys_get(link->keys, key, &slot);
    WaitingPeer *peer = on                   ? wait_for(link, key, now_ms, &end)
                        : slot != UINT32_MAX ? link->waiting.peers[slot]
                                             : NULL;
    if (peer && on) {
        peer->session.events = side;
        peer->session.events_fd = line->fd;
        peer->session.events_port = line->port;
        peer->session.leaving_ms = 0;
        peer->due = true;
    } else if (peer) {
        peer->session.leaving_ms = now_ms;
    }
    (void)pthread_mutex_unlock(&link->lock);
    if (*end.key.z85)
        hub_post(link, &end);
    return false;
}

int hub_take_topic(HubLink *link, size_t side, const PeerKey *key, const SessionLine *line, bool on,
                   bool known) {
    if (!hub_admit_subscription(link, (unsigned)side, key, line, on))
        return 0;
    size_t i = 0;
    Session *session = NULL;
    (void)pthread_mutex_lock(&link->lock);
    int r = 0;
    if (known)
        r = delivery_receiver_peer(link->receiver, key, &i);
    else
        i = delivery_receiver_find(link->receiver, key);
    if (!r && (known || i < link->sessions.n))
        r = sessions_get(&link->sessions, i, key, &session);
    if (session && on) {
        session->events = (unsigned)side;
        session->events_fd = line->fd;
        session->events_port = line->port;
        session->leaving_ms = 0;
        delivery_receiver_tell(link->receiver, key);
    } else if (session) {
        session->leaving_ms = clock_monotonic_ms();
    }
    (void)pthread_mutex_unlock(&link->lock);
    return error_trace(r);
}

void hub_line_ended(HubLink *link, const PeerKey *key, const SessionLine *line) {
    (void)pthread_mutex_lock(&link->lock);
    Session *session = find_session(link, key);
    if (session)
        session_line_ended(session, line);
    (void)pthread_mutex_unlock(&link->lock);
}

/* --------------------------------------------------------------------------------- each turn */

/**
 * look_at() - one place; true: `state` is to be sent; `event` is to be posted when it has a key,
 * with the hello *saidp if that is not NULL
 */
static bool look_at(HubLink *link, WaitingPeer *peer, uint64_t now_ms, ControlState *state,
                    HubEvent *event, char **saidp) {
    Session *session = &peer->session;
    if (session_over(session, now_ms)) {
        *event = session_end(session);
    } else if (session->up && to_post(peer, now_ms)) {
        *event = session_end(session);
        event->kind = HUB_EVENT_SESSION_BEGIN;
        *saidp = strdup(session->hello);
    }
    const bool told = now_ms - peer->told_ms < (peer->due ? 0 : TELL_MS);
    if (!session->up || !peer->decided || !session->hello_id || told)
        return false;
    peer->due = false;
    peer->told_ms = now_ms;
    *state = (ControlState){.admission = "pending", .server_time_ms = clock_wall_ms()};
    state->delivery.nonce = link->waiting_nonce;
    state->delivery.hello_id = session->hello_id;
    state->server_keys = hub_serve_said(link, session->interface);
    memcpy(state->reason, peer->reason, sizeof(state->reason));
    return true;
}

void hub_admit_look_after(HubLink *link) {
    const uint64_t now_ms = clock_monotonic_ms();
    (void)pthread_mutex_lock(&link->lock);
    size_t left = link->waiting.n; /* may change meanwhile: then a turn later */
    (void)pthread_mutex_unlock(&link->lock);
    for (uint32_t i = 0; left && i < HUB_WAITING_MAX; i++) {
        ControlState state;
        HubEvent event = {.json = "{}"};
        PeerKey key = {""};
        unsigned events = 0;
        bool tell = false;
        char *said = NULL;
        (void)pthread_mutex_lock(&link->lock);
        WaitingPeer *peer = link->waiting.peers[i];
        if (peer) {
            left--;
            tell = look_at(link, peer, now_ms, &state, &event, &said);
            events = peer->session.events;
            key = peer->session.key;
        }
        (void)pthread_mutex_unlock(&link->lock);
        if (tell)
            hub_send_state(link, events, &key, &state);
        if (said)
            event.json = said;
        if (*event.key.z85)
            hub_post(link, &event);
        free(said);
    }
}
