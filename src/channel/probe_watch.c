/* SPDX-License-Identifier: Apache-2.0 */

#include "channel/probe_watch.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <zmq.h>

#include "base/clock.h"
#include "base/error.h"
#include "channel/zsock.h"

enum {
    TURN_MS = 100,
    ASK_AFTER_MS = 300, /* not connected for so long: find out why */
    ASK_AGAIN_MS = 5000,
    ANSWER_MS = 3000, /* what a host may take to answer */
    SHAKE_MS = 10000, /* a handshake that fails later than this was never spoken */
    CLOSED_TWICE = 2, /* handshakes closed by the peer before it is called a wrong key */
};

typedef struct Answer {
    ProbeLinkWord word;
    char detail[128];
} Answer;

/*
 * A question to the network, asked on a thread of its own: names may take half a minute. It belongs
 * to the watch and to that thread; who lets go last frees it.
 */
typedef struct Question {
    pthread_mutex_t lock;
    unsigned holders;
    bool answered;
    Endpoint endpoint;
    Answer answer;
} Question;

typedef struct Side {
    ProbeWatchSide config;
    void *pair;
    ProbeView view;
    ZsockLine line;
    bool moved;         /* what was asked is of another endpoint */
    Question *question; /* the one that is being asked, or NULL */
    uint64_t asked_ms;
    uint64_t shook_ms; /* last failed handshake, 0 for none */
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

static void set_trouble(Side *side, ProbeLinkWord word, const char *detail) {
    side->view.trouble = word;
    side->view.trouble_ms = clock_monotonic_ms();
    (void)snprintf(side->view.detail, sizeof(side->view.detail), "%s", detail);
}

static void set_ready(Side *side, bool ready, uint64_t now_ms) {
    if (side->view.ready != ready)
        side->view.ready_ms = now_ms;
    side->view.ready = ready;
}

static void set_connected(Side *side, bool connected, uint64_t now_ms) {
    side->view.connected = connected;
    side->view.connected_ms = now_ms;
    if (connected && side->view.trouble >= PROBE_LINK_NAME_UNKNOWN &&
        side->view.trouble <= PROBE_LINK_NO_ANSWER) /* the network's, so it is over */
        set_trouble(side, PROBE_LINK_CONNECTING, "");
}

static void give_up(Side *side, uint64_t now_ms) {
    if (side->config.bind)
        return; /* it is the peer that connects */
    side->view.given_up = true;
    side->view.given_up_ms = now_ms;
}

static void closed_in_handshake(Side *side, uint64_t now_ms) {
    if (now_ms - side->view.connected_ms > SHAKE_MS)
        set_trouble(side, PROBE_LINK_NO_HANDSHAKE, "");
    else if (++side->n_closed >= CLOSED_TWICE)
        set_trouble(side, PROBE_LINK_WRONG_KEY, "");
    side->shook_ms = now_ms;
}

static void refused_in_handshake(Side *side, uint32_t value, uint64_t now_ms) {
    set_trouble(side,
                value == ZMQ_PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH ? PROBE_LINK_PLAIN_PEER
                : value == ZMQ_PROTOCOL_ERROR_ZMTP_CRYPTOGRAPHIC    ? PROBE_LINK_WRONG_KEY
                                                                    : PROBE_LINK_NO_HANDSHAKE,
                "");
    side->shook_ms = now_ms;
    give_up(side, now_ms);
}

static void on_event(Side *side, const ZsockEvent *event, uint64_t now_ms) {
    switch (event->kind) {
    case ZMQ_EVENT_CONNECTED:
        zsock_line_begin(&side->line, (int)event->value);
        set_connected(side, true, now_ms);
        break;
    case ZMQ_EVENT_ACCEPTED:
        set_connected(side, true, now_ms);
        break;
    case ZMQ_EVENT_HANDSHAKE_SUCCEEDED:
        set_ready(side, true, now_ms);
        set_trouble(side, PROBE_LINK_CONNECTING, "");
        side->n_closed = 0;
        side->shook_ms = 0;
        break;
    case ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL:
        refused_in_handshake(side, event->value, now_ms);
        break;
    case ZMQ_EVENT_HANDSHAKE_FAILED_AUTH:
        set_trouble(side, PROBE_LINK_KEY_REVOKED, "");
        side->shook_ms = now_ms;
        give_up(side, now_ms);
        break;
    case ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL:
        closed_in_handshake(side, now_ms);
        break;
    case ZMQ_EVENT_DISCONNECTED:
        zsock_line_end(&side->line);
        set_connected(side, false, now_ms);
        set_ready(side, false, now_ms);
        break;
    default:
        break;
    }
}

/* ------------------------------------------------------------------------- asking the network */

/** try_address() - 0 or the errno of a TCP connection to it */
static int try_address(const struct addrinfo *address) {
    cleanup(closep) int fd =
        socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return errno;
    if (connect(fd, address->ai_addr, address->ai_addrlen) == 0)
        return 0;
    if (errno != EINPROGRESS)
        return errno;
    struct pollfd item = {.fd = fd, .events = POLLOUT};
    if (poll(&item, 1, ANSWER_MS) <= 0)
        return ETIMEDOUT;
    int error = 0;
    socklen_t length = sizeof(error);
    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) < 0 ? errno : error;
}

static ProbeLinkWord word_of(int error) {
    switch (error) {
    case 0:
        return PROBE_LINK_CONNECTING;
    case ECONNREFUSED:
        return PROBE_LINK_REFUSED;
    case ETIMEDOUT:
        return PROBE_LINK_NO_ANSWER;
    default:
        return PROBE_LINK_NO_ROUTE;
    }
}

static Answer ask_network(const Endpoint *endpoint) {
    char port[8];
    (void)snprintf(port, sizeof(port), "%u", endpoint->port);
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    Answer answer = {.word = PROBE_LINK_NAME_UNKNOWN};
    int r = getaddrinfo(endpoint->host, port, &hints, &found);
    if (r != 0) {
        (void)snprintf(answer.detail, sizeof(answer.detail), "%s", gai_strerror(r));
        return answer;
    }
    int error = try_address(found);
    freeaddrinfo(found);
    answer.word = word_of(error);
    if (error)
        (void)snprintf(answer.detail, sizeof(answer.detail), "%s", strerror(error));
    return answer;
}

static void question_leave(Question *question) {
    (void)pthread_mutex_lock(&question->lock);
    bool last = --question->holders == 0;
    (void)pthread_mutex_unlock(&question->lock);
    if (!last)
        return;
    (void)pthread_mutex_destroy(&question->lock);
    free(question);
}

static void *ask(void *arg) {
    Question *question = arg;
    Answer answer = ask_network(&question->endpoint);
    (void)pthread_mutex_lock(&question->lock);
    question->answer = answer;
    question->answered = true;
    (void)pthread_mutex_unlock(&question->lock);
    question_leave(question);
    return NULL;
}

/** question_ask() - NULL: not now */
static Question *question_ask(const Endpoint *endpoint) {
    Question *question = calloc(1, sizeof(*question));
    pthread_t thread;
    if (!question)
        return NULL;
    (void)pthread_mutex_init(&question->lock, NULL);
    question->holders = 2;
    question->endpoint = *endpoint;
    if (pthread_create(&thread, NULL, ask, question) != 0) {
        (void)pthread_mutex_destroy(&question->lock);
        free(question);
        return NULL;
    }
    (void)pthread_detach(thread);
    return question;
}

/** take_answer() - when it is there */
static void take_answer(ProbeWatch *watch, Side *side) {
    (void)pthread_mutex_lock(&side->question->lock);
    bool answered = side->question->answered;
    Answer answer = side->question->answer;
    (void)pthread_mutex_unlock(&side->question->lock);
    if (!answered)
        return;
    question_leave(side->question);
    side->question = NULL;
    if (answer.word == PROBE_LINK_CONNECTING)
        return; /* it can be reached: libzmq soon will be there */
    (void)pthread_mutex_lock(&watch->lock);
    if (!side->view.connected && !side->moved) /* else it is there, or was asked of elsewhere */
        set_trouble(side, answer.word, answer.detail);
    (void)pthread_mutex_unlock(&watch->lock);
    zsock_wake(watch->wake_fd);
}

static void look_into(ProbeWatch *watch, Side *side) {
    (void)pthread_mutex_lock(&watch->lock); /* probe_watch_move() */
    const uint64_t now_ms = clock_monotonic_ms();
    const bool moved = side->moved;
    const Endpoint endpoint = side->config.endpoint;
    const bool shook = side->shook_ms && now_ms - side->shook_ms < ASK_AGAIN_MS * 6;
    const bool early = side->view.connected || now_ms - side->view.connected_ms < ASK_AFTER_MS;
    side->moved = false;
    (void)pthread_mutex_unlock(&watch->lock);
    if (moved && side->question) {
        question_leave(side->question);
        side->question = NULL;
    }
    if (moved)
        side->asked_ms = 0;
    if (side->question) {
        take_answer(watch, side);
        return;
    }
    if (side->config.bind || shook || early ||
        (side->asked_ms && now_ms - side->asked_ms < ASK_AGAIN_MS))
        return;
    side->asked_ms = now_ms;
    side->question = question_ask(&endpoint);
}

/* -------------------------------------------------------------------------------- the thread */

static void drain(ProbeWatch *watch, Side *side) {
    ZsockEvent event;
    bool any = false;
    while (zsock_monitor_read(side->pair, &event)) {
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
        for (int i = 0; i < PROBE_N_SIDES; i++)
            items[i] = (zmq_pollitem_t){.socket = watch->sides[i].pair, .events = ZMQ_POLLIN};
        (void)zmq_poll(items, PROBE_N_SIDES, TURN_MS);
        for (int i = 0; i < PROBE_N_SIDES; i++)
            drain(watch, &watch->sides[i]);
        for (int i = 0; i < PROBE_N_SIDES; i++)
            look_into(watch, &watch->sides[i]);
        for (int i = 0; i < PROBE_N_SIDES; i++)
            zsock_line_look(&watch->sides[i].line);
    }
    return NULL;
}

int probe_watch_new(ProbeWatch **watchp, void *context, const ProbeWatchSide sides[PROBE_N_SIDES],
                    int wake_fd) {
    static const char *const names[] = {"probe-data", "probe-events"};
    cleanup(probe_watch_freep) ProbeWatch *watch = calloc(1, sizeof(*watch));
    if (!watch)
        return error_origin(-ENOMEM);
    (void)pthread_mutex_init(&watch->lock, NULL);
    watch->wake_fd = wake_fd;
    for (int i = 0; i < PROBE_N_SIDES; i++) {
        Side *side = &watch->sides[i];
        side->config = sides[i];
        side->view.connected_ms = side->view.ready_ms = clock_monotonic_ms();
        int r = zsock_monitor(&side->pair, context, sides[i].socket, names[i]);
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
            (void)zmq_socket_monitor(watch->sides[i].config.socket, NULL, 0);
    atomic_store(&watch->stop, true);
    if (watch->started)
        (void)pthread_join(watch->thread, NULL);
    for (int i = 0; i < PROBE_N_SIDES; i++)
        if (watch->sides[i].pair)
            (void)zmq_close(watch->sides[i].pair);
    for (int i = 0; i < PROBE_N_SIDES; i++)
        if (watch->sides[i].question)
            question_leave(watch->sides[i].question);
    (void)pthread_mutex_destroy(&watch->lock);
    free(watch);
    return NULL;
}

void probe_watch_view(ProbeWatch *watch, ProbeSide side, ProbeView *view) {
    (void)pthread_mutex_lock(&watch->lock);
    *view = watch->sides[side].view;
    (void)pthread_mutex_unlock(&watch->lock);
}

void probe_watch_again(ProbeWatch *watch, ProbeSide side) {
    (void)pthread_mutex_lock(&watch->lock);
    watch->sides[side].view.given_up = false;
    (void)pthread_mutex_unlock(&watch->lock);
}

void probe_watch_move(ProbeWatch *watch, ProbeSide at, const Endpoint *endpoint) {
    const uint64_t now_ms = clock_monotonic_ms();
    Side *side = &watch->sides[at];
    (void)pthread_mutex_lock(&watch->lock);
    side->config.endpoint = *endpoint;
    side->view = (ProbeView){.connected_ms = now_ms, .ready_ms = now_ms};
    side->shook_ms = 0;
    side->n_closed = 0;
    side->moved = true;
    (void)pthread_mutex_unlock(&watch->lock);
}
