#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * ZeroMQ sockets
 *
 * What both ends of the channel do alike: the options of every socket, CURVE, attaching, reading
 * monitors. Internal to the layer.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/reason.h"
#include "channel/endpoint.h"
#include "channel/keys.h"

enum {
    _ZSOCK_E_SUCCESS,
    ZSOCK_E_REFUSED, /* the address is not ours, or in use */
};

enum { ZSOCK_SNDHWM = 16, ZSOCK_RCVHWM = 4, ZSOCK_END_S = 1, ZSOCK_BROKEN_MS = 15000 };

/** zsock_context_new() - for sockets that hold as little memory a connection as libzmq lets them;
 * NULL with errno set */
void *zsock_context_new(void);

/** zsock_open() - a socket with the channel's options; NULL with errno set */
void *zsock_open(void *context, int type);

/* server_z85 is the hub's public key; the hub passes NULL and is the CURVE server */
int zsock_curve(void *socket, const KeyPair *keys, const char *server_z85);

/**
 * zsock_attach() - bind or connect. `text` is what it was done with, a port `*` resolved: the form
 * zsock_again() takes.
 */
int zsock_attach(void *socket, const Endpoint *endpoint, bool bind, char *text, size_t size,
                 Reason *reason);

/** zsock_refused() - why it could not be attached, for a person; `error` is an errno */
void zsock_refused(int error, const Endpoint *endpoint, bool bind, const char *text,
                   Reason *reason);

/** zsock_again() - a connecting socket whose peer failed the handshake does not try again itself */
void zsock_again(void *socket, const char *text);

/** zsock_last() - the endpoint attached last, as libzmq calls it; for zsock_detach() */
int zsock_last(void *socket, char *text, size_t size);

/** zsock_detach() - no longer bound or connected there; its connections end */
void zsock_detach(void *socket, bool bind, const char *text);

/**
 * zsock_move() - a socket of a probe, attached to this one endpoint (`text`): from now on with
 * another server key, and maybe another port
 */
int zsock_move(void *socket, const char *server_z85, const Endpoint *endpoint, bool bind,
               char *text, size_t size);

/** zsock_monitor() - events of the socket on a new PAIR; call before zsock_attach() */
int zsock_monitor(void **pairp, void *context, void *socket, const char *name);

typedef struct ZsockEvent {
    unsigned kind; /* ZMQ_EVENT_… */
    uint32_t value;
} ZsockEvent;

/* false: nothing there now */
bool zsock_monitor_read(void *pair, ZsockEvent *event);

/** zsock_peer_address() - of a connected descriptor, without port; "" when it is gone */
void zsock_peer_address(int fd, char *text, size_t size);

/** zsock_peer_port() - of a connected descriptor; 0 when it is gone */
uint16_t zsock_peer_port(int fd);

/** zsock_received() - bytes that the peer has sent and TCP has taken */
uint64_t zsock_received(int fd);

/**
 * zsock_cut() - end the connection of this descriptor, if it still is the one to this address and
 * port (0: any): it may have been closed and its number given to another
 */
void zsock_cut(int fd, const char *address, uint16_t port);

/**
 * ZsockLine - the connection that a socket has made. ZMQ_TCP_MAXRT would end one on which nothing
 * is acknowledged for some time, but also one whose peer has no room for a while, as on a slow
 * line; here it is ended when nothing at all comes of the other side.
 */
typedef struct ZsockLine {
    int fd; /* meaningless without a port */
    uint16_t port;
    char address[64];
} ZsockLine;

void zsock_line_begin(ZsockLine *line, int fd);
void zsock_line_end(ZsockLine *line);
/** zsock_line_look() - now and then: cut it when it is broken */
void zsock_line_look(const ZsockLine *line);

/** zsock_wake() and friends - an eventfd */
int zsock_wake_new(int *fdp);
void zsock_wake(int fd);
void zsock_wake_clear(int fd);

/**
 * zsock_context_end() - zmq_ctx_term(), for no longer than a second: libzmq's thread may be waiting
 * for a name to resolve. What is then left ends by itself.
 */
void zsock_context_end(void *context);
