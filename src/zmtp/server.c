/* SPDX-License-Identifier: Apache-2.0 */

#include "zmtp/server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/error.h"
#include "zmtp/server_inner.h"

enum {
    EVENTS = 64,
    ACCEPT_BURST = 64, /* of a listener before others have their turn */
    BACKLOG = 4096,
    DEAF_MS = 100,
    FDS_MAX = 1 << 20,
    RECEIVE_BYTES = 256 * 1024, /* the system's buffer; a smaller one costs more processor time */
    SEND_BYTES = 16 * 1024,     /* likewise: who does not read is not to tie up more */
};

/* ------------------------------------------------------------------------------------ sending */

static void watch(ZmtpServer *server, Conn *conn) {
    const uint32_t events = (conn->place == PLACE_WAITING ? 0 : (uint32_t)EPOLLIN) |
                            (conn->out.size ? (uint32_t)EPOLLOUT : 0);
    if (events == conn->events)
        return;
    struct epoll_event event = {.events = events, .data.ptr = &conn->source};
    if (epoll_ctl(server->epoll_fd, EPOLL_CTL_MOD, conn->peer.fd, &event) < 0)
        conns_doom(server, conn, ZMTP_NO_MEMORY);
    conn->events = events;
}

/** push() - to the system; how many bytes it took */
static size_t push(ZmtpServer *server, Conn *conn, const uint8_t *bytes, size_t size) {
    const ssize_t n = send(conn->peer.fd, bytes, size, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0 && errno != EAGAIN && errno != EINTR)
        conns_doom(server, conn, conn->heard ? ZMTP_CLOSED : ZMTP_LEFT);
    return n > 0 ? (size_t)n : 0;
}

/** flush() - `out` is for this one. Whole frames: what it has no room for can be left out */
static bool flush(ZmtpServer *server, Conn *conn, const Buffer *out) {
    size_t gone = 0;
    if (conn->place == PLACE_DOOMED || out->failed ||
        conn->out.size + out->size > (conns_strange(server, conn)
                                          ? (size_t)ZMTP_STRANGERS_OUT_MAX_BYTES
                                          : (size_t)ZMTP_OUT_MAX_BYTES))
        return false;
    if (!conn->out.size && out->size)
        gone = push(server, conn, out->bytes, out->size);
    if (gone < out->size) {
        buffer_put(&conn->out, out->bytes + gone, out->size - gone);
        if (conn->out.failed) /* a frame that is not whole cannot be gone on from */
            conns_doom(server, conn, ZMTP_NO_MEMORY);
        watch(server, conn);
    }
    return conn->place != PLACE_DOOMED;
}

static void go_on_sending(ZmtpServer *server, Conn *conn) {
    const size_t gone = push(server, conn, conn->out.bytes, conn->out.size);
    memmove(conn->out.bytes, conn->out.bytes + gone, conn->out.size - gone);
    conn->out.size -= gone;
    if (!conn->out.size)
        buffer_deinit(&conn->out);
    watch(server, conn);
}

static bool put_message(ZmtpServer *server, Conn *conn, const void *const parts[],
                        const size_t sizes[], size_t n) {
    buffer_clear(&server->message);
    for (size_t i = 0; i < n; i++)
        if (!zmtp_line_put(&conn->line, &server->message, parts[i], sizes[i], i + 1 < n))
            return false;
    return flush(server, conn, &server->message);
}

size_t zmtp_server_send(ZmtpServer *server, unsigned side, const uint8_t key[CURVE_KEY_BYTES],
                        const void *const parts[], const size_t sizes[], size_t n) {
    size_t taken = 0;
    for (Conn *conn = conns_first(server, key); conn; conn = conns_next(conn))
        if (conn->peer.side == side && zmtp_line_wants(&conn->line, parts[0], sizes[0]) &&
            put_message(server, conn, parts, sizes, n))
            taken++;
    return taken;
}

bool zmtp_server_listens(const ZmtpServer *server, unsigned side,
                         const uint8_t key[CURVE_KEY_BYTES]) {
    for (const Conn *conn = conns_first(server, key); conn; conn = conns_next(conn))
        if (conn->peer.side == side && conn->line.n_topics)
            return true;
    return false;
}

static void ask(ZmtpServer *server, Conn *conn) {
    buffer_clear(&server->message);
    if (zmtp_line_ping(&conn->line, &server->message))
        (void)flush(server, conn, &server->message);
}

/* ---------------------------------------------------------------------------------- receiving */

static Conn *conn_of(ZmtpLine *line) {
    return (Conn *)(void *)((char *)line - offsetof(Conn, line));
}

static bool on_admits(void *userdata, const uint8_t key[CURVE_KEY_BYTES]) {
    const ZmtpServer *server = userdata;
    return server->callbacks.admits(server->callbacks.userdata, key);
}

/** get_to_know() - it said something, or has shown its key; `said` is enough if nobody knows keys
 */
static void get_to_know(ZmtpServer *server, Conn *conn, bool said) {
    const ZmtpCallbacks *callbacks = &server->callbacks;
    if (!conn->known &&
        (callbacks->knows ? callbacks->knows(callbacks->userdata, conn->peer.key) : said))
        conns_known(server, conn);
}

static void on_up(void *userdata, ZmtpLine *line) {
    ZmtpServer *server = userdata;
    Conn *conn = conn_of(line);
    get_to_know(server, conn, false);
    if (conns_up(server, conn))
        conns_doom(server, conn, ZMTP_NO_MEMORY);
    else if (server->callbacks.on_up)
        server->callbacks.on_up(server->callbacks.userdata, &conn->peer);
}

static void on_message(void *userdata, ZmtpLine *line, const ZmtpMessage *message) {
    ZmtpServer *server = userdata;
    Conn *conn = conn_of(line);
    if (conn->place == PLACE_DOOMED)
        return;
    server->callbacks.on_message(server->callbacks.userdata, &conn->peer, message);
    get_to_know(server, conn, true);
}

static bool on_topic(void *userdata, ZmtpLine *line, const uint8_t *topic, size_t size, bool on) {
    ZmtpServer *server = userdata;
    Conn *conn = conn_of(line);
    if (conn->place == PLACE_DOOMED)
        return false;
    const bool has =
        server->callbacks.on_topic(server->callbacks.userdata, &conn->peer, topic, size, on);
    get_to_know(server, conn, true);
    return has;
}

static void receive(ZmtpServer *server, Conn *conn) {
    if (server->n_partial >= ZMTP_PARTIAL_MAX && !conn->partial && conn->line.state == ZMTP_UP &&
        !conns_strange(server, conn)) {
        conns_move(server, conn, PLACE_WAITING);
        watch(server, conn);
        return;
    }
    const ssize_t n = recv(conn->peer.fd, server->received, sizeof(server->received), MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        conns_doom(server, conn, conn->heard ? ZMTP_CLOSED : ZMTP_LEFT);
        return;
    }
    conn->heard = true;
    conn->peer.heard_ms = server->now_ms;
    buffer_clear(&server->out);
    const ZmtpFault fault =
        zmtp_line_take(&conn->line, &conn->source.listener->host, server->received, (size_t)n);
    if (!fault)
        (void)flush(server, conn, &server->out);
    if (fault)
        conns_doom(server, conn, fault);
    conns_place(server, conn);
}

/** wake_waiting() - as many as there is room for */
static void wake_waiting(ZmtpServer *server) {
    for (size_t i = server->n_partial; i < ZMTP_PARTIAL_MAX; i++) {
        Conn *conn = server->lists[PLACE_WAITING].first;
        if (!conn)
            return;
        conn->peer.heard_ms = server->now_ms; /* it was not listened to */
        conns_move(server, conn, conn->known ? PLACE_LIVE : PLACE_QUIET);
        watch(server, conn);
    }
}

/* ---------------------------------------------------------------------------------- accepting */

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

int zmtp_listener_adopt(ZmtpListener *listener, int fd, const char *address, uint16_t port,
                        uint64_t now_ms) {
    ZmtpServer *server = listener->server;
    Conn *conn = calloc(1, sizeof(*conn));
    if (!conn) {
        (void)close(fd);
        return error_origin(-ENOMEM);
    }
    server->now_ms = now_ms;
    conn->source = (Source){.listener = listener, .conn = conn};
    conn->peer =
        (ZmtpPeer){.fd = fd, .port = port, .side = listener->side, .key = conn->line.curve.client};
    (void)snprintf(conn->peer.address, sizeof(conn->peer.address), "%s", address);
    conn->events = EPOLLIN;
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = &conn->source};
    conns_add(server, conn);
    buffer_clear(&server->out);
    zmtp_line_begin(&conn->line, &listener->host, ++server->serial);
    if (conns_strange(server, conn))
        conn->line.frame_max = ZMTP_STRANGERS_FRAME_MAX_BYTES;
    if (conns_crowded(server, conn))
        conns_doom(server, conn, ZMTP_TOO_MANY);
    else if (epoll_ctl(server->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
        conns_doom(server, conn, ZMTP_NO_MEMORY);
    else
        (void)flush(server, conn, &server->out);
    return 0;
}

static void write_address(char text[46], uint16_t *portp, const struct sockaddr_storage *from) {
    const struct sockaddr_in *v4 = (const void *)from;
    const struct sockaddr_in6 *v6 = (const void *)from;
    text[0] = '\0';
    if (from->ss_family == AF_INET) {
        (void)inet_ntop(AF_INET, &v4->sin_addr, text, 46);
        *portp = ntohs(v4->sin_port);
    } else if (from->ss_family == AF_INET6) {
        const bool mapped = IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr);
        (void)inet_ntop(mapped ? AF_INET : AF_INET6, v6->sin6_addr.s6_addr + (mapped ? 12 : 0),
                        text, 46);
        *portp = ntohs(v6->sin6_port);
    }
}

static void hear(ZmtpServer *server, bool on) {
    for (ZmtpListener *listener = server->listeners; listener; listener = listener->next) {
        struct epoll_event event = {.events = on ? EPOLLIN : 0, .data.ptr = &listener->source};
        if (!listener->closed)
            (void)epoll_ctl(server->epoll_fd, EPOLL_CTL_MOD, listener->fd, &event);
    }
    server->deaf_ms = on ? 0 : server->now_ms;
}

static void accept_some(ZmtpServer *server, ZmtpListener *listener) {
    for (int i = 0; i < ACCEPT_BURST && !listener->closed; i++) {
        struct sockaddr_storage from = {0};
        socklen_t size = sizeof(from);
        const int fd =
            accept4(listener->fd, (struct sockaddr *)&from, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM))
            hear(server, false); /* else it would be told of again and again */
        if (fd < 0)
            return;
        char address[46];
        uint16_t port = 0;
        write_address(address, &port, &from);
        set_options(fd);
        (void)zmtp_listener_adopt(listener, fd, address, port, server->now_ms);
    }
}

/* ---------------------------------------------------------------------------------- listeners */

static int open_listener(const struct sockaddr *address, socklen_t size, uint16_t *portp) {
    struct sockaddr_storage bound = {0};
    socklen_t length = sizeof(bound);
    char text[46];
    const int fd = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    set(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    set(fd, SOL_SOCKET, SO_RCVBUF, RECEIVE_BYTES); /* connections have it from here */
    set(fd, SOL_SOCKET, SO_SNDBUF, SEND_BYTES);
    if (address->sa_family == AF_INET6)
        set(fd, IPPROTO_IPV6, IPV6_V6ONLY, 0);
    if (bind(fd, address, size) < 0 || listen(fd, BACKLOG) < 0 ||
        getsockname(fd, (struct sockaddr *)&bound, &length) < 0) {
        const int r = -errno;
        (void)close(fd);
        return r;
    }
    write_address(text, portp, &bound);
    return fd;
}

int zmtp_listen(ZmtpServer *server, const ZmtpListen *listen, const struct sockaddr *address,
                socklen_t size, ZmtpListener **listenerp) {
    uint16_t port = 0;
    const int fd = open_listener(address, size, &port);
    ZmtpListener *listener = fd < 0 ? NULL : calloc(1, sizeof(*listener));
    if (!listener) {
        if (fd >= 0)
            (void)close(fd);
        return fd < 0 ? fd : error_origin(-ENOMEM);
    }
    *listener = (ZmtpListener){.server = server,
                               .side = listen->side,
                               .fd = fd,
                               .port = port,
                               .keys = listen->keys,
                               .next = server->listeners};
    listener->source.listener = listener;
    listener->host = (ZmtpHost){.kind = listen->kind,
                                .keys = &listener->keys,
                                .jar = &server->jar,
                                .topic = listen->topic,
                                .out = &server->out,
                                .scratch = server->scratch,
                                .userdata = server,
                                .admits = on_admits,
                                .on_up = on_up,
                                .on_message = on_message,
                                .on_topic = on_topic};
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = &listener->source};
    if (epoll_ctl(server->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0) {
        const int r = -errno;
        (void)close(fd);
        free(listener);
        return error_origin(r);
    }
    server->listeners = listener;
    *listenerp = listener;
    return 0;
}

uint16_t zmtp_listener_port(const ZmtpListener *listener) {
    return listener->port;
}

static void end_connections(const ZmtpListener *listener) {
    for (Place place = 0; place < PLACE_DOOMED; place++)
        for (Conn *conn = listener->server->lists[place].first, *after = NULL; conn; conn = after) {
            after = conn->after;
            if (conn->source.listener == listener)
                conns_doom(listener->server, conn, ZMTP_STOPPED);
        }
}

void zmtp_listener_rekey(ZmtpListener *listener, const CurveKeys *keys) {
    end_connections(listener);
    listener->keys = *keys;
}

void zmtp_listener_close(ZmtpListener *listener) {
    end_connections(listener);
    (void)close(listener->fd);
    listener->fd = -1;
    listener->closed = true; /* what epoll has told of it already may come yet */
    sodium_memzero(&listener->keys, sizeof(listener->keys));
}

static void free_closed(ZmtpServer *server) {
    for (ZmtpListener **place = &server->listeners; *place;) {
        ZmtpListener *listener = *place;
        if (listener->closed) {
            *place = listener->next;
            free(listener);
        } else {
            place = &listener->next;
        }
    }
}

/* ----------------------------------------------------------------------------------- the turn */

static void serve(ZmtpServer *server, const struct epoll_event *event) {
    const Source *source = event->data.ptr;
    Conn *conn = source->conn;
    if (!conn) {
        accept_some(server, source->listener);
        return;
    }
    if (conn->place != PLACE_DOOMED && event->events & EPOLLOUT && conn->out.size)
        go_on_sending(server, conn);
    if (conn->place == PLACE_WAITING && event->events & (EPOLLHUP | EPOLLERR))
        conns_doom(server, conn, ZMTP_CLOSED);
    else if (conn->place != PLACE_DOOMED && event->events & ~(uint32_t)EPOLLOUT)
        receive(server, conn);
}

bool zmtp_server_turn(ZmtpServer *server, uint64_t now_ms) {
    struct epoll_event events[EVENTS];
    server->now_ms = now_ms;
    curve_jar_turn(&server->jar, now_ms);
    const int n = epoll_wait(server->epoll_fd, events, EVENTS, 0);
    for (int i = 0; i < n; i++)
        serve(server, &events[i]);
    if (server->deaf_ms && now_ms - server->deaf_ms >= DEAF_MS)
        hear(server, true);
    wake_waiting(server);
    if (n < EVENTS) /* else who seems silent may only not have been read */
        conns_tend(server, ask);
    conns_reap(server);
    free_closed(server);
    return n == EVENTS;
}

int zmtp_server_fd(const ZmtpServer *server) {
    return server->epoll_fd;
}

ZmtpCounts zmtp_server_counts(const ZmtpServer *server) {
    ZmtpCounts counts = {.n_strangers = server->n_strangers,
                         .n_partial = server->n_partial + server->n_partial_strangers,
                         .n_waiting = server->lists[PLACE_WAITING].n};
    for (size_t i = 0; i < PLACES; i++)
        counts.n += server->lists[i].n;
    return counts;
}

int zmtp_server_new(ZmtpServer **serverp, const ZmtpCallbacks *callbacks) {
    if (sodium_init() < 0)
        return error_origin(-EIO);
    cleanup(zmtp_server_freep) ZmtpServer *server = calloc(1, sizeof(*server));
    if (!server)
        return error_origin(-ENOMEM);
    struct rlimit limit;
    server->callbacks = *callbacks;
    server->n_fds = getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < FDS_MAX
                        ? (size_t)limit.rlim_cur
                        : FDS_MAX;
    randombytes_buf(&server->seed, sizeof(server->seed));
    curve_jar_init(&server->jar, 0); /* the first turn makes another */
    server->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (server->epoll_fd < 0)
        return error_origin(-errno);
    *serverp = server;
    server = NULL;
    return 0;
}

ZmtpServer *zmtp_server_free(ZmtpServer *server) {
    if (!server)
        return NULL;
    for (ZmtpListener *listener = server->listeners; listener; listener = listener->next)
        if (!listener->closed)
            zmtp_listener_close(listener);
    conns_reap(server);
    free_closed(server);
    if (server->epoll_fd >= 0)
        (void)close(server->epoll_fd);
    curve_jar_wipe(&server->jar);
    sodium_memzero(server->scratch, sizeof(server->scratch));
    buffer_deinit(&server->out);
    buffer_deinit(&server->message);
    free(server->buckets);
    free(server);
    return NULL;
}
