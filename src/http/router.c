/* SPDX-License-Identifier: Apache-2.0 */

#include "http/router.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "base/error.h"

const char *const http_access_names[_HTTP_ACCESS_N] = {
    [HTTP_PUBLIC] = "public",
    [HTTP_VIEWER] = "viewer",
    [HTTP_OPERATOR] = "operator",
    [HTTP_ADMIN] = "admin",
};

/* decoding */

static int hex_digit(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

char *http_decode(Arena *arena, const char *text, size_t size, bool form) {
    char *out = arena_alloc(arena, size + 1);
    if (!out)
        return NULL;
    size_t n = 0;
    for (size_t i = 0; i < size; i++) {
        int c = (unsigned char)text[i];
        if (c == '%') {
            if (size - i < 3)
                return NULL;
            int high = hex_digit(text[i + 1]);
            int low = hex_digit(text[i + 2]);
            if (high < 0 || low < 0)
                return NULL;
            c = high * 16 + low;
            i += 2;
        } else if (c == '+' && form) {
            c = ' ';
        }
        if (c == 0)
            return NULL;
        out[n++] = (char)c;
    }
    out[n] = 0;
    return out;
}

/* finding the row */

enum { PATH_PARAMS_MAX = 8 };

typedef struct PathMatch {
    const char *name, *value;
    size_t name_size, value_size;
} PathMatch;

/** path_matches() - template against encoded path; how many {parameters} matched, or -1 */
static int path_matches(const char *template, const char *path, PathMatch *matches) {
    int n = 0;
    while (*template && *path) {
        if (*template != '{') {
            if (*template ++ != *path++)
                return -1;
            continue;
        }
        const char *close = strchr(template, '}');
        size_t size = strcspn(path, "/");
        if (!close || !size || n == PATH_PARAMS_MAX)
            return -1;
        matches[n++] = (PathMatch){template + 1, path, (size_t)(close - template - 1), size};
        template = close + 1;
        path += size;
    }
    return *template || *path ? -1 : n;
}

static int path_arguments(const PathMatch *matches, int n, Arena *arena, HttpArguments *arguments,
                          HttpResponse *response) {
    for (int i = 0; i < n; i++) {
        char *name = arena_strndup(arena, matches[i].name, matches[i].name_size);
        if (!name)
            return error_origin(-ENOMEM);
        char *value = http_decode(arena, matches[i].value, matches[i].value_size, false);
        if (!value) {
            http_response_error(response, 400, "bad_path",
                                "the path's {%s} is not valid percent-encoded text", name);
            return HTTP_E_ANSWERED;
        }
        arguments->sent[arguments->n_sent++] = (HttpArgument){name, value};
    }
    return 0;
}

int http_route_find(const HttpRoute *routes, size_t n_routes, const char *method, const char *path,
                    Arena *arena, const HttpRoute **routep, HttpArguments *arguments,
                    HttpResponse *response) {
    PathMatch matches[PATH_PARAMS_MAX];
    Reason allowed = {0};
    for (size_t i = 0; i < n_routes; i++) {
        const HttpRoute *route = &routes[i];
        int n = path_matches(route->path, path, matches);
        if (n < 0)
            continue;
        if (strcmp(route->method, method) != 0) {
            reason_append(&allowed, "%s%s", allowed.text[0] ? ", " : "", route->method);
            continue;
        }
        *arguments = (HttpArguments){.rows = route->params, .n_rows = route->n_params};
        /* path parameters, and each query row at most once */
        arguments->sent =
            arena_alloc(arena, ((size_t)n + route->n_params) * sizeof(HttpArgument) + 1);
        if (!arguments->sent)
            return error_origin(-ENOMEM);
        int r = path_arguments(matches, n, arena, arguments, response);
        if (r)
            return error_trace(r);
        *routep = route;
        return 0;
    }
    if (allowed.text[0]) {
        http_response_error(response, 405, "method_not_allowed", "%s is not possible here, only %s",
                            method, allowed.text);
        http_response_header(response, "Allow", allowed.text);
    } else {
        http_response_error(response, 404, "not_found", "there is nothing at %.200s", path);
    }
    return HTTP_E_ANSWERED;
}

/* parameters */

static const HttpParamRow *find_row(const HttpArguments *arguments, const char *name) {
    for (size_t i = 0; i < arguments->n_rows; i++)
        if (arguments->rows[i].in != HTTP_IN_BODY && strcmp(arguments->rows[i].name, name) == 0)
            return &arguments->rows[i];
    return NULL;
}

static const char *find_sent(const HttpArguments *arguments, const char *name) {
    for (size_t i = 0; i < arguments->n_sent; i++)
        if (strcmp(arguments->sent[i].name, name) == 0)
            return arguments->sent[i].value;
    return NULL;
}

const char *http_argument(const HttpArguments *arguments, const char *name) {
    const char *sent = find_sent(arguments, name);
    if (sent)
        return sent;
    const HttpParamRow *row = find_row(arguments, name);
    return row ? row->unset : NULL;
}

static int refuse_unknown(const HttpArguments *arguments, const char *name,
                          HttpResponse *response) {
    Reason known = {0};
    for (size_t i = 0; i < arguments->n_rows; i++)
        if (arguments->rows[i].in == HTTP_IN_QUERY)
            reason_append(&known, "%s%s", known.text[0] ? ", " : "", arguments->rows[i].name);
    http_response_error(response, 400, "unknown_parameter",
                        "unknown query parameter \"%.64s\"; accepted: %s", name,
                        known.text[0] ? known.text : "none");
    return HTTP_E_ANSWERED;
}

int http_argument_add(HttpArguments *arguments, const char *name, const char *value, Arena *arena,
                      HttpResponse *response) {
    char *plain_name = http_decode(arena, name, strlen(name), true);
    char *plain_value = value ? http_decode(arena, value, strlen(value), true) : "";
    if (!plain_name || !plain_value) {
        http_response_error(response, 400, "bad_encoding",
                            "query parameter \"%.64s\" is not valid percent-encoded text", name);
        return HTTP_E_ANSWERED;
    }
    const HttpParamRow *row = find_row(arguments, plain_name);
    if (!row || row->in != HTTP_IN_QUERY)
        return refuse_unknown(arguments, plain_name, response);
    if (find_sent(arguments, plain_name)) {
        http_response_error(response, 400, "repeated_parameter",
                            "query parameter \"%s\" is given twice", plain_name);
        return HTTP_E_ANSWERED;
    }
    arguments->sent[arguments->n_sent++] = (HttpArgument){plain_name, plain_value};
    return 0;
}

/* checking */

static bool limited(const HttpParamRow *row) {
    return row->min != 0 || row->max != 0;
}

static bool in_range(const HttpParamRow *row, double v) {
    return isfinite(v) && (!limited(row) || (v >= row->min && v <= row->max));
}

static bool word_accepted(const HttpParamRow *row, const char *text, size_t size) {
    if (!row->words)
        return true;
    for (size_t i = 0; row->words[i]; i++)
        if (strlen(row->words[i]) == size && memcmp(row->words[i], text, size) == 0)
            return true;
    return false;
}

static bool text_accepted(const HttpParamRow *row, const char *text) {
    size_t size = strlen(text);
    return in_range(row, (double)size) && word_accepted(row, text, size);
}

static bool integer_accepted(const HttpParamRow *row, const char *text) {
    const char *digits = text[0] == '-' ? text + 1 : text;
    if (!*digits || strspn(digits, "0123456789") != strlen(digits))
        return false;
    errno = 0;
    long long v = strtoll(text, NULL, 10);
    return errno == 0 && in_range(row, (double)v);
}

static bool number_accepted(const HttpParamRow *row, const char *text) {
    if (!*text || strspn(text, "0123456789+-.eE") != strlen(text))
        return false;
    char *end = NULL;
    double v = strtod(text, &end);
    return !*end && in_range(row, v);
}

static bool boolean_accepted(const HttpParamRow *row, const char *text) {
    (void)row;
    static const char *const words[] = {"true", "false", "1", "0"};
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        if (strcmp(words[i], text) == 0)
            return true;
    return false;
}

static bool list_accepted(const HttpParamRow *row, const char *text) {
    double n = 0;
    for (const char *at = text; *at;) {
        size_t size = strcspn(at, ",");
        if (!size || !word_accepted(row, at, size))
            return false;
        n++;
        at += size;
        if (*at == ',' && !*++at)
            return false; /* nothing behind the last comma */
    }
    return in_range(row, n);
}

static bool any_accepted(const HttpParamRow *row, const char *text) {
    return row && text;
}

typedef bool AcceptFn(const HttpParamRow *row, const char *text);

static const struct {
    AcceptFn *accepts;
    const char *name;  /* "an integer" */
    const char *limit; /* what a minimum and maximum are about, or NULL */
} types[] = {
    [HTTP_TEXT] = {text_accepted, "text", "bytes"},
    [HTTP_INTEGER] = {integer_accepted, "an integer", ""},
    [HTTP_NUMBER] = {number_accepted, "a number", ""},
    [HTTP_BOOLEAN] = {boolean_accepted, "true or false", NULL},
    [HTTP_LIST] = {list_accepted, "a list", "items"},
    [HTTP_ANY] = {any_accepted, "a value", NULL},
};

bool http_row_accepts(const HttpParamRow *row, const char *text) {
    return types[row->type].accepts(row, text);
}

void http_row_describe(const HttpParamRow *row, Reason *reason) {
    const char *unit = types[row->type].limit;
    bool list = row->type == HTTP_LIST;
    reason_set(reason, "%s", "");
    if (!row->words || list)
        reason_append(reason, "%s", types[row->type].name);
    if (row->words) {
        reason_append(reason, "%sone of ", list ? " separated by commas, each " : "");
        for (size_t i = 0; row->words[i]; i++)
            reason_append(reason, "%s%s", i ? ", " : "", row->words[i]);
    }
    if (!unit || !limited(row) || (row->words && !list))
        return;
    const char *space = *unit ? " " : "";
    if (isinf(row->max))
        reason_append(reason, " of at least %.15g%s%s", row->min, space, unit);
    else if (isinf(row->min))
        reason_append(reason, " of at most %.15g%s%s", row->max, space, unit);
    else
        reason_append(reason, "%s from %.15g to %.15g%s%s", *unit ? "," : "", row->min, row->max,
                      space, unit);
}

int http_route_check(const HttpArguments *arguments, HttpResponse *response) {
    for (size_t i = 0; i < arguments->n_rows; i++) {
        const HttpParamRow *row = &arguments->rows[i];
        if (row->in == HTTP_IN_BODY)
            continue;
        const char *sent = find_sent(arguments, row->name);
        if (sent ? http_row_accepts(row, sent) : !row->required)
            continue;
        Reason accepted;
        http_row_describe(row, &accepted);
        const char *where = row->in == HTTP_IN_PATH ? "path" : "query";
        if (sent)
            http_response_error(response, 400, "bad_parameter",
                                "%s parameter \"%s\" is \"%.64s\"; accepted: %s", where, row->name,
                                sent, accepted.text);
        else
            http_response_error(response, 400, "missing_parameter",
                                "%s parameter \"%s\" is missing; accepted: %s", where, row->name,
                                accepted.text);
        return HTTP_E_ANSWERED;
    }
    return 0;
}
