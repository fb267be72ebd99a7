#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * ZMTP Line
 *
 * One connection of a peer, as a state machine: bytes in, in pieces of any size; messages to the
 * callbacks of its host, bytes to be sent to the host's buffer. ZMTP 3.1 (rfc.zeromq.org, 37) with
 * CURVE, of a SUB or XPUB, as the end that was called (a CURVE server) or the one that calls. Knows
 * no sockets and no clock.
 *
 * A line holds memory for what is not whole only: of a stranger at most one frame of the handshake,
 * else at most one frame and the first part of a message; it grows with what has come, not with
 * what was announced.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "zmtp/curve_call.h"

enum {
    ZMTP_GREETING_BYTES = 64,
    ZMTP_FRAME_HEAD_MAX_BYTES = 9,
    ZMTP_FRAME_MAX_BYTES = 131072, /* of a frame, what CURVE adds included */
    ZMTP_PART_MAX_BYTES = 4096,    /* of all parts of a message but the last */
    ZMTP_PARTS_MAX = 16,
    ZMTP_TOPIC_MAX_BYTES = 64,
    ZMTP_TOPICS_MAX = 8,
};

typedef enum ZmtpState {
    ZMTP_GREETING, /* what comes next */
    ZMTP_HELLO,
    ZMTP_INITIATE,
    ZMTP_WELCOME, /* of who calls, instead of the two before */
    ZMTP_READY,
    ZMTP_UP,
    ZMTP_REFUSED, /* it was told so, and is to go */
} ZmtpState;

/** ZmtpFault - why a line is over */
typedef enum ZmtpFault {
    ZMTP_FINE,
    ZMTP_NOT_ZMTP,      /* some other protocol, or an end that cannot be ours */
    ZMTP_NOT_ENCRYPTED, /* ZMTP, with another mechanism than CURVE */
    ZMTP_WRONG_KEY,     /* it has the key of another server; who calls: the server has another */
    ZMTP_OTHER_SOCKET,  /* who calls: the key is right, but it is no SUB, or no PUB */
    ZMTP_MALFORMED,     /* what no program that works sends */
    ZMTP_TOO_LARGE,
    ZMTP_NO_MEMORY,
    ZMTP_UNWANTED, /* its key was refused; who calls: ours */
    /* known by who has the socket only */
    ZMTP_LEFT,     /* closed by the peer, which had said nothing at all */
    ZMTP_CLOSED,   /* by the peer, or by cutting it */
    ZMTP_SLOW,     /* the handshake took too long */
    ZMTP_SILENT,   /* it does not answer any more */
    ZMTP_TOO_MANY, /* room was needed */
    ZMTP_TWIN,     /* there are too many of this key; it was silent for longest */
    ZMTP_STOPPED,  /* its listener was closed */
    ZMTP_FAULTS,
} ZmtpFault;

typedef enum ZmtpKind {
    ZMTP_SUB,  /* peers are PUB or XPUB */
    ZMTP_XPUB, /* peers are SUB or XSUB */
} ZmtpKind;

typedef struct ZmtpLine {
    ZmtpState state;
    uint8_t minor; /* of its ZMTP 3.x */
    bool greeted;  /* our greeting has gone out whole */
    uint8_t n_parts, n_topics;
    uint16_t topics_size;
    uint32_t frame_max;  /* bytes, behind the handshake; may be changed any time */
    uint32_t have, room; /* of `part`: a frame that is not whole */
    uint8_t *part;
    uint8_t *topics; /* a length and its bytes, each */
    Buffer first;    /* part of a message whose last has not come */
    CurveSession curve;
} ZmtpLine;

/** ZmtpMessage - lives as long as the callback */
typedef struct ZmtpMessage {
    size_t n_parts;
    const uint8_t *first; /* of one part: that one */
    size_t first_size;
    const uint8_t *last; /* of two or more */
    size_t last_size;
} ZmtpMessage;

/**
 * ZmtpHost - what the lines of one listener share; who calls needs no keys, jar and admits().
 * Callbacks must not free the line.
 */
typedef struct ZmtpHost {
    ZmtpKind kind;
    CurveCall *call; /* of one that calls, which has one line; NULL: it is called */
    const CurveKeys *keys;
    const CurveJar *jar;
    const char *topic; /* what a SUB subscribes to */
    Buffer *out;       /* to be sent to the line that was last called for */
    uint8_t *scratch;  /* ZMTP_FRAME_MAX_BYTES */
    void *userdata;
    /* false: its holder is refused, and told so */
    bool (*admits)(void *userdata, const uint8_t key[CURVE_KEY_BYTES]);
    void (*on_up)(void *userdata, ZmtpLine *line);
    void (*on_message)(void *userdata, ZmtpLine *line, const ZmtpMessage *message);
    /* of an XPUB; false: it is not to have it. Of one that goes (`on` false) the answer is void */
    bool (*on_topic)(void *userdata, ZmtpLine *line, const uint8_t *topic, size_t size, bool on);
} ZmtpHost;

/** zmtp_line_begin() - a new one; what it is greeted with is in host->out. `serial` as
 * CurveSession's */
void zmtp_line_begin(ZmtpLine *line, const ZmtpHost *host, uint64_t serial);

/** zmtp_line_take() - all of it; what is to be sent is added to host->out */
ZmtpFault zmtp_line_take(ZmtpLine *line, const ZmtpHost *host, const uint8_t *bytes, size_t size);

/** zmtp_line_wants() - it has subscribed to what this topic begins with */
bool zmtp_line_wants(const ZmtpLine *line, const void *topic, size_t size);

/** zmtp_line_put() - one part of a message to `to`; false: too large, or no memory */
bool zmtp_line_put(ZmtpLine *line, Buffer *to, const void *bytes, size_t size, bool more);

/** zmtp_line_ping() - a heartbeat */
bool zmtp_line_ping(ZmtpLine *line, Buffer *to);

/** zmtp_line_end() - its memory given back, its keys wiped */
void zmtp_line_end(ZmtpLine *line);
