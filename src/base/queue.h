#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Queue
 *
 * A bounded queue of pointers between threads, any number on either side. The queue never owns
 * what it carries. Waiting is by condition variable with a monotonic limit; who waits for room is
 * woken when an eighth of a queue is free, or at the limit, for waking costs more than an item.
 */

#include <stdbool.h>
#include <stddef.h>

#include "base/cleanup.h"

typedef struct Queue Queue;

int queue_new(Queue **queuep, size_t capacity);
Queue *queue_free(Queue *queue);

/* false: full (or, for the waiting form, still full after timeout_ms), or closed */
bool queue_push(Queue *queue, void *item);
bool queue_push_wait(Queue *queue, void *item, unsigned timeout_ms);

/** queue_push_all() - several under one lock, who waits is woken once; how many had room */
size_t queue_push_all(Queue *queue, void *const *items, size_t n);

/** queue_push_first() - to be popped before all others: what was used last is in the cache still */
bool queue_push_first(Queue *queue, void *item);

/* NULL: nothing came within timeout_ms, or closed and empty */
void *queue_pop(Queue *queue, unsigned timeout_ms);

/** queue_pop_all() - what is there, at most `max` items, under one lock; the first is waited for */
size_t queue_pop_all(Queue *queue, void **items, size_t max, unsigned timeout_ms);

/** queue_close() - wakes every waiter; what is inside can still be popped */
void queue_close(Queue *queue);
bool queue_closed(Queue *queue);
size_t queue_length(Queue *queue);

DEFINE_CLEANUP(Queue *, queue_free)
