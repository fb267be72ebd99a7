/* SPDX-License-Identifier: Apache-2.0 */

#include "base/metric.h"

#include <inttypes.h>
#include <string.h>

#include "base/buffer.h"

void metric_write(Buffer *to, const MetricRow *rows, const MetricValue *values, size_t n,
                  const char *labels, int heads) {
    for (size_t i = 0; i < n; i++) {
        const MetricRow *row = &rows[i];
        if (heads && (i == 0 || strcmp(rows[i - 1].name, row->name) != 0)) {
            buffer_printf(to, "# TYPE %s %s\n", row->name,
                          row->kind == METRIC_COUNTER ? "counter" : "gauge");
            buffer_printf(to, "# HELP %s %s\n", row->name, row->help);
        }
        buffer_printf(to, "%s%s", row->name, row->kind == METRIC_COUNTER ? "_total" : "");
        if (labels || row->label)
            buffer_printf(to, "{%s%s%s}", labels ? labels : "", labels && row->label ? "," : "",
                          row->label ? row->label : "");
        buffer_printf(to, " %" PRIu64 "\n", metric_get(&values[i]));
    }
}
