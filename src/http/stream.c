/* SPDX-License-Identifier: Apache-2.0 */

#include "http/stream.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>

#include <microhttpd.h>

#include "base/buffer.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/hash.h"
#include "http/exchange.h"
#include "http/server.h"
#include "http/sse.h"

enum {
    CHANNEL_NAME_MAX = 63,
    POLL_BATCH = 256,
    SEND_BUFFER_BYTES = 128 * 1024, /* what the kernel may hold of a reader that stalls */
};

/* one published event in wire form, shared by all its readers; counted under the lock */
typedef struct Event {
    size_t refs;
    size_t size;
    char bytes[];
} Event;

typedef struct Channel {
    uint64_t hash;
    char name[CHANNEL_NAME_MAX + 1];
} Channel;

struct HttpStream {
    HttpStreams *streams;
    HttpStream *previous, *next;
    struct MHD_Connection *connection; /* NULL until it is started */
    int fd;
    bool suspended;
    bool gone; /* the client hung up */
    uint64_t sent_ms;
    uint64_t dropped; /* since the client was last told */
    Event *current;   /* being sent; never dropped */
    size_t offset;
    size_t n_channels;
    Channel channels[HTTP_SSE_CHANNELS];
    size_t head, length;
    Event *queue[]; /* queue_max */
};

struct HttpStreams {
    HttpStreamsConfig config;
    pthread_mutex_t lock;
    HttpStream *first;
    size_t n;
    bool closing;
};

int http_streams_new(HttpStreams **streamsp, const HttpStreamsConfig *config) {
    HttpStreams *streams = calloc(1, sizeof(*streams));
    if (!streams)
        return error_origin(-ENOMEM);
    streams->config = *config;
    (void)pthread_mutex_init(&streams->lock, NULL);
    *streamsp = streams;
    return 0;
}

HttpStreams *http_streams_free(HttpStreams *streams) {
    if (!streams)
        return NULL;
    (void)pthread_mutex_destroy(&streams->lock);
    free(streams);
    return NULL;
}

/* events */

static Event *event_new(const char *bytes, size_t size) {
    Event *event = malloc(sizeof(*event) + size);
    if (!event)
        return NULL;
    event->refs = 1;
    event->size = size;
    memcpy(event->bytes, bytes, size);
    return event;
}

static Event *event_unref(Event *event) {
    if (event && --event->refs == 0)
        free(event);
    return NULL;
}

void http_sse_write(Buffer *to, const char *event, const char *json) {
    buffer_printf(to, "event: %s\n", event);
    /* a line feed inside the JSON would end the field, so each line is a field of its own */
    for (const char *at = json; at;) {
        size_t size = strcspn(at, "\r\n");
        buffer_put_text(to, "data: ");
        buffer_put(to, at, size);
        buffer_put_u8(to, '\n');
        at = at[size] ? at + size + 1 : NULL;
    }
    buffer_put_u8(to, '\n');
}

static Event *event_of(const char *name, const char *json) {
    Buffer text = {0};
    http_sse_write(&text, name, json);
    Event *event = text.failed ? NULL : event_new((const char *)text.bytes, text.size);
    buffer_deinit(&text);
    return event;
}

/* one stream; the lock is held */

static void stream_wake(HttpStream *stream) {
    if (!stream->suspended)
        return;
    stream->suspended = false;
    MHD_resume_connection(stream->connection);
}

static void stream_push(HttpStream *stream, Event *event) {
    HttpStreams *streams = stream->streams;
    size_t max = streams->config.queue_max;
    if (stream->length == max) {
        event_unref(stream->queue[stream->head]);
        stream->head = (stream->head + 1) % max;
        stream->length--;
        stream->dropped++;
        atomic_fetch_add(&streams->config.metrics[HTTP_METRIC_EVENTS_DROPPED], 1);
    }
    event->refs++;
    stream->queue[(stream->head + stream->length) % max] = event;
    stream->length++;
    stream_wake(stream);
}

/** stream_next() - what to send now, or NULL; a loss is told before what follows it */
static Event *stream_next(HttpStream *stream) {
    if (stream->dropped) {
        char json[48];
        (void)snprintf(json, sizeof(json), "{\"events\":%llu}",
                       (unsigned long long)stream->dropped);
        Event *event = event_of("dropped", json);
        if (event) {
            stream->dropped = 0;
            return event;
        }
    }
    if (!stream->length)
        return NULL;
    Event *event = stream->queue[stream->head];
    stream->head = (stream->head + 1) % stream->streams->config.queue_max;
    stream->length--;
    return event;
}

static size_t stream_fill(HttpStream *stream, char *bytes, size_t size) {
    size_t n = 0;
    while (n < size) {
        if (!stream->current) {
            stream->current = stream_next(stream);
            stream->offset = 0;
        }
        if (!stream->current)
            break;
        size_t part = stream->current->size - stream->offset;
        part = part < size - n ? part : size - n;
        memcpy(bytes + n, stream->current->bytes + stream->offset, part);
        n += part;
        stream->offset += part;
        if (stream->offset == stream->current->size)
            stream->current = event_unref(stream->current);
    }
    return n;
}

ssize_t http_stream_read(void *cls, uint64_t position, char *bytes, size_t size) {
    (void)position;
    HttpStream *stream = cls;
    HttpStreams *streams = stream->streams;
    (void)pthread_mutex_lock(&streams->lock);
    ssize_t n = MHD_CONTENT_READER_END_OF_STREAM;
    if (stream->gone) {
        n = MHD_CONTENT_READER_END_WITH_ERROR;
    } else if (!streams->closing) {
        n = (ssize_t)stream_fill(stream, bytes, size);
        if (n) {
            stream->sent_ms = clock_monotonic_ms();
        } else {
            stream->suspended = true;
            MHD_suspend_connection(stream->connection);
        }
    }
    (void)pthread_mutex_unlock(&streams->lock);
    return n;
}

static bool stream_follows(const HttpStream *stream, const char *channel, uint64_t hash) {
    for (size_t i = 0; i < stream->n_channels; i++)
        if (stream->channels[i].hash == hash && strcmp(stream->channels[i].name, channel) == 0)
            return true;
    return false;
}

/* coming and going */

static int stream_set_channels(HttpStream *stream, const char *channels) {
    for (const char *at = channels; *at;) {
        size_t size = strcspn(at, ",");
        if (stream->n_channels == HTTP_SSE_CHANNELS || size > CHANNEL_NAME_MAX)
            return error_origin(-EINVAL);
        Channel *channel = &stream->channels[stream->n_channels++];
        memcpy(channel->name, at, size);
        channel->hash = hash_bytes(at, size, 0);
        at += size + (at[size] == ',');
    }
    return 0;
}

int http_streams_add(HttpStreams *streams, HttpStream **streamp, const char *channels) {
    HttpStream *stream =
        calloc(1, sizeof(*stream) + streams->config.queue_max * sizeof(stream->queue[0]));
    if (!stream)
        return error_origin(-ENOMEM);
    int r = stream_set_channels(stream, channels);
    if (r < 0) {
        free(stream);
        return error_trace(r);
    }
    stream->streams = streams;
    stream->fd = -1;
    stream->sent_ms = clock_monotonic_ms();
    (void)pthread_mutex_lock(&streams->lock);
    bool full = streams->closing || streams->n >= streams->config.streams_max;
    if (!full) {
        stream->next = streams->first;
        if (stream->next)
            stream->next->previous = stream;
        streams->first = stream;
        streams->n++;
        atomic_store(&streams->config.metrics[HTTP_METRIC_SUBSCRIBERS], streams->n);
    }
    (void)pthread_mutex_unlock(&streams->lock);
    if (full) {
        free(stream);
        return HTTP_STREAM_E_FULL;
    }
    *streamp = stream;
    return 0;
}

HttpStream *http_stream_free(HttpStream *stream) {
    if (!stream)
        return NULL;
    HttpStreams *streams = stream->streams;
    (void)pthread_mutex_lock(&streams->lock);
    if (stream->previous)
        stream->previous->next = stream->next;
    else
        streams->first = stream->next;
    if (stream->next)
        stream->next->previous = stream->previous;
    streams->n--;
    atomic_store(&streams->config.metrics[HTTP_METRIC_SUBSCRIBERS], streams->n);
    event_unref(stream->current);
    for (size_t i = 0; i < stream->length; i++)
        event_unref(stream->queue[(stream->head + i) % streams->config.queue_max]);
    (void)pthread_mutex_unlock(&streams->lock);
    free(stream);
    return NULL;
}

int http_stream_start(HttpStream *stream, struct MHD_Connection *connection, const Buffer *first) {
    /* the browser's own reconnect delay, and something to send at once: headers alone might wait */
    static const char greeting[] = "retry: 2000\n\n";
    Buffer text = {0};
    buffer_put_text(&text, greeting);
    buffer_put(&text, first->bytes, first->size);
    Event *event = text.failed ? NULL : event_new((const char *)text.bytes, text.size);
    buffer_deinit(&text);
    if (!event)
        return error_origin(-ENOMEM);

    int fd = http_connection_fd(connection);
    int size = SEND_BUFFER_BYTES;
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
    (void)pthread_mutex_lock(&stream->streams->lock);
    stream->connection = connection;
    stream->fd = fd;
    stream->current = event;
    (void)pthread_mutex_unlock(&stream->streams->lock);
    return 0;
}

/* all streams */

int http_streams_publish(HttpStreams *streams, const char *channel, const char *json) {
    uint64_t hash = hash_bytes(channel, strlen(channel), 0);
    Event *event = event_of(channel, json);
    if (!event)
        return error_origin(-ENOMEM);
    atomic_fetch_add(&streams->config.metrics[HTTP_METRIC_EVENTS], 1);
    (void)pthread_mutex_lock(&streams->lock);
    for (HttpStream *stream = streams->first; stream; stream = stream->next)
        if (stream_follows(stream, channel, hash))
            stream_push(stream, event);
    event_unref(event);
    (void)pthread_mutex_unlock(&streams->lock);
    return 0;
}

size_t http_streams_count(HttpStreams *streams, const char *channel) {
    uint64_t hash = hash_bytes(channel, strlen(channel), 0);
    size_t n = 0;
    (void)pthread_mutex_lock(&streams->lock);
    for (const HttpStream *stream = streams->first; stream; stream = stream->next)
        n += stream_follows(stream, channel, hash);
    (void)pthread_mutex_unlock(&streams->lock);
    return n;
}

static void keep_alive(HttpStream *stream, uint64_t now_ms) {
    Event *event = event_new(": \n\n", 4);
    if (!event)
        return;
    stream->sent_ms = now_ms;
    stream_push(stream, event);
    event_unref(event);
}

/** check_batch() - libmicrohttpd does not watch suspended connections, so we do */
static void check_batch(struct pollfd *fds, HttpStream **streams, nfds_t n) {
    if (n == 0 || poll(fds, n, 0) <= 0)
        return;
    for (nfds_t i = 0; i < n; i++)
        if (fds[i].revents & (POLLRDHUP | POLLHUP | POLLERR)) {
            streams[i]->gone = true;
            stream_wake(streams[i]);
        }
}

void http_streams_tick(HttpStreams *streams, uint64_t now_ms) {
    struct pollfd fds[POLL_BATCH];
    HttpStream *batch[POLL_BATCH];
    nfds_t n = 0;
    (void)pthread_mutex_lock(&streams->lock);
    for (HttpStream *stream = streams->first; stream; stream = stream->next) {
        if (!stream->suspended)
            continue;
        if (now_ms >= stream->sent_ms + streams->config.keepalive_ms) {
            keep_alive(stream, now_ms);
            continue;
        }
        fds[n] = (struct pollfd){.fd = stream->fd, .events = POLLRDHUP};
        batch[n++] = stream;
        if (n == POLL_BATCH) {
            check_batch(fds, batch, n);
            n = 0;
        }
    }
    check_batch(fds, batch, n);
    (void)pthread_mutex_unlock(&streams->lock);
}

void http_streams_close(HttpStreams *streams) {
    (void)pthread_mutex_lock(&streams->lock);
    streams->closing = true;
    for (HttpStream *stream = streams->first; stream; stream = stream->next)
        stream_wake(stream);
    (void)pthread_mutex_unlock(&streams->lock);
}
