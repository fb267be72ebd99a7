/* SPDX-License-Identifier: Apache-2.0 */

#include "channel/hub_watch.h"

#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <zmq.h>

#include "base/clock.h"
#include "base/error.h"
#include "channel/hub_strangers.h"
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
    MUTE_WAIT_MS = 3000,     /* a probe that waits for its hub looks whether a port is open */
    MUTE_MAX = 16,
    CLONE_AGAIN_MS = 5000,
    SPEAKS_MS = 5000, /* a probe says something each second: one this quiet may be gone */
    KINDS = HUB_EVENT_TOO_MANY + 1,
    SILENT_MAX = 64,  /* connections of one address that have not said anything */
    FDS_RESERVE = 64, /* for all else that the hub opens */
    GREETING_BYTES = 64,
    CROWD = 512, /* strangers that are worth giving back what they took */
};

typedef char Address[64];

/** Mute - somebody there ended a handshake; nothing is told if a probe speaks from there */
typedef struct Mute {
    Address address; /* empty: none */
    uint64_t since_ms;
} Mute;

typedef struct Side {
    HubWatchSide config;
    void *pair;
    ZsockLine line; /* of a connecting side */
    HubWatchCounts counts;
    bool failed; /* the next disconnect is that of the failed handshake */
    HubEventKind failure;
    Address *addresses; /* by descriptor: who was accepted */
    size_t n_addresses;
    Strangers *strangers;
    /* by kind of problem: since when one waits whose peer was gone before its address could be
     * read, and when one with an address was seen last; 0: none */
    uint64_t nameless_ms[KINDS];
    uint64_t named_ms[KINDS];
    Mute mutes[MUTE_MAX];
    bool given_up;
    uint64_t given_up_ms;
    unsigned n_again;
} Side;

typedef struct Told {
    Address address;
    HubEventKind kind;
    uint64_t told_ms;
} Told;

/** Speaker - whose connection it is, on which side, and when it spoke last */
typedef struct Speaker {
    _Atomic uint64_t heard_ms; /* 0: it has not spoken */
    const Side *side;
    PeerKey key;
} Speaker;

struct HubWatch {
    pthread_t thread;
    bool started;
    atomic_bool stop;
    int wake_fd;
    pthread_mutex_t lock;
    Side *sides;
    size_t n_sides;
    size_t n_fds;          /* as many as this process may have */
    size_t most_strangers; /* since memory was given back last */
    Speaker *speakers;     /* by descriptor, of any side */
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

/** has_greeted() - libzmq takes memory for a peer once its greeting of 64 bytes is complete */
static bool has_greeted(int fd) {
    return zsock_received(fd) >= GREETING_BYTES;
}

/** keep_descriptors() - a listener without any left would spin, and nobody could connect: when half
 * are taken an address may have only so many silent connections, and the last are for the hub */
static bool keep_descriptors(HubWatch *watch, Side *side, uint32_t fd, const char *address,
                             uint64_t now_ms) {
    if (fd < watch->n_fds / 2 ||
        (fd + FDS_RESERVE < watch->n_fds && strangers_of(side->strangers, address) <= SILENT_MAX))
        return false;
    tell_problem(watch, side, HUB_EVENT_TOO_MANY, address, now_ms);
    return true;
}

static void cut(Side *side, uint32_t fd) {
    zsock_cut((int)fd, side->addresses[fd], 0);
    strangers_cut(side->strangers, fd);
    side->counts.n_too_many++;
}

static void on_accepted(HubWatch *watch, Side *side, uint32_t fd) {
    const uint64_t now_ms = clock_monotonic_ms();
    note_address(side, fd);
    if (fd >= side->n_addresses)
        return;
    strangers_came(side->strangers, fd, side->addresses[fd], now_ms);
    if (keep_descriptors(watch, side, fd, side->addresses[fd], now_ms))
        cut(side, fd);
}

/** keep_memory() - those who begin a handshake and do not go on with it are limited */
static void keep_memory(Side *side) {
    size_t n = STRANGERS_LOOK;
    uint32_t fd = 0;
    while (strangers_look(side->strangers, clock_monotonic_ms(), &n, &fd))
        if (fd < side->n_addresses)
            cut(side, fd);
}

/** tell_clones() - more that speak than one probe and the connections it lost can be */
static void tell_clones(HubWatch *watch, const Side *side, const PeerKey *key, const char *address,
                        const char *other, uint64_t now_ms) {
    HubEvent event = {.kind = HUB_EVENT_CLONE, .interface = side->config.interface, .key = *key};
    (void)snprintf(event.address, sizeof(event.address), "%s", address);
    (void)snprintf(event.other, sizeof(event.other), "%s", other);
    tell(watch, &event, now_ms);
    (void)was_told(watch, HUB_EVENT_TOO_MANY, other, now_ms); /* see crowded() */
}

/** keep_few() - a key needs one connection a side; some more for those that are gone and not yet
 * known to be, and for its clones. Beyond that the one that is silent for longest is cut */
static void keep_few(HubWatch *watch, Side *side, int newest, const PeerKey *key) {
    const uint64_t now_ms = clock_monotonic_ms();
    size_t n = 0, oldest = 0;
    for (size_t fd = 0; fd < side->n_addresses && fd < watch->n_fds; fd++) {
        const Speaker *speaker = &watch->speakers[fd];
        if (!speaker->heard_ms || speaker->side != side ||
            memcmp(&speaker->key, key, sizeof(*key)) != 0)
            continue;
        if (!n++ || speaker->heard_ms < watch->speakers[oldest].heard_ms)
            oldest = fd;
    }
    if (n <= HUB_LINK_KEY_MAX)
        return;
    const bool speaks = now_ms - watch->speakers[oldest].heard_ms < SPEAKS_MS;
    if (speaks && (size_t)newest < side->n_addresses)
        tell_clones(watch, side, key, side->addresses[newest], side->addresses[oldest], now_ms);
    zsock_cut((int)oldest, side->addresses[oldest], 0);
    atomic_store(&watch->speakers[oldest].heard_ms, 0);
    side->counts.n_too_many++;
}

static Mute *find_mute(Side *side, const char *address) {
    for (size_t i = 0; i < MUTE_MAX; i++)
        if (strcmp(side->mutes[i].address, address) == 0)
            return &side->mutes[i];
    return NULL;
}

static void forget_mute(Side *side, const char *address) {
    Mute *mute = *address ? find_mute(side, address) : NULL;
    if (mute)
        mute->address[0] = '\0';
}

void hub_watch_spoke(HubWatch *watch, size_t i, int fd, const PeerKey *key) {
    strangers_spoke(watch->sides[i].strangers, fd);
    if (fd < 0 || (size_t)fd >= watch->n_fds)
        return;
    Speaker *speaker = &watch->speakers[fd];
    uint64_t heard_ms = atomic_load(&speaker->heard_ms);
    if (heard_ms) { /* and was not closed meanwhile */
        (void)atomic_compare_exchange_strong(&speaker->heard_ms, &heard_ms, clock_monotonic_ms());
        return;
    }
    (void)pthread_mutex_lock(&watch->lock);
    Side *side = &watch->sides[i];
    if ((size_t)fd < side->n_addresses)
        forget_mute(side, side->addresses[fd]);
    speaker->key = *key;
    speaker->side = side;
    atomic_store(&speaker->heard_ms, clock_monotonic_ms());
    if (side->config.bind)
        keep_few(watch, side, fd, key);
    (void)pthread_mutex_unlock(&watch->lock);
}

/** forget_descriptor() - it is closed; true: it was cut here */
static bool forget_descriptor(HubWatch *watch, Side *side, uint32_t fd) {
    if (fd < watch->n_fds)
        atomic_store(&watch->speakers[fd].heard_ms, 0);
    if (fd < side->n_addresses)
        side->addresses[fd][0] = '\0';
    return strangers_went(side->strangers, fd);
}

/** give_back() - a crowd has gone, and the memory that libzmq had for it is free, but not the
 * system's */
static void give_back(HubWatch *watch) {
    size_t n = 0;
    for (size_t i = 0; i < watch->n_sides; i++)
        n += strangers_count(watch->sides[i].strangers);
    if (n > watch->most_strangers)
        watch->most_strangers = n;
    if (watch->most_strangers < CROWD || n > watch->most_strangers / 4)
        return;
    (void)malloc_trim(0);
    watch->most_strangers = n;
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

/** may_speak() - who did not finish a handshake is given a while; false: too many are */
static bool may_speak(Side *side, const char *address, uint64_t now_ms) {
    if (find_mute(side, address))
        return true;
    Mute *mute = find_mute(side, "");
    if (!mute)
        return false;
    (void)snprintf(mute->address, sizeof(mute->address), "%s", address);
    mute->since_ms = now_ms;
    return true;
}

static void tell_mutes(HubWatch *watch, Side *side) {
    const uint64_t now_ms = clock_monotonic_ms();
    for (size_t i = 0; i < MUTE_MAX; i++) {
        Mute *mute = &side->mutes[i];
        if (!*mute->address || now_ms - mute->since_ms < MUTE_WAIT_MS)
            continue;
        if (!crowded(watch, mute->address, now_ms))
            tell_problem(watch, side, HUB_EVENT_NOT_SPOKEN, mute->address, now_ms);
        mute->address[0] = '\0';
    }
}

/** failed_at() - a handshake failed; one without an address waits for another that has it */
static void failed_at(HubWatch *watch, Side *side, const char *address) {
    const uint64_t now_ms = clock_monotonic_ms();
    const HubEventKind kind = side->failure;
    if (kind == HUB_EVENT_NOT_SPOKEN && crowded(watch, address, now_ms))
        return;
    if (*address) {
        side->named_ms[kind] = now_ms;
        side->nameless_ms[kind] = 0;
        if (kind != HUB_EVENT_NOT_SPOKEN || !side->config.bind || !may_speak(side, address, now_ms))
            tell_problem(watch, side, kind, address, now_ms);
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
        tell_problem(watch, side, (HubEventKind)kind, "", now_ms);
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

static void on_disconnected(HubWatch *watch, Side *side, uint32_t fd) {
    Address address = "";
    zsock_line_end(&side->line);
    if (!side->config.bind)
        (void)snprintf(address, sizeof(address), "%s", side->config.peer);
    else if (fd < side->n_addresses)
        memcpy(address, side->addresses[fd], sizeof(address));
    const bool cut = forget_descriptor(watch, side, fd);
    if (side->failed && !cut)
        failed_at(watch, side, address);
    side->failed = false;
}

static void on_event(HubWatch *watch, Side *side, const ZsockEvent *event) {
    switch (event->kind) {
    case ZMQ_EVENT_CONNECTED:
        zsock_line_begin(&side->line, (int)event->value);
        break;
    case ZMQ_EVENT_ACCEPTED:
        on_accepted(watch, side, event->value);
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
        on_disconnected(watch, side, event->value);
        break;
    case ZMQ_EVENT_CLOSED:
        (void)forget_descriptor(watch, side, event->value);
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
            tell_mutes(watch, &watch->sides[i]);
            keep_memory(&watch->sides[i]);
            zsock_line_look(&watch->sides[i].line);
            (void)pthread_mutex_unlock(&watch->lock);
        }
        give_back(watch);
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
    watch->speakers = calloc(watch->n_fds + 1, sizeof(*watch->speakers));
    watch->sides = calloc(n_sides, sizeof(*watch->sides));
    if (!watch->sides || !watch->speakers)
        return error_origin(-ENOMEM);
    watch->n_sides = n_sides;
    for (size_t i = 0; i < n_sides; i++) {
        char name[32];
        (void)snprintf(name, sizeof(name), "hub-%zu", i);
        watch->sides[i].config = sides[i];
        int r = strangers_new(&watch->sides[i].strangers, watch->n_fds, has_greeted);
        if (!r)
            r = zsock_monitor(&watch->sides[i].pair, context, sides[i].socket, name);
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
        (void)strangers_free(watch->sides[i].strangers);
        free(watch->sides[i].addresses);
    }
    free(watch->sides);
    free(watch->speakers);
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
