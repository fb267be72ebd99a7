/* SPDX-License-Identifier: Apache-2.0 */

#include "spool/spool-scene.h"

#include <pthread.h>

/* --- a run ---------------------------------------------------------------------------------- */

static void test_kept_until_all_released(void **state) {
    Scene scene;
    scene_make(&scene);
    scene.config.n_hubs = 2;
    scene.config.hubs[1] = 0x0000000200000002;
    scene.config.fanout = true;
    for (int on_disk = 0; on_disk < 2; on_disk++) {
        scene.config.folder = on_disk ? scene.folder : NULL;
        scene_open(&scene);
        SpoolBatch a = append(&scene, 0, 1);
        SpoolBatch b = append(&scene, 0, 2);
        assert_true(a.first == 1 && b.first == 2 && epoch_equal(&a.epoch, &b.epoch));
        bool sound = false;
        assert_int_equal(check_batch(&scene, 0, &a, &sound), 1);
        char byte;
        assert_int_equal(spool_fetch(scene.spool, 0, &a.epoch, 1, &byte, 1),
                         SPOOL_E_UNKNOWN); /* not of this size */
        spool_rotate(scene.spool, 0);      /* so that the segment can go */
        spool_release(scene.spool, 0, &b.epoch, 2, &b.totals);
        assert_int_equal(check_batch(&scene, 0, &a, &sound), 1);
        assert_int_equal(status_of(&scene).batches, 2);
        assert_int_equal(status_of(&scene).held.octets, b.totals.octets);
        assert_true(status_of(&scene).oldest_ms < 60000);
        spool_release(scene.spool, 1, &a.epoch, 1, &a.totals);
        assert_int_equal(status_of(&scene).batches, 1);
        spool_release(scene.spool, 1, &b.epoch, 2, &b.totals);
        spool_release(scene.spool, 1, &b.epoch, 2, &b.totals); /* unknown by now: nothing happens */
        assert_int_equal(spool_peek(scene.spool, 0, &a.epoch, 1, &a), SPOOL_E_UNKNOWN);
        SpoolStatus status = status_of(&scene);
        assert_true(!status.batches && !status.bytes && !status.held.flows && !status.oldest_ms);
        assert_int_equal(status.appended.octets, b.totals.octets);
        scene_close(&scene);
    }
    scene_remove(&scene);
    (void)state;
}

static void check_limit(Scene *scene, uint64_t limit) {
    BatchCounts appended = {0};
    SpoolBatch last = {0};
    for (uint64_t i = 1; i <= 2000; i++) {
        last = append(scene, 0, i);
        appended = batch_counts_add(appended, last.counts);
        assert_true(status_of(scene).bytes <= limit);
    }
    SpoolStatus status = status_of(scene);
    assert_true(status.dropped_batches > 100 && status.batches > 100);
    assert_true(batch_counts_equal(batch_counts_add(status.held, status.dropped), appended));
    assert_int_equal(status.batches + status.dropped_batches, 2000);
    (void)spool_flush(scene->spool);
    size_t open = 0; /* though nobody reads */
    for (size_t i = 0; i < scene->spool->n_segments; i++)
        open += scene->spool->segments[i]->fd >= 0;
    assert_true(open <= 5 && scene->spool->n_segments > 10);
    const SpoolDrop *drop = &scene->drops[(scene->n_drops - 1) % 64];
    assert_int_equal(drop->last, status.dropped_batches);
    assert_true(batch_counts_equal(drop->totals, status.dropped));
    SpoolBatch batch;
    assert_int_equal(spool_peek(scene->spool, 0, &last.epoch, 5, &batch), 0);
    assert_true(batch.gap && batch.last == drop->last);
    assert_true(batch_counts_equal(batch.totals, drop->totals));
    assert_int_equal(spool_peek(scene->spool, 0, &last.epoch, batch.last + 1, &batch), 0);
    assert_false(batch.gap);
}

static void test_oldest_goes(void **state) {
    (void)state;
    Scene scene;
    scene_make(&scene);
    scene.config.limit_bytes = scene.config.memory_bytes = 1 << 20;
    scene.config.folder = NULL;
    scene_open(&scene);
    check_limit(&scene, 1 << 20);
    scene_close(&scene);

    scene.config.folder = scene.folder;
    scene.n_drops = 0;
    scene_open(&scene);
    check_limit(&scene, 1 << 20);
    BatchCounts dropped = status_of(&scene).dropped;
    uint64_t missing = status_of(&scene).dropped_batches;
    scene_kill(&scene); /* and another run knows it as well */
    scene_open(&scene);
    Found found;
    find_all(&scene, 0, &found);
    assert_int_equal(found.missing, missing);
    assert_true(batch_counts_equal(found.gaps, dropped));
    assert_int_equal(found.batches, 2000 - missing);
    assert_int_equal(found.numbers[0], missing + 1);
    scene_remove(&scene);
}

/* of an epoch whose last batch is gone only the cursors know */
static void test_gap_at_the_end(void **state) {
    (void)state;
    Scene scene;
    scene_make(&scene);
    scene.config.limit_bytes = 1 << 20;
    scene_open(&scene);
    SpoolBatch first = {0};
    for (uint64_t i = 1; i <= 10; i++)
        first = append(&scene, 0, i);
    spool_rotate(scene.spool, 0);
    for (uint64_t i = 11; i <= 1500; i++)
        append(&scene, 0, i);
    scene_kill(&scene);
    scene_open(&scene);
    SpoolFormer former;
    assert_true(spool_former(scene.spool, 0, 0, &former));
    assert_true(epoch_equal(&former.epoch, &first.epoch) && former.last == 10);
    assert_true(batch_counts_equal(former.last_totals, first.totals));
    SpoolBatch batch;
    assert_int_equal(spool_peek(scene.spool, 0, &former.epoch, 1, &batch), 0);
    assert_true(batch.gap && batch.last == 10);
    spool_release(scene.spool, 0, &former.epoch, 10, &former.last_totals);
    assert_int_equal(spool_peek(scene.spool, 0, &first.epoch, 1, &batch), SPOOL_E_UNKNOWN);
    scene_close(&scene);
    scene_open(&scene);
    assert_true(spool_former(scene.spool, 0, 0, &former));
    assert_false(epoch_equal(&former.epoch, &first.epoch)); /* told once is enough */
    scene_remove(&scene);
}

/* what is over is remembered, for the very same hub, by the next run as well */
static void test_over(void **state) {
    (void)state;
    Scene scene;
    SpoolFormer former;
    SpoolBatch last = {0};
    scene_make(&scene);
    scene_open(&scene);
    for (uint64_t run = 0; run < OVER_MAX + 3; run++) {
        spool_rotate(scene.spool, 0);
        for (uint64_t i = 1; i <= 5; i++)
            last = append(&scene, 0, run * 5 + i);
        assert_false(spool_finished(scene.spool, 0, run, &former));
        spool_release(scene.spool, 0, &last.epoch, 5, &last.totals);
    }
    spool_rotate(scene.spool, 0);
    append(&scene, 0, 1000);
    for (int run = 0; run < 3; run++) {
        assert_false(spool_finished(scene.spool, 0, OVER_MAX, &former));
        assert_true(spool_finished(scene.spool, 0, OVER_MAX - 1, &former));
        assert_true(epoch_equal(&former.epoch, &last.epoch));
        assert_true(former.stored == 5 && former.last == 5 && !former.bytes);
        assert_true(batch_counts_equal(former.stored_totals, last.totals));
        assert_true(batch_counts_equal(former.last_totals, last.totals));
        scene_close(&scene);
        scene_open(&scene);
        assert_true(spool_former(scene.spool, 0, 0, &former));
        assert_int_equal(former.last, 1);
    }
    scene_close(&scene);
    scene.config.hubs[0]++; /* another key at the same endpoint never had any of it */
    scene_open(&scene);
    assert_false(spool_finished(scene.spool, 0, 0, &former));
    assert_true(spool_former(scene.spool, 0, 0, &former));
    scene_remove(&scene);
}

/* --- another run ---------------------------------------------------------------------------- */

static void test_next_run(void **state) {
    (void)state;
    Scene scene;
    scene_make(&scene);
    scene.config.limit_bytes = 2 << 20; /* segments of 128 kB */
    BatchCounts totals = {0};
    uint64_t n = 0;
    for (unsigned run = 0; run < 3; run++) {
        scene_open(&scene);
        for (unsigned i = 0; i < 500; i++)
            totals = batch_counts_add(totals, append(&scene, 0, ++n).counts);
        assert_int_equal(spool_flush(scene.spool), 0);
        if (run == 1)
            scene_kill(&scene);
        else
            scene_close(&scene);
    }
    char names[SCENE_FILES_MAX][64];
    assert_true(scene_files(&scene, ".zst", names) > 3);
    scene_open(&scene);
    Found found;
    find_all(&scene, 0, &found);
    assert_int_equal(found.batches, n);
    assert_int_equal(found.missing, 0);
    for (uint64_t i = 0; i < n; i++)
        assert_int_equal(found.numbers[i], i + 1);
    assert_true(batch_counts_equal(found.counts, totals));
    assert_true(batch_counts_equal(status_of(&scene).held, totals));
    size_t indexed = 0;
    for (size_t i = 0; i < scene.spool->n_segments; i++)
        indexed += scene.spool->segments[i]->offsets != NULL;
    assert_true(indexed <= 4 && scene.spool->n_segments > 6); /* memory does not grow with it */

    SpoolFormer former; /* half of the first epoch is stored, and remembered */
    assert_true(spool_former(scene.spool, 0, 0, &former));
    SpoolBatch batch;
    assert_int_equal(spool_peek(scene.spool, 0, &former.epoch, 250, &batch), 0);
    spool_release(scene.spool, 0, &former.epoch, 250, &batch.totals);
    scene_close(&scene);
    scene_open(&scene);
    assert_true(spool_former(scene.spool, 0, 0, &former));
    assert_int_equal(former.stored, 250);
    assert_true(batch_counts_equal(former.stored_totals, batch.totals));
    release_all(&scene, 0);
    assert_int_equal(status_of(&scene).bytes, 0);
    scene_close(&scene);
    assert_int_equal(scene_files(&scene, ".zst", names), 0);
    scene_remove(&scene);
}

/* what hubs store is noted now and then, not only at the end */
static void test_cursors_now_and_then(void **state) {
    (void)state;
    Scene scene;
    scene_make(&scene);
    scene_open(&scene);
    SpoolBatch batch = {0};
    for (uint64_t i = 1; i <= 10; i++)
        batch = append(&scene, 0, i);
    assert_int_equal(spool_peek(scene.spool, 0, &batch.epoch, 6, &batch), 0);
    spool_release(scene.spool, 0, &batch.epoch, 6, &batch.totals);
    bool changed = true;
    for (int i = 0; i < 500 && changed; i++) {
        (void)pthread_mutex_lock(&scene.spool->lock);
        scene.spool->cursors_ms = 0;
        changed = scene.spool->cursors_changed;
        (void)pthread_mutex_unlock(&scene.spool->lock);
        (void)usleep(10000);
    }
    assert_false(changed);
    (void)usleep(100000); /* it is being written */
    scene_kill(&scene);
    scene_open(&scene);
    SpoolFormer former;
    assert_true(spool_former(scene.spool, 0, 0, &former));
    assert_int_equal(former.stored, 6);
    assert_true(batch_counts_equal(former.stored_totals, batch.totals));
    scene_remove(&scene);
}

static void test_limit_made_smaller(void **state) {
    (void)state;
    Scene scene;
    scene_make(&scene);
    scene.config.limit_bytes = 4 << 20;
    scene_open(&scene);
    for (uint64_t i = 1; i <= 2000; i++)
        append(&scene, 0, i);
    scene_close(&scene);
    scene.config.limit_bytes = 1 << 20;
    scene_open(&scene);
    SpoolStatus status = status_of(&scene);
    assert_true(status.bytes <= 1 << 20 && status.dropped_batches > 0);
    Found found;
    find_all(&scene, 0, &found);
    assert_int_equal(found.missing, status.dropped_batches);
    assert_int_equal(found.batches + found.missing, 2000);
    scene_remove(&scene);
}

/* the only hub left is b, which gets all, and no gap of what a has */
static void test_hub_is_gone(Scene *scene, const EpochId *former_name) {
    Found found;
    SpoolFormer former;
    scene->config.n_hubs = 1;
    scene->n_words = 0;
    EpochId name = {0};
    for (int run = 0; run < 3; run++) { /* under the same name each time */
        scene_open(scene);
        assert_int_equal(scene_words(scene, 1), 1);
        find_all(scene, 0, &found);
        assert_int_equal(found.batches, 42);
        assert_int_equal(found.missing, 0);
        assert_true(spool_former(scene->spool, 0, 0, &former));
        assert_true(former.last == 12 && !former.stored && !former.stored_totals.flows);
        assert_false(epoch_equal(&former.epoch, former_name));
        assert_true(run == 0 || epoch_equal(&former.epoch, &name));
        name = former.epoch;
        if (run == 1) {
            scene_kill(scene);
            continue;
        }
        scene_close(scene);
    }
}

static void test_hub_has_moved(Scene *scene) {
    SpoolFormer former;
    scene->config.hubs[0] =
        0x0000000c00000007; /* an only hub with the same key is the same hub, which has moved */
    scene_open(scene);
    assert_true(spool_former(scene->spool, 0, 1, &former));
    assert_int_equal(former.last, 30);
    append(scene, 0, 1000); /* and stays so, though there is something for its new endpoint now */
    scene_kill(scene);
    scene_open(scene);
    assert_true(spool_former(scene->spool, 0, 1, &former));
    assert_int_equal(former.last, 30);
    assert_int_equal(former.stored, 0);
    release_all(scene, 0);
    assert_int_equal(status_of(scene).bytes, 0);
}

static void test_hubs_come_and_go(void **state) {
    (void)state;
    const uint64_t a = 0x0000000a00000007, b = 0x0000000b00000007;
    Scene scene;
    scene_make(&scene);
    scene.config.n_hubs = 2;
    scene.config.hubs[0] = a;
    scene.config.hubs[1] = b;
    scene_open(&scene);
    SpoolBatch half = {0};
    for (uint64_t i = 1; i <= 20; i++) {
        SpoolBatch batch = append(&scene, 0, i);
        if (i == 8)
            half = batch;
    }
    for (uint64_t i = 101; i <= 130; i++)
        append(&scene, 1, i);
    spool_release(scene.spool, 0, &half.epoch, 8, &half.totals);
    scene_close(&scene);

    scene.config.hubs[0] = b; /* the other way round: each still gets its own */
    scene.config.hubs[1] = a;
    scene_open(&scene);
    Found found;
    find_all(&scene, 0, &found);
    assert_true(found.batches == 30 && found.numbers[0] == 101);
    find_all(&scene, 1, &found);
    assert_true(found.batches == 12 && found.numbers[0] == 9);
    scene_close(&scene);

    test_hub_is_gone(&scene, &half.epoch);
    test_hub_has_moved(&scene);
    scene_remove(&scene);
}

/* --- threads -------------------------------------------------------------------------------- */

static void *take_all(void *arg) {
    Scene *scene = arg;
    EpochId epoch = {0};
    (void)pthread_mutex_lock(&scene->spool->lock);
    epoch = scene->spool->lanes[0].epoch->id;
    (void)pthread_mutex_unlock(&scene->spool->lock);
    for (uint64_t at = 1; at <= 3000;) {
        SpoolBatch batch;
        if (spool_peek(scene->spool, 0, &epoch, at, &batch))
            continue;
        bool sound = false;
        assert_false(batch.gap);
        assert_int_equal(check_batch(scene, 0, &batch, &sound), at);
        assert_true(sound);
        spool_release(scene->spool, 0, &epoch, at, &batch.totals);
        at++;
    }
    return NULL;
}

static void test_two_threads(void **state) {
    (void)state;
    Scene scene;
    scene_make(&scene);
    for (int on_disk = 0; on_disk < 3; on_disk++) {
        scene.config.folder = on_disk ? scene.folder : NULL;
        scene.config.recent_bytes = on_disk == 2 ? 64 << 10 : 0;
        scene.config.limit_bytes = 4 << 20;
        scene_open(&scene);
        append(&scene, 0, 1);
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, take_all, &scene), 0);
        for (uint64_t i = 2; i <= 3000; i++) {
            append_sized(&scene, 0, i, 400);
            if (i % 100 == 0)
                (void)spool_flush(scene.spool);
        }
        assert_int_equal(pthread_join(thread, NULL), 0);
        assert_int_equal(status_of(&scene).batches, 0);
        scene_close(&scene);
    }
    scene_remove(&scene);
}

/* what a hub had stored, and this run did not know of, is not dropped */
static void test_lower_limit_of_what_is_stored(void **state) {
    (void)state;
    Scene scene;
    scene_make(&scene);
    scene.config.limit_bytes = 1 << 20;
    scene_open(&scene);
    BatchCounts stored = {0};
    SpoolBatch batch = {0};
    for (uint64_t i = 1; i <= 600; i++) {
        batch = append(&scene, 0, i);
        if (i == 20)
            stored = batch.totals;
    }
    scene_close(&scene);
    scene.config.limit_bytes = 200 << 10;
    scene_open(&scene);
    const SpoolStatus before = status_of(&scene);
    assert_true(before.dropped_batches > 100);
    spool_release(scene.spool, 0, &batch.epoch, 20, &stored); /* as the hub says when it is there */
    SpoolStatus after = status_of(&scene);
    assert_int_equal(after.dropped_batches, before.dropped_batches - 20);
    assert_true(batch_counts_equal(batch_counts_add(after.dropped, stored), before.dropped));

    /* the gap is told, and confirmed */
    SpoolBatch gap;
    assert_int_equal(spool_peek(scene.spool, 0, &batch.epoch, 21, &gap), 0);
    assert_true(gap.gap);
    assert_true(batch_counts_equal(batch_counts_subtract(gap.totals, stored), after.dropped));
    spool_release(scene.spool, 0, &batch.epoch, gap.last, &gap.totals);
    after = status_of(&scene);
    assert_int_equal(after.dropped_batches, before.dropped_batches - 20);
    scene_remove(&scene);
}

static void test_lower_limit_notes_once(void **state) {
    (void)state;
    Scene scene;
    scene_make(&scene);
    scene.config.limit_bytes = 1 << 20;
    scene_open(&scene);
    for (uint64_t i = 1; i <= 600; i++)
        append(&scene, 0, i);
    BatchCounts all = status_of(&scene).held;
    scene_close(&scene);
    char names[SCENE_FILES_MAX][64];
    size_t n_before = scene_files(&scene, ".zst", names);
    scene.config.limit_bytes = 200 << 10;
    scene_open(&scene);
    assert_int_equal(scene.spool->cursors_written, 1);
    SpoolStatus status = status_of(&scene);
    assert_true(status.disk_bytes <= 200 << 10 && status.disk_bytes > 0);
    assert_true(batch_counts_equal(batch_counts_add(status.held, status.dropped), all));
    size_t n_after = scene_files(&scene, ".zst", names);
    assert_true(n_after + 3 < n_before);
    scene_kill(&scene);
    scene_open(&scene); /* the note is there */
    SpoolFormer former;
    assert_true(spool_former(scene.spool, 0, 0, &former));
    SpoolBatch batch;
    assert_int_equal(spool_peek(scene.spool, 0, &former.epoch, former.stored + 1, &batch), 0);
    assert_true(batch.gap);
    assert_int_equal(batch.last, status.dropped_batches);
    assert_true(batch_counts_equal(status_of(&scene).held, status.held));
    scene_remove(&scene);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lower_limit_of_what_is_stored),
        cmocka_unit_test(test_lower_limit_notes_once),
        cmocka_unit_test(test_kept_until_all_released),
        cmocka_unit_test(test_oldest_goes),
        cmocka_unit_test(test_gap_at_the_end),
        cmocka_unit_test(test_next_run),
        cmocka_unit_test(test_cursors_now_and_then),
        cmocka_unit_test(test_over),
        cmocka_unit_test(test_limit_made_smaller),
        cmocka_unit_test(test_hubs_come_and_go),
        cmocka_unit_test(test_two_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
