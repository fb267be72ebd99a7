/* SPDX-License-Identifier: Apache-2.0 */

#include "probe/aggregation.h"
#include "probe/measures.h"
#include "probe/meter_internal.h"

/*
 * A flow gets its measures with the packet with which they begin to say something, and while what
 * came before is still known packet by packet: TCP with the second one, others with the second of
 * one side or the third. A flow that finds none free goes without.
 */
static bool measures_due(const FlowEntry *entry, const Item *item) {
    const uint32_t *packets = entry->packets;
    if (packets[0] > 1 || packets[1] > 1)
        return false;
    const uint32_t n = packets[0] + packets[1];
    if (item->packet.protocol == IP_TCP)
        return n == 1;
    return n == 2 || (n == 1 && packets[item->side] == 1);
}

static void begin(Meter *meter, uint32_t number, const Item *item) {
    FlowEntry *entry = entry_at(meter, number);
    /* of one of so many packets no gap and no sequence could be told */
    if (!measures_due(entry, item) || meter->rates[entry->sampled])
        return;
    entry->measures = pool_take(&meter->measures);
    if (!entry->measures) {
        meter_count(meter, COUNTER_MEASURES_FULL, 1);
        return;
    }
    const MeasuresBefore before = {
        .first_ns = more_at(meter, number)->first_ns,
        .last_ns = entry->last_ns,
        .packets = {entry->packets[0], entry->packets[1]},
        .octets = {entry->octets[0], entry->octets[1]},
        .tcp = item->packet.protocol == IP_TCP,
        .initiator = entry_initiator(entry),
    };
    measures_begin(measures_at(meter, entry->measures), firsts_at(meter, number), &before);
}

void meter_measure(Meter *meter, uint32_t number, const Item *item) {
    FlowEntry *entry = entry_at(meter, number);
    if (!entry->measures) {
        if (meter->config.left_out & AGGREGATION_JOINS)
            return;
        if (entry->state & ENTRY_SPLIT)
            return;
        if (entry->packets[item->side] == 0)
            firsts_note(firsts_at(meter, number), item->side, &item->packet, entry_silent(entry));
        begin(meter, number, item);
    }
    if (entry->measures)
        measures_packet(measures_at(meter, entry->measures), item->side, entry_initiator(entry),
                        &item->packet, entry->last_ns);
}

/* a question and its answer, the flow of most lookups, need no measures for this */
static void pair_record(const Meter *meter, uint32_t number, FlowRecord *record) {
    const FlowEntry *entry = entry_at(meter, number);
    if (record->protocol == IP_TCP || record->packets != 1 || record->rev_packets != 1 ||
        (entry->state & ENTRY_SPLIT))
        return;
    record->app_latency_us = (uint32_t)((entry->last_ns - more_at(meter, number)->first_ns) / 1000);
}

void meter_measures_record(const Meter *meter, uint32_t number, FlowRecord *record,
                           MeasuresTexts *texts) {
    const FlowEntry *entry = entry_at(meter, number);
    const unsigned initiator = entry_initiator(entry);
    record->dscp = record->tos >> 2;
    record->rev_dscp = record->rev_tos >> 2;
    if (meter->config.left_out & AGGREGATION_JOINS)
        return;
    if (entry->measures) {
        measures_record(measures_at(meter, entry->measures), initiator, record, texts);
        return;
    }
    if (!(entry->state & ENTRY_SPLIT))
        firsts_record(firsts_at(meter, number), initiator, record, texts);
    pair_record(meter, number, record);
}
