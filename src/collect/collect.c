/* SPDX-License-Identifier: Apache-2.0 */

#include "collect/collect.h"

#include <errno.h>
#include <stdlib.h>

#include "base/error.h"
#include "collect/message.h"

enum {
    LOOK_MS = 1000, /* how often what waits too long is looked for */
    CLOCK_WRONG_MS =
        60 * 60 * 1000, /* an exporter's clock that is further from ours is not right */
    FLOW_OLD_DAYS = 30, /* no exporter keeps one so long */
};

int collector_new(Collector **collectorp, const CollectConfig *config) {
    Collector *collector = calloc(1, sizeof(*collector));
    if (!collector)
        return error_origin(-ENOMEM);
    collector->config = *config;
    collector->serial = config->serial;
    collector->clear_bytes = offsetof(CollectRecord, mpls_labels);
    if (!config->held_bytes)
        collector->config.held_bytes = COLLECT_HELD_BYTES;
    if (!config->held_exporter_bytes)
        collector->config.held_exporter_bytes = COLLECT_HELD_EXPORTER_BYTES;
    if (!config->learnt_bytes)
        collector->config.learnt_bytes = COLLECT_LEARNT_BYTES;
    if (!config->held_ms)
        collector->config.held_ms = COLLECT_HELD_MS;
    *collectorp = collector;
    return 0;
}

Collector *collector_free(Collector *collector) {
    if (!collector)
        return NULL;
    for (size_t i = 0; i < STATE_BUCKETS; i++)
        while (collector->exporters[i])
            state_forget(collector, collector->exporters[i]);
    plan_deinit(&collector->plan_v1);
    plan_deinit(&collector->plan_v5);
    plan_deinit(&collector->plan_v7);
    free(collector);
    return NULL;
}

bool message_domain(Message *message, uint8_t version, uint32_t id, uint32_t sub_id) {
    message->domain = state_domain(message->collector, message->exporter, version, id, sub_id);
    Domain *domain = message->domain;
    if (!domain) {
        message_malformed(message, COLLECT_MALFORMED_LIMIT);
        return false;
    }
    domain->datagrams++;
    domain->bytes += message->size;
    domain->last_ms = message->source->received_ms;
    domain->source = message->source->address;
    if (!domain->first_ms)
        domain->first_ms = domain->last_ms;
    message->relayed = !net_address_equal(&message->exporter->address, &message->source->address);
    return true;
}

CollectRecord *message_records(Message *message, const Plan *plan, size_t *np) {
    Collector *collector = message->collector;
    const size_t n = *np < COLLECT_BATCH ? *np : COLLECT_BATCH;
    if (collector->records_plan != plan || !plan->whole)
        collector->records_clean = 0;
    for (size_t i = collector->records_clean; i < n; i++)
        record_clear(&collector->records[i], collector->clear_bytes);
    if (collector->records_clean < n)
        collector->records_clean = n;
    collector->records_plan = plan;
    *np = n;
    return collector->records;
}

/* its text is always set, for a record may be used again as it is */
static void put_drop_reason(CollectRecord *record) {
    record->flow.drop_reason = drop_text_status(record->flow.forwarding_status);
    if (record->flow.drop_reason.size)
        collect_see(record, COLLECT_DROP_REASON);
}

void message_emit(Message *message, CollectRecord *record, const MessageClock *when) {
    record->proto_version = message->domain->version;
    record->flow.exporter_ip = message->exporter->address;
    collect_see(record, COLLECT_PROTO_VERSION);
    collect_see(record, COLLECT_EXPORTER_IP);
    if (message->relayed) {
        record->source_ip = message->source->address;
        collect_see(record, COLLECT_SOURCE_IP);
    }
    record->export_ms = when->clock.export_ms;
    record->received_ms = when->received_ms;
    collect_count(message->collector, COLLECT_COUNT_FLOWS, 1);
    message->domain->flows++;
    if (collect_seen(record, COLLECT_FORWARDING_STATUS) &&
        !collect_seen(record, COLLECT_DROP_REASON))
        put_drop_reason(record);
    if (!collect_is_discard(record)) {
        message->domain->rate = record->flow.sampling;
        message->domain->rate_from = record->sampling_from;
    }
    message->collector->config.record(message->collector->config.userdata, record);
}

/* told by the first bytes: two of a version of NetFlow or IPFIX, four of sFlow */
static int (*reader_of(const uint8_t *bytes, size_t size))(Message *message) {
    static int (*const readers[])(Message * message) = {
        [1] = collect_netflow1, [5] = collect_netflow5, [7] = collect_netflow7,
        [9] = collect_netflow9, [10] = collect_ipfix,
    };
    Cursor c = cursor_make(bytes, size);
    const uint16_t version = cursor_u16(&c);
    if (version == 0 && cursor_u16(&c) == 5)
        return collect_sflow;
    return version < sizeof(readers) / sizeof(readers[0]) ? readers[version] : NULL;
}

int collector_take(Collector *collector, const CollectSource *source, const uint8_t *bytes,
                   size_t size) {
    collect_count(collector, COLLECT_COUNT_DATAGRAMS, 1);
    collect_count(collector, COLLECT_COUNT_BYTES, size);
    int (*reader)(Message * message) = reader_of(bytes, size);
    if (!reader) {
        collect_count(collector, COLLECT_MALFORMED_VERSION, 1);
        return 0;
    }
    Message message = {.collector = collector,
                       .source = source,
                       .bytes = bytes,
                       .size = size,
                       .when = {.received_ms = source->received_ms}};
    message.exporter =
        state_exporter(collector, &source->address, source->stream, source->received_ms);
    if (!message.exporter)
        return error_origin(-ENOMEM);
    collector->message++;
    int r = reader(&message);
    metric_set(&collector->config.counters[COLLECT_COUNT_EXPORTERS], collector->n_exporters);
    return error_trace(r);
}

void collector_end_stream(Collector *collector, const CollectSource *source) {
    Exporter *exporter =
        state_exporter(collector, &source->address, source->stream, source->received_ms);
    if (exporter)
        state_forget(collector, exporter);
    metric_set(&collector->config.counters[COLLECT_COUNT_EXPORTERS], collector->n_exporters);
}

void collector_tick(Collector *collector, uint64_t now_ms) {
    if (now_ms - collector->held_look_ms < LOOK_MS)
        return;
    collector->held_look_ms = now_ms;
    if (collector->held_sets)
        state_expire(collector, now_ms);
}

void collector_finish(Collector *collector) {
    state_expire(collector, UINT64_MAX);
}

void collector_each(Collector *collector,
                    void (*each)(void *userdata, const CollectExporter *exporter), void *userdata) {
    for (size_t i = 0; i < STATE_BUCKETS; i++)
        for (Exporter *e = collector->exporters[i]; e; e = e->next)
            for (Domain *d = e->domains; d; d = d->next) {
                const CollectExporter view = {
                    .address = e->address,
                    .source = d->source,
                    .stream = e->stream,
                    .version = d->version,
                    .domain = d->id,
                    .sub_agent = d->sub_id,
                    .first_ms = d->first_ms,
                    .last_ms = d->last_ms,
                    .datagrams = d->datagrams,
                    .bytes = d->bytes,
                    .flows = d->flows,
                    .options = d->options,
                    .account = d->account,
                    .templates = d->n_templates,
                    .rate = d->rate,
                    .rate_from = (CollectRate)d->rate_from,
                    .mark = &d->mark,
                };
                each(userdata, &view);
            }
}

static void each_name(const Exporter *e, const Domain *d,
                      void (*each)(void *userdata, const CollectName *name), void *userdata) {
    for (size_t i = 0; d->names && i < NAME_BUCKETS; i++)
        for (const Name *n = d->names[i]; n; n = n->next) {
            const CollectName view = {.exporter = e->address,
                                      .kind = (CollectNameKind)n->kind,
                                      .key = n->key,
                                      .text = n->text,
                                      .size = n->size};
            each(userdata, &view);
        }
}

void collector_each_name(const Collector *collector,
                         void (*each)(void *userdata, const CollectName *name), void *userdata) {
    for (size_t i = 0; collector->n_names && i < STATE_BUCKETS; i++)
        for (const Exporter *e = collector->exporters[i]; e; e = e->next)
            for (const Domain *d = e->domains; d; d = d->next)
                each_name(e, d, each, userdata);
}

uint64_t collector_names_changed(const Collector *collector) {
    return collector->names_changed;
}

/* --- times that can be stored --- */

static bool move(uint64_t *ms, int64_t by_ms) {
    const int64_t at = (int64_t)*ms + by_ms;
    if (!*ms || !by_ms || at <= 0)
        return false;
    *ms = (uint64_t)at;
    return true;
}

/* A counter of 32 bits may have begun anew between the exporter's start, the packet and the export:
 * a flow is not exported more than half of its round before or after it was seen. */
static bool unwrap(uint64_t *ms, uint64_t export_ms) {
    const int64_t round_ms = INT64_C(1) << 32;
    const int64_t ahead_ms = (int64_t)*ms - (int64_t)export_ms;
    const int64_t rounds =
        (ahead_ms >= 0 ? ahead_ms + round_ms / 2 : ahead_ms - round_ms / 2) / round_ms;
    return move(ms, -rounds * round_ms);
}

static bool set_when_missing(uint64_t *ms, uint64_t to_ms) {
    if (*ms)
        return false;
    *ms = to_ms;
    return true;
}

/* ahead of us, or from the beginning of time, though the exporter's clock is right */
static bool is_beyond(uint64_t ms, uint64_t now_ms) {
    const uint64_t old_ms = (uint64_t)FLOW_OLD_DAYS * 24 * 60 * 60 * 1000;
    return ms && (ms > now_ms + CLOCK_WRONG_MS || ms + old_ms < now_ms);
}

/* it ends now, and is as long as it was */
static bool put_here(CollectRecord *record) {
    FlowRecord *flow = &record->flow;
    const bool kept = flow->first_ms && flow->first_ms <= flow->last_ms &&
                      flow->last_ms - flow->first_ms < record->received_ms;
    flow->first_ms = kept ? record->received_ms - (flow->last_ms - flow->first_ms) : 0;
    flow->last_ms = record->received_ms;
    return true;
}

bool collect_mend_times(CollectRecord *record) {
    FlowRecord *flow = &record->flow;
    bool mended = false;
    if (record->of_uptime) {
        mended |= unwrap(&flow->first_ms, record->export_ms);
        mended |= unwrap(&flow->last_ms, record->export_ms);
    }
    const int64_t wrong_ms =
        record->export_ms ? (int64_t)record->received_ms - (int64_t)record->export_ms : 0;
    if (wrong_ms > CLOCK_WRONG_MS || wrong_ms < -CLOCK_WRONG_MS) {
        mended |= move(&flow->first_ms, wrong_ms);
        mended |= move(&flow->last_ms, wrong_ms);
        mended |= move(&record->event_ms, wrong_ms);
    }
    mended |= is_beyond(flow->last_ms, record->received_ms) && put_here(record);
    mended |=
        set_when_missing(&flow->last_ms, record->event_ms ? record->event_ms : record->received_ms);
    mended |= set_when_missing(&flow->first_ms, flow->last_ms);
    if (flow->last_ms < flow->first_ms) {
        flow->first_ms = flow->last_ms;
        mended = true;
    }
    flow->times_mended = mended;
    return mended;
}
