/* SPDX-License-Identifier: Apache-2.0 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/buffer.h"
#include "base/cursor.h"
#include "base/error.h"
#include "base/hash.h"
#include <errno.h>

static void test_cursor_reads_in_order(void **state) {
    (void)state;
    const uint8_t bytes[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    Cursor c = cursor_make(bytes, sizeof(bytes));
    assert_int_equal(cursor_u8(&c), 1);
    assert_int_equal(cursor_u16(&c), 0x0203);
    assert_int_equal(cursor_u32(&c), 0x04050607);
    assert_true(cursor_u64(&c) == 0x08090a0b0c0d0e0fu);
    assert_false(c.failed);
    assert_int_equal(cursor_left(&c), 0);
}

static void test_cursor_failure_sticks(void **state) {
    (void)state;
    const uint8_t bytes[] = {1, 2, 3};
    Cursor c = cursor_make(bytes, sizeof(bytes));
    assert_int_equal(cursor_u32(&c), 0);
    assert_true(c.failed);
    assert_int_equal(cursor_u8(&c), 0);
    assert_null(cursor_take(&c, 0));
    assert_int_equal(cursor_left(&c), 0);

    Cursor d = cursor_make(bytes, sizeof(bytes));
    Cursor sub = cursor_sub(&d, 2);
    assert_int_equal(cursor_u16(&sub), 0x0102);
    assert_int_equal(cursor_left(&d), 1);
    assert_true(cursor_sub(&d, 2).failed);
    assert_true(d.failed);
}

static void test_cursor_reduced_size(void **state) {
    (void)state;
    const uint8_t bytes[] = {0x01, 0x02, 0x03, 0, 0, 0, 0, 0, 0};
    Cursor c = cursor_make(bytes, sizeof(bytes));
    assert_true(cursor_uint(&c, 3) == 0x010203);
    assert_true(cursor_uint(&c, 9) == 0);
    assert_true(c.failed);
}

static void test_buffer_grows_and_patches(void **state) {
    (void)state;
    Buffer b = {0};
    assert_string_equal(buffer_text(&b), "");
    for (uint32_t i = 0; i < 1000; i++)
        buffer_put_u32(&b, i);
    buffer_patch_u16(&b, 0, 0xbeef);
    assert_int_equal(b.size, 4000);
    assert_int_equal(b.bytes[0], 0xbe);
    assert_int_equal(b.bytes[3999], 999 & 0xff);
    assert_false(b.failed);
    buffer_clear(&b);
    buffer_printf(&b, "%d-%s", 7, "x");
    assert_string_equal(buffer_text(&b), "7-x");
    buffer_deinit(&b);
}

static void test_arena_reset_keeps_first_chunk(void **state) {
    (void)state;
    cleanup(arena_freep) Arena *arena = NULL;
    assert_int_equal(arena_new(&arena, 64), 0);
    char *a = arena_alloc(arena, 10);
    assert_non_null(a);
    assert_int_equal((uintptr_t)a % sizeof(void *), 0);
    assert_non_null(arena_alloc(arena, 1000));
    assert_string_equal(arena_printf(arena, "%s", "hello"), "hello");
    arena_reset(arena);
    assert_int_equal(arena_used(arena), 0);
    assert_ptr_equal(arena_alloc(arena, 10), a);
}

static void test_error_trace(void **state) {
    (void)state;
    char text[256];
    int r = error_trace(error_origin(-ENOENT));
    assert_int_equal(r, -ENOENT);
    assert_non_null(strstr(error_describe(r, text, sizeof(text)), "No such file"));
    assert_non_null(strstr(text, " < "));
    assert_int_equal(error_trace(3), 3);
    assert_int_equal(error_fold(3), -ENOTRECOVERABLE);
    assert_int_equal(error_fold(0), 0);
}

static void test_hash_spreads(void **state) {
    (void)state;
    enum { BUCKETS = 1024, KEYS = 65536 };
    static unsigned count[BUCKETS];
    for (uint32_t i = 0; i < KEYS; i++) {
        uint8_t key[13] = {10, 0, (uint8_t)(i >> 8), (uint8_t)i};
        count[hash_bytes(key, sizeof(key), 42) % BUCKETS]++;
    }
    for (size_t i = 0; i < BUCKETS; i++) {
        assert_true(count[i] > 20);
        assert_true(count[i] < 120);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cursor_reads_in_order),
        cmocka_unit_test(test_cursor_failure_sticks),
        cmocka_unit_test(test_cursor_reduced_size),
        cmocka_unit_test(test_buffer_grows_and_patches),
        cmocka_unit_test(test_arena_reset_keeps_first_chunk),
        cmocka_unit_test(test_error_trace),
        cmocka_unit_test(test_hash_spreads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
