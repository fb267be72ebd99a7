/* SPDX-License-Identifier: Apache-2.0 */

#include "probe/collect_ports.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/log.h"
#include "probe/collect_receive.h"
#include "probe/collect_socket.h"

typedef struct Ports {
    Receiver *receiver;
    Chunk *chunk; /* being read, or NULL */
    uint32_t at;  /* in it */
} Ports;

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
    return 0;
}

static void ports_stats(Capture *capture, CaptureStats *stats) {
    const Ports *ports = capture->state;
    *stats = (CaptureStats){.dropped = receiver_dropped(ports->receiver),
                            .overrun = receiver_overrun(ports->receiver)};
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

static int open_all(Ports *ports, const OptionList *list, Reason *reason) {
    int udp[RECEIVER_PORTS_MAX];
    int tcp[RECEIVER_PORTS_MAX];
    size_t n = 0;
    int r = 0;
    for (; n < list->n; n++) {
        CollectEndpoint endpoint;
        uint16_t port = 0;
        if (!collect_endpoint_parse(&endpoint, list->values[n]))
            r = refuse(reason, list->values[n]);
        else if (collect_socket_pair(&endpoint, &udp[n], &tcp[n], &port, reason) != 0)
            r = CAPTURE_E_REFUSED;
        if (r)
            break;
        log_notice("collecting NetFlow, IPFIX and sFlow on port %u", port);
    }
    if (r == 0)
        return error_trace(receiver_new(&ports->receiver, udp, tcp, n));
    for (size_t i = 0; i < n; i++) {
        (void)close(udp[i]);
        (void)close(tcp[i]);
    }
    return r;
}

int collect_ports_open(Capture **capturep, const OptionList *ports, const char *filter,
                       Reason *reason) {
    int r = collect_ports_check(ports, reason);
    if (r == 0)
        r = ports_filter(NULL, filter, reason);
    if (r)
        return r;
    cleanup(capture_freep) Capture *capture = calloc(1, sizeof(*capture));
    if (!capture)
        return error_origin(-ENOMEM);
    capture->backend = &capture_ports;
    capture->fd = -1;
    capture->link_type = FRAME_LINK_COLLECTED;
    capture->state = calloc(1, sizeof(Ports));
    if (!capture->state)
        return error_origin(-ENOMEM);
    r = open_all(capture->state, ports, reason);
    if (r)
        return error_trace(r);
    *capturep = capture;
    capture = NULL;
    return 0;
}
