/* SPDX-License-Identifier: Apache-2.0 */

/* The registry around the rule: a real settings file, and a link that only listens. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "hub/admission.h"

enum { TOLD_MAX = 4096 };

typedef struct Told {
    PeerKey key;
    HubAdmission verdict;
    char reason[160];
} Told;

static char folder[64];
static Settings *settings;
static Probes *probes;
static Admission *admission;
static const HubInterface interfaces[] = {{.name = "*:5556"}, {.name = "*:5558"}};
static Told told[TOLD_MAX];
static size_t n_told;

static void tell(void *userdata, const PeerKey *key, HubAdmission verdict, const char *reason) {
    assert_ptr_equal(userdata, told);
    assert_true(n_told < TOLD_MAX);
    Told *one = &told[n_told++];
    one->key = *key;
    one->verdict = verdict;
    (void)snprintf(one->reason, sizeof(one->reason), "%s", reason ? reason : "");
}

static void start(AdmissionMode option) {
    Reason reason = {0};
    if (settings_new(&settings, folder, &reason))
        fail_msg("%s", reason.text);
    assert_int_equal(probes_new(&probes), 0);
    const AdmissionConfig config = {.settings = settings,
                                    .probes = probes,
                                    .interfaces = interfaces,
                                    .n_interfaces = 2,
                                    .option = option,
                                    .tell = tell,
                                    .userdata = told};
    assert_int_equal(admission_new(&admission, &config), 0);
}

static void stop(void) {
    admission = admission_free(admission);
    probes = probes_free(probes);
    settings = settings_free(settings);
}

static int set_up(void **state) {
    (void)state;
    (void)snprintf(folder, sizeof(folder), "/tmp/weir-admission-XXXXXX");
    assert_non_null(mkdtemp(folder));
    n_told = 0;
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    stop();
    static const char *const names[] = {"weir.sqlite", "weir.sqlite-wal", "weir.sqlite-shm", ""};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        char path[128];
        (void)snprintf(path, sizeof(path), "%s/%s", folder, names[i]);
        (void)remove(path);
    }
    return 0;
}

static PeerKey key_of(unsigned i) {
    PeerKey key = {0};
    (void)snprintf(key.z85, sizeof(key.z85), "%040u", i);
    return key;
}

static void hello(unsigned i, const char *name, const char *id, const char *token, uint64_t now) {
    char json[512];
    const PeerKey key = key_of(i);
    (void)snprintf(json, sizeof(json),
                   "{\"name\":\"%s\",\"probe_id\":\"%s\",\"instance\":\"x\"%s%s%s}", name, id,
                   token ? ",\"token\":\"" : "", token ? token : "", token ? "\"" : "");
    admission_hello(admission, &key, 1, "192.0.2.1", json, now);
}

static void gone(unsigned i, uint64_t now) {
    const PeerKey key = key_of(i);
    probes_end(probes, &key, now);
}

static Probe look(unsigned i) {
    const PeerKey key = key_of(i);
    const Probe *probe = probes_lock(probes, &key);
    const Probe copy = probe ? *probe : (Probe){0};
    if (!probe)
        fail_msg("probe %u is not known", i);
    probes_unlock(probes);
    return copy;
}

static bool is_known(unsigned i) {
    const PeerKey key = key_of(i);
    const bool known = probes_lock(probes, &key) != NULL;
    if (known)
        probes_unlock(probes);
    return known;
}

static const Told *last(void) {
    assert_true(n_told > 0);
    return &told[n_told - 1];
}

static void last_is(unsigned i, HubAdmission verdict) {
    const PeerKey key = key_of(i);
    assert_string_equal(last()->key.z85, key.z85);
    assert_int_equal(last()->verdict, verdict);
}

/* --------------------------------------------------------------------------------- the registry */

static void test_modes(void **state) {
    (void)state;
    Reason reason = {0};
    start(ADMISSION_OPEN);
    hello(1, "one", "id-1", NULL, 100);
    last_is(1, HUB_ADMITTED);
    assert_string_equal(look(1).enrolment.site, "default");
    assert_int_equal(look(1).enrolment.enrolled_ms, 100);
    assert_int_equal(look(1).enrolment.via, PROBE_VIA_OPEN);

    /* closed: who is known stays, who is new waits, and is admitted when it is open again */
    assert_int_equal(admission_set_mode(admission, ADMISSION_APPROVE, 200), 0);
    hello(1, "one", "id-1", NULL, 201);
    last_is(1, HUB_ADMITTED);
    hello(2, "two", "id-2", NULL, 202);
    last_is(2, HUB_PENDING);
    assert_non_null(strstr(last()->reason, "approve"));
    assert_int_equal(look(2).number, 0);
    hello(3, "three", "id-3", NULL, 203);
    const PeerKey two = key_of(2);
    assert_int_equal(admission_approve(admission, &two, 204, &reason), 0);
    last_is(2, HUB_ADMITTED);
    assert_int_equal(look(2).enrolment.via, PROBE_VIA_APPROVE);
    assert_int_equal(admission_approve(admission, &two, 205, &reason), ADMISSION_E_REFUSED);
    const PeerKey nobody = key_of(99);
    assert_int_equal(admission_approve(admission, &nobody, 205, &reason), ADMISSION_E_MISSING);

    /* a restart with the same option changes nothing that was decided */
    admission_flush(admission);
    stop();
    n_told = 0;
    start(ADMISSION_OPEN);
    assert_int_equal(admission_mode(admission), ADMISSION_APPROVE);
    admission_start(admission);
    assert_int_equal(n_told, 2);
    assert_int_equal(told[0].verdict, HUB_ADMITTED);
    assert_int_equal(look(1).interface, 1);
    assert_int_equal(look(3).enrolment.admission, HUB_PENDING);
    hello(3, "three", "id-3", NULL, 300);
    last_is(3, HUB_PENDING);
    assert_int_equal(admission_set_mode(admission, ADMISSION_OPEN, 301), 0);
    last_is(3, HUB_ADMITTED);
    assert_int_equal(look(3).enrolment.enrolled_ms, 301);

    /* another option than at the last start does */
    stop();
    start(ADMISSION_TOKEN);
    assert_int_equal(admission_mode(admission), ADMISSION_TOKEN);
    stop();
    start(ADMISSION_TOKEN);
    assert_int_equal(admission_mode(admission), ADMISSION_TOKEN);
}

static void test_revoked(void **state) {
    (void)state;
    Reason reason = {0};
    start(ADMISSION_OPEN);
    hello(1, "one", "id-1", NULL, 100);
    const PeerKey one = key_of(1);
    assert_int_equal(admission_revoke(admission, &one, &reason), 0);
    last_is(1, HUB_REVOKED);
    const size_t before = n_told;
    hello(1, "one", "id-1", NULL, 101); /* was on its way when the key was revoked */
    assert_int_equal(n_told, before);
    assert_int_equal(look(1).enrolment.admission, HUB_REVOKED);
    stop();
    start(ADMISSION_OPEN);
    n_told = 0;
    admission_start(admission);
    last_is(1, HUB_REVOKED);
    char text[128];
    const Probe probe = look(1);
    assert_int_equal(probe_state(&probe, 200, text, sizeof(text)), PROBE_REVOKED);
    assert_int_equal(admission_approve(admission, &one, 200, &reason), ADMISSION_E_REFUSED);
    assert_int_equal(admission_restore(admission, &one, 200, &reason), 0);
    last_is(1, HUB_ADMITTED);
    assert_int_equal(look(1).enrolment.enrolled_ms, 100);
    assert_int_equal(admission_restore(admission, &one, 200, &reason), ADMISSION_E_REFUSED);

    /* connected, it would come again at once */
    hello(1, "one", "id-1", NULL, 300);
    assert_int_equal(admission_forget(admission, &one, &reason), ADMISSION_E_REFUSED);
    gone(1, 301);
    assert_int_equal(admission_forget(admission, &one, &reason), 0);
    last_is(1, HUB_UNKNOWN);
    assert_false(is_known(1));
    assert_int_equal(admission_forget(admission, &one, &reason), ADMISSION_E_MISSING);
    stop();
    start(ADMISSION_OPEN);
    assert_false(is_known(1));
}

static void make(const SettingsToken *token, char text[ADMISSION_TOKEN_TEXT]) {
    uint64_t id = 0;
    assert_int_equal(admission_token_make(admission, token, text, &id), 0);
    assert_int_equal(strlen(text), ADMISSION_TOKEN_TEXT - 1);
    assert_true(id > 0);
}

/* whoever has the public key makes keys without end; a probe that delivers is none of them */
static void test_open_flood(void **state) {
    (void)state;
    Reason reason = {0};
    start(ADMISSION_OPEN);
    for (unsigned i = 0; i < ADMISSION_UNUSED_MAX; i++) {
        hello(i, "one", "", NULL, 100 + i);
        last_is(i, HUB_ADMITTED);
        gone(i, 100 + i);
    }
    const unsigned next = ADMISSION_UNUSED_MAX;
    hello(next, "one", "", NULL, 1000);
    last_is(next, HUB_PENDING);
    assert_non_null(strstr(last()->reason, "delivered nothing"));
    char token[ADMISSION_TOKEN_TEXT];
    make(&(SettingsToken){0}, token);
    hello(next + 1, "two", "", token, 1001);
    last_is(next + 1, HUB_ADMITTED);
    const PeerKey key = key_of(7);
    assert_int_equal(admission_forget(admission, &key, &reason), 0);
    hello(next, "one", "", NULL, 1002);
    last_is(next, HUB_ADMITTED);
}

static void test_tokens(void **state) {
    (void)state;
    char once[ADMISSION_TOKEN_TEXT];
    char brief[ADMISSION_TOKEN_TEXT];
    start(ADMISSION_TOKEN);
    make(&(SettingsToken){.uses_max = 1, .site = "north", .tenant = "acme"}, once);
    make(&(SettingsToken){.expires_ms = 1000}, brief);
    hello(1, "one", "id-1", NULL, 100);
    last_is(1, HUB_PENDING);
    hello(1, "one", "id-1", "made up", 101);
    assert_non_null(strstr(last()->reason, "not know"));
    hello(1, "one", "id-1", once, 102);
    last_is(1, HUB_ADMITTED);
    assert_string_equal(look(1).enrolment.site, "north");
    assert_string_equal(look(1).enrolment.tenant, "acme");
    assert_int_equal(look(1).enrolment.via, PROBE_VIA_TOKEN);

    hello(2, "two", "id-2", once, 103);
    last_is(2, HUB_PENDING);
    assert_non_null(strstr(last()->reason, "used up"));
    hello(3, "three", "id-3", brief, 999);
    last_is(3, HUB_ADMITTED);
    assert_string_equal(look(3).enrolment.site, "default");
    hello(4, "four", "id-4", brief, 1000);
    last_is(4, HUB_PENDING);
    assert_non_null(strstr(last()->reason, "expired"));

    /* a key that used it is counted once: forgotten, it may come again */
    stop();
    start(ADMISSION_TOKEN);
    Reason reason = {0};
    const PeerKey one = key_of(1);
    assert_int_equal(admission_forget(admission, &one, &reason), 0);
    hello(1, "one", "id-1", once, 2000);
    last_is(1, HUB_ADMITTED);

    /* where an administrator has to say yes, a token only tells site and tenant */
    char north[ADMISSION_TOKEN_TEXT];
    make(&(SettingsToken){.uses_max = 5, .site = "north"}, north);
    assert_int_equal(admission_set_mode(admission, ADMISSION_APPROVE, 2001), 0);
    hello(5, "five", "id-5", north, 2002);
    last_is(5, HUB_PENDING);
    const PeerKey five = key_of(5);
    assert_int_equal(admission_approve(admission, &five, 2003, &reason), 0);
    assert_string_equal(look(5).enrolment.site, "north");
}

static void test_take_over(void **state) {
    (void)state;
    Reason reason = {0};
    start(ADMISSION_OPEN);
    hello(1, "web-1", "vm-7", NULL, 100);
    const PeerKey one = key_of(1);
    Probe *probe = probes_lock(probes, &one);
    probe->number = 42;
    probes_unlock(probes);
    const AdmissionEdit edit = {.name = "front door", .site = "north", .tenant = "acme"};
    assert_int_equal(admission_edit(admission, &one, &edit, &reason), 0);

    /* its key has a session: the other is a probe of its own */
    hello(2, "web-1", "vm-7", NULL, 200);
    last_is(2, HUB_ADMITTED);
    assert_string_equal(look(2).enrolment.namesake.z85, "");
    const PeerKey two = key_of(2);
    assert_int_equal(admission_take_over(admission, &two, 201, &reason), ADMISSION_E_REFUSED);
    gone(2, 202);
    assert_int_equal(admission_forget(admission, &two, &reason), 0);
    gone(1, 300);

    /* away: an administrator may say that the new one is it */
    hello(3, "web-1b", "vm-7", NULL, 400);
    assert_string_equal(look(3).enrolment.namesake_name, "front door");
    assert_string_equal(look(3).enrolment.site, "default");
    const PeerKey three = key_of(3);
    assert_int_equal(admission_take_over(admission, &three, 401, &reason), 0);
    assert_false(is_known(1));
    assert_string_equal(look(3).enrolment.given_name, "front door");
    assert_string_equal(look(3).enrolment.site, "north");
    assert_string_equal(look(3).enrolment.tenant, "acme");
    assert_int_equal(look(3).number, 42);
    assert_int_equal(look(3).enrolment.enrolled_ms, 100);
    last_is(1, HUB_UNKNOWN);
}

/* with a join token nobody is asked */
static void test_take_over_by_token(void **state) {
    (void)state;
    Reason reason = {0};
    char good[ADMISSION_TOKEN_TEXT];
    start(ADMISSION_OPEN);
    hello(3, "web-1", "vm-7", NULL, 400);
    const PeerKey three = key_of(3);
    Probe *probe = probes_lock(probes, &three);
    probe->number = 42;
    probes_unlock(probes);
    const AdmissionEdit edit = {.name = "front door", .site = "north"};
    assert_int_equal(admission_edit(admission, &three, &edit, &reason), 0);
    gone(3, 500);
    make(&(SettingsToken){.uses_max = 1, .site = "north"}, good);
    hello(4, "web-1c", "vm-7", good, 600);
    assert_int_equal(look(4).number, 42);
    assert_string_equal(look(4).enrolment.site, "north");
    assert_false(is_known(3));
    stop();
    start(ADMISSION_OPEN);
    assert_int_equal(look(4).number, 42);
    assert_string_equal(look(4).enrolment.given_name, "front door");
    assert_false(is_known(3));

    /* one that comes back is itself, whatever another said meanwhile */
    hello(5, "web-1d", "vm-7", NULL, 700);
    assert_string_equal(look(5).enrolment.namesake_name, "front door");
    hello(4, "web-1c", "vm-7", NULL, 701);
    assert_string_equal(look(5).enrolment.namesake.z85, "");

    /* one that waits is admitted by it */
    gone(4, 800);
    assert_int_equal(admission_set_mode(admission, ADMISSION_APPROVE, 801), 0);
    gone(5, 802);
    const PeerKey five = key_of(5);
    assert_int_equal(admission_forget(admission, &five, &reason), 0);
    hello(6, "web-1e", "vm-7", NULL, 900);
    last_is(6, HUB_PENDING);
    const PeerKey six = key_of(6);
    assert_int_equal(admission_take_over(admission, &six, 901, &reason), 0);
    assert_int_equal(look(6).enrolment.admission, HUB_ADMITTED);
    assert_int_equal(look(6).number, 42);
}

/* whoever has a token of one tenant gets no probe of another, but a place of its own */
static void test_take_over_of_others(void **state) {
    (void)state;
    Reason reason = {0};
    char theirs[ADMISSION_TOKEN_TEXT];
    char strange[ADMISSION_TOKEN_TEXT];
    start(ADMISSION_TOKEN);
    make(&(SettingsToken){.site = "S1", .tenant = "T1"}, theirs);
    make(&(SettingsToken){.site = "S2", .tenant = "T2"}, strange);
    hello(1, "branch", "branch-1", theirs, 100);
    gone(1, 200);
    hello(2, "branch", "branch-1", strange, 300);
    last_is(2, HUB_ADMITTED);
    assert_string_equal(look(2).enrolment.tenant, "T2");
    assert_string_equal(look(2).enrolment.site, "S2");
    assert_true(is_known(1));
    assert_string_equal(look(1).enrolment.tenant, "T1");

    /* an administrator is asked, and may say so */
    const PeerKey one = key_of(1);
    const PeerKey two = key_of(2);
    assert_string_equal(look(2).enrolment.namesake.z85, one.z85);
    assert_int_equal(admission_take_over(admission, &two, 301, &reason), 0);
    assert_string_equal(look(2).enrolment.tenant, "T1");
    assert_false(is_known(1));
}

static void disk_is_full(bool full) {
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = full ? 0 : limit.rlim_max;
    (void)signal(SIGXFSZ, full ? SIG_IGN : SIG_DFL);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

/* what is so in memory is told to the link, and kept once there is room */
static void test_not_saved(void **state) {
    (void)state;
    Reason reason = {0};
    start(ADMISSION_APPROVE);
    hello(1, "one", "id-1", NULL, 100);
    admission_flush(admission);
    const PeerKey one = key_of(1);
    disk_is_full(true);
    const int approved = admission_approve(admission, &one, 101, &reason);
    disk_is_full(false);
    assert_true(approved < 0);
    assert_int_equal(look(1).enrolment.admission, HUB_ADMITTED);
    last_is(1, HUB_ADMITTED);

    assert_int_equal(admission_revoke(admission, &one, &reason), 0);
    disk_is_full(true);
    const int restored = admission_restore(admission, &one, 102, &reason);
    disk_is_full(false);
    assert_true(restored < 0);
    last_is(1, HUB_ADMITTED);
    admission_flush(admission);
    stop();
    start(ADMISSION_APPROVE);
    assert_int_equal(look(1).enrolment.admission, HUB_ADMITTED);
}

/* a good join token needs no room among those who wait */
static void test_token_in_a_crowd(void **state) {
    (void)state;
    char good[ADMISSION_TOKEN_TEXT];
    start(ADMISSION_TOKEN);
    make(&(SettingsToken){.uses_max = 1}, good);
    for (unsigned i = 1; i <= ADMISSION_PENDING_MAX; i++)
        hello(i, "x", "", NULL, 1000 + i);
    hello(5000, "x", "", "made up", 5000);
    assert_non_null(strstr(last()->reason, "too many"));
    hello(5001, "x", "", good, 5001);
    last_is(5001, HUB_ADMITTED);
    hello(5002, "x", "", good, 5002); /* used up */
    assert_non_null(strstr(last()->reason, "too many"));
    assert_false(is_known(5002));
}

static void test_as_many_as_can_be(void **state) {
    (void)state;
    start(ADMISSION_OPEN);
    for (unsigned i = 1; i <= PROBES_MAX; i++) {
        const PeerKey key = key_of(i);
        assert_non_null(probes_lock_new(probes, &key));
        probes_unlock(probes);
    }
    hello(PROBES_MAX + 1, "x", "", NULL, 100);
    last_is(PROBES_MAX + 1, HUB_PENDING);
    assert_non_null(strstr(last()->reason, "as many probes as it can"));
}

/* whoever holds the public key can make as many keys as it likes */
static void test_pending_is_bounded(void **state) {
    (void)state;
    start(ADMISSION_APPROVE);
    for (unsigned i = 1; i <= ADMISSION_PENDING_MAX; i++) {
        hello(i, "x", "", NULL, 1000 + i);
        gone(i, 1000 + i);
    }
    assert_true(is_known(1));
    hello(5000, "x", "", NULL, 5000);
    assert_false(is_known(1));
    assert_true(is_known(2));
    assert_true(is_known(5000));
    admission_flush(admission);
    stop();
    start(ADMISSION_APPROVE);
    assert_false(is_known(1));
    assert_true(is_known(5000));

    /* back before the flush, and decided on: that flush leaves it alone */
    Reason reason = {0};
    const PeerKey two = key_of(2);
    hello(5002, "x", "", NULL, 5002);
    assert_false(is_known(2));
    hello(2, "x", "", NULL, 5003);
    assert_int_equal(admission_approve(admission, &two, 5004, &reason), 0);
    admission_flush(admission);
    stop();
    start(ADMISSION_APPROVE);
    assert_int_equal(look(2).enrolment.admission, HUB_ADMITTED);
    gone(2, 5005);
    assert_int_equal(admission_forget(admission, &two, &reason), 0);
    gone(5002, 5005);

    /* all of them connected: nobody goes, the next one is told */
    for (unsigned i = 2; i <= ADMISSION_PENDING_MAX; i++)
        hello(i, "x", "", NULL, 6000 + i);
    hello(5000, "x", "", NULL, 8000);
    hello(5001, "x", "", NULL, 8001);
    last_is(5001, HUB_PENDING);
    assert_non_null(strstr(last()->reason, "too many"));
    assert_false(is_known(5001));

    /* that they went was never told: the link has a session of one key only, so they make room */
    const HubProbeStatus status = {.key = key_of(5000), .session = true};
    probes_only_these(probes, &status, 1, 8500);
    assert_true(look(5000).connected);
    assert_false(look(2).connected);
    hello(5001, "x", "", NULL, 9000);
    assert_true(is_known(5001));
    assert_false(is_known(2));
}

int main(void) {
#define TEST(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_modes),
        TEST(test_revoked),
        TEST(test_open_flood),
        TEST(test_tokens),
        TEST(test_take_over),
        TEST(test_take_over_by_token),
        TEST(test_take_over_of_others),
        TEST(test_not_saved),
        TEST(test_token_in_a_crowd),
        TEST(test_as_many_as_can_be),
        TEST(test_pending_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
