/* SPDX-License-Identifier: Apache-2.0 */

#include "http/listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/error.h"
#include "http/tls.h"

enum {
    POLL_THREADS = 2,
    CONNECTION_MEMORY = 32 * 1024, /* holds the request's head and a piece of the response */
    BACKLOG = 1024,
};

/** hand_over() - the descriptor leaves the scope that would close it */
static int hand_over(int *fdp) {
    int fd = *fdp;
    *fdp = -1;
    return fd;
}

static int open_socket(int *fdp, const struct addrinfo *info, int *errorp) {
    cleanup(closep) int fd =
        socket(info->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, info->ai_protocol);
    int on = 1;
    int off = 0;
    if (fd >= 0 && info->ai_family == AF_INET6)
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
        bind(fd, info->ai_addr, info->ai_addrlen) < 0 || listen(fd, BACKLOG) < 0) {
        *errorp = errno;
        return HTTP_SERVER_E_REFUSED;
    }
    *fdp = hand_over(&fd);
    return 0;
}

static int open_listener(int *fdp, const HttpListen *listen, Reason *reason) {
    bool any = !listen->address || !*listen->address || strcmp(listen->address, "*") == 0;
    char service[8];
    (void)snprintf(service, sizeof(service), "%u", listen->port);
    const struct addrinfo hints = {
        .ai_family = AF_UNSPEC,
        .ai_socktype = SOCK_STREAM,
        .ai_flags = AI_PASSIVE | AI_NUMERICSERV,
    };
    /* for all addresses: the IPv6 socket takes both families, where there is IPv6 */
    const char *const candidates[] = {any ? "::" : listen->address, any ? "0.0.0.0" : NULL};
    int error = EADDRNOTAVAIL;
    for (size_t i = 0; i < 2 && candidates[i]; i++) {
        struct addrinfo *info = NULL;
        int r = getaddrinfo(candidates[i], service, &hints, &info);
        if (r != 0) {
            reason_set(reason, "cannot listen on %s: %s", candidates[i], gai_strerror(r));
            return HTTP_SERVER_E_REFUSED;
        }
        r = open_socket(fdp, info, &error);
        freeaddrinfo(info);
        if (r == 0)
            return 0;
        if (error == EADDRINUSE)
            break;
    }
    reason_set(reason, "cannot listen for web clients on %s port %u: %s",
               any ? "all addresses" : listen->address, listen->port,
               error == EADDRINUSE ? "the port is in use" : strerror(error));
    return HTTP_SERVER_E_REFUSED;
}

static uint16_t port_of(int fd) {
    union {
        struct sockaddr any;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
    } address = {.in6 = {0}};
    socklen_t size = sizeof(address);
    (void)getsockname(fd, &address.any, &size);
    return ntohs(address.any.sa_family == AF_INET6 ? address.in6.sin6_port : address.in.sin_port);
}

int http_listen(struct MHD_Daemon **daemonp, const HttpListen *listen, const HttpConfig *config,
                const HttpCallbacks *callbacks, uint16_t *portp, Reason *reason) {
    bool tls = listen->certificate_pem != NULL;
    if (tls) {
        int r = http_tls_check(listen->certificate_pem, listen->key_pem, reason);
        if (r)
            return r < 0 ? error_trace(r) : HTTP_SERVER_E_REFUSED;
    }
    cleanup(closep) int fd = -1;
    int r = open_listener(&fd, listen, reason);
    if (r)
        return error_trace(r);

    struct MHD_OptionItem tls_options[] = {
        {MHD_OPTION_HTTPS_MEM_CERT, 0, (void *)(uintptr_t)listen->certificate_pem},
        {MHD_OPTION_HTTPS_MEM_KEY, 0, (void *)(uintptr_t)listen->key_pem},
        {MHD_OPTION_HTTPS_PRIORITIES, 0,
         (void *)(uintptr_t) "SECURE128:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2"},
        {MHD_OPTION_END, 0, NULL},
    };
    if (!tls)
        tls_options[0] = (struct MHD_OptionItem){MHD_OPTION_END, 0, NULL};
    uint16_t port = port_of(fd);
    struct MHD_Daemon *started = MHD_start_daemon(
        MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME |
            (tls ? (unsigned)MHD_USE_TLS : 0),
        0, NULL, NULL, callbacks->on_request, callbacks->cls, MHD_OPTION_LISTEN_SOCKET, fd,
        MHD_OPTION_THREAD_POOL_SIZE, (unsigned)POLL_THREADS, MHD_OPTION_CONNECTION_LIMIT,
        config->connections_max, MHD_OPTION_PER_IP_CONNECTION_LIMIT,
        config->connections_per_address_max, MHD_OPTION_CONNECTION_TIMEOUT, config->idle_timeout_s,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_MEMORY, MHD_OPTION_STRICT_FOR_CLIENT,
        1, MHD_OPTION_NOTIFY_COMPLETED, callbacks->on_completed, callbacks->cls,
        MHD_OPTION_NOTIFY_CONNECTION, callbacks->on_connection, callbacks->cls,
        MHD_OPTION_UNESCAPE_CALLBACK, callbacks->unescape, callbacks->cls, MHD_OPTION_ARRAY,
        tls_options, MHD_OPTION_END);
    if (!started) {
        reason_set(reason, "cannot start the web server on port %u: %s", port, strerror(errno));
        return HTTP_SERVER_E_REFUSED;
    }
    fd = -1; /* the daemon's now */
    if (portp)
        *portp = port;
    *daemonp = started;
    return 0;
}
