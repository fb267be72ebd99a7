/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A spool that is slow to read: the link waits for it, and nobody waits for the link.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#pragma GCC diagnostic ignored "-Wunused-function" /* the scene is for more than this */
#include "channel/link-scene.h"

enum { SLOW_MS = 400 };

static atomic_bool slow;
static atomic_uint n_slow;

static int slow_load(void *spool, const EpochId *epoch, uint64_t sequence, DeliveryBatch *batch) {
    if (atomic_load(&slow)) {
        atomic_fetch_add(&n_slow, 1);
        sleep_ms(SLOW_MS);
    }
    return test_spool_load(spool, epoch, sequence, batch);
}

static int slow_fetch(void *spool, const EpochId *epoch, uint64_t sequence, size_t size,
                      ProbeLinkBytes *lent) {
    if (atomic_load(&slow)) {
        atomic_fetch_add(&n_slow, 1);
        sleep_ms(SLOW_MS);
    }
    return test_spool_fetch(spool, epoch, sequence, size, lent);
}

static uint64_t since(uint64_t *begin_ms, uint64_t longest_ms) {
    const uint64_t now_ms = clock_monotonic_ms();
    const uint64_t took_ms = now_ms - *begin_ms;
    *begin_ms = now_ms;
    return took_ms > longest_ms ? took_ms : longest_ms;
}

static void test_slow_spool(void **state) {
    (void)state;
    Scene scene;
    Probe probe = {.spool = test_spool_new()};
    ProbeLinkConfig config = {.hello_json = "{\"name\":\"probe\"}", .on_change = on_change};
    Reason reason = {""};
    scene_open(&scene, true);
    hub_run(&scene.hub, &scene.shape);
    (void)pthread_mutex_init(&probe.lock, NULL);
    assert_int_equal(key_pair_make(&config.keys), 0);
    config.endpoint = scene.data;
    config.server_z85 = scene.hub_keys.public_z85;
    config.spool = test_spool_for_link(probe.spool);
    config.spool.load = slow_load;
    config.spool.fetch = slow_fetch;
    config.userdata = &probe;
    assert_int_equal(probe_link_new(&probe.link, &config, &reason), 0);
    submit(&probe, 200, 500);
    drain(&probe);

    atomic_store(&slow, true);
    uint64_t status_ms = 0, pulse_ms = 0, submit_ms = 0;
    ProbeLinkStatus status;
    for (int i = 0; i < 100; i++) {
        uint64_t begin_ms = clock_monotonic_ms();
        submit(&probe, 1, 500);
        submit_ms = since(&begin_ms, submit_ms);
        probe_link_status(probe.link, &status);
        status_ms = since(&begin_ms, status_ms);
        assert_int_equal(probe_link_pulse(probe.link, "{}"), 0);
        pulse_ms = since(&begin_ms, pulse_ms);
        assert_true(status.pending_batches > 0); /* what was submitted just now at least */
        sleep_ms(10);
    }
    assert_true(atomic_load(&n_slow) >= 2);
    print_message("longest wait: submit %u ms, status %u ms, pulse %u ms\n", (unsigned)submit_ms,
                  (unsigned)status_ms, (unsigned)pulse_ms);
    assert_true(submit_ms < SLOW_MS / 2 && status_ms < SLOW_MS / 2 && pulse_ms < SLOW_MS / 2);
    atomic_store(&slow, false);
    drain(&probe);
    check_once(&scene, &probe);
    probe_close(&probe);
    scene_close(&scene);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_slow_spool)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
