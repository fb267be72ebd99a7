/* SPDX-License-Identifier: Apache-2.0 */

#include "codec/ipfix.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

#include "base/buffer.h"
#include "base/error.h"
#include "base/hash.h"
#include "codec/ipfix-layout.h"
#include "codec/ipfix-wire.h"

static void template_write(Buffer *to, Template *template) {
    size_t start = to->size;
    buffer_put_u16(to, 0);
    buffer_put_u16(to, (uint16_t) template->n);
    for (size_t i = 0; i < template->n; i++) {
        const EncodeOp *op = &template->ops[i];
        buffer_put_u16(to, (uint16_t)(op->element | (op->pen ? IPFIX_ENTERPRISE_BIT : 0)));
        buffer_put_u16(to, op->how == HOW_TEXT ? IPFIX_VARIABLE : op->width);
        if (op->pen)
            buffer_put_u32(to, op->pen);
    }
    if (!to->failed)
        buffer_patch_u16(to, start, template->id);
}

/* An id drawn from what the template says, so that it means the same in every message. */
static void template_name(Layout *layout, size_t g) {
    Template *t = &layout->templates[g];
    uint64_t h = t->n;
    for (size_t k = 0; k < t->n; k++)
        h = hash_u64(((uint64_t)t->ops[k].pen << 32) | ((uint64_t)t->ops[k].element << 16) |
                         ((uint64_t)t->ops[k].how << 8) | t->ops[k].width,
                     h);
    t->id = (uint16_t)(IPFIX_SET_DATA + h % (65536 - IPFIX_SET_DATA));
    for (size_t k = 0; k < g; k++)
        if (layout->groups[k].n && layout->templates[k].id == t->id) {
            t->id = t->id == UINT16_MAX ? IPFIX_SET_DATA : (uint16_t)(t->id + 1);
            k = (size_t)-1; /* start over: the next one may be taken too */
        }
}

/* --- records --- */

static inline uint8_t *put_2(uint8_t *to, const uint8_t *from) {
    uint16_t v = 0;
    memcpy(&v, from, sizeof(v));
    v = htobe16(v);
    memcpy(to, &v, sizeof(v));
    return to + sizeof(v);
}

static inline uint8_t *put_4(uint8_t *to, const uint8_t *from) {
    uint32_t v = 0;
    memcpy(&v, from, sizeof(v));
    v = htobe32(v);
    memcpy(to, &v, sizeof(v));
    return to + sizeof(v);
}

static inline uint8_t *put_8(uint8_t *to, const uint8_t *from) {
    uint64_t v = 0;
    memcpy(&v, from, sizeof(v));
    v = htobe64(v);
    memcpy(to, &v, sizeof(v));
    return to + sizeof(v);
}

static uint8_t *put_text(uint8_t *to, const FlowText *text) {
    size_t size = layout_text_bytes(text);
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

static uint8_t *record_write(uint8_t *to, const Template *template, const FlowRecord *record) {
    for (size_t i = 0; i < template->n; i++) {
        const EncodeOp *op = &template->ops[i];
        const uint8_t *from = (const uint8_t *)record + op->offset;
        switch ((EncodeHow)op->how) {
        case HOW_1:
            *to++ = *from;
            break;
        case HOW_2:
            to = put_2(to, from);
            break;
        case HOW_4:
            to = put_4(to, from);
            break;
        case HOW_8:
            to = put_8(to, from);
            break;
        case HOW_ADDRESS:
            memcpy(to, ((const NetAddress *)from)->bytes, op->width);
            to += op->width;
            break;
        case HOW_MAC:
            memcpy(to, from, 6);
            to += 6;
            break;
        case HOW_TEXT:
            to = put_text(to, (const FlowText *)from);
            break;
        }
    }
    return to;
}

/* --- messages --- */

static void header_write(Buffer *to, uint32_t domain, uint32_t sequence, uint64_t export_ms) {
    buffer_put_u16(to, IPFIX_VERSION);
    buffer_put_u16(to, 0);
    buffer_put_u32(to, (uint32_t)(export_ms / 1000));
    buffer_put_u32(to, sequence);
    buffer_put_u32(to, domain);
}

static void templates_write(Buffer *to, Layout *layout) {
    size_t start = to->size;
    buffer_put_u16(to, IPFIX_SET_TEMPLATE);
    buffer_put_u16(to, 0);
    for (size_t g = 0; g < layout->n_groups; g++)
        if (layout->groups[g].n) {
            template_name(layout, g);
            template_write(to, &layout->templates[g]);
        }
    buffer_patch_u16(to, start + 2, (uint16_t)(to->size - start));
}

static void data_write(Buffer *to, const Layout *layout, size_t g, const FlowRecord *records) {
    const Group *group = &layout->groups[g];
    const Template *template = &layout->templates[g];
    size_t bytes = IPFIX_SET_HEADER_BYTES + group->n * template->record_bytes + group->text_bytes;
    buffer_put_u16(to, template->id);
    buffer_put_u16(to, (uint16_t)bytes);
    uint8_t *at = to->bytes + to->size;
    for (size_t i = 0; i < layout->n; i++)
        if (layout->group_of[i] == g)
            at = record_write(at, template, &records[i]);
    to->size = (size_t)(at - to->bytes);
}

int ipfix_encode(Buffer *to, const FlowRecord *records, size_t n, size_t *takenp, uint32_t domain,
                 uint32_t sequence, uint64_t export_ms) {
    Layout layout;
    size_t bytes = layout_fill(&layout, records, n);

    /* with the room for all of it taken here, nothing below can fail */
    if (!buffer_reserve(to, bytes))
        return error_origin(-ENOMEM);
    size_t start = to->size;
    header_write(to, domain, sequence, export_ms);
    if (layout.n > 0)
        templates_write(to, &layout);
    for (size_t g = 0; g < layout.n_groups; g++)
        if (layout.groups[g].n)
            data_write(to, &layout, g, records);
    buffer_patch_u16(to, start + 2, (uint16_t)(to->size - start));
    *takenp = layout.n;
    return 0;
}

int ipfix_encode_gap(Buffer *to, const IpfixGap *gap, uint32_t domain, uint32_t sequence,
                     uint64_t export_ms) {
    static const struct {
        uint16_t element, width;
    } fields[] = {
        {IPFIX_EXPORTING_PROCESS_ID, 4},
        {IPFIX_NOT_SENT_FLOWS, 8},
        {IPFIX_NOT_SENT_PACKETS, 8},
        {IPFIX_NOT_SENT_OCTETS, 8},
    };
    enum { FIELDS = sizeof(fields) / sizeof(fields[0]), TEMPLATE_BYTES = 6 + 4 * FIELDS };
    size_t start = to->size;
    header_write(to, domain, sequence, export_ms);
    buffer_put_u16(to, IPFIX_SET_OPTIONS);
    buffer_put_u16(to, IPFIX_SET_HEADER_BYTES + TEMPLATE_BYTES);
    buffer_put_u16(to, IPFIX_SET_DATA);
    buffer_put_u16(to, FIELDS);
    buffer_put_u16(to, 1); /* scope fields */
    for (size_t i = 0; i < FIELDS; i++) {
        buffer_put_u16(to, fields[i].element);
        buffer_put_u16(to, fields[i].width);
    }
    buffer_put_u16(to, IPFIX_SET_DATA);
    buffer_put_u16(to, IPFIX_SET_HEADER_BYTES + 4 + 3 * 8);
    buffer_put_u32(to, gap->process_id);
    buffer_put_u64(to, gap->flows);
    buffer_put_u64(to, gap->packets);
    buffer_put_u64(to, gap->octets);
    if (to->failed)
        return error_origin(-ENOMEM);
    buffer_patch_u16(to, start + 2, (uint16_t)(to->size - start));
    return 0;
}
