/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A disk that is slow to read must not hold up who appends, nor who asks how it stands. Reads are
 * made slow by a pread of our own.
 */

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "spool/spool-scene.h"

enum { SLOW_MS = 300, BATCHES = 200 };

static atomic_bool slow;
static atomic_uint n_reads;

ssize_t pread64(int fd, void *to, size_t size, off_t offset);
ssize_t pread64(int fd, void *to, size_t size, off_t offset) {
    if (atomic_load(&slow)) {
        atomic_fetch_add(&n_reads, 1);
        (void)usleep(SLOW_MS * 1000);
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

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_slow_reads)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
