/* SPDX-License-Identifier: Apache-2.0 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <string.h>

#include "spool/spool.h"

typedef struct Drops {
    uint64_t ids[64];
    size_t n;
} Drops;

static void on_drop(void *userdata, uint64_t id) {
    Drops *drops = userdata;
    assert_true(drops->n < 64);
    drops->ids[drops->n++] = id;
}

static uint64_t append(Spool *spool, const char *text) {
    uint64_t id = 0;
    BatchCounts counts = {1, 10, 100};
    assert_int_equal(spool_append(spool, text, strlen(text), &counts, &id), 0);
    return id;
}

static void test_kept_until_all_released(void **state) {
    (void)state;
    cleanup(spool_freep) Spool *spool = NULL;
    assert_int_equal(spool_new(&spool, &(SpoolConfig){.limit_bytes = 1000, .holders = 2}), 0);
    uint64_t a = append(spool, "first");
    uint64_t b = append(spool, "second");
    char text[8] = "";
    assert_true(b > a);
    assert_true(spool_fetch(spool, a, text, 5));
    assert_string_equal(text, "first");
    assert_false(spool_fetch(spool, a, text, 4)); /* not of this size */
    spool_release(spool, a);
    assert_true(spool_fetch(spool, a, text, 5));
    spool_release(spool, a);
    assert_false(spool_fetch(spool, a, text, 5));
    spool_release(spool, a); /* unknown by now: nothing happens */
    assert_true(spool_fetch(spool, b, text, 6));
    assert_false(spool_fetch(spool, b + 1, text, 6));
    assert_false(spool_fetch(spool, 0, text, 6));
    SpoolStatus status;
    spool_status(spool, &status);
    assert_int_equal(status.batches, 1);
    assert_int_equal(status.bytes, 6);
    assert_int_equal(status.held.octets, 100);
    assert_int_equal(status.appended.octets, 200);
}

static void test_oldest_goes(void **state) {
    (void)state;
    Drops drops = {0};
    cleanup(spool_freep) Spool *spool = NULL;
    SpoolConfig config = {.limit_bytes = 10, .holders = 1, .on_drop = on_drop, .userdata = &drops};
    assert_int_equal(spool_new(&spool, &config), 0);
    uint64_t first = append(spool, "1234");
    uint64_t second = append(spool, "1234");
    spool_release(spool, second); /* released out of order: not a drop */
    append(spool, "1234");
    assert_int_equal(drops.n, 0);
    uint64_t fourth = append(spool, "1234");
    assert_int_equal(drops.n, 1);
    assert_int_equal(drops.ids[0], first);
    uint64_t large = append(spool, "larger than the limit");
    assert_int_equal(drops.n, 3);
    assert_int_equal(drops.ids[2], fourth);
    char text[32];
    assert_true(spool_fetch(spool, large, text, 21));
    SpoolStatus status;
    spool_status(spool, &status);
    assert_int_equal(status.dropped_batches, 3);
    assert_int_equal(status.dropped.flows, 3);
    assert_int_equal(status.dropped.packets, 30);
    assert_int_equal(status.held.flows + status.dropped.flows + 1, status.appended.flows);
}

static void *release_all(void *arg) {
    Spool *spool = arg;
    char text[4];
    for (uint64_t id = 1; id <= 20000;) {
        if (spool_fetch(spool, id, text, 4)) {
            spool_release(spool, id);
            id++;
        }
    }
    return NULL;
}

static void test_two_threads(void **state) {
    (void)state;
    cleanup(spool_freep) Spool *spool = NULL;
    assert_int_equal(spool_new(&spool, &(SpoolConfig){.limit_bytes = 1 << 20, .holders = 1}), 0);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, release_all, spool), 0);
    for (int i = 0; i < 20000; i++)
        append(spool, "abcd");
    assert_int_equal(pthread_join(thread, NULL), 0);
    SpoolStatus status;
    spool_status(spool, &status);
    assert_int_equal(status.batches, 0);
    assert_int_equal(status.bytes, 0);
    assert_int_equal(status.appended.flows, 20000);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kept_until_all_released),
        cmocka_unit_test(test_oldest_goes),
        cmocka_unit_test(test_two_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
