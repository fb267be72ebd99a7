/* SPDX-License-Identifier: Apache-2.0 */

#include "collect/merge.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/hash.h"
#include "collect/counters.h"

enum {
    NONE = -1,
    TEXTS_MAX_BYTES = 1024, /* of a record; with more it is not held */
    TEXTS_PART = 4,         /* of the bytes, that texts may take */
    FIREWALL_UPDATE = 5,
};

/* what must be the same; no byte of it is undefined */
typedef struct Key {
    uint64_t flow_id;
    uint32_t domain, sub_agent, source;
    uint32_t input_if, output_if, vrf_in, vrf_out;
    uint32_t sampling, tunnel_id, mpls_label;
    uint16_t src_port, dst_port, post_src_port, post_dst_port;
    uint16_t vlan, inner_vlan;
    uint8_t version, ip_version, protocol, tos, icmp_type, icmp_code, direction, biflow;
    uint8_t firewall_event, rev_tos, forwarding;
    NetAddress exporter, src, dst, post_src, post_dst, next_hop;
    uint8_t rest[3];
} Key;

/* of a record all but the elements that are no field */
enum { KEPT_BYTES = offsetof(CollectRecord, n_unknown) };

typedef struct Held {
    int32_t next;         /* in its bucket, or of those that are free */
    int32_t newer, older; /* by time */
    uint32_t bucket;
    uint64_t began_ms;
    char *texts; /* NULL: it has none */
    uint32_t texts_bytes;
    Key key;
    _Alignas(CollectRecord) uint8_t record[KEPT_BYTES];
} Held;

struct CollectMerge {
    CollectMergeConfig config;
    Held *held;
    int32_t *buckets;
    uint32_t mask;
    int32_t free, oldest, newest;
    size_t used; /* of `held`, ever */
    size_t texts_bytes;
    CollectRecord out;
};

/* texts of a record that are kept; those that only options have are nothing in a flow */
static const uint16_t texts[] = {
#define FLOW_TEXT_TEXT(member) offsetof(CollectRecord, flow.member),
#define FLOW_TEXT_U8(member)
#define FLOW_TEXT_U16(member)
#define FLOW_TEXT_U32(member)
#define FLOW_TEXT_U64(member)
#define FLOW_TEXT_TIME_MS(member)
#define FLOW_TEXT_ADDRESS(member)
#define FLOW_TEXT_MAC(member)
#define FLOW_FIELD(id, member, kind, ...) FLOW_TEXT_##kind(member)
#include "flow/fields.def"
#undef FLOW_FIELD
    offsetof(CollectRecord, app_id),         offsetof(CollectRecord, app_name),
    offsetof(CollectRecord, user_name),      offsetof(CollectRecord, input_if_name),
    offsetof(CollectRecord, output_if_name), offsetof(CollectRecord, vrf_in_name),
    offsetof(CollectRecord, vrf_out_name)};

enum { TEXTS_N = sizeof(texts) / sizeof(texts[0]) };

/* counters that are summed: zero where they were not said */
static const uint16_t sums[] = {
    offsetof(CollectRecord, flow.octets),     offsetof(CollectRecord, flow.packets),
    offsetof(CollectRecord, flow.rev_octets), offsetof(CollectRecord, flow.rev_packets),
    offsetof(CollectRecord, flow.l2_octets),  offsetof(CollectRecord, flow.rev_l2_octets),
    offsetof(CollectRecord, out_octets),      offsetof(CollectRecord, out_packets),
    offsetof(CollectRecord, l3_octets)};

enum { SUMS_N = sizeof(sums) / sizeof(sums[0]) };

static FlowText *text_at(CollectRecord *record, size_t i) {
    return (FlowText *)(void *)((uint8_t *)record + texts[i]);
}

static void count(CollectMerge *merge, int id, int64_t n) {
    metric_add(&merge->config.counters[id], (uint64_t)n);
}

/* --- the table --- */

static Key key_of(const CollectRecord *record) {
    const FlowRecord *flow = &record->flow;
    Key key;
    memset(&key, 0, sizeof(key));
    key.flow_id = flow->flow_id;
    key.domain = flow->observation_domain;
    key.sub_agent = record->sub_agent_id;
    key.source = record->source_id;
    key.input_if = flow->input_if;
    key.output_if = flow->output_if;
    key.vrf_in = flow->vrf_in;
    key.vrf_out = flow->vrf_out;
    key.sampling = flow->sampling;
    key.tunnel_id = flow->tunnel_id;
    key.mpls_label = record->mpls_labels.n ? record->mpls_labels.values[0] : flow->mpls_label;
    key.src_port = flow->src_port;
    key.dst_port = flow->dst_port;
    key.post_src_port = flow->post_nat_src_port;
    key.post_dst_port = flow->post_nat_dst_port;
    key.vlan = flow->vlan;
    key.inner_vlan = flow->inner_vlan;
    key.version = record->proto_version;
    key.ip_version = record->ip_version;
    key.protocol = flow->protocol;
    key.tos = flow->tos;
    key.rev_tos = flow->rev_tos;
    key.icmp_type = flow->icmp_type;
    key.icmp_code = flow->icmp_code;
    key.direction = record->direction;
    key.biflow = flow->biflow_direction;
    key.firewall_event = flow->firewall_event;
    key.forwarding = flow->forwarding_status;
    key.exporter = flow->exporter_ip;
    key.src = flow->src_ip;
    key.dst = flow->dst_ip;
    key.post_src = flow->post_nat_src_ip;
    key.post_dst = flow->post_nat_dst_ip;
    key.next_hop = flow->next_hop;
    return key;
}

static CollectRecord *record_of(Held *held) {
    return (CollectRecord *)(void *)held->record;
}

static int32_t index_of(const CollectMerge *merge, const Held *held) {
    return (int32_t)(held - merge->held);
}

static Held *find(const CollectMerge *merge, const Key *key, uint32_t bucket) {
    for (int32_t i = merge->buckets[bucket]; i != NONE; i = merge->held[i].next)
        if (memcmp(&merge->held[i].key, key, sizeof(*key)) == 0)
            return &merge->held[i];
    return NULL;
}

/* out of its bucket and the order of time, and on its way */
static void let_go(CollectMerge *merge, Held *held) {
    const int32_t i = index_of(merge, held);
    int32_t *link = &merge->buckets[held->bucket];
    while (*link != i)
        link = &merge->held[*link].next;
    *link = held->next;
    *(held->older == NONE ? &merge->oldest : &merge->held[held->older].newer) = held->newer;
    *(held->newer == NONE ? &merge->newest : &merge->held[held->newer].older) = held->older;
    held->next = merge->free;
    merge->free = i;
    count(merge, COLLECT_COUNT_MERGE_HELD, -1);
    memcpy(&merge->out, held->record, sizeof(held->record));
    merge->out.n_unknown = 0;
    merge->config.record(merge->config.userdata, &merge->out);
    merge->texts_bytes -= held->texts_bytes;
    free(held->texts);
    held->texts = NULL;
    held->texts_bytes = 0;
}

/* the oldest makes room */
static void let_go_early(CollectMerge *merge) {
    count(merge, COLLECT_COUNT_MERGE_FULL, 1);
    let_go(merge, &merge->held[merge->oldest]);
}

/* the texts of a record that is kept point elsewhere; false: no memory, or they are too long */
static bool keep_texts(CollectMerge *merge, Held *held, CollectRecord *record) {
    size_t size = 0;
    for (size_t i = 0; i < TEXTS_N; i++)
        size += text_at(record, i)->size;
    held->texts = NULL;
    held->texts_bytes = 0;
    if (size == 0)
        return true;
    const size_t most = merge->config.bytes / TEXTS_PART;
    if (size > TEXTS_MAX_BYTES || size > most)
        return false;
    while (merge->texts_bytes + size > most)
        let_go_early(merge);
    if (!(held->texts = malloc(size)))
        return false;
    held->texts_bytes = (uint32_t)size;
    merge->texts_bytes += size;
    char *to = held->texts;
    for (size_t i = 0; i < TEXTS_N; i++) {
        FlowText *text = text_at(record, i);
        if (text->size)
            memcpy(to, text->text, text->size);
        text->text = text->size ? to : NULL;
        to += text->size;
    }
    return true;
}

/* a new place; the oldest makes room where there is none */
static Held *take_place(CollectMerge *merge) {
    if (merge->free == NONE && merge->used == merge->config.flows)
        let_go_early(merge);
    if (merge->free == NONE)
        return &merge->held[merge->used++];
    Held *held = &merge->held[merge->free];
    merge->free = held->next;
    return held;
}

/* false: it cannot be held */
static bool hold(CollectMerge *merge, const CollectRecord *record, const Key *key, uint32_t bucket,
                 uint64_t now_ms) {
    Held *held = take_place(merge);
    const int32_t i = index_of(merge, held);
    CollectRecord *copy = record_of(held);
    memcpy(held->record, record, KEPT_BYTES);
    copy->frame = copy->if_name = copy->if_description = copy->vrf_name = copy->app_text =
        (FlowText){0};
    if (!keep_texts(merge, held, copy)) {
        held->next = merge->free;
        merge->free = i;
        return false;
    }
    held->key = *key;
    held->bucket = bucket;
    held->began_ms = now_ms;
    held->next = merge->buckets[bucket];
    merge->buckets[bucket] = i;
    held->newer = NONE;
    held->older = merge->newest;
    *(merge->newest == NONE ? &merge->oldest : &merge->held[merge->newest].newer) = i;
    merge->newest = i;
    count(merge, COLLECT_COUNT_MERGE_HELD, 1);
    return true;
}

/* --- records --- */

static uint64_t *sum_at(CollectRecord *record, size_t i) {
    return (uint64_t *)(void *)((uint8_t *)record + sums[i]);
}

static uint64_t sum_of(const CollectRecord *record, size_t i) {
    return *(const uint64_t *)(const void *)((const uint8_t *)record + sums[i]);
}

static bool fits(const CollectRecord *sum, const CollectRecord *more) {
    for (size_t i = 0; i < SUMS_N; i++)
        if (sum_of(sum, i) > UINT64_MAX - sum_of(more, i))
            return false;
    return true;
}

static void widen(uint64_t *least, uint64_t *most, uint64_t first, uint64_t last) {
    if (first && (!*least || first < *least))
        *least = first;
    if (last > *most)
        *most = last;
}

static void add(CollectRecord *to, const CollectRecord *more) {
    FlowRecord *flow = &to->flow;
    for (size_t i = 0; i < SUMS_N; i++)
        *sum_at(to, i) += sum_of(more, i);
    widen(&flow->first_ms, &flow->last_ms, more->flow.first_ms, more->flow.last_ms);
    flow->tcp_flags |= more->flow.tcp_flags;
    flow->rev_tcp_flags |= more->flow.rev_tcp_flags;
    flow->times_mended |= more->flow.times_mended;
    if (more->flow.end_reason)
        flow->end_reason = more->flow.end_reason;
    if (more->event_ms)
        to->event_ms = more->event_ms;
    if (collect_seen(more, COLLECT_MIN_TTL) &&
        (!collect_seen(to, COLLECT_MIN_TTL) || more->min_ttl < to->min_ttl))
        to->min_ttl = more->min_ttl;
    if (more->max_ttl > to->max_ttl)
        to->max_ttl = more->max_ttl;
    to->export_ms = more->export_ms;
    to->received_ms = more->received_ms;
    to->seen[0] |= more->seen[0];
    to->seen[1] |= more->seen[1];
}

static bool is_event(const CollectRecord *record) {
    const uint8_t firewall = record->flow.firewall_event;
    return record->flow.nat_event || (firewall && firewall != FIREWALL_UPDATE) ||
           collect_is_discard(record);
}

static bool has_ended(const CollectRecord *record) {
    return record->flow.end_reason == FLOW_END_IDLE || record->flow.end_reason == FLOW_END_DETECTED;
}

void collect_merge_take(CollectMerge *merge, const CollectRecord *record, uint64_t now_ms) {
    collect_merge_tick(merge, now_ms);
    if (is_event(record) || record->n_unknown) {
        merge->config.record(merge->config.userdata, record);
        return;
    }
    const Key key = key_of(record);
    const uint32_t bucket =
        (uint32_t)hash_bytes(&key, sizeof(key), merge->config.seed) & merge->mask;
    Held *held = find(merge, &key, bucket);
    if (held && !fits(record_of(held), record)) {
        let_go(merge, held);
        held = NULL;
    }
    if (held) {
        add(record_of(held), record);
        count(merge, COLLECT_COUNT_MERGED, 1);
        if (has_ended(record))
            let_go(merge, held);
    } else if (has_ended(record) || !hold(merge, record, &key, bucket, now_ms)) {
        merge->config.record(merge->config.userdata, record);
    }
}

/* a clock that went back far has no say in how long something is held */
void collect_merge_tick(CollectMerge *merge, uint64_t now_ms) {
    const uint64_t span_ms = merge->config.span_ms;
    while (merge->oldest != NONE) {
        Held *held = &merge->held[merge->oldest];
        if (now_ms - held->began_ms < span_ms || held->began_ms - now_ms < span_ms)
            return;
        let_go(merge, held);
    }
}

void collect_merge_flush(CollectMerge *merge) {
    while (merge->oldest != NONE)
        let_go(merge, &merge->held[merge->oldest]);
}

/* --- life --- */

int collect_merge_new(CollectMerge **mergep, const CollectMergeConfig *config) {
    cleanup(collect_merge_freep) CollectMerge *merge = calloc(1, sizeof(*merge));
    if (!merge)
        return error_origin(-ENOMEM);
    merge->config = *config;
    if (!merge->config.bytes)
        merge->config.bytes = COLLECT_MERGE_BYTES;
    const size_t fit = merge->config.bytes / TEXTS_PART * (TEXTS_PART - 1) / sizeof(*merge->held);
    if (!merge->config.flows)
        merge->config.flows = fit < COLLECT_MERGE_FLOWS ? fit + 1 : COLLECT_MERGE_FLOWS;
    merge->free = merge->oldest = merge->newest = NONE;
    uint32_t buckets = 1024;
    while (buckets < merge->config.flows)
        buckets *= 2;
    merge->mask = buckets - 1;
    merge->held = calloc(merge->config.flows, sizeof(*merge->held)); /* memory comes with use */
    merge->buckets = malloc(buckets * sizeof(*merge->buckets));
    if (!merge->held || !merge->buckets)
        return error_origin(-ENOMEM);
    memset(merge->buckets, 0xff, buckets * sizeof(*merge->buckets));
    *mergep = merge;
    merge = NULL;
    return 0;
}

CollectMerge *collect_merge_free(CollectMerge *merge) {
    if (!merge)
        return NULL;
    for (size_t i = 0; merge->held && i < merge->used; i++)
        free(merge->held[i].texts);
    free(merge->held);
    free(merge->buckets);
    free(merge);
    return NULL;
}
