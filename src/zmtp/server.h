#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * ZMTP Server
 *
 * Listeners and the connections to them: SUB and XPUB sockets that are bound, with CURVE, for
 * thousands of peers. One thread: all but making it is done by who calls zmtp_server_turn(), and
 * callbacks come from there. It waits on zmtp_server_fd() as on any descriptor.
 *
 * A connection costs some 600 bytes here; more only while a frame is not whole, or while it does
 * not take what is sent to it (ZMTP_OUT_MAX_BYTES, beyond that messages to it are dropped whole).
 * Strangers, that is whose key nobody knows, for anyone can make one, are limited in number, in
 * time, in what they may have under way, and by address when descriptors become few. Who is silent
 * is asked (PING), and cut when it does not answer.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "zmtp/line.h"

enum {
    ZMTP_HANDSHAKE_MS = 15000,
    ZMTP_PING_MS = 20000,   /* of silence */
    ZMTP_SILENT_MS = 60000, /* likewise: it is gone */
    ZMTP_OUT_MAX_BYTES = 128 * 1024,
    ZMTP_KEY_MAX = 4,                  /* connections of one key to one side */
    ZMTP_STRANGERS_MAX = 16384,        /* that greeted: beyond it they are cut */
    ZMTP_STRANGERS_PATIENCE_MS = 5000, /* and what they have when there are half as many */
    ZMTP_STRANGERS_KNOWN_MAX = 64,     /* more of an address from which somebody is known */
    ZMTP_STRANGERS_FRAME_MAX_BYTES = 72 * 1024,
    ZMTP_STRANGERS_OUT_MAX_BYTES = 16 * 1024,
    ZMTP_STRANGERS_PARTIAL_MAX = 512, /* with a frame under way, further ones are cut */
    ZMTP_STRANGERS_SILENT_MAX = 64,   /* of an address, when half of the descriptors are taken */
    ZMTP_FDS_RESERVE = 64,            /* for all else that the process opens */
    ZMTP_PARTIAL_MAX = 2048,          /* connections with a frame under way; others wait, unread */
    ZMTP_PARTIAL_MS = 60000,          /* and what it may take when others wait */
};

typedef struct ZmtpServer ZmtpServer;
typedef struct ZmtpListener ZmtpListener;

/** ZmtpPeer - who is at the other end of a connection */
typedef struct ZmtpPeer {
    int fd;
    uint16_t port;
    unsigned side;      /* of its listener */
    char address[46];   /* without port; IPv4 as such */
    const uint8_t *key; /* its permanent public key; zeros before the handshake is over */
    uint64_t heard_ms;  /* when bytes came last */
} ZmtpPeer;

/** ZmtpCallbacks - on the thread of zmtp_server_turn(); what they are given lives as long */
typedef struct ZmtpCallbacks {
    void *userdata;
    bool (*admits)(void *userdata, const uint8_t key[CURVE_KEY_BYTES]);
    /* is it no stranger's? Asked after the handshake and with what is said, until it is so. NULL:
     * whoever says something is none */
    bool (*knows)(void *userdata, const uint8_t key[CURVE_KEY_BYTES]);
    void (*on_up)(void *userdata, const ZmtpPeer *peer); /* may be NULL */
    void (*on_message)(void *userdata, const ZmtpPeer *peer, const ZmtpMessage *message);
    bool (*on_topic)(void *userdata, const ZmtpPeer *peer, const uint8_t *topic, size_t size,
                     bool on);
    /* the newest of its key came, and `other`, silent for longest, goes for it */
    void (*on_twins)(void *userdata, const ZmtpPeer *newest, const ZmtpPeer *other);
    /* it is over, why, and whether its handshake was: also of those who never finished it */
    void (*on_down)(void *userdata, const ZmtpPeer *peer, ZmtpFault fault, bool up);
} ZmtpCallbacks;

int zmtp_server_new(ZmtpServer **serverp, const ZmtpCallbacks *callbacks);
ZmtpServer *zmtp_server_free(ZmtpServer *server);

int zmtp_server_fd(const ZmtpServer *server);

/** zmtp_server_turn() - whatever can be done without waiting; true: there is more */
bool zmtp_server_turn(ZmtpServer *server, uint64_t now_ms);

/** ZmtpListen - what is served there; `topic` of a SUB, static */
typedef struct ZmtpListen {
    unsigned side;
    ZmtpKind kind;
    const char *topic;
    CurveKeys keys;
} ZmtpListen;

/** zmtp_listen() - a negative errno when it cannot be: not a fault of the program */
int zmtp_listen(ZmtpServer *server, const ZmtpListen *listen, const struct sockaddr *address,
                socklen_t size, ZmtpListener **listenerp);
uint16_t zmtp_listener_port(const ZmtpListener *listener);

/** zmtp_listener_rekey() - the same port with another server key; its connections end */
void zmtp_listener_rekey(ZmtpListener *listener, const CurveKeys *keys);

/** zmtp_listener_close() - its connections end; `listener` is gone after the next turn */
void zmtp_listener_close(ZmtpListener *listener);

/** zmtp_listener_adopt() - a connection that came some other way; `fd` is the server's then */
int zmtp_listener_adopt(ZmtpListener *listener, int fd, const char *address, uint16_t port,
                        uint64_t now_ms);

/**
 * zmtp_server_send() - a message to all connections of this side that have this key and subscribed
 * to what its first part begins with; how many took it
 */
size_t zmtp_server_send(ZmtpServer *server, unsigned side, const uint8_t key[CURVE_KEY_BYTES],
                        const void *const parts[], const size_t sizes[], size_t n);

/** zmtp_server_listens() - does any connection of this key have a topic, on this side? */
bool zmtp_server_listens(const ZmtpServer *server, unsigned side,
                         const uint8_t key[CURVE_KEY_BYTES]);

typedef struct ZmtpCounts {
    size_t n;           /* connections */
    size_t n_strangers; /* of them */
    size_t n_partial;
    size_t n_waiting; /* not read, for too many are partial */
} ZmtpCounts;

ZmtpCounts zmtp_server_counts(const ZmtpServer *server);

DEFINE_CLEANUP(ZmtpServer *, zmtp_server_free)
