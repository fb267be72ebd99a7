/* SPDX-License-Identifier: Apache-2.0 */

#include "codec/ipfix-write.h"

#include <endian.h>
#include <string.h>

#include "codec/ipfix-wire.h"

void ipfix_header_write(Buffer *to, uint32_t domain, uint32_t sequence, uint64_t export_ms) {
    buffer_put_u16(to, IPFIX_VERSION);
    buffer_put_u16(to, 0);
    buffer_put_u32(to, (uint32_t)(export_ms / 1000));
    buffer_put_u32(to, sequence);
    buffer_put_u32(to, domain);
}

void ipfix_template_write(Buffer *to, const Template *template) {
    buffer_put_u16(to, template->id);
    buffer_put_u16(to, (uint16_t) template->n);
    for (size_t i = 0; i < template->n; i++) {
        const EncodeOp *op = &template->ops[i];
        buffer_put_u16(to, (uint16_t)(op->element | (op->pen ? IPFIX_ENTERPRISE_BIT : 0)));
        buffer_put_u16(to, op->how == HOW_TEXT ? IPFIX_VARIABLE : op->width);
        if (op->pen)
            buffer_put_u32(to, op->pen);
    }
}

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

/* RFC 4291 section 2.5.5.2; none is :: */
static uint8_t *put_mapped(uint8_t *to, const NetAddress *address) {
    memset(to, 0, 16);
    if (address->family == 4) {
        memset(to + 10, 0xff, 2);
        memcpy(to + 12, address->bytes, 4);
    } else {
        memcpy(to, address->bytes, 16);
    }
    return to + 16;
}

uint8_t *ipfix_record_write(uint8_t *to, const Template *template, const FlowRecord *record) {
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
        case HOW_MAPPED:
            to = put_mapped(to, (const NetAddress *)from);
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
