/* SPDX-License-Identifier: Apache-2.0 */

/* what is made of a record for collectors: times as they count them, ICMP as they expect it */

#include <string.h>

#include "codec/netflow-inside.h"

enum {
    NDPI_DNS = 5,
    NDPI_HTTP = 7,
    NDPI_TLS = 91,
    NDPI_QUIC = 188,
    SAMPLING_RANDOM = 2, /* samplingAlgorithm */
};

static uint32_t since_boot(const NetflowStream *stream, uint64_t time_ms) {
    const uint64_t boot_ms = stream->boot_ms;
    return (uint32_t)netflow_least(time_ms > boot_ms ? time_ms - boot_ms : 0, UINT32_MAX);
}

static uint64_t ntp(uint64_t time_ms) {
    static const uint64_t since_1900_s = 2208988800u;
    return (time_ms / 1000 + since_1900_s) << 32 | ((time_ms % 1000 << 32) / 1000);
}

/* type and code as every reader of v5 and v9 expects them; an echo is answered by a reply */
static uint16_t icmp_port(const FlowRecord *record, bool reverse) {
    unsigned type = record->icmp_type;
    if (reverse && (type == 8 || type == 128))
        type = type == 8 ? 0 : 129;
    return (uint16_t)(type << 8 | record->icmp_code);
}

static uint32_t sampler_id(const NetflowStream *stream, uint32_t sampling) {
    for (size_t i = 0; i < stream->n_rates; i++)
        if (stream->rates[i] == sampling)
            return (uint32_t)i + 1;
    return 0;
}

static FlowText text_of(const char *name) {
    uint32_t size = 0;
    while (name && name[size])
        size++;
    return (FlowText){name, size};
}

static bool speaks(const FlowRecord *record, uint16_t a, uint16_t b) {
    return record->app_id == a || record->app_master_id == a || record->app_id == b ||
           record->app_master_id == b;
}

static void make_names(NetflowMade *made, const NetflowStream *stream, const FlowRecord *record) {
    made->protocol_name = text_of(flow_protocol_name(record->protocol));
    made->instance = stream->instance;
    made->exporter = record->exporter_ip.family ? record->exporter_ip : stream->self;
    made->self = stream->self;
    made->mpls = record->mpls_label ? record->mpls_label << 4 | 1 : 0;
    made->client_latency_ms = record->client_latency_us / 1000;
    made->server_latency_ms = record->server_latency_us / 1000;
    made->app_latency_ms = record->app_latency_us / 1000;
    made->total_flows = (uint32_t)stream->records;
    if (speaks(record, NDPI_TLS, NDPI_QUIC))
        made->tls_name = record->server_name;
    else if (speaks(record, NDPI_HTTP, NDPI_HTTP))
        made->http_name = record->server_name;
    else if (speaks(record, NDPI_DNS, NDPI_DNS))
        made->dns_name = record->server_name;
}

static void make_times(NetflowMade *made, const NetflowStream *stream, const FlowRecord *record) {
    const uint64_t duration_ms =
        record->last_ms > record->first_ms ? record->last_ms - record->first_ms : 0;
    made->first_up_ms = since_boot(stream, record->first_ms);
    made->last_up_ms = since_boot(stream, record->last_ms);
    if (!stream->chosen)
        return;
    made->first_ntp = ntp(record->first_ms);
    made->last_ntp = ntp(record->last_ms);
    made->first_s = (uint32_t)(record->first_ms / 1000);
    made->last_s = (uint32_t)(record->last_ms / 1000);
    made->duration_ms = (uint32_t)netflow_least(duration_ms, UINT32_MAX);
    made->duration_us = (uint32_t)netflow_least(duration_ms * 1000, UINT32_MAX);
}

void netflow_make(NetflowMade *made, const NetflowStream *stream, const FlowRecord *record,
                  bool reverse, uint64_t export_ms) {
    const bool icmp = flow_record_is_icmp(record);
    enum { USUAL = offsetof(NetflowMade, first_ntp) }; /* all of these are set below */
    if (stream->chosen)
        memset((uint8_t *)made + USUAL, 0, sizeof(*made) - USUAL);
    make_times(made, stream, record);
    made->icmp = icmp ? icmp_port(record, reverse) : 0;
    made->src_port = icmp ? 0 : reverse ? record->dst_port : record->src_port;
    made->dst_port = icmp ? made->icmp : reverse ? record->src_port : record->dst_port;
    made->flags = reverse ? record->rev_tcp_flags : record->tcp_flags;
    made->sampling = record->sampling ? record->sampling : 1;
    made->mpls = record->mpls_label ? record->mpls_label << 4 | 1 : 0;
    made->sampler = record->sampling > 1 ? sampler_id(stream, record->sampling) : 0;
    if (!stream->chosen)
        return;
    made->algorithm = record->sampling > 1 ? SAMPLING_RANDOM : 0;
    if (stream->both && stream->version == NETFLOW_9)
        made->flags = record->tcp_flags | record->rev_tcp_flags;
    made->ip_version = record->src_ip.family;
    made->direction = reverse;
    made->source = record->exporter_ip.family != 0;
    made->server_port = icmp ? 0 : record->dst_port;
    made->export_s = (uint32_t)(export_ms / 1000);
    make_names(made, stream, record);
}
