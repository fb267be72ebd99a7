/* SPDX-License-Identifier: Apache-2.0 */

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "channel/hub_strangers.h"

enum { FDS = 8192 };

static bool greeted[FDS];

static bool has_greeted(int fd) {
    return greeted[fd];
}

/* as many turns as it takes to see all of them; how many had to go */
static size_t cut_all(Strangers *strangers, uint64_t now_ms) {
    size_t n = 0;
    for (size_t turn = 0; turn <= FDS / STRANGERS_LOOK; turn++) {
        size_t look = STRANGERS_LOOK;
        uint32_t fd = 0;
        while (strangers_look(strangers, now_ms, &look, &fd)) {
            strangers_cut(strangers, fd);
            n++;
        }
        assert_int_equal(look, 0);
    }
    return n;
}

static Strangers *made(void) {
    Strangers *strangers = NULL;
    memset(greeted, 0, sizeof(greeted));
    assert_int_equal(strangers_new(&strangers, FDS, has_greeted), 0);
    return strangers;
}

static void come(Strangers *strangers, uint32_t from, uint32_t to, bool begins, uint64_t now_ms) {
    for (uint32_t fd = from; fd < to; fd++) {
        char address[64];
        (void)snprintf(address, sizeof(address), "198.51.%u.%u", fd / 250, fd % 250);
        greeted[fd] = begins;
        strangers_came(strangers, fd, address, now_ms);
    }
}

static void test_silent(void **state) {
    (void)state;
    cleanup(strangers_freep) Strangers *strangers = made();
    come(strangers, 0, FDS, false, 100);
    assert_int_equal(strangers_count(strangers), FDS);
    assert_int_equal(cut_all(strangers, 100), 0);
    assert_int_equal(cut_all(strangers, 14000), 0);
    for (uint32_t fd = 0; fd < FDS; fd++)
        assert_false(strangers_went(strangers, fd));
    assert_int_equal(strangers_count(strangers), 0);
}

/* those first there are left alone; when they have had their time they make room */
static void test_begun(void **state) {
    (void)state;
    cleanup(strangers_freep) Strangers *strangers = made();
    come(strangers, 0, STRANGERS_MAX, true, 100);
    assert_int_equal(cut_all(strangers, 100), 0);
    come(strangers, STRANGERS_MAX, STRANGERS_MAX * 4, true, 200);
    assert_int_equal(cut_all(strangers, 200), STRANGERS_MAX * 3);
    assert_int_equal(cut_all(strangers, 200), 0);
    assert_int_equal(strangers_count(strangers), STRANGERS_MAX);
    assert_false(strangers_went(strangers, 0));
    assert_true(strangers_went(strangers, STRANGERS_MAX));
    assert_false(strangers_went(strangers, STRANGERS_MAX));

    assert_int_equal(cut_all(strangers, 100 + STRANGERS_PATIENCE_MS), STRANGERS_MAX / 2 - 1);
    assert_int_equal(strangers_count(strangers), STRANGERS_MAX / 2);
}

/* who was silent and begins after all counts from then on */
static void test_later(void **state) {
    (void)state;
    cleanup(strangers_freep) Strangers *strangers = made();
    come(strangers, 0, STRANGERS_MAX * 2, false, 100);
    assert_int_equal(cut_all(strangers, 200), 0);
    memset(greeted, 1, STRANGERS_MAX * 2);
    assert_int_equal(cut_all(strangers, 300), STRANGERS_MAX);
}

/* who speaks is no stranger, and neither is who comes from there */
static void test_spoke(void **state) {
    (void)state;
    cleanup(strangers_freep) Strangers *strangers = made();
    strangers_came(strangers, 1, "192.0.2.1", 100);
    assert_int_equal(strangers_of(strangers, "192.0.2.1"), 1);
    strangers_spoke(strangers, 1);
    strangers_spoke(strangers, 1);
    assert_int_equal(strangers_count(strangers), 0);
    assert_int_equal(strangers_of(strangers, "192.0.2.1"), 0);
    strangers_spoke(strangers, 2); /* before it was seen to come */
    strangers_came(strangers, 2, "192.0.2.2", 100);
    assert_int_equal(strangers_count(strangers), 0);
    strangers_spoke(strangers, -1);
    strangers_spoke(strangers, FDS);

    come(strangers, 10, 10 + STRANGERS_MAX + 1, true, 200);
    assert_int_equal(cut_all(strangers, 200), 1);
    for (uint32_t fd = 4000; fd < 4000 + STRANGERS_KNOWN_MAX; fd++) {
        greeted[fd] = true;
        strangers_came(strangers, fd, "192.0.2.1", 300);
    }
    assert_int_equal(cut_all(strangers, 300), 0);
    greeted[5000] = true; /* one more than are trusted; then some of them go */
    strangers_came(strangers, 5000, "192.0.2.1", 300);
    assert_true(cut_all(strangers, 300) >= 1);

    assert_false(strangers_went(strangers, 1)); /* the number is another's now */
    strangers_came(strangers, 1, "192.0.2.9", 400);
    assert_int_equal(strangers_of(strangers, "192.0.2.9"), 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_silent),
        cmocka_unit_test(test_begun),
        cmocka_unit_test(test_later),
        cmocka_unit_test(test_spoke),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
