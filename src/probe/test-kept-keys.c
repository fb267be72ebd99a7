/* SPDX-License-Identifier: Apache-2.0 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "channel/keys.h"
#include "probe/kept_keys.h"

#define HUB   "tcp://hub:5556"
#define OTHER "tcp://other:5556"

static char folder[64];
static char path[96];
static KeyPair keys[4];

static int set_up(void **state) {
    (void)state;
    (void)snprintf(folder, sizeof(folder), "/tmp/weir-kept-XXXXXX");
    assert_non_null(mkdtemp(folder));
    (void)snprintf(path, sizeof(path), "%s/server-keys.json", folder);
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(key_pair_make(&keys[i]), 0);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    (void)unlink(path);
    return rmdir(folder); /* nothing else was left behind */
}

static KeptKeys *load(void) {
    KeptKeys *kept = NULL;
    Reason reason = {""};
    if (kept_keys_new(&kept, folder, &reason))
        fail_msg("%s", reason.text);
    return kept;
}

static ServerKeys change(uint64_t version, int now, int next) {
    ServerKeys made = {.version = version, .data_port = next < 0 ? 0 : 5558};
    memcpy(made.now, keys[now].public_z85, sizeof(made.now));
    if (next >= 0)
        memcpy(made.next, keys[next].public_z85, sizeof(made.next));
    return made;
}

static void put(const char *hub, int configured, const ServerKeys *what) {
    KeptKeys *kept = load();
    assert_true(kept_keys_put(kept, hub, keys[configured].public_z85, what, NULL));
    kept_keys_free(kept);
}

/** expect() - by another process */
static void expect(const char *hub, int configured, int first, const ServerKeys *what) {
    KeptKeys *kept = load();
    KeptKey found;
    kept_keys_find(kept, hub, keys[configured].public_z85, &found);
    assert_string_equal(found.first, keys[first].public_z85);
    assert_int_equal(found.keys.version, what ? what->version : 0);
    if (what)
        assert_true(server_keys_same(&found.keys, what));
    kept_keys_free(kept);
}

static void test_kept(void **state) {
    (void)state;
    expect(HUB, 0, 0, NULL);
    const ServerKeys handed = change(1, 0, 1);
    put(HUB, 0, &handed);
    struct stat status;
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
    expect(HUB, 0, 0, &handed);
    expect(OTHER, 0, 0, NULL);
    const ServerKeys done = change(2, 1, -1);
    put(HUB, 0, &done);
    const ServerKeys second = change(3, 1, 2);
    put(HUB, 0, &second);
    put(OTHER, 0, &handed);
    const ServerKeys over = change(4, 2, -1);
    put(HUB, 0, &over);
    expect(HUB, 0, 0, &over); /* an image two changes old */
    expect(HUB, 2, 0, &over); /* the configuration was brought up to date: the same hub */
    expect(OTHER, 0, 0, &handed);
    expect(HUB, 3, 3, NULL); /* somebody gave another key */
}

static void test_damaged(void **state) {
    (void)state;
    static const char *const texts[] = {"", "{", "[]", "{\"hubs\": 5}"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        KeptKeys *kept = NULL;
        Reason reason = {""};
        assert_int_equal(file_write(path, texts[i], strlen(texts[i]), 0600, NULL), 0);
        assert_int_equal(kept_keys_new(&kept, folder, &reason), KEPT_KEYS_E_REFUSED);
        assert_non_null(strstr(reason.text, path));
        assert_null(kept);
    }
    const char strange[] = "{\"hubs\": {\"" HUB "\": {\"first\": \"short\", \"keys\": 7}}}";
    assert_int_equal(file_write(path, strange, strlen(strange), 0600, NULL), 0);
    expect(HUB, 0, 0, NULL);
}

static void test_not_writable(void **state) {
    (void)state;
    KeptKeys *kept = load();
    const ServerKeys handed = change(1, 0, 1);
    Reason reason = {""};
    KeptKey found;
    assert_int_equal(rmdir(folder), 0);
    assert_false(kept_keys_put(kept, HUB, keys[0].public_z85, &handed, &reason));
    assert_int_not_equal(reason.text[0], 0);
    kept_keys_find(kept, HUB, keys[0].public_z85, &found);
    assert_int_equal(found.keys.version, 0); /* what is not on the disk is not held */
    assert_int_equal(mkdir(folder, 0700), 0);
    assert_true(kept_keys_put(kept, HUB, keys[0].public_z85, &handed, &reason));
    kept_keys_free(kept);
    expect(HUB, 0, 0, &handed);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_kept, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_damaged, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_not_writable, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
