/* SPDX-License-Identifier: Apache-2.0 */

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/error.h"
#include "base/hash.h"
#include "net/fragment.h"
#include "probe/aggregation.h"
#include "probe/meter_internal.h"
#include "probe/pulse.h"

enum {
    FRAGMENT_DATAGRAMS = 4096,
    FRAGMENTS_HELD = 4096,
    MEASURES_MAX = 262144, /* 50 MB */
};

static const uint64_t second_ns = UINT64_C(1000000000);
static const uint64_t sweep_ns = UINT64_C(10000000000); /* what was swept waits so long */
static const uint64_t step_ns = UINT64_C(60000000000);  /* time going back by more is a step */

/* --- life --------------------------------------------------------------------------------- */

/* the index is a quarter to half full, young flows are a million at most */
static_assert(sizeof(FlowEntry) + sizeof(FlowMore) + sizeof(FlowApp) + sizeof(Firsts) +
                      sizeof(YoungNote) + 2 * sizeof(FlowIndexSlot) + sizeof(Measures) / 4 ==
                  METER_FLOW_BYTES,
              "what --max-flows says");

/* not each of millions of flows: memory is for more flows first */
static uint32_t measures_max(const MeterConfig *config) {
    const uint32_t quarter = config->max_flows / 4 + 1;
    return quarter < MEASURES_MAX ? quarter : MEASURES_MAX;
}

int meter_new(Meter **meterp, const MeterConfig *config) {
    cleanup(meter_freep) Meter *meter = calloc(1, sizeof(*meter));
    if (!meter)
        return error_origin(-ENOMEM);
    meter->config = *config;
    meter->idle_ns = config->idle_s * second_ns;
    meter->active_ns = config->active_s * second_ns;
    for (size_t i = 0; i < 3; i++)
        meter->seeds[i] = hash_u64(i, config->seed);
    int r = pool_init(&meter->flows, config->max_flows, sizeof(FlowEntry));
    if (r == 0)
        r = pool_init(&meter->more, config->max_flows, sizeof(FlowMore));
    if (r == 0)
        r = pool_init(&meter->apps, config->max_flows, sizeof(FlowApp));
    if (r == 0)
        r = pool_init(&meter->pairs, config->max_flows, sizeof(FlowPair));
    if (r == 0)
        r = pool_init(&meter->metadata, config->max_flows, METADATA_CHUNK_BYTES);
    if (r == 0)
        r = flow_index_init(&meter->index, config->max_flows);
    if (r == 0)
        r = young_init(&meter->young, config->max_flows);
    if (r == 0)
        r = pool_init(&meter->firsts, config->max_flows, sizeof(Firsts));
    if (r == 0)
        r = pool_init(&meter->measures, measures_max(config), sizeof(Measures));
    if (r == 0)
        r = pool_init(&meter->paths, config->max_flows, sizeof(FlowPath));
    if (r == 0)
        r = swept_new(&meter->swept, config->seed);
    if (r == 0)
        r = fragment_cache_new(&meter->fragments, FRAGMENT_DATAGRAMS, FRAGMENTS_HELD, config->seed);
    if (r < 0)
        return error_trace(r);
    meter->wheel.flows = more_at(meter, 0);
    *meterp = meter;
    meter = NULL;
    return 0;
}

Meter *meter_free(Meter *meter) {
    if (!meter)
        return NULL;
    pool_deinit(&meter->flows);
    pool_deinit(&meter->more);
    pool_deinit(&meter->apps);
    pool_deinit(&meter->pairs);
    pool_deinit(&meter->metadata);
    pool_deinit(&meter->firsts);
    pool_deinit(&meter->measures);
    pool_deinit(&meter->paths);
    flow_index_deinit(&meter->index);
    young_deinit(&meter->young);
    swept_free(meter->swept);
    fragment_cache_free(meter->fragments);
    free(meter);
    return NULL;
}

/* --- the table ---------------------------------------------------------------------------- */

static bool same_flow(const Meter *meter, const FlowEntry *entry, const Item *item) {
    const FlowTag *tag = &entry->tag;
    if (item->packet.ip_version != 6)
        return memcmp(tag, &item->tag, sizeof(*tag)) == 0;
    if (memcmp(&tag->address[1], &item->tag.address[1], sizeof(*tag) - 4) != 0)
        return false;
    const FlowPair *pair = pair_at(meter, tag->address[0]);
    return memcmp(pair->address[item->side], item->packet.src, 16) == 0 &&
           memcmp(pair->address[!item->side], item->packet.dst, 16) == 0;
}

static uint32_t flow_find(const Meter *meter, const Item *item) {
    if (item->hint && same_flow(meter, entry_at(meter, item->hint), item))
        return item->hint;
    uint32_t at = item->hash;
    uint32_t number = 0;
    while ((number = flow_index_next(&meter->index, item->hash, &at)) != 0)
        if (same_flow(meter, entry_at(meter, number), item))
            break;
    return number;
}

/* --- packets ------------------------------------------------------------------------------ */

static void update_tcp(Meter *meter, uint32_t number, FlowEntry *entry, const Item *item) {
    uint16_t flags = item->packet.tcp_flags;
    entry->tcp_flags[item->side] |= flags;
    if (!(flags & (TCP_SYN | TCP_FIN | TCP_RST)) || (meter->config.left_out & AGGREGATION_JOINS))
        return; /* the end of one connection is not that of others */
    if ((flags & TCP_SYN) && !(entry->state & (ENTRY_SYN | ENTRY_SPLIT)))
        meter_orient(entry, item->side, direction_certain(&item->packet));
    if (flags & TCP_FIN)
        entry->state |= (uint16_t)(ENTRY_FIN_0 << item->side);
    bool ended = (entry->state & ENTRY_FIN_0) && (entry->state & ENTRY_FIN_1);
    if (!(entry->state & ENTRY_CLOSING) && (ended || (flags & TCP_RST))) {
        entry->state |= ENTRY_CLOSING;
        meter_schedule(meter, number);
    }
}

/* the first packet of a side in this record */
static void note_side(Meter *meter, FlowEntry *entry, FlowMore *more, const Item *item) {
    entry_set_input(entry, item->side, item->packet.input);
    more->tos[item->side] = item->packet.tos;
    if (more->path)
        path_at(meter, more->path)->id[item->side] =
            item->packet.path.depth ? item->packet.path.id : 0;
}

/* a sum whose lower 32 bits are in the entry */
static inline void add_octets(uint32_t *low, uint16_t *high, uint32_t octets) {
    *low += octets;
    if (*low < octets)
        ++*high;
}

static inline void count_packet(FlowEntry *entry, FlowMore *more, const Item *item) {
    const unsigned side = item->side;
    entry->packets[side]++;
    add_octets(&entry->octets[side], &more->octets_high[side], item->packet.ip_bytes);
    add_octets(&entry->frame_octets[side], &more->frame_octets_high[side],
               item->packet.frame_bytes);
}

static void note_time(FlowEntry *entry, FlowMore *more, uint64_t time_ns) {
    if (entry_silent(entry))
        more->first_ns = time_ns;
    else if (time_ns < entry->last_ns && time_ns < more->first_ns)
        more->first_ns = time_ns;
    if (time_ns > entry->last_ns)
        entry->last_ns = time_ns;
}

static void flow_update(Meter *meter, uint32_t number, const Item *item) {
    const Packet *packet = &item->packet;
    FlowEntry *entry = entry_at(meter, number);
    FlowMore *more = more_at(meter, number); /* touched only where needed */
    meter_measure(meter, number, item);
    note_time(entry, more, packet->time_ns);
    if (entry->packets[item->side] == 0)
        note_side(meter, entry, more, item);
    if (meter->config.pulse && !(entry->state & ENTRY_PULSED))
        meter_pulse_mark(meter, number);
    count_packet(entry, more, item);
    if (packet->protocol == IP_TCP)
        update_tcp(meter, number, entry, item);
    if (!(entry->state & ENTRY_DPI_DONE))
        meter_show(meter, number, item);
}

/* the clock of packets; steps back end everything, for no deadline would hold */
static void advance(Meter *meter, uint64_t time_ns) {
    if (meter->now_ns == 0) {
        meter->now_ns = time_ns;
        meter->wheel.tick = wheel_tick(time_ns);
    }
    if (time_ns > meter->now_ns) {
        meter->now_ns = time_ns;
        if (wheel_tick(time_ns) > meter->wheel.tick) {
            meter_expire(meter, time_ns);
            if (swept_since(meter->swept) && swept_since(meter->swept) + sweep_ns <= time_ns)
                meter_emit_swept(meter);
        }
    } else if (time_ns + step_ns < meter->now_ns) {
        meter_count(meter, COUNTER_CLOCK_STEPS, 1);
        meter_end_all(meter);
        meter_emit_swept(meter);
        meter->now_ns = time_ns;
        meter->wheel.tick = wheel_tick(time_ns);
    }
}

/* a port pair used again: a SYN after the end */
static bool flow_over(const FlowEntry *entry, const Packet *packet) {
    return (entry->state & ENTRY_CLOSING) && packet->protocol == IP_TCP &&
           (packet->tcp_flags & (TCP_SYN | TCP_ACK | TCP_RST)) == TCP_SYN;
}

static bool split_due(const Meter *meter, uint32_t number, const Item *item) {
    const FlowEntry *entry = entry_at(meter, number);
    if (entry->packets[item->side] == UINT32_MAX || entry->sampled != meter->sampled)
        return true;
    return (entry->state & ENTRY_NEARLY) && !entry_silent(entry) &&
           item->packet.time_ns >= meter_active_end(meter, number);
}

static void account(Meter *meter, const Item *item) {
    uint32_t number = flow_find(meter, item);
    if (number) {
        const FlowEntry *entry = entry_at(meter, number);
        if (flow_over(entry, &item->packet)) {
            meter_end(meter, number, FLOW_END_DETECTED);
            number = 0;
        } else if (split_due(meter, number, item))
            meter_split(meter, number);
    }
    if (!number)
        number = meter_create(meter, item);
    flow_update(meter, number, item);
}

/* sides by the order of addresses, then ports: both directions give the same tag */
static bool is_swapped_v6(const Packet *p) {
    uint64_t src[2];
    uint64_t dst[2];
    memcpy(src, p->src, 16);
    memcpy(dst, p->dst, 16);
    if (src[0] != dst[0])
        return src[0] > dst[0];
    if (src[1] != dst[1])
        return src[1] > dst[1];
    return p->src_port > p->dst_port;
}

/* two halves of a word, as they stand in memory */
static inline uint64_t halves_u32(uint32_t first, uint32_t second) {
    return __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? first | (uint64_t)second << 32
                                                     : (uint64_t)first << 32 | second;
}

static inline uint32_t halves_u16(uint16_t first, uint16_t second) {
    return __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? first | (uint32_t)second << 16
                                                     : (uint32_t)first << 16 | second;
}

/* the tag's words are made in registers: bytes that were just written one by one are slow to read
 * together */
static void make_tag(const Meter *meter, Item *item, uint32_t first, uint32_t second) {
    const Packet *p = &item->packet;
    const uint16_t lower = item->side ? p->dst_port : p->src_port;
    const uint16_t upper = item->side ? p->src_port : p->dst_port;
    const uint16_t vlan = meter->config.vlan_key == METER_VLAN_NONE ? 0 : p->vlan;
    const uint16_t inner = meter->config.vlan_key == METER_VLAN_ALL ? p->inner_vlan : 0;
    const uint8_t bytes[4] = {p->protocol, p->ip_version};
    const uint64_t words[2] = {halves_u32(first, second),
                               halves_u32(halves_u16(lower, upper), halves_u16(vlan, inner))};
    uint32_t last = 0;
    memcpy(&last, bytes, sizeof(last));
    memcpy(&item->tag, words, sizeof(words));
    memcpy((uint8_t *)&item->tag + sizeof(words), &last, sizeof(last));
    item->hash = meter_hash_words(meter, words, last);
}

static void item_key(const Meter *meter, Item *item) {
    if (meter->config.left_out)
        aggregation_packet(&item->packet, meter->config.left_out);
    const Packet *p = &item->packet;
    if (p->ip_version == 6) {
        const bool swapped = is_swapped_v6(p);
        FlowPair pair;
        memcpy(pair.address[swapped], p->src, 16);
        memcpy(pair.address[!swapped], p->dst, 16);
        item->side = swapped;
        make_tag(meter, item, 0, meter_fold(meter, &pair));
        return;
    }
    uint32_t src = 0;
    uint32_t dst = 0;
    memcpy(&src, p->src, 4);
    memcpy(&dst, p->dst, 4);
    item->side = src != dst ? src > dst : p->src_port > p->dst_port;
    make_tag(meter, item, item->side ? dst : src, item->side ? src : dst);
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
    flow_index_prefetch(&meter->index, item->hash);
    return true;
}

/* fragments that wait no more: because of the first one, or for too long */
static void take_fragments(Meter *meter, uint64_t now_ns) {
    Item item = {.hint = 0};
    bool known = false;
    fragment_expire(meter->fragments, now_ns);
    while (fragment_take(meter->fragments, &item.packet, &known)) {
        if (!known)
            meter_count(meter, COUNTER_FRAGMENTS_ORPHANED, 1);
        item_key(meter, &item);
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
        Item *item = &meter->items[i];
        uint32_t at = item->hash;
        item->hint = flow_index_next(&meter->index, item->hash, &at);
        if (item->hint)
            __builtin_prefetch(entry_at(meter, item->hint), 1);
    }
    for (size_t i = 0; i < items; i++) {
        const uint32_t hint = meter->items[i].hint;
        const uint32_t measures = hint ? entry_at(meter, hint)->measures : 0;
        if (measures) {
            __builtin_prefetch(measures_at(meter, measures), 1);
            __builtin_prefetch((char *)measures_at(meter, measures) + 64, 1);
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
    if (!meter->flows.used) /* the index is not walked, which would touch all of it */
        return;
    for (uint32_t at = 0; at <= meter->index.mask; at++) {
        const uint32_t number = meter->index.slots[at].number;
        if (number)
            meter_schedule(meter, number);
    }
}

void meter_sampling(Meter *meter, uint32_t rate) {
    const uint32_t sampling = rate > 1 ? rate : 0;
    if (sampling != meter->rates[meter->sampled])
        meter_emit_swept(meter);
    meter->sampled = (uint8_t)(meter->sampled + (sampling != meter->rates[meter->sampled]));
    meter->rates[meter->sampled] = sampling;
}

void meter_tick(Meter *meter, uint64_t now_ns) {
    if (meter->now_ns && now_ns > meter->now_ns) {
        take_fragments(meter, now_ns);
        advance(meter, now_ns);
    }
    set_gauges(meter);
}

void meter_pulse(Meter *meter) {
    size_t n = 0;
    const PulseMark *marks = pulse_marks(meter->config.pulse, &n);
    for (size_t i = 0; i < n; i++) {
        const uint32_t number = marks[i].number;
        if (!number) /* it ended, and was added then */
            continue;
        meter_settle(meter, number, false);
        meter_pulse_add(meter, number);
    }
}

void meter_flush(Meter *meter) {
    take_fragments(meter, UINT64_MAX);
    meter_end_all(meter);
    meter_emit_swept(meter);
    set_gauges(meter);
}

void meter_live(const Meter *meter, MeterLive *live) {
    *live = (MeterLive){0};
    for (uint32_t at = 0; at <= meter->index.mask; at++) {
        uint32_t number = meter->index.slots[at].number;
        if (!number)
            continue;
        const FlowEntry *entry = entry_at(meter, number);
        const FlowMore *more = more_at(meter, number);
        live->flows++;
        live->packets += flow_packets(entry);
        live->frame_octets += flow_frame_octets(entry, more, 0) + flow_frame_octets(entry, more, 1);
    }
    FragmentHeld held = fragment_held(meter->fragments);
    uint64_t packets = 0;
    uint64_t frame_octets = 0;
    swept_sum(meter->swept, &packets, &frame_octets);
    live->packets += held.packets + packets;
    live->frame_octets += held.frame_bytes + frame_octets;
}
