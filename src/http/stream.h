#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Streams
 *
 * The server's side of sse.h: all subscribers of one server under one lock. A stream whose queue
 * is empty is a suspended connection; whoever gives it something to send resumes it.
 */

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/cleanup.h"
#include "base/metric.h"
#include "http/message.h"

struct MHD_Connection;
typedef struct HttpStreams HttpStreams;

typedef struct HttpStreamsConfig {
    size_t queue_max;
    uint64_t keepalive_ms;
    size_t streams_max;
    MetricValue *metrics; /* the server's */
} HttpStreamsConfig;

enum {
    _HTTP_STREAM_E_SUCCESS,
    HTTP_STREAM_E_FULL, /* too many subscribers, or closing */
};

int http_streams_new(HttpStreams **streamsp, const HttpStreamsConfig *config);
HttpStreams *http_streams_free(HttpStreams *streams);

int http_streams_add(HttpStreams *streams, HttpStream **streamp, const char *channels);
int http_streams_publish(HttpStreams *streams, const char *channel, const char *json);
size_t http_streams_count(HttpStreams *streams, const char *channel);

/** http_streams_tick() - keep-alives that are due, and clients that hung up */
void http_streams_tick(HttpStreams *streams, uint64_t now_ms);

/** http_streams_close() - every stream ends; none is suspended when this returns, or later */
void http_streams_close(HttpStreams *streams);

/** http_stream_start() - bind to the connection, with the bytes that go first */
int http_stream_start(HttpStream *stream, struct MHD_Connection *connection, const Buffer *first);

/** http_stream_read() - libmicrohttpd's content reader */
ssize_t http_stream_read(void *cls, uint64_t position, char *bytes, size_t size);

HttpStream *http_stream_free(HttpStream *stream);

DEFINE_CLEANUP(HttpStreams *, http_streams_free)
