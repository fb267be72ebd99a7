/* SPDX-License-Identifier: Apache-2.0 */

#include <zmq.h>

#include "base/error.h"
#include "base/json.h"
#include "hub/api.h"
#include "hub/group.h"
#include "hub/hub.h"

static const char *const reason_names[] = {
    [GROUP_GAP_DROPPED] = "dropped",
    [GROUP_GAP_CORRUPT] = "corrupt",
    [GROUP_GAP_UNDECODABLE] = "undecodable",
};

static void write_epoch(Json *json, const uint8_t epoch[STORE_EPOCH_BYTES]) {
    static const char digits[] = "0123456789abcdef";
    char text[2 * STORE_EPOCH_BYTES + 1] = "";
    for (size_t i = 0; i < STORE_EPOCH_BYTES; i++) {
        text[2 * i] = digits[epoch[i] >> 4];
        text[2 * i + 1] = digits[epoch[i] & 15];
    }
    json_text(json, "epoch", text);
}

static int write_gap(void *context, const StoreGap *gap) {
    Json *json = context;
    const size_t known = sizeof(reason_names) / sizeof(*reason_names);
    const char *reason = gap->reason < known ? reason_names[gap->reason] : NULL;
    PeerKey key = {0};
    json_object_begin(json, NULL);
    json_text(json, "key", zmq_z85_encode(key.z85, gap->key, STORE_KEY_BYTES) ? key.z85 : "");
    write_epoch(json, gap->epoch);
    json_u64(json, "first", gap->first);
    json_u64(json, "last", gap->last);
    json_u64(json, "flows", gap->counts.flows);
    json_u64(json, "packets", gap->counts.packets);
    json_u64(json, "octets", gap->counts.octets);
    json_u64(json, "at_ms", gap->at_ms);
    json_text(json, "reason", reason ? reason : "unknown");
    json_object_end(json);
    return 0;
}

int api_get_gaps(HttpRequest *request, HttpResponse *response, void *context) {
    Hub *hub = context;
    Json json = json_make(&response->body);
    uint64_t total = 0;
    const StoreGapPage page = {.since_ms = (uint64_t)http_param_int(request, "since"),
                               .offset = (uint64_t)http_param_int(request, "offset"),
                               .limit = (uint64_t)http_param_int(request, "limit")};
    json_object_begin(&json, NULL);
    json_array_begin(&json, "gaps");
    const int r = store_gaps(hub->store, &page, write_gap, &json, &total);
    if (r < 0)
        return error_trace(r);
    if (r > 0) {
        buffer_clear(&response->body);
        http_response_error(response, 503, "store_unavailable", "The store cannot answer now.");
        return 0;
    }
    json_array_end(&json);
    json_u64(&json, "total", total);
    json_object_end(&json);
    return 0;
}
