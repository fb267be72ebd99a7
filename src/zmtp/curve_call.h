#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * CURVE, the client's end
 *
 * The handshake of CurveZMQ (rfc.zeromq.org, 26) as the end that calls has it: HELLO out, WELCOME
 * in, INITIATE out, READY in. What comes after it is curve.h's, with a session of the same kind.
 */

#include "zmtp/curve.h"

/** CurveCall - who calls, whom, and what the handshake has to remember */
typedef struct CurveCall {
    CurveKeys keys;                  /* the client's permanent ones */
    uint8_t server[CURVE_KEY_BYTES]; /* the server's permanent public one */
    /* of one handshake, wiped at its end */
    CurveKeys shorts;
    uint8_t hello[CURVE_KEY_BYTES]; /* shared by C' and S */
} CurveCall;

/** curve_call_hello() - begins a handshake; false: that cannot be the key of a server */
bool curve_call_hello(CurveSession *session, CurveCall *call, uint8_t to[CURVE_HELLO_BYTES]);

/**
 * curve_call_initiate() - a WELCOME in, the INITIATE for it out, with what we say of ourselves
 * (at most CURVE_METADATA_MAX_BYTES). CURVE_WRONG_KEY: the server has another key
 */
enum { CURVE_METADATA_MAX_BYTES = 64 };
CurveVerdict curve_call_initiate(CurveSession *session, CurveCall *call, const uint8_t *body,
                                 size_t size, const void *metadata, size_t n_metadata,
                                 uint8_t to[CURVE_INITIATE_MAX_BYTES], size_t *np);

/** curve_call_ready() - a READY in; what the server says of itself out. The session is up */
CurveVerdict curve_call_ready(CurveSession *session, CurveCall *call, const uint8_t *body,
                              size_t size, uint8_t metadata[CURVE_INITIATE_MAX_BYTES], size_t *np);

/** curve_call_forget() - what was of one handshake only */
void curve_call_forget(CurveCall *call);
