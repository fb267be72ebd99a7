/* SPDX-License-Identifier: Apache-2.0 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/buffer.h"
#include "base/json.h"
#include "query/filter.h"

static FlowText text(const char *s) {
    return (FlowText){.text = s, .size = (uint32_t)strlen(s)};
}

static FlowRecord sample(void) {
    FlowRecord record = {
        .first_ms = 1700000000000,
        .last_ms = 1700000001000,
        .src_port = 50000,
        .dst_port = 443,
        .protocol = 6,
        .octets = 900000,
        .rev_octets = 200000,
        .packets = 700,
        .rev_packets = 400,
        .end_reason = 1,
        .src_mac = {{0x00, 0x1b, 0x21, 0xaa, 0x00, 0x01}},
    };
    assert_true(net_address_parse(&record.src_ip, "10.1.2.3"));
    assert_true(net_address_parse(&record.dst_ip, "2001:db8::5"));
    record.app_name = text("TLS.Wikipedia");
    record.server_name = text("En.Wikipedia.org");
    return record;
}

static bool matches(const char *filter_text) {
    cleanup(query_filter_freep) QueryFilter *filter = NULL;
    Reason reason = {0};
    int r = query_filter_new(&filter, filter_text, &reason);
    if (r)
        fail_msg("%s: %s", filter_text, reason.text);
    FlowRecord record = sample();
    return query_match(filter, &record);
}

static void test_match(void **state) {
    (void)state;
    static const struct {
        const char *text;
        bool expected;
    } cases[] = {
        {"", true},
        {"  \n", true},
        {"app = TLS.Wikipedia", true},
        {"app = 'tls.wikipedia'", false},
        {"app ~ wiki and bytes > 1M", true},
        {"bytes > 1100000", false},
        {"octets >= 1100K AND packets = 1100", true},
        {"IN_BYTES = 900000 and %OUT_BYTES = 200K", true},
        {"not src_ip in 10.0.0.0/8", false},
        {"src_ip in 10.0.0.0/15", true},
        {"src_ip in 10.1.2.4/31", false},
        {"src_ip in 10.1.2.2/31", true},
        {"src_ip in 0.0.0.0/0", true},
        {"dst_ip in 0.0.0.0/0", false},
        {"dst_ip in ::/0", true},
        {"ip = 2001:db8::5", true},
        {"ip != 2001:db8::5", false},
        {"ip in (192.0.2.0/24, 2001:db8::/32)", true},
        {"ip not in (192.0.2.0/24, 2001:db8::/32)", false},
        {"port = 443 and port in (50000, 1)", true},
        {"port < 443", false},
        {"port <= 443", true},
        {"protocol = TCP && proto = 6", true},
        {"protocol = udp || end_reason = \"idle timeout\"", true},
        {"!(protocol = udp or vlan = 0)", false},
        {"src_mac = 00:1B:21:aa:00:01", true},
        {"src_mac = 00-1b-21-aa-00-02", false},
        {"server_name ~ WIKIPEDIA.ORG", true},
        {"server_name ~ ''", true},
        {"server_name in (a, 'En.Wikipedia.org')", true},
        {"first_ms < 1700000000001 and last_ms > 1700000000999", true},
        /* "and" binds more tightly than "or" */
        {"vlan = 0 or vlan = 1 and vlan = 2", true},
        {"(vlan = 0 or vlan = 1) and vlan = 2", false},
        {"not vlan = 1 and vlan = 2", false},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        if (matches(cases[i].text) != cases[i].expected)
            fail_msg("%s: expected %s", cases[i].text, cases[i].expected ? "a match" : "none");
}

static void test_refusals(void **state) {
    (void)state;
    static const struct {
        const char *text;
        const char *reason;
    } cases[] = {
        {"ap = 1",
         "filter, character 1, at ap: expected a field: ip, port, bytes, packets, duration,"},
        {"vlan = 4 and", "filter, at its end: expected a field"},
        {"vlan", "filter, at its end: expected = != < <= > >= ~ or in after vlan"},
        {"vlan =", "filter, at its end: expected a value for vlan"},
        {"vlan = 65536", "filter, character 8, at 65536: vlan takes 0 to 65535"},
        {"bytes > 99999999999999999999", "bytes takes a number, like 1500, 10K or 1Mi"},
        {"bytes > 99999999T", "bytes takes a number"},
        {"bytes > 1X", "character 9, at 1X: bytes takes a number"},
        {"src_ip = 10.0.0.0/33", "src_ip takes an address or a prefix, like 10.0.0.0/8"},
        {"src_ip = fe80::/129", "src_ip takes an address or a prefix"},
        {"src_ip > 10.0.0.1", "character 8, at >: src_ip takes = != and in"},
        {"app < x", "app_name takes = != ~ and in"},
        {"vlan ~ 1", "vlan takes = != < <= > >= and in"},
        {"src_mac = 1:2", "src_mac takes a MAC address, like 00:1b:21:aa:00:01"},
        {"protocol = nonsense", "protocol takes a number or a protocol's name, like 6 or TCP"},
        {"app = \"never closed", "filter, character 7: this text has no closing quote"},
        {"app = x y", "character 9, at y: expected and, or, or the end"},
        {"(app = x", "at its end: expected and, or or )"},
        {"vlan in (1, 2", "at its end: expected , or )"},
        {"vlan not 4", "character 10, at 4: expected in after vlan"},
        {"vlan = 1; drop", "character 9, at ;: expected and, or, or the end"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        QueryFilter *filter = NULL;
        Reason reason = {0};
        if (query_filter_new(&filter, cases[i].text, &reason) != QUERY_E_REFUSED || filter)
            fail_msg("%s: not refused", cases[i].text);
        if (!strstr(reason.text, cases[i].reason))
            fail_msg("%s: %s", cases[i].text, reason.text);
    }
}

static void test_bounds(void **state) {
    (void)state;
    Buffer filter_text = {0};
    QueryFilter *filter = NULL;
    Reason reason = {0};
    for (int i = 0; i < QUERY_FILTER_DEPTH_MAX + 1; i++)
        buffer_put_text(&filter_text, "(");
    assert_int_equal(query_filter_new(&filter, buffer_text(&filter_text), &reason),
                     QUERY_E_REFUSED);
    assert_non_null(strstr(reason.text, "nested more than 64 deep"));

    buffer_clear(&filter_text);
    for (int i = 0; i < 300; i++)
        buffer_put_text(&filter_text, i ? " or vlan=1" : "vlan=1");
    assert_int_equal(query_filter_new(&filter, buffer_text(&filter_text), &reason),
                     QUERY_E_REFUSED);
    assert_non_null(strstr(reason.text, "at most 256 tests"));

    buffer_clear(&filter_text);
    for (int i = 0; i < QUERY_FILTER_BYTES_MAX; i++)
        buffer_put_text(&filter_text, "  ");
    assert_int_equal(query_filter_new(&filter, buffer_text(&filter_text), &reason),
                     QUERY_E_REFUSED);
    assert_non_null(strstr(reason.text, "longer than 16384"));
    buffer_deinit(&filter_text);
}

static void test_plans(void **state) {
    (void)state;
    QueryPlan plan = {.kind = QUERY_TOP, .to_ms = 1000, .limit = 10, .group_n = 1};
    Reason reason = {0};
    plan.group[0] = QUERY_FIELD_IP;
    assert_int_equal(query_plan_check(&plan, &reason), 0);
    plan.group[0] = QUERY_FIELD_BYTES;
    assert_int_equal(query_plan_check(&plan, &reason), QUERY_E_REFUSED);
    plan.group_n = 0;
    assert_int_equal(query_plan_check(&plan, &reason), QUERY_E_REFUSED);
    plan.kind = QUERY_SERIES;
    assert_int_equal(query_plan_check(&plan, &reason), QUERY_E_REFUSED);
    plan.step_ms = 10;
    assert_int_equal(query_plan_check(&plan, &reason), 0);
    plan.to_ms = 86400000;
    assert_int_equal(query_plan_check(&plan, &reason), QUERY_E_REFUSED);
    assert_non_null(strstr(reason.text, "take a longer step"));
    plan.kind = QUERY_FLOWS;
    plan.sort = QUERY_FIELD_PORT;
    assert_int_equal(query_plan_check(&plan, &reason), QUERY_E_REFUSED);
    plan.sort = QUERY_FIELD_BYTES;
    assert_int_equal(query_plan_check(&plan, &reason), 0);
    plan.from_ms = plan.to_ms;
    assert_int_equal(query_plan_check(&plan, &reason), QUERY_E_REFUSED);
}

static void test_values(void **state) {
    (void)state;
    FlowRecord record = sample();
    Buffer to = {0};
    Json json = json_make(&to);
    json_object_begin(&json, NULL);
    static const QueryField fields[] = {FLOW_SRC_IP, FLOW_SRC_MAC, FLOW_APP_NAME, QUERY_FIELD_BYTES,
                                        QUERY_FIELD_PACKETS};
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        QueryValue values[2];
        assert_int_equal(query_field_values(&record, fields[i], values), 1);
        query_value_write_json(fields[i], &values[0], &json, query_field_name(fields[i]));
    }
    json_object_end(&json);
    assert_string_equal(buffer_text(&to),
                        "{\"src_ip\":\"10.1.2.3\",\"src_mac\":\"00:1b:21:aa:00:01\","
                        "\"app_name\":\"TLS.Wikipedia\",\"bytes\":1100000,"
                        "\"packets\":1100}");
    buffer_deinit(&to);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_match),  cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_bounds), cmocka_unit_test(test_plans),
        cmocka_unit_test(test_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
