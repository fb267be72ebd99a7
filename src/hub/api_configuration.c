/* SPDX-License-Identifier: Apache-2.0 */

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/json.h"
#include "flow/fieldset.h"
#include "hub/api.h"
#include "hub/hub.h"

static void write_row(Json *json, const ConfigureRow *row) {
    configuration_write_settings(json, "settings", &row->settings);
    json_u64(json, "changed_ms", row->changed_ms);
    json_text(json, "changed_by", row->changed_by);
    json_array_begin(json, "templates");
    for (size_t i = 0; i < FIELDSETS_N; i++)
        json_text(json, NULL, fieldset_names[i]);
    json_array_end(json);
}

/* of one probe; where it stands, depends on its session too */
static void write_standing(Json *json, const ConfigureView *view, const Probe *probe) {
    char text[512];
    configure_text(view, probe, text, sizeof(text));
    json_u64(json, "version", view->wanted.version);
    json_text(json, "state", configure_state_names[view->state]);
    json_text(json, "state_text", text);
}

void api_write_configuration(Json *json, const char *name, Hub *hub, const Probe *probe) {
    ConfigureView view;
    configure_view(hub->configure, &probe->key, &view);
    json_object_begin(json, name);
    write_standing(json, &view, probe);
    json_object_end(json);
}

/* 404 when there is no such probe, which is answered here */
static void write_probe(HttpResponse *response, Hub *hub, const PeerKey *key) {
    ConfigureView view;
    const Probe *probe = probes_lock(hub->probes, key);
    if (!probe) {
        http_response_error(response, 404, "not_found", "There is no probe with this key.");
        return;
    }
    configure_view(hub->configure, key, &view);
    Json json = json_make(&response->body);
    json_object_begin(&json, NULL);
    write_standing(&json, &view, probe);
    probes_unlock(hub->probes);
    write_row(&json, &view.own);
    configuration_write_settings(&json, "general", &view.general.settings);
    configuration_write_settings(&json, "wanted", &view.wanted);
    json_bool(&json, "reported", view.reported);
    json_u64(&json, "reported_version", view.report.version);
    json_text(&json, "reason", view.report.reason);
    if (view.reported) {
        configuration_write_settings(&json, "running", &view.report.running);
        configuration_write_settings(&json, "started_with", &view.report.given);
    }
    json_object_end(&json);
}

static void write_general(HttpResponse *response, Hub *hub) {
    const PeerKey nobody = {""};
    ConfigureView view;
    configure_view(hub->configure, &nobody, &view);
    Json json = json_make(&response->body);
    json_object_begin(&json, NULL);
    json_u64(&json, "version", view.general.settings.version);
    write_row(&json, &view.general);
    json_object_end(&json);
}

static void key_of(const HttpRequest *request, PeerKey *key) {
    (void)snprintf(key->z85, sizeof(key->z85), "%s", http_param(request, "key"));
}

int api_get_probe_configuration(HttpRequest *request, HttpResponse *response, void *context) {
    PeerKey key;
    key_of(request, &key);
    write_probe(response, context, &key);
    return 0;
}

int api_get_configuration(HttpRequest *request, HttpResponse *response, void *context) {
    (void)request;
    write_general(response, context);
    return 0;
}

/** take() - the body, checked and set; HTTP_E_ANSWERED: the refusal in words */
static int take(const HttpRequest *request, HttpResponse *response, Hub *hub, const PeerKey *key) {
    json_t *body = NULL;
    Configuration settings = {0};
    Reason reason = {""};
    int r = http_request_json(request, response, &body);
    if (r)
        return error_trace(r);
    r = configuration_take(&settings, body, &reason);
    json_decref(body);
    if (!r)
        r = configure_set(hub->configure, key, &settings, request->user, clock_wall_ms(), &reason);
    if (r == CONFIGURE_E_FULL)
        reason_set(&reason, "as many probes are known as this hub keeps");
    if (r > 0) {
        char name[32]; /* the reason begins with it */
        (void)snprintf(name, sizeof(name), "%.*s", (int)strcspn(reason.text, ": "), reason.text);
        return api_refuse(response, name, &reason);
    }
    if (!r)
        probes_touch(hub->probes);
    return error_trace(r);
}

int api_put_probe_configuration(HttpRequest *request, HttpResponse *response, void *context) {
    Hub *hub = context;
    PeerKey key;
    key_of(request, &key);
    const Probe *probe = probes_lock(hub->probes, &key);
    if (probe)
        probes_unlock(hub->probes);
    const int r = probe ? take(request, response, hub, &key) : 0;
    if (!r)
        write_probe(response, hub, &key);
    return r == HTTP_E_ANSWERED ? 0 : error_trace(r);
}

int api_put_configuration(HttpRequest *request, HttpResponse *response, void *context) {
    const int r = take(request, response, context, NULL);
    if (!r)
        write_general(response, context);
    return r == HTTP_E_ANSWERED ? 0 : error_trace(r);
}
