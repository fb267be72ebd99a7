/* SPDX-License-Identifier: Apache-2.0 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "hub/live.h"
#include "hub/probes.h"
#include "hub/pulse.h"

static const PeerKey key = {"0123456789012345678901234567890123456789"};
static const uint64_t now_ms = 1700000000400;

static int take(Probes *probes, Live *live, const char *json) {
    return pulse_take(probes, live, NULL, NULL, &key, json, strlen(json), now_ms);
}

/* a pulse as a probe writes it reaches the registry and the tick */
static void test_pulse(void **state) {
    (void)state;
    cleanup(live_freep) Live *live = NULL;
    cleanup(probes_freep) Probes *probes = NULL;
    Buffer tick = {0};
    assert_int_equal(live_new(&live), 0);
    assert_int_equal(probes_new(&probes), 0);
    assert_non_null(probes_lock_new(probes, &key));
    probes_unlock(probes);
    (void)live_close(live, now_ms, 0, &tick);
    static const char pulse[] =
        "{\"v\":1,\"time_ms\":1700000000390,\"interval_ms\":500,\"packets\":10,\"octets\":1000,"
        "\"drops\":2,\"flows_active\":3,\"flows_exported\":7,"
        "\"causes\":[\"OF_A_LATER_VERSION\",7,\"LINK_DOWN\",\"SPOOL_FULL\"],"
        "\"apps\":[{\"name\":\"TLS.Wikipedia\",\"category\":\"Web\",\"octets\":900,\"packets\":8}],"
        "\"hosts\":[{\"ip\":\"10.0.0.1\",\"vlan\":5,\"octets_in\":600,\"octets_out\":400}],"
        "\"conversations\":[{\"src_ip\":\"10.0.0.1\",\"dst_ip\":\"10.0.0.2\",\"octets\":400,"
        "\"rev_octets\":600,\"packets\":10}]}";
    assert_int_equal(take(probes, live, pulse), 0);
    assert_int_equal(take(probes, live, pulse), 0);
    const Probe *probe = probes_lock(probes, &key);
    assert_int_equal(probe->packets, 20);
    assert_int_equal(probe->octets, 2000);
    assert_int_equal(probe->drops, 4);
    assert_int_equal(probe->pulse.flows_active, 3);
    assert_int_equal(probe->pulse.octets_per_s, 2000);
    assert_int_equal(probe->clock_offset_ms, -10);
    assert_int_equal(probe->pulse.cause, CAUSE_PEER_LINK_DOWN); /* the first that is known */
    probes_unlock(probes);
    assert_true(live_close(live, now_ms + 1000, 1, &tick));
    static const char *const parts[] = {
        "\"packets\":20,\"octets\":2000,\"drops\":4",
        "{\"name\":\"TLS.Wikipedia\",\"octets\":1800,\"packets\":16}",
        "{\"ip\":\"10.0.0.1\",\"octets_in\":1200,\"octets_out\":800}",
        "{\"src_ip\":\"10.0.0.1\",\"dst_ip\":\"10.0.0.2\",\"app_name\":\"\",\"octets\":800,"
        "\"rev_octets\":1200}",
    };
    for (size_t i = 0; i < sizeof(parts) / sizeof(*parts); i++) {
        if (!strstr(buffer_text(&tick), parts[i]))
            fail_msg("%s is not in %s", parts[i], buffer_text(&tick));
    }
    buffer_deinit(&tick);
}

/* numbers that nobody can have counted stay numbers */
static void test_lies(void **state) {
    (void)state;
    cleanup(live_freep) Live *live = NULL;
    cleanup(probes_freep) Probes *probes = NULL;
    assert_int_equal(live_new(&live), 0);
    assert_int_equal(probes_new(&probes), 0);
    assert_non_null(probes_lock_new(probes, &key));
    probes_unlock(probes);
    uint64_t before = 0;
    for (unsigned i = 0; i < 3000; i++) {
        assert_int_equal(take(probes, live,
                              "{\"interval_ms\":1000,\"packets\":9223372036854775807,"
                              "\"octets\":9223372036854775807,\"drops\":-1}"),
                         0);
        const Probe *probe = probes_lock(probes, &key);
        assert_true(probe->packets >= before && probe->packets <= INT64_MAX);
        before = probe->packets;
        assert_int_equal(probe->pulse.octets_per_s, UINT64_C(1) << 53);
        assert_int_equal(probe->drops, 0);
        probes_unlock(probes);
    }
    assert_int_equal(before, INT64_MAX);
}

/* as test-pulse of the probe has it written; a pulse of an older probe says nothing of a spool */
static void test_spool(void **state) {
    (void)state;
    cleanup(live_freep) Live *live = NULL;
    cleanup(probes_freep) Probes *probes = NULL;
    assert_int_equal(live_new(&live), 0);
    assert_int_equal(probes_new(&probes), 0);
    probes_hello(probes, &key, 0, "192.0.2.1", "{\"instance\":\"a\"}", now_ms);
    assert_int_equal(
        take(probes, live,
             "{\"flows_metered\":21,\"flows_export_dropped\":1,\"spool\":{\"hubs\":1,\"disk\":"
             "\"good\",\"flows\":3,\"batches\":2,\"bytes\":400,\"limit_bytes\":1000,"
             "\"oldest_ms\":1500,\"hours_left\":2.5,\"flows_appended\":20,\"flows_dropped\":4,"
             "\"batches_torn\":6}}"),
        0);
    const Probe *probe = probes_lock(probes, &key);
    const ProbeSpool *spool = &probe->pulse.spool;
    assert_int_equal(probe->pulse.flows_metered, 21);
    assert_int_equal(probe->pulse.flows_export_dropped, 1);
    assert_int_equal(spool->disk, PROBE_DISK_GOOD);
    assert_int_equal(spool->hubs, 1);
    assert_int_equal(spool->flows, 3);
    assert_int_equal(spool->batches, 2);
    assert_int_equal(spool->bytes, 400);
    assert_int_equal(spool->limit_bytes, 1000);
    assert_int_equal(spool->oldest_ms, 1500);
    assert_true(spool->hours_left > 2.49 && spool->hours_left < 2.51);
    assert_int_equal(spool->flows_appended, 20);
    assert_int_equal(spool->flows_dropped, 4);
    assert_int_equal(spool->batches_torn, 6);
    assert_int_equal(probe_ledger(probe, now_ms), LEDGER_SETTLING);
    assert_int_equal(probe_ledger(probe, now_ms + 60000), LEDGER_UNKNOWN);
    probes_unlock(probes);
    assert_int_equal(take(probes, live, "{\"spool\":{\"hubs\":2}}"), 0);
    assert_int_equal(probe_ledger(probe, now_ms), LEDGER_SEVERAL_HUBS);
    assert_int_equal(take(probes, live, "{\"packets\":10,\"flows_waiting\":3}"), 0);
    assert_int_equal(probe->pulse.flows_waiting, 3);
    assert_int_equal(spool->disk, PROBE_DISK_UNKNOWN);
    assert_int_equal(spool->hubs + spool->bytes + spool->limit_bytes, 0);
    assert_int_equal(probe_ledger(probe, now_ms), LEDGER_UNKNOWN);
    /* another run of it counts from 0 */
    probes_hello(probes, &key, 0, "192.0.2.1", "{\"instance\":\"b\"}", now_ms);
    assert_int_equal(probe->ledger.begun_ms, 0);

    static const char *const odd[] = {
        "{\"spool\":[]}",
        "{\"spool\":{\"disk\":7,\"hours_left\":\"many\",\"flows\":-1}}",
        "{\"spool\":{\"disk\":\"unknown\",\"hours_left\":-1e308,\"flows\":1.5}}",
        "{\"flows_metered\":9223372036854775807,\"spool\":{\"hubs\":1,\"hours_left\":1e308,"
        "\"flows\":9223372036854775807,\"bytes\":9223372036854775807,\"flows_appended\":"
        "9223372036854775807,\"disk\":\"good\\u0000\"}}",
    };
    for (size_t i = 0; i < sizeof(odd) / sizeof(*odd); i++) {
        const int r = take(probes, live, odd[i]);
        assert_true(r == 0 || r == PULSE_E_MALFORMED);
        assert_true(spool->flows <= UINT64_C(1) << 53 && spool->bytes <= UINT64_C(1) << 53);
        assert_true(spool->hours_left >= 0 && spool->hours_left <= 1e6);
        assert_int_equal(spool->disk, PROBE_DISK_UNKNOWN);
    }
}

/* what a probe should not send does no harm */
static void test_odd(void **state) {
    (void)state;
    cleanup(live_freep) Live *live = NULL;
    cleanup(probes_freep) Probes *probes = NULL;
    assert_int_equal(live_new(&live), 0);
    assert_int_equal(probes_new(&probes), 0);
    assert_non_null(probes_lock_new(probes, &key));
    probes_unlock(probes);
    static const char *const malformed[] = {"", "x", "[]", "{", "1", "{\"a\":\"\\ud800\"}"};
    for (size_t i = 0; i < sizeof(malformed) / sizeof(*malformed); i++)
        assert_int_equal(take(probes, live, malformed[i]), PULSE_E_MALFORMED);
    static const char *const odd[] = {
        "{}",
        "{\"packets\":-5,\"octets\":\"many\",\"interval_ms\":0,\"time_ms\":-1}",
        "{\"time_ms\":9223372036854775807,\"apps\":{},\"hosts\":3,\"conversations\":[[],1,null]}",
        "{\"apps\":[{\"name\":5},{\"octets\":1},\"TLS\"],\"hosts\":[{\"ip\":\"\"}]}",
    };
    for (size_t i = 0; i < sizeof(odd) / sizeof(*odd); i++)
        assert_int_equal(take(probes, live, odd[i]), 0);
    static char big[100000];
    int at = snprintf(big, sizeof(big), "{\"conversations\":[");
    for (unsigned i = 0; i < 200; i++)
        at += snprintf(big + at, sizeof(big) - (size_t)at,
                       "%s{\"src_ip\":\"%0150u\",\"dst_ip\":\"%030u\"}", i ? "," : "", i, i);
    (void)snprintf(big + at, sizeof(big) - (size_t)at, "]}");
    assert_int_equal(take(probes, live, big), 0);
    Buffer tick = {0};
    while (live_close(live, now_ms + 5000, 1, &tick))
        ;
    assert_false(tick.failed);
    buffer_deinit(&tick);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pulse),
        cmocka_unit_test(test_spool),
        cmocka_unit_test(test_odd),
        cmocka_unit_test(test_lies),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
