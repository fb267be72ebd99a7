/* SPDX-License-Identifier: Apache-2.0 */

/* The rule alone: who is admitted, and what a join token is worth. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "hub/admission.h"

static void test_rule(void **state) {
    (void)state;
    static const struct {
        AdmissionMode mode;
        AdmissionToken token;
        bool away, admit, take_over;
        ProbeVia via;
        const char *reason;
    } rows[] = {
        {ADMISSION_OPEN, ADMISSION_TOKEN_NONE, false, true, false, PROBE_VIA_OPEN, NULL},
        {ADMISSION_OPEN, ADMISSION_TOKEN_NONE, true, true, false, PROBE_VIA_OPEN, NULL},
        {ADMISSION_OPEN, ADMISSION_TOKEN_USED_UP, true, true, false, PROBE_VIA_OPEN, NULL},
        {ADMISSION_OPEN, ADMISSION_TOKEN_GOOD, false, true, false, PROBE_VIA_TOKEN, NULL},
        {ADMISSION_OPEN, ADMISSION_TOKEN_GOOD, true, true, true, PROBE_VIA_TOKEN, NULL},
        {ADMISSION_TOKEN, ADMISSION_TOKEN_GOOD, false, true, false, PROBE_VIA_TOKEN, NULL},
        {ADMISSION_TOKEN, ADMISSION_TOKEN_GOOD, true, true, true, PROBE_VIA_TOKEN, NULL},
        {ADMISSION_TOKEN, ADMISSION_TOKEN_NONE, true, false, false, 0, "has none"},
        {ADMISSION_TOKEN, ADMISSION_TOKEN_UNKNOWN, false, false, false, 0, "not know"},
        {ADMISSION_TOKEN, ADMISSION_TOKEN_EXPIRED, false, false, false, 0, "expired"},
        {ADMISSION_TOKEN, ADMISSION_TOKEN_USED_UP, false, false, false, 0, "used up"},
        {ADMISSION_APPROVE, ADMISSION_TOKEN_NONE, false, false, false, 0, "approve"},
        {ADMISSION_APPROVE, ADMISSION_TOKEN_GOOD, true, false, false, 0, "approve"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const AdmissionVerdict got = admission_judge(rows[i].mode, rows[i].token, rows[i].away);
        if (got.admit != rows[i].admit || got.take_over != rows[i].take_over ||
            (got.admit && got.via != rows[i].via) || !got.admit != !!rows[i].reason ||
            (rows[i].reason && !strstr(got.reason, rows[i].reason)))
            fail_msg("row %zu: admit %d, take over %d, %s", i, got.admit, got.take_over,
                     got.reason);
    }
}

static void test_token_rule(void **state) {
    (void)state;
    const SettingsToken once = {.uses_max = 1, .uses = 1};
    const SettingsToken open_end = {.uses = 1000};
    const SettingsToken until = {.expires_ms = 500, .uses_max = 3, .uses = 2};
    assert_int_equal(admission_judge_token(&once, false, 1), ADMISSION_TOKEN_USED_UP);
    assert_int_equal(admission_judge_token(&once, true, 1), ADMISSION_TOKEN_GOOD);
    assert_int_equal(admission_judge_token(&open_end, false, 1), ADMISSION_TOKEN_GOOD);
    assert_int_equal(admission_judge_token(&until, false, 499), ADMISSION_TOKEN_GOOD);
    assert_int_equal(admission_judge_token(&until, false, 500), ADMISSION_TOKEN_EXPIRED);
    assert_int_equal(admission_judge_token(&until, true, 500), ADMISSION_TOKEN_EXPIRED);
}

static void test_token_covers(void **state) {
    (void)state;
    const ProbeEnrolment old = {.site = "north", .tenant = "acme", .token = 7};
    const SettingsToken same = {.id = 8, .site = "north", .tenant = "acme"};
    const SettingsToken other_site = {.id = 8, .site = "south", .tenant = "acme"};
    const SettingsToken its_own = {.id = 7, .site = "default", .tenant = "acme"};
    const SettingsToken other_tenant = {.id = 7, .site = "north", .tenant = "else"};
    assert_true(admission_token_covers(&same, &old));
    assert_false(admission_token_covers(&other_site, &old));
    assert_true(admission_token_covers(&its_own, &old)); /* its site was changed in the page */
    assert_false(admission_token_covers(&other_tenant, &old));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rule),
        cmocka_unit_test(test_token_rule),
        cmocka_unit_test(test_token_covers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
