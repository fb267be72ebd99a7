#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Settings, inside
 *
 * What settings.c (the file, users, sessions, names), settings_probes.c (probes, join tokens) and
 * settings_server_key.c share: one statement at a time, from settings_begin() to settings_end().
 */

#include <pthread.h>
#include <stdint.h>
#include <stdio.h>

#include <sqlite3.h>

#include "hub/settings.h"

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
    PROBE_SAVE,
    PROBE_REMOVE,
    PROBE_EACH,
    CONFIGURATION_SAVE,
    CONFIGURATION_REMOVE,
    CONFIGURATION_EACH,
    TOKEN_ADD,
    TOKEN_EACH,
    TOKEN_FIND,
    TOKEN_USED,
    TOKEN_USE,
    TOKEN_REMOVE,
    HELD_SAVE,
    HELD_EACH,
    BEGIN,
    COMMIT,
    ROLLBACK,
    _STATEMENT_N,
} Statement;

struct Settings {
    pthread_mutex_t lock;
    sqlite3 *db;
    sqlite3_stmt *prepared[_STATEMENT_N];
};

sqlite3_stmt *settings_begin(Settings *settings, Statement which);
void settings_end(Settings *settings, sqlite3_stmt *statement);

/** settings_step() - 0 a row, SETTINGS_E_MISSING no more */
int settings_step(sqlite3_stmt *statement);

/** settings_run() - of those that give no rows: 0, or SETTINGS_E_MISSING when nothing changed */
int settings_run(Settings *settings, sqlite3_stmt *statement);

/* several in one transaction, in settings_probes.c */

/** settings_group_begin() - takes the lock, whatever the answer; settings_group_end() gives it back
 */
int settings_group_begin(Settings *settings);

/** settings_do() - one of them */
int settings_do(Settings *settings, Statement which);

/** settings_group_end() - keeps what was done if r is 0, else undoes it; returns r, or why it could
 * not be kept */
int settings_group_end(Settings *settings, int r);

/* texts and blobs outlive the step, so nothing is copied; a failed bind makes the step fail */

static inline void settings_bind_text(sqlite3_stmt *statement, int at, const char *text) {
    (void)sqlite3_bind_text(statement, at, text, -1, SQLITE_STATIC);
}

static inline void settings_bind_u64(sqlite3_stmt *statement, int at, uint64_t v) {
    (void)sqlite3_bind_int64(statement, at, (sqlite3_int64)v);
}

static inline void settings_bind_hash(sqlite3_stmt *statement, int at, const uint8_t *hash) {
    (void)sqlite3_bind_blob(statement, at, hash, SETTINGS_HASH_BYTES, SQLITE_STATIC);
}

static inline void settings_column_text(sqlite3_stmt *statement, int at, char *text, size_t size) {
    const unsigned char *value = sqlite3_column_text(statement, at);
    (void)snprintf(text, size, "%s", value ? (const char *)value : "");
}

static inline uint64_t settings_column_u64(sqlite3_stmt *statement, int at) {
    return (uint64_t)sqlite3_column_int64(statement, at);
}
