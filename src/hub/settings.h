#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Settings
 *
 * The hub's small durable facts, in <data-dir>/weir.sqlite: users, sessions, the setup link, named
 * settings, the probes that were seen with what was decided of them, and join tokens. Takes no part
 * in delivery. Any thread may call; calls are short and one at a time. Times are passed in, in
 * milliseconds since 1970.
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

/* probes, known by their public key (Z85 text): the registry of who may deliver */

enum { SETTINGS_LABEL_MAX = 64 }; /* bytes of a site's or tenant's name */

typedef struct SettingsProbe {
    char key[41];
    char name[256];      /* as the probe says */
    char interface[256]; /* the hub's endpoint it came in by */
    uint64_t first_seen_ms;
    uint64_t last_seen_ms;
    char given_name[256]; /* by an administrator, or "" */
    char probe_id[256];
    char site[SETTINGS_LABEL_MAX + 1];
    char tenant[SETTINGS_LABEL_MAX + 1];
    char state[16]; /* "admitted", "pending", "revoked" */
    char via[16];   /* "open", "token", "approve" */
    uint32_t number;
    uint64_t enrolled_ms;
    uint64_t token; /* the token's id, or 0 */
    bool pinned;
    uint64_t seat_ms; /* it has a seat since then; 0: none */
} SettingsProbe;

typedef struct SettingsKey {
    char text[41];
} SettingsKey;

/**
 * settings_probes_save() - remove those of `gone`, then add or update all of `probes`, in one
 * transaction. first_seen_ms of a row that is there is kept
 */
int settings_probes_save(Settings *settings, const SettingsProbe *probes, size_t n,
                         const SettingsKey *gone, size_t n_gone);

/* not 0 ends the walk; must not call this module */
typedef int SettingsProbeEach(const SettingsProbe *probe, void *context);
int settings_probe_each(Settings *settings, SettingsProbeEach *each, void *context);

/* what probes are to be set to, known by their key; "" all of them */

enum { SETTINGS_CONFIGURATION_MAX = 2048 };

typedef struct SettingsConfiguration {
    char key[41];
    uint64_t version;
    char settings[SETTINGS_CONFIGURATION_MAX]; /* JSON, channel/configuration.h */
    uint64_t changed_ms;
    char changed_by[SETTINGS_NAME_MAX + 1];
} SettingsConfiguration;

int settings_configuration_save(Settings *settings, const SettingsConfiguration *row);
int settings_configuration_remove(Settings *settings, const char *key); /* missing is fine */

typedef int SettingsConfigurationEach(const SettingsConfiguration *row, void *context);
int settings_configuration_each(Settings *settings, SettingsConfigurationEach *each, void *context);
/* which server key a probe has confirmed last (server_key.h); both as Z85 text */

typedef struct SettingsHeld {
    char probe[41];
    char server_key[41];
} SettingsHeld;

/** settings_held_save() - all of them, in one transaction */
int settings_held_save(Settings *settings, const SettingsHeld *held, size_t n);
typedef int SettingsHeldEach(const SettingsHeld *held, void *context);
int settings_held_each(Settings *settings, SettingsHeldEach *each, void *context);

/* join tokens, known by the hash of their text */

typedef struct SettingsToken {
    uint64_t id;
    char note[SETTINGS_LABEL_MAX + 1];
    char site[SETTINGS_LABEL_MAX + 1];
    char tenant[SETTINGS_LABEL_MAX + 1];
    uint64_t uses_max; /* 0: any number */
    uint64_t uses;     /* keys that used it */
    uint64_t created_ms;
    char created_by[SETTINGS_NAME_MAX + 1];
    uint64_t expires_ms; /* 0: never */
} SettingsToken;

int settings_token_add(Settings *settings, const uint8_t hash[SETTINGS_HASH_BYTES],
                       const SettingsToken *token, uint64_t *idp);
int settings_token_find(Settings *settings, const uint8_t hash[SETTINGS_HASH_BYTES],
                        SettingsToken *token);

/** settings_token_used() - 0: by this key; SETTINGS_E_MISSING */
int settings_token_used(Settings *settings, uint64_t id, const char *key);

/** settings_token_use() - once for each key. SETTINGS_E_MISSING: used up, gone, or used by it
 * before */
int settings_token_use(Settings *settings, uint64_t id, const char *key, uint64_t now_ms);
int settings_token_remove(Settings *settings, uint64_t id);

typedef int SettingsTokenEach(const SettingsToken *token, void *context);
int settings_token_each(Settings *settings, SettingsTokenEach *each, void *context);

DEFINE_CLEANUP(Settings *, settings_free)
