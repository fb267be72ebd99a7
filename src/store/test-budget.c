/* SPDX-License-Identifier: Apache-2.0 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/buffer.h"
#include "base/clock.h"
#include "query/filter.h"
#include "store/store-test.h"
#include "store/store.h"

/* a question ends with its time or when it is no longer wanted, and leaves the reader whole */

enum { FLOWS = 200000, GROUPS = 3 };

static void *cancel_soon(void *context) {
    struct timespec pause = {.tv_nsec = 100000000};
    (void)nanosleep(&pause, NULL);
    atomic_store((atomic_bool *)context, true);
    return NULL;
}

/** give_each_a_name() - a dictionary of a few names would be searched in no time */
static void give_each_a_name(FlowBatch *batch) {
    static char names[FLOWS][24];
    for (size_t i = 0; i < batch->n; i++) {
        int n = snprintf(names[i], sizeof(names[i]), "host%06zx.example", i);
        batch->records[i].server_name = (FlowText){.text = names[i], .size = (uint32_t)n};
    }
}

static void test_budget(void **state) {
    TestStore *t = *state;
    cleanup(flow_batch_freep) FlowBatch *batch = NULL;
    assert_int_equal(flow_batch_new(&batch, 4), 0);
    test_fill(batch, FLOWS, 5);
    give_each_a_name(batch);
    for (int i = 0; i < GROUPS; i++)
        test_append(t->store, batch, NULL, 0);

    /*
     * A question of many seconds. Rows pass it, for DuckDB looks up from its work only when rows
     * leave the scan, or at the end of a row group.
     */
    cleanup(query_filter_freep) QueryFilter *filter = NULL;
    Buffer text = {0};
    for (int i = 0; i < 250; i++)
        buffer_printf(&text, "%snot server_name ~ 'no such %d'", i ? " and " : "", i);
    assert_int_equal(query_filter_new(&filter, buffer_text(&text), NULL), 0);
    buffer_deinit(&text);
    QueryPlan plan = test_plan(QUERY_TOTALS);
    plan.filter = filter;

    StoreResult *result = NULL;
    Reason reason = {0};
    StoreBudget budget = {.timeout_ms = 150};
    uint64_t start_ms = clock_monotonic_ms();
    assert_int_equal(store_query(t->store, &plan, &budget, &result, &reason), STORE_E_TIMEOUT);
    assert_non_null(strstr(reason.text, "took too long"));
    uint64_t took_ms = clock_monotonic_ms() - start_ms;
    print_message("ended after %" PRIu64 " ms\n", took_ms);
    if (took_ms > 3000)
        fail_msg("%" PRIu64 " ms", took_ms);

    atomic_bool cancelled = false;
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, cancel_soon, &cancelled), 0);
    budget = (StoreBudget){.timeout_ms = 60000, .cancelled = &cancelled};
    start_ms = clock_monotonic_ms();
    assert_int_equal(store_query(t->store, &plan, &budget, &result, &reason), STORE_E_CANCELLED);
    took_ms = clock_monotonic_ms() - start_ms;
    print_message("cancelled in %" PRIu64 " ms\n", took_ms);
    assert_true(took_ms < 3000);
    assert_int_equal(pthread_join(thread, NULL), 0);

    /* and the reader is as good as before */
    assert_int_equal(test_count(t->store), (uint64_t)FLOWS * GROUPS);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_budget, test_store_setup, test_store_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
