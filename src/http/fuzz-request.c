/* SPDX-License-Identifier: Apache-2.0 */

/* What a client sends and this layer reads itself: path, query and cookie, one a line; the rest is
 * the body. */

#include <stdint.h>
#include <string.h>

#include <jansson.h>

#include "http/exchange.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int handle(HttpRequest *request, HttpResponse *response, void *context) {
    (void)request;
    (void)response;
    (void)context;
    return 0;
}

static const char *const words[] = {"asc", "desc", NULL};
static const HttpParamRow rows[] = {
    {.name = "id", .in = HTTP_IN_PATH, .type = HTTP_INTEGER, .required = true},
    {.name = "part", .in = HTTP_IN_PATH, .required = true},
    {.name = "limit", .in = HTTP_IN_QUERY, .type = HTTP_INTEGER, .min = 1, .max = 9},
    {.name = "share", .in = HTTP_IN_QUERY, .type = HTTP_NUMBER},
    {.name = "by", .in = HTTP_IN_QUERY, .type = HTTP_LIST, .words = words},
    {.name = "text", .in = HTTP_IN_QUERY},
    {.name = "name", .in = HTTP_IN_BODY, .required = true, .min = 1, .max = 8},
    {.name = "tags", .in = HTTP_IN_BODY, .type = HTTP_LIST},
    {.name = "size", .in = HTTP_IN_BODY, .type = HTTP_INTEGER, .min = 0, .max = 9},
};
static const HttpRoute routes[] = {
    {"GET", "/a/{id}/{part}", "get", HTTP_PUBLIC, false, true, rows, 9, handle},
    {"POST", "/a/{id}", "post", HTTP_PUBLIC, true, false, NULL, 0, handle},
};

/** take_line() - the next line as text in the arena; bytes behind a NUL are lost, as in C */
static char *take_line(Arena *arena, const uint8_t **datap, size_t *sizep) {
    const uint8_t *end = memchr(*datap, '\n', *sizep);
    size_t n = end ? (size_t)(end - *datap) : *sizep;
    char *line = arena_strndup(arena, (const char *)*datap, n);
    *datap += n + (end != NULL);
    *sizep -= n + (end != NULL);
    return line;
}

static void take_query(char *query, HttpArguments *arguments, Arena *arena,
                       HttpResponse *response) {
    char *save = NULL;
    for (char *pair = strtok_r(query, "&", &save); pair; pair = strtok_r(NULL, "&", &save)) {
        char *value = strchr(pair, '=');
        if (value)
            *value++ = 0;
        if (http_argument_add(arguments, pair, value, arena, response))
            return;
    }
    if (http_route_check(arguments, response))
        return;
    for (size_t i = 0; i < 6; i++)
        (void)http_argument(arguments, rows[i].name);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    cleanup(arena_freep) Arena *arena = NULL;
    if (arena_new(&arena, 4096) < 0)
        return 0;
    HttpResponse response = {0};
    HttpArguments arguments = {0};
    const HttpRoute *route = NULL;
    char *path = take_line(arena, &data, &size);
    char *query = take_line(arena, &data, &size);
    char *cookie = take_line(arena, &data, &size);
    if (http_route_find(routes, 2, "GET", path, arena, &route, &arguments, &response) == 0)
        take_query(query, &arguments, arena, &response);
    (void)http_cookie_find(cookie, "weir", arena);
    http_response_header(&response, "X", cookie);
    json_t *root = json_loadb((const char *)data, size, JSON_REJECT_DUPLICATES, NULL);
    if (json_is_object(root))
        (void)http_body_check(&routes[0], root, &response);
    json_decref(root);
    buffer_deinit(&response.body);
    buffer_deinit(&response.headers);
    return 0;
}
