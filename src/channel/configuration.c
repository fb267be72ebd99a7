/* SPDX-License-Identifier: Apache-2.0 */

#include "channel/configuration.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/error.h"
#include "base/hash.h"

#define AT(member) offsetof(Configuration, member)

/* one row a setting: text of at most `max` bytes, or a number from `min` to `max` */
static const struct Setting {
    const char *name;
    unsigned bit;
    bool is_text;
    size_t at;
    uint32_t min, max;
    const char *unit;
} rows[] = {
    {"filter", CONFIGURATION_FILTER, true, AT(filter), 0, CONFIGURATION_FILTER_MAX, "bytes"},
    {"sampling", CONFIGURATION_SAMPLING, false, AT(sampling), 1, CONFIGURATION_SAMPLING_MAX,
     "packets"},
    {"active_s", CONFIGURATION_ACTIVE, false, AT(active_s), 1, CONFIGURATION_TIMEOUT_MAX_S, "s"},
    {"idle_s", CONFIGURATION_IDLE, false, AT(idle_s), 1, CONFIGURATION_TIMEOUT_MAX_S, "s"},
    {"template", CONFIGURATION_TEMPLATE, true, AT(template), 1, CONFIGURATION_TEMPLATE_MAX,
     "bytes"},
};
enum { ROWS = sizeof(rows) / sizeof(rows[0]) };

static const char *const state_names[_CONFIGURATION_STATE_N] = {
    [CONFIGURATION_NONE] = "none",
    [CONFIGURATION_APPLIED] = "applied",
    [CONFIGURATION_REFUSED] = "refused",
};

static uint32_t *number_at(const Configuration *configuration, const struct Setting *row) {
    return (uint32_t *)(uintptr_t)((const char *)configuration + row->at);
}

static char *text_at(const Configuration *configuration, const struct Setting *row) {
    return (char *)(uintptr_t)configuration + row->at;
}

/* ------------------------------------------------------------------------------------ reading */

static int take_text(Configuration *to, const struct Setting *row, const json_t *value,
                     Reason *reason) {
    const char *text = json_string_value(value);
    const size_t size = json_string_length(value);
    if (!text || size < row->min || size > row->max || strlen(text) != size) {
        reason_set(reason, "%s: a text of %u to %u bytes is expected", row->name, row->min,
                   row->max);
        return CONFIGURATION_E_REFUSED;
    }
    for (const char *c = text; *c; c++) {
        if ((unsigned char)*c < 0x20 || *c == 0x7f) {
            reason_set(reason, "%s: a text of one line is expected", row->name);
            return CONFIGURATION_E_REFUSED;
        }
    }
    memcpy(text_at(to, row), text, size + 1);
    return 0;
}

static int take_number(Configuration *to, const struct Setting *row, const json_t *value,
                       Reason *reason) {
    const json_int_t number = json_integer_value(value);
    if (!json_is_integer(value) || number < row->min || number > row->max) {
        reason_set(reason, "%s: a whole number from %u to %u %s is expected", row->name, row->min,
                   row->max, row->unit);
        return CONFIGURATION_E_REFUSED;
    }
    *number_at(to, row) = (uint32_t)number;
    return 0;
}

static int take_id(uint64_t *to, const json_t *value, Reason *reason) {
    const char *text = json_string_value(value);
    if (!text || strlen(text) != 16 || strspn(text, "0123456789abcdef") != 16) {
        reason_set(reason, "id: 16 hex digits are expected");
        return CONFIGURATION_E_REFUSED;
    }
    *to = strtoull(text, NULL, 16);
    return 0;
}

static int take_version(uint64_t *to, const json_t *value, Reason *reason) {
    if (!json_is_integer(value) || json_integer_value(value) < 0) {
        reason_set(reason, "version: a whole number is expected");
        return CONFIGURATION_E_REFUSED;
    }
    *to = (uint64_t)json_integer_value(value);
    return 0;
}

static int take_member(Configuration *to, const char *name, const json_t *value, Reason *reason) {
    for (size_t i = 0; i < ROWS; i++) {
        if (strcmp(rows[i].name, name) != 0)
            continue;
        to->set |= rows[i].bit;
        return rows[i].is_text ? take_text(to, &rows[i], value, reason)
                               : take_number(to, &rows[i], value, reason);
    }
    if (strcmp(name, "version") == 0)
        return take_version(&to->version, value, reason);
    if (strcmp(name, "id") == 0)
        return take_id(&to->id, value, reason);
    reason_set(reason,
               "%.40s: there is no such setting; there are filter, sampling, active_s, "
               "idle_s and template",
               name);
    return CONFIGURATION_E_REFUSED;
}

/* version and id are taken even of one that is refused, so that the refusal can name it */
int configuration_take(Configuration *to, const struct json_t *object, Reason *reason) {
    *to = (Configuration){0};
    if (!json_is_object(object)) {
        reason_set(reason, "a JSON object is expected");
        return CONFIGURATION_E_REFUSED;
    }
    Configuration read = {0};
    int r = 0;
    const char *name = NULL;
    json_t *value = NULL;
    json_object_foreach((json_t *)(uintptr_t)object, name, value) {
        const int answer = take_member(&read, name, value, r ? NULL : reason);
        r = r ? r : answer;
    }
    *to = r ? (Configuration){.version = read.version, .id = read.id} : read;
    return r;
}

int configuration_read(Configuration *configuration, const char *text, size_t size,
                       Reason *reason) {
    json_t *object = json_loadb(text, size, JSON_REJECT_DUPLICATES, NULL);
    const int r = configuration_take(configuration, object, reason);
    json_decref(object);
    return r;
}

/* ------------------------------------------------------------------------------------ writing */

static void write_id(Json *json, uint64_t version, uint64_t id) {
    char text[17];
    (void)snprintf(text, sizeof(text), "%016" PRIx64, id);
    json_u64(json, "version", version);
    json_text(json, "id", text);
}

static void write_settings(Json *json, const Configuration *configuration) {
    for (size_t i = 0; i < ROWS; i++) {
        if (!(configuration->set & rows[i].bit))
            continue;
        if (rows[i].is_text)
            json_text(json, rows[i].name, text_at(configuration, &rows[i]));
        else
            json_u64(json, rows[i].name, *number_at(configuration, &rows[i]));
    }
}

void configuration_write_settings(Json *json, const char *name,
                                  const Configuration *configuration) {
    json_object_begin(json, name);
    write_settings(json, configuration);
    json_object_end(json);
}

void configuration_write(Json *json, const char *name, const Configuration *configuration) {
    json_object_begin(json, name);
    write_id(json, configuration->version, configuration->id);
    write_settings(json, configuration);
    json_object_end(json);
}

void configuration_stamp(Configuration *configuration) {
    Buffer text = {0};
    Json json = json_make(&text);
    configuration->id = 0;
    if (!configuration->version && !configuration->set)
        return;
    configuration_write(&json, NULL, configuration);
    configuration->id = hash_bytes(text.bytes, text.size, 0);
    buffer_deinit(&text);
}

static bool same_setting(const Configuration *a, const Configuration *b,
                         const struct Setting *row) {
    if ((a->set & row->bit) != (b->set & row->bit))
        return false;
    if (!(a->set & row->bit))
        return true;
    return row->is_text ? strcmp(text_at(a, row), text_at(b, row)) == 0
                        : *number_at(a, row) == *number_at(b, row);
}

bool configuration_same(const Configuration *a, const Configuration *b) {
    for (size_t i = 0; i < ROWS; i++)
        if (!same_setting(a, b, &rows[i]))
            return false;
    return true;
}

void configuration_over(Configuration *to, const Configuration *over) {
    for (size_t i = 0; i < ROWS; i++) {
        if (!(over->set & rows[i].bit))
            continue;
        if (rows[i].is_text)
            memcpy(text_at(to, &rows[i]), text_at(over, &rows[i]), rows[i].max + 1);
        else
            *number_at(to, &rows[i]) = *number_at(over, &rows[i]);
    }
    to->set |= over->set;
    if (over->version > to->version)
        to->version = over->version;
}

static void say(Reason *to, const Configuration *configuration, const struct Setting *row) {
    if (!(configuration->set & row->bit))
        reason_append(to, "as started");
    else if (!row->is_text)
        reason_append(to, row->bit == CONFIGURATION_SAMPLING ? "1:%u" : "%u s",
                      *number_at(configuration, row));
    else
        reason_append(to, *text_at(configuration, row) ? "'%.120s'" : "none",
                      text_at(configuration, row));
}

void configuration_differences(Reason *to, const Configuration *now, const Configuration *before) {
    static const char *const words[ROWS] = {"filter", "sampling", "active timeout", "idle timeout",
                                            "template"};
    bool any = false;
    for (size_t i = 0; i < ROWS; i++) {
        if (same_setting(now, before, &rows[i]))
            continue;
        reason_append(to, "%s%s ", any ? ", " : "", words[i]);
        say(to, now, &rows[i]);
        reason_append(to, " (was ");
        say(to, before, &rows[i]);
        reason_append(to, ")");
        any = true;
    }
    if (!any)
        reason_append(to, "nothing changes");
}

/* ------------------------------------------------------------------------------------- report */

int configuration_report_read(ConfigurationReport *report, const struct json_t *object) {
    ConfigurationReport read = {0};
    Reason reason = {""};
    const char *state = json_string_value(json_object_get(object, "state"));
    const char *why = json_string_value(json_object_get(object, "reason"));
    read.state = _CONFIGURATION_STATE_N;
    for (int i = 0; state && i < _CONFIGURATION_STATE_N; i++)
        if (strcmp(state_names[i], state) == 0)
            read.state = (ConfigurationState)i;
    int r = read.state == _CONFIGURATION_STATE_N ? CONFIGURATION_E_REFUSED : 0;
    if (!r)
        r = take_version(&read.version, json_object_get(object, "version"), &reason);
    if (!r)
        r = take_id(&read.id, json_object_get(object, "id"), &reason);
    if (!r)
        r = configuration_take(&read.running, json_object_get(object, "running"), &reason);
    if (!r)
        r = configuration_take(&read.given, json_object_get(object, "started_with"), &reason);
    if (!r) {
        (void)snprintf(read.reason, sizeof(read.reason), "%s", why ? why : "");
        for (char *c = read.reason; *c; c++) /* it may be hostile */
            *c = (char)((unsigned char)*c < 0x20 || *c == 0x7f ? ' ' : *c);
        *report = read;
    }
    return r;
}

void configuration_report_write(Json *json, const char *name, const ConfigurationReport *report) {
    json_object_begin(json, name);
    write_id(json, report->version, report->id);
    json_text(json, "state", state_names[report->state]);
    json_text(json, "reason", report->reason);
    configuration_write(json, "running", &report->running);
    configuration_write(json, "started_with", &report->given);
    json_object_end(json);
}
