/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Probes of versions that a hub does not serve.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#pragma GCC diagnostic ignored "-Wunused-function" /* the scene is for more than this */
#include "channel/link-scene.h"

/* probes are served that are up to two minor versions older; the others keep what they have, and
 * are told by the hub, for an old one does not know what comes after it */
static void test_version_not_served(void **state) {
    (void)state;
    static const struct {
        const char *version, *says;
    } cases[] = {
        {"0.9.9", "weir-probe 0.9.9 is newer than this hub; update weir-hub"},
        {"7.0.0", "weir-probe 7.0.0 is newer than this hub; update weir-hub"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        Scene scene;
        Probe probe;
        char hello[64];
        scene_open(&scene, true);
        hub_run(&scene.hub, &scene.shape);
        probe_open(&probe, &scene, 0, (ProbeLinkConfig){0});
        (void)snprintf(hello, sizeof(hello), "{\"version\":\"%s\"}", cases[i].version);
        assert_int_equal(probe_link_hello(probe.link, hello), 0);
        wait_word(&probe, PROBE_LINK_WAITING);
        submit(&probe, 20, 500);
        sleep_ms(500);
        ProbeLinkStatus status;
        probe_link_status(probe.link, &status);
        assert_non_null(strstr(status.reason, cases[i].says));
        assert_int_equal(stored_times(&scene, 0, 1), 0);
        assert_int_equal(status.pending_batches, 20);
        assert_int_equal(probe_link_hello(probe.link, "{\"version\":\"" WEIR_VERSION "\"}"), 0);
        drain(&probe);
        check_once(&scene, &probe);
        probe_close(&probe);
        scene_close(&scene);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_version_not_served)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
