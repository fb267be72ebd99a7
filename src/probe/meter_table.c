/* SPDX-License-Identifier: Apache-2.0 */

#include <string.h>

#include "probe/meter_internal.h"

enum {
    EVICT_LOOK = 16, /* flows looked at to find one that has been idle for long */
    DUE_MAX = 16,
};

static const uint64_t linger_ns = UINT64_C(2000000000);
static const uint64_t nearly_ns = UINT64_C(2) << WHEEL_TICK_SHIFT; /* the wheel may be late by it */

/* --- keys --------------------------------------------------------------------------------- */

void meter_key(const Meter *meter, const FlowEntry *entry, FlowKey *key) {
    const FlowTag *tag = &entry->tag;
    *key = (FlowKey){.port = {tag->port[0], tag->port[1]},
                     .vlan = tag->vlan,
                     .inner_vlan = tag->inner_vlan,
                     .protocol = tag->protocol,
                     .ip_version = tag->ip_version};
    if (tag->ip_version == 6) {
        memcpy(key->address, pair_at(meter, tag->address[0]), sizeof(key->address));
    } else {
        memcpy(key->address[0], &tag->address[0], 4);
        memcpy(key->address[1], &tag->address[1], 4);
    }
}

/* --- ends --------------------------------------------------------------------------------- */

/* everything it has, but for its place in the wheel */
static void let_go(Meter *meter, uint32_t number) {
    FlowEntry *entry = entry_at(meter, number);
    const FlowMore *more = more_at(meter, number);
    if (meter->config.dpi)
        metadata_drop(&meter->metadata, app_at(meter, number)->metadata);
    if (more->path)
        pool_return(&meter->paths, more->path);
    if (entry->measures)
        pool_return(&meter->measures, entry->measures);
    flow_index_remove(&meter->index, meter_hash(meter, &entry->tag), number);
    if (entry->tag.ip_version == 6)
        pool_return(&meter->pairs, entry->tag.address[0]);
    entry->packets[0] = entry->packets[1] = 0; /* no young flow any more */
    entry->tag.ip_version = 0;                 /* and not that of any packet */
    pool_return(&meter->flows, number);
}

static void end_taken(Meter *meter, uint32_t number, uint8_t end_reason) {
    meter_settle(meter, number, true);
    meter_pulse_add(meter, number);
    meter_emit(meter, number, end_reason, true);
    let_go(meter, number);
}

void meter_end(Meter *meter, uint32_t number, uint8_t end_reason) {
    wheel_remove(&meter->wheel, number);
    end_taken(meter, number, end_reason);
}

void meter_sweep(Meter *meter, uint32_t number) {
    const FlowEntry *entry = entry_at(meter, number);
    const FlowMore *more = more_at(meter, number);
    const unsigned sides[2] = {entry_initiator(entry), !entry_initiator(entry)};
    FlowKey key;
    meter_key(meter, entry, &key);
    SweptFlow flow = {.key = {.port = key.port[sides[1]],
                              .vlan = more->vlan,
                              .inner_vlan = more->inner_vlan,
                              .protocol = key.protocol,
                              .ip_version = key.ip_version},
                      .flows = 1,
                      .first_ns = more->first_ns,
                      .last_ns = entry->last_ns,
                      .input_if = meter_input_if(meter, entry, sides[0])};
    memcpy(flow.key.address, key.address[sides[1]], 16);
    for (unsigned i = 0; i < 2; i++) {
        flow.packets[i] = entry->packets[sides[i]];
        flow.octets[i] = flow_octets(entry, more, sides[i]);
        flow.frame_octets[i] = flow_frame_octets(entry, more, sides[i]);
        flow.tcp_flags[i] = entry->tcp_flags[sides[i]];
    }
    /* a record has a single rate; and where only some protocols are wanted, each is looked at */
    if (entry->sampled != meter->sampled ||
        (meter->config.dpi && !dpi_wanted(meter->config.dpi, 0, 0))) {
        meter_end(meter, number, FLOW_END_RESOURCES);
        return;
    }
    if (meter->config.dpi && app_at(meter, number)->dpi) /* its state is needed elsewhere */
        meter_settle(meter, number, true);
    meter_pulse_add(meter, number);
    swept_add(meter->swept, &flow, meter->now_ns);
    meter_count(meter, COUNTER_FLOWS_SWEPT, 1);
    wheel_remove(&meter->wheel, number);
    let_go(meter, number);
}

void meter_end_all(Meter *meter) {
    uint32_t number = 0;
    while ((number = wheel_first(&meter->wheel)) != 0) {
        bool closing = entry_at(meter, number)->state & ENTRY_CLOSING;
        meter_end(meter, number, closing ? FLOW_END_DETECTED : FLOW_END_FORCED);
    }
}

void meter_split(Meter *meter, uint32_t number) {
    FlowEntry *entry = entry_at(meter, number);
    FlowMore *more = more_at(meter, number);
    meter_pulse_add(meter, number); /* its mark stands on the counters */
    meter_emit(meter, number, FLOW_END_ACTIVE, false);
    if (entry->measures)
        measures_split(measures_at(meter, entry->measures));
    memset(entry->packets, 0, sizeof(entry->packets));
    memset(entry->octets, 0, sizeof(entry->octets));
    memset(entry->frame_octets, 0, sizeof(entry->frame_octets));
    memset(entry->tcp_flags, 0, sizeof(entry->tcp_flags));
    memset(more->octets_high, 0, sizeof(more->octets_high));
    memset(more->frame_octets_high, 0, sizeof(more->frame_octets_high));
    entry->state &= (uint16_t)~ENTRY_NEARLY;
    entry->state |= ENTRY_SPLIT;
    entry->sampled = meter->sampled;
}

/* --- time --------------------------------------------------------------------------------- */

uint64_t meter_deadline(const Meter *meter, uint32_t number) {
    const FlowEntry *entry = entry_at(meter, number);
    if (entry->state & ENTRY_CLOSING)
        return entry->last_ns + linger_ns;
    uint64_t idle = entry->last_ns + meter->idle_ns;
    uint64_t active = meter_active_end(meter, number);
    if (!(entry->state & ENTRY_NEARLY) && meter->active_ns > nearly_ns)
        active -= nearly_ns;
    return active < idle && !entry_silent(entry) ? active : idle;
}

void meter_schedule(Meter *meter, uint32_t number) {
    wheel_remove(&meter->wheel, number);
    wheel_add(&meter->wheel, number, meter_deadline(meter, number));
}

/* flows to be ended, out of the wheel already; what they have elsewhere is asked for before the
 * first is */
typedef struct Due {
    uint32_t n;
    struct {
        uint32_t number;
        uint8_t reason;
    } flows[DUE_MAX];
} Due;

static void end_due(Meter *meter, Due *due) {
    for (uint32_t i = 0; i < due->n; i++)
        end_taken(meter, due->flows[i].number, due->flows[i].reason);
    due->n = 0;
}

static void add_due(Meter *meter, Due *due, uint32_t number, uint8_t reason) {
    const FlowEntry *entry = entry_at(meter, number);
    flow_index_prefetch(&meter->index, meter_hash(meter, &entry->tag));
    if (entry->measures)
        measures_prefetch(measures_at(meter, entry->measures));
    else
        __builtin_prefetch(firsts_at(meter, number));
    if (entry->tag.ip_version == 6)
        __builtin_prefetch(pair_at(meter, entry->tag.address[0]));
    if (meter->config.dpi)
        __builtin_prefetch(app_at(meter, number));
    due->flows[due->n].number = number;
    due->flows[due->n++].reason = reason;
    if (due->n == DUE_MAX)
        end_due(meter, due);
}

void meter_expire(Meter *meter, uint64_t now_ns) {
    Due due = {0};
    uint32_t number = 0;
    while ((number = wheel_take(&meter->wheel, now_ns)) != 0) {
        __builtin_prefetch(entry_at(meter, meter->wheel.ahead), 1);
        FlowEntry *entry = entry_at(meter, number);
        const uint64_t deadline_ns = meter_deadline(meter, number);
        if (deadline_ns > now_ns) {
            wheel_add(&meter->wheel, number, deadline_ns);
            continue;
        }
        if (entry->state & ENTRY_CLOSING)
            add_due(meter, &due, number, FLOW_END_DETECTED);
        else if (entry->last_ns + meter->idle_ns <= now_ns)
            add_due(meter, &due, number, FLOW_END_IDLE);
        else {
            if (meter_active_end(meter, number) <= now_ns)
                meter_split(meter, number);
            else
                entry->state |= ENTRY_NEARLY;
            wheel_add(&meter->wheel, number, meter_deadline(meter, number));
        }
    }
    end_due(meter, &due);
}

/* --- beginnings --------------------------------------------------------------------------- */

/* of the flows that are due soonest, the one that has been idle longest; those that turn out not to
 * be due soon are put in their place, so that others are looked at next time */
static uint32_t find_idle(Meter *meter) {
    uint32_t found = 0;
    for (unsigned i = 0; i < EVICT_LOOK; i++) {
        uint32_t number = wheel_first(&meter->wheel);
        if (!found || entry_at(meter, number)->last_ns < entry_at(meter, found)->last_ns)
            found = number;
        meter_schedule(meter, number);
    }
    return found;
}

/* room for one more */
static void evict(Meter *meter) {
    uint32_t number = young_take(&meter->young, entry_at(meter, 0), more_at(meter, 0));
    if (number)
        meter_sweep(meter, number);
    else
        meter_end(meter, find_idle(meter), FLOW_END_RESOURCES);
}

void meter_orient(FlowEntry *entry, unsigned side, Direction direction) {
    const bool answers = direction == DIRECTION_REVERSED || direction == DIRECTION_ANSWERS;
    const bool reversed = answers || direction == DIRECTION_SYN_REVERSED;
    unsigned initiator = reversed ? !side : side;
    entry->state &= (uint16_t) ~(ENTRY_INITIATOR | ENTRY_REVERSED);
    if (initiator)
        entry->state |= ENTRY_INITIATOR;
    if (answers)
        entry->state |= ENTRY_REVERSED;
    if (direction == DIRECTION_ASKS || direction == DIRECTION_ANSWERS)
        entry->state |= ENTRY_TOLD;
    if (direction == DIRECTION_SYN || direction == DIRECTION_SYN_REVERSED)
        entry->state |= ENTRY_SYN;
}

static uint32_t path_note(Meter *meter, const Item *item) {
    const PacketPath *path = &item->packet.path;
    uint32_t number = pool_take(&meter->paths);
    FlowPath *to = path_at(meter, number); /* there is one for each flow */
    *to = (FlowPath){.mpls_label = path->mpls_label,
                     .vlan = path->vlan,
                     .ip_version = path->ip_version,
                     .depth = path->depth};
    memcpy(to->types, path->types, path->depth);
    if (path->ip_version) {
        memcpy(to->address[item->side], path->src, 16);
        memcpy(to->address[!item->side], path->dst, 16);
    }
    return number;
}

static uint32_t pair_note(Meter *meter, const Item *item) {
    uint32_t number = pool_take(&meter->pairs);
    FlowPair *to = pair_at(meter, number); /* there is one for each flow */
    memcpy(to->address[item->side], item->packet.src, 16);
    memcpy(to->address[!item->side], item->packet.dst, 16);
    return number;
}

static void more_note(Meter *meter, FlowMore *more, const Item *item) {
    const Packet *packet = &item->packet;
    *more = (FlowMore){.id = meter->config.flow_id++,
                       .first_ns = packet->time_ns,
                       .icmp_type = packet->icmp_type,
                       .icmp_code = packet->icmp_code,
                       .vlan = packet->vlan,
                       .inner_vlan = packet->inner_vlan};
    if (packet->path.depth || packet->path.mpls_label)
        more->path = path_note(meter, item);
    if (packet->macs) {
        more->has_macs = 1;
        memcpy(more->mac[!item->side], packet->macs, 6);
        memcpy(more->mac[item->side], packet->macs + 6, 6);
    }
}

/* where the next new flow will be; 0: nobody knows */
static void prefetch_place(const Meter *meter, uint32_t number) {
    __builtin_prefetch(entry_at(meter, number), 1);
    __builtin_prefetch(more_at(meter, number), 1);
    __builtin_prefetch(firsts_at(meter, number), 1);
}

uint32_t meter_create(Meter *meter, const Item *item) {
    uint32_t number = pool_take(&meter->flows);
    if (!number) {
        evict(meter);
        number = pool_take(&meter->flows);
    }
    const Packet *packet = &item->packet;
    FlowEntry *entry = entry_at(meter, number);
    prefetch_place(meter, meter->flows.free);
    *entry = (FlowEntry){.tag = item->tag, .last_ns = packet->time_ns, .sampled = meter->sampled};
    if (packet->ip_version == 6)
        entry->tag.address[0] = pair_note(meter, item);
    more_note(meter, more_at(meter, number), item);
    if (meter->config.dpi)
        *app_at(meter, number) = (FlowApp){0};
    else
        entry->state |= ENTRY_DPI_DONE;
    meter_orient(entry, item->side, direction_tell(packet));
    flow_index_add(&meter->index, item->hash, number);
    wheel_add(&meter->wheel, number, meter_deadline(meter, number));
    young_put(&meter->young, number, packet->time_ns);
    meter_count(meter, COUNTER_FLOWS_CREATED, 1);
    return number;
}
