/* SPDX-License-Identifier: Apache-2.0 */

/* the licence in force, through everything that happens to its file, its list and the clock */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "licence/holder_bench.h"

/* the view names the file, however long its path is */
static void test_long_path(void **state) {
    Bench *bench = *state;
    size_t n = strlen(bench->etc);
    for (int i = 0; i < 4; i++) {
        n += (size_t)snprintf(bench->etc + n, PATH_MAX - n, "/%0100d", i);
        assert_int_equal(mkdir(bench->etc, 0755), 0);
    }
    (void)snprintf(bench->path, PATH_MAX, "%.4000s/hub.license", bench->etc);
    const Licence licence = grant(bench, "first", 5);
    put_licence(bench, bench->path, &licence);
    start(bench);
    assert_true(view(bench)->unlocks);
    assert_string_equal(view(bench)->from, bench->path);
}

static void test_nothing(void **state) {
    Bench *bench = *state;
    start(bench);
    assert_false(view(bench)->has || view(bench)->unlocks);
    assert_string_equal(view(bench)->trouble.text, "");
    assert_false(look(bench));
}

/* put there, renewed, made smaller, revoked: each at the next look */
static void test_changes(void **state) {
    Bench *bench = *state;
    start(bench);
    Licence licence = grant(bench, "first", 5);
    put_licence(bench, bench->path, &licence);
    assert_true(look(bench));
    assert_true(view(bench)->unlocks);
    assert_int_equal(view(bench)->licence.max_probes, 5);
    assert_string_equal(view(bench)->from, bench->path);
    assert_false(look(bench));

    bench->now_s += DAY;
    licence = grant(bench, "second", 3);
    put_licence(bench, bench->path, &licence);
    assert_true(look(bench));
    assert_int_equal(view(bench)->licence.max_probes, 3);

    put_list(bench, bench->list, "second", 1);
    assert_true(look(bench));
    assert_false(view(bench)->unlocks);
    assert_int_equal(view(bench)->state, LICENCE_REVOKED);
    assert_int_equal(unlink(bench->list), 0); /* its going brings nothing back */
    start(bench);
    assert_int_equal(view(bench)->state, LICENCE_REVOKED);
    put_list(bench, bench->list, "other", 1); /* nor does an older one */
    assert_true(look(bench));                 /* which is said */
    assert_int_equal(view(bench)->state, LICENCE_REVOKED);
    assert_non_null(strstr(view(bench)->trouble.text, bench->list));
    put_list(bench, bench->list, "other", 2);
    assert_true(look(bench));
    assert_true(view(bench)->unlocks);
}

/* what could not be kept at first is kept later: the list's going brings nothing back */
static void test_list_kept(void **state) {
    Bench *bench = *state;
    bool changed = false;
    char away[PATH_MAX + 8];
    Licence licence = grant(bench, "first", 5);
    put_licence(bench, bench->path, &licence);
    start(bench);
    (void)snprintf(away, sizeof(away), "%s.away", bench->folder);
    assert_int_equal(rename(bench->folder, away), 0);
    put_list(bench, bench->list, "first", 1);
    (void)holder_look(bench->holder, bench->now_s, true, &changed);
    assert_int_equal(view(bench)->state, LICENCE_REVOKED);
    assert_int_equal(unlink(bench->list), 0);
    (void)holder_look(bench->holder, bench->now_s, true, &changed);
    assert_int_equal(rename(away, bench->folder), 0);
    (void)look(bench);
    start(bench);
    assert_int_equal(view(bench)->state, LICENCE_REVOKED);
    assert_int_equal(view(bench)->revoked, 1);
}

static int install_list(Bench *bench, const char *id, unsigned number, Reason *reason) {
    Buffer line = {0};
    list_of(bench, &line, id, number);
    while (number % 2 && line.size && line.bytes[line.size - 1] == '\n')
        line.size--; /* as pasted */
    int r = holder_install(bench->holder, (const char *)line.bytes, line.size, bench->now_s, true,
                           reason);
    buffer_deinit(&line);
    return r;
}

/* two lists with one number: the second is refused, for it would not be in force */
static void test_list_twin(void **state) {
    Bench *bench = *state;
    Reason reason = {""};
    Licence licence = grant(bench, "first", 5);
    put_licence(bench, bench->path, &licence);
    start(bench);
    put_list(bench, bench->list, "first", 3);
    (void)look(bench);
    assert_int_equal(install_list(bench, "first", 3, &reason), 0); /* the same */
    assert_int_equal(install_list(bench, "other", 3, &reason), HOLDER_E_REFUSED);
    assert_non_null(strstr(reason.text, "another with the number 3"));
    assert_int_equal(install_list(bench, "other", 2, &reason), HOLDER_E_REFUSED);
    assert_int_equal(unlink(bench->list), 0);
    start(bench);
    assert_int_equal(view(bench)->state, LICENCE_REVOKED);
    assert_int_equal(install_list(bench, "other", 4, &reason), 0);
    assert_true(view(bench)->unlocks);
}

/* gone or damaged: a day, which a restart does not begin anew */
static void test_gone(void **state) {
    Bench *bench = *state;
    Licence licence = grant(bench, "first", 5);
    Buffer line = {0};
    line_of(bench, &line, &licence);
    put(bench->path, line.bytes, line.size);
    start(bench);
    for (int damage = 0; damage < 3; damage++) {
        put(bench->path, line.bytes, line.size);
        (void)look(bench);
        assert_true(view(bench)->unlocks && !view(bench)->kept);
        if (damage == 0)
            assert_int_equal(unlink(bench->path), 0);
        else if (damage == 1)
            put(bench->path, line.bytes, line.size / 2);
        else
            put(bench->path, "", 0);
        assert_true(look(bench));
        assert_true(view(bench)->unlocks && view(bench)->kept);
        assert_non_null(strstr(view(bench)->trouble.text, "in force until"));
        assert_non_null(strstr(view(bench)->trouble.text, bench->path));
        bench->now_s += DAY - 1;
        (void)look(bench);
        assert_true(view(bench)->unlocks);
        start(bench);
        assert_true(view(bench)->unlocks);
        bench->now_s += 1;
        assert_true(look(bench));
        assert_false(view(bench)->unlocks || view(bench)->has);
        start(bench);
        assert_false(view(bench)->unlocks);
    }
    buffer_deinit(&line);
}

static void test_ends(void **state) {
    Bench *bench = *state;
    Licence licence = grant(bench, "first", 5);
    put_licence(bench, bench->path, &licence);
    start(bench);
    unsigned warned[5] = {0};
    size_t n = 0;
    unsigned last = 0;
    for (; bench->now_s < NOW + 131 * DAY; bench->now_s += 3600) {
        (void)look(bench);
        unsigned due = holder_days_warned(view(bench)->days_left);
        if (due && due != last && n < 5)
            warned[n++] = due;
        last = due;
        const int64_t day = (bench->now_s - NOW) / DAY;
        assert_int_equal(view(bench)->unlocks, day < 130);
        assert_int_equal(view(bench)->state, day < 100   ? LICENCE_VALID
                                             : day < 130 ? LICENCE_GRACE
                                                         : LICENCE_EXPIRED);
    }
    const unsigned expected[5] = {30, 14, 7, 1};
    assert_memory_equal(warned, expected, sizeof(warned));
}

static void test_clock(void **state) {
    Bench *bench = *state;
    Licence licence = grant(bench, "first", 5);
    put_licence(bench, bench->path, &licence);
    start(bench);
    bench->now_s = NOW + 131 * DAY;
    (void)look(bench);
    assert_false(view(bench)->unlocks);
    static const int64_t back[] = {3600, 2 * DAY, 730 * DAY};
    for (size_t i = 0; i < 3; i++) {
        bench->now_s = NOW + 131 * DAY - back[i];
        start(bench); /* the mark outlives the program */
        assert_false(view(bench)->unlocks);
    }
    /* 2040 from a mad server, then a new licence, with the clock right again */
    bench->now_s = 2208988800;
    (void)look(bench);
    bench->now_s = NOW + 132 * DAY;
    start(bench);
    assert_false(view(bench)->unlocks);
    licence = grant(bench, "renewed", 5);
    Buffer line = {0};
    Reason reason = {""};
    line_of(bench, &line, &licence);
    assert_int_equal(holder_install(bench->holder, (const char *)line.bytes, line.size,
                                    bench->now_s, true, &reason),
                     0);
    assert_true(view(bench)->unlocks);
    assert_string_equal(view(bench)->licence.id, "renewed");
    assert_int_equal(view(bench)->now_s, bench->now_s);
    buffer_deinit(&line);
}

/* the file goes while a clock that nobody sets right says 2040: a day is a day all the same */
static void test_gone_wild(void **state) {
    Bench *bench = *state;
    bool changed = false;
    Licence licence = grant(bench, "first", 5);
    licence.expiry_s = 0;
    put_licence(bench, bench->path, &licence);
    start(bench);
    assert_int_equal(unlink(bench->path), 0);
    assert_int_equal(holder_look(bench->holder, 2208988800, false, &changed), 0);
    assert_true(view(bench)->unlocks && view(bench)->kept);
    (void)look(bench);
    assert_true(view(bench)->unlocks);
    assert_int_equal(view(bench)->until_s, bench->now_s + DAY);
    start(bench);
    bench->now_s += DAY;
    (void)look(bench);
    assert_false(view(bench)->has);
}

/* a licence that is not in force says nothing about the time, however late it was issued */
static void test_clock_foreign(void **state) {
    Bench *bench = *state;
    Licence licence = grant(bench, "first", 5);
    put_licence(bench, bench->path, &licence);
    start(bench);
    const int64_t late_s = NOW + 131 * DAY;
    bench->now_s = late_s;
    (void)look(bench);
    assert_int_equal(view(bench)->state, LICENCE_EXPIRED);
    bench->now_s = NOW + DAY; /* turned back, with one of a probe beside it */
    Licence foreign = grant(bench, "of-a-probe", 0);
    foreign.kind = LICENCE_PROBE;
    char upload[PATH_MAX + 8];
    (void)snprintf(upload, sizeof(upload), "%s/licence", bench->folder);
    put_licence(bench, upload, &foreign);
    (void)look(bench);
    start(bench);
    assert_false(view(bench)->unlocks);
    assert_int_equal(view(bench)->now_s, late_s);
    licence = grant(bench, "renewed", 5); /* beside the foreign one, which is as new */
    put_licence(bench, bench->path, &licence);
    (void)look(bench);
    assert_true(view(bench)->unlocks);
    assert_int_equal(view(bench)->now_s, bench->now_s);
}

static void test_install(void **state) {
    Bench *bench = *state;
    Reason reason = {""};
    start(bench);
    Licence licence = grant(bench, "first", 5);
    Licence late = licence;
    late.not_before_s += DAY;
    assert_int_equal(install(bench, &late, &reason), HOLDER_E_REFUSED);
    assert_non_null(strstr(reason.text, "it holds from"));
    assert_false(view(bench)->has);
    Licence over = licence;
    over.not_before_s = over.issued_s = 1;
    over.expiry_s = NOW - 40 * DAY;
    assert_int_equal(install(bench, &over, &reason), HOLDER_E_REFUSED);
    Licence of_probe = licence;
    of_probe.kind = LICENCE_PROBE;
    assert_int_equal(install(bench, &of_probe, &reason), HOLDER_E_REFUSED);
    assert_int_equal(holder_install(bench->holder, "rubbish", 7, NOW, true, &reason),
                     HOLDER_E_REFUSED);
    assert_int_equal(install(bench, &licence, &reason), 0);
    assert_true(view(bench)->unlocks);
    bench->now_s += 60;
    Licence smaller = grant(bench, "smaller", 2);
    assert_int_equal(install(bench, &smaller, &reason), 0);
    assert_int_equal(view(bench)->licence.max_probes, 2);
    assert_int_equal(install(bench, &licence, &reason), HOLDER_E_REFUSED);
    assert_non_null(strstr(reason.text, "smaller"));

    /* the file in /etc counts again when it is newer */
    bench->now_s += 60;
    Licence newest = grant(bench, "newest", 9);
    put_licence(bench, bench->path, &newest);
    assert_true(look(bench));
    assert_string_equal(view(bench)->licence.id, "newest");

    /* one issued in the same second is in force when it was taken */
    Licence twin = grant(bench, "twin", 4);
    assert_int_equal(install(bench, &twin, &reason), 0);
    assert_string_equal(view(bench)->licence.id, "twin");
}

/* how often the file was opened since it was asked last */
static unsigned opened(int fd) {
    char events[4096];
    unsigned n = 0;
    for (ssize_t size = 0; (size = read(fd, events, sizeof(events))) > 0;)
        n += (unsigned)size / (unsigned)sizeof(struct inotify_event);
    return n;
}

/* what is as before is not read again; written over in place, as large as before, it is */
static void test_unchanged(void **state) {
    Bench *bench = *state;
    Licence licence = grant(bench, "first", 5);
    put_licence(bench, bench->path, &licence);
    put_list(bench, bench->list, "other", 1);
    start(bench);
    const int fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    assert_true(fd >= 0);
    assert_true(inotify_add_watch(fd, bench->path, IN_OPEN) >= 0);
    assert_true(inotify_add_watch(fd, bench->list, IN_OPEN) >= 0);
    (void)look(bench);
    assert_int_equal(opened(fd), 2); /* so new that it could change unseen */
    (void)sleep(4);
    (void)look(bench);
    (void)opened(fd);
    for (int i = 0; i < 100; i++) {
        bench->now_s++;
        (void)look(bench);
    }
    assert_int_equal(opened(fd), 0);
    assert_true(view(bench)->unlocks);
    put_list(bench, bench->list, "first", 1); /* the same number: nothing new */
    licence.max_probes = 7;
    put_licence(bench, bench->path, &licence);
    (void)opened(fd);
    assert_true(look(bench));
    assert_int_equal(opened(fd), 2);
    assert_true(view(bench)->unlocks);
    assert_int_equal(view(bench)->licence.max_probes, 7);
    assert_int_equal(close(fd), 0);
}

static size_t files_in(const char *path) {
    size_t n = 0;
    DIR *folder = opendir(path);
    assert_non_null(folder);
    while (readdir(folder))
        n++;
    (void)closedir(folder);
    return n;
}

/* beside the program that holds it, as --check-license: the same is seen, and nothing is written */
static void test_look_only(void **state) {
    Bench *bench = *state;
    Reason why = {""};
    Licence licence = grant(bench, "first", 5);
    put_licence(bench, bench->path, &licence);
    put_list(bench, bench->list, "other", 1);
    const size_t before = files_in(bench->folder);
    const HolderConfig config = {
        .path = bench->path, .folder = bench->folder, .look_only = true, .keys = bench->keys};
    assert_int_equal(holder_new(&bench->holder, &config, bench->now_s, true), 0);
    assert_true(view(bench)->unlocks);
    assert_int_equal(view(bench)->revoked, 1);
    assert_int_equal(files_in(bench->folder), before);

    /* another licence, judged by the same list and time */
    SystemId here = {0};
    system_fact_hash(here.hashes[SYSTEM_MACHINE_ID], SYSTEM_MACHINE_ID, "a");
    system_fact_hash(here.hashes[SYSTEM_MAC], SYSTEM_MAC, "b");
    Licence own = grant(bench, "own", 0);
    own.kind = LICENCE_PROBE;
    own.bound = true;
    own.system = here;
    assert_int_equal(holder_judge(bench->holder, &own, true, &here, &why), LICENCE_VALID);
    assert_int_equal(holder_judge(bench->holder, &own, false, &here, &why), LICENCE_OTHER_PROGRAM);
    assert_int_equal(holder_judge(bench->holder, &own, true, &(SystemId){0}, &why),
                     LICENCE_OTHER_MACHINE);
    (void)snprintf(own.id, sizeof(own.id), "other");
    assert_int_equal(holder_judge(bench->holder, &own, true, &here, &why), LICENCE_REVOKED);
}

/* the folder cannot be written: a licence that comes counts all the same */
static void test_full(void **state) {
    Bench *bench = *state;
    bool changed = false;
    start(bench);
    Licence licence = grant(bench, "first", 5);
    put_licence(bench, bench->path, &licence);
    char away[PATH_MAX + 8];
    (void)snprintf(away, sizeof(away), "%s.away", bench->folder);
    assert_int_equal(rename(bench->folder, away), 0); /* as root anything else is no obstacle */
    for (int i = 0; i < 2; i++) {                     /* and it is told for as long as it is so */
        assert_int_equal(holder_look(bench->holder, bench->now_s, true, &changed),
                         HOLDER_E_UNWRITTEN);
        assert_int_equal(changed, i == 0);
        assert_true(view(bench)->unlocks);
        assert_non_null(strstr(view(bench)->unwritten.text, bench->folder));
    }
    assert_int_equal(rename(away, bench->folder), 0);
    assert_int_equal(holder_look(bench->holder, bench->now_s, true, &changed), 0);
    assert_string_equal(view(bench)->unwritten.text, "");
    assert_true(view(bench)->unlocks && !view(bench)->kept);
    assert_int_equal(unlink(bench->path), 0); /* and by then it was remembered */
    assert_true(look(bench) && view(bench)->unlocks && view(bench)->kept);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_nothing, begin, end),
        cmocka_unit_test_setup_teardown(test_long_path, begin, end),
        cmocka_unit_test_setup_teardown(test_changes, begin, end),
        cmocka_unit_test_setup_teardown(test_list_kept, begin, end),
        cmocka_unit_test_setup_teardown(test_list_twin, begin, end),
        cmocka_unit_test_setup_teardown(test_gone, begin, end),
        cmocka_unit_test_setup_teardown(test_ends, begin, end),
        cmocka_unit_test_setup_teardown(test_clock, begin, end),
        cmocka_unit_test_setup_teardown(test_gone_wild, begin, end),
        cmocka_unit_test_setup_teardown(test_clock_foreign, begin, end),
        cmocka_unit_test_setup_teardown(test_install, begin, end),
        cmocka_unit_test_setup_teardown(test_unchanged, begin, end),
        cmocka_unit_test_setup_teardown(test_look_only, begin, end),
        cmocka_unit_test_setup_teardown(test_full, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
