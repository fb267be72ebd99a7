#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Router
 *
 * A route is one row, generated from an OpenAPI document by spec/gen/routes.py: method, path
 * template, who may ask, and one row for each parameter, by which it is checked. What does not
 * fit is answered here with 400, 404 or 405 and a message that names it and what is accepted.
 */

#include <stdbool.h>
#include <stddef.h>

#include "base/reason.h"
#include "http/message.h"

typedef enum HttpParamIn {
    HTTP_IN_PATH,
    HTTP_IN_QUERY,
    HTTP_IN_BODY, /* a property of the JSON object in the body */
} HttpParamIn;

typedef enum HttpParamType {
    HTTP_TEXT,
    HTTP_INTEGER,
    HTTP_NUMBER,
    HTTP_BOOLEAN, /* true, false, 1, 0 */
    HTTP_LIST,    /* texts separated by commas; in a body, an array of texts */
    HTTP_ANY,     /* in a body: the handler checks it */
} HttpParamType;

typedef struct HttpParamRow {
    const char *name;
    HttpParamIn in;
    HttpParamType type;
    bool required;
    /* of numbers; of texts, their length in bytes; of lists, of items; both 0: no limit */
    double min, max;
    const char *unset;        /* default as text, or NULL */
    const char *const *words; /* the only texts accepted, NULL-terminated, or NULL */
} HttpParamRow;

/* 0, or a negative errno, which is answered as 500 */
typedef int HttpHandler(HttpRequest *request, HttpResponse *response, void *context);

struct HttpRoute {
    const char *method;
    const char *path;      /* "/api/v1/flows/{id}" */
    const char *operation; /* operationId */
    HttpAccess access;
    bool csrf; /* changes something: must prove that our own page asked */
    bool body; /* takes a JSON body */
    const HttpParamRow *params;
    size_t n_params;
    HttpHandler *handler;
};

/* what follows is the server's use of the table */

typedef struct HttpArgument {
    const char *name;
    const char *value;
} HttpArgument;

typedef struct HttpArguments {
    const HttpParamRow *rows;
    size_t n_rows;
    HttpArgument *sent; /* decoded path and query parameters */
    size_t n_sent;
} HttpArguments;

/**
 * http_route_find() - the row for a method and an encoded path, its path parameters decoded into
 * `arguments` (memory from the arena). HTTP_E_ANSWERED: 404, 405 (with Allow) or 400.
 */
int http_route_find(const HttpRoute *routes, size_t n_routes, const char *method, const char *path,
                    Arena *arena, const HttpRoute **routep, HttpArguments *arguments,
                    HttpResponse *response);

/** http_row_accepts() - is this text a value of the row's type and range? */
bool http_row_accepts(const HttpParamRow *row, const char *text);

/** http_row_describe() - what the row accepts: "an integer from 1 to 1000" */
void http_row_describe(const HttpParamRow *row, Reason *reason);

/** http_route_check() - all that was sent against the rows. HTTP_E_ANSWERED: 400. */
int http_route_check(const HttpArguments *arguments, HttpResponse *response);

/** http_argument_add() - one encoded query parameter. HTTP_E_ANSWERED: 400 (encoding, twice). */
int http_argument_add(HttpArguments *arguments, const char *name, const char *value, Arena *arena,
                      HttpResponse *response);

/** http_argument() - as sent, else the row's default, else NULL */
const char *http_argument(const HttpArguments *arguments, const char *name);

/**
 * http_decode() - percent-decoding (RFC 3986 section 2.1) into the arena; '+' is a space when
 * `form`. NULL: broken encoding or a NUL byte.
 */
char *http_decode(Arena *arena, const char *text, size_t size, bool form);
