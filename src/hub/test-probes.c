/* SPDX-License-Identifier: Apache-2.0 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "hub/probes.h"

static const PeerKey key = {"0123456789012345678901234567890123456789"};

static void state_of(Probes *probes, uint64_t now_ms, char *text, size_t size) {
    const Probe *probe = probes_lock(probes, &key);
    assert_non_null(probe);
    (void)probe_state(probe, now_ms, text, size);
    probes_unlock(probes);
}

/** approve() - it waits, then it is admitted */
static void approve(Probes *probes, uint64_t now) {
    char text[128];
    Probe *probe = probes_lock(probes, &key);
    probe->enrolment.admission = HUB_PENDING;
    (void)snprintf(probe->enrolment.reason, sizeof(probe->enrolment.reason), "%s",
                   "somebody has to approve it");
    probes_unlock(probes);
    state_of(probes, now, text, sizeof(text));
    assert_string_equal(text, "waits: somebody has to approve it");
    probe = probes_lock(probes, &key);
    probe->enrolment.admission = HUB_ADMITTED;
    probes_unlock(probes);
}

static void test_life(void **state) {
    (void)state;
    cleanup(probes_freep) Probes *probes = NULL;
    assert_int_equal(probes_new(&probes), 0);
    assert_false(probes_changed(probes));
    uint64_t now = 1700000000500;
    char text[128];
    probes_hello(probes, &key, 1, "192.0.2.7",
                 "{\"name\":\"site-a\",\"version\":\"a build\",\"interfaces\":[\"eno1\","
                 "{\"name\":\"eno2\"},3]}",
                 now);
    assert_true(probes_changed(probes));
    assert_int_equal(probes_connected(probes), 0);
    state_of(probes, now, text, sizeof(text));
    approve(probes, now);
    assert_int_equal(probes_connected(probes), 1);
    const Probe *probe = probes_lock(probes, &key);
    assert_string_equal(probe->name, "site-a");
    assert_string_equal(probe->version, "a build");
    assert_string_equal(probe->address, "192.0.2.7");
    assert_int_equal(probe->n_captures, 2);
    assert_string_equal(probe->captures[1], "eno2");
    probes_unlock(probes);
    state_of(probes, now, text, sizeof(text));
    assert_string_equal(text, "connected, no report yet");

    ProbePulse pulse = {.time_ms = now - 20, .packets = 5};
    assert_int_equal(probes_pulse(probes, &key, &pulse, now), now / 1000);
    state_of(probes, now, text, sizeof(text));
    assert_string_equal(text, "capturing");
    state_of(probes, now + 7000, text, sizeof(text));
    assert_string_equal(text, "connected, no report for 7 s");

    for (unsigned i = 1; i <= 180; i++) {
        pulse.time_ms += 1000;
        pulse.packets = 0;
        (void)probes_pulse(probes, &key, &pulse, now + i * 1000);
    }
    state_of(probes, now + 180000, text, sizeof(text));
    assert_string_equal(text, "no packets for 3 min");

    pulse.time_ms = now + 181000 + 41000;
    (void)probes_pulse(probes, &key, &pulse, now + 181000);
    state_of(probes, now + 181000, text, sizeof(text));
    assert_string_equal(text, "clock 41 s ahead");

    probes_end(probes, &key, now + 182000);
    state_of(probes, now + 182000 + 600000, text, sizeof(text));
    assert_string_equal(text, "not connected, last heard 10 min ago");
    assert_int_equal(probes_connected(probes), 0);
    probes_remove(probes, &key);
    assert_null(probes_lock(probes, &key));
}

static void test_clone(void **state) {
    (void)state;
    cleanup(probes_freep) Probes *probes = NULL;
    assert_int_equal(probes_new(&probes), 0);
    assert_false(probes_clone(probes, &key, "192.0.2.7", "192.0.2.8", 1000));
    probes_hello(probes, &key, 0, "192.0.2.7", "{\"name\":\"a\"}", 1000);
    assert_true(probes_clone(probes, &key, "192.0.2.7", "192.0.2.8", 5000));
    assert_false(probes_clone(probes, &key, "192.0.2.8", "192.0.2.7", 10000));
    char text[256];
    state_of(probes, 15000, text, sizeof(text));
    assert_non_null(strstr(text, "two running probes use this key, at 192.0.2.8 and 192.0.2.7"));
    assert_non_null(strstr(text, "start it again with an empty data directory"));
    state_of(probes, 40000, text, sizeof(text));
    assert_null(strstr(text, "two running"));
    assert_true(probes_clone(probes, &key, "192.0.2.7", "192.0.2.7", 90000));
    state_of(probes, 91000, text, sizeof(text));
    assert_non_null(strstr(text, "both at 192.0.2.7"));
}

/* one among many goes: the others stay where they can be found */
static void test_remove(void **state) {
    (void)state;
    cleanup(probes_freep) Probes *probes = NULL;
    assert_int_equal(probes_new(&probes), 0);
    enum { MANY = 500 };
    for (unsigned i = 0; i < MANY; i++) {
        PeerKey one = {0};
        (void)snprintf(one.z85, sizeof(one.z85), "%040u", i);
        Probe *probe = probes_lock_new(probes, &one);
        probe->first_seen_ms = i;
        probes_unlock(probes);
    }
    for (unsigned i = 0; i < MANY; i += 3) {
        PeerKey one = {0};
        (void)snprintf(one.z85, sizeof(one.z85), "%040u", i);
        probes_remove(probes, &one);
    }
    for (unsigned i = 0; i < MANY; i++) {
        PeerKey one = {0};
        (void)snprintf(one.z85, sizeof(one.z85), "%040u", i);
        const Probe *probe = probes_lock(probes, &one);
        assert_int_equal(probe != NULL, i % 3 != 0);
        if (!probe)
            continue;
        assert_int_equal(probe->first_seen_ms, i);
        probes_unlock(probes);
    }
}

/* what keeps a probe from having more to say, in the words of cause.def */
static void test_causes(void **state) {
    (void)state;
    cleanup(probes_freep) Probes *probes = NULL;
    assert_int_equal(probes_new(&probes), 0);
    uint64_t now = 1700000000500;
    char text[256];
    probes_hello(probes, &key, 0, "192.0.2.7", "{\"interfaces\":[\"eno1\"]}", now);
    const Probe *probe = probes_lock(probes, &key);
    ProbePulse pulse = {.time_ms = now};
    probes_unlock(probes);
    (void)probes_pulse(probes, &key, &pulse, now);
    for (unsigned i = 1; i <= 9; i++) {
        pulse.time_ms = now + i * 1000;
        (void)probes_pulse(probes, &key, &pulse, now + i * 1000);
    }
    /* one that never had a packet asks for attention, one that is quiet for a while does not */
    assert_int_equal(probe_state(probe, now + 9000, text, sizeof(text)), PROBE_ATTENTION);
    assert_string_equal(text, "no packets for 9 s");
    pulse.packets = 1;
    (void)probes_pulse(probes, &key, &pulse, now + 10000);
    assert_int_equal(probe_state(probe, now + 10000, text, sizeof(text)), PROBE_CAPTURING);
    pulse.packets = 0;
    pulse.time_ms = now + 19000;
    (void)probes_pulse(probes, &key, &pulse, now + 19000);
    assert_int_equal(probe_state(probe, now + 19000, text, sizeof(text)), PROBE_CAPTURING);
    assert_string_equal(text, "no packets for 9 s");
    pulse.time_ms = now + 71000;
    (void)probes_pulse(probes, &key, &pulse, now + 71000);
    assert_int_equal(probe_state(probe, now + 71000, text, sizeof(text)), PROBE_ATTENTION);

    static const struct {
        Cause cause;
        const char *text;
    } causes[] = {
        {CAUSE_PEER_LINK_DOWN, "interface eno1 is down"},
        {CAUSE_PEER_NO_CARRIER, "interface eno1 has no carrier"},
        {CAUSE_PEER_SPOOL_FULL, "its spool is full: the oldest flows are let go, and counted"},
    };
    for (size_t i = 0; i < sizeof(causes) / sizeof(causes[0]); i++) {
        pulse.cause = causes[i].cause;
        (void)probes_pulse(probes, &key, &pulse, now + 71000);
        assert_int_equal(probe_state(probe, now + 71000, text, sizeof(text)), PROBE_ATTENTION);
        assert_string_equal(text, causes[i].text);
    }
    probes_hello(probes, &key, 0, "192.0.2.7", "{\"version\":\"999.0.0\"}", now);
    assert_int_equal(probe_state(probe, now + 71000, text, sizeof(text)), PROBE_ATTENTION);
    assert_string_equal(text, "weir-probe 999.0.0 is newer than this hub");
}

/* names go to logs, metrics and pages: whatever a probe says, they are one line of valid UTF-8 */
static void test_hostile_name(void **state) {
    (void)state;
    cleanup(probes_freep) Probes *probes = NULL;
    assert_int_equal(probes_new(&probes), 0);
    probes_hello(probes, &key, 0, "192.0.2.7",
                 "{\"name\":\"a\\nb\\u001b[2Jc\\u007f\",\"version\":7,\"interfaces\":{\"x\":1}}",
                 1000);
    const Probe *probe = probes_lock(probes, &key);
    assert_string_equal(probe->name, "a b [2Jc ");
    assert_string_equal(probe->version, "");
    assert_int_equal(probe->n_captures, 0);
    probes_unlock(probes);

    for (size_t before = 0; before < 3; before++) {
        char json[1200] = "{\"name\":\"";
        (void)snprintf(json + strlen(json), sizeof(json) - strlen(json), "%.*s", (int)before, "xx");
        for (size_t i = 0; i < 200; i++)
            memcpy(json + strlen(json), "\xe2\x82\xac", 4);
        memcpy(json + strlen(json), "\"}", 3);
        probes_hello(probes, &key, 0, "192.0.2.7", json, 2000);
        probe = probes_lock(probes, &key);
        const size_t size = strlen(probe->name);
        assert_in_range(size, sizeof(probe->name) - 3, sizeof(probe->name) - 1);
        assert_int_equal((size - before) % 3, 0);
        probes_unlock(probes);
    }
}

/* one pulse a second, travelling up to 0.9 s: each gets a second of its own */
static void test_seconds(void **state) {
    (void)state;
    cleanup(probes_freep) Probes *probes = NULL;
    assert_int_equal(probes_new(&probes), 0);
    assert_non_null(probes_lock_new(probes, &key));
    probes_unlock(probes);
    static const unsigned travel_ms[] = {10, 900, 30, 600, 0, 850, 20};
    uint64_t last = 0;
    for (unsigned i = 0; i < sizeof(travel_ms) / sizeof(*travel_ms); i++) {
        const uint64_t sent = 1700000000950 + i * 1000;
        const ProbePulse pulse = {.time_ms = sent + 5000000}; /* its clock is off */
        const uint64_t second = probes_pulse(probes, &key, &pulse, sent + travel_ms[i]);
        if (last)
            assert_int_equal(second, last + 1);
        last = second;
    }
    /* its clock is set: the distance is taken anew */
    const uint64_t now = 1700000010000;
    const ProbePulse pulse = {.time_ms = now};
    assert_int_equal(probes_pulse(probes, &key, &pulse, now), now / 1000);
}

typedef struct Seen {
    size_t n;
    uint64_t count;
    uint64_t oldest_ms;
} Seen;

static void see(void *context, const PeerProblem *problem) {
    Seen *seen = context;
    seen->n++;
    seen->count += problem->count;
    if (!seen->oldest_ms || problem->last_ms < seen->oldest_ms)
        seen->oldest_ms = problem->last_ms;
}

/* problems are counted by address and kind; a flood of addresses pushes out the oldest only */
static void test_problems(void **state) {
    (void)state;
    cleanup(probes_freep) Probes *probes = NULL;
    assert_int_equal(probes_new(&probes), 0);
    for (unsigned i = 0; i < 3; i++)
        probes_problem(probes, PEER_WRONG_KEY, 0, "203.0.113.7", 1000 + i);
    probes_problem(probes, PEER_PLAIN, 0, "203.0.113.7", 2000);
    Seen seen = {0};
    probes_problems_each(probes, see, &seen);
    assert_int_equal(seen.n, 2);
    assert_int_equal(seen.count, 4);

    /* one whose address could not be read, and the same again when it could */
    probes_problem(probes, PEER_PLAIN, 1, "", 2000);
    probes_problem(probes, PEER_PLAIN, 1, "203.0.113.9", 2000);
    probes_problem(probes, PEER_PLAIN, 1, "", 2000);
    seen = (Seen){0};
    probes_problems_each(probes, see, &seen);
    assert_int_equal(seen.n, 3);
    assert_int_equal(seen.count, 7);

    for (unsigned i = 0; i < 1000; i++) {
        char address[32];
        (void)snprintf(address, sizeof(address), "198.51.100.%u", i);
        probes_problem(probes, PEER_MALFORMED, 0, address, 3000 + i);
    }
    seen = (Seen){0};
    probes_problems_each(probes, see, &seen);
    assert_int_equal(seen.n, PROBES_PROBLEMS_MAX);
    assert_int_equal(seen.oldest_ms, 3000 + 1000 - PROBES_PROBLEMS_MAX);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_life),         cmocka_unit_test(test_causes),
        cmocka_unit_test(test_clone),        cmocka_unit_test(test_remove),
        cmocka_unit_test(test_hostile_name), cmocka_unit_test(test_seconds),
        cmocka_unit_test(test_problems),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
