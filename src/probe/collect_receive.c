/* SPDX-License-Identifier: Apache-2.0 */

#include "probe/collect_receive.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/queue.h"
#include "codec/ipfix-wire.h"
#include "probe/collect_socket.h"

enum {
    BATCH = 64,           /* datagrams a call */
    HEAD_BYTES = 2048,    /* of a datagram; few have more */
    DATAGRAM_MAX = 65535, /* put together again by the kernel, or several that it has joined */
    LARGE_PATIENCE = 16,
    STREAMS_MAX = 256,
    EVENTS = 64,
    WAIT_MS = 200,
    CONTROL_BYTES = 64,
    ROUNDS = 16,      /* of so many before other sockets have their turn */
    GATHER_US = 1000, /* let datagrams gather in the kernel: a wake for many costs as one for one */
    PATIENCE_MS = 2000, /* at the end, for room */
};

typedef enum SourceKind {
    SOURCE_STOP,
    SOURCE_UDP,
    SOURCE_LISTENER,
    SOURCE_STREAM,
} SourceKind;

/* something that is waited for */
typedef struct Source {
    SourceKind kind;
    int fd;
    uint32_t kernel_drops; /* as its socket said last, modulo 2^32 */
    MetricValue dropped;   /* the sum of these */
    unsigned large;        /* while it is not 0, what comes is likely more than HEAD_BYTES */
    /* of a stream */
    CollectedFrame from;
    uint32_t have;
    uint8_t *bytes; /* DATAGRAM_MAX of them */
} Source;

struct Receiver {
    pthread_t thread;
    bool running, stopped;
    bool gather;          /* sockets hold enough */
    bool received;        /* something, since it was set to false */
    unsigned patience_ms; /* for an empty chunk */
    int epoll;
    Queue *full;
    Queue *empty;
    Chunk *chunks[CHUNKS];
    Chunk *filling;
    Source stop;
    Source ports[2 * RECEIVER_PORTS_MAX];
    size_t n_ports;
    Source *streams[STREAMS_MAX];
    uint32_t stream_number;
    MetricValue dropped, overrun;
    struct mmsghdr messages[BATCH];
    struct iovec iov[BATCH][2]; /* head and tail */
    struct sockaddr_storage names[BATCH];
    _Alignas(8) uint8_t control[BATCH][CONTROL_BYTES];
    uint8_t *heads; /* BATCH of HEAD_BYTES */
    uint8_t *tails; /* BATCH of DATAGRAM_MAX; only pages that are written to are there */
};

/* --- chunks --- */

static void hand_over(Receiver *receiver) {
    if (!receiver->filling || receiver->filling->size == 0)
        return;
    (void)queue_push(receiver->full, receiver->filling); /* has room for all there are */
    receiver->filling = NULL;
}

/* while the reader has something to do, a chunk may as well fill */
static void hand_over_when_wanted(Receiver *receiver) {
    if (receiver->filling && receiver->filling->size && queue_length(receiver->full) == 0)
        hand_over(receiver);
}

/* false: all chunks are full */
static bool make_room(Receiver *receiver, size_t bytes) {
    if (receiver->filling && receiver->filling->size + bytes > CHUNK_BYTES)
        hand_over(receiver);
    if (!receiver->filling) {
        receiver->filling = queue_pop(receiver->empty, receiver->patience_ms);
        if (!receiver->filling)
            return false;
        receiver->filling->size = 0;
    }
    return true;
}

/* where the next piece's payload goes, once there is room */
static uint8_t *payload_place(Receiver *receiver) {
    return receiver->filling->bytes + receiver->filling->size + sizeof(Piece);
}

/* which has a payload of n bytes */
static void add_piece(Receiver *receiver, const CollectedFrame *from, uint64_t time_ns, size_t n) {
    const Piece piece = {.time_ns = time_ns, .payload_bytes = (uint32_t)n, .from = *from};
    Chunk *chunk = receiver->filling;
    memcpy(chunk->bytes + chunk->size, &piece, sizeof(piece));
    chunk->size += (uint32_t)(sizeof(piece) + n);
}

static bool put_piece(Receiver *receiver, const CollectedFrame *from, uint64_t time_ns,
                      const uint8_t *payload, size_t n) {
    if (!make_room(receiver, sizeof(Piece) + n))
        return false;
    if (n)
        memcpy(payload_place(receiver), payload, n);
    add_piece(receiver, from, time_ns, n);
    return true;
}

/* --- UDP --- */

static void count_kernel_drops(Receiver *receiver, Source *port, uint32_t drops) {
    metric_add(&port->dropped, drops - port->kernel_drops);
    metric_add(&receiver->dropped, drops - port->kernel_drops);
    port->kernel_drops = drops;
}

/* drops are counted; how many bytes each of several datagrams has, 0: it is but one */
static uint32_t read_control(Receiver *receiver, Source *port, struct msghdr *message) {
    uint32_t each_bytes = 0;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
        uint32_t v = 0; /* both are of 32 bits */
        memcpy(&v, CMSG_DATA(c), sizeof(v));
        if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SO_RXQ_OVFL)
            count_kernel_drops(receiver, port, v);
        else if (c->cmsg_level == IPPROTO_UDP && c->cmsg_type == UDP_GRO)
            each_bytes = v;
    }
    return each_bytes;
}

static CollectedFrame read_origin(Receiver *receiver, Source *port, size_t i) {
    CollectedFrame from;
    memset(&from, 0, sizeof(from));
    from.address = collect_peer(&receiver->names[i], &from.port);
    from.each_bytes = read_control(receiver, port, &receiver->messages[i].msg_hdr);
    from.socket_drops = metric_get(&receiver->dropped) + metric_get(&receiver->overrun);
    return from;
}

static void prepare(Receiver *receiver, size_t n) {
    for (size_t i = 0; i < n; i++) {
        receiver->iov[i][0] =
            (struct iovec){.iov_base = receiver->heads + i * HEAD_BYTES, .iov_len = HEAD_BYTES};
        receiver->iov[i][1] =
            (struct iovec){.iov_base = receiver->tails + i * DATAGRAM_MAX, .iov_len = DATAGRAM_MAX};
        receiver->messages[i].msg_hdr = (struct msghdr){.msg_name = &receiver->names[i],
                                                        .msg_namelen = sizeof(receiver->names[i]),
                                                        .msg_iov = receiver->iov[i],
                                                        .msg_iovlen = 2,
                                                        .msg_control = receiver->control[i],
                                                        .msg_controllen = CONTROL_BYTES};
    }
}

static size_t take_datagram(Receiver *receiver, Source *port, size_t i, uint64_t now_ns) {
    const size_t n = receiver->messages[i].msg_len;
    const size_t head = n < HEAD_BYTES ? n : HEAD_BYTES;
    const CollectedFrame from = read_origin(receiver, port, i);
    const size_t datagrams = collected_datagrams(&from, n);
    if (n > HEAD_BYTES)
        port->large = LARGE_PATIENCE;
    if (!make_room(receiver, sizeof(Piece) + n)) {
        metric_add(&receiver->overrun, datagrams);
        return datagrams;
    }
    memcpy(payload_place(receiver), receiver->iov[i][0].iov_base, head);
    memcpy(payload_place(receiver) + head, receiver->iov[i][1].iov_base, n - head);
    add_piece(receiver, &from, now_ns, n);
    return datagrams;
}

/* many small ones; how many came, 0: no more are there */
static size_t receive_many(Receiver *receiver, Source *port) {
    prepare(receiver, BATCH);
    const int n = recvmmsg(port->fd, receiver->messages, BATCH, MSG_DONTWAIT, NULL);
    const uint64_t now_ns = clock_wall_ms() * 1000000;
    size_t datagrams = 0;
    for (int i = 0; i < n; i++)
        datagrams += take_datagram(receiver, port, (size_t)i, now_ns);
    receiver->received |= n > 0;
    return n < BATCH && !port->large ? 0 : datagrams;
}

/* a large one, to where it stays */
static size_t receive_large(Receiver *receiver, Source *port) {
    if (!make_room(receiver, sizeof(Piece) + DATAGRAM_MAX))
        return receive_many(receiver, port); /* which it counts */
    prepare(receiver, 1);
    struct msghdr *message = &receiver->messages[0].msg_hdr;
    receiver->iov[0][0] =
        (struct iovec){.iov_base = payload_place(receiver), .iov_len = DATAGRAM_MAX};
    message->msg_iovlen = 1;
    const ssize_t n = recvmsg(port->fd, message, MSG_DONTWAIT);
    if (n < 0)
        return 0;
    const CollectedFrame from = read_origin(receiver, port, 0);
    port->large = n > HEAD_BYTES ? LARGE_PATIENCE : port->large - 1;
    add_piece(receiver, &from, clock_wall_ms() * 1000000, (size_t)n);
    receiver->received = true;
    return collected_datagrams(&from, (size_t)n);
}

static void receive_udp(Receiver *receiver, Source *port) {
    for (size_t n = 0, most = ROUNDS * BATCH; n < most;) {
        const size_t came =
            port->large ? receive_large(receiver, port) : receive_many(receiver, port);
        if (came == 0)
            return;
        n += came;
    }
}

/* --- connections --- */

static int watch(Receiver *receiver, Source *source) {
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = source};
    return epoll_ctl(receiver->epoll, EPOLL_CTL_ADD, source->fd, &event) == 0 ? 0 : -errno;
}

static void stream_free(Source *stream) {
    (void)close(stream->fd);
    free(stream->bytes);
    free(stream);
}

static void stream_close(Receiver *receiver, Source *stream, bool broken) {
    for (size_t i = 0; i < STREAMS_MAX; i++)
        if (receiver->streams[i] == stream)
            receiver->streams[i] = NULL;
    stream->from.ended = true;
    stream->from.broken = broken;
    (void)put_piece(receiver, &stream->from, clock_wall_ms() * 1000000, NULL, 0);
    stream_free(stream);
}

static void accept_stream(Receiver *receiver, const Source *listener) {
    struct sockaddr_storage peer;
    socklen_t size = sizeof(peer);
    const int fd =
        accept4(listener->fd, (struct sockaddr *)&peer, &size, SOCK_CLOEXEC | SOCK_NONBLOCK);
    size_t place = 0;
    while (place < STREAMS_MAX && receiver->streams[place])
        place++;
    if (fd < 0)
        return;
    Source *stream = place < STREAMS_MAX ? calloc(1, sizeof(*stream)) : NULL;
    uint8_t *bytes = stream ? malloc(DATAGRAM_MAX) : NULL;
    if (!bytes) {
        free(stream);
        (void)close(fd);
        return;
    }
    const int one = 1;
    (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
    stream->kind = SOURCE_STREAM;
    stream->fd = fd;
    stream->bytes = bytes;
    stream->from.address = collect_peer(&peer, &stream->from.port);
    if (++receiver->stream_number == 0)
        receiver->stream_number = 1;
    stream->from.stream = receiver->stream_number;
    if (watch(receiver, stream) != 0) {
        stream_free(stream);
        return;
    }
    receiver->streams[place] = stream;
}

typedef enum Messages {
    MESSAGES_TAKEN,
    MESSAGES_WAIT, /* all chunks are full */
    MESSAGES_BAD,  /* no IPFIX */
} Messages;

/* whole messages out of the stream's bytes */
static Messages take_messages(Receiver *receiver, Source *stream) {
    const uint64_t now_ns = clock_wall_ms() * 1000000;
    Messages answer = MESSAGES_TAKEN;
    uint32_t at = 0;
    while (stream->have - at >= 4) {
        const uint8_t *p = stream->bytes + at;
        const uint32_t length = (uint32_t)(p[2] << 8 | p[3]);
        if (p[0] != 0 || p[1] != IPFIX_VERSION || length < IPFIX_HEADER_BYTES) {
            answer = MESSAGES_BAD;
            break;
        }
        if (stream->have - at < length)
            break;
        if (!put_piece(receiver, &stream->from, now_ns, p, length)) {
            answer = MESSAGES_WAIT;
            break;
        }
        at += length;
    }
    stream->have -= at;
    memmove(stream->bytes, stream->bytes + at, stream->have);
    return answer;
}

static void receive_stream(Receiver *receiver, Source *stream) {
    for (int round = 0; round < ROUNDS; round++) {
        const Messages before = take_messages(receiver, stream);
        if (before == MESSAGES_WAIT) /* what has no room here waits at the exporter */
            return;
        const ssize_t n = before == MESSAGES_BAD ? 0
                                                 : recv(stream->fd, stream->bytes + stream->have,
                                                        DATAGRAM_MAX - stream->have, MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (n <= 0) {
            stream_close(receiver, stream, before == MESSAGES_BAD);
            return;
        }
        stream->have += (uint32_t)n;
    }
    (void)take_messages(receiver, stream);
}

/* --- the thread --- */

static void receive(Receiver *receiver, Source *source) {
    switch (source->kind) {
    case SOURCE_STOP:
        break;
    case SOURCE_UDP:
        receive_udp(receiver, source);
        break;
    case SOURCE_LISTENER:
        accept_stream(receiver, source);
        break;
    case SOURCE_STREAM:
        receive_stream(receiver, source);
    }
}

/* what has come by now; who decodes has time to make room */
static void receive_last(Receiver *receiver) {
    receiver->patience_ms = PATIENCE_MS;
    for (size_t i = 0; i < receiver->n_ports; i++)
        receive(receiver, &receiver->ports[i]);
    for (size_t i = 0; i < STREAMS_MAX; i++)
        if (receiver->streams[i])
            receive_stream(receiver, receiver->streams[i]);
    hand_over(receiver);
    queue_close(receiver->full);
}

static void *receiver_run(void *userdata) {
    Receiver *receiver = userdata;
    struct epoll_event events[EVENTS];
    for (;;) {
        /* what is not handed over yet must not wait long */
        const bool some = receiver->filling && receiver->filling->size;
        const int n = epoll_wait(receiver->epoll, events, EVENTS, some ? 1 : WAIT_MS);
        bool stop = false;
        receiver->received = false;
        for (int i = 0; i < n; i++) {
            Source *source = events[i].data.ptr;
            stop |= source->kind == SOURCE_STOP;
            receive(receiver, source);
        }
        if (stop) {
            receive_last(receiver);
            return NULL;
        }
        hand_over_when_wanted(receiver);
        if (receiver->gather && receiver->received)
            (void)usleep(GATHER_US);
    }
}

static int chunks_make(Receiver *receiver) {
    int r = queue_new(&receiver->full, CHUNKS);
    if (r == 0)
        r = queue_new(&receiver->empty, CHUNKS);
    for (size_t i = 0; r == 0 && i < CHUNKS; i++) {
        receiver->chunks[i] = malloc(sizeof(Chunk));
        if (!receiver->chunks[i])
            return error_origin(-ENOMEM);
        (void)queue_push(receiver->empty, receiver->chunks[i]);
    }
    receiver->heads = malloc((size_t)BATCH * HEAD_BYTES);
    receiver->tails = malloc((size_t)BATCH * DATAGRAM_MAX);
    if (!receiver->heads || !receiver->tails)
        return error_origin(-ENOMEM);
    return error_trace(r);
}

static int sources_watch(Receiver *receiver) {
    receiver->epoll = epoll_create1(EPOLL_CLOEXEC);
    receiver->stop = (Source){.kind = SOURCE_STOP, .fd = eventfd(0, EFD_CLOEXEC)};
    if (receiver->epoll < 0 || receiver->stop.fd < 0)
        return error_origin(-errno);
    int r = watch(receiver, &receiver->stop);
    for (size_t i = 0; r == 0 && i < receiver->n_ports; i++)
        r = watch(receiver, &receiver->ports[i]);
    return error_origin(r);
}

int receiver_new(Receiver **receiverp, const int *udp, const int *tcp, size_t n, bool gather) {
    cleanup(receiver_freep) Receiver *receiver = calloc(1, sizeof(*receiver));
    if (!receiver)
        return error_origin(-ENOMEM);
    receiver->epoll = receiver->stop.fd = -1;
    receiver->gather = gather;
    for (size_t i = 0; i < n; i++) {
        receiver->ports[receiver->n_ports++] = (Source){.kind = SOURCE_UDP, .fd = udp[i]};
        receiver->ports[receiver->n_ports++] = (Source){.kind = SOURCE_LISTENER, .fd = tcp[i]};
    }
    int r = chunks_make(receiver);
    if (r == 0)
        r = sources_watch(receiver);
    if (r)
        return error_trace(r);
    sigset_t all;
    sigset_t before;
    (void)sigfillset(&all); /* signals are for the thread that started the run */
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    r = -pthread_create(&receiver->thread, NULL, receiver_run, receiver);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (r)
        return error_origin(r);
    receiver->running = true;
    *receiverp = receiver;
    receiver = NULL;
    return 0;
}

void receiver_stop(Receiver *receiver) {
    const uint64_t one = 1;
    if (receiver->running && !receiver->stopped)
        receiver->stopped = write(receiver->stop.fd, &one, sizeof(one)) == (ssize_t)sizeof(one);
}

Receiver *receiver_free(Receiver *receiver) {
    if (!receiver)
        return NULL;
    receiver_stop(receiver);
    if (receiver->stopped) {
        queue_close(receiver->empty); /* it need not wait for room */
        (void)pthread_join(receiver->thread, NULL);
    }
    for (size_t i = 0; i < receiver->n_ports; i++)
        (void)close(receiver->ports[i].fd);
    for (size_t i = 0; i < STREAMS_MAX; i++)
        if (receiver->streams[i])
            stream_free(receiver->streams[i]);
    if (receiver->epoll >= 0)
        (void)close(receiver->epoll);
    if (receiver->stop.fd >= 0)
        (void)close(receiver->stop.fd);
    queue_free(receiver->full);
    queue_free(receiver->empty);
    for (size_t i = 0; i < CHUNKS; i++)
        free(receiver->chunks[i]);
    free(receiver->heads);
    free(receiver->tails);
    free(receiver);
    return NULL;
}

Chunk *receiver_take(Receiver *receiver, unsigned timeout_ms) {
    return queue_pop(receiver->full, timeout_ms);
}

void receiver_give(Receiver *receiver, Chunk *chunk) {
    (void)queue_push_first(receiver->empty, chunk); /* has room for all there are */
}

bool receiver_ended(Receiver *receiver) {
    return queue_closed(receiver->full) && queue_length(receiver->full) == 0;
}

uint64_t receiver_port_dropped(const Receiver *receiver, size_t port) {
    return metric_get(&receiver->ports[2 * port].dropped);
}

uint64_t receiver_overrun(const Receiver *receiver) {
    return metric_get(&receiver->overrun);
}
