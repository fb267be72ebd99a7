#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Meter, inside
 *
 * meter.c holds the table and the packet path, meter_emit.c what a flow is told to be and its
 * records.
 */

#include <stdbool.h>

#include "probe/counters.h"
#include "probe/flow_entry.h"
#include "probe/flow_index.h"
#include "probe/meter.h"
#include "probe/pool.h"
#include "probe/wheel.h"
#include "probe/young.h"

typedef struct FragmentCache FragmentCache;

/* a packet on its way through the stages of a batch */
typedef struct Item {
    Packet packet;
    FlowKey key;
    uint32_t hash;
    uint32_t side; /* that of the sender */
} Item;

struct Meter {
    MeterConfig config;
    uint64_t idle_ns;
    uint64_t active_ns;
    uint32_t sampling; /* 0: all packets come */
    uint8_t sampled;   /* counts its changes */
    uint64_t now_ns;   /* latest packet or tick; 0: none yet */
    Pool flows;        /* FlowEntry */
    Pool more;         /* FlowMore, by the number of the entry */
    Pool names;        /* char[80] */
    Pool paths;        /* FlowPath */
    FlowIndex index;
    FragmentCache *fragments;
    Wheel wheel;
    Young young;
    Item items[METER_BATCH];
};

static inline FlowEntry *entry_at(const Meter *meter, uint32_t number) {
    return (FlowEntry *)(void *)meter->flows.items + number;
}

static inline FlowMore *more_at(const Meter *meter, uint32_t number) {
    return (FlowMore *)(void *)meter->more.items + number;
}

static inline FlowPath *path_at(const Meter *meter, uint32_t number) {
    return (FlowPath *)(void *)meter->paths.items + number;
}

static inline void meter_count(Meter *meter, int counter, uint64_t n) {
    metric_add(&meter->config.counters[counter], n);
}

/** meter_show() - let nDPI see a packet of a flow it has not finished with */
void meter_show(Meter *meter, FlowEntry *entry, FlowMore *more, const Packet *packet);

/** meter_settle() - what is said of the application: the last word, or of a flow that goes on what
 * is known so far */
void meter_settle(Meter *meter, FlowEntry *entry, FlowMore *more, bool last);

/** meter_emit() - make a record, unless nothing came since the last one; last: the flow ends */
void meter_emit(Meter *meter, uint32_t number, uint8_t end_reason, bool last);
