#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * IPFIX Layout
 *
 * What goes into a message: which records, in which groups, each group by which template. Records
 * that have the same fields set form a group; groups too small to pay for a template of their own
 * are merged with the one nearest to them. Embedded by value (about 60 KB), nothing is allocated.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/ipfix.h"
#include "flow/field.h"

enum {
    LAYOUT_RECORDS_MAX = 2048, /* of a message; the leanest record has more than 30 bytes */
    LAYOUT_GROUPS_MAX = 24,
    LAYOUT_KINDS = 9, /* of shapes that cannot share a template: each address none, IPv4 or IPv6 */
    LAYOUT_SEEN = 64, /* shapes whose group is remembered */
    SHAPE_WORDS = 2,
};

/* What a record has set, a bit a field; and which of its addresses are IPv6. */
typedef struct Shape {
    uint64_t fields[SHAPE_WORDS];
    uint64_t v6;
} Shape;

/* Records of one shape. */
typedef struct Group {
    Shape shape;
    FlowRecord all;      /* numbers of all its records or-ed, for their width */
    uint64_t text_bytes; /* of the texts, without the first length byte of each */
    size_t n;            /* 0: it was merged into another */
} Group;

/* Numbers of any size are written from their low bytes, so only the width on the wire matters. */
typedef enum EncodeHow {
    HOW_1,
    HOW_2,
    HOW_4,
    HOW_8,
    HOW_ADDRESS,
    HOW_MAPPED, /* an address of either family in 16 bytes */
    HOW_MAC,
    HOW_TEXT,
} EncodeHow;

/* One field of a template, and how to write it. */
typedef struct EncodeOp {
    uint8_t how;
    uint8_t width; /* on the wire; of a text its first length byte */
    uint16_t offset;
    uint16_t element;
    uint32_t pen;
} EncodeOp;

/** encode_op_make() - how to write a field as this element at this width */
EncodeOp encode_op_make(const FlowField *field, uint16_t element, uint8_t width);

typedef struct Template {
    EncodeOp ops[_FLOW_FIELD_N];
    size_t n;
    size_t record_bytes; /* with one length byte for each text */
    uint16_t id;
} Template;

typedef struct Layout {
    Group groups[LAYOUT_GROUPS_MAX];
    Template templates[LAYOUT_GROUPS_MAX];
    size_t n_groups;
    struct {
        Shape shape;
        uint8_t group; /* 1 + its index; 0: nothing here */
    } seen[LAYOUT_SEEN];
    uint8_t group_of[LAYOUT_RECORDS_MAX];
    size_t n; /* records */
} Layout;

/** layout_fill() - as many of the n records as fit, at least one; the bytes of the message */
size_t layout_fill(Layout *layout, const FlowRecord *records, size_t n);

/** layout_text_bytes() - how much of a text is written */
static inline size_t layout_text_bytes(const FlowText *text) {
    return text->size < IPFIX_TEXT_MAX ? text->size : IPFIX_TEXT_MAX;
}
