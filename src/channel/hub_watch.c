/* SPDX-License-Identifier: Apache-2.0 */

#include "channel/hub_watch.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <zmq.h>

#include "base/clock.h"
#include "base/error.h"
#include "channel/zsock.h"

enum {
    TURN_MS = 100,
    BURST = 1000,
    TOLD_MAX = 256, /* (address, problem) pairs remembered */
    TOLD_AGAIN_MS = 60000,
    WAITING_MAX = 64, /* problems not yet fetched */
    AGAIN_FIRST_MS = 1000,
    AGAIN_DOUBLINGS = 5,
    FDS_MAX = 1 << 20,
    NAMELESS_WAIT_MS = 3000, /* a peer without an address may try again and have one */
    KINDS = HUB_EVENT_TOO_MANY + 1,
    SILENT_MAX = 64,  /* connections of one address that have not said anything */
    FDS_RESERVE = 64, /* for all else that the hub opens */
};

typedef char Address[64];

typedef struct Side {
    HubWatchSide config;
    void *pair;
    HubWatchCounts counts;
    bool failed; /* the next disconnect is that of the failed handshake */
    HubEventKind failure;
    Address *addresses; /* by descriptor: who was accepted */
    size_t n_addresses;
    /* by kind of problem: since when one waits whose peer was gone before its address could be
     * read, and when one with an address was seen last; 0: none */
    uint64_t nameless_ms[KINDS];
    uint64_t named_ms[KINDS];
    bool given_up;
    uint64_t given_up_ms;
    unsigned n_again;
} Side;

typedef struct Told {
    Address address;
    HubEventKind kind;
    uint64_t told_ms;
} Told;

struct HubWatch {
    pthread_t thread;
    bool started;
    atomic_bool stop;
    int wake_fd;
    pthread_mutex_t lock;
    Side *sides;
    size_t n_sides;
    size_t n_fds;        /* as many as this process may have */
    atomic_uchar *spoke; /* by descriptor */
    Told told[TOLD_MAX];
    size_t n_told;
    HubEvent waiting[WAITING_MAX];
    size_t head, n_waiting;
};

static void note_address(Side *side, uint32_t fd) {
    if (fd >= FDS_MAX)
        return;
    if (fd >= side->n_addresses) {
        size_t n = (size_t)fd * 2 + 64;
        Address *addresses = realloc(side->addresses, n * sizeof(*addresses));
        if (!addresses)
            return; /* the problem is then told without an address */
        memset(addresses + side->n_addresses, 0, (n - side->n_addresses) * sizeof(*addresses));
        side->addresses = addresses;
        side->n_addresses = n;
    }
    zsock_peer_address((int)fd, side->addresses[fd], sizeof(Address));
}

/** was_told() - within the last minute; if not, it is now */
static bool was_told(HubWatch *watch, HubEventKind kind, const char *address, uint64_t now_ms) {
    Told *place = &watch->told[0];
    for (size_t i = 0; i < watch->n_told; i++) {
        Told *told = &watch->told[i];
        if (told->kind == kind && strcmp(told->address, address) == 0) {
            if (now_ms - told->told_ms < TOLD_AGAIN_MS)
                return true;
            told->told_ms = now_ms;
            return false;
        }
        if (told->told_ms < place->told_ms)
            place = told;
    }
    if (watch->n_told < TOLD_MAX)
        place = &watch->told[watch->n_told++];
    *place = (Told){.kind = kind, .told_ms = now_ms};
    (void)snprintf(place->address, sizeof(place->address), "%s", address);
    return false;
}

static void tell(HubWatch *watch, const Side *side, HubEventKind kind, const char *address,
                 uint64_t now_ms) {
    if (watch->n_waiting == WAITING_MAX || was_told(watch, kind, address, now_ms))
        return;
    HubEvent *event = &watch->waiting[(watch->head + watch->n_waiting++) % WAITING_MAX];
    *event = (HubEvent){.kind = kind, .interface = side->config.interface};
    (void)snprintf(event->address, sizeof(event->address), "%s", address);
    zsock_wake(watch->wake_fd);
}

/** is_silent_crowd() - has this address as many connections that say nothing as one may have? */
static bool is_silent_crowd(HubWatch *watch, const Side *side, const char *address) {
    unsigned n = 0;
    for (size_t fd = 0; fd < side->n_addresses && fd < watch->n_fds && n <= SILENT_MAX; fd++)
        n += side->addresses[fd][0] && !atomic_load(&watch->spoke[fd]) &&
             strcmp(side->addresses[fd], address) == 0;
    return n > SILENT_MAX;
}

/** keep_descriptors() - a listener without any left would spin, and nobody could connect: when half
 * are taken an address may have only so many silent connections, and the last are for the hub */
static void keep_descriptors(HubWatch *watch, Side *side, uint32_t fd) {
    if (fd >= side->n_addresses || fd < watch->n_fds / 2)
        return;
    const char *address = side->addresses[fd];
    if (fd + FDS_RESERVE < watch->n_fds && !is_silent_crowd(watch, side, address))
        return;
    zsock_cut((int)fd, address, 0);
    side->counts.n_too_many++;
    tell(watch, side, HUB_EVENT_TOO_MANY, address, clock_monotonic_ms());
}

void hub_watch_spoke(HubWatch *watch, int fd) {
    if (fd >= 0 && (size_t)fd < watch->n_fds && !atomic_load(&watch->spoke[fd]))
        atomic_store(&watch->spoke[fd], 1);
}

/** forget_descriptor() - it is closed */
static void forget_descriptor(HubWatch *watch, Side *side, uint32_t fd) {
    if (fd < side->n_addresses)
        side->addresses[fd][0] = '\0';
    if (fd < watch->n_fds)
        atomic_store(&watch->spoke[fd], 0);
}

/** failed_at() - a handshake failed; one without an address waits for another that has it */
static void failed_at(HubWatch *watch, Side *side, const char *address) {
    const uint64_t now_ms = clock_monotonic_ms();
    const HubEventKind kind = side->failure;
    if (*address) {
        side->named_ms[kind] = now_ms;
        side->nameless_ms[kind] = 0;
        tell(watch, side, kind, address, now_ms);
    } else if (!side->nameless_ms[kind] &&
               (!side->named_ms[kind] || now_ms - side->named_ms[kind] > TOLD_AGAIN_MS)) {
        side->nameless_ms[kind] = now_ms;
    }
}

static void tell_nameless(HubWatch *watch, Side *side) {
    const uint64_t now_ms = clock_monotonic_ms();
    for (unsigned kind = 0; kind < KINDS; kind++) {
        if (!side->nameless_ms[kind] || now_ms - side->nameless_ms[kind] < NAMELESS_WAIT_MS)
            continue;
        side->nameless_ms[kind] = 0;
        tell(watch, side, (HubEventKind)kind, "", now_ms);
    }
}

/** fail() - the descriptor, and with it the address, comes with the disconnect that follows */
static void fail(Side *side, HubEventKind kind, uint64_t *counter) {
    (*counter)++;
    side->failed = true;
    side->failure = kind;
}

/** fail_protocol() - after such an error a connecting socket of libzmq does not try again */
static void fail_protocol(Side *side, uint32_t error) {
    if (error == ZMQ_PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH)
        fail(side, HUB_EVENT_PLAIN_PEER, &side->counts.n_plain_peer);
    else if (error == ZMQ_PROTOCOL_ERROR_ZMTP_CRYPTOGRAPHIC)
        fail(side, HUB_EVENT_WRONG_KEY, &side->counts.n_wrong_key);
    else
        fail(side, HUB_EVENT_NOT_SPOKEN, &side->counts.n_not_spoken);
    side->given_up = !side->config.bind;
    side->given_up_ms = clock_monotonic_ms();
}

static void on_event(HubWatch *watch, Side *side, const ZsockEvent *event) {
    switch (event->kind) {
    case ZMQ_EVENT_ACCEPTED:
        note_address(side, event->value);
        keep_descriptors(watch, side, event->value);
        break;
    case ZMQ_EVENT_HANDSHAKE_SUCCEEDED:
        side->n_again = 0;
        break;
    case ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL:
        fail_protocol(side, event->value);
        break;
    case ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL:
        fail(side, HUB_EVENT_NOT_SPOKEN, &side->counts.n_not_spoken);
        break;
    case ZMQ_EVENT_DISCONNECTED:
        if (side->failed)
            failed_at(watch, side,
                      !side->config.bind                 ? side->config.peer
                      : event->value < side->n_addresses ? side->addresses[event->value]
                                                         : "");
        side->failed = false;
        forget_descriptor(watch, side, event->value);
        break;
    case ZMQ_EVENT_CLOSED:
        forget_descriptor(watch, side, event->value);
        break;
    default:
        break;
    }
}

static void *run(void *arg) {
    HubWatch *watch = arg;
    zmq_pollitem_t *items = calloc(watch->n_sides, sizeof(*items));
    while (items && !atomic_load(&watch->stop)) {
        for (size_t i = 0; i < watch->n_sides; i++)
            items[i] = (zmq_pollitem_t){.socket = watch->sides[i].pair, .events = ZMQ_POLLIN};
        (void)zmq_poll(items, (int)watch->n_sides, TURN_MS);
        for (size_t i = 0; i < watch->n_sides; i++) {
            ZsockEvent event;
            (void)pthread_mutex_lock(&watch->lock);
            for (int k = 0; k < BURST && zsock_monitor_read(watch->sides[i].pair, &event); k++)
                on_event(watch, &watch->sides[i], &event);
            tell_nameless(watch, &watch->sides[i]);
            (void)pthread_mutex_unlock(&watch->lock);
        }
    }
    free(items);
    return NULL;
}

int hub_watch_new(HubWatch **watchp, void *context, const HubWatchSide *sides, size_t n_sides,
                  int wake_fd) {
    cleanup(hub_watch_freep) HubWatch *watch = calloc(1, sizeof(*watch));
    if (!watch)
        return error_origin(-ENOMEM);
    (void)pthread_mutex_init(&watch->lock, NULL);
    watch->wake_fd = wake_fd;
    struct rlimit limit;
    watch->n_fds = getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < FDS_MAX
                       ? (size_t)limit.rlim_cur
                       : FDS_MAX;
    watch->spoke = calloc(watch->n_fds + 1, sizeof(*watch->spoke));
    if (!watch->spoke)
        return error_origin(-ENOMEM);
    watch->sides = calloc(n_sides, sizeof(*watch->sides));
    if (!watch->sides)
        return error_origin(-ENOMEM);
    watch->n_sides = n_sides;
    for (size_t i = 0; i < n_sides; i++) {
        char name[32];
        (void)snprintf(name, sizeof(name), "hub-%zu", i);
        watch->sides[i].config = sides[i];
        int r = zsock_monitor(&watch->sides[i].pair, context, sides[i].socket, name);
        if (r)
            return error_trace(r);
    }
    int r = pthread_create(&watch->thread, NULL, run, watch);
    if (r)
        return error_origin(-r);
    watch->started = true;
    *watchp = watch;
    watch = NULL;
    return 0;
}

HubWatch *hub_watch_free(HubWatch *watch) {
    if (!watch)
        return NULL;
    for (size_t i = 0; i < watch->n_sides; i++)
        if (watch->sides[i].pair)
            (void)zmq_socket_monitor(watch->sides[i].config.socket, NULL, 0);
    atomic_store(&watch->stop, true);
    if (watch->started)
        (void)pthread_join(watch->thread, NULL);
    for (size_t i = 0; i < watch->n_sides; i++) {
        if (watch->sides[i].pair)
            (void)zmq_close(watch->sides[i].pair);
        free(watch->sides[i].addresses);
    }
    free(watch->sides);
    free(watch->spoke);
    (void)pthread_mutex_destroy(&watch->lock);
    free(watch);
    return NULL;
}

bool hub_watch_problem(HubWatch *watch, HubEvent *event) {
    (void)pthread_mutex_lock(&watch->lock);
    bool any = watch->n_waiting > 0;
    if (any) {
        *event = watch->waiting[watch->head];
        watch->head = (watch->head + 1) % WAITING_MAX;
        watch->n_waiting--;
    }
    (void)pthread_mutex_unlock(&watch->lock);
    return any;
}

bool hub_watch_again(HubWatch *watch, size_t i) {
    Side *side = &watch->sides[i];
    (void)pthread_mutex_lock(&watch->lock);
    bool due = side->given_up && clock_monotonic_ms() - side->given_up_ms >=
                                     (uint64_t)AGAIN_FIRST_MS << side->n_again;
    if (due) {
        side->given_up = false;
        if (side->n_again < AGAIN_DOUBLINGS)
            side->n_again++;
    }
    (void)pthread_mutex_unlock(&watch->lock);
    return due;
}

void hub_watch_counts(HubWatch *watch, size_t i, HubWatchCounts *counts) {
    (void)pthread_mutex_lock(&watch->lock);
    *counts = watch->sides[i].counts;
    (void)pthread_mutex_unlock(&watch->lock);
}
