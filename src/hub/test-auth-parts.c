/* SPDX-License-Identifier: Apache-2.0 */

/* Host and Origin, the limits on attempts, and comparing secrets, each alone. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>

#include "hub/auth-inside.h"
#include "hub/auth-origin.h"

static void test_hosts(void **state) {
    (void)state;
    static const char *const names[] = {"Hub.Example.org", "2001:db8::7"};
    static const struct {
        const char *host;
        bool known;
    } cases[] = {
        {"localhost", true},
        {"LOCALHOST:3000", true},
        {"127.0.0.1", true},
        {"192.0.2.1:65535", true},
        {"[::1]", true},
        {"[2001:db8::1]:3000", true},
        {"hub.example.org", true},
        {"hub.example.org:1", true},
        {"", false},
        {":3000", false},
        {"localhost:", false},
        {"localhost:80x", false},
        {"localhost:123456", false},
        {"localhost.", false},
        {"evil.example", false},
        {"127.0.0.1.evil.example", false},
        {"1.2.3", false},
        {"[::1", false},
        {"[localhost]", false},
        {"[]", false},
        {"::1", false},
        {"[::1]x", false},
        {"[::1]:3000x", false},
        {"hub.example.org.evil", false},
        {"a@localhost", false},
        {"localhost/", false},
        {"0x7f000001", false},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        if (auth_host_known(cases[i].host, names, 2) != cases[i].known)
            fail_msg("%s", cases[i].host);
    assert_false(auth_host_known(NULL, names, 2));
}

static void test_origins(void **state) {
    (void)state;
    assert_true(auth_origin_same("http://a:3000", "a:3000"));
    assert_true(auth_origin_same("HTTPS://A", "a"));
    static const char *const others[] = {
        "http://a:3001", "http://a",        "a:3000",         "null", "",
        "ftp://a:3000",  "http://a:3000/x", "http://b@a:3000"};
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
        assert_false(auth_origin_same(others[i], "a:3000"));
    assert_false(auth_origin_same("http://", ""));
}

static int take(AuthLimit *limit, AuthLimitKind kind, const char *who, uint64_t now) {
    uint64_t retry_ms = 0;
    int r = auth_limit_take(limit, kind, who, now, &retry_ms);
    assert_int_equal(r == 0, retry_ms == 0);
    if (r) { /* what it says is exact */
        uint64_t again_ms = 0;
        assert_int_equal(auth_limit_take(limit, kind, who, now + retry_ms - 1, &again_ms), r);
        assert_int_equal(again_ms, 1);
    }
    return r;
}

static void test_limits(void **state) {
    (void)state;
    cleanup(auth_limit_freep) AuthLimit *limit = NULL;
    assert_int_equal(auth_limit_new(&limit, 42), 0);
    for (int i = 0; i < 10; i++)
        assert_int_equal(take(limit, AUTH_LIMIT_ADDRESS, "2001:db8::1", 1000), 0);
    assert_int_equal(take(limit, AUTH_LIMIT_ADDRESS, "2001:db8::1", 1000), AUTH_LIMIT_E_OVER);
    assert_int_equal(take(limit, AUTH_LIMIT_ADDRESS, "2001:db8::ffff:2", 1000), AUTH_LIMIT_E_OVER);
    assert_int_equal(take(limit, AUTH_LIMIT_ADDRESS, "2001:db8:0:1::1", 1000), 0);
    assert_int_equal(take(limit, AUTH_LIMIT_ADDRESS, "192.0.2.1", 1000), 0);
    assert_int_equal(take(limit, AUTH_LIMIT_NAME, "2001:db8::1", 1000), 0);
    auth_limit_return(limit, AUTH_LIMIT_ADDRESS, "2001:db8::1", 1000);
    assert_int_equal(take(limit, AUTH_LIMIT_ADDRESS, "2001:db8::1", 1000), 0);
    assert_int_equal(take(limit, AUTH_LIMIT_ADDRESS, "2001:db8::1", 1000), AUTH_LIMIT_E_OVER);
    /* full again, and no fuller than full */
    uint64_t later_ms = 1000 + 3600000;
    for (int i = 0; i < 10; i++)
        assert_int_equal(take(limit, AUTH_LIMIT_ADDRESS, "2001:db8::1", later_ms), 0);
    assert_int_equal(take(limit, AUTH_LIMIT_ADDRESS, "2001:db8::1", later_ms), AUTH_LIMIT_E_OVER);
    /* names without case */
    for (int i = 0; i < 60; i++)
        assert_int_equal(take(limit, AUTH_LIMIT_NAME, i % 2 ? "ada" : "ADA", later_ms), 0);
    assert_int_equal(take(limit, AUTH_LIMIT_NAME, "Ada", later_ms), AUTH_LIMIT_E_OVER);
    /* a flood of addresses fills the table; the worst offender stays known */
    for (int i = 0; i < 100000; i++) {
        char who[32];
        (void)snprintf(who, sizeof(who), "10.%d.%d.%d", i >> 16, (i >> 8) & 255, i & 255);
        uint64_t retry_ms = 0;
        (void)auth_limit_take(limit, AUTH_LIMIT_ADDRESS, who, later_ms, &retry_ms);
    }
    assert_int_equal(take(limit, AUTH_LIMIT_ADDRESS, "2001:db8::1", later_ms), AUTH_LIMIT_E_OVER);
}

static void test_same_text(void **state) {
    (void)state;
    assert_true(auth_same_text("", ""));
    assert_true(auth_same_text("abc", "abc"));
    assert_false(auth_same_text("abc", "abd"));
    assert_false(auth_same_text("abc", "ab"));
    assert_false(auth_same_text("", "a"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hosts),
        cmocka_unit_test(test_origins),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_same_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
