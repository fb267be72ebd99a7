/* SPDX-License-Identifier: Apache-2.0 */

/* The router, on a table made from test-openapi.json by the generator that makes the hub's. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include <jansson.h>

#include "http/exchange.h"
#include "http/test-routes.inc"

#define N_ROUTES (sizeof(thing_routes) / sizeof(thing_routes[0]))

#define HANDLER(name)                                                                              \
    int name(HttpRequest *request, HttpResponse *response, void *context) {                        \
        (void)request;                                                                             \
        (void)response;                                                                            \
        (void)context;                                                                             \
        return 0;                                                                                  \
    }
HANDLER(thing_get_thing)
HANDLER(thing_delete_thing)
HANDLER(thing_get_latest_thing)
HANDLER(thing_get_part)
HANDLER(thing_add_thing)

static Arena *arena;
static HttpResponse response;

static int set_up(void **state) {
    (void)state;
    return arena_new(&arena, 1024);
}

static int tear_down(void **state) {
    (void)state;
    arena = arena_free(arena);
    buffer_deinit(&response.body);
    buffer_deinit(&response.headers);
    response = (HttpResponse){0};
    return 0;
}

/** ask() - route and check "path?a=b&c=d"; the operation, or NULL when it was answered */
static const char *ask(const char *method, const char *url, HttpArguments *arguments) {
    const HttpRoute *route = NULL;
    response.status = 200;
    char *path = arena_strndup(arena, url, strcspn(url, "?"));
    char *query = arena_strndup(arena, url, strlen(url));
    int r =
        http_route_find(thing_routes, N_ROUTES, method, path, arena, &route, arguments, &response);
    char *save = query + strcspn(query, "?");
    save += *save == '?';
    for (char *pair = strtok_r(save, "&", &save); pair && r == 0;
         pair = strtok_r(NULL, "&", &save)) {
        char *value = strchr(pair, '=');
        if (value)
            *value++ = 0;
        r = http_argument_add(arguments, pair, value, arena, &response);
    }
    if (r == 0)
        r = http_route_check(arguments, &response);
    assert_true(r == 0 || r == HTTP_E_ANSWERED);
    assert_int_equal(r == 0, response.status == 200);
    return r ? NULL : route->operation;
}

static void assert_answer(const char *method, const char *url, int status, const char *text) {
    HttpArguments arguments = {0};
    assert_null(ask(method, url, &arguments));
    assert_int_equal(response.status, status);
    if (!strstr(buffer_text(&response.body), text))
        fail_msg("%s %s: %s\nis without %s", method, url, buffer_text(&response.body), text);
}

static void test_finds_rows(void **state) {
    (void)state;
    HttpArguments a = {0};
    assert_string_equal(ask("GET", "/api/v1/things/7", &a), "getThing");
    assert_string_equal(http_argument(&a, "id"), "7");
    assert_string_equal(ask("GET", "/api/v1/things/latest", &a), "getLatestThing");
    assert_string_equal(ask("DELETE", "/api/v1/things/7", &a), "deleteThing");
    assert_string_equal(ask("POST", "/api/v1/things", &a), "addThing");
    assert_string_equal(ask("GET", "/api/v1/things/7/parts/a%2Fb%20c+d", &a), "getPart");
    assert_string_equal(http_argument(&a, "part"), "a/b c+d");
    assert_int_equal(N_ROUTES, 5);
    for (size_t i = 0; i < N_ROUTES; i++) {
        bool changes = strcmp(thing_routes[i].method, "GET") != 0;
        assert_int_equal(thing_routes[i].csrf, changes);
        assert_int_equal(thing_routes[i].body, thing_routes[i].handler == thing_add_thing);
    }
}

static void test_finds_nothing(void **state) {
    (void)state;
    assert_answer("GET", "/api/v1/thing", 404, "\"not_found\"");
    assert_answer("GET", "/api/v1/things/", 404, "\"not_found\"");
    assert_answer("GET", "/api/v1/things/7/", 404, "\"not_found\"");
    assert_answer("GET", "/api/v1/things//parts/x", 404, "\"not_found\"");
    assert_answer("GET", "", 404, "\"not_found\"");
    assert_answer("GET", "/\"\n", 404, "at /\\\"\\n\"");
    assert_answer("PATCH", "/api/v1/things/7", 405, "only DELETE, GET");
    assert_answer("get", "/api/v1/things/7", 405, "\"method_not_allowed\"");
    assert_answer("GET", "/api/v1/things/%7", 400, "{id} is not valid");
    assert_answer("GET", "/api/v1/things/x", 400,
                  "path parameter \\\"id\\\" is \\\"x\\\"; accepted: an integer from 0 to 99");
    assert_answer("GET", "/api/v1/things/100", 400, "from 0 to 99");
}

static void test_parameters(void **state) {
    (void)state;
    HttpExchange x = {0};
    HttpArguments *a = &x.arguments;
    assert_non_null(ask("GET", "/api/v1/things/1", a));
    assert_int_equal(http_param_int(&x.request, "limit"), 100);
    assert_string_equal(http_param(&x.request, "order"), "desc");
    assert_false(http_param_bool(&x.request, "deep"));
    assert_null(http_param(&x.request, "filter"));
    assert_false(http_param_given(&x.request, "limit"));
    assert_non_null(ask("GET",
                        "/api/v1/things/1?limit=1000&deep=true&order=asc&by=app,host&share=-1.5e3&"
                        "filter=a+%3D%20%26&from=9007199254740993",
                        a));
    assert_int_equal(http_param_int(&x.request, "limit"), 1000);
    assert_int_equal(http_param_int(&x.request, "from"), 9007199254740993);
    assert_true(http_param_bool(&x.request, "deep"));
    assert_true(http_param_number(&x.request, "share") == -1500);
    assert_string_equal(http_param(&x.request, "filter"), "a = &");
    assert_string_equal(http_param(&x.request, "by"), "app,host");
    assert_true(http_param_given(&x.request, "limit"));
    assert_non_null(ask("GET", "/api/v1/things/1?filter", a));
    assert_string_equal(http_param(&x.request, "filter"), "");
}

static void test_bad_parameters(void **state) {
    (void)state;
    static const struct {
        const char *query, *text;
    } cases[] = {
        {"limit=0", "accepted: an integer from 1 to 1000\""},
        {"limit=1001", "from 1 to 1000"},
        {"limit=", "from 1 to 1000"},
        {"limit=1x", "\\\"limit\\\" is \\\"1x\\\""},
        {"limit=99999999999999999999", "from 1 to 1000"},
        {"from=-1", "an integer of at least 0\""},
        {"share=1.6", "a number of at most 1.5\""},
        {"share=nan", "a number"},
        {"share=0x1", "a number"},
        {"deep=yes", "true or false"},
        {"order=up", "one of asc, desc\""},
        {"by=host,", "a list separated by commas, each one of host, app"},
        {"by=host,app,host", "from 0 to 2 items"},
        {"by=hos", "one of host, app"},
        {"filter=123456789", "text, from 0 to 8 bytes"},
        {"limit=1&limit=2", "given twice"},
        {"lim=1", "accepted: limit, from, share, deep, order, by, filter\""},
        {"id=2", "unknown query parameter \\\"id\\\""},
        {"filter=%", "not valid percent-encoded"},
        {"filter=%00", "not valid percent-encoded"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char *url = arena_printf(arena, "/api/v1/things/1?%s", cases[i].query);
        assert_answer("GET", url, 400, cases[i].text);
    }
}

static void test_cookies(void **state) {
    (void)state;
    static const struct {
        const char *header, *value;
    } cases[] = {
        {"weir=1", "1"},    {"a=b; weir=1; c=d", "1"}, {"xweir=2;weir=\"q\" ; b", "q"},
        {"weir", NULL},     {"weirx=1", NULL},         {"", NULL},
        {";;; ;weir=", ""}, {"a=weir=1", NULL},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const char *value = http_cookie_find(cases[i].header, "weir", arena);
        if (!cases[i].value)
            assert_null(value);
        else
            assert_string_equal(value, cases[i].value);
    }
}

static void test_body_rows(void **state) {
    (void)state;
    static const struct {
        const char *body, *text; /* NULL: accepted */
    } cases[] = {
        {"{\"name\":\"x\"}", NULL},
        {"{\"name\":\"x\",\"size\":10,\"weight\":1,\"solid\":true,\"tags\":[\"a\",\"b\"],"
         "\"order\":\"asc\",\"rest\":{\"any\":1}}",
         NULL},
        {"{}", "field \\\"name\\\" of the body is missing; accepted: text, from 1 to 8 bytes"},
        {"{\"name\":1}", "\\\"name\\\" of the body is not right"},
        {"{\"name\":\"\"}", "from 1 to 8 bytes"},
        {"{\"name\":\"x\",\"size\":\"1\"}", "an integer from 1 to 10"},
        {"{\"name\":\"x\",\"size\":1.0}", "an integer from 1 to 10"},
        {"{\"name\":\"x\",\"solid\":1}", "true or false"},
        {"{\"name\":\"x\",\"tags\":[\"a\",1]}", "a list"},
        {"{\"name\":\"x\",\"tags\":[\"a\",\"b\",\"c\"]}", "from 0 to 2 items"},
        {"{\"name\":\"x\",\"order\":\"up\"}", "one of asc, desc"},
        {"{\"name\":\"x\",\"nam\":\"y\"}", "unknown field \\\"nam\\\""},
    };
    const HttpRoute *route = NULL;
    HttpArguments arguments;
    assert_int_equal(http_route_find(thing_routes, N_ROUTES, "POST", "/api/v1/things", arena,
                                     &route, &arguments, &response),
                     0);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        json_t *root = json_loads(cases[i].body, 0, NULL);
        int r = http_body_check(route, root, &response);
        json_decref(root);
        assert_int_equal(r, cases[i].text ? HTTP_E_ANSWERED : 0);
        if (cases[i].text && !strstr(buffer_text(&response.body), cases[i].text))
            fail_msg("%s: %s", cases[i].body, buffer_text(&response.body));
    }
}

static void test_document(void **state) {
    (void)state;
    Buffer text = {0};
    for (size_t i = 0; thing_document[i]; i++)
        buffer_put_text(&text, thing_document[i]);
    json_t *root = json_loads(buffer_text(&text), 0, NULL);
    buffer_deinit(&text);
    const json_t *paths = json_object_get(root, "paths");
    assert_int_equal(json_object_size(paths), 4);
    const json_t *get = json_object_get(json_object_get(paths, "/things/{id}"), "get");
    const json_t *answer = json_object_get(json_object_get(get, "responses"), "200");
    assert_string_equal(json_string_value(json_object_get(answer, "description")), "Why?\?!");
    json_decref(root);
}

static void test_headers_stay_on_their_line(void **state) {
    (void)state;
    http_response_header(&response, "X", "a\r\nSet-Cookie: b");
    http_response_header(&response, "X\n", "a");
    http_response_header(&response, "", "a");
    assert_int_equal(response.headers.size, 0);
}

int main(void) {
#define TEST(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_finds_rows), TEST(test_finds_nothing),
        TEST(test_parameters), TEST(test_bad_parameters),
        TEST(test_cookies),    TEST(test_body_rows),
        TEST(test_document),   TEST(test_headers_stay_on_their_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
