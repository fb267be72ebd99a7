#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * CURVE, the server's end, and messages of both
 *
 * Handshake and boxes of CurveZMQ (rfc.zeromq.org, 26) on libsodium. Nothing here knows of sockets
 * or frames: a body goes in, a body comes out. Between HELLO and INITIATE nothing of the client is
 * kept: its short-term key and ours travel in the cookie. A cookie opens only for the connection
 * (`serial`) it was made for and for two minutes at most, so that a recorded handshake is of no
 * use, and what a machine gives away later does not open what was said before.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    CURVE_KEY_BYTES = 32,
    CURVE_MAC_BYTES = 16,
    CURVE_HELLO_BYTES = 200,
    CURVE_WELCOME_BYTES = 168,
    CURVE_INITIATE_MIN_BYTES = 257,
    CURVE_INITIATE_MAX_BYTES = 1024, /* of which what a peer says of itself is the rest */
    CURVE_BOX_BYTES = 32,            /* what a message grows by: name, counter, MAC */
    CURVE_JAR_MS = 60000,
};

/** CurveKeys - of the server */
typedef struct CurveKeys {
    uint8_t public[CURVE_KEY_BYTES];
    uint8_t secret[CURVE_KEY_BYTES];
} CurveKeys;

/** CurveJar - what cookies are sealed with; one for all connections */
typedef struct CurveJar {
    uint8_t masters[2][CURVE_KEY_BYTES];
    uint32_t turn; /* the master now is masters[turn % 2] */
    uint64_t made_ms;
} CurveJar;

/** CurveSession - of one connection; 0 at first but for its serial */
typedef struct CurveSession {
    uint64_t serial; /* unique as long as the process runs */
    uint64_t nonce_in, nonce_out;
    uint32_t turn;                   /* of the jar, when the cookie was made */
    bool calls;                      /* it is the client's: curve_call.h */
    uint8_t shared[CURVE_KEY_BYTES]; /* from INITIATE on */
    uint8_t client[CURVE_KEY_BYTES]; /* its permanent public key, likewise */
} CurveSession;

void curve_jar_init(CurveJar *jar, uint64_t now_ms);
/** curve_jar_turn() - now and then: another master when it is time */
void curve_jar_turn(CurveJar *jar, uint64_t now_ms);
void curve_jar_wipe(CurveJar *jar);

typedef enum CurveVerdict {
    CURVE_GOOD,
    CURVE_MALFORMED, /* not what has to come here, or a box that does not open */
    CURVE_WRONG_KEY, /* of a HELLO: the client has another server key */
} CurveVerdict;

/** curve_hello() - a HELLO in, the WELCOME for it out */
CurveVerdict curve_hello(CurveSession *session, const CurveJar *jar, const CurveKeys *keys,
                         const uint8_t *body, size_t size, uint8_t welcome[CURVE_WELCOME_BYTES]);

/**
 * curve_initiate() - an INITIATE in; what the client says of itself (its metadata) out. From here
 * on the session has the client's key, which it has shown to hold
 */
CurveVerdict curve_initiate(CurveSession *session, const CurveJar *jar, const CurveKeys *keys,
                            const uint8_t *body, size_t size,
                            uint8_t metadata[CURVE_INITIATE_MAX_BYTES], size_t *np);

/** curve_ready() - size + 30 bytes with what the server says of itself; at most 64 */
size_t curve_ready(CurveSession *session, const void *metadata, size_t size, uint8_t *to);

/** curve_seal() - a MESSAGE of size + CURVE_BOX_BYTES + 1; `flags` go inside the box */
void curve_seal(CurveSession *session, uint8_t flags, const void *bytes, size_t size, uint8_t *to);

/**
 * curve_open() - a MESSAGE; *np bytes to `to` (room for `size`), the first are the flags; false: it
 * was not made by the other end, or not in this place
 */
bool curve_open(CurveSession *session, const uint8_t *body, size_t size, uint8_t *to, size_t *np);

void curve_session_wipe(CurveSession *session);
