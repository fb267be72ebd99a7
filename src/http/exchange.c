/* SPDX-License-Identifier: Apache-2.0 */

#include "http/exchange.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "base/error.h"
#include "http/files.h"
#include "http/stream.h"

enum { ARENA_CHUNK = 4096 };

/* coming and going */

HttpExchange *http_exchange_free(HttpExchange *exchange) {
    if (!exchange)
        return NULL;
    (void)atomic_load(&exchange->state); /* after all that a worker did */
    exchange->response.stream = http_stream_free(exchange->response.stream);
    buffer_deinit(&exchange->response.body);
    buffer_deinit(&exchange->response.headers);
    buffer_deinit(&exchange->body);
    exchange->request.arena = arena_free(exchange->request.arena);
    free(exchange);
    return NULL;
}

static void set_peer(HttpExchange *exchange) {
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(exchange->connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    const struct sockaddr *address = info ? info->client_addr : NULL;
    HttpRequest *request = &exchange->request;
    request->peer = exchange->peer;
    if (address && address->sa_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)address;
        (void)inet_ntop(AF_INET, &in->sin_addr, exchange->peer, sizeof(exchange->peer));
        request->peer_loopback = (ntohl(in->sin_addr.s_addr) >> 24) == 127;
    } else if (address && address->sa_family == AF_INET6) {
        const struct in6_addr *in =
            &((const struct sockaddr_in6 *)(const void *)address)->sin6_addr;
        bool mapped = IN6_IS_ADDR_V4MAPPED(in);
        (void)inet_ntop(mapped ? AF_INET : AF_INET6, mapped ? (const void *)&in->s6_addr[12] : in,
                        exchange->peer, sizeof(exchange->peer));
        request->peer_loopback = mapped ? in->s6_addr[12] == 127 : IN6_IS_ADDR_LOOPBACK(in);
    }
}

HttpExchange *http_exchange_new(HttpServer *server, struct MHD_Connection *connection,
                                const char *method, const char *path) {
    HttpExchange *exchange = calloc(1, sizeof(*exchange));
    if (!exchange || arena_new(&exchange->request.arena, ARENA_CHUNK) < 0)
        return http_exchange_free(exchange);
    exchange->server = server;
    exchange->connection = connection;
    exchange->request.method = strcmp(method, "HEAD") == 0 ? "GET" : method;
    exchange->request.path = path;
    exchange->response.status = 200;
    exchange->response.content_type = "application/json";
    const union MHD_ConnectionInfo *context =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    exchange->socket = context ? context->socket_context : NULL;
    exchange->request.tls =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_PROTOCOL) != NULL;
    set_peer(exchange);
    return exchange;
}

/* responding */

static void add_headers(HttpExchange *exchange, struct MHD_Response *response) {
    const Buffer *headers = &exchange->response.headers;
    bool cacheable = false;
    for (size_t at = 0; at < headers->size && !headers->failed;) {
        const char *name = (const char *)headers->bytes + at;
        const char *value = name + strlen(name) + 1;
        (void)MHD_add_response_header(response, name, value);
        cacheable = cacheable || strcasecmp(name, "Cache-Control") == 0;
        at += strlen(name) + strlen(value) + 2;
    }
    if (!cacheable)
        (void)MHD_add_response_header(response, "Cache-Control", "no-store");
    (void)MHD_add_response_header(response, "Content-Type", exchange->response.content_type);
    (void)MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
    (void)MHD_add_response_header(response, "Referrer-Policy", "same-origin");
    (void)MHD_add_response_header(response, "Content-Security-Policy",
                                  "default-src 'none'; frame-ancestors 'none'");
}

static struct MHD_Response *stream_response(HttpExchange *exchange) {
    HttpResponse *from = &exchange->response;
    if (http_stream_start(from->stream, exchange->connection, &from->body) < 0)
        return NULL;
    from->content_type = "text/event-stream";
    http_response_header(from, "X-Accel-Buffering", "no"); /* for a proxy in front */
    return MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, 16384, http_stream_read,
                                             from->stream, NULL);
}

static struct MHD_Response *body_response(HttpExchange *exchange) {
    Buffer *body = &exchange->response.body;
    if (body->failed)
        return NULL;
    if (!body->size)
        return MHD_create_response_from_buffer(0, (void *)"", MHD_RESPMEM_PERSISTENT);
    struct MHD_Response *response =
        MHD_create_response_from_buffer(body->size, body->bytes, MHD_RESPMEM_MUST_FREE);
    if (response)
        *body = (Buffer){0}; /* handed over */
    return response;
}

static void count_status(HttpServer *server, int status) {
    http_count(server, HTTP_METRIC_REQUESTS, 1);
    if (status >= 400)
        http_count(server, status >= 500 ? HTTP_METRIC_FAILED : HTTP_METRIC_REFUSED, 1);
}

enum MHD_Result http_respond(HttpExchange *exchange) {
    HttpResponse *from = &exchange->response;
    bool stream = from->stream && from->status == 200;
    struct MHD_Response *response = stream ? stream_response(exchange) : body_response(exchange);
    if (!response)
        return MHD_NO;
    add_headers(exchange, response);
    count_status(exchange->server, from->status);
    http_socket_deadline(exchange->server, exchange->socket,
                         stream ? 0 : exchange->server->config.response_timeout_ms);
    enum MHD_Result r = MHD_queue_response(exchange->connection, (unsigned)from->status, response);
    MHD_destroy_response(response);
    return r;
}

enum MHD_Result http_respond_file(HttpExchange *exchange, const char *path) {
    HttpServer *server = exchange->server;
    unsigned status = 0;
    struct MHD_Response *response =
        http_files_find(server->files, path, http_header(&exchange->request, "Accept-Encoding"),
                        http_header(&exchange->request, "If-None-Match"), &status);
    if (!response)
        return http_respond(exchange); /* the router's 404 */
    count_status(server, (int)status);
    http_socket_deadline(server, exchange->socket, server->config.response_timeout_ms);
    return MHD_queue_response(exchange->connection, status, response);
}
