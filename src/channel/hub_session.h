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
    SESSION_LEAVING_MS = 1500, /* after its events socket went, its data socket may still speak */
};

/** Session - the index is the one of delivery_receiver_peer() */
typedef struct Session {
    PeerKey key;
    bool up;
    unsigned interface;
    unsigned events; /* which events socket it listens to */
    char address[64];
    uint64_t hello_id;
    char *hello;
    uint64_t begin_ms; /* wall clock */
    uint64_t heard_wall_ms;
    uint64_t heard_ms;   /* monotonic */
    uint64_t leaving_ms; /* monotonic; 0: is not */
    uint64_t batches, bytes, n_malformed;
} Session;

typedef struct Sessions {
    Session *sessions;
    size_t n, capacity;
} Sessions;

void sessions_deinit(Sessions *sessions);

/** sessions_get() - the i-th, made when new */
int sessions_get(Sessions *sessions, size_t i, const PeerKey *key, Session **sessionp);

/** session_heard() - a message of it came; true: it is (again) up, and that is news */
bool session_heard(Session *session, unsigned interface, const char *address, uint64_t now_ms,
                   uint64_t wall_ms);

/** session_over() - true: it has just ended */
bool session_over(Session *session, uint64_t now_ms);
