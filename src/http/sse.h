#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Server-Sent Events
 *
 * A handler subscribes its response to channels and returns; events published later go out on it
 * without a thread of its own. Each subscriber has a bounded queue: a reader that is too slow
 * loses the oldest events, is told so by an event "dropped" {"events":N}, and is counted; a
 * publisher never waits. A comment line goes out every 15 s of silence, and a client that hung up
 * is noticed within a second or two.
 */

#include <stddef.h>

#include "http/message.h"

typedef struct Buffer Buffer;
typedef struct HttpServer HttpServer;

enum { HTTP_SSE_CHANNELS = 8 }; /* of one subscriber */

/**
 * http_sse_subscribe() - from a handler: make the response an event stream of these channels
 * (comma-separated). What the handler wrote to response->body with http_sse_write() goes first.
 * Whatever is published after the call is on the stream. HTTP_E_ANSWERED: 503, too many.
 */
int http_sse_subscribe(HttpServer *server, HttpResponse *response, const char *channels);

/** http_sse_write() - one event in wire form, for a stream's beginning */
void http_sse_write(Buffer *to, const char *event, const char *json);

/**
 * http_sse_publish() - one event, named like its channel, to all its subscribers. `json` is one
 * JSON value. Any thread; does not block on any client. Returns 0 or -ENOMEM.
 */
int http_sse_publish(HttpServer *server, const char *channel, const char *json);

/** http_sse_subscribers() - how many follow a channel now, so that nobody computes for nobody */
size_t http_sse_subscribers(HttpServer *server, const char *channel);
