/* SPDX-License-Identifier: Apache-2.0 */

#include "base/json.h"
#include "flow/field.h"
#include "flow/registry.h"

static void write_mac(Json *json, const char *name, const FlowMac *mac) {
    static const char digits[] = "0123456789abcdef";
    char text[3 * sizeof(mac->bytes)];
    for (size_t i = 0; i < sizeof(mac->bytes); i++) {
        text[3 * i] = digits[mac->bytes[i] >> 4];
        text[3 * i + 1] = digits[mac->bytes[i] & 15];
        text[3 * i + 2] = ':';
    }
    json_textn(json, name, text, sizeof(text) - 1);
}

void flow_field_write_json(const FlowRecord *record, const FlowField *field, Json *json) {
    const void *at = flow_field_at(record, field);
    switch (field->kind) {
    case FLOW_KIND_ADDRESS: {
        char text[NET_ADDRESS_TEXT_MAX];
        json_text(json, field->name, net_address_format(at, text));
        break;
    }
    case FLOW_KIND_MAC:
        write_mac(json, field->name, at);
        break;
    case FLOW_KIND_TEXT: {
        const FlowText *text = at;
        json_textn(json, field->name, text->text, text->size);
        break;
    }
    default:
        json_u64(json, field->name, flow_field_u64(record, field));
    }
}

void flow_record_write_json(const FlowRecord *record, Json *json) {
    json_object_begin(json, NULL);
    for (size_t i = 0; i < _FLOW_FIELD_N; i++) {
        const FlowField *field = &flow_fields[i];
        if (field->always || flow_field_is_set(record, field))
            flow_field_write_json(record, field, json);
    }
    json_object_end(json);
}

static const char *kind_name(FlowKind kind) {
    static const char *const names[] = {
        [FLOW_KIND_U8] = "u8",   [FLOW_KIND_U16] = "u16",         [FLOW_KIND_U32] = "u32",
        [FLOW_KIND_U64] = "u64", [FLOW_KIND_TIME_MS] = "time_ms", [FLOW_KIND_ADDRESS] = "address",
        [FLOW_KIND_MAC] = "mac", [FLOW_KIND_TEXT] = "text",
    };
    return names[kind];
}

static const char *direction_name(FlowDirection direction) {
    static const char *const names[] = {
        [FLOW_BOTH] = "both", [FLOW_FORWARD] = "forward", [FLOW_REVERSE] = "reverse"};
    return names[direction];
}

static void write_element(Json *json, const char *name, uint32_t pen, uint16_t number) {
    const FlowElement *element = number ? flow_element_find(pen, number) : NULL;
    json_text(json, name, element ? element->name : "");
}

void flow_fields_write_json(Json *json) {
    json_array_begin(json, NULL);
    for (size_t i = 0; i < _FLOW_FIELD_N; i++) {
        const FlowField *field = &flow_fields[i];
        json_object_begin(json, NULL);
        json_text(json, "name", field->name);
        json_text(json, "kind", kind_name(field->kind));
        json_text(json, "unit", field->unit);
        json_text(json, "direction", direction_name(field->direction));
        json_bool(json, "always", field->always);
        json_text(json, "nprobe_name", field->nprobe_name);
        json_u64(json, "pen", field->pen);
        json_u64(json, "element", field->element);
        json_u64(json, "element_v6", field->element_v6);
        write_element(json, "element_name", field->pen, field->element);
        write_element(json, "element_v6_name", field->pen, field->element_v6);
        json_text(json, "description", field->description);
        json_object_end(json);
    }
    json_array_end(json);
}
