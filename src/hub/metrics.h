#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Metrics of the hub
 *
 * Counters of the hub itself; those of probes and interfaces are read from where they are kept.
 * Each has one writing thread, named in metrics.c.
 */

#include "base/metric.h"

enum {
    HUB_METRIC_BATCHES,
    HUB_METRIC_FLOWS,
    HUB_METRIC_FLOWS_STORED,
    HUB_METRIC_FLOWS_DROPPED_STALE,
    HUB_METRIC_BATCHES_UNDECODABLE,
    HUB_METRIC_FLOWS_UNDECODABLE,
    HUB_METRIC_BATCHES_REFUSED,
    HUB_METRIC_COMMITS,
    HUB_METRIC_COMMITS_FAILED,
    HUB_METRIC_COMMIT_MS,
    HUB_METRIC_DISCARDS,
    HUB_METRIC_PULSES,
    HUB_METRIC_PULSES_MALFORMED,
    HUB_METRIC_REPORTS_LOST,
    HUB_METRIC_SERVER_KEY_UNCONFIRMED,
    HUB_METRIC_LICENCE_STATE,
    HUB_METRIC_LICENCE_EXPIRES,
    HUB_METRIC_SEATS,
    HUB_METRIC_SEATS_USED,
    HUB_METRIC_SEATS_WAITING,
    HUB_METRIC_COUNTERS_STORED,
    HUB_METRIC_COUNTERS_LOST,
    _HUB_METRIC_N,
};

extern const MetricRow hub_metric_rows[_HUB_METRIC_N];
