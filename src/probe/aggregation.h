#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Aggregation as it is written
 *
 * -p takes what nProbe's does: VLAN/PROTOCOL/IP/PORT/TOS/SCTP/EXPORTER, each 1 or 0. What is 0 is
 * nothing in the flows, so that those which differ in it alone are one; what is 1 is as it is
 * without the option. VLAN may be OUTER.INNER. Streams of SCTP are in no flow, so theirs changes
 * nothing.
 */

#include <stdint.h>

#include "base/reason.h"
#include "flow/record.h"
#include "net/dissect.h"

/* what is left out, or-ed */
enum {
    AGGREGATION_VLAN = 1,
    AGGREGATION_INNER_VLAN = 2,
    AGGREGATION_PROTOCOL = 4,
    AGGREGATION_ADDRESS = 8,
    AGGREGATION_PORT = 16,
    AGGREGATION_TOS = 32,
    AGGREGATION_EXPORTER = 64,
    /* packets of several connections meet in one flow */
    AGGREGATION_JOINS = AGGREGATION_PROTOCOL | AGGREGATION_ADDRESS | AGGREGATION_PORT,
};

enum {
    _AGGREGATION_E_SUCCESS,
    AGGREGATION_E_USAGE, /* the reason says what is accepted */
};

/** aggregation_parse() - NULL leaves nothing out */
int aggregation_parse(uint32_t *left_outp, const char *text, Reason *reason);

/** aggregation_packet() - before its flow is looked for; fragments have met already */
void aggregation_packet(Packet *packet, uint32_t left_out);
/** aggregation_flow() - of an exporter */
void aggregation_flow(FlowRecord *flow, uint32_t left_out);
