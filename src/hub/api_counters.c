/* SPDX-License-Identifier: Apache-2.0 */

/* What an interface of an exporter has counted, over time. */

#include <string.h>

#include "base/error.h"
#include "base/json.h"
#include "hub/api.h"
#include "hub/hub.h"
#include "query/plan.h"

static int write_step(void *context, const StoreCounter *sum) {
    static const char *const names[_STORE_COUNTER_N] = {"in_octets",    "in_packets", "in_discards",
                                                        "in_errors",    "out_octets", "out_packets",
                                                        "out_discards", "out_errors"};
    Json *json = context;
    json_object_begin(json, NULL);
    json_u64(json, "at_ms", sum->at_ms);
    json_u64(json, "covered_ms", sum->ms);
    for (size_t i = 0; i < _STORE_COUNTER_N; i++)
        json_u64(json, names[i], sum->grown[i]);
    json_object_end(json);
    return 0;
}

int api_get_interface_counters(HttpRequest *request, HttpResponse *response, void *context) {
    Hub *hub = context;
    QueryPlan range = {0};
    int r = api_range(request, response, &range);
    if (r)
        return r < 0 ? r : 0;
    const uint64_t least_ms = (range.to_ms - range.from_ms) / 1000;
    const uint64_t step_ms = (uint64_t)http_param_int(request, "step") * 1000;
    const StoreCounterQuery query = {
        .exporter = (uint64_t)http_param_int(request, "id"),
        .sub_agent = (uint32_t)http_param_int(request, "sub_agent"),
        .interface = (uint32_t)http_param_int(request, "interface"),
        .from_ms = range.from_ms,
        .to_ms = range.to_ms,
        .step_ms = step_ms > least_ms ? step_ms
                   : least_ms         ? least_ms
                                      : 1000,
    };
    Json json = json_make(&response->body);
    json_object_begin(&json, NULL);
    json_u64(&json, "from_ms", query.from_ms);
    json_u64(&json, "to_ms", query.to_ms);
    json_u64(&json, "step_ms", query.step_ms);
    json_array_begin(&json, "steps");
    r = store_counters(hub->store, &query, write_step, &json);
    if (r < 0)
        return error_trace(r);
    if (r > 0) {
        buffer_clear(&response->body);
        http_response_error(response, 503, "store_unavailable", "The store cannot answer now.");
        return 0;
    }
    json_array_end(&json);
    json_object_end(&json);
    return 0;
}
