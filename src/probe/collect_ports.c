/* SPDX-License-Identifier: Apache-2.0 */

#include "probe/collect_ports.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/log.h"
#include "probe/collect_receive.h"
#include "probe/collect_socket.h"

/* those of one worker */
typedef struct Ports {
    size_t n;
    uint16_t numbers[RECEIVER_PORTS_MAX];
    Receiver *receiver;
    Chunk *chunk; /* being read, or NULL */
    uint32_t at;  /* in it */
} Ports;

typedef CollectPair Pairs[COLLECT_WORKERS_MAX]; /* of one port, one a worker */

static int refuse(Reason *reason, const char *text) {
    reason_set(reason,
               "--collector-port %s is no port: PORT or ADDRESS:PORT is, such as 2055, "
               "192.0.2.1:2055 or [2001:db8::1]:4739",
               text);
    return CAPTURE_E_USAGE;
}

int collect_ports_check(const OptionList *ports, Reason *reason) {
    CollectEndpoint endpoint;
    if (ports->n > RECEIVER_PORTS_MAX) {
        reason_set(reason, "--collector-port is given %zu times; %d are the most", ports->n,
                   RECEIVER_PORTS_MAX);
        return CAPTURE_E_USAGE;
    }
    for (size_t i = 0; i < ports->n; i++)
        if (!collect_endpoint_parse(&endpoint, ports->values[i]))
            return refuse(reason, ports->values[i]);
    return 0;
}

static void ports_close(Capture *capture) {
    Ports *ports = capture->state;
    if (!ports)
        return;
    if (ports->chunk)
        receiver_give(ports->receiver, ports->chunk);
    receiver_free(ports->receiver);
    free(ports);
    capture->state = NULL;
}

/* the frame of the next piece, which stays in the chunk */
static void frame_next(Ports *ports, Frame *frame) {
    const uint8_t *p = ports->chunk->bytes + ports->at;
    Piece piece;
    memcpy(&piece, p, sizeof(piece));
    ports->at += (uint32_t)sizeof(piece) + piece.payload_bytes;
    *frame = (Frame){
        .bytes = p + offsetof(Piece, from),
        .time_ns = piece.time_ns,
        .captured_bytes = (uint32_t)(sizeof(piece) - offsetof(Piece, from)) + piece.payload_bytes,
        .wire_bytes = piece.payload_bytes,
        .link_type = FRAME_LINK_COLLECTED,
    };
}

static int ports_read(Capture *capture, Frame *frames, size_t max, size_t *np, unsigned timeout_ms,
                      Reason *reason) {
    Ports *ports = capture->state;
    (void)reason;
    *np = 0;
    if (ports->chunk && ports->at == ports->chunk->size) {
        receiver_give(ports->receiver, ports->chunk);
        ports->chunk = NULL;
    }
    if (!ports->chunk) {
        ports->chunk = receiver_take(ports->receiver, timeout_ms);
        ports->at = 0;
    }
    while (ports->chunk && *np < max && ports->at < ports->chunk->size)
        frame_next(ports, &frames[(*np)++]);
    return ports->chunk || !receiver_ended(ports->receiver) ? 0 : CAPTURE_E_END;
}

static void ports_stats(Capture *capture, CaptureStats *stats) {
    const Ports *ports = capture->state;
    *stats = (CaptureStats){.overrun = receiver_overrun(ports->receiver)};
    for (size_t i = 0; i < ports->n; i++)
        stats->dropped += receiver_port_dropped(ports->receiver, i);
}

static int ports_filter(Capture *capture, const char *filter, Reason *reason) {
    (void)capture;
    if (!filter || !*filter)
        return 0;
    reason_set(reason, "a filter (-f) is for packets; a collector's ports take none");
    return CAPTURE_E_USAGE;
}

static const CaptureBackend capture_ports = {
    .name = "collector",
    .live = true,
    .close = ports_close,
    .read = ports_read,
    .stats = ports_stats,
    .filter = ports_filter,
};

static void close_pairs(Pairs *pairs, size_t n, unsigned from, unsigned workers) {
    for (size_t i = 0; i < n; i++)
        for (unsigned k = from; k < workers; k++) {
            (void)close(pairs[i][k].udp);
            (void)close(pairs[i][k].tcp);
        }
}

/* which takes its pairs over, whatever the answer */
static int open_worker(Capture **capturep, const Ports *like, Pairs *pairs, unsigned worker,
                       bool gather) {
    int udp[RECEIVER_PORTS_MAX];
    int tcp[RECEIVER_PORTS_MAX];
    for (size_t i = 0; i < like->n; i++) {
        udp[i] = pairs[i][worker].udp;
        tcp[i] = pairs[i][worker].tcp;
    }
    Receiver *receiver = NULL;
    int r = receiver_new(&receiver, udp, tcp, like->n, gather);
    if (r)
        return error_trace(r);
    Capture *capture = calloc(1, sizeof(*capture));
    Ports *ports = malloc(sizeof(*ports));
    if (!capture || !ports) {
        receiver_free(receiver);
        free(capture);
        free(ports);
        return error_origin(-ENOMEM);
    }
    *ports = *like;
    ports->receiver = receiver;
    *capture = (Capture){
        .backend = &capture_ports, .fd = -1, .link_type = FRAME_LINK_COLLECTED, .state = ports};
    *capturep = capture;
    return 0;
}

static int open_workers(Capture **captures, unsigned n, const Ports *ports, Pairs *pairs,
                        bool gather) {
    unsigned done = 0;
    int r = 0;
    while (r == 0 && done < n) {
        r = open_worker(&captures[done], ports, pairs, done, gather);
        done++;
    }
    if (r == 0)
        return 0;
    close_pairs(pairs, ports->n, done, n);
    for (unsigned i = 0; i + 1 < done; i++)
        captures[i] = capture_free(captures[i]);
    return error_trace(r);
}

int collect_ports_open(Capture **captures, unsigned n, const OptionList *list, const char *filter,
                       Reason *reason) {
    Pairs pairs[RECEIVER_PORTS_MAX];
    Ports ports = {0};
    bool large = true;
    int r = collect_ports_check(list, reason);
    if (r == 0)
        r = ports_filter(NULL, filter, reason);
    while (r == 0 && ports.n < list->n) {
        CollectEndpoint endpoint;
        CollectGroup group;
        if (!collect_endpoint_parse(&endpoint, list->values[ports.n]))
            r = refuse(reason, list->values[ports.n]);
        else if (collect_socket_group(&endpoint, pairs[ports.n], n, &group, reason) != 0)
            r = CAPTURE_E_REFUSED;
        if (r)
            break;
        large = large && group.large;
        ports.numbers[ports.n++] = group.port;
        log_notice("collecting NetFlow, IPFIX and sFlow on port %u", group.port);
    }
    if (r == 0)
        return error_trace(open_workers(captures, n, &ports, pairs, large));
    close_pairs(pairs, ports.n, 0, n);
    return r;
}

bool collect_ports_stop(Capture *capture) {
    const Ports *ports = capture->state;
    if (capture->backend != &capture_ports)
        return false;
    receiver_stop(ports->receiver);
    return true;
}

void collect_ports_write_counters(Capture *const *captures, size_t n, Buffer *to) {
    static const MetricRow row = {
        .name = "weir_probe_collect_socket_dropped",
        .kind = METRIC_COUNTER,
        .unit = "datagrams",
        .help =
            "Datagrams that the kernel dropped, for the socket of this port and worker was full; "
            "several that it had joined count as one."};
    for (size_t k = 0; k < n && captures[k]->backend == &capture_ports; k++) {
        const Ports *ports = captures[k]->state;
        for (size_t i = 0; i < ports->n; i++) {
            char labels[64];
            const MetricValue value = receiver_port_dropped(ports->receiver, i);
            (void)snprintf(labels, sizeof(labels), "port=\"%u\",worker=\"%zu\"", ports->numbers[i],
                           k);
            metric_write(to, &row, &value, 1, labels, i + k == 0);
        }
    }
}
