/* SPDX-License-Identifier: Apache-2.0 */

#include "probe/dpi.h"

#include <errno.h>
#include <ndpi_main.h>
#include <string.h>

#include "base/error.h"
#include "probe/counters.h"
#include "probe/flow_entry.h"
#include "probe/pool.h"

/* packets after which nDPI will not find out any more; those of its own reader */
enum { TCP_PACKETS_MAX = 80, OTHER_PACKETS_MAX = 24 };

struct Dpi {
    struct ndpi_detection_module_struct *module;
    Pool states; /* struct ndpi_flow_struct */
    MetricValue *counters;
};

static_assert(sizeof(((struct ndpi_flow_struct *)0)->host_server_name) <=
                  sizeof(((DpiResult *)0)->name),
              "a server name fits");

static struct ndpi_flow_struct *state_at(const Dpi *dpi, uint32_t state) {
    return pool_at(&dpi->states, state);
}

int dpi_new(Dpi **dpip, uint32_t max_flows, MetricValue *counters, Reason *reason) {
    cleanup(dpi_freep) Dpi *dpi = calloc(1, sizeof(*dpi));
    if (!dpi)
        return error_origin(-ENOMEM);
    dpi->counters = counters;
    if (ndpi_get_api_version() != NDPI_API_VERSION) {
        reason_set(reason,
                   "the installed libndpi (API %d) is not the one that weir-probe was built with "
                   "(API %d); build again, or run with --no-dpi",
                   ndpi_get_api_version(), NDPI_API_VERSION);
        return DPI_E_REFUSED;
    }
    int r = pool_init(&dpi->states, max_flows, sizeof(struct ndpi_flow_struct));
    if (r < 0)
        return error_trace(r);
    dpi->module = ndpi_init_detection_module(ndpi_no_prefs);
    if (!dpi->module) {
        reason_set(reason, "nDPI does not start (out of memory?); --no-dpi runs without it");
        return DPI_E_REFUSED;
    }
    NDPI_PROTOCOL_BITMASK all;
    NDPI_BITMASK_SET_ALL(all);
    ndpi_set_protocol_detection_bitmask2(dpi->module, &all);
    ndpi_finalize_initialization(dpi->module);
    *dpip = dpi;
    dpi = NULL;
    return 0;
}

Dpi *dpi_free(Dpi *dpi) {
    if (!dpi)
        return NULL;
    if (dpi->module)
        ndpi_exit_detection_module(dpi->module);
    pool_deinit(&dpi->states);
    free(dpi);
    return NULL;
}

uint32_t dpi_begin(Dpi *dpi) {
    uint32_t state = pool_take(&dpi->states);
    if (!state) {
        metric_add(&dpi->counters[COUNTER_DPI_FULL], 1);
        return 0;
    }
    memset(state_at(dpi, state), 0, sizeof(struct ndpi_flow_struct));
    metric_add(&dpi->counters[COUNTER_DPI_FLOWS], 1);
    metric_set(&dpi->counters[COUNTER_DPI_LIVE], dpi->states.used);
    return state;
}

bool dpi_packet(Dpi *dpi, uint32_t state, const Packet *packet, unsigned packets) {
    struct ndpi_flow_struct *flow = state_at(dpi, state);
    uint32_t size = packet->ip_captured_bytes;
    metric_add(&dpi->counters[COUNTER_DPI_PACKETS], 1);
    ndpi_protocol found = ndpi_detection_process_packet(
        dpi->module, flow, packet->ip, (unsigned short)(size > UINT16_MAX ? UINT16_MAX : size),
        packet->time_ns / 1000000);
    unsigned max = packet->protocol == IP_TCP ? TCP_PACKETS_MAX : OTHER_PACKETS_MAX;
    if (packets + 1 >= max)
        return true;
    return found.app_protocol != NDPI_PROTOCOL_UNKNOWN &&
           !ndpi_extra_dissection_possible(dpi->module, flow);
}

static void take_result(const Dpi *dpi, struct ndpi_flow_struct *flow, ndpi_protocol found,
                        DpiResult *result) {
    uint16_t client = 0;
    uint16_t server = 0;
    *result = (DpiResult){
        .app = found.app_protocol,
        .master = found.master_protocol,
        .category = (uint16_t)ndpi_get_proto_category(dpi->module, found),
        .risk = flow->risk,
        .risk_score = flow->risk ? ndpi_risk2score(flow->risk, &client, &server) : 0,
        .confidence = (uint8_t)flow->confidence,
    };
    if (flow->category != NDPI_PROTOCOL_CATEGORY_UNSPECIFIED)
        result->category = (uint16_t)flow->category;
    if (result->app == NDPI_PROTOCOL_UNKNOWN && result->master == NDPI_PROTOCOL_UNKNOWN)
        result->category = 0;
    size_t n = strnlen(flow->host_server_name, sizeof(flow->host_server_name));
    result->name_bytes = (uint8_t)n;
    memcpy(result->name, flow->host_server_name, n);
}

void dpi_peek(const Dpi *dpi, uint32_t state, DpiResult *result) {
    struct ndpi_flow_struct *flow = state_at(dpi, state);
    /* nDPI keeps the application first and what carries it second */
    ndpi_protocol found = {.app_protocol = flow->detected_protocol_stack[0],
                           .master_protocol = flow->detected_protocol_stack[1],
                           .category = flow->category};
    take_result(dpi, flow, found, result);
}

void dpi_end(Dpi *dpi, uint32_t state, DpiResult *result) {
    struct ndpi_flow_struct *flow = state_at(dpi, state);
    uint8_t guessed = 0;
    ndpi_protocol found = ndpi_detection_giveup(dpi->module, flow, 1, &guessed);
    take_result(dpi, flow, found, result);
    ndpi_free_flow_data(flow);
    pool_return(&dpi->states, state);
    metric_set(&dpi->counters[COUNTER_DPI_LIVE], dpi->states.used);
}

static uint32_t host_order(const FlowKey *key, unsigned side) {
    const uint8_t *a = key->address[side];
    if (key->ip_version != 4)
        return 0;
    return (uint32_t)a[0] << 24 | (uint32_t)a[1] << 16 | (uint32_t)a[2] << 8 | a[3];
}

void dpi_by_port(Dpi *dpi, const FlowKey *key, unsigned initiator, DpiResult *result) {
    unsigned i = initiator;
    ndpi_protocol found =
        ndpi_guess_undetected_protocol(dpi->module, NULL, key->protocol, host_order(key, i),
                                       key->port[i], host_order(key, !i), key->port[!i]);
    *result = (DpiResult){.app = found.app_protocol, .master = found.master_protocol};
    if (result->app == NDPI_PROTOCOL_UNKNOWN && result->master == NDPI_PROTOCOL_UNKNOWN)
        return;
    result->category = (uint16_t)ndpi_get_proto_category(dpi->module, found);
    result->confidence = NDPI_CONFIDENCE_MATCH_BY_PORT;
}

size_t dpi_app_name(Dpi *dpi, uint16_t master, uint16_t app, char *text, size_t size) {
    ndpi_protocol found = {.master_protocol = master, .app_protocol = app};
    if (master == NDPI_PROTOCOL_UNKNOWN && app == NDPI_PROTOCOL_UNKNOWN)
        return 0;
    text[0] = 0;
    (void)ndpi_protocol2name(dpi->module, found, text, (u_int)size);
    return strnlen(text, size);
}

const char *dpi_category_name(Dpi *dpi, uint16_t category) {
    if (category == NDPI_PROTOCOL_CATEGORY_UNSPECIFIED)
        return NULL;
    return ndpi_category_get_name(dpi->module, (ndpi_protocol_category_t)category);
}
