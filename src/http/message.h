#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * HTTP Messages
 *
 * One request and the response a handler fills. A handler runs on a worker thread and has both
 * for itself until it returns; it may take its time (the connection waits without a thread).
 * Everything in the request lives as long as the handler's call.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buffer.h"

struct json_t; /* jansson's */

typedef struct HttpRoute HttpRoute;
typedef struct HttpStream HttpStream;

typedef enum HttpAccess {
    HTTP_PUBLIC, /* nobody needs to be known */
    HTTP_VIEWER,
    HTTP_OPERATOR,
    HTTP_ADMIN,
    _HTTP_ACCESS_N,
} HttpAccess;

extern const char *const http_access_names[_HTTP_ACCESS_N]; /* "public", "viewer", ... */

typedef struct HttpRequest {
    const char *method; /* "GET"; a HEAD request is handled as GET */
    const char *path;   /* as sent, still percent-encoded, without the query */
    const HttpRoute *route;
    const char *body; /* NUL-terminated behind body_size */
    size_t body_size;
    const char *peer; /* "192.0.2.1", "2001:db8::1": the address of the TCP peer */
    bool peer_loopback;
    bool tls;
    Arena *arena; /* for this request's memory */

    /* filled by the guard: who asks */
    const char *user;    /* NULL: nobody */
    HttpAccess access;   /* what this user may do */
    const char *session; /* the guard's own note, or NULL */
} HttpRequest;

typedef struct HttpResponse {
    int status;               /* 200 unless set */
    const char *content_type; /* static text; "application/json" unless set */
    Buffer body;
    Buffer headers;     /* by http_response_header() */
    HttpStream *stream; /* by http_sse_subscribe() */
} HttpResponse;

/* request */

/** http_param() - path or query parameter as decoded text, else its row's default, else NULL */
const char *http_param(const HttpRequest *request, const char *name);

/* the same for parameters whose row has the type; 0 when absent without default. Values were
 * checked against the row before the handler was called. */
int64_t http_param_int(const HttpRequest *request, const char *name);
double http_param_number(const HttpRequest *request, const char *name);
bool http_param_bool(const HttpRequest *request, const char *name);

/** http_param_given() - did the client send it? */
bool http_param_given(const HttpRequest *request, const char *name);

/** http_header() - NULL when absent; names compare without case */
const char *http_header(const HttpRequest *request, const char *name);

/** http_cookie() - value of one cookie (RFC 6265 section 4.2.1), in the request's arena, or NULL */
const char *http_cookie(const HttpRequest *request, const char *name);

/** http_request_gone() - has the client hung up? For long handlers, which may stop then. */
bool http_request_gone(const HttpRequest *request);

enum {
    _HTTP_E_SUCCESS,
    HTTP_E_ANSWERED, /* the response holds the refusal; return 0 from the handler */
};

/**
 * http_request_json() - the body as a JSON object, checked against the route's body rows; the
 * caller decrefs it. HTTP_E_ANSWERED: 400 or 415 with what is wrong.
 */
int http_request_json(const HttpRequest *request, HttpResponse *response, struct json_t **rootp);

/* response */

/** http_response_error() - {"error":{"code":code,"message":...}}, replacing the body */
__attribute__((format(printf, 4, 5))) void
http_response_error(HttpResponse *response, int status, const char *code, const char *format, ...);

/** http_response_header() - add one; values with control characters are dropped */
void http_response_header(HttpResponse *response, const char *name, const char *value);
