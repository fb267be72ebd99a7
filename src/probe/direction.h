#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Direction
 *
 * Which side opened a flow, told from one packet: a SYN or SCTP INIT leaves no doubt; an echo
 * reply and a packet from a well-known port to another one answer something that was not seen;
 * else whoever sends first is supposed to have. Of a TCP flow met in its middle the lower port is
 * supposed to be the server's. What is supposed holds until nDPI sees who asks and who answers
 * (dpi_sender()).
 */

#include "net/dissect.h"

typedef enum Direction {
    DIRECTION_FIRST,        /* nothing against the sender being the initiator */
    DIRECTION_REVERSED,     /* the sender seems to answer */
    DIRECTION_ASKS,         /* by well-known port or type, the sender asks */
    DIRECTION_ANSWERS,      /* the same, it answers */
    DIRECTION_SYN,          /* the sender is the initiator for certain */
    DIRECTION_SYN_REVERSED, /* the sender is the responder for certain */
} Direction;

Direction direction_tell(const Packet *packet);

/** direction_certain() - the same, only if certain, else DIRECTION_FIRST; for every packet */
static inline Direction direction_certain(const Packet *packet) {
    if (packet->protocol == IP_TCP && (packet->tcp_flags & TCP_SYN))
        return packet->tcp_flags & TCP_ACK ? DIRECTION_SYN_REVERSED : DIRECTION_SYN;
    return DIRECTION_FIRST;
}
