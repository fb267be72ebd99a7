#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Metrics
 *
 * A counter or gauge is one row: name, unit, what it means. The rows drive the probe's report, the
 * hub's /metrics (OpenMetrics text) and the reference. Values are one array a table, indexed by
 * the row's enum; each value has one writing thread and any number of readers.
 */

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

typedef struct Buffer Buffer;

typedef enum MetricKind {
    METRIC_COUNTER,
    METRIC_GAUGE,
} MetricKind;

typedef struct MetricRow {
    const char *name;  /* "weir_probe_packets_received"; a counter's text form adds _total */
    const char *label; /* fixed labels, e.g. "reason=\"truncated\"", or NULL */
    MetricKind kind;
    const char *unit; /* "packets", "bytes", "flows" */
    const char *help; /* one sentence */
} MetricRow;

typedef _Atomic uint64_t MetricValue;

static inline void metric_add(MetricValue *value, uint64_t n) {
    atomic_store_explicit(value, atomic_load_explicit(value, memory_order_relaxed) + n,
                          memory_order_relaxed);
}

static inline void metric_set(MetricValue *value, uint64_t v) {
    atomic_store_explicit(value, v, memory_order_relaxed);
}

static inline uint64_t metric_get(const MetricValue *value) {
    return atomic_load_explicit(value, memory_order_relaxed);
}

/**
 * metric_write() - the OpenMetrics text of one table; `labels` (may be NULL) are added to each
 * row's own. HELP and TYPE lines are written once a name when `heads` is set.
 */
void metric_write(Buffer *to, const MetricRow *rows, const MetricValue *values, size_t n,
                  const char *labels, int heads);
