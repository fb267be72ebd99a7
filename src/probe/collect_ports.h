#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Collector Ports
 *
 * Where exporters send: UDP sockets, and IPFIX over TCP (RFC 7011 section 10.4) on the same ports,
 * as captures whose frames are datagrams (FRAME_LINK_COLLECTED, see probe/collect_feed.h), one a
 * worker. Each has a socket of each port, and a thread that does nothing but receive, many
 * datagrams a call, into chunks; it never waits for who decodes. All that comes from one address
 * comes to the same one. When its chunks are full, UDP is dropped and counted, and connections
 * wait.
 */

#include "base/option.h"
#include "base/reason.h"
#include "probe/capture.h"

typedef struct Buffer Buffer;

/** collect_ports_check() - "PORT" or "ADDRESS:PORT", IPv6 in brackets; CAPTURE_E_USAGE */
int collect_ports_check(const OptionList *ports, Reason *reason);

/** collect_ports_open() - all of them, n captures; 0, CAPTURE_E_REFUSED or CAPTURE_E_USAGE */
int collect_ports_open(Capture **captures, unsigned n, const OptionList *ports, const char *filter,
                       Reason *reason);

/** collect_ports_stop() - receive what has come by now; CAPTURE_E_END comes when that is read.
 * False: the capture is none of ports */
bool collect_ports_stop(Capture *capture);

/** collect_ports_write_counters() - what each socket of n captures dropped, as OpenMetrics text */
void collect_ports_write_counters(Capture *const *captures, size_t n, Buffer *to);
