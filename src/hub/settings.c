/* SPDX-License-Identifier: Apache-2.0 */

#include "hub/settings.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include <sqlite3.h>

#include "base/clock.h"
#include "base/error.h"

enum { BUSY_TIMEOUT_MS = 5000 };

/* Each entry brings the file from version i to i + 1; entries are never changed once released. */
static const char *const migrations[] = {
    "CREATE TABLE user ("
    "  name TEXT NOT NULL PRIMARY KEY COLLATE NOCASE,"
    "  password_hash TEXT NOT NULL,"
    "  role TEXT NOT NULL CHECK (role IN ('viewer', 'operator', 'admin')),"
    "  created_ms INTEGER NOT NULL) STRICT;"
    "CREATE TABLE session ("
    "  token_hash BLOB NOT NULL PRIMARY KEY,"
    "  user TEXT NOT NULL COLLATE NOCASE"
    "    REFERENCES user (name) ON DELETE CASCADE ON UPDATE CASCADE,"
    "  created_ms INTEGER NOT NULL,"
    "  used_ms INTEGER NOT NULL,"
    "  expires_ms INTEGER NOT NULL) STRICT, WITHOUT ROWID;"
    "CREATE INDEX session_user ON session (user);"
    "CREATE TABLE setting (key TEXT NOT NULL PRIMARY KEY, value TEXT NOT NULL) STRICT;"
    "CREATE TABLE probe ("
    "  key TEXT NOT NULL PRIMARY KEY,"
    "  name TEXT NOT NULL,"
    "  interface TEXT NOT NULL,"
    "  first_seen_ms INTEGER NOT NULL,"
    "  last_seen_ms INTEGER NOT NULL) STRICT;",
};
enum { VERSION = sizeof(migrations) / sizeof(migrations[0]) };

typedef enum Statement {
    USER_COUNT,
    USER_GET,
    USER_ADD,
    USER_ADD_FIRST,
    SESSION_ADD,
    SESSION_GET,
    SESSION_TOUCH,
    SESSION_REMOVE,
    SESSION_EXPIRE,
    SETTING_GET,
    SETTING_SET,
    SETTING_UNSET,
    PROBE_SEEN,
    PROBE_EACH,
    _STATEMENT_N,
} Statement;

static const char *const statements[_STATEMENT_N] = {
    [USER_COUNT] = "SELECT count(*) FROM user",
    [USER_GET] = "SELECT name, password_hash, role FROM user WHERE name = ?1",
    [USER_ADD] = "INSERT INTO user (name, password_hash, role, created_ms)"
                 " VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING",
    [USER_ADD_FIRST] = "INSERT INTO user (name, password_hash, role, created_ms)"
                       " SELECT ?1, ?2, ?3, ?4 WHERE NOT EXISTS (SELECT 1 FROM user)",
    [SESSION_ADD] = "INSERT INTO session (token_hash, user, created_ms, used_ms, expires_ms)"
                    " SELECT ?1, name, ?3, ?4, ?5 FROM user WHERE name = ?2",
    [SESSION_GET] = "SELECT user.name, role, session.created_ms, used_ms, expires_ms"
                    " FROM session JOIN user ON session.user = user.name WHERE token_hash = ?1",
    [SESSION_TOUCH] = "UPDATE session SET used_ms = ?2 WHERE token_hash = ?1 AND used_ms < ?2",
    [SESSION_REMOVE] = "DELETE FROM session WHERE token_hash = ?1",
    [SESSION_EXPIRE] = "DELETE FROM session WHERE expires_ms <= ?1 OR used_ms < ?2",
    [SETTING_GET] = "SELECT value FROM setting WHERE key = ?1",
    [SETTING_SET] = "INSERT INTO setting (key, value) VALUES (?1, ?2)"
                    " ON CONFLICT (key) DO UPDATE SET value = excluded.value",
    [SETTING_UNSET] = "DELETE FROM setting WHERE key = ?1",
    [PROBE_SEEN] = "INSERT INTO probe (key, name, interface, first_seen_ms, last_seen_ms)"
                   " VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (key) DO UPDATE SET"
                   " name = CASE excluded.name WHEN '' THEN name ELSE excluded.name END,"
                   " interface = excluded.interface,"
                   " last_seen_ms = max(last_seen_ms, excluded.last_seen_ms)",
    [PROBE_EACH] = "SELECT key, name, interface, first_seen_ms, last_seen_ms FROM probe"
                   " ORDER BY first_seen_ms, key",
};

struct Settings {
    pthread_mutex_t lock;
    sqlite3 *db;
    sqlite3_stmt *prepared[_STATEMENT_N];
};

/* opening */

static int refuse(sqlite3 *db, const char *path, Reason *reason) {
    reason_set(reason, "cannot use the settings file %s: %s", path,
               db ? sqlite3_errmsg(db) : "out of memory");
    return SETTINGS_E_REFUSED;
}

static int read_version(sqlite3 *db, int *versionp) {
    sqlite3_stmt *statement = NULL;
    int r = sqlite3_prepare_v2(db, "SELECT coalesce(max(version), 0) FROM migration", -1,
                               &statement, NULL);
    if (r == SQLITE_OK && sqlite3_step(statement) == SQLITE_ROW)
        *versionp = sqlite3_column_int(statement, 0);
    else
        r = SQLITE_ERROR;
    (void)sqlite3_finalize(statement);
    return r;
}

/** migrate_one() - from version to version + 1, wholly or not at all */
static int migrate_one(sqlite3 *db, int version) {
    char note[128];
    (void)snprintf(note, sizeof(note), "INSERT INTO migration VALUES (%d, %llu); COMMIT",
                   version + 1, (unsigned long long)clock_wall_ms());
    int r = sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL);
    if (r == SQLITE_OK)
        r = sqlite3_exec(db, migrations[version], NULL, NULL, NULL);
    if (r == SQLITE_OK)
        r = sqlite3_exec(db, note, NULL, NULL, NULL);
    return r;
}

static int migrate(sqlite3 *db, const char *path, Reason *reason) {
    static const char first[] =
        "PRAGMA journal_mode = WAL;"
        "PRAGMA synchronous = FULL;"
        "PRAGMA foreign_keys = ON;"
        "PRAGMA trusted_schema = OFF;"
        "CREATE TABLE IF NOT EXISTS migration"
        " (version INTEGER PRIMARY KEY, applied_ms INTEGER NOT NULL) STRICT";
    int version = 0;
    if (sqlite3_exec(db, first, NULL, NULL, NULL) != SQLITE_OK ||
        read_version(db, &version) != SQLITE_OK)
        return refuse(db, path, reason);
    if (version > VERSION) {
        reason_set(reason,
                   "the settings file %s was written by a newer weir-hub (version %d of it, this "
                   "one knows %d)",
                   path, version, VERSION);
        return SETTINGS_E_REFUSED;
    }
    for (; version < VERSION; version++)
        if (migrate_one(db, version) != SQLITE_OK)
            return refuse(db, path, reason);
    return 0;
}

int settings_new(Settings **settingsp, const char *data_dir, Reason *reason) {
    cleanup(settings_freep) Settings *settings = calloc(1, sizeof(*settings));
    if (!settings)
        return error_origin(-ENOMEM);
    (void)pthread_mutex_init(&settings->lock, NULL);
    char path[4096];
    int n = snprintf(path, sizeof(path), "%s/weir.sqlite", data_dir);
    if (n < 0 || (size_t)n >= sizeof(path))
        return error_origin(-ENAMETOOLONG);

    /* SQLite would make it readable to others */
    cleanup(closep) int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) {
        reason_set(reason, "cannot open the settings file %s: %s", path, strerror(errno));
        return SETTINGS_E_REFUSED;
    }
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX;
    if (sqlite3_open_v2(path, &settings->db, flags, NULL) != SQLITE_OK)
        return refuse(settings->db, path, reason);
    (void)sqlite3_busy_timeout(settings->db, BUSY_TIMEOUT_MS);
    int r = migrate(settings->db, path, reason);
    if (r)
        return r;
    for (size_t i = 0; i < _STATEMENT_N; i++)
        if (sqlite3_prepare_v3(settings->db, statements[i], -1, SQLITE_PREPARE_PERSISTENT,
                               &settings->prepared[i], NULL) != SQLITE_OK)
            return refuse(settings->db, path, reason);
    *settingsp = settings;
    settings = NULL;
    return 0;
}

Settings *settings_free(Settings *settings) {
    if (!settings)
        return NULL;
    for (size_t i = 0; i < _STATEMENT_N; i++)
        (void)sqlite3_finalize(settings->prepared[i]);
    (void)sqlite3_close(settings->db);
    (void)pthread_mutex_destroy(&settings->lock);
    free(settings);
    return NULL;
}

/* one statement: begin, bind, step, end */

static sqlite3_stmt *statement_begin(Settings *settings, Statement which) {
    (void)pthread_mutex_lock(&settings->lock);
    return settings->prepared[which];
}

static void statement_end(Settings *settings, sqlite3_stmt *statement) {
    (void)sqlite3_reset(statement);
    (void)sqlite3_clear_bindings(statement);
    (void)pthread_mutex_unlock(&settings->lock);
}

/* texts and blobs outlive the step, so nothing is copied; a failed bind makes the step fail */

static void bind_text(sqlite3_stmt *statement, int at, const char *text) {
    (void)sqlite3_bind_text(statement, at, text, -1, SQLITE_STATIC);
}

static void bind_u64(sqlite3_stmt *statement, int at, uint64_t v) {
    (void)sqlite3_bind_int64(statement, at, (sqlite3_int64)v);
}

static void bind_hash(sqlite3_stmt *statement, int at, const uint8_t *hash) {
    (void)sqlite3_bind_blob(statement, at, hash, SETTINGS_HASH_BYTES, SQLITE_STATIC);
}

/** statement_step() - 0 a row, SETTINGS_E_MISSING no more */
static int statement_step(sqlite3_stmt *statement) {
    switch (sqlite3_step(statement)) {
    case SQLITE_ROW:
        return 0;
    case SQLITE_DONE:
        return SETTINGS_E_MISSING;
    case SQLITE_FULL:
        return error_origin(-ENOSPC);
    case SQLITE_NOMEM:
        return error_origin(-ENOMEM);
    default:
        return error_origin(-EIO);
    }
}

/** statement_run() - of those that give no rows: 0, or SETTINGS_E_MISSING when nothing changed */
static int statement_run(Settings *settings, sqlite3_stmt *statement) {
    int r = statement_step(statement);
    if (r < 0)
        return error_trace(r);
    return sqlite3_changes(settings->db) ? 0 : SETTINGS_E_MISSING;
}

static void column_text(sqlite3_stmt *statement, int at, char *text, size_t size) {
    const unsigned char *value = sqlite3_column_text(statement, at);
    (void)snprintf(text, size, "%s", value ? (const char *)value : "");
}

static uint64_t column_u64(sqlite3_stmt *statement, int at) {
    return (uint64_t)sqlite3_column_int64(statement, at);
}

static HttpAccess column_role(sqlite3_stmt *statement, int at) {
    char name[16];
    column_text(statement, at, name, sizeof(name));
    for (int role = HTTP_VIEWER; role < _HTTP_ACCESS_N; role++)
        if (strcmp(http_access_names[role], name) == 0)
            return (HttpAccess)role;
    return HTTP_PUBLIC;
}

/* users */

int settings_user_count(Settings *settings, uint64_t *np) {
    sqlite3_stmt *statement = statement_begin(settings, USER_COUNT);
    int r = statement_step(statement);
    if (r == 0)
        *np = column_u64(statement, 0);
    statement_end(settings, statement);
    return error_fold(r);
}

int settings_user_get(Settings *settings, const char *name, SettingsUser *user) {
    sqlite3_stmt *statement = statement_begin(settings, USER_GET);
    bind_text(statement, 1, name);
    int r = statement_step(statement);
    if (r == 0) {
        column_text(statement, 0, user->name, sizeof(user->name));
        column_text(statement, 1, user->password_hash, sizeof(user->password_hash));
        user->role = column_role(statement, 2);
    }
    statement_end(settings, statement);
    return error_trace(r);
}

static int user_add(Settings *settings, Statement which, const SettingsUser *user,
                    uint64_t now_ms) {
    sqlite3_stmt *statement = statement_begin(settings, which);
    bind_text(statement, 1, user->name);
    bind_text(statement, 2, user->password_hash);
    bind_text(statement, 3, http_access_names[user->role]);
    bind_u64(statement, 4, now_ms);
    int r = statement_run(settings, statement);
    statement_end(settings, statement);
    return r == SETTINGS_E_MISSING ? SETTINGS_E_EXISTS : error_trace(r);
}

int settings_user_add(Settings *settings, const SettingsUser *user, uint64_t now_ms) {
    return error_trace(user_add(settings, USER_ADD, user, now_ms));
}

int settings_first_user_add(Settings *settings, const SettingsUser *user, uint64_t now_ms) {
    return error_trace(user_add(settings, USER_ADD_FIRST, user, now_ms));
}

/* sessions */

int settings_session_add(Settings *settings, const uint8_t hash[SETTINGS_HASH_BYTES],
                         const SettingsSession *session) {
    sqlite3_stmt *statement = statement_begin(settings, SESSION_ADD);
    bind_hash(statement, 1, hash);
    bind_text(statement, 2, session->user);
    bind_u64(statement, 3, session->created_ms);
    bind_u64(statement, 4, session->used_ms);
    bind_u64(statement, 5, session->expires_ms);
    int r = statement_run(settings, statement);
    statement_end(settings, statement);
    return error_trace(r);
}

int settings_session_get(Settings *settings, const uint8_t hash[SETTINGS_HASH_BYTES],
                         SettingsSession *session) {
    sqlite3_stmt *statement = statement_begin(settings, SESSION_GET);
    bind_hash(statement, 1, hash);
    int r = statement_step(statement);
    if (r == 0) {
        column_text(statement, 0, session->user, sizeof(session->user));
        session->role = column_role(statement, 1);
        session->created_ms = column_u64(statement, 2);
        session->used_ms = column_u64(statement, 3);
        session->expires_ms = column_u64(statement, 4);
    }
    statement_end(settings, statement);
    return error_trace(r);
}

int settings_session_touch(Settings *settings, const uint8_t hash[SETTINGS_HASH_BYTES],
                           uint64_t now_ms) {
    sqlite3_stmt *statement = statement_begin(settings, SESSION_TOUCH);
    bind_hash(statement, 1, hash);
    bind_u64(statement, 2, now_ms);
    int r = statement_run(settings, statement);
    statement_end(settings, statement);
    return error_trace(r);
}

int settings_session_remove(Settings *settings, const uint8_t hash[SETTINGS_HASH_BYTES]) {
    sqlite3_stmt *statement = statement_begin(settings, SESSION_REMOVE);
    bind_hash(statement, 1, hash);
    int r = statement_run(settings, statement);
    statement_end(settings, statement);
    return error_trace(r);
}

int settings_session_expire(Settings *settings, uint64_t now_ms, uint64_t unused_since_ms) {
    sqlite3_stmt *statement = statement_begin(settings, SESSION_EXPIRE);
    bind_u64(statement, 1, now_ms);
    bind_u64(statement, 2, unused_since_ms);
    int r = statement_run(settings, statement);
    statement_end(settings, statement);
    return r == SETTINGS_E_MISSING ? 0 : error_trace(r);
}

/* named settings */

int settings_get(Settings *settings, const char *key, Buffer *value) {
    sqlite3_stmt *statement = statement_begin(settings, SETTING_GET);
    bind_text(statement, 1, key);
    int r = statement_step(statement);
    const unsigned char *text = r == 0 ? sqlite3_column_text(statement, 0) : NULL;
    if (text)
        buffer_put_text(value, (const char *)text);
    statement_end(settings, statement);
    return error_trace(r);
}

int settings_set(Settings *settings, const char *key, const char *value) {
    sqlite3_stmt *statement = statement_begin(settings, SETTING_SET);
    bind_text(statement, 1, key);
    bind_text(statement, 2, value);
    int r = statement_run(settings, statement);
    statement_end(settings, statement);
    return error_fold(r);
}

int settings_unset(Settings *settings, const char *key) {
    sqlite3_stmt *statement = statement_begin(settings, SETTING_UNSET);
    bind_text(statement, 1, key);
    int r = statement_run(settings, statement);
    statement_end(settings, statement);
    return r == SETTINGS_E_MISSING ? 0 : error_trace(r);
}

/* probes */

int settings_probe_seen(Settings *settings, const SettingsProbe *probe) {
    sqlite3_stmt *statement = statement_begin(settings, PROBE_SEEN);
    bind_text(statement, 1, probe->key);
    bind_text(statement, 2, probe->name);
    bind_text(statement, 3, probe->interface);
    bind_u64(statement, 4, probe->first_seen_ms);
    bind_u64(statement, 5, probe->last_seen_ms);
    int r = statement_run(settings, statement);
    statement_end(settings, statement);
    return error_fold(r);
}

int settings_probe_each(Settings *settings, SettingsProbeEach *each, void *context) {
    sqlite3_stmt *statement = statement_begin(settings, PROBE_EACH);
    int r = statement_step(statement);
    while (r == 0) {
        SettingsProbe probe = {0};
        column_text(statement, 0, probe.key, sizeof(probe.key));
        column_text(statement, 1, probe.name, sizeof(probe.name));
        column_text(statement, 2, probe.interface, sizeof(probe.interface));
        probe.first_seen_ms = column_u64(statement, 3);
        probe.last_seen_ms = column_u64(statement, 4);
        if (each(&probe, context))
            break;
        r = statement_step(statement);
    }
    statement_end(settings, statement);
    return r == SETTINGS_E_MISSING ? 0 : error_trace(r);
}
