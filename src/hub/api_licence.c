/* SPDX-License-Identifier: Apache-2.0 */

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/json.h"
#include "hub/api.h"
#include "hub/hub.h"
#include "licence/seats.h"

enum { DAY_S = 86400 };

static uint64_t ms_of(int64_t s) {
    return s > 0 ? (uint64_t)s * 1000 : 0;
}

static void write_ms(Json *json, const char *name, bool there, int64_t s) {
    if (there)
        json_u64(json, name, ms_of(s));
    else
        json_none(json, name);
}

static void write_claims(Json *json, const HolderView *held) {
    const Licence *licence = &held->licence;
    const bool ends = licence->expiry_s != 0;
    char text[SYSTEM_ID_CHARS];
    if (!held->has) {
        json_none(json, "licence");
        return;
    }
    json_object_begin(json, "licence");
    json_text(json, "id", licence->id);
    json_text(json, "key_id", licence->kid);
    json_text(json, "kind", licence_kind_name(licence->kind));
    json_text(json, "customer", licence->customer);
    json_u64(json, "probes", licence->kind == LICENCE_CLOUD ? licence->max_probes : 0);
    json_u64(json, "not_before_ms", ms_of(licence->not_before_s));
    write_ms(json, "expires_ms", ends, licence->expiry_s);
    json_u64(json, "grace_days", licence->grace_days);
    write_ms(json, "grace_ends_ms", ends, licence->expiry_s + (int64_t)licence->grace_days * DAY_S);
    json_text(json, "system_id", licence->bound ? system_id_text(&licence->system, text) : NULL);
    json_text(json, "from", held->from);
    json_object_end(json);
}

static void write_system_id(Json *json, const SystemId *here) {
    char text[SYSTEM_ID_CHARS];
    const size_t facts = system_id_facts(here);
    const bool enough = facts >= SYSTEM_FACTS_NEEDED;
    json_object_begin(json, "system_id");
    json_text(json, "text", system_id_text(here, text));
    json_u64(json, "facts", facts);
    json_bool(json, "enough", enough);
    json_text(json, "advice",
              enough ? ""
                     : "This machine shows too little of itself to be known by, which is usual in "
                       "a container: use a cloud licence.");
    json_object_end(json);
}

/* --------------------------------------------------------------------------------------- seats */

typedef struct Listed {
    PeerKey key;
    char name[256];
    char site[65];
    uint64_t enrolled_ms;
    bool connected;
    ProbeSeat seat;
} Listed;

typedef struct List {
    Listed *rows;
    size_t n, capacity;
} List;

/** take_row() - ProbesEach: of those that have to do with seats */
static void take_row(void *context, const Probe *probe) {
    List *list = context;
    if (probe->enrolment.admission != HUB_ADMITTED || probe->seat.state == PROBE_SEAT_NONE)
        return;
    if (list->n == list->capacity) {
        const size_t capacity = list->capacity ? list->capacity * 2 : 16;
        Listed *rows = realloc(list->rows, capacity * sizeof(*rows));
        if (!rows)
            return; /* one less is shown */
        list->rows = rows;
        list->capacity = capacity;
    }
    Listed *row = &list->rows[list->n++];
    *row = (Listed){.key = probe->key,
                    .enrolled_ms = probe->enrolment.enrolled_ms,
                    .connected = probe->connected,
                    .seat = probe->seat};
    (void)snprintf(row->name, sizeof(row->name), "%s", probes_name(probe));
    memcpy(row->site, probe->enrolment.site, sizeof(row->site));
}

/* those that wait by their turn, then by the order of seats */
static int by_turn(const void *a, const void *b) {
    const Listed *x = a;
    const Listed *y = b;
    if (x->seat.ahead != y->seat.ahead)
        return x->seat.ahead < y->seat.ahead ? -1 : 1;
    if (x->seat.pinned != y->seat.pinned)
        return x->seat.pinned ? -1 : 1;
    if (x->enrolled_ms != y->enrolled_ms)
        return x->enrolled_ms < y->enrolled_ms ? -1 : 1;
    return strcmp(x->key.z85, y->key.z85);
}

typedef struct Clocks {
    uint64_t mono_ms, wall_ms;
} Clocks;

static void write_held(Json *json, const Listed *row, const Clocks *now) {
    const uint64_t gone_ms = now->mono_ms - row->seat.gone_ms;
    const bool away = !row->connected && row->seat.gone_ms;
    json_bool(json, "connected", row->connected);
    if (away) {
        json_u64(json, "gone_ms", now->wall_ms - gone_ms);
        json_u64(json, "kept_until_ms", now->wall_ms - gone_ms + SEATS_KEPT_MS);
    } else {
        json_none(json, "gone_ms");
        json_none(json, "kept_until_ms");
    }
}

static void write_row(Json *json, const Listed *row, const Clocks *now) {
    const ProbeSeat *seat = &row->seat;
    json_object_begin(json, NULL);
    json_text(json, "key", row->key.z85);
    json_text(json, "name", row->name);
    json_text(json, "site", row->site);
    if (seat->state == PROBE_SEAT_OWN) {
        json_text(json, "licence_id", seat->own.id);
        json_text(json, "customer", seat->own.customer);
    } else {
        json_u64(json, "enrolled_ms", row->enrolled_ms);
        json_u64(json, "since_ms", seat->since_ms);
        json_bool(json, "pinned", seat->pinned);
    }
    if (seat->state == PROBE_SEAT_HELD) {
        write_held(json, row, now);
    } else if (seat->state == PROBE_SEAT_WAITING) {
        json_text(json, "reason", seat->reason);
        json_u64(json, "ahead", seat->ahead);
    }
    json_object_end(json);
}

static void write_seats(Json *json, Hub *hub, const LicensingView *view) {
    static const struct {
        const char *name;
        ProbeSeatState state;
    } lists[] = {
        {"held", PROBE_SEAT_HELD}, {"waiting", PROBE_SEAT_WAITING}, {"own", PROBE_SEAT_OWN}};
    const Clocks now = {.mono_ms = clock_monotonic_ms(), .wall_ms = clock_wall_ms()};
    List list = {0};
    uint64_t used = 0;
    probes_walk(hub->probes, take_row, &list);
    if (list.n)
        qsort(list.rows, list.n, sizeof(*list.rows), by_turn);
    for (size_t i = 0; i < list.n; i++)
        used += list.rows[i].seat.state == PROBE_SEAT_HELD;
    json_object_begin(json, "seats");
    json_u64(json, "limit", view->limit);
    json_u64(json, "used", used);
    for (size_t k = 0; k < sizeof(lists) / sizeof(lists[0]); k++) {
        json_array_begin(json, lists[k].name);
        for (size_t i = 0; i < list.n; i++)
            if (list.rows[i].seat.state == lists[k].state)
                write_row(json, &list.rows[i], &now);
        json_array_end(json);
    }
    json_object_end(json);
    free(list.rows);
}

/* -------------------------------------------------------------------------------------- answers */

static void write_licence(HttpResponse *response, Hub *hub) {
    LicensingView view;
    licensing_view(hub->licensing, &view);
    const HolderView *held = &view.holder;
    Json json = json_make(&response->body);
    json_object_begin(&json, NULL);
    json_text(&json, "mode", licensing_mode_names[view.mode]);
    json_text(&json, "state", licensing_state_name(held));
    json_bool(&json, "kept", held->kept);
    write_ms(&json, "kept_until_ms", held->kept, held->until_s);
    json_text(&json, "why", held->has ? held->why.text : "there is no licence");
    json_text(&json, "trouble", held->trouble.text);
    write_claims(&json, held);
    if (held->days_left)
        json_u64(&json, "days_left", held->days_left);
    else
        json_none(&json, "days_left");
    json_text(&json, "warning", view.warning);
    json_u64(&json, "now_ms", ms_of(held->now_s));
    json_u64(&json, "revocations", held->revoked);
    write_system_id(&json, &view.here);
    write_seats(&json, hub, &view);
    json_object_end(&json);
}

int api_get_licence(HttpRequest *request, HttpResponse *response, void *context) {
    (void)request;
    write_licence(response, context);
    return 0;
}

int api_install_licence(HttpRequest *request, HttpResponse *response, void *context) {
    Hub *hub = context;
    json_t *body = NULL;
    Reason reason = {""};
    int r = http_request_json(request, response, &body);
    if (r)
        return r < 0 ? error_trace(r) : 0;
    const json_t *text = json_object_get(body, "text");
    const LicensingTime now = licensing_time();
    r = licensing_install(hub->licensing, json_string_value(text), json_string_length(text), &now,
                          &reason);
    json_decref(body);
    if (r < 0)
        return error_trace(r);
    if (r)
        http_response_error(response, 422, "licence_refused", "This is not taken: %s.",
                            reason.text);
    else
        write_licence(response, hub);
    return 0;
}

int api_pin_probe(HttpRequest *request, HttpResponse *response, void *context) {
    Hub *hub = context;
    PeerKey key;
    json_t *body = NULL;
    int r = http_request_json(request, response, &body);
    if (r)
        return r < 0 ? error_trace(r) : 0;
    const bool pinned = json_is_true(json_object_get(body, "pinned"));
    json_decref(body);
    (void)snprintf(key.z85, sizeof(key.z85), "%s", http_param(request, "key"));
    const LicensingTime now = licensing_time();
    r = licensing_pin(hub->licensing, &key, pinned, &now);
    if (!r)
        r = admission_keep(hub->admission, &key);
    if (r < 0)
        return error_trace(r);
    Json json = json_make(&response->body);
    if (r == LICENSING_E_MISSING || !api_write_probe(&json, hub, &key, now.wall_ms))
        http_response_error(response, 404, "not_found", "There is no probe with this key.");
    return 0;
}
