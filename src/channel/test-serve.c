/* SPDX-License-Identifier: Apache-2.0 */

/* Another server key, over real sockets on loopback: handed over, used, taken back, finished. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "channel/link-scene.h"

/** Disk - what a probe keeps of the hub's keys, and what it had to say */
typedef struct Disk {
    Probe probe; /* first: the callbacks of the link get it */
    pthread_mutex_t lock;
    ServerKeys kept;
    bool full;
    unsigned n_kept;
    char notes[4096];
} Disk;

static bool keep(void *userdata, const ServerKeys *keys) {
    Disk *disk = userdata;
    (void)pthread_mutex_lock(&disk->lock);
    const bool full = disk->full;
    if (!full) {
        disk->kept = *keys;
        disk->n_kept++;
    }
    (void)pthread_mutex_unlock(&disk->lock);
    return !full;
}

static void on_note(void *userdata, const char *text) {
    Disk *disk = userdata;
    (void)pthread_mutex_lock(&disk->lock);
    const size_t n = strlen(disk->notes);
    (void)snprintf(disk->notes + n, sizeof(disk->notes) - n, "%s\n", text);
    (void)pthread_mutex_unlock(&disk->lock);
    if (getenv("WEIR_VERBOSE"))
        print_message("note: %s\n", text);
}

/** connect_probe() - another process on the same disk and spool: only the link is new */
static void connect_probe(Disk *disk, const Scene *scene, const KeyPair *keys, bool bind) {
    ProbeLinkConfig config = {
        .endpoint = scene->data,
        .bind = bind,
        .server_z85 = scene->shape.keys.public_z85, /* as in its image: never another one */
        .keys = *keys,
        .hello_json = "{\"name\":\"probe\"}",
        .spool = test_spool_for_link(disk->probe.spool),
        .on_change = on_change,
        .userdata = disk,
        .kept = disk->kept,
        .keep = keep,
        .on_note = on_note,
    };
    Reason reason = {""};
    if (probe_link_new(&disk->probe.link, &config, &reason))
        fail_msg("%s", reason.text);
}

static void disk_open(Disk *disk) {
    memset(disk, 0, sizeof(*disk));
    disk->probe.spool = test_spool_new();
    (void)pthread_mutex_init(&disk->lock, NULL);
    (void)pthread_mutex_init(&disk->probe.lock, NULL);
}

/** noted() - waits for a note with these words */
static void noted(Disk *disk, const char *words) {
    for (int i = 0; i < PATIENCE_MS / 10; i++) {
        (void)pthread_mutex_lock(&disk->lock);
        const bool found = strstr(disk->notes, words) != NULL;
        (void)pthread_mutex_unlock(&disk->lock);
        if (found)
            return;
        sleep_ms(10);
    }
    fail_msg("nothing was noted of \"%s\": %s", words, disk->notes);
}

/** holds() - waits for a hello that says so, by this key */
static ServerKeysHeld holds(Scene *scene, const char *next, const char *uses) {
    ServerKeysHeld held = {0};
    char hello[sizeof(scene->hub.last_hello)];
    for (int i = 0; i < PATIENCE_MS / 10; i++) {
        (void)pthread_mutex_lock(&scene->store->lock);
        memcpy(hello, scene->hub.last_hello, sizeof(hello));
        (void)pthread_mutex_unlock(&scene->store->lock);
        server_keys_held(&held, hello);
        if (held.said && strcmp(held.next, next) == 0 && strcmp(held.uses, uses) == 0)
            return held;
        sleep_ms(10);
    }
    fail_msg("no hello holds \"%s\" and uses \"%s\": %s", next, uses, hello);
    return held;
}

typedef struct Change {
    Scene scene;
    KeyPair own; /* the probe's */
    KeyPair next;
    HubNextPorts ports;
    Disk disk;
} Change;

static void serve(Change *change, uint64_t version, const KeyPair *now, const KeyPair *next) {
    HubServerKeys keys = {.version = version, .now = *now, .ports = &change->ports};
    Reason reason = {""};
    if (next)
        keys.next = *next;
    if (hub_link_serve(change->scene.hub.link, &keys, &reason))
        fail_msg("%s", reason.text);
}

/* a hub, a probe that delivers, and a next key that the probe has kept */
static void change_begin(Change *change, bool hub_binds) {
    scene_open(&change->scene, hub_binds);
    hub_run(&change->scene.hub, &change->scene.shape);
    disk_open(&change->disk);
    assert_int_equal(key_pair_make(&change->own), 0);
    assert_int_equal(key_pair_make(&change->next), 0);
    connect_probe(&change->disk, &change->scene, &change->own, !hub_binds);
    submit(&change->disk.probe, 50, 2000);
    drain(&change->disk.probe);
    const uint16_t first = free_ports();
    change->ports = (HubNextPorts){first, (uint16_t)(first + 1)};
    serve(change, 1, &change->scene.hub_keys, &change->next);
    noted(&change->disk, "has handed over its next key");
    (void)holds(&change->scene, change->next.public_z85, change->scene.hub_keys.public_z85);
    assert_string_equal(change->disk.kept.next, change->next.public_z85);
    assert_int_equal(change->disk.kept.data_port, hub_binds ? first : 0);
    submit(&change->disk.probe, 50, 2000);
    drain(&change->disk.probe);
}

static void change_end(Change *change) {
    submit(&change->disk.probe, 50, 2000);
    drain(&change->disk.probe);
    check_once(&change->scene, &change->disk.probe);
    assert_int_equal(gaps_of(&change->scene).flows, 0);
    assert_int_equal(atomic_load(&change->scene.hub.n_events[HUB_EVENT_CLONE]), 0);
    probe_close(&change->disk.probe);
    scene_close(&change->scene);
}

static void wait_settled(Change *change) {
    bool settled = false;
    char trouble[256] = "";
    for (int i = 0; i < PATIENCE_MS / 10 && !settled; i++) {
        (void)hub_link_served(change->scene.hub.link, 0, &settled, trouble);
        sleep_ms(10);
    }
    if (!settled)
        fail_msg("not settled: %s", trouble);
    assert_string_equal(trouble, "");
}

static void test_from_key_to_key(void **state) {
    (void)state;
    Change change;
    change_begin(&change, true);
    /* the hub is started again in the middle: the next connection is by the next key */
    hub_kill(&change.scene.hub);
    submit(&change.disk.probe, 50, 2000);
    hub_run(&change.scene.hub, &change.scene.shape);
    serve(&change, 1, &change.scene.hub_keys, &change.next);
    (void)holds(&change.scene, change.next.public_z85, change.next.public_z85);
    noted(&change.disk, "connected with the key that the hub has handed over");
    drain(&change.disk.probe);
    ProbeLinkStatus status;
    char at[64];
    probe_link_status(change.disk.probe.link, &status);
    (void)snprintf(at, sizeof(at), "tcp://127.0.0.1:%u", change.ports.data);
    assert_string_equal(status.peer, at);

    serve(&change, 2, &change.next, NULL); /* finished */
    noted(&change.disk, "the former one is not used any more");
    wait_settled(&change);
    submit(&change.disk.probe, 50, 2000);
    drain(&change.disk.probe);
    (void)holds(&change.scene, "", change.next.public_z85);
    probe_link_status(change.disk.probe.link, &status);
    assert_string_equal(status.peer, change.scene.data);
    assert_string_equal(change.disk.kept.now, change.next.public_z85);

    /* a new process, from an image that has the old key */
    probe_link_free(change.disk.probe.link);
    change.disk.probe.spool->renew = true;
    connect_probe(&change.disk, &change.scene, &change.own, false);
    change_end(&change);
}

/* it has the successor and was away when the change was finished */
static void test_away_when_finished(void **state) {
    (void)state;
    Change change;
    change_begin(&change, true);
    probe_link_free(change.disk.probe.link);
    serve(&change, 2, &change.next, NULL);
    wait_settled(&change);
    change.disk.probe.spool->renew = true;
    connect_probe(&change.disk, &change.scene, &change.own, false);
    noted(&change.disk, "the former one is not used any more");
    change_end(&change);
}

static void test_next_port_does_not_answer(void **state) {
    (void)state;
    Change change;
    change_begin(&change, true);
    probe_link_free(change.disk.probe.link);
    change.disk.kept.data_port = free_ports(); /* as if a firewall were in between */
    change.disk.kept.events_port = (uint16_t)(change.disk.kept.data_port + 1);
    change.disk.probe.spool->renew = true;
    connect_probe(&change.disk, &change.scene, &change.own, false);
    noted(&change.disk, "connected with the hub's present key");
    (void)holds(&change.scene, change.next.public_z85, change.scene.hub_keys.public_z85);
    change_end(&change);
}

static void test_taken_back(void **state) {
    (void)state;
    Change change;
    change_begin(&change, true);
    serve(&change, 2, &change.scene.hub_keys, NULL);
    noted(&change.disk, "has taken its next key back");
    wait_settled(&change);
    (void)holds(&change.scene, "", change.scene.hub_keys.public_z85);
    hub_kill(&change.scene.hub);
    hub_run(&change.scene.hub, &change.scene.shape);
    change_end(&change);
}

static void test_probe_binds(void **state) {
    (void)state;
    Change change;
    change_begin(&change, false);
    serve(&change, 2, &change.next, NULL);
    noted(&change.disk, "the former one is not used any more");
    wait_settled(&change);
    (void)holds(&change.scene, "", change.next.public_z85);
    change_end(&change);
}

static void test_disk_full(void **state) {
    (void)state;
    Change change;
    change_begin(&change, true);
    KeyPair another;
    assert_int_equal(key_pair_make(&another), 0);
    change.disk.full = true;
    const uint16_t first = free_ports();
    change.ports = (HubNextPorts){first, (uint16_t)(first + 1)};
    serve(&change, 2, &change.scene.hub_keys, &another);
    ServerKeysHeld held =
        holds(&change.scene, change.next.public_z85, change.scene.hub_keys.public_z85);
    for (int i = 0; i < PATIENCE_MS / 10 && !*held.trouble; i++) {
        sleep_ms(10);
        held = holds(&change.scene, change.next.public_z85, change.scene.hub_keys.public_z85);
    }
    assert_non_null(strstr(held.trouble, "cannot write"));
    (void)pthread_mutex_lock(&change.disk.lock);
    change.disk.full = false;
    (void)pthread_mutex_unlock(&change.disk.lock);
    held = holds(&change.scene, another.public_z85, change.scene.hub_keys.public_z85);
    assert_string_equal(held.trouble, "");
    change_end(&change);
}

static void test_port_in_use(void **state) {
    (void)state;
    Change change;
    Reason reason = {""};
    change_begin(&change, true);
    const HubNextPorts ports = {change.scene.port, (uint16_t)(change.scene.port + 1)};
    const HubServerKeys keys = {
        .version = 2, .now = change.scene.hub_keys, .next = change.next, .ports = &ports};
    assert_int_equal(hub_link_serve(change.scene.hub.link, &keys, &reason), HUB_LINK_E_REFUSED);
    assert_non_null(strstr(reason.text, "cannot listen on"));
    change_end(&change);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_from_key_to_key),
        cmocka_unit_test(test_away_when_finished),
        cmocka_unit_test(test_next_port_does_not_answer),
        cmocka_unit_test(test_taken_back),
        cmocka_unit_test(test_probe_binds),
        cmocka_unit_test(test_disk_full),
        cmocka_unit_test(test_port_in_use),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
