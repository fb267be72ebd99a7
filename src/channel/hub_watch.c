/* SPDX-License-Identifier: Apache-2.0 */

#include "channel/hub_watch.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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
    CLONE_AGAIN_MS = 5000,
    SPEAKS_MS = 5000, /* a probe says something each second: one this quiet may be gone */
};

typedef char Address[64];

typedef struct Side {
    HubWatchSide config;
    void *pair;
    ZsockLine line; /* of a connecting side */
    HubWatchCounts counts;
    bool failed; /* the next disconnect is that of the failed handshake */
    HubEventKind failure;
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
    Told told[TOLD_MAX];
    size_t n_told;
    HubEvent waiting[WAITING_MAX];
    size_t head, n_waiting;
};

/** was_told() - within the last minute; if not, it is now. More than there is room for are not
 * told: thousands of strangers would fill the log */
static bool was_told(HubWatch *watch, HubEventKind kind, const char *address, uint64_t now_ms) {
    Told *place = &watch->told[0];
    for (size_t i = 0; i < watch->n_told; i++) {
        Told *told = &watch->told[i];
        if (told->kind == kind && strcmp(told->address, address) == 0) {
            if (now_ms - told->told_ms < (kind == HUB_EVENT_CLONE ? CLONE_AGAIN_MS : TOLD_AGAIN_MS))
                return true;
            told->told_ms = now_ms;
            return false;
        }
        if (told->told_ms < place->told_ms)
            place = told;
    }
    if (watch->n_told < TOLD_MAX)
        place = &watch->told[watch->n_told++];
    else if (now_ms - place->told_ms < TOLD_AGAIN_MS)
        return true;
    *place = (Told){.kind = kind, .told_ms = now_ms};
    (void)snprintf(place->address, sizeof(place->address), "%s", address);
    return false;
}

/** tell() - but not what was told lately of this address, or key */
static void tell(HubWatch *watch, const HubEvent *event, uint64_t now_ms) {
    const char *about = *event->key.z85 ? event->key.z85 : event->address;
    if (watch->n_waiting == WAITING_MAX || was_told(watch, event->kind, about, now_ms))
        return;
    watch->waiting[(watch->head + watch->n_waiting++) % WAITING_MAX] = *event;
    zsock_wake(watch->wake_fd);
}

static void tell_problem(HubWatch *watch, const Side *side, HubEventKind kind, const char *address,
                         uint64_t now_ms) {
    HubEvent event = {.kind = kind, .interface = side->config.interface};
    (void)snprintf(event.address, sizeof(event.address), "%s", address);
    tell(watch, &event, now_ms);
}

void hub_watch_twins(HubWatch *watch, size_t i, const PeerKey *key, const char *address,
                     const char *other, uint64_t silent_ms) {
    if (silent_ms >= SPEAKS_MS)
        return; /* one that was lost, and not yet known to be */
    const uint64_t now_ms = clock_monotonic_ms();
    HubEvent event = {
        .kind = HUB_EVENT_CLONE, .interface = watch->sides[i].config.interface, .key = *key};
    (void)snprintf(event.address, sizeof(event.address), "%s", address);
    (void)snprintf(event.other, sizeof(event.other), "%s", other);
    (void)pthread_mutex_lock(&watch->lock);
    tell(watch, &event, now_ms);
    (void)was_told(watch, HUB_EVENT_TOO_MANY, other, now_ms); /* see crowded() */
    (void)pthread_mutex_unlock(&watch->lock);
}

/** crowded() - connections from there were cut for being too many of a key: that handshakes end as
 * well is what these clones do to each other, and not what is wrong */
static bool crowded(const HubWatch *watch, const char *address, uint64_t now_ms) {
    for (size_t i = 0; i < watch->n_told; i++) {
        const Told *told = &watch->told[i];
        if (told->kind == HUB_EVENT_TOO_MANY && now_ms - told->told_ms < 2 * TOLD_AGAIN_MS &&
            (!*address || strcmp(told->address, address) == 0))
            return true;
    }
    return false;
}

/** failed_at() - a handshake failed */
static void failed_at(HubWatch *watch, Side *side, HubEventKind kind, const char *address) {
    const uint64_t now_ms = clock_monotonic_ms();
    if (kind != HUB_EVENT_NOT_SPOKEN || !crowded(watch, address, now_ms))
        tell_problem(watch, side, kind, address, now_ms);
}

/* what each end of a connection is to the hub; a handshake that was over: the first two alone. Who
 * left without a word (ZMTP_LEFT) looked whether the port is open, as a probe does that waits */
void hub_watch_down(HubWatch *watch, size_t i, ZmtpFault fault, bool up, const char *address) {
    Side *side = &watch->sides[i];
    const struct {
        HubEventKind kind;
        uint64_t *counter;
    } rows[ZMTP_FAULTS] = {
        [ZMTP_TOO_MANY] = {HUB_EVENT_TOO_MANY, &side->counts.n_too_many},
        [ZMTP_TWIN] = {HUB_EVENT_CLONE, &side->counts.n_too_many}, /* told of by itself */
        [ZMTP_NOT_ENCRYPTED] = {HUB_EVENT_PLAIN_PEER, &side->counts.n_plain_peer},
        [ZMTP_WRONG_KEY] = {HUB_EVENT_WRONG_KEY, &side->counts.n_wrong_key},
        [ZMTP_NOT_ZMTP] = {HUB_EVENT_NOT_SPOKEN, &side->counts.n_not_spoken},
        [ZMTP_MALFORMED] = {HUB_EVENT_NOT_SPOKEN, &side->counts.n_not_spoken},
        [ZMTP_TOO_LARGE] = {HUB_EVENT_NOT_SPOKEN, &side->counts.n_not_spoken},
        [ZMTP_CLOSED] = {HUB_EVENT_NOT_SPOKEN, &side->counts.n_not_spoken},
        [ZMTP_SLOW] = {HUB_EVENT_NOT_SPOKEN, &side->counts.n_not_spoken},
    };
    if (!rows[fault].counter || (up && fault != ZMTP_TOO_MANY && fault != ZMTP_TWIN))
        return;
    (void)pthread_mutex_lock(&watch->lock);
    ++*rows[fault].counter;
    if (fault != ZMTP_TWIN)
        failed_at(watch, side, rows[fault].kind, address);
    (void)pthread_mutex_unlock(&watch->lock);
}

/** fail() - it is told of with the disconnect that follows */
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
    side->given_up = true;
    side->given_up_ms = clock_monotonic_ms();
}

static void on_disconnected(HubWatch *watch, Side *side) {
    zsock_line_end(&side->line);
    if (side->failed)
        failed_at(watch, side, side->failure, side->config.peer);
    side->failed = false;
}

static void on_event(HubWatch *watch, Side *side, const ZsockEvent *event) {
    switch (event->kind) {
    case ZMQ_EVENT_CONNECTED:
        zsock_line_begin(&side->line, (int)event->value);
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
        on_disconnected(watch, side);
        break;
    default:
        break;
    }
}

static void look_at(HubWatch *watch, Side *side) {
    ZsockEvent event;
    (void)pthread_mutex_lock(&watch->lock);
    for (int k = 0; side->pair && k < BURST && zsock_monitor_read(side->pair, &event); k++)
        on_event(watch, side, &event);
    zsock_line_look(&side->line);
    (void)pthread_mutex_unlock(&watch->lock);
}

static void *run(void *arg) {
    HubWatch *watch = arg;
    zmq_pollitem_t *items = calloc(watch->n_sides, sizeof(*items));
    while (items && !atomic_load(&watch->stop)) {
        int n = 0;
        for (size_t i = 0; i < watch->n_sides; i++)
            if (watch->sides[i].pair)
                items[n++] = (zmq_pollitem_t){.socket = watch->sides[i].pair, .events = ZMQ_POLLIN};
        (void)zmq_poll(items, n, TURN_MS);
        for (size_t i = 0; i < watch->n_sides; i++)
            look_at(watch, &watch->sides[i]);
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
    watch->sides = calloc(n_sides, sizeof(*watch->sides));
    if (!watch->sides)
        return error_origin(-ENOMEM);
    watch->n_sides = n_sides;
    for (size_t i = 0; i < n_sides; i++) {
        char name[32];
        (void)snprintf(name, sizeof(name), "hub-%zu", i);
        watch->sides[i].config = sides[i];
        int r = sides[i].bind
                    ? 0
                    : zsock_monitor(&watch->sides[i].pair, context, sides[i].socket, name);
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
    }
    free(watch->sides);
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
