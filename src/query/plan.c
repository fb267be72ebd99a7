/* SPDX-License-Identifier: Apache-2.0 */

#include "query/plan.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/json.h"

/* names beside those of the field table; these go first */
static const struct {
    const char *name;
    QueryField field;
} names[] = {
    {"ip", QUERY_FIELD_IP},        {"host", QUERY_FIELD_IP},
    {"port", QUERY_FIELD_PORT},    {"bytes", QUERY_FIELD_BYTES},
    {"octets", QUERY_FIELD_BYTES}, {"packets", QUERY_FIELD_PACKETS},
    {"app", FLOW_APP_NAME},        {"category", FLOW_APP_CATEGORY},
    {"proto", FLOW_PROTOCOL},      {"duration", QUERY_FIELD_DURATION},
};

static const struct {
    const char *name;
    FlowKind kind;
    FlowFieldId fields[2];
} pseudo[] = {
    [QUERY_FIELD_IP - _FLOW_FIELD_N] = {"ip", FLOW_KIND_ADDRESS, {FLOW_SRC_IP, FLOW_DST_IP}},
    [QUERY_FIELD_PORT - _FLOW_FIELD_N] = {"port", FLOW_KIND_U16, {FLOW_SRC_PORT, FLOW_DST_PORT}},
    [QUERY_FIELD_BYTES - _FLOW_FIELD_N] = {"bytes", FLOW_KIND_U64, {FLOW_OCTETS, FLOW_REV_OCTETS}},
    [QUERY_FIELD_PACKETS -
        _FLOW_FIELD_N] = {"packets", FLOW_KIND_U64, {FLOW_PACKETS, FLOW_REV_PACKETS}},
    [QUERY_FIELD_DURATION -
        _FLOW_FIELD_N] = {"duration", FLOW_KIND_U64, {FLOW_LAST_MS, FLOW_FIRST_MS}},
};

bool query_field_find(QueryField *fieldp, const char *name, size_t size) {
    char text[64];
    if (size >= sizeof(text))
        return false;
    for (size_t i = 0; i < size; i++)
        text[i] = name[i] >= 'A' && name[i] <= 'Z' ? (char)(name[i] + 32) : name[i];
    text[size] = 0;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(names[i].name, text) == 0) {
            *fieldp = names[i].field;
            return true;
        }
    }
    const FlowField *field = flow_field_find(text);
    if (field)
        *fieldp = (QueryField)field->id;
    return field != NULL;
}

const char *query_field_name(QueryField field) {
    return field < _FLOW_FIELD_N ? flow_fields[field].name : pseudo[field - _FLOW_FIELD_N].name;
}

FlowKind query_field_kind(QueryField field) {
    return field < _FLOW_FIELD_N ? flow_fields[field].kind : pseudo[field - _FLOW_FIELD_N].kind;
}

bool query_metric_find(QueryMetric *metricp, const char *name) {
    static const char *const metrics[] = {
        [QUERY_OCTETS] = "octets",
        [QUERY_PACKETS] = "packets",
        [QUERY_FLOW_COUNT] = "flows",
    };
    for (size_t i = 0; i < sizeof(metrics) / sizeof(metrics[0]); i++) {
        if (strcmp(metrics[i], name) == 0) {
            *metricp = (QueryMetric)i;
            return true;
        }
    }
    return false;
}

static QueryValue value_of(const FlowRecord *record, FlowFieldId id) {
    const FlowField *field = &flow_fields[id];
    const void *at = flow_field_at(record, field);
    QueryValue value = {0};
    if (field->kind == FLOW_KIND_ADDRESS) {
        value.address = *(const NetAddress *)at;
        value.prefix_bits = (uint8_t)(net_address_bytes(&value.address) * 8);
    } else if (field->kind == FLOW_KIND_TEXT) {
        value.text = *(const FlowText *)at;
    } else {
        value.number = flow_field_u64(record, field);
    }
    return value;
}

size_t query_field_values(const FlowRecord *record, QueryField field, QueryValue values[2]) {
    if (field < _FLOW_FIELD_N) {
        values[0] = value_of(record, (FlowFieldId)field);
        return 1;
    }
    for (size_t i = 0; i < 2; i++)
        values[i] = value_of(record, pseudo[field - _FLOW_FIELD_N].fields[i]);
    if (field == QUERY_FIELD_IP || field == QUERY_FIELD_PORT)
        return 2;
    if (field == QUERY_FIELD_DURATION)
        values[0].number -=
            values[1].number < values[0].number ? values[1].number : values[0].number;
    else
        values[0].number += values[1].number;
    return 1;
}

void query_value_write_json(QueryField field, const QueryValue *value, Json *json,
                            const char *name) {
    char text[NET_ADDRESS_TEXT_MAX];
    switch (query_field_kind(field)) {
    case FLOW_KIND_ADDRESS:
        json_text(json, name, net_address_format(&value->address, text));
        break;
    case FLOW_KIND_TEXT:
        json_textn(json, name, value->text.size ? value->text.text : "", value->text.size);
        break;
    case FLOW_KIND_MAC:
        (void)snprintf(
            text, sizeof(text), "%02x:%02x:%02x:%02x:%02x:%02x",
            (unsigned)(value->number >> 40) & 0xff, (unsigned)(value->number >> 32) & 0xff,
            (unsigned)(value->number >> 24) & 0xff, (unsigned)(value->number >> 16) & 0xff,
            (unsigned)(value->number >> 8) & 0xff, (unsigned)value->number & 0xff);
        json_text(json, name, text);
        break;
    default:
        json_u64(json, name, value->number);
    }
}

/* plans */

static int refuse(Reason *reason, const char *text) {
    reason_set(reason, "%s", text);
    return QUERY_E_REFUSED;
}

static int check_series(const QueryPlan *plan, Reason *reason) {
    if (plan->step_ms == 0)
        return refuse(reason, "a series needs a step of at least 1 ms");
    uint64_t keys = plan->group_n ? (uint64_t)plan->limit + 1 : 1;
    uint64_t steps = (plan->to_ms - plan->from_ms) / plan->step_ms + 2;
    if (steps > QUERY_SERIES_MAX || steps * keys > QUERY_SERIES_MAX) {
        reason_set(reason,
                   "this series would have %" PRIu64 " steps of up to %" PRIu64
                   " values, more than %d together: take a longer step or a smaller limit",
                   steps, keys, QUERY_SERIES_MAX);
        return QUERY_E_REFUSED;
    }
    return 0;
}

int query_plan_check(const QueryPlan *plan, Reason *reason) {
    if (plan->from_ms >= plan->to_ms)
        return refuse(reason, "the time range is empty: from must be before to");
    bool limited = plan->kind != QUERY_TOTALS && !(plan->kind == QUERY_SERIES && !plan->group_n);
    if (limited && (plan->limit == 0 || plan->limit > QUERY_LIMIT_MAX)) {
        reason_set(reason, "limit is %" PRIu32 ", it takes 1 to %d", plan->limit, QUERY_LIMIT_MAX);
        return QUERY_E_REFUSED;
    }
    if (plan->kind == QUERY_FLOWS &&
        (plan->sort == QUERY_FIELD_IP || plan->sort == QUERY_FIELD_PORT ||
         plan->sort >= _QUERY_FIELD_N))
        return refuse(reason,
                      "flows are sorted by a field with one value: src_ip or dst_ip, not ip");
    if (plan->group_n > QUERY_GROUP_MAX)
        return refuse(reason, "at most 4 fields to group by");
    if (plan->kind == QUERY_TOP && plan->group_n == 0)
        return refuse(reason, "a top list needs a field to group by");
    for (size_t i = 0; i < plan->group_n; i++)
        if (plan->group[i] >= QUERY_FIELD_BYTES)
            return refuse(reason, "bytes, packets and duration are not something to group by");
    return plan->kind == QUERY_SERIES ? check_series(plan, reason) : 0;
}
