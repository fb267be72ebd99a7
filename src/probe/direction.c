/* SPDX-License-Identifier: Apache-2.0 */

#include "probe/direction.h"

#include <stdbool.h>
#include <stddef.h>

enum { WELL_KNOWN = 1024 };

/* SCTP chunk types, RFC 9260 section 3.2 */
enum { SCTP_INIT = 1, SCTP_INIT_ACK = 2, SCTP_COOKIE_ECHO = 10, SCTP_COOKIE_ACK = 11 };

static Direction tell_sctp(const Packet *packet) {
    switch (packet->sctp_chunk) {
    case SCTP_INIT:
    case SCTP_COOKIE_ECHO:
        return DIRECTION_SYN;
    case SCTP_INIT_ACK:
    case SCTP_COOKIE_ACK:
        return DIRECTION_SYN_REVERSED;
    default:
        return DIRECTION_FIRST;
    }
}

/* ICMP types that answer: echo, timestamp, information and mask reply (IANA icmp-parameters) */
static bool icmp_answers(const Packet *packet) {
    static const uint8_t replies[] = {0, 14, 16, 18};
    if (packet->protocol == IP_ICMPV6)
        return packet->icmp_type == 129;
    for (size_t i = 0; i < sizeof(replies); i++)
        if (packet->icmp_type == replies[i])
            return true;
    return false;
}

static Direction tell_ports(const Packet *packet) {
    bool from_service = packet->src_port < WELL_KNOWN;
    bool to_service = packet->dst_port < WELL_KNOWN;
    if (from_service != to_service)
        return from_service ? DIRECTION_ANSWERS : DIRECTION_ASKS;
    if (packet->protocol == IP_TCP && packet->src_port < packet->dst_port)
        return DIRECTION_REVERSED;
    return DIRECTION_FIRST;
}

Direction direction_tell(const Packet *packet) {
    Direction certain = direction_certain(packet);
    if (certain != DIRECTION_FIRST)
        return certain;
    switch (packet->protocol) {
    case IP_ICMP:
    case IP_ICMPV6:
        return icmp_answers(packet) ? DIRECTION_ANSWERS : DIRECTION_ASKS;
    case IP_SCTP:
        certain = tell_sctp(packet);
        return certain != DIRECTION_FIRST ? certain : tell_ports(packet);
    case IP_TCP:
    case IP_UDP:
    case IP_UDPLITE:
    case IP_DCCP:
        return tell_ports(packet);
    default:
        return DIRECTION_FIRST;
    }
}
