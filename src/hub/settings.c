/* SPDX-License-Identifier: Apache-2.0 */

#include "hub/settings-inside.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

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
    /* whoever was there before had been let in */
    "ALTER TABLE probe ADD COLUMN given_name TEXT NOT NULL DEFAULT '';"
    "ALTER TABLE probe ADD COLUMN probe_id TEXT NOT NULL DEFAULT '';"
    "ALTER TABLE probe ADD COLUMN site TEXT NOT NULL DEFAULT 'default';"
    "ALTER TABLE probe ADD COLUMN tenant TEXT NOT NULL DEFAULT 'default';"
    "ALTER TABLE probe ADD COLUMN state TEXT NOT NULL DEFAULT 'admitted'"
    "  CHECK (state IN ('pending', 'admitted', 'revoked'));"
    "ALTER TABLE probe ADD COLUMN via TEXT NOT NULL DEFAULT 'open'"
    "  CHECK (via IN ('open', 'token', 'approve'));"
    "ALTER TABLE probe ADD COLUMN number INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE probe ADD COLUMN enrolled_ms INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE probe ADD COLUMN token INTEGER NOT NULL DEFAULT 0;"
    "UPDATE probe SET enrolled_ms = first_seen_ms;"
    "CREATE TABLE token ("
    "  id INTEGER PRIMARY KEY AUTOINCREMENT,"
    "  hash BLOB NOT NULL UNIQUE,"
    "  note TEXT NOT NULL,"
    "  site TEXT NOT NULL,"
    "  tenant TEXT NOT NULL,"
    "  uses_max INTEGER NOT NULL," /* 0: any number */
    "  created_ms INTEGER NOT NULL,"
    "  created_by TEXT NOT NULL,"
    "  expires_ms INTEGER NOT NULL) STRICT;" /* 0: never */
    "CREATE TABLE token_use ("
    "  token INTEGER NOT NULL REFERENCES token (id) ON DELETE CASCADE,"
    "  key TEXT NOT NULL,"
    "  used_ms INTEGER NOT NULL,"
    "  PRIMARY KEY (token, key)) STRICT, WITHOUT ROWID;",
    "CREATE TABLE configuration ("
    "  key TEXT NOT NULL PRIMARY KEY," /* of a probe; '': all of them */
    "  version INTEGER NOT NULL,"
    "  settings TEXT NOT NULL,"
    "  changed_ms INTEGER NOT NULL,"
    "  changed_by TEXT NOT NULL) STRICT, WITHOUT ROWID;",
    "CREATE TABLE held_key ("
    "  probe TEXT NOT NULL PRIMARY KEY,"
    "  server_key TEXT NOT NULL) STRICT, WITHOUT ROWID;",
    "ALTER TABLE probe ADD COLUMN pinned INTEGER NOT NULL DEFAULT 0 CHECK (pinned IN (0, 1));"
    "ALTER TABLE probe ADD COLUMN seat_ms INTEGER NOT NULL DEFAULT 0;",
};
enum { VERSION = sizeof(migrations) / sizeof(migrations[0]) };

#define TOKEN_COLUMNS                                                                              \
    "id, note, site, tenant, uses_max, created_ms, created_by, expires_ms,"                        \
    " (SELECT count(*) FROM token_use WHERE token = id)"

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
    [PROBE_SAVE] =
        "INSERT INTO probe (key, name, interface, first_seen_ms, last_seen_ms, given_name,"
        " probe_id, site, tenant, state, via, number, enrolled_ms, token,"
        " pinned, seat_ms)"
        " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)"
        " ON CONFLICT (key) DO UPDATE SET name = excluded.name, interface = excluded.interface,"
        " last_seen_ms = max(last_seen_ms, excluded.last_seen_ms),"
        " given_name = excluded.given_name, probe_id = excluded.probe_id, site = excluded.site,"
        " tenant = excluded.tenant, state = excluded.state, via = excluded.via,"
        " number = excluded.number, enrolled_ms = excluded.enrolled_ms, token = excluded.token,"
        " pinned = excluded.pinned, seat_ms = excluded.seat_ms",
    [PROBE_REMOVE] = "DELETE FROM probe WHERE key = ?1",
    [PROBE_EACH] =
        "SELECT key, name, interface, first_seen_ms, last_seen_ms, given_name, probe_id,"
        " site, tenant, state, via, number, enrolled_ms, token, pinned, seat_ms FROM probe"
        " ORDER BY first_seen_ms, key",
    [CONFIGURATION_SAVE] =
        "INSERT INTO configuration (key, version, settings, changed_ms, changed_by)"
        " VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (key) DO UPDATE SET version = excluded.version,"
        " settings = excluded.settings, changed_ms = excluded.changed_ms,"
        " changed_by = excluded.changed_by",
    [CONFIGURATION_REMOVE] = "DELETE FROM configuration WHERE key = ?1",
    [CONFIGURATION_EACH] = "SELECT key, version, settings, changed_ms, changed_by"
                           " FROM configuration ORDER BY key",
    [TOKEN_ADD] = "INSERT INTO token (hash, note, site, tenant, uses_max, created_ms, created_by,"
                  " expires_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    [TOKEN_EACH] = "SELECT " TOKEN_COLUMNS " FROM token ORDER BY id",
    [TOKEN_FIND] = "SELECT " TOKEN_COLUMNS " FROM token WHERE hash = ?1",
    [TOKEN_USED] = "SELECT 1 FROM token_use WHERE token = ?1 AND key = ?2",
    [TOKEN_USE] = "INSERT INTO token_use (token, key, used_ms)"
                  " SELECT id, ?2, ?3 FROM token WHERE id = ?1 AND (uses_max = 0 OR"
                  " uses_max > (SELECT count(*) FROM token_use WHERE token = ?1))"
                  " ON CONFLICT DO NOTHING",
    [TOKEN_REMOVE] = "DELETE FROM token WHERE id = ?1",
    [HELD_SAVE] = "INSERT INTO held_key (probe, server_key) VALUES (?1, ?2)"
                  " ON CONFLICT (probe) DO UPDATE SET server_key = excluded.server_key",
    [HELD_EACH] = "SELECT probe, server_key FROM held_key",
    [BEGIN] = "BEGIN IMMEDIATE",
    [COMMIT] = "COMMIT",
    [ROLLBACK] = "ROLLBACK",
};

/* opening */

/** is_full() - SQLite says so of the file itself, and of what it keeps beside it "I/O error" */
static bool is_full(sqlite3 *db) {
    const int code = sqlite3_errcode(db) & 0xff;
    return code == SQLITE_FULL || (code == SQLITE_IOERR && sqlite3_system_errno(db) == ENOSPC);
}

static int refuse(sqlite3 *db, const char *path, Reason *reason) {
    reason_set(reason, "cannot use the settings file %s: %s", path,
               !db           ? "out of memory"
               : is_full(db) ? "no space is left on the disk"
                             : sqlite3_errmsg(db));
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

sqlite3_stmt *settings_begin(Settings *settings, Statement which) {
    (void)pthread_mutex_lock(&settings->lock);
    return settings->prepared[which];
}

void settings_end(Settings *settings, sqlite3_stmt *statement) {
    (void)sqlite3_reset(statement);
    (void)sqlite3_clear_bindings(statement);
    (void)pthread_mutex_unlock(&settings->lock);
}

/** settings_step() - 0 a row, SETTINGS_E_MISSING no more */
int settings_step(sqlite3_stmt *statement) {
    switch (sqlite3_step(statement)) {
    case SQLITE_ROW:
        return 0;
    case SQLITE_DONE:
        return SETTINGS_E_MISSING;
    case SQLITE_NOMEM:
        return error_origin(-ENOMEM);
    default:
        return error_origin(is_full(sqlite3_db_handle(statement)) ? -ENOSPC : -EIO);
    }
}

/** settings_run() - of those that give no rows: 0, or SETTINGS_E_MISSING when nothing changed */
int settings_run(Settings *settings, sqlite3_stmt *statement) {
    int r = settings_step(statement);
    if (r < 0)
        return error_trace(r);
    return sqlite3_changes(settings->db) ? 0 : SETTINGS_E_MISSING;
}

static HttpAccess column_role(sqlite3_stmt *statement, int at) {
    char name[16];
    settings_column_text(statement, at, name, sizeof(name));
    for (int role = HTTP_VIEWER; role < _HTTP_ACCESS_N; role++)
        if (strcmp(http_access_names[role], name) == 0)
            return (HttpAccess)role;
    return HTTP_PUBLIC;
}

/* users */

int settings_user_count(Settings *settings, uint64_t *np) {
    sqlite3_stmt *statement = settings_begin(settings, USER_COUNT);
    int r = settings_step(statement);
    if (r == 0)
        *np = settings_column_u64(statement, 0);
    settings_end(settings, statement);
    return error_fold(r);
}

int settings_user_get(Settings *settings, const char *name, SettingsUser *user) {
    sqlite3_stmt *statement = settings_begin(settings, USER_GET);
    settings_bind_text(statement, 1, name);
    int r = settings_step(statement);
    if (r == 0) {
        settings_column_text(statement, 0, user->name, sizeof(user->name));
        settings_column_text(statement, 1, user->password_hash, sizeof(user->password_hash));
        user->role = column_role(statement, 2);
    }
    settings_end(settings, statement);
    return error_trace(r);
}

static int user_add(Settings *settings, Statement which, const SettingsUser *user,
                    uint64_t now_ms) {
    sqlite3_stmt *statement = settings_begin(settings, which);
    settings_bind_text(statement, 1, user->name);
    settings_bind_text(statement, 2, user->password_hash);
    settings_bind_text(statement, 3, http_access_names[user->role]);
    settings_bind_u64(statement, 4, now_ms);
    int r = settings_run(settings, statement);
    settings_end(settings, statement);
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
    sqlite3_stmt *statement = settings_begin(settings, SESSION_ADD);
    settings_bind_hash(statement, 1, hash);
    settings_bind_text(statement, 2, session->user);
    settings_bind_u64(statement, 3, session->created_ms);
    settings_bind_u64(statement, 4, session->used_ms);
    settings_bind_u64(statement, 5, session->expires_ms);
    int r = settings_run(settings, statement);
    settings_end(settings, statement);
    return error_trace(r);
}

int settings_session_get(Settings *settings, const uint8_t hash[SETTINGS_HASH_BYTES],
                         SettingsSession *session) {
    sqlite3_stmt *statement = settings_begin(settings, SESSION_GET);
    settings_bind_hash(statement, 1, hash);
    int r = settings_step(statement);
    if (r == 0) {
        settings_column_text(statement, 0, session->user, sizeof(session->user));
        session->role = column_role(statement, 1);
        session->created_ms = settings_column_u64(statement, 2);
        session->used_ms = settings_column_u64(statement, 3);
        session->expires_ms = settings_column_u64(statement, 4);
    }
    settings_end(settings, statement);
    return error_trace(r);
}

int settings_session_touch(Settings *settings, const uint8_t hash[SETTINGS_HASH_BYTES],
                           uint64_t now_ms) {
    sqlite3_stmt *statement = settings_begin(settings, SESSION_TOUCH);
    settings_bind_hash(statement, 1, hash);
    settings_bind_u64(statement, 2, now_ms);
    int r = settings_run(settings, statement);
    settings_end(settings, statement);
    return error_trace(r);
}

int settings_session_remove(Settings *settings, const uint8_t hash[SETTINGS_HASH_BYTES]) {
    sqlite3_stmt *statement = settings_begin(settings, SESSION_REMOVE);
    settings_bind_hash(statement, 1, hash);
    int r = settings_run(settings, statement);
    settings_end(settings, statement);
    return error_trace(r);
}

int settings_session_expire(Settings *settings, uint64_t now_ms, uint64_t unused_since_ms) {
    sqlite3_stmt *statement = settings_begin(settings, SESSION_EXPIRE);
    settings_bind_u64(statement, 1, now_ms);
    settings_bind_u64(statement, 2, unused_since_ms);
    int r = settings_run(settings, statement);
    settings_end(settings, statement);
    return r == SETTINGS_E_MISSING ? 0 : error_trace(r);
}

/* named settings */

int settings_get(Settings *settings, const char *key, Buffer *value) {
    sqlite3_stmt *statement = settings_begin(settings, SETTING_GET);
    settings_bind_text(statement, 1, key);
    int r = settings_step(statement);
    const unsigned char *text = r == 0 ? sqlite3_column_text(statement, 0) : NULL;
    if (text)
        buffer_put_text(value, (const char *)text);
    settings_end(settings, statement);
    return error_trace(r);
}

int settings_set(Settings *settings, const char *key, const char *value) {
    sqlite3_stmt *statement = settings_begin(settings, SETTING_SET);
    settings_bind_text(statement, 1, key);
    settings_bind_text(statement, 2, value);
    int r = settings_run(settings, statement);
    settings_end(settings, statement);
    return error_fold(r);
}

int settings_unset(Settings *settings, const char *key) {
    sqlite3_stmt *statement = settings_begin(settings, SETTING_UNSET);
    settings_bind_text(statement, 1, key);
    int r = settings_run(settings, statement);
    settings_end(settings, statement);
    return r == SETTINGS_E_MISSING ? 0 : error_trace(r);
}
