/* SPDX-License-Identifier: Apache-2.0 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "probe/sampling.h"

static void test_written(void **state) {
    (void)state;
    static const struct {
        const char *text;
        Sampling expected;
    } rows[] = {
        {"1", {1, 1, 1, 1}},       {"100", {100, 1, 1, 1}},       {"@100", {1, 100, 1, 1}},
        {"10:20", {10, 1, 20, 1}}, {"10:20:30", {10, 1, 20, 30}}, {"@10:20:30", {1, 10, 20, 30}},
        {"1:@64", {1, 1, 64, 1}},  {"@8:@64:2", {1, 8, 64, 2}},   {"1:1:1", {1, 1, 1, 1}},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        Sampling got = {0};
        Reason reason = {""};
        assert_int_equal(sampling_parse(&got, rows[i].text, &reason), 0);
        assert_memory_equal(&got, &rows[i].expected, sizeof(got));
    }
}

static void test_refused(void **state) {
    (void)state;
    static const char *const texts[] = {
        "",
        "0",
        "@",
        "@0",
        "-1",
        "+1",
        "1:",
        ":1",
        "1::2",
        "1:0",
        "1:2:",
        "1:2:0",
        "1:2:@3",
        "1:2:3:4",
        "1 ",
        " 1",
        "a",
        "1a",
        "@@2",
        "1:2:3:",
        "1.5",
        "0x10",
        "99999999999999999999",
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        Sampling got = {7, 7, 7, 7};
        Reason reason = {""};
        assert_int_equal(sampling_parse(&got, texts[i], &reason), SAMPLING_E_USAGE);
        assert_non_null(strstr(reason.text, "is no sampling"));
        assert_int_equal(got.packets, 7);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_written),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
