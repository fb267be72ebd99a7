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

enum { CHUNK_BYTES = 256 << 10, CHUNKS = 64, RECEIVER_PORTS_MAX = 64, COLLECT_WORKERS_MAX = 16 };

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

/** collected_datagrams() - how many a payload of n bytes is */
static inline size_t collected_datagrams(const CollectedFrame *from, size_t n) {
    return from->each_bytes ? (n + from->each_bytes - 1) / from->each_bytes : 1;
}

/**
 * receiver_new() - takes the sockets over, even when it fails: n of UDP and as many listeners.
 * gather: the sockets hold enough that datagrams may wait for each other a moment
 */
int receiver_new(Receiver **receiverp, const int *udp, const int *tcp, size_t n, bool gather);
Receiver *receiver_free(Receiver *receiver);

/** receiver_stop() - take what has come by now, and no more; until it has ended it hands that over
 */
void receiver_stop(Receiver *receiver);

/** receiver_ended() - it has been stopped, and all chunks have been taken */
bool receiver_ended(Receiver *receiver);

/** receiver_take() - the next chunk, NULL: nothing came in time. Give it back when it is read */
Chunk *receiver_take(Receiver *receiver, unsigned timeout_ms);
void receiver_give(Receiver *receiver, Chunk *chunk);

/** receiver_port_dropped() - datagrams, by the kernel: the socket of this port was full */
uint64_t receiver_port_dropped(const Receiver *receiver, size_t port);
/** receiver_overrun() - datagrams, by us: all chunks were */
uint64_t receiver_overrun(const Receiver *receiver);

DEFINE_CLEANUP(Receiver *, receiver_free)
