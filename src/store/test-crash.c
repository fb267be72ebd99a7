/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The promise of the store, where it hurts: kill -9 at any moment, a full disk, a checkpoint that
 * fails. After each, flows and cursors agree.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>

#include "base/clock.h"
#include "base/sanitized.h"
#include "store/crash-test.h"
#include "store/store.h"

static size_t group_rows(uint64_t sequence) {
    static const size_t sizes[] = {40, 3000, 20000, STORE_GROUP_ROWS, 500, 1, 0, 60000};
    return sizes[sequence % (sizeof(sizes) / sizeof(sizes[0]))];
}

/* kill -9 */

static void child_write(TestStore *t, Shared *shared) {
    test_reopen(t);
    FlowBatch *batch = make_rows();
    uint64_t sequence = read_cursor(t->store);
    atomic_store(&shared->ready, true);
    for (;;) {
        sequence++;
        Reason reason = {0};
        if (append_rows(t->store, batch, sequence, group_rows(sequence), &reason))
            fail_msg("append: %s", reason.text);
        atomic_store(&shared->acked, sequence);
        if (sequence % 4)
            continue;
        atomic_store(&shared->checkpointing, true);
        (void)store_checkpoint(t->store, NULL);
        atomic_store(&shared->checkpointing, false);
    }
}

static void child_check(TestStore *t, Shared *shared) {
    test_reopen(t);
    atomic_store(&shared->cursor, check(t->store, group_rows));
    t->store = store_close(t->store);
}

static void child_check_unclean(TestStore *t, Shared *shared) {
    test_reopen(t);
    atomic_store(&shared->cursor, check(t->store, group_rows));
    _exit(0); /* and what recovery wrote must itself survive being dropped */
}

static void test_kill(void **state) {
    TestStore *t = *state;
    Shared *shared = share();
    enum { ROUNDS = WEIR_SANITIZED ? 12 : 36 };
    unsigned in_checkpoint = 0;
    uint64_t random = 12345;
    for (unsigned round = 0; round < ROUNDS; round++) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        atomic_store(&shared->ready, false);
        atomic_store(&shared->checkpointing, false);
        pid_t pid = in_child(child_write, t, shared);
        /* every sixth dies while it opens, a third of the others in a checkpoint */
        uint64_t give_up_ms = clock_monotonic_ms() + 20000;
        while (round % 6 && !atomic_load(&shared->ready) && clock_monotonic_ms() < give_up_ms)
            pause_us(200);
        /* after none to three more groups, so that a slow machine gets as far as a quick one */
        uint64_t target = atomic_load(&shared->acked) + (random >> 50) % 4;
        while (round % 6 && atomic_load(&shared->acked) < target &&
               clock_monotonic_ms() < give_up_ms)
            pause_us(200);
        pause_us((unsigned)(random >> 40) % (round % 6 ? 120000 : 30000));
        while (round % 6 && round % 3 == 1 && !atomic_load(&shared->checkpointing) &&
               clock_monotonic_ms() < give_up_ms)
            pause_us(50);
        if (round % 3 == 1)
            pause_us((unsigned)(random >> 33) % 15000);
        assert_int_equal(kill(pid, SIGKILL), 0);
        in_checkpoint += atomic_load(&shared->checkpointing);
        int status = 0;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFSIGNALED(status));

        wait_for_success(in_child(round % 2 ? child_check : child_check_unclean, t, shared));
        uint64_t acked = atomic_load(&shared->acked);
        uint64_t cursor = atomic_load(&shared->cursor);
        /* one more may have been committed and not yet acknowledged */
        if (cursor < acked || cursor > acked + 1)
            fail_msg("round %u: acknowledged %" PRIu64 ", stored %" PRIu64, round, acked, cursor);
        atomic_store(&shared->acked, cursor);
    }
    print_message("%d kills, %u of them in a checkpoint, %" PRIu64 " groups kept\n", ROUNDS,
                  in_checkpoint, atomic_load(&shared->cursor));
    assert_true(in_checkpoint > 0);
    assert_true(atomic_load(&shared->cursor) > 8);
    (void)munmap(shared, sizeof(*shared));
}

/* a full disk */

static size_t small_rows(uint64_t sequence) {
    (void)sequence;
    return 20000;
}

static size_t large_rows(uint64_t sequence) {
    (void)sequence;
    return STORE_GROUP_ROWS;
}

static void write_ballast(const char *path) {
    static const char zeros[1 << 16];
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    for (int i = 0; i < 12 << 4; i++)
        assert_int_equal(write(fd, zeros, sizeof(zeros)), sizeof(zeros));
    (void)close(fd);
}

/** fill_disk() - appends until there is no more space; returns the last sequence that is in */
static uint64_t fill_disk(TestStore *t, FlowBatch *batch, uint64_t sequence,
                          size_t (*rows_of)(uint64_t)) {
    for (uint64_t s = sequence + 1; s < sequence + 500; s++) {
        Reason reason = {0};
        int r = append_rows(t->store, batch, s, rows_of(s), &reason);
        if (r == 0)
            continue;
        StoreStatus status;
        store_status(t->store, &status);
        if (r != STORE_E_FULL)
            fail_msg("expected a full disk, not %d: %s (checkpoint: %s)", r, reason.text,
                     status.checkpoint_problem.text);
        return s - 1;
    }
    fail_msg("the disk never filled");
    return 0;
}

static void full_disk(TestStore *t, size_t (*rows_of)(uint64_t)) {
    char mount_at[256];
    char ballast[300];
    (void)snprintf(mount_at, sizeof(mount_at), "%s/full", t->dir);
    assert_int_equal(mkdir(mount_at, 0700), 0);
    assert_int_equal(mount("tmpfs", mount_at, "tmpfs", 0, "size=64m"), 0);
    (void)snprintf(ballast, sizeof(ballast), "%s/ballast", mount_at);
    write_ballast(ballast);
    t->config.dir = mount_at;
    t->config.checkpoint_reserve_bytes = 24 << 20;
    test_reopen(t);

    FlowBatch *batch = make_rows();
    Storm reader = {.store = t->store, .group = FLOW_APP_NAME};
    pthread_t thread[1];
    storm_begin(&reader, thread, 1);
    uint64_t stored = fill_disk(t, batch, 0, rows_of);
    assert_true(stored > 0);
    for (int i = 0; i < 3; i++) {
        Reason reason = {0};
        assert_int_equal(append_rows(t->store, batch, stored + 1, rows_of(stored + 1), &reason),
                         STORE_E_FULL);
    }
    assert_int_equal(check(t->store, rows_of), stored);

    assert_int_equal(unlink(ballast), 0);
    uint64_t more = fill_disk(t, batch, stored, rows_of);
    assert_true(more > stored);
    assert_int_equal(check(t->store, rows_of), more);
    storm_end(&reader, thread, 1);
    assert_true(atomic_load(&reader.answered) > 0);
    assert_int_equal(atomic_load(&reader.failed), 0);

    StoreStatus status;
    store_status(t->store, &status);
    assert_int_equal(status.reopened, 0);
    print_message("full at %" PRIu64 " groups, with more space at %" PRIu64
                  "; %u queries beside; %" PRIu64 " checkpoints, %" PRIu64 " put off\n",
                  stored, more, atomic_load(&reader.answered), status.checkpoints,
                  status.checkpoints_put_off);
    test_reopen(t);
    assert_int_equal(check(t->store, rows_of), more);
    t->store = store_close(t->store);
    assert_int_equal(umount2(mount_at, MNT_DETACH), 0);
    assert_int_equal(rmdir(mount_at), 0);
    flow_batch_free(batch);
}

static void child_full(TestStore *t, Shared *shared) {
    if (unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL)) {
        print_message("skipped: cannot mount a small disk: %s (needs root)\n", strerror(errno));
        atomic_store(&shared->skipped, true);
        return;
    }
    full_disk(t, small_rows);
    full_disk(t, large_rows);
}

static void test_full_disk(void **state) {
    TestStore *t = *state;
    Shared *shared = share();
    wait_for_success(in_child(child_full, t, shared));
    bool skipped = atomic_load(&shared->skipped);
    (void)munmap(shared, sizeof(*shared));
    if (skipped)
        skip();
}

/* a checkpoint that fails is fatal to the open database: made to fail by a limit on file sizes */

static void limit_file_size(rlim_t bytes) {
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = bytes;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

/* large ones go to the file at once, and make it larger than the log */
static size_t fatal_rows(uint64_t sequence) {
    return sequence % 4 ? 10000 : STORE_GROUP_ROWS;
}

static void child_fatal(TestStore *t, Shared *shared) {
    (void)shared;
    (void)signal(SIGXFSZ, SIG_IGN);
    t->config.checkpoint_wal_bytes = 1ull << 40;
    test_reopen(t);
    FlowBatch *batch = make_rows();
    uint64_t sequence = 0;
    for (int round = 0; round < 2; round++) {
        Reason reason = {0};
        for (int i = 0; i < 8; i++) {
            sequence++;
            assert_int_equal(append_rows(t->store, batch, sequence, fatal_rows(sequence), &reason),
                             0);
        }
        StoreStatus status;
        store_status(t->store, &status);
        limit_file_size(status.wal_bytes + (1 << 20) > status.file_bytes
                            ? status.wal_bytes + (1 << 20)
                            : status.file_bytes);
        int r = 0;
        /* the file has free blocks: until they are used up there is nothing to fail */
        while ((r = store_checkpoint(t->store, &reason)) == 0) {
            sequence++;
            assert_int_equal(append_rows(t->store, batch, sequence, fatal_rows(sequence), &reason),
                             0);
        }
        print_message("checkpoint answered %d: %.90s\n", r, reason.text);
        limit_file_size(RLIM_INFINITY);
        if (round == 1) /* a query finds it, the writer is told all the same */
            (void)test_count(t->store);
        assert_int_equal(append_rows(t->store, batch, sequence + 1, 5, &reason), STORE_E_REOPENED);
        assert_int_equal(check(t->store, fatal_rows), sequence);
        store_status(t->store, &status);
        assert_int_equal(status.reopened, round + 1);
    }
    t->store = store_close(t->store);
    flow_batch_free(batch);
}

static void test_fatal(void **state) {
    TestStore *t = *state;
    Shared *shared = share();
    wait_for_success(in_child(child_fatal, t, shared));
    (void)munmap(shared, sizeof(*shared));
}

int main(int argc, char **argv) {
#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, closed_setup, test_store_teardown)
    const struct CMUnitTest tests[] = {
        IN_FOLDER(test_kill),
        IN_FOLDER(test_full_disk),
        IN_FOLDER(test_fatal),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
