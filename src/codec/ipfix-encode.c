/* SPDX-License-Identifier: Apache-2.0 */

#include "codec/ipfix.h"

#include <errno.h>
#include <string.h>

#include "base/buffer.h"
#include "base/error.h"
#include "base/hash.h"
#include "codec/ipfix-layout.h"
#include "codec/ipfix-wire.h"
#include "codec/ipfix-write.h"

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

/* --- messages --- */

static void templates_write(Buffer *to, Layout *layout) {
    size_t start = to->size;
    buffer_put_u16(to, IPFIX_SET_TEMPLATE);
    buffer_put_u16(to, 0);
    for (size_t g = 0; g < layout->n_groups; g++)
        if (layout->groups[g].n) {
            template_name(layout, g);
            ipfix_template_write(to, &layout->templates[g]);
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
            at = ipfix_record_write(at, template, &records[i]);
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
    ipfix_header_write(to, domain, sequence, export_ms);
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
    ipfix_header_write(to, domain, sequence, export_ms);
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
