/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A key that is used by more than a few: connections go, counted, and the clones are named.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#pragma GCC diagnostic ignored "-Wunused-function" /* the scene is for more than this */
#include "channel/hub_watch.h"
#include "channel/link-scene.h"

enum { CROWD = 7 };

static void test_crowd(void **state) {
    (void)state;
    static Scene scene; /* not on the stack, nor the probe: threads go on when an assertion fails */
    static Probe probe;
    KeyPair keys;
    ProbeLink *links[CROWD];
    probe.spool = test_spool_new();
    Reason reason = {""};
    scene_open(&scene, true);
    hub_run(&scene.hub, &scene.shape);
    (void)pthread_mutex_init(&probe.lock, NULL);
    assert_int_equal(key_pair_make(&keys), 0);
    for (unsigned i = 0; i < CROWD; i++) {
        HubInterfaceStatus status;
        char hello[64];
        (void)snprintf(hello, sizeof(hello), "{\"instance\":\"%u\"}", i);
        const ProbeLinkConfig config = {.endpoint = scene.data,
                                        .server_z85 = scene.hub_keys.public_z85,
                                        .keys = keys,
                                        .hello_json = hello,
                                        .spool = test_spool_for_link(probe.spool),
                                        .on_change = on_change,
                                        .userdata = &probe};
        assert_int_equal(probe_link_new(&links[i], &config, &reason), 0);
        ProbeLinkStatus link = {0};
        for (unsigned k = 0; k < PATIENCE_MS / 10 && !link.sessions; k++) {
            sleep_ms(10);
            probe_link_status(links[i], &link);
        }
        sleep_ms(200);
        assert_true(hub_link_interface(scene.hub.link, 0, &status));
        if (i < HUB_LINK_KEY_MAX)
            assert_int_equal(status.n_too_many, 0);
    }
    HubInterfaceStatus status;
    for (unsigned k = 0; k < PATIENCE_MS / 10; k++) {
        assert_true(hub_link_interface(scene.hub.link, 0, &status));
        if (status.n_too_many >= CROWD - HUB_LINK_KEY_MAX &&
            atomic_load(&scene.hub.n_events[HUB_EVENT_CLONE]))
            break;
        sleep_ms(10);
    }
    assert_true(status.n_too_many >= CROWD - HUB_LINK_KEY_MAX);
    assert_true(atomic_load(&scene.hub.n_events[HUB_EVENT_CLONE]) >= 1);
    for (unsigned kind = HUB_EVENT_WRONG_KEY; kind <= HUB_EVENT_TOO_MANY; kind++)
        if (atomic_load(&scene.hub.n_events[kind]))
            fail_msg("%u events of kind %u", atomic_load(&scene.hub.n_events[kind]), kind);
    for (unsigned i = 0; i < CROWD; i++)
        probe_link_free(links[i]);
    test_spool_free(probe.spool);

    Probe other; /* those of another key are none of it */
    probe_open(&other, &scene, 1, (ProbeLinkConfig){0});
    submit(&other, 20, 500);
    drain(&other);
    check_once(&scene, &other);
    probe_close(&other);
    scene_close(&scene);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_crowd)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
