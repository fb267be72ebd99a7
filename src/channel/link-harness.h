#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Link Harness
 *
 * What test-link.c and bench-link.c need around the two links: a spool, a hub whose store outlives
 * it, with a writer that commits in groups, and a TCP proxy that cuts connections. Real sockets on
 * loopback.
 */

#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/crc32c.h"
#include "base/error.h"
#include "base/queue.h"
#include "channel/hub_link.h"
#include "channel/probe_link.h"

enum { HARNESS_PROBES = 4, HARNESS_EPOCHS = 64, HARNESS_NUMBERS = 1 << 17 };

#define HARNESS_MAY static __attribute__((unused)) /* not by every test */

#define HARNESS_CHECK(condition)                                                                   \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            (void)fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                  \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

static void sleep_ms(unsigned ms) {
    (void)poll(NULL, 0, (int)ms);
}

/** free_ports() - two neighbours nobody listens on just now */
static uint16_t free_ports(void) {
    for (;;) {
        int fds[2];
        struct sockaddr_in address = {.sin_family = AF_INET};
        socklen_t length = sizeof(address);
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        for (int i = 0; i < 2; i++)
            fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        bool good = bind(fds[0], (struct sockaddr *)&address, length) == 0 &&
                    getsockname(fds[0], (struct sockaddr *)&address, &length) == 0;
        uint16_t port = ntohs(address.sin_port);
        address.sin_port = htons((uint16_t)(port + 1));
        good = good && port < 65000 && bind(fds[1], (struct sockaddr *)&address, length) == 0;
        (void)close(fds[0]);
        (void)close(fds[1]);
        if (good)
            return port;
    }
}

/* -------------------------------------------------------------------------------- the spool */

typedef struct TestSpool {
    pthread_mutex_t lock;
    struct {
        void *bytes;
        DeliveryBatch batch;
    } batches[HARNESS_NUMBERS];
    uint64_t n;
    uint64_t starts[HARNESS_EPOCHS]; /* the number before the first of each epoch */
    uint64_t n_epochs;
    uint64_t oldest; /* not looked at for dropping yet */
    size_t held_bytes;
    uint64_t writer; /* no two spools are alike, be they of one key */
    bool renew;      /* the next batch begins an epoch, as after the start of a process */
} TestSpool;

/* the epoch's id is its number, and its writer's */
static uint64_t test_spool_number(const TestSpool *spool, const EpochId *epoch, uint64_t sequence) {
    uint64_t i = 0;
    memcpy(&i, epoch->bytes, sizeof(i));
    HARNESS_CHECK(i < spool->n_epochs && sequence && spool->starts[i] + sequence <= spool->n);
    return spool->starts[i] + sequence;
}

static int test_spool_load(void *userdata, const EpochId *epoch, uint64_t sequence,
                           DeliveryBatch *batch) {
    TestSpool *spool = userdata;
    (void)pthread_mutex_lock(&spool->lock);
    uint64_t number = test_spool_number(spool, epoch, sequence);
    *batch = spool->batches[number].batch;
    batch->gap = !spool->batches[number].bytes;
    (void)pthread_mutex_unlock(&spool->lock);
    return 0;
}

static void test_spool_give_back(void *bytes, void *owner) {
    (void)owner;
    free(bytes);
}

static int test_spool_fetch(void *userdata, const EpochId *epoch, uint64_t sequence, size_t size,
                            ProbeLinkBytes *lent) {
    TestSpool *spool = userdata;
    (void)pthread_mutex_lock(&spool->lock);
    uint64_t number = test_spool_number(spool, epoch, sequence);
    const void *bytes = spool->batches[number].bytes;
    bool there = bytes && spool->batches[number].batch.bytes == size;
    if (there) {
        void *copy = malloc(size ? size : 1);
        HARNESS_CHECK(copy);
        memcpy(copy, bytes, size);
        *lent = (ProbeLinkBytes){copy, crc32c(0, copy, size), NULL, test_spool_give_back};
    }
    (void)pthread_mutex_unlock(&spool->lock);
    return there ? 0 : DELIVERY_E_UNKNOWN;
}

static void test_spool_forget(TestSpool *spool, uint64_t number) {
    if (spool->batches[number].bytes)
        spool->held_bytes -= spool->batches[number].batch.bytes;
    free(spool->batches[number].bytes);
    spool->batches[number].bytes = NULL;
}

static void test_spool_release(void *userdata, const EpochId *epoch, uint64_t last,
                               const BatchCounts *totals) {
    TestSpool *spool = userdata;
    (void)pthread_mutex_lock(&spool->lock);
    uint64_t number = test_spool_number(spool, epoch, last);
    HARNESS_CHECK(batch_counts_equal(spool->batches[number].batch.totals, *totals));
    for (; last; last--)
        test_spool_forget(spool, number--);
    (void)pthread_mutex_unlock(&spool->lock);
}

static DeliveryBatch test_spool_append(TestSpool *spool, const void *bytes, size_t size,
                                       const BatchCounts *counts, bool fresh) {
    void *copy = malloc(size);
    HARNESS_CHECK(copy);
    memcpy(copy, bytes, size);
    (void)pthread_mutex_lock(&spool->lock);
    fresh = fresh || spool->renew || !spool->n;
    spool->renew = false;
    if (fresh) {
        HARNESS_CHECK(spool->n_epochs < HARNESS_EPOCHS);
        spool->starts[spool->n_epochs++] = spool->n;
    }
    uint64_t i = spool->n_epochs - 1;
    uint64_t number = ++spool->n;
    HARNESS_CHECK(number < HARNESS_NUMBERS);
    DeliveryBatch *batch = &spool->batches[number].batch;
    batch->first = batch->last = number - spool->starts[i];
    batch->bytes = (uint32_t)size;
    batch->counts = *counts;
    batch->totals =
        fresh ? *counts : batch_counts_add(spool->batches[number - 1].batch.totals, *counts);
    memcpy(batch->epoch.bytes, &i, sizeof(i));
    memcpy(batch->epoch.bytes + sizeof(i), &spool->writer, sizeof(spool->writer));
    spool->batches[number].bytes = copy;
    spool->held_bytes += size;
    DeliveryBatch appended = *batch;
    (void)pthread_mutex_unlock(&spool->lock);
    return appended;
}

HARNESS_MAY bool test_spool_drop_oldest(TestSpool *spool, size_t limit_bytes,
                                        DeliveryBatch *batch) {
    bool dropped = false;
    (void)pthread_mutex_lock(&spool->lock);
    while (spool->held_bytes > limit_bytes && spool->oldest < spool->n && !dropped) {
        uint64_t number = ++spool->oldest;
        if (!spool->batches[number].bytes)
            continue;
        test_spool_forget(spool, number);
        *batch = spool->batches[number].batch;
        dropped = true;
    }
    (void)pthread_mutex_unlock(&spool->lock);
    return dropped;
}

static TestSpool *test_spool_new(void) {
    static uint64_t writers;
    TestSpool *spool = calloc(1, sizeof(*spool));
    HARNESS_CHECK(spool);
    spool->writer = ++writers;
    (void)pthread_mutex_init(&spool->lock, NULL);
    return spool;
}

static void test_spool_free(TestSpool *spool) {
    for (uint64_t number = 1; number <= spool->n; number++)
        free(spool->batches[number].bytes);
    free(spool);
}

static ProbeLinkSpool test_spool_for_link(TestSpool *spool) {
    return (ProbeLinkSpool){.spool = spool,
                            .load = test_spool_load,
                            .release = test_spool_release,
                            .fetch = test_spool_fetch};
}

/* --------------------------------------------------------- the store, which outlives the hub */

typedef struct Payload {
    uint32_t probe;
    uint32_t number; /* 1, 2, 3 … of this probe */
} Payload;

/* counts of batch n, so that gaps can be checked against what was submitted */
static BatchCounts counts_of(uint32_t number) {
    return (BatchCounts){1 + number % 7, 10 + number % 13, 1000 + number};
}

typedef struct TestStore {
    pthread_mutex_t lock;
    HubCursor cursors[HARNESS_EPOCHS * HARNESS_PROBES];
    size_t n_cursors;
    uint8_t times[HARNESS_PROBES][HARNESS_NUMBERS]; /* how often each batch was stored */
    uint64_t n_stored, n_bytes;
    BatchCounts gaps;
    uint64_t n_gaps;
} TestStore;

static HubCursor *find_cursor(TestStore *store, const HubBatch *batch) {
    for (size_t i = 0; i < store->n_cursors; i++) {
        HubCursor *cursor = &store->cursors[i];
        if (memcmp(&cursor->key, &batch->key, sizeof(batch->key)) == 0 &&
            epoch_equal(&cursor->epoch, &batch->epoch))
            return cursor;
    }
    HARNESS_CHECK(store->n_cursors < HARNESS_EPOCHS * HARNESS_PROBES);
    HubCursor *cursor = &store->cursors[store->n_cursors++];
    *cursor = (HubCursor){.key = batch->key, .epoch = batch->epoch};
    return cursor;
}

static void store_batch(TestStore *store, const HubBatch *batch) {
    HubCursor *cursor = find_cursor(store, batch);
    HARNESS_CHECK(batch->first <= cursor->sequence + 1 && batch->last > cursor->sequence);
    cursor->sequence = batch->last;
    cursor->totals = batch->totals;
    if (batch->gap) {
        store->gaps = batch_counts_add(store->gaps, batch->counts);
        store->n_gaps++;
        return;
    }
    Payload payload;
    HARNESS_CHECK(batch->size >= sizeof(payload));
    memcpy(&payload, batch->payload, sizeof(payload));
    HARNESS_CHECK(payload.probe < HARNESS_PROBES && payload.number < HARNESS_NUMBERS);
    store->times[payload.probe][payload.number]++;
    store->n_stored++;
    store->n_bytes += batch->size;
}

/* ---------------------------------------------------------------------------------- the hub */

typedef struct TestHub {
    HubLink *link;
    Queue *queue;
    TestStore *store;
    pthread_t writer;
    atomic_bool stop;
    atomic_uint slow_ms;       /* what a commit takes */
    atomic_uint discard_every; /* one in n transactions fails; 0: none does */
    _Atomic uint64_t generation;
    atomic_uint n_events[HUB_EVENT_CLONE + 1];
    atomic_uint n_pulses;
    char last_address[64]; /* of the last problem */
    char last_hello[512];
} TestHub;

static bool hub_on_batch(void *userdata, HubBatch *batch) {
    TestHub *hub = userdata;
    return queue_push(hub->queue, batch);
}

static void hub_on_pulse(void *userdata, const PeerKey *key, unsigned interface, const char *json,
                         size_t size) {
    TestHub *hub = userdata;
    HARNESS_CHECK(strlen(key->z85) == 40 && interface == 0 && json[0] == '{' && size > 1);
    atomic_fetch_add(&hub->n_pulses, 1);
}

static void hub_on_event(void *userdata, const HubEvent *event) {
    TestHub *hub = userdata;
    (void)pthread_mutex_lock(&hub->store->lock);
    if (event->kind == HUB_EVENT_SESSION_BEGIN)
        (void)snprintf(hub->last_hello, sizeof(hub->last_hello), "%s", event->json);
    else if (event->kind != HUB_EVENT_SESSION_END)
        memcpy(hub->last_address, event->address, sizeof(hub->last_address));
    (void)pthread_mutex_unlock(&hub->store->lock);
    atomic_fetch_add(&hub->n_events[event->kind], 1);
}

static void commit(TestHub *hub, HubBatch **group, size_t n) {
    static atomic_uint n_commits;
    unsigned every = atomic_load(&hub->discard_every);
    unsigned slow_ms = atomic_load(&hub->slow_ms);
    if (slow_ms)
        sleep_ms(slow_ms);
    if (every && atomic_fetch_add(&n_commits, 1) % every == every - 1) {
        atomic_store(&hub->generation, hub_link_discard(hub->link));
        return;
    }
    uint64_t generation = atomic_load(&hub->generation);
    (void)pthread_mutex_lock(&hub->store->lock);
    for (size_t i = 0; i < n; i++)
        if (group[i]->generation >= generation)
            store_batch(hub->store, group[i]);
    (void)pthread_mutex_unlock(&hub->store->lock);
    for (size_t i = 0; i < n; i++)
        if (group[i]->generation >= generation)
            hub_link_stored(hub->link, &group[i]->key, &group[i]->epoch, group[i]->last);
}

/** write_groups() - what is in the queue when the hub stops was never committed */
static void *write_groups(void *arg) {
    TestHub *hub = arg;
    HubBatch *group[256];
    size_t n = 0;
    uint64_t begun_ms = 0;
    while (!atomic_load(&hub->stop)) {
        HubBatch *batch = queue_pop(hub->queue, 5);
        if (batch && n == 0)
            begun_ms = clock_monotonic_ms();
        if (batch)
            group[n++] = batch;
        if (n == 256 || (n && clock_monotonic_ms() - begun_ms >= 5)) {
            commit(hub, group, n);
            while (n)
                hub_batch_free(group[--n]);
        }
    }
    while (n)
        hub_batch_free(group[--n]);
    return NULL;
}

static void hub_run(TestHub *hub, const HubLinkConfig *shape) {
    HubLinkConfig config = *shape;
    config.on_batch = hub_on_batch;
    config.on_pulse = hub_on_pulse;
    config.on_event = hub_on_event;
    config.userdata = hub;
    Reason reason = {""};
    HARNESS_CHECK(queue_new(&hub->queue, 4096) == 0);
    int r = hub_link_new(&hub->link, &config, &reason);
    for (size_t i = 0; i < hub->store->n_cursors && r == 0; i++)
        r = hub_link_load_cursor(hub->link, &hub->store->cursors[i]);
    /* the kernel may take a moment to let go of the port of the hub before */
    for (int i = 0; i < 100 && r == 0; i++) {
        r = hub_link_start(hub->link, &reason);
        if (r == 0)
            break;
        (void)fprintf(stderr, "hub: %d %s\n", r, reason.text);
        hub->link = hub_link_free(hub->link);
        sleep_ms(50);
        r = hub_link_new(&hub->link, &config, &reason);
        for (size_t k = 0; k < hub->store->n_cursors && r == 0; k++)
            r = hub_link_load_cursor(hub->link, &hub->store->cursors[k]);
    }
    char trace[256];
    if (r)
        (void)fprintf(stderr, "hub: %s %s\n", error_describe(r, trace, sizeof(trace)), reason.text);
    HARNESS_CHECK(r == 0);
    atomic_store(&hub->stop, false);
    atomic_store(&hub->generation, 0);
    HARNESS_CHECK(pthread_create(&hub->writer, NULL, write_groups, hub) == 0);
}

/** hub_kill() - as if killed: nothing is flushed */
static void hub_kill(TestHub *hub) {
    atomic_store(&hub->stop, true);
    (void)pthread_join(hub->writer, NULL);
    hub->link = hub_link_free(hub->link);
    for (HubBatch *batch = queue_pop(hub->queue, 0); batch; batch = queue_pop(hub->queue, 0))
        hub_batch_free(batch);
    hub->queue = queue_free(hub->queue);
}

/* -------------------------------------------------------------------------------- the proxy */

/** Proxy - one TCP port in front of another; proxy_cut() breaks every connection */
typedef struct Proxy {
    int listener;
    uint16_t port, target;
    pthread_t thread;
    atomic_bool stop;
    atomic_uint cuts;
} Proxy;

enum { PROXY_PAIRS = 16 };

static int proxy_dial(uint16_t port) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
        return fd;
    (void)close(fd);
    return -1;
}

static bool proxy_copy(int from, int to) {
    char bytes[65536];
    ssize_t n = recv(from, bytes, sizeof(bytes), MSG_DONTWAIT);
    for (ssize_t done = 0; done < n;) {
        ssize_t sent = send(to, bytes + done, (size_t)(n - done), MSG_NOSIGNAL);
        if (sent <= 0)
            return false;
        done += sent;
    }
    return n > 0;
}

static void *proxy_run(void *arg) {
    Proxy *proxy = arg;
    struct pollfd items[1 + 2 * PROXY_PAIRS];
    size_t n = 0; /* pairs; items[1 + 2i] and the one behind it */
    unsigned cuts = 0;
    items[0] = (struct pollfd){.fd = proxy->listener, .events = POLLIN};
    while (!atomic_load(&proxy->stop)) {
        (void)poll(items, (nfds_t)(1 + 2 * n), 20);
        bool cut = atomic_load(&proxy->cuts) != cuts;
        cuts = atomic_load(&proxy->cuts);
        for (size_t i = n; i-- > 0;) {
            struct pollfd *pair = &items[1 + 2 * i];
            bool over = cut || (pair[0].revents && !proxy_copy(pair[0].fd, pair[1].fd)) ||
                        (pair[1].revents && !proxy_copy(pair[1].fd, pair[0].fd));
            if (!over)
                continue;
            (void)close(pair[0].fd);
            (void)close(pair[1].fd);
            n--;
            pair[0] = items[1 + 2 * n];
            pair[1] = items[2 + 2 * n];
        }
        if (!(items[0].revents & POLLIN))
            continue;
        int near = accept4(proxy->listener, NULL, NULL, SOCK_CLOEXEC);
        int far = near >= 0 && n < PROXY_PAIRS ? proxy_dial(proxy->target) : -1;
        if (near >= 0 && far < 0)
            (void)close(near);
        if (near < 0 || far < 0)
            continue;
        items[1 + 2 * n] = (struct pollfd){.fd = near, .events = POLLIN};
        items[2 + 2 * n] = (struct pollfd){.fd = far, .events = POLLIN};
        n++;
    }
    for (size_t i = 1; i < 1 + 2 * n; i++)
        (void)close(items[i].fd);
    return NULL;
}

HARNESS_MAY void proxy_start(Proxy *proxy, uint16_t target) {
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t length = sizeof(address);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    proxy->target = target;
    proxy->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    HARNESS_CHECK(bind(proxy->listener, (struct sockaddr *)&address, length) == 0);
    HARNESS_CHECK(listen(proxy->listener, 64) == 0);
    HARNESS_CHECK(getsockname(proxy->listener, (struct sockaddr *)&address, &length) == 0);
    proxy->port = ntohs(address.sin_port);
    atomic_store(&proxy->stop, false);
    HARNESS_CHECK(pthread_create(&proxy->thread, NULL, proxy_run, proxy) == 0);
}

HARNESS_MAY void proxy_cut(Proxy *proxy) {
    atomic_fetch_add(&proxy->cuts, 1);
}

HARNESS_MAY void proxy_stop(Proxy *proxy) {
    atomic_store(&proxy->stop, true);
    (void)pthread_join(proxy->thread, NULL);
    (void)close(proxy->listener);
}
