#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Report of Exporters
 *
 * What a probe tells its hub of those it collects from, once a second, as part of the pulse:
 *
 *     "exporters":{"known":2,"rows":[
 *       {"id":1,"ip":"192.0.2.1","from":"198.51.100.7","version":9,"domain":5,"sub_agent":0,
 *        "tcp":true,"name":"core-1","site":"Oslo","first_ms":…,"last_ms":…,"datagrams":…,
 *        "bytes":…,"flows":…,"options":…,"sent":…,"decoded":…,"lost":…,"dropped":…,
 *        "no_template":…,"malformed":…,"held":…,"resets":…,"templates":…,"sampling":1000,
 *        "sampling_from":"options"}, …],
 *      "names":[["192.0.2.1","interface",12,"Gi0/1"], …],
 *      "interfaces":[[…], …]}
 *
 * A row is a domain of an exporter, its numbers those since the probe knows it (collect/account.h
 * has what they mean); what is 0 or empty is left out. Version 245 is sFlow. A report has the rows
 * that changed, those not told for longest first, and each at least once a minute; it is bounded
 * however many there are: all of 1,000 that change are told each 10 s. Names are told once, then
 * when one changed and each five minutes. `interfaces` is that of collect_interfaces.h.
 */

#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "collect/collect.h"
#include "probe/collect_interfaces.h"
#include "probe/collect_policy.h"

typedef struct CollectReport CollectReport;
typedef struct Json Json;

enum {
    COLLECT_REPORT_ROWS_BYTES = 24 << 10, /* at most of a report; a pulse has 64 KiB */
    COLLECT_REPORT_NAMES_BYTES = 6 << 10,
    COLLECT_REPORT_INTERFACES_BYTES = 14 << 10,
    COLLECT_REPORT_AGAIN_MS = 60 * 1000,
};

int collect_report_new(CollectReport **reportp, const CollectPolicy *policy);
CollectReport *collect_report_free(CollectReport *report);

/** collect_report_write() - the object, under its name; 0 or -ENOMEM */
int collect_report_write(CollectReport *report, Collector *collector, CollectInterfaces *interfaces,
                         uint64_t now_ms, Json *json);

/** collect_report_metrics() - all rows of n collectors as OpenMetrics text */
void collect_report_metrics(const CollectPolicy *policy, Collector *const *collectors, size_t n,
                            Buffer *to);

extern const char *const collect_rate_names[_COLLECT_RATE_N];
extern const char *const collect_name_kinds[_COLLECT_NAME_N];

DEFINE_CLEANUP(CollectReport *, collect_report_free)
