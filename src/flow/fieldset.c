/* SPDX-License-Identifier: Apache-2.0 */

#include "flow/fieldset.h"

#include <string.h>

#include "flow/field.h"

/* the fields of RFC 3954 that have a counterpart here, and what tells how records belong together:
 * without the rate counts mean nothing, without the id splits of a flow are strangers */
static const FlowFieldId v9_fields[] = {
    FLOW_FIRST_MS,   FLOW_LAST_MS,     FLOW_SRC_IP,    FLOW_DST_IP,        FLOW_SRC_PORT,
    FLOW_DST_PORT,   FLOW_PROTOCOL,    FLOW_VLAN,      FLOW_OCTETS,        FLOW_PACKETS,
    FLOW_REV_OCTETS, FLOW_REV_PACKETS, FLOW_TCP_FLAGS, FLOW_REV_TCP_FLAGS, FLOW_TOS,
    FLOW_REV_TOS,    FLOW_ICMP_TYPE,   FLOW_ICMP_CODE, FLOW_END_REASON,    FLOW_DIRECTION_KNOWN,
    FLOW_FLOW_ID,    FLOW_INPUT_IF,    FLOW_OUTPUT_IF, FLOW_SAMPLING,
};

const FieldSet fieldsets[FIELDSETS_N] = {
    {.name = FIELDSET_USUAL, .description = "Every field."},
    {.name = "v9",
     .description = "What NetFlow v9 records usually have: addresses, ports, times, counts, flags. "
                    "No applications, server names or MAC addresses.",
     .fields = v9_fields,
     .n_fields = sizeof(v9_fields) / sizeof(v9_fields[0])},
};

const char *const fieldset_names[FIELDSETS_N + 1] = {FIELDSET_USUAL, "v9", NULL};

const FieldSet *fieldset_find(const char *name) {
    for (size_t i = 0; i < FIELDSETS_N; i++)
        if (strcmp(fieldsets[i].name, name) == 0)
            return &fieldsets[i];
    return NULL;
}

void fieldset_keep(const FieldSet *set, FlowRecord *record) {
    if (!set->fields)
        return;
    FlowRecord kept = {0};
    for (size_t i = 0; i < set->n_fields; i++) {
        const FlowField *field = &flow_fields[set->fields[i]];
        memcpy((unsigned char *)&kept + field->offset, flow_field_at(record, field), field->size);
    }
    *record = kept;
}
