/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A disk that is slow to read must not hold up who appends, nor who asks how it stands. Reads are
 * made slow by a pread of our own.
 */

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "spool/spool-scene.h"

enum { SLOW_MS = 300, BATCHES = 200 };

static atomic_bool slow;
static atomic_uint n_reads;
static atomic_bool failing;

ssize_t pread64(int fd, void *to, size_t size, off_t offset);
ssize_t pread64(int fd, void *to, size_t size, off_t offset) {
    if (atomic_load(&slow)) {
        atomic_fetch_add(&n_reads, 1);
        (void)usleep(SLOW_MS * 1000);
    }
    if (atomic_load(&failing)) {
        errno = EIO;
        return -1;
    }
    return syscall(SYS_pread64, fd, to, size, offset);
}

typedef struct Reader {
    Spool *spool;
    EpochId epoch;
    int answer;
    uint32_t bytes;
} Reader;

static void *read_old(void *arg) {
    Reader *reader = arg;
    SpoolBatch batch;
    static uint8_t bytes[SPOOL_PAYLOAD_MAX_BYTES];
    reader->answer = spool_peek(reader->spool, 0, &reader->epoch, 3, &batch);
    if (!reader->answer)
        reader->answer = spool_fetch(reader->spool, 0, &reader->epoch, 3, bytes, batch.bytes);
    reader->bytes = batch.bytes;
    return NULL;
}

static void test_slow_reads(void **state) {
    (void)state;
    Scene scene;
    scene_make(&scene);
    scene_open(&scene);
    const SpoolBatch first = append(&scene, 0, 1);
    for (uint64_t i = 2; i <= 10; i++)
        append(&scene, 0, i);
    scene_close(&scene); /* so that its segment has to be opened and looked through */
    scene_open(&scene);
    append(&scene, 0, 11);
    Reader reader = {.spool = scene.spool, .epoch = first.epoch, .answer = -1};
    pthread_t thread;
    atomic_store(&slow, true);
    assert_int_equal(pthread_create(&thread, NULL, read_old, &reader), 0);
    while (!atomic_load(&n_reads))
        (void)usleep(1000);
    uint64_t longest_ms = 0;
    for (uint64_t i = 0; i < BATCHES; i++) {
        SpoolStatus status;
        const uint64_t begin_ms = clock_monotonic_ms();
        append(&scene, 0, 12 + i);
        spool_status(scene.spool, &status);
        const uint64_t took_ms = clock_monotonic_ms() - begin_ms;
        longest_ms = took_ms > longest_ms ? took_ms : longest_ms;
        (void)usleep(2000);
    }
    assert_true(atomic_load(&n_reads) >= 2); /* it was reading all the while */
    assert_int_equal(pthread_join(thread, NULL), 0);
    atomic_store(&slow, false);
    print_message("longest wait of an append: %u ms\n", (unsigned)longest_ms);
    assert_true(longest_ms < SLOW_MS / 2);
    assert_int_equal(reader.answer, 0);
    assert_true(reader.bytes > 0);
    scene_close(&scene);
    scene_remove(&scene);
}

/* a segment that cannot be read is tried again at each start, told of once, and after some days set
 * aside */
static void test_unreadable(void **state) {
    (void)state;
    Scene scene;
    char names[SCENE_FILES_MAX][64];
    scene_make(&scene);
    scene_open(&scene);
    for (uint64_t i = 1; i <= 10; i++)
        append(&scene, 0, i);
    scene_close(&scene);
    for (int start = 0; start < 3; start++) {
        scene.n_words = 0;
        atomic_store(&failing, true);
        scene_open(&scene);
        atomic_store(&failing, false);
        assert_int_equal(scene.n_words, start == 0);
        assert_int_equal(status_of(&scene).set_aside, 0);
        scene_close(&scene);
        assert_int_equal(scene_files(&scene, ".zst", names), 1);
    }
    assert_int_equal(scene_files(&scene, ".unread", names), 1);
    scene_open(&scene); /* it comes back by itself */
    assert_int_equal(status_of(&scene).batches, 10);
    scene_close(&scene);
    assert_int_equal(scene_files(&scene, ".unread", names), 0);

    atomic_store(&failing, true);
    scene_open(&scene);
    scene_close(&scene);
    assert_int_equal(scene_files(&scene, ".unread", names), 1);
    char path[256];
    (void)snprintf(path, sizeof(path), "%s/%s", scene.folder, names[0]);
    const struct timespec old[2] = {{.tv_sec = time(NULL) - 4 * 86400},
                                    {.tv_sec = time(NULL) - 4 * 86400}};
    assert_int_equal(utimensat(AT_FDCWD, path, old, 0), 0);
    scene_open(&scene);
    atomic_store(&failing, false);
    assert_int_equal(status_of(&scene).set_aside, 1);
    scene_close(&scene);
    assert_int_equal(scene_files(&scene, ".bad", names), 1);
    assert_int_equal(scene_files(&scene, ".zst", names), 0);
    assert_int_equal(scene_files(&scene, ".unread", names), 0);
    scene.n_words = 0;
    scene_open(&scene);
    assert_int_equal(scene.n_words, 0);
    scene_close(&scene);
    scene_remove(&scene);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_slow_reads),
                                       cmocka_unit_test(test_unreadable)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
