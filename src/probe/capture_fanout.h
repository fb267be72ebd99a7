#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Fanout
 *
 * An interface whose packets are shared out among the sockets of several workers, packet(7)
 * PACKET_FANOUT. Which socket a packet goes to is told by a program of our own (classic BPF, run in
 * the kernel) from the sum of the two addresses of the outermost IP header, and nothing else. So
 * both directions of a flow meet in one worker, and all fragments of a datagram, and so they do
 * for flows in a tunnel, whose ends are the same both ways. The kernel's own hash takes ports in:
 * fragments, which have none, would part from their flow, and so would the two directions of a
 * VXLAN tunnel, whose source ports differ. What is not IP goes to the first worker.
 *
 * Sockets must join in the order of their workers, on each interface alike; a worker that comes too
 * early is told to come again.
 */

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct CaptureFanout {
    pthread_mutex_t lock;
    unsigned members; /* workers there are */
    unsigned joined;  /* of this interface as it is now: another index, and all join anew */
    int index;
    uint16_t id;
} CaptureFanout;

enum {
    _CAPTURE_FANOUT_E_SUCCESS,
    CAPTURE_FANOUT_E_EARLY, /* the worker before has not joined */
    CAPTURE_FANOUT_E_DOWN,  /* the kernel shares out none of an interface that is down */
};

void capture_fanout_init(CaptureFanout *fanout, unsigned members);
void capture_fanout_deinit(CaptureFanout *fanout);

/** capture_fanout_turn() - may this one join? */
bool capture_fanout_turn(CaptureFanout *fanout, unsigned member, int index);

/** capture_fanout_join() - a bound socket; ethernet: packets have a link header */
int capture_fanout_join(CaptureFanout *fanout, unsigned member, int fd, int index, bool ethernet);

/** capture_fanout_complete() - all have joined: packets are where they belong from here on */
bool capture_fanout_complete(CaptureFanout *fanout, int index);
