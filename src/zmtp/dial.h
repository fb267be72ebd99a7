#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * ZMTP Dial
 *
 * One connection that we make, with CURVE, as a SUB or XPUB with one peer: the name is resolved,
 * its addresses are tried, the handshake is held, and when it ends all of it begins again, later
 * each time. Why it does not come about is known here and told by zmtp_dial_view().
 *
 * No thread of its own (but for names): all is done by who calls zmtp_dial_turn(), and callbacks
 * come from there only. What is put is sealed into a buffer and goes out in large pieces.
 */

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "zmtp/line.h"

enum {
    ZMTP_DIAL_AGAIN_FIRST_MS = 100, /* and up to as much more by chance */
    ZMTP_DIAL_AGAIN_LAST_MS = 3000,
    ZMTP_DIAL_ADDRESS_MS = 4000, /* what an address may take to answer */
    ZMTP_DIAL_HANDSHAKE_MS = 15000,
    ZMTP_DIAL_QUIET_MS = 5000,       /* nothing came: it is asked (PING) */
    ZMTP_DIAL_SILENT_MS = 30000,     /* it was, TCP has carried it, and nothing came */
    ZMTP_DIAL_BROKEN_MS = 15000,     /* something is under way, and nothing at all comes back */
    ZMTP_DIAL_TELL_AFTER_MS = 300,   /* before that the network's troubles are not worth a word */
    ZMTP_DIAL_OUT_BYTES = 128 * 1024 /* waiting: no more is taken */
};

/** ZmtpTrouble - why it is not up, as far as it was found out */
typedef enum ZmtpTrouble {
    ZMTP_TROUBLE_NONE,
    ZMTP_TROUBLE_NAME,          /* cannot be resolved */
    ZMTP_TROUBLE_REFUSED,       /* nobody listens there */
    ZMTP_TROUBLE_NO_ROUTE,      /* or whatever else the system says: `detail` */
    ZMTP_TROUBLE_NO_ANSWER,     /* in ZMTP_DIAL_ADDRESS_MS */
    ZMTP_TROUBLE_WRONG_KEY,     /* it is not the holder of the server's key that we have */
    ZMTP_TROUBLE_OTHER_SOCKET,  /* it is, but another of its sockets listens there */
    ZMTP_TROUBLE_NOT_ENCRYPTED, /* ZMTP, without CURVE */
    ZMTP_TROUBLE_NOT_SPOKEN,    /* whatever it is, it does not hold our handshake */
    ZMTP_TROUBLE_UNWANTED,      /* it has refused our key */
    ZMTP_TROUBLES,
} ZmtpTrouble;

/** ZmtpDialView - times monotonic */
typedef struct ZmtpDialView {
    bool connected;               /* TCP is */
    bool up;                      /* the handshake is over */
    uint64_t connected_ms, up_ms; /* since when it is, or is not */
    ZmtpTrouble trouble;
    uint64_t trouble_ms; /* when it was found last */
    char detail[128];    /* the system's words, or "" */
    bool given_up;       /* it is not tried again before zmtp_dial_again(): it would end the same */
    uint64_t given_up_ms;
} ZmtpDialView;

typedef struct ZmtpDialConfig {
    ZmtpKind kind;
    char topic[ZMTP_TOPIC_MAX_BYTES]; /* of a SUB: what it subscribes to */
    CurveKeys keys;                   /* ours */
    void *userdata;
    /* of a SUB */
    void (*on_message)(void *userdata, const ZmtpMessage *message);
    /* of an XPUB: `on` false for what is given back, also when the connection ends */
    void (*on_topic)(void *userdata, const uint8_t *topic, size_t size, bool on);
} ZmtpDialConfig;

typedef struct ZmtpDial ZmtpDial;

int zmtp_dial_new(ZmtpDial **dialp, const ZmtpDialConfig *config);
ZmtpDial *zmtp_dial_free(ZmtpDial *dial);

/** zmtp_dial_to() - from the next turn on, there and with this server's key; what was is over */
void zmtp_dial_to(ZmtpDial *dial, const char *host, uint16_t port,
                  const uint8_t server[CURVE_KEY_BYTES], uint64_t now_ms);

/** zmtp_dial_again() - it was given up, and is tried at the next turn */
void zmtp_dial_again(ZmtpDial *dial);

/** zmtp_dial_poll() - what to wait for; no longer than 100 ms, for the rest goes by time */
struct pollfd zmtp_dial_poll(const ZmtpDial *dial);

void zmtp_dial_turn(ZmtpDial *dial, uint64_t now_ms);

/**
 * zmtp_dial_put() - a message of two parts, sealed and on its way or waiting; false: not now.
 * zmtp_dial_flush() sends what waits, and zmtp_dial_poll() tells when there is room again.
 */
bool zmtp_dial_put(ZmtpDial *dial, const void *first, size_t first_size, const void *last,
                   size_t last_size);
void zmtp_dial_flush(ZmtpDial *dial);

void zmtp_dial_view(const ZmtpDial *dial, ZmtpDialView *view);

DEFINE_CLEANUP(ZmtpDial *, zmtp_dial_free)
