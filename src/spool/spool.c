/* SPDX-License-Identifier: Apache-2.0 */

#include "spool/spool.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"

typedef struct Batch {
    void *bytes; /* NULL once nobody holds it */
    size_t size;
    BatchCounts counts;
    unsigned holders;
} Batch;

/* A ring in order of id; the batch of id i stands at ring[(i - first) + head]. */
struct Spool {
    pthread_mutex_t lock;
    SpoolConfig config;
    Batch *ring;
    size_t head, n, capacity;
    uint64_t first; /* id of the batch at head */
    SpoolStatus status;
};

static Batch *batch_at(const Spool *spool, uint64_t id) {
    if (id < spool->first || id - spool->first >= spool->n)
        return NULL;
    return &spool->ring[(spool->head + (size_t)(id - spool->first)) & (spool->capacity - 1)];
}

int spool_new(Spool **spoolp, const SpoolConfig *config) {
    Spool *spool = calloc(1, sizeof(*spool));
    if (!spool)
        return error_origin(-ENOMEM);
    spool->config = *config;
    spool->status.limit_bytes = config->limit_bytes;
    spool->first = 1;
    (void)pthread_mutex_init(&spool->lock, NULL);
    *spoolp = spool;
    return 0;
}

Spool *spool_free(Spool *spool) {
    if (!spool)
        return NULL;
    for (size_t i = 0; i < spool->n; i++)
        free(batch_at(spool, spool->first + i)->bytes);
    free(spool->ring);
    (void)pthread_mutex_destroy(&spool->lock);
    free(spool);
    return NULL;
}

static int grow(Spool *spool) {
    size_t capacity = spool->capacity ? spool->capacity * 2 : 64;
    Batch *ring = malloc(capacity * sizeof(*ring));
    if (!ring)
        return error_origin(-ENOMEM);
    for (size_t i = 0; i < spool->n; i++)
        ring[i] = *batch_at(spool, spool->first + i);
    free(spool->ring);
    spool->ring = ring;
    spool->capacity = capacity;
    spool->head = 0;
    return 0;
}

/** forget() - the bytes go; so do the places at the front that nobody needs any more */
static void forget(Spool *spool, Batch *batch) {
    spool->status.batches--;
    spool->status.bytes -= batch->size;
    spool->status.held = batch_counts_subtract(spool->status.held, batch->counts);
    free(batch->bytes);
    batch->bytes = NULL;
    while (spool->n && !spool->ring[spool->head].bytes) {
        spool->head = (spool->head + 1) & (spool->capacity - 1);
        spool->first++;
        spool->n--;
    }
}

static int push(Spool *spool, const Batch *batch, uint64_t *idp) {
    if (spool->n == spool->capacity) {
        int r = grow(spool);
        if (r)
            return error_trace(r);
    }
    uint64_t id = spool->first + spool->n++;
    *batch_at(spool, id) = *batch;
    spool->status.batches++;
    spool->status.bytes += batch->size;
    spool->status.held = batch_counts_add(spool->status.held, batch->counts);
    spool->status.appended = batch_counts_add(spool->status.appended, batch->counts);
    *idp = id;
    return 0;
}

/** drop_oldest() - the id that had to go to make room, or 0 */
static uint64_t drop_oldest(Spool *spool) {
    uint64_t dropped = 0;
    (void)pthread_mutex_lock(&spool->lock);
    if (spool->status.bytes > spool->status.limit_bytes && spool->n > 1) {
        dropped = spool->first;
        Batch *batch = batch_at(spool, dropped);
        spool->status.dropped = batch_counts_add(spool->status.dropped, batch->counts);
        spool->status.dropped_batches++;
        forget(spool, batch);
    }
    (void)pthread_mutex_unlock(&spool->lock);
    return dropped;
}

int spool_append(Spool *spool, const void *bytes, size_t size, const BatchCounts *counts,
                 uint64_t *idp) {
    Batch batch = {
        .bytes = malloc(size ? size : 1),
        .size = size,
        .counts = *counts,
        .holders = spool->config.holders,
    };
    if (!batch.bytes)
        return error_origin(-ENOMEM);
    memcpy(batch.bytes, bytes, size);

    (void)pthread_mutex_lock(&spool->lock);
    int r = push(spool, &batch, idp);
    (void)pthread_mutex_unlock(&spool->lock);
    if (r) {
        free(batch.bytes);
        return error_trace(r);
    }
    for (uint64_t id = drop_oldest(spool); id; id = drop_oldest(spool))
        if (spool->config.on_drop)
            spool->config.on_drop(spool->config.userdata, id);
    return 0;
}

bool spool_fetch(Spool *spool, uint64_t id, void *to, size_t size) {
    (void)pthread_mutex_lock(&spool->lock);
    const Batch *batch = batch_at(spool, id);
    bool there = batch && batch->bytes && batch->size == size;
    if (there)
        memcpy(to, batch->bytes, size);
    (void)pthread_mutex_unlock(&spool->lock);
    return there;
}

void spool_release(Spool *spool, uint64_t id) {
    (void)pthread_mutex_lock(&spool->lock);
    Batch *batch = batch_at(spool, id);
    if (batch && batch->bytes && --batch->holders == 0)
        forget(spool, batch);
    (void)pthread_mutex_unlock(&spool->lock);
}

void spool_status(Spool *spool, SpoolStatus *status) {
    (void)pthread_mutex_lock(&spool->lock);
    *status = spool->status;
    (void)pthread_mutex_unlock(&spool->lock);
}
