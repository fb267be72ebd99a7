/* SPDX-License-Identifier: Apache-2.0 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>

#include "channel/hub_session.h"

enum { STEP_MS = 500 };

static SessionLine *hello(Session *session, uint16_t port, const char *instance, uint64_t now_ms) {
    const SessionLine from = {.fd = port, .port = port, .address = "192.0.2.1"};
    char json[64];
    (void)snprintf(json, sizeof(json), "{\"instance\":\"%s\"}", instance);
    SessionLine *line = session_line(session, &from, now_ms);
    session_line_hello(session, line, json, port, now_ms);
    return line;
}

/** clones_after() - both speak for so long; after how much of it they are named, 0: they are not */
static uint64_t clones_after(const char *instance, const char *other, uint64_t speak_ms) {
    Session session = {.up = true};
    const uint64_t begin_ms = 1000000;
    const SessionLine *lines[] = {hello(&session, 1, instance, begin_ms - 1000),
                                  hello(&session, 2, other, begin_ms)};
    for (uint64_t at_ms = STEP_MS; at_ms <= speak_ms; at_ms += STEP_MS)
        for (size_t i = 0; i < 2; i++) {
            const SessionLine *line = session_line(&session, lines[i], begin_ms + at_ms);
            assert_ptr_equal(line, lines[i]);
            if (session_other(&session, line, begin_ms + at_ms))
                return at_ms;
        }
    return 0;
}

static void test_clones(void **state) {
    (void)state;
    const uint64_t named_ms = clones_after("a", "b", 20000);
    assert_true(named_ms > SESSION_CLONE_MS && named_ms < SESSION_CLONE_MS + 2 * STEP_MS);
    assert_int_equal(clones_after("a", "b", SESSION_CLONE_MS), 0);
}

/* on a slow line what it said by its former connection goes on coming for a while */
static void test_reconnected(void **state) {
    (void)state;
    assert_int_equal(clones_after("a", "a", 20000), 0);
    assert_true(clones_after("a", "a", 60000) > SESSION_COPY_MS); /* a machine was copied */
}

static void test_ended(void **state) {
    (void)state;
    Session session = {.up = true};
    SessionLine *line = hello(&session, 1, "a", 1000);
    hello(&session, 2, "b", 1000);
    const SessionLine another = {.fd = 1, .port = 3};
    session_line_ended(&session, &another); /* its descriptor was given again */
    assert_int_equal(line->fd, 1);
    const SessionLine from = *line;
    session_line_ended(&session, &from);
    assert_int_equal(line->fd, 0);
    assert_int_equal(session.lines[1].fd, 2);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_clones),
                                       cmocka_unit_test(test_reconnected),
                                       cmocka_unit_test(test_ended)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
