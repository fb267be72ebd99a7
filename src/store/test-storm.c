/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Appends beside queries that use up all memory, beside many of them, and for a long time.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <inttypes.h>
#include <pthread.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/sanitized.h"
#include "store/crash-test.h"
#include "store/store.h"

static size_t large_rows(uint64_t sequence) {
    (void)sequence;
    return STORE_GROUP_ROWS;
}

/* queries that take all memory, and many of them */

/* enough rows that a query cannot hold them in the memory it may have */
enum { MEMORY_GROUPS = 10, STORM_GROUPS = WEIR_SANITIZED ? 2 : 5, REFUSED_WITHIN_MS = 60000 };

/* on a slow machine all is appended before the queries have got far */
static void wait_for_refusal(Storm *s) {
    const uint64_t end_ms = clock_monotonic_ms() + REFUSED_WITHIN_MS;
    while (!atomic_load(&s->refused) && clock_monotonic_ms() < end_ms)
        (void)usleep(10000);
}

static uint64_t beside_storm(TestStore *t, Storm *s, unsigned readers, unsigned groups,
                             bool refusals, uint64_t *sumsp) {
    FlowBatch *batch = make_rows();
    s->store = t->store;
    for (uint64_t i = 1; i <= 4; i++)
        assert_int_equal(append_rows(t->store, batch, i, STORE_GROUP_ROWS, NULL), 0);
    pthread_t threads[8];
    storm_begin(s, threads, readers);
    uint64_t worst_ms = 0;
    for (uint64_t i = 5; i < 5 + groups; i++) {
        Reason reason = {0};
        uint64_t start_ms = clock_monotonic_ms();
        int r = append_rows(t->store, batch, i, STORE_GROUP_ROWS, &reason);
        if (r)
            fail_msg("append %" PRIu64 " answered %d: %s", i, r, reason.text);
        uint64_t took_ms = clock_monotonic_ms() - start_ms;
        worst_ms = took_ms > worst_ms ? took_ms : worst_ms;
        *sumsp += took_ms;
    }
    if (refusals)
        wait_for_refusal(s);
    storm_end(s, threads, readers);
    assert_int_equal(atomic_load(&s->failed), 0);
    assert_int_equal(check(t->store, large_rows), 4 + groups);
    flow_batch_free(batch);
    return worst_ms;
}

static void child_memory(TestStore *t, Shared *shared) {
    (void)shared;
    t->config.memory_limit_bytes = 200 << 20;
    t->config.temp_limit_bytes = 1 << 20;
    test_reopen(t);
    Storm s = {.group = FLOW_APP_RISK};
    uint64_t sum_ms = 0;
    uint64_t worst_ms = beside_storm(t, &s, 3, MEMORY_GROUPS, true, &sum_ms);
    print_message("memory used up: %u queries answered, %u refused; worst append %" PRIu64 " ms\n",
                  atomic_load(&s.answered), atomic_load(&s.refused), worst_ms);
    assert_true(atomic_load(&s.refused) > 0);
    t->store = store_close(t->store);
}

static void test_memory(void **state) {
    TestStore *t = *state;
    Shared *shared = share();
    wait_for_success(in_child(child_memory, t, shared));
    (void)munmap(shared, sizeof(*shared));
}

static void child_storm(TestStore *t, Shared *shared) {
    (void)shared;
    t->config.memory_limit_bytes = 1 << 30;
    t->config.readers = 4;
    test_reopen(t);
    Storm s = {.group = QUERY_FIELD_IP};
    uint64_t sum_ms = 0;
    uint64_t worst_ms = beside_storm(t, &s, 4, STORM_GROUPS, false, &sum_ms);
    print_message("storm of 4: %u queries; append of %d flows %" PRIu64 " ms, worst %" PRIu64
                  " ms\n",
                  atomic_load(&s.answered), STORE_GROUP_ROWS, sum_ms / STORM_GROUPS, worst_ms);
    assert_true(atomic_load(&s.answered) > 0);
    assert_true(worst_ms < 30000);
    t->store = store_close(t->store);
}

static void test_storm(void **state) {
    TestStore *t = *state;
    Shared *shared = share();
    wait_for_success(in_child(child_storm, t, shared));
    (void)munmap(shared, sizeof(*shared));
}

/* a log that is never checkpointed would take ever longer to read back */

static void child_long_run(TestStore *t, Shared *shared) {
    (void)shared;
    t->config.checkpoint_wal_bytes = 4 << 20;
    test_reopen(t);
    FlowBatch *batch = make_rows();
    Storm s = {.store = t->store, .group = FLOW_APP_NAME};
    pthread_t threads[2];
    storm_begin(&s, threads, 2);
    uint64_t largest = 0;
    uint64_t until_ms = clock_monotonic_ms() + 4000;
    uint64_t sequence = 0;
    while (clock_monotonic_ms() < until_ms) {
        sequence++;
        assert_int_equal(append_rows(t->store, batch, sequence, 2000, NULL), 0);
        StoreStatus status;
        store_status(t->store, &status);
        largest = status.wal_bytes > largest ? status.wal_bytes : largest;
    }
    storm_end(&s, threads, 2);
    StoreStatus status;
    store_status(t->store, &status);
    print_message("%" PRIu64 " groups of 2000 flows beside 2 readers: log at most %" PRIu64
                  " KB, %" PRIu64 " checkpoints, %" PRIu64 " failed\n",
                  sequence, largest >> 10, status.checkpoints, status.checkpoints_failed);
    assert_true(status.checkpoints > 0);
    assert_true(largest < 100 << 20);
    t->store = store_close(t->store);
    flow_batch_free(batch);
}

static void test_long_run(void **state) {
    TestStore *t = *state;
    Shared *shared = share();
    wait_for_success(in_child(child_long_run, t, shared));
    (void)munmap(shared, sizeof(*shared));
}

int main(int argc, char **argv) {
#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, closed_setup, test_store_teardown)
    const struct CMUnitTest tests[] = {
        IN_FOLDER(test_memory),
        IN_FOLDER(test_storm),
        IN_FOLDER(test_long_run),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
