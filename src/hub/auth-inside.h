#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Auth, inside
 *
 * What auth.c (guard and sessions) and auth-login.c (passwords and the set-up) share.
 */

#include <pthread.h>
#include <stdatomic.h>

#include <sodium.h>

#include "base/clock.h"
#include "hub/auth-limit.h"
#include "hub/auth.h"
#include "hub/settings.h"

enum {
    AUTH_SECOND_MS = 1000,
    AUTH_TOKEN_BYTES = 32,
    AUTH_TOKEN_TEXT = AUTH_TOKEN_BYTES * 2, /* in hexadecimal */
    AUTH_NAMES_MAX = 16,
};

struct Auth {
    Settings *settings;
    AuthConfig config;
    char *names[AUTH_NAMES_MAX];
    char link_path[4096];
    char nobody_hash[crypto_pwhash_STRBYTES]; /* checked when there is no such user */
    MetricValue metrics[_AUTH_METRIC_N];

    pthread_mutex_t lock; /* what stands below */
    pthread_cond_t hashing_done;
    unsigned hashing, waiting;
    AuthLimit *limit;
};

static inline Auth *auth_of(void *context) {
    return ((HubAuthContext *)context)->auth;
}

static inline uint64_t auth_now_ms(const Auth *auth) {
    return auth->config.clock_ms ? auth->config.clock_ms() : clock_wall_ms();
}

static inline void auth_count(Auth *auth, size_t metric) {
    atomic_fetch_add_explicit(&auth->metrics[metric], 1, memory_order_relaxed);
}

/* tokens: what is stored is the hash, so that the settings file alone opens no session */
void auth_token_make(char text[AUTH_TOKEN_TEXT + 1]);
void auth_token_hash(const char *text, uint8_t hash[SETTINGS_HASH_BYTES]);

/** auth_same_text() - in a time that does not tell where they differ */
bool auth_same_text(const char *a, const char *b);

/** auth_open_session() - the answer of a login: cookie and session */
int auth_open_session(Auth *auth, const HttpRequest *request, HttpResponse *response,
                      const SettingsUser *user);

/** auth_login_disabled() - the answer where there is nothing to log in to; 0 */
int auth_login_disabled(HttpResponse *response);
