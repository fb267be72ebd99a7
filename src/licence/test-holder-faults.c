/* SPDX-License-Identifier: Apache-2.0 */

/* the licence in force beside files, lists and times that are wrong */

#include "licence/holder_bench.h"

/* a file that verifies and does not hold here throws nothing away: a day, as for a damaged one */
static void test_wrong_file(void **state) {
    Bench *bench = *state;
    for (int wrong = 0; wrong < 4; wrong++) {
        Licence licence = grant(bench, "good", 5);
        put_licence(bench, bench->path, &licence);
        start(bench);
        assert_true(view(bench)->unlocks && !view(bench)->kept);
        bench->now_s += 60;
        Licence other = grant(bench, "wrong", 9);
        if (wrong == 0)
            other.kind = LICENCE_PROBE;
        else if (wrong == 1)
            other.kind = LICENCE_HUB; /* of no machine */
        else if (wrong == 2)
            other.expiry_s = (other.not_before_s = 1) + DAY;
        else
            put_list(bench, bench->list, "wrong", 1);
        put_licence(bench, bench->path, &other);
        assert_true(look(bench));
        for (int again = 0; again < 2; again++) {
            assert_true(view(bench)->unlocks && view(bench)->kept);
            assert_string_equal(view(bench)->licence.id, "good");
            assert_non_null(strstr(view(bench)->trouble.text, bench->path));
            assert_non_null(strstr(view(bench)->trouble.text, "licence wrong is not in force"));
            assert_non_null(strstr(view(bench)->trouble.text, "in force until"));
            start(bench);
        }
        bench->now_s += DAY;
        assert_true(look(bench));
        assert_false(view(bench)->unlocks || view(bench)->kept);
        assert_string_equal(view(bench)->licence.id, "wrong");
    }
    /* what was revoked or expired itself is not kept by it */
    Licence licence = grant(bench, "good", 5);
    put_licence(bench, bench->path, &licence);
    start(bench);
    licence.kind = LICENCE_PROBE;
    put_licence(bench, bench->path, &licence);
    (void)look(bench);
    assert_true(view(bench)->unlocks && view(bench)->kept);
    put_list(bench, bench->list, "good", 2);
    (void)look(bench);
    assert_false(view(bench)->unlocks || view(bench)->kept);
}

/* issued by a clock in 2040: refused where the clock is known to be right, and it moves no mark */
static void test_future(void **state) {
    Bench *bench = *state;
    Reason reason = {""};
    start(bench);
    Licence future = grant(bench, "future", 9);
    future.issued_s = 2208988800;
    future.expiry_s = 0;
    assert_int_equal(install(bench, &future, &reason), HOLDER_E_REFUSED);
    assert_non_null(strstr(reason.text, "issued in the future"));
    put_licence(bench, bench->path, &future);
    (void)look(bench);
    start(bench);
    assert_int_equal(view(bench)->state, LICENCE_NOT_YET);
    assert_non_null(strstr(view(bench)->why.text, "issued in the future"));
    assert_int_equal(view(bench)->now_s, bench->now_s);
    Licence right = grant(bench, "right", 5);
    assert_int_equal(install(bench, &right, &reason), 0);
    assert_true(view(bench)->unlocks);
    assert_string_equal(view(bench)->licence.id, "right");

    /* a day is what clocks may differ */
    Licence ahead = grant(bench, "ahead", 6);
    ahead.issued_s += DAY + 1;
    assert_int_equal(install(bench, &ahead, &reason), HOLDER_E_REFUSED);
    ahead.issued_s -= 1;
    assert_int_equal(install(bench, &ahead, &reason), 0);
    assert_string_equal(view(bench)->licence.id, "ahead");
}

/* by a second key: numbers begin anew, and the time of signing decides */
static void test_key_rotated(void **state) {
    Bench *bench = *state;
    Reason reason = {""};
    VendorSecret next;
    cleanup(buffer_deinit) Buffer line = {0};
    cleanup(revocations_freep) Revocations *list = revocations_new();
    vendor_secret_make(&next, "test-2");
    const VendorKey both[] = {bench->vendor.key, next.key};
    bench->keys = (VendorKeys){.keys = both, .n = 2};
    const Licence licence = grant(bench, "first", 5);
    put_licence(bench, bench->path, &licence);
    put_list(bench, bench->list, "other", 5);
    start(bench);
    assert_true(view(bench)->unlocks);
    assert_int_equal(revocations_add(list, "first"), 0);
    assert_int_equal(revocations_sign(&line, list, "test-2", NOW - 1, next.secret_key), 0);
    assert_int_equal(holder_install(bench->holder, (const char *)line.bytes, line.size,
                                    bench->now_s, true, &reason),
                     HOLDER_E_REFUSED);
    assert_true(view(bench)->unlocks);
    buffer_clear(&line);
    assert_int_equal(revocations_sign(&line, list, "test-2", NOW + 1, next.secret_key), 0);
    put(bench->list, line.bytes, line.size);
    (void)look(bench);
    assert_int_equal(view(bench)->state, LICENCE_REVOKED);
    assert_string_equal(view(bench)->trouble.text, "");
    put_list(bench, bench->list, "other", 6); /* an old one put back brings nothing back */
    (void)look(bench);
    start(bench);
    assert_int_equal(view(bench)->state, LICENCE_REVOKED);
    assert_int_equal(view(bench)->revoked, 1);
}

/* what a list beside the licence is worth is said: damaged, or older than the one known */
static void test_list_told(void **state) {
    Bench *bench = *state;
    start(bench);
    put(bench->list, "rubbish", 7);
    assert_true(look(bench));
    assert_non_null(strstr(view(bench)->trouble.text, bench->list));
    assert_non_null(strstr(view(bench)->trouble.text, "cut short"));
    put_list(bench, bench->list, "other", 3);
    assert_true(look(bench));
    assert_string_equal(view(bench)->trouble.text, "");
    (void)look(bench);
    assert_string_equal(view(bench)->trouble.text, "");
    put_list(bench, bench->list, "other", 2);
    assert_true(look(bench));
    assert_non_null(strstr(view(bench)->trouble.text, "number 2, is not newer"));
    assert_int_equal(unlink(bench->list), 0);
    assert_true(look(bench));
    assert_string_equal(view(bench)->trouble.text, "");
    assert_int_equal(view(bench)->revoked, 3);
}

/* a pipe in the licence's place is no file: nobody waits for its other end */
static void test_pipe(void **state) {
    Bench *bench = *state;
    assert_int_equal(mkfifo(bench->path, 0600), 0);
    assert_int_equal(mkfifo(bench->list, 0600), 0);
    (void)alarm(20); /* or this stands still */
    start(bench);
    (void)alarm(0);
    assert_false(view(bench)->has);
    assert_non_null(strstr(view(bench)->trouble.text, bench->path));
    assert_non_null(strstr(view(bench)->trouble.text, "no regular file"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_wrong_file, begin, end),
        cmocka_unit_test_setup_teardown(test_future, begin, end),
        cmocka_unit_test_setup_teardown(test_key_rotated, begin, end),
        cmocka_unit_test_setup_teardown(test_list_told, begin, end),
        cmocka_unit_test_setup_teardown(test_pipe, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
