#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Jitter
 *
 * How unevenly the packets of one side come (RFC 3550 section 6.4.1 and its appendix A.8): of RTP
 * against its own time stamps, of anything else against the gap before. RTP is what has its
 * version, one source and type, and sequence numbers that count up; the rate of its clock is that
 * of its payload type (RFC 3551), or where the type has none the usual rate nearest to what half
 * a second shows.
 */

#include "net/dissect.h"
#include "probe/measures.h"

/** jitter_begin() - one packet came before */
void jitter_begin(UdpSide *side, uint32_t us);

void jitter_packet(UdpSide *side, const Packet *packet, uint32_t now_us);

/** jitter_us() - 0 when not known yet */
uint32_t jitter_us(const UdpSide *side);
