/* SPDX-License-Identifier: Apache-2.0 */

/*
 * When much is appended, records are held back for a moment to be written together. Nobody sees
 * that: they can be read at once, and a disk that fails then loses none of them.
 */

#include "spool/spool-scene.h"

#include <errno.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <sys/uio.h>

enum { N = 60 };

static atomic_int write_error; /* of every write */
static atomic_int one_in;      /* ... but of one in so many, when it is not 0 */
static atomic_bool halves;     /* a write takes half of what it was given */
static atomic_uint n_writes, n_together;

static bool fails(void) {
    const unsigned n = atomic_fetch_add(&n_writes, 1);
    const int each = atomic_load(&one_in);
    errno = atomic_load(&write_error);
    return errno && (!each || hash_u64(n, 3) % (unsigned)each == 0);
}

ssize_t pwrite(int fd, const void *bytes, size_t size, off_t offset) {
    return fails() ? -1 : syscall(SYS_pwrite64, fd, bytes, size, offset);
}

ssize_t pwritev(int fd, const struct iovec *parts, int n, off_t offset) {
    if (fails())
        return -1;
    (void)atomic_fetch_add(&n_together, 1);
    if (!atomic_load(&halves))
        return syscall(SYS_pwritev, fd, parts, n, offset, 0);
    const ssize_t whole = syscall(SYS_pwritev, fd, parts, n / 2, offset, 0);
    const ssize_t part =
        syscall(SYS_pwrite64, fd, parts[n / 2].iov_base, parts[n / 2].iov_len / 2, offset + whole);
    return whole + part;
}

static uint64_t file_bytes(const Scene *scene) {
    char names[SCENE_FILES_MAX][64];
    char path[256];
    struct stat st;
    uint64_t bytes = 0;
    const size_t n = scene_files(scene, ".zst", names);
    for (size_t i = 0; i < n; i++) {
        scene_path(scene, names[i], path, sizeof(path));
        assert_int_equal(stat(path, &st), 0);
        bytes += (uint64_t)st.st_size;
    }
    return bytes;
}

static void set_gather(Scene *scene, bool gather) {
    (void)pthread_mutex_lock(&scene->spool->lock);
    scene->spool->gather = gather;
    (void)pthread_mutex_unlock(&scene->spool->lock);
}

static void begin(Scene *scene, size_t recent_bytes) {
    atomic_store(&write_error, 0);
    atomic_store(&one_in, 0);
    atomic_store(&halves, false);
    scene_make(scene);
    scene->config.recent_bytes = recent_bytes;
    scene_open(scene);
    set_gather(scene, true);
}

/* of all that was appended every batch is there, in order */
static void check_all(Scene *scene, uint64_t n) {
    static Found found;
    find_all(scene, 0, &found);
    assert_int_equal(found.missing, 0);
    assert_int_equal(found.batches, n);
    for (uint64_t i = 0; i < n; i++)
        assert_int_equal(found.numbers[i], i + 1);
}

/** append_held_back() - while the committing thread, which wants the lock, can write nothing */
static void append_held_back(Scene *scene, SpoolBatch batches[N + 1]) {
    for (;;) {
        for (uint64_t i = 1; i <= N; i++)
            batches[i] = append(scene, 0, i);
        (void)pthread_mutex_lock(&scene->spool->lock);
        const Segment *active = scene->spool->lanes[0].active;
        if (active && active->n_tail > 2)
            return;
        (void)pthread_mutex_unlock(&scene->spool->lock); /* it was quicker: once more */
        spool_free(scene->spool);
        scene_clear(scene);
        scene_open(scene);
        set_gather(scene, true);
    }
}

static void test_read_at_once(void **state) {
    (void)state;
    for (int recent = 0; recent < 2; recent++) {
        Scene scene;
        SpoolBatch batches[N + 1];
        begin(&scene, recent ? 1 << 20 : 0);
        append_held_back(&scene, batches);
        assert_true(file_bytes(&scene) < status_of(&scene).disk_bytes);
        (void)pthread_mutex_unlock(&scene.spool->lock);
        for (uint64_t i = 1; i <= N; i++) {
            bool sound = false;
            assert_int_equal(check_batch(&scene, 0, &batches[i], &sound), i);
            assert_true(sound);
        }
        scene_remove(&scene);
    }
}

/* without a commit, and without another batch */
static void test_soon_written(void **state) {
    (void)state;
    Scene scene;
    SpoolBatch batches[N + 1];
    begin(&scene, 0);
    append_held_back(&scene, batches);
    (void)pthread_mutex_unlock(&scene.spool->lock);
    const uint64_t begun_ms = clock_monotonic_ms();
    while (file_bytes(&scene) < status_of(&scene).disk_bytes) {
        assert_true(clock_monotonic_ms() - begun_ms < 2000); /* 10 of it the spool's */
        (void)usleep(1000);
    }
    assert_true(atomic_load(&n_together) > 0);
    scene_kill(&scene);
    scene_open(&scene);
    check_all(&scene, N);
    scene_remove(&scene);
}

/* a write that takes less than it was given */
static void test_half_written(void **state) {
    (void)state;
    Scene scene;
    SpoolBatch batches[N + 1];
    begin(&scene, 0);
    atomic_store(&halves, true);
    append_held_back(&scene, batches);
    (void)pthread_mutex_unlock(&scene.spool->lock);
    assert_int_equal(spool_flush(scene.spool), 0);
    scene_kill(&scene);
    scene_open(&scene);
    check_all(&scene, N);
    scene_remove(&scene);
}

static void disk_again_now(Scene *scene) {
    (void)pthread_mutex_lock(&scene->spool->lock);
    scene->spool->disk_again_ms = 0;
    (void)pthread_mutex_unlock(&scene->spool->lock);
}

/* what was held back when the disk failed can be read, and is written when it works again */
static void test_disk_fails(void **state) {
    (void)state;
    static const int errors[] = {ENOSPC, EIO};
    for (size_t k = 0; k < 2; k++) {
        Scene scene;
        SpoolBatch batches[N + 1];
        begin(&scene, 0);
        append_held_back(&scene, batches);
        atomic_store(&write_error, errors[k]);
        (void)pthread_mutex_unlock(&scene.spool->lock);
        assert_int_equal(spool_flush(scene.spool), SPOOL_E_VOLATILE);
        assert_int_equal(status_of(&scene).disk, k ? SPOOL_DISK_FAILING : SPOOL_DISK_FULL);
        for (uint64_t i = N + 1; i <= N + 20; i++)
            append(&scene, 0, i);
        bool sound = false;
        assert_int_equal(check_batch(&scene, 0, &batches[N], &sound), N);
        assert_true(sound);
        atomic_store(&write_error, 0);
        disk_again_now(&scene);
        append(&scene, 0, N + 21);
        assert_int_equal(spool_flush(scene.spool), 0);
        assert_int_equal(status_of(&scene).dropped_batches, 0);
        scene_kill(&scene);
        scene_open(&scene);
        check_all(&scene, N + 21);
        scene_remove(&scene);
    }
}

static void test_writes_fail(void **state) {
    (void)state;
    Scene scene;
    begin(&scene, 0);
    atomic_store(&write_error, EIO);
    atomic_store(&one_in, 5);
    for (uint64_t i = 1; i <= 2000; i++) {
        set_gather(&scene, true);
        append(&scene, 0, i);
        if (hash_u64(i, 1) % 5 == 0)
            disk_again_now(&scene);
    }
    assert_int_equal(status_of(&scene).dropped_batches, 0);
    assert_true(scene_words(&scene, 3) > 2);
    atomic_store(&write_error, 0);
    scene_close(&scene);
    scene_open(&scene);
    check_all(&scene, 2000);
    scene_remove(&scene);
}

/* few: as soon as it is appended it is in the file */
static void test_few(void **state) {
    (void)state;
    Scene scene;
    begin(&scene, 0);
    set_gather(&scene, false);
    for (uint64_t i = 1; i <= 10; i++) {
        append(&scene, 0, i);
        assert_int_equal(file_bytes(&scene), status_of(&scene).disk_bytes);
    }
    scene_remove(&scene);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_read_at_once), cmocka_unit_test(test_soon_written),
        cmocka_unit_test(test_half_written), cmocka_unit_test(test_disk_fails),
        cmocka_unit_test(test_writes_fail),  cmocka_unit_test(test_few),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
