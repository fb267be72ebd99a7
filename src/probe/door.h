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
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

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
} DoorStatus;

enum {
    _DOOR_E_SUCCESS,
    DOOR_E_USAGE,     /* not an address: the reason says what would be */
    DOOR_E_UNREACHED, /* door_try() */
};

enum { DOOR_WAITING_MAX = 2048 }; /* messages */

/** door_parse() - HOST:PORT, udp://HOST:PORT, tcp://HOST:PORT; IPv6 in brackets */
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

/** door_send() - a copy is queued; one thread */
void door_send(Door *door, const uint8_t *bytes, size_t size, size_t records);

/** door_finish() - no more comes; wait so long until all is sent, the rest is counted as failed */
void door_finish(Door *door, unsigned timeout_ms);

void door_status(Door *door, DoorStatus *status);

DEFINE_CLEANUP(Door *, door_free)
