/* SPDX-License-Identifier: Apache-2.0 */

#include "spool/spool-scene.h"

#include "base/crc32c.h"

enum { N = 60, RECENT = 20000 };

/* from here on the files have nothing to give */
static void empty_files(const Scene *scene) {
    char names[SCENE_FILES_MAX][64];
    char path[256];
    size_t n = scene_files(scene, ".zst", names);
    for (size_t i = 0; i < n; i++) {
        scene_path(scene, names[i], path, sizeof(path));
        assert_int_equal(truncate(path, 0), 0);
    }
}

static bool is_there(Scene *scene, const SpoolBatch *batch) {
    bool sound = false;
    uint64_t number = check_batch(scene, 0, batch, &sound);
    assert_true(!sound || number == batch->first);
    return sound;
}

static void begin(Scene *scene, size_t recent_bytes, SpoolBatch batches[N + 1]) {
    scene_make(scene);
    scene->config.recent_bytes = recent_bytes;
    scene_open(scene);
    for (uint64_t i = 1; i <= N; i++)
        batches[i] = append(scene, 0, i);
    assert_int_equal(spool_flush(scene->spool), 0);
}

static void test_newest_without_the_disk(void **state) {
    (void)state;
    Scene scene;
    SpoolBatch batches[N + 1];
    begin(&scene, RECENT, batches);
    for (uint64_t i = 1; i <= N; i++)
        assert_true(is_there(&scene, &batches[i]));
    empty_files(&scene);
    uint64_t i = N;
    size_t bytes = 0;
    for (; i && is_there(&scene, &batches[i]); i--) {
        SpoolBatch peeked;
        assert_int_equal(spool_peek(scene.spool, 0, &batches[i].epoch, i, &peeked), 0);
        assert_true(!peeked.gap && batch_counts_equal(peeked.totals, batches[i].totals));
        assert_true(batch_counts_equal(peeked.counts, batches[i].counts));
        bytes += batches[i].bytes + RECORD_HEAD_MIN_BYTES + 8;
    }
    assert_true(bytes <= RECENT && bytes + batches[i].bytes + RECORD_HEAD_MIN_BYTES + 8 > RECENT);
    char byte;
    assert_int_equal(spool_fetch(scene.spool, 0, &batches[N].epoch, N, &byte, 1), SPOOL_E_UNKNOWN);
    for (; i; i--)
        assert_false(is_there(&scene, &batches[i]));
    scene_remove(&scene);
}

/* what a hub has is let go, and what is of an epoch that has ended */
static void test_let_go(void **state) {
    (void)state;
    Scene scene;
    SpoolBatch batches[N + 1];
    begin(&scene, 4 << 20, batches);
    empty_files(&scene);
    assert_true(is_there(&scene, &batches[1]));
    const Recent *recent = &scene.spool->lanes[0].recent;
    spool_release(scene.spool, 0, &batches[9].epoch, 9, &batches[9].totals);
    assert_true(recent->first == 10 && recent->last == N);
    assert_true(is_there(&scene, &batches[10]));
    spool_rotate(scene.spool, 0);
    assert_true(recent->bytes == 0);
    assert_false(is_there(&scene, &batches[N]));
    SpoolBatch next = append(&scene, 0, 1);
    empty_files(&scene);
    assert_true(is_there(&scene, &next));
    assert_false(is_there(&scene, &batches[N]));
    spool_release(scene.spool, 0, &next.epoch, next.last, &next.totals);
    assert_true(recent->bytes == 0);
    scene_remove(&scene);
}

/* beyond the limit it is gone, whether or not memory has it */
static void test_dropped(void **state) {
    (void)state;
    Scene scene;
    SpoolBatch batch = {0};
    scene_make(&scene);
    scene.config.limit_bytes = 200000;
    scene.config.recent_bytes = 4 << 20;
    scene_open(&scene);
    for (uint64_t i = 1; i <= 255; i++)
        batch = append(&scene, 0, i);
    const uint64_t dropped = status_of(&scene).dropped_batches;
    assert_true(dropped > 20);
    assert_int_equal(spool_peek(scene.spool, 0, &batch.epoch, 1, &batch), 0);
    assert_true(batch.gap && batch.last == dropped);
    assert_int_equal(spool_peek(scene.spool, 0, &batch.epoch, dropped + 1, &batch), 0);
    assert_true(!batch.gap);
    scene_remove(&scene);
}

/* more batches than there are places, each of little */
static void test_many_small_ones(void **state) {
    (void)state;
    Scene scene;
    SpoolBatch batch = {0};
    scene_make(&scene);
    scene.config.recent_bytes = 4 << 20;
    scene_open(&scene);
    for (uint64_t i = 1; i <= 3 * RECENT_BATCHES + 7; i++) {
        batch = append_sized(&scene, 0, i, 400);
        assert_true(is_there(&scene, &batch));
    }
    const Recent *recent = &scene.spool->lanes[0].recent;
    assert_int_equal(recent->last - recent->first + 1, RECENT_BATCHES);
    for (uint64_t i = 1; i <= batch.last; i++) {
        SpoolBatch peeked;
        assert_int_equal(spool_peek(scene.spool, 0, &batch.epoch, i, &peeked), 0);
        assert_true(is_there(&scene, &peeked));
    }
    scene_remove(&scene);
}

static void test_lent(void **state) {
    (void)state;
    for (int from_file = 0; from_file < 2; from_file++) {
        Scene scene;
        SpoolBatch batches[N + 1];
        SpoolBytes lent[2];
        begin(&scene, from_file ? 0 : RECENT, batches);
        const SpoolBatch *batch = &batches[N];
        for (int i = 0; i < 2; i++)
            assert_int_equal(spool_borrow(scene.spool, 0, &batch->epoch, N, batch->bytes, &lent[i]),
                             0);
        assert_true((lent[0].bytes == lent[1].bytes) == !from_file);
        spool_release(scene.spool, 0, &batch->epoch, N, &batch->totals);
        scene_remove(&scene);
        uint8_t expected[SCENE_PAYLOAD_MAX];
        const size_t size = payload_of(N, expected, 2000);
        for (int i = 0; i < 2; i++) {
            assert_memory_equal(lent[i].bytes, expected, size);
            assert_int_equal(lent[i].crc32c, crc32c(0, expected, size));
            spool_give_back(lent[i].bytes, lent[i].block);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_newest_without_the_disk),
        cmocka_unit_test(test_let_go),
        cmocka_unit_test(test_dropped),
        cmocka_unit_test(test_many_small_ones),
        cmocka_unit_test(test_lent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
