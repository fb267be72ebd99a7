/* SPDX-License-Identifier: Apache-2.0 */

#include "flow/record.h"

#include <errno.h>
#include <string.h>

#include "base/arena.h"
#include "base/error.h"

enum { TEXT_CHUNK_BYTES = 64 << 10 };

int flow_batch_new(FlowBatch **batchp, size_t capacity) {
    cleanup(flow_batch_freep) FlowBatch *batch = calloc(1, sizeof(*batch));
    if (!batch)
        return error_origin(-ENOMEM);
    int r = arena_new(&batch->texts, TEXT_CHUNK_BYTES);
    if (r)
        return error_trace(r);
    batch->capacity = capacity ? capacity : 1;
    batch->records = calloc(batch->capacity, sizeof(*batch->records));
    if (!batch->records)
        return error_origin(-ENOMEM);
    *batchp = batch;
    batch = NULL;
    return 0;
}

FlowBatch *flow_batch_free(FlowBatch *batch) {
    if (!batch)
        return NULL;
    arena_free(batch->texts);
    free(batch->records);
    free(batch);
    return NULL;
}

void flow_batch_clear(FlowBatch *batch) {
    batch->n = 0;
    arena_reset(batch->texts);
}

FlowRecord *flow_batch_place(FlowBatch *batch) {
    if (batch->n == batch->capacity) {
        FlowRecord *grown =
            reallocarray(batch->records, batch->capacity, 2 * sizeof(*batch->records));
        if (!grown)
            return NULL;
        batch->records = grown;
        batch->capacity *= 2;
    }
    return &batch->records[batch->n++];
}

FlowRecord *flow_batch_add(FlowBatch *batch) {
    FlowRecord *record = flow_batch_place(batch);
    if (record)
        *record = (FlowRecord){0};
    return record;
}
