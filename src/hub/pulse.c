/* SPDX-License-Identifier: Apache-2.0 */

#include "hub/pulse.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "hub/configure.h"
#include "hub/exporters.h"
#include "hub/live.h"
#include "hub/probes.h"

enum { ROWS_MAX = 64 }; /* of each table of one pulse */

#define NUMBER_MAX (UINT64_C(1) << 53) /* JavaScript counts no further */
#define HOURS_MAX  1e6

/* a number that is missing or negative is 0; any other may be a lie */
static uint64_t number(const json_t *object, const char *name) {
    const json_int_t v = json_integer_value(json_object_get(object, name));
    const uint64_t n = v > 0 ? (uint64_t)v : 0;
    return n < NUMBER_MAX ? n : NUMBER_MAX;
}

static const char *text(const json_t *object, const char *name) {
    const char *value = json_string_value(json_object_get(object, name));
    return value ? value : "";
}

static uint64_t per_s(uint64_t n, uint64_t interval_ms) {
    return interval_ms ? n * 1000 / interval_ms : n;
}

static void take_apps(Live *live, uint64_t second, const json_t *rows) {
    size_t i;
    const json_t *row;
    json_array_foreach((json_t *)rows, i, row) {
        if (i == ROWS_MAX)
            return;
        live_add_app(live, second, text(row, "name"), number(row, "octets"),
                     number(row, "packets"));
    }
}

static void take_hosts(Live *live, uint64_t second, const json_t *rows) {
    size_t i;
    const json_t *row;
    json_array_foreach((json_t *)rows, i, row) {
        if (i == ROWS_MAX)
            return;
        live_add_host(live, second, text(row, "ip"), number(row, "octets_in"),
                      number(row, "octets_out"));
    }
}

static void take_conversations(Live *live, uint64_t second, const json_t *rows) {
    size_t i;
    const json_t *row;
    json_array_foreach((json_t *)rows, i, row) {
        if (i == ROWS_MAX)
            return;
        live_add_conversation(live, second, text(row, "src_ip"), text(row, "dst_ip"),
                              text(row, "app_name"), number(row, "octets"),
                              number(row, "rev_octets"));
    }
}

/* what keeps the probe from having more to say: the first one that is known */
static Cause cause_of(const json_t *names) {
    size_t i;
    const json_t *name;
    json_array_foreach((json_t *)names, i, name) {
        char id[64];
        (void)snprintf(id, sizeof(id), "PEER_%s",
                       json_is_string(name) ? json_string_value(name) : "");
        const Cause cause = cause_find(id);
        if (cause != CAUSE_NONE)
            return cause;
    }
    return CAUSE_NONE;
}

static ProbeDisk disk_of(const char *word) {
    for (int disk = PROBE_DISK_UNKNOWN + 1; disk < _PROBE_DISK_N; disk++)
        if (strcmp(word, probe_disk_names[disk]) == 0)
            return (ProbeDisk)disk;
    return PROBE_DISK_UNKNOWN;
}

/* all 0 when it is not there, as of an older probe */
static ProbeSpool spool_of(const json_t *object) {
    const double hours = json_number_value(json_object_get(object, "hours_left"));
    return (ProbeSpool){
        .hubs = number(object, "hubs"),
        .disk = disk_of(text(object, "disk")),
        .flows = number(object, "flows"),
        .batches = number(object, "batches"),
        .bytes = number(object, "bytes"),
        .limit_bytes = number(object, "limit_bytes"),
        .oldest_ms = number(object, "oldest_ms"),
        .hours_left = hours > 0 ? (hours < HOURS_MAX ? hours : HOURS_MAX) : 0,
        .flows_appended = number(object, "flows_appended"),
        .flows_dropped = number(object, "flows_dropped"),
        .batches_torn = number(object, "batches_torn"),
    };
}

static ProbeEcho echo_of(const json_t *object) {
    return (ProbeEcho){.hub_ms = number(object, "hub_ms"),
                       .held_ms = number(object, "held_ms"),
                       .sent_ms = number(object, "sent_ms")};
}

/* none, or one that cannot be read: it is as if it had said nothing */
static void take_configuration(Configure *configure, const PeerKey *key, const json_t *object) {
    ConfigurationReport report;
    configure_report(configure, key,
                     configuration_report_read(&report, object) == 0 ? &report : NULL);
}

int pulse_take(Probes *probes, Live *live, Configure *configure, Exporters *exporters,
               const PeerKey *key, const char *json, size_t size, uint64_t now_ms) {
    json_t *root = json_loadb(json, size, 0, NULL);
    if (!json_is_object(root)) {
        json_decref(root);
        return PULSE_E_MALFORMED;
    }
    const uint64_t interval_ms = number(root, "interval_ms");
    const ProbePulse pulse = {
        .time_ms = number(root, "time_ms"),
        .packets = number(root, "packets"),
        .octets = number(root, "octets"),
        .drops = number(root, "drops"),
        .flows_active = number(root, "flows_active"),
        .flows_waiting = number(root, "flows_waiting"),
        .flows_metered = number(root, "flows_metered"),
        .flows_export_dropped = number(root, "flows_export_dropped"),
        .spool = spool_of(json_object_get(root, "spool")),
        .echo = echo_of(json_object_get(root, "echo")),
        .packets_per_s = per_s(number(root, "packets"), interval_ms),
        .octets_per_s = per_s(number(root, "octets"), interval_ms),
        .cause = cause_of(json_object_get(root, "causes")),
    };
    const uint64_t second = probes_pulse(probes, key, &pulse, now_ms);
    if (second && configure)
        take_configuration(configure, key, json_object_get(root, "configuration"));
    if (second && exporters)
        exporters_take(exporters, key, json_object_get(root, "exporters"), pulse.time_ms, now_ms);
    if (second) {
        live_add_totals(live, second, pulse.packets, pulse.octets, pulse.drops, pulse.flows_active);
        take_apps(live, second, json_object_get(root, "apps"));
        take_hosts(live, second, json_object_get(root, "hosts"));
        take_conversations(live, second, json_object_get(root, "conversations"));
    }
    json_decref(root);
    return 0;
}
