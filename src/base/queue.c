/* SPDX-License-Identifier: Apache-2.0 */

#include "base/queue.h"

#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <time.h>

#include "base/error.h"

struct Queue {
    pthread_mutex_t lock;
    pthread_cond_t not_empty;
    pthread_cond_t not_full;
    size_t capacity;
    size_t head; /* next to pop */
    size_t length;
    bool closed;
    void *items[];
};

int queue_new(Queue **queuep, size_t capacity) {
    Queue *queue = calloc(1, sizeof(*queue) + capacity * sizeof(queue->items[0]));
    if (!queue)
        return error_origin(-ENOMEM);
    queue->capacity = capacity;
    pthread_condattr_t attr;
    (void)pthread_condattr_init(&attr);
    (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    (void)pthread_mutex_init(&queue->lock, NULL);
    (void)pthread_cond_init(&queue->not_empty, &attr);
    (void)pthread_cond_init(&queue->not_full, &attr);
    (void)pthread_condattr_destroy(&attr);
    *queuep = queue;
    return 0;
}

Queue *queue_free(Queue *queue) {
    if (!queue)
        return NULL;
    (void)pthread_cond_destroy(&queue->not_full);
    (void)pthread_cond_destroy(&queue->not_empty);
    (void)pthread_mutex_destroy(&queue->lock);
    free(queue);
    return NULL;
}

static struct timespec deadline(unsigned timeout_ms) {
    struct timespec ts = {0};
    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    ts.tv_sec += timeout_ms / 1000;
    ts.tv_nsec += (long)(timeout_ms % 1000) * 1000000;
    if (ts.tv_nsec >= 1000000000) {
        ts.tv_sec++;
        ts.tv_nsec -= 1000000000;
    }
    return ts;
}

bool queue_push_wait(Queue *queue, void *item, unsigned timeout_ms) {
    struct timespec until = timeout_ms ? deadline(timeout_ms) : (struct timespec){0};
    (void)pthread_mutex_lock(&queue->lock);
    while (queue->length == queue->capacity && !queue->closed && timeout_ms)
        if (pthread_cond_timedwait(&queue->not_full, &queue->lock, &until) == ETIMEDOUT)
            break;
    bool pushed = queue->length < queue->capacity && !queue->closed;
    if (pushed) {
        queue->items[(queue->head + queue->length) % queue->capacity] = item;
        queue->length++;
        (void)pthread_cond_signal(&queue->not_empty);
    }
    (void)pthread_mutex_unlock(&queue->lock);
    return pushed;
}

bool queue_push(Queue *queue, void *item) {
    return queue_push_wait(queue, item, 0);
}

size_t queue_push_all(Queue *queue, void *const *items, size_t n) {
    size_t pushed = 0;
    (void)pthread_mutex_lock(&queue->lock);
    for (; pushed < n && queue->length < queue->capacity && !queue->closed; pushed++) {
        queue->items[(queue->head + queue->length) % queue->capacity] = items[pushed];
        queue->length++;
    }
    if (pushed == 1)
        (void)pthread_cond_signal(&queue->not_empty);
    else if (pushed)
        (void)pthread_cond_broadcast(&queue->not_empty); /* there is something for several */
    (void)pthread_mutex_unlock(&queue->lock);
    return pushed;
}

bool queue_push_first(Queue *queue, void *item) {
    (void)pthread_mutex_lock(&queue->lock);
    bool pushed = queue->length < queue->capacity && !queue->closed;
    if (pushed) {
        queue->head = (queue->head + queue->capacity - 1) % queue->capacity;
        queue->items[queue->head] = item;
        queue->length++;
        (void)pthread_cond_signal(&queue->not_empty);
    }
    (void)pthread_mutex_unlock(&queue->lock);
    return pushed;
}

size_t queue_pop_all(Queue *queue, void **items, size_t max, unsigned timeout_ms) {
    struct timespec until = timeout_ms ? deadline(timeout_ms) : (struct timespec){0};
    size_t n = 0;
    (void)pthread_mutex_lock(&queue->lock);
    while (queue->length == 0 && !queue->closed && timeout_ms)
        if (pthread_cond_timedwait(&queue->not_empty, &queue->lock, &until) == ETIMEDOUT)
            break;
    for (; n < max && queue->length; n++) {
        items[n] = queue->items[queue->head];
        queue->head = (queue->head + 1) % queue->capacity;
        queue->length--;
    }
    if (n && queue->length <= queue->capacity - queue->capacity / 8) {
        if (n == 1)
            (void)pthread_cond_signal(&queue->not_full);
        else
            (void)pthread_cond_broadcast(&queue->not_full); /* there is room for several */
    }
    (void)pthread_mutex_unlock(&queue->lock);
    return n;
}

void *queue_pop(Queue *queue, unsigned timeout_ms) {
    void *item = NULL;
    (void)queue_pop_all(queue, &item, 1, timeout_ms);
    return item;
}

void queue_close(Queue *queue) {
    (void)pthread_mutex_lock(&queue->lock);
    queue->closed = true;
    (void)pthread_cond_broadcast(&queue->not_empty);
    (void)pthread_cond_broadcast(&queue->not_full);
    (void)pthread_mutex_unlock(&queue->lock);
}

bool queue_closed(Queue *queue) {
    (void)pthread_mutex_lock(&queue->lock);
    bool closed = queue->closed;
    (void)pthread_mutex_unlock(&queue->lock);
    return closed;
}

size_t queue_length(Queue *queue) {
    (void)pthread_mutex_lock(&queue->lock);
    size_t length = queue->length;
    (void)pthread_mutex_unlock(&queue->lock);
    return length;
}
