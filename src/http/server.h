#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * HTTP Server
 *
 * Routes with handlers on a pool of worker threads, event streams, and the files of a folder, on
 * any number of plain or TLS listeners. A few threads of libmicrohttpd poll all connections; a
 * request whose route matches waits, suspended, for a worker.
 *
 * Limits are the server's own business: body 1 MiB, header about 30 KiB, connections in all and
 * per address, and a deadline on each phase of a request, so that a client that sends or reads a
 * byte at a time does not hold a connection for long.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/metric.h"
#include "base/reason.h"
#include "http/message.h"
#include "http/router.h"

typedef struct HttpServer HttpServer;

/**
 * Called on the worker before each handler, public routes too: who asks, and may they? Fills the
 * user of the request. HTTP_E_ANSWERED: the response holds the refusal.
 */
typedef int HttpGuard(HttpRequest *request, HttpResponse *response, void *context);

/** Told, on the worker, of a handler that failed with a negative errno: for the log. */
typedef void HttpFailed(const HttpRequest *request, int r, void *context);

typedef struct HttpConfig { /* zero: the default in brackets */
    const HttpRoute *routes;
    size_t n_routes;
    HttpGuard *guard;         /* NULL: everybody may do everything */
    HttpFailed *failed;       /* may be NULL */
    void *context;            /* handed to guard and handlers */
    const char *static_dir;   /* the browser application, or NULL; read once, at start */
    unsigned workers;         /* [4] threads that run handlers */
    unsigned connections_max; /* [8192] a listener */
    unsigned connections_per_address_max; /* [0: no limit] */
    unsigned queue_max;                   /* [1024] requests waiting for a worker; more get 503 */
    unsigned request_timeout_ms;          /* [30000] to send a request's head, or its body */
    unsigned response_timeout_ms;         /* [600000] to take a whole response */
    unsigned idle_timeout_s;              /* [60] without any byte moving */
    unsigned sse_queue_max;               /* [64] events a subscriber */
    unsigned sse_keepalive_ms;            /* [15000] */
} HttpConfig;

typedef struct HttpListen {
    const char *address;         /* "127.0.0.1", "::1", "*" for all of both families */
    uint16_t port;               /* 0: a free one */
    const char *certificate_pem; /* text; NULL: plain HTTP */
    const char *key_pem;
} HttpListen;

enum {
    _HTTP_SERVER_E_SUCCESS,
    HTTP_SERVER_E_REFUSED, /* address, port, certificate or folder: the reason says which */
};

/* the config's tables and context must outlive the server */
int http_server_new(HttpServer **serverp, const HttpConfig *config, Reason *reason);

/** http_server_free() - running handlers end, streams are closed, listeners go; then memory */
HttpServer *http_server_free(HttpServer *server);

/** http_server_listen() - requests may come in before it returns; *portp (may be NULL) is the port
 */
int http_server_listen(HttpServer *server, const HttpListen *listen, uint16_t *portp,
                       Reason *reason);

/* metrics: rows and values, see base/metric.h */
enum {
    HTTP_METRIC_REQUESTS,
    HTTP_METRIC_REFUSED,
    HTTP_METRIC_FAILED,
    HTTP_METRIC_BUSY,
    HTTP_METRIC_TIMEOUTS,
    HTTP_METRIC_CONNECTIONS,
    HTTP_METRIC_SUBSCRIBERS,
    HTTP_METRIC_EVENTS,
    HTTP_METRIC_EVENTS_DROPPED,
    _HTTP_METRIC_N,
};
extern const MetricRow http_metric_rows[_HTTP_METRIC_N];
const MetricValue *http_server_metrics(const HttpServer *server);

DEFINE_CLEANUP(HttpServer *, http_server_free)
