/* SPDX-License-Identifier: Apache-2.0 */

/* Set-up, login, sessions and CSRF as a browser meets them: through the web server, with the
 * guard in place. Only the clock is ours. */

#include "http/test-client.h"

#include <stdatomic.h>
#include <sys/stat.h>

#include "http/server.h"
#include "http/tls.h"
#include "hub/auth-inside.h"

enum { MINUTE_MS = 60000, HOUR_MS = 60 * MINUTE_MS, DAY_MS = 24 * HOUR_MS };

static const char password[] = "correct horse";

static struct {
    HubAuthContext context; /* first, as in the hub */
    char folder[64];
    Settings *settings;
    HttpServer *server;
    uint16_t port, tls_port;
    _Atomic uint64_t now_ms;
    /* of the last answer */
    Buffer answer;
    char cookie[128];
    char csrf[128];
} fixture;

static uint64_t simulated_ms(void) {
    return fixture.now_ms;
}

static int handle_thing(HttpRequest *request, HttpResponse *response, void *context) {
    (void)context;
    buffer_printf(&response->body, "{\"asked\":\"%s\"}", request->user ? request->user : "nobody");
    return 0;
}

#define PUBLIC HTTP_PUBLIC, false, false, NULL, 0
static const HttpRoute routes[] = {
    {"GET", "/api/v1/setup", "getSetup", PUBLIC, api_get_setup},
    {"POST", "/api/v1/setup", "setup", HTTP_PUBLIC, true, true, NULL, 0, api_setup},
    {"POST", "/api/v1/login", "login", HTTP_PUBLIC, true, true, NULL, 0, api_login},
    {"POST", "/api/v1/logout", "logout", HTTP_VIEWER, true, false, NULL, 0, api_logout},
    {"GET", "/api/v1/session", "getSession", HTTP_VIEWER, false, false, NULL, 0, api_get_session},
    {"GET", "/open", "open", PUBLIC, handle_thing},
    {"GET", "/see", "see", HTTP_VIEWER, false, false, NULL, 0, handle_thing},
    {"POST", "/change", "change", HTTP_OPERATOR, true, false, NULL, 0, handle_thing},
    {"POST", "/rule", "rule", HTTP_ADMIN, true, false, NULL, 0, handle_thing},
};

/* fixture */

static char *path_of(const char *name) {
    static char path[128];
    (void)snprintf(path, sizeof(path), "%s/%s", fixture.folder, name);
    return path;
}

static void start(bool login_disabled) {
    static const char *const names[] = {"weir.example"};
    const AuthConfig auth = {
        .data_dir = fixture.folder,
        .host_names = names,
        .n_host_names = 1,
        .login_disabled = login_disabled,
        .clock_ms = simulated_ms,
    };
    const HttpConfig http = {
        .routes = routes,
        .n_routes = sizeof(routes) / sizeof(routes[0]),
        .guard = auth_guard,
        .context = &fixture.context,
    };
    const HttpListen listen = {.address = "127.0.0.1"};
    Reason reason = {0};
    assert_int_equal(settings_new(&fixture.settings, fixture.folder, &reason), 0);
    assert_int_equal(auth_new(&fixture.context.auth, fixture.settings, &auth, &reason), 0);
    assert_int_equal(http_server_new(&fixture.server, &http, &reason), 0);
    assert_int_equal(http_server_listen(fixture.server, &listen, &fixture.port, &reason), 0);
}

static void stop(void) {
    fixture.server = http_server_free(fixture.server);
    fixture.context.auth = auth_free(fixture.context.auth);
    fixture.settings = settings_free(fixture.settings);
}

static void add_user(const char *name, HttpAccess role) {
    SettingsUser user = {.role = role};
    (void)snprintf(user.name, sizeof(user.name), "%s", name);
    assert_int_equal(crypto_pwhash_str(user.password_hash, password, strlen(password), 1, 8192),
                     0); /* quick; the hash itself says how it was made */
    assert_int_equal(settings_user_add(fixture.settings, &user, 1), 0);
}

static int set_up(void **state) {
    (void)state;
    memset(&fixture, 0, sizeof(fixture));
    fixture.now_ms = 1700000000000;
    (void)snprintf(fixture.folder, sizeof(fixture.folder), "/tmp/weir-auth-XXXXXX");
    assert_non_null(mkdtemp(fixture.folder));
    start(false);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    stop();
    buffer_deinit(&fixture.answer);
    static const char *const names[] = {"weir.sqlite", "weir.sqlite-wal", "weir.sqlite-shm",
                                        "setup-link", ""};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        (void)remove(path_of(names[i]));
    return 0;
}

/* asking */

/** between() - the text behind `before`, up to `end`, or "" */
static void between(const char *text, const char *before, const char *end, char *out, size_t size) {
    const char *at = strstr(text, before);
    out[0] = 0;
    if (!at)
        return;
    at += strlen(before);
    (void)snprintf(out, size, "%.*s", (int)strcspn(at, end), at);
}

static void compose(Buffer *to, const char *method, const char *path, const char *headers,
                    const char *body) {
    buffer_printf(to, "%s %s HTTP/1.1\r\nConnection: close\r\n", method, path);
    if (!strstr(headers, "Host: "))
        buffer_put_text(to, "Host: localhost\r\n");
    if (*fixture.cookie)
        buffer_printf(to, "Cookie: theme=dark; %s\r\n", fixture.cookie);
    if (body)
        buffer_printf(to, "Content-Type: application/json\r\nContent-Length: %zu\r\n",
                      strlen(body));
    else if (strcmp(method, "POST") == 0)
        buffer_put_text(to, "Content-Length: 0\r\n");
    buffer_printf(to, "%s\r\n%s", headers, body ? body : "");
}

static int ask_at(uint16_t port, gnutls_certificate_credentials_t credentials, const char *method,
                  const char *path, const char *headers, const char *body) {
    Client client;
    Buffer request = {0};
    compose(&request, method, path, headers, body);
    client_open(&client, port, credentials);
    client_send_bytes(&client, request.bytes, request.size);
    assert_true(clients_wait(&client, 1, done_ended, NULL, 20000));
    buffer_clear(&fixture.answer);
    buffer_put(&fixture.answer, client.in.bytes, client.in.size);
    client_close(&client);
    buffer_deinit(&request);
    char status[16];
    between(buffer_text(&fixture.answer), "HTTP/1.1 ", " ", status, sizeof(status));
    return (int)strtol(status, NULL, 10);
}

static int ask(const char *method, const char *path, const char *headers, const char *body) {
    return ask_at(fixture.port, NULL, method, path, headers, body);
}

static bool answer_has(const char *text) {
    return strstr(buffer_text(&fixture.answer), text) != NULL;
}

/** enter() - what the browser does with the answer of a login */
static void enter(void) {
    const char *text = buffer_text(&fixture.answer);
    between(text, "Set-Cookie: ", ";", fixture.cookie, sizeof(fixture.cookie));
    between(text, "\"csrf_token\":\"", "\"", fixture.csrf, sizeof(fixture.csrf));
}

static int login(const char *name, const char *with) {
    char body[256];
    (void)snprintf(body, sizeof(body), "{\"name\":\"%s\",\"password\":\"%s\"}", name, with);
    fixture.cookie[0] = 0;
    int status = ask("POST", "/api/v1/login", "", body);
    if (status == 200)
        enter();
    return status;
}

static int change(const char *path) {
    char headers[256];
    (void)snprintf(headers, sizeof(headers), "X-CSRF-Token: %s\r\n", fixture.csrf);
    return ask("POST", path, headers, NULL);
}

static int set_up_with(const char *token, const char *name, const char *with) {
    char body[512];
    (void)snprintf(body, sizeof(body), "{\"token\":\"%s\",\"name\":\"%s\",\"password\":\"%s\"}",
                   token, name, with);
    return ask("POST", "/api/v1/setup", "", body);
}

/** new_link() - as at the hub's start; the token, or "" */
static void new_link(char token[AUTH_TOKEN_TEXT + 1]) {
    char link[256] = "?";
    Reason reason = {0};
    assert_int_equal(
        auth_setup_link(fixture.context.auth, "http://127.0.0.1:3000", link, sizeof(link), &reason),
        0);
    between(link, "http://127.0.0.1:3000/setup#", "\n", token, AUTH_TOKEN_TEXT + 1);
    assert_int_equal(strlen(token), *link ? AUTH_TOKEN_TEXT : 0);
}

/* the set-up */

static void test_setup(void **state) {
    (void)state;
    char stale[AUTH_TOKEN_TEXT + 1];
    char token[AUTH_TOKEN_TEXT + 1];
    new_link(stale);
    stop();
    start(false); /* each start makes a new one */
    new_link(token);
    assert_string_not_equal(stale, token);

    struct stat st;
    char text[128] = "";
    assert_int_equal(stat(path_of("setup-link"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    FILE *file = fopen(path_of("setup-link"), "r");
    assert_non_null(file);
    assert_non_null(fgets(text, sizeof(text), file));
    assert_int_equal(fclose(file), 0);
    assert_non_null(strstr(text, token));

    assert_int_equal(ask("GET", "/api/v1/setup", "", NULL), 200);
    assert_true(answer_has("{\"needed\":true}"));
    assert_int_equal(set_up_with(stale, "admin", password), 403);
    assert_true(answer_has("bad_setup_token"));
    assert_int_equal(set_up_with("", "admin", password), 403);
    assert_int_equal(set_up_with(token, "admin", "2short"), 400);
    assert_true(answer_has("at least 8 characters"));
    assert_int_equal(set_up_with(token, "admin", "\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4"), 400);
    assert_int_equal(set_up_with(token, "longenough", "longenough"), 400);
    assert_int_equal(set_up_with(token, "", password), 400);
    assert_int_equal(set_up_with(token, " admin", password), 400);
    assert_int_equal(set_up_with(token, "a\\u0007", password), 400);
    assert_int_equal(ask("GET", "/see", "", NULL), 401);

    assert_int_equal(set_up_with(token, "admin", password), 200);
    assert_true(answer_has("\"user\":\"admin\",\"role\":\"admin\""));
    enter();
    assert_int_equal(ask("GET", "/see", "", NULL), 200); /* it is a session, too */
    assert_int_equal(stat(path_of("setup-link"), &st), -1);
    assert_int_equal(set_up_with(token, "second", password), 409);
    assert_int_equal(ask("GET", "/api/v1/setup", "", NULL), 200);
    assert_true(answer_has("{\"needed\":false}"));
    new_link(token);
    assert_string_equal(token, "");
    assert_int_equal(login("Admin", password), 200);
}

static void test_setup_is_limited(void **state) {
    (void)state;
    char token[AUTH_TOKEN_TEXT + 1];
    new_link(token);
    for (int i = 0; i < 10; i++)
        assert_int_equal(set_up_with("guess", "admin", password), 403);
    assert_int_equal(set_up_with(token, "admin", password), 429);
    assert_true(answer_has("Retry-After: 6\r\n"));
    fixture.now_ms += 6000;
    assert_int_equal(set_up_with(token, "admin", password), 200);
}

/* login */

static void test_login(void **state) {
    (void)state;
    add_user("ada", HTTP_ADMIN);
    assert_int_equal(ask("GET", "/api/v1/session", "", NULL), 401);
    assert_true(answer_has("{\"error\":{\"code\":\"login_required\""));
    assert_int_equal(login("ada", "wrong password"), 401);
    char first[256];
    between(buffer_text(&fixture.answer), "{", "\n", first, sizeof(first));
    assert_int_equal(login("nobody", password), 401); /* said in the same words */
    assert_true(answer_has(first));
    assert_false(answer_has("Set-Cookie"));
    assert_int_equal(ask("POST", "/api/v1/login", "", "{\"name\":\"ada\"}"), 400);
    assert_int_equal(ask("POST", "/api/v1/login", "", "[]"), 400);
    assert_int_equal(ask("POST", "/api/v1/login", "", "{"), 400);
    assert_int_equal(ask("POST", "/api/v1/login", "", NULL), 415);

    assert_int_equal(login("ada", password), 200);
    assert_true(answer_has("; HttpOnly; SameSite=Strict\r\n"));
    assert_true(answer_has("Set-Cookie: weir="));
    assert_true(answer_has("Cache-Control: no-store"));
    assert_true(answer_has("\"login_disabled\":false"));
    char csrf[128];
    assert_int_equal(ask("GET", "/api/v1/session", "", NULL), 200);
    between(buffer_text(&fixture.answer), "\"csrf_token\":\"", "\"", csrf, sizeof(csrf));
    assert_string_equal(csrf, fixture.csrf);
    assert_string_not_equal(csrf, fixture.cookie + strlen("weir="));
    assert_int_equal(auth_metrics(fixture.context.auth)[AUTH_METRIC_LOGINS], 1);
    assert_int_equal(auth_metrics(fixture.context.auth)[AUTH_METRIC_LOGINS_FAILED], 2);
}

static void test_csrf_and_logout(void **state) {
    (void)state;
    add_user("ada", HTTP_ADMIN);
    assert_int_equal(login("ada", password), 200);
    char right[128];
    (void)snprintf(right, sizeof(right), "%s", fixture.csrf);
    assert_int_equal(change("/change"), 200);
    assert_int_equal(ask("POST", "/change", "", NULL), 403);
    assert_true(answer_has("bad_csrf_token"));
    fixture.csrf[10] ^= 1;
    assert_int_equal(change("/change"), 403);
    fixture.csrf[10] = 0;
    assert_int_equal(change("/change"), 403);
    /* another session's token does not do */
    assert_int_equal(login("ada", password), 200);
    char cookie[128];
    (void)snprintf(cookie, sizeof(cookie), "%s", fixture.cookie);
    (void)snprintf(fixture.csrf, sizeof(fixture.csrf), "%s", right);
    assert_int_equal(change("/change"), 403);
    assert_int_equal(change("/api/v1/logout"), 403);

    assert_int_equal(login("ada", password), 200);
    assert_int_equal(change("/api/v1/logout"), 200);
    assert_true(answer_has("{\"closed\":true}"));
    assert_true(answer_has("Set-Cookie: weir=; Path=/; Max-Age=0"));
    assert_int_equal(ask("GET", "/see", "", NULL), 401);
    (void)snprintf(fixture.cookie, sizeof(fixture.cookie), "%s", cookie);
    assert_int_equal(ask("GET", "/see", "", NULL), 200); /* the other session goes on */
}

static void test_roles(void **state) {
    (void)state;
    static const struct {
        HttpAccess role;
        int see, change, rule;
    } cases[] = {
        {HTTP_VIEWER, 200, 403, 403},
        {HTTP_OPERATOR, 200, 200, 403},
        {HTTP_ADMIN, 200, 200, 200},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const char *name = http_access_names[cases[i].role];
        add_user(name, cases[i].role);
        assert_int_equal(login(name, password), 200);
        assert_int_equal(ask("GET", "/open", "", NULL), 200);
        assert_true(answer_has(name)); /* known on public routes, too */
        assert_int_equal(ask("GET", "/see", "", NULL), cases[i].see);
        assert_int_equal(change("/change"), cases[i].change);
        assert_int_equal(change("/rule"), cases[i].rule);
    }
    assert_int_equal(login("viewer", password), 200);
    assert_int_equal(change("/rule"), 403);
    assert_true(answer_has("this needs the role admin; viewer is viewer"));
}

static void test_false_cookies(void **state) {
    (void)state;
    add_user("ada", HTTP_ADMIN);
    assert_int_equal(login("ada", password), 200);
    size_t size = strlen(fixture.cookie);
    char right = fixture.cookie[size - 1];
    fixture.cookie[size - 1] = right == '0' ? '1' : '0';
    assert_int_equal(ask("GET", "/see", "", NULL), 401);
    fixture.cookie[size - 1] = 0;
    assert_int_equal(ask("GET", "/see", "", NULL), 401);
    (void)snprintf(fixture.cookie, sizeof(fixture.cookie), "weir=");
    assert_int_equal(ask("GET", "/see", "", NULL), 401);
}

static void test_sessions_end(void **state) {
    (void)state;
    add_user("ada", HTTP_VIEWER);
    /* idle for 12 h */
    assert_int_equal(login("ada", password), 200);
    fixture.now_ms += 11 * HOUR_MS;
    assert_int_equal(ask("GET", "/see", "", NULL), 200); /* which makes it young again */
    fixture.now_ms += 11 * HOUR_MS;
    assert_int_equal(ask("GET", "/see", "", NULL), 200);
    fixture.now_ms += 12 * HOUR_MS;
    assert_int_equal(ask("GET", "/see", "", NULL), 401);
    fixture.now_ms -= 6 * HOUR_MS; /* a clock that steps back does not bring it back */
    assert_int_equal(ask("GET", "/see", "", NULL), 401);
    /* used all the time, but 30 days old */
    assert_int_equal(login("ada", password), 200);
    stop();
    start(false); /* sessions outlive the hub's process */
    for (int i = 0; i < 30 * 4 - 1; i++) {
        fixture.now_ms += DAY_MS / 4;
        assert_int_equal(ask("GET", "/see", "", NULL), 200);
    }
    fixture.now_ms += DAY_MS / 4;
    assert_int_equal(ask("GET", "/see", "", NULL), 401);
}

static void test_login_is_limited(void **state) {
    (void)state;
    add_user("ada", HTTP_ADMIN);
    for (int i = 0; i < 10; i++)
        assert_int_equal(login("ada", "wrong password"), 401);
    assert_int_equal(login("ada", password), 429);
    assert_true(answer_has("Retry-After: 6\r\n"));
    assert_int_equal(login("other", password), 429); /* the address is what is limited */
    fixture.now_ms += 5999;
    assert_int_equal(login("ada", password), 429);
    fixture.now_ms += 1;
    for (int i = 0; i < 15; i++) /* good logins do not count */
        assert_int_equal(login("ada", password), 200);
    assert_int_equal(auth_metrics(fixture.context.auth)[AUTH_METRIC_LOGINS_LIMITED], 3);
}

/* whence */

static void test_other_places(void **state) {
    (void)state;
    add_user("ada", HTTP_ADMIN);
    assert_int_equal(ask("GET", "/open", "Host: evil.example\r\n", NULL), 403);
    assert_true(answer_has("--public-address"));
    assert_int_equal(ask("GET", "/open", "Host: WEIR.example:3000\r\n", NULL), 200);
    assert_int_equal(ask("GET", "/open", "Host: 192.0.2.7:3000\r\n", NULL), 200);
    const char body[] = "{\"name\":\"ada\",\"password\":\"correct horse\"}";
    const char *const refused[] = {
        "Origin: http://evil.example\r\n",
        "Origin: null\r\n",
        "Origin: http://localhost:8080\r\n",
        "Origin: http://localhost.evil.example\r\n",
        "Host: evil.example\r\nOrigin: http://evil.example\r\n",
    };
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++)
        assert_int_equal(ask("POST", "/api/v1/login", refused[i], body), 403);
    assert_int_equal(ask("POST", "/api/v1/login", "Origin: http://localhost\r\n", body), 200);
}

static void test_login_disabled(void **state) {
    (void)state;
    stop();
    start(true);
    assert_int_equal(ask("GET", "/api/v1/session", "", NULL), 200);
    assert_true(answer_has("\"role\":\"admin\",\"csrf_token\":\"\""));
    assert_true(answer_has("\"login_disabled\":true"));
    assert_int_equal(ask("GET", "/api/v1/setup", "", NULL), 200);
    assert_true(answer_has("{\"needed\":false}"));
    assert_int_equal(change("/rule"), 200);
    assert_int_equal(ask("POST", "/rule", "Origin: http://evil.example\r\n", NULL), 403);
    assert_int_equal(ask("GET", "/see", "Host: evil.example\r\n", NULL), 403);
    assert_int_equal(ask("GET", "/see", "X-Forwarded-For: 192.0.2.1\r\n", NULL), 403);
    assert_int_equal(ask("GET", "/see", "X-Real-IP: 192.0.2.1\r\n", NULL), 403);
    assert_int_equal(ask("POST", "/api/v1/login", "", "{\"name\":\"a\",\"password\":\"b\"}"), 409);
    assert_int_equal(change("/api/v1/logout"), 409);
}

static void test_tls(void **state) {
    (void)state;
    add_user("ada", HTTP_ADMIN);
    Buffer certificate = {0};
    Buffer key = {0};
    const char *const names[] = {"localhost"};
    assert_int_equal(http_tls_self_signed(&certificate, &key, names, 1, clock_wall_ms() / 1000, 1),
                     0);
    const HttpListen listen = {.address = "127.0.0.1",
                               .certificate_pem = buffer_text(&certificate),
                               .key_pem = buffer_text(&key)};
    assert_int_equal(http_server_listen(fixture.server, &listen, &fixture.tls_port, NULL), 0);
    buffer_deinit(&certificate);
    buffer_deinit(&key);
    gnutls_certificate_credentials_t credentials;
    assert_int_equal(gnutls_certificate_allocate_credentials(&credentials), 0);
    assert_int_equal(ask_at(fixture.tls_port, credentials, "POST", "/api/v1/login",
                            "Origin: https://localhost\r\n",
                            "{\"name\":\"ada\",\"password\":\"correct horse\"}"),
                     200);
    assert_true(answer_has("Set-Cookie: __Host-weir="));
    assert_true(answer_has("; HttpOnly; SameSite=Strict; Secure\r\n"));
    enter();
    assert_int_equal(ask_at(fixture.tls_port, credentials, "GET", "/see", "", NULL), 200);
    assert_int_equal(ask("GET", "/see", "", NULL), 401); /* it is not for the plain listener */
    gnutls_certificate_free_credentials(credentials);
}

static void test_flood_of_logins(void **state) {
    (void)state;
    enum { CLIENTS = 24 };
    char token[AUTH_TOKEN_TEXT + 1];
    new_link(token);
    assert_int_equal(set_up_with(token, "ada", password), 200); /* hashed at full cost */
    Client clients[CLIENTS];
    Buffer request = {0};
    compose(&request, "POST", "/api/v1/login", "",
            "{\"name\":\"ada\",\"password\":\"correct horse\"}");
    for (size_t i = 0; i < CLIENTS; i++)
        client_open(&clients[i], fixture.port, NULL);
    for (size_t i = 0; i < CLIENTS; i++)
        client_send_bytes(&clients[i], request.bytes, request.size);
    uint64_t start_ms = clock_monotonic_ms();
    assert_int_equal(ask("GET", "/open", "", NULL), 200);
    uint64_t other_ms = clock_monotonic_ms() - start_ms;
    assert_true(clients_wait(clients, CLIENTS, done_ended, NULL, 60000));
    size_t good = 0;
    size_t limited = 0;
    for (size_t i = 0; i < CLIENTS; i++) {
        good += client_has(&clients[i], "HTTP/1.1 200");
        limited += client_has(&clients[i], "HTTP/1.1 429");
        client_close(&clients[i]);
    }
    (void)printf("%d logins at once: %zu in, %zu told to wait; another request took %u ms\n",
                 CLIENTS, good, limited, (unsigned)other_ms);
    assert_true(good >= 2);
    assert_int_equal(good + limited, CLIENTS);
    buffer_deinit(&request);
}

int main(void) {
#define TEST(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_setup),        TEST(test_setup_is_limited),
        TEST(test_login),        TEST(test_csrf_and_logout),
        TEST(test_roles),        TEST(test_false_cookies),
        TEST(test_sessions_end), TEST(test_login_is_limited),
        TEST(test_other_places), TEST(test_login_disabled),
        TEST(test_tls),          TEST(test_flood_of_logins),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
