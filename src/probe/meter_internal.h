#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Meter, inside
 *
 * meter.c holds the packet path, meter_table.c the making and ending of flows, meter_emit.c what a
 * flow is told to be and its records.
 */

#include <stdbool.h>
#include <string.h>

#include "base/hash.h"
#include "probe/counters.h"
#include "probe/direction.h"
#include "probe/flow_entry.h"
#include "probe/flow_index.h"
#include "probe/measures.h"
#include "probe/metadata.h"
#include "probe/meter.h"
#include "probe/pool.h"
#include "probe/swept.h"
#include "probe/wheel.h"
#include "probe/young.h"

typedef struct FragmentCache FragmentCache;

/* a packet on its way through the stages of a batch */
typedef struct Item {
    Packet packet;
    FlowTag tag;   /* without the number of an IPv6 pair */
    uint32_t hash; /* of tag and pair */
    uint32_t side; /* that of the sender */
    uint32_t hint; /* number of what may be its flow, 0: none */
} Item;

struct Meter {
    MeterConfig config;
    uint64_t idle_ns;
    uint64_t active_ns;
    uint32_t rates[256]; /* sampling, by FlowEntry.sampled; 0: all packets came */
    uint8_t sampled;     /* counts the changes of rate */
    uint64_t seeds[3];
    uint64_t now_ns; /* latest packet or tick; 0: none yet */
    Pool flows;      /* FlowEntry */
    Pool more;       /* FlowMore and... */
    Pool apps;       /* ...FlowApp, by the number of the entry */
    Pool pairs;      /* FlowPair */
    Pool metadata;   /* chunks of it */
    Pool firsts;     /* Firsts, by the number of the entry */
    Pool measures;   /* Measures */
    Pool paths;      /* FlowPath */
    FlowIndex index;
    FragmentCache *fragments;
    Wheel wheel;
    Young young;
    Swept *swept;
    Item items[METER_BATCH];
};

static inline FlowEntry *entry_at(const Meter *meter, uint32_t number) {
    return (FlowEntry *)(void *)meter->flows.items + number;
}

static inline FlowMore *more_at(const Meter *meter, uint32_t number) {
    return (FlowMore *)(void *)meter->more.items + number;
}

static inline FlowApp *app_at(const Meter *meter, uint32_t number) {
    return (FlowApp *)(void *)meter->apps.items + number;
}

static inline FlowPath *path_at(const Meter *meter, uint32_t number) {
    return (FlowPath *)(void *)meter->paths.items + number;
}

static inline FlowPair *pair_at(const Meter *meter, uint32_t number) {
    return (FlowPair *)(void *)meter->pairs.items + number;
}

static inline Firsts *firsts_at(const Meter *meter, uint32_t number) {
    return (Firsts *)(void *)meter->firsts.items + number;
}

static inline Measures *measures_at(const Meter *meter, uint32_t number) {
    return (Measures *)(void *)meter->measures.items + number;
}

static inline void meter_count(Meter *meter, int counter, uint64_t n) {
    metric_add(&meter->config.counters[counter], n);
}

/* nothing came since its last record */
static inline bool entry_silent(const FlowEntry *entry) {
    return (entry->packets[0] | entry->packets[1]) == 0;
}

static inline uint64_t meter_active_end(const Meter *meter, uint32_t number) {
    return more_at(meter, number)->first_ns + meter->active_ns;
}

/** meter_fold() - what stands for the addresses of an IPv6 flow in its tag */
static inline uint32_t meter_fold(const Meter *meter, const FlowPair *pair) {
    uint64_t words[4];
    memcpy(words, pair, sizeof(words));
    return (uint32_t)(hash_mix(words[0] ^ meter->seeds[0], words[1] ^ meter->seeds[1]) ^
                      hash_mix(words[2] ^ meter->seeds[1], words[3] ^ meter->seeds[2]));
}

/** meter_hash_words() - of a tag's bytes */
static inline uint32_t meter_hash_words(const Meter *meter, const uint64_t words[2],
                                        uint32_t last) {
    const uint64_t hash = hash_mix(words[0] ^ meter->seeds[0], words[1] ^ meter->seeds[1]);
    return (uint32_t)hash_mix(hash ^ last, meter->seeds[2]);
}

/** meter_hash() - of all of a tag but the number of an IPv6 pair */
static inline uint32_t meter_hash(const Meter *meter, const FlowTag *tag) {
    uint64_t words[2];
    uint32_t last = 0;
    memcpy(words, tag, sizeof(words));
    memcpy(&last, (const uint8_t *)tag + sizeof(words), sizeof(last));
    if (tag->ip_version == 6)
        memset(words, 0, sizeof(tag->address[0]));
    return meter_hash_words(meter, words, last);
}

/* --- meter_table.c ------------------------------------------------------------------------ */

/** meter_key() - what tells the flow from others, in full */
void meter_key(const Meter *meter, const FlowEntry *entry, FlowKey *key);

/** meter_deadline() - when to look at it next */
uint64_t meter_deadline(const Meter *meter, uint32_t number);

/** meter_create() - at the cap another flow makes room */
uint32_t meter_create(Meter *meter, const Item *item);

void meter_end(Meter *meter, uint32_t number, uint8_t end_reason);

/** meter_sweep() - end a flow without a record of its own */
void meter_sweep(Meter *meter, uint32_t number);

/** meter_end_all() - because the meter or its clock stops */
void meter_end_all(Meter *meter);

/** meter_split() - the flow goes on under the same id; its counters start again */
void meter_split(Meter *meter, uint32_t number);

/** meter_orient() - by a packet of this side */
void meter_orient(FlowEntry *entry, unsigned side, Direction direction);

/** meter_expire() - end or split what is due */
void meter_expire(Meter *meter, uint64_t now_ns);

/** meter_schedule() - its deadline has moved */
void meter_schedule(Meter *meter, uint32_t number);

/* --- meter_emit.c ------------------------------------------------------------------------- */

/** meter_show() - let nDPI see a packet of a flow it has not finished with */
void meter_show(Meter *meter, uint32_t number, const Item *item);

/** meter_settle() - what is said of the application: the last word, or of a flow that goes on what
 * is known so far */
void meter_settle(Meter *meter, uint32_t number, bool last);

/** meter_emit() - make a record, unless nothing came since the last one; last: the flow ends */
void meter_emit(Meter *meter, uint32_t number, uint8_t end_reason, bool last);

/** meter_emit_swept() - make records of what was swept together */
void meter_emit_swept(Meter *meter);

/** meter_input_if() - where packets of this side come in */
uint32_t meter_input_if(const Meter *meter, const FlowEntry *entry, unsigned side);

/** meter_pulse_mark() - before the first packet of this second is counted */
void meter_pulse_mark(Meter *meter, uint32_t number);

/** meter_pulse_add() - what came since, if there is a mark */
void meter_pulse_add(Meter *meter, uint32_t number);

/* --- meter_measures.c --------------------------------------------------------------------- */

/** meter_measure() - a packet, before it is counted */
void meter_measure(Meter *meter, uint32_t number, const Item *item);

/** meter_measures_record() - into a record that has its other fields already */
void meter_measures_record(const Meter *meter, uint32_t number, FlowRecord *record,
                           MeasuresTexts *texts);
