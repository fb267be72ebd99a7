/* SPDX-License-Identifier: Apache-2.0 */

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/json.h"
#include "flow/field.h"
#include "hub/api.h"
#include "hub/hub.h"
#include "query/filter.h"
#include "query/plan.h"

enum { QUERY_TIMEOUT_MS = 10000 };

int api_refuse(HttpResponse *response, const char *field, const Reason *reason) {
    Json json = json_make(&response->body);
    buffer_clear(&response->body);
    response->status = 400;
    json_object_begin(&json, NULL);
    json_object_begin(&json, "error");
    json_text(&json, "code", "invalid_parameter");
    json_text(&json, "message", reason->text);
    json_text(&json, "field", field);
    json_object_end(&json);
    json_object_end(&json);
    return HTTP_E_ANSWERED;
}

int api_range(const HttpRequest *request, HttpResponse *response, QueryPlan *plan) {
    plan->from_ms = (uint64_t)http_param_int(request, "from");
    plan->to_ms = http_param_given(request, "to") ? (uint64_t)http_param_int(request, "to")
                                                  : clock_wall_ms() + 1;
    if (plan->from_ms < plan->to_ms)
        return 0;
    Reason reason = {0};
    reason_set(&reason, "from (%" PRIu64 ") must be before to (%" PRIu64 ").", plan->from_ms,
               plan->to_ms);
    return api_refuse(response, "from", &reason);
}

/* the store's answers, in words */
static int answer(HttpResponse *response, int r, const Reason *reason) {
    switch (r) {
    case STORE_E_REFUSED:
        http_response_error(response, 400, "invalid_query", "%s", reason->text);
        break;
    case STORE_E_TIMEOUT:
        http_response_error(response, 503, "timeout",
                            "The answer took longer than %d s; ask for a shorter range or a "
                            "narrower filter.",
                            QUERY_TIMEOUT_MS / 1000);
        break;
    case STORE_E_MEMORY:
        http_response_error(response, 503, "memory",
                            "The question needs more memory than --store-memory allows; ask for "
                            "a shorter range or a narrower filter.");
        break;
    case STORE_E_CANCELLED:
        http_response_error(response, 503, "cancelled",
                            "The question was stopped so that flows could be stored; ask again.");
        break;
    default:
        http_response_error(response, 503, "store_unavailable", "The store cannot answer now: %s",
                            reason->text);
        break;
    }
    return HTTP_E_ANSWERED;
}

int api_query(Hub *hub, HttpResponse *response, const QueryPlan *plan, StoreResult **resultp) {
    const StoreBudget budget = {.timeout_ms = QUERY_TIMEOUT_MS};
    Reason reason = {0};
    const int r = store_query(hub->store, plan, &budget, resultp, &reason);
    if (r <= 0)
        return error_trace(r);
    return answer(response, r, &reason);
}

/* range and filter, which all three questions have; the caller frees the filter */
static int common(const HttpRequest *request, HttpResponse *response, QueryPlan *plan,
                  QueryFilter **filterp) {
    int r = api_range(request, response, plan);
    if (r)
        return r;
    const char *text = http_param(request, "filter");
    if (!text || !*text)
        return 0;
    Reason reason = {0};
    r = query_filter_new(filterp, text, &reason);
    if (r > 0)
        return api_refuse(response, "filter", &reason);
    plan->filter = *filterp;
    return error_trace(r);
}

/* as metered, or by the sampling rate as much as it stands for */
static bool is_scaled(const HttpRequest *request) {
    return strcmp(http_param(request, "counts"), "scaled") == 0;
}

/* sums over everything that matches */
static int totals(Hub *hub, HttpResponse *response, const QueryPlan *plan, StoreRow *row,
                  uint64_t *elapsed_msp) {
    cleanup(store_result_freep) StoreResult *result = NULL;
    const QueryPlan sums = {.kind = QUERY_TOTALS,
                            .from_ms = plan->from_ms,
                            .to_ms = plan->to_ms,
                            .scaled = plan->scaled,
                            .filter = plan->filter};
    const int r = api_query(hub, response, &sums, &result);
    if (r)
        return r;
    if (result->row_n)
        *row = result->rows[0];
    *elapsed_msp += result->elapsed_ms;
    return 0;
}

/* -------------------------------------------------------------------------------------- flows */

typedef struct SortName {
    const char *name;
    QueryField field;
} SortName;

/* beside the names of /fields */
static const SortName sort_names[] = {
    {"total_octets", QUERY_FIELD_BYTES},
    {"total_packets", QUERY_FIELD_PACKETS},
    {"duration_ms", QUERY_FIELD_DURATION},
};

static int sort_of(const HttpRequest *request, HttpResponse *response, QueryField *fieldp) {
    const char *name = http_param(request, "sort");
    for (size_t i = 0; i < sizeof(sort_names) / sizeof(*sort_names); i++) {
        if (strcmp(sort_names[i].name, name) == 0) {
            *fieldp = sort_names[i].field;
            return 0;
        }
    }
    for (size_t i = 0; i < _FLOW_FIELD_N; i++) {
        if (strcmp(flow_fields[i].name, name) == 0) {
            *fieldp = (QueryField)i;
            return 0;
        }
    }
    Reason reason = {0};
    reason_set(&reason,
               "\"%.64s\" is not a field; sort by a name of /fields, total_octets, "
               "total_packets or duration_ms.",
               name);
    return api_refuse(response, "sort", &reason);
}

static int get_flows(const HttpRequest *request, HttpResponse *response, Hub *hub) {
    cleanup(query_filter_freep) QueryFilter *filter = NULL;
    cleanup(store_result_freep) StoreResult *result = NULL;
    QueryPlan plan = {.kind = QUERY_FLOWS,
                      .ascending = strcmp(http_param(request, "order"), "asc") == 0,
                      .limit = (uint32_t)http_param_int(request, "limit"),
                      .offset = (uint64_t)http_param_int(request, "offset")};
    StoreRow sums = {0};
    uint64_t elapsed_ms = 0;
    int r = common(request, response, &plan, &filter);
    if (!r)
        r = sort_of(request, response, &plan.sort);
    if (!r)
        r = api_query(hub, response, &plan, &result);
    if (!r)
        r = totals(hub, response, &plan, &sums, &elapsed_ms);
    if (r)
        return r;

    Json json = json_make(&response->body);
    json_object_begin(&json, NULL);
    json_array_begin(&json, "flows");
    for (size_t i = 0; i < result->flows->n; i++)
        flow_record_write_json(&result->flows->records[i], &json);
    json_array_end(&json);
    r = api_write_names(&json, "names", hub, result->flows);
    if (r)
        return error_trace(r);
    json_u64(&json, "total", sums.flows);
    json_u64(&json, "from_ms", plan.from_ms);
    json_u64(&json, "to_ms", plan.to_ms);
    json_u64(&json, "elapsed_ms", elapsed_ms + result->elapsed_ms);
    json_object_end(&json);
    return 0;
}

/* ---------------------------------------------------------------------------------------- top */

/* the parameter's words are field names; "host" is either address */
static QueryField field_of(const char *by) {
    QueryField field = QUERY_FIELD_IP;
    if (strcmp(by, "host") != 0)
        (void)query_field_find(&field, by, strlen(by));
    return field;
}

static QueryMetric metric_of(const HttpRequest *request) {
    const char *name = http_param(request, "metric");
    return strcmp(name, "packets") == 0 ? QUERY_PACKETS
           : strcmp(name, "flows") == 0 ? QUERY_FLOW_COUNT
                                        : QUERY_OCTETS;
}

/* a key as text: what a filter takes and people read */
static void key_text(QueryField field, const QueryValue *value, Buffer *text) {
    char address[NET_ADDRESS_TEXT_MAX];
    buffer_clear(text);
    switch (query_field_kind(field)) {
    case FLOW_KIND_ADDRESS:
        buffer_put_text(text, net_address_format(&value->address, address));
        return;
    case FLOW_KIND_TEXT:
        buffer_put(text, value->text.text, value->text.size);
        return;
    default:
        break;
    }
    const char *name = field == FLOW_PROTOCOL ? flow_protocol_name((uint8_t)value->number) : NULL;
    if (name)
        buffer_put_text(text, name);
    else
        buffer_printf(text, "%" PRIu64, value->number);
}

static void write_top_rows(Json *json, QueryField field, const StoreResult *result) {
    Buffer key = {0};
    json_array_begin(json, "rows");
    for (size_t i = 0; i < result->row_n; i++) {
        const StoreRow *row = &result->rows[i];
        key_text(field, &row->keys[0], &key);
        json_object_begin(json, NULL);
        json_textn(json, "key", buffer_text(&key), key.size);
        json_u64(json, "octets", row->octets);
        json_u64(json, "rev_octets", row->rev_octets);
        json_u64(json, "packets", row->packets);
        json_u64(json, "rev_packets", row->rev_packets);
        json_u64(json, "flows", row->flows);
        json_object_end(json);
    }
    json_array_end(json);
    buffer_deinit(&key);
}

static int get_top(const HttpRequest *request, HttpResponse *response, Hub *hub) {
    cleanup(query_filter_freep) QueryFilter *filter = NULL;
    cleanup(store_result_freep) StoreResult *result = NULL;
    const QueryField field = field_of(http_param(request, "by"));
    QueryPlan plan = {.kind = QUERY_TOP,
                      .group = {field},
                      .group_n = 1,
                      .metric = metric_of(request),
                      .scaled = is_scaled(request),
                      .limit = (uint32_t)http_param_int(request, "limit")};
    StoreRow sums = {0};
    uint64_t elapsed_ms = 0;
    int r = common(request, response, &plan, &filter);
    if (!r)
        r = api_query(hub, response, &plan, &result);
    if (!r)
        r = totals(hub, response, &plan, &sums, &elapsed_ms);
    if (r)
        return r;

    Json json = json_make(&response->body);
    json_object_begin(&json, NULL);
    json_text(&json, "by", http_param(request, "by"));
    json_text(&json, "metric", http_param(request, "metric"));
    write_top_rows(&json, field, result);
    json_u64(&json, "total_octets", batch_counts_sum(sums.octets, sums.rev_octets));
    json_u64(&json, "total_packets", batch_counts_sum(sums.packets, sums.rev_packets));
    json_u64(&json, "total_flows", sums.flows);
    json_u64(&json, "from_ms", plan.from_ms);
    json_u64(&json, "to_ms", plan.to_ms);
    json_u64(&json, "elapsed_ms", elapsed_ms + result->elapsed_ms);
    json_object_end(&json);
    return 0;
}

/* -------------------------------------------------------------------------------------- series */

enum { STEPS_WANTED = 200, STEPS_MAX = 5000, SERIES_MAX = 51, HOUR_MS = 3600000 };

static uint64_t round_step(uint64_t span_ms) {
    static const uint32_t steps_s[] = {1,   2,   5,    10,   15,   30,    60,    120,  300,
                                       600, 900, 1800, 3600, 7200, 14400, 21600, 43200};
    for (size_t i = 0; i < sizeof(steps_s) / sizeof(*steps_s); i++) {
        if (span_ms / (steps_s[i] * 1000ull) <= STEPS_WANTED)
            return steps_s[i] * 1000ull;
    }
    return 86400000;
}

typedef struct Series {
    const StoreRow *first; /* holds the key */
    uint64_t sum;
    uint64_t *values; /* one a step */
} Series;

static bool same_key(QueryField field, const StoreRow *a, const StoreRow *b) {
    if (a->other || b->other)
        return a->other == b->other;
    if (query_field_kind(field) == FLOW_KIND_TEXT)
        return a->keys[0].text.size == b->keys[0].text.size &&
               (a->keys[0].text.size == 0 ||
                memcmp(a->keys[0].text.text, b->keys[0].text.text, a->keys[0].text.size) == 0);
    return a->keys[0].number == b->keys[0].number;
}

/* largest first, what was added up as other last */
static int by_sum(const void *a, const void *b) {
    const Series *x = a;
    const Series *y = b;
    if (x->first->other != y->first->other)
        return x->first->other ? 1 : -1;
    return x->sum < y->sum ? 1 : x->sum > y->sum ? -1 : 0;
}

/* rows by step and key to one line a key; memory from the request's arena */
static int pivot(const StoreResult *result, const QueryPlan *plan, uint64_t first_ms, size_t steps,
                 Arena *arena, Series *series, size_t *np) {
    size_t n = 0;
    for (size_t i = 0; i < result->row_n; i++) {
        const StoreRow *row = &result->rows[i];
        const size_t step = (size_t)((row->bucket_ms - first_ms) / plan->step_ms);
        size_t at = 0;
        while (at < n && plan->group_n && !same_key(plan->group[0], series[at].first, row))
            at++;
        if (row->bucket_ms < first_ms || step >= steps || at == SERIES_MAX)
            continue;
        if (at == n) {
            uint64_t *values = arena_alloc(arena, steps * sizeof(*values));
            if (!values)
                return error_origin(-ENOMEM);
            memset(values, 0, steps * sizeof(*values));
            series[n++] = (Series){.first = row, .values = values};
        }
        series[at].values[step] += row->value;
        series[at].sum += row->value;
    }
    if (n)
        qsort(series, n, sizeof(*series), by_sum);
    *np = n;
    return 0;
}

static void write_series(Json *json, const QueryPlan *plan, const Series *series, size_t n,
                         size_t steps) {
    Buffer key = {0};
    json_array_begin(json, "series");
    for (size_t i = 0; i < n; i++) {
        json_object_begin(json, NULL);
        if (!plan->group_n) {
            json_text(json, "key", "all");
        } else if (series[i].first->other) {
            json_text(json, "key", "Other");
        } else {
            key_text(plan->group[0], &series[i].first->keys[0], &key);
            json_textn(json, "key", buffer_text(&key), key.size);
        }
        json_array_begin(json, "values");
        for (size_t s = 0; s < steps; s++)
            json_u64(json, NULL, series[i].values[s]);
        json_array_end(json);
        json_object_end(json);
    }
    json_array_end(json);
    buffer_deinit(&key);
}

static uint64_t step_of(const HttpRequest *request, const QueryPlan *plan) {
    return http_param_given(request, "step_ms") ? (uint64_t)http_param_int(request, "step_ms")
                                                : round_step(plan->to_ms - plan->from_ms);
}

/* Steps from which to which. Without a start, or with one so early that there would be too many,
 * from the oldest flow on. */
static int series_range(const HttpRequest *request, HttpResponse *response, const Hub *hub,
                        QueryPlan *plan) {
    plan->step_ms = step_of(request, plan);
    if (!http_param_given(request, "from") ||
        (plan->to_ms - plan->from_ms) / plan->step_ms >= STEPS_MAX) {
        StoreStatus status = {0};
        store_status(hub->store, &status);
        const uint64_t hour_ago_ms = plan->to_ms > HOUR_MS ? plan->to_ms - HOUR_MS : 0;
        const bool some = status.rows && status.oldest_ms < plan->to_ms;
        const uint64_t start_ms = some ? status.oldest_ms : hour_ago_ms;
        plan->from_ms = plan->from_ms > start_ms ? plan->from_ms : start_ms;
        plan->step_ms = step_of(request, plan);
    }
    const uint64_t steps = (plan->to_ms - plan->from_ms) / plan->step_ms;
    if (steps < STEPS_MAX)
        return 0;
    Reason reason = {0};
    reason_set(&reason,
               "That is %" PRIu64 " steps, at most %d are given; use a longer step_ms or a "
               "shorter range.",
               steps, STEPS_MAX);
    return api_refuse(response, "step_ms", &reason);
}

static int get_timeseries(const HttpRequest *request, HttpResponse *response, Hub *hub) {
    cleanup(query_filter_freep) QueryFilter *filter = NULL;
    cleanup(store_result_freep) StoreResult *result = NULL;
    const char *by = http_param(request, "by");
    QueryPlan plan = {.kind = QUERY_SERIES,
                      .metric = metric_of(request),
                      .scaled = is_scaled(request),
                      .limit = (uint32_t)http_param_int(request, "limit")};
    if (strcmp(by, "none") != 0)
        plan.group[plan.group_n++] = field_of(by);
    int r = common(request, response, &plan, &filter);
    if (!r)
        r = series_range(request, response, hub, &plan);
    if (!r)
        r = api_query(hub, response, &plan, &result);
    if (r)
        return r;

    const uint64_t first_ms = plan.from_ms - plan.from_ms % plan.step_ms;
    const size_t steps = (size_t)((plan.to_ms - first_ms + plan.step_ms - 1) / plan.step_ms);
    Series series[SERIES_MAX];
    size_t n = 0;
    r = pivot(result, &plan, first_ms, steps, request->arena, series, &n);
    if (r)
        return error_trace(r);
    Json json = json_make(&response->body);
    json_object_begin(&json, NULL);
    json_u64(&json, "from_ms", plan.from_ms);
    json_u64(&json, "to_ms", plan.to_ms);
    json_u64(&json, "step_ms", plan.step_ms);
    json_array_begin(&json, "times_ms");
    for (size_t s = 0; s < steps; s++)
        json_u64(&json, NULL, first_ms + s * plan.step_ms);
    json_array_end(&json);
    write_series(&json, &plan, series, n, steps);
    json_u64(&json, "elapsed_ms", result->elapsed_ms);
    json_object_end(&json);
    return 0;
}

/* an answer already in the response is no error */
static int done(int r) {
    return r < 0 ? error_trace(r) : 0;
}

int api_get_flows(HttpRequest *request, HttpResponse *response, void *context) {
    return done(get_flows(request, response, context));
}

int api_get_top(HttpRequest *request, HttpResponse *response, void *context) {
    return done(get_top(request, response, context));
}

int api_get_timeseries(HttpRequest *request, HttpResponse *response, void *context) {
    return done(get_timeseries(request, response, context));
}
