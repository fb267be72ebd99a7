/* SPDX-License-Identifier: Apache-2.0 */

#include "probe/export.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "base/buffer.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/json.h"
#include "base/queue.h"
#include "flow/field.h"
#include "probe/counters.h"

enum {
    BATCH_RECORDS = 350,
    BATCH_AGE_MS = 200,
    BATCHES = 64, /* in circulation */
    JSON_CHUNK = 64 * 1024,
};

struct Export {
    ExportConfig config;
    Queue *full;  /* meter to export */
    Queue *empty; /* and back */
    FlowBatch *batches[BATCHES];
    FlowBatch *filling;
    uint64_t begun_ms; /* when the first record came into it */
    pthread_t thread;
    bool running;

    /* the thread's */
    FILE *json;
    Buffer lines;
    int failure; /* errno of a write that failed; told at the end */
};

/* --- the thread --------------------------------------------------------------------------- */

static void lines_flush(Export *export) {
    Buffer *lines = &export->lines;
    if (lines->failed && !export->failure)
        export->failure = ENOMEM;
    if (lines->size && !export->failure) {
        errno = 0;
        if (fwrite(lines->bytes, 1, lines->size, export->json) != lines->size ||
            fflush(export->json) != 0)
            export->failure = errno ? errno : EIO;
    }
    buffer_clear(lines);
}

static void write_lines(Export *export, const FlowBatch *batch) {
    for (size_t i = 0; i < batch->n; i++) {
        Json json = json_make(&export->lines);
        flow_record_write_json(&batch->records[i], &json);
        buffer_put_u8(&export->lines, '\n');
        if (export->lines.size >= JSON_CHUNK)
            lines_flush(export);
    }
    lines_flush(export);
}

static void *export_run(void *userdata) {
    Export *export = userdata;
    for (;;) {
        FlowBatch *batch = queue_pop(export->full, 1000);
        if (!batch) {
            if (queue_closed(export->full))
                return NULL;
            continue;
        }
        if (export->json)
            write_lines(export, batch);
        flow_batch_clear(batch);
        (void)queue_push(export->empty, batch); /* has room for all there are */
    }
}

/* --- life --------------------------------------------------------------------------------- */

static int json_open(Export *export, Reason *reason) {
    const char *path = export->config.json;
    if (!path)
        return 0;
    if (strcmp(path, "-") == 0) {
        export->json = stdout;
        return 0;
    }
    export->json = fopen(path, "we");
    if (export->json)
        return 0;
    reason_set(reason, "--json %s cannot be written: %s", path, strerror(errno));
    return EXPORT_E_REFUSED;
}

static int batches_make(Export *export) {
    int r = queue_new(&export->full, BATCHES);
    if (r == 0)
        r = queue_new(&export->empty, BATCHES);
    for (size_t i = 0; r == 0 && i < BATCHES; i++) {
        r = flow_batch_new(&export->batches[i], BATCH_RECORDS);
        if (r == 0)
            (void)queue_push(export->empty, export->batches[i]);
    }
    return error_trace(r);
}

int export_new(Export **exportp, const ExportConfig *config, Reason *reason) {
    cleanup(export_freep) Export *export = calloc(1, sizeof(*export));
    if (!export)
        return error_origin(-ENOMEM);
    export->config = *config;
    int r = json_open(export, reason);
    if (r == 0)
        r = batches_make(export);
    if (r)
        return error_trace(r);
    r = -pthread_create(&export->thread, NULL, export_run, export);
    if (r < 0)
        return error_origin(r);
    export->running = true;
    *exportp = export;
    export = NULL;
    return 0;
}

static void thread_join(Export *export) {
    if (!export->running)
        return;
    queue_close(export->full);
    (void)pthread_join(export->thread, NULL);
    export->running = false;
}

Export *export_free(Export *export) {
    if (!export)
        return NULL;
    thread_join(export);
    if (export->json && export->json != stdout)
        (void)fclose(export->json);
    for (size_t i = 0; i < BATCHES; i++)
        flow_batch_free(export->batches[i]);
    queue_free(export->full);
    queue_free(export->empty);
    buffer_deinit(&export->lines);
    free(export);
    return NULL;
}

/* --- the meter's side --------------------------------------------------------------------- */

static void count_dropped(Export *export, const FlowRecord *record) {
    MetricValue *counters = export->config.counters;
    metric_add(&counters[COUNTER_EXPORT_DROPPED], 1);
    metric_add(&counters[COUNTER_EXPORT_DROPPED_PACKETS], record->packets + record->rev_packets);
    metric_add(&counters[COUNTER_EXPORT_DROPPED_OCTETS], record->octets + record->rev_octets);
}

static void hand_over(Export *export) {
    if (!export->filling)
        return;
    metric_add(&export->config.counters[COUNTER_BATCHES], 1);
    (void)queue_push(export->full, export->filling); /* has room for all there are */
    export->filling = NULL;
}

/* a batch to fill; none comes back in time: NULL */
static FlowBatch *batch_take(Export *export) {
    if (export->filling)
        return export->filling;
    do
        export->filling = queue_pop(export->empty, export->config.patient ? 1000 : 0);
    while (!export->filling && export->config.patient);
    export->begun_ms = clock_monotonic_ms();
    return export->filling;
}

static void keep_text(FlowBatch *batch, FlowText *text) {
    if (!text->size)
        return;
    text->text = arena_strndup(batch->texts, text->text, text->size);
    if (!text->text)
        text->size = 0;
}

void export_record(void *userdata, const FlowRecord *record) {
    Export *export = userdata;
    FlowBatch *batch = batch_take(export);
    FlowRecord *copy = batch ? flow_batch_add(batch) : NULL;
    if (!copy) {
        count_dropped(export, record);
        return;
    }
    *copy = *record;
    keep_text(batch, &copy->app_name);
    keep_text(batch, &copy->app_category);
    keep_text(batch, &copy->server_name);
    if (batch->n >= BATCH_RECORDS)
        hand_over(export);
}

void export_tick(Export *export, uint64_t now_ms) {
    if (export->filling && now_ms - export->begun_ms >= BATCH_AGE_MS)
        hand_over(export);
}

int export_finish(Export *export, Reason *reason) {
    hand_over(export);
    thread_join(export);
    if (export->json && export->json != stdout) {
        if (fclose(export->json) != 0 && !export->failure)
            export->failure = errno;
        export->json = NULL;
    }
    if (!export->failure)
        return 0;
    reason_set(reason, "--json %s could not be written: %s", export->config.json,
               strerror(export->failure));
    return EXPORT_E_REFUSED;
}
