#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What the tests of hard times share.
 *
 * Group s holds a known number of flows, each with flow_id s, and moves the cursor from s - 1 to s.
 * So at any time the store is right when it holds exactly that number of flows of each s up to its
 * cursor, and wrong towards the probe when its cursor is below a group that was acknowledged.
 */

#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>

#include "store/store-test.h"

static const uint8_t key[STORE_KEY_BYTES] = {7, 7, 7};
static const uint8_t epoch[STORE_EPOCH_BYTES] = {9, 9};

/** make_rows() - the largest group's flows, of which each group takes as many as it needs */
__attribute__((unused)) static FlowBatch *make_rows(void) {
    FlowBatch *batch = NULL;
    assert_int_equal(flow_batch_new(&batch, STORE_GROUP_ROWS), 0);
    test_fill(batch, STORE_GROUP_ROWS, 23);
    return batch;
}

__attribute__((unused)) static int append_rows(Store *store, FlowBatch *batch, uint64_t sequence,
                                               size_t rows, Reason *reason) {
    size_t all = batch->n;
    for (size_t i = 0; i < rows; i++) {
        batch->records[i].flow_id = sequence;
        batch->records[i].app_risk += 0x9e3779b97f4a7c15u; /* another one each time */
    }
    batch->n = rows;
    StoreCursor cursor = {.sequence = sequence, .at_ms = sequence, .totals = {.flows = sequence}};
    memcpy(cursor.key, key, sizeof(key));
    memcpy(cursor.epoch, epoch, sizeof(epoch));
    const FlowBatch *batches[] = {batch};
    StoreGroup group = {.batches = batches,
                        .batch_n = 1,
                        .cursors = &cursor,
                        .cursor_n = 1,
                        /* a new hour, thus a new segment, every few groups */
                        .now_ms = TEST_START_MS + sequence * 600000};
    int r = store_append(store, &group, reason);
    batch->n = all;
    return r;
}

__attribute__((unused)) static int take_sequence(void *context, const StoreCursor *cursor) {
    assert_memory_equal(cursor->key, key, sizeof(key));
    assert_int_equal(cursor->totals.flows, cursor->sequence);
    *(uint64_t *)context = cursor->sequence;
    return 0;
}

__attribute__((unused)) static uint64_t read_cursor(Store *store) {
    uint64_t sequence = 0;
    assert_int_equal(store_cursors(store, take_sequence, &sequence), 0);
    return sequence;
}

/** check() - rows are exactly those of the cursor, which it returns */
__attribute__((unused)) static uint64_t check(Store *store, size_t (*rows_of)(uint64_t)) {
    uint64_t sequence = read_cursor(store);
    QueryPlan plan = test_plan(QUERY_TOP);
    plan.group[0] = FLOW_FLOW_ID;
    plan.group_n = 1;
    plan.metric = QUERY_FLOW_COUNT;
    plan.limit = QUERY_LIMIT_MAX;
    StoreResult *result = test_query(store, &plan);
    uint64_t expected = 0;
    for (uint64_t s = 1; s <= sequence; s++)
        expected += rows_of(s) > 0;
    if (result->row_n != expected)
        fail_msg("%zu groups have flows, the cursor %" PRIu64 " stands for %" PRIu64, result->row_n,
                 sequence, expected);
    for (size_t i = 0; i < result->row_n; i++) {
        uint64_t s = result->rows[i].keys[0].number;
        if (s == 0 || s > sequence || result->rows[i].flows != rows_of(s))
            fail_msg("group %" PRIu64 " has %" PRIu64 " flows, expected %zu (cursor %" PRIu64 ")",
                     s, result->rows[i].flows, rows_of(s), sequence);
    }
    store_result_free(result);
    return sequence;
}

/* In a process of its own: DuckDB's threads do not survive a fork, and what is killed must not be
 * the test. The exit status says whether its assertions held. */
typedef struct Shared {
    _Atomic uint64_t acked;
    _Atomic uint64_t cursor;
    atomic_bool ready;
    atomic_bool checkpointing;
    atomic_bool skipped;
} Shared;

__attribute__((unused)) static pid_t in_child(void (*fn)(TestStore *, Shared *), TestStore *t,
                                              Shared *shared) {
    (void)fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid)
        return pid;
    (void)setenv("CMOCKA_TEST_ABORT", "1", 1); /* instead of a jump back into the runner */
    fn(t, shared);
    (void)fflush(NULL);
    _exit(0);
}

__attribute__((unused)) static void wait_for_success(pid_t pid) {
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        fail_msg("the child ended with status %#x", (unsigned)status);
}

__attribute__((unused)) static Shared *share(void) {
    Shared *shared =
        mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(shared != MAP_FAILED);
    return shared;
}

__attribute__((unused)) static void pause_us(unsigned us) {
    struct timespec ts = {.tv_sec = us / 1000000, .tv_nsec = (long)(us % 1000000) * 1000};
    (void)nanosleep(&ts, NULL);
}

typedef struct Storm {
    Store *store;
    atomic_bool stop;
    atomic_uint answered;
    atomic_uint refused; /* for want of memory, or stopped in favour of an append */
    atomic_uint failed;  /* anything else */
    QueryField group;
} Storm;

__attribute__((unused)) static void *storm(void *context) {
    Storm *s = context;
    while (!atomic_load(&s->stop)) {
        QueryPlan plan = test_plan(QUERY_TOP);
        plan.group[0] = s->group;
        plan.group_n = 1;
        StoreResult *result = NULL;
        Reason reason = {0};
        StoreBudget budget = {.timeout_ms = 60000};
        int r = store_query(s->store, &plan, &budget, &result, &reason);
        if (r == 0)
            atomic_fetch_add(&s->answered, 1);
        else if (r == STORE_E_MEMORY || r == STORE_E_CANCELLED)
            atomic_fetch_add(&s->refused, 1);
        else {
            print_message("a query answered %d: %s\n", r, reason.text);
            atomic_fetch_add(&s->failed, 1);
        }
        if (r && r != STORE_E_MEMORY && r != STORE_E_CANCELLED)
            print_message("query answered %d: %s\n", r, reason.text);
        store_result_free(result);
    }
    return NULL;
}

__attribute__((unused)) static void storm_begin(Storm *s, pthread_t *threads, unsigned n) {
    for (unsigned i = 0; i < n; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, storm, s), 0);
}

__attribute__((unused)) static void storm_end(Storm *s, pthread_t *threads, unsigned n) {
    atomic_store(&s->stop, true);
    for (unsigned i = 0; i < n; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
}

__attribute__((unused)) static int closed_setup(void **state) {
    TestStore *t = calloc(1, sizeof(*t));
    assert_non_null(t);
    (void)snprintf(t->dir, sizeof(t->dir), "/tmp/weir-test-crash-XXXXXX");
    assert_non_null(mkdtemp(t->dir));
    t->config = (StoreConfig){.dir = t->dir,
                              .memory_limit_bytes = 512 << 20,
                              .checkpoint_wal_bytes = 2 << 20,
                              .checkpoint_reserve_bytes = 1 << 20};
    *state = t;
    return 0;
}
