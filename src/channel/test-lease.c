/* SPDX-License-Identifier: Apache-2.0 */

/* A probe that loses its seat while it delivers, and what it is told it has while it has one. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "channel/frame.h"
#include "channel/link-scene.h"

/* a state later than that has one */
static void wait_lease(Probe *probe, uint64_t since_ms, LeaseWord *word) {
    for (int i = 0; i < PATIENCE_MS / 10; i++) {
        probe_link_lease(probe->link, word);
        if (word->lease.until_s && word->told_ms >= since_ms)
            return;
        sleep_ms(10);
    }
    fail_msg("no lease was told");
}

/* a seat lost and found again and again under load: each time it is told at once and once, and what
 * was under way is stored once */
static void test_to_and_fro(void **state) {
    (void)state;
    Scene scene;
    Probe probe;
    scene_open(&scene, true);
    scene.shape.ask = true;
    hub_run(&scene.hub, &scene.shape);
    hub_link_lease(scene.hub.link, &(Lease){.until_s = 1700000000, .licence = "evaluation"});
    probe_open(&probe, &scene, 0, (ProbeLinkConfig){0});
    wait_event(&scene.hub, HUB_EVENT_SESSION_BEGIN);
    const PeerKey key = key_of(&scene);
    uint64_t slowest_ms = 0;
    LeaseWord word;
    probe_link_lease(probe.link, &word);
    assert_int_equal(word.lease.until_s, 0);
    for (int round = 0; round < 12; round++) {
        assert_int_equal(hub_link_admit(scene.hub.link, &key, HUB_ADMITTED, NULL), 0);
        submit(&probe, 200, 3000);
        const uint64_t since_ms = clock_monotonic_ms();
        wait_lease(&probe, since_ms, &word);
        assert_int_equal(word.lease.until_s, 1700000000);
        assert_string_equal(word.lease.licence, "evaluation");
        assert_false(word.over);
        if (round == 0) { /* the hub's clock stands, and it is renewed all the same */
            wait_lease(&probe, word.told_ms + 1, &word);
            assert_int_equal(word.lease.until_s, 1700000000);
        }
        sleep_ms(5 * (unsigned)round);
        const uint64_t begin_ms = clock_monotonic_ms();
        assert_int_equal(hub_link_admit(scene.hub.link, &key, HUB_PENDING, "no seat"), 0);
        wait_word(&probe, PROBE_LINK_WAITING);
        const uint64_t took_ms = clock_monotonic_ms() - begin_ms;
        slowest_ms = took_ms > slowest_ms ? took_ms : slowest_ms;
        submit(&probe, 20, 300);
    }
    print_message("told that it waits within %lu ms\n", (unsigned long)slowest_ms);
    assert_true(slowest_ms < 2000);
    probe_link_lease(probe.link, &word); /* who waits has none any more */
    assert_true(word.over);
    assert_int_equal(word.lease.until_s, 0);

    const unsigned n = changes_to(&probe, PROBE_LINK_WAITING);
    for (int i = 0; i < 25; i++) { /* and nobody tells it otherwise */
        assert_int_equal(probe_link_pulse(probe.link, "{\"flows\":1}"), 0);
        sleep_ms(100);
    }
    assert_int_equal(changes_to(&probe, PROBE_LINK_WAITING), n);
    assert_int_equal(changes_to(&probe, PROBE_LINK_UP) <= n, true);
    assert_int_equal(hub_link_admit(scene.hub.link, &key, HUB_ADMITTED, NULL), 0);
    drain(&probe);
    check_once(&scene, &probe);
    assert_int_equal(gaps_of(&scene).flows, 0);
    probe_close(&probe);
    scene_close(&scene);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_to_and_fro),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
