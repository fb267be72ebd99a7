#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Exchange
 *
 * One request on its way through the server, and the server itself; for this layer's own files.
 * An exchange belongs to libmicrohttpd's thread of the connection, except while its state is
 * HTTP_EXCHANGE_WORKING: then the connection is suspended and a worker has it.
 */

#include <pthread.h>
#include <stdatomic.h>

#include <microhttpd.h>

#include "base/queue.h"
#include "http/message.h"
#include "http/router.h"
#include "http/server.h"

typedef struct HttpFiles HttpFiles;
typedef struct HttpSocket HttpSocket;
typedef struct HttpStreams HttpStreams;

enum {
    HTTP_WORKERS_MAX = 64,
    HTTP_LISTENERS_MAX = 8,
};

typedef enum HttpExchangeState {
    HTTP_EXCHANGE_READING,
    HTTP_EXCHANGE_WORKING,
    HTTP_EXCHANGE_DONE, /* the response is ready to be queued */
} HttpExchangeState;

typedef struct HttpExchange {
    HttpRequest request; /* first: http_param() and friends find the exchange by it */
    HttpResponse response;
    HttpArguments arguments;
    _Atomic HttpExchangeState state; /* hands the exchange from thread to thread */
    Buffer body;
    HttpServer *server;
    HttpSocket *socket;
    struct MHD_Connection *connection;
    char peer[48];
} HttpExchange;

/* one TCP connection and the time by which its present phase must be over */
struct HttpSocket {
    HttpSocket *previous, *next;
    struct MHD_Connection *connection;
    int fd;
    uint64_t deadline_ms; /* 0: none */
};

struct HttpServer {
    HttpConfig config;
    MetricValue metrics[_HTTP_METRIC_N];
    HttpFiles *files;
    HttpStreams *streams;
    Queue *queue;
    struct MHD_Daemon *listeners[HTTP_LISTENERS_MAX];
    size_t n_listeners;

    pthread_mutex_t lock; /* what stands below */
    pthread_cond_t wake_ticker;
    bool stopping;
    HttpSocket *sockets;

    pthread_t workers[HTTP_WORKERS_MAX];
    size_t n_workers;
    pthread_t ticker;
    bool ticking;
};

static inline void http_count(HttpServer *server, size_t metric, uint64_t n) {
    atomic_fetch_add_explicit(&server->metrics[metric], n, memory_order_relaxed);
}

HttpExchange *http_exchange_new(HttpServer *server, struct MHD_Connection *connection,
                                const char *method, const char *path);
HttpExchange *http_exchange_free(HttpExchange *exchange);

/** http_respond() - queue what the handler or the router made */
enum MHD_Result http_respond(HttpExchange *exchange);

/** http_respond_file() - a file of the application, else the response as it stands */
enum MHD_Result http_respond_file(HttpExchange *exchange, const char *path);

/** http_socket_deadline() - by when the present phase must be over; 0: no limit */
void http_socket_deadline(HttpServer *server, HttpSocket *socket, uint64_t timeout_ms);

int http_connection_fd(struct MHD_Connection *connection);

/** http_cookie_find() - one cookie of a Cookie header */
const char *http_cookie_find(const char *header, const char *name, Arena *arena);

/** http_body_check() - a JSON object against the route's body rows. HTTP_E_ANSWERED: 400. */
int http_body_check(const HttpRoute *route, struct json_t *root, HttpResponse *response);
