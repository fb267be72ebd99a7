#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Probe Lines
 *
 * The two connections of a probe: data (an XPUB) and events (a SUB). The one that the probe makes
 * is a ZmtpDial; the one that it awaits, as a hub connects to it, is a socket of libzmq with a
 * watch of its monitor. Who uses them sees no difference. One thread's own. Internal to the layer.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/reason.h"
#include "channel/endpoint.h"
#include "channel/keys.h"
#include "channel/probe_view.h"

enum { PROBE_LINES_TEXT_BYTES = 280 }; /* an endpoint, written */

typedef struct ProbeLines ProbeLines;

typedef struct ProbeLinesConfig {
    const KeyPair *keys;
    const char *server_z85;
    Endpoint endpoints[PROBE_N_SIDES];
    bool binds[PROBE_N_SIDES];
    size_t topic_bytes; /* of our public key's text: what is listened to; 0: nothing */
    int wake_fd;        /* written to at each change of what is awaited */
    /* from probe_lines_read() and probe_lines_move(); may be NULL */
    void *userdata;
    void (*on_subscription)(void *userdata, bool on); /* to what a probe sends */
    void (*on_state)(void *userdata, const void *bytes, size_t size);
} ProbeLinesConfig;

/** probe_lines_new() - nothing is attached yet */
int probe_lines_new(ProbeLines **linesp, const ProbeLinesConfig *config);
ProbeLines *probe_lines_free(ProbeLines *lines);

/**
 * probe_lines_attach() - listen, or begin to connect. ZSOCK_E_REFUSED: it cannot listen there, and
 * the reason says why
 */
int probe_lines_attach(ProbeLines *lines, ProbeSide side, Reason *reason);

/** probe_lines_attached() - tcp://HOST:PORT, a port `*` resolved; changes with a move only */
const char *probe_lines_attached(const ProbeLines *lines, ProbeSide side);

/** probe_lines_move() - from now on there, with this server key; what was is over */
int probe_lines_move(ProbeLines *lines, ProbeSide side, const char *server_z85,
                     const Endpoint *endpoint);

/** probe_lines_wait() - until something is to be read, or there is room again where there was none;
 * `wake_fd` may be -1 */
void probe_lines_wait(ProbeLines *lines, int wake_fd, int timeout_ms);

/** probe_lines_read() - whatever is there; callbacks come from here */
int probe_lines_read(ProbeLines *lines, ProbeSide side);

/** probe_lines_subscribers() - peers that want what a probe sends */
unsigned probe_lines_subscribers(const ProbeLines *lines);

/** ProbePayload - lent, and given back once it has gone or cannot go */
typedef struct ProbePayload {
    const void *bytes;
    size_t size;
    void (*give_back)(void *bytes, void *owner); /* NULL: it need not be, and is copied */
    void *owner;
} ProbePayload;

void probe_payload_return(const ProbePayload *payload);

typedef enum ProbeLinesSent {
    PROBE_LINES_SENT,
    PROBE_LINES_FULL,   /* once more when probe_lines_wait() tells of room */
    PROBE_LINES_FAILED, /* once more, later */
} ProbeLinesSent;

/** probe_lines_send() - on data, header and payload; it goes out by probe_lines_flush() at last */
ProbeLinesSent probe_lines_send(ProbeLines *lines, const Buffer *header,
                                const ProbePayload *payload);
void probe_lines_flush(ProbeLines *lines);

/** probe_lines_tells_room() - false: after PROBE_LINES_FULL it has to be tried now and then */
bool probe_lines_tells_room(const ProbeLines *lines);

void probe_lines_view(ProbeLines *lines, ProbeSide side, ProbeView *view);

/** probe_lines_again() - what was given up is tried again */
void probe_lines_again(ProbeLines *lines, ProbeSide side);

DEFINE_CLEANUP(ProbeLines *, probe_lines_free)
