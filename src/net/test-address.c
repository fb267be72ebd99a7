/* SPDX-License-Identifier: Apache-2.0 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "net/address.h"

static void test_text_there_and_back(void **state) {
    (void)state;
    static const char *const texts[] = {
        "0.0.0.0",         "1.2.3.4", "9.10.99.100", "127.0.0.1",           "198.51.100.209",
        "255.255.255.255", "::",      "2001:db8::1", "fe80::6600:6aff:0:8", "::ffff:10.0.0.1",
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        NetAddress address;
        char text[NET_ADDRESS_TEXT_MAX];
        assert_true(net_address_parse(&address, texts[i]));
        assert_string_equal(net_address_format(&address, text), texts[i]);
    }
}

static void test_none_and_bad(void **state) {
    (void)state;
    NetAddress address = {0};
    char text[NET_ADDRESS_TEXT_MAX];
    assert_string_equal(net_address_format(&address, text), "");
    assert_false(net_address_parse(&address, "1.2.3"));
    assert_false(net_address_parse(&address, "1.2.3.256"));
    assert_false(net_address_parse(&address, "2001:db8::1::2"));
    assert_int_equal(address.family, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text_there_and_back),
        cmocka_unit_test(test_none_and_bad),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
