/* SPDX-License-Identifier: Apache-2.0 */

#include "hub/auth.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <sodium.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/json.h"
#include "base/log.h"
#include "http/router.h"
#include "hub/auth-inside.h"
#include "hub/auth-origin.h"
#include "hub/settings.h"

enum { TOUCH_MS = 60 * AUTH_SECOND_MS }; /* how exact "last used" is */
static const uint64_t idle_timeout_ms = (uint64_t)12 * 3600 * AUTH_SECOND_MS;
static const uint64_t absolute_timeout_ms = (uint64_t)30 * 86400 * AUTH_SECOND_MS;

static const char local_user[] = "local"; /* whoever asks while login is disabled */

const MetricRow auth_metric_rows[_AUTH_METRIC_N] = {
    [AUTH_METRIC_LOGINS] = {"weir_hub_logins", NULL, METRIC_COUNTER, "logins", "Sessions opened."},
    [AUTH_METRIC_LOGINS_FAILED] = {"weir_hub_logins_failed", NULL, METRIC_COUNTER, "logins",
                                   "Logins and set-ups with a wrong name, password or link."},
    [AUTH_METRIC_LOGINS_LIMITED] = {"weir_hub_logins_limited", NULL, METRIC_COUNTER, "logins",
                                    "Logins and set-ups refused because there were too many."},
    [AUTH_METRIC_REQUESTS_DENIED] = {"weir_hub_requests_denied", NULL, METRIC_COUNTER, "requests",
                                     "Requests refused for want of a session, a role, a known "
                                     "host name or a CSRF token."},
};

const MetricValue *auth_metrics(const Auth *auth) {
    return auth->metrics;
}

/* making and ending */

static int copy_names(Auth *auth, const AuthConfig *config) {
    if (config->n_host_names > AUTH_NAMES_MAX)
        return error_origin(-E2BIG);
    for (size_t i = 0; i < config->n_host_names; i++) {
        auth->names[i] = strdup(config->host_names[i]);
        if (!auth->names[i])
            return error_origin(-ENOMEM);
    }
    return 0;
}

int auth_new(Auth **authp, Settings *settings, const AuthConfig *config, Reason *reason) {
    if (sodium_init() < 0)
        return error_origin(-ENOSYS);
    cleanup(auth_freep) Auth *auth = calloc(1, sizeof(*auth));
    if (!auth)
        return error_origin(-ENOMEM);
    (void)pthread_mutex_init(&auth->lock, NULL);
    (void)pthread_cond_init(&auth->hashing_done, NULL);
    auth->settings = settings;
    auth->config = *config;
    auth->config.data_dir = NULL; /* not ours to keep; neither are the names */
    auth->config.host_names = NULL;
    if (!auth->config.idle_timeout_ms)
        auth->config.idle_timeout_ms = idle_timeout_ms;
    if (!auth->config.absolute_timeout_ms)
        auth->config.absolute_timeout_ms = absolute_timeout_ms;
    int n = snprintf(auth->link_path, sizeof(auth->link_path), "%s/setup-link", config->data_dir);
    if (n < 0 || (size_t)n >= sizeof(auth->link_path))
        return error_origin(-ENAMETOOLONG);
    int r = copy_names(auth, config);
    uint64_t seed = 0;
    randombytes_buf(&seed, sizeof(seed));
    if (r == 0)
        r = auth_limit_new(&auth->limit, seed);
    if (r < 0)
        return error_trace(r);
    char unknown[AUTH_TOKEN_BYTES];
    randombytes_buf(unknown, sizeof(unknown));
    if (crypto_pwhash_str(auth->nobody_hash, unknown, sizeof(unknown),
                          crypto_pwhash_OPSLIMIT_INTERACTIVE,
                          crypto_pwhash_MEMLIMIT_INTERACTIVE) != 0) {
        reason_set(reason, "not enough memory to check passwords (64 MiB)");
        return error_origin(-ENOMEM);
    }
    *authp = auth;
    auth = NULL;
    return 0;
}

Auth *auth_free(Auth *auth) {
    if (!auth)
        return NULL;
    auth->limit = auth_limit_free(auth->limit);
    for (size_t i = 0; i < AUTH_NAMES_MAX; i++)
        free(auth->names[i]);
    (void)pthread_cond_destroy(&auth->hashing_done);
    (void)pthread_mutex_destroy(&auth->lock);
    free(auth);
    return NULL;
}

/* tokens */

void auth_token_make(char text[AUTH_TOKEN_TEXT + 1]) {
    uint8_t bytes[AUTH_TOKEN_BYTES];
    randombytes_buf(bytes, sizeof(bytes));
    (void)sodium_bin2hex(text, AUTH_TOKEN_TEXT + 1, bytes, sizeof(bytes));
    sodium_memzero(bytes, sizeof(bytes));
}

/** auth_token_hash() - what is stored, so that the file alone opens no session */
void auth_token_hash(const char *text, uint8_t hash[SETTINGS_HASH_BYTES]) {
    (void)crypto_generichash(hash, SETTINGS_HASH_BYTES, (const uint8_t *)text, strlen(text), NULL,
                             0);
}

/** token_csrf() - follows from the session's token, so it needs no place of its own */
static void token_csrf(const char *text, char csrf[AUTH_TOKEN_TEXT + 1]) {
    static const char purpose[] = "weir csrf";
    uint8_t bytes[AUTH_TOKEN_BYTES];
    (void)crypto_generichash(bytes, sizeof(bytes), (const uint8_t *)purpose, sizeof(purpose) - 1,
                             (const uint8_t *)text, AUTH_TOKEN_TEXT);
    (void)sodium_bin2hex(csrf, AUTH_TOKEN_TEXT + 1, bytes, sizeof(bytes));
}

bool auth_same_text(const char *a, const char *b) {
    size_t size = strlen(a);
    return size == strlen(b) && sodium_memcmp(a, b, size) == 0;
}

static const char *cookie_name(const HttpRequest *request) {
    return request->tls ? "__Host-weir" : "weir";
}

static const char *request_token(const HttpRequest *request) {
    const char *token = http_cookie(request, cookie_name(request));
    return token && strlen(token) == AUTH_TOKEN_TEXT ? token : NULL;
}

/** set_cookie() - an empty token makes the browser forget it */
static void set_cookie(const HttpRequest *request, HttpResponse *response, const char *token,
                       uint64_t age_s) {
    char text[256];
    (void)snprintf(text, sizeof(text), "%s=%s; Path=/; Max-Age=%llu; HttpOnly; SameSite=Strict%s",
                   cookie_name(request), token, (unsigned long long)age_s,
                   request->tls ? "; Secure" : "");
    http_response_header(response, "Set-Cookie", text);
}

/* the guard */

__attribute__((format(printf, 5, 6))) static int
deny(Auth *auth, HttpResponse *response, int status, const char *code, const char *format, ...) {
    Reason reason;
    va_list ap;
    va_start(ap, format);
    (void)vsnprintf(reason.text, sizeof(reason.text), format, ap);
    va_end(ap);
    http_response_error(response, status, code, "%s", reason.text);
    auth_count(auth, AUTH_METRIC_REQUESTS_DENIED);
    return HTTP_E_ANSWERED;
}

static int check_place(Auth *auth, const HttpRequest *request, HttpResponse *response) {
    const char *host = http_header(request, "Host");
    if (!auth_host_known(host, (const char *const *)auth->names, auth->config.n_host_names))
        return deny(auth, response, 403, "unknown_host",
                    "this hub is not known as \"%.128s\"; use its address, or start it with "
                    "--public-address and that name",
                    host ? host : "");
    if (!request->route->csrf)
        return 0;
    /* every browser sends Origin here; what sends none is not a browser with somebody's cookie */
    const char *origin = http_header(request, "Origin");
    if (origin && !auth_origin_same(origin, host))
        return deny(auth, response, 403, "other_origin",
                    "requests of another site's page (%.128s) are not accepted", origin);
    return 0;
}

bool auth_is_local(const HttpRequest *request) {
    static const char *const passed_on[] = {"X-Forwarded-For", "Forwarded", "X-Real-IP", "Via"};
    for (size_t i = 0; i < sizeof(passed_on) / sizeof(passed_on[0]); i++)
        if (http_header(request, passed_on[i]))
            return false;
    return request->peer_loopback;
}

static int identify_local(Auth *auth, HttpRequest *request, HttpResponse *response) {
    if (!auth_is_local(request))
        return deny(auth, response, 403, "not_local",
                    "login is disabled, so only this machine itself is answered");
    request->user = local_user;
    request->access = HTTP_ADMIN;
    return 0;
}

static uint64_t session_end_ms(const Auth *auth, const SettingsSession *session) {
    uint64_t idle_ms = session->used_ms + auth->config.idle_timeout_ms;
    return idle_ms < session->expires_ms ? idle_ms : session->expires_ms;
}

/** session_find() - the live session of the request's cookie; SETTINGS_E_MISSING: none */
static int session_find(Auth *auth, const HttpRequest *request, SettingsSession *session) {
    const char *token = request_token(request);
    if (!token)
        return SETTINGS_E_MISSING;
    uint8_t hash[SETTINGS_HASH_BYTES];
    auth_token_hash(token, hash);
    int r = settings_session_get(auth->settings, hash, session);
    if (r)
        return error_trace(r);
    uint64_t now = auth_now_ms(auth);
    if (now >= session_end_ms(auth, session)) {
        r = settings_session_remove(auth->settings, hash);
        return r < 0 ? error_trace(r) : SETTINGS_E_MISSING;
    }
    if (now >= session->used_ms + TOUCH_MS) {
        r = settings_session_touch(auth->settings, hash, now);
        session->used_ms = now;
    }
    return r < 0 ? error_trace(r) : 0;
}

static int identify(Auth *auth, HttpRequest *request, HttpResponse *response) {
    if (auth->config.login_disabled)
        return error_trace(identify_local(auth, request, response));
    SettingsSession session;
    int r = session_find(auth, request, &session);
    if (r)
        return r < 0 ? error_trace(r) : 0; /* nobody */
    request->user = arena_strndup(request->arena, session.user, strlen(session.user));
    if (!request->user)
        return error_origin(-ENOMEM);
    request->access = session.role;
    request->session = request_token(request);
    return 0;
}

static int check_csrf(Auth *auth, const HttpRequest *request, HttpResponse *response) {
    if (!request->route->csrf || !request->session)
        return 0;
    char expected[AUTH_TOKEN_TEXT + 1];
    token_csrf(request->session, expected);
    const char *given = http_header(request, "X-CSRF-Token");
    if (given && auth_same_text(given, expected))
        return 0;
    return deny(auth, response, 403, "bad_csrf_token",
                "the header X-CSRF-Token must have the csrf_token of GET /api/v1/session");
}

int auth_guard(HttpRequest *request, HttpResponse *response, void *context) {
    Auth *auth = auth_of(context);
    int r = check_place(auth, request, response);
    if (r == 0)
        r = identify(auth, request, response);
    if (r || request->route->access == HTTP_PUBLIC)
        return error_trace(r);
    if (!request->user)
        return deny(auth, response, 401, "login_required", "log in first");
    if (request->access < request->route->access)
        return deny(auth, response, 403, "not_allowed", "this needs the role %s; %s is %s",
                    http_access_names[request->route->access], request->user,
                    http_access_names[request->access]);
    return error_trace(check_csrf(auth, request, response));
}

/* sessions */

static void write_session(HttpResponse *response, const char *user, HttpAccess role,
                          const char *csrf, uint64_t expires_ms, bool disabled) {
    Json json = json_make(&response->body);
    json_object_begin(&json, NULL);
    json_text(&json, "user", user);
    json_text(&json, "role", http_access_names[role]);
    json_text(&json, "csrf_token", csrf);
    json_u64(&json, "expires_ms", expires_ms);
    json_bool(&json, "login_disabled", disabled);
    json_object_end(&json);
}

/** auth_open_session() - the answer of a login: cookie and session */
int auth_open_session(Auth *auth, const HttpRequest *request, HttpResponse *response,
                      const SettingsUser *user) {
    char token[AUTH_TOKEN_TEXT + 1];
    char csrf[AUTH_TOKEN_TEXT + 1];
    uint8_t hash[SETTINGS_HASH_BYTES];
    auth_token_make(token);
    auth_token_hash(token, hash);
    token_csrf(token, csrf);
    uint64_t now = auth_now_ms(auth);
    SettingsSession session = {
        .role = user->role,
        .created_ms = now,
        .used_ms = now,
        .expires_ms = now + auth->config.absolute_timeout_ms,
    };
    (void)snprintf(session.user, sizeof(session.user), "%s", user->name);
    uint64_t unused_since_ms =
        now > auth->config.idle_timeout_ms ? now - auth->config.idle_timeout_ms : 0;
    int r = settings_session_expire(auth->settings, now, unused_since_ms);
    if (r == 0)
        r = settings_session_add(auth->settings, hash, &session);
    if (r)
        return error_fold(r);
    set_cookie(request, response, token, auth->config.absolute_timeout_ms / AUTH_SECOND_MS);
    write_session(response, user->name, user->role, csrf, session_end_ms(auth, &session), false);
    auth_count(auth, AUTH_METRIC_LOGINS);
    log_info("%s logged in from %s", user->name, request->peer);
    sodium_memzero(token, sizeof(token));
    return 0;
}

int api_get_session(HttpRequest *request, HttpResponse *response, void *context) {
    Auth *auth = auth_of(context);
    if (auth->config.login_disabled) {
        write_session(response, request->user, request->access, "", 0, true);
        return 0;
    }
    SettingsSession session;
    int r = session_find(auth, request, &session);
    if (r < 0)
        return error_trace(r);
    if (r) { /* ended between guard and handler */
        (void)deny(auth, response, 401, "login_required", "log in first");
        return 0;
    }
    char csrf[AUTH_TOKEN_TEXT + 1];
    token_csrf(request_token(request), csrf);
    write_session(response, session.user, session.role, csrf, session_end_ms(auth, &session),
                  false);
    return 0;
}

int auth_login_disabled(HttpResponse *response) {
    http_response_error(response, 409, "login_disabled",
                        "this hub runs with --disable-login: there is nothing to log in to");
    return 0;
}

int api_logout(HttpRequest *request, HttpResponse *response, void *context) {
    Auth *auth = auth_of(context);
    if (auth->config.login_disabled)
        return auth_login_disabled(response);
    uint8_t hash[SETTINGS_HASH_BYTES];
    auth_token_hash(request->session, hash);
    int r = settings_session_remove(auth->settings, hash);
    if (r < 0)
        return error_trace(r);
    set_cookie(request, response, "", 0);
    buffer_put_text(&response->body, "{\"closed\":true}");
    return 0;
}
