/* SPDX-License-Identifier: Apache-2.0 */

#include "hub/settings-inside.h"

#include "base/error.h"

/* probes */

static void bind_probe(sqlite3_stmt *statement, const SettingsProbe *probe) {
    settings_bind_text(statement, 1, probe->key);
    settings_bind_text(statement, 2, probe->name);
    settings_bind_text(statement, 3, probe->interface);
    settings_bind_u64(statement, 4, probe->first_seen_ms);
    settings_bind_u64(statement, 5, probe->last_seen_ms);
    settings_bind_text(statement, 6, probe->given_name);
    settings_bind_text(statement, 7, probe->probe_id);
    settings_bind_text(statement, 8, probe->site);
    settings_bind_text(statement, 9, probe->tenant);
    settings_bind_text(statement, 10, probe->state);
    settings_bind_text(statement, 11, probe->via);
    settings_bind_u64(statement, 12, probe->number);
    settings_bind_u64(statement, 13, probe->enrolled_ms);
    settings_bind_u64(statement, 14, probe->token);
    settings_bind_u64(statement, 15, probe->pinned);
    settings_bind_u64(statement, 16, probe->seat_ms);
}

static void read_probe(sqlite3_stmt *statement, SettingsProbe *probe) {
    settings_column_text(statement, 0, probe->key, sizeof(probe->key));
    settings_column_text(statement, 1, probe->name, sizeof(probe->name));
    settings_column_text(statement, 2, probe->interface, sizeof(probe->interface));
    probe->first_seen_ms = settings_column_u64(statement, 3);
    probe->last_seen_ms = settings_column_u64(statement, 4);
    settings_column_text(statement, 5, probe->given_name, sizeof(probe->given_name));
    settings_column_text(statement, 6, probe->probe_id, sizeof(probe->probe_id));
    settings_column_text(statement, 7, probe->site, sizeof(probe->site));
    settings_column_text(statement, 8, probe->tenant, sizeof(probe->tenant));
    settings_column_text(statement, 9, probe->state, sizeof(probe->state));
    settings_column_text(statement, 10, probe->via, sizeof(probe->via));
    probe->number = (uint32_t)settings_column_u64(statement, 11);
    probe->enrolled_ms = settings_column_u64(statement, 12);
    probe->token = settings_column_u64(statement, 13);
    probe->pinned = settings_column_u64(statement, 14) != 0;
    probe->seat_ms = settings_column_u64(statement, 15);
}

int settings_do(Settings *settings, Statement which) {
    sqlite3_stmt *statement = settings->prepared[which];
    const int r = settings_step(statement);
    (void)sqlite3_reset(statement);
    (void)sqlite3_clear_bindings(statement);
    return error_fold(r == SETTINGS_E_MISSING ? 0 : r);
}

int settings_group_begin(Settings *settings) {
    (void)pthread_mutex_lock(&settings->lock);
    return error_trace(settings_do(settings, BEGIN));
}

int settings_group_end(Settings *settings, int r) {
    if (!r)
        r = settings_do(settings, COMMIT);
    if (r && !sqlite3_get_autocommit(settings->db))
        (void)settings_do(settings, ROLLBACK);
    (void)pthread_mutex_unlock(&settings->lock);
    return error_trace(r);
}

int settings_probes_save(Settings *settings, const SettingsProbe *probes, size_t n,
                         const SettingsKey *gone, size_t n_gone) {
    int r = settings_group_begin(settings);
    for (size_t i = 0; i < n_gone && !r; i++) {
        settings_bind_text(settings->prepared[PROBE_REMOVE], 1, gone[i].text);
        r = settings_do(settings, PROBE_REMOVE);
    }
    for (size_t i = 0; i < n && !r; i++) {
        bind_probe(settings->prepared[PROBE_SAVE], &probes[i]);
        r = settings_do(settings, PROBE_SAVE);
    }
    return error_trace(settings_group_end(settings, r));
}

int settings_probe_each(Settings *settings, SettingsProbeEach *each, void *context) {
    sqlite3_stmt *statement = settings_begin(settings, PROBE_EACH);
    int r = settings_step(statement);
    while (r == 0) {
        SettingsProbe probe = {0};
        read_probe(statement, &probe);
        if (each(&probe, context))
            break;
        r = settings_step(statement);
    }
    settings_end(settings, statement);
    return r == SETTINGS_E_MISSING ? 0 : error_trace(r);
}

/* configuration */

int settings_configuration_save(Settings *settings, const SettingsConfiguration *row) {
    sqlite3_stmt *statement = settings_begin(settings, CONFIGURATION_SAVE);
    settings_bind_text(statement, 1, row->key);
    settings_bind_u64(statement, 2, row->version);
    settings_bind_text(statement, 3, row->settings);
    settings_bind_u64(statement, 4, row->changed_ms);
    settings_bind_text(statement, 5, row->changed_by);
    const int r = settings_run(settings, statement);
    settings_end(settings, statement);
    return error_fold(r);
}

int settings_configuration_remove(Settings *settings, const char *key) {
    sqlite3_stmt *statement = settings_begin(settings, CONFIGURATION_REMOVE);
    settings_bind_text(statement, 1, key);
    const int r = settings_run(settings, statement);
    settings_end(settings, statement);
    return r == SETTINGS_E_MISSING ? 0 : error_trace(r);
}

int settings_configuration_each(Settings *settings, SettingsConfigurationEach *each,
                                void *context) {
    sqlite3_stmt *statement = settings_begin(settings, CONFIGURATION_EACH);
    int r = settings_step(statement);
    while (r == 0) {
        SettingsConfiguration row = {.version = settings_column_u64(statement, 1),
                                     .changed_ms = settings_column_u64(statement, 3)};
        settings_column_text(statement, 0, row.key, sizeof(row.key));
        settings_column_text(statement, 2, row.settings, sizeof(row.settings));
        settings_column_text(statement, 4, row.changed_by, sizeof(row.changed_by));
        if (each(&row, context))
            break;
        r = settings_step(statement);
    }
    settings_end(settings, statement);
    return r == SETTINGS_E_MISSING ? 0 : error_trace(r);
}

/* tokens */

static void read_token(sqlite3_stmt *statement, SettingsToken *token) {
    token->id = settings_column_u64(statement, 0);
    settings_column_text(statement, 1, token->note, sizeof(token->note));
    settings_column_text(statement, 2, token->site, sizeof(token->site));
    settings_column_text(statement, 3, token->tenant, sizeof(token->tenant));
    token->uses_max = settings_column_u64(statement, 4);
    token->created_ms = settings_column_u64(statement, 5);
    settings_column_text(statement, 6, token->created_by, sizeof(token->created_by));
    token->expires_ms = settings_column_u64(statement, 7);
    token->uses = settings_column_u64(statement, 8);
}

int settings_token_add(Settings *settings, const uint8_t hash[SETTINGS_HASH_BYTES],
                       const SettingsToken *token, uint64_t *idp) {
    sqlite3_stmt *statement = settings_begin(settings, TOKEN_ADD);
    settings_bind_hash(statement, 1, hash);
    settings_bind_text(statement, 2, token->note);
    settings_bind_text(statement, 3, token->site);
    settings_bind_text(statement, 4, token->tenant);
    settings_bind_u64(statement, 5, token->uses_max);
    settings_bind_u64(statement, 6, token->created_ms);
    settings_bind_text(statement, 7, token->created_by);
    settings_bind_u64(statement, 8, token->expires_ms);
    int r = settings_run(settings, statement);
    if (r == 0)
        *idp = (uint64_t)sqlite3_last_insert_rowid(settings->db);
    settings_end(settings, statement);
    return error_fold(r);
}

int settings_token_find(Settings *settings, const uint8_t hash[SETTINGS_HASH_BYTES],
                        SettingsToken *token) {
    sqlite3_stmt *statement = settings_begin(settings, TOKEN_FIND);
    settings_bind_hash(statement, 1, hash);
    int r = settings_step(statement);
    if (r == 0)
        read_token(statement, token);
    settings_end(settings, statement);
    return error_trace(r);
}

int settings_token_used(Settings *settings, uint64_t id, const char *key) {
    sqlite3_stmt *statement = settings_begin(settings, TOKEN_USED);
    settings_bind_u64(statement, 1, id);
    settings_bind_text(statement, 2, key);
    int r = settings_step(statement);
    settings_end(settings, statement);
    return error_trace(r);
}

int settings_token_use(Settings *settings, uint64_t id, const char *key, uint64_t now_ms) {
    sqlite3_stmt *statement = settings_begin(settings, TOKEN_USE);
    settings_bind_u64(statement, 1, id);
    settings_bind_text(statement, 2, key);
    settings_bind_u64(statement, 3, now_ms);
    int r = settings_run(settings, statement);
    settings_end(settings, statement);
    return error_trace(r);
}

int settings_token_remove(Settings *settings, uint64_t id) {
    sqlite3_stmt *statement = settings_begin(settings, TOKEN_REMOVE);
    settings_bind_u64(statement, 1, id);
    int r = settings_run(settings, statement);
    settings_end(settings, statement);
    return error_trace(r);
}

int settings_token_each(Settings *settings, SettingsTokenEach *each, void *context) {
    sqlite3_stmt *statement = settings_begin(settings, TOKEN_EACH);
    int r = settings_step(statement);
    while (r == 0) {
        SettingsToken token = {0};
        read_token(statement, &token);
        if (each(&token, context))
            break;
        r = settings_step(statement);
    }
    settings_end(settings, statement);
    return r == SETTINGS_E_MISSING ? 0 : error_trace(r);
}
