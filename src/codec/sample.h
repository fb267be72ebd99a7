#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Sample Records
 *
 * Flows from a seed, for tests and measurements: `sample_realistic` draws them as a site of some
 * hundred hosts would make them, `sample_random` puts anything into any field.
 */

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "flow/field.h"

typedef struct Sample {
    uint64_t state;
    uint64_t now_ms;
} Sample;

typedef enum SampleKind {
    SAMPLE_V9,     /* what NetFlow v9 carries: one direction, no names */
    SAMPLE_BIFLOW, /* the same with both directions */
    SAMPLE_ALL,    /* every field a probe with nDPI sets */
} SampleKind;

static inline uint64_t sample_u64(Sample *sample) {
    uint64_t z = (sample->state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static inline unsigned sample_below(Sample *sample, unsigned n) {
    return (unsigned)(sample_u64(sample) % n);
}

static inline double sample_unit(Sample *sample) {
    return (double)(sample_u64(sample) >> 11) / 9007199254740992.0;
}

/* few of them often, most seldom */
static inline unsigned sample_zipf(Sample *sample, unsigned n) {
    return (unsigned)pow((double)n, sample_unit(sample)) - 1;
}

static inline NetAddress sample_address(bool v6, uint32_t host) {
    uint8_t bytes[16] = {0x20, 0x01, 0x0d, 0xb8};
    uint8_t *at = v6 ? bytes + 12 : bytes;
    for (size_t i = 0; i < 4; i++)
        at[i] = (uint8_t)(host >> (24 - 8 * i));
    if (v6)
        for (size_t i = 8; i < 12; i++)
            bytes[i] = (uint8_t)((host * 2654435761u) >> (i * 2));
    return v6 ? net_address_v6(bytes) : net_address_v4(bytes);
}

static inline FlowText sample_text(const char *text) {
    return (FlowText){.text = text, .size = (uint32_t)strlen(text)};
}

typedef struct SampleService {
    uint16_t port;
    uint8_t protocol;
    uint8_t share; /* of 100 flows */
    uint16_t app;
    const char *app_name, *category;
} SampleService;

static const SampleService sample_services[] = {
    {443, 6, 34, 91, "TLS", "Web"},       {53, 17, 28, 5, "DNS", "Network"},
    {443, 17, 10, 188, "QUIC", "Web"},    {80, 6, 6, 7, "HTTP", "Web"},
    {123, 17, 3, 9, "NTP", "System"},     {22, 6, 2, 92, "SSH", "RemoteAccess"},
    {0, 1, 2, 81, "ICMP", "Network"},     {445, 6, 2, 41, "SMBv23", "System"},
    {5353, 17, 3, 8, "MDNS", "Network"},  {993, 6, 1, 51, "IMAPS", "Email"},
    {3478, 17, 2, 78, "STUN", "Network"}, {0, 6, 7, 0, "Unknown", "Unspecified"},
};

static inline const SampleService *sample_service(Sample *sample) {
    unsigned draw = sample_below(sample, 100);
    const SampleService *service = sample_services;
    while (draw >= service->share)
        draw -= service++->share;
    return service;
}

/* a made-up name of a server, always the same one */
static inline FlowText sample_name(unsigned server) {
    static char names[512][24];
    static const char *const tops[] = {"com", "net", "org", "example"};
    server %= 512;
    char *name = names[server];
    size_t n = 4 + server % 13;
    for (size_t i = 0; i < n; i++)
        name[i] = (char)('a' + (server * (i + 7) * 2654435761u >> 20) % 26);
    (void)snprintf(name + n, sizeof(names[0]) - n, ".%s", tops[server % 4]);
    return sample_text(name);
}

static inline void sample_forward(Sample *sample, FlowRecord *r, const SampleService *service,
                                  unsigned server) {
    bool v6 = sample_below(sample, 100) < 15;
    bool tcp = service->protocol == 6;
    double spread = sample_unit(sample) * (tcp ? 6 : 2);
    sample->now_ms += sample_below(sample, 10);
    r->protocol = service->protocol;
    r->packets = (uint64_t)exp(spread) + tcp;
    r->octets = r->packets * (40 + sample_below(sample, 300));
    r->last_ms = sample->now_ms - sample_below(sample, 2000);
    r->first_ms = r->last_ms - (r->packets == 1 ? 0 : (uint64_t)exp(sample_unit(sample) * 11));
    r->src_ip = sample_address(v6, 0x0a010000u + sample_zipf(sample, 500));
    r->dst_ip = sample_address(v6, server * 2654435761u);
    r->dst_port = service->port;
    if (service->protocol == 1)
        r->icmp_type = 8;
    else
        r->src_port = (uint16_t)(32768 + sample_below(sample, 28000));
    if (tcp && service->port == 0)
        r->dst_port = (uint16_t)(1024 + sample_below(sample, 60000));
    if (tcp)
        r->tcp_flags = sample_below(sample, 10) ? 0x1b : 0x02;
    r->tos = sample_below(sample, 20) ? 0 : 0x28;
    r->end_reason = tcp && sample_below(sample, 3) ? FLOW_END_DETECTED : FLOW_END_IDLE;
    r->input_if = 3;
    r->output_if = 4;
}

static inline void sample_reverse(Sample *sample, FlowRecord *r) {
    if (sample_below(sample, 12) == 0)
        return; /* never answered */
    r->rev_packets = r->packets + sample_below(sample, (unsigned)r->packets);
    r->rev_octets = r->rev_packets * (60 + sample_below(sample, 1300));
    r->rev_tcp_flags = r->protocol == 6 ? 0x1b : 0;
}

static inline void sample_dpi(Sample *sample, FlowRecord *r, const SampleService *service,
                              unsigned server) {
    r->biflow_direction = FLOW_DIRECTION_INITIATOR;
    r->flow_id = 0x5eed000000000000u + sample_u64(sample) % (1u << 24);
    r->vlan = 20;
    r->l2_octets = r->octets + 14 * r->packets;
    r->rev_l2_octets = r->rev_octets + 14 * r->rev_packets;
    r->src_mac = (FlowMac){{0x52, 0x54, 0, 0, r->src_ip.bytes[2], r->src_ip.bytes[3]}};
    r->dst_mac = (FlowMac){{0x52, 0x54, 0, 0xff, 0xff, 1}};
    r->app_id = service->app;
    r->app_name = sample_text(service->app_name);
    r->app_category = sample_text(service->category);
    r->app_confidence = 6;
    if (service->port == 443 || service->port == 53 || service->port == 80)
        r->server_name = sample_name(server);
    if (sample_below(sample, 20) == 0) {
        r->app_risk = (uint64_t)1 << sample_below(sample, 50);
        r->app_risk_score = 50;
    }
}

static inline FlowRecord sample_realistic(Sample *sample, SampleKind kind) {
    const SampleService *service = sample_service(sample);
    unsigned server = sample_zipf(sample, 20000);
    FlowRecord r = {0};
    sample_forward(sample, &r, service, server);
    if (kind != SAMPLE_V9)
        sample_reverse(sample, &r);
    if (kind == SAMPLE_ALL)
        sample_dpi(sample, &r, service, server);
    return r;
}

/* a number of any size, zero as likely as huge */
static inline uint64_t sample_number(Sample *sample) {
    uint64_t v = sample_u64(sample);
    return sample_below(sample, 3) ? v >> sample_below(sample, 64) : 0;
}

static inline void sample_field(Sample *sample, FlowRecord *record, const FlowField *field) {
    static const char letters[4096] = "the quick brown fox \xff\"\\\x01 jumps over the lazy dog";
    void *at = (uint8_t *)record + field->offset;
    uint64_t v = sample_number(sample);
    switch (field->kind) {
    case FLOW_KIND_ADDRESS:
        if (!field->element_v6) /* else of the record's family, below */
            *(NetAddress *)at = sample_address(v & 1, (uint32_t)(v >> 8) | 1);
        break;
    case FLOW_KIND_TEXT: {
        static const uint32_t sizes[] = {0, 0, 1, 9, 254, 255, 256, 1024};
        uint32_t size = sizes[sample_below(sample, sample_below(sample, 20) ? 4 : 8)];
        *(FlowText *)at = (FlowText){.text = size ? letters + v % 20 : NULL, .size = size};
        break;
    }
    default:
        memcpy(at, &v, field->size);
    }
}

static inline FlowRecord sample_random(Sample *sample) {
    FlowRecord r = {0};
    for (size_t i = 0; i < _FLOW_FIELD_N; i++)
        if (flow_fields[i].element && sample_below(sample, 3))
            sample_field(sample, &r, &flow_fields[i]);
    if (sample_below(sample, 4))
        r.last_ms = r.first_ms + (sample_number(sample) >> 32);
    unsigned family = sample_below(sample, 8);
    if (family) {
        r.src_ip = sample_address(family < 3, (uint32_t)sample_u64(sample));
        r.dst_ip = sample_address(family < 3, (uint32_t)sample_u64(sample));
    }
    return r;
}
