/* SPDX-License-Identifier: Apache-2.0 */

#include "probe/counters.h"

#include <assert.h>

static_assert(DISSECT_E_ARP == 1, "counter_ignored_packets() counts from the first answer");

const MetricRow counter_rows[_COUNTER_N] = {
#define ROW(id, row_name, row_label, row_kind, row_unit, row_help)                                 \
    [COUNTER_##id] = {.name = "weir_probe_" row_name,                                              \
                      .label = (row_label),                                                        \
                      .kind = METRIC_##row_kind,                                                   \
                      .unit = (row_unit),                                                          \
                      .help = (row_help)},
    COUNTER_ROWS(ROW)
#undef ROW
#define ANSWER(id, reason, sentence)                                                               \
    [COUNTER_IGNORED_PACKETS_##id] = {.name = "weir_probe_packets_ignored",                        \
                                      .label = "reason=\"" reason "\"",                            \
                                      .kind = METRIC_COUNTER,                                      \
                                      .unit = "packets",                                           \
                                      .help = "Frames not metered. " sentence},
        DISSECT_ANSWERS(ANSWER)
#undef ANSWER
#define ANSWER(id, reason, sentence)                                                               \
    [COUNTER_IGNORED_BYTES_##id] = {.name = "weir_probe_bytes_ignored",                            \
                                    .label = "reason=\"" reason "\"",                              \
                                    .kind = METRIC_COUNTER,                                        \
                                    .unit = "bytes",                                               \
                                    .help = "Bytes of frames not metered. " sentence},
            DISSECT_ANSWERS(ANSWER)
#undef ANSWER
};

const MetricRow input_counter_rows[_INPUT_COUNTER_N] = {
#define ROW(id, row_name, row_kind, row_unit, row_help)                                            \
    [INPUT_COUNTER_##id] = {.name = "weir_probe_" row_name,                                        \
                            .kind = METRIC_##row_kind,                                             \
                            .unit = (row_unit),                                                    \
                            .help = (row_help)},
    INPUT_COUNTER_ROWS(ROW)
#undef ROW
};
