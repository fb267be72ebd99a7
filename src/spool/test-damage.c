/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Whatever the folder of a spool holds, and however its disk fails: what can be read is what was
 * appended, in order, and of what is missing everything is known that can be.
 */

#include "spool/spool-scene.h"

#include <arpa/inet.h>
#include <sys/mount.h>

#include "base/crc32c.h"

/* --- damage --------------------------------------------------------------------------------- */

/* three records; their ends */
static size_t write_three(Scene *scene, size_t ends[3]) {
    scene_open(scene);
    for (uint64_t i = 1; i <= 3; i++) {
        append_sized(scene, 0, i, 400);
        ends[i - 1] = (size_t)status_of(scene).disk_bytes;
    }
    scene_kill(scene);
    return ends[2];
}

static const char *only_segment(const Scene *scene) {
    static char names[SCENE_FILES_MAX][64];
    assert_int_equal(scene_files(scene, ".zst", names), 1);
    return names[0];
}

static void test_torn_tail(void **state) {
    (void)state;
    Scene scene;
    scene_make(&scene);
    size_t ends[3];
    size_t size = write_three(&scene, ends);
    Buffer bytes = {0};
    char name[64];
    (void)snprintf(name, sizeof(name), "%s", only_segment(&scene));
    scene_read(&scene, name, &bytes);
    assert_int_equal(bytes.size, size);
    size_t head = RECORD_HEAD_MIN_BYTES + 8;
    for (size_t cut = ends[1]; cut <= size; cut++) {
        scene_clear(&scene);
        scene_write(&scene, name, bytes.bytes, cut);
        scene_open(&scene);
        Found found;
        find_all(&scene, 0, &found);
        assert_int_equal(found.batches, cut == size ? 3 : 2);
        /* with its head whole it is an exact gap */
        bool gap = cut >= ends[1] + head && cut < size;
        assert_int_equal(found.missing, gap);
        if (gap)
            assert_true(batch_counts_equal(found.gaps, counts_of(3)));
        assert_int_equal(status_of(&scene).torn_bytes, cut == size ? 0 : cut - ends[1]);
        append(&scene, 0, 4); /* and life goes on */
        release_all(&scene, 0);
        scene_close(&scene);
    }
    buffer_deinit(&bytes);
    scene_remove(&scene);
}

static void test_flipped_bits(void **state) {
    (void)state;
    Scene scene;
    scene_make(&scene);
    size_t ends[3];
    size_t size = write_three(&scene, ends);
    Buffer bytes = {0};
    char name[64];
    (void)snprintf(name, sizeof(name), "%s", only_segment(&scene));
    scene_read(&scene, name, &bytes);
    for (size_t i = 0; i < size; i++) {
        scene_clear(&scene);
        uint8_t was = bytes.bytes[i];
        bytes.bytes[i] ^= (uint8_t)(1u << hash_u64(i, 3) % 8);
        scene_write(&scene, name, bytes.bytes, size);
        bytes.bytes[i] = was;
        scene_open(&scene);
        Found found;
        find_all(&scene, 0, &found); /* asserts that what is read is what was written */
        assert_int_equal(found.batches, 2);
        uint64_t hurt = i < ends[0] ? 1 : i < ends[1] ? 2 : 3;
        assert_int_equal(found.numbers[0], hurt == 1 ? 2 : 1);
        assert_int_equal(found.numbers[1], hurt == 3 ? 2 : 3);
        if (found.missing)
            assert_true(batch_counts_equal(found.gaps, counts_of(hurt)));
        else
            assert_true(hurt == 3); /* the last one's head: nobody knows of it any more */
        assert_true(status_of(&scene).torn_bytes > 0);
        scene_kill(&scene);
    }
    buffer_deinit(&bytes);
    scene_remove(&scene);
}

/* what the disk had when the power went: up to the last commit, then anything */
static void test_power_lost(void **state) {
    (void)state;
    Scene scene;
    Buffer bytes = {0};
    for (uint64_t round = 0; round < 40; round++) {
        scene_make(&scene);
        scene_open(&scene);
        uint64_t n = 0;
        for (uint64_t i = hash_u64(round, 1) % 50; i; i--)
            append(&scene, 0, ++n);
        assert_int_equal(spool_flush(scene.spool), 0);
        size_t synced = (size_t)status_of(&scene).disk_bytes;
        uint64_t committed = n;
        for (uint64_t i = hash_u64(round, 2) % 50; i; i--)
            append(&scene, 0, ++n);
        scene_kill(&scene);
        if (n) {
            char name[64];
            (void)snprintf(name, sizeof(name), "%s", only_segment(&scene));
            scene_read(&scene, name, &bytes);
            size_t kept = synced + hash_u64(round, 4) % (bytes.size - synced + 1);
            for (size_t i = kept; i < bytes.size; i++) /* garbage, or blocks never written */
                bytes.bytes[i] = round % 2 ? (uint8_t)hash_u64(i, round) : 0;
            scene_write(&scene, name, bytes.bytes, bytes.size);
        }
        scene_open(&scene);
        Found found;
        find_all(&scene, 0, &found);
        assert_true(found.batches >= committed && found.batches <= n);
        for (uint64_t i = 0; i < found.batches; i++)
            assert_int_equal(found.numbers[i], i + 1);
        scene_remove(&scene);
    }
    buffer_deinit(&bytes);
}

static void test_cursors_damaged(void **state) {
    (void)state;
    Scene scene;
    scene_make(&scene);
    scene_open(&scene);
    for (uint64_t i = 1; i <= 9; i++)
        append(&scene, 0, i);
    scene_close(&scene);
    Buffer old = {0};
    scene_read(&scene, CURSORS_NAME, &old);
    scene_open(&scene);
    SpoolFormer former;
    SpoolBatch batch;
    assert_true(spool_former(scene.spool, 0, 0, &former));
    assert_int_equal(spool_peek(scene.spool, 0, &former.epoch, 5, &batch), 0);
    spool_release(scene.spool, 0, &former.epoch, 5, &batch.totals);
    scene_close(&scene);
    Buffer bytes = {0};
    scene_read(&scene, CURSORS_NAME, &bytes);
    Found found;
    scene_write(&scene, CURSORS_NAME, old.bytes, old.size);
    for (int run = 0; run < 2; run++) { /* an old one, and then it is gone */
        scene_open(&scene);
        find_all(&scene, 0, &found);
        assert_int_equal(found.batches, 9);
        assert_int_equal(status_of(&scene).set_aside, 0);
        scene_kill(&scene);
        char path[256];
        scene_path(&scene, CURSORS_NAME, path, sizeof(path));
        (void)unlink(path);
    }
    for (size_t cut = 0; cut <= bytes.size; cut++) { /* half of it, or none */
        scene_write(&scene, CURSORS_NAME, bytes.bytes, cut);
        scene_open(&scene);
        find_all(&scene, 0, &found);
        assert_int_equal(found.batches, cut == bytes.size ? 4 : 9);
        scene_kill(&scene);
    }
    for (size_t i = 0; i < bytes.size; i++) { /* garbage */
        bytes.bytes[i] ^= 0x10;
        scene_write(&scene, CURSORS_NAME, bytes.bytes, bytes.size);
        bytes.bytes[i] ^= 0x10;
        scene_open(&scene);
        find_all(&scene, 0, &found);
        assert_int_equal(found.batches, 9);
        assert_int_equal(status_of(&scene).set_aside, 1);
        scene_kill(&scene);
    }
    buffer_deinit(&bytes);
    buffer_deinit(&old);
    scene_remove(&scene);
}

/* by hand, while no probe ran: the newest of an epoch, and then all of it */
static void test_segments_removed(void **state) {
    (void)state;
    Scene scene;
    char names[SCENE_FILES_MAX][64];
    char path[256];
    BatchCounts all = {0};
    scene_make(&scene);
    scene.config.limit_bytes = 1 << 20; /* segments of 64 KB */
    scene_open(&scene);
    for (uint64_t i = 1; i <= 200; i++)
        all = batch_counts_add(all, append(&scene, 0, i).counts);
    scene_close(&scene);
    size_t n = scene_files(&scene, ".zst", names);
    assert_true(n > 2);
    for (size_t keep = n - 1; keep <= n; keep--) {
        scene_path(&scene, names[keep], path, sizeof(path));
        assert_int_equal(unlink(path), 0);
        const unsigned n_words = scene_words(&scene, 0);
        scene_open(&scene);
        Found found;
        find_all(&scene, 0, &found);
        assert_int_equal(found.batches + found.missing, 200);
        assert_true(found.missing > 0 && (keep > 0 || found.missing == 200));
        assert_true(batch_counts_equal(batch_counts_add(found.counts, found.gaps), all));
        assert_true(scene_words(&scene, n_words + 1) > n_words);
        scene_close(&scene);
    }
    scene_remove(&scene);
}

static void test_foreign_files(void **state) {
    (void)state;
    Scene scene;
    scene_make(&scene);
    scene_open(&scene);
    append(&scene, 0, 1);
    scene_close(&scene);
    char name[64];
    (void)snprintf(name, sizeof(name), "%s", only_segment(&scene));
    Buffer bytes = {0};
    scene_read(&scene, name, &bytes);
    scene_write(&scene, "notes.txt", "mine", 4);
    scene_write(&scene, "00000000000000aa.ipfix.zst",
                "This is somebody's letter. It says nothing "
                "of flows, and it is longer than the head of a record would be, as it has to be, "
                "so that nobody takes it for a record that was cut off, ever, by anyone.",
                180);
    scene_write(&scene, "00000000000000ab.ipfix.zst", "", 0);
    scene_write(&scene, "00000000000000ac.ipfix.zst", bytes.bytes, bytes.size); /* a copy */
    bytes.bytes[12] = 9;                                                        /* of version 9 */
    size_t check = RECORD_HEAD_MIN_BYTES + 8 - 4;
    uint32_t crc = htonl(crc32c(0, bytes.bytes + 8, check - 8));
    memcpy(bytes.bytes + check, &crc, sizeof(crc));
    scene_write(&scene, "00000000000000ad.ipfix.zst", bytes.bytes, bytes.size);
    scene_open(&scene);
    Found found;
    find_all(&scene, 0, &found);
    assert_int_equal(found.batches, 1);
    assert_int_equal(status_of(&scene).set_aside, 2);
    assert_non_null(strstr(scene.word, "newer version")); /* which may run again */
    assert_non_null(strstr(scene.word, "00000000000000ad.ipfix.zst"));
    char names[SCENE_FILES_MAX][64];
    assert_int_equal(scene_files(&scene, ".bad", names), 2);
    assert_int_equal(scene_files(&scene, ".zst", names), 2);
    assert_string_equal(names[1], "00000000000000ad.ipfix.zst");
    assert_int_equal(scene_files(&scene, "notes.txt", names), 1);
    append(&scene, 0, 2); /* under a number that none of them had */
    scene_close(&scene);
    assert_int_equal(scene_files(&scene, "00000000000000ae.ipfix.zst", names), 1);
    buffer_deinit(&bytes);
    scene_remove(&scene);
}

static void test_segment_missing_in_the_middle(void **state) {
    (void)state;
    Scene scene;
    scene_make(&scene);
    scene.config.limit_bytes = 1 << 20;
    scene_open(&scene);
    for (uint64_t i = 1; i <= 300; i++)
        append(&scene, 0, i);
    scene_close(&scene);
    char names[SCENE_FILES_MAX][64];
    char path[256];
    assert_true(scene_files(&scene, ".zst", names) >= 4);
    scene_path(&scene, names[1], path, sizeof(path));
    assert_int_equal(unlink(path), 0);
    scene_open(&scene);
    Found found; /* asserts that the totals still add up */
    find_all(&scene, 0, &found);
    assert_true(found.missing > 10);
    assert_int_equal(found.batches + found.missing, 300);
    scene_remove(&scene);
}

/* --- a disk that is full -------------------------------------------------------------------- */

static void test_disk_full(void **state) {
    (void)state;
    Scene scene;
    scene_make(&scene);
    if (mount("weir", scene.folder, "tmpfs", 0, "size=1m") < 0) {
        print_message("a file system of its own needs root: skipped\n");
        scene_remove(&scene);
        skip();
    }
    static uint8_t filler[512 << 10];
    scene_write(&scene, "filler", filler, sizeof(filler));
    scene_open(&scene);
    BatchCounts totals = {0};
    uint64_t n = 0;
    while (n < 1500) { /* 1.5 MB: a part on the disk, the rest in memory, none lost */
        totals = batch_counts_add(totals, append(&scene, 0, ++n).counts);
        assert_int_equal(status_of(&scene).dropped_batches, 0);
    }
    SpoolStatus status = status_of(&scene);
    assert_int_equal(status.disk, SPOOL_DISK_FULL);
    assert_non_null(strstr(status.reason, "No space left"));
    assert_true(status.disk_bytes > 200000 && status.memory_bytes > 200000);
    assert_int_equal(scene_words(&scene, 1), 1); /* said once */
    assert_true(batch_counts_equal(status.held, totals));
    assert_int_equal(spool_flush(scene.spool), SPOOL_E_VOLATILE);

    char path[256]; /* room again: what is in memory moves out */
    scene_path(&scene, "filler", path, sizeof(path));
    assert_int_equal(mount("weir", scene.folder, NULL, MS_REMOUNT, "size=8m"), 0);
    assert_int_equal(unlink(path), 0);
    (void)pthread_mutex_lock(&scene.spool->lock);
    scene.spool->disk_again_ms = 0;
    (void)pthread_mutex_unlock(&scene.spool->lock);
    totals = batch_counts_add(totals, append(&scene, 0, ++n).counts);
    status = status_of(&scene);
    assert_int_equal(status.disk, SPOOL_DISK_GOOD);
    assert_int_equal(status.memory_bytes, 0);
    assert_int_equal(scene_words(&scene, 2), 2);
    assert_int_equal(spool_flush(scene.spool), 0);
    scene_kill(&scene);
    scene_open(&scene);
    Found found;
    find_all(&scene, 0, &found);
    assert_int_equal(found.batches, n);
    assert_int_equal(found.missing, 0);
    for (uint64_t i = 0; i < n; i++)
        assert_int_equal(found.numbers[i], i + 1);
    scene_close(&scene);
    (void)umount2(scene.folder, MNT_DETACH);
    scene_remove(&scene);
}

/* disk and memory full: the oldest goes, which makes room on the disk */
static void test_all_full(void **state) {
    (void)state;
    Scene scene;
    scene_make(&scene);
    if (mount("weir", scene.folder, "tmpfs", 0, "size=1m") < 0) {
        scene_remove(&scene);
        skip();
    }
    scene.config.limit_bytes = 4 << 20;
    scene.config.memory_bytes = 1 << 20;
    scene_open(&scene);
    BatchCounts appended = {0};
    for (uint64_t i = 1; i <= 4000; i++)
        appended = batch_counts_add(appended, append(&scene, 0, i).counts);
    SpoolStatus status = status_of(&scene);
    assert_true(status.dropped_batches > 500);
    assert_true(batch_counts_equal(batch_counts_add(status.held, status.dropped), appended));
    assert_true(status.memory_bytes <= 1 << 20 && status.disk_bytes > 400000);
    scene_close(&scene);
    (void)umount2(scene.folder, MNT_DETACH);
    scene_remove(&scene);
}

/* what another hub was given it finds again, by the same name, though the file that says so is lost
 */
static void test_adopted_without_cursors(void **state) {
    (void)state;
    for (int how = 0; how < 3; how++) {
        Scene scene;
        SpoolBatch batch = {0};
        SpoolFormer first, second;
        char path[256];
        scene_make(&scene);
        scene_open(&scene);
        for (uint64_t i = 1; i <= 20; i++)
            batch = append(&scene, 0, i);
        assert_int_equal(spool_peek(scene.spool, 0, &batch.epoch, 8, &batch), 0);
        spool_release(scene.spool, 0, &batch.epoch, 8, &batch.totals);
        scene_close(&scene);
        scene.config.hubs[0] = 0x0000000700000009; /* another, at another place */
        scene_open(&scene);
        assert_true(spool_former(scene.spool, 0, 0, &first));
        assert_false(epoch_equal(&first.epoch, &batch.epoch));
        assert_int_equal(first.last, 12);
        assert_int_equal(spool_peek(scene.spool, 0, &first.epoch, 5, &batch), 0);
        spool_release(scene.spool, 0, &first.epoch, 5, &batch.totals);
        scene_close(&scene);
        scene_path(&scene, how == 0 ? ADOPTED_NAME : CURSORS_NAME, path, sizeof(path));
        if (how == 2)
            assert_int_equal(truncate(path, 30), 0);
        else
            assert_int_equal(unlink(path), 0);
        scene_open(&scene);
        assert_true(spool_former(scene.spool, 0, 0, &second));
        assert_true(epoch_equal(&first.epoch, &second.epoch));
        assert_int_equal(second.last, 12);
        assert_true(batch_counts_equal(second.last_totals, first.last_totals));
        assert_int_equal(second.stored, how == 0 ? 5 : 0); /* the hub knows better */
        scene_remove(&scene);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_adopted_without_cursors),
        cmocka_unit_test(test_torn_tail),
        cmocka_unit_test(test_flipped_bits),
        cmocka_unit_test(test_power_lost),
        cmocka_unit_test(test_cursors_damaged),
        cmocka_unit_test(test_segments_removed),
        cmocka_unit_test(test_foreign_files),
        cmocka_unit_test(test_segment_missing_in_the_middle),
        cmocka_unit_test(test_disk_full),
        cmocka_unit_test(test_all_full),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
