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

#include "base/buffer.h"
#include "base/file.h"
#include "channel/keys.h"

static char folder[] = "/tmp/weir-test-keys-XXXXXX";

static const char *in_folder(const char *name) {
    static char path[128];
    (void)snprintf(path, sizeof(path), "%s/%s", folder, name);
    return path;
}

static void put(const char *name, const char *text, mode_t mode) {
    assert_int_equal(file_write(in_folder(name), text, strlen(text), mode, NULL), 0);
}

static void expect_refused(const char *words) {
    KeyPair pair = {.public_z85 = "untouched"};
    Reason reason = {""};
    assert_int_equal(key_pair_load(&pair, folder, &reason), KEYS_E_REFUSED);
    assert_string_equal(pair.public_z85, "untouched");
    if (!strstr(reason.text, words))
        fail_msg("expected \"%s\": %s", words, reason.text);
}

static int set_up(void **state) {
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static int tear_down(void **state) {
    (void)state;
    (void)unlink(in_folder("zmq-key.pub"));
    (void)unlink(in_folder("zmq-key.priv"));
    int r = rmdir(folder); /* nothing else was left behind */
    (void)snprintf(folder, sizeof(folder), "/tmp/weir-test-keys-XXXXXX");
    return r;
}

static void test_made_once_and_kept(void **state) {
    (void)state;
    KeyPair first, second;
    assert_int_equal(key_pair_load(&first, folder, NULL), 0);
    assert_int_equal(strlen(first.public_z85), 40);
    assert_true(key_check(first.public_z85));
    assert_int_equal(key_pair_load(&second, folder, NULL), 0);
    assert_memory_equal(&first, &second, sizeof(first));
    static const char *const names[] = {"zmq-key.pub", "zmq-key.priv"};
    for (int i = 0; i < 2; i++) {
        struct stat st;
        assert_int_equal(stat(in_folder(names[i]), &st), 0);
        assert_int_equal(st.st_size, 40); /* no newline */
        assert_int_equal(st.st_mode & 0777, 0600);
    }
}

static void test_pair_from_ntopng_is_kept(void **state) {
    (void)state;
    /* the pair of the ZeroMQ manual (zmq_curve(7)) */
    put("zmq-key.pub", "Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID", 0600);
    put("zmq-key.priv", "D:)Q[IlAW!ahhC2ac:9*A}h:p?([4%wOTJ%JR%cs\n", 0600);
    KeyPair pair;
    assert_int_equal(key_pair_load(&pair, folder, NULL), 0);
    assert_string_equal(pair.public_z85, "Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID");
}

static void test_refused(void **state) {
    (void)state;
    put("zmq-key.pub", "Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID", 0600);
    expect_refused("half a key pair");
    put("zmq-key.priv", "D:)Q[IlAW!ahhC2ac:9*A}h:p?([4%wOTJ%JR%c", 0600);
    expect_refused("it has 39 characters");
    put("zmq-key.priv", "D:)Q[IlAW!ahhC2ac:9*A}h:p?([4%wOTJ%JR%c~", 0600);
    expect_refused("is not a key");
    put("zmq-key.priv", "D:)Q[IlAW!ahhC2ac:9*A}h:p?([4%wOTJ%JR%cs", 0644);
    expect_refused("chmod 600");
    KeyPair other;
    assert_int_equal(key_pair_make(&other), 0);
    put("zmq-key.priv", other.secret_z85, 0600);
    expect_refused("do not belong together");
}

/* killed in the first start, between one file and the other */
static void test_cut_short(void **state) {
    (void)state;
    KeyPair first, found;
    assert_int_equal(key_pair_load(&first, folder, NULL), 0);
    assert_int_equal(unlink(in_folder("zmq-key.pub")), 0);
    assert_int_equal(key_pair_find(&found, folder, KEY_STEM, NULL), 0);
    assert_memory_equal(&first, &found, sizeof(first));
    assert_int_equal(access(in_folder("zmq-key.pub"), F_OK), -1);
    assert_int_equal(key_pair_load(&found, folder, NULL), 0);
    assert_memory_equal(&first, &found, sizeof(first));
    assert_int_equal(access(in_folder("zmq-key.pub"), F_OK), 0);

    /* the private half cannot be made anew */
    assert_int_equal(unlink(in_folder("zmq-key.priv")), 0);
    expect_refused("half a key pair");
}

static void test_from_secret(void **state) {
    (void)state;
    KeyPair pair;
    assert_int_equal(key_pair_from_secret(&pair, "D:)Q[IlAW!ahhC2ac:9*A}h:p?([4%wOTJ%JR%cs", NULL),
                     0);
    assert_string_equal(pair.public_z85, "Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID");
    Reason reason;
    assert_int_equal(key_pair_from_secret(&pair, "short", &reason), KEYS_E_REFUSED);
    assert_non_null(strstr(reason.text, "40 characters"));
    key_pair_wipe(&pair);
    assert_int_equal(pair.secret_z85[0], 0);
}

static void test_check(void **state) {
    (void)state;
    assert_true(key_check("Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID"));
    assert_false(key_check("Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hI"));
    assert_false(key_check("########################################")); /* beyond 32 bits */
    assert_false(key_check(""));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_made_once_and_kept, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_pair_from_ntopng_is_kept, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_cut_short, set_up, tear_down),
        cmocka_unit_test(test_from_secret),
        cmocka_unit_test(test_check),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
