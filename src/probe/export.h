#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Export
 *
 * Records leave the meters' threads here, each by an inlet of its own: copied into a batch, which
 * goes to the export's thread when it holds 350 records or is 200 ms old. That thread writes JSON
 * lines, and encodes the batch once and submits it. An inlet has a batch a lane; a flow always
 * takes the same lane. Batches are reused, so a steady stream allocates nothing.
 *
 * When the thread cannot keep up, a file waits; a live capture must not, and drops the batch,
 * counted in flows, packets and octets.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/batch_counts.h"
#include "base/cleanup.h"
#include "base/metric.h"
#include "base/reason.h"
#include "flow/fieldset.h"
#include "flow/record.h"

typedef struct Doors Doors;
typedef struct Export Export;
typedef struct ExportInlet ExportInlet;

typedef struct ExportConfig {
    const char *json; /* file, "-" for standard output, NULL: none */
    bool patient;     /* wait when behind (files), instead of dropping (live) */
    unsigned wait_ms; /* of a live one that has a buffer before it: wait so long and then drop */
    /* takes an encoded batch, on the export's thread; NULL: nothing is encoded */
    int (*submit)(void *userdata, unsigned lane, const void *bytes, size_t size,
                  const BatchCounts *counts);
    void *userdata;
    Doors *doors;         /* borrowed; NULL: no collectors of others */
    uint32_t doors_rate;  /* one of so many flows goes there; 0 and 1: all */
    MetricValue *skipped; /* counts the records of the others, on the export's thread */
    unsigned lanes;       /* at most EXPORT_LANES_MAX */
} ExportConfig;

enum { EXPORT_LANES_MAX = 16 };

enum {
    _EXPORT_E_SUCCESS,
    EXPORT_E_REFUSED, /* cannot be written or encoded: the reason says why */
};

int export_new(Export **exportp, const ExportConfig *config, Reason *reason);

/** export_free() - without export_finish() what is queued is lost */
Export *export_free(Export *export);

/** export_inlet() - one for each thread that makes records, before any is made. The export's own;
 * counters: borrowed, _COUNTER_N of them, written by that thread */
int export_inlet(ExportInlet **inletp, Export *export, MetricValue *counters);

/* from the inlet's thread */

/** export_record() - of the type that the meter calls; userdata is the ExportInlet */
void export_record(void *userdata, const FlowRecord *record);

/** export_fields() - records from now on have only these; a batch never mixes two sets */
void export_fields(ExportInlet *inlet, const FieldSet *fields);

/** export_tick() - hand over a batch that is old enough */
void export_tick(ExportInlet *inlet, uint64_t now_ms);

/** export_failed() - writing or submitting failed for good: there is no point in going on */
bool export_failed(const Export *export);

/** export_finish() - of all inlets, whose threads have ended or wait: hand over everything, wait
 * until it is written and submitted */
int export_finish(Export *export, Reason *reason);

DEFINE_CLEANUP(Export *, export_free)
