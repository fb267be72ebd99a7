/* SPDX-License-Identifier: Apache-2.0 */

/* NetFlow v5: one record of 48 bytes a direction, IPv4 only */

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

static void put(NetflowMessage *message, const FlowRecord *record, bool reverse,
                const NetflowMade *made, uint64_t packets, uint64_t octets) {
    Buffer *to = &message->bytes;
    const NetAddress *src = reverse ? &record->dst_ip : &record->src_ip;
    const NetAddress *dst = reverse ? &record->src_ip : &record->dst_ip;
    const uint32_t input = reverse ? record->output_if : record->input_if;
    const uint32_t output = reverse ? record->input_if : record->output_if;
    buffer_put(to, src->bytes, 4);
    buffer_put(to, dst->bytes, 4);
    buffer_put(to, record->next_hop.family == 4 ? record->next_hop.bytes : (uint8_t[4]){0}, 4);
    buffer_put_u16(to, (uint16_t)netflow_least(input, UINT16_MAX));
    buffer_put_u16(to, (uint16_t)netflow_least(output, UINT16_MAX));
    buffer_put_u32(to, (uint32_t)netflow_least(packets, UINT32_MAX));
    buffer_put_u32(to, (uint32_t)octets);
    buffer_put_u32(to, made->first_up_ms);
    buffer_put_u32(to, made->last_up_ms);
    buffer_put_u16(to, made->src_port);
    buffer_put_u16(to, made->dst_port);
    buffer_put_u8(to, 0);
    buffer_put_u8(to, (uint8_t)made->flags);
    buffer_put_u8(to, record->protocol);
    buffer_put_u8(to, reverse ? record->rev_tos : record->tos);
    /* 16 bits; AS_TRANS of RFC 6793 stands for those of more */
    const uint32_t as[] = {reverse ? record->dst_as : record->src_as,
                           reverse ? record->src_as : record->dst_as};
    for (int i = 0; i < 2; i++)
        buffer_put_u16(to, as[i] > UINT16_MAX ? 23456 : (uint16_t)as[i]);
    buffer_put_u32(to, 0); /* prefix lengths: not known */
    message->records++;
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
