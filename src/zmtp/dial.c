/* SPDX-License-Identifier: Apache-2.0 */

#include "zmtp/dial.h"

#include <errno.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "zmtp/resolve.h"

enum {
    CLOSED_TWICE = 2, /* handshakes that the peer has closed before it is called a trouble */
    DOUBLINGS_MAX = 10,
    LOOK_MS = 1000,
    RECEIVE_BYTES = 64 * 1024,
    KEEP_BYTES = 64 * 1024, /* sent and still in front of what waits */
};

typedef enum Stage {
    STAGE_WAITING, /* until it is tried again */
    STAGE_RESOLVING,
    STAGE_CONNECTING,
    STAGE_SHAKING,
    STAGE_UP,
    STAGES,
} Stage;

struct ZmtpDial {
    ZmtpDialConfig config;
    char host[256];
    uint16_t port;
    CurveCall call;
    ZmtpHost line_host;
    ZmtpLine line;
    ZmtpDialView view;
    Stage stage;
    uint64_t now_ms, since_ms; /* of the stage */
    uint64_t wait_ms;          /* in STAGE_WAITING */
    unsigned n_tries, n_closed;
    Question *question;
    ResolveAnswer answer;
    size_t at; /* of the addresses */
    int fd;
    bool broken; /* sending has failed: ended by the next turn */
    uint64_t heard_ms, asked_ms, looked_ms;
    Buffer out;
    size_t gone; /* of `out` */
    uint8_t received[RECEIVE_BYTES];
    uint8_t scratch[ZMTP_FRAME_MAX_BYTES];
};

static void enter(ZmtpDial *dial, Stage stage) {
    dial->stage = stage;
    dial->since_ms = dial->now_ms;
}

/* ------------------------------------------------------------------------------ how it stands */

static void set_trouble(ZmtpDial *dial, ZmtpTrouble trouble, const char *detail) {
    dial->view.trouble = trouble;
    dial->view.trouble_ms = dial->now_ms;
    (void)snprintf(dial->view.detail, sizeof(dial->view.detail), "%s", detail);
}

static void set_connected(ZmtpDial *dial, bool connected) {
    ZmtpDialView *view = &dial->view;
    if (view->connected != connected)
        view->connected_ms = dial->now_ms;
    view->connected = connected;
    if (connected && view->trouble <= ZMTP_TROUBLE_NO_ANSWER) /* the network's, so it is over */
        set_trouble(dial, ZMTP_TROUBLE_NONE, "");
}

static void set_up(ZmtpDial *dial, bool up) {
    if (dial->view.up != up)
        dial->view.up_ms = dial->now_ms;
    dial->view.up = up;
}

/** wait_again() - twice as long each time; who lost a hub together do not come back together */
static void wait_again(ZmtpDial *dial) {
    const unsigned n = dial->n_tries < DOUBLINGS_MAX ? dial->n_tries : DOUBLINGS_MAX;
    const uint64_t first_ms =
        ZMTP_DIAL_AGAIN_FIRST_MS + randombytes_uniform(ZMTP_DIAL_AGAIN_FIRST_MS);
    const uint64_t last_ms =
        ZMTP_DIAL_AGAIN_LAST_MS + randombytes_uniform(ZMTP_DIAL_AGAIN_LAST_MS / 3);
    dial->wait_ms = first_ms << n < last_ms ? first_ms << n : last_ms;
    dial->n_tries = n + 1;
    enter(dial, STAGE_WAITING);
}

static void hang_up(ZmtpDial *dial) {
    const bool was_up = dial->stage == STAGE_UP;
    if (dial->question)
        dial->question = question_leave(dial->question);
    if (dial->fd >= 0)
        (void)close(dial->fd);
    dial->fd = -1;
    if (was_up && dial->line.n_topics && dial->config.on_topic)
        for (uint16_t i = 0; i < dial->line.topics_size;
             i = (uint16_t)(i + 1 + dial->line.topics[i]))
            dial->config.on_topic(dial->config.userdata, dial->line.topics + i + 1,
                                  dial->line.topics[i], false);
    zmtp_line_end(&dial->line);
    curve_call_forget(&dial->call);
    buffer_clear(&dial->out);
    dial->gone = 0;
    dial->broken = false;
    set_connected(dial, false);
    set_up(dial, false);
}

/* ----------------------------------------------------------------------- until TCP is connected */

static void try_address(ZmtpDial *dial);

static ZmtpTrouble trouble_of(int error) {
    return error == ECONNREFUSED ? ZMTP_TROUBLE_REFUSED
           : error == ETIMEDOUT  ? ZMTP_TROUBLE_NO_ANSWER
                                 : ZMTP_TROUBLE_NO_ROUTE;
}

static void fail_address(ZmtpDial *dial, int error) {
    hang_up(dial);
    if (++dial->at < dial->answer.n) {
        try_address(dial);
        return;
    }
    if (dial->now_ms - dial->view.connected_ms >= ZMTP_DIAL_TELL_AFTER_MS)
        set_trouble(dial, trouble_of(error), strerror(error));
    wait_again(dial);
}

static void set(int fd, int level, int option, int value) {
    (void)setsockopt(fd, level, option, &value, sizeof(value)); /* only makes it better */
}

static void set_options(int fd) {
    set(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    set(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    set(fd, IPPROTO_TCP, TCP_KEEPIDLE, 30);
    set(fd, IPPROTO_TCP, TCP_KEEPINTVL, 10);
    set(fd, IPPROTO_TCP, TCP_KEEPCNT, 3);
}

static void try_address(ZmtpDial *dial) {
    const Address *address = &dial->answer.addresses[dial->at];
    dial->fd = socket(address->bytes.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    enter(dial, STAGE_CONNECTING);
    if (dial->fd < 0) {
        fail_address(dial, errno);
        return;
    }
    set_options(dial->fd);
    if (connect(dial->fd, (const struct sockaddr *)&address->bytes, address->size) < 0 &&
        errno != EINPROGRESS)
        fail_address(dial, errno);
}

static void wait(ZmtpDial *dial) {
    if (dial->view.given_up || !*dial->host || dial->now_ms - dial->since_ms < dial->wait_ms)
        return;
    dial->question = question_ask(dial->host, dial->port);
    enter(dial, STAGE_RESOLVING);
}

static void resolve(ZmtpDial *dial) {
    if (dial->question && !question_answered(dial->question, &dial->answer))
        return;
    if (!dial->question) {
        wait_again(dial); /* no memory, no thread */
        return;
    }
    dial->question = question_leave(dial->question);
    dial->at = 0;
    if (dial->answer.n) {
        try_address(dial);
        return;
    }
    set_trouble(dial, ZMTP_TROUBLE_NAME, dial->answer.trouble);
    wait_again(dial);
}

static void connected(ZmtpDial *dial) {
    set_connected(dial, true);
    dial->heard_ms = dial->looked_ms = dial->now_ms;
    dial->asked_ms = 0;
    enter(dial, STAGE_SHAKING);
    zmtp_line_begin(&dial->line, &dial->line_host, 0);
    zmtp_dial_flush(dial);
}

static void await_connection(ZmtpDial *dial) {
    struct pollfd item = {.fd = dial->fd, .events = POLLOUT};
    int error = 0;
    socklen_t size = sizeof(error);
    if (poll(&item, 1, 0) <= 0) {
        if (dial->now_ms - dial->since_ms >= ZMTP_DIAL_ADDRESS_MS)
            fail_address(dial, ETIMEDOUT);
        return;
    }
    if (getsockopt(dial->fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0)
        error = errno;
    if (error)
        fail_address(dial, error);
    else
        connected(dial);
}

/* ------------------------------------------------------------------------------- the connection */

static void give_up(ZmtpDial *dial) {
    dial->view.given_up = true;
    dial->view.given_up_ms = dial->now_ms;
}

/** closed() - by the peer in the handshake: a server does so when our HELLO does not open, or when
 * it sees by our INITIATE that our socket is none that its own is for */
static void closed(ZmtpDial *dial, ZmtpState state) {
    if (++dial->n_closed >= CLOSED_TWICE)
        set_trouble(dial,
                    state == ZMTP_WELCOME ? ZMTP_TROUBLE_WRONG_KEY
                    : state == ZMTP_READY ? ZMTP_TROUBLE_OTHER_SOCKET
                                          : ZMTP_TROUBLE_NOT_SPOKEN,
                    "");
}

/** shaken() - a handshake has failed, `fault` says why */
static void shaken(ZmtpDial *dial, ZmtpFault fault, ZmtpState state) {
    static const ZmtpTrouble troubles[ZMTP_FAULTS] = {
        [ZMTP_NOT_ENCRYPTED] = ZMTP_TROUBLE_NOT_ENCRYPTED,
        [ZMTP_WRONG_KEY] = ZMTP_TROUBLE_WRONG_KEY,
        [ZMTP_OTHER_SOCKET] = ZMTP_TROUBLE_OTHER_SOCKET,
        [ZMTP_UNWANTED] = ZMTP_TROUBLE_UNWANTED,
        [ZMTP_NOT_ZMTP] = ZMTP_TROUBLE_NOT_SPOKEN,
        [ZMTP_MALFORMED] = ZMTP_TROUBLE_NOT_SPOKEN,
        [ZMTP_TOO_LARGE] = ZMTP_TROUBLE_NOT_SPOKEN,
    };
    if (fault == ZMTP_CLOSED) {
        closed(dial, state);
    } else if (fault == ZMTP_SLOW) {
        set_trouble(dial, ZMTP_TROUBLE_NOT_SPOKEN, "");
    } else if (troubles[fault]) {
        set_trouble(dial, troubles[fault], "");
        give_up(dial);
    }
}

/** end() - of a connection that was made */
static void end(ZmtpDial *dial, ZmtpFault fault) {
    const ZmtpState state = dial->line.state;
    const bool was_up = dial->stage == STAGE_UP;
    hang_up(dial);
    if (!was_up)
        shaken(dial, fault, state);
    wait_again(dial);
}

void zmtp_dial_flush(ZmtpDial *dial) {
    Buffer *out = &dial->out;
    while (dial->gone < out->size && dial->fd >= 0 && !dial->broken) {
        const ssize_t n = send(dial->fd, out->bytes + dial->gone, out->size - dial->gone,
                               MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EINTR || errno == ENOBUFS))
            break;
        dial->broken = n < 0;
        dial->gone += n > 0 ? (size_t)n : 0;
    }
    if (dial->gone == out->size) {
        buffer_clear(out);
        dial->gone = 0;
    } else if (dial->gone >= KEEP_BYTES) {
        memmove(out->bytes, out->bytes + dial->gone, out->size - dial->gone);
        out->size -= dial->gone;
        dial->gone = 0;
    }
}

static bool is_full(const ZmtpDial *dial) {
    return dial->out.size - dial->gone >= ZMTP_DIAL_OUT_BYTES;
}

bool zmtp_dial_put(ZmtpDial *dial, const void *first, size_t first_size, const void *last,
                   size_t last_size) {
    if (dial->stage != STAGE_UP || dial->broken)
        return false;
    if (is_full(dial))
        zmtp_dial_flush(dial);
    if (is_full(dial) || dial->broken)
        return false;
    /* half a message cannot be taken back: what was sealed has used up its number */
    dial->broken = !zmtp_line_put(&dial->line, &dial->out, first, first_size, true) ||
                   !zmtp_line_put(&dial->line, &dial->out, last, last_size, false);
    return !dial->broken;
}

/** receive() - false: it has ended */
static bool receive(ZmtpDial *dial) {
    for (bool more = true; more;) {
        const ssize_t n = recv(dial->fd, dial->received, sizeof(dial->received), MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return true;
        ZmtpFault fault = n <= 0 ? ZMTP_CLOSED : ZMTP_FINE;
        dial->heard_ms = dial->now_ms;
        if (!fault)
            fault = zmtp_line_take(&dial->line, &dial->line_host, dial->received, (size_t)n);
        if (fault) {
            end(dial, fault);
            return false;
        }
        more = (size_t)n == sizeof(dial->received);
    }
    return true;
}

static void shake(ZmtpDial *dial) {
    if (!receive(dial))
        return;
    zmtp_dial_flush(dial);
    if (dial->broken)
        end(dial, ZMTP_CLOSED);
    else if (dial->stage == STAGE_SHAKING &&
             dial->now_ms - dial->since_ms >= ZMTP_DIAL_HANDSHAKE_MS)
        end(dial, ZMTP_SLOW);
}

/**
 * is_gone() - what was sent lies unacknowledged and nothing at all comes of the other side, or all
 * was acknowledged and a PING has no answer. On a slow line neither is: what is under way comes
 * before the PING. Zero-window probes count as something sent: their answers are acknowledgements.
 */
static bool is_gone(ZmtpDial *dial) {
    struct tcp_info info = {0};
    socklen_t size = sizeof(info);
    if (dial->now_ms - dial->looked_ms < LOOK_MS)
        return false;
    dial->looked_ms = dial->now_ms;
    if (getsockopt(dial->fd, IPPROTO_TCP, TCP_INFO, &info, &size) < 0)
        return false;
    if (info.tcpi_unacked || info.tcpi_notsent_bytes) {
        dial->asked_ms = dial->asked_ms ? dial->now_ms : 0;
        return info.tcpi_last_ack_recv > ZMTP_DIAL_BROKEN_MS;
    }
    return dial->asked_ms && !dial->out.size &&
           dial->now_ms - dial->asked_ms >= ZMTP_DIAL_SILENT_MS;
}

static void tend(ZmtpDial *dial) {
    if (dial->asked_ms <= dial->heard_ms)
        dial->asked_ms = 0;
    if (!dial->asked_ms && dial->now_ms - dial->heard_ms >= ZMTP_DIAL_QUIET_MS &&
        zmtp_line_ping(&dial->line, &dial->out))
        dial->asked_ms = dial->now_ms;
    if (dial->out.failed)
        dial->broken = true;
    zmtp_dial_flush(dial);
    if (dial->broken)
        end(dial, ZMTP_CLOSED);
    else if (is_gone(dial))
        end(dial, ZMTP_SILENT);
}

static void go_on(ZmtpDial *dial) {
    if (receive(dial))
        tend(dial);
}

/* ----------------------------------------------------------------------- what the line tells us */

static void on_up(void *userdata, ZmtpLine *line) {
    ZmtpDial *dial = userdata;
    (void)line;
    enter(dial, STAGE_UP);
    set_up(dial, true);
    set_trouble(dial, ZMTP_TROUBLE_NONE, "");
    dial->n_tries = dial->n_closed = 0;
}

static void on_message(void *userdata, ZmtpLine *line, const ZmtpMessage *message) {
    const ZmtpDial *dial = userdata;
    (void)line;
    dial->config.on_message(dial->config.userdata, message);
}

static bool on_topic(void *userdata, ZmtpLine *line, const uint8_t *topic, size_t size, bool on) {
    const ZmtpDial *dial = userdata;
    (void)line;
    dial->config.on_topic(dial->config.userdata, topic, size, on);
    return true;
}

/* -------------------------------------------------------------------------------- the interface */

int zmtp_dial_new(ZmtpDial **dialp, const ZmtpDialConfig *config) {
    if (sodium_init() < 0)
        return error_origin(-EIO);
    ZmtpDial *dial = calloc(1, sizeof(*dial));
    if (!dial)
        return error_origin(-ENOMEM);
    dial->config = *config;
    dial->call.keys = config->keys;
    dial->fd = -1;
    dial->line_host = (ZmtpHost){
        .kind = config->kind,
        .call = &dial->call,
        .topic = dial->config.topic,
        .out = &dial->out,
        .scratch = dial->scratch,
        .userdata = dial,
        .on_up = on_up,
        .on_message = on_message,
        .on_topic = on_topic,
    };
    *dialp = dial;
    return 0;
}

ZmtpDial *zmtp_dial_free(ZmtpDial *dial) {
    if (!dial)
        return NULL;
    dial->config.on_topic = NULL;
    hang_up(dial);
    buffer_deinit(&dial->out);
    sodium_memzero(dial, sizeof(*dial));
    free(dial);
    return NULL;
}

void zmtp_dial_to(ZmtpDial *dial, const char *host, uint16_t port,
                  const uint8_t server[CURVE_KEY_BYTES], uint64_t now_ms) {
    dial->now_ms = now_ms;
    hang_up(dial);
    (void)snprintf(dial->host, sizeof(dial->host), "%s", host);
    dial->port = port;
    memcpy(dial->call.server, server, CURVE_KEY_BYTES);
    dial->view = (ZmtpDialView){.connected_ms = now_ms, .up_ms = now_ms};
    dial->n_tries = dial->n_closed = 0;
    dial->wait_ms = 0;
    enter(dial, STAGE_WAITING);
}

void zmtp_dial_again(ZmtpDial *dial) {
    dial->view.given_up = false;
    if (dial->stage == STAGE_WAITING)
        dial->wait_ms = 0;
}

struct pollfd zmtp_dial_poll(const ZmtpDial *dial) {
    const bool waits = dial->stage == STAGE_CONNECTING || dial->out.size > dial->gone;
    return (struct pollfd){.fd = dial->fd, .events = (short)(POLLIN | (waits ? POLLOUT : 0))};
}

void zmtp_dial_turn(ZmtpDial *dial, uint64_t now_ms) {
    static void (*const steps[STAGES])(ZmtpDial *) = {
        [STAGE_WAITING] = wait,  [STAGE_RESOLVING] = resolve, [STAGE_CONNECTING] = await_connection,
        [STAGE_SHAKING] = shake, [STAGE_UP] = go_on,
    };
    Stage before;
    dial->now_ms = now_ms;
    do { /* one step at a time, but no waiting between two that need none */
        before = dial->stage;
        steps[before](dial);
    } while (dial->stage > before && dial->stage < STAGE_UP);
}

void zmtp_dial_view(const ZmtpDial *dial, ZmtpDialView *view) {
    *view = dial->view;
}
