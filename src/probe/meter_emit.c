/* SPDX-License-Identifier: Apache-2.0 */

#include <string.h>

#include "probe/meter_internal.h"

/* --- applications ------------------------------------------------------------------------- */

static void keep_result(Meter *meter, FlowMore *more, const DpiResult *result) {
    more->app = result->app;
    more->app_master = result->master;
    more->app_category = result->category;
    more->confidence = result->confidence;
    more->risk = result->risk;
    more->risk_score = result->risk_score;
    if (result->name_bytes == 0)
        return;
    if (!more->name)
        more->name = pool_take(&meter->names);
    if (!more->name) {
        meter_count(meter, COUNTER_NAMES_FULL, 1);
        return;
    }
    more->name_bytes = result->name_bytes;
    memcpy(pool_at(&meter->names, more->name), result->name, result->name_bytes);
}

static void dpi_finish(Meter *meter, FlowEntry *entry, FlowMore *more) {
    DpiResult result;
    dpi_end(meter->config.dpi, more->dpi, &result);
    entry->state |= ENTRY_DPI_DONE;
    keep_result(meter, more, &result);
}

void meter_show(Meter *meter, FlowEntry *entry, FlowMore *more, const Packet *packet) {
    if (!meter->config.dpi) {
        entry->state |= ENTRY_DPI_DONE;
        return;
    }
    /* nothing to see in a bare SYN or ACK, nor in the middle of a datagram */
    if (packet->protocol == IP_TCP && packet->payload_bytes == 0)
        return;
    if (packet->fragment == PACKET_FRAGMENT_LATER)
        return;
    if (!more->dpi) {
        more->dpi = dpi_begin(meter->config.dpi);
        if (!more->dpi) { /* all states in use */
            DpiResult result;
            dpi_by_port(meter->config.dpi, &entry->key, entry_initiator(entry), &result);
            keep_result(meter, more, &result);
            entry->state |= ENTRY_DPI_DONE;
            return;
        }
    }
    if (dpi_packet(meter->config.dpi, more->dpi, packet, more->dpi_packets++))
        dpi_finish(meter, entry, more);
}

void meter_settle(Meter *meter, FlowEntry *entry, FlowMore *more, bool last) {
    if (!meter->config.dpi || (entry->state & ENTRY_DPI_DONE))
        return;
    DpiResult result;
    if (!more->dpi)
        dpi_by_port(meter->config.dpi, &entry->key, entry_initiator(entry), &result);
    else if (last) {
        dpi_finish(meter, entry, more);
        return;
    } else
        dpi_peek(meter->config.dpi, more->dpi, &result);
    keep_result(meter, more, &result);
}

/* --- records ------------------------------------------------------------------------------ */

static NetAddress address_of(uint8_t ip_version, const uint8_t bytes[16]) {
    return ip_version == 4 ? net_address_v4(bytes) : net_address_v6(bytes);
}

static uint8_t told_how(const FlowEntry *entry) {
    return entry->state & ENTRY_REVERSED ? FLOW_DIRECTION_REVERSE : FLOW_DIRECTION_INITIATOR;
}

static void record_texts(Meter *meter, FlowRecord *record, const FlowMore *more, char *app,
                         size_t size) {
    if (more->name_bytes)
        record->server_name = (FlowText){pool_at(&meter->names, more->name), more->name_bytes};
    if (!meter->config.dpi || (more->app == 0 && more->app_master == 0))
        return;
    size_t n = dpi_app_name(meter->config.dpi, more->app_master, more->app, app, size);
    record->app_name = (FlowText){app, (uint32_t)n};
    const char *category = dpi_category_name(meter->config.dpi, more->app_category);
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

static void record_make(Meter *meter, const FlowEntry *entry, const FlowMore *more,
                        uint8_t end_reason) {
    const FlowKey *key = &entry->key;
    unsigned i = entry_initiator(entry);
    unsigned r = !i;
    char app[128];
    char tunnels[TUNNEL_TEXT_MAX];
    FlowRecord record = {
        .first_ms = entry->first_ns / 1000000,
        .last_ms = entry->last_ns / 1000000,
        .src_ip = address_of(key->ip_version, key->address[i]),
        .dst_ip = address_of(key->ip_version, key->address[r]),
        .src_port = key->port[i],
        .dst_port = key->port[r],
        .protocol = key->protocol,
        .vlan = more->vlan,
        .inner_vlan = more->inner_vlan,
        .octets = entry->octets[i],
        .packets = entry->packets[i],
        .rev_octets = entry->octets[r],
        .rev_packets = entry->packets[r],
        .l2_octets = entry->frame_octets[i],
        .rev_l2_octets = entry->frame_octets[r],
        .tcp_flags = entry->tcp_flags[i],
        .rev_tcp_flags = entry->tcp_flags[r],
        .tos = more->tos[i],
        .rev_tos = more->tos[r],
        .icmp_type = more->icmp_type,
        .icmp_code = more->icmp_code,
        .end_reason = end_reason,
        .biflow_direction = told_how(entry),
        .flow_id = more->id,
        .input_if = meter->config.input_if,
        .sampling = more->sampling,
        .app_id = more->app,
        .app_master_id = more->app_master,
        .app_confidence = more->confidence,
        .app_risk = more->risk,
        .app_risk_score = more->risk_score,
    };
    if (more->has_macs) {
        memcpy(record.src_mac.bytes, more->mac[i], 6);
        memcpy(record.dst_mac.bytes, more->mac[r], 6);
    }
    if (more->path)
        record_path(&record, path_at(meter, more->path), i, tunnels);
    record_texts(meter, &record, more, app, sizeof(app));
    meter->config.record(meter->config.userdata, &record);
}

void meter_emit(Meter *meter, uint32_t number, uint8_t end_reason, bool last) {
    FlowEntry *entry = entry_at(meter, number);
    FlowMore *more = more_at(meter, number);
    uint64_t packets = (uint64_t)entry->packets[0] + entry->packets[1];
    meter_settle(meter, entry, more, last);
    if (packets == 0) /* nothing came since its last record */
        return;
    record_make(meter, entry, more, end_reason);
    meter_count(meter, COUNTER_EXPORTED_IDLE + end_reason - FLOW_END_IDLE, 1);
    meter_count(meter, COUNTER_PACKETS_EXPORTED, packets);
    meter_count(meter, COUNTER_BYTES_EXPORTED, entry->frame_octets[0] + entry->frame_octets[1]);
}
