#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Flow Fields
 *
 * The rows of fields.def as constant data, and access to a record by field.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "flow/record.h"

typedef struct Json Json;

enum {
    FLOW_PEN_IANA = 0,
    FLOW_PEN_REVERSE = 29305, /* RFC 5103 section 6.1 */
    FLOW_PEN_NTOP = 35632,
    FLOW_PEN_WEIR = 32473, /* the documentation number of RFC 5612 until one is assigned */
};

typedef enum FlowDirection {
    FLOW_BOTH,
    FLOW_FORWARD,
    FLOW_REVERSE,
} FlowDirection;

typedef struct FlowField {
    FlowFieldId id;
    const char *name; /* member, JSON, API, filter, column */
    FlowKind kind;
    uint32_t pen;
    uint16_t element;
    uint16_t element_v6; /* 0: the same as element */
    FlowDirection direction;
    bool always; /* written even when zero or empty */
    const char *nprobe_name;
    const char *unit;
    const char *description;
    size_t offset; /* in FlowRecord */
    size_t size;
} FlowField;

/* indexed by FlowFieldId, _FLOW_FIELD_N rows */
extern const FlowField flow_fields[];

/* by name or by nProbe name (any case, with or without %); NULL when there is none */
const FlowField *flow_field_find(const char *name);

/* names of numbers for people, "TCP" of 6; NULL when unknown. More of them: flow/registry.h */
const char *flow_end_reason_name(uint8_t reason);
const char *flow_protocol_name(uint8_t protocol);

static inline const void *flow_field_at(const FlowRecord *record, const FlowField *field) {
    return (const unsigned char *)record + field->offset;
}

/** flow_field_u64() - a number, a time or a MAC as an unsigned integer; 0 of other kinds */
uint64_t flow_field_u64(const FlowRecord *record, const FlowField *field);

/** flow_field_is_set() - not zero, not empty; type and code of an ICMP flow and the code of a DNS
 * answer always are */
bool flow_field_is_set(const FlowRecord *record, const FlowField *field);

/** flow_field_write_json() - one member: numbers as such, addresses, MACs and texts as text */
void flow_field_write_json(const FlowRecord *record, const FlowField *field, Json *json);

/** flow_record_write_json() - one object with the fields that are set or always written */
void flow_record_write_json(const FlowRecord *record, Json *json);

/** flow_fields_write_json() - the rows themselves, an array of one object a field */
void flow_fields_write_json(Json *json);
