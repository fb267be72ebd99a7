/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Three passes over the records of a message: sort them into groups by what they have set, merge
 * groups that are too small to pay for a template, write. Nothing is allocated but the output.
 */

#include "codec/ipfix.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

#include "base/buffer.h"
#include "base/error.h"
#include "base/hash.h"
#include "codec/ipfix-wire.h"
#include "flow/field.h"

enum {
    RECORDS_MAX = 2048,  /* of a message; the leanest record has more than 30 bytes */
    GROUPS_MAX = 24,     /* a shape beyond these joins the nearest group */
    SEEN = 64,           /* shapes whose group is remembered */
    TEMPLATE_COST = 160, /* a template weighs, compressed, what this many absent fields do */
};

/* What a record has set, a bit a field; and which of its addresses are IPv6. */
typedef struct Shape {
    uint64_t fields;
    uint64_t v6;
} Shape;

typedef struct Group {
    Shape shape;
    FlowRecord all; /* numbers of all its records or-ed, for their width */
    uint64_t longest_ms;
    uint64_t text_bytes; /* of the texts, without the first length byte of each */
    size_t n;
    bool backwards; /* a record ends before it begins */
} Group;

/* Numbers of any size are written from their low bytes, so only the width on the wire matters. */
typedef enum EncodeHow {
    HOW_1,
    HOW_2,
    HOW_4,
    HOW_8,
    HOW_DURATION,
    HOW_ADDRESS,
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

typedef struct Template {
    EncodeOp ops[_FLOW_FIELD_N];
    size_t n;
    size_t record_bytes; /* with one length byte for each text */
    uint16_t id;
} Template;

typedef struct Layout {
    Group groups[GROUPS_MAX];
    size_t n_groups;
    struct {
        Shape shape;
        uint8_t group; /* 1 + its index; 0: nothing here */
    } seen[SEEN];
    uint8_t group_of[RECORDS_MAX];
    size_t n;
} Layout;

_Static_assert(_FLOW_FIELD_N <= 64, "a Shape has a bit a field");

/* --- what a record has set, straight off the rows --- */

static const uint64_t address_fields = (1ull << FLOW_SRC_IP) | (1ull << FLOW_DST_IP);

#define SET_U8(v)       ((v) != 0)
#define SET_U16(v)      ((v) != 0)
#define SET_U32(v)      ((v) != 0)
#define SET_U64(v)      ((v) != 0)
#define SET_TIME_MS(v)  ((v) != 0)
#define SET_ADDRESS(v)  ((v).family != 0)
#define SET_MAC(v)      (memcmp((v).bytes, (uint8_t[6]){0}, 6) != 0)
#define SET_TEXT(v)     ((v).size != 0)
#define ALWAYS_ALWAYS   1
#define ALWAYS_WHEN_SET 0

static inline bool is_v6(const NetAddress *address) {
    return address->family == 6;
}

static Shape shape_of(const FlowRecord *record) {
    uint64_t fields = 0;
#define FLOW_FIELD(id, member, kind, pen, element, v6, way, show, ...)                             \
    if (element)                                                                                   \
        fields |= (uint64_t)(ALWAYS_##show || SET_##kind(record->member)) << FLOW_##id;
#include "flow/fields.def"
#undef FLOW_FIELD
    /* an address is there or not, whatever its row says: a record without one is not IP */
    fields &= ~address_fields;
    fields |= (uint64_t)(record->src_ip.family != 0) << FLOW_SRC_IP;
    fields |= (uint64_t)(record->dst_ip.family != 0) << FLOW_DST_IP;
    uint64_t v6 = ((uint64_t)is_v6(&record->src_ip) << FLOW_SRC_IP) |
                  ((uint64_t)is_v6(&record->dst_ip) << FLOW_DST_IP);
    return (Shape){.fields = fields, .v6 = v6};
}

static size_t text_size(const FlowText *text) {
    return text->size < IPFIX_TEXT_MAX ? text->size : IPFIX_TEXT_MAX;
}

#define GATHER_U8(g, r, member)
#define GATHER_U16(g, r, member) ((g)->all.member = (uint16_t)((g)->all.member | (r)->member))
#define GATHER_U32(g, r, member) ((g)->all.member |= (r)->member)
#define GATHER_U64(g, r, member) ((g)->all.member |= (r)->member)
#define GATHER_TIME_MS(g, r, member)
#define GATHER_ADDRESS(g, r, member)
#define GATHER_MAC(g, r, member)
#define GATHER_TEXT(g, r, member)                                                                  \
    ((g)->text_bytes += text_size(&(r)->member) + (text_size(&(r)->member) < 255 ? 0 : 2))

static void group_take(Group *group, const FlowRecord *record) {
#define FLOW_FIELD(id, member, kind, ...) GATHER_##kind(group, record, member);
#include "flow/fields.def"
#undef FLOW_FIELD
    uint64_t ms = record->last_ms - record->first_ms;
    if (record->last_ms < record->first_ms || ms > UINT32_MAX)
        group->backwards = true;
    else if (ms > group->longest_ms)
        group->longest_ms = ms;
    group->n++;
}

/* --- groups --- */

static bool may_share(Shape a, Shape b) {
    return a.v6 == b.v6 && ((a.fields ^ b.fields) & address_fields) == 0;
}

static size_t absent(uint64_t fields, uint64_t of) {
    return (size_t)__builtin_popcountll(of & ~fields);
}

/* fields written though absent, if a group of n records shared a template with one of m */
static size_t share_cost(Shape a, size_t n, Shape b, size_t m) {
    return absent(a.fields, b.fields) * n + absent(b.fields, a.fields) * m;
}

static void group_merge(Group *a, const Group *b) {
    a->shape.fields |= b->shape.fields;
#define MERGE_U8(member)
#define MERGE_U16(member) a->all.member = (uint16_t)(a->all.member | b->all.member);
#define MERGE_U32(member) a->all.member |= b->all.member;
#define MERGE_U64(member) a->all.member |= b->all.member;
#define MERGE_TIME_MS(member)
#define MERGE_ADDRESS(member)
#define MERGE_MAC(member)
#define MERGE_TEXT(member)
#define FLOW_FIELD(id, member, kind, ...) MERGE_##kind(member)
#include "flow/fields.def"
#undef FLOW_FIELD
    a->text_bytes += b->text_bytes;
    a->n += b->n;
    a->backwards |= b->backwards;
    if (b->longest_ms > a->longest_ms)
        a->longest_ms = b->longest_ms;
}

/* merge the pair that costs least, if it costs less than the limit; the last group fills the gap */
static bool layout_merge(Layout *layout, size_t limit) {
    size_t best = limit;
    size_t best_a = 0;
    size_t best_b = 0;
    for (size_t a = 0; a < layout->n_groups; a++)
        for (size_t b = a + 1; b < layout->n_groups; b++) {
            const Group *x = &layout->groups[a];
            const Group *y = &layout->groups[b];
            if (!may_share(x->shape, y->shape))
                continue;
            size_t cost = share_cost(x->shape, x->n, y->shape, y->n);
            if (cost < best) {
                best = cost;
                best_a = a;
                best_b = b;
            }
        }
    if (best == limit)
        return false;

    group_merge(&layout->groups[best_a], &layout->groups[best_b]);
    size_t last = --layout->n_groups;
    if (best_b != last)
        layout->groups[best_b] = layout->groups[last];
    for (size_t i = 0; i < layout->n; i++) {
        if (layout->group_of[i] == best_b)
            layout->group_of[i] = (uint8_t)best_a;
        else if (layout->group_of[i] == last)
            layout->group_of[i] = (uint8_t)best_b;
    }
    return true;
}

static size_t layout_add_group(Layout *layout, Shape shape) {
    layout->groups[layout->n_groups] = (Group){.shape = shape};
    return layout->n_groups++;
}

/* the group of records of this very shape, or when there are too many the nearest one */
static size_t layout_search(Layout *layout, Shape shape) {
    size_t best = SIZE_MAX;
    size_t nearest = 0;
    for (size_t i = 0; i < layout->n_groups; i++) {
        const Group *group = &layout->groups[i];
        if (!may_share(group->shape, shape))
            continue;
        size_t cost = share_cost(group->shape, group->n, shape, 1);
        if (cost < best) {
            best = cost;
            nearest = i;
        }
    }
    if (best == 0)
        return nearest;
    if (layout->n_groups < GROUPS_MAX)
        return layout_add_group(layout, shape);
    if (best < SIZE_MAX) {
        layout->groups[nearest].shape.fields |= shape.fields;
        return nearest;
    }
    /* there are 9 kinds of shape that cannot share, so among GROUPS_MAX groups some can */
    (void)layout_merge(layout, SIZE_MAX);
    memset(layout->seen, 0, sizeof(layout->seen));
    return layout_add_group(layout, shape);
}

static size_t layout_find(Layout *layout, Shape shape) {
    size_t at = (size_t)(hash_u64(shape.fields, shape.v6) % SEEN);
    if (layout->seen[at].group && layout->seen[at].shape.fields == shape.fields &&
        layout->seen[at].shape.v6 == shape.v6)
        return layout->seen[at].group - (size_t)1;
    size_t g = layout_search(layout, shape);
    layout->seen[at].shape = shape;
    layout->seen[at].group = (uint8_t)(g + 1);
    return g;
}

static void layout_reset(Layout *layout) {
    layout->n = 0;
    layout->n_groups = 0;
    memset(layout->seen, 0, sizeof(layout->seen));
}

/* take records in until there are n */
static void layout_take(Layout *layout, const FlowRecord *records, size_t n) {
    for (size_t i = layout->n; i < n; i++) {
        size_t g = layout_find(layout, shape_of(&records[i]));
        layout->group_of[i] = (uint8_t)g;
        layout->n = i + 1;
        group_take(&layout->groups[g], &records[i]);
    }
}

/* --- templates --- */

static uint8_t number_width(uint64_t all, size_t at_most) {
    uint8_t width = all > UINT32_MAX ? 8 : all > UINT16_MAX ? 4 : all > UINT8_MAX ? 2 : 1;
    return width < at_most ? width : (uint8_t)at_most;
}

/* Counters get the width they need; ports and ids keep theirs, which every reader expects, and so
 * do times (section 6.2 allows no less). */
static uint8_t op_width(const Group *group, const FlowField *field, bool v6) {
    switch (field->kind) {
    case FLOW_KIND_U32:
    case FLOW_KIND_U64:
        return number_width(flow_field_u64(&group->all, field), field->size);
    case FLOW_KIND_U16:
        if (field->id == FLOW_TCP_FLAGS || field->id == FLOW_REV_TCP_FLAGS)
            return number_width(flow_field_u64(&group->all, field), field->size);
        return 2;
    case FLOW_KIND_ADDRESS:
        return v6 ? 16 : 4;
    case FLOW_KIND_TEXT:
        return 1;
    default:
        return (uint8_t)field->size;
    }
}

static EncodeHow op_how(FlowKind kind, uint8_t width) {
    switch (kind) {
    case FLOW_KIND_ADDRESS:
        return HOW_ADDRESS;
    case FLOW_KIND_MAC:
        return HOW_MAC;
    case FLOW_KIND_TEXT:
        return HOW_TEXT;
    default:
        return width == 8 ? HOW_8 : width == 4 ? HOW_4 : width == 2 ? HOW_2 : HOW_1;
    }
}

static EncodeOp op_make(const Group *group, const FlowField *field) {
    bool v6 = field->kind == FLOW_KIND_ADDRESS ? (group->shape.v6 >> field->id) & 1
                                               : group->shape.v6 != 0;
    EncodeOp op = {.pen = field->pen,
                   .element = v6 && field->element_v6 ? field->element_v6 : field->element,
                   .offset = (uint16_t)field->offset};
    if (field->id == FLOW_LAST_MS && !group->backwards) {
        op.how = HOW_DURATION;
        op.width = number_width(group->longest_ms, 4);
        op.element = IPFIX_FLOW_DURATION_MS;
        return op;
    }
    op.width = op_width(group, field, v6);
    op.how = (uint8_t)op_how(field->kind, op.width);
    if (BYTE_ORDER == BIG_ENDIAN && op.how <= HOW_8)
        op.offset = (uint16_t)(op.offset + field->size - op.width);
    return op;
}

static void template_make(Template *template, const Group *group) {
    template->n = 0;
    template->record_bytes = 0;
    for (uint64_t left = group->shape.fields; left; left &= left - 1) {
        const FlowField *field = &flow_fields[__builtin_ctzll(left)];
        EncodeOp op = op_make(group, field);
        template->ops[template->n++] = op;
        template->record_bytes += op.width;
    }
}

static size_t template_bytes(const Template *template) {
    size_t bytes = 4;
    for (size_t i = 0; i < template->n; i++)
        bytes += template->ops[i].pen ? 8 : 4;
    return bytes;
}

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
static void template_name(Template *templates, size_t i) {
    const Template *t = &templates[i];
    uint64_t h = t->n;
    for (size_t k = 0; k < t->n; k++)
        h = hash_u64(((uint64_t)t->ops[k].pen << 32) | ((uint64_t)t->ops[k].element << 16) |
                         ((uint64_t)t->ops[k].how << 8) | t->ops[k].width,
                     h);
    uint16_t id = (uint16_t)(IPFIX_SET_DATA + h % (65536 - IPFIX_SET_DATA));
    for (size_t k = 0; k < i; k++)
        if (templates[k].id == id) {
            id = id == UINT16_MAX ? IPFIX_SET_DATA : (uint16_t)(id + 1);
            k = (size_t)-1; /* start over: the next one may be taken too */
        }
    templates[i].id = id;
}

/* --- records --- */

static uint8_t *put_be(uint8_t *to, uint64_t v, size_t width) {
    v = htobe64(v);
    memcpy(to, (const uint8_t *)&v + 8 - width, width);
    return to + width;
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
    size_t size = text_size(text);
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
        case HOW_DURATION:
            to = put_be(to, record->last_ms - record->first_ms, op->width);
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

/* bytes of a whole message; leaves the templates behind */
static size_t layout_measure(const Layout *layout, Template *templates) {
    size_t bytes = IPFIX_HEADER_BYTES + IPFIX_SET_HEADER_BYTES;
    for (size_t g = 0; g < layout->n_groups; g++) {
        const Group *group = &layout->groups[g];
        template_make(&templates[g], group);
        bytes += template_bytes(&templates[g]) + IPFIX_SET_HEADER_BYTES +
                 group->n * templates[g].record_bytes + group->text_bytes;
    }
    return bytes;
}

/*
 * As many of the n records as fit, in groups. Grows by what the records so far have taken, then
 * merges, which adds a little; should that be too much, starts over with fewer.
 */
static size_t layout_fill(Layout *layout, Template *templates, const FlowRecord *records,
                          size_t n) {
    enum { FIRST = 256, NEARLY_FULL = IPFIX_MESSAGE_MAX / 100 * 95 };
    layout_reset(layout);
    size_t bytes = 0;
    size_t target = n < FIRST ? n : FIRST;
    for (;;) {
        layout_take(layout, records, target);
        bytes = layout_measure(layout, templates);
        size_t more = bytes < NEARLY_FULL ? target * NEARLY_FULL / bytes : target;
        more = more < n ? more : n;
        if (more <= target + 8)
            break;
        target = more;
    }
    for (;;) {
        while (layout_merge(layout, TEMPLATE_COST)) {
        }
        bytes = layout_measure(layout, templates);
        if (bytes <= IPFIX_MESSAGE_MAX || layout->n <= 1)
            return bytes;
        size_t fit = layout->n * NEARLY_FULL / bytes;
        layout_reset(layout);
        layout_take(layout, records, fit ? fit : 1);
    }
}

static void sets_write(Buffer *to, const Layout *layout, Template *templates,
                       const FlowRecord *records) {
    size_t start = to->size;
    buffer_put_u16(to, IPFIX_SET_TEMPLATE);
    buffer_put_u16(to, 0);
    for (size_t g = 0; g < layout->n_groups; g++) {
        template_name(templates, g);
        template_write(to, &templates[g]);
    }
    buffer_patch_u16(to, start + 2, (uint16_t)(to->size - start));

    for (size_t g = 0; g < layout->n_groups; g++) {
        const Group *group = &layout->groups[g];
        size_t bytes =
            IPFIX_SET_HEADER_BYTES + group->n * templates[g].record_bytes + group->text_bytes;
        buffer_put_u16(to, templates[g].id);
        buffer_put_u16(to, (uint16_t)bytes);
        uint8_t *at = to->bytes + to->size;
        for (size_t i = 0; i < layout->n; i++)
            if (layout->group_of[i] == g)
                at = record_write(at, &templates[g], &records[i]);
        to->size = (size_t)(at - to->bytes);
    }
}

int ipfix_encode(Buffer *to, const FlowRecord *records, size_t n, size_t *takenp, uint32_t domain,
                 uint32_t sequence, uint64_t export_ms) {
    Layout layout;
    Template templates[GROUPS_MAX];
    size_t bytes = layout_fill(&layout, templates, records, n < RECORDS_MAX ? n : RECORDS_MAX);

    /* with the room for all of it taken here, nothing below can fail */
    if (!buffer_reserve(to, bytes))
        return error_origin(-ENOMEM);
    size_t start = to->size;
    header_write(to, domain, sequence, export_ms);
    if (layout.n > 0)
        sets_write(to, &layout, templates, records);
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
