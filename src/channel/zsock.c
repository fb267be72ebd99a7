/* SPDX-License-Identifier: Apache-2.0 */

#include "channel/zsock.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/tcp.h>
#include <netdb.h>
#include <pthread.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <zmq.h>

#include "base/error.h"

enum { ZERO_COPY_RECV = 10 }; /* zmq.h has its name among what is not settled yet */

/*
 * A message that came in one read with others would be lent out of the buffer that it was read
 * into, 18 KB with its counters, and the next read takes another buffer: with thousands of
 * connections most of what the hub's heap does and holds. Ours are small or larger than the buffer.
 */
void *zsock_context_new(void) {
    void *context = zmq_ctx_new();
    if (context)
        (void)zmq_ctx_set(context, ZERO_COPY_RECV,
                          0); /* one that does not know it only takes more */
    return context;
}

static int set_int(void *socket, int option, int value) {
    return zmq_setsockopt(socket, option, &value, sizeof(value));
}

/*
 * libzmq doubles the first interval up to the last and adds less than the first by chance. Both are
 * drawn, so that probes which lost their hub together do not come back together.
 */
static int set_reconnect(void *socket) {
    int r = set_int(socket, ZMQ_RECONNECT_IVL, 100 + (int)randombytes_uniform(100));
    if (r == 0)
        r = set_int(socket, ZMQ_RECONNECT_IVL_MAX, 3000 + (int)randombytes_uniform(1000));
    return r;
}

void *zsock_open(void *context, int type) {
    /* docs/wire/channel.md says why each */
    static const struct {
        int option, value;
    } options[] = {
        {ZMQ_LINGER, 0},
        {ZMQ_IPV6, 1},
        {ZMQ_IMMEDIATE, 1},
        {ZMQ_SNDHWM, ZSOCK_SNDHWM},
        {ZMQ_RCVHWM, ZSOCK_RCVHWM},
        {ZMQ_RCVBUF, 256 * 1024},
        {ZMQ_BACKLOG, 4096},
        {ZMQ_HANDSHAKE_IVL, 15000},
        {ZMQ_CONNECT_TIMEOUT, 4000},
    };
    void *socket = zmq_socket(context, type);
    if (!socket)
        return NULL;
    int r = 0;
    for (size_t i = 0; i < sizeof(options) / sizeof(options[0]) && r == 0; i++)
        r = set_int(socket, options[i].option, options[i].value);
    int64_t most = 131072;
    if (r == 0)
        r = zmq_setsockopt(socket, ZMQ_MAXMSGSIZE, &most, sizeof(most));
    if (r == 0)
        r = set_reconnect(socket);
    if (r < 0) {
        int saved = errno;
        (void)zmq_close(socket);
        errno = saved;
        return NULL;
    }
    return socket;
}

/*
 * Only the probe's end sends heartbeats, and without asking the hub to watch for them: libzmq ends
 * a timer by looking through all there are, which with thousands of probes would be most of what a
 * hub does. A hub leaves it to TCP to find out who is gone.
 */
static int set_liveness(void *socket, bool server) {
    static const struct {
        int option, values[2];
    } options[] = {
        {ZMQ_HEARTBEAT_IVL, {5000, 0}},     {ZMQ_HEARTBEAT_TIMEOUT, {30000, 0}},
        {ZMQ_TCP_MAXRT, {0, 60000}},        {ZMQ_TCP_KEEPALIVE, {1, 1}},
        {ZMQ_TCP_KEEPALIVE_IDLE, {30, 30}}, {ZMQ_TCP_KEEPALIVE_INTVL, {10, 10}},
        {ZMQ_TCP_KEEPALIVE_CNT, {3, 3}},
    };
    int r = 0;
    for (size_t i = 0; i < sizeof(options) / sizeof(options[0]) && r == 0; i++)
        r = set_int(socket, options[i].option, options[i].values[server]);
    return r;
}

int zsock_curve(void *socket, const KeyPair *keys, const char *server_z85) {
    int r = set_liveness(socket, !server_z85);
    if (r == 0 && server_z85) {
        r = zmq_setsockopt(socket, ZMQ_CURVE_SERVERKEY, server_z85, 41);
    } else if (r == 0) {
        r = set_int(socket, ZMQ_CURVE_SERVER, 1);
        if (r == 0)
            r = zmq_setsockopt(socket, ZMQ_ZAP_DOMAIN, "weir", 4);
    }
    if (r == 0)
        r = zmq_setsockopt(socket, ZMQ_CURVE_PUBLICKEY, keys->public_z85, 41);
    if (r == 0)
        r = zmq_setsockopt(socket, ZMQ_CURVE_SECRETKEY, keys->secret_z85, 41);
    return r < 0 ? error_origin(-errno) : 0;
}

/* libzmq tells its monitor of a failed bind before it returns, which may leave EAGAIN in errno
 * instead of the cause; then it is asked again. */
static int bind_again(void *socket, const char *text) {
    int r = zmq_bind(socket, text);
    for (unsigned i = 0; i < 20 && r < 0 && errno == EAGAIN; i++)
        r = zmq_bind(socket, text);
    return r;
}

static const char *attach_hint(int error, const Endpoint *endpoint, bool bind) {
    struct in6_addr address;
    const bool name =
        !endpoint->any && !endpoint->v6 && inet_pton(AF_INET, endpoint->host, &address) != 1;
    if (error == EADDRINUSE)
        return ": another program listens there, or another endpoint of this one";
    if (error == EADDRNOTAVAIL)
        return name ? ": that interface has no address, or that name is another machine's"
                    : ": this machine has no such address";
    if (!bind)
        return error == EINVAL && endpoint->any ? ": * is for the side that binds" : "";
    return name && (error == ENODEV || error == EINVAL)
               ? ": no network interface has that name, and no host"
               : "";
}

void zsock_refused(int error, const Endpoint *endpoint, bool bind, const char *text,
                   Reason *reason) {
    reason_set(reason, "cannot %s %s: %s%s", bind ? "listen on" : "connect to", text,
               zmq_strerror(error), attach_hint(error, endpoint, bind));
}

int zsock_attach(void *socket, const Endpoint *endpoint, bool bind, char *text, size_t size,
                 Reason *reason) {
    endpoint_write(endpoint, text, size);
    if ((bind ? bind_again(socket, text) : zmq_connect(socket, text)) < 0) {
        zsock_refused(errno, endpoint, bind, text, reason);
        return ZSOCK_E_REFUSED;
    }
    if (!bind)
        return 0;
    char bound[300] = ""; /* with ZMQ_IPV6 it reads [::ffff:127.0.0.1]; only its port is news */
    size_t length = sizeof(bound);
    if (zmq_getsockopt(socket, ZMQ_LAST_ENDPOINT, bound, &length) < 0)
        return error_origin(-errno);
    Endpoint resolved = *endpoint;
    const char *port = strrchr(bound, ':');
    if (port)
        resolved.port = (uint16_t)strtoul(port + 1, NULL, 10);
    endpoint_write(&resolved, text, size);
    return 0;
}

void zsock_again(void *socket, const char *text) {
    (void)zmq_disconnect(socket, text);
    (void)zmq_connect(socket, text);
}

int zsock_last(void *socket, char *text, size_t size) {
    return zmq_getsockopt(socket, ZMQ_LAST_ENDPOINT, text, &size) < 0 ? error_origin(-errno) : 0;
}

void zsock_detach(void *socket, bool bind, const char *text) {
    (void)(bind ? zmq_unbind(socket, text) : zmq_disconnect(socket, text));
}

int zsock_move(void *socket, const char *server_z85, const Endpoint *endpoint, bool bind,
               char *text, size_t size) {
    static const struct timespec step = {.tv_nsec = 10000000};
    Endpoint to = *endpoint;
    const char *port = strrchr(text, ':');
    char last[300] = "";
    if (!to.port && port) /* any free one was asked for: the one that was found */
        to.port = (uint16_t)strtoul(port + 1, NULL, 10);
    int r = zsock_last(socket, last, sizeof(last));
    if (r)
        return error_trace(r);
    zsock_detach(socket, bind, bind ? last : text);
    if (zmq_setsockopt(socket, ZMQ_CURVE_SERVERKEY, server_z85, 41) < 0)
        return error_origin(-errno);
    /* libzmq closes on its own thread: the port may be ours a few milliseconds longer */
    r = ZSOCK_E_REFUSED;
    for (unsigned i = 0; i < 100 && r == ZSOCK_E_REFUSED; i++) {
        if (i)
            (void)nanosleep(&step, NULL);
        r = zsock_attach(socket, &to, bind, text, size, NULL);
    }
    return r > 0 ? error_origin(-EADDRINUSE) : error_trace(r);
}

int zsock_monitor(void **pairp, void *context, void *socket, const char *name) {
    char address[64];
    (void)snprintf(address, sizeof(address), "inproc://monitor-%s", name);
    if (zmq_socket_monitor(socket, address, ZMQ_EVENT_ALL) < 0)
        return error_origin(-errno);
    void *pair = zmq_socket(context, ZMQ_PAIR);
    if (!pair)
        return error_origin(-errno);
    if (set_int(pair, ZMQ_LINGER, 0) < 0 || set_int(pair, ZMQ_RCVHWM, 0) < 0 ||
        zmq_connect(pair, address) < 0) {
        int r = -errno;
        (void)zmq_close(pair);
        return error_origin(r);
    }
    *pairp = pair;
    return 0;
}

bool zsock_monitor_read(void *pair, ZsockEvent *event) {
    uint8_t bytes[6] = {0};
    int n = zmq_recv(pair, bytes, sizeof(bytes), ZMQ_DONTWAIT);
    if (n < 0)
        return false;
    int more = 0;
    size_t size = sizeof(more);
    while (zmq_getsockopt(pair, ZMQ_RCVMORE, &more, &size) == 0 && more) {
        char rest[8]; /* the endpoint, cut off */
        (void)zmq_recv(pair, rest, sizeof(rest), 0);
    }
    uint16_t kind = 0;
    memcpy(&kind, bytes, sizeof(kind)); /* host order: zmq_socket_monitor(3) */
    memcpy(&event->value, bytes + 2, sizeof(event->value));
    event->kind = kind;
    return true;
}

void zsock_peer_address(int fd, char *text, size_t size) {
    struct sockaddr_storage address;
    socklen_t length = sizeof(address);
    text[0] = '\0';
    if (getpeername(fd, (struct sockaddr *)&address, &length) < 0)
        return;
    char host[NI_MAXHOST];
    if (getnameinfo((struct sockaddr *)&address, length, host, sizeof(host), NULL, 0,
                    NI_NUMERICHOST) != 0)
        return;
    const char *plain = strncmp(host, "::ffff:", 7) == 0 ? host + 7 : host;
    (void)snprintf(text, size, "%s", plain);
}

uint16_t zsock_peer_port(int fd) {
    struct sockaddr_storage address = {0};
    socklen_t length = sizeof(address);
    if (fd < 0 || getpeername(fd, (struct sockaddr *)&address, &length) < 0)
        return 0;
    if (address.ss_family == AF_INET)
        return ntohs(((const struct sockaddr_in *)&address)->sin_port);
    return address.ss_family == AF_INET6 ? ntohs(((const struct sockaddr_in6 *)&address)->sin6_port)
                                         : 0;
}

uint64_t zsock_received(int fd) {
    struct tcp_info info = {0};
    socklen_t size = sizeof(info);
    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) < 0)
        return 0;
    return info.tcpi_bytes_received;
}

void zsock_cut(int fd, const char *address, uint16_t port) {
    char found[NI_MAXHOST];
    zsock_peer_address(fd, found, sizeof(found));
    if (*found && strcmp(found, address) == 0 && (!port || port == zsock_peer_port(fd)))
        (void)shutdown(fd, SHUT_RDWR);
}

void zsock_line_begin(ZsockLine *line, int fd) {
    line->fd = fd;
    line->port = zsock_peer_port(fd);
    zsock_peer_address(fd, line->address, sizeof(line->address));
}

void zsock_line_end(ZsockLine *line) {
    line->port = 0;
}

/* zero-window probes count as something sent: their answers are acknowledgements too */
void zsock_line_look(const ZsockLine *line) {
    struct tcp_info info = {0};
    socklen_t size = sizeof(info);
    if (!line->port || getsockopt(line->fd, IPPROTO_TCP, TCP_INFO, &info, &size) < 0)
        return;
    if ((info.tcpi_unacked || info.tcpi_notsent_bytes) && info.tcpi_last_ack_recv > ZSOCK_BROKEN_MS)
        zsock_cut(line->fd, line->address, line->port);
}

int zsock_wake_new(int *fdp) {
    int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (fd < 0)
        return error_origin(-errno);
    *fdp = fd;
    return 0;
}

void zsock_wake(int fd) {
    uint64_t one = 1;
    ssize_t n = write(fd, &one, sizeof(one));
    (void)n; /* full: it is awake already */
}

void zsock_wake_clear(int fd) {
    uint64_t count;
    ssize_t n = read(fd, &count, sizeof(count));
    (void)n;
}

typedef struct Ending {
    pthread_mutex_t lock;
    pthread_cond_t over;
    unsigned holders;
    void *context;
} Ending;

/* who is the last to let go frees it */
static void ending_leave(Ending *ending) {
    bool last = --ending->holders == 0;
    (void)pthread_cond_signal(&ending->over);
    (void)pthread_mutex_unlock(&ending->lock);
    if (!last)
        return;
    (void)pthread_cond_destroy(&ending->over);
    (void)pthread_mutex_destroy(&ending->lock);
    free(ending);
}

static void *end_context(void *arg) {
    Ending *ending = arg;
    (void)zmq_ctx_term(ending->context);
    (void)pthread_mutex_lock(&ending->lock);
    ending_leave(ending);
    return NULL;
}

void zsock_context_end(void *context) {
    struct timespec until;
    pthread_t thread;
    Ending *ending = calloc(1, sizeof(*ending));
    if (!ending) {
        (void)zmq_ctx_term(context);
        return;
    }
    (void)pthread_mutex_init(&ending->lock, NULL);
    (void)pthread_cond_init(&ending->over, NULL);
    ending->holders = 2;
    ending->context = context;
    (void)clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += ZSOCK_END_S;
    if (pthread_create(&thread, NULL, end_context, ending) != 0) {
        ending->holders = 1;
        (void)end_context(ending);
        return;
    }
    (void)pthread_detach(thread);
    (void)pthread_mutex_lock(&ending->lock);
    while (ending->holders == 2 &&
           pthread_cond_timedwait(&ending->over, &ending->lock, &until) != ETIMEDOUT)
        continue;
    ending_leave(ending);
}
