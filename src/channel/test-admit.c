/* SPDX-License-Identifier: Apache-2.0 */

/* Who may deliver: both links over real sockets on loopback, and what they look keys up in. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sys/resource.h>
#include <zmq.h>

#include "base/hash.h"
#include "channel/frame.h"
#include "channel/hub_keys.h"
#include "channel/hub_waiting.h"
#include "channel/link-scene.h"

static PeerKey numbered(unsigned i) {
    PeerKey key = {0};
    (void)snprintf(key.z85, sizeof(key.z85), "%040u", i);
    return key;
}

/* -------------------------------------------------------------------------------- the look-up */

static void test_keys(void **state) {
    (void)state;
    cleanup(hub_keys_freep) HubKeys *keys = NULL;
    enum { MANY = 20000 };
    static HubAdmission expected[MANY];
    assert_int_equal(hub_keys_new(&keys), 0);
    uint64_t random = 7;
    for (int round = 0; round < 4 * MANY; round++) {
        random = hash_u64(random, 1);
        const unsigned i = (unsigned)(random >> 8) % MANY;
        const PeerKey key = numbered(i);
        expected[i] = (HubAdmission)(random >> 60 & 3);
        if (expected[i] == HUB_UNKNOWN)
            hub_keys_remove(keys, &key);
        else
            assert_int_equal(hub_keys_set(keys, &key, expected[i], i), 0);
    }
    for (unsigned i = 0; i < MANY; i++) {
        const PeerKey key = numbered(i);
        uint32_t slot = UINT32_MAX;
        assert_int_equal(hub_keys_get(keys, &key, &slot), expected[i]);
        assert_int_equal(slot, expected[i] == HUB_UNKNOWN ? UINT32_MAX : i);
    }
    /* what ZAP does for each handshake */
    const uint64_t before_ns = clock_monotonic_ns();
    for (unsigned i = 0; i < MANY; i++) {
        const PeerKey key = numbered(i);
        (void)hub_keys_get(keys, &key, NULL);
    }
    const uint64_t each_ns = (clock_monotonic_ns() - before_ns) / MANY;
    print_message("a look-up among %d keys takes %lu ns\n", MANY, (unsigned long)each_ns);
    assert_true(each_ns < 100000);
}

static void test_waiting(void **state) {
    (void)state;
    static Waiting waiting;
    Session evicted;
    uint32_t slot = 0;
    for (unsigned i = 0; i < HUB_WAITING_MAX; i++) {
        const PeerKey key = numbered(i);
        assert_true(waiting_add(&waiting, &key, 1000 + i, &slot, &evicted));
        assert_string_equal(evicted.key.z85, "");
    }
    /* all were heard of within the last seconds: whoever comes now has to wait for room */
    const PeerKey late = numbered(9999);
    assert_false(waiting_add(&waiting, &late, 3000, &slot, &evicted));
    waiting.peers[0]->session.heard_ms = 9000;
    assert_true(waiting_add(&waiting, &late, 9000, &slot, &evicted));
    const PeerKey second = numbered(1);
    assert_string_equal(evicted.key.z85, second.z85);
    assert_int_equal(waiting.n, HUB_WAITING_MAX);
    waiting_deinit(&waiting);
    assert_int_equal(waiting.n, 0);
}

/* ---------------------------------------------------------------------------------- the links */

static void open_asking(Scene *scene, bool hub_binds) {
    scene_open(scene, hub_binds);
    scene->shape.ask = true;
    hub_run(&scene->hub, &scene->shape);
}

static uint64_t wait_until_stored(const Scene *scene, uint64_t n, uint64_t limit_ms) {
    const uint64_t begin_ms = clock_monotonic_ms();
    for (;;) {
        (void)pthread_mutex_lock(&scene->store->lock);
        const uint64_t stored = scene->store->n_stored;
        (void)pthread_mutex_unlock(&scene->store->lock);
        const uint64_t took_ms = clock_monotonic_ms() - begin_ms;
        if (stored >= n)
            return took_ms;
        if (took_ms > limit_ms)
            fail_msg("%lu of %lu batches stored in %lu ms", (unsigned long)stored, (unsigned long)n,
                     (unsigned long)took_ms);
        sleep_ms(5);
    }
}

/** told_why() - from nothing decided to pending, with one reason and then another */
static void told_why(Scene *scene, Probe *probe, const PeerKey *key) {
    /* nothing was decided: it is asked for again, and the probe told nothing */
    for (int i = 0; i < 500 && atomic_load(&scene->hub.n_events[HUB_EVENT_SESSION_BEGIN]) < 3; i++)
        sleep_ms(10);
    assert_true(atomic_load(&scene->hub.n_events[HUB_EVENT_SESSION_BEGIN]) >= 3);
    assert_int_equal(changes_to(probe, PROBE_LINK_WAITING), 0);

    assert_int_equal(hub_link_admit(scene->hub.link, key, HUB_PENDING, "somebody has to say yes"),
                     0);
    wait_word(probe, PROBE_LINK_WAITING);
    ProbeLinkStatus status;
    probe_link_status(probe->link, &status);
    assert_non_null(strstr(status.reason, "somebody has to say yes"));
    assert_int_equal(hub_link_admit(scene->hub.link, key, HUB_PENDING, "another reason"), 0);
    for (int i = 0; i < 300 && !strstr(status.reason, "another reason"); i++) {
        sleep_ms(10);
        probe_link_status(probe->link, &status);
    }
    assert_non_null(strstr(status.reason, "another reason"));
}

static void pending_then_admitted(bool hub_binds) {
    Scene scene;
    Probe probe;
    open_asking(&scene, hub_binds);
    probe_open(&probe, &scene, 0, (ProbeLinkConfig){.bind = !hub_binds});
    submit(&probe, 200, 3000);
    wait_event(&scene.hub, HUB_EVENT_SESSION_BEGIN);
    const PeerKey key = key_of(&scene);

    told_why(&scene, &probe, &key);
    ProbeLinkStatus status;
    /* it stays connected and goes on; nothing of it is taken, its pulses are not shown */
    for (int i = 0; i < 20; i++) {
        assert_int_equal(probe_link_pulse(probe.link, "{\"flows\":1}"), 0);
        submit(&probe, 5, 300);
        sleep_ms(50);
    }
    probe_link_status(probe.link, &status);
    assert_int_equal(status.word, PROBE_LINK_WAITING);
    assert_int_equal(status.sent_batches, 0);
    assert_int_equal(scene.store->n_stored, 0);
    assert_int_equal(atomic_load(&scene.hub.n_pulses), 0);
    HubInterfaceStatus interface;
    assert_true(hub_link_interface(scene.hub.link, 0, &interface));
    assert_int_equal(interface.batches, 0);

    assert_int_equal(hub_link_admit(scene.hub.link, &key, HUB_ADMITTED, NULL), 0);
    const uint64_t took_ms = wait_until_stored(&scene, 300, 2000);
    print_message("from yes to stored: %lu ms\n", (unsigned long)took_ms);
    drain(&probe);
    wait_word(&probe, PROBE_LINK_UP);
    check_once(&scene, &probe);
    assert_int_equal(gaps_of(&scene).flows, 0);

    /* put off again, it stops; admitted again, it goes on where it was */
    assert_int_equal(hub_link_admit(scene.hub.link, &key, HUB_PENDING, ""), 0);
    for (int i = 0; i < 20; i++) {
        assert_int_equal(probe_link_pulse(probe.link, "{\"flows\":1}"), 0);
        sleep_ms(20);
    }
    assert_int_equal(hub_link_admit(scene.hub.link, &key, HUB_PENDING, "wait again"), 0);
    wait_word(&probe, PROBE_LINK_WAITING);
    submit(&probe, 50, 300);
    sleep_ms(300);
    assert_int_equal(scene.store->n_stored, 300);
    assert_int_equal(hub_link_admit(scene.hub.link, &key, HUB_ADMITTED, NULL), 0);
    drain(&probe);
    check_once(&scene, &probe);
    assert_int_equal(gaps_of(&scene).flows, 0);
    probe_close(&probe);
    wait_event(&scene.hub, HUB_EVENT_SESSION_END);
    scene_close(&scene);
}

static void test_pending_then_admitted(void **state) {
    (void)state;
    pending_then_admitted(true);
}

static void test_pending_then_admitted_probe_binds(void **state) {
    (void)state;
    pending_then_admitted(false);
}

/* known keys are admitted before start: no question is asked */
static void test_known(void **state) {
    (void)state;
    Scene scene;
    Probe probe;
    scene_open(&scene, true);
    hub_run(&scene.hub, &scene.shape);
    probe_open(&probe, &scene, 0, (ProbeLinkConfig){0});
    submit(&probe, 20, 300);
    drain(&probe);
    const PeerKey key = key_of(&scene);
    hub_kill(&scene.hub);
    scene.shape.ask = true;
    hub_run(&scene.hub, &scene.shape);
    assert_int_equal(hub_link_admit(scene.hub.link, &key, HUB_ADMITTED, NULL), 0);
    submit(&probe, 20, 300);
    drain(&probe);
    check_once(&scene, &probe);
    assert_int_equal(changes_to(&probe, PROBE_LINK_WAITING), 0);
    probe_close(&probe);
    scene_close(&scene);
}

static void revoked(bool hub_binds) {
    Scene scene;
    Probe probe;
    open_asking(&scene, hub_binds);
    probe_open(&probe, &scene, 0, (ProbeLinkConfig){.bind = !hub_binds});
    const PeerKey key = key_of(&scene);
    assert_int_equal(hub_link_admit(scene.hub.link, &key, HUB_ADMITTED, NULL), 0);
    submit(&probe, 500, 3000);
    wait_until_stored(&scene, 100, PATIENCE_MS);

    /* in mid-stream */
    assert_int_equal(hub_link_admit(scene.hub.link, &key, HUB_REVOKED, NULL), 0);
    const uint64_t begin_ms = clock_monotonic_ms();
    sleep_ms(50); /* what was taken before is stored still */
    (void)pthread_mutex_lock(&scene.store->lock);
    const uint64_t then = scene.store->n_stored;
    (void)pthread_mutex_unlock(&scene.store->lock);
    ProbeLinkStatus status;
    do {
        sleep_ms(5);
        probe_link_status(probe.link, &status);
    } while (status.session && clock_monotonic_ms() - begin_ms < 5000);
    const uint64_t took_ms = clock_monotonic_ms() - begin_ms;
    print_message("revoked, and cut after %lu ms\n", (unsigned long)took_ms);
    assert_false(status.session);
    assert_true(took_ms < 1000);
    wait_event(&scene.hub, HUB_EVENT_SESSION_END);
    submit(&probe, 50, 300);
    wait_word(&probe, PROBE_LINK_KEY_REVOKED);
    sleep_ms(1500);
    assert_int_equal(scene.store->n_stored, then);
    if (hub_binds) /* said once, not at every try */
        assert_int_equal(changes_to(&probe, PROBE_LINK_KEY_REVOKED), 1);

    /* restored: it may take its time to try again, so another process of it comes */
    assert_int_equal(hub_link_admit(scene.hub.link, &key, HUB_ADMITTED, NULL), 0);
    probe_close(&probe);
    scene_close(&scene);
}

static void test_revoked(void **state) {
    (void)state;
    revoked(true);
}

static void test_revoked_probe_binds(void **state) {
    (void)state;
    revoked(false);
}

/* one that was revoked is restored, and delivers all it has, once */
static void test_restored(void **state) {
    (void)state;
    Scene scene;
    Probe first;
    open_asking(&scene, true);
    KeyPair keys;
    assert_int_equal(key_pair_make(&keys), 0);
    PeerKey key = {0};
    memcpy(key.z85, keys.public_z85, sizeof(key.z85));
    assert_int_equal(hub_link_admit(scene.hub.link, &key, HUB_REVOKED, NULL), 0);
    probe_open(&first, &scene, 0, (ProbeLinkConfig){0});
    first.link = probe_link_free(first.link);
    Reason reason = {""};
    const ProbeLinkConfig config = {.endpoint = scene.data,
                                    .server_z85 = scene.hub_keys.public_z85,
                                    .keys = keys,
                                    .hello_json = "{\"name\":\"probe\"}",
                                    .spool = test_spool_for_link(first.spool),
                                    .on_change = on_change,
                                    .userdata = &first};
    assert_int_equal(probe_link_new(&first.link, &config, &reason), 0);
    wait_word(&first, PROBE_LINK_KEY_REVOKED);
    assert_int_equal(hub_link_admit(scene.hub.link, &key, HUB_ADMITTED, NULL), 0);
    const uint64_t restored_ms = clock_monotonic_ms();
    submit(&first, 100, 300);
    wait_until_stored(&scene, 1, PATIENCE_MS);
    const uint64_t took_ms = clock_monotonic_ms() - restored_ms;
    print_message("restored, and delivers after %lu ms\n", (unsigned long)took_ms);
    assert_true(took_ms < 15000);
    drain(&first);
    check_once(&scene, &first);
    probe_close(&first);
    scene_close(&scene);
}

/* a cloned image: all deliver, and it is told */
static void test_clones(void **state) {
    (void)state;
    enum { CLONES = 3 };
    Scene scene;
    Probe probes[CLONES];
    KeyPair keys;
    open_asking(&scene, true);
    assert_int_equal(key_pair_make(&keys), 0);
    PeerKey key = {0};
    memcpy(key.z85, keys.public_z85, sizeof(key.z85));
    assert_int_equal(hub_link_admit(scene.hub.link, &key, HUB_ADMITTED, NULL), 0);
    for (uint32_t i = 0; i < CLONES; i++) {
        probe_open(&probes[i], &scene, i, (ProbeLinkConfig){0});
        probes[i].link = probe_link_free(probes[i].link);
        Reason reason = {""};
        char hello[64];
        (void)snprintf(hello, sizeof(hello), "{\"name\":\"a\",\"instance\":\"%u\"}", i);
        const ProbeLinkConfig config = {.endpoint = scene.data,
                                        .server_z85 = scene.hub_keys.public_z85,
                                        .keys = keys,
                                        .hello_json = hello,
                                        .spool = test_spool_for_link(probes[i].spool),
                                        .on_change = on_change,
                                        .userdata = &probes[i]};
        assert_int_equal(probe_link_new(&probes[i].link, &config, &reason), 0);
    }
    const uint64_t begin_ms = clock_monotonic_ms();
    uint64_t told_ms = 0;
    while (clock_monotonic_ms() - begin_ms < 12000 && !told_ms) {
        for (uint32_t i = 0; i < CLONES; i++) {
            submit(&probes[i], 20, 300);
            assert_int_equal(probe_link_pulse(probes[i].link, "{\"flows\":1}"), 0);
        }
        sleep_ms(300);
        if (atomic_load(&scene.hub.n_events[HUB_EVENT_CLONE]))
            told_ms = clock_monotonic_ms() - begin_ms;
    }
    print_message("clones named after %lu ms\n", (unsigned long)told_ms);
    assert_true(told_ms && told_ms < 10000);
    /* a transaction fails: both must send again */
    atomic_store(&scene.hub.discard_every, 5);
    for (int turn = 0; turn < 10; turn++) {
        for (uint32_t i = 0; i < CLONES; i++)
            submit(&probes[i], 20, 300);
        sleep_ms(50);
    }
    atomic_store(&scene.hub.discard_every, 0);
    for (uint32_t i = 0; i < CLONES; i++) {
        drain(&probes[i]);
        check_once(&scene, &probes[i]);
        ProbeLinkStatus status;
        probe_link_status(probes[i].link, &status);
        assert_int_equal(status.word, PROBE_LINK_UP);
        assert_int_equal(status.dropped.flows, 0);
    }
    for (uint32_t i = 0; i < CLONES; i++)
        probe_close(&probes[i]);
    scene_close(&scene);
}

/* a process started anew on the same key is no clone */
static void test_started_anew(void **state) {
    (void)state;
    Scene scene;
    Probe probe;
    KeyPair keys;
    open_asking(&scene, true);
    assert_int_equal(key_pair_make(&keys), 0);
    PeerKey key = {0};
    memcpy(key.z85, keys.public_z85, sizeof(key.z85));
    assert_int_equal(hub_link_admit(scene.hub.link, &key, HUB_ADMITTED, NULL), 0);
    probe_open(&probe, &scene, 0, (ProbeLinkConfig){0});
    for (int run = 0; run < 4; run++) {
        char hello[64];
        (void)snprintf(hello, sizeof(hello), "{\"name\":\"a\",\"instance\":\"%d\"}", run);
        Reason reason = {""};
        const ProbeLinkConfig config = {.endpoint = scene.data,
                                        .server_z85 = scene.hub_keys.public_z85,
                                        .keys = keys,
                                        .hello_json = hello,
                                        .spool = test_spool_for_link(probe.spool),
                                        .on_change = on_change,
                                        .userdata = &probe};
        probe.link = probe_link_free(probe.link);
        probe.spool->renew = true;
        assert_int_equal(probe_link_new(&probe.link, &config, &reason), 0);
        for (int i = 0; i < 8; i++) {
            submit(&probe, 5, 300);
            (void)probe_link_pulse(probe.link, "{\"flows\":1}");
            sleep_ms(400);
        }
        drain(&probe);
    }
    assert_int_equal(atomic_load(&scene.hub.n_events[HUB_EVENT_CLONE]), 0);
    check_once(&scene, &probe);
    probe_close(&probe);
    scene_close(&scene);
}

/* somebody who waits may not listen to another's topic either, nor get a place by trying to */
static void test_nosy(void **state) {
    (void)state;
    Scene scene;
    Probe probe;
    open_asking(&scene, true);
    probe_open(&probe, &scene, 0, (ProbeLinkConfig){0});
    const PeerKey key = key_of(&scene);
    void *context = zmq_ctx_new();
    void *nosy = zmq_socket(context, ZMQ_SUB);
    KeyPair keys;
    int none = 0;
    int timeout_ms = 2500;
    assert_int_equal(key_pair_make(&keys), 0);
    (void)zmq_setsockopt(nosy, ZMQ_LINGER, &none, sizeof(none));
    (void)zmq_setsockopt(nosy, ZMQ_RCVTIMEO, &timeout_ms, sizeof(timeout_ms));
    (void)zmq_setsockopt(nosy, ZMQ_CURVE_SERVERKEY, scene.hub_keys.public_z85, 41);
    (void)zmq_setsockopt(nosy, ZMQ_CURVE_PUBLICKEY, keys.public_z85, 41);
    (void)zmq_setsockopt(nosy, ZMQ_CURVE_SECRETKEY, keys.secret_z85, 41);
    (void)zmq_setsockopt(nosy, ZMQ_SUBSCRIBE, "", 0);
    (void)zmq_setsockopt(nosy, ZMQ_SUBSCRIBE, key.z85, 40);
    assert_int_equal(zmq_connect(nosy, scene.events), 0);
    assert_int_equal(hub_link_admit(scene.hub.link, &key, HUB_PENDING, "a secret"), 0);
    wait_word(&probe, PROBE_LINK_WAITING);
    char bytes[64];
    assert_int_equal(zmq_recv(nosy, bytes, sizeof(bytes), 0), -1);
    assert_int_equal(hub_link_admit(scene.hub.link, &key, HUB_ADMITTED, NULL), 0);
    submit(&probe, 10, 100);
    drain(&probe);
    assert_int_equal(zmq_recv(nosy, bytes, sizeof(bytes), 0), -1);
    (void)zmq_close(nosy);
    (void)zmq_ctx_term(context);
    probe_close(&probe);
    scene_close(&scene);
}

/* ------------------------------------------------------------------------ a flood of new keys */

enum { STRANGERS = HUB_WAITING_MAX + 150 };

typedef struct Stranger {
    void *socket;
    bool spoke;
} Stranger;

static void come(Stranger *stranger, void *context, const Scene *scene) {
    KeyPair keys;
    const int none = 0;
    assert_int_equal(key_pair_make(&keys), 0);
    stranger->socket = zmq_socket(context, ZMQ_XPUB);
    assert_non_null(stranger->socket);
    (void)zmq_setsockopt(stranger->socket, ZMQ_LINGER, &none, sizeof(none));
    (void)zmq_setsockopt(stranger->socket, ZMQ_CURVE_SERVERKEY, scene->hub_keys.public_z85, 41);
    (void)zmq_setsockopt(stranger->socket, ZMQ_CURVE_PUBLICKEY, keys.public_z85, 41);
    (void)zmq_setsockopt(stranger->socket, ZMQ_CURVE_SECRETKEY, keys.secret_z85, 41);
    assert_int_equal(zmq_connect(stranger->socket, scene->data), 0);
}

/** speak() - a hello with an epoch, and a batch that nobody asked for */
static void speak(const Stranger *stranger, uint64_t hello_id) {
    Buffer header = {0};
    Frame frame = {.kind = FRAME_HELLO, .hello = {.hello_id = hello_id, .n_epochs = 1}};
    frame_write(&header, &frame);
    (void)zmq_send(stranger->socket, header.bytes, header.size, ZMQ_SNDMORE | ZMQ_DONTWAIT);
    (void)zmq_send(stranger->socket, "{\"name\":\"x\"}", 12, ZMQ_DONTWAIT);
    buffer_clear(&header);
    frame = (Frame){.kind = FRAME_BATCH, .batch = {.first = 1, .last = 1, .bytes = 4}};
    frame_write(&header, &frame);
    (void)zmq_send(stranger->socket, header.bytes, header.size, ZMQ_SNDMORE | ZMQ_DONTWAIT);
    (void)zmq_send(stranger->socket, "weir", 4, ZMQ_DONTWAIT);
    buffer_deinit(&header);
}

static size_t waiting_now(const Scene *scene) {
    HubProbeStatus *statuses = NULL;
    size_t n = 0;
    size_t waiting = 0;
    assert_int_equal(hub_link_probes(scene->hub.link, &statuses, &n), 0);
    for (size_t i = 0; i < n; i++)
        waiting += statuses[i].waiting;
    free(statuses);
    return waiting;
}

static void all_speak(Stranger *strangers) {
    size_t n = 0;
    for (const uint64_t end_ms = clock_monotonic_ms() + PATIENCE_MS;
         n < STRANGERS && clock_monotonic_ms() < end_ms; sleep_ms(5))
        for (size_t i = 0; i < STRANGERS; i++) {
            char subscription[64];
            if (strangers[i].spoke ||
                zmq_recv(strangers[i].socket, subscription, sizeof(subscription), ZMQ_DONTWAIT) < 0)
                continue;
            strangers[i].spoke = true;
            n++;
            speak(&strangers[i], 7);
        }
    assert_int_equal(n, STRANGERS);
}

/* they take what there is for those who wait, and nothing of anybody else */
static void test_flood(void **state) {
    (void)state;
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = limit.rlim_max < 16384 ? limit.rlim_max : 16384;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_cur < 8 * STRANGERS)
        skip();
    static Stranger strangers[STRANGERS];
    Scene scene;
    Probe probe;
    open_asking(&scene, true);
    probe_open(&probe, &scene, 0, (ProbeLinkConfig){0});
    const PeerKey key = key_of(&scene);
    assert_int_equal(hub_link_admit(scene.hub.link, &key, HUB_ADMITTED, NULL), 0);
    submit(&probe, 10, 300);
    drain(&probe);

    void *context = zmq_ctx_new();
    assert_int_equal(zmq_ctx_set(context, ZMQ_MAX_SOCKETS, STRANGERS + 16), 0);
    for (size_t i = 0; i < STRANGERS; i++)
        come(&strangers[i], context, &scene);
    all_speak(strangers);
    for (int i = 0; i < PATIENCE_MS / 10 && waiting_now(&scene) < HUB_WAITING_MAX; i++)
        sleep_ms(10);
    assert_int_equal(waiting_now(&scene), HUB_WAITING_MAX);
    const uint64_t begin_ms = clock_monotonic_ms();
    submit(&probe, 200, 3000);
    drain(&probe);
    print_message("beside %d strangers, 200 batches took %lu ms\n", STRANGERS,
                  (unsigned long)(clock_monotonic_ms() - begin_ms));
    check_once(&scene, &probe);
    assert_int_equal(scene.store->n_stored, 210);
    /* a new hello again and again is not a decision each time */
    const unsigned posted = atomic_load(&scene.hub.n_events[HUB_EVENT_SESSION_BEGIN]);
    const uint64_t again_ms = clock_monotonic_ms();
    for (size_t i = 0; i < 1000; i++)
        speak(&strangers[i % 20], 8 + i);
    sleep_ms(1000);
    assert_true(atomic_load(&scene.hub.n_events[HUB_EVENT_SESSION_BEGIN]) - posted <
                20 * ((clock_monotonic_ms() - again_ms) / 500 + 2));
    for (size_t i = 0; i < STRANGERS; i++)
        (void)zmq_close(strangers[i].socket);
    (void)zmq_ctx_term(context);

    /* they are silent now: whoever comes next has room */
    Probe late;
    sleep_ms(WAITING_SILENT_MS + 500);
    probe_open(&late, &scene, 1, (ProbeLinkConfig){0});
    const unsigned before = atomic_load(&scene.hub.n_events[HUB_EVENT_SESSION_BEGIN]);
    const unsigned ended = atomic_load(&scene.hub.n_events[HUB_EVENT_SESSION_END]);
    for (int i = 0; i < 500 && atomic_load(&scene.hub.n_events[HUB_EVENT_SESSION_BEGIN]) == before;
         i++)
        sleep_ms(10);
    assert_true(atomic_load(&scene.hub.n_events[HUB_EVENT_SESSION_BEGIN]) > before);
    /* and whoever had to go for it is told of: its session is over */
    assert_true(atomic_load(&scene.hub.n_events[HUB_EVENT_SESSION_END]) > ended);
    probe_close(&late);
    probe_close(&probe);
    scene_close(&scene);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keys),
        cmocka_unit_test(test_waiting),
        cmocka_unit_test(test_pending_then_admitted),
        cmocka_unit_test(test_pending_then_admitted_probe_binds),
        cmocka_unit_test(test_known),
        cmocka_unit_test(test_revoked),
        cmocka_unit_test(test_revoked_probe_binds),
        cmocka_unit_test(test_restored),
        cmocka_unit_test(test_clones),
        cmocka_unit_test(test_started_anew),
        cmocka_unit_test(test_nosy),
        cmocka_unit_test(test_flood),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
