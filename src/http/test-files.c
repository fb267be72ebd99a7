/* SPDX-License-Identifier: Apache-2.0 */

/* The files of the browser application, as a client sees them. */

#include "http/test-client.h"

#include <sys/stat.h>

#include "http/server.h"

static struct {
    char folder[64];
    HttpServer *server;
    uint16_t port;
} fixture;

static void put_file(const char *name, const char *text) {
    char path[256];
    (void)snprintf(path, sizeof(path), "%s/%s", fixture.folder, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void forget(const char *name) {
    char path[256];
    (void)snprintf(path, sizeof(path), "%s/%s", fixture.folder, name);
    (void)remove(path);
}

static int handle_metrics(HttpRequest *request, HttpResponse *response, void *context) {
    (void)request;
    (void)context;
    buffer_put_text(&response->body, "from the handler");
    return 0;
}

static const HttpRoute routes[] = {
    {"GET", "/metrics", "metrics", HTTP_PUBLIC, false, false, NULL, 0, handle_metrics},
};

static const char *const names[] = {"web/index.html",
                                    "web/index.html.gz",
                                    "web/assets/a-1234.js",
                                    "web/assets/a-1234.js.gz",
                                    "web/assets/style.css",
                                    "web/.hidden",
                                    "web/link",
                                    "web/archive.tar.gz",
                                    "web/with space.svg",
                                    "web/empty.txt",
                                    "secret"};

static int set_up(void **state) {
    (void)state;
    (void)snprintf(fixture.folder, sizeof(fixture.folder), "/tmp/weir-files-XXXXXX");
    assert_non_null(mkdtemp(fixture.folder));
    char path[128];
    (void)snprintf(path, sizeof(path), "%s/web", fixture.folder);
    assert_int_equal(mkdir(path, 0700), 0);
    (void)snprintf(path, sizeof(path), "%s/web/assets", fixture.folder);
    assert_int_equal(mkdir(path, 0700), 0);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (strcmp(names[i], "web/link") != 0 && strcmp(names[i], "web/empty.txt") != 0)
            put_file(names[i], names[i]);
    put_file("web/empty.txt", "");
    (void)snprintf(path, sizeof(path), "%s/web/link", fixture.folder);
    assert_int_equal(symlink("../secret", path), 0);

    (void)snprintf(path, sizeof(path), "%s/web", fixture.folder);
    const HttpConfig config = {.routes = routes, .n_routes = 1, .static_dir = path};
    const HttpListen listen = {.address = "127.0.0.1"};
    Reason reason = {0};
    assert_int_equal(http_server_new(&fixture.server, &config, &reason), 0);
    assert_int_equal(http_server_listen(fixture.server, &listen, &fixture.port, &reason), 0);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    fixture.server = http_server_free(fixture.server);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        forget(names[i]);
    forget("web/assets");
    forget("web");
    forget("");
    return 0;
}

/** fetch() - the whole answer; the client must be closed */
static const char *fetch(Client *client, const char *path, const char *headers) {
    client_open(client, fixture.port, NULL);
    char text[1024];
    (void)snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\nHost: a\r\nConnection: close\r\n%s\r\n",
                   path, headers);
    client_send(client, text);
    assert_true(clients_wait(client, 1, done_ended, NULL, 5000));
    return buffer_text(&client->in);
}

typedef struct Case {
    const char *path, *headers;
    const char *status, *type, *body; /* NULL: not looked at */
    const char *cache;
} Case;

static const Case cases[] = {
    {"/", "", "200", "text/html; charset=utf-8", "web/index.html", "no-cache"},
    {"/index.html", "", "200", "text/html; charset=utf-8", "web/index.html", "no-cache"},
    {"/", "Accept-Encoding: br, gzip\r\n", "200", "text/html", "web/index.html.gz", "no-cache"},
    {"/", "Accept-Encoding: gzip;q=0\r\n", "200", "text/html", "web/index.html", "no-cache"},
    {"/assets/a-1234.js", "", "200", "text/javascript", "web/assets/a-1234.js", "immutable"},
    {"/assets/a-1234.js", "Accept-Encoding: gzip\r\n", "200", "text/javascript",
     "web/assets/a-1234.js.gz", "immutable"},
    {"/assets/style.css", "Accept-Encoding: gzip\r\n", "200", "text/css", "web/assets/style.css",
     "immutable"},
    {"/archive.tar.gz", "", "200", "application/octet-stream", "web/archive.tar.gz", "no-cache"},
    {"/with%20space.svg?x=1", "", "200", "image/svg+xml", "web/with space.svg", "no-cache"},
    {"/empty.txt", "", "200", "text/plain", "", "no-cache"},
    /* paths of the application */
    {"/flows", "", "200", "text/html", "web/index.html", "no-cache"},
    {"/hosts/192.0.2.1", "", "200", "text/html", "web/index.html", "no-cache"},
    /* what is not there */
    {"/assets/gone.js", "", "404", "application/json", NULL, "no-store"},
    {"/api/gone", "", "404", "application/json", NULL, "no-store"},
    {"/api", "", "404", "application/json", NULL, "no-store"},
    /* what must not be seen: the application answers instead */
    {"/.hidden", "", "200", "text/html", "web/index.html", "no-cache"},
    {"/link", "", "200", "text/html", "web/index.html", "no-cache"},
    {"/../secret", "", "200", "text/html", "web/index.html", "no-cache"},
    {"/%2e%2e/secret", "", "200", "text/html", "web/index.html", "no-cache"},
    {"/assets/../../secret", "", "404", "application/json", NULL, "no-store"},
    {"/assets/..%2f..%2fsecret", "", "404", "application/json", NULL, "no-store"},
    {"/index.html%00.js", "", "404", "application/json", NULL, "no-store"},
    /* routes come first */
    {"/metrics", "", "200", NULL, "from the handler", "no-store"},
};

static void test_cases(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const Case *c = &cases[i];
        Client client;
        const char *answer = fetch(&client, c->path, c->headers);
        char expected[256];
        (void)snprintf(expected, sizeof(expected), "HTTP/1.1 %s ", c->status);
        bool right = strstr(answer, expected) && strstr(answer, c->cache) &&
                     strstr(answer, "X-Content-Type-Options: nosniff") &&
                     strstr(answer, "frame-ancestors 'none'");
        (void)snprintf(expected, sizeof(expected), "Content-Type: %s", c->type ? c->type : "");
        right = right && strstr(answer, expected);
        const char *body = strstr(answer, "\r\n\r\n");
        right = right && body && (!c->body || strcmp(body + 4, c->body) == 0);
        bool gzip = c->body && strstr(c->body, ".gz") && strstr(c->headers, "gzip");
        right = right && gzip == (strstr(answer, "Content-Encoding: gzip") != NULL);
        if (!right)
            fail_msg("%s %s\n%s", c->path, c->headers, answer);
        client_close(&client);
    }
}

static void test_unchanged(void **state) {
    (void)state;
    Client client;
    const char *etag = strstr(fetch(&client, "/", ""), "ETag: ");
    assert_non_null(etag);
    char headers[128];
    (void)snprintf(headers, sizeof(headers), "If-None-Match: W/\"x\", %.18s\r\n", etag + 6);
    client_close(&client);
    const char *answer = fetch(&client, "/", headers);
    assert_non_null(strstr(answer, "HTTP/1.1 304 "));
    assert_null(strstr(answer, "web/index.html"));
    assert_non_null(strstr(answer, "ETag: "));
    client_close(&client);
    /* compressed it is another entity */
    (void)strncat(headers, "Accept-Encoding: gzip\r\n", sizeof(headers) - strlen(headers) - 1);
    assert_non_null(strstr(fetch(&client, "/", headers), "HTTP/1.1 200 "));
    client_close(&client);
}

static void test_methods(void **state) {
    (void)state;
    Client client;
    client_open(&client, fixture.port, NULL);
    client_send(&client, "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_true(client_wait(&client, "Content-Length: 14\r\n", 3000));
    assert_true(client_has(&client, "\r\n\r\n"));
    assert_false(client_has(&client, "web/index.html"));
    client_send(&client, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
    assert_true(client_wait(&client, "HTTP/1.1 404 ", 3000));
    client_close(&client);
}

static void test_bad_folder(void **state) {
    (void)state;
    Reason reason = {0};
    HttpServer *server = NULL;
    HttpConfig config = {.static_dir = "/nonexistent/web"};
    assert_int_equal(http_server_new(&server, &config, &reason), HTTP_SERVER_E_REFUSED);
    assert_non_null(strstr(reason.text, "/nonexistent/web"));
    config.static_dir = fixture.folder;
    assert_int_equal(http_server_new(&server, &config, &reason), HTTP_SERVER_E_REFUSED);
    assert_non_null(strstr(reason.text, "no index.html"));
    assert_null(server);
}

int main(void) {
#define TEST(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_cases),
        TEST(test_unchanged),
        TEST(test_methods),
        TEST(test_bad_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
