#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Auth
 *
 * Who may ask what: the one-time setup link, login with argon2id, sessions in an HttpOnly cookie,
 * CSRF protection, and the check of Host and Origin that keeps other web pages (DNS rebinding
 * included) out. auth_guard() is the server's guard; the api_ functions are handlers whose
 * context the hub hands over: `context` must begin with a HubAuthContext.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/metric.h"
#include "base/reason.h"
#include "http/message.h"

typedef struct Settings Settings;
typedef struct Auth Auth;

/* the first member of the context given to HttpConfig.context */
typedef struct HubAuthContext {
    Auth *auth;
} HubAuthContext;

typedef struct AuthConfig {
    const char *data_dir;          /* where setup-link is written */
    const char *const *host_names; /* accepted in Host and Origin beside addresses and localhost */
    size_t n_host_names;
    bool login_disabled;          /* --disable-login: the listener must be loopback */
    uint64_t (*clock_ms)(void);   /* NULL: the wall clock */
    uint64_t idle_timeout_ms;     /* 0: 12 h */
    uint64_t absolute_timeout_ms; /* 0: 30 days */
} AuthConfig;

enum {
    _AUTH_E_SUCCESS,
    AUTH_E_REFUSED, /* the file cannot be written: the reason says why */
};

int auth_new(Auth **authp, Settings *settings, const AuthConfig *config, Reason *reason);
Auth *auth_free(Auth *auth);

/**
 * auth_setup_link() - while there is no user: make a new token, and write `base_url`/setup#TOKEN
 * to <data-dir>/setup-link (0600) and to `link`. Empty when there is a user already.
 */
int auth_setup_link(Auth *auth, const char *base_url, char *link, size_t size, Reason *reason);

/** auth_is_local() - asked by this machine itself, not through a proxy on it */
bool auth_is_local(const HttpRequest *request);

/* the guard: HttpConfig.guard */
int auth_guard(HttpRequest *request, HttpResponse *response, void *context);

/* handlers */
int api_get_setup(HttpRequest *request, HttpResponse *response, void *context);
int api_setup(HttpRequest *request, HttpResponse *response, void *context);
int api_login(HttpRequest *request, HttpResponse *response, void *context);
int api_logout(HttpRequest *request, HttpResponse *response, void *context);
int api_get_session(HttpRequest *request, HttpResponse *response, void *context);

enum {
    AUTH_METRIC_LOGINS,
    AUTH_METRIC_LOGINS_FAILED,
    AUTH_METRIC_LOGINS_LIMITED,
    AUTH_METRIC_REQUESTS_DENIED,
    _AUTH_METRIC_N,
};
extern const MetricRow auth_metric_rows[_AUTH_METRIC_N];
const MetricValue *auth_metrics(const Auth *auth);

DEFINE_CLEANUP(Auth *, auth_free)
