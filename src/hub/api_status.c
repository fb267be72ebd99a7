/* SPDX-License-Identifier: Apache-2.0 */

#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/json.h"
#include "channel/cause.h"
#include "flow/field.h"
#include "hub/api.h"
#include "hub/hub.h"

static const char *const state_words[] = {
    [INGEST_READY] = "ready",
    [INGEST_DISK_FULL] = "disk full",
    [INGEST_UNAVAILABLE] = "reopening",
};

int api_get_health(HttpRequest *request, HttpResponse *response, void *context) {
    (void)request;
    const Hub *hub = context;
    if (!atomic_load(&hub->ready)) {
        http_response_error(response, 503, "starting", "The hub is starting.");
        return 0;
    }
    const IngestState state = ingest_state(hub->ingest);
    if (state != INGEST_READY) {
        http_response_error(response, 503, "store_unavailable", "%s.",
                            state == INGEST_DISK_FULL
                                ? cause_rows[CAUSE_HUB_DISK_FULL].text
                                : "The store cannot be opened; it is tried again each second");
        return 0;
    }
    Json json = json_make(&response->body);
    json_object_begin(&json, NULL);
    json_bool(&json, "ok", true);
    json_text(&json, "version", WEIR_VERSION);
    json_object_end(&json);
    return 0;
}

static void write_store(Json *json, const Hub *hub) {
    StoreStatus status = {0};
    store_status(hub->store, &status);
    const IngestState state = ingest_state(hub->ingest);
    json_object_begin(json, "store");
    json_text(json, "path", hub->config->data_dir);
    json_text(json, "state", state_words[state]);
    json_bool(json, "ok", state == INGEST_READY);
    json_u64(json, "flows", metric_get(&hub->metrics[HUB_METRIC_FLOWS_STORED]));
    json_u64(json, "rows", status.rows);
    json_u64(json, "disk_bytes", status.file_bytes + status.wal_bytes);
    json_u64(json, "oldest_ms", status.oldest_ms);
    json_u64(json, "disk_free_bytes", status.free_bytes);
    json_object_end(json);
}

int api_get_status(HttpRequest *request, HttpResponse *response, void *context) {
    (void)request;
    const Hub *hub = context;
    Json json = json_make(&response->body);
    json_object_begin(&json, NULL);
    json_text(&json, "version", WEIR_VERSION);
    json_u64(&json, "started_ms", hub->started_ms);
    json_u64(&json, "now_ms", clock_wall_ms());
    write_store(&json, hub);
    json_text(&json, "public_address",
              hub->config->public_address ? hub->config->public_address : "");
    LicensingView view;
    char line[512];
    licensing_view(hub->licensing, &view);
    licensing_line(&view, line, sizeof(line));
    json_text(&json, "license", line);
    json_object_end(&json);
    return 0;
}

static const char *const kind_names[] = {
    [FLOW_KIND_U8] = "u8",   [FLOW_KIND_U16] = "u16",         [FLOW_KIND_U32] = "u32",
    [FLOW_KIND_U64] = "u64", [FLOW_KIND_TIME_MS] = "time_ms", [FLOW_KIND_ADDRESS] = "address",
    [FLOW_KIND_MAC] = "mac", [FLOW_KIND_TEXT] = "text",
};

int api_get_fields(HttpRequest *request, HttpResponse *response, void *context) {
    (void)request;
    (void)context;
    Json json = json_make(&response->body);
    json_array_begin(&json, NULL);
    for (size_t i = 0; i < _FLOW_FIELD_N; i++) {
        const FlowField *field = &flow_fields[i];
        json_object_begin(&json, NULL);
        json_text(&json, "name", field->name);
        json_text(&json, "kind", kind_names[field->kind]);
        json_text(&json, "unit", field->unit);
        json_text(&json, "description", field->description);
        json_text(&json, "nprobe_name", field->nprobe_name);
        json_u64(&json, "pen", field->pen);
        json_u64(&json, "element", field->element);
        json_bool(&json, "always", field->always);
        json_object_end(&json);
    }
    json_array_end(&json);
    return 0;
}

/* ------------------------------------------------------------------------------------ metrics */

/* one value a probe or interface, as samples of one name */
typedef struct Sample {
    const char *name;
    const char *kind;
    const char *help;
} Sample;

enum { PROBE_SAMPLES = 18, INTERFACE_SAMPLES = 10 };

static const Sample probe_samples[PROBE_SAMPLES] = {
    {"weir_probe_connected", "gauge", "1 while the probe has a session."},
    {"weir_probe_packets", "counter", "Packets the probe says it saw, while this hub runs."},
    {"weir_probe_octets", "counter", "Bytes the probe says it saw, while this hub runs."},
    {"weir_probe_drops", "counter",
     "Packets the probe says it lost before metering, while this hub runs."},
    {"weir_probe_flows_received", "counter", "Flows taken from the probe since the hub started."},
    {"weir_probe_flows_stored", "counter", "Flows of the probe stored since the hub started."},
    {"weir_probe_flows_missing", "counter", "Flows of the probe in counted gaps."},
    {"weir_probe_spool_flows", "gauge",
     "Flows in the probe's spool that a hub has still to store, as it said last."},
    {"weir_probe_spool_bytes", "gauge", "Bytes of the probe's spool, as it said last."},
    {"weir_probe_spool_limit_bytes", "gauge", "What the probe's spool may hold."},
    {"weir_probe_spool_oldest_milliseconds", "gauge",
     "Age of the oldest batch that waits at the probe, as it said last; 0: none."},
    {"weir_probe_spool_left_seconds", "gauge",
     "Time until the probe's spool is full at its present rate, if no hub takes anything; 0: not "
     "known, or full."},
    {"weir_probe_spool_disk_trouble", "gauge",
     "1 while the disk of the probe's spool is full or failing."},
    {"weir_probe_spool_flows_dropped", "counter",
     "Flows that the probe's full spool let go since the probe started."},
    {"weir_probe_ledger_differs", "gauge",
     "1 while the flows the probe has metered do not add up with those stored, waiting and "
     "missing."},
    {"weir_probe_clock_offset_milliseconds", "gauge",
     "The probe's clock minus the hub's, half of the way taken off."},
    {"weir_probe_round_trip_milliseconds", "gauge",
     "The way to the probe and back, the shortest of the last reports; 0: not known."},
    {"weir_probe_configuration_unconfirmed", "gauge",
     "1 while the probe has not confirmed what this hub wants it to be set to, or has refused it."},
};

static const Sample interface_samples[INTERFACE_SAMPLES] = {
    {"weir_interface_probes", "gauge", "Probes with a session at the interface."},
    {"weir_interface_batches", "counter", "Batches received."},
    {"weir_interface_bytes", "counter", "Bytes of batches received."},
    {"weir_interface_flows", "counter", "Flows announced by the batches received."},
    {"weir_interface_pulses", "counter", "Pulses received."},
    {"weir_interface_malformed", "counter", "Frames that could not be read."},
    {"weir_interface_wrong_key", "counter", "Handshakes with a wrong server key."},
    {"weir_interface_plain_peers", "counter", "Peers that do not encrypt."},
    {"weir_interface_cut", "counter",
     "Connections cut: silent ones so that descriptors and memory last, and the oldest of a key "
     "with too many."},
    {"weir_interface_refused", "counter", "Messages of probes that are not admitted."},
};

static void sample_head(Buffer *to, const Sample *sample) {
    buffer_printf(to, "# TYPE %s %s\n# HELP %s %s\n", sample->name, sample->kind, sample->name,
                  sample->help);
}

/* label values: backslash, quote and line end escaped */
static void put_label(Buffer *to, const char *name, const char *value) {
    buffer_printf(to, "%s=\"", name);
    for (const char *c = value; *c; c++) {
        if (*c == '\\' || *c == '"')
            buffer_printf(to, "\\%c", *c);
        else if (*c == '\n')
            buffer_put_text(to, "\\n");
        else
            buffer_put(to, c, 1);
    }
    buffer_put_text(to, "\"");
}

typedef struct ProbeSampling {
    Hub *hub;
    Buffer *to;
    size_t sample;
} ProbeSampling;

static int64_t whole(uint64_t n) {
    return n < INT64_MAX ? (int64_t)n : INT64_MAX;
}

static void put_probe_sample(void *context, const Probe *probe) {
    const ProbeSampling *sampling = context;
    if (probe->enrolment.admission != HUB_ADMITTED)
        return; /* whoever holds the public key could fill the page */
    const ProbeSpool *spool = &probe->pulse.spool;
    const int64_t values[PROBE_SAMPLES] = {
        probe->connected,
        whole(probe->packets),
        whole(probe->octets),
        whole(probe->drops),
        whole(probe->received.flows),
        whole(probe->flows_stored),
        whole(probe->missing.flows),
        (int64_t)spool->flows,
        (int64_t)spool->bytes,
        (int64_t)spool->limit_bytes,
        (int64_t)spool->oldest_ms,
        (int64_t)(spool->hours_left * 3600),
        spool->disk == PROBE_DISK_FULL || spool->disk == PROBE_DISK_FAILING,
        (int64_t)spool->flows_dropped,
        probe_ledger(probe, clock_wall_ms()) == LEDGER_DIFFERS,
        probe->clock_offset_ms,
        probe->round_trip_known ? (int64_t)probe->round_trip_ms : 0,
        sampling->sample == PROBE_SAMPLES - 1 &&
            configure_unconfirmed(sampling->hub->configure, &probe->key),
    };
    const Sample *sample = &probe_samples[sampling->sample];
    Buffer *to = sampling->to;
    buffer_printf(to, "%s%s{", sample->name, sample->kind[0] == 'c' ? "_total" : "");
    put_label(to, "probe", probes_name(probe));
    buffer_put_text(to, ",");
    put_label(to, "key", probe->key.z85);
    buffer_printf(to, "} %lld\n", (long long)values[sampling->sample]);
}

static void write_interface_samples(Buffer *to, const Hub *hub) {
    for (size_t s = 0; s < INTERFACE_SAMPLES; s++) {
        const Sample *sample = &interface_samples[s];
        sample_head(to, sample);
        for (unsigned i = 0; i < hub->n_interfaces; i++) {
            HubInterfaceStatus status = {0};
            if (!hub_link_interface(hub->link, i, &status))
                continue;
            const uint64_t values[INTERFACE_SAMPLES] = {
                status.probes,     status.batches,   status.bytes,       status.flows.flows,
                status.pulses,     status.malformed, status.n_wrong_key, status.n_plain_peer,
                status.n_too_many, status.n_refused,
            };
            buffer_printf(to, "%s%s{", sample->name, sample->kind[0] == 'c' ? "_total" : "");
            put_label(to, "interface", hub->interfaces[i].name);
            buffer_printf(to, "} %llu\n", (unsigned long long)values[s]);
        }
    }
}

/* scrapers on this machine need no session; from elsewhere, a proxy here included, they do */
static int get_metrics(HttpRequest *request, HttpResponse *response, void *context) {
    Hub *hub = context;
    if (!request->user && !auth_is_local(request)) {
        http_response_error(response, 401, "unauthorized",
                            "Metrics are shown on loopback, or to who has logged in.");
        return 0;
    }
    Buffer *to = &response->body;
    response->content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    metric_write(to, hub_metric_rows, hub->metrics, _HUB_METRIC_N, NULL, 1);
    metric_write(to, http_metric_rows, http_server_metrics(hub->http), _HTTP_METRIC_N, NULL, 1);
    metric_write(to, auth_metric_rows, auth_metrics(hub->auth), _AUTH_METRIC_N, NULL, 1);
    write_interface_samples(to, hub);
    for (size_t s = 0; s < PROBE_SAMPLES; s++) {
        sample_head(to, &probe_samples[s]);
        ProbeSampling sampling = {.hub = hub, .to = to, .sample = s};
        probes_each(hub->probes, put_probe_sample, &sampling);
    }
    api_write_exporter_metrics(hub, to);
    buffer_put_text(to, "# EOF\n");
    return 0;
}

const HttpRoute api_metrics_route = {
    .method = "GET",
    .path = "/metrics",
    .operation = "getMetrics",
    .access = HTTP_PUBLIC,
    .handler = get_metrics,
};
