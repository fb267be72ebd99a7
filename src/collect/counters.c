/* SPDX-License-Identifier: Apache-2.0 */

#include "collect/counters.h"

const MetricRow collect_counter_rows[_COLLECT_COUNT_N] = {
#define ROW(id, row_name, row_label, row_kind, row_unit, row_help)                                 \
    [COLLECT_COUNT_##id] = {.name = "weir_probe_collect_" row_name,                                \
                            .label = (row_label),                                                  \
                            .kind = METRIC_##row_kind,                                             \
                            .unit = (row_unit),                                                    \
                            .help = (row_help)},
    COLLECT_COUNTER_ROWS(ROW)
#undef ROW
#define MALFORMED(id, reason, sentence)                                                            \
    [COLLECT_MALFORMED_##id] = {.name = "weir_probe_collect_malformed",                            \
                                .label = "reason=\"" reason "\"",                                  \
                                .kind = METRIC_COUNTER,                                            \
                                .unit = "times",                                                   \
                                .help = "What could not be taken. " sentence},
        COLLECT_MALFORMED_ROWS(MALFORMED)
#undef MALFORMED
};
