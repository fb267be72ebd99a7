/* SPDX-License-Identifier: Apache-2.0 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <sqlite3.h>

#include "hub/settings.h"

static char folder[64];
static Settings *settings;

static char *path_of(const char *name) {
    static char path[128];
    (void)snprintf(path, sizeof(path), "%s/%s", folder, name);
    return path;
}

static void reopen(void) {
    settings = settings_free(settings);
    Reason reason = {0};
    if (settings_new(&settings, folder, &reason) != 0)
        fail_msg("%s", reason.text);
}

static int set_up(void **state) {
    (void)state;
    (void)snprintf(folder, sizeof(folder), "/tmp/weir-settings-XXXXXX");
    assert_non_null(mkdtemp(folder));
    reopen();
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    settings = settings_free(settings);
    static const char *const names[] = {"weir.sqlite", "weir.sqlite-wal", "weir.sqlite-shm", ""};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        (void)remove(path_of(names[i]));
    return 0;
}

/** run_sql() - from outside, as another program would */
static void run_sql(const char *sql) {
    sqlite3 *db = NULL;
    assert_int_equal(sqlite3_open(path_of("weir.sqlite"), &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    (void)sqlite3_close(db);
}

static void test_users(void **state) {
    (void)state;
    uint64_t n = 9;
    SettingsUser user = {.name = "Ada'; DROP TABLE user;--", .password_hash = "h1"};
    user.role = HTTP_ADMIN;
    SettingsUser second = {.name = "bob", .password_hash = "h2", .role = HTTP_VIEWER};
    SettingsUser found = {0};
    assert_int_equal(settings_user_count(settings, &n), 0);
    assert_int_equal(n, 0);
    assert_int_equal(settings_user_get(settings, "bob", &found), SETTINGS_E_MISSING);
    assert_int_equal(settings_first_user_add(settings, &user, 1), 0);
    assert_int_equal(settings_first_user_add(settings, &second, 1), SETTINGS_E_EXISTS);
    assert_int_equal(settings_user_add(settings, &second, 1), 0);
    assert_int_equal(settings_user_add(settings, &second, 1), SETTINGS_E_EXISTS);
    (void)snprintf(second.name, sizeof(second.name), "BOB");
    assert_int_equal(settings_user_add(settings, &second, 1), SETTINGS_E_EXISTS);
    reopen();
    assert_int_equal(settings_user_count(settings, &n), 0);
    assert_int_equal(n, 2);
    assert_int_equal(settings_user_get(settings, user.name, &found), 0);
    assert_string_equal(found.password_hash, "h1");
    assert_int_equal(found.role, HTTP_ADMIN);
    assert_int_equal(settings_user_get(settings, "Bob", &found), 0);
    assert_string_equal(found.name, "bob");
    assert_int_equal(found.role, HTTP_VIEWER);
}

static void test_sessions(void **state) {
    (void)state;
    const uint8_t one[SETTINGS_HASH_BYTES] = {1, 0, 2}; /* a NUL inside does not end it */
    const uint8_t two[SETTINGS_HASH_BYTES] = {1, 0, 3};
    const SettingsUser user = {.name = "ada", .password_hash = "h", .role = HTTP_OPERATOR};
    SettingsSession session = {
        .user = "ada", .created_ms = 1000, .used_ms = 1000, .expires_ms = 9000};
    SettingsSession found = {0};
    assert_int_equal(settings_session_add(settings, one, &session), SETTINGS_E_MISSING);
    assert_int_equal(settings_user_add(settings, &user, 1), 0);
    assert_int_equal(settings_session_add(settings, one, &session), 0);
    session.expires_ms = 5000;
    assert_int_equal(settings_session_add(settings, two, &session), 0);
    assert_int_equal(settings_session_touch(settings, one, 3000), 0);
    reopen();
    assert_int_equal(settings_session_get(settings, one, &found), 0);
    assert_string_equal(found.user, "ada");
    assert_int_equal(found.role, HTTP_OPERATOR);
    assert_int_equal(found.created_ms, 1000);
    assert_int_equal(found.used_ms, 3000);
    assert_int_equal(found.expires_ms, 9000);
    /* two is past its end; then one is unused for too long */
    assert_int_equal(settings_session_expire(settings, 5000, 0), 0);
    assert_int_equal(settings_session_get(settings, two, &found), SETTINGS_E_MISSING);
    assert_int_equal(settings_session_get(settings, one, &found), 0);
    assert_int_equal(settings_session_expire(settings, 5000, 3001), 0);
    assert_int_equal(settings_session_get(settings, one, &found), SETTINGS_E_MISSING);
    assert_int_equal(settings_session_remove(settings, one), SETTINGS_E_MISSING);
    /* with a user go the sessions */
    assert_int_equal(settings_session_add(settings, one, &session), 0);
    settings = settings_free(settings);
    run_sql("PRAGMA foreign_keys = ON; DELETE FROM user");
    reopen();
    assert_int_equal(settings_session_get(settings, one, &found), SETTINGS_E_MISSING);
}

static void test_named(void **state) {
    (void)state;
    Buffer value = {0};
    assert_int_equal(settings_get(settings, "k", &value), SETTINGS_E_MISSING);
    assert_int_equal(value.size, 0);
    assert_int_equal(settings_set(settings, "k", "one"), 0);
    assert_int_equal(settings_set(settings, "k", "two"), 0);
    assert_int_equal(settings_get(settings, "k", &value), 0);
    assert_string_equal(buffer_text(&value), "two");
    assert_int_equal(settings_unset(settings, "k"), 0);
    assert_int_equal(settings_unset(settings, "k"), 0);
    assert_int_equal(settings_get(settings, "k", &value), SETTINGS_E_MISSING);
    buffer_deinit(&value);
}

typedef struct Seen {
    SettingsProbe probes[4];
    size_t n, max;
} Seen;

static int see(const SettingsProbe *probe, void *context) {
    Seen *seen = context;
    seen->probes[seen->n++] = *probe;
    return seen->n == seen->max;
}

static void test_probes(void **state) {
    (void)state;
    SettingsProbe rows[] = {
        {.key = "key-b",
         .name = "beta",
         .interface = "tcp://*:5556c",
         .first_seen_ms = 20,
         .last_seen_ms = 20,
         .site = "here",
         .tenant = "us",
         .state = "pending",
         .via = "open"},
        {.key = "key-a",
         .name = "alpha",
         .first_seen_ms = 10,
         .last_seen_ms = 10,
         .state = "admitted",
         .via = "token",
         .number = 7,
         .enrolled_ms = 11,
         .token = 3},
    };
    assert_int_equal(settings_probes_save(settings, rows, 2, NULL, 0), 0);
    SettingsProbe again = rows[0];
    (void)snprintf(again.interface, sizeof(again.interface), "%s", "tcp://*:5558c");
    (void)snprintf(again.state, sizeof(again.state), "%s", "revoked");
    (void)snprintf(again.given_name, sizeof(again.given_name), "%s", "front door");
    again.first_seen_ms = again.last_seen_ms = 5; /* late news */
    assert_int_equal(settings_probes_save(settings, &again, 1, NULL, 0), 0);
    reopen();
    Seen seen = {.max = 4};
    assert_int_equal(settings_probe_each(settings, see, &seen), 0);
    assert_int_equal(seen.n, 2);
    assert_string_equal(seen.probes[0].key, "key-a");
    assert_string_equal(seen.probes[0].via, "token");
    assert_int_equal(seen.probes[0].number, 7);
    assert_int_equal(seen.probes[0].token, 3);
    assert_int_equal(seen.probes[0].enrolled_ms, 11);
    assert_string_equal(seen.probes[1].name, "beta");
    assert_string_equal(seen.probes[1].given_name, "front door");
    assert_string_equal(seen.probes[1].state, "revoked");
    assert_string_equal(seen.probes[1].site, "here");
    assert_string_equal(seen.probes[1].interface, "tcp://*:5558c");
    assert_int_equal(seen.probes[1].first_seen_ms, 20);
    assert_int_equal(seen.probes[1].last_seen_ms, 20);
    seen = (Seen){.max = 1};
    assert_int_equal(settings_probe_each(settings, see, &seen), 0);
    assert_int_equal(seen.n, 1);
}

/* one comes and another goes, or neither */
static void test_probe_in_place_of_another(void **state) {
    (void)state;
    const SettingsProbe rows[] = {
        {.key = "key-a", .state = "admitted", .via = "open", .first_seen_ms = 1},
        {.key = "key-b", .state = "admitted", .via = "open", .first_seen_ms = 2},
    };
    assert_int_equal(settings_probes_save(settings, rows, 2, NULL, 0), 0);
    Seen seen;
    const SettingsKey gone = {"key-b"};
    SettingsProbe bad = {.via = "open", .first_seen_ms = 3};
    (void)snprintf(bad.key, sizeof(bad.key), "%s", "key-c");
    (void)snprintf(bad.state, sizeof(bad.state), "%s", "no such state");
    assert_true(settings_probes_save(settings, &bad, 1, &gone, 1) < 0);
    seen = (Seen){.max = 4};
    assert_int_equal(settings_probe_each(settings, see, &seen), 0);
    assert_int_equal(seen.n, 2);
    (void)snprintf(bad.state, sizeof(bad.state), "%s", "admitted");
    assert_int_equal(settings_probes_save(settings, &bad, 1, &gone, 1), 0);
    seen = (Seen){.max = 4};
    assert_int_equal(settings_probe_each(settings, see, &seen), 0);
    assert_int_equal(seen.n, 2);
    assert_string_equal(seen.probes[1].key, "key-c");
}

/* a file of the version before: who was known had been let in */
static void test_first_version(void **state) {
    (void)state;
    settings = settings_free(settings);
    run_sql("DROP TABLE held_key; DROP TABLE configuration; DROP TABLE token_use; DROP TABLE "
            "token; DROP TABLE probe;"
            "DELETE FROM migration WHERE version > 1;"
            "CREATE TABLE probe (key TEXT NOT NULL PRIMARY KEY, name TEXT NOT NULL,"
            " interface TEXT NOT NULL, first_seen_ms INTEGER NOT NULL,"
            " last_seen_ms INTEGER NOT NULL) STRICT;"
            "INSERT INTO probe VALUES ('key-a', 'alpha', 'tcp://*:5556c', 10, 20)");
    reopen();
    Seen seen = {.max = 4};
    assert_int_equal(settings_probe_each(settings, see, &seen), 0);
    assert_int_equal(seen.n, 1);
    assert_string_equal(seen.probes[0].state, "admitted");
    assert_string_equal(seen.probes[0].site, "default");
    assert_int_equal(seen.probes[0].enrolled_ms, 10);
}

static int see_held(const SettingsHeld *held, void *context) {
    SettingsHeld *seen = context;
    while (*seen->probe)
        seen++;
    *seen = *held;
    return 0;
}

static void test_held(void **state) {
    (void)state;
    const SettingsHeld held[] = {{"probe-a", "key-1"}, {"probe-b", "key-1"}};
    const SettingsHeld later = {"probe-a", "key-2"};
    SettingsHeld seen[4] = {0};
    assert_int_equal(settings_held_save(settings, held, 2), 0);
    assert_int_equal(settings_held_save(settings, &later, 1), 0);
    reopen();
    assert_int_equal(settings_held_each(settings, see_held, seen), 0);
    assert_string_equal(seen[0].server_key, "key-2");
    assert_string_equal(seen[1].server_key, "key-1");
    assert_string_equal(seen[2].probe, "");
}

typedef struct Tokens {
    SettingsToken tokens[4];
    size_t n;
} Tokens;

static int see_token(const SettingsToken *token, void *context) {
    Tokens *seen = context;
    seen->tokens[seen->n++] = *token;
    return 0;
}

static void test_tokens(void **state) {
    (void)state;
    const uint8_t one[SETTINGS_HASH_BYTES] = {1};
    const uint8_t two[SETTINGS_HASH_BYTES] = {2};
    SettingsToken token = {.note = "north",
                           .site = "n",
                           .tenant = "t",
                           .uses_max = 2,
                           .created_ms = 5,
                           .created_by = "ada",
                           .expires_ms = 99};
    uint64_t id = 0;
    uint64_t other = 0;
    assert_int_equal(settings_token_add(settings, one, &token, &id), 0);
    token.uses_max = 0;
    assert_int_equal(settings_token_add(settings, two, &token, &other), 0);
    assert_true(settings_token_add(settings, two, &token, &other) < 0);
    reopen();

    /* once for each key, and no more than it is good for */
    assert_int_equal(settings_token_used(settings, id, "key-a"), SETTINGS_E_MISSING);
    assert_int_equal(settings_token_use(settings, id, "key-a", 6), 0);
    assert_int_equal(settings_token_use(settings, id, "key-a", 7), SETTINGS_E_MISSING);
    assert_int_equal(settings_token_used(settings, id, "key-a"), 0);
    assert_int_equal(settings_token_use(settings, id, "key-b", 7), 0);
    assert_int_equal(settings_token_use(settings, id, "key-c", 8), SETTINGS_E_MISSING);
    assert_int_equal(settings_token_use(settings, 77, "key-c", 8), SETTINGS_E_MISSING);
    for (int i = 0; i < 5; i++) {
        char key[8];
        (void)snprintf(key, sizeof(key), "k%d", i);
        assert_int_equal(settings_token_use(settings, other, key, 9), 0);
    }
    SettingsToken found;
    assert_int_equal(settings_token_find(settings, one, &found), 0);
    assert_int_equal(found.id, id);
    assert_int_equal(found.uses, 2);
    assert_string_equal(found.created_by, "ada");
    Tokens seen = {0};
    assert_int_equal(settings_token_each(settings, see_token, &seen), 0);
    assert_int_equal(seen.n, 2);
    assert_int_equal(seen.tokens[1].uses, 5);
    assert_int_equal(settings_token_remove(settings, id), 0);
    assert_int_equal(settings_token_remove(settings, id), SETTINGS_E_MISSING);
    assert_int_equal(settings_token_find(settings, one, &found), SETTINGS_E_MISSING);
    assert_int_equal(settings_token_used(settings, id, "key-a"), SETTINGS_E_MISSING);
}

static void test_file(void **state) {
    (void)state;
    struct stat st;
    assert_int_equal(stat(path_of("weir.sqlite"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    settings = settings_free(settings);

    Reason reason = {0};
    run_sql("INSERT INTO migration VALUES (99, 0)");
    assert_int_equal(settings_new(&settings, folder, &reason), SETTINGS_E_REFUSED);
    assert_non_null(strstr(reason.text, "newer weir-hub"));
    assert_int_equal(settings_new(&settings, "/nonexistent", &reason), SETTINGS_E_REFUSED);
    assert_non_null(strstr(reason.text, "/nonexistent/weir.sqlite"));

    FILE *file = fopen(path_of("weir.sqlite"), "w");
    assert_non_null(file);
    for (int i = 0; i < 4096; i++)
        assert_true(fputs("not a database ", file) >= 0);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(settings_new(&settings, folder, &reason), SETTINGS_E_REFUSED);
    assert_non_null(strstr(reason.text, "not a database"));
    assert_null(settings);
}

int main(void) {
#define TEST(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_users),
        TEST(test_sessions),
        TEST(test_named),
        TEST(test_probes),
        TEST(test_probe_in_place_of_another),
        TEST(test_first_version),
        TEST(test_held),
        TEST(test_tokens),
        TEST(test_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
