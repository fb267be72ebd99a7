/* SPDX-License-Identifier: Apache-2.0 */

#include "probe/dpi.h"

#include <assert.h>
#include <errno.h>
#include <ndpi_main.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/error.h"
#include "probe/client_hello.h"
#include "probe/counters.h"
#include "probe/custom_protos.h"
#include "probe/dpi_facts.h"
#include "probe/flow_entry.h"
#include "probe/ndpi_inside.h"
#include "probe/park.h"

/* packets after which nDPI will not find out any more: those of its own reader; and bytes, so that
 * a bulk transfer that it does not know ends sooner */
enum { TCP_PACKETS_MAX = 80, OTHER_PACKETS_MAX = 24, BYTES_MAX = 128 << 10 };

enum { STATES_WHOLE = 2048 }; /* 1.5 MB */

enum { HELLOS_MAX = 4096 }; /* that are being put together */

typedef struct DpiState {
    struct ndpi_flow_struct flow;
    HelloState hello;
    uint32_t bytes : 31;
    uint32_t emptied : 1; /* what ndpi_pack() said */
} DpiState;

static_assert(sizeof(DpiState) % 8 == 0, "parked in words of eight bytes");

struct Dpi {
    struct ndpi_detection_module_struct *module;
    HelloReader *hellos;
    Park states;   /* DpiState */
    DpiState room; /* of one that was parked */
    DpiState *state;
    uint32_t number; /* of that; 0: none */
    NdpiSpare spare;
    MetricValue *counters;
    bool some; /* only those in `wanted` are exported */
    NDPI_PROTOCOL_BITMASK wanted;
};

static_assert(NDPI_PROTOCOL_NUM_CATEGORIES <= 256, "a byte in each flow");

/* between packets a state is mostly zeros, and may be parked */
static DpiState *state_load(Dpi *dpi, uint32_t number) {
    if (dpi->number != number)
        dpi->state = park_load(&dpi->states, number, &dpi->room);
    dpi->number = number;
    return dpi->state;
}

/* one of --ndpi-protocols, which is cut off the list */
static int want_one(Dpi *dpi, const char *name, size_t size, Reason *reason) {
    char text[64];
    (void)snprintf(text, sizeof(text), "%.*s", (int)size, name);
    char *end = NULL;
    unsigned long number = strtoul(text, &end, 10);
    if (end == text || *end)
        number = ndpi_get_proto_by_name(dpi->module, text);
    const bool unknown = strcasecmp(text, "unknown") == 0;
    if (size >= sizeof(text) || (number == NDPI_PROTOCOL_UNKNOWN && !unknown) ||
        number >= ndpi_get_num_supported_protocols(dpi->module)) {
        reason_set(reason,
                   "--ndpi-protocols: nDPI knows no protocol '%s'; names are as app_name has them, "
                   "for example DNS,HTTP,BitTorrent",
                   text);
        return DPI_E_REFUSED;
    }
    NDPI_ADD_PROTOCOL_TO_BITMASK(dpi->wanted, number);
    return 0;
}

static int want_protocols(Dpi *dpi, const char *list, Reason *reason) {
    dpi->some = list != NULL;
    while (list && *list) {
        size_t size = strcspn(list, ",");
        int r = want_one(dpi, list, size, reason);
        if (r)
            return r;
        list += size + (list[size] == ',');
    }
    return 0;
}

static int start_module(Dpi *dpi, const DpiConfig *config, Reason *reason) {
    dpi->module = ndpi_init_detection_module(ndpi_no_prefs);
    if (!dpi->module) {
        reason_set(reason, "nDPI does not start (out of memory?); --no-dpi runs without it");
        return DPI_E_REFUSED;
    }
    NDPI_PROTOCOL_BITMASK all;
    NDPI_BITMASK_SET_ALL(all);
    ndpi_set_protocol_detection_bitmask2(dpi->module, &all);
    if (config->custom_protos) {
        int r = custom_protos_load(dpi->module, config->custom_protos, reason);
        if (r)
            return r > 0 ? DPI_E_REFUSED : error_trace(r);
    }
    ndpi_finalize_initialization(dpi->module);
    return want_protocols(dpi, config->protocols, reason);
}

int dpi_new(Dpi **dpip, const DpiConfig *config, Reason *reason) {
    cleanup(dpi_freep) Dpi *dpi = calloc(1, sizeof(*dpi));
    if (!dpi)
        return error_origin(-ENOMEM);
    dpi->counters = config->counters;
    if (ndpi_get_api_version() != NDPI_API_VERSION) {
        reason_set(reason,
                   "the installed libndpi (API %d) is not the one that weir-probe was built with "
                   "(API %d); build again, or run with --no-dpi",
                   ndpi_get_api_version(), NDPI_API_VERSION);
        return DPI_E_REFUSED;
    }
    int r = park_init(&dpi->states, config->max_flows, STATES_WHOLE, sizeof(DpiState));
    if (r < 0)
        return error_trace(r);
    r = start_module(dpi, config, reason);
    if (r)
        return r;
    r = hello_reader_new(&dpi->hellos, HELLOS_MAX);
    if (r < 0)
        return error_trace(r);
    *dpip = dpi;
    dpi = NULL;
    return 0;
}

Dpi *dpi_free(Dpi *dpi) {
    if (!dpi)
        return NULL;
    if (dpi->module)
        ndpi_exit_detection_module(dpi->module);
    hello_reader_free(dpi->hellos);
    park_deinit(&dpi->states);
    ndpi_spare_deinit(&dpi->spare);
    free(dpi);
    return NULL;
}

uint32_t dpi_begin(Dpi *dpi) {
    uint32_t state = park_take(&dpi->states);
    if (!state) {
        metric_add(&dpi->counters[COUNTER_DPI_FULL], 1);
        return 0;
    }
    dpi->number = 0; /* its memory may be that of the one that was looked at */
    metric_add(&dpi->counters[COUNTER_DPI_FLOWS], 1);
    metric_set(&dpi->counters[COUNTER_DPI_LIVE], dpi->states.used);
    return state;
}

static bool limit_reached(Dpi *dpi, const DpiState *state, const Packet *packet, unsigned packets) {
    unsigned max = packet->protocol == IP_TCP ? TCP_PACKETS_MAX : OTHER_PACKETS_MAX;
    if (packets + 1 < max && state->bytes < BYTES_MAX)
        return false;
    if (state->flow.detected_protocol_stack[0] == NDPI_PROTOCOL_UNKNOWN)
        metric_add(&dpi->counters[COUNTER_DPI_GIVEN_UP], 1);
    return true;
}

bool dpi_packet(Dpi *dpi, uint32_t *numberp, const Packet *packet, unsigned packets) {
    DpiState *state = state_load(dpi, *numberp);
    struct ndpi_flow_struct *flow = &state->flow;
    uint32_t size = packet->ip_captured_bytes;
    metric_add(&dpi->counters[COUNTER_DPI_PACKETS], 1);
    ndpi_unpack(flow, &dpi->spare, state->emptied);
    ndpi_protocol found = ndpi_detection_process_packet(
        dpi->module, flow, packet->ip, (unsigned short)(size > UINT16_MAX ? UINT16_MAX : size),
        packet->time_ns / 1000000);
    state->emptied = ndpi_pack(flow, &dpi->spare);
    if (!hello_packet(dpi->hellos, &state->hello, packet))
        metric_add(&dpi->counters[COUNTER_HELLOS_FULL], 1);
    state->bytes = (state->bytes + packet->payload_bytes) & 0x7fffffffu;
    if (limit_reached(dpi, state, packet, packets) ||
        (found.app_protocol != NDPI_PROTOCOL_UNKNOWN &&
         !ndpi_extra_dissection_possible(dpi->module, flow)))
        return true; /* dpi_end() is next, and takes it from here */
    *numberp = park_store(&dpi->states, *numberp, state);
    dpi->number = 0;
    return false;
}

DpiSender dpi_sender(Dpi *dpi, uint32_t number) {
    const DpiState *state = state_load(dpi, number);
    if (state->hello.has_ja4)
        return DPI_SENDER_CLIENT;
    return dpi_facts_sender(&state->flow);
}

static void take_result(const Dpi *dpi, const DpiState *state, ndpi_protocol found,
                        DpiResult *result) {
    const struct ndpi_flow_struct *flow = &state->flow;
    result->app = found.app_protocol;
    result->master = found.master_protocol;
    result->category = (uint8_t)ndpi_get_proto_category(dpi->module, found);
    result->risk = flow->risk;
    result->confidence = (uint8_t)flow->confidence;
    if (flow->category != NDPI_PROTOCOL_CATEGORY_UNSPECIFIED)
        result->category = (uint8_t)flow->category;
    if (result->app == NDPI_PROTOCOL_UNKNOWN && result->master == NDPI_PROTOCOL_UNKNOWN)
        result->category = 0;
    metadata_clear(&result->metadata);
    dpi_facts_take(flow, result->app, result->master, &result->metadata);
    if (state->hello.has_ja4)
        metadata_put(&result->metadata, METADATA_JA4, state->hello.ja4, JA4_BYTES);
}

void dpi_peek(Dpi *dpi, uint32_t number, DpiResult *result) {
    const DpiState *state = state_load(dpi, number);
    /* nDPI keeps the application first and what carries it second */
    ndpi_protocol found = {.app_protocol = state->flow.detected_protocol_stack[0],
                           .master_protocol = state->flow.detected_protocol_stack[1],
                           .category = state->flow.category};
    take_result(dpi, state, found, result);
}

void dpi_end(Dpi *dpi, uint32_t number, DpiResult *result) {
    DpiState *state = state_load(dpi, number);
    uint8_t guessed = 0;
    ndpi_unpack(&state->flow, &dpi->spare, state->emptied);
    ndpi_protocol found = ndpi_detection_giveup(dpi->module, &state->flow, 1, &guessed);
    take_result(dpi, state, found, result);
    hello_end(dpi->hellos, &state->hello);
    (void)ndpi_pack(&state->flow, &dpi->spare);
    ndpi_free_flow_data(&state->flow);
    park_return(&dpi->states, number);
    dpi->number = 0;
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
    metadata_clear(&result->metadata);
    if (result->app == NDPI_PROTOCOL_UNKNOWN && result->master == NDPI_PROTOCOL_UNKNOWN)
        return;
    result->category = (uint8_t)ndpi_get_proto_category(dpi->module, found);
    result->confidence = NDPI_CONFIDENCE_MATCH_BY_PORT;
}

bool dpi_wanted(const Dpi *dpi, uint16_t master, uint16_t app) {
    if (!dpi->some)
        return true;
    return NDPI_ISSET(&dpi->wanted, app) ||
           (master != NDPI_PROTOCOL_UNKNOWN && NDPI_ISSET(&dpi->wanted, master));
}

uint16_t dpi_risk_score(uint64_t risk) {
    uint16_t client = 0;
    uint16_t server = 0;
    return risk ? ndpi_risk2score(risk, &client, &server) : 0;
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
