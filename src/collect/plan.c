/* SPDX-License-Identifier: Apache-2.0 */

#include "collect/plan.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "codec/ipfix-wire.h"
#include "collect/plan-inside.h"
#include "flow/field.h"

/* Where an element goes. */
typedef struct Source {
    uint32_t pen;
    uint16_t element;
    int16_t field; /* CollectFieldId; -1: a member that is not shown */
    uint8_t code;
    uint8_t rank;
    uint8_t size;
    uint16_t to;
} Source;

/* --- what is known --- */

enum { V9_SCOPE = PLAN_V9_SCOPE };

static const Source sources[] = {
#define ELEMENT(source_pen, number, id, op, source_rank)                                           \
    {.pen = (uint32_t)(source_pen),                                                                \
     .element = (number),                                                                          \
     .field = COLLECT_##id,                                                                        \
     .code = PLAN_##op,                                                                            \
     .rank = (source_rank)},
#include "collect/elements.def"
#undef ELEMENT
};

enum { N_SOURCES = sizeof(sources) / sizeof(sources[0]), MEANINGS_MAX = 3 };

static PlanCode code_of_kind(FlowKind kind, bool v6) {
    switch (kind) {
    case FLOW_KIND_ADDRESS:
        return v6 ? PLAN_IPV6 : PLAN_IPV4;
    case FLOW_KIND_MAC:
        return PLAN_MAC;
    case FLOW_KIND_TEXT:
        return PLAN_TEXT;
    default:
        return PLAN_NUMBER;
    }
}

static int16_t field_at(size_t offset) {
    for (int i = 0; i < _COLLECT_FIELD_N; i++)
        if (collect_fields[i].offset == offset && collect_fields[i].name)
            return (int16_t)i;
    return -1;
}

/* the flow field whose own element this is */
static bool source_of_row(const PlanField *f, Source *source) {
    for (size_t i = 0; i < _FLOW_FIELD_N; i++) {
        const FlowField *row = &flow_fields[i];
        const bool v6 = row->element_v6 == f->element;
        if (row->pen != f->pen || (row->element != f->element && !v6))
            continue;
        const bool mapped = row->kind == FLOW_KIND_ADDRESS && !row->element_v6;
        *source = (Source){.field = field_at(row->offset),
                           .code = mapped ? PLAN_MAPPED : (uint8_t)code_of_kind(row->kind, v6),
                           .size = (uint8_t)row->size,
                           .to = (uint16_t)row->offset};
        return true;
    }
    return false;
}

/* all that an element means; templates are few and kept, so looking through the rows will do */
static size_t sources_of(const PlanField *f, Source found[MEANINGS_MAX]) {
    size_t n = 0;
    if (f->element == 0)
        return 0;
    if (source_of_row(f, &found[n]))
        n++;
    for (size_t i = 0; i < N_SOURCES && n < MEANINGS_MAX; i++) {
        if (sources[i].element != f->element || sources[i].pen != f->pen)
            continue;
        const CollectField *field = &collect_fields[sources[i].field];
        found[n] = sources[i];
        found[n].to = field->offset;
        found[n++].size = (uint8_t)field->size;
    }
    return n;
}

/* whether an element of this length can be read so */
static bool length_fits(PlanCode code, uint16_t length) {
    if (code == PLAN_TEXT || length == IPFIX_VARIABLE)
        return length > 0;
    return plan_code_reads(code, length) || (code == PLAN_LABEL && length == 4);
}

/* the quick form of a number */
static PlanCode quick(PlanCode code, uint16_t length, size_t size) {
    static const struct {
        uint8_t length, size, code;
    } rows[] = {{1, 1, PLAN_8_TO_8},   {2, 2, PLAN_16_TO_16}, {4, 4, PLAN_32_TO_32},
                {8, 8, PLAN_64_TO_64}, {4, 8, PLAN_32_TO_64}, {1, 2, PLAN_8_TO_16},
                {2, 4, PLAN_16_TO_32}};
    const bool plain = code == PLAN_NUMBER || code == PLAN_UPTIME; /* made a time at the end */
    for (size_t i = 0; plain && i < sizeof(rows) / sizeof(rows[0]); i++)
        if (rows[i].length == length && rows[i].size == size)
            return rows[i].code;
    return code;
}

/* --- making a plan --- */

typedef struct Maker {
    Plan *plan;
    PlanOp *run;                                /* the run that is growing, or NULL */
    uint8_t rank_of[sizeof(CollectRecord)];     /* by offset: 1 + the rank taken so far */
    uint16_t element_of[sizeof(CollectRecord)]; /* by offset: what was read there before */
    size_t n_unknown;
    size_t protocols; /* how often one is named: of two IP layers, twice */
} Maker;

static PlanOp *maker_add(Maker *maker, PlanOp op) {
    PlanOp *at = &maker->plan->ops[maker->plan->n_ops++];
    *at = op;
    return at;
}

static void maker_rank(Maker *maker, const PlanField *f) {
    Source found[MEANINGS_MAX];
    const size_t n = sources_of(f, found);
    for (size_t i = 0; i < n; i++) {
        uint8_t *rank = &maker->rank_of[found[i].to];
        if (!length_fits(found[i].code, f->length))
            continue;
        if (*rank == 0 || found[i].rank + 1 < *rank)
            *rank = (uint8_t)(found[i].rank + 1);
        maker->protocols += found[i].field == COLLECT_PROTOCOL;
    }
}

static void plan_note(Plan *plan, const Source *source) {
    static const uint64_t one = 1;
    if (source->field >= 0)
        plan->seen[source->field / 64] |= one << (source->field % 64);
    if (source->code == PLAN_TYPE_CODE)
        plan->seen[COLLECT_ICMP_CODE / 64] |= one << (COLLECT_ICMP_CODE % 64);
    plan->first_uptime |= source->code == PLAN_UPTIME && source->field == COLLECT_FIRST_MS;
    plan->last_uptime |= source->code == PLAN_UPTIME && source->field == COLLECT_LAST_MS;
    plan->has_duration |= source->field == COLLECT_DURATION;
    plan->has_frame |= source->field == COLLECT_FRAME || source->field == COLLECT_IP_FRAME;
    plan->frame_is_ip |= source->field == COLLECT_IP_FRAME;
    plan->has_sampling |= source->field == COLLECT_INTERVAL ||
                          source->field == COLLECT_POPULATION || source->field == COLLECT_ONE_OF;
}

/* Of elements for either family (ICMP types, prefix lengths) one is 0. The same element once more
 * is of an inner header and counts whatever it says. */
static PlanCode code_of(Maker *maker, const Source *source, const PlanField *f) {
    uint16_t *before = &maker->element_of[source->to];
    const bool shared = *before && *before != f->element;
    *before = f->element;
    if (shared && source->code == PLAN_NUMBER)
        return PLAN_NUMBER_ELSE;
    return quick(source->code, f->length, source->size);
}

enum { PADDING_OCTETS = 210 };

static void maker_keep(Maker *maker, const PlanField *f, uint16_t from) {
    Plan *plan = maker->plan;
    if (!plan->unknown || f->pen == PLAN_UNKNOWN || (!f->pen && f->element == PADDING_OCTETS))
        return;
    plan->unknown[maker->n_unknown] = *f;
    (void)maker_add(maker, (PlanOp){.code = PLAN_KEEP,
                                    .bytes = f->length,
                                    .from = from,
                                    .to = (uint16_t)maker->n_unknown++});
}

/* an op for each meaning that won its member; what has none is unknown */
static void maker_meanings(Maker *maker, const PlanField *f, uint16_t from) {
    Source found[MEANINGS_MAX];
    const size_t n = sources_of(f, found);
    bool known = false;
    for (size_t i = 0; i < n; i++) {
        known = known || length_fits(found[i].code, f->length);
        const Source *source = &found[i];
        if (maker->rank_of[source->to] != source->rank + 1 || !length_fits(source->code, f->length))
            continue;
        plan_note(maker->plan, source);
        (void)maker_add(maker, (PlanOp){.code = (uint8_t)code_of(maker, source, f),
                                        .size = source->size,
                                        .bytes = f->length,
                                        .from = from,
                                        .to = source->to});
    }
    if (!known)
        maker_keep(maker, f, from);
}

static void maker_field(Maker *maker, const PlanField *f) {
    if (f->length == IPFIX_VARIABLE) {
        maker->plan->record_bytes++;
        maker->run = NULL;
        (void)maker_add(maker, (PlanOp){.code = PLAN_VARIABLE_RUN});
        maker_meanings(maker, f, 0);
        return;
    }
    if (!maker->run)
        maker->run = maker_add(maker, (PlanOp){.code = PLAN_RUN});
    const uint16_t from = maker->run->bytes;
    maker->run->bytes = (uint16_t)(from + f->length);
    maker->plan->record_bytes += f->length;
    maker_meanings(maker, f, from);
}

/* the family is wanted before the addresses: within a run, ops may be read in any order */
static void family_first(Plan *plan) {
    for (size_t i = 1; i < plan->n_ops; i++) {
        if (plan->ops[i].to != offsetof(CollectRecord, ip_version) || plan->ops[i].bytes != 1)
            continue;
        size_t run = i;
        while (run > 0 && plan->ops[run].code != PLAN_RUN &&
               plan->ops[run].code != PLAN_VARIABLE_RUN)
            run--;
        const PlanOp op = plan->ops[i];
        memmove(&plan->ops[run + 2], &plan->ops[run + 1], (i - run - 1) * sizeof(op));
        plan->ops[run + 1] = op;
        return;
    }
}

static bool is_address(const PlanOp *op) {
    return op->code == PLAN_IPV4 || op->code == PLAN_IPV6;
}

/* what need not look at what another element has said */
static void simplify(Plan *plan) {
    for (size_t i = 0; i < plan->n_ops; i++) {
        bool only = is_address(&plan->ops[i]);
        for (size_t k = 0; only && k < plan->n_ops; k++)
            only = k == i || plan->ops[k].to != plan->ops[i].to || !is_address(&plan->ops[k]);
        if (only)
            plan->ops[i].code = plan->ops[i].code == PLAN_IPV4 ? PLAN_IPV4_ONLY : PLAN_IPV6_ONLY;
    }
    plan->fixed = true;
    plan->whole = !plan->has_frame && !plan->has_sampling && !plan->has_duration;
    for (size_t i = 0; i < plan->n_ops; i++) {
        const uint8_t code = plan->ops[i].code;
        plan->fixed = plan->fixed && code != PLAN_VARIABLE_RUN;
        plan->whole = plan->whole && code != PLAN_NUMBER_ELSE && code != PLAN_TYPE_CODE &&
                      code != PLAN_LABEL && code != PLAN_KEEP && code != PLAN_PROBABILITY &&
                      !is_address(&plan->ops[i]);
    }
    plan->whole = plan->whole && plan->fixed;
}

enum { PEN_NTOP = 35632, PEN_REVERSE = 29305 };

/* Types 23 and 24 count what went out in the same direction (RFC 3954 section 8, IANA
 * postOctetDeltaCount), as Cisco's egress records do. In nProbe's records they are the way back,
 * beside 1 and 2; those are told by elements of ntop in the same template. */
static const PlanField *as_meant(PlanField to[PLAN_FIELDS_MAX], const PlanField *fields, size_t n) {
    bool of_ntop = false;
    bool in = false;
    for (size_t i = 0; i < n; i++) {
        of_ntop = of_ntop || fields[i].pen == PEN_NTOP;
        in = in || (!fields[i].pen && (fields[i].element == 1 || fields[i].element == 2));
    }
    if (!of_ntop || !in || n > PLAN_FIELDS_MAX)
        return fields;
    memcpy(to, fields, n * sizeof(*to));
    for (size_t i = 0; i < n; i++)
        if (!to[i].pen && (to[i].element == 23 || to[i].element == 24))
            to[i] = (PlanField){.pen = PEN_REVERSE,
                                .element = (uint16_t)(to[i].element - 22),
                                .length = to[i].length};
    return to;
}

int plan_make(Plan *plan, const PlanField *said, size_t n, bool keep) {
    Plan made = {0};
    Maker maker = {.plan = &made};
    PlanField meant[PLAN_FIELDS_MAX];
    const PlanField *fields = as_meant(meant, said, n);
    made.ops = calloc((1 + MEANINGS_MAX) * n + 1, sizeof(*made.ops));
    if (keep)
        made.unknown = calloc(n, sizeof(*made.unknown));
    if (!made.ops || (keep && !made.unknown)) {
        plan_deinit(&made);
        return error_origin(-ENOMEM);
    }
    for (size_t i = 0; i < n; i++)
        maker_rank(&maker, &fields[i]);
    for (size_t i = 0; i < n; i++)
        maker_field(&maker, &fields[i]);
    made.two_layers = maker.protocols > 1;
    family_first(&made);
    simplify(&made);
    PlanOp *ops = reallocarray(made.ops, made.n_ops + 1, sizeof(*ops));
    if (ops)
        made.ops = ops;
    made.bytes = (made.n_ops + 1) * sizeof(*ops) + (keep ? n * sizeof(*made.unknown) : 0);
    *plan = made;
    return 0;
}

void plan_deinit(Plan *plan) {
    free(plan->ops);
    free(plan->unknown);
    *plan = (Plan){0};
}
