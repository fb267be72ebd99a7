/* SPDX-License-Identifier: Apache-2.0 */

#include "codec/netflow-template.h"

#include <endian.h>
#include <string.h>

#include "codec/ipfix-layout.h"
#include "codec/ipfix-wire.h"

enum { V9_TEXT_BYTES = 48 };

/* --- columns ------------------------------------------------------------------------------ */

/* the field that has this one's value seen from the other side, or the field itself: by names,
 * which say it (rev_x of x, dst_x of src_x, output_x of input_x) */
static const FlowField *counterpart(const FlowField *field) {
    static const struct {
        const char *a, *b;
    } pairs[] = {{"src_", "dst_"}, {"input_", "output_"}, {"vrf_in", "vrf_out"}};
    for (size_t i = 0; i < _FLOW_FIELD_N; i++) {
        const FlowField *other = &flow_fields[i];
        if (strncmp(other->name, "rev_", 4) == 0 && strcmp(other->name + 4, field->name) == 0)
            return other;
        if (strncmp(field->name, "rev_", 4) == 0 && strcmp(field->name + 4, other->name) == 0)
            return other;
        for (size_t k = 0; k < sizeof(pairs) / sizeof(pairs[0]); k++) {
            for (int way = 0; way < 2; way++) {
                const char *from = way ? pairs[k].b : pairs[k].a;
                const char *to = way ? pairs[k].a : pairs[k].b;
                const char *at = strstr(field->name, from);
                const size_t before = at ? (size_t)(at - field->name) : 0;
                if (at && strncmp(other->name, field->name, before) == 0 &&
                    strncmp(other->name + before, to, strlen(to)) == 0 &&
                    strcmp(other->name + before + strlen(to), at + strlen(from)) == 0)
                    return other;
            }
        }
    }
    return field;
}

static NetflowElement v9_element(const FlowField *field) {
    static const struct {
        uint16_t reverse, v9;
    } back[] = {{1, 23}, {2, 24}, {5, 55}, {6, NETFLOW_V9_NTOP + 79}};
    if (field->pen == FLOW_PEN_IANA && (field->kind != FLOW_KIND_ADDRESS || field->element_v6))
        return (NetflowElement){0, field->element, field->element_v6};
    if (field->pen == FLOW_PEN_NTOP)
        return (NetflowElement){0, (uint16_t)(NETFLOW_V9_NTOP + field->element), 0};
    for (size_t i = 0; field->pen == FLOW_PEN_REVERSE && i < sizeof(back) / sizeof(back[0]); i++)
        if (back[i].reverse == field->element)
            return (NetflowElement){0, back[i].v9, 0};
    return (NetflowElement){0};
}

NetflowColumn netflow_column_of_field(FlowFieldId id) {
    const FlowField *field = &flow_fields[id];
    return (NetflowColumn){
        .name = field->name,
        .kind = (uint8_t)field->kind,
        .offset = (uint16_t)field->offset,
        .reverse_offset = (uint16_t)counterpart(field)->offset,
        .size = (uint16_t)field->size,
        .ipfix = {field->pen, field->element, field->element_v6},
        .v9 = v9_element(field),
    };
}

/* --- templates ---------------------------------------------------------------------------- */

static size_t width_of(const NetflowColumn *column, NetflowVersion version, bool v6) {
    const NetflowElement *element = version == NETFLOW_9 ? &column->v9 : &column->ipfix;
    if (column->kind == FLOW_KIND_TEXT && version == NETFLOW_9)
        return column->width ? column->width : V9_TEXT_BYTES;
    if (column->kind == FLOW_KIND_TEXT)
        return 1; /* its length */
    if (column->width)
        return column->width;
    if (column->kind == FLOW_KIND_ADDRESS)
        return !element->number_v6 || v6 ? 16 : 4;
    return column->size;
}

static NetflowHow how_of(const NetflowColumn *column, NetflowVersion version, size_t width) {
    const NetflowElement *element = version == NETFLOW_9 ? &column->v9 : &column->ipfix;
    switch ((FlowKind)column->kind) {
    case FLOW_KIND_ADDRESS:
        return width == 4                            ? NETFLOW_PUT_V4
               : column->width || element->number_v6 ? NETFLOW_PUT_V6
                                                     : NETFLOW_PUT_MAPPED;
    case FLOW_KIND_MAC:
        return NETFLOW_PUT_MAC;
    case FLOW_KIND_TEXT:
        return version == NETFLOW_9 ? NETFLOW_PUT_FIXED : NETFLOW_PUT_TEXT;
    default:
        return width == 8   ? NETFLOW_PUT_8
               : width == 4 ? NETFLOW_PUT_4
               : width == 3 ? NETFLOW_PUT_3
               : width == 2 ? NETFLOW_PUT_2
                            : NETFLOW_PUT_1;
    }
}

/* numbers are written from their low bytes */
static uint16_t low_bytes(const NetflowColumn *column, uint16_t offset, NetflowHow how,
                          size_t width) {
    if (BYTE_ORDER == BIG_ENDIAN && how <= NETFLOW_PUT_8 && how != NETFLOW_PUT_3)
        return (uint16_t)(offset + column->size - width);
    return offset;
}

/* Most fields are numbers of different widths. A switch over them costs more than the bytes do, so
 * they are all written as eight bytes, of which the next field covers those beyond its width. */
static NetflowOp op_make(const NetflowColumn *column, NetflowHow how, size_t width,
                         uint16_t offset) {
    const size_t size = column->made ? sizeof(NetflowMade) : sizeof(FlowRecord);
    const bool plain = how == NETFLOW_PUT_MAC || how == NETFLOW_PUT_V4;
    NetflowOp op = {.how = (uint8_t)how,
                    .made = column->made,
                    .width = (uint16_t)width,
                    .offset = low_bytes(column, offset, how, width)};
    if (BYTE_ORDER != LITTLE_ENDIAN || (how > NETFLOW_PUT_8 && !plain))
        return op;
    /* addresses of the flow itself have the family of the template */
    if (how == NETFLOW_PUT_V4) {
        if (column->made || (offset != flow_fields[FLOW_SRC_IP].offset &&
                             offset != flow_fields[FLOW_DST_IP].offset))
            return op;
        op.offset = (uint16_t)(op.offset + offsetof(NetAddress, bytes));
    }
    if (op.offset + sizeof(uint64_t) > size) {
        op.offset = low_bytes(column, offset, how, width);
        return op;
    }
    op.how = NETFLOW_PUT_WORD;
    op.plain = plain;
    op.shift = (uint8_t)(64 - 8 * width);
    return op;
}

static void template_add(NetflowTemplate *template, const NetflowColumn *column,
                         NetflowVersion version, bool v6) {
    const NetflowElement *element = version == NETFLOW_9 ? &column->v9 : &column->ipfix;
    const size_t width = width_of(column, version, v6);
    const NetflowHow how = how_of(column, version, width);
    const size_t n = template->n++;
    template->elements[n].pen = element->pen;
    template->elements[n].number = v6 && element->number_v6 ? element->number_v6 : element->number;
    template->elements[n].length = how == NETFLOW_PUT_TEXT ? IPFIX_VARIABLE : (uint16_t)width;
    for (int reverse = 0; reverse < 2; reverse++)
        template->ops[reverse][n] =
            op_make(column, how, width, reverse ? column->reverse_offset : column->offset);
    template->record_bytes = (uint16_t)(template->record_bytes + width);
    if (how == NETFLOW_PUT_TEXT)
        template->texts[template->n_texts++] = (uint8_t)n;
}

void netflow_template_make(NetflowTemplate *template, const NetflowFields *fields,
                           NetflowVersion version, bool v6) {
    *template = (NetflowTemplate){.id = template->id};
    for (size_t i = 0; i < fields->n; i++)
        template_add(template, &fields->columns[i], version, v6);
}

size_t netflow_template_bytes(const NetflowTemplate *template) {
    size_t bytes = 4;
    for (size_t i = 0; i < template->n; i++)
        bytes += template->elements[i].pen ? 8 : 4;
    return bytes;
}

void netflow_template_write(Buffer *to, const NetflowTemplate *template) {
    buffer_put_u16(to, template->id);
    buffer_put_u16(to, template->n);
    for (size_t i = 0; i < template->n; i++) {
        const uint32_t pen = template->elements[i].pen;
        buffer_put_u16(to,
                       (uint16_t)(template->elements[i].number | (pen ? IPFIX_ENTERPRISE_BIT : 0)));
        buffer_put_u16(to, template->elements[i].length);
        if (pen)
            buffer_put_u32(to, pen);
    }
}

/* --- records ------------------------------------------------------------------------------ */

static const uint8_t *value_at(const NetflowOp *op, const FlowRecord *record,
                               const NetflowMade *made) {
    return (op->made ? (const uint8_t *)made : (const uint8_t *)record) + op->offset;
}

size_t netflow_record_bytes(const NetflowTemplate *template, const FlowRecord *record,
                            const NetflowMade *made, bool reverse) {
    size_t bytes = template->record_bytes + sizeof(uint64_t);
    for (size_t i = 0; i < template->n_texts; i++) {
        const NetflowOp *op = &template->ops[reverse][template->texts[i]];
        const size_t size = layout_text_bytes((const FlowText *)value_at(op, record, made));
        bytes += size + (size < 255 ? 0 : 2);
    }
    return bytes;
}

static uint8_t *put_text(uint8_t *to, const FlowText *text) {
    const size_t size = layout_text_bytes(text);
    if (size < 255) {
        *to++ = (uint8_t)size;
    } else {
        *to++ = 255;
        *to++ = (uint8_t)(size >> 8);
        *to++ = (uint8_t)size;
    }
    if (size)
        memcpy(to, text->text, size);
    return to + size;
}

static void put_fixed(uint8_t *to, const FlowText *text, size_t width) {
    const size_t size = text->size < width ? text->size : width;
    if (size)
        memcpy(to, text->text, size);
    memset(to + size, 0, width - size);
}

static void put_address(uint8_t *to, const NetAddress *address, NetflowHow how) {
    const size_t width = how == NETFLOW_PUT_V4 ? 4 : 16;
    memset(to, 0, width);
    if (how == NETFLOW_PUT_MAPPED && address->family == 4) { /* RFC 4291 section 2.5.5.2 */
        memset(to + 10, 0xff, 2);
        memcpy(to + 12, address->bytes, 4);
    } else if (address->family == 6 ? width == 16 : how == NETFLOW_PUT_V4) {
        memcpy(to, address->bytes, width);
    }
}

static void put_2(uint8_t *to, const uint8_t *from) {
    uint16_t v = 0;
    memcpy(&v, from, sizeof(v));
    v = htobe16(v);
    memcpy(to, &v, sizeof(v));
}

static void put_4(uint8_t *to, const uint8_t *from) {
    uint32_t v = 0;
    memcpy(&v, from, sizeof(v));
    v = htobe32(v);
    memcpy(to, &v, sizeof(v));
}

static void put_8(uint8_t *to, const uint8_t *from) {
    uint64_t v = 0;
    memcpy(&v, from, sizeof(v));
    v = htobe64(v);
    memcpy(to, &v, sizeof(v));
}

static void put_3(uint8_t *to, const uint8_t *from) {
    uint32_t v = 0;
    memcpy(&v, from, sizeof(v));
    to[0] = (uint8_t)(v >> 16);
    to[1] = (uint8_t)(v >> 8);
    to[2] = (uint8_t)v;
}

static void put_word(uint8_t *to, const uint8_t *from, const NetflowOp *op) {
    uint64_t v = 0;
    memcpy(&v, from, sizeof(v));
    const uint64_t turned = htobe64(v << op->shift);
    v = op->plain ? v : turned;
    memcpy(to, &v, sizeof(v));
}

uint8_t *netflow_record_write(uint8_t *to, const NetflowTemplate *template,
                              const FlowRecord *record, const NetflowMade *made, bool reverse) {
    const NetflowOp *end = template->ops[reverse] + template->n;
    for (const NetflowOp *op = template->ops[reverse]; op < end; op++) {
        const uint8_t *from = value_at(op, record, made);
        if (op->how == NETFLOW_PUT_WORD) {
            put_word(to, from, op);
            to += op->width;
            continue;
        }
        switch ((NetflowHow)op->how) {
        case NETFLOW_PUT_WORD:
            break;
        case NETFLOW_PUT_1:
            *to = *from;
            break;
        case NETFLOW_PUT_2:
            put_2(to, from);
            break;
        case NETFLOW_PUT_3:
            put_3(to, from);
            break;
        case NETFLOW_PUT_4:
            put_4(to, from);
            break;
        case NETFLOW_PUT_8:
            put_8(to, from);
            break;
        case NETFLOW_PUT_V4:
        case NETFLOW_PUT_V6:
        case NETFLOW_PUT_MAPPED:
            put_address(to, (const NetAddress *)from, (NetflowHow)op->how);
            break;
        case NETFLOW_PUT_MAC:
            memcpy(to, from, sizeof(FlowMac));
            break;
        case NETFLOW_PUT_TEXT:
            to = put_text(to, (const FlowText *)from);
            continue;
        case NETFLOW_PUT_FIXED:
            put_fixed(to, (const FlowText *)from, op->width);
            break;
        }
        to += op->width;
    }
    return to;
}
