/* SPDX-License-Identifier: Apache-2.0 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "channel/endpoint.h"

static void test_accepted(void **state) {
    (void)state;
    static const struct {
        const char *text, *host, *written;
        uint16_t port;
        bool collector;
    } rows[] = {
        {"tcp://192.168.2.134:5556c", "192.168.2.134", "tcp://192.168.2.134:5556", 5556, true},
        {"zmq://192.168.2.134:5556", "192.168.2.134", "tcp://192.168.2.134:5556", 5556, false},
        {"tcp://*:5556c", "*", "tcp://*:5556", 5556, true},
        {"tcp://hub.example.com:65535", "hub.example.com", "tcp://hub.example.com:65535", 65535,
         false},
        {"tcp://[2001:db8::1]:1c", "2001:db8::1", "tcp://[2001:db8::1]:1", 1, true},
        {"tcp://[fe80::1%eth0]:5556", "fe80::1%eth0", "tcp://[fe80::1%eth0]:5556", 5556, false},
        {"tcp://127.0.0.1:*", "127.0.0.1", "tcp://127.0.0.1:*", 0, false},
        {"tcp://my_hub-1:5556", "my_hub-1", "tcp://my_hub-1:5556", 5556, false},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        Endpoint endpoint;
        char text[300];
        assert_int_equal(endpoint_parse(&endpoint, rows[i].text, NULL), 0);
        assert_string_equal(endpoint.host, rows[i].host);
        assert_int_equal(endpoint.port, rows[i].port);
        assert_int_equal(endpoint.collector, rows[i].collector);
        endpoint_write(&endpoint, text, sizeof(text));
        assert_string_equal(text, rows[i].written);
    }
}

static void test_refused(void **state) {
    (void)state;
    static const char *const rows[][2] = {
        {"eth0", "name of a network interface"},
        {"", "name of a network interface"},
        {"192.168.2.134:5556", "does not begin with tcp://"},
        {"udp://127.0.0.1:5556", "only tcp:// and zmq://"},
        {"tcp://127.0.0.1", "port is missing"},
        {"tcp://127.0.0.1:", "port is missing"},
        {"tcp://[::1]", "port is missing"},
        {"tcp://127.0.0.1:0", "out of range"},
        {"tcp://127.0.0.1:65536", "out of range"},
        {"tcp://127.0.0.1:99999999999999999999", "out of range"},
        {"tcp://127.0.0.1:5556d", "only a c"},
        {"tcp://127.0.0.1:5556cc", "only a c"},
        {"tcp://:5556", "host is missing"},
        {"tcp://[]:5556", "host is missing"},
        {"tcp://256.1.1.1:5556", "not a valid IPv4"},
        {"tcp://::1:5556", "in brackets"},
        {"tcp://[1.2.3.4]:5556", "not IPv6"},
        {"tcp://a b:5556", "characters that no name has"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        Endpoint endpoint = {.port = 7};
        Reason reason = {""};
        assert_int_equal(endpoint_parse(&endpoint, rows[i][0], &reason), ENDPOINT_E_REFUSED);
        assert_int_equal(endpoint.port, 7);
        if (!strstr(reason.text, rows[i][1]))
            fail_msg("%s: %s", rows[i][0], reason.text);
        assert_non_null(strstr(reason.text, "tcp://HOST:PORT"));
    }
}

static void test_next_port(void **state) {
    (void)state;
    Endpoint data, events;
    assert_int_equal(endpoint_parse(&data, "tcp://[::1]:5556c", NULL), 0);
    assert_int_equal(endpoint_next_port(&events, &data, NULL), 0);
    assert_int_equal(events.port, 5557);
    assert_string_equal(events.host, "::1");
    assert_int_equal(endpoint_parse(&data, "tcp://*:65535", NULL), 0);
    assert_int_equal(endpoint_next_port(&events, &data, NULL), ENDPOINT_E_REFUSED);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_accepted),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_next_port),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
