/* SPDX-License-Identifier: Apache-2.0 */

/* NetFlow v5: one record of 48 bytes a direction, IPv4 only */

#include <string.h>

#include "codec/netflow-inside.h"

void netflow5_header(const NetflowStream *stream, NetflowMessage *message, uint64_t export_ms) {
    Buffer *to = &message->bytes;
    buffer_put_u16(to, NETFLOW_5);
    buffer_put_u16(to, (uint16_t)message->records);
    buffer_put_u32(to, (uint32_t)(export_ms - stream->boot_ms));
    buffer_put_u32(to, (uint32_t)(export_ms / 1000));
    buffer_put_u32(to, (uint32_t)(export_ms % 1000 * 1000000));
    buffer_put_u32(to, stream->sequence);
    buffer_put_u16(to, (uint16_t)stream->domain); /* engine type and id */
    /* mode 1, deterministic: what readers understand; 14 bits */
    buffer_put_u16(to, message->sampling > 1
                           ? (uint16_t)(1u << 14 | netflow_least(message->sampling, 0x3fff))
                           : 0);
}

static uint8_t *put_u16(uint8_t *to, uint64_t v) {
    to[0] = (uint8_t)(v >> 8);
    to[1] = (uint8_t)v;
    return to + 2;
}

static uint8_t *put_u32(uint8_t *to, uint64_t v) {
    return put_u16(put_u16(to, v >> 16), v);
}

static uint8_t *put_v4(uint8_t *to, const NetAddress *address) {
    static const uint8_t none[4];
    memcpy(to, address->family == 4 ? address->bytes : none, sizeof(none));
    return to + sizeof(none);
}

static uint64_t as_number(uint32_t as) {
    enum { AS_TRANS = 23456 }; /* RFC 6793: stands for those of more than 16 bits */
    return as > UINT16_MAX ? AS_TRANS : as;
}

static void put(NetflowMessage *message, const FlowRecord *record, bool reverse,
                const NetflowMade *made, uint64_t packets, uint64_t octets) {
    uint8_t *to = buffer_reserve(&message->bytes, V5_RECORD_BYTES);
    message->records++;
    if (!to)
        return;
    message->bytes.size += V5_RECORD_BYTES;
    to = put_v4(to, reverse ? &record->dst_ip : &record->src_ip);
    to = put_v4(to, reverse ? &record->src_ip : &record->dst_ip);
    to = put_v4(to, &record->next_hop);
    to = put_u16(to, netflow_least(reverse ? record->output_if : record->input_if, UINT16_MAX));
    to = put_u16(to, netflow_least(reverse ? record->input_if : record->output_if, UINT16_MAX));
    to = put_u32(to, netflow_least(packets, UINT32_MAX));
    to = put_u32(to, octets);
    to = put_u32(to, made->first_up_ms);
    to = put_u32(to, made->last_up_ms);
    to = put_u16(to, made->src_port);
    to = put_u16(to, made->dst_port);
    *to++ = 0;
    *to++ = (uint8_t)made->flags;
    *to++ = record->protocol;
    *to++ = reverse ? record->rev_tos : record->tos;
    to = put_u16(to, as_number(reverse ? record->dst_as : record->src_as));
    to = put_u16(to, as_number(reverse ? record->src_as : record->dst_as));
    memset(to, 0, 4); /* prefix lengths: not known */
}

/* in so many records that each count fits; a packet has at most 65,535 octets, so there are enough
 * of them */
void netflow5_put(NetflowStream *stream, NetflowMessage *message, const FlowRecord *record,
                  bool reverse) {
    uint64_t octets = reverse ? record->rev_octets : record->octets;
    uint64_t packets = reverse ? record->rev_packets : record->packets;
    NetflowMade made;
    netflow_make(&made, stream, record, reverse, 0);
    while (octets > UINT32_MAX && message->records <= V5_RECORDS_MAX) { /* more never fit */
        const uint64_t piece = packets / (octets / UINT32_MAX + 1);
        put(message, record, reverse, &made, piece, UINT32_MAX);
        octets -= UINT32_MAX;
        packets -= piece;
    }
    put(message, record, reverse, &made, packets, octets);
}
