/* SPDX-License-Identifier: Apache-2.0 */

#include <string.h>

#include "probe/meter_internal.h"
#include "probe/pulse.h"

/* --- applications ------------------------------------------------------------------------- */

static void keep_result(Meter *meter, FlowApp *app, const DpiResult *result) {
    app->app = result->app;
    app->master = result->master;
    app->category = result->category;
    app->confidence = result->confidence;
    app->risk = result->risk;
    bool full = false;
    app->metadata = metadata_keep(&meter->metadata, app->metadata, &result->metadata, &full);
    if (full)
        meter_count(meter, COUNTER_NAMES_FULL, 1);
}

static void dpi_finish(Meter *meter, FlowEntry *entry, FlowApp *app) {
    DpiResult result;
    dpi_end(meter->config.dpi, app->dpi, &result);
    entry->state |= ENTRY_DPI_DONE;
    keep_result(meter, app, &result);
}

static void guess_by_port(Meter *meter, const FlowEntry *entry, FlowApp *app) {
    DpiResult result;
    FlowKey key;
    meter_key(meter, entry, &key);
    dpi_by_port(meter->config.dpi, &key, entry_initiator(entry), &result);
    keep_result(meter, app, &result);
}

/* who answers a group has not been asked by it (mDNS) */
static bool to_group(const Packet *packet) {
    return packet->ip_version == 6 ? packet->dst[0] == 0xff : packet->dst[0] >= 224;
}

/* nothing certain has told who opened the flow: who asks or says hello first did */
static void ask_direction(const Meter *meter, FlowEntry *entry, const FlowApp *app,
                          const Item *item) {
    const DpiSender sender = dpi_sender(meter->config.dpi, app->dpi);
    if (sender == DPI_SENDER_UNKNOWN || to_group(&item->packet))
        return;
    const unsigned first = entry_initiator(entry) ^ !!(entry->state & ENTRY_REVERSED);
    const unsigned client = sender == DPI_SENDER_CLIENT ? item->side : !item->side;
    meter_orient(entry, first, client == first ? DIRECTION_ASKS : DIRECTION_ANSWERS);
}

void meter_show(Meter *meter, uint32_t number, const Item *item) {
    const Packet *packet = &item->packet;
    /* nothing to see in a bare SYN or ACK, nor in the middle of a datagram */
    if (packet->protocol == IP_TCP && packet->payload_bytes == 0)
        return;
    if (packet->fragment == PACKET_FRAGMENT_LATER)
        return;
    FlowEntry *entry = entry_at(meter, number);
    FlowApp *app = app_at(meter, number);
    if (!app->dpi) {
        app->dpi = dpi_begin(meter->config.dpi);
        if (!app->dpi) { /* all states in use */
            guess_by_port(meter, entry, app);
            entry->state |= ENTRY_DPI_DONE;
            return;
        }
    }
    const bool done =
        dpi_packet(meter->config.dpi, &app->dpi, packet, more_at(meter, number)->dpi_packets++);
    if (!(entry->state & (ENTRY_SYN | ENTRY_TOLD | ENTRY_SPLIT)))
        ask_direction(meter, entry, app, item);
    if (done)
        dpi_finish(meter, entry, app);
}

void meter_settle(Meter *meter, uint32_t number, bool last) {
    FlowEntry *entry = entry_at(meter, number);
    if (entry->state & ENTRY_DPI_DONE)
        return;
    FlowApp *app = app_at(meter, number);
    DpiResult result;
    if (!app->dpi) {
        guess_by_port(meter, entry, app);
    } else if (last) {
        dpi_finish(meter, entry, app);
    } else {
        dpi_peek(meter->config.dpi, app->dpi, &result);
        keep_result(meter, app, &result);
    }
}

/* --- pulse -------------------------------------------------------------------------------- */

void meter_pulse_mark(Meter *meter, uint32_t number) {
    FlowEntry *entry = entry_at(meter, number);
    FlowMore *more = more_at(meter, number);
    PulseMark *mark = pulse_mark(meter->config.pulse, &more->pulse);
    if (!mark)
        return;
    entry->state |= ENTRY_PULSED;
    *mark = (PulseMark){.number = number,
                        .packets = (uint32_t)flow_packets(entry),
                        .octets = {flow_octets(entry, more, 0), flow_octets(entry, more, 1)}};
}

void meter_pulse_add(Meter *meter, uint32_t number) {
    FlowEntry *entry = entry_at(meter, number);
    const FlowMore *more = more_at(meter, number);
    size_t n = 0;
    if (!(entry->state & ENTRY_PULSED))
        return;
    PulseMark *mark = pulse_marks(meter->config.pulse, &n) + more->pulse;
    FlowKey key;
    meter_key(meter, entry, &key);
    PulseFlow flow = {.key = &key,
                      .initiator = entry_initiator(entry),
                      .octets = {flow_octets(entry, more, 0) - mark->octets[0],
                                 flow_octets(entry, more, 1) - mark->octets[1]},
                      .packets = (uint32_t)(flow_packets(entry) - mark->packets)};
    if (meter->config.dpi) {
        const FlowApp *app = app_at(meter, number);
        flow.app = app->app;
        flow.master = app->master;
        flow.category = app->category;
    }
    pulse_add(meter->config.pulse, &flow);
    mark->number = 0;
    entry->state &= (uint16_t)~ENTRY_PULSED;
}

/* --- records ------------------------------------------------------------------------------ */

static NetAddress address_of(uint8_t ip_version, const uint8_t bytes[16]) {
    return ip_version == 4 ? net_address_v4(bytes) : net_address_v6(bytes);
}

static uint8_t told_how(const FlowEntry *entry) {
    return entry->state & ENTRY_REVERSED ? FLOW_DIRECTION_REVERSE : FLOW_DIRECTION_INITIATOR;
}

static void record_app(Meter *meter, FlowRecord *record, const FlowApp *app, Metadata *metadata,
                       char *name, size_t size) {
    record->app_id = app->app;
    record->app_master_id = app->master;
    record->app_confidence = app->confidence;
    record->app_risk = app->risk;
    record->app_risk_score = dpi_risk_score(app->risk);
    if (app->metadata) {
        metadata_read(&meter->metadata, app->metadata, metadata);
        metadata_record(metadata, record);
    }
    if (app->app == 0 && app->master == 0)
        return;
    size_t n = dpi_app_name(meter->config.dpi, app->master, app->app, name, size);
    record->app_name = (FlowText){name, (uint32_t)n};
    const char *category = dpi_category_name(meter->config.dpi, app->category);
    if (category)
        record->app_category = (FlowText){category, (uint32_t)strlen(category)};
}

static void record_path(FlowRecord *record, const FlowPath *path, unsigned initiator,
                        char text[TUNNEL_TEXT_MAX]) {
    record->tunnel_type = (FlowText){text, (uint32_t)tunnel_chain(path->types, path->depth, text)};
    record->tunnel_id = path->id[initiator];
    record->rev_tunnel_id = path->id[!initiator];
    record->tunnel_vlan = path->vlan;
    record->mpls_label = path->mpls_label;
    if (!path->ip_version)
        return;
    record->tunnel_src_ip = address_of(path->ip_version, path->address[initiator]);
    record->tunnel_dst_ip = address_of(path->ip_version, path->address[!initiator]);
}

uint32_t meter_input_if(const Meter *meter, const FlowEntry *entry, unsigned side) {
    const int input = entry_input(entry, side);
    if (!meter->config.input_ifs)
        return 0;
    return meter->config.input_ifs[input >= 0 ? input : entry_input(entry, !side)];
}

/* where answers come by another one than questions (a TAP has an interface a direction), it is
 * there that questions went */
static uint32_t output_if(const Meter *meter, const FlowEntry *entry, unsigned side) {
    const int to = entry_input(entry, !side);
    if (!meter->config.input_ifs || to < 0 || entry_input(entry, side) < 0 ||
        to == entry_input(entry, side))
        return 0;
    return meter->config.input_ifs[to];
}

static void record_make(Meter *meter, uint32_t number, uint8_t end_reason) {
    const FlowEntry *entry = entry_at(meter, number);
    const FlowMore *more = more_at(meter, number);
    FlowKey ends;
    const FlowKey *key = &ends;
    meter_key(meter, entry, &ends);
    unsigned i = entry_initiator(entry);
    unsigned r = !i;
    char app[128];
    char tunnels[TUNNEL_TEXT_MAX];
    MeasuresTexts measured;
    Metadata metadata;
    FlowRecord record = {
        .first_ms = more->first_ns / 1000000,
        .last_ms = entry->last_ns / 1000000,
        .src_ip = address_of(key->ip_version, key->address[i]),
        .dst_ip = address_of(key->ip_version, key->address[r]),
        .src_port = key->port[i],
        .dst_port = key->port[r],
        .protocol = key->protocol,
        .vlan = more->vlan,
        .inner_vlan = more->inner_vlan,
        .octets = flow_octets(entry, more, i),
        .packets = entry->packets[i],
        .rev_octets = flow_octets(entry, more, r),
        .rev_packets = entry->packets[r],
        .l2_octets = flow_frame_octets(entry, more, i),
        .rev_l2_octets = flow_frame_octets(entry, more, r),
        .tcp_flags = entry->tcp_flags[i],
        .rev_tcp_flags = entry->tcp_flags[r],
        .tos = more->tos[i],
        .rev_tos = more->tos[r],
        .icmp_type = more->icmp_type,
        .icmp_code = more->icmp_code,
        .end_reason = end_reason,
        .biflow_direction = told_how(entry),
        .flow_id = more->id,
        .input_if = meter_input_if(meter, entry, i),
        .output_if = output_if(meter, entry, i),
        .sampling = meter->rates[entry->sampled],
        .observation_domain = meter->config.observation_domain,
    };
    if (more->has_macs) {
        memcpy(record.src_mac.bytes, more->mac[i], 6);
        memcpy(record.dst_mac.bytes, more->mac[r], 6);
    }
    if (more->path)
        record_path(&record, path_at(meter, more->path), i, tunnels);
    if (meter->config.dpi)
        record_app(meter, &record, app_at(meter, number), &metadata, app, sizeof(app));
    meter_measures_record(meter, number, &record, &measured);
    meter->config.record(meter->config.userdata, &record);
}

static bool is_wanted(const Meter *meter, uint32_t number) {
    if (!meter->config.dpi)
        return true;
    const FlowApp *app = app_at(meter, number);
    return dpi_wanted(meter->config.dpi, app->master, app->app);
}

void meter_emit(Meter *meter, uint32_t number, uint8_t end_reason, bool last) {
    const FlowEntry *entry = entry_at(meter, number);
    const FlowMore *more = more_at(meter, number);
    meter_settle(meter, number, last);
    if (entry_silent(entry)) /* nothing came since its last record */
        return;
    const uint64_t frame_octets =
        flow_frame_octets(entry, more, 0) + flow_frame_octets(entry, more, 1);
    if (!is_wanted(meter, number)) {
        meter_count(meter, COUNTER_FLOWS_FILTERED, 1);
        meter_count(meter, COUNTER_PACKETS_FILTERED, flow_packets(entry));
        meter_count(meter, COUNTER_BYTES_FILTERED, frame_octets);
        return;
    }
    record_make(meter, number, end_reason);
    meter_count(meter, COUNTER_EXPORTED_IDLE + end_reason - FLOW_END_IDLE, 1);
    meter_count(meter, COUNTER_PACKETS_EXPORTED, flow_packets(entry));
    meter_count(meter, COUNTER_BYTES_EXPORTED, frame_octets);
}

static void swept_record(Meter *meter, const SweptFlow *flow) {
    static const uint8_t nobody[16];
    const FlowRecord record = {
        .first_ms = flow->first_ns / 1000000,
        .last_ms = flow->last_ns / 1000000,
        .src_ip = address_of(flow->key.ip_version, nobody),
        .dst_ip = address_of(flow->key.ip_version, flow->key.address),
        .dst_port = flow->key.port,
        .protocol = flow->key.protocol,
        .vlan = flow->key.vlan,
        .inner_vlan = flow->key.inner_vlan,
        .packets = flow->packets[0],
        .rev_packets = flow->packets[1],
        .octets = flow->octets[0],
        .rev_octets = flow->octets[1],
        .l2_octets = flow->frame_octets[0],
        .rev_l2_octets = flow->frame_octets[1],
        .tcp_flags = flow->tcp_flags[0],
        .rev_tcp_flags = flow->tcp_flags[1],
        .end_reason = FLOW_END_RESOURCES,
        .flow_id = meter->config.flow_id++,
        .input_if = flow->input_if,
        .sampling = meter->rates[meter->sampled],
        .flows = flow->flows,
    };
    meter->config.record(meter->config.userdata, &record);
    meter_count(meter, COUNTER_EXPORTED_RESOURCES, 1);
    meter_count(meter, COUNTER_PACKETS_EXPORTED, flow->packets[0] + flow->packets[1]);
    meter_count(meter, COUNTER_BYTES_EXPORTED, flow->frame_octets[0] + flow->frame_octets[1]);
}

void meter_emit_swept(Meter *meter) {
    SweptFlow flow;
    while (swept_take(meter->swept, &flow))
        swept_record(meter, &flow);
}
