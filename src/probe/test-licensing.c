/* SPDX-License-Identifier: Apache-2.0 */

/* what a probe may do, by a licence of its own and by a hub's lease, with all times passed in */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "licence/vendor_secret.h"
#include "probe/kept_lease.h"
#include "probe/licensing.h"

enum { DAY = 86400, NOW = 1800000000, SAVED_S = 600 /* what a restart may give back */ };

typedef struct Bench {
    VendorSecret vendor;
    char folder[64];
    char path[128];
    LicensingConfig config;
    LicensingTime time;
    Licensing *licensing;
} Bench;

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at) {
    (void)st;
    (void)type;
    (void)at;
    return remove(path);
}

static SystemId machine(const char *name) {
    SystemId id = {0};
    system_fact_hash(id.hashes[SYSTEM_MACHINE_ID], SYSTEM_MACHINE_ID, name);
    system_fact_hash(id.hashes[SYSTEM_MAC], SYSTEM_MAC, name);
    return id;
}

static void start(Bench *bench) {
    assert_int_equal(licensing_new(&bench->licensing, &bench->config, bench->time), 0);
}

static void stop(Bench *bench) {
    bench->licensing = licensing_free(bench->licensing);
}

static int begin(void **state) {
    Bench *bench = calloc(1, sizeof(*bench));
    assert_non_null(bench);
    assert_int_equal(token_init(), 0);
    vendor_secret_make(&bench->vendor, "test-1");
    (void)snprintf(bench->folder, sizeof(bench->folder), "/tmp/weir-licensing-XXXXXX");
    assert_non_null(mkdtemp(bench->folder));
    (void)snprintf(bench->path, sizeof(bench->path), "%s/probe.license", bench->folder);
    bench->config = (LicensingConfig){.path = bench->path,
                                      .folder = bench->folder,
                                      .keys = {.keys = &bench->vendor.key, .n = 1},
                                      .here = machine("here"),
                                      .exports = true};
    bench->time = (LicensingTime){.wall_s = NOW, .monotonic_s = 1000, .synchronised = true};
    start(bench);
    *state = bench;
    return 0;
}

static int end(void **state) {
    Bench *bench = *state;
    stop(bench);
    (void)nftw(bench->folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    free(bench);
    return 0;
}

/* so many seconds later, by both clocks */
static bool later(Bench *bench, int64_t s, const LeaseWord *word) {
    bench->time.wall_s += s;
    bench->time.monotonic_s += s;
    return licensing_second(bench->licensing, word, bench->time);
}

/* the program is off for so long: only the wall clock tells */
static void off(Bench *bench, int64_t wall_s) {
    stop(bench);
    bench->time.wall_s += wall_s;
    bench->time.monotonic_s = 5;
    start(bench);
}

/* told now */
static LeaseWord lease_of(int64_t until_s) {
    static uint64_t told_ms;
    return (LeaseWord){.lease = {.until_s = until_s, .licence = "4f0c2f9d1a7b33e0"},
                       .told_ms = ++told_ms};
}

static void install(Bench *bench, const char *id, LicenceKind kind, const char *name) {
    Licence licence = {.version = 1,
                       .kind = kind,
                       .max_probes = 1,
                       .issued_s = bench->time.wall_s - 60,
                       .not_before_s = bench->time.wall_s - 60,
                       .expiry_s = bench->time.wall_s + 10 * DAY,
                       .bound = kind != LICENCE_CLOUD,
                       .system = machine(name)};
    (void)snprintf(licence.kid, sizeof(licence.kid), "test-1");
    (void)snprintf(licence.id, sizeof(licence.id), "%s", id);
    (void)snprintf(licence.customer, sizeof(licence.customer), "Someone");
    Buffer line = {0};
    Reason reason;
    assert_int_equal(licence_sign(&line, &licence, bench->vendor.secret_key, &reason), 0);
    assert_int_equal(file_write(bench->path, line.bytes, line.size, 0600, &reason), 0);
    buffer_deinit(&line);
}

static void test_nothing(void **state) {
    Bench *bench = *state;
    assert_false(licensing_unlocked(bench->licensing));
    assert_string_equal(licensing_token(bench->licensing), "");
    assert_false(later(bench, 1, NULL));
    assert_false(licensing_unlocked(bench->licensing));
}

static void test_lease_seven_days(void **state) {
    Bench *bench = *state;
    LeaseWord lease = lease_of(NOW + 1 + LEASE_S);
    assert_true(later(bench, 1, &lease));
    assert_true(licensing_unlocked(bench->licensing));
    /* the same state again is no news: it is what the link remembers of a hub that is away */
    for (int day = 1; day < 7; day++)
        assert_false(later(bench, DAY, &lease));
    assert_false(later(bench, DAY - 1, &lease));
    assert_true(licensing_unlocked(bench->licensing));
    assert_true(later(bench, 1, &lease));
    assert_false(licensing_unlocked(bench->licensing));
    /* the hub is back */
    lease = lease_of(NOW + 8 * DAY + LEASE_S);
    assert_true(later(bench, 1, &lease));
    assert_true(licensing_unlocked(bench->licensing));
}

/* the hub's clock may be years off: it is this probe's that counts */
static void test_lease_of_another_time(void **state) {
    Bench *bench = *state;
    const int64_t untils[] = {NOW - 900 * DAY, NOW + 900 * DAY};
    for (size_t i = 0; i < 2; i++) {
        LeaseWord lease = lease_of(untils[i]);
        (void)later(bench, 1, &lease);
        assert_true(licensing_unlocked(bench->licensing));
        (void)later(bench, LEASE_S - 1, &lease);
        assert_true(licensing_unlocked(bench->licensing));
        (void)later(bench, 1, &lease);
        assert_false(licensing_unlocked(bench->licensing));
    }
}

static void test_lease_over_restarts(void **state) {
    Bench *bench = *state;
    const LeaseWord lease = lease_of(NOW + LEASE_S);
    (void)later(bench, 1, &lease);
    off(bench, 3 * DAY);
    assert_true(licensing_unlocked(bench->licensing));
    (void)later(bench, 3 * DAY, NULL);
    assert_true(licensing_unlocked(bench->licensing));
    off(bench, DAY - 2);
    assert_true(licensing_unlocked(bench->licensing));
    off(bench, 2);
    assert_false(licensing_unlocked(bench->licensing));
    off(bench, 1);
    assert_false(licensing_unlocked(bench->licensing));
}

/* a hub whose licence clock stands tells the same time again and again: told anew, it holds */
static void test_lease_of_a_standing_clock(void **state) {
    Bench *bench = *state;
    for (int day = 0; day < 10; day++) {
        const LeaseWord lease = lease_of(NOW);
        (void)later(bench, DAY, &lease);
        assert_true(licensing_unlocked(bench->licensing));
    }
}

/* the hub lets it wait: not a hub that is away. A restart does not bring it back */
static void test_lease_over(void **state) {
    Bench *bench = *state;
    const LeaseWord over = {.over = true};
    for (int i = 0; i < 2; i++) {
        const LeaseWord lease = lease_of(NOW + LEASE_S);
        assert_true(later(bench, 1, &lease));
        assert_true(licensing_unlocked(bench->licensing));
        assert_true(later(bench, 1, &over));
        assert_false(licensing_unlocked(bench->licensing));
        assert_false(later(bench, 1, &over));
        off(bench, 1);
        assert_false(licensing_unlocked(bench->licensing));
    }
}

/* connected for eight days, then switched off: it is seven days from the last that was told */
static void test_lease_of_a_long_run(void **state) {
    Bench *bench = *state;
    for (int i = 0; i < 8 * DAY / 450; i++) {
        const LeaseWord lease = lease_of(bench->time.wall_s + LEASE_S);
        (void)later(bench, 450, &lease);
    }
    off(bench, DAY);
    assert_true(licensing_unlocked(bench->licensing));
    off(bench, 6 * DAY - SAVED_S - 60);
    assert_true(licensing_unlocked(bench->licensing));
    off(bench, SAVED_S + 60);
    assert_false(licensing_unlocked(bench->licensing));
}

/* 1 h, 2 days, 2 years back, synchronised before or never: never longer than 7 days of running */
static void test_clock_back(void **state) {
    Bench *bench = *state;
    const int64_t backs[] = {3600, 2 * DAY, 730 * DAY};
    for (size_t i = 0; i < 6; i++) {
        const LeaseWord lease = lease_of(NOW + LEASE_S + (int64_t)i);
        bench->time.synchronised = i % 2;
        (void)later(bench, 1, &lease);
        (void)later(bench, 4 * DAY, NULL);
        bench->time.wall_s -= backs[i / 2];
        (void)later(bench, 1, NULL);
        off(bench, 0);
        assert_true(licensing_unlocked(bench->licensing));
        (void)later(bench, 3 * DAY - 2, NULL);
        assert_true(licensing_unlocked(bench->licensing));
        (void)later(bench, 2 * SAVED_S, NULL);
        assert_false(licensing_unlocked(bench->licensing));
        bench->time.wall_s += backs[i / 2];
    }
}

/* set to 2040 by nobody who knows, and back: a lease told then does not last till 2040 */
static void test_clock_wild(void **state) {
    Bench *bench = *state;
    const int64_t ahead = 4000 * (int64_t)DAY;
    const LeaseWord lease = lease_of(NOW);
    bench->time.synchronised = false;
    bench->time.wall_s += ahead;
    (void)later(bench, 1, &lease);
    bench->time.wall_s -= ahead;
    (void)later(bench, LEASE_S - 1, NULL);
    assert_true(licensing_unlocked(bench->licensing));
    (void)later(bench, 1, NULL);
    assert_false(licensing_unlocked(bench->licensing));
}

static void test_own_licence(void **state) {
    Bench *bench = *state;
    const struct {
        LicenceKind kind;
        const char *machine;
        bool unlocks;
    } cases[] = {
        {LICENCE_PROBE, "elsewhere", false}, {LICENCE_CLOUD, "here", false},
        {LICENCE_HUB, "here", false},        {LICENCE_PROBE, "here", true},
        {LICENCE_PROBE, "elsewhere", true}, /* a day more for the one before */
        {LICENCE_PROBE, "here", true},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char id[8];
        (void)snprintf(id, sizeof(id), "id%zu", i);
        (void)later(bench, 3600, NULL);
        install(bench, id, cases[i].kind, cases[i].machine);
        assert_true(later(bench, 1, NULL)); /* within the second */
        assert_int_equal(licensing_unlocked(bench->licensing), cases[i].unlocks);
        assert_int_equal(licensing_token(bench->licensing)[0] != '\0', cases[i].unlocks);
    }
    /* what is shown is the line itself */
    Buffer line = {0};
    assert_int_equal(file_read(&line, bench->path, 4096, NULL), 0);
    assert_int_equal(strlen(licensing_token(bench->licensing)), line.size - 1);
    assert_memory_equal(licensing_token(bench->licensing), line.bytes, line.size - 1);
    buffer_deinit(&line);
    /* the file is gone: a day more */
    assert_int_equal(unlink(bench->path), 0);
    assert_true(later(bench, 1, NULL));
    assert_true(licensing_unlocked(bench->licensing));
    (void)later(bench, DAY + 1, NULL);
    assert_false(licensing_unlocked(bench->licensing));
    assert_string_equal(licensing_token(bench->licensing), "");
}

/* a line that could not be read when the licence came is read later, though nothing else changed */
static void test_token_later(void **state) {
    Bench *bench = *state;
    Buffer line = {0};
    Reason reason;
    install(bench, "one", LICENCE_PROBE, "here");
    assert_int_equal(file_read(&line, bench->path, 4096, NULL), 0);
    const size_t size = line.size;
    for (int i = 0; i < 5000; i++) /* too long a file to be shown */
        buffer_put_u8(&line, '\n');
    assert_int_equal(file_write(bench->path, line.bytes, line.size, 0600, &reason), 0);
    assert_true(later(bench, 1, NULL));
    assert_true(licensing_unlocked(bench->licensing));
    assert_string_equal(licensing_token(bench->licensing), "");
    assert_false(later(bench, 1, NULL));
    assert_int_equal(file_write(bench->path, line.bytes, size, 0600, &reason), 0);
    assert_true(later(bench, 1, NULL));
    assert_int_equal(strlen(licensing_token(bench->licensing)), size - 1);
    assert_false(later(bench, 1, NULL));
    buffer_deinit(&line);
}

static void test_expiry(void **state) {
    Bench *bench = *state;
    install(bench, "short", LICENCE_PROBE, "here");
    (void)later(bench, 1, NULL);
    assert_true(licensing_unlocked(bench->licensing));
    bench->time.wall_s += 10 * DAY;
    assert_true(later(bench, 1, NULL));
    assert_false(licensing_unlocked(bench->licensing));
    const LeaseWord lease = lease_of(NOW + LEASE_S);
    assert_true(later(bench, 1, &lease)); /* a lease does as well */
    assert_true(licensing_unlocked(bench->licensing));
    assert_string_equal(licensing_token(bench->licensing), "");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_nothing, begin, end),
        cmocka_unit_test_setup_teardown(test_lease_seven_days, begin, end),
        cmocka_unit_test_setup_teardown(test_lease_of_another_time, begin, end),
        cmocka_unit_test_setup_teardown(test_lease_over_restarts, begin, end),
        cmocka_unit_test_setup_teardown(test_lease_of_a_standing_clock, begin, end),
        cmocka_unit_test_setup_teardown(test_lease_over, begin, end),
        cmocka_unit_test_setup_teardown(test_lease_of_a_long_run, begin, end),
        cmocka_unit_test_setup_teardown(test_clock_back, begin, end),
        cmocka_unit_test_setup_teardown(test_clock_wild, begin, end),
        cmocka_unit_test_setup_teardown(test_own_licence, begin, end),
        cmocka_unit_test_setup_teardown(test_token_later, begin, end),
        cmocka_unit_test_setup_teardown(test_expiry, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
