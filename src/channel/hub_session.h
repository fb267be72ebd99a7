#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Hub Sessions
 *
 * What the hub knows of each probe beyond its delivery: where it is connected, since when, its
 * hello. Time is passed in. Internal to the layer.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "channel/delivery.h"
#include "channel/hub_link.h"

enum {
    SESSION_SILENT_MS = 60000, /* a connection this quiet is gone, whatever TCP says */
    SESSION_LINE_SILENT_MS = 5000,
    SESSION_CLONE_MS = 2000,   /* after another came, one that ends is no longer heard of */
    SESSION_COPY_MS = 30000,   /* likewise of one process: slow lines hold what it sent before */
    SESSION_LEAVING_MS = 1500, /* after its events socket went, its data socket may still speak */
};

/** SessionLine - one data connection of it; two that are live at once are clones */
typedef struct SessionLine {
    int fd;        /* 0: none */
    uint16_t port; /* of the peer: descriptors are given again, the two together are not */
    char address[64];
    char instance[40]; /* as its hello says; "" unknown */
    uint64_t hello_id;
    uint64_t since_ms, heard_ms; /* monotonic; since its hello */
} SessionLine;

enum { SESSION_LINES = HUB_LINK_KEY_MAX };

/** Session - the index is the one of delivery_receiver_peer() */
typedef struct Session {
    PeerKey key;
    bool up;
    unsigned interface;
    unsigned events; /* which events socket it listens to */
    char address[64];
    uint64_t hello_id;
    char *hello;
    char *configuration; /* to be told until it is confirmed, or NULL */
    uint64_t begin_ms;   /* wall clock */
    uint64_t heard_wall_ms;
    uint64_t heard_ms;   /* monotonic */
    uint64_t leaving_ms; /* monotonic; 0: is not */
    SessionLine lines[SESSION_LINES];
    int events_fd;
    uint16_t events_port;
    Cause unserved; /* of its version, as its last hello says; CAUSE_NONE: it is served */
    char version[24];
    uint64_t clone_ms; /* monotonic: when clones were last told of */
    uint64_t batches, bytes, n_malformed;
} Session;

typedef struct Sessions {
    Session *sessions;
    size_t n, capacity;
} Sessions;

void sessions_deinit(Sessions *sessions);

/** sessions_get() - the i-th, made when new */
int sessions_get(Sessions *sessions, size_t i, const PeerKey *key, Session **sessionp);

/** session_address() - of an IPv4 peer of an IPv6 socket, the way people write it */
void session_address(char to[64], const char *address);

/** session_heard() - a message of it came; true: it is (again) up, and that is news */
bool session_heard(Session *session, unsigned interface, const char *address, uint64_t now_ms,
                   uint64_t wall_ms);

/** session_line() - the one of this connection (fd, port, address), maybe in place of another */
SessionLine *session_line(Session *session, const SessionLine *from, uint64_t now_ms);

/** session_line_ended() - this connection is over */
void session_line_ended(Session *session, const SessionLine *from);

/** session_line_hello() - what its hello says. Another of the same process that is silent is over
 */
void session_line_hello(Session *session, SessionLine *line, const char *json, uint64_t hello_id,
                        uint64_t now_ms);

/** session_other() - of another process of the same key that is live too, or NULL */
const SessionLine *session_other(const Session *session, const SessionLine *line, uint64_t now_ms);

/** session_over() - true: it has just ended */
bool session_over(Session *session, uint64_t now_ms);
