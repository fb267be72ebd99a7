/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What is submitted, through a spool and a link to a hub, when the hub has another's batches under
 * the name of this process: a machine that went back to a snapshot.
 */

#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#pragma GCC diagnostic ignored "-Wunused-function" /* the scene is for more than this */
#include "channel/link-scene.h"
#include "probe/deliver.h"

static char folder[] = "/tmp/weir-deliver-XXXXXX";

static bool not_stopping(void) {
    return false;
}

static void submit_some(Deliver *deliver, uint32_t *np, uint32_t n) {
    for (; n; n--) {
        const Payload payload = {.probe = 0, .number = ++*np};
        const BatchCounts counts = counts_of(payload.number);
        assert_int_equal(deliver_submit(deliver, 0, &payload, sizeof(payload), &counts), 0);
    }
}

static void wait_stored(Scene *scene, uint32_t n) {
    for (int i = 0; i < PATIENCE_MS / 10; i++) {
        bool all = true;
        for (uint32_t k = 1; k <= n; k++)
            all = all && stored_times(scene, 0, k);
        if (all)
            return;
        sleep_ms(10);
    }
    fail_msg("not everything is stored");
}

static void test_snapshot(void **state) {
    (void)state;
    Scene scene;
    uint32_t n = 0;
    scene_open(&scene, true);
    hub_run(&scene.hub, &scene.shape);
    const char *hubs[] = {scene.data};
    const char *events[] = {scene.events};
    const char *keys[] = {scene.hub_keys.public_z85};
    const ProbeConfig config = {
        .hubs = {hubs, 1},
        .events = {events, 1},
        .probe_mode = true,
        .keys = {keys, 1},
        .data_dir = folder,
        .spool_bytes = 64 << 20,
        .spool_memory_bytes = 1 << 20,
    };
    const DeliverSource source = {.interface = "x", .mode = "live", .stopping = not_stopping};
    Deliver *deliver = NULL;
    Reason reason = {""};
    assert_int_equal(deliver_new(&deliver, &config, &source, &reason), 0);
    submit_some(deliver, &n, 50);
    wait_stored(&scene, n);
    sleep_ms(1500); /* and this was told */

    hub_kill(&scene.hub); /* while it is away another goes on with the same epoch */
    assert_int_equal(scene.store->n_cursors, 1);
    scene.store->cursors[0].sequence += 1000;
    scene.store->cursors[0].totals.flows += 5000;
    char before[512];
    (void)snprintf(before, sizeof(before), "%s", scene.hub.last_hello);
    submit_some(deliver, &n, 30);
    hub_run(&scene.hub, &scene.shape);
    for (uint32_t i = 0; i < 40; i++) {
        submit_some(deliver, &n, 1);
        sleep_ms(100);
    }
    wait_stored(&scene, n);
    for (uint32_t k = 1; k <= n; k++)
        assert_int_equal(stored_times(&scene, 0, k), 1);
    uint64_t left = 0;
    assert_int_equal(deliver_drain(deliver, PATIENCE_MS, &left), 0);
    assert_true(strcmp(before, scene.hub.last_hello) != 0); /* it is another process now */
    (void)deliver_free(deliver);

    /* and in the next run none of it is told of as missing, nor sent again */
    assert_int_equal(deliver_new(&deliver, &config, &source, &reason), 0);
    submit_some(deliver, &n, 5);
    wait_stored(&scene, n);
    for (uint32_t k = 1; k <= n; k++)
        assert_int_equal(stored_times(&scene, 0, k), 1);
    assert_int_equal(gaps_of(&scene).flows, 0);
    (void)deliver_free(deliver);
    scene_close(&scene);
}

static int make_folder(void **state) {
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *walk) {
    (void)st;
    (void)kind;
    (void)walk;
    return remove(path);
}

static int remove_folder(void **state) {
    (void)state;
    return nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_snapshot)};
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
