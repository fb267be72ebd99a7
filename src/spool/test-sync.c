/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What reaches the disk and when, and a disk that fails in every call. The functions of the system
 * that matter stand here instead of those of libc.
 */

#include "spool/spool-scene.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/syscall.h>

static atomic_uint_fast64_t synced_bytes; /* of the file that was synced last */
static atomic_int folder_syncs;
static atomic_int sync_error;
static atomic_int write_error_in; /* one in so many writes fails; 0: none */
static atomic_uint_fast64_t n_writes;

int fdatasync(int fd) {
    int error = atomic_load(&sync_error);
    if (error) {
        errno = error;
        return -1;
    }
    struct stat st;
    if (syscall(SYS_fdatasync, fd) < 0 || fstat(fd, &st) < 0)
        return -1;
    atomic_store(&synced_bytes, (uint64_t)st.st_size);
    return 0;
}

int fsync(int fd) {
    struct stat st;
    if (fstat(fd, &st) == 0 && S_ISDIR(st.st_mode))
        atomic_fetch_add(&folder_syncs, 1);
    return (int)syscall(SYS_fsync, fd);
}

/* fails, or writes only a part and then fails */
ssize_t pwrite(int fd, const void *bytes, size_t size, off_t offset) {
    static const int errors[] = {ENOSPC, EIO, EROFS, EDQUOT};
    int one_in = atomic_load(&write_error_in);
    uint64_t h = hash_u64(atomic_fetch_add(&n_writes, 1), 99);
    if (!one_in || h % (uint64_t)one_in)
        return syscall(SYS_pwrite64, fd, bytes, size, offset);
    if (size > 100 && (h >> 32) % 2)
        return syscall(SYS_pwrite64, fd, bytes, size / 2, offset);
    errno = errors[(h >> 40) % 4];
    return -1;
}

static atomic_int read_error;
static atomic_size_t read_error_above; /* of reads of more bytes than this */

ssize_t pread(int fd, void *bytes, size_t size, off_t offset) {
    int error = atomic_load(&read_error);
    if (!error || size <= atomic_load(&read_error_above))
        return syscall(SYS_pread64, fd, bytes, size, offset);
    errno = error;
    return -1;
}

static void test_committed_in_time(void **state) {
    (void)state;
    Scene scene;
    scene_make(&scene);
    scene_open(&scene);
    for (uint64_t i = 1; i <= 5; i++) {
        int folders = atomic_load(&folder_syncs);
        append(&scene, 0, i);
        uint64_t begun_ms = clock_monotonic_ms();
        while (atomic_load(&synced_bytes) < status_of(&scene).disk_bytes ||
               (i == 1 && atomic_load(&folder_syncs) == folders)) {
            assert_true(clock_monotonic_ms() - begun_ms < 2000); /* 200 of it the spool's */
            (void)usleep(1000);
        }
    }
    append(&scene, 0, 6);
    uint64_t begun_ms = clock_monotonic_ms();
    assert_int_equal(spool_flush(scene.spool), 0); /* on demand at once */
    assert_int_equal(atomic_load(&synced_bytes), status_of(&scene).disk_bytes);
    assert_true(clock_monotonic_ms() - begun_ms < 1000);
    scene_remove(&scene);
}

static void disk_again_now(Scene *scene) {
    (void)pthread_mutex_lock(&scene->spool->lock);
    scene->spool->disk_again_ms = 0;
    (void)pthread_mutex_unlock(&scene->spool->lock);
}

static void test_sync_fails(void **state) {
    (void)state;
    Scene scene;
    scene_make(&scene);
    scene_open(&scene);
    append(&scene, 0, 1);
    atomic_store(&sync_error, EIO);
    append(&scene, 0, 2);
    assert_int_equal(spool_flush(scene.spool), SPOOL_E_VOLATILE);
    assert_int_equal(status_of(&scene).disk, SPOOL_DISK_FAILING);
    assert_non_null(strstr(status_of(&scene).reason, "Input/output"));
    for (uint64_t i = 3; i <= 10; i++)
        append(&scene, 0, i);
    assert_true(status_of(&scene).memory_bytes > 0);
    assert_int_equal(scene_words(&scene, 1), 1);
    atomic_store(&sync_error, 0);
    disk_again_now(&scene);
    append(&scene, 0, 11);
    assert_int_equal(status_of(&scene).disk, SPOOL_DISK_GOOD);
    assert_int_equal(spool_flush(scene.spool), 0);
    scene_kill(&scene);
    scene_open(&scene);
    Found found;
    find_all(&scene, 0, &found);
    assert_int_equal(found.batches, 11);
    for (uint64_t i = 0; i < 11; i++)
        assert_int_equal(found.numbers[i], i + 1);
    scene_remove(&scene);
}

/* the disk works again, and nothing more comes */
static void test_quiet_link(void **state) {
    (void)state;
    Scene scene;
    scene_make(&scene);
    scene_open(&scene);
    atomic_store(&write_error_in, 1);
    for (uint64_t i = 1; i <= 3; i++)
        append(&scene, 0, i);
    assert_true(status_of(&scene).memory_bytes > 0);
    atomic_store(&write_error_in, 0);
    disk_again_now(&scene);
    uint64_t begun_ms = clock_monotonic_ms();
    while (status_of(&scene).memory_bytes) {
        assert_true(clock_monotonic_ms() - begun_ms < 5000); /* looked at once a second */
        (void)usleep(1000);
    }
    assert_int_equal(status_of(&scene).disk, SPOOL_DISK_GOOD);
    assert_int_equal(scene_words(&scene, 2), 2); /* and said, without another batch */
    scene_kill(&scene);
    scene_open(&scene);
    Found found;
    find_all(&scene, 0, &found);
    assert_int_equal(found.batches, 3);
    scene_remove(&scene);
}

static void *ask_status(void *userdata) {
    (void)status_of(userdata);
    return NULL;
}

/* whatever the disk makes others wait for, asking how the spool stands does not wait */
static void test_status_does_not_wait(void **state) {
    (void)state;
    Scene scene;
    scene_make(&scene);
    scene_open(&scene);
    append(&scene, 0, 1);
    (void)pthread_mutex_lock(&scene.spool->lock); /* as a write that does not come back */
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, ask_status, &scene), 0);
    struct timespec until = {0};
    (void)clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 5;
    assert_int_equal(pthread_timedjoin_np(thread, NULL, &until), 0);
    (void)pthread_mutex_unlock(&scene.spool->lock);
    assert_int_equal(status_of(&scene).batches, 1);
    scene_remove(&scene);
}

static void test_writes_fail(void **state) {
    (void)state;
    Scene scene;
    scene_make(&scene);
    scene.config.memory_bytes = 64 << 20;
    scene_open(&scene);
    atomic_store(&write_error_in, 7);
    for (uint64_t i = 1; i <= 2000; i++) {
        (void)pthread_mutex_lock(&scene.spool->lock);
        scene.spool->gather = false; /* test-gather.c has the other way */
        (void)pthread_mutex_unlock(&scene.spool->lock);
        append(&scene, 0, i);
        if (hash_u64(i, 1) % 5 == 0)
            disk_again_now(&scene);
    }
    assert_true(scene_words(&scene, 21) > 20);
    assert_int_equal(status_of(&scene).dropped_batches, 0);
    atomic_store(&write_error_in, 0);
    scene_close(&scene);
    scene_open(&scene);
    Found found;
    find_all(&scene, 0, &found);
    assert_int_equal(found.missing, 0);
    assert_int_equal(found.batches, 2000);
    for (uint64_t i = 0; i < 2000; i++)
        assert_int_equal(found.numbers[i], i + 1);
    scene_remove(&scene);
}

static void find_most(Scene *scene, uint64_t batches) {
    Found found;
    find_all(scene, 0, &found);
    assert_int_equal(found.missing, 0);
    assert_int_equal(found.batches, batches);
}

/* what cannot be read at one start is there at the next, whatever the hub has stored meanwhile */
static void test_reads_fail_at_start(void **state) {
    (void)state;
    static const size_t above[] = {RECORD_HEAD_MAX_BYTES, 0};
    for (size_t i = 0; i < 2; i++) {
        Scene scene;
        scene_make(&scene);
        scene.config.limit_bytes = 1 << 20; /* segments of 64 KB */
        scene_open(&scene);
        for (uint64_t n = 1; n <= 100; n++)
            append(&scene, 0, n);
        scene_close(&scene);
        char names[SCENE_FILES_MAX][64];
        size_t n_files = scene_files(&scene, ".zst", names);
        assert_true(n_files >= 2);
        atomic_store(&read_error_above, above[i]);
        atomic_store(&read_error, EIO);
        scene_open(&scene);
        assert_true(scene_words(&scene, 1) >= 1);
        assert_non_null(strstr(scene.word, "each start"));
        atomic_store(&read_error, 0);
        uint64_t had = 0;
        SpoolFormer former;
        if (spool_former(scene.spool, 0, 0, &former))
            had = former.last;
        assert_true(i == 0 ? had > 10 && had < 100 : had == 0);
        find_most(&scene, had);
        release_all(&scene, 0);
        assert_false(spool_finished(scene.spool, 0, 0, &former));
        scene_close(&scene);
        assert_true(scene_files(&scene, ".zst", names) >= (i == 0 ? 1 : n_files));
        scene_open(&scene);
        find_most(&scene, 100 - had);
        release_all(&scene, 0);
        assert_true(spool_finished(scene.spool, 0, 0, &former));
        scene_remove(&scene);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_committed_in_time), cmocka_unit_test(test_sync_fails),
        cmocka_unit_test(test_quiet_link),        cmocka_unit_test(test_status_does_not_wait),
        cmocka_unit_test(test_writes_fail),       cmocka_unit_test(test_reads_fail_at_start),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
