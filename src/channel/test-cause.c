/* SPDX-License-Identifier: Apache-2.0 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "channel/cause.h"
#include "channel/probe_link_reason.h"
#include "channel/version.h"

/* every row is whole, and what is to be filled in has a name that is known */
static void test_rows(void **state) {
    (void)state;
    for (int i = CAUSE_NONE + 1; i < _CAUSE_N; i++) {
        const CauseRow *row = &cause_rows[i];
        assert_true(row->where && *row->cause && *row->text && *row->mend);
        assert_int_equal(cause_find(row->id), i);
        for (const char *hole = strchr(row->line, '{'); hole; hole = strchr(hole + 1, '{'))
            assert_true(strncmp(hole, "{at}", 4) == 0 || strncmp(hole, "{detail}", 8) == 0);
    }
    assert_int_equal(cause_find("NO_SUCH"), CAUSE_NONE);
}

static void test_lines(void **state) {
    (void)state;
    char line[200];
    char small[12];
    cause_line(line, sizeof(line), CAUSE_NAME_UNKNOWN, "tcp://a:1", "no such name");
    assert_string_equal(line, "tcp://a:1: the host name is not known: no such name; look at the "
                              "name in --ntopng, and at this machine's DNS");
    cause_line(line, sizeof(line), CAUSE_PEER_LINK_DOWN, "eno1", "");
    assert_string_equal(line, "interface eno1 is down; ip link set INTERFACE up there");
    cause_text(line, sizeof(line), CAUSE_PEER_CLOCK, "", "{at} 41 s ahead");
    assert_string_equal(line, "clock {at} 41 s ahead");
    cause_line(small, sizeof(small), CAUSE_NO_PACKETS, "-i eno1", "8 s");
    assert_string_equal(small, "-i eno1: no");
}

/* --- how the link judges ------------------------------------------------------------------ */

typedef struct Case {
    const char *name;
    ProbeStanding standing;
    ProbeLinkWord before;
    ProbeLinkWord word;
    Cause cause; /* whose words the line has; CAUSE_NONE: not looked at */
    const char *detail;
    ProbeSide side;
} Case;

#define UP_MS        100000
#define SYNCED       .session_ms = 90000, .state_ms = 99000, .synced = true, .admitted = true
#define VIEW(i, ...) .views[PROBE_SIDE_##i] = {__VA_ARGS__}

static const Case cases[] = {
    {"just begun", {VIEW(DATA, .ready = false)}, .word = PROBE_LINK_CONNECTING},
    {"refused",
     {VIEW(DATA, .trouble = PROBE_LINK_REFUSED, .detail = "Connection refused")},
     .word = PROBE_LINK_REFUSED,
     .cause = CAUSE_REFUSED,
     .detail = "Connection refused"},
    {"refused while the events port answers",
     {VIEW(DATA, .trouble = PROBE_LINK_REFUSED, .trouble_ms = 5000, .detail = "x"),
      VIEW(EVENTS, .ready = true, .ready_ms = 1000)},
     .word = PROBE_LINK_BOTH_CONNECT,
     .cause = CAUSE_BOTH_CONNECT,
     .detail = "x"},
    {"refused before the events port was up: the hub is just starting",
     {VIEW(DATA, .trouble = PROBE_LINK_REFUSED, .trouble_ms = 1000, .detail = "x"),
      VIEW(EVENTS, .ready = true, .ready_ms = 1050)},
     .word = PROBE_LINK_REFUSED},
    {"closed in the handshake while the events port has the key",
     {VIEW(DATA, .trouble = PROBE_LINK_WRONG_KEY), VIEW(EVENTS, .ready = true)},
     .word = PROBE_LINK_WRONG_PORT,
     .cause = CAUSE_OTHER_PORT},
    {"likewise the events port",
     {.session_ms = UP_MS - 2001, VIEW(EVENTS, .trouble = PROBE_LINK_WRONG_KEY)},
     .word = PROBE_LINK_EVENTS_CLOSED,
     .cause = CAUSE_OTHER_PORT,
     .side = PROBE_SIDE_EVENTS},
    {"both closed in the handshake",
     {VIEW(DATA, .trouble = PROBE_LINK_WRONG_KEY), VIEW(EVENTS, .trouble = PROBE_LINK_WRONG_KEY)},
     .word = PROBE_LINK_WRONG_KEY,
     .cause = CAUSE_WRONG_KEY},
    {"connected and mute",
     {VIEW(DATA, .connected = true, .connected_ms = UP_MS - 4001)},
     .word = PROBE_LINK_NO_HANDSHAKE,
     .cause = CAUSE_NO_HANDSHAKE},
    {"connected, and there is time yet",
     {VIEW(DATA, .connected = true, .connected_ms = UP_MS - 3999)},
     .word = PROBE_LINK_CONNECTING},
    {"listening alone",
     {.bind = true, VIEW(DATA, .ready_ms = UP_MS - 5001)},
     .word = PROBE_LINK_NO_HUB,
     .cause = CAUSE_NO_HUB},
    {"up", {SYNCED}, .word = PROBE_LINK_UP},
    {"up, the clock half a minute off", {SYNCED, .clock_offset_ms = 30000}, .word = PROBE_LINK_UP},
    {"up, the hub's disk full",
     {SYNCED, .hub_full = true},
     .word = PROBE_LINK_HUB_FULL,
     .cause = CAUSE_HUB_IS_FULL},
    {"behind",
     {SYNCED, .clock_offset_ms = 41500},
     .word = PROBE_LINK_CLOCK_OFF,
     .cause = CAUSE_CLOCK,
     .detail = "41 s behind"},
    {"ahead",
     {SYNCED, .clock_offset_ms = -30001},
     .word = PROBE_LINK_CLOCK_OFF,
     .cause = CAUSE_CLOCK,
     .detail = "30 s ahead of"},
    {"events closed",
     {.session_ms = UP_MS - 2001,
      VIEW(EVENTS, .trouble = PROBE_LINK_REFUSED, .detail = "Connection refused")},
     .word = PROBE_LINK_EVENTS_CLOSED,
     .cause = CAUSE_EVENTS_CLOSED,
     .detail = "Connection refused",
     .side = PROBE_SIDE_EVENTS},
    {"events closed, and only guessed",
     {.session_ms = UP_MS - 2001,
      .events_assumed = true,
      VIEW(EVENTS, .trouble = PROBE_LINK_REFUSED, .detail = "Connection refused")},
     .word = PROBE_LINK_EVENTS_CLOSED,
     .cause = CAUSE_EVENTS_ASSUMED,
     .detail = "Connection refused",
     .side = PROBE_SIDE_EVENTS},
    {"events filtered",
     {.session_ms = UP_MS - 3500,
      VIEW(EVENTS, .trouble = PROBE_LINK_NO_ANSWER, .detail = "Connection timed out")},
     .word = PROBE_LINK_EVENTS_CLOSED,
     .cause = CAUSE_EVENTS_NO_ANSWER,
     .detail = "Connection timed out",
     .side = PROBE_SIDE_EVENTS},
    {"events: not yet known why",
     {.session_ms = UP_MS - 3500, VIEW(EVENTS, .ready = false)},
     .word = PROBE_LINK_CONNECTING},
    {"events: a web server that waits for a request",
     {.session_ms = UP_MS - 6001, VIEW(EVENTS, .connected = true)},
     .word = PROBE_LINK_EVENTS_CLOSED,
     .cause = CAUSE_EVENTS_NO_ANSWER,
     .detail = "no handshake",
     .side = PROBE_SIDE_EVENTS},
    {"the hub says nothing",
     {.session_ms = UP_MS - 5000, VIEW(EVENTS, .ready = true, .ready_ms = UP_MS - 5000)},
     .word = PROBE_LINK_NO_STATE,
     .cause = CAUSE_NO_STATE},
    {"of a version that the hub does not serve",
     {.session_ms = 1, .state_ms = 2, .synced = true, .version = CAUSE_PEER_VERSION_OLD},
     .word = PROBE_LINK_VERSION,
     .cause = CAUSE_PEER_VERSION_OLD,
     .detail = WEIR_VERSION},
    {"not admitted",
     {.session_ms = 1, .state_ms = 2, .synced = true, .admission_reason = "no seat is free"},
     .word = PROBE_LINK_WAITING,
     .cause = CAUSE_WAITING,
     .detail = "no seat is free"},
};

static void test_judge(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const Case *c = &cases[i];
        ProbeStanding standing = c->standing;
        standing.now_ms = UP_MS;
        standing.endpoints[PROBE_SIDE_DATA] = "tcp://hub:1";
        standing.endpoints[PROBE_SIDE_EVENTS] = "tcp://hub:2";
        char reason[512] = "";
        char expected[512];
        ProbeLinkWord word = probe_link_judge(&standing, c->before, reason, sizeof(reason));
        if (word != c->word)
            fail_msg("%s: \"%s\"", c->name, probe_link_word(word));
        if (c->cause == CAUSE_NONE)
            continue;
        cause_line(expected, sizeof(expected), c->cause, standing.endpoints[c->side],
                   c->detail ? c->detail : "");
        assert_string_equal(reason, expected);
    }
}

/* a clock that drifts is said once, not every second */
static void test_clock_is_said_once(void **state) {
    (void)state;
    ProbeStanding standing = {SYNCED, .now_ms = UP_MS, .clock_offset_ms = 41000,
                              .endpoints = {"tcp://a:1", "tcp://a:2"}};
    char first[512] = "";
    char later[512];
    assert_int_equal(probe_link_judge(&standing, PROBE_LINK_UP, first, sizeof(first)),
                     PROBE_LINK_CLOCK_OFF);
    memcpy(later, first, sizeof(later));
    standing.clock_offset_ms = 44000;
    assert_int_equal(probe_link_judge(&standing, PROBE_LINK_CLOCK_OFF, later, sizeof(later)),
                     PROBE_LINK_CLOCK_OFF);
    assert_string_equal(later, first);
    standing.clock_offset_ms = 10;
    assert_int_equal(probe_link_judge(&standing, PROBE_LINK_CLOCK_OFF, later, sizeof(later)),
                     PROBE_LINK_UP);
}

/* the two previous minor versions are served, nothing newer, nothing of another major */
static void test_versions(void **state) {
    (void)state;
    static const struct {
        const char *hub, *probe;
        Cause cause;
    } versions[] = {
        {"1.4.0", "1.4.0", CAUSE_NONE},
        {"1.4.0", "1.4.9", CAUSE_NONE}, /* a patch level is no matter */
        {"1.4.2", "1.3.0", CAUSE_NONE},
        {"1.4.0", "1.2.7", CAUSE_NONE},
        {"1.4.0", "1.1.9", CAUSE_PEER_VERSION_OLD},
        {"1.4.0", "1.5.0", CAUSE_PEER_VERSION_NEW},
        {"1.1.0", "1.0.0", CAUSE_NONE},
        {"1.14.0", "1.9.0", CAUSE_PEER_VERSION_OLD}, /* numbers, not letters */
        {"2.0.0", "1.9.0", CAUSE_PEER_VERSION_OLD},
        {"1.9.0", "2.0.0", CAUSE_PEER_VERSION_NEW},
        {"1.4.0", "1.4", CAUSE_NONE},
        {"1.4.0", "1.1-rc1", CAUSE_PEER_VERSION_OLD},
        {"1.4.0", "", CAUSE_NONE},
        {"1.4.0", "built here", CAUSE_NONE},
        {"1.4.0", "99999999999999999999.1", CAUSE_NONE},
    };
    for (size_t i = 0; i < sizeof(versions) / sizeof(versions[0]); i++)
        if (version_judge(versions[i].hub, versions[i].probe) != versions[i].cause)
            fail_msg("hub %s, probe %s", versions[i].hub, versions[i].probe);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_lines),
        cmocka_unit_test(test_judge),
        cmocka_unit_test(test_versions),
        cmocka_unit_test(test_clock_is_said_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
