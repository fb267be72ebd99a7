/* SPDX-License-Identifier: Apache-2.0 */

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/json.h"
#include "channel/keystring.h"
#include "hub/api.h"
#include "hub/hub.h"

enum { PROBLEM_RECENT_MS = 300000 };

/* ------------------------------------------------------------------------------------- probes */

static void write_enrolment(Json *json, const Probe *probe) {
    const ProbeEnrolment *enrolment = &probe->enrolment;
    static const char *const words[] = {[HUB_UNKNOWN] = "pending",
                                        [HUB_PENDING] = "pending",
                                        [HUB_ADMITTED] = "admitted",
                                        [HUB_REVOKED] = "revoked"};
    json_text(json, "admission", words[enrolment->admission]);
    const bool no_seat = probe->seat.state == PROBE_SEAT_WAITING;
    json_text(json, "reason", no_seat ? probe->seat.reason : enrolment->reason);
    json_text(json, "seat", probe_seat_names[probe->seat.state]);
    json_bool(json, "pinned", probe->seat.pinned);
    json_text(json, "via", probe_via_names[enrolment->via]);
    json_u64(json, "enrolled_ms", enrolment->enrolled_ms);
    json_u64(json, "token", enrolment->token);
    json_text(json, "given_name", enrolment->given_name);
    json_text(json, "probe_id", probe->probe_id);
    json_text(json, "site", enrolment->site);
    json_text(json, "tenant", enrolment->tenant);
    const bool claims = *enrolment->namesake.z85;
    json_text(json, "namesake", claims ? enrolment->namesake_name : "");
    json_u64(json, "namesake_seen_ms", claims ? enrolment->namesake_seen_ms : 0);
}

static void write_spool(Json *json, const ProbeSpool *spool) {
    json_object_begin(json, "spool");
    json_text(json, "disk", probe_disk_names[spool->disk]);
    json_u64(json, "hubs", spool->hubs);
    json_u64(json, "flows", spool->flows);
    json_u64(json, "batches", spool->batches);
    json_u64(json, "bytes", spool->bytes);
    json_u64(json, "limit_bytes", spool->limit_bytes);
    json_u64(json, "oldest_ms", spool->oldest_ms);
    json_f64(json, "hours_left", spool->hours_left);
    json_u64(json, "flows_dropped", spool->flows_dropped);
    json_u64(json, "batches_torn", spool->batches_torn);
    json_object_end(json);
}

static void write_ledger(Json *json, const Probe *probe, uint64_t now_ms) {
    const LedgerSums sums = ledger_sums(&probe->ledger);
    json_object_begin(json, "ledger");
    json_text(json, "state", ledger_state_names[probe_ledger(probe, now_ms)]);
    json_u64(json, "since_ms", probe->ledger.since_ms);
    json_u64(json, "waited", sums.waited);
    json_u64(json, "metered", sums.metered);
    json_u64(json, "export_dropped", sums.export_dropped);
    json_u64(json, "entering", sums.entering);
    json_u64(json, "stored", sums.stored);
    json_u64(json, "missing", sums.missing);
    json_u64(json, "undecodable", sums.undecodable);
    json_u64(json, "unannounced", sums.unannounced);
    json_u64(json, "waiting", sums.waiting);
    json_i64(json, "unexplained", sums.unexplained);
    json_object_end(json);
}

static void write_probe(Json *json, Hub *hub, const Probe *probe, uint64_t now_ms) {
    const bool fresh =
        probe->connected && probe->pulse_ms && now_ms < probe->pulse_ms + PROBES_SILENT_MS;
    char text[256];
    json_object_begin(json, NULL);
    json_u64(json, "id", probe->number);
    json_text(json, "name", probes_name(probe));
    json_text(json, "key", probe->key.z85);
    json_u64(json, "interface", probe->interface + 1);
    json_text(json, "address", probe->address);
    json_text(json, "version", probe->version);
    json_bool(json, "connected", probe->connected);
    ProbeState state = probe_state(probe, now_ms, text, sizeof(text));
    json_text(json, "state", probe_state_name(state));
    json_text(json, "state_text", text);
    json_u64(json, "first_seen_ms", probe->first_seen_ms);
    json_u64(json, "last_seen_ms", probe->last_seen_ms);
    json_array_begin(json, "captures");
    for (size_t i = 0; i < probe->n_captures; i++)
        json_text(json, NULL, probe->captures[i]);
    json_array_end(json);
    json_u64(json, "packets", probe->packets);
    json_u64(json, "octets", probe->octets);
    json_u64(json, "drops", probe->drops);
    json_u64(json, "flows_active", fresh ? probe->pulse.flows_active : 0);
    json_u64(json, "flows_received", probe->received.flows);
    json_u64(json, "flows_stored", probe->flows_stored);
    json_u64(json, "flows_missing", probe->missing.flows);
    json_u64(json, "flows_waiting", probe->pulse.flows_waiting);
    json_f64(json, "packets_per_s", fresh ? (double)probe->pulse.packets_per_s : 0);
    json_f64(json, "bits_per_s", fresh ? (double)probe->pulse.octets_per_s * 8 : 0);
    json_i64(json, "clock_offset_ms", probe->clock_offset_ms);
    json_i64(json, "round_trip_ms", probe->round_trip_known ? (int64_t)probe->round_trip_ms : -1);
    write_spool(json, &probe->pulse.spool);
    write_ledger(json, probe, now_ms);
    api_write_configuration(json, "configuration", hub, probe);
    write_enrolment(json, probe);
    json_object_end(json);
}

typedef struct Walk {
    Json *json;
    Hub *hub;
    uint64_t now_ms;
    unsigned interface;
    bool all;
    /* of the interface's state */
    uint64_t connected;
    const PeerProblem *newest; /* copied to `problem` */
    PeerProblem problem;
} Walk;

static void each_probe(void *context, const Probe *probe) {
    Walk *walk = context;
    if (walk->all || probe->interface == walk->interface)
        write_probe(walk->json, walk->hub, probe, walk->now_ms);
}

void api_write_probes(Json *json, const char *name, Hub *hub, uint64_t now_ms) {
    Walk walk = {.json = json, .hub = hub, .now_ms = now_ms, .all = true};
    json_array_begin(json, name);
    probes_each(hub->probes, each_probe, &walk);
    json_array_end(json);
}

bool api_write_probe(Json *json, Hub *hub, const PeerKey *key, uint64_t now_ms) {
    const Probe *probe = probes_lock(hub->probes, key);
    if (!probe)
        return false;
    write_probe(json, hub, probe, now_ms);
    probes_unlock(hub->probes);
    return true;
}

static void refresh(Hub *hub) {
    HubProbeStatus *statuses = NULL;
    size_t n = 0;
    if (!hub_link_probes(hub->link, &statuses, &n))
        probes_take_status(hub->probes, statuses, n);
    free(statuses);
}

int api_get_probes(HttpRequest *request, HttpResponse *response, void *context) {
    (void)request;
    Json json = json_make(&response->body);
    refresh(context);
    api_write_probes(&json, NULL, context, clock_wall_ms());
    return 0;
}

/* --------------------------------------------------------------------------------- interfaces */

static void count_connected(void *context, const Probe *probe) {
    Walk *walk = context;
    walk->connected += probe_delivers(probe) && probe->interface == walk->interface;
}

static void find_problem(void *context, const PeerProblem *problem) {
    Walk *walk = context;
    if (problem->interface == walk->interface &&
        (!walk->newest || problem->last_ms > walk->problem.last_ms)) {
        walk->problem = *problem;
        walk->newest = &walk->problem;
    }
}

static void write_state(Json *json, Hub *hub, unsigned i, uint64_t now_ms, uint64_t *connectedp) {
    Walk walk = {.interface = i};
    probes_each(hub->probes, count_connected, &walk);
    probes_problems_each(hub->probes, find_problem, &walk);
    const HubInterface *interface = &hub->interfaces[i];
    const uint64_t last_ms = ingest_last_flow_ms(hub->ingest, i);
    const char *state = "waiting";
    char text[512];
    if (ingest_state(hub->ingest) == INGEST_DISK_FULL) {
        state = "problem";
        cause_text(text, sizeof(text), CAUSE_HUB_DISK_FULL, "", "");
    } else if (walk.connected) {
        state = "receiving";
        const int at = snprintf(text, sizeof(text), "%" PRIu64 " probe%s connected, ",
                                walk.connected, walk.connected == 1 ? "" : "s");
        if (last_ms)
            (void)snprintf(text + at, sizeof(text) - (size_t)at, "last flow %" PRIu64 " s ago.",
                           now_ms > last_ms ? (now_ms - last_ms) / 1000 : 0);
        else
            (void)snprintf(text + at, sizeof(text) - (size_t)at, "no flow yet.");
    } else if (walk.newest && now_ms < walk.problem.last_ms + PROBLEM_RECENT_MS) {
        state = "problem";
        (void)snprintf(text, sizeof(text), "No probe is connected. Peer at %s: %s",
                       walk.problem.address, peer_problem_text(walk.problem.kind));
    } else {
        (void)snprintf(text, sizeof(text),
                       interface->data.collector ? "Listening on %s, no probe is connected."
                                                 : "Trying to reach a probe at %s.",
                       interface->name);
    }
    json_text(json, "state", state);
    json_text(json, "state_text", text);
    *connectedp = walk.connected;
}

void api_write_interface_members(Json *json, Hub *hub, unsigned i, uint64_t now_ms) {
    const HubInterface *interface = &hub->interfaces[i];
    HubInterfaceStatus status = {0};
    (void)hub_link_interface(hub->link, i, &status);
    const WatchRates rates = watch_rates(hub->watch, i);
    char events[300];
    endpoint_write(&interface->events, events, sizeof(events));
    json_u64(json, "id", i + 1);
    json_text(json, "name", interface->name);
    json_text(json, "endpoint", interface->given);
    json_text(json, "events_endpoint", events);
    json_text(json, "mode", interface->data.collector ? "bind" : "connect");
    uint64_t connected = 0;
    write_state(json, hub, i, now_ms, &connected);
    json_u64(json, "probes_connected", connected);
    json_u64(json, "flows", status.flows.flows);
    json_u64(json, "packets", status.flows.packets);
    json_u64(json, "octets", status.flows.octets);
    json_u64(json, "batches", status.batches);
    json_u64(json, "batches_discarded", status.malformed + status.foreign);
    json_u64(json, "last_flow_ms", ingest_last_flow_ms(hub->ingest, i));
    json_f64(json, "flows_per_s", rates.flows_per_s);
    json_f64(json, "bits_per_s", rates.bits_per_s);
}

int api_get_interfaces(HttpRequest *request, HttpResponse *response, void *context) {
    (void)request;
    Hub *hub = context;
    const uint64_t now_ms = clock_wall_ms();
    Json json = json_make(&response->body);
    refresh(hub);
    json_array_begin(&json, NULL);
    for (unsigned i = 0; i < hub->n_interfaces; i++) {
        json_object_begin(&json, NULL);
        api_write_interface_members(&json, hub, i, now_ms);
        json_object_end(&json);
    }
    json_array_end(&json);
    return 0;
}

/* the interface and the address that a request is about; HTTP_E_ANSWERED */
static int find(const HttpRequest *request, HttpResponse *response, const Hub *hub, unsigned *ip,
                PageAddress *address) {
    const int64_t id = http_param_int(request, "id");
    if (id < 1 || (uint64_t)id > hub->n_interfaces) {
        http_response_error(response, 404, "not_found",
                            "There is no interface %" PRId64 "; there are 1 to %zu.", id,
                            hub->n_interfaces);
        return HTTP_E_ANSWERED;
    }
    Reason reason = {0};
    const unsigned i = (unsigned)(id - 1);
    const int r =
        pages_address(address, &hub->interfaces[i], hub->config->public_address,
                      http_param(request, "address"), http_header(request, "Host"), &reason);
    if (r)
        return r < 0 ? error_trace(r) : api_refuse(response, "address", &reason);
    *ip = i;
    return 0;
}

static void each_problem(void *context, const PeerProblem *problem) {
    const Walk *walk = context;
    Json *json = walk->json;
    if (problem->interface != walk->interface)
        return;
    json_object_begin(json, NULL);
    json_text(json, "address", problem->address);
    json_text(json, "kind", peer_problem_names[problem->kind]);
    json_text(json, "text", peer_problem_text(problem->kind));
    json_u64(json, "count", problem->count);
    json_u64(json, "first_ms", problem->first_ms);
    json_u64(json, "last_ms", problem->last_ms);
    json_object_end(json);
}

static int write_texts(Json *json, Hub *hub, unsigned i, const PageAddress *address) {
    char z85[41];
    char hex[81];
    char *key_string = NULL;
    server_key_public(hub->server_key, z85);
    keystring_hex(hex, z85);
    const int r = hub_key_string(&key_string, z85, "");
    if (r)
        return error_trace(r);
    const HubInterface *interface = &hub->interfaces[i];
    Buffer command = {0};
    Buffer reach = {0};
    pages_probe_command(&command, interface, address->host, key_string);
    pages_reach_text(&reach, interface, address->host);
    json_text(json, "public_key", hex);
    json_text(json, "key_string", key_string);
    json_u64(json, "data_port", interface->data.port);
    json_u64(json, "events_port", interface->events.port);
    json_text(json, "address", address->host);
    json_bool(json, "address_known", address->known);
    json_text(json, "probe_command", buffer_text(&command));
    json_text(json, "reach_text", buffer_text(&reach));
    buffer_deinit(&command);
    buffer_deinit(&reach);
    free(key_string);
    return 0;
}

int api_get_interface(HttpRequest *request, HttpResponse *response, void *context) {
    Hub *hub = context;
    unsigned i = 0;
    PageAddress address = {0};
    int r = find(request, response, hub, &i, &address);
    if (r)
        return r < 0 ? r : 0;
    const uint64_t now_ms = clock_wall_ms();
    Json json = json_make(&response->body);
    Walk walk = {.json = &json, .hub = hub, .now_ms = now_ms, .interface = i};
    refresh(hub);
    json_object_begin(&json, NULL);
    api_write_interface_members(&json, hub, i, now_ms);
    r = write_texts(&json, hub, i, &address);
    json_array_begin(&json, "problems");
    probes_problems_each(hub->probes, each_problem, &walk);
    json_array_end(&json);
    json_array_begin(&json, "probes");
    probes_each(hub->probes, each_probe, &walk);
    json_array_end(&json);
    json_object_end(&json);
    return error_trace(r);
}

int api_get_sample_config(HttpRequest *request, HttpResponse *response, void *context) {
    Hub *hub = context;
    unsigned i = 0;
    char z85[41];
    char *key_string = NULL;
    PageAddress address = {0};
    int r = find(request, response, hub, &i, &address);
    if (r)
        return r < 0 ? r : 0;
    response->content_type = "text/plain; charset=utf-8";
    http_response_header(response, "Content-Disposition",
                         "attachment; filename=\"weir-probe.conf\"");
    server_key_public(hub->server_key, z85);
    r = hub_key_string(&key_string, z85, "");
    if (r)
        return error_trace(r);
    pages_sample_config(&response->body, &hub->interfaces[i], address.host, key_string, false);
    free(key_string);
    return 0;
}
