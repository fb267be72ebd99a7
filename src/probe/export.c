/* SPDX-License-Identifier: Apache-2.0 */

#include "probe/export.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "base/buffer.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/queue.h"
#include "codec/batch.h"
#include "flow/field.h"
#include "probe/counters.h"
#include "probe/doors.h"

enum {
    PATIENT_MS = 1000,
    BATCH_RECORDS = 350,
    BATCH_AGE_MS = 200,
    BATCHES = 32,      /* in circulation, of the first inlet, */
    MORE_BATCHES = 24, /* and what each other one adds, beside one a lane */
    INLETS_MAX = 64,
    JSON_CHUNK = 64 * 1024,
};

/* a batch on its way */
typedef struct Parcel {
    FlowBatch *batch;
    unsigned lane;
    uint64_t begun_ms; /* when the first record came into it */
} Parcel;

struct ExportInlet {
    Export *export;
    MetricValue *counters;
    Parcel *filling[EXPORT_LANES_MAX];
    const FieldSet *fields; /* NULL: all */
    Parcel *parcels;        /* brought into circulation by it */
    size_t n_parcels;
    bool gave_up; /* waiting, until there is room again */
    ExportInlet *next;
};

struct Export {
    ExportConfig config;
    Queue *full;  /* inlets to export */
    Queue *empty; /* and back */
    ExportInlet *inlets;
    size_t n_inlets;
    pthread_t thread;
    bool running;

    /* the thread's */
    FILE *json;
    Buffer lines;
    BatchCodec *codec;
    Buffer encoded;
    atomic_int write_failure;  /* errno; told at the end */
    atomic_int submit_failure; /* negative errno */
};

/* --- the thread --------------------------------------------------------------------------- */

static void lines_flush(Export *export) {
    Buffer *lines = &export->lines;
    if (lines->failed)
        export->write_failure = ENOMEM;
    if (lines->size && !export->write_failure) {
        errno = 0;
        if (fwrite(lines->bytes, 1, lines->size, export->json) != lines->size ||
            fflush(export->json) != 0)
            export->write_failure = errno ? errno : EIO;
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

/* as many messages as the batch needs, for one holds 60,000 bytes */
static int submit(Export *export, const Parcel *parcel) {
    const FlowBatch *batch = parcel->batch;
    for (size_t done = 0; done < batch->n;) {
        size_t taken = 0;
        BatchCounts counts;
        buffer_clear(&export->encoded);
        int r = batch_encode(export->codec, &export->encoded, batch->records + done,
                             batch->n - done, clock_wall_ms(), &taken, &counts);
        if (r == 0)
            r = export->config.submit(export->config.userdata, parcel->lane, export->encoded.bytes,
                                      export->encoded.size, &counts);
        if (r < 0)
            return error_trace(r);
        done += taken;
    }
    return 0;
}

/* all records of a flow go to collectors, or none; what has no number is told by the flow's ends */
static bool goes_out(const Export *export, const FlowRecord *record) {
    const uint64_t flow =
        record->flow_id ? record->flow_id
                        : hash_bytes(&record->src_ip, sizeof(record->src_ip), record->src_port) ^
                              hash_bytes(&record->dst_ip, sizeof(record->dst_ip), record->dst_port);
    return hash_u64(flow, 0) % export->config.doors_rate == 0;
}

/* last, for of several flows only those that go out stay in the batch */
static void to_doors(Export *export, FlowBatch *batch) {
    size_t n = batch->n;
    if (export->config.doors_rate > 1) {
        n = 0;
        for (size_t i = 0; i < batch->n; i++)
            if (goes_out(export, &batch->records[i]))
                batch->records[n++] = batch->records[i];
        metric_add(export->config.skipped, batch->n - n);
    }
    doors_batch(export->config.doors, batch->records, n);
}

static void export_parcel(Export *export, const Parcel *parcel) {
    if (export->json)
        write_lines(export, parcel->batch);
    if (export->config.submit && !export->submit_failure) {
        int r = submit(export, parcel);
        if (r < 0)
            export->submit_failure = r;
    }
    if (export->config.doors)
        to_doors(export, parcel->batch);
}

static void *export_run(void *userdata) {
    Export *export = userdata;
    for (;;) {
        Parcel *parcel = queue_pop(export->full, 1000);
        if (!parcel) {
            if (queue_closed(export->full) && queue_length(export->full) == 0)
                return NULL;
            if (export->config.doors)
                doors_tick(export->config.doors);
            continue;
        }
        export_parcel(export, parcel);
        flow_batch_clear(parcel->batch);
        (void)queue_push_first(export->empty, parcel); /* has room for all there are */
    }
}

/* --- life --------------------------------------------------------------------------------- */

static int json_open(Export *export, Reason *reason) {
    const char *path = export->config.json;
    if (!path || strcmp(path, "none") == 0)
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

static ExportInlet *inlet_free(ExportInlet *inlet) {
    if (!inlet)
        return NULL;
    for (size_t i = 0; i < inlet->n_parcels; i++)
        flow_batch_free(inlet->parcels[i].batch);
    free(inlet->parcels);
    free(inlet);
    return NULL;
}

DEFINE_CLEANUP(ExportInlet *, inlet_free)

int export_inlet(ExportInlet **inletp, Export *export, MetricValue *counters) {
    const size_t n = export->n_inlets ? MORE_BATCHES + export->config.lanes : BATCHES;
    cleanup(inlet_freep) ExportInlet *inlet = calloc(1, sizeof(*inlet));
    if (!inlet || export->n_inlets == INLETS_MAX)
        return error_origin(-ENOMEM);
    inlet->export = export;
    inlet->counters = counters;
    inlet->parcels = calloc(n, sizeof(Parcel));
    if (!inlet->parcels)
        return error_origin(-ENOMEM);
    for (; inlet->n_parcels < n; inlet->n_parcels++) {
        int r = flow_batch_new(&inlet->parcels[inlet->n_parcels].batch, BATCH_RECORDS);
        if (r < 0)
            return error_trace(r);
    }
    for (size_t i = 0; i < n; i++)
        (void)queue_push(export->empty, &inlet->parcels[i]); /* has room for all there may be */
    inlet->next = export->inlets;
    export->inlets = inlet;
    export->n_inlets++;
    *inletp = inlet;
    inlet = NULL;
    return 0;
}

static int queues_make(Export *export) {
    const size_t most = BATCHES + INLETS_MAX * (MORE_BATCHES + EXPORT_LANES_MAX);
    int r = queue_new(&export->full, most);
    if (r == 0)
        r = queue_new(&export->empty, most);
    if (r == 0 && export->config.submit)
        r = batch_codec_new(&export->codec);
    return error_trace(r);
}

int export_new(Export **exportp, const ExportConfig *config, Reason *reason) {
    cleanup(export_freep) Export *export = calloc(1, sizeof(*export));
    if (!export)
        return error_origin(-ENOMEM);
    export->config = *config;
    int r = json_open(export, reason);
    if (r == 0)
        r = queues_make(export);
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
    while (export->inlets) {
        ExportInlet *inlet = export->inlets;
        export->inlets = inlet->next;
        inlet_free(inlet);
    }
    queue_free(export->full);
    queue_free(export->empty);
    batch_codec_free(export->codec);
    buffer_deinit(&export->lines);
    buffer_deinit(&export->encoded);
    free(export);
    return NULL;
}

/* --- the meters' side --------------------------------------------------------------------- */

static void count_dropped(ExportInlet *inlet, const FlowRecord *record) {
    MetricValue *counters = inlet->counters;
    metric_add(&counters[COUNTER_EXPORT_DROPPED], 1);
    metric_add(&counters[COUNTER_EXPORT_DROPPED_PACKETS], record->packets + record->rev_packets);
    metric_add(&counters[COUNTER_EXPORT_DROPPED_OCTETS], record->octets + record->rev_octets);
}

static void hand_over(ExportInlet *inlet, unsigned lane) {
    if (!inlet->filling[lane])
        return;
    metric_add(&inlet->counters[COUNTER_BATCHES], 1);
    (void)queue_push(inlet->export->full, inlet->filling[lane]); /* has room for all there are */
    inlet->filling[lane] = NULL;
}

/* a batch to fill; none comes back in time: NULL */
static FlowBatch *batch_take(ExportInlet *inlet, unsigned lane) {
    const Export *export = inlet->export;
    Parcel *parcel = inlet->filling[lane];
    if (parcel)
        return parcel->batch;
    const unsigned wait_ms = inlet->gave_up ? 0 : export->config.wait_ms;
    do
        parcel = queue_pop(export->empty, export->config.patient ? PATIENT_MS : wait_ms);
    while (!parcel && export->config.patient);
    inlet->gave_up = !parcel;
    if (!parcel)
        return NULL;
    parcel->lane = lane;
    parcel->begun_ms = clock_monotonic_ms();
    inlet->filling[lane] = parcel;
    return parcel->batch;
}

/* by the two ends, so that both directions and all splits of a flow go the same way */
static unsigned lane_of(const Export *export, const FlowRecord *record) {
    if (export->config.lanes <= 1)
        return 0;
    uint64_t hash = hash_bytes(&record->src_ip, sizeof(record->src_ip), record->src_port) ^
                    hash_bytes(&record->dst_ip, sizeof(record->dst_ip), record->dst_port);
    return (unsigned)(hash % export->config.lanes);
}

static void keep_text(FlowBatch *batch, FlowText *text) {
    if (!text->size)
        return;
    text->text = arena_strndup(batch->texts, text->text, text->size);
    if (!text->text)
        text->size = 0;
}

/* the maker's memory may be gone when the batch is encoded */
static void keep_texts(FlowBatch *batch, FlowRecord *copy) {
#define FLOW_FIELD(id, member, kind, ...)                                                          \
    if (FLOW_KIND_##kind == FLOW_KIND_TEXT)                                                        \
        keep_text(batch, (void *)&copy->member);
#include "flow/fields.def"
#undef FLOW_FIELD
}

void export_record(void *userdata, const FlowRecord *record) {
    ExportInlet *inlet = userdata;
    unsigned lane = lane_of(inlet->export, record);
    FlowBatch *batch = batch_take(inlet, lane);
    FlowRecord *copy = batch ? flow_batch_place(batch) : NULL;
    if (!copy) {
        count_dropped(inlet, record);
        return;
    }
    *copy = *record;
    if (inlet->fields)
        fieldset_keep(inlet->fields, copy);
    keep_texts(batch, copy);
    if (batch->n >= BATCH_RECORDS)
        hand_over(inlet, lane);
}

void export_fields(ExportInlet *inlet, const FieldSet *fields) {
    if (fields == inlet->fields)
        return;
    for (unsigned lane = 0; lane < EXPORT_LANES_MAX; lane++)
        hand_over(inlet, lane);
    inlet->fields = fields;
}

void export_tick(ExportInlet *inlet, uint64_t now_ms) {
    for (unsigned lane = 0; lane < EXPORT_LANES_MAX; lane++)
        if (inlet->filling[lane] && now_ms - inlet->filling[lane]->begun_ms >= BATCH_AGE_MS)
            hand_over(inlet, lane);
}

bool export_failed(const Export *export) {
    return export->write_failure || export->submit_failure;
}

int export_finish(Export *export, Reason *reason) {
    for (ExportInlet *inlet = export->inlets; inlet; inlet = inlet->next)
        for (unsigned lane = 0; lane < EXPORT_LANES_MAX; lane++)
            hand_over(inlet, lane);
    thread_join(export);
    if (export->json && export->json != stdout) {
        if (fclose(export->json) != 0 && !export->write_failure)
            export->write_failure = errno;
        export->json = NULL;
    }
    if (export->submit_failure)
        return error_trace(export->submit_failure);
    if (!export->write_failure)
        return 0;
    reason_set(reason, "--json %s could not be written: %s", export->config.json,
               strerror(export->write_failure));
    return EXPORT_E_REFUSED;
}
