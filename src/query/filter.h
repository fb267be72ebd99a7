#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Filters
 *
 *     app = "TLS" and bytes > 1M and not src_ip in 10.0.0.0/8
 *
 *     filter   = and { "or" and }
 *     and      = unary { "and" unary }
 *     unary    = "not" unary | "(" filter ")" | test
 *     test     = field compare value | field ["not"] "in" ( value | "(" value { "," value } ")" )
 *     compare  = "=" | "!=" | "<" | "<=" | ">" | ">=" | "~"
 *     value    = number [ K M G T Ki Mi Gi Ti ] | address [ "/" bits ] | MAC | word | "text" |
 * 'text'
 *
 * Words in any case; "==", "&&", "||" and "!" are understood too. `~` is "contains", for texts,
 * letters A-Z in any case. An address takes = != in, of one address or a prefix. A test of a field
 * with two sides (ip, port) holds when one of them passes, and != and "not in" when none is equal.
 * Protocols and end reasons may be named (TCP, "idle timeout").
 *
 * A filter is immutable and may be shared between threads.
 */

#include <stdbool.h>
#include <stddef.h>

#include "base/cleanup.h"
#include "query/plan.h"

typedef enum QueryOp {
    QUERY_AND,
    QUERY_OR,
    QUERY_NOT, /* left only */
    QUERY_TEST,
} QueryOp;

typedef enum QueryCompare {
    QUERY_EQUAL, /* any of the values; != is this under QUERY_NOT */
    QUERY_LESS,
    QUERY_LESS_EQUAL,
    QUERY_GREATER,
    QUERY_GREATER_EQUAL,
    QUERY_CONTAINS, /* the value is already in lower case */
} QueryCompare;

typedef struct QueryNode {
    QueryOp op;
    const struct QueryNode *left;
    const struct QueryNode *right;
    QueryField field;
    QueryCompare compare;
    const QueryValue *values;
    size_t n;
} QueryNode;

enum {
    QUERY_FILTER_BYTES_MAX = 16384,
    QUERY_FILTER_DEPTH_MAX = 64,
};

/** query_filter_new() - text is not kept; empty text matches everything. QUERY_E_REFUSED */
int query_filter_new(QueryFilter **filterp, const char *text, Reason *reason);
QueryFilter *query_filter_free(QueryFilter *filter);

/** query_filter_root() - NULL: matches everything (so does a NULL filter) */
const QueryNode *query_filter_root(const QueryFilter *filter);

/** query_match() - the filter on one record in memory; the stores give the same answer */
bool query_match(const QueryFilter *filter, const FlowRecord *record);

DEFINE_CLEANUP(QueryFilter *, query_filter_free)
