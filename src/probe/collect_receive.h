#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Receiving
 *
 * The thread of collector ports. Chunks go round between it and who reads them: a chunk is a row of
 * pieces, each a CollectedFrame, its time and size before it. Counters are written by the thread
 * alone.
 */

#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/metric.h"
#include "probe/collect_feed.h"

typedef struct Receiver Receiver;

enum { CHUNK_BYTES = 256 << 10, CHUNKS = 64, RECEIVER_PORTS_MAX = 64 };

typedef struct Chunk {
    uint32_t size;
    uint8_t bytes[CHUNK_BYTES];
} Chunk;

/* what stands before a payload in a chunk; copied in and out, for nothing is aligned there */
typedef struct Piece {
    uint64_t time_ns;
    uint32_t payload_bytes;
    CollectedFrame from; /* last: a frame begins with it */
} Piece;

/** receiver_new() - takes the sockets over, even when it fails */
int receiver_new(Receiver **receiverp, const int *udp, const int *tcp, size_t n);
Receiver *receiver_free(Receiver *receiver);

/** receiver_take() - the next chunk, NULL: nothing came in time. Give it back when it is read */
Chunk *receiver_take(Receiver *receiver, unsigned timeout_ms);
void receiver_give(Receiver *receiver, Chunk *chunk);

/** receiver_dropped() - datagrams, by the kernel for a socket was full, by us for all chunks were
 */
uint64_t receiver_dropped(const Receiver *receiver);
uint64_t receiver_overrun(const Receiver *receiver);

DEFINE_CLEANUP(Receiver *, receiver_free)
