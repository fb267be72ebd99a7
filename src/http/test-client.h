#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Test Client
 *
 * For the tests of this layer: real sockets on loopback, plain or TLS, many from one thread.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <gnutls/gnutls.h>

#include "base/buffer.h"
#include "base/clock.h"

typedef struct Client {
    int fd;
    gnutls_session_t tls; /* NULL: plain */
    Buffer in;
    bool ended;
    size_t events;  /* counted so far, */
    size_t counted; /* in so many bytes */
} Client;

static inline void client_open(Client *client, uint16_t port,
                               gnutls_certificate_credentials_t credentials) {
    *client = (Client){.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    assert_true(client->fd >= 0);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(connect(client->fd, (struct sockaddr *)&to, sizeof(to)), 0);
    if (credentials) {
        assert_int_equal(gnutls_init(&client->tls, GNUTLS_CLIENT), 0);
        assert_int_equal(gnutls_set_default_priority(client->tls), 0);
        assert_int_equal(gnutls_credentials_set(client->tls, GNUTLS_CRD_CERTIFICATE, credentials),
                         0);
        gnutls_transport_set_int(client->tls, client->fd);
        int r = 0;
        do
            r = gnutls_handshake(client->tls);
        while (r < 0 && !gnutls_error_is_fatal(r));
        assert_int_equal(r, 0);
    }
    assert_int_equal(fcntl(client->fd, F_SETFL, O_NONBLOCK), 0);
}

static inline void client_close(Client *client) {
    if (client->tls)
        gnutls_deinit(client->tls);
    client->tls = NULL;
    if (client->fd >= 0)
        (void)close(client->fd);
    client->fd = -1;
    buffer_deinit(&client->in);
}

static inline void client_send_bytes(Client *client, const void *bytes, size_t size) {
    const char *at = bytes;
    uint64_t until_ms = clock_monotonic_ms() + 10000;
    while (size && clock_monotonic_ms() < until_ms) {
        ssize_t n = client->tls ? gnutls_record_send(client->tls, at, size)
                                : send(client->fd, at, size, MSG_NOSIGNAL);
        if (n > 0) {
            at += n;
            size -= (size_t)n;
        } else if (client->tls ? n != GNUTLS_E_AGAIN : errno != EAGAIN) {
            return; /* the server has closed: reading will show it */
        } else {
            struct pollfd fd = {.fd = client->fd, .events = POLLOUT};
            (void)poll(&fd, 1, 100);
        }
    }
    assert_int_equal(size, 0);
}

static inline void client_send(Client *client, const char *text) {
    client_send_bytes(client, text, strlen(text));
}

static inline void client_get(Client *client, const char *path) {
    char text[1024];
    (void)snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", path);
    client_send(client, text);
}

/** client_read() - what has come, without waiting */
static inline void client_read(Client *client) {
    for (;;) {
        uint8_t *room = buffer_reserve(&client->in, 16384);
        assert_non_null(room);
        ssize_t n = client->tls ? gnutls_record_recv(client->tls, room, 16384)
                                : recv(client->fd, room, 16384, 0);
        if (n > 0) {
            client->in.size += (size_t)n;
            continue;
        }
        bool again = client->tls ? n == GNUTLS_E_AGAIN || n == GNUTLS_E_INTERRUPTED
                                 : n < 0 && (errno == EAGAIN || errno == EINTR);
        if (!again)
            client->ended = true;
        return;
    }
}

static inline size_t client_count(Client *client, const char *text) {
    size_t n = 0;
    const char *at = buffer_text(&client->in);
    for (at = strstr(at, text); at; at = strstr(at + 1, text))
        n++;
    return n;
}

static inline bool client_has(Client *client, const char *text) {
    return strstr(buffer_text(&client->in), text) != NULL;
}

/** client_events() - how many whole "event: live" have come; each byte is looked at once */
static inline size_t client_events(Client *client) {
    static const char end[] = "\n\n";
    const char *text = buffer_text(&client->in);
    for (;;) {
        const char *at = text + client->counted;
        const char *found = strstr(at, end);
        if (!found)
            return client->events;
        client->events += memmem(at, (size_t)(found - at), "event: live\n", 12) != NULL;
        client->counted = (size_t)(found - text) + 2;
    }
}

typedef bool ClientDone(Client *client, const void *what);

static inline bool done_text(Client *client, const void *what) {
    return client_has(client, what);
}

static inline bool done_ended(Client *client, const void *what) {
    (void)what;
    return client->ended;
}

/** clients_wait() - read all until each is done or has ended; false: time is over */
static inline bool clients_wait(Client *clients, size_t n, ClientDone *done, const void *what,
                                unsigned timeout_ms) {
    uint64_t until_ms = clock_monotonic_ms() + timeout_ms;
    struct pollfd *fds = calloc(n, sizeof(*fds));
    assert_non_null(fds);
    size_t waiting = n;
    while (waiting && clock_monotonic_ms() < until_ms) {
        waiting = 0;
        for (size_t i = 0; i < n; i++) {
            client_read(&clients[i]);
            bool over = clients[i].ended || done(&clients[i], what);
            fds[i] = (struct pollfd){.fd = over ? -1 : clients[i].fd, .events = POLLIN};
            waiting += !over;
        }
        if (waiting)
            (void)poll(fds, n, 20);
    }
    free(fds);
    return waiting == 0;
}

static inline bool client_wait(Client *client, const char *text, unsigned timeout_ms) {
    return clients_wait(client, 1, done_text, text, timeout_ms) && client_has(client, text);
}
