#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Link Scene
 *
 * One hub, some probes, and what a test wants to do with them and know of them.
 */

#include "channel/link-harness.h"

enum { PATIENCE_MS = 30000 };

typedef struct Scene {
    KeyPair hub_keys;
    uint16_t port;
    char data[64], events[64]; /* endpoints for the probe */
    char bound[80];            /* for the hub */
    TestStore *store;
    TestHub hub;
    HubInterfaceConfig interface;
    HubLinkConfig shape;
} Scene;

typedef struct Probe {
    uint32_t index;
    TestSpool *spool;
    ProbeLink *link;
    uint32_t n; /* submitted */
    BatchCounts submitted;
    pthread_mutex_t lock;
    unsigned n_changes[PROBE_LINK_N_WORDS];
} Probe;

static void on_change(void *userdata, ProbeLinkWord word, const char *reason) {
    Probe *probe = userdata;
    (void)pthread_mutex_lock(&probe->lock);
    probe->n_changes[word]++;
    (void)pthread_mutex_unlock(&probe->lock);
    assert_true(strlen(reason) > 0);
    if (getenv("WEIR_VERBOSE"))
        print_message("probe %u: %s: %s\n", probe->index, probe_link_word(word), reason);
}

static void scene_open(Scene *scene, bool hub_binds) {
    *scene = (Scene){0};
    assert_int_equal(key_pair_make(&scene->hub_keys), 0);
    scene->port = free_ports();
    (void)snprintf(scene->data, sizeof(scene->data), "tcp://127.0.0.1:%u", scene->port);
    (void)snprintf(scene->events, sizeof(scene->events), "tcp://127.0.0.1:%u", scene->port + 1);
    (void)snprintf(scene->bound, sizeof(scene->bound), "%s%s", scene->data, hub_binds ? "c" : "");
    scene->store = calloc(1, sizeof(*scene->store));
    assert_non_null(scene->store);
    (void)pthread_mutex_init(&scene->store->lock, NULL);
    scene->hub.store = scene->store;
    scene->interface = (HubInterfaceConfig){.endpoint = scene->bound};
    scene->shape = (HubLinkConfig){
        .interfaces = &scene->interface, .n_interfaces = 1, .keys = scene->hub_keys};
}

static void scene_close(Scene *scene) {
    if (scene->hub.link)
        hub_kill(&scene->hub);
    free(scene->store);
}

HARNESS_MAY void probe_open(Probe *probe, const Scene *scene, uint32_t index,
                            ProbeLinkConfig config) {
    *probe = (Probe){.index = index, .spool = test_spool_new()};
    (void)pthread_mutex_init(&probe->lock, NULL);
    assert_int_equal(key_pair_make(&config.keys), 0);
    if (!config.endpoint)
        config.endpoint = scene->data;
    if (!config.server_z85)
        config.server_z85 = scene->hub_keys.public_z85;
    config.hello_json = "{\"name\":\"probe\"}";
    config.spool = test_spool_for_link(probe->spool);
    config.on_change = on_change;
    config.userdata = probe;
    Reason reason = {""};
    if (probe_link_new(&probe->link, &config, &reason))
        fail_msg("%s", reason.text);
}

static void probe_close(Probe *probe) {
    probe_link_free(probe->link);
    test_spool_free(probe->spool);
}

static void submit(Probe *probe, uint32_t n, size_t size) {
    uint8_t bytes[BATCH_PAYLOAD_MAX_BYTES];
    memset(bytes, 0x5a, size);
    for (; n; n--) {
        Payload payload = {.probe = probe->index, .number = ++probe->n};
        BatchCounts counts = counts_of(payload.number);
        memcpy(bytes, &payload, sizeof(payload));
        bool fresh = probe_link_wants_epoch(probe->link);
        DeliveryBatch batch = test_spool_append(probe->spool, bytes, size, &counts, fresh);
        assert_int_equal(probe_link_submit(probe->link, &batch), 0);
        probe->submitted = batch_counts_add(probe->submitted, counts);
    }
}

static void drain(Probe *probe) {
    uint64_t left = 0;
    if (probe_link_drain(probe->link, PATIENCE_MS, &left)) {
        ProbeLinkStatus status;
        probe_link_status(probe->link, &status);
        fail_msg("%lu flows left; %s", (unsigned long)left, status.reason);
    }
    assert_int_equal(left, 0);
}

HARNESS_MAY void wait_word(Probe *probe, ProbeLinkWord word) {
    ProbeLinkStatus status;
    for (int i = 0; i < PATIENCE_MS / 10; i++) {
        probe_link_status(probe->link, &status);
        if (status.word == word)
            return;
        sleep_ms(10);
    }
    fail_msg("waited for \"%s\": %s", probe_link_word(word), status.reason);
}

HARNESS_MAY void wait_event(TestHub *hub, HubEventKind kind) {
    for (int i = 0; i < PATIENCE_MS / 10; i++) {
        if (atomic_load(&hub->n_events[kind]))
            return;
        sleep_ms(10);
    }
    fail_msg("event %d did not come", (int)kind);
}

/** key_of() - of the probe that the hub hears of first */
HARNESS_MAY PeerKey key_of(const Scene *scene) {
    HubProbeStatus *statuses = NULL;
    size_t n = 0;
    PeerKey key = {0};
    for (int i = 0; i < PATIENCE_MS / 10 && !*key.z85; i++) {
        assert_int_equal(hub_link_probes(scene->hub.link, &statuses, &n), 0);
        if (n)
            key = statuses[0].key;
        free(statuses);
        sleep_ms(10);
    }
    assert_int_equal(strlen(key.z85), 40);
    return key;
}

static unsigned stored_times(const Scene *scene, uint32_t probe, uint32_t number) {
    (void)pthread_mutex_lock(&scene->store->lock);
    unsigned times = scene->store->times[probe][number];
    (void)pthread_mutex_unlock(&scene->store->lock);
    return times;
}

static BatchCounts gaps_of(const Scene *scene) {
    (void)pthread_mutex_lock(&scene->store->lock);
    BatchCounts gaps = scene->store->gaps;
    (void)pthread_mutex_unlock(&scene->store->lock);
    return gaps;
}

/** said() - the text the hub noted last under its lock: an address or a hello */
HARNESS_MAY void said(Scene *scene, const char *place, const char *text) {
    char copy[512];
    (void)pthread_mutex_lock(&scene->store->lock);
    (void)snprintf(copy, sizeof(copy), "%s", place);
    (void)pthread_mutex_unlock(&scene->store->lock);
    assert_string_equal(copy, text);
}

HARNESS_MAY unsigned changes_to(Probe *probe, ProbeLinkWord word) {
    (void)pthread_mutex_lock(&probe->lock);
    unsigned n = probe->n_changes[word];
    (void)pthread_mutex_unlock(&probe->lock);
    return n;
}

static void check_once(const Scene *scene, const Probe *probe) {
    for (uint32_t i = 1; i <= probe->n; i++) {
        unsigned times = stored_times(scene, probe->index, i);
        if (times != 1)
            fail_msg("probe %u: batch %u of %u stored %u times", probe->index, i, probe->n, times);
    }
}
