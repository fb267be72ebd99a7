#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Application Detection
 *
 * nDPI behind a small door, and JA4 beside it. A flow is given a state (750 bytes) with its first
 * payload, shows its packets until nDPI knows or a limit of packets or bytes is reached, and
 * returns the state at once; the states are a fixed pool. What stays of a flow is what a DpiResult
 * says.
 *
 * One thread. nDPI keeps caches between flows, so each meter has a Dpi of its own.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/metric.h"
#include "base/reason.h"
#include "net/dissect.h"
#include "probe/metadata.h"

typedef struct Dpi Dpi;
typedef struct FlowKey FlowKey;

typedef struct DpiResult {
    uint16_t app;    /* as numbered by nDPI; 0: unknown */
    uint16_t master; /* the protocol that carries it, 0: none */
    uint64_t risk;
    uint8_t category;
    uint8_t confidence;
    Metadata metadata;
} DpiResult;

typedef struct DpiConfig {
    uint32_t max_flows;        /* undecided at a time */
    const char *custom_protos; /* nDPI's file of protocols, or NULL */
    const char *protocols;     /* names or numbers with commas: only these are wanted; or NULL */
    MetricValue *counters;     /* borrowed: _COUNTER_N values, of which the DPI_ rows are written */
} DpiConfig;

enum {
    _DPI_E_SUCCESS,
    DPI_E_REFUSED, /* nDPI does not start, or what it was given is wrong: the reason says so */
};

int dpi_new(Dpi **dpip, const DpiConfig *config, Reason *reason);
Dpi *dpi_free(Dpi *dpi);

/** dpi_begin() - number of a state for a flow, 0 when all are in use */
uint32_t dpi_begin(Dpi *dpi);

/**
 * dpi_packet() - show a packet; `packets` is how many of the flow were shown before. True: there is
 * nothing more to learn, call dpi_end(). The state's number may be another one afterwards.
 */
bool dpi_packet(Dpi *dpi, uint32_t *state, const Packet *packet, unsigned packets);

typedef enum DpiSender {
    DPI_SENDER_UNKNOWN,
    DPI_SENDER_CLIENT,
    DPI_SENDER_SERVER,
} DpiSender;

/**
 * dpi_sender() - what the packet shown last says of its sender, by what was found in it: a request
 * and its answer (HTTP, DNS and its kin), a ClientHello, a ServerHello. Holds as long as it was
 * asked after each packet before, and has not told yet.
 */
DpiSender dpi_sender(Dpi *dpi, uint32_t state);

/** dpi_peek() - what is known so far */
void dpi_peek(Dpi *dpi, uint32_t state, DpiResult *result);

/** dpi_end() - what is known, guessing by port and address if need be; the state is returned */
void dpi_end(Dpi *dpi, uint32_t state, DpiResult *result);

/** dpi_by_port() - for a flow that never had a state; `initiator` is the side that opened it */
void dpi_by_port(Dpi *dpi, const FlowKey *key, unsigned initiator, DpiResult *result);

/** dpi_risk_score() - nDPI's score of a set of risks */
uint16_t dpi_risk_score(uint64_t risk);

/** dpi_wanted() - whether flows of the application are to be exported */
bool dpi_wanted(const Dpi *dpi, uint16_t master, uint16_t app);

/** dpi_app_name() - "TLS.Wikipedia"; returns the length, 0 when unknown */
size_t dpi_app_name(Dpi *dpi, uint16_t master, uint16_t app, char *text, size_t size);

/** dpi_category_name() - constant text, NULL when unspecified */
const char *dpi_category_name(Dpi *dpi, uint16_t category);

DEFINE_CLEANUP(Dpi *, dpi_free)
