#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Worker
 *
 * What turns packets into records, from end to end without another thread: its share of the
 * packets of every interface, what leaves packets out, a meter with its nDPI, an inlet of the
 * export, and counters. A probe has one, or --workers of them (probe/workers.h), which have
 * nothing in common on the way of a packet. One thread at a time.
 */

#include <stdint.h>

#include "base/metric.h"
#include "base/reason.h"
#include "probe/capture.h"
#include "probe/collect_feed.h"
#include "probe/counters.h"
#include "probe/dedup.h"
#include "probe/export.h"
#include "probe/meter.h"
#include "probe/options.h"
#include "probe/pulse.h"
#include "probe/sampler.h"

typedef struct Worker {
    Capture *capture;
    Dedup *dedup; /* NULL: duplicates are not looked for */
    Sampler sampler;
    Dpi *dpi;
    Pulse *pulse; /* NULL without a hub */
    Meter *meter;
    CollectFeed *feed; /* collects in the meter's place; NULL: packets are metered */
    ExportInlet *out;
    uint32_t collected;                      /* how exporters sample that do not say it (-S) */
    uint32_t told_if;                        /* index of all inputs by -u, 0: their own */
    uint32_t input_ifs[CAPTURE_INPUTS_MAX];  /* index of each input, as flows say it */
    CaptureStats inputs[CAPTURE_INPUTS_MAX]; /* as of the last worker_count() */
    MetricValue counters[_COUNTER_N];
} Worker;

typedef struct WorkerConfig {
    const ProbeConfig *config;
    Capture *capture; /* the worker's from now on, whatever the answer */
    Export *export;
    unsigned number; /* of this one, from 0 */
    unsigned n;      /* workers there are, who share the memory for flows */
    bool pulse;      /* somebody wants one */
    bool deliver;    /* records of exporters go to the export */
} WorkerConfig;

int worker_open(Worker *worker, const WorkerConfig *config, Reason *reason);
void worker_close(Worker *worker);

/** worker_turn() - waits so long for frames, takes them all the way, and lets time go on; the
 * capture's answer */
int worker_turn(Worker *worker, unsigned wait_ms, size_t *framesp, Reason *reason);

/** worker_count() - what its capture says, into counters and inputs */
void worker_count(Worker *worker);

/** worker_flush() - end every flow */
void worker_flush(Worker *worker);
