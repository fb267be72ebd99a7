/* SPDX-License-Identifier: Apache-2.0 */

#include "flow/field.h"

#include <string.h>
#include <strings.h>

enum { SHOW_WHEN_SET = false, SHOW_ALWAYS = true };

/* clang-format off */
const FlowField flow_fields[_FLOW_FIELD_N] = {
#define FLOW_FIELD(field_id, member, field_kind, field_pen, iana, iana_v6, way, show, nprobe,      \
                   field_unit, text)                                                               \
    [FLOW_##field_id] = {                                                                          \
        .id = FLOW_##field_id,                                                                     \
        .name = #member,                                                                           \
        .kind = FLOW_KIND_##field_kind,                                                            \
        .pen = (field_pen),                                                                        \
        .element = (iana),                                                                         \
        .element_v6 = (iana_v6),                                                                   \
        .direction = FLOW_##way,                                                                   \
        .always = SHOW_##show,                                                                     \
        .nprobe_name = (nprobe),                                                                   \
        .unit = (field_unit),                                                                      \
        .description = (text),                                                                     \
        .offset = offsetof(FlowRecord, member),                                                    \
        .size = sizeof(((FlowRecord *)NULL)->member),                                              \
    },
#include "flow/fields.def"
#undef FLOW_FIELD
};
/* clang-format on */

const FlowField *flow_field_find(const char *name) {
    if (name[0] == '%')
        name++;
    if (name[0] == 0)
        return NULL;
    for (size_t i = 0; i < _FLOW_FIELD_N; i++)
        if (strcmp(flow_fields[i].name, name) == 0 ||
            strcasecmp(flow_fields[i].nprobe_name, name) == 0)
            return &flow_fields[i];
    return NULL;
}

const char *flow_end_reason_name(uint8_t reason) {
    static const char *const names[] = {
        [FLOW_END_IDLE] = "idle timeout",           [FLOW_END_ACTIVE] = "active timeout",
        [FLOW_END_DETECTED] = "end of flow seen",   [FLOW_END_FORCED] = "probe stopped",
        [FLOW_END_RESOURCES] = "lack of resources",
    };
    return reason < sizeof(names) / sizeof(names[0]) ? names[reason] : NULL;
}

uint64_t flow_field_u64(const FlowRecord *record, const FlowField *field) {
    const void *at = flow_field_at(record, field);
    uint64_t v = 0;
    switch (field->kind) {
    case FLOW_KIND_U8:
        return *(const uint8_t *)at;
    case FLOW_KIND_U16:
        return *(const uint16_t *)at;
    case FLOW_KIND_U32:
        return *(const uint32_t *)at;
    case FLOW_KIND_U64:
    case FLOW_KIND_TIME_MS:
        return *(const uint64_t *)at;
    case FLOW_KIND_MAC:
        for (size_t i = 0; i < sizeof(FlowMac); i++)
            v = (v << 8) | ((const FlowMac *)at)->bytes[i];
        return v;
    case FLOW_KIND_ADDRESS:
    case FLOW_KIND_TEXT:
        break;
    }
    return 0;
}

/* type 0 is an echo reply, code 0 of an answered DNS query no error */
static bool is_zero_a_value(const FlowRecord *record, FlowFieldId id) {
    if (id == FLOW_ICMP_TYPE || id == FLOW_ICMP_CODE)
        return flow_record_is_icmp(record);
    return id == FLOW_DNS_RCODE && record->dns_type && record->rev_packets;
}

/* asked of every field of every record that is written as JSON */
bool flow_field_is_set(const FlowRecord *record, const FlowField *field) {
    const void *at = flow_field_at(record, field);
    switch (field->kind) {
    case FLOW_KIND_U8:
        if (*(const uint8_t *)at)
            return true;
        return is_zero_a_value(record, field->id);
    case FLOW_KIND_U16:
        return *(const uint16_t *)at != 0;
    case FLOW_KIND_U32:
        return *(const uint32_t *)at != 0;
    case FLOW_KIND_U64:
    case FLOW_KIND_TIME_MS:
        return *(const uint64_t *)at != 0;
    case FLOW_KIND_ADDRESS:
        return ((const NetAddress *)at)->family != 0;
    case FLOW_KIND_TEXT:
        return ((const FlowText *)at)->size > 0;
    case FLOW_KIND_MAC:
        break;
    }
    return flow_field_u64(record, field) != 0;
}
