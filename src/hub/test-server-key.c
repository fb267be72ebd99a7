/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The files of a change, cut short at every step, and who has confirmed it: on a real disk, with a
 * real settings file. What the link does is in channel/test-serve.c, all of it in
 * test/system/e2e-server-key.py.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "hub/server_key.h"
#include "hub/server_key_files.h"

static char folder[64];
static KeyPair present, next;

static const char *in_folder(const char *name) {
    static char paths[2][400];
    static unsigned i;
    char *path = paths[i++ % 2];
    (void)snprintf(path, sizeof(paths[0]), "%s/%s", folder, name);
    return path;
}

static int set_up(void **state) {
    (void)state;
    (void)snprintf(folder, sizeof(folder), "/tmp/weir-server-key-XXXXXX");
    assert_non_null(mkdtemp(folder));
    assert_int_equal(key_pair_load(&present, folder, NULL), 0);
    assert_int_equal(key_pair_make(&next), 0);
    assert_int_equal(server_key_files_save_next(&next, folder, NULL), 0);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    DIR *all = opendir(folder);
    assert_non_null(all);
    for (const struct dirent *each = readdir(all); each; each = readdir(all))
        (void)unlink(in_folder(each->d_name));
    (void)closedir(all);
    return rmdir(folder);
}

/** expect() - after a start: the present pair is this one, and the next that one or none */
static void expect(const KeyPair *now, const KeyPair *then) {
    KeyPair found = {0};
    Reason reason = {""};
    if (server_key_files_mend(folder, &reason))
        fail_msg("%s", reason.text);
    if (key_pair_load(&found, folder, &reason))
        fail_msg("%s", reason.text);
    assert_string_equal(found.secret_z85, now->secret_z85);
    assert_string_equal(found.public_z85, now->public_z85);
    const int r = server_key_files_next(&found, folder, &reason);
    assert_int_equal(r, then ? 0 : SERVER_KEY_FILES_E_NONE);
    if (then)
        assert_string_equal(found.secret_z85, then->secret_z85);
}

static void test_made(void **state) {
    (void)state;
    struct stat status;
    assert_int_equal(stat(in_folder("zmq-key-next.priv"), &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
    expect(&present, &next);
    assert_int_equal(unlink(in_folder("zmq-key-next.pub")), 0); /* cut short in making it */
    expect(&present, &next);
}

static void test_taken_back(void **state) {
    (void)state;
    assert_int_equal(unlink(in_folder("zmq-key-next.priv")), 0); /* cut short */
    expect(&present, NULL);
    assert_int_equal(server_key_files_save_next(&next, folder, NULL), 0);
    assert_int_equal(server_key_files_drop_next(folder, NULL), 0);
    expect(&present, NULL);
}

static void test_finished(void **state) {
    (void)state;
    assert_int_equal(server_key_files_finish(&present, folder, NULL), 0);
    expect(&next, NULL);
    assert_true(server_key_files_retired(present.secret_z85, folder));
    assert_false(server_key_files_retired(next.secret_z85, folder));
}

static void test_finish_cut_short(void **state) {
    (void)state;
    assert_int_equal(rename(in_folder("zmq-key-next.priv"), in_folder("zmq-key.priv")), 0);
    expect(&next, NULL);
}

static void test_damaged(void **state) {
    (void)state;
    Reason reason = {""};
    KeyPair found;
    assert_int_equal(truncate(in_folder("zmq-key-next.priv"), 10), 0);
    assert_int_equal(server_key_files_next(&found, folder, &reason), SERVER_KEY_FILES_E_REFUSED);
    assert_non_null(strstr(reason.text, "zmq-key-next.priv"));
}

/* ------------------------------------------------------------------------------- who confirmed */

static Settings *settings;
static Probes *probes;
static ServerKey *key;
static MetricValue unconfirmed;
static const HubInterface interfaces[] = {{.name = "*:5556"}};
static const PeerKey one = {"1111111111111111111111111111111111111111"};
static const PeerKey two = {"2222222222222222222222222222222222222222"};
static const PeerKey three = {"3333333333333333333333333333333333333333"};

static void admit(const PeerKey *probe_key, const char *name, HubAdmission admission) {
    Probe *probe = probes_lock_new(probes, probe_key);
    assert_non_null(probe);
    (void)snprintf(probe->name, sizeof(probe->name), "%s", name);
    probe->enrolment.admission = admission;
    probes_unlock(probes);
}

static void start(void) {
    Reason reason = {""};
    if (settings_new(&settings, folder, &reason))
        fail_msg("%s", reason.text);
    assert_int_equal(probes_new(&probes), 0);
    admit(&one, "one", HUB_ADMITTED);
    admit(&two, "two", HUB_ADMITTED);
    admit(&three, "three", HUB_PENDING);
    const ServerKeyConfig config = {.data_dir = folder,
                                    .keys = &present,
                                    .settings = settings,
                                    .probes = probes,
                                    .interfaces = interfaces,
                                    .n_interfaces = 1,
                                    .unconfirmed = &unconfirmed};
    if (server_key_new(&key, &config, &reason))
        fail_msg("%s", reason.text);
}

static void stop(void) {
    key = server_key_free(key);
    probes = probes_free(probes);
    settings = settings_free(settings);
}

static void hello(const PeerKey *probe, const KeyPair *now, const KeyPair *then,
                  const char *trouble) {
    ServerKeysHeld held = {.said = true};
    memcpy(held.now, now->public_z85, sizeof(held.now));
    if (then)
        memcpy(held.next, then->public_z85, sizeof(held.next));
    memcpy(held.uses, now->public_z85, sizeof(held.uses));
    (void)snprintf(held.trouble, sizeof(held.trouble), "%s", trouble);
    Buffer text = {0};
    server_keys_hello(&text, "{\"name\":\"x\"}", &held);
    server_key_hello(key, probe, buffer_text(&text));
    buffer_deinit(&text);
}

static void expect_missing(const char *names) {
    ServerKeyMissing *missing = NULL;
    size_t n = 0;
    Buffer found = {0};
    assert_int_equal(server_key_missing(key, 1, &missing, &n), 0);
    for (size_t i = 0; i < n; i++)
        buffer_printf(&found, "%s%s", i ? " " : "", missing[i].name);
    free(missing);
    assert_string_equal(buffer_text(&found), names);
    buffer_deinit(&found);
    server_key_second(key);
    assert_int_equal(metric_get(&unconfirmed), n);
}

static void test_confirmed(void **state) {
    (void)state;
    ServerKeyStatus status;
    start();
    expect_missing("one two"); /* those that wait do not count */
    hello(&one, &present, NULL, "no room");
    expect_missing("one two");
    hello(&two, &present, &next, "");
    hello(&three, &present, &next, "");
    expect_missing("one");
    server_key_status(key, &status);
    assert_int_equal(status.state, SERVER_KEY_HANDING);
    assert_int_equal(status.confirmed, 1);
    assert_int_equal(status.using_next, 0);
    hello(&two, &next, NULL, "");
    server_key_status(key, &status);
    assert_int_equal(status.using_next, 0); /* it is not connected */
    stop();
    start(); /* what was confirmed stays so */
    expect_missing("one");
    server_key_hello(key, &two, "{\"name\":\"an older version\"}");
    expect_missing("one");
    hello(&two, &present, NULL, ""); /* its disk was put back */
    expect_missing("one two");
    stop();
    start();
    expect_missing("one two");
    stop();
}

static void test_refused(void **state) {
    (void)state;
    Reason reason = {""};
    start();
    assert_int_equal(server_key_make(key, 0, 1, &reason), SERVER_KEY_E_REFUSED);
    assert_string_equal(reason.text, "The hub is starting.");
    assert_int_equal(server_key_finish(key, false, 1, &reason), SERVER_KEY_E_REFUSED);
    stop();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_made, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_taken_back, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_finished, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_finish_cut_short, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_damaged, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_confirmed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_refused, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
