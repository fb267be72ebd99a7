#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Keeping Exporters
 *
 * A thread that brings counters of interfaces to the store, every few seconds, and which exporters
 * there are to `exporters.json` of the data directory, within a minute: so that one that went
 * silent is seen after a restart too. Nobody waits for it, and it may wait for the disk.
 */

#include "base/cleanup.h"
#include "base/metric.h"
#include "hub/exporters.h"

typedef struct ExportersKeep ExportersKeep;

typedef struct ExportersKeepConfig {
    Exporters *exporters; /* borrowed, as all of these */
    Store *store;
    const char *data_dir;
    MetricValue *stored, *lost; /* counters of interfaces */
} ExportersKeepConfig;

/** exporters_keep_new() - what was kept is there when it returns, and the thread runs */
int exporters_keep_new(ExportersKeep **keepp, const ExportersKeepConfig *config);

/** exporters_keep_free() - what waits is stored first */
ExportersKeep *exporters_keep_free(ExportersKeep *keep);

DEFINE_CLEANUP(ExportersKeep *, exporters_keep_free)
