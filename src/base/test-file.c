/* SPDX-License-Identifier: Apache-2.0 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/file.h"

static char folder[64];

static int make_folder(void **state) {
    (void)state;
    (void)snprintf(folder, sizeof(folder), "/tmp/weir-test-file-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int drop_folder(void **state) {
    (void)state;
    char command[128];
    (void)snprintf(command, sizeof(command), "%s/f", folder);
    (void)unlink(command);
    (void)snprintf(command, sizeof(command), "%s/lock", folder);
    (void)unlink(command);
    return rmdir(folder);
}

static void test_write_then_read(void **state) {
    (void)state;
    char path[128];
    (void)snprintf(path, sizeof(path), "%s/f", folder);
    Reason reason = {0};
    assert_int_equal(file_write(path, "secret", 6, 0600, &reason), 0);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);

    Buffer b = {0};
    assert_int_equal(file_read(&b, path, 100, &reason), 0);
    assert_string_equal(buffer_text(&b), "secret");
    assert_int_equal(file_read(&b, path, 3, &reason), FILE_E_REFUSED);
    assert_non_null(strstr(reason.text, "larger than"));
    assert_int_equal(file_read(&b, "/nonexistent/x", 3, &reason), FILE_E_REFUSED);
    assert_non_null(strstr(reason.text, "/nonexistent/x"));
    assert_int_equal(file_write("/nonexistent/x", "a", 1, 0600, &reason), FILE_E_REFUSED);
    buffer_deinit(&b);
}

static void test_a_folder_has_one_owner(void **state) {
    (void)state;
    Reason reason = {0};
    cleanup(closep) int first = -1;
    int second = -1;
    assert_int_equal(dir_own(&first, folder, &reason), 0);
    assert_int_equal(dir_own(&second, folder, &reason), FILE_E_REFUSED);
    assert_non_null(strstr(reason.text, "in use"));
    assert_int_equal(second, -1);
    assert_int_equal(dir_own(&second, "/proc/nowhere", &reason), FILE_E_REFUSED);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_write_then_read),
        cmocka_unit_test(test_a_folder_has_one_owner),
    };
    return cmocka_run_group_tests(tests, make_folder, drop_folder);
}
