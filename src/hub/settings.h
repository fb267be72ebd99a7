#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Settings
 *
 * The hub's small durable facts, in <data-dir>/weir.sqlite: users, sessions, the setup link, named
 * settings, and the probes that were seen. Takes no part in delivery. Any thread may call; calls
 * are short and one at a time. Times are passed in, in milliseconds since 1970.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/reason.h"
#include "http/message.h"

enum {
    SETTINGS_NAME_MAX = 64,
    SETTINGS_HASH_BYTES = 32, /* of tokens */
    SETTINGS_PASSWORD_HASH_MAX = 128,
};

typedef struct Settings Settings;

enum {
    _SETTINGS_E_SUCCESS,
    SETTINGS_E_REFUSED, /* cannot be opened, or written by a newer version: the reason says it */
    SETTINGS_E_MISSING, /* no such row */
    SETTINGS_E_EXISTS,
};

int settings_new(Settings **settingsp, const char *data_dir, Reason *reason);
Settings *settings_free(Settings *settings);

/* users */

typedef struct SettingsUser {
    char name[SETTINGS_NAME_MAX + 1];
    char password_hash[SETTINGS_PASSWORD_HASH_MAX +
                       1]; /* argon2id, as crypto_pwhash_str writes it */
    HttpAccess role;
} SettingsUser;

int settings_user_count(Settings *settings, uint64_t *np);
int settings_user_get(Settings *settings, const char *name, SettingsUser *user);
int settings_user_add(Settings *settings, const SettingsUser *user, uint64_t now_ms);

/** settings_first_user_add() - only while there is no user, else SETTINGS_E_EXISTS */
int settings_first_user_add(Settings *settings, const SettingsUser *user, uint64_t now_ms);

/* sessions, known by the hash of their token */

typedef struct SettingsSession {
    char user[SETTINGS_NAME_MAX + 1];
    HttpAccess role; /* the user's, now */
    uint64_t created_ms;
    uint64_t used_ms;
    uint64_t expires_ms;
} SettingsSession;

int settings_session_add(Settings *settings, const uint8_t hash[SETTINGS_HASH_BYTES],
                         const SettingsSession *session);
int settings_session_get(Settings *settings, const uint8_t hash[SETTINGS_HASH_BYTES],
                         SettingsSession *session);
int settings_session_touch(Settings *settings, const uint8_t hash[SETTINGS_HASH_BYTES],
                           uint64_t now_ms);
int settings_session_remove(Settings *settings, const uint8_t hash[SETTINGS_HASH_BYTES]);

/** settings_session_expire() - remove those past their end, or not used since `unused_since_ms` */
int settings_session_expire(Settings *settings, uint64_t now_ms, uint64_t unused_since_ms);

/* named settings: short texts */

int settings_get(Settings *settings, const char *key, Buffer *value); /* appended */
int settings_set(Settings *settings, const char *key, const char *value);
int settings_unset(Settings *settings, const char *key); /* missing is fine */

/* probes, known by their public key (Z85 text) */

typedef struct SettingsProbe {
    char key[41];
    char name[256];
    char interface[256]; /* the hub's endpoint it came in by */
    uint64_t first_seen_ms;
    uint64_t last_seen_ms;
} SettingsProbe;

/** settings_probe_seen() - add or update; first_seen_ms is kept, an empty name does not replace one
 */
int settings_probe_seen(Settings *settings, const SettingsProbe *probe);

/* not 0 ends the walk; must not call this module */
typedef int SettingsProbeEach(const SettingsProbe *probe, void *context);
int settings_probe_each(Settings *settings, SettingsProbeEach *each, void *context);

DEFINE_CLEANUP(Settings *, settings_free)
