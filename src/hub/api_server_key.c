/* SPDX-License-Identifier: Apache-2.0 */

#include <jansson.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/json.h"
#include "channel/keystring.h"
#include "hub/api.h"
#include "hub/hub.h"

static void put_hex(Json *json, const char *name, const char *z85) {
    char hex[81] = "";
    if (*z85)
        keystring_hex(hex, z85);
    json_text(json, name, hex);
}

static void write_ports(Json *json, Hub *hub) {
    json_array_begin(json, "ports");
    for (unsigned i = 0; i < hub->n_interfaces; i++) {
        const HubNextPorts ports = server_key_ports(hub->server_key, i);
        if (!ports.data)
            continue;
        json_object_begin(json, NULL);
        json_u64(json, "interface", i + 1);
        json_u64(json, "data_port", ports.data);
        json_u64(json, "events_port", ports.events);
        json_object_end(json);
    }
    json_array_end(json);
}

static void write_missing(Json *json, const ServerKeyMissing *missing, size_t n) {
    json_array_begin(json, "unconfirmed");
    for (size_t i = 0; i < n; i++) {
        json_object_begin(json, NULL);
        json_text(json, "key", missing[i].key.z85);
        json_text(json, "name", missing[i].name);
        json_text(json, "site", missing[i].site);
        json_bool(json, "connected", missing[i].connected);
        json_u64(json, "last_seen_ms", missing[i].last_seen_ms);
        json_text(json, "reason", missing[i].reason);
        json_object_end(json);
    }
    json_array_end(json);
}

static int write_server_key(HttpResponse *response, Hub *hub) {
    ServerKeyStatus status;
    ServerKeyMissing *missing = NULL;
    size_t n = 0;
    const int r = server_key_missing(hub->server_key, clock_wall_ms(), &missing, &n);
    if (r)
        return error_trace(r);
    server_key_status(hub->server_key, &status);
    Json json = json_make(&response->body);
    json_object_begin(&json, NULL);
    json_text(&json, "state", server_key_state_names[status.state]);
    json_u64(&json, "version", status.version);
    put_hex(&json, "public_key", status.now);
    put_hex(&json, "next_public_key", status.next);
    json_u64(&json, "made_ms", status.made_ms);
    json_u64(&json, "changed_ms", status.changed_ms);
    json_text(&json, "trouble", status.trouble);
    json_u64(&json, "confirmed", status.confirmed);
    json_u64(&json, "using_next", status.using_next);
    write_ports(&json, hub);
    write_missing(&json, missing, n);
    json_object_end(&json);
    free(missing);
    return 0;
}

/** answer() - how it stands now, or why not */
static int answer(HttpResponse *response, Hub *hub, int r, const Reason *reason) {
    if (r < 0)
        return error_trace(r);
    if (!r)
        return error_trace(write_server_key(response, hub));
    http_response_error(response, 409, r == SERVER_KEY_E_UNCONFIRMED ? "unconfirmed" : "not_now",
                        "%s", reason->text);
    return 0;
}

int api_get_server_key(HttpRequest *request, HttpResponse *response, void *context) {
    (void)request;
    return error_trace(write_server_key(response, context));
}

int api_make_next_server_key(HttpRequest *request, HttpResponse *response, void *context) {
    Hub *hub = context;
    Reason reason = {""};
    json_t *body = NULL;
    int r = http_request_json(request, response, &body);
    if (r)
        return r < 0 ? error_trace(r) : 0;
    const json_int_t port = json_integer_value(json_object_get(body, "first_port"));
    r = server_key_make(hub->server_key, (uint16_t)port, clock_wall_ms(), &reason);
    json_decref(body);
    return answer(response, hub, r, &reason);
}

int api_drop_next_server_key(HttpRequest *request, HttpResponse *response, void *context) {
    (void)request;
    Hub *hub = context;
    Reason reason = {""};
    const int r = server_key_cancel(hub->server_key, &reason);
    return answer(response, hub, r, &reason);
}

int api_finish_server_key(HttpRequest *request, HttpResponse *response, void *context) {
    Hub *hub = context;
    Reason reason = {""};
    json_t *body = NULL;
    int r = http_request_json(request, response, &body);
    if (r)
        return r < 0 ? error_trace(r) : 0;
    const bool force = json_is_true(json_object_get(body, "force"));
    json_decref(body);
    r = server_key_finish(hub->server_key, force, clock_wall_ms(), &reason);
    return answer(response, hub, r, &reason);
}
