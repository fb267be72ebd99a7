#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Collected Records
 *
 * What an exporter said of a flow: a FlowRecord, and beside it what only exporters know. Which
 * fields were said at all is kept in `seen`, a bit a row of fields.def, for zero is a value here.
 * Texts point into the datagram or into what the collector has learnt, and are good until the
 * callback that got the record returns.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "flow/record.h"

typedef struct Json Json;

enum {
    COLLECT_LIST_MAX = 16, /* MPLS labels, VLAN tags, AS path: those beyond are left off */
    COLLECT_UNKNOWN_MAX = 32,
    COLLECT_VERSION_SFLOW = 0xf5,
    COLLECT_STATUS_DROPPED =
        128, /* the first forwardingStatus of those that were, for no known reason */
};

/* what said the sampling rate */
typedef enum CollectRate {
    COLLECT_RATE_NONE,
    COLLECT_RATE_OPTIONS,
    COLLECT_RATE_RECORD,
    COLLECT_RATE_HEADER, /* of v5 */
    COLLECT_RATE_SFLOW,
    COLLECT_RATE_OVERRIDE, /* our own user */
    _COLLECT_RATE_N,
} CollectRate;

typedef struct CollectList {
    uint8_t n;
    uint32_t values[COLLECT_LIST_MAX];
} CollectList;

/* an element that no field is made of, as it stood on the wire */
typedef struct CollectUnknown {
    uint32_t pen;
    uint16_t element;
    uint16_t size;
    const uint8_t *bytes;
} CollectUnknown;

typedef struct CollectRecord {
    FlowRecord flow; /* first: this is what travels to a hub */
    uint64_t seen[2];

    uint8_t proto_version; /* 1, 5, 7, 9, 10, or COLLECT_VERSION_SFLOW */
    uint8_t ip_version;
    uint8_t direction;
    uint8_t min_ttl, max_ttl;
    uint8_t engine_type, engine_id;
    uint8_t input_if_format, output_if_format; /* of sFlow: 0 one, 1 discarded, 2 several */
    uint16_t template_id;
    uint16_t ether_type;
    uint32_t ipv6_flow_label;
    uint32_t ip_id;
    uint32_t sub_agent_id, source_id, header_protocol; /* of sFlow */
    uint32_t src_peer_as, router_as;
    uint16_t post_vlan;
    uint8_t src_mask, dst_mask;
    uint64_t out_octets, out_packets, l3_octets;
    uint64_t event_ms;
    NetAddress source_ip, bgp_next_hop;
    FlowMac post_src_mac, post_dst_mac;
    FlowText app_id;   /* bytes of applicationId */
    FlowText app_name; /* that it stands for, as options told */
    FlowText user_name;
    FlowText input_if_name, output_if_name, vrf_in_name, vrf_out_name;
    bool from_frame_section;
    uint8_t sampling_from; /* CollectRate */
    bool of_uptime;        /* times are counted from the exporter's start, by 32 bits */
    uint64_t export_ms;    /* by the exporter's clock; 0: not said */
    uint64_t received_ms;  /* by ours */

    /* only while a record is read */
    uint64_t boot_ms;
    uint64_t selector;
    uint8_t selector_algorithm;                           /* 304 */
    uint8_t frame_type;                                   /* 408 */
    uint64_t interval, space;                             /* 305, 306 */
    uint64_t one_of;                                      /* 311: one of so many */
    uint64_t duration_ms;                                 /* 161, 162 */
    uint64_t sample, population;                          /* 309, 310 */
    FlowText frame;                                       /* 315 */
    FlowText if_name, if_description, vrf_name, app_text; /* of options */

    CollectList mpls_labels, hdr_vlans, as_path; /* last, see record_clear() */
    uint32_t n_unknown;                          /* --keep-unknown */
    CollectUnknown unknown[COLLECT_UNKNOWN_MAX];
} CollectRecord;

/* one row a field */
typedef enum CollectFieldId {
#define COLLECT_FIELD(id, ...) COLLECT_##id,
#include "collect/fields.def"
#undef COLLECT_FIELD
    _COLLECT_FIELD_N,
} CollectFieldId;

typedef enum CollectKind {
    COLLECT_KIND_NUMBER,
    COLLECT_KIND_ADDRESS,
    COLLECT_KIND_MAC,
    COLLECT_KIND_TEXT,
    COLLECT_KIND_HEX,
    COLLECT_KIND_LIST,
    COLLECT_KIND_VERSION,
    COLLECT_KIND_BOOL,
} CollectKind;

typedef struct CollectField {
    const char *name; /* in JSON; NULL: not shown */
    CollectKind kind;
    uint16_t offset;
    uint16_t size;
} CollectField;

extern const CollectField collect_fields[_COLLECT_FIELD_N];

static inline void collect_see(CollectRecord *record, CollectFieldId id) {
    record->seen[id / 64] |= 1ull << (id % 64);
}

static inline void collect_unsee(CollectRecord *record, CollectFieldId id) {
    record->seen[id / 64] &= ~(1ull << (id % 64));
}

static inline bool collect_seen(const CollectRecord *record, CollectFieldId id) {
    return record->seen[id / 64] >> (id % 64) & 1;
}

/* a packet that an sFlow agent dropped and tells of by itself: it stands for no others */
static inline bool collect_is_discard(const CollectRecord *record) {
    return record->proto_version == COLLECT_VERSION_SFLOW && record->flow.drop_reason.size > 0;
}

/** collect_record_write_json() - one object with the fields that were said */
void collect_record_write_json(const CollectRecord *record, Json *json);

enum { COLLECT_LAYOUTS = 4 };

/* where the fields are that a record says */
typedef struct CollectLayout {
    uint64_t seen[2]; /* of the records that say these */
    uint16_t n, n_other;
    struct {
        uint16_t at;
        uint64_t mask, weight;
    } words[sizeof(CollectRecord) / 8];
    uint8_t other[_COLLECT_FIELD_N];
} CollectLayout;

typedef struct CollectChecksum {
    uint64_t sum;
    unsigned next;
    CollectLayout layouts[COLLECT_LAYOUTS];
} CollectChecksum;

/**
 * collect_checksum_add() - one number of all fields that were said but the addresses of who sent
 * them. The sums of two sets of records are the same, whatever their order, when the records are
 */
void collect_checksum_add(CollectChecksum *checksum, const CollectRecord *record);
