/* SPDX-License-Identifier: Apache-2.0 */

#include "codec/ipfix-layout.h"

#include <endian.h>
#include <string.h>

#include "base/hash.h"
#include "codec/ipfix-wire.h"

/* a template weighs, compressed, about what so many absent fields do */
enum { TEMPLATE_COST = 60 };

_Static_assert(_FLOW_FIELD_N <= 64 * SHAPE_WORDS, "a Shape has a bit a field");

/* --- what a record has set, straight off the rows --- */

/* those whose family is that of the record; others are written so that it does not matter */
static const uint64_t address_fields = (1ull << FLOW_SRC_IP) | (1ull << FLOW_DST_IP);

_Static_assert((int)FLOW_DST_IP < 64, "they are in the first word");

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

/* which words of a shape a field's bit goes to is known when this is compiled */
#define TAKE(id, element, show, set)                                                               \
    if (element)                                                                                   \
    fields[FLOW_##id / 64] |= (uint64_t)(ALWAYS_##show || (set)) << (FLOW_##id % 64)

static Shape shape_of(const FlowRecord *record, bool rare) {
    uint64_t fields[SHAPE_WORDS] = {0};
#define FLOW_FIELD(id, member, kind, pen, element, v6, way, show, ...)                             \
    if (FLOW_##id < FLOW_RARE_FIRST)                                                               \
        TAKE(id, element, show, SET_##kind(record->member));
#include "flow/fields.def"
#undef FLOW_FIELD
    if (rare) {
#define FLOW_FIELD(id, member, kind, pen, element, v6, way, show, ...)                             \
    if (FLOW_##id >= FLOW_RARE_FIRST)                                                              \
        TAKE(id, element, show, SET_##kind(record->member));
#include "flow/fields.def"
#undef FLOW_FIELD
    }
    /* an address is there or not, whatever its row says: a record without one is not IP */
    fields[0] &= ~address_fields;
    fields[0] |= (uint64_t)(record->src_ip.family != 0) << FLOW_SRC_IP;
    fields[0] |= (uint64_t)(record->dst_ip.family != 0) << FLOW_DST_IP;
    Shape shape = {.v6 = ((uint64_t)is_v6(&record->src_ip) << FLOW_SRC_IP) |
                         ((uint64_t)is_v6(&record->dst_ip) << FLOW_DST_IP)};
    memcpy(shape.fields, fields, sizeof(fields));
    return shape;
}

#define GATHER_U8(g, r, member)
#define GATHER_U16(g, r, member) ((g)->all.member = (uint16_t)((g)->all.member | (r)->member))
#define GATHER_U32(g, r, member) ((g)->all.member |= (r)->member)
#define GATHER_U64(g, r, member) ((g)->all.member |= (r)->member)
#define GATHER_TIME_MS(g, r, member)
#define GATHER_ADDRESS(g, r, member)
#define GATHER_MAC(g, r, member)
#define GATHER_TEXT(g, r, member)                                                                  \
    ((g)->text_bytes +=                                                                            \
     layout_text_bytes(&(r)->member) + (layout_text_bytes(&(r)->member) < 255 ? 0 : 2))

static void group_take(Group *group, const FlowRecord *record, bool rare) {
#define FLOW_FIELD(id, member, kind, ...)                                                          \
    if (FLOW_##id < FLOW_RARE_FIRST) {                                                             \
        GATHER_##kind(group, record, member);                                                      \
    }
#include "flow/fields.def"
#undef FLOW_FIELD
    if (rare) {
#define FLOW_FIELD(id, member, kind, ...)                                                          \
    if (FLOW_##id >= FLOW_RARE_FIRST) {                                                            \
        GATHER_##kind(group, record, member);                                                      \
    }
#include "flow/fields.def"
#undef FLOW_FIELD
    }
    group->n++;
}

/* --- groups --- */

static bool may_share(Shape a, Shape b) {
    return a.v6 == b.v6 && ((a.fields[0] ^ b.fields[0]) & address_fields) == 0;
}

static void shape_add(Shape *a, const Shape *b) {
    for (size_t i = 0; i < SHAPE_WORDS; i++)
        a->fields[i] |= b->fields[i];
}

/* bits set; without the call that popcount is on a plain x86-64 */
static size_t bits(uint64_t v) {
    v = v - ((v >> 1) & 0x5555555555555555u);
    v = (v & 0x3333333333333333u) + ((v >> 2) & 0x3333333333333333u);
    v = (v + (v >> 4)) & 0x0f0f0f0f0f0f0f0fu;
    return (size_t)((v * 0x0101010101010101u) >> 56);
}

/* fields of `of` that a shape lacks */
static size_t absent(const Shape *shape, const Shape *of) {
    size_t n = 0;
    for (size_t i = 0; i < SHAPE_WORDS; i++)
        n += bits(of->fields[i] & ~shape->fields[i]);
    return n;
}

/* fields written though absent, if a group of n records shared a template with one of m */
static size_t share_cost(const Shape *a, size_t n, const Shape *b, size_t m) {
    return absent(a, b) * n + absent(b, a) * m;
}

static void group_merge(Group *a, const Group *b) {
    shape_add(&a->shape, &b->shape);
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
}

static size_t layout_search(const Layout *layout, Shape shape, size_t n, size_t except,
                            size_t *costp) {
    size_t nearest = LAYOUT_GROUPS_MAX;
    for (size_t i = 0; i < layout->n_groups; i++) {
        const Group *group = &layout->groups[i];
        if (i == except || group->n == 0 || !may_share(group->shape, shape))
            continue;
        size_t cost = share_cost(&group->shape, group->n, &shape, n);
        if (nearest == LAYOUT_GROUPS_MAX || cost < *costp) {
            *costp = cost;
            nearest = i;
        }
    }
    return nearest;
}

/* Merge each group, the newest first, into the nearest where that costs less than a template. */
static void layout_merge(Layout *layout) {
    uint8_t into[LAYOUT_GROUPS_MAX];
    for (size_t i = layout->n_groups; i-- > 0;) {
        Group *group = &layout->groups[i];
        size_t cost = 0;
        size_t nearest = layout_search(layout, group->shape, group->n, i, &cost);
        into[i] = (uint8_t)i;
        if (nearest == LAYOUT_GROUPS_MAX || cost >= TEMPLATE_COST)
            continue;
        group_merge(&layout->groups[nearest], group);
        group->n = 0;
        into[i] = (uint8_t)nearest;
    }
    for (size_t i = 0; i < layout->n; i++)
        while (into[layout->group_of[i]] != layout->group_of[i])
            layout->group_of[i] = into[layout->group_of[i]];
}

/* the group of records of this very shape, or when there are too many the nearest one */
static size_t layout_place(Layout *layout, Shape shape) {
    size_t cost = 0;
    size_t nearest = layout_search(layout, shape, 1, LAYOUT_GROUPS_MAX, &cost);
    if (nearest < LAYOUT_GROUPS_MAX && cost == 0)
        return nearest;
    /* the last places are for the first group of each kind */
    if (nearest == LAYOUT_GROUPS_MAX || layout->n_groups < LAYOUT_GROUPS_MAX - LAYOUT_KINDS) {
        layout->groups[layout->n_groups] = (Group){.shape = shape};
        return layout->n_groups++;
    }
    shape_add(&layout->groups[nearest].shape, &shape);
    return nearest;
}

static bool shape_same(const Shape *a, const Shape *b) {
    uint64_t differ = a->v6 ^ b->v6;
    for (size_t i = 0; i < SHAPE_WORDS; i++)
        differ |= a->fields[i] ^ b->fields[i];
    return differ == 0;
}

static size_t layout_find(Layout *layout, Shape shape) {
    const uint64_t odd = 0x9e3779b97f4a7c15u;
    size_t at = (size_t)(hash_u64(shape.fields[0] ^ shape.fields[1] * odd, shape.v6) % LAYOUT_SEEN);
    if (layout->seen[at].group && shape_same(&layout->seen[at].shape, &shape))
        return layout->seen[at].group - (size_t)1;
    size_t g = layout_place(layout, shape);
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
        const bool rare = flow_record_has_rare(&records[i]);
        size_t g = layout_find(layout, shape_of(&records[i], rare));
        layout->group_of[i] = (uint8_t)g;
        layout->n = i + 1;
        group_take(&layout->groups[g], &records[i], rare);
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
        return v6 || !field->element_v6 ? 16 : 4;
    case FLOW_KIND_TEXT:
        return 1;
    default:
        return (uint8_t)field->size;
    }
}

static EncodeHow op_how(const FlowField *field, uint8_t width) {
    switch (field->kind) {
    case FLOW_KIND_ADDRESS:
        return field->element_v6 || width != 16 ? HOW_ADDRESS : HOW_MAPPED;
    case FLOW_KIND_MAC:
        return HOW_MAC;
    case FLOW_KIND_TEXT:
        return HOW_TEXT;
    default:
        return width == 8 ? HOW_8 : width == 4 ? HOW_4 : width == 2 ? HOW_2 : HOW_1;
    }
}

EncodeOp encode_op_make(const FlowField *field, uint16_t element, uint8_t width) {
    EncodeOp op = {.how = (uint8_t)op_how(field, width),
                   .width = width,
                   .offset = (uint16_t)field->offset,
                   .element = element,
                   .pen = field->pen};
    if (BYTE_ORDER == BIG_ENDIAN && op.how <= HOW_8)
        op.offset = (uint16_t)(op.offset + field->size - op.width);
    return op;
}

static EncodeOp op_make(const Group *group, const FlowField *field) {
    bool v6 = field->kind == FLOW_KIND_ADDRESS ? (group->shape.v6 >> field->id) & 1
                                               : group->shape.v6 != 0;
    return encode_op_make(field, v6 && field->element_v6 ? field->element_v6 : field->element,
                          op_width(group, field, v6));
}

static void template_make(Template *template, const Group *group) {
    template->n = 0;
    template->record_bytes = 0;
    for (size_t word = 0; word < SHAPE_WORDS; word++)
        for (uint64_t left = group->shape.fields[word]; left; left &= left - 1) {
            const FlowField *field = &flow_fields[64 * word + (size_t)__builtin_ctzll(left)];
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

/* bytes of a whole message; leaves the templates behind */
static size_t layout_measure(Layout *layout) {
    size_t bytes = IPFIX_HEADER_BYTES + IPFIX_SET_HEADER_BYTES;
    for (size_t g = 0; g < layout->n_groups; g++) {
        const Group *group = &layout->groups[g];
        if (group->n == 0)
            continue;
        Template *template = &layout->templates[g];
        template_make(template, group);
        bytes += template_bytes(template) + IPFIX_SET_HEADER_BYTES +
                 group->n * template->record_bytes + group->text_bytes;
    }
    return bytes;
}

/*
 * As many of the n records as fit, in groups. Grows by what the records so far have taken, then
 * merges, which adds a little; should that be too much, starts over with fewer.
 */
size_t layout_fill(Layout *layout, const FlowRecord *records, size_t n) {
    n = n < LAYOUT_RECORDS_MAX ? n : LAYOUT_RECORDS_MAX;
    enum { FIRST = 256, NEARLY_FULL = IPFIX_MESSAGE_MAX / 100 * 95 };
    layout_reset(layout);
    size_t bytes = 0;
    size_t target = n < FIRST ? n : FIRST;
    for (;;) {
        layout_take(layout, records, target);
        bytes = layout_measure(layout);
        size_t more = bytes < NEARLY_FULL ? target * NEARLY_FULL / bytes : target;
        more = more < n ? more : n;
        if (more <= target + 8)
            break;
        target = more;
    }
    for (;;) {
        layout_merge(layout);
        bytes = layout_measure(layout);
        if (bytes <= IPFIX_MESSAGE_MAX || layout->n <= 1)
            return bytes;
        size_t fit = layout->n * NEARLY_FULL / bytes;
        layout_reset(layout);
        layout_take(layout, records, fit ? fit : 1);
    }
}
