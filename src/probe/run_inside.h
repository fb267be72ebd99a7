#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Run, inside
 *
 * A run is made of parts, a row each in run.c: opened in the order of the rows, started and asked
 * every turn in it, finished and closed in the other. run.c holds the rows and the loop,
 * run_parts.c opens and closes, run_tell.c says how it goes (pulse, log, counters), run_drain.c
 * waits for the hubs at the end.
 */

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>

#include "base/buffer.h"
#include "base/metric.h"
#include "base/reason.h"
#include "probe/capture.h"
#include "probe/capture_fanout.h"
#include "probe/capture_list.h"
#include "probe/collect_keeper.h"
#include "probe/counters.h"
#include "probe/deliver.h"
#include "probe/export.h"
#include "probe/outside.h"
#include "probe/pulse.h"
#include "probe/remote.h"
#include "probe/run.h"
#include "probe/trouble.h"
#include "probe/workers.h"

typedef struct Run {
    const ProbeConfig *config;
    CaptureList inputs;    /* all that -i and --pcap-file-list name */
    char input_names[256]; /* as hubs show them */
    bool live;
    uint32_t interface_index; /* of the first */
    CaptureFanout fanouts[CAPTURE_INPUTS_MAX];
    Capture *captures[WORKERS_MAX]; /* opened, and not yet a worker's */
    Outside outside;                /* licence and collectors */
    Deliver *deliver;               /* NULL without a hub */
    Export *export;
    Workers *workers;
    CollectKeeper *keeper;      /* of what exporters have said; NULL: it is not kept */
    size_t told_of;             /* which worker's exporters the last pulse had */
    Pulse *pulse;               /* of all workers; NULL without a hub */
    pthread_mutex_t pulse_lock; /* workers add to it in turn */
    FILE *counters_file;        /* NULL: none, or standard output */
    Configuration given;        /* by the command line */
    Remote *remote;             /* NULL without a hub */
    uint64_t second;            /* of the wall clock, that of the last pulse */
    uint64_t second_ms;         /* when that was, monotonic */
    uint64_t last[_COUNTER_N];  /* counters at that time */
    uint64_t let_go;            /* flows, by a full spool */
    bool letting_go;
    Trouble trouble;
    Buffer pulse_json;
    MetricValue counters[_COUNTER_N]; /* of workers those of the last second */
    bool of_workers[_COUNTER_N];      /* rows that they count */
} Run;

/* 0 or an exit code, RUN_..., of open() and finish() the reason of it said */
typedef struct RunPart {
    int (*open)(Run *run, Reason *reason);  /* as errors go: a positive answer has its reason */
    int (*start)(Run *run, Reason *reason); /* when all are open; as open() */
    void (*tick)(Run *run);                 /* again and again */
    int (*finish)(Run *run);                /* nothing comes any more; RUN_... */
    void (*close)(Run *run);                /* also of what was never opened */
} RunPart;

extern const RunPart run_remote;
extern const RunPart run_input;
extern const RunPart run_outside;
extern const RunPart run_hubs;
extern const RunPart run_confinement;
extern const RunPart run_licence;
extern const RunPart run_telling;
extern const RunPart run_export;
extern const RunPart run_workers;
extern const RunPart run_settings;

/* the signal that came last, and whether a second one ends the waiting for the hub */
extern volatile sig_atomic_t run_stop_signal;
extern volatile sig_atomic_t run_stop_hurry;

/** run_said() - 0, or the exit code, having said why */
int run_said(int r, const Reason *reason);

/** run_counter() - of this run so far */
static inline uint64_t run_counter(const Run *run, int id) {
    return metric_get(&run->counters[id]);
}

/** run_gather() - what workers have counted, into the run's counters and its pulse */
void run_gather(Run *run);

/** run_count_spool() - what the spool says into the counters */
void run_count_spool(Run *run, SpoolStatus *status);

/** run_say_summary() - the last lines */
void run_say_summary(const Run *run);

/** run_write_counters() - to where --counters says; RUN_... */
int run_write_counters(const Run *run);

/** run_drain() - wait for the hubs; RUN_DONE, or RUN_LEFT having said how much */
int run_drain(Run *run);
