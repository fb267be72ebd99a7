/* SPDX-License-Identifier: Apache-2.0 */

#include <errno.h>
#include <string.h>

#include "base/error.h"
#include "base/hash.h"
#include "net/fragment.h"
#include "probe/direction.h"
#include "probe/meter_internal.h"
#include "probe/pulse.h"

enum {
    FRAGMENT_DATAGRAMS = 4096,
    FRAGMENTS_HELD = 4096,
    EVICT_LOOK = 16, /* flows looked at to find one that has been idle for long */
};

static const uint64_t second_ns = UINT64_C(1000000000);
static const uint64_t linger_ns = UINT64_C(2000000000);
static const uint64_t step_ns = UINT64_C(60000000000); /* time going back by more is a step */

/* --- life --------------------------------------------------------------------------------- */

int meter_new(Meter **meterp, const MeterConfig *config) {
    cleanup(meter_freep) Meter *meter = calloc(1, sizeof(*meter));
    if (!meter)
        return error_origin(-ENOMEM);
    meter->config = *config;
    meter->idle_ns = config->idle_s * second_ns;
    meter->active_ns = config->active_s * second_ns;
    int r = pool_init(&meter->flows, config->max_flows, sizeof(FlowEntry));
    if (r == 0)
        r = pool_init(&meter->more, config->max_flows, sizeof(FlowMore));
    if (r == 0)
        r = pool_init(&meter->names, config->max_flows / 2 + 1, sizeof(((DpiResult *)0)->name));
    if (r == 0)
        r = flow_index_init(&meter->index, config->max_flows);
    if (r == 0)
        r = young_init(&meter->young, config->max_flows);
    if (r == 0)
        r = pool_init(&meter->paths, config->max_flows, sizeof(FlowPath));
    if (r == 0)
        r = fragment_cache_new(&meter->fragments, FRAGMENT_DATAGRAMS, FRAGMENTS_HELD, config->seed);
    if (r < 0)
        return error_trace(r);
    meter->wheel.entries = entry_at(meter, 0);
    *meterp = meter;
    meter = NULL;
    return 0;
}

Meter *meter_free(Meter *meter) {
    if (!meter)
        return NULL;
    pool_deinit(&meter->flows);
    pool_deinit(&meter->more);
    pool_deinit(&meter->names);
    pool_deinit(&meter->paths);
    flow_index_deinit(&meter->index);
    young_deinit(&meter->young);
    fragment_cache_free(meter->fragments);
    free(meter);
    return NULL;
}

/* --- the table ---------------------------------------------------------------------------- */

static uint32_t key_hash(const Meter *meter, const FlowKey *key) {
    return (uint32_t)hash_bytes(key, sizeof(*key), meter->config.seed);
}

static void flow_end(Meter *meter, uint32_t number, uint8_t end_reason) {
    FlowEntry *entry = entry_at(meter, number);
    meter_settle(meter, entry, more_at(meter, number), true);
    if (entry->pulse_packets)
        pulse_add(meter->config.pulse, entry, more_at(meter, number));
    meter_emit(meter, number, end_reason, true);
    const FlowMore *more = more_at(meter, number);
    if (more->name)
        pool_return(&meter->names, more->name);
    if (more->path)
        pool_return(&meter->paths, more->path);
    wheel_remove(&meter->wheel, number);
    flow_index_remove(&meter->index, key_hash(meter, &entry->key), number);
    entry->packets[0] = entry->packets[1] = 0; /* no young flow any more */
    pool_return(&meter->flows, number);
}

/* the flow goes on under the same id; its counters start again */
static void flow_split(Meter *meter, uint32_t number) {
    FlowEntry *entry = entry_at(meter, number);
    meter_emit(meter, number, FLOW_END_ACTIVE, false);
    memset(entry->packets, 0, sizeof(entry->packets));
    memset(entry->octets, 0, sizeof(entry->octets));
    memset(entry->frame_octets, 0, sizeof(entry->frame_octets));
    memset(entry->tcp_flags, 0, sizeof(entry->tcp_flags));
    entry->state |= ENTRY_SPLIT;
    entry->sampled = meter->sampled;
    more_at(meter, number)->sampling = meter->sampling;
}

static bool entry_silent(const FlowEntry *entry) {
    return (entry->packets[0] | entry->packets[1]) == 0;
}

static uint64_t entry_deadline(const Meter *meter, const FlowEntry *entry) {
    if (entry->state & ENTRY_CLOSING)
        return entry->last_ns + linger_ns;
    uint64_t idle = entry->last_ns + meter->idle_ns;
    uint64_t active = entry->first_ns + meter->active_ns;
    return active < idle && !entry_silent(entry) ? active : idle;
}

static void expire(Meter *meter, uint64_t now_ns) {
    uint32_t number = 0;
    while ((number = wheel_take(&meter->wheel, now_ns)) != 0) {
        FlowEntry *entry = entry_at(meter, number);
        bool due = entry_deadline(meter, entry) <= now_ns;
        wheel_add(&meter->wheel, number, entry_deadline(meter, entry));
        if (!due)
            continue;
        if (entry->state & ENTRY_CLOSING)
            flow_end(meter, number, FLOW_END_DETECTED);
        else if (entry->last_ns + meter->idle_ns <= now_ns)
            flow_end(meter, number, FLOW_END_IDLE);
        else {
            flow_split(meter, number);
            wheel_remove(&meter->wheel, number);
            wheel_add(&meter->wheel, number, entry_deadline(meter, entry));
        }
    }
}

/* of the flows that are due soonest, the one that has been idle longest; those that turn out not to
 * be due soon are put in their place, so that others are looked at next time */
static uint32_t find_idle(Meter *meter) {
    uint32_t found = 0;
    for (unsigned i = 0; i < EVICT_LOOK; i++) {
        uint32_t number = wheel_first(&meter->wheel);
        if (!found || entry_at(meter, number)->last_ns < entry_at(meter, found)->last_ns)
            found = number;
        wheel_remove(&meter->wheel, number);
        wheel_add(&meter->wheel, number, entry_deadline(meter, entry_at(meter, number)));
    }
    return found;
}

/* room for one more */
static void evict(Meter *meter) {
    uint32_t number = young_take(&meter->young, entry_at(meter, 0));
    flow_end(meter, number ? number : find_idle(meter), FLOW_END_RESOURCES);
}

static void flow_orient(FlowEntry *entry, unsigned side, Direction direction) {
    bool reversed = direction == DIRECTION_REVERSED || direction == DIRECTION_SYN_REVERSED;
    unsigned initiator = reversed ? !side : side;
    entry->state &= (uint8_t) ~(ENTRY_INITIATOR | ENTRY_REVERSED);
    if (initiator)
        entry->state |= ENTRY_INITIATOR;
    if (direction == DIRECTION_REVERSED)
        entry->state |= ENTRY_REVERSED;
    if (direction == DIRECTION_SYN || direction == DIRECTION_SYN_REVERSED)
        entry->state |= ENTRY_SYN;
}

static void path_note(Meter *meter, FlowMore *more, const Item *item) {
    const PacketPath *path = &item->packet.path;
    more->path = pool_take(&meter->paths);
    FlowPath *to = path_at(meter, more->path); /* there is one for each flow */
    *to = (FlowPath){.mpls_label = path->mpls_label,
                     .vlan = path->vlan,
                     .ip_version = path->ip_version,
                     .depth = path->depth};
    memcpy(to->types, path->types, path->depth);
    if (path->ip_version) {
        memcpy(to->address[item->side], path->src, 16);
        memcpy(to->address[!item->side], path->dst, 16);
    }
}

static uint32_t flow_create(Meter *meter, const Item *item) {
    uint32_t number = pool_take(&meter->flows);
    if (!number) {
        evict(meter);
        number = pool_take(&meter->flows);
    }
    const Packet *packet = &item->packet;
    FlowEntry *entry = entry_at(meter, number);
    FlowMore *more = more_at(meter, number);
    *entry = (FlowEntry){.key = item->key,
                         .first_ns = packet->time_ns,
                         .last_ns = packet->time_ns,
                         .sampled = meter->sampled};
    *more = (FlowMore){.id = meter->config.flow_id++,
                       .sampling = meter->sampling,
                       .icmp_type = packet->icmp_type,
                       .icmp_code = packet->icmp_code,
                       .vlan = packet->vlan,
                       .inner_vlan = packet->inner_vlan};
    if (packet->path.depth || packet->path.mpls_label)
        path_note(meter, more, item);
    if (packet->macs) {
        more->has_macs = 1;
        memcpy(more->mac[!item->side], packet->macs, 6);
        memcpy(more->mac[item->side], packet->macs + 6, 6);
    }
    flow_orient(entry, item->side, direction_tell(packet));
    flow_index_add(&meter->index, item->hash, number);
    wheel_add(&meter->wheel, number, entry_deadline(meter, entry));
    young_put(&meter->young, number, entry);
    meter_count(meter, COUNTER_FLOWS_CREATED, 1);
    return number;
}

static uint32_t flow_find(const Meter *meter, const FlowKey *key, uint32_t hash) {
    uint32_t at = hash;
    uint32_t number = 0;
    while ((number = flow_index_next(&meter->index, hash, &at)) != 0)
        if (memcmp(&entry_at(meter, number)->key, key, sizeof(*key)) == 0)
            break;
    return number;
}

/* --- packets ------------------------------------------------------------------------------ */

static void update_tcp(Meter *meter, uint32_t number, FlowEntry *entry, const Item *item) {
    uint16_t flags = item->packet.tcp_flags;
    entry->tcp_flags[item->side] |= flags;
    if (!(flags & (TCP_SYN | TCP_FIN | TCP_RST)))
        return;
    if ((flags & TCP_SYN) && !(entry->state & (ENTRY_SYN | ENTRY_SPLIT)))
        flow_orient(entry, item->side, direction_certain(&item->packet));
    if (flags & TCP_FIN)
        entry->state |= (uint8_t)(ENTRY_FIN_0 << item->side);
    bool ended = (entry->state & ENTRY_FIN_0) && (entry->state & ENTRY_FIN_1);
    if (!(entry->state & ENTRY_CLOSING) && (ended || (flags & TCP_RST))) {
        entry->state |= ENTRY_CLOSING;
        wheel_remove(&meter->wheel, number);
        wheel_add(&meter->wheel, number, entry_deadline(meter, entry));
    }
}

/* the first packet of a side in this record */
static void note_side(Meter *meter, FlowMore *more, const Item *item) {
    more->tos[item->side] = item->packet.tos;
    if (more->path)
        path_at(meter, more->path)->id[item->side] =
            item->packet.path.depth ? item->packet.path.id : 0;
}

static void flow_update(Meter *meter, uint32_t number, const Item *item) {
    const Packet *packet = &item->packet;
    FlowEntry *entry = entry_at(meter, number);
    unsigned side = item->side;
    if (entry_silent(entry))
        entry->first_ns = packet->time_ns;
    if (entry->packets[side] == 0)
        note_side(meter, more_at(meter, number), item);
    entry->packets[side]++;
    entry->octets[side] += packet->ip_bytes;
    entry->frame_octets[side] += packet->frame_bytes;
    if (packet->time_ns > entry->last_ns)
        entry->last_ns = packet->time_ns;
    else if (packet->time_ns < entry->first_ns)
        entry->first_ns = packet->time_ns;
    if (packet->protocol == IP_TCP)
        update_tcp(meter, number, entry, item);
    if (!(entry->state & ENTRY_DPI_DONE))
        meter_show(meter, entry, more_at(meter, number), packet);
    if (meter->config.pulse) {
        if (entry->pulse_packets++ == 0)
            pulse_touch(meter->config.pulse, number);
        entry->pulse_octets[side] += packet->ip_bytes;
    }
}

static void end_all(Meter *meter) {
    uint32_t number = 0;
    while ((number = wheel_first(&meter->wheel)) != 0) {
        bool closing = entry_at(meter, number)->state & ENTRY_CLOSING;
        flow_end(meter, number, closing ? FLOW_END_DETECTED : FLOW_END_FORCED);
    }
}

/* the clock of packets; steps back end everything, for no deadline would hold */
static void advance(Meter *meter, uint64_t time_ns) {
    if (meter->now_ns == 0) {
        meter->now_ns = time_ns;
        meter->wheel.tick = wheel_tick(time_ns);
    }
    if (time_ns > meter->now_ns) {
        meter->now_ns = time_ns;
        if (wheel_tick(time_ns) > meter->wheel.tick)
            expire(meter, time_ns);
    } else if (time_ns + step_ns < meter->now_ns) {
        meter_count(meter, COUNTER_CLOCK_STEPS, 1);
        end_all(meter);
        meter->now_ns = time_ns;
        meter->wheel.tick = wheel_tick(time_ns);
    }
}

/* a port pair used again: a SYN after the end */
static bool flow_over(const FlowEntry *entry, const Packet *packet) {
    return (entry->state & ENTRY_CLOSING) && packet->protocol == IP_TCP &&
           (packet->tcp_flags & (TCP_SYN | TCP_ACK | TCP_RST)) == TCP_SYN;
}

static bool split_due(const Meter *meter, const FlowEntry *entry, const Packet *packet,
                      unsigned side) {
    if (entry->packets[side] == UINT32_MAX || entry->sampled != meter->sampled)
        return true;
    return packet->time_ns >= entry->first_ns + meter->active_ns && !entry_silent(entry);
}

static void account(Meter *meter, const Item *item) {
    uint32_t number = flow_find(meter, &item->key, item->hash);
    if (number) {
        const FlowEntry *entry = entry_at(meter, number);
        if (flow_over(entry, &item->packet)) {
            flow_end(meter, number, FLOW_END_DETECTED);
            number = 0;
        } else if (split_due(meter, entry, &item->packet, item->side))
            flow_split(meter, number);
    }
    if (!number)
        number = flow_create(meter, item);
    flow_update(meter, number, item);
}

/* sides by the order of addresses, then ports: both directions give the same key */
static void item_key(const Meter *meter, Item *item) {
    const Packet *p = &item->packet;
    uint64_t src[2];
    uint64_t dst[2];
    memcpy(src, p->src, 16);
    memcpy(dst, p->dst, 16);
    bool swap = false;
    if (src[0] != dst[0])
        swap = src[0] > dst[0];
    else if (src[1] != dst[1])
        swap = src[1] > dst[1];
    else
        swap = p->src_port > p->dst_port;
    unsigned s = swap;
    FlowKey *key = &item->key;
    memcpy(key->address[s], src, 16);
    memcpy(key->address[!s], dst, 16);
    key->port[s] = p->src_port;
    key->port[!s] = p->dst_port;
    key->vlan = meter->config.vlan_key == METER_VLAN_NONE ? 0 : p->vlan;
    key->inner_vlan = meter->config.vlan_key == METER_VLAN_ALL ? p->inner_vlan : 0;
    key->protocol = p->protocol;
    key->ip_version = p->ip_version;
    key->zero[0] = key->zero[1] = 0;
    item->side = s;
}

static void count_oddities(Meter *meter, uint8_t notes) {
    static const struct {
        uint8_t note;
        int counter;
    } rows[] = {
        {PACKET_TRANSPORT_CUT, COUNTER_ODD_CUT},
        {PACKET_LENGTH_BEYOND, COUNTER_ODD_BEYOND},
        {PACKET_TRANSPORT_BAD, COUNTER_ODD_TRANSPORT},
        {PACKET_TUNNEL_CUT, COUNTER_ODD_TUNNEL_CUT},
        {PACKET_TUNNEL_BAD, COUNTER_ODD_TUNNEL},
        {PACKET_TUNNEL_DEEP, COUNTER_ODD_TUNNEL_DEEP},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        if (notes & rows[i].note)
            meter_count(meter, rows[i].counter, 1);
}

/* false: the packet waits for the first fragment of its datagram */
static bool find_datagram(Meter *meter, Packet *packet) {
    int r = fragment_resolve(meter->fragments, packet);
    if (r == FRAGMENT_E_UNKNOWN)
        meter_count(meter, COUNTER_FRAGMENTS_ORPHANED, 1);
    return r != FRAGMENT_E_HELD;
}

/* first stage: dissect, hash, ask for the cache line of the index */
static bool item_prepare(Meter *meter, Item *item, const Frame *frame) {
    int answer = dissect_frame(frame, meter->config.mode, &item->packet);
    if (answer) {
        meter_count(meter, counter_ignored_packets(answer), 1);
        meter_count(meter, counter_ignored_bytes(answer), frame->wire_bytes);
        return false;
    }
    if (item->packet.notes)
        count_oddities(meter, item->packet.notes);
    if (item->packet.n_datagrams && !find_datagram(meter, &item->packet))
        return false;
    item_key(meter, item);
    item->hash = key_hash(meter, &item->key);
    flow_index_prefetch(&meter->index, item->hash);
    return true;
}

/* fragments that wait no more: because of the first one, or for too long */
static void take_fragments(Meter *meter, uint64_t now_ns) {
    Item item;
    bool known = false;
    fragment_expire(meter->fragments, now_ns);
    while (fragment_take(meter->fragments, &item.packet, &known)) {
        if (!known)
            meter_count(meter, COUNTER_FRAGMENTS_ORPHANED, 1);
        item_key(meter, &item);
        item.hash = key_hash(meter, &item.key);
        account(meter, &item); /* its time has passed already */
        meter_count(meter, COUNTER_PACKETS_METERED, 1);
        meter_count(meter, COUNTER_BYTES_METERED, item.packet.frame_bytes);
        meter_count(meter, COUNTER_OCTETS_METERED, item.packet.ip_bytes);
    }
}

static void set_gauges(Meter *meter) {
    FragmentHeld held = fragment_held(meter->fragments);
    metric_set(&meter->config.counters[COUNTER_FLOWS_LIVE], meter->flows.used);
    metric_set(&meter->config.counters[COUNTER_FRAGMENTS_HELD], held.packets);
    metric_set(&meter->config.counters[COUNTER_FRAGMENTS_HELD_BYTES], held.frame_bytes);
}

void meter_frames(Meter *meter, const Frame *frames, size_t n) {
    uint64_t bytes = 0;
    uint64_t metered = 0;
    uint64_t octets = 0;
    size_t items = 0;
    for (size_t i = 0; i < n; i++) {
        bytes += frames[i].wire_bytes;
        if (!item_prepare(meter, &meter->items[items], &frames[i]))
            continue;
        metered += meter->items[items].packet.frame_bytes;
        octets += meter->items[items++].packet.ip_bytes;
    }
    for (size_t i = 0; i < items; i++) {
        uint32_t at = meter->items[i].hash;
        uint32_t number = flow_index_next(&meter->index, meter->items[i].hash, &at);
        if (number) {
            __builtin_prefetch(entry_at(meter, number), 1);
            __builtin_prefetch((char *)entry_at(meter, number) + 64, 1);
        }
    }
    for (size_t i = 0; i < items; i++) {
        advance(meter, meter->items[i].packet.time_ns);
        account(meter, &meter->items[i]);
    }
    if (fragment_held(meter->fragments).packets)
        take_fragments(meter, meter->now_ns);
    meter_count(meter, COUNTER_PACKETS_RECEIVED, n);
    meter_count(meter, COUNTER_BYTES_RECEIVED, bytes);
    meter_count(meter, COUNTER_PACKETS_METERED, items);
    meter_count(meter, COUNTER_BYTES_METERED, metered);
    meter_count(meter, COUNTER_OCTETS_METERED, octets);
    set_gauges(meter);
}

void meter_timeouts(Meter *meter, uint32_t idle_s, uint32_t active_s) {
    meter->idle_ns = idle_s * second_ns;
    meter->active_ns = active_s * second_ns;
    for (uint32_t at = 0; at <= meter->index.mask; at++) {
        const uint32_t number = meter->index.slots[at].number;
        if (!number)
            continue;
        wheel_remove(&meter->wheel, number);
        wheel_add(&meter->wheel, number, entry_deadline(meter, entry_at(meter, number)));
    }
}

void meter_sampling(Meter *meter, uint32_t rate) {
    const uint32_t sampling = rate > 1 ? rate : 0;
    meter->sampled = (uint8_t)(meter->sampled + (sampling != meter->sampling));
    meter->sampling = sampling;
}

void meter_tick(Meter *meter, uint64_t now_ns) {
    if (meter->now_ns && now_ns > meter->now_ns) {
        take_fragments(meter, now_ns);
        advance(meter, now_ns);
    }
    set_gauges(meter);
}

void meter_pulse(Meter *meter) {
    const uint32_t *numbers = NULL;
    size_t n = pulse_touched(meter->config.pulse, &numbers);
    for (size_t i = 0; i < n; i++) {
        FlowEntry *entry = entry_at(meter, numbers[i]);
        if (!entry->pulse_packets) /* it ended, and was added then */
            continue;
        meter_settle(meter, entry, more_at(meter, numbers[i]), false);
        pulse_add(meter->config.pulse, entry, more_at(meter, numbers[i]));
    }
}

void meter_flush(Meter *meter) {
    take_fragments(meter, UINT64_MAX);
    end_all(meter);
    set_gauges(meter);
}

void meter_live(const Meter *meter, MeterLive *live) {
    *live = (MeterLive){0};
    for (uint32_t at = 0; at <= meter->index.mask; at++) {
        uint32_t number = meter->index.slots[at].number;
        if (!number)
            continue;
        const FlowEntry *entry = entry_at(meter, number);
        live->flows++;
        live->packets += (uint64_t)entry->packets[0] + entry->packets[1];
        live->frame_octets += entry->frame_octets[0] + entry->frame_octets[1];
    }
    FragmentHeld held = fragment_held(meter->fragments);
    live->packets += held.packets;
    live->frame_octets += held.frame_bytes;
}
