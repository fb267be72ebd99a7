/* SPDX-License-Identifier: Apache-2.0 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buffer.h"
#include "base/json.h"

static void test_shapes(void **state) {
    (void)state;
    Buffer b = {0};
    Json json = json_make(&b);
    json_object_begin(&json, NULL);
    json_u64(&json, "a", 1);
    json_array_begin(&json, "b");
    json_i64(&json, NULL, -2);
    json_bool(&json, NULL, true);
    json_array_end(&json);
    json_object_begin(&json, "c");
    json_object_end(&json);
    json_text(&json, "d", NULL);
    json_f64(&json, "e", 1.5);
    json_object_end(&json);
    assert_string_equal(buffer_text(&b), "{\"a\":1,\"b\":[-2,true],\"c\":{},\"d\":null,\"e\":1.5}");
    buffer_deinit(&b);
}

static void test_text_is_always_valid(void **state) {
    (void)state;
    static const struct {
        const char *in;
        size_t size;
        const char *out;
    } cases[] = {
        {"plain", 5, "\"plain\""},
        {"q\"\\", 3, "\"q\\\"\\\\\""},
        {"\n\x01\x7f", 3, "\"\\n\\u0001\\u007f\""},
        {"nul\0x", 5, "\"nul\\u0000x\""},
        {"\xc3\xa9", 2, "\"\xc3\xa9\""},
        {"\xff", 1, "\"\xef\xbf\xbd\""},
        {"\xc3", 1, "\"\xef\xbf\xbd\""},
        {"\xed\xa0\x80", 3, "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""},
        {"\xc0\xaf", 2, "\"\xef\xbf\xbd\xef\xbf\xbd\""},
        {"\xf0\x9f\x98\x80", 4, "\"\xf0\x9f\x98\x80\""},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        Buffer b = {0};
        Json json = json_make(&b);
        json_textn(&json, NULL, cases[i].in, cases[i].size);
        assert_string_equal(buffer_text(&b), cases[i].out);
        buffer_deinit(&b);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shapes),
        cmocka_unit_test(test_text_is_always_valid),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
