#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Workers
 *
 * The worker of a run, or several, each on a thread of its own. One alone works on the thread that
 * calls workers_run(), so a run without --workers has no thread for it. What must be done to a
 * worker, its own thread does between two batches: workers_ask().
 */

#include <stdbool.h>
#include <stddef.h>

#include "base/cleanup.h"
#include "base/reason.h"
#include "probe/worker.h"

typedef struct Workers Workers;
typedef void WorkerCall(Worker *worker, void *userdata);

enum { WORKERS_MAX = 64 };

/** workers_new() - n of them, zeroed: worker_open() each */
int workers_new(Workers **workersp, size_t n);

/** workers_free() - and closes them */
Workers *workers_free(Workers *workers);

size_t workers_n(const Workers *workers);

/** workers_at() - the i-th; to be touched only while no thread runs, or by what it is asked */
Worker *workers_at(Workers *workers, size_t i);

/** workers_start() - threads, of several */
int workers_start(Workers *workers);

/** workers_run() - one batch of the only worker, or a while of several; the answer of a capture
 * that has ended or broken, with its reason */
int workers_run(Workers *workers, unsigned wait_ms, size_t *framesp, Reason *reason);

/** workers_ask() - every worker does this, all at the same time; returns when all have */
void workers_ask(Workers *workers, WorkerCall *call, void *userdata);

/** workers_ask_one() - only the i-th */
void workers_ask_one(Workers *workers, size_t i, WorkerCall *call, void *userdata);

/** workers_stop() - no thread runs any more */
void workers_stop(Workers *workers);

/** workers_sum() - of a counter, of all */
uint64_t workers_sum(const Workers *workers, int counter);

DEFINE_CLEANUP(Workers *, workers_free)
