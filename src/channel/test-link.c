/* SPDX-License-Identifier: Apache-2.0 */

/* Both links over real sockets on loopback. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <zmq.h>

#include "channel/link-scene.h"

/* --------------------------------------------------------------------------- the plain cases */

static void deliver(bool hub_binds, const char *events_of_hub) {
    Scene scene;
    Probe probe;
    scene_open(&scene, hub_binds);
    const char *events[] = {events_of_hub ? scene.events : NULL};
    scene.shape.events = events;
    scene.shape.n_events = events_of_hub != NULL;
    hub_run(&scene.hub, &scene.shape);
    probe_open(&probe, &scene, 0,
               (ProbeLinkConfig){.bind = !hub_binds,
                                 .events_endpoint = events_of_hub ? scene.events : NULL});
    submit(&probe, 500, 3000);
    drain(&probe);
    wait_word(&probe, PROBE_LINK_UP);
    check_once(&scene, &probe);
    for (int i = 0; i < 100 && !atomic_load(&scene.hub.n_pulses); i++) {
        assert_int_equal(probe_link_pulse(probe.link, "{\"flows\":1}"), 0);
        sleep_ms(20);
    }
    assert_true(atomic_load(&scene.hub.n_pulses) > 0);
    said(&scene, scene.hub.last_hello, "{\"name\":\"probe\"}");

    HubInterfaceStatus interface;
    assert_true(hub_link_interface(scene.hub.link, 0, &interface));
    assert_false(hub_link_interface(scene.hub.link, 1, &interface));
    assert_int_equal(interface.probes, 1);
    assert_int_equal(interface.batches, 500);
    assert_int_equal(interface.flows.octets, probe.submitted.octets);
    assert_int_equal(interface.bound, hub_binds);
    HubProbeStatus *statuses = NULL;
    size_t n = 0;
    assert_int_equal(hub_link_probes(scene.hub.link, &statuses, &n), 0);
    assert_int_equal(n, 1);
    assert_true(statuses[0].session);
    assert_string_equal(statuses[0].address, "127.0.0.1");
    assert_int_equal(statuses[0].received.flows, probe.submitted.flows);
    free(statuses);

    ProbeLinkStatus status;
    probe_link_status(probe.link, &status);
    assert_int_equal(status.stored.octets, probe.submitted.octets);
    assert_int_equal(status.dropped.flows, 0);
    assert_int_equal(status.pending_bytes, 0);
    assert_true(status.clock_offset_ms > -1000 && status.clock_offset_ms < 1000);
    assert_int_equal(probe.spool->held_bytes, 0);
    probe_close(&probe);
    wait_event(&scene.hub, HUB_EVENT_SESSION_END);
    assert_int_equal(atomic_load(&scene.hub.n_events[HUB_EVENT_SESSION_BEGIN]), 1);
    scene_close(&scene);
}

static void test_hub_binds(void **state) {
    (void)state;
    deliver(true, NULL);
}

static void test_hub_binds_events_named(void **state) {
    (void)state;
    deliver(true, "named");
}

static void test_probe_binds(void **state) {
    (void)state;
    deliver(false, NULL);
}

static void test_probe_binds_events_named(void **state) {
    (void)state;
    deliver(false, "named");
}

static void test_bad_config(void **state) {
    (void)state;
    KeyPair keys;
    assert_int_equal(key_pair_make(&keys), 0);
    static const struct {
        const char *endpoint, *key, *words;
    } rows[] = {
        {"eth0", "", "not an endpoint"},
        {"tcp://127.0.0.1:5556", NULL, "--zmq-encryption-key"},
        {"tcp://127.0.0.1:5556", "short", "--zmq-encryption-key"},
        {"tcp://*:5556", "", "needs a host"},
        {"tcp://127.0.0.1:65535", "", "--zmq-publish-events"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        ProbeLink *link = NULL;
        Reason reason = {""};
        ProbeLinkConfig config = {.endpoint = rows[i].endpoint,
                                  .server_z85 = rows[i].key && !rows[i].key[0] ? keys.public_z85
                                                                               : rows[i].key,
                                  .keys = keys};
        assert_int_equal(probe_link_new(&link, &config, &reason), PROBE_LINK_E_REFUSED);
        assert_null(link);
        if (!strstr(reason.text, rows[i].words))
            fail_msg("%s: %s", rows[i].endpoint, reason.text);
    }
}

static void test_port_in_use(void **state) {
    (void)state;
    Scene scene;
    scene_open(&scene, true);
    hub_run(&scene.hub, &scene.shape);
    HubLink *second = NULL;
    Reason reason = {""};
    assert_int_equal(hub_link_new(&second, &scene.shape, &reason), 0);
    assert_int_equal(hub_link_start(second, &reason), HUB_LINK_E_REFUSED);
    assert_non_null(strstr(reason.text, "another program listens there"));
    hub_link_free(second);
    scene_close(&scene);
}

/* ------------------------------------------------------------------------- what can be wrong */

static void wrong_key(bool hub_binds) {
    Scene scene;
    Probe probe;
    KeyPair other;
    scene_open(&scene, hub_binds);
    assert_int_equal(key_pair_make(&other), 0);
    hub_run(&scene.hub, &scene.shape);
    probe_open(&probe, &scene, 0,
               (ProbeLinkConfig){.bind = !hub_binds, .server_z85 = other.public_z85});
    submit(&probe, 3, 100);
    wait_word(&probe, PROBE_LINK_WRONG_KEY);
    wait_event(&scene.hub, HUB_EVENT_WRONG_KEY);
    said(&scene, scene.hub.last_address, "127.0.0.1");
    sleep_ms(1500); /* several attempts, named once */
    assert_int_equal(changes_to(&probe, PROBE_LINK_WRONG_KEY), 1);
    assert_int_equal(atomic_load(&scene.hub.n_events[HUB_EVENT_WRONG_KEY]), 1);
    HubInterfaceStatus status;
    assert_true(hub_link_interface(scene.hub.link, 0, &status));
    assert_true(status.n_wrong_key > 1);
    assert_int_equal(stored_times(&scene, 0, 1), 0);
    probe_close(&probe);
    scene_close(&scene);
}

static void test_wrong_key(void **state) {
    (void)state;
    wrong_key(true);
}

static void test_wrong_key_probe_binds(void **state) {
    (void)state;
    wrong_key(false);
}

static void *plain_socket(void *context, int type, const char *endpoint, bool bind) {
    int none = 0;
    void *socket = zmq_socket(context, type);
    assert_non_null(socket);
    (void)zmq_setsockopt(socket, ZMQ_LINGER, &none, sizeof(none));
    if (type == ZMQ_SUB)
        (void)zmq_setsockopt(socket, ZMQ_SUBSCRIBE, "", 0);
    int r = bind ? -1 : zmq_connect(socket, endpoint);
    /* libzmq closes on its own thread: the port may be taken by the one before a while longer */
    for (int i = 0; bind && r < 0 && i < 500; i++) {
        r = zmq_bind(socket, endpoint);
        if (r < 0)
            sleep_ms(10);
    }
    assert_int_equal(r, 0);
    return socket;
}

/**
 * Either end may be the first to see that the other does not encrypt; the one that is not only sees
 * the connection go, and after it libzmq does not try again: so a new socket each time.
 */
static bool probe_is_told(Probe *probe) {
    ProbeLinkStatus status;
    probe_link_status(probe->link, &status);
    return status.word == PROBE_LINK_PLAIN_PEER;
}

static void plain_hub(bool hub_binds) {
    Scene scene;
    Probe probe;
    scene_open(&scene, hub_binds);
    void *context = zmq_ctx_new();
    probe_open(&probe, &scene, 0, (ProbeLinkConfig){.bind = !hub_binds});
    submit(&probe, 3, 100);
    for (int i = 0; i < 100 && !probe_is_told(&probe); i++) {
        void *hub = plain_socket(context, ZMQ_SUB, scene.data, hub_binds);
        for (int k = 0; k < 100 && !probe_is_told(&probe); k++)
            sleep_ms(hub_binds ? 50 : 3);
        char bytes[64];
        assert_int_equal(zmq_recv(hub, bytes, sizeof(bytes), ZMQ_DONTWAIT), -1);
        (void)zmq_unbind(hub, scene.data);
        (void)zmq_close(hub);
    }
    (void)zmq_ctx_term(context);
    wait_word(&probe, PROBE_LINK_PLAIN_PEER);
    if (hub_binds) { /* a real one takes its place: found without a restart of the probe */
        hub_run(&scene.hub, &scene.shape);
        wait_word(&probe, PROBE_LINK_UP);
        drain(&probe);
        check_once(&scene, &probe);
    }
    probe_close(&probe);
    scene_close(&scene);
}

static void test_plain_hub(void **state) {
    (void)state;
    plain_hub(true);
}

static void test_plain_hub_probe_binds(void **state) {
    (void)state;
    plain_hub(false);
}

/** named() - a plain peer was told, and by its address */
static bool named(Scene *scene) {
    (void)pthread_mutex_lock(&scene->store->lock);
    bool known = scene->hub.last_address[0];
    (void)pthread_mutex_unlock(&scene->store->lock);
    return known && atomic_load(&scene->hub.n_events[HUB_EVENT_PLAIN_PEER]);
}

/* a plain peer may hang up before its address can be read, or before the hub knows why; it tries
 * again, as a probe does */
static void plain_probe(bool hub_binds) {
    Scene scene;
    scene_open(&scene, hub_binds);
    void *context = zmq_ctx_new();
    hub_run(&scene.hub, &scene.shape);
    for (int i = 0; i < 100 && !named(&scene); i++) {
        void *probe = plain_socket(context, ZMQ_XPUB, scene.data, !hub_binds);
        for (int k = 0; k < 50 && !named(&scene); k++)
            sleep_ms(hub_binds ? 10 : 100);
        (void)zmq_unbind(probe, scene.data);
        (void)zmq_close(probe);
    }
    wait_event(&scene.hub, HUB_EVENT_PLAIN_PEER);
    said(&scene, scene.hub.last_address, "127.0.0.1");
    (void)zmq_ctx_term(context);
    scene_close(&scene);
}

static void test_plain_probe(void **state) {
    (void)state;
    plain_probe(true);
}

static void test_plain_probe_binds(void **state) {
    (void)state;
    plain_probe(false);
}

static void test_nobody_there_then_somebody(void **state) {
    (void)state;
    Scene scene;
    Probe probe;
    scene_open(&scene, true);
    probe_open(&probe, &scene, 0, (ProbeLinkConfig){0});
    submit(&probe, 10, 100);
    wait_word(&probe, PROBE_LINK_REFUSED);
    uint64_t left = 0;
    assert_int_equal(probe_link_drain(probe.link, 300, &left), PROBE_LINK_E_LEFT);
    assert_true(left > 0);
    assert_int_equal(changes_to(&probe, PROBE_LINK_REFUSED), 1);
    hub_run(&scene.hub, &scene.shape);
    drain(&probe);
    wait_word(&probe, PROBE_LINK_UP);
    check_once(&scene, &probe);
    probe_close(&probe);
    scene_close(&scene);
}

static void test_unknown_name(void **state) {
    (void)state;
    Scene scene;
    Probe probe;
    scene_open(&scene, true);
    probe_open(&probe, &scene, 0, (ProbeLinkConfig){.endpoint = "tcp://hub.invalid:5556"});
    wait_word(&probe, PROBE_LINK_NAME_UNKNOWN);
    probe_close(&probe);
    scene_close(&scene);
}

static void test_events_port_closed(void **state) {
    (void)state;
    Scene scene;
    Probe probe;
    scene_open(&scene, true);
    uint16_t closed = free_ports();
    char nowhere[64];
    (void)snprintf(nowhere, sizeof(nowhere), "tcp://127.0.0.1:%u", closed);
    hub_run(&scene.hub, &scene.shape);
    probe_open(&probe, &scene, 0, (ProbeLinkConfig){.events_endpoint = nowhere});
    wait_word(&probe, PROBE_LINK_EVENTS_CLOSED);
    ProbeLinkStatus status;
    probe_link_status(probe.link, &status);
    assert_non_null(strstr(status.reason, nowhere));
    assert_true(status.session);
    probe_close(&probe);
    scene_close(&scene);
}

/** a nosy probe subscribes to everybody's state and is given nothing */
static void test_state_is_for_its_owner_only(void **state) {
    (void)state;
    Scene scene;
    Probe probe;
    scene_open(&scene, true);
    hub_run(&scene.hub, &scene.shape);
    void *context = zmq_ctx_new();
    void *nosy = zmq_socket(context, ZMQ_SUB);
    KeyPair keys;
    int none = 0;
    int timeout_ms = 1500;
    assert_int_equal(key_pair_make(&keys), 0);
    (void)zmq_setsockopt(nosy, ZMQ_LINGER, &none, sizeof(none));
    (void)zmq_setsockopt(nosy, ZMQ_RCVTIMEO, &timeout_ms, sizeof(timeout_ms));
    (void)zmq_setsockopt(nosy, ZMQ_CURVE_SERVERKEY, scene.hub_keys.public_z85, 41);
    (void)zmq_setsockopt(nosy, ZMQ_CURVE_PUBLICKEY, keys.public_z85, 41);
    (void)zmq_setsockopt(nosy, ZMQ_CURVE_SECRETKEY, keys.secret_z85, 41);
    (void)zmq_setsockopt(nosy, ZMQ_SUBSCRIBE, "", 0);
    assert_int_equal(zmq_connect(nosy, scene.events), 0);
    probe_open(&probe, &scene, 0, (ProbeLinkConfig){0});
    submit(&probe, 10, 100);
    drain(&probe);
    char bytes[64];
    assert_int_equal(zmq_recv(nosy, bytes, sizeof(bytes), 0), -1);
    (void)zmq_close(nosy);
    (void)zmq_ctx_term(context);
    probe_close(&probe);
    scene_close(&scene);
}

/* -------------------------------------------------------------------------------- exactly once */

static uint64_t sessions_of(Probe *probe) {
    ProbeLinkStatus status;
    probe_link_status(probe->link, &status);
    return status.sessions;
}

/** feed() - n batches of mixed size; now and then something happens, and the probe is back */
static void feed(Probe *probe, uint32_t n, uint32_t every, void (*happens)(Scene *), Scene *scene) {
    for (uint32_t done = 0; done < n; done += 50) {
        submit(probe, 50, done % 1000 == 0 ? 40000 : 300);
        if (done % 500 == 0)
            sleep_ms(3);
        if (done == 0 || done % every != 0)
            continue;
        uint64_t before = sessions_of(probe);
        happens(scene);
        for (int i = 0; i < PATIENCE_MS && sessions_of(probe) == before; i++)
            sleep_ms(1);
    }
}

static void restart_hub(Scene *scene) {
    hub_kill(&scene->hub);
    sleep_ms(100);
    hub_run(&scene->hub, &scene->shape);
}

static void test_hub_killed_again_and_again(void **state) {
    (void)state;
    Scene scene;
    Probe probe;
    scene_open(&scene, true);
    atomic_store(&scene.hub.discard_every, 7);
    hub_run(&scene.hub, &scene.shape);
    probe_open(&probe, &scene, 0, (ProbeLinkConfig){0});
    feed(&probe, 20000, 2000, restart_hub, &scene);
    drain(&probe);
    check_once(&scene, &probe);
    assert_int_equal(gaps_of(&scene).flows, 0);
    ProbeLinkStatus status;
    probe_link_status(probe.link, &status);
    print_message("20000 batches, %lu sessions, %lu resent\n", (unsigned long)status.sessions,
                  (unsigned long)status.resent_batches);
    assert_true(status.sessions >= 9);
    assert_int_equal(status.stored.octets, probe.submitted.octets);
    assert_int_equal(probe.spool->held_bytes, 0);
    probe_close(&probe);
    scene_close(&scene);
}

static void test_slow_store_and_two_probes(void **state) {
    (void)state;
    Scene scene;
    Probe probes[2];
    scene_open(&scene, true);
    scene.shape.budget_bytes = 1 << 20;
    hub_run(&scene.hub, &scene.shape);
    atomic_store(&scene.hub.slow_ms, 100);
    for (uint32_t i = 0; i < 2; i++)
        probe_open(&probes[i], &scene, i, (ProbeLinkConfig){0});
    for (int i = 0; i < 20; i++)
        for (uint32_t p = 0; p < 2; p++)
            submit(&probes[p], 10, 30000);
    for (uint32_t i = 0; i < 2; i++) {
        drain(&probes[i]);
        check_once(&scene, &probes[i]);
        probe_close(&probes[i]);
    }
    scene_close(&scene);
}

static Proxy proxies[2];

static void cut_both(Scene *scene) {
    (void)scene;
    proxy_cut(&proxies[0]);
    sleep_ms(20);
    proxy_cut(&proxies[1]);
}

static void test_connections_cut(void **state) {
    (void)state;
    Scene scene;
    Probe probe;
    scene_open(&scene, true);
    hub_run(&scene.hub, &scene.shape);
    char endpoints[2][64];
    for (uint16_t i = 0; i < 2; i++) {
        proxy_start(&proxies[i], (uint16_t)(scene.port + i));
        (void)snprintf(endpoints[i], sizeof(endpoints[i]), "tcp://127.0.0.1:%u", proxies[i].port);
    }
    probe_open(&probe, &scene, 0,
               (ProbeLinkConfig){.endpoint = endpoints[0], .events_endpoint = endpoints[1]});
    feed(&probe, 10000, 1000, cut_both, &scene);
    drain(&probe);
    check_once(&scene, &probe);
    ProbeLinkStatus status;
    probe_link_status(probe.link, &status);
    assert_true(status.sessions >= 3);
    probe_close(&probe);
    for (int i = 0; i < 2; i++)
        proxy_stop(&proxies[i]);
    scene_close(&scene);
}

static void test_spool_limit_makes_an_exact_gap(void **state) {
    (void)state;
    Scene scene;
    Probe probe;
    scene_open(&scene, true);
    probe_open(&probe, &scene, 0, (ProbeLinkConfig){0});
    BatchCounts dropped = {0};
    DeliveryBatch gone;
    for (uint32_t i = 0; i < 3000; i++) {
        submit(&probe, 1, 500);
        while (test_spool_drop_oldest(probe.spool, 500000, &gone)) {
            dropped = batch_counts_add(dropped, gone.counts);
            probe_link_dropped(probe.link, &gone.epoch, gone.last, &gone.totals, gone.bytes);
        }
    }
    ProbeLinkStatus status = {0};
    for (int i = 0; i < 500 && status.dropped.octets != dropped.octets; i++) {
        sleep_ms(10); /* as of the thread's last turn */
        probe_link_status(probe.link, &status);
    }
    assert_int_equal(status.dropped.octets, dropped.octets);
    assert_true(dropped.flows > 0);
    hub_run(&scene.hub, &scene.shape);
    drain(&probe);
    uint64_t stored = 0;
    for (uint32_t i = 1; i <= probe.n; i++)
        stored += stored_times(&scene, 0, i);
    assert_int_equal(stored, 1000);
    assert_true(batch_counts_equal(gaps_of(&scene), dropped));
    probe_close(&probe);
    scene_close(&scene);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hub_binds),
        cmocka_unit_test(test_hub_binds_events_named),
        cmocka_unit_test(test_probe_binds),
        cmocka_unit_test(test_probe_binds_events_named),
        cmocka_unit_test(test_bad_config),
        cmocka_unit_test(test_port_in_use),
        cmocka_unit_test(test_wrong_key),
        cmocka_unit_test(test_wrong_key_probe_binds),
        cmocka_unit_test(test_plain_hub),
        cmocka_unit_test(test_plain_hub_probe_binds),
        cmocka_unit_test(test_plain_probe),
        cmocka_unit_test(test_plain_probe_binds),
        cmocka_unit_test(test_nobody_there_then_somebody),
        cmocka_unit_test(test_unknown_name),
        cmocka_unit_test(test_events_port_closed),
        cmocka_unit_test(test_state_is_for_its_owner_only),
        cmocka_unit_test(test_hub_killed_again_and_again),
        cmocka_unit_test(test_slow_store_and_two_probes),
        cmocka_unit_test(test_connections_cut),
        cmocka_unit_test(test_spool_limit_makes_an_exact_gap),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
