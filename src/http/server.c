/* SPDX-License-Identifier: Apache-2.0 */

#include "http/server.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include <microhttpd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/queue.h"
#include "http/exchange.h"
#include "http/files.h"
#include "http/listen.h"
#include "http/sse.h"
#include "http/stream.h"

enum {
    BODY_MAX = 1 << 20,
    STREAMS_MAX = 16384,
    TICK_MS = 500,
};

const MetricRow http_metric_rows[_HTTP_METRIC_N] = {
    [HTTP_METRIC_REQUESTS] = {"weir_hub_http_requests", NULL, METRIC_COUNTER, "requests",
                              "Requests answered."},
    [HTTP_METRIC_REFUSED] = {"weir_hub_http_refused", NULL, METRIC_COUNTER, "requests",
                             "Requests answered with a 4xx status."},
    [HTTP_METRIC_FAILED] = {"weir_hub_http_failed", NULL, METRIC_COUNTER, "requests",
                            "Requests answered with a 5xx status."},
    [HTTP_METRIC_BUSY] = {"weir_hub_http_busy", NULL, METRIC_COUNTER, "requests",
                          "Requests turned away because too many were waiting for a worker."},
    [HTTP_METRIC_TIMEOUTS] = {"weir_hub_http_timeouts", NULL, METRIC_COUNTER, "connections",
                              "Connections cut because a request or response took too long."},
    [HTTP_METRIC_CONNECTIONS] = {"weir_hub_http_connections", NULL, METRIC_GAUGE, "connections",
                                 "Connections open now."},
    [HTTP_METRIC_SUBSCRIBERS] = {"weir_hub_http_subscribers", NULL, METRIC_GAUGE, "connections",
                                 "Event streams open now."},
    [HTTP_METRIC_EVENTS] = {"weir_hub_http_events", NULL, METRIC_COUNTER, "events",
                            "Events published to event streams."},
    [HTTP_METRIC_EVENTS_DROPPED] = {"weir_hub_http_events_dropped", NULL, METRIC_COUNTER, "events",
                                    "Events a subscriber lost because it read too slowly."},
};

const MetricValue *http_server_metrics(const HttpServer *server) {
    return server->metrics;
}

/* sockets and deadlines */

int http_connection_fd(struct MHD_Connection *connection) {
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    return info ? info->connect_fd : -1;
}

void http_socket_deadline(HttpServer *server, HttpSocket *socket, uint64_t timeout_ms) {
    if (!socket)
        return;
    (void)pthread_mutex_lock(&server->lock);
    socket->deadline_ms = timeout_ms ? clock_monotonic_ms() + timeout_ms : 0;
    (void)pthread_mutex_unlock(&server->lock);
}

static void on_connection_started(HttpServer *server, struct MHD_Connection *connection,
                                  void **contextp) {
    HttpSocket *socket = calloc(1, sizeof(*socket));
    int fd = http_connection_fd(connection);
    if (!socket) {
        (void)shutdown(fd, SHUT_RDWR); /* a connection without deadline is not served */
        return;
    }
    socket->connection = connection;
    socket->fd = fd;
    socket->deadline_ms = clock_monotonic_ms() + server->config.request_timeout_ms;
    (void)pthread_mutex_lock(&server->lock);
    socket->next = server->sockets;
    if (socket->next)
        socket->next->previous = socket;
    server->sockets = socket;
    (void)pthread_mutex_unlock(&server->lock);
    http_count(server, HTTP_METRIC_CONNECTIONS, 1);
    *contextp = socket;
}

static void on_connection_closed(HttpServer *server, HttpSocket *socket) {
    if (!socket)
        return;
    (void)pthread_mutex_lock(&server->lock);
    if (socket->previous)
        socket->previous->next = socket->next;
    else
        server->sockets = socket->next;
    if (socket->next)
        socket->next->previous = socket->previous;
    (void)pthread_mutex_unlock(&server->lock);
    http_count(server, HTTP_METRIC_CONNECTIONS, UINT64_MAX);
    free(socket);
}

static void on_connection(void *cls, struct MHD_Connection *connection, void **contextp,
                          enum MHD_ConnectionNotificationCode code) {
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        on_connection_started(cls, connection, contextp);
    } else {
        on_connection_closed(cls, *contextp);
        *contextp = NULL;
    }
}

/** cut_overdue() - the poll thread sees the shutdown as an end of file and closes */
static void cut_overdue(HttpServer *server, uint64_t now_ms) {
    (void)pthread_mutex_lock(&server->lock);
    for (HttpSocket *socket = server->sockets; socket; socket = socket->next)
        if (socket->deadline_ms && socket->deadline_ms < now_ms) {
            socket->deadline_ms = 0;
            (void)shutdown(socket->fd, SHUT_RDWR);
            http_count(server, HTTP_METRIC_TIMEOUTS, 1);
        }
    (void)pthread_mutex_unlock(&server->lock);
}

static void *tick(void *arg) {
    HttpServer *server = arg;
    uint64_t period_ms = TICK_MS;
    if (server->config.sse_keepalive_ms / 2 < period_ms)
        period_ms = server->config.sse_keepalive_ms / 2 + 1;
    bool stopping = false;
    while (!stopping) {
        struct timespec until = {0};
        (void)clock_gettime(CLOCK_MONOTONIC, &until);
        uint64_t ns = (uint64_t)until.tv_nsec + period_ms * 1000000;
        until.tv_sec += (time_t)(ns / 1000000000);
        until.tv_nsec = (long)(ns % 1000000000);
        (void)pthread_mutex_lock(&server->lock);
        if (!server->stopping)
            (void)pthread_cond_timedwait(&server->wake_ticker, &server->lock, &until);
        stopping = server->stopping;
        (void)pthread_mutex_unlock(&server->lock);
        uint64_t now_ms = clock_monotonic_ms();
        cut_overdue(server, now_ms);
        http_streams_tick(server->streams, now_ms);
    }
    return NULL;
}

/* dispatching, on libmicrohttpd's thread */

typedef struct QueryWalk {
    HttpExchange *exchange;
    int r;
} QueryWalk;

static enum MHD_Result take_query(void *cls, enum MHD_ValueKind kind, const char *name,
                                  const char *value) {
    (void)kind;
    QueryWalk *walk = cls;
    HttpExchange *exchange = walk->exchange;
    walk->r = http_argument_add(&exchange->arguments, name, value, exchange->request.arena,
                                &exchange->response);
    return walk->r ? MHD_NO : MHD_YES;
}

static int route_request(HttpExchange *exchange) {
    const HttpConfig *config = &exchange->server->config;
    HttpRequest *request = &exchange->request;
    int r =
        http_route_find(config->routes, config->n_routes, request->method, request->path,
                        request->arena, &request->route, &exchange->arguments, &exchange->response);
    if (r)
        return error_trace(r);
    QueryWalk walk = {.exchange = exchange};
    (void)MHD_get_connection_values(exchange->connection, MHD_GET_ARGUMENT_KIND, take_query, &walk);
    if (walk.r)
        return error_trace(walk.r);
    return error_trace(http_route_check(&exchange->arguments, &exchange->response));
}

static enum MHD_Result refuse_busy(HttpExchange *exchange) {
    http_count(exchange->server, HTTP_METRIC_BUSY, 1);
    http_response_error(&exchange->response, 503, "busy",
                        "too many requests are waiting; try again in a second");
    http_response_header(&exchange->response, "Retry-After", "1");
    return http_respond(exchange);
}

static enum MHD_Result hand_to_worker(HttpExchange *exchange) {
    HttpServer *server = exchange->server;
    exchange->request.body = buffer_text(&exchange->body);
    exchange->request.body_size = exchange->body.size;
    http_socket_deadline(server, exchange->socket, 0); /* our time now, not the client's */

    (void)pthread_mutex_lock(&server->lock);
    bool room = !server->stopping && queue_length(server->queue) < server->config.queue_max;
    if (room) {
        exchange->state = HTTP_EXCHANGE_WORKING;
        MHD_suspend_connection(exchange->connection);
        (void)queue_push(server->queue, exchange); /* pushed under the lock only: there is room */
    }
    (void)pthread_mutex_unlock(&server->lock);
    return room ? MHD_YES : refuse_busy(exchange);
}

static bool may_be_file(const HttpExchange *exchange) {
    const char *path = exchange->request.path;
    return exchange->server->files && !exchange->request.route &&
           strcmp(exchange->request.method, "GET") == 0 && exchange->response.status == 404 &&
           strncmp(path, "/api/", 5) != 0 && strcmp(path, "/api") != 0;
}

static enum MHD_Result dispatch(HttpExchange *exchange) {
    int r = route_request(exchange);
    if (r == 0)
        return hand_to_worker(exchange);
    if (r < 0)
        return MHD_NO;
    if (may_be_file(exchange)) {
        const char *path = exchange->request.path;
        char *plain = http_decode(exchange->request.arena, path, strlen(path), false);
        if (plain)
            return http_respond_file(exchange, plain);
    }
    return http_respond(exchange);
}

static enum MHD_Result take_body(HttpExchange *exchange, const char *bytes, size_t *size) {
    if (exchange->body.size + *size > BODY_MAX)
        return MHD_NO; /* came without a length, so it could not be refused at its head */
    buffer_put(&exchange->body, bytes, *size);
    *size = 0;
    return exchange->body.failed ? MHD_NO : MHD_YES;
}

static enum MHD_Result begin(HttpServer *server, struct MHD_Connection *connection,
                             const char *path, const char *method, void **exchangep) {
    HttpExchange *exchange = http_exchange_new(server, connection, method, path);
    if (!exchange)
        return MHD_NO;
    *exchangep = exchange;
    http_socket_deadline(server, exchange->socket, server->config.request_timeout_ms);
    const char *length = http_header(&exchange->request, "Content-Length");
    if (length && strtoull(length, NULL, 10) > BODY_MAX) {
        http_response_error(&exchange->response, 413, "too_large",
                            "the body may have at most %d bytes", BODY_MAX);
        exchange->state = HTTP_EXCHANGE_DONE;
        return http_respond(exchange);
    }
    return MHD_YES;
}

static enum MHD_Result on_request(void *cls, struct MHD_Connection *connection, const char *path,
                                  const char *method, const char *version, const char *upload,
                                  size_t *upload_size, void **exchangep) {
    (void)version;
    HttpExchange *exchange = *exchangep;
    if (!exchange)
        return begin(cls, connection, path, method, exchangep);
    if (exchange->state == HTTP_EXCHANGE_DONE)
        return http_respond(exchange);
    if (*upload_size)
        return take_body(exchange, upload, upload_size);
    return dispatch(exchange);
}

static void on_completed(void *cls, struct MHD_Connection *connection, void **exchangep,
                         enum MHD_RequestTerminationCode code) {
    (void)connection;
    (void)code;
    HttpServer *server = cls;
    HttpExchange *exchange = *exchangep;
    if (!exchange)
        return;
    http_socket_deadline(server, exchange->socket, server->config.request_timeout_ms);
    *exchangep = http_exchange_free(exchange);
}

/** leave_escaped() - we decode ourselves: a %2F in a path parameter is not a separator */
static size_t leave_escaped(void *cls, struct MHD_Connection *connection, char *text) {
    (void)cls;
    (void)connection;
    return strlen(text);
}

/* workers */

static void handle(HttpServer *server, HttpExchange *exchange) {
    const HttpConfig *config = &server->config;
    HttpRequest *request = &exchange->request;
    HttpResponse *response = &exchange->response;
    int r = config->guard ? config->guard(request, response, config->context) : 0;
    if (r == 0)
        r = request->route->handler(request, response, config->context);
    if (r < 0) {
        if (config->failed)
            config->failed(request, r, config->context);
        if (r == -ENOSPC)
            http_response_error(response, 503, "disk_full",
                                "the disk is full and nothing was changed; make room, then try "
                                "again");
        else
            http_response_error(response, 500, "internal", "the server failed; its log says why");
    }
}

static void *work(void *arg) {
    HttpServer *server = arg;
    for (;;) {
        HttpExchange *exchange = queue_pop(server->queue, 1000);
        if (!exchange) {
            if (!queue_closed(server->queue))
                continue;
            exchange = queue_pop(server->queue, 0);
            if (!exchange)
                return NULL;
        }
        handle(server, exchange);
        exchange->state = HTTP_EXCHANGE_DONE;
        MHD_resume_connection(exchange->connection); /* from here it is not ours */
    }
}

/* event streams */

int http_sse_subscribe(HttpServer *server, HttpResponse *response, const char *channels) {
    int r = http_streams_add(server->streams, &response->stream, channels);
    if (r == HTTP_STREAM_E_FULL) {
        http_response_error(response, 503, "busy", "too many event streams are open");
        http_response_header(response, "Retry-After", "10");
        return HTTP_E_ANSWERED;
    }
    return error_trace(r);
}

int http_sse_publish(HttpServer *server, const char *channel, const char *json) {
    return error_trace(http_streams_publish(server->streams, channel, json));
}

size_t http_sse_subscribers(HttpServer *server, const char *channel) {
    return http_streams_count(server->streams, channel);
}

/* start and stop */

int http_server_listen(HttpServer *server, const HttpListen *listen, uint16_t *portp,
                       Reason *reason) {
    if (server->n_listeners == HTTP_LISTENERS_MAX)
        return error_origin(-ENOSPC);
    const HttpCallbacks callbacks = {
        .cls = server,
        .on_request = on_request,
        .on_completed = on_completed,
        .on_connection = on_connection,
        .unescape = leave_escaped,
    };
    int r = http_listen(&server->listeners[server->n_listeners], listen, &server->config,
                        &callbacks, portp, reason);
    if (r)
        return error_trace(r);
    server->n_listeners++;
    return 0;
}

static void set_defaults(HttpConfig *config) {
    const struct {
        unsigned *value;
        unsigned unset, max;
    } rows[] = {
        {&config->workers, 4, HTTP_WORKERS_MAX},
        {&config->connections_max, 8192, 1u << 20},
        {&config->queue_max, 1024, 1u << 20},
        {&config->request_timeout_ms, 30000, 3600000},
        {&config->response_timeout_ms, 600000, 86400000},
        {&config->idle_timeout_s, 60, 3600},
        {&config->sse_queue_max, 64, 65536},
        {&config->sse_keepalive_ms, 15000, 3600000},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (!*rows[i].value)
            *rows[i].value = rows[i].unset;
        if (*rows[i].value > rows[i].max)
            *rows[i].value = rows[i].max;
    }
}

static int start_threads(HttpServer *server) {
    if (pthread_create(&server->ticker, NULL, tick, server) != 0)
        return error_origin(-EAGAIN);
    server->ticking = true;
    while (server->n_workers < server->config.workers) {
        if (pthread_create(&server->workers[server->n_workers], NULL, work, server) != 0)
            return error_origin(-EAGAIN);
        server->n_workers++;
    }
    return 0;
}

int http_server_new(HttpServer **serverp, const HttpConfig *config, Reason *reason) {
    cleanup(http_server_freep) HttpServer *server = calloc(1, sizeof(*server));
    if (!server)
        return error_origin(-ENOMEM);
    server->config = *config;
    set_defaults(&server->config);
    pthread_condattr_t attr;
    (void)pthread_condattr_init(&attr);
    (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    (void)pthread_mutex_init(&server->lock, NULL);
    (void)pthread_cond_init(&server->wake_ticker, &attr);
    (void)pthread_condattr_destroy(&attr);
    const HttpStreamsConfig streams = {
        .queue_max = server->config.sse_queue_max,
        .keepalive_ms = server->config.sse_keepalive_ms,
        .streams_max = STREAMS_MAX,
        .metrics = server->metrics,
    };
    int r = http_streams_new(&server->streams, &streams);
    if (r == 0)
        r = queue_new(&server->queue, server->config.queue_max);
    if (r == 0 && config->static_dir)
        r = http_files_new(&server->files, config->static_dir, reason);
    if (r == 0)
        r = start_threads(server);
    if (r)
        return r < 0 ? error_trace(r) : HTTP_SERVER_E_REFUSED;
    *serverp = server;
    server = NULL;
    return 0;
}

HttpServer *http_server_free(HttpServer *server) {
    if (!server)
        return NULL;
    (void)pthread_mutex_lock(&server->lock);
    server->stopping = true; /* nothing is queued after this */
    (void)pthread_cond_broadcast(&server->wake_ticker);
    (void)pthread_mutex_unlock(&server->lock);
    if (server->ticking)
        (void)pthread_join(server->ticker, NULL);
    if (server->queue)
        queue_close(server->queue);
    for (size_t i = 0; i < server->n_workers; i++)
        (void)pthread_join(server->workers[i], NULL);
    if (server->streams)
        http_streams_close(server->streams);
    /* now no connection is suspended, which is what libmicrohttpd asks for */
    for (size_t i = 0; i < server->n_listeners; i++)
        MHD_stop_daemon(server->listeners[i]);
    server->queue = queue_free(server->queue);
    server->streams = http_streams_free(server->streams);
    server->files = http_files_free(server->files);
    (void)pthread_cond_destroy(&server->wake_ticker);
    (void)pthread_mutex_destroy(&server->lock);
    free(server);
    return NULL;
}
