#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Collector Ports
 *
 * Where exporters send: UDP sockets, and IPFIX over TCP (RFC 7011 section 10.4) on the same ports,
 * as a capture whose frames are datagrams (FRAME_LINK_COLLECTED, see probe/collect_feed.h). A
 * thread of its own receives, many datagrams a call, into chunks; it never waits for who decodes.
 * When all chunks are full, UDP is dropped and counted, and connections wait.
 */

#include "base/option.h"
#include "base/reason.h"
#include "probe/capture.h"

/** collect_ports_check() - "PORT" or "ADDRESS:PORT", IPv6 in brackets; CAPTURE_E_USAGE */
int collect_ports_check(const OptionList *ports, Reason *reason);

/** collect_ports_open() - all of them; 0, CAPTURE_E_REFUSED or CAPTURE_E_USAGE */
int collect_ports_open(Capture **capturep, const OptionList *ports, const char *filter,
                       Reason *reason);
