/* SPDX-License-Identifier: Apache-2.0 */

/* What probes are to be set to: a real settings file, and a link that only listens. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "hub/configure.h"
#include "hub/probes.h"

static char folder[64];
static Settings *settings;
static Configure *configure;
static char told[CONFIGURATION_TEXT_MAX]; /* "" stop */
static unsigned n_told;

static const PeerKey one = {"0123456789012345678901234567890123456789"};
static const PeerKey two = {"abcdefghijabcdefghijabcdefghijabcdefghij"};
static const Probe connected = {.connected = true, .pulse_ms = 1, .pulse.spool.hubs = 1};

static void tell(void *userdata, const PeerKey *key, const char *json) {
    (void)userdata;
    (void)key;
    n_told++;
    (void)snprintf(told, sizeof(told), "%s", json ? json : "");
}

static void start(void) {
    Reason reason = {""};
    const ConfigureConfig config = {.tell = tell};
    assert_int_equal(settings_new(&settings, folder, &reason), 0);
    ConfigureConfig with = config;
    with.settings = settings;
    assert_int_equal(configure_new(&configure, &with), 0);
}

static void stop(void) {
    configure = configure_free(configure);
    settings = settings_free(settings);
}

static void set(const PeerKey *key, const Configuration *to) {
    Reason reason = {""};
    if (configure_set(configure, key, to, "ada", 1000, &reason) != 0)
        fail_msg("%s", reason.text);
}

static ConfigureView view_of(const PeerKey *key) {
    ConfigureView view;
    configure_view(configure, key, &view);
    return view;
}

/* what a probe says that heard the last word */
static ConfigurationReport heard(ConfigurationState state) {
    const ConfigureView view = view_of(&one);
    return (ConfigurationReport){
        .version = view.wanted.version, .id = view.wanted.id, .state = state, .reason = "because"};
}

static void test_until_confirmed(void **state) {
    (void)state;
    start();
    ConfigurationReport report = heard(CONFIGURATION_NONE);
    configure_report(configure, &one, &report);
    assert_int_equal(n_told, 0);
    assert_int_equal(view_of(&one).state, CONFIGURE_NONE);
    assert_false(configure_unconfirmed(configure, &one));

    set(&one, &(Configuration){.set = CONFIGURATION_FILTER, .filter = "udp"});
    assert_int_equal(n_told, 1);
    assert_non_null(strstr(told, "\"version\":1,"));
    assert_non_null(strstr(told, "\"filter\":\"udp\""));
    assert_int_equal(view_of(&one).state, CONFIGURE_WAITING);
    assert_true(configure_unconfirmed(configure, &one));
    configure_report(configure, &one, &report); /* still the old one: told again */
    assert_int_equal(n_told, 2);

    report = heard(CONFIGURATION_REFUSED);
    configure_report(configure, &one, &report);
    assert_string_equal(told, ""); /* it has its answer */
    assert_int_equal(view_of(&one).state, CONFIGURE_REFUSED);
    assert_true(configure_unconfirmed(configure, &one));
    char text[512];
    ConfigureView view = view_of(&one);
    configure_text(&view, &connected, text, sizeof(text));
    assert_non_null(strstr(text, "version 1 is refused"));
    assert_non_null(strstr(text, "because"));

    /* the same settings once more are no new version; others are */
    set(&one, &(Configuration){.set = CONFIGURATION_FILTER, .filter = "udp"});
    assert_int_equal(view_of(&one).wanted.version, 1);
    set(&one, &(Configuration){.set = CONFIGURATION_FILTER, .filter = "tcp"});
    report = heard(CONFIGURATION_APPLIED);
    configure_report(configure, &one, &report);
    assert_int_equal(view_of(&one).state, CONFIGURE_CONFIRMED);
    const unsigned n = n_told;
    configure_report(configure, &one, &report);
    assert_int_equal(n_told, n);

    /* the number alone is no confirmation: a probe with another configuration of that number */
    report.id++;
    configure_report(configure, &one, &report);
    assert_int_equal(view_of(&one).state, CONFIGURE_WAITING);
    assert_non_null(strstr(told, "\"filter\":\"tcp\""));
    stop();
}

static void test_general_and_restart(void **state) {
    (void)state;
    start();
    ConfigurationReport report = heard(CONFIGURATION_NONE);
    configure_report(configure, &one, &report);
    set(NULL, &(Configuration){
                  .set = CONFIGURATION_IDLE | CONFIGURATION_FILTER, .idle_s = 5, .filter = "ip"});
    assert_non_null(strstr(told, "\"idle_s\":5"));
    set(&one, &(Configuration){.set = CONFIGURATION_FILTER, .filter = ""});
    ConfigureView view = view_of(&one);
    assert_int_equal(view.wanted.version, 2);
    assert_string_equal(view.wanted.filter, "");
    assert_int_equal(view.wanted.idle_s, 5);
    assert_string_equal(view.own.changed_by, "ada");
    assert_int_equal(view_of(&two).wanted.version, 1); /* that of all */
    const uint64_t id = view.wanted.id;
    stop();
    start();
    view = view_of(&one);
    assert_int_equal(view.wanted.version, 2);
    assert_true(view.wanted.id == id); /* nothing to confirm anew */
    assert_int_equal(view.own.changed_ms, 1000);
    assert_string_equal(view.general.settings.filter, "ip");

    /* taken over by another key, then forgotten: the version grows on */
    configure_move(configure, &one, &two);
    configure_forget(configure, &one);
    assert_string_equal(view_of(&two).wanted.filter, "");
    assert_string_equal(view_of(&one).wanted.filter, "ip");
    configure_forget(configure, &two);
    stop();
    start();
    assert_string_equal(view_of(&two).wanted.filter, "ip");
    set(&two, &(Configuration){.set = CONFIGURATION_SAMPLING, .sampling = 2});
    assert_int_equal(view_of(&two).wanted.version, 3);
    stop();
}

static void test_words(void **state) {
    (void)state;
    char text[512];
    start();
    set(&one, &(Configuration){.set = CONFIGURATION_SAMPLING, .sampling = 2});
    ConfigureView view = view_of(&one);
    Probe probe = {.number = 1};
    const struct {
        bool connected;
        uint64_t pulse_ms;
        uint64_t hubs;
        bool reported;
        const char *text;
    } cases[] = {
        {false, 0, 0, false, "version 1 waits for the probe to connect"},
        {true, 0, 0, false, "version 1 is on its way"},
        {true, 1, 1, false, "version 1 is not taken: the probe's version"},
        {true, 1, 2, true, "version 1 is not taken: the probe delivers to several hubs"},
        {true, 1, 1, true, "version 1 is on its way"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        probe.connected = cases[i].connected;
        probe.pulse_ms = cases[i].pulse_ms;
        probe.pulse.spool.hubs = cases[i].hubs;
        view.reported = cases[i].reported;
        configure_text(&view, &probe, text, sizeof(text));
        if (!strstr(text, cases[i].text))
            fail_msg("%zu: %s", i, text);
    }
    stop();
}

static void test_refused_by_the_hub(void **state) {
    (void)state;
    start();
    const struct {
        Configuration settings;
        const char *reason;
    } cases[] = {
        {{.set = CONFIGURATION_FILTER, .filter = "(udp or (tcp)"}, "filter: a parenthesis"},
        {{.set = CONFIGURATION_FILTER, .filter = "udp)("}, "filter: a parenthesis is not opened"},
        {{.set = CONFIGURATION_TEMPLATE, .template = "v10"}, "template: there is no 'v10'"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        Reason reason = {""};
        assert_int_equal(configure_set(configure, &one, &cases[i].settings, NULL, 1, &reason),
                         CONFIGURE_E_REFUSED);
        assert_non_null(strstr(reason.text, cases[i].reason));
    }
    assert_int_equal(view_of(&one).wanted.version, 0);
    assert_int_equal(n_told, 0);
    stop();
}

static int make_folder(void **state) {
    (void)state;
    n_told = 0;
    *told = 0;
    (void)snprintf(folder, sizeof(folder), "/tmp/weir-configure-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state) {
    (void)state;
    static const char *const names[] = {"weir.sqlite", "weir.sqlite-wal", "weir.sqlite-shm"};
    char path[128];
    for (size_t i = 0; i < 3; i++) {
        (void)snprintf(path, sizeof(path), "%s/%s", folder, names[i]);
        (void)unlink(path);
    }
    return rmdir(folder);
}

#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)

int main(void) {
    const struct CMUnitTest tests[] = {
        IN_FOLDER(test_until_confirmed),
        IN_FOLDER(test_general_and_restart),
        IN_FOLDER(test_words),
        IN_FOLDER(test_refused_by_the_hub),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
