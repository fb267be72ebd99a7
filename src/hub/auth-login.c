/* SPDX-License-Identifier: Apache-2.0 */

/* Passwords: login, and the one-time link that makes the first administrator. */

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <jansson.h>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "hub/auth-inside.h"

enum {
    PASSWORD_MIN = 8,   /* characters */
    PASSWORD_MAX = 256, /* bytes */
    HASHING_MAX = 2,    /* 64 MiB each */
    WAITING_MAX = 1,    /* so that a flood of logins leaves workers for everybody else */
};

static const char setup_key[] = "setup_token_hash";

/* passwords */

/** hashing_begin() - false: enough others are waiting already */
static bool hashing_begin(Auth *auth) {
    (void)pthread_mutex_lock(&auth->lock);
    bool room = auth->hashing < HASHING_MAX || auth->waiting < WAITING_MAX;
    if (room) {
        auth->waiting++;
        while (auth->hashing == HASHING_MAX)
            (void)pthread_cond_wait(&auth->hashing_done, &auth->lock);
        auth->waiting--;
        auth->hashing++;
    }
    (void)pthread_mutex_unlock(&auth->lock);
    return room;
}

static void hashing_end(Auth *auth) {
    (void)pthread_mutex_lock(&auth->lock);
    auth->hashing--;
    (void)pthread_cond_signal(&auth->hashing_done);
    (void)pthread_mutex_unlock(&auth->lock);
}

static int refuse_often(Auth *auth, HttpResponse *response, uint64_t retry_ms) {
    char seconds[24];
    uint64_t retry_s = (retry_ms + AUTH_SECOND_MS - 1) / AUTH_SECOND_MS;
    (void)snprintf(seconds, sizeof(seconds), "%llu", (unsigned long long)retry_s);
    http_response_error(response, 429, "too_many_attempts", "too many attempts; wait %s s",
                        seconds);
    http_response_header(response, "Retry-After", seconds);
    auth_count(auth, AUTH_METRIC_LOGINS_LIMITED);
    return HTTP_E_ANSWERED;
}

/** limit_take() - an attempt of this address, for this name (may be NULL) */
static int limit_take(Auth *auth, const HttpRequest *request, HttpResponse *response,
                      const char *name) {
    uint64_t now = auth_now_ms(auth);
    uint64_t retry_ms = 0;
    (void)pthread_mutex_lock(&auth->lock);
    int r = auth_limit_take(auth->limit, AUTH_LIMIT_ADDRESS, request->peer, now, &retry_ms);
    if (r == 0 && name)
        r = auth_limit_take(auth->limit, AUTH_LIMIT_NAME, name, now, &retry_ms);
    (void)pthread_mutex_unlock(&auth->lock);
    return r ? refuse_often(auth, response, retry_ms) : 0;
}

static void limit_return(Auth *auth, const HttpRequest *request, const char *name) {
    uint64_t now = auth_now_ms(auth);
    (void)pthread_mutex_lock(&auth->lock);
    auth_limit_return(auth->limit, AUTH_LIMIT_ADDRESS, request->peer, now);
    if (name)
        auth_limit_return(auth->limit, AUTH_LIMIT_NAME, name, now);
    (void)pthread_mutex_unlock(&auth->lock);
}

/* login and logout */

/** login_checked() - name and password; the time taken does not tell which was wrong */
static int login_checked(Auth *auth, const HttpRequest *request, HttpResponse *response,
                         const char *name, const char *password) {
    SettingsUser user = {0};
    int r = settings_user_get(auth->settings, name, &user);
    if (r < 0)
        return error_trace(r);
    bool known = r == 0;
    if (!hashing_begin(auth)) {
        limit_return(auth, request, name);
        (void)refuse_often(auth, response, AUTH_SECOND_MS);
        return 0;
    }
    bool right = crypto_pwhash_str_verify(known ? user.password_hash : auth->nobody_hash, password,
                                          strlen(password)) == 0;
    hashing_end(auth);
    if (!known || !right) {
        http_response_error(response, 401, "bad_login", "the name or the password is not right");
        auth_count(auth, AUTH_METRIC_LOGINS_FAILED);
        log_notice("a login from %s failed", request->peer);
        return 0;
    }
    limit_return(auth, request, name);
    return error_trace(auth_open_session(auth, request, response, &user));
}

int api_login(HttpRequest *request, HttpResponse *response, void *context) {
    Auth *auth = auth_of(context);
    if (auth->config.login_disabled)
        return auth_login_disabled(response);
    json_t *body = NULL;
    int r = http_request_json(request, response, &body);
    if (r)
        return r < 0 ? error_trace(r) : 0;
    const char *name = json_string_value(json_object_get(body, "name"));
    const char *password = json_string_value(json_object_get(body, "password"));
    if (!name || !password || strlen(password) > PASSWORD_MAX)
        http_response_error(response, 400, "bad_field",
                            "name and password must be texts, the password of at most %d bytes",
                            PASSWORD_MAX);
    else if (limit_take(auth, request, response, name) == 0)
        r = login_checked(auth, request, response, name, password);
    json_decref(body);
    return error_trace(r);
}

/* setting up */

static int user_exists(Auth *auth, bool *existsp) {
    uint64_t n = 0;
    int r = settings_user_count(auth->settings, &n);
    if (r == 0)
        *existsp = n > 0;
    return error_trace(r);
}

int auth_setup_link(Auth *auth, const char *base_url, char *link, size_t size, Reason *reason) {
    bool exists = false;
    int r = user_exists(auth, &exists);
    if (r)
        return error_trace(r);
    if (exists) {
        (void)unlink(auth->link_path); /* of a set-up that was cut short */
        link[0] = 0;
        return 0;
    }
    char token[AUTH_TOKEN_TEXT + 1];
    char hash_text[SETTINGS_HASH_BYTES * 2 + 1];
    uint8_t hash[SETTINGS_HASH_BYTES];
    auth_token_make(token);
    auth_token_hash(token, hash);
    (void)sodium_bin2hex(hash_text, sizeof(hash_text), hash, sizeof(hash));
    r = settings_set(auth->settings, setup_key, hash_text);
    if (r)
        return error_trace(r);
    Buffer text = {0};
    buffer_printf(&text, "%s/setup#%s\n", base_url, token);
    r = text.failed ? error_origin(-ENOMEM)
                    : file_write(auth->link_path, text.bytes, text.size, 0600, reason);
    if (r == 0)
        (void)snprintf(link, size, "%.*s", (int)text.size - 1, buffer_text(&text));
    buffer_deinit(&text);
    return r > 0 ? AUTH_E_REFUSED : error_trace(r);
}

int api_get_setup(HttpRequest *request, HttpResponse *response, void *context) {
    (void)request;
    Auth *auth = auth_of(context);
    bool exists = auth->config.login_disabled;
    int r = exists ? 0 : user_exists(auth, &exists);
    if (r)
        return error_trace(r);
    Json json = json_make(&response->body);
    json_object_begin(&json, NULL);
    json_bool(&json, "needed", !exists);
    json_object_end(&json);
    return 0;
}

/** name_refused() - what is wrong with a user name, or NULL */
static const char *name_refused(const char *name) {
    size_t size = strlen(name);
    if (size == 0 || size > SETTINGS_NAME_MAX)
        return "the name must have 1 to 64 bytes";
    if (name[0] == ' ' || name[size - 1] == ' ')
        return "the name must not begin or end with a space";
    for (size_t i = 0; i < size; i++)
        if ((unsigned char)name[i] < 0x20 || name[i] == 0x7f)
            return "the name must not hold control characters";
    return NULL;
}

static const char *password_refused(const char *password, const char *name) {
    size_t characters = 0;
    for (const char *at = password; *at; at++)
        characters += ((unsigned char)*at & 0xc0) != 0x80; /* first bytes of UTF-8 sequences */
    if (characters < PASSWORD_MIN)
        return "the password must have at least 8 characters";
    if (strlen(password) > PASSWORD_MAX)
        return "the password may have at most 256 bytes";
    return strcmp(password, name) == 0 ? "the password must not be the name" : NULL;
}

static int token_right(Auth *auth, const char *token, bool *rightp) {
    uint8_t hash[SETTINGS_HASH_BYTES];
    char given[SETTINGS_HASH_BYTES * 2 + 1];
    auth_token_hash(token, hash);
    (void)sodium_bin2hex(given, sizeof(given), hash, sizeof(hash));
    Buffer expected = {0};
    int r = settings_get(auth->settings, setup_key, &expected);
    if (r >= 0)
        *rightp = r == 0 && auth_same_text(buffer_text(&expected), given);
    buffer_deinit(&expected);
    return r < 0 ? error_trace(r) : 0;
}

static int make_first(Auth *auth, const HttpRequest *request, HttpResponse *response,
                      const char *name, const char *password) {
    SettingsUser user = {.role = HTTP_ADMIN};
    (void)snprintf(user.name, sizeof(user.name), "%s", name);
    if (!hashing_begin(auth)) {
        (void)refuse_often(auth, response, AUTH_SECOND_MS);
        return 0;
    }
    int r =
        crypto_pwhash_str(user.password_hash, password, strlen(password),
                          crypto_pwhash_OPSLIMIT_INTERACTIVE, crypto_pwhash_MEMLIMIT_INTERACTIVE);
    hashing_end(auth);
    if (r)
        return error_origin(-ENOMEM);
    r = settings_first_user_add(auth->settings, &user, auth_now_ms(auth));
    if (r == SETTINGS_E_EXISTS) {
        http_response_error(response, 409, "already_set_up", "there is an administrator already");
        return 0;
    }
    if (r == 0)
        r = settings_unset(auth->settings, setup_key);
    if (r)
        return error_trace(r);
    (void)unlink(auth->link_path);
    log_notice("set up from %s: the administrator is %s", request->peer, user.name);
    return error_trace(auth_open_session(auth, request, response, &user));
}

static int setup_checked(Auth *auth, const HttpRequest *request, HttpResponse *response,
                         const json_t *body) {
    const char *token = json_string_value(json_object_get(body, "token"));
    const char *name = json_string_value(json_object_get(body, "name"));
    const char *password = json_string_value(json_object_get(body, "password"));
    bool exists = false;
    bool right = false;
    int r = user_exists(auth, &exists);
    if (r == 0 && token)
        r = token_right(auth, token, &right);
    if (r)
        return error_trace(r);
    if (exists) {
        http_response_error(response, 409, "already_set_up", "there is an administrator already");
        return 0;
    }
    if (!right) {
        http_response_error(response, 403, "bad_setup_token",
                            "this link is not valid any more; the current one is in the file "
                            "setup-link of the hub's data directory");
        auth_count(auth, AUTH_METRIC_LOGINS_FAILED);
        return 0;
    }
    limit_return(auth, request, NULL);
    const char *refused = name && password ? name_refused(name) : "name and password are missing";
    if (!refused)
        refused = password_refused(password, name);
    if (refused) {
        http_response_error(response, 400, "bad_field", "%s", refused);
        return 0;
    }
    return error_trace(make_first(auth, request, response, name, password));
}

int api_setup(HttpRequest *request, HttpResponse *response, void *context) {
    Auth *auth = auth_of(context);
    if (auth->config.login_disabled)
        return auth_login_disabled(response);
    json_t *body = NULL;
    int r = http_request_json(request, response, &body);
    if (r)
        return r < 0 ? error_trace(r) : 0;
    if (limit_take(auth, request, response, NULL) == 0)
        r = setup_checked(auth, request, response, body);
    json_decref(body);
    return error_trace(r);
}
