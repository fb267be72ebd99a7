#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Inside the Hub Link
 *
 * Shared by hub_link.c (making, asking) and hub_receive.c (the thread). Internal to the layer.
 */

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <zmq.h>

#include "base/buffer.h"
#include "channel/delivery.h"
#include "channel/endpoint.h"
#include "channel/frame.h"
#include "channel/hub_address.h"
#include "channel/hub_bound.h"
#include "channel/hub_keys.h"
#include "channel/hub_link.h"
#include "channel/hub_serve.h"
#include "channel/hub_session.h"
#include "channel/hub_waiting.h"
#include "channel/hub_watch.h"
#include "channel/hub_zap.h"

/** Side - a data endpoint or an events endpoint */
typedef struct Side {
    void *socket;           /* where the hub connects, else NULL */
    ZmtpListener *listener; /* where it binds and is attached, else NULL */
    Endpoint endpoint;
    HubAddress address; /* of one that binds and is attached, unless its host is `*` */
    bool bind;
    unsigned interface;
    char attached[280];
} Side;

typedef struct Arrival Arrival;

struct HubLink {
    HubLinkConfig config; /* without its pointers, once new() is over */
    void *context;
    Side *sides; /* the data endpoints, then the events endpoints */
    size_t n_data, n_sides;
    size_t n_shared; /* events endpoints that serve every interface: the first of them */
    struct pollfd *items;
    ZmtpServer *bound; /* serves all sides that bind */
    HubZap *zap;
    HubWatch *watch;
    int wake_fd;
    pthread_t thread;
    bool started;
    atomic_bool stop;
    _Atomic Cause notice;

    pthread_mutex_t lock;
    DeliveryReceiver *receiver;
    Sessions sessions;
    HubKeys *keys; /* has a lock of its own */
    Waiting waiting;
    uint64_t waiting_nonce;
    HubInterfaceStatus *interfaces;
    uint64_t generation;
    Lease lease;

    HubServe serve;

    uint64_t sweep_ms; /* the thread's own */
    Arrival *arrival;
    size_t most_strangers; /* since memory was given back last */
    Buffer text;
};

/** Arrival - one message and who it is from */
struct Arrival {
    const void *header, *payload;
    size_t header_size, payload_size;
    PeerKey key;
    unsigned interface;
    const char *address;
    SessionLine line; /* the connection it came by */
    size_t peer;      /* index */
    Frame frame;
};

/* shared by hub_receive.c and hub_admit.c; on the thread of the first */
void hub_post(HubLink *link, const HubEvent *event);
void hub_count_malformed(HubLink *link, unsigned interface, const PeerKey *key);
/** hub_payload_text() - as a C string; NULL when it is longer than `most` */
char *hub_payload_text(const Arrival *arrival, size_t most);
/** hub_send_state() - on the events endpoint `events`, or 0: it is not known on which it listens */
void hub_send_state(HubLink *link, unsigned events, const PeerKey *key, const ControlState *state);

/**
 * hub_admit_message() - true: the key is admitted, go on. Else the message was dealt with: it
 * stands in the waiting room, or is refused and its connection cut.
 */
bool hub_admit_message(HubLink *link, Arrival *arrival);

/** hub_admit_subscription() - likewise, of an events endpoint; `on` or off */
bool hub_admit_subscription(HubLink *link, unsigned side, const PeerKey *key,
                            const SessionLine *line, bool on);

/** hub_take_message() - of two parts; the arrival has them, key, interface, address and line */
int hub_take_message(HubLink *link, Arrival *arrival);

/** hub_take_topic() - its own, subscribed to or not any more; `known`: by the peer, not by topic */
int hub_take_topic(HubLink *link, size_t side, const PeerKey *key, const SessionLine *line, bool on,
                   bool known);

/** hub_line_ended() - a data connection of this key is over */
void hub_line_ended(HubLink *link, const PeerKey *key, const SessionLine *line);

/** hub_admit_look_after() - tells those who wait, and of those who went */
void hub_admit_look_after(HubLink *link);

/** hub_receive() - the thread's function; its argument is the link */
void *hub_receive(void *link);
