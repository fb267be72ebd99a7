#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A capture file that comes through a pipe
 *
 * libpcap reads a packet to its end however long that takes, and a pipe may be quiet in the middle
 * of one. So bytes are gathered here first, and capture_pipe_ready() says when a packet is whole:
 * reading it then waits for nothing. Packets are only delimited here (draft-ietf-opsawg-pcap §4
 * and §5, draft-ietf-opsawg-pcapng §3.1 and §4); what they say is libpcap's to read. Of one thread.
 */

#include <stdbool.h>
#include <stdio.h>

#include "base/cleanup.h"

typedef struct CapturePipe CapturePipe;

/** capture_pipe_new() - takes fd; NULL for want of memory */
CapturePipe *capture_pipe_new(int fd);
CapturePipe *capture_pipe_free(CapturePipe *pipe);

/** capture_pipe_file() - for libpcap, closed before the pipe is freed; NULL for want of memory */
FILE *capture_pipe_file(CapturePipe *pipe);

/**
 * capture_pipe_ready() - reading one more packet would not wait; asked before each
 * @timeout_ms: to wait for that; less when a signal comes
 *
 * True as well at the end and when the bytes make no sense: libpcap says what is wrong with them.
 */
bool capture_pipe_ready(CapturePipe *pipe, unsigned timeout_ms);

DEFINE_CLEANUP(CapturePipe *, capture_pipe_free)
