#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Counters of Collecting
 *
 * Every number the collector keeps about itself is one row here. The rows balance:
 *
 *     datagrams received = those read of each version + malformed (header, version)
 *     data sets          = decoded + held + no template + malformed
 *     flows              = unwanted + merged + held to merge + flows_collected (the probe's)
 *     sent (by sequence) = received + sequence_lost - sequence_late, where exporters number rightly
 */

#include "base/metric.h"

/* why something was not taken: MALFORMED(ID, "label", "sentence") */
#define COLLECT_MALFORMED_ROWS(MALFORMED)                                                          \
    MALFORMED(HEADER, "header", "Shorter than the header of its version.")                         \
    MALFORMED(VERSION, "version", "No version of NetFlow, IPFIX or sFlow that is known.")          \
    MALFORMED(LENGTH, "length", "A message that says another length than it has.")                 \
    MALFORMED(SET, "set", "A set shorter than its header, beyond the message, or of no known id.") \
    MALFORMED(TEMPLATE, "template", "A template cut short, without fields, or of a bad id.")       \
    MALFORMED(LIMIT, "limit", "More templates, domains or fields than are kept.")                  \
    MALFORMED(RECORD, "record", "A record cut short.")                                             \
    MALFORMED(SAMPLE, "sample", "An sFlow sample or a record of it cut short.")                    \
    MALFORMED(STREAM, "stream", "A connection that sent no IPFIX; it was closed.")

#define COLLECT_COUNTER_ROWS(ROW)                                                                  \
    ROW(DATAGRAMS, "datagrams", NULL, COUNTER, "datagrams", "Datagrams and messages received.")    \
    ROW(BYTES, "bytes", NULL, COUNTER, "bytes", "Bytes of these.")                                 \
    ROW(V1, "datagrams_read", "version=\"1\"", COUNTER, "datagrams",                               \
        "Datagrams and messages whose header could be read.")                                      \
    ROW(V5, "datagrams_read", "version=\"5\"", COUNTER, "datagrams",                               \
        "Datagrams and messages whose header could be read.")                                      \
    ROW(V7, "datagrams_read", "version=\"7\"", COUNTER, "datagrams",                               \
        "Datagrams and messages whose header could be read.")                                      \
    ROW(V9, "datagrams_read", "version=\"9\"", COUNTER, "datagrams",                               \
        "Datagrams and messages whose header could be read.")                                      \
    ROW(IPFIX, "datagrams_read", "version=\"10\"", COUNTER, "datagrams",                           \
        "Datagrams and messages whose header could be read.")                                      \
    ROW(SFLOW, "datagrams_read", "version=\"sflow\"", COUNTER, "datagrams",                        \
        "Datagrams and messages whose header could be read.")                                      \
    ROW(FLOWS, "flows", NULL, COUNTER, "flows", "Flow records decoded; of sFlow, samples.")        \
    ROW(OPTIONS, "options", NULL, COUNTER, "records", "Options records decoded.")                  \
    ROW(TEMPLATES, "templates", NULL, COUNTER, "templates", "Definitions and withdrawals read.")   \
    ROW(COUNTER_SAMPLES, "samples_skipped", "kind=\"counter\"", COUNTER, "samples",                \
        "sFlow samples that are no flows.")                                                        \
    ROW(INTERFACES, "interface_samples", NULL, COUNTER, "samples",                                 \
        "Counters of interfaces read out of these.")                                               \
    ROW(OTHER_SAMPLES, "samples_skipped", "kind=\"other\"", COUNTER, "samples",                    \
        "sFlow samples that are no flows.")                                                        \
    ROW(DISCARD_SAMPLES, "discard_samples", NULL, COUNTER, "samples",                              \
        "sFlow samples of discarded packets, read as flows of one packet.")                        \
    ROW(NO_TEMPLATE, "sets_dropped", "reason=\"no_template\"", COUNTER, "sets",                    \
        "Data sets whose template did not come in time.")                                          \
    ROW(HELD_FULL, "sets_dropped", "reason=\"held_full\"", COUNTER, "sets",                        \
        "Data sets whose template was not known, beyond what is held.")                            \
    ROW(HELD, "sets_held", NULL, GAUGE, "sets", "Data sets that wait for their template.")         \
    ROW(HELD_BYTES, "sets_held_bytes", NULL, GAUGE, "bytes", "Bytes of these.")                    \
    ROW(HELD_LATE, "sets_decoded_late", NULL, COUNTER, "sets",                                     \
        "Data sets decoded when their template came.")                                             \
    ROW(SEQUENCE_LOST, "sequence_lost", NULL, COUNTER, "units",                                    \
        "What exporters numbered and did not come: datagrams of v9 and sFlow, flows of v5 and "    \
        "v7, records of IPFIX.")                                                                   \
    ROW(SEQUENCE_LATE, "sequence_late", NULL, COUNTER, "units",                                    \
        "Of these, what came late, after what was sent behind it.")                                \
    ROW(SEQUENCE_RESETS, "sequence_resets", NULL, COUNTER, "times",                                \
        "Times that the numbers of an exporter went back, or far ahead.")                          \
    ROW(TIMES_MENDED, "times_mended", NULL, COUNTER, "flows",                                      \
        "Flows whose times were missing, the wrong way round, or far from ours, and were set by "  \
        "rule.")                                                                                   \
    ROW(UNWANTED_INTERFACE, "flows_unwanted", "reason=\"interface\"", COUNTER, "flows",            \
        "Flows decoded and let go, for the user wants none of this interface or address.")         \
    ROW(UNWANTED_ADDRESS, "flows_unwanted", "reason=\"black_list\"", COUNTER, "flows",             \
        "Flows decoded and let go, for the user wants none of this interface or address.")         \
    ROW(MERGED, "flows_merged", NULL, COUNTER, "flows",                                            \
        "Records that were added to another one of the same flow (--collector-merge).")            \
    ROW(MERGE_HELD, "flows_held_to_merge", NULL, GAUGE, "flows",                                   \
        "Records that wait for more of their flow.")                                               \
    ROW(MERGE_FULL, "flows_merge_full", NULL, COUNTER, "flows",                                    \
        "Records that went on early, for as many as may wait did.")                                \
    ROW(INTERFACES_UNKNOWN, "interface_samples_unkept", NULL, COUNTER, "samples",                  \
        "Counters of interfaces beyond as many as are kept.")                                      \
    ROW(EXPORTERS, "exporters", NULL, GAUGE, "exporters", "Exporters known.")                      \
    ROW(EXPORTERS_LET_GO, "exporters_let_go", NULL, COUNTER, "exporters",                          \
        "Exporters forgotten, for there were too many.")                                           \
    ROW(CHECKSUM, "checksum", NULL, GAUGE, "",                                                     \
        "With --json none: the sum of checksums of all records that were read.")

enum {
#define ROW(id, ...) COLLECT_COUNT_##id,
    COLLECT_COUNTER_ROWS(ROW)
#undef ROW
#define MALFORMED(id, ...) COLLECT_MALFORMED_##id,
        COLLECT_MALFORMED_ROWS(MALFORMED)
#undef MALFORMED
            _COLLECT_COUNT_N,
};

extern const MetricRow collect_counter_rows[_COLLECT_COUNT_N];
