#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Counters
 *
 * Every number the probe keeps about itself is one row here. The rows balance:
 *
 *     packets received = ignored (by reason) + skipped (by reason) + in exported records
 *                        + filtered + in live flows + fragments that wait
 *     bytes received   = the same, in bytes of frames
 *
 * Packets that the kernel dropped were never received and stand beside it. Of flows:
 *
 *     exported = dropped by the export's queue + in it + appended to the spool
 *
 * Those of the spool are read from it once a second and at the end; without a hub they are 0.
 */

#include "base/metric.h"
#include "net/dissect.h"

/* ROW(ID, name, label, kind, unit, help) */
#define COUNTER_ROWS(ROW)                                                                          \
    ROW(PACKETS_RECEIVED, "packets_received", NULL, COUNTER, "packets",                            \
        "Frames taken from the capture.")                                                          \
    ROW(BYTES_RECEIVED, "bytes_received", NULL, COUNTER, "bytes",                                  \
        "Bytes of those frames on the wire.")                                                      \
    ROW(PACKETS_DROPPED, "packets_dropped", "reason=\"kernel\"", COUNTER, "packets",               \
        "Packets that the kernel dropped because the ring was full. Of --collector-port: what "    \
        "its sockets had no room for; datagrams that the kernel had joined count as one here, "    \
        "but not in the exporter's account.")                                                      \
    ROW(PACKETS_OVERRUN, "packets_dropped", "reason=\"queue\"", COUNTER, "packets",                \
        "Datagrams of exporters dropped because decoding was behind.")                             \
    ROW(PACKETS_SKIPPED, "packets_skipped", "reason=\"sampling\"", COUNTER, "packets",             \
        "Frames received and not metered: one of so many is (-S), or a mirror port had given "     \
        "them before (--deduplication).")                                                          \
    ROW(PACKETS_DUPLICATE, "packets_skipped", "reason=\"duplicate\"", COUNTER, "packets",          \
        "Frames received and not metered: one of so many is (-S), or a mirror port had given "     \
        "them before (--deduplication).")                                                          \
    ROW(BYTES_SKIPPED, "bytes_skipped", "reason=\"sampling\"", COUNTER, "bytes",                   \
        "Bytes of these frames.")                                                                  \
    ROW(BYTES_DUPLICATE, "bytes_skipped", "reason=\"duplicate\"", COUNTER, "bytes",                \
        "Bytes of these frames.")                                                                  \
    ROW(PACKETS_METERED, "packets_metered", NULL, COUNTER, "packets",                              \
        "Packets that were counted into a flow.")                                                  \
    ROW(BYTES_METERED, "bytes_metered", NULL, COUNTER, "bytes",                                    \
        "Bytes of frames that were counted into a flow.")                                          \
    ROW(OCTETS_METERED, "octets_metered", NULL, COUNTER, "bytes",                                  \
        "Bytes of IP packets, header and payload, that were counted into a flow.")                 \
    ROW(PACKETS_EXPORTED, "packets_exported", NULL, COUNTER, "packets",                            \
        "Packets in the records that were exported.")                                              \
    ROW(BYTES_EXPORTED, "bytes_exported", NULL, COUNTER, "bytes",                                  \
        "Bytes of frames in the records that were exported.")                                      \
    ROW(ODD_CUT, "packets_odd", "reason=\"transport_cut\"", COUNTER, "packets",                    \
        "Metered packets with something odd.")                                                     \
    ROW(ODD_BEYOND, "packets_odd", "reason=\"length_beyond_frame\"", COUNTER, "packets",           \
        "Metered packets with something odd.")                                                     \
    ROW(ODD_TRANSPORT, "packets_odd", "reason=\"transport_length\"", COUNTER, "packets",           \
        "Metered packets with something odd.")                                                     \
    ROW(ODD_TUNNEL_CUT, "packets_odd", "reason=\"tunnel_cut\"", COUNTER, "packets",                \
        "Metered packets with something odd.")                                                     \
    ROW(ODD_TUNNEL, "packets_odd", "reason=\"tunnel_malformed\"", COUNTER, "packets",              \
        "Metered packets with something odd.")                                                     \
    ROW(ODD_TUNNEL_DEEP, "packets_odd", "reason=\"tunnel_depth\"", COUNTER, "packets",             \
        "Metered packets with something odd.")                                                     \
    ROW(FRAGMENTS_ORPHANED, "fragments_orphaned", NULL, COUNTER, "packets",                        \
        "Later fragments given up, for their first one was not seen within 3 s or too many "       \
        "waited; counted without ports.")                                                          \
    ROW(FRAGMENTS_HELD, "fragments_held", NULL, GAUGE, "packets",                                  \
        "Later fragments that came before the first one and wait for it.")                         \
    ROW(FRAGMENTS_HELD_BYTES, "fragments_held_bytes", NULL, GAUGE, "bytes",                        \
        "Bytes of the frames of these.")                                                           \
    ROW(FLOWS_CREATED, "flows_created", NULL, COUNTER, "flows", "Flows begun.")                    \
    ROW(FLOWS_LIVE, "flows_live", NULL, GAUGE, "flows", "Flows in the table now.")                 \
    ROW(EXPORTED_IDLE, "flows_exported", "reason=\"idle\"", COUNTER, "flows",                      \
        "Records made, by flowEndReason.")                                                         \
    ROW(EXPORTED_ACTIVE, "flows_exported", "reason=\"active\"", COUNTER, "flows",                  \
        "Records made, by flowEndReason.")                                                         \
    ROW(EXPORTED_ENDED, "flows_exported", "reason=\"end\"", COUNTER, "flows",                      \
        "Records made, by flowEndReason.")                                                         \
    ROW(EXPORTED_FORCED, "flows_exported", "reason=\"forced\"", COUNTER, "flows",                  \
        "Records made, by flowEndReason.")                                                         \
    ROW(EXPORTED_RESOURCES, "flows_exported", "reason=\"resources\"", COUNTER, "flows",            \
        "Records made, by flowEndReason.")                                                         \
    ROW(FLOWS_COLLECTED, "flows_collected", NULL, COUNTER, "flows",                                \
        "Records that exporters sent and that were delivered.")                                    \
    ROW(CLOCK_STEPS, "clock_steps", NULL, COUNTER, "steps",                                        \
        "Times that packet time went back by more than a minute and all flows were ended.")        \
    ROW(DPI_FLOWS, "dpi_flows", NULL, COUNTER, "flows", "Flows given to nDPI.")                    \
    ROW(DPI_PACKETS, "dpi_packets", NULL, COUNTER, "packets", "Packets given to nDPI.")            \
    ROW(DPI_LIVE, "dpi_live", NULL, GAUGE, "flows", "Flows that nDPI is looking at now.")          \
    ROW(DPI_FULL, "dpi_full", NULL, COUNTER, "flows",                                              \
        "Flows told by port only, because --max-dpi-flows was reached.")                           \
    ROW(DPI_GIVEN_UP, "dpi_given_up", NULL, COUNTER, "flows",                                      \
        "Flows that nDPI did not know after as many packets or bytes as it is shown.")             \
    ROW(HELLOS_FULL, "hellos_full", NULL, COUNTER, "flows",                                        \
        "Flows without JA4, for too many hellos in several packets were being put together.")      \
    ROW(FLOWS_FILTERED, "flows_filtered", "reason=\"protocol\"", COUNTER, "flows",                 \
        "Flows not exported, for they are of no protocol of --ndpi-protocols.")                    \
    ROW(PACKETS_FILTERED, "packets_filtered", "reason=\"protocol\"", COUNTER, "packets",           \
        "Packets of these flows.")                                                                 \
    ROW(BYTES_FILTERED, "bytes_filtered", "reason=\"protocol\"", COUNTER, "bytes",                 \
        "Bytes of the frames of these.")                                                           \
    ROW(MEASURES_FULL, "measures_full", NULL, COUNTER, "flows",                                    \
        "Flows without TCP measures, jitter and histograms, for a quarter of --max-flows, or "     \
        "262,144, had them.")                                                                      \
    ROW(NAMES_FULL, "names_full", NULL, COUNTER, "flows",                                          \
        "Flows whose names, fingerprints and the like were not kept, because their memory was "    \
        "full.")                                                                                   \
    ROW(FLOWS_SWEPT, "flows_swept", NULL, COUNTER, "flows",                                        \
        "Flows of one packet and half-open connections that made room in a full table and are "    \
        "told together, by destination.")                                                          \
    ROW(BATCHES, "batches", NULL, COUNTER, "batches", "Batches handed to the export.")             \
    ROW(EXPORT_DROPPED, "flows_dropped", "reason=\"export_queue\"", COUNTER, "flows",              \
        "Records lost because the export could not keep up.")                                      \
    ROW(EXPORT_DROPPED_PACKETS, "flows_dropped_packets", "reason=\"export_queue\"", COUNTER,       \
        "packets", "Packets in those records.")                                                    \
    ROW(EXPORT_DROPPED_OCTETS, "flows_dropped_octets", "reason=\"export_queue\"", COUNTER,         \
        "bytes", "IP bytes in those records.")                                                     \
    ROW(SPOOL_DROPPED, "spool_flows_dropped", NULL, COUNTER, "flows",                              \
        "Flows that a full spool let go before every hub had stored them.")                        \
    ROW(SPOOL_DROPPED_PACKETS, "spool_flows_dropped_packets", NULL, COUNTER, "packets",            \
        "Packets in those flows.")                                                                 \
    ROW(SPOOL_DROPPED_OCTETS, "spool_flows_dropped_octets", NULL, COUNTER, "bytes",                \
        "IP bytes in those flows.")                                                                \
    ROW(SPOOL_APPENDED, "spool_flows_appended", NULL, COUNTER, "flows",                            \
        "Flows written to the spool by this run.")                                                 \
    ROW(SPOOL_FLOWS, "spool_flows", NULL, GAUGE, "flows",                                          \
        "Flows in the spool that a hub has still to store.")                                       \
    ROW(SPOOL_BATCHES, "spool_batches", NULL, GAUGE, "batches",                                    \
        "Batches in the spool that a hub has still to store.")                                     \
    ROW(SPOOL_BYTES, "spool_bytes", NULL, GAUGE, "bytes",                                          \
        "Bytes of the spool's files and memory, stored batches not yet freed included.")           \
    ROW(SPOOL_LIMIT, "spool_limit_bytes", NULL, GAUGE, "bytes",                                    \
        "What the spool may hold where it writes just now: its folder, or memory.")                \
    ROW(SPOOL_OLDEST, "spool_oldest_milliseconds", NULL, GAUGE, "ms",                              \
        "Age of the oldest batch that a hub has still to store; 0: none.")                         \
    ROW(SPOOL_LEFT, "spool_left_seconds", NULL, GAUGE, "s",                                        \
        "Time until the spool is full at the rate of the last minute, if no hub takes "            \
        "anything; 0: not known, or full.")                                                        \
    ROW(SPOOL_TROUBLE, "spool_disk_trouble", NULL, GAUGE, "",                                      \
        "1 while the spool's disk is full or failing, and flows wait in memory.")                  \
    ROW(SPOOL_TORN, "spool_batches_torn", NULL, COUNTER, "batches",                                \
        "Batches found damaged in the spool by this run.")                                         \
    ROW(SPOOL_TORN_BYTES, "spool_bytes_torn", NULL, COUNTER, "bytes",                              \
        "Bytes found damaged in the spool by this run.")                                           \
    ROW(SPOOL_SET_ASIDE, "spool_files_set_aside", NULL, COUNTER, "files",                          \
        "Files in the spool's folder that hold nothing of ours, renamed to .bad.")                 \
    ROW(COLLECTOR_SENT, "collector_messages", "result=\"sent\"", COUNTER, "messages",              \
        "NetFlow or IPFIX messages for collectors (-n), templates included.")                      \
    ROW(COLLECTOR_FAILED, "collector_messages", "result=\"failed\"", COUNTER, "messages",          \
        "NetFlow or IPFIX messages for collectors (-n), templates included.")                      \
    ROW(COLLECTOR_SENT_RECORDS, "collector_records", "result=\"sent\"", COUNTER, "records",        \
        "Records in these messages; of NetFlow each direction is one.")                            \
    ROW(COLLECTOR_FAILED_RECORDS, "collector_records", "result=\"failed\"", COUNTER, "records",    \
        "Records in these messages; of NetFlow each direction is one.")                            \
    ROW(COLLECTOR_WAITING, "collector_messages_waiting", NULL, GAUGE, "messages",                  \
        "Messages that wait to be sent to a collector.")                                           \
    ROW(COLLECTOR_UNFIT, "collector_flows_unfit", NULL, COUNTER, "flows",                          \
        "Flows not sent to a collector because the version cannot say them: IPv6 in NetFlow v5, "  \
        "or what is longer than a message.")                                                       \
    ROW(COLLECTOR_WITHHELD, "collector_flows_withheld", NULL, COUNTER, "flows",                    \
        "Flows not sent to a collector because the limit of a run without licence was reached.")   \
    ROW(COLLECTOR_SKIPPED, "collector_flows_skipped", NULL, COUNTER, "flows",                      \
        "Records not sent to a collector, for only one of so many flows is (-S).")                 \
    ROW(COLLECTOR_LIMITED, "collector_limited", NULL, GAUGE, "",                                   \
        "1 while neither a licence nor a lease lifts the limit of 25,000 records.")                \
    ROW(COLLECTOR_LEFT, "collector_records_left", NULL, GAUGE, "records",                          \
        "Records until that limit; 0 also without one.")

enum {
#define ROW(id, ...) COUNTER_##id,
    COUNTER_ROWS(ROW)
#undef ROW
#define ANSWER(id, ...) COUNTER_IGNORED_PACKETS_##id,
        DISSECT_ANSWERS(ANSWER)
#undef ANSWER
#define ANSWER(id, ...) COUNTER_IGNORED_BYTES_##id,
            DISSECT_ANSWERS(ANSWER)
#undef ANSWER
                _COUNTER_N,
};

extern const MetricRow counter_rows[_COUNTER_N];

/* of each interface, labelled with its name: ROW(ID, name, kind, unit, help) */
#define INPUT_COUNTER_ROWS(ROW)                                                                    \
    ROW(PACKETS, "interface_packets", COUNTER, "packets", "Frames taken from this interface.")     \
    ROW(BYTES, "interface_bytes", COUNTER, "bytes", "Bytes of these frames on the wire.")          \
    ROW(DROPPED, "interface_packets_dropped", COUNTER, "packets",                                  \
        "Packets of this interface that the kernel dropped because the ring was full.")            \
    ROW(FROZEN, "interface_ring_full", COUNTER, "times",                                           \
        "Times that a ring of this interface was full.")                                           \
    ROW(CUT, "interface_packets_cut", COUNTER, "packets",                                          \
        "Frames of which not all was captured (--snaplen); their length is known.")

enum {
#define ROW(id, ...) INPUT_COUNTER_##id,
    INPUT_COUNTER_ROWS(ROW)
#undef ROW
        _INPUT_COUNTER_N,
};

extern const MetricRow input_counter_rows[_INPUT_COUNTER_N];

/* those of a DISSECT_E_ answer; the rows stand in the order of the answers */
static inline int counter_ignored_packets(int answer) {
    return COUNTER_IGNORED_PACKETS_ARP + answer - 1;
}

static inline int counter_ignored_bytes(int answer) {
    return COUNTER_IGNORED_BYTES_ARP + answer - 1;
}
