/* SPDX-License-Identifier: Apache-2.0 */

#include <inttypes.h>
#include <jansson.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/json.h"
#include "hub/api.h"
#include "hub/hub.h"

/* ------------------------------------------------------------------------------------- probes */

static void key_of(const HttpRequest *request, PeerKey *key) {
    (void)snprintf(key->z85, sizeof(key->z85), "%s", http_param(request, "key"));
}

/** answer() - of what an administrator decided: the probe as it is now, or why not */
static int answer(HttpResponse *response, Hub *hub, const PeerKey *key, int r,
                  const Reason *reason) {
    if (r == ADMISSION_E_MISSING)
        http_response_error(response, 404, "not_found", "%s", reason->text);
    else if (r == ADMISSION_E_REFUSED)
        http_response_error(response, 409, "not_now", "%s", reason->text);
    else if (r)
        return error_trace(r);
    else {
        Json json = json_make(&response->body);
        if (!api_write_probe(&json, hub, key, clock_wall_ms()))
            http_response_error(response, 404, "not_found", "The probe is gone.");
    }
    return 0;
}

int api_approve_probe(HttpRequest *request, HttpResponse *response, void *context) {
    Hub *hub = context;
    PeerKey key;
    Reason reason = {0};
    key_of(request, &key);
    const int r = admission_approve(hub->admission, &key, clock_wall_ms(), &reason);
    return answer(response, hub, &key, r, &reason);
}

int api_take_over_probe(HttpRequest *request, HttpResponse *response, void *context) {
    Hub *hub = context;
    PeerKey key;
    Reason reason = {0};
    key_of(request, &key);
    const int r = admission_take_over(hub->admission, &key, clock_wall_ms(), &reason);
    return answer(response, hub, &key, r, &reason);
}

int api_revoke_probe(HttpRequest *request, HttpResponse *response, void *context) {
    Hub *hub = context;
    PeerKey key;
    Reason reason = {0};
    key_of(request, &key);
    const int r = admission_revoke(hub->admission, &key, &reason);
    return answer(response, hub, &key, r, &reason);
}

int api_restore_probe(HttpRequest *request, HttpResponse *response, void *context) {
    Hub *hub = context;
    PeerKey key;
    Reason reason = {0};
    key_of(request, &key);
    const int r = admission_restore(hub->admission, &key, clock_wall_ms(), &reason);
    return answer(response, hub, &key, r, &reason);
}

static void write_removed(HttpResponse *response) {
    Json json = json_make(&response->body);
    json_object_begin(&json, NULL);
    json_bool(&json, "removed", true);
    json_object_end(&json);
}

int api_forget_probe(HttpRequest *request, HttpResponse *response, void *context) {
    Hub *hub = context;
    PeerKey key;
    Reason reason = {0};
    key_of(request, &key);
    const int r = admission_forget(hub->admission, &key, &reason);
    if (r)
        return answer(response, hub, &key, r, &reason);
    write_removed(response);
    return 0;
}

/** text_of() - a member without control characters; false: it has some, which was answered */
static bool text_of(const json_t *body, const char *name, const char **textp,
                    HttpResponse *response) {
    const char *text = json_string_value(json_object_get(body, name));
    for (const char *c = text; c && *c; c++) {
        if ((unsigned char)*c < 0x20 || *c == 0x7f) {
            Reason reason = {0};
            reason_set(&reason, "%s: a text of one line is expected", name);
            (void)api_refuse(response, name, &reason);
            return false;
        }
    }
    *textp = text;
    return true;
}

int api_edit_probe(HttpRequest *request, HttpResponse *response, void *context) {
    Hub *hub = context;
    json_t *body = NULL;
    int r = http_request_json(request, response, &body);
    if (r)
        return r < 0 ? error_trace(r) : 0;
    PeerKey key;
    Reason reason = {0};
    AdmissionEdit edit = {0};
    key_of(request, &key);
    if (text_of(body, "name", &edit.name, response) &&
        text_of(body, "site", &edit.site, response) &&
        text_of(body, "tenant", &edit.tenant, response)) {
        r = admission_edit(hub->admission, &key, &edit, &reason);
        r = answer(response, hub, &key, r, &reason);
    }
    json_decref(body);
    return error_trace(r);
}

/* ----------------------------------------------------------------------------------- the mode */

static void count_pending(void *context, const Probe *probe) {
    *(uint64_t *)context += probe->enrolment.admission == HUB_PENDING;
}

static void write_admission(HttpResponse *response, Hub *hub) {
    uint64_t pending = 0;
    probes_walk(hub->probes, count_pending, &pending);
    Json json = json_make(&response->body);
    json_object_begin(&json, NULL);
    json_text(&json, "mode", admission_mode_names[admission_mode(hub->admission)]);
    json_u64(&json, "pending", pending);
    json_u64(&json, "pending_max", ADMISSION_PENDING_MAX);
    json_object_end(&json);
}

int api_get_admission(HttpRequest *request, HttpResponse *response, void *context) {
    (void)request;
    write_admission(response, context);
    return 0;
}

int api_put_admission(HttpRequest *request, HttpResponse *response, void *context) {
    Hub *hub = context;
    json_t *body = NULL;
    int r = http_request_json(request, response, &body);
    if (r)
        return r < 0 ? error_trace(r) : 0;
    const char *mode = json_string_value(json_object_get(body, "mode"));
    AdmissionMode chosen = ADMISSION_OPEN;
    for (unsigned i = 0; i < _ADMISSION_MODE_N; i++)
        if (mode && strcmp(admission_mode_names[i], mode) == 0)
            chosen = (AdmissionMode)i;
    r = admission_set_mode(hub->admission, chosen, clock_wall_ms());
    json_decref(body);
    if (!r)
        write_admission(response, hub);
    return error_trace(r);
}

/* --------------------------------------------------------------------------------- join tokens */

typedef struct TokenWalk {
    Json json;
    uint64_t now_ms;
} TokenWalk;

static int write_token(const SettingsToken *token, void *context) {
    TokenWalk *walk = context;
    Json *json = &walk->json;
    static const char *const states[_ADMISSION_TOKEN_N] = {
        [ADMISSION_TOKEN_GOOD] = "good",
        [ADMISSION_TOKEN_EXPIRED] = "expired",
        [ADMISSION_TOKEN_USED_UP] = "used up",
    };
    json_object_begin(json, NULL);
    json_u64(json, "id", token->id);
    json_text(json, "note", token->note);
    json_text(json, "site", token->site);
    json_text(json, "tenant", token->tenant);
    json_u64(json, "uses", token->uses);
    json_u64(json, "uses_max", token->uses_max);
    json_u64(json, "created_ms", token->created_ms);
    json_text(json, "created_by", token->created_by);
    json_u64(json, "expires_ms", token->expires_ms);
    json_text(json, "state", states[admission_judge_token(token, false, walk->now_ms)]);
    json_object_end(json);
    return 0;
}

int api_get_tokens(HttpRequest *request, HttpResponse *response, void *context) {
    (void)request;
    Hub *hub = context;
    TokenWalk walk = {.json = json_make(&response->body), .now_ms = clock_wall_ms()};
    json_array_begin(&walk.json, NULL);
    const int r = settings_token_each(hub->settings, write_token, &walk);
    json_array_end(&walk.json);
    return error_trace(r);
}

static uint64_t number_of(const json_t *body, const char *name, uint64_t unset) {
    const json_t *value = json_object_get(body, name);
    return json_is_integer(value) ? (uint64_t)json_integer_value(value) : unset;
}

/** read_token() - false: answered */
static bool read_token(const json_t *body, SettingsToken *token, HttpResponse *response) {
    const struct {
        const char *name;
        char *to;
    } texts[] = {{"note", token->note}, {"site", token->site}, {"tenant", token->tenant}};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        const char *text = NULL;
        if (!text_of(body, texts[i].name, &text, response))
            return false;
        (void)snprintf(texts[i].to, SETTINGS_LABEL_MAX + 1, "%s", text ? text : "");
    }
    token->created_ms = clock_wall_ms();
    token->uses_max = number_of(body, "uses", 1);
    const uint64_t valid_s = number_of(body, "valid_s", 0);
    token->expires_ms = valid_s ? token->created_ms + valid_s * 1000 : 0;
    return true;
}

/* what a person takes away: with the token in it, so that all of it is a secret */
static int write_new_token(HttpResponse *response, Hub *hub, unsigned i, const char *host,
                           const char *text, uint64_t id) {
    char *key_string = NULL;
    char z85[41];
    server_key_public(hub->server_key, z85);
    const int r = hub_key_string(&key_string, z85, text);
    if (r)
        return error_trace(r);
    Buffer command = {0};
    Buffer file = {0};
    pages_probe_command(&command, &hub->interfaces[i], host, key_string);
    pages_sample_config(&file, &hub->interfaces[i], host, key_string, true);
    Json json = json_make(&response->body);
    json_object_begin(&json, NULL);
    json_u64(&json, "id", id);
    json_text(&json, "token", text);
    json_text(&json, "key_string", key_string);
    json_text(&json, "probe_command", buffer_text(&command));
    json_text(&json, "sample_config", buffer_text(&file));
    json_object_end(&json);
    buffer_deinit(&command);
    buffer_deinit(&file);
    sodium_memzero(key_string, strlen(key_string));
    free(key_string);
    return 0;
}

static int make_token(Hub *hub, const HttpRequest *request, HttpResponse *response,
                      const json_t *body) {
    SettingsToken token = {0};
    PageAddress address = {0};
    Reason reason = {0};
    const uint64_t id = number_of(body, "interface", 1);
    if (id < 1 || id > hub->n_interfaces) {
        http_response_error(response, 404, "not_found",
                            "There is no interface %" PRIu64 "; there are 1 to %zu.", id,
                            hub->n_interfaces);
        return 0;
    }
    const unsigned i = (unsigned)(id - 1);
    const char *asked = json_string_value(json_object_get(body, "address"));
    int r = pages_address(&address, &hub->interfaces[i], hub->config->public_address, asked,
                          http_header(request, "Host"), &reason);
    if (r > 0)
        (void)api_refuse(response, "address", &reason);
    if (r || !read_token(body, &token, response))
        return r < 0 ? error_trace(r) : 0;
    (void)snprintf(token.created_by, sizeof(token.created_by), "%s",
                   request->user ? request->user : "");
    char text[ADMISSION_TOKEN_TEXT];
    uint64_t token_id = 0;
    r = admission_token_make(hub->admission, &token, text, &token_id);
    if (!r)
        r = write_new_token(response, hub, i, address.host, text, token_id);
    sodium_memzero(text, sizeof(text));
    return error_trace(r);
}

int api_make_token(HttpRequest *request, HttpResponse *response, void *context) {
    json_t *body = NULL;
    int r = http_request_json(request, response, &body);
    if (r)
        return r < 0 ? error_trace(r) : 0;
    r = make_token(context, request, response, body);
    json_decref(body);
    return error_trace(r);
}

int api_remove_token(HttpRequest *request, HttpResponse *response, void *context) {
    const Hub *hub = context;
    const int64_t id = http_param_int(request, "id");
    const int r = settings_token_remove(hub->settings, (uint64_t)id);
    if (r < 0)
        return error_trace(r);
    if (r)
        http_response_error(response, 404, "not_found", "There is no join token %" PRId64 ".", id);
    else
        write_removed(response);
    return 0;
}
