#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Door
 *
 * One collector of others (-n), over UDP or TCP. Messages are queued and sent by a thread of the
 * door's own, which also asks for names and connects, so that a collector that is slow, dead or
 * unknown holds up nobody: what does not fit in the queue is counted as failed. Of what was sent
 * over UDP nobody knows whether it came; what the kernel says of it (nothing listens there) is
 * counted. What is wrong, and that it is well again, goes to the log once.
 *
 * Who sends hands over many messages at a time: waking a thread costs more than a message.
 * Datagrams are sent several in one call, and are as long as the way to the collector takes
 * without cutting them up: the kernel knows its MTU, and learns that of routers.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/batch_counts.h"
#include "base/cleanup.h"
#include "base/reason.h"
#include "codec/netflow.h"

typedef struct Door Door;

typedef struct DoorAddress {
    bool tcp;
    char host[256];
    char port[6];
    char text[280]; /* udp://host:port, for people */
} DoorAddress;

typedef struct DoorStatus {
    uint64_t sent_messages, sent_records;
    uint64_t failed_messages, failed_records;
    uint64_t waiting_messages;
    BatchCounts failed; /* flows of the failed records */
} DoorStatus;

enum {
    _DOOR_E_SUCCESS,
    DOOR_E_USAGE,     /* not an address: the reason says what would be */
    DOOR_E_UNREACHED, /* door_try() */
};

enum {
    DOOR_WAITING_MAX = 2048,  /* messages */
    DOOR_PORT = 2055,         /* where none is given */
    DOOR_DATAGRAM_MAX = 1400, /* fits an Ethernet frame, through a tunnel or two */
    DOOR_DATAGRAM_MIN = 512,  /* RFC 7011 section 10.3.3 */
};

/** door_parse() - HOST:PORT, udp://HOST:PORT, tcp://HOST:PORT; IPv6 in brackets; HOST is port 2055
 */
int door_parse(DoorAddress *address, const char *text, Reason *reason);

/** door_try() - is there a way, and over TCP somebody: nothing is sent */
int door_try(const DoorAddress *address, Reason *reason);

/**
 * door_new() - opened by its thread
 * @stream:  its templates are told to whoever takes a TCP connection; copied
 * @patient: who sends may be made to wait for a while (a file), and is slowed down
 */
int door_new(Door **doorp, const DoorAddress *address, const NetflowStream *stream, bool patient);

/** door_free() - what waits is not sent */
Door *door_free(Door *door);

/** door_self() - address that it will send from; none when the way is not known yet */
NetAddress door_self(const DoorAddress *address);

/** door_send() - a copy is kept for door_hand_over(); one thread. counts: of these records' flows
 */
void door_send(Door *door, const uint8_t *bytes, size_t size, size_t records,
               const BatchCounts *counts);

/** door_hand_over() - what was sent goes to the door's thread, which is woken once for all of it */
void door_hand_over(Door *door);

/** door_farewell() - the same for the last message of a connection, if there is one then */
void door_farewell(Door *door, const uint8_t *bytes, size_t size);

/** door_room_bytes() - the longest datagram just now; any thread */
size_t door_room_bytes(const Door *door);

/** door_finish() - no more comes; wait so long until all is sent, the rest is counted as failed */
void door_finish(Door *door, unsigned timeout_ms);

void door_status(Door *door, DoorStatus *status);

DEFINE_CLEANUP(Door *, door_free)
