#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Inside the ZMTP Server
 *
 * server.c has listeners, reading and writing; conns.c where each connection stands: on one of a
 * few lists, each in order of time, so that who is due is at its head and nothing needs a timer.
 */

#include "zmtp/server.h"

typedef enum Place {
    PLACE_FRESH,   /* no greeting yet; by arrival */
    PLACE_SHAKING, /* in the handshake, or refused */
    PLACE_QUIET,   /* the handshake is over, it is not known; by when it was heard last */
    PLACE_LIVE,    /* is known; likewise */
    PLACE_ASKED,   /* was silent and is asked; by that */
    PLACE_WAITING, /* is not read */
    PLACE_DOOMED,  /* over, to be freed */
    PLACES,
} Place;

typedef struct Conn Conn;

/** Source - what epoll tells of */
typedef struct Source {
    ZmtpListener *listener; /* of a connection: whose it is */
    Conn *conn;             /* NULL: it is the listener itself */
} Source;

struct Conn {
    Source source;
    ZmtpPeer peer;
    ZmtpLine line;
    Buffer out; /* what the system did not take yet */
    Conn *before, *after;
    Conn *next_of_bucket;
    uint64_t since_ms, part_ms; /* it came, or is asked; a frame is under way */
    Place place;
    ZmtpFault fault; /* why it is doomed */
    uint16_t slot;   /* of its address */
    bool heard;      /* a byte, ever */
    bool in_table;
    bool known;      /* no stranger any more */
    bool partial;    /* counted as such */
    uint32_t events; /* what epoll was asked for */
};

typedef struct List {
    Conn *first, *last;
    size_t n;
} List;

struct ZmtpListener {
    Source source;
    ZmtpServer *server;
    ZmtpListener *next;
    ZmtpHost host;
    CurveKeys keys;
    unsigned side;
    int fd;
    uint16_t port;
    bool closed;
};

enum {
    ADDRESS_SLOTS = 16384
}; /* addresses by hash, of IPv6 the first half; those that share one
      count together */

struct ZmtpServer {
    ZmtpCallbacks callbacks;
    int epoll_fd;
    size_t n_fds;
    uint64_t now_ms, serial, seed;
    CurveJar jar;
    ZmtpListener *listeners;
    uint64_t deaf_ms; /* since no descriptor was left; 0: listening */
    List lists[PLACES];
    size_t n_strangers, n_partial;
    size_t n_partial_strangers; /* besides: of those who are held to it */
    uint64_t scan_ms;
    Conn **buckets; /* by key, whose handshake is over */
    size_t n_buckets, n_in_table;
    Buffer out;     /* what the connection that is served now is to be sent */
    Buffer message; /* what is sent beside that */
    uint32_t strangers[ADDRESS_SLOTS];
    bool known[ADDRESS_SLOTS];
    uint8_t received[256 * 1024];
    uint8_t scratch[ZMTP_FRAME_MAX_BYTES];
};

/** conns_add() - one that was accepted; the caller gave it descriptor and address */
void conns_add(ZmtpServer *server, Conn *conn);

/** conns_place() - where it belongs after something came of it */
void conns_place(ZmtpServer *server, Conn *conn);
void conns_move(ZmtpServer *server, Conn *conn, Place place);

/** conns_doom() - it is over; freed at the end of the turn */
void conns_doom(ZmtpServer *server, Conn *conn, ZmtpFault fault);
void conns_reap(ZmtpServer *server);

/** conns_known() - it is no stranger any more */
void conns_known(ZmtpServer *server, Conn *conn);

/** conns_strange() - is it held to what strangers may? */
bool conns_strange(const ZmtpServer *server, const Conn *conn);

/** conns_up() - its key is known; one too many of it is doomed */
int conns_up(ZmtpServer *server, Conn *conn);
Conn *conns_first(const ZmtpServer *server, const uint8_t key[CURVE_KEY_BYTES]);
/** conns_next() - of the same key */
Conn *conns_next(const Conn *conn);

/** conns_crowded() - is there no room for one more of this address? */
bool conns_crowded(const ZmtpServer *server, const Conn *conn);
uint16_t conns_slot(const ZmtpServer *server, const char *address);

/** conns_tend() - who is due: too slow, too silent, too many; who is to be asked is moved */
void conns_tend(ZmtpServer *server, void (*ask)(ZmtpServer *server, Conn *conn));
