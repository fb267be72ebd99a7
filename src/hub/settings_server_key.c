/* SPDX-License-Identifier: Apache-2.0 */

#include "hub/settings-inside.h"

#include "base/error.h"

int settings_held_save(Settings *settings, const SettingsHeld *held, size_t n) {
    int r = settings_group_begin(settings);
    for (size_t i = 0; i < n && !r; i++) {
        settings_bind_text(settings->prepared[HELD_SAVE], 1, held[i].probe);
        settings_bind_text(settings->prepared[HELD_SAVE], 2, held[i].server_key);
        r = settings_do(settings, HELD_SAVE);
    }
    return error_trace(settings_group_end(settings, r));
}

int settings_held_each(Settings *settings, SettingsHeldEach *each, void *context) {
    sqlite3_stmt *statement = settings_begin(settings, HELD_EACH);
    int r = settings_step(statement);
    while (r == 0) {
        SettingsHeld held = {0};
        settings_column_text(statement, 0, held.probe, sizeof(held.probe));
        settings_column_text(statement, 1, held.server_key, sizeof(held.server_key));
        if (each(&held, context))
            break;
        r = settings_step(statement);
    }
    settings_end(settings, statement);
    return r == SETTINGS_E_MISSING ? 0 : error_trace(r);
}
