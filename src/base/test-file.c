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

/* a pipe nobody writes is refused at once; from one that is written a command may read */
static void test_no_file(void **state) {
    (void)state;
    char path[128];
    (void)snprintf(path, sizeof(path), "%s/pipe", folder);
    Reason reason = {0};
    Buffer b = {0};
    assert_int_equal(mkfifo(path, 0600), 0);
    (void)alarm(20); /* or this stands still */
    assert_int_equal(file_read(&b, path, 100, &reason), FILE_E_REFUSED);
    assert_non_null(strstr(reason.text, "a pipe"));
    (void)alarm(0);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(file_read(&b, folder, 100, &reason), FILE_E_REFUSED);
    assert_non_null(strstr(reason.text, "a folder"));
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(write(ends[1], "said", 4), 4);
    assert_int_equal(close(ends[1]), 0);
    (void)snprintf(path, sizeof(path), "/dev/fd/%d", ends[0]);
    assert_int_equal(file_read_any(&b, path, 100, &reason), 0);
    assert_string_equal(buffer_text(&b), "said");
    assert_int_equal(close(ends[0]), 0);
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
        cmocka_unit_test(test_no_file),
        cmocka_unit_test(test_a_folder_has_one_owner),
    };
    return cmocka_run_group_tests(tests, make_folder, drop_folder);
}
