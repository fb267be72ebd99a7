/* SPDX-License-Identifier: Apache-2.0 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "base/buffer.h"
#include "channel/configuration.h"

static int read_text(Configuration *to, const char *text, Reason *reason) {
    return configuration_read(to, text, strlen(text), reason);
}

static const Configuration whole = {
    .version = 7,
    .id = 0xab,
    .set = CONFIGURATION_ALL,
    .filter = "tcp port 443 and not host \"a\\b\"",
    .sampling = 10,
    .active_s = 30,
    .idle_s = 5,
    .template = "v9",
};

static void test_round_trip(void **state) {
    (void)state;
    Buffer text = {0};
    Json json = json_make(&text);
    Configuration back;
    configuration_write(&json, NULL, &whole);
    assert_int_equal(read_text(&back, buffer_text(&text), NULL), 0);
    assert_true(configuration_same(&back, &whole));
    assert_int_equal(back.version, 7);
    assert_int_equal(back.id, 0xab);

    /* the longest filter fits */
    Configuration longest = whole;
    memset(longest.filter, '"', CONFIGURATION_FILTER_MAX);
    buffer_clear(&text);
    json = json_make(&text);
    configuration_write(&json, NULL, &longest);
    assert_true(text.size < CONFIGURATION_TEXT_MAX);
    assert_int_equal(read_text(&back, buffer_text(&text), NULL), 0);
    assert_string_equal(back.filter, longest.filter);
    buffer_deinit(&text);
}

static void test_bounds(void **state) {
    (void)state;
    static const struct {
        const char *text, *reason;
    } cases[] = {
        {"[]", "object"},
        {"{", "object"},
        {"{\"sampling\":0}", "sampling: a whole number from 1 to 1000000"},
        {"{\"sampling\":1000001}", "sampling"},
        {"{\"sampling\":\"10\"}", "sampling"},
        {"{\"active_s\":0}", "active_s: a whole number from 1 to 86400 s"},
        {"{\"idle_s\":86401}", "idle_s"},
        {"{\"idle_s\":1.5}", "idle_s"},
        {"{\"filter\":1}", "filter: a text of 0 to 512 bytes"},
        {"{\"filter\":\"a\\nb\"}", "filter: a text of one line"},
        {"{\"filter\":\"a\\u0000b\"}", "object"}, /* jansson takes no NUL */
        {"{\"template\":\"\"}", "template"},
        {"{\"template\":\"0123456789abcdef\"}", "template"},
        {"{\"dpi\":true}", "dpi: there is no such setting"},
        {"{\"version\":-1}", "version"},
        {"{\"id\":\"00000000000000AB\"}", "id"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        Configuration read;
        Reason reason = {""};
        assert_int_equal(read_text(&read, cases[i].text, &reason), CONFIGURATION_E_REFUSED);
        if (!strstr(reason.text, cases[i].reason))
            fail_msg("%s: %s", cases[i].text, reason.text);
    }
    /* who refuses must be able to name what */
    Configuration read;
    Reason reason = {""};
    assert_int_equal(read_text(&read,
                               "{\"dpi\":true,\"sampling\":0,\"version\":3,"
                               "\"id\":\"00000000000000ab\",\"idle_s\":7}",
                               &reason),
                     CONFIGURATION_E_REFUSED);
    assert_int_equal(read.version, 3);
    assert_int_equal(read.id, 0xab);
    assert_int_equal(read.set, 0);
    assert_non_null(strstr(reason.text, "dpi"));
}

static void test_over_and_id(void **state) {
    (void)state;
    Configuration to = {.version = 4,
                        .set = CONFIGURATION_FILTER | CONFIGURATION_IDLE,
                        .filter = "udp",
                        .idle_s = 9};
    const Configuration own = {.version = 3, .set = CONFIGURATION_FILTER, .filter = ""};
    configuration_over(&to, &own);
    assert_string_equal(to.filter, ""); /* an empty filter is one */
    assert_int_equal(to.idle_s, 9);
    assert_int_equal(to.version, 4);

    /* another content is another id, whatever the version says */
    Configuration a = to;
    Configuration b = to;
    configuration_stamp(&a);
    configuration_stamp(&b);
    assert_int_equal(a.id, b.id);
    b.idle_s++;
    configuration_stamp(&b);
    assert_int_not_equal(a.id, b.id);
    Configuration none = {0};
    configuration_stamp(&none);
    assert_int_equal(none.id, 0);
}

static void test_differences(void **state) {
    (void)state;
    Configuration before = {
        .set = CONFIGURATION_ALL, .sampling = 1, .active_s = 60, .idle_s = 15, .template = "all"};
    Configuration now = before;
    Reason reason = {""};
    configuration_differences(&reason, &now, &before);
    assert_string_equal(reason.text, "nothing changes");
    (void)snprintf(now.filter, sizeof(now.filter), "tcp");
    now.sampling = 10;
    now.idle_s = 5;
    reason.text[0] = 0;
    configuration_differences(&reason, &now, &before);
    assert_string_equal(reason.text, "filter 'tcp' (was none), sampling 1:10 (was 1:1), idle "
                                     "timeout 5 s (was 15 s)");
}

static int read_report(ConfigurationReport *report, const char *text) {
    json_t *object = json_loads(text, 0, NULL);
    const int r = configuration_report_read(report, object);
    json_decref(object);
    return r;
}

static void test_report(void **state) {
    (void)state;
    const ConfigurationReport report = {.version = 7,
                                        .id = 0xab,
                                        .state = CONFIGURATION_REFUSED,
                                        .reason = "the filter 'x\ty' is not valid",
                                        .running = whole,
                                        .given = whole};
    ConfigurationReport back;
    Buffer text = {0};
    Json json = json_make(&text);
    configuration_report_write(&json, NULL, &report);
    assert_int_equal(read_report(&back, buffer_text(&text)), 0);
    assert_int_equal(back.state, CONFIGURATION_REFUSED);
    assert_int_equal(back.id, 0xab);
    assert_string_equal(back.reason, "the filter 'x y' is not valid"); /* nothing that controls */
    assert_true(configuration_same(&back.running, &whole));
    assert_int_equal(read_report(&back, "{}"), CONFIGURATION_E_REFUSED);
    assert_int_equal(read_report(&back, "nothing"), CONFIGURATION_E_REFUSED);
    buffer_deinit(&text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),  cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_over_and_id), cmocka_unit_test(test_differences),
        cmocka_unit_test(test_report),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
