/* SPDX-License-Identifier: Apache-2.0 */

#include "hub/metrics.h"

const MetricRow hub_metric_rows[_HUB_METRIC_N] = {
    /* the decoder's */
    [HUB_METRIC_BATCHES] = {"weir_hub_batches_decoded", NULL, METRIC_COUNTER, "batches",
                            "Batches taken from probes and decoded."},
    [HUB_METRIC_FLOWS] = {"weir_hub_flows_decoded", NULL, METRIC_COUNTER, "flows",
                          "Flows decoded; one that had to be sent again counts again."},
    [HUB_METRIC_FLOWS_STORED] = {"weir_hub_flows_stored", NULL, METRIC_COUNTER, "flows",
                                 "Flows committed to the store."},
    [HUB_METRIC_FLOWS_DROPPED_STALE] =
        {"weir_hub_flows_asked_again", NULL, METRIC_COUNTER, "flows",
         "Flows of groups that were discarded; the probes send them again."},
    [HUB_METRIC_BATCHES_UNDECODABLE] =
        {"weir_hub_batches_undecodable", NULL, METRIC_COUNTER, "batches",
         "Batches that could not be decoded and were set aside in quarantine."},
    [HUB_METRIC_FLOWS_UNDECODABLE] = {"weir_hub_flows_undecodable", NULL, METRIC_COUNTER, "flows",
                                      "Flows in batches that could not be decoded."},
    /* the receiver's */
    [HUB_METRIC_BATCHES_REFUSED] =
        {"weir_hub_batches_refused", NULL, METRIC_COUNTER, "batches",
         "Batches not taken because too many wait; they stay with the probe."},
    /* the writer's */
    [HUB_METRIC_COMMITS] = {"weir_hub_commits", NULL, METRIC_COUNTER, "commits",
                            "Groups of flows committed."},
    [HUB_METRIC_COMMITS_FAILED] = {"weir_hub_commits_failed", NULL, METRIC_COUNTER, "commits",
                                   "Commits that failed, each retry counted."},
    [HUB_METRIC_COMMIT_MS] = {"weir_hub_commit_milliseconds", NULL, METRIC_COUNTER, "ms",
                              "Time spent in commits."},
    [HUB_METRIC_DISCARDS] = {"weir_hub_discards", NULL, METRIC_COUNTER, "groups",
                             "Groups given up after a failed commit, to be sent again."},
    /* the watcher's */
    [HUB_METRIC_PULSES] = {"weir_hub_pulses", NULL, METRIC_COUNTER, "pulses",
                           "Pulses of probes taken."},
    [HUB_METRIC_PULSES_MALFORMED] = {"weir_hub_pulses_malformed", NULL, METRIC_COUNTER, "pulses",
                                     "Pulses that could not be read."},
    [HUB_METRIC_REPORTS_LOST] = {"weir_hub_reports_lost", NULL, METRIC_COUNTER, "reports",
                                 "Pulses and events dropped because too many waited."},
    [HUB_METRIC_SERVER_KEY_UNCONFIRMED] =
        {"weir_hub_server_key_unconfirmed", NULL, METRIC_GAUGE, "probes",
         "Admitted probes that have not confirmed the hub's next key, or, when that has taken its "
         "place, the present one; 0 while the key was never changed."},
    [HUB_METRIC_LICENCE_STATE] =
        {"weir_licence_state", NULL, METRIC_GAUGE, "state",
         "0: no licence, evaluation; 1: valid; 2: ended, in its days of grace; 3: its file is gone "
         "or "
         "damaged, and the last one still counts; 4: there is one, and it is not in force."},
    [HUB_METRIC_LICENCE_EXPIRES] = {"weir_licence_expires_seconds", NULL, METRIC_GAUGE, "seconds",
                                    "When the licence ends, as Unix time; 0: it does not, or there "
                                    "is none."},
    [HUB_METRIC_SEATS] = {"weir_seats", NULL, METRIC_GAUGE, "probes",
                          "Probes that the licence allows to deliver at a time."},
    [HUB_METRIC_SEATS_USED] = {"weir_seats_used", NULL, METRIC_GAUGE, "probes",
                               "Seats that are taken, or kept for a probe that has just gone."},
    [HUB_METRIC_SEATS_WAITING] = {"weir_seats_waiting", NULL, METRIC_GAUGE, "probes",
                                  "Probes that are connected and wait for a seat."},
    [HUB_METRIC_COUNTERS_STORED] = {"weir_interface_counters_stored", NULL, METRIC_COUNTER,
                                    "samples", "Counters of exporters' interfaces stored."},
    [HUB_METRIC_COUNTERS_LOST] = {"weir_interface_counters_lost", NULL, METRIC_COUNTER, "samples",
                                  "Counters of exporters' interfaces that were not stored, for "
                                  "the store took none for too long."},
};
