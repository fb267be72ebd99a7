#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Frame
 *
 * The bytes between probe and hub; docs/wire/channel.md has the layouts. A message on the data
 * endpoint is two frames, header and payload; on the events endpoint topic (the probe's key) and
 * JSON. Integers are big endian.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "channel/cause.h"
#include "channel/configuration.h"
#include "channel/delivery.h"
#include "channel/lease.h"
#include "channel/server_keys.h"

#define FRAME_TOPIC "weir" /* what a hub subscribes to */

enum {
    FRAME_VERSION = 1,
    FRAME_HEADER_MAX_BYTES = 8 + 8 + 2 + DELIVERY_EPOCHS_MAX * 25,
    FRAME_JSON_MAX_BYTES = 64 * 1024, /* hello, pulse and state */
    /* A state's topic is the probe's key. Its subscription is the beginning of it, too long to find
     * another key that has it and short because libzmq goes through all its subscriptions, a step a
     * byte, for each connection that ends */
    FRAME_STATE_TOPIC_BYTES = 10,
};

typedef enum FrameKind {
    FRAME_HELLO = 1, /* payload: JSON object about the probe */
    FRAME_BATCH = 2, /* payload: opaque */
    FRAME_GAP = 3,   /* payload: empty */
    FRAME_PULSE = 4, /* payload: JSON object */
} FrameKind;

typedef struct Frame {
    FrameKind kind;
    DeliveryBatch batch; /* of batch and gap */
    uint32_t crc32c;     /* of a batch: over the payload */
    DeliveryHello hello; /* of a hello */
} Frame;

enum {
    _FRAME_E_SUCCESS,
    FRAME_E_MALFORMED,
    FRAME_E_VERSION, /* weir's, but newer than this hub */
    FRAME_E_FOREIGN, /* another topic */
};

void frame_write(Buffer *to, const Frame *frame);
int frame_read(Frame *frame, const void *bytes, size_t size);

/** ControlState - what the hub repeats on a probe's topic */
typedef struct ControlState {
    DeliveryState delivery;
    char admission[16]; /* "admitted", "pending", "waiting"; delivery.admitted follows from it */
    char reason[160];   /* for a person; "" when admitted */
    uint64_t server_time_ms;
    char hub_version[32]; /* "" is written as this program's */
    Cause notice;         /* HUB_IS_FULL: what keeps the hub from storing; else CAUSE_NONE */
    char configuration[CONFIGURATION_TEXT_MAX]; /* a JSON object to be confirmed; "" none */
    ServerKeys server_keys;                     /* .version 0: nothing is said of them */
    Lease lease;
} ControlState;

void control_write(Buffer *to, const ControlState *state);
int control_read(ControlState *state, const void *bytes, size_t size);

/** PulseEcho - what a pulse says of time: the hub's in its last state (0: none), how long ago that
 * came, and the probe's clock when it is sent */
typedef struct PulseEcho {
    uint64_t hub_ms, held_ms, sent_ms;
} PulseEcho;

enum { PULSE_ECHO_MAX_BYTES = 128 };

/** pulse_with_echo() - the object with one member more; the caller's to free(), NULL: no memory */
char *pulse_with_echo(const char *json, const PulseEcho *echo);

/** epoch_text() - 32 hex digits */
void epoch_text(char text[33], const EpochId *epoch);
