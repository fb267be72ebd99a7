/* SPDX-License-Identifier: Apache-2.0 */

/* The web server under load and under bad clients, with real sockets on loopback. */

#include "http/test-client.h"

#include <stdatomic.h>
#include <time.h>

#include "http/server.h"
#include "http/sse.h"
#include "http/tls.h"

enum {
    CLIENTS = 200,
    WORKERS = 4,
    SLOW_MS = 50,
    EVENTS = 100,
    SSE_QUEUE = 128, /* room for all events, so that none may be missing */
    TIMEOUT_MS = 700,
    KEEPALIVE_MS = 300,
};

static struct {
    HttpServer *server;
    uint16_t plain, secure;
    gnutls_certificate_credentials_t credentials;
    atomic_int running, running_max, handled, gone;
} fixture;

/* handlers */

static void sleep_ms(unsigned ms) {
    const struct timespec ts = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};
    (void)nanosleep(&ts, NULL);
}

static int handle_slow(HttpRequest *request, HttpResponse *response, void *context) {
    (void)context;
    int now = atomic_fetch_add(&fixture.running, 1) + 1;
    int max = atomic_load(&fixture.running_max);
    while (now > max && !atomic_compare_exchange_weak(&fixture.running_max, &max, now))
        ;
    sleep_ms(SLOW_MS);
    buffer_printf(&response->body, "{\"id\":\"%s\"}", http_param(request, "id"));
    atomic_fetch_add(&fixture.handled, 1);
    atomic_fetch_sub(&fixture.running, 1);
    return 0;
}

static int handle_long(HttpRequest *request, HttpResponse *response, void *context) {
    (void)context;
    for (int i = 0; i < 200 && !http_request_gone(request); i++)
        sleep_ms(10);
    if (http_request_gone(request))
        atomic_fetch_add(&fixture.gone, 1);
    buffer_put_text(&response->body, "{}");
    return 0;
}

static int handle_events(HttpRequest *request, HttpResponse *response, void *context) {
    (void)context;
    http_sse_write(&response->body, "hello", "{\"first\":true}");
    return http_sse_subscribe(fixture.server, response, http_param(request, "channels"));
}

static int handle_echo(HttpRequest *request, HttpResponse *response, void *context) {
    (void)context;
    buffer_put(&response->body, request->body, request->body_size);
    response->content_type = "text/plain";
    return 0;
}

static int handle_broken(HttpRequest *request, HttpResponse *response, void *context) {
    (void)request;
    (void)context;
    buffer_put_text(&response->body, "half an answer");
    return -EIO;
}

static const HttpParamRow slow_params[] = {{.name = "id", .in = HTTP_IN_PATH, .required = true}};
static const HttpParamRow event_params[] = {
    {.name = "channels", .in = HTTP_IN_QUERY, .unset = "live"}};
static const HttpRoute routes[] = {
    {"GET", "/api/slow/{id}", "slow", HTTP_PUBLIC, false, false, slow_params, 1, handle_slow},
    {"GET", "/api/long", "long", HTTP_PUBLIC, false, false, NULL, 0, handle_long},
    {"GET", "/api/events", "events", HTTP_PUBLIC, false, false, event_params, 1, handle_events},
    {"POST", "/api/echo", "echo", HTTP_PUBLIC, false, true, NULL, 0, handle_echo},
    {"GET", "/api/broken", "broken", HTTP_PUBLIC, false, false, NULL, 0, handle_broken},
};

/* one server with a plain and a TLS listener */

static int set_up_with(unsigned request_timeout_ms) {
    memset(&fixture, 0, sizeof(fixture));
    const HttpConfig config = {
        .routes = routes,
        .n_routes = sizeof(routes) / sizeof(routes[0]),
        .workers = WORKERS,
        .request_timeout_ms = request_timeout_ms,
        .sse_queue_max = SSE_QUEUE,
        .sse_keepalive_ms = KEEPALIVE_MS,
    };
    Reason reason = {0};
    assert_int_equal(http_server_new(&fixture.server, &config, &reason), 0);
    const HttpListen plain = {.address = "127.0.0.1"};
    assert_int_equal(http_server_listen(fixture.server, &plain, &fixture.plain, &reason), 0);

    Buffer certificate = {0};
    Buffer key = {0};
    const char *const names[] = {"localhost", "127.0.0.1"};
    assert_int_equal(http_tls_self_signed(&certificate, &key, names, 2, clock_wall_ms() / 1000, 30),
                     0);
    const HttpListen secure = {
        .address = "127.0.0.1",
        .certificate_pem = buffer_text(&certificate),
        .key_pem = buffer_text(&key),
    };
    assert_int_equal(http_server_listen(fixture.server, &secure, &fixture.secure, &reason), 0);
    assert_int_equal(gnutls_certificate_allocate_credentials(&fixture.credentials), 0);
    buffer_deinit(&certificate);
    buffer_deinit(&key);
    return 0;
}

static int set_up(void **state) {
    (void)state;
    return set_up_with(0);
}

static int set_up_short(void **state) {
    (void)state;
    return set_up_with(TIMEOUT_MS);
}

static int tear_down(void **state) {
    (void)state;
    fixture.server = http_server_free(fixture.server);
    gnutls_certificate_free_credentials(fixture.credentials);
    return 0;
}

static uint64_t metric(size_t which) {
    return metric_get(&http_server_metrics(fixture.server)[which]);
}

static void open_clients(Client *clients, size_t n, bool tls) {
    for (size_t i = 0; i < n; i++)
        client_open(&clients[i], tls ? fixture.secure : fixture.plain,
                    tls ? fixture.credentials : NULL);
}

static void close_clients(Client *clients, size_t n) {
    for (size_t i = 0; i < n; i++)
        client_close(&clients[i]);
}

/* many at once */

static void slow_handlers(bool tls) {
    static Client clients[CLIENTS];
    open_clients(clients, CLIENTS, tls);
    uint64_t start_ms = clock_monotonic_ms();
    for (size_t i = 0; i < CLIENTS; i++) {
        char path[64];
        (void)snprintf(path, sizeof(path), "/api/slow/client%%20%zu", i);
        client_get(&clients[i], path);
    }
    assert_true(clients_wait(clients, CLIENTS, done_text, "}", 30000));
    uint64_t took_ms = clock_monotonic_ms() - start_ms;
    for (size_t i = 0; i < CLIENTS; i++) {
        char expected[64];
        (void)snprintf(expected, sizeof(expected), "\r\n\r\n{\"id\":\"client %zu\"}", i);
        assert_true(client_has(&clients[i], "HTTP/1.1 200 OK"));
        assert_true(client_has(&clients[i], expected));
    }
    (void)printf("%d clients, handlers of %d ms, %d workers: %u ms (%s)\n", CLIENTS, SLOW_MS,
                 WORKERS, (unsigned)took_ms, tls ? "TLS" : "plain");
    assert_int_equal(fixture.running_max, WORKERS);
    assert_int_equal(fixture.handled, CLIENTS);
    assert_int_equal(metric(HTTP_METRIC_BUSY), 0);
    assert_true(took_ms >= CLIENTS * SLOW_MS / WORKERS);
    close_clients(clients, CLIENTS);
}

static void test_slow_handlers(void **state) {
    (void)state;
    slow_handlers(false);
}

static void test_slow_handlers_tls(void **state) {
    (void)state;
    slow_handlers(true);
}

static bool done_events(Client *client, const void *what) {
    return client_events(client) >= *(const size_t *)what;
}

/** check_order() - each event once, in the order of publishing */
static void check_order(Client *client, size_t n) {
    const char *at = buffer_text(&client->in);
    for (size_t i = 0; i < n; i++) {
        at = strstr(at, "event: live\ndata: {\"n\":");
        assert_non_null(at);
        at += strlen("event: live\ndata: {\"n\":");
        assert_int_equal(strtoul(at, NULL, 10), i);
    }
    assert_null(strstr(at, "event: live"));
}

static void subscribe(Client *clients, size_t n) {
    for (size_t i = 0; i < n; i++)
        client_get(&clients[i], "/api/events?channels=other%2Clive");
    assert_true(clients_wait(clients, n, done_text, "event: hello\n", 10000));
    for (size_t i = 0; i < n; i++)
        assert_true(client_has(&clients[i], "text/event-stream"));
    assert_int_equal(http_sse_subscribers(fixture.server, "live"), n);
}

static void publish(size_t from, size_t to, const char *padding) {
    for (size_t i = from; i < to; i++) {
        char json[8192];
        (void)snprintf(json, sizeof(json), "{\"n\":%zu,\"padding\":\"%s\"}", i, padding);
        assert_int_equal(http_sse_publish(fixture.server, "live", json), 0);
    }
}

static void events(bool tls) {
    static Client clients[CLIENTS];
    open_clients(clients, CLIENTS, tls);
    subscribe(clients, CLIENTS);
    uint64_t start_ms = clock_monotonic_ms();
    assert_int_equal(http_sse_publish(fixture.server, "nobody", "{}"), 0);
    for (size_t i = 0; i < EVENTS; i += 10) {
        publish(i, i + 10, "");
        sleep_ms(3); /* so that the streams run empty and are woken many times */
    }
    uint64_t published_ms = clock_monotonic_ms();
    const size_t expected = EVENTS;
    assert_true(clients_wait(clients, CLIENTS, done_events, &expected, 20000));
    uint64_t end_ms = clock_monotonic_ms();
    (void)printf("%d subscribers, %d events: published in %u ms, all read in %u ms (%s)\n", CLIENTS,
                 EVENTS, (unsigned)(published_ms - start_ms), (unsigned)(end_ms - start_ms),
                 tls ? "TLS" : "plain");
    for (size_t i = 0; i < CLIENTS; i++)
        check_order(&clients[i], EVENTS);
    assert_int_equal(metric(HTTP_METRIC_EVENTS_DROPPED), 0);
    close_clients(clients, CLIENTS);
}

static void test_events(void **state) {
    (void)state;
    events(false);
}

static void test_events_tls(void **state) {
    (void)state;
    events(true);
}

static void test_event_is_prompt(void **state) {
    (void)state;
    Client client;
    client_open(&client, fixture.plain, NULL);
    subscribe(&client, 1);
    uint64_t worst_ms = 0;
    for (size_t i = 0; i < 20; i++) {
        uint64_t start_ms = clock_monotonic_ms();
        publish(i, i + 1, "");
        size_t expected = i + 1;
        assert_true(clients_wait(&client, 1, done_events, &expected, 5000));
        uint64_t took_ms = clock_monotonic_ms() - start_ms;
        worst_ms = took_ms > worst_ms ? took_ms : worst_ms;
    }
    (void)printf("event to reader: at worst %u ms\n", (unsigned)worst_ms);
    assert_true(worst_ms < 150); /* nothing holds small writes back */
    client_close(&client);
}

/* bad readers */

static void test_reader_that_stalls(void **state) {
    (void)state;
    enum { MANY = 3000, STEP = 50 };
    static char padding[4001];
    memset(padding, 'x', sizeof(padding) - 1);
    Client clients[2];
    open_clients(clients, 2, false);
    subscribe(clients, 2);
    Client *good = &clients[0];
    Client *stalled = &clients[1];
    uint64_t publishing_ms = 0;
    for (size_t i = 0; i < MANY; i += STEP) {
        uint64_t start_ms = clock_monotonic_ms();
        publish(i, i + STEP, padding);
        publishing_ms += clock_monotonic_ms() - start_ms;
        size_t expected = i + STEP;
        assert_true(clients_wait(good, 1, done_events, &expected, 60000));
    }
    assert_true(publishing_ms < 10000); /* it does not wait for who stalls */
    check_order(good, MANY);
    uint64_t dropped = metric(HTTP_METRIC_EVENTS_DROPPED);
    assert_true(dropped > 0);

    /* when it reads again, it is told how many it lost, and nothing else is missing */
    char last[32];
    (void)snprintf(last, sizeof(last), "{\"n\":%d,", MANY - 1);
    assert_true(client_wait(stalled, last, 60000));
    const char *told = strstr(buffer_text(&stalled->in), "event: dropped\ndata: {\"events\":");
    assert_non_null(told);
    assert_int_equal(strtoul(told + strlen("event: dropped\ndata: {\"events\":"), NULL, 10),
                     dropped);
    assert_int_equal(client_count(stalled, "event: live\n") + dropped, MANY);
    close_clients(clients, 2);
}

static bool wait_subscribers(size_t n, unsigned timeout_ms) {
    uint64_t until_ms = clock_monotonic_ms() + timeout_ms;
    while (http_sse_subscribers(fixture.server, "live") != n && clock_monotonic_ms() < until_ms)
        sleep_ms(10);
    return http_sse_subscribers(fixture.server, "live") == n;
}

static void test_reader_that_leaves(void **state) {
    (void)state;
    for (int tls = 0; tls < 2; tls++) {
        Client clients[20];
        open_clients(clients, 20, tls);
        subscribe(clients, 20);
        close_clients(clients, 20);
        assert_true(wait_subscribers(0, 3000)); /* noticed with nothing published */
    }
}

static void test_keepalive(void **state) {
    (void)state;
    Client client;
    client_open(&client, fixture.plain, NULL);
    uint64_t start_ms = clock_monotonic_ms();
    subscribe(&client, 1);
    sleep_ms(1000);
    client_read(&client);
    size_t n = client_count(&client, ": \n\n");
    assert_true(n >= 1 && n <= (clock_monotonic_ms() - start_ms) / KEEPALIVE_MS);
    client_close(&client);
}

static void test_client_that_leaves_early(void **state) {
    (void)state;
    for (int tls = 0; tls < 2; tls++) {
        Client client;
        open_clients(&client, 1, tls);
        client_get(&client, "/api/long");
        sleep_ms(100);
        client_close(&client);
        for (int i = 0; i < 100 && fixture.gone != tls + 1; i++)
            sleep_ms(10);
        assert_int_equal(fixture.gone, tls + 1); /* and the handler could stop */
    }
    /* before the request is complete */
    Client half;
    open_clients(&half, 1, false);
    client_send(&half, "POST /api/echo HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nonly");
    sleep_ms(50);
    client_close(&half);
    Client client;
    open_clients(&client, 1, false);
    client_get(&client, "/api/slow/1");
    assert_true(client_wait(&client, "{\"id\":\"1\"}", 5000));
    client_close(&client);
}

/* bad requests */

typedef struct BadRequest {
    const char *text;
    const char *expected;
} BadRequest;

static const BadRequest bad_requests[] = {
    {"GET /api/none HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 404"},
    {"GET /api/../etc/passwd HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 404"},
    {"GET /%2e%2e/etc/passwd HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 404"},
    {"POST /api/long HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", "Allow: GET"},
    {"GET /api/slow/%zz HTTP/1.1\r\nHost: a\r\n\r\n", "bad_path"},
    {"GET /api/slow/a%00b HTTP/1.1\r\nHost: a\r\n\r\n", "bad_path"},
    {"GET /api/events?channel=x HTTP/1.1\r\nHost: a\r\n\r\n",
     "unknown query parameter \\\"channel\\\"; accepted: channels"},
    {"GET /api/events?channels=%f HTTP/1.1\r\nHost: a\r\n\r\n", "bad_encoding"},
    {"GET /api/events?channels=a&channels=b HTTP/1.1\r\nHost: a\r\n\r\n", "repeated_parameter"},
    {"GET /api/broken HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 500"},
    {"POST /api/echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1048577\r\n\r\n", "HTTP/1.1 413"},
    {"POST /api/echo HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", "HTTP/1.1 4"},
    {"GET / HTTP/1.1\r\n\r\n", "HTTP/1.1 400"},
    {"GET / HTTP/9.9\r\nHost: a\r\n\r\n", "HTTP/1.1 505"},
};

static void test_bad_requests(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof(bad_requests) / sizeof(bad_requests[0]); i++) {
        Client client;
        open_clients(&client, 1, false);
        client_send(&client, bad_requests[i].text);
        if (!client_wait(&client, bad_requests[i].expected, 3000))
            fail_msg("%s\nanswered\n%s\ninstead of %s", bad_requests[i].text,
                     buffer_text(&client.in), bad_requests[i].expected);
        assert_false(client_has(&client, "half an answer"));
        client_close(&client);
    }
}

static void test_garbage(void **state) {
    (void)state;
    uint32_t seed = 1;
    static char bytes[65536];
    for (size_t round = 0; round < 60; round++) {
        for (size_t i = 0; i < sizeof(bytes); i++) {
            seed = seed * 1664525 + 1013904223;
            bytes[i] = (char)(seed >> 24);
        }
        Client client;
        open_clients(&client, 1, false);
        if (round % 3 == 1)
            client_send(&client, "GET / HTTP/1.1\r\nHost: ");
        if (round % 3 == 2)
            memset(bytes, 'a', sizeof(bytes)); /* a line without an end */
        client_send_bytes(&client, bytes, round % 3 == 2 ? sizeof(bytes) : 200 + round * 50);
        if (round % 2)
            (void)clients_wait(&client, 1, done_ended, NULL, 20);
        client_close(&client);
    }
    /* on the TLS port, what is not TLS */
    Client client;
    client_open(&client, fixture.secure, NULL);
    client_get(&client, "/api/slow/1");
    (void)clients_wait(&client, 1, done_ended, NULL, 3000);
    assert_true(client.ended);
    assert_false(client_has(&client, "200 OK"));
    client_close(&client);

    open_clients(&client, 1, true);
    client_get(&client, "/api/slow/still%20here");
    assert_true(client_wait(&client, "still here", 5000));
    client_close(&client);
}

static void test_chunked_without_end(void **state) {
    (void)state;
    static char chunk[65536 + 16];
    int n = snprintf(chunk, sizeof(chunk), "10000\r\n");
    memset(chunk + n, 'a', 65536);
    memcpy(chunk + n + 65536, "\r\n", 2);
    Client client;
    open_clients(&client, 1, false);
    client_send(&client,
                "POST /api/echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    for (int i = 0; i < 64 && !client.ended; i++) {
        client_send_bytes(&client, chunk, (size_t)n + 65536 + 2);
        client_read(&client);
    }
    assert_true(clients_wait(&client, 1, done_ended, NULL, 3000));
    client_close(&client);
}

static void test_body_of_one_mebibyte(void **state) {
    (void)state;
    static char body[(1 << 20) + 1];
    memset(body, 'b', sizeof(body) - 1);
    body[sizeof(body) - 2] = 'E';
    Client client;
    open_clients(&client, 1, true);
    client_send(&client, "POST /api/echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1048576\r\n\r\n");
    client_send(&client, body);
    assert_true(client_wait(&client, "bE", 10000));
    assert_true(client_has(&client, body));
    client_close(&client);
}

static void drip(const char *head, const char *byte) {
    Client client;
    open_clients(&client, 1, false);
    uint64_t before = metric(HTTP_METRIC_TIMEOUTS);
    uint64_t start_ms = clock_monotonic_ms();
    client_send(&client, head);
    while (!client.ended && clock_monotonic_ms() - start_ms < 5000) {
        client_send(&client, byte); /* never idle, never done */
        sleep_ms(50);
        client_read(&client);
    }
    assert_true(client.ended);
    assert_true(clock_monotonic_ms() - start_ms >= TIMEOUT_MS);
    assert_int_equal(metric(HTTP_METRIC_TIMEOUTS), before + 1);
    client_close(&client);
}

static void test_slow_loris(void **state) {
    (void)state;
    drip("GET /api/slow/1 HTTP/1.1\r\nHost: a\r\nX: ", "x");
    drip("POST /api/echo HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n", "x");
}

/* starting and stopping */

static void test_stop_in_the_middle(void **state) {
    (void)state;
    static Client clients[60];
    open_clients(clients, 30, false);
    open_clients(clients + 30, 30, true);
    for (size_t i = 0; i < 60; i++)
        client_get(&clients[i], i % 3 ? "/api/events" : "/api/slow/1");
    sleep_ms(60);
    uint64_t start_ms = clock_monotonic_ms();
    fixture.server = http_server_free(fixture.server);
    assert_true(clock_monotonic_ms() - start_ms < 3000);
    assert_true(clients_wait(clients, 60, done_ended, NULL, 3000));
    close_clients(clients, 60);
}

static void test_listen_refusals(void **state) {
    (void)state;
    Reason reason = {0};
    const HttpListen taken = {.address = "127.0.0.1", .port = fixture.plain};
    assert_int_equal(http_server_listen(fixture.server, &taken, NULL, &reason),
                     HTTP_SERVER_E_REFUSED);
    assert_non_null(strstr(reason.text, "the port is in use"));
    const HttpListen foreign = {.address = "192.0.2.1"};
    assert_int_equal(http_server_listen(fixture.server, &foreign, NULL, &reason),
                     HTTP_SERVER_E_REFUSED);
    assert_non_null(strstr(reason.text, "192.0.2.1"));
    const HttpListen broken = {.address = "127.0.0.1", .certificate_pem = "x", .key_pem = "y"};
    assert_int_equal(http_server_listen(fixture.server, &broken, NULL, &reason),
                     HTTP_SERVER_E_REFUSED);
    assert_non_null(strstr(reason.text, "certificate"));
}

int main(void) {
#define WITH_SERVER(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        WITH_SERVER(test_slow_handlers),
        WITH_SERVER(test_slow_handlers_tls),
        WITH_SERVER(test_events),
        WITH_SERVER(test_events_tls),
        WITH_SERVER(test_event_is_prompt),
        WITH_SERVER(test_reader_that_stalls),
        WITH_SERVER(test_reader_that_leaves),
        WITH_SERVER(test_keepalive),
        WITH_SERVER(test_client_that_leaves_early),
        WITH_SERVER(test_bad_requests),
        WITH_SERVER(test_garbage),
        WITH_SERVER(test_chunked_without_end),
        WITH_SERVER(test_body_of_one_mebibyte),
        cmocka_unit_test_setup_teardown(test_slow_loris, set_up_short, tear_down),
        WITH_SERVER(test_stop_in_the_middle),
        WITH_SERVER(test_listen_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
