/* SPDX-License-Identifier: Apache-2.0 */

#include "http/message.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>
#include <microhttpd.h>

#include "base/error.h"
#include "base/json.h"
#include "http/exchange.h"

static const HttpExchange *exchange_of(const HttpRequest *request) {
    return (const HttpExchange *)(const void *)request;
}

/* parameters */

const char *http_param(const HttpRequest *request, const char *name) {
    return http_argument(&exchange_of(request)->arguments, name);
}

int64_t http_param_int(const HttpRequest *request, const char *name) {
    const char *text = http_param(request, name);
    return text ? strtoll(text, NULL, 10) : 0;
}

double http_param_number(const HttpRequest *request, const char *name) {
    const char *text = http_param(request, name);
    return text ? strtod(text, NULL) : 0;
}

bool http_param_bool(const HttpRequest *request, const char *name) {
    const char *text = http_param(request, name);
    return text && (strcmp(text, "true") == 0 || strcmp(text, "1") == 0);
}

bool http_param_given(const HttpRequest *request, const char *name) {
    const HttpArguments *arguments = &exchange_of(request)->arguments;
    for (size_t i = 0; i < arguments->n_sent; i++)
        if (strcmp(arguments->sent[i].name, name) == 0)
            return true;
    return false;
}

/* headers */

const char *http_header(const HttpRequest *request, const char *name) {
    return MHD_lookup_connection_value(exchange_of(request)->connection, MHD_HEADER_KIND, name);
}

const char *http_cookie(const HttpRequest *request, const char *name) {
    const char *header = http_header(request, "Cookie");
    return header ? http_cookie_find(header, name, request->arena) : NULL;
}

const char *http_cookie_find(const char *header, const char *name, Arena *arena) {
    size_t name_size = strlen(name);
    for (const char *at = header; *at;) {
        at += strspn(at, "; \t");
        size_t size = strcspn(at, ";");
        if (size > name_size && at[name_size] == '=' && memcmp(at, name, name_size) == 0) {
            const char *value = at + name_size + 1;
            size_t value_size = size - name_size - 1;
            while (value_size && (value[value_size - 1] == ' ' || value[value_size - 1] == '\t'))
                value_size--;
            if (value_size >= 2 && value[0] == '"' && value[value_size - 1] == '"') {
                value++;
                value_size -= 2;
            }
            return arena_strndup(arena, value, value_size);
        }
        at += size;
    }
    return NULL;
}

bool http_request_gone(const HttpRequest *request) {
    struct pollfd fd = {
        .fd = http_connection_fd(exchange_of(request)->connection),
        .events = POLLRDHUP,
    };
    return poll(&fd, 1, 0) > 0 && (fd.revents & (POLLRDHUP | POLLHUP | POLLERR));
}

/* body */

static bool list_fits(const HttpParamRow *row, const json_t *value) {
    Buffer joined = {0};
    size_t n = json_array_size(value);
    bool fits = true;
    for (size_t i = 0; i < n && fits; i++) {
        const char *item = json_string_value(json_array_get(value, i));
        fits = item && !strchr(item, ',');
        buffer_printf(&joined, "%s%s", i ? "," : "", item ? item : "");
    }
    fits = fits && !joined.failed && http_row_accepts(row, buffer_text(&joined));
    buffer_deinit(&joined);
    return fits;
}

static bool value_fits(const HttpParamRow *row, const json_t *value) {
    char text[32];
    switch (row->type) {
    case HTTP_TEXT:
        return json_is_string(value) && http_row_accepts(row, json_string_value(value));
    case HTTP_INTEGER:
        (void)snprintf(text, sizeof(text), "%" JSON_INTEGER_FORMAT, json_integer_value(value));
        return json_is_integer(value) && http_row_accepts(row, text);
    case HTTP_NUMBER:
        (void)snprintf(text, sizeof(text), "%.17g", json_number_value(value));
        return json_is_number(value) && http_row_accepts(row, text);
    case HTTP_BOOLEAN:
        return json_is_boolean(value);
    case HTTP_LIST:
        return json_is_array(value) && list_fits(row, value);
    case HTTP_ANY:
        return true;
    }
    return false;
}

static int check_unknown(const HttpRoute *route, json_t *root, HttpResponse *response) {
    const char *key = NULL;
    json_t *value = NULL;
    json_object_foreach(root, key, value) {
        bool known = false;
        Reason names = {0};
        for (size_t i = 0; i < route->n_params; i++) {
            if (route->params[i].in != HTTP_IN_BODY)
                continue;
            known = known || strcmp(route->params[i].name, key) == 0;
            reason_append(&names, "%s%s", names.text[0] ? ", " : "", route->params[i].name);
        }
        if (!known && names.text[0]) { /* without rows the handler checks */
            http_response_error(response, 400, "unknown_field",
                                "unknown field \"%.64s\" in the body; accepted: %s", key,
                                names.text);
            return HTTP_E_ANSWERED;
        }
    }
    return 0;
}

int http_body_check(const HttpRoute *route, json_t *root, HttpResponse *response) {
    for (size_t i = 0; i < route->n_params; i++) {
        const HttpParamRow *row = &route->params[i];
        if (row->in != HTTP_IN_BODY)
            continue;
        const json_t *value = json_object_get(root, row->name);
        if (value ? value_fits(row, value) : !row->required)
            continue;
        Reason accepted;
        http_row_describe(row, &accepted);
        http_response_error(response, 400, value ? "bad_field" : "missing_field",
                            "field \"%s\" of the body is %s; accepted: %s", row->name,
                            value ? "not right" : "missing", accepted.text);
        return HTTP_E_ANSWERED;
    }
    return check_unknown(route, root, response);
}

int http_request_json(const HttpRequest *request, HttpResponse *response, json_t **rootp) {
    static const char json_type[] = "application/json";
    const char *type = http_header(request, "Content-Type");
    size_t n = sizeof(json_type) - 1;
    if (!type || strncasecmp(type, json_type, n) != 0 || (type[n] && !strchr("; \t", type[n]))) {
        http_response_error(response, 415, "not_json", "the body must be application/json");
        return HTTP_E_ANSWERED;
    }
    json_error_t error;
    json_t *root = json_loadb(request->body, request->body_size, JSON_REJECT_DUPLICATES, &error);
    if (!json_is_object(root)) {
        http_response_error(response, 400, "bad_json", "the body must be a JSON object: %s",
                            root ? "it is another value" : error.text);
        json_decref(root);
        return HTTP_E_ANSWERED;
    }
    int r = request->route ? http_body_check(request->route, root, response) : 0;
    if (r) {
        json_decref(root);
        return error_trace(r);
    }
    *rootp = root;
    return 0;
}

/* response */

void http_response_error(HttpResponse *response, int status, const char *code, const char *format,
                         ...) {
    Reason message;
    va_list ap;
    va_start(ap, format);
    (void)vsnprintf(message.text, sizeof(message.text), format, ap);
    va_end(ap);
    response->status = status;
    response->content_type = "application/json";
    buffer_clear(&response->body);
    Json json = json_make(&response->body);
    json_object_begin(&json, NULL);
    json_object_begin(&json, "error");
    json_text(&json, "code", code);
    json_text(&json, "message", message.text);
    json_object_end(&json);
    json_object_end(&json);
}

static bool clean(const char *text) {
    for (const char *at = text; *at; at++)
        if ((unsigned char)*at < 0x20 || *at == 0x7f)
            return false;
    return true;
}

void http_response_header(HttpResponse *response, const char *name, const char *value) {
    if (!*name || !clean(name) || !clean(value))
        return;
    /* name, NUL, value, NUL: read back by the server */
    buffer_put(&response->headers, name, strlen(name) + 1);
    buffer_put(&response->headers, value, strlen(value) + 1);
}
