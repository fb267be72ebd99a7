/* SPDX-License-Identifier: Apache-2.0 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "hub/options.h"
#include "hub/pages.h"

/* the i-th of up to three -i with up to three events endpoints */
static int interface_of(HubInterface *interface, const char **data, size_t n_data,
                        const char **events, size_t n_events, size_t i, Reason *reason) {
    const HubConfig config = {.interfaces = {data, n_data}, .events = {events, n_events}};
    return pages_interface(interface, &config, i, reason);
}

static void assert_events(const HubInterface *interface, const char *expected) {
    char text[300];
    endpoint_write(&interface->events, text, sizeof(text));
    assert_string_equal(text, expected);
}

/* events endpoints go with interfaces by order, one may serve all, and else it is port + 1 */
static void test_events(void **state) {
    (void)state;
    const char *data[] = {"tcp://*:5556c", "zmq://192.0.2.1:6000c", "tcp://[2001:db8::1]:7000"};
    const char *events[] = {"tcp://*:5557", "tcp://192.0.2.1:6005"};
    Reason reason = {0};
    HubInterface interface;
    assert_int_equal(interface_of(&interface, data, 3, events, 2, 0, &reason), 0);
    assert_string_equal(interface.name, "*:5556");
    assert_string_equal(interface.given, "tcp://*:5556c");
    assert_string_equal(interface.events_given, "tcp://*:5557");
    assert_events(&interface, "tcp://*:5557");
    assert_int_equal(interface_of(&interface, data, 3, events, 2, 1, &reason), 0);
    assert_events(&interface, "tcp://192.0.2.1:6005");
    assert_int_equal(interface_of(&interface, data, 3, events, 2, 2, &reason), 0);
    assert_string_equal(interface.events_given, "");
    assert_events(&interface, "tcp://[2001:db8::1]:7001");
    assert_int_equal(interface_of(&interface, data, 3, events, 1, 2, &reason), 0);
    assert_string_equal(interface.events_given, "tcp://*:5557");
}

/* an interface's name or a file is answered with what to do instead */
static void test_capture(void **state) {
    (void)state;
    static const char *const given[] = {"eth0", "any", "x.pcap", "lo"};
    for (size_t i = 0; i < sizeof(given) / sizeof(*given); i++) {
        const char *data[] = {given[i]};
        HubInterface interface;
        Reason reason = {0};
        assert_int_equal(interface_of(&interface, data, 1, NULL, 0, 0, &reason), PAGES_E_REFUSED);
        char command[64];
        (void)snprintf(command, sizeof(command), "weir-probe -i %s --ntopng", given[i]);
        assert_non_null(strstr(reason.text, "a hub does not capture"));
        assert_non_null(strstr(reason.text, command));
        assert_null(strchr(reason.text, '\n'));
    }
}

static void test_bad_endpoint(void **state) {
    (void)state;
    static const char *const given[] = {"tcp://:5556c", "tcp://*", "tcp://*:70000c", "udp://*:1c"};
    for (size_t i = 0; i < sizeof(given) / sizeof(*given); i++) {
        const char *data[] = {given[i]};
        HubInterface interface;
        Reason reason = {0};
        assert_int_equal(interface_of(&interface, data, 1, NULL, 0, 0, &reason), PAGES_E_REFUSED);
        assert_non_null(strstr(reason.text, given[i]));
    }
}

typedef struct AddressCase {
    const char *endpoint;
    const char *configured;
    const char *asked;
    const char *header;
    const char *expected; /* NULL: a guess, whatever it is */
    bool known;
} AddressCase;

static const AddressCase address_cases[] = {
    {"tcp://*:5556c", "hub.example", "192.0.2.9", "192.0.2.8:3001", "192.0.2.9", true},
    {"tcp://*:5556c", "hub.example", NULL, "192.0.2.8:3001", "hub.example", true},
    {"tcp://*:5556c", NULL, "192.0.2.9", "192.0.2.8:3001", "192.0.2.9", true},
    {"tcp://*:5556c", NULL, NULL, "192.0.2.8:3001", "192.0.2.8", true},
    {"tcp://*:5556c", NULL, NULL, "[2001:db8::7]:3001", "2001:db8::7", true},
    {"tcp://*:5556c", NULL, "[2001:db8::8]", NULL, "2001:db8::8", true},
    {"tcp://*:5556c", NULL, NULL, "hub.local", "hub.local", true},
    {"tcp://*:5556c", NULL, NULL, "127.0.0.1:3000", NULL, false},
    {"tcp://*:5556c", NULL, NULL, "localhost:3000", NULL, false},
    {"tcp://*:5556c", NULL, "localhost", "hub.local", "localhost", true},
    {"tcp://*:5556c", NULL, NULL, "evil'; rm -rf /", NULL, false},
    {"tcp://*:5556c", NULL, NULL, NULL, NULL, false},
    {"tcp://127.0.0.1:5556c", NULL, NULL, "127.0.0.1:3000", "127.0.0.1", true},
    {"tcp://0.0.0.0:5556c", NULL, NULL, "hub.local:3001", "hub.local", true},
    {"tcp://[::]:5556c", NULL, NULL, "localhost:3000", NULL, false},
    {"tcp://192.168.2.134:5556c", NULL, NULL, "localhost:3000", "192.168.2.134", true},
    {"tcp://192.168.2.134:5556c", NULL, "nat.example", "localhost:3000", "nat.example", true},
};

static void test_address(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof(address_cases) / sizeof(*address_cases); i++) {
        const AddressCase *c = &address_cases[i];
        const char *data[] = {c->endpoint};
        HubInterface interface;
        PageAddress address = {0};
        Reason reason = {0};
        assert_int_equal(interface_of(&interface, data, 1, NULL, 0, 0, &reason), 0);
        assert_int_equal(
            pages_address(&address, &interface, c->configured, c->asked, c->header, &reason), 0);
        assert_int_equal(address.known, c->known);
        assert_string_not_equal(address.host, "*");
        if (c->expected)
            assert_string_equal(address.host, c->expected);
    }
    const char *data[] = {"tcp://*:5556c"};
    HubInterface interface;
    PageAddress address = {.host = "untouched"};
    Reason reason = {0};
    assert_int_equal(interface_of(&interface, data, 1, NULL, 0, 0, &reason), 0);
    assert_int_equal(pages_address(&address, &interface, NULL, "a' b", NULL, &reason),
                     PAGES_E_REFUSED);
    assert_string_equal(address.host, "untouched");
}

static void test_texts(void **state) {
    (void)state;
    const char *data[] = {"tcp://*:5556c", "tcp://198.51.100.3:6000"};
    HubInterface listens;
    HubInterface connects;
    Reason reason = {0};
    assert_int_equal(interface_of(&listens, data, 2, NULL, 0, 0, &reason), 0);
    assert_int_equal(interface_of(&connects, data, 2, NULL, 0, 1, &reason), 0);

    Buffer text = {0};
    pages_probe_command(&text, &listens, "192.168.2.134", "KEY");
    assert_string_equal(buffer_text(&text),
                        "weir-probe -i <interface> --ntopng tcp://192.168.2.134:5556 "
                        "--zmq-publish-events tcp://192.168.2.134:5557 --zmq-probe-mode "
                        "--zmq-encryption-key 'KEY'");
    buffer_clear(&text);
    pages_probe_command(&text, &connects, "192.168.2.134", "KEY");
    assert_string_equal(buffer_text(&text), "weir-probe -i <interface> --ntopng tcp://*:6000 "
                                            "--zmq-encryption-key 'KEY'");
    buffer_clear(&text);
    pages_reach_text(&text, &listens, "2001:db8::1");
    assert_string_equal(buffer_text(&text),
                        "The probe needs outbound TCP to [2001:db8::1]:5556 and "
                        "[2001:db8::1]:5557, nothing inbound.");
    buffer_clear(&text);
    pages_sample_config(&text, &listens, "hub.example", "KEY", false);
    static const char *const lines[] = {
        "\n-i=<interface>\n",
        "\n--ntopng=tcp://hub.example:5556\n",
        "\n--zmq-publish-events=tcp://hub.example:5557\n",
        "\n--zmq-probe-mode=\n",
        "\n--zmq-encryption-key=KEY\n",
    };
    for (size_t i = 0; i < sizeof(lines) / sizeof(*lines); i++)
        assert_non_null(strstr(buffer_text(&text), lines[i]));
    buffer_deinit(&text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_events),       cmocka_unit_test(test_capture),
        cmocka_unit_test(test_bad_endpoint), cmocka_unit_test(test_address),
        cmocka_unit_test(test_texts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
