/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A plan as SQL. The text is made of our own words and numbers only; every value that came from
 * outside is a binding.
 */

#include <inttypes.h>
#include <string.h>

#include "query/filter.h"
#include "store/embedded.h"
#include "store/schema.h"

/* bindings */

static void put_binding(Statement *s, Buffer *to, const Binding *binding) {
    if (s->n == s->capacity) {
        size_t capacity = s->capacity ? 2 * s->capacity : 16;
        Binding *grown = reallocarray(s->bindings, capacity, sizeof(*grown));
        if (!grown) {
            s->failed = true;
            return;
        }
        s->bindings = grown;
        s->capacity = capacity;
    }
    s->bindings[s->n++] = *binding;
    buffer_printf(to, "$%zu", s->n);
}

static void put_time(Statement *s, Buffer *to, uint64_t ms) {
    put_binding(s, to, &(Binding){.kind = FLOW_KIND_TIME_MS, .number = ms});
}

/* filters */

/** put_column() - a field on one of its sides */
static void put_column(Buffer *to, QueryField field, unsigned side) {
    switch (field) {
    case QUERY_FIELD_IP:
        buffer_put_text(to, side ? "dst_ip" : "src_ip");
        break;
    case QUERY_FIELD_PORT:
        buffer_put_text(to, side ? "dst_port" : "src_port");
        break;
    case QUERY_FIELD_BYTES:
        buffer_put_text(to, "(octets + rev_octets)"); /* 62 bits each: see schema.h */
        break;
    case QUERY_FIELD_PACKETS:
        buffer_put_text(to, "(packets + rev_packets)");
        break;
    case QUERY_FIELD_DURATION:
        buffer_put_text(to, "greatest(epoch_ms(last_ms) - epoch_ms(first_ms), 0)::UBIGINT");
        break;
    default:
        /* a rare field that no flow of a chunk has is NULL there: see fill.c */
        if (field >= (QueryField)FLOW_RARE_FIRST && field < (QueryField)_FLOW_FIELD_N)
            buffer_printf(to, "coalesce(\"%s\", %s)", query_field_name(field),
                          schema_unset(query_field_kind(field)));
        else
            buffer_printf(to, "\"%s\"", query_field_name(field));
    }
}

static bool has_sides(QueryField field) {
    return field == QUERY_FIELD_IP || field == QUERY_FIELD_PORT;
}

/**
 * put_prefix() - a range of BLOBs, which compare byte by byte. An address of the other family can
 * lie inside that range, hence the length.
 */
static void put_prefix(Statement *s, Buffer *to, QueryField field, unsigned side,
                       const QueryValue *prefix) {
    size_t bytes = net_address_bytes(&prefix->address);
    Binding first = {.kind = FLOW_KIND_ADDRESS, .address = prefix->address};
    Binding last = first;
    for (size_t bit = prefix->prefix_bits; bit < bytes * 8; bit++)
        last.address.bytes[bit / 8] |= (uint8_t)(0x80u >> (bit % 8));
    put_column(to, field, side);
    if (prefix->prefix_bits == bytes * 8) {
        buffer_put_text(to, " = ");
        put_binding(s, to, &first);
        return;
    }
    buffer_put_text(to, " BETWEEN ");
    put_binding(s, to, &first);
    buffer_put_text(to, " AND ");
    put_binding(s, to, &last);
    buffer_put_text(to, " AND octet_length(");
    put_column(to, field, side);
    buffer_printf(to, ") = %zu", bytes);
}

static bool is_ascii(FlowText text) {
    for (uint32_t i = 0; i < text.size; i++)
        if ((unsigned char)text.text[i] >= 0x80)
            return false;
    return true;
}

/** put_contains() - lower() is quick, but folds letters beyond A-Z, which query_match() does not */
static void put_contains(Statement *s, Buffer *to, QueryField field, const QueryValue *value) {
    bool ascii = is_ascii(value->text);
    buffer_put_text(to, ascii ? "contains(lower(" : "contains(translate(");
    put_column(to, field, 0);
    buffer_put_text(to, ascii ? "), "
                              : ", 'ABCDEFGHIJKLMNOPQRSTUVWXYZ', 'abcdefghijklmnopqrstuvwxyz'), ");
    put_binding(s, to, &(Binding){.kind = FLOW_KIND_TEXT, .text = value->text});
    buffer_put_text(to, ")");
}

static void put_value_test(Statement *s, Buffer *to, const QueryNode *test, unsigned side,
                           const QueryValue *value) {
    static const char *const signs[] = {
        [QUERY_EQUAL] = " = ",   [QUERY_LESS] = " < ",           [QUERY_LESS_EQUAL] = " <= ",
        [QUERY_GREATER] = " > ", [QUERY_GREATER_EQUAL] = " >= ",
    };
    FlowKind kind = query_field_kind(test->field);
    if (kind == FLOW_KIND_ADDRESS) {
        put_prefix(s, to, test->field, side, value);
    } else if (test->compare == QUERY_CONTAINS) {
        put_contains(s, to, test->field, value);
    } else {
        put_column(to, test->field, side);
        buffer_put_text(to, signs[test->compare]);
        put_binding(s, to, &(Binding){.kind = kind, .number = value->number, .text = value->text});
    }
}

static void put_test(Statement *s, Buffer *to, const QueryNode *test) {
    unsigned sides = has_sides(test->field) ? 2 : 1;
    for (unsigned side = 0; side < sides; side++) {
        for (size_t i = 0; i < test->n; i++) {
            buffer_put_text(to, side || i ? " OR (" : "(");
            put_value_test(s, to, test, side, &test->values[i]);
            buffer_put_text(to, ")");
        }
    }
}

static void put_node(Statement *s, Buffer *to, const QueryNode *node) {
    buffer_put_text(to, node->op == QUERY_NOT ? "(NOT " : "(");
    if (node->op == QUERY_TEST) {
        put_test(s, to, node);
    } else {
        put_node(s, to, node->left);
        if (node->op != QUERY_NOT) {
            buffer_put_text(to, node->op == QUERY_AND ? " AND " : " OR ");
            put_node(s, to, node->right);
        }
    }
    buffer_put_text(to, ")");
}

static void put_where(Statement *s, Buffer *to, const QueryPlan *plan) {
    buffer_put_text(to, " WHERE last_ms >= ");
    put_time(s, to, plan->from_ms);
    buffer_put_text(to, " AND last_ms < ");
    put_time(s, to, plan->to_ms);
    if (query_filter_root(plan->filter)) {
        buffer_put_text(to, " AND ");
        put_node(s, to, query_filter_root(plan->filter));
    }
}

/* sums */

#define CAPPED(what) "least(coalesce(" what ", 0), 18446744073709551615)::UBIGINT"

/* BIGINT, in which they fit (see schema.h), is added up far faster than UBIGINT */
#define PART_SUMS(sent, received)                                                                  \
    "SELECT " sent "octets::BIGINT AS o, " received "octets::BIGINT AS ro, " sent                  \
    "packets::BIGINT AS p, " received "packets::BIGINT AS rp"

/* one of so many packets was metered; a product of two large numbers has no place in a BIGINT */
#define SCALED(column) "(" column "::HUGEINT * greatest(sampling, 1))"
#define PART_SUMS_SCALED(sent, received)                                                           \
    "SELECT " SCALED(sent "octets") " AS o, " SCALED(received "octets") " AS ro, " SCALED(         \
        sent "packets") " AS p, " SCALED(received "packets") " AS rp"

static const char *const part_sums[2][2] = {
    {PART_SUMS("", "rev_"), PART_SUMS("rev_", "")},
    {PART_SUMS_SCALED("", "rev_"), PART_SUMS_SCALED("rev_", "")},
};

static const char *const metric_sums[] = {
    [QUERY_OCTETS] = "sum(o) + sum(ro)",
    [QUERY_PACKETS] = "sum(p) + sum(rp)",
    [QUERY_FLOW_COUNT] = "count(*)",
};

static bool plan_has_sides(const QueryPlan *plan) {
    bool sides = false;
    for (size_t i = 0; i < plan->group_n; i++)
        sides = sides || has_sides(plan->group[i]);
    return sides;
}

static void put_keys(Buffer *to, const QueryPlan *plan, const char *before) {
    for (size_t i = 0; i < plan->group_n; i++)
        buffer_printf(to, "%sk%zu", i || !before[0] ? ", " : before, i);
}

/** put_part() - what one segment gives, seen from one side of its flows */
static void put_part(Buffer *to, const QueryPlan *plan, const Buffer *where, uint64_t segment,
                     unsigned side) {
    buffer_put_text(to, part_sums[plan->scaled][side]);
    for (size_t i = 0; i < plan->group_n; i++) {
        buffer_put_text(to, ", ");
        put_column(to, plan->group[i], side);
        buffer_printf(to, " AS k%zu", i);
    }
    if (plan->kind == QUERY_SERIES)
        buffer_printf(to, ", epoch_ms(last_ms) // %" PRIu64 " * %" PRIu64 " AS b", plan->step_ms,
                      plan->step_ms);
    if (plan->kind == QUERY_TOTALS)
        buffer_put_text(to, ", first_ms, last_ms");
    buffer_printf(to, " FROM flow_%" PRIu64, segment);
    buffer_put(to, where->bytes, where->size);
    if (!side)
        return;
    /* a flow whose two sides are the same key counts once */
    const char *glue = " AND (";
    for (size_t i = 0; i < plan->group_n; i++) {
        if (!has_sides(plan->group[i]))
            continue;
        bool ip = plan->group[i] == QUERY_FIELD_IP;
        buffer_printf(to, "%s%s", glue, ip ? "src_ip <> dst_ip" : "src_port <> dst_port");
        glue = " OR ";
    }
    buffer_put_text(to, ")");
}

static void put_parts(Buffer *to, const QueryPlan *plan, const Buffer *where,
                      const uint64_t *segments, size_t segment_n) {
    unsigned sides = plan_has_sides(plan) ? 2 : 1;
    buffer_put_text(to, "(");
    for (size_t i = 0; i < segment_n; i++) {
        for (unsigned side = 0; side < sides; side++) {
            if (i || side)
                buffer_put_text(to, " UNION ALL ");
            put_part(to, plan, where, segments[i], side);
        }
    }
    buffer_put_text(to, ")");
}

/** put_sums() - the columns that query.c reads first, whatever the kind */
static void put_sums(Buffer *to, const QueryPlan *plan) {
    buffer_printf(
        to,
        "SELECT count(*)::UBIGINT AS n, " CAPPED("sum(o)") " AS so, " CAPPED(
            "sum(ro)") " AS sro, " CAPPED("sum(p)") " AS sp, " CAPPED("sum(rp)") " AS "
                                                                                 "srp, " CAPPED(
                                                                                     "%s") " AS v",
        metric_sums[plan->metric]);
}

static void put_top(Buffer *to, const QueryPlan *plan, const Buffer *parts) {
    put_sums(to, plan);
    put_keys(to, plan, "");
    buffer_put_text(to, " FROM ");
    buffer_put(to, parts->bytes, parts->size);
    put_keys(to, plan, " GROUP BY ");
    buffer_put_text(to, " ORDER BY v DESC");
    put_keys(to, plan, "");
    buffer_printf(to, " LIMIT %" PRIu64 " OFFSET %" PRIu64, (uint64_t)plan->limit + 1,
                  plan->offset);
}

/** put_series() - sums by bucket and key, then all but the largest keys folded into one */
static void put_series(Buffer *to, const QueryPlan *plan, const Buffer *parts) {
    if (!plan->group_n) {
        put_sums(to, plan);
        buffer_put_text(to, ", b FROM ");
        buffer_put(to, parts->bytes, parts->size);
        buffer_put_text(to, " GROUP BY b ORDER BY b");
        return;
    }
    buffer_put_text(to, "WITH g AS MATERIALIZED (");
    put_sums(to, plan);
    buffer_put_text(to, ", b");
    put_keys(to, plan, "");
    buffer_put_text(to, " FROM ");
    buffer_put(to, parts->bytes, parts->size);
    buffer_put_text(to, " GROUP BY b");
    put_keys(to, plan, "");
    buffer_put_text(to, "), t AS (SELECT true AS top");
    put_keys(to, plan, "");
    buffer_put_text(to, " FROM g");
    put_keys(to, plan, " GROUP BY ");
    buffer_put_text(to, " ORDER BY sum(v) DESC");
    put_keys(to, plan, "");
    buffer_printf(
        to,
        " LIMIT %" PRIu32
        ") SELECT sum(n)::UBIGINT, " CAPPED("sum(so)") ", " CAPPED("sum(sro)") ", " CAPPED(
            "sum(sp)") ", " CAPPED("sum(srp)") ", " CAPPED("sum(v)") ", b, coalesce(top, false) AS "
                                                                     "is_top",
        plan->limit);
    for (size_t i = 0; i < plan->group_n; i++)
        buffer_printf(to, ", CASE WHEN top THEN k%zu END AS c%zu", i, i);
    buffer_put_text(to, " FROM g LEFT JOIN t USING (");
    put_keys(to, plan, " ");
    buffer_put_text(to, ") GROUP BY ALL ORDER BY b, is_top DESC, 6 DESC");
    for (size_t i = 0; i < plan->group_n; i++)
        buffer_printf(to, ", c%zu", i);
}

static void put_totals(Buffer *to, const QueryPlan *plan, const Buffer *parts) {
    put_sums(to, plan);
    buffer_put_text(to, ", epoch_ms(min(first_ms)), epoch_ms(max(last_ms)) FROM ");
    buffer_put(to, parts->bytes, parts->size);
}

/* flows themselves */

static void put_order(Buffer *to, const QueryPlan *plan) {
    buffer_put_text(to, " ORDER BY ");
    put_column(to, plan->sort, 0);
    /* the rest only makes pages that do not overlap */
    buffer_printf(to, " %s, last_ms DESC, first_ms DESC, flow_id",
                  plan->ascending ? "ASC" : "DESC");
}

/**
 * put_flows() - the first rows of each segment, then of those the first. So each is a "top N" of
 * one table, for which DuckDB reads the other columns of the chosen rows only.
 */
static void put_flows(Buffer *to, const QueryPlan *plan, const Buffer *where,
                      const uint64_t *segments, size_t segment_n) {
    uint64_t limit = (uint64_t)plan->limit + 1;
    buffer_put_text(to, "SELECT * FROM (");
    for (size_t i = 0; i < segment_n; i++) {
        buffer_put_text(to, i ? " UNION ALL (SELECT " : "(SELECT ");
        for (size_t c = 0; c < _FLOW_FIELD_N; c++)
            buffer_printf(to, "%s\"%s\"", c ? ", " : "", flow_fields[c].name);
        buffer_printf(to, " FROM flow_%" PRIu64, segments[i]);
        buffer_put(to, where->bytes, where->size);
        put_order(to, plan);
        buffer_printf(to, " LIMIT %" PRIu64 ")", limit + plan->offset);
    }
    buffer_put_text(to, ")");
    put_order(to, plan);
    buffer_printf(to, " LIMIT %" PRIu64 " OFFSET %" PRIu64, limit, plan->offset);
}

void statement_build(Statement *statement, const QueryPlan *plan, const uint64_t *segments,
                     size_t segment_n) {
    Buffer where = {0};
    Buffer parts = {0};
    put_where(statement, &where, plan);
    if (plan->kind != QUERY_FLOWS)
        put_parts(&parts, plan, &where, segments, segment_n);
    switch (plan->kind) {
    case QUERY_FLOWS:
        put_flows(&statement->sql, plan, &where, segments, segment_n);
        break;
    case QUERY_TOP:
        put_top(&statement->sql, plan, &parts);
        break;
    case QUERY_SERIES:
        put_series(&statement->sql, plan, &parts);
        break;
    case QUERY_TOTALS:
        put_totals(&statement->sql, plan, &parts);
        break;
    }
    statement->failed = statement->failed || statement->sql.failed || where.failed || parts.failed;
    buffer_deinit(&where);
    buffer_deinit(&parts);
}

void statement_deinit(Statement *statement) {
    buffer_deinit(&statement->sql);
    free(statement->bindings);
    *statement = (Statement){0};
}
