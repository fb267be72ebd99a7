#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Made-up flows, about as a site of middle size has them: a few hosts, peers, services and names
 * make up most of it.
 */

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "flow/record.h"

typedef struct FlowMaker {
    uint64_t random;
    bool all_fields; /* else those that NetFlow v9 has */
} FlowMaker;

static FlowMaker flow_maker(bool all_fields) {
    return (FlowMaker){.random = 88172645463325252u, .all_fields = all_fields};
}

static uint64_t next_random(FlowMaker *maker) {
    maker->random ^= maker->random << 13;
    maker->random ^= maker->random >> 7;
    maker->random ^= maker->random << 17;
    return maker->random;
}

/** skewed() - 0 to n - 1, small numbers more often, about as hosts and services are */
static uint32_t skewed(FlowMaker *maker, uint32_t n) {
    double u = (double)(next_random(maker) >> 11) / 9007199254740992.0;
    return (uint32_t)((double)n * u * u * u);
}

static FlowText text_of(const char *text) {
    return (FlowText){.text = text, .size = (uint32_t)strlen(text)};
}

static void make_what_it_is(FlowMaker *maker, FlowRecord *record) {
    static const struct {
        const char *app, *category;
        uint16_t master, id, port;
    } apps[] = {
        {"TLS.Google", "Web", 91, 126, 443}, {"QUIC.YouTube", "Media", 188, 124, 443},
        {"DNS", "Network", 0, 5, 53},        {"TLS", "Web", 0, 91, 443},
        {"HTTP", "Web", 0, 7, 80},           {"SSH", "RemoteAccess", 0, 92, 22},
        {"NTP", "System", 0, 9, 123},        {"TLS.Microsoft", "Cloud", 91, 212, 443},
    };
    static char names[4096][40];
    uint32_t a = skewed(maker, sizeof(apps) / sizeof(apps[0]));
    uint32_t n = skewed(maker, 4096);
    if (!names[n][0])
        (void)snprintf(names[n], sizeof(names[n]), "host%u.service%u.example", n, n % 97);
    record->dst_port = apps[a].port;
    record->protocol = apps[a].port == 53 || apps[a].port == 123 ? 17 : 6;
    if (!maker->all_fields)
        return;
    record->app_id = apps[a].id;
    record->app_master_id = apps[a].master;
    record->app_name = text_of(apps[a].app);
    record->app_category = text_of(apps[a].category);
    record->app_confidence = 6;
    record->server_name = text_of(names[n]);
    record->l2_octets = record->octets + 14 * record->packets;
    record->rev_l2_octets = record->rev_octets + 14 * record->rev_packets;
    record->flow_id = next_random(maker);
    record->biflow_direction = FLOW_DIRECTION_INITIATOR;
    record->src_mac = (FlowMac){{2, 0, 0, 0, record->src_ip.bytes[2], record->src_ip.bytes[3]}};
    record->dst_mac = (FlowMac){{2, 0, 0, 0, 0, 1}};
}

static void flow_make(FlowMaker *maker, FlowRecord *record, uint64_t now_ms) {
    uint32_t host = skewed(maker, 30000);
    uint32_t peer = skewed(maker, 200000);
    record->src_ip = net_address_v4((uint8_t[]){10, 0, (uint8_t)(host >> 8), (uint8_t)host});
    record->dst_ip = net_address_v4(
        (uint8_t[]){198, (uint8_t)(18 + (peer >> 16)), (uint8_t)(peer >> 8), (uint8_t)peer});
    record->src_port = (uint16_t)(32768 + next_random(maker) % 28000);
    record->packets = 1 + skewed(maker, 60);
    record->octets = record->packets * (60 + skewed(maker, 400));
    record->rev_packets = 1 + skewed(maker, 90);
    record->rev_octets = record->rev_packets * (60 + skewed(maker, 1300));
    record->last_ms = now_ms - next_random(maker) % 1000;
    record->first_ms = record->last_ms - skewed(maker, 30000);
    record->end_reason = FLOW_END_IDLE;
    make_what_it_is(maker, record);
    if (record->protocol == 6) {
        record->tcp_flags = 0x1b;
        record->rev_tcp_flags = 0x1b;
    }
}
