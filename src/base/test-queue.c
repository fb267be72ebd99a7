/* SPDX-License-Identifier: Apache-2.0 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>

#include "base/queue.h"

enum { ITEMS = 20000 };

static void *produce(void *arg) {
    Queue *queue = arg;
    for (uintptr_t i = 1; i <= ITEMS; i++)
        while (!queue_push_wait(queue, (void *)i, 1000))
            ;
    queue_close(queue);
    return NULL;
}

static void test_everything_arrives_in_order(void **state) {
    (void)state;
    cleanup(queue_freep) Queue *queue = NULL;
    assert_int_equal(queue_new(&queue, 7), 0);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, produce, queue), 0);
    uintptr_t expected = 1;
    for (void *item = queue_pop(queue, 1000); item; item = queue_pop(queue, 1000))
        assert_int_equal((uintptr_t)item, expected++);
    assert_int_equal(expected, ITEMS + 1);
    assert_int_equal(pthread_join(thread, NULL), 0);
}

static void test_full_empty_closed(void **state) {
    (void)state;
    cleanup(queue_freep) Queue *queue = NULL;
    int item;
    assert_int_equal(queue_new(&queue, 1), 0);
    assert_null(queue_pop(queue, 0));
    assert_null(queue_pop(queue, 5));
    assert_true(queue_push(queue, &item));
    assert_false(queue_push(queue, &item));
    assert_false(queue_push_wait(queue, &item, 5));
    assert_int_equal(queue_length(queue), 1);
    queue_close(queue);
    assert_false(queue_push(queue, &item));
    assert_ptr_equal(queue_pop(queue, 100), &item);
    assert_null(queue_pop(queue, 100));
}

static void test_first_comes_first(void **state) {
    (void)state;
    cleanup(queue_freep) Queue *queue = NULL;
    int items[4];
    assert_int_equal(queue_new(&queue, 3), 0);
    assert_true(queue_push(queue, &items[0]));
    assert_true(queue_push_first(queue, &items[1]));
    assert_true(queue_push_first(queue, &items[2]));
    assert_false(queue_push_first(queue, &items[3]));
    assert_ptr_equal(queue_pop(queue, 0), &items[2]);
    assert_true(queue_push(queue, &items[3]));
    assert_ptr_equal(queue_pop(queue, 0), &items[1]);
    assert_ptr_equal(queue_pop(queue, 0), &items[0]);
    assert_ptr_equal(queue_pop(queue, 0), &items[3]);
    assert_null(queue_pop(queue, 0));
}

static void *pop_one(void *arg) {
    return queue_pop(arg, 10000);
}

static void test_several_at_once(void **state) {
    (void)state;
    cleanup(queue_freep) Queue *queue = NULL;
    int items[4];
    void *const all[4] = {&items[0], &items[1], &items[2], &items[3]};
    pthread_t threads[2];
    void *got[2] = {NULL, NULL};
    assert_int_equal(queue_new(&queue, 3), 0);
    assert_int_equal(queue_push_all(queue, all, 0), 0);
    assert_true(queue_push(queue, &items[3]));
    assert_int_equal(queue_push_all(queue, all, 4), 2); /* what there is room for, in order */
    assert_int_equal(queue_push_all(queue, all, 4), 0);
    assert_ptr_equal(queue_pop(queue, 0), &items[3]);
    assert_ptr_equal(queue_pop(queue, 0), &items[0]);
    assert_ptr_equal(queue_pop(queue, 0), &items[1]);
    assert_null(queue_pop(queue, 0));
    for (int i = 0; i < 2; i++) /* each of those who wait gets one */
        assert_int_equal(pthread_create(&threads[i], NULL, pop_one, queue), 0);
    assert_int_equal(queue_push_all(queue, all, 2), 2);
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_join(threads[i], &got[i]), 0);
    assert_true(got[0] && got[1] && got[0] != got[1]);
    queue_close(queue);
    assert_int_equal(queue_push_all(queue, all, 1), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_everything_arrives_in_order),
        cmocka_unit_test(test_full_empty_closed),
        cmocka_unit_test(test_several_at_once),
        cmocka_unit_test(test_first_comes_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
