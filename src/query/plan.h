#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Query Plans
 *
 * What is asked of stored (or live) flows, as data: a kind, a time range, a filter, and what to
 * group, sort and cut by. A store turns a plan into its own language; nobody pastes text. A plan is
 * plain memory; it borrows its filter.
 *
 * Time: a flow belongs to the moment of its end, so [from_ms, to_ms) is tested against last_ms.
 *
 * Fields are those of the field table and a few that look at both sides of a flow:
 *     ip       either address             port     either port
 *     bytes    octets + rev_octets        packets  packets + rev_packets
 *     duration last_ms - first_ms
 * In filters and plans `octets` and `packets` mean both directions; one direction goes by its
 * nProbe name (IN_BYTES, OUT_BYTES, ...). `app` is short for app_name.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/reason.h"
#include "flow/field.h"
#include "flow/record.h"

typedef struct Json Json;
typedef struct QueryFilter QueryFilter;

/* a FlowFieldId, or one of these */
typedef uint16_t QueryField;
enum {
    QUERY_FIELD_IP = _FLOW_FIELD_N,
    QUERY_FIELD_PORT,
    QUERY_FIELD_BYTES,
    QUERY_FIELD_PACKETS,
    QUERY_FIELD_DURATION,
    _QUERY_FIELD_N,
};

/* a value of a field, by its kind */
typedef struct QueryValue {
    uint64_t number;     /* U8 to U64, TIME_MS; MAC as 48 bits */
    NetAddress address;  /* ADDRESS */
    uint8_t prefix_bits; /* of the address, in filters; all of them for one address */
    FlowText text;       /* TEXT */
} QueryValue;

typedef enum QueryKind {
    QUERY_FLOWS,  /* the flows themselves: sort, limit, offset */
    QUERY_TOP,    /* sums by the group fields, largest metric first: limit, offset */
    QUERY_SERIES, /* sums by step_ms and the group fields; beyond the `limit` largest: "other" */
    QUERY_TOTALS, /* one row: counts, and first and last time */
} QueryKind;

/* both directions together */
typedef enum QueryMetric {
    QUERY_OCTETS,
    QUERY_PACKETS,
    QUERY_FLOW_COUNT,
} QueryMetric;

enum {
    QUERY_GROUP_MAX = 4,
    QUERY_LIMIT_MAX = 100000,
    QUERY_SERIES_MAX = 100000, /* steps times keys of a series */
};

typedef struct QueryPlan {
    QueryKind kind;
    uint64_t from_ms;
    uint64_t to_ms;            /* exclusive */
    const QueryFilter *filter; /* borrowed; NULL: every flow */
    QueryField sort;           /* FLOWS only */
    bool ascending;
    uint32_t limit;
    uint64_t offset;
    QueryField group[QUERY_GROUP_MAX]; /* TOP and SERIES */
    size_t group_n;
    QueryMetric metric;
    bool scaled;      /* octets and packets times the sampling rate of their flow; not FLOWS */
    uint64_t step_ms; /* SERIES; buckets start at multiples of it since 1970 UTC */
} QueryPlan;

enum {
    _QUERY_E_SUCCESS,
    QUERY_E_REFUSED, /* the reason says what is wrong and what is accepted */
};

/** query_plan_check() - refuses a plan that makes no sense; a store checks it again */
int query_plan_check(const QueryPlan *plan, Reason *reason);

/* fields by name (any case); false when there is none */
bool query_field_find(QueryField *fieldp, const char *name, size_t size);
const char *query_field_name(QueryField field);
FlowKind query_field_kind(QueryField field);

bool query_metric_find(QueryMetric *metricp, const char *name);

/** query_field_values() - the one or two values that a record has for a field; returns how many */
size_t query_field_values(const FlowRecord *record, QueryField field, QueryValue values[2]);

/** query_value_write_json() - as flow_record_write_json() writes the field, under that name */
void query_value_write_json(QueryField field, const QueryValue *value, Json *json,
                            const char *name);
