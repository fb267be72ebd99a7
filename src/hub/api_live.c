/* SPDX-License-Identifier: Apache-2.0 */

#include "base/clock.h"
#include "base/error.h"
#include "base/json.h"
#include "http/sse.h"
#include "hub/api.h"
#include "hub/hub.h"

int api_get_live(HttpRequest *request, HttpResponse *response, void *context) {
    (void)request;
    Hub *hub = context;
    const uint64_t now_ms = clock_wall_ms();
    Json json = json_make(&response->body);
    json_object_begin(&json, NULL);
    json_u64(&json, "now_ms", now_ms);
    live_write_ticks(hub->live, &json, "ticks");
    live_write_flows(hub->live, &json, "flows");
    api_write_probes(&json, "probes", hub, now_ms);
    json_object_end(&json);
    return 0;
}

int api_get_live_events(HttpRequest *request, HttpResponse *response, void *context) {
    (void)request;
    Hub *hub = context;
    const int r = http_sse_subscribe(hub->http, response, "tick,flows,probes");
    return r < 0 ? error_trace(r) : 0;
}
