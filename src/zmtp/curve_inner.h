#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Inside CURVE
 *
 * Shared by curve.c (the end that is called, and messages) and curve_call.c (the end that calls).
 * Internal to the layer.
 *
 * C, S: permanent keys of client and server; C', S': their short-term ones; lower case the secret.
 *
 * HELLO     "\5HELLO" 1 0, 72 zeros, C', counter 8, box 80 of 64 zeros            (C', s)
 * WELCOME   "\7WELCOME" nonce 16, box 144 of S' and cookie 96                     (C', s)
 * cookie    nonce 16, box 80 of C' and s'                                 (the server's only)
 * INITIATE  "\10INITIATE" cookie, counter 8, box of C, nonce 16, vouch 80, metadata  (C', s')
 * vouch     box of C' and S                                                       (C, s')
 * READY     "\5READY" counter 8, box of metadata                                  (C', s')
 * MESSAGE   "\7MESSAGE" counter 8, box of flags 1 and what is said                (C', s')
 */

#include <sodium.h>

#include "base/cursor.h"
#include "zmtp/curve.h"

enum {
    KEY = CURVE_KEY_BYTES,
    MAC = CURVE_MAC_BYTES,
    NONCE = crypto_box_NONCEBYTES,
    LONG_NONCE = 16,
    COUNTER = 8,
    COOKIE = LONG_NONCE + 2 * KEY + MAC,
    VOUCH = 2 * KEY + MAC,
};

static inline void put_counter(uint8_t *to, uint64_t counter) {
    for (int i = 0; i < COUNTER; i++)
        to[i] = (uint8_t)(counter >> (56 - 8 * i));
}

/** next_counter() - for what is said now: to the nonce, which has its prefix, and to `to` */
static inline void next_counter(CurveSession *session, uint8_t nonce[NONCE], uint8_t *to) {
    put_counter(nonce + 16, ++session->nonce_out);
    memcpy(to, nonce + 16, COUNTER);
}

/** take_counter() - false: not above all that came before */
static inline bool take_counter(CurveSession *session, Cursor *c, const char prefix[16],
                                uint8_t nonce[NONCE]) {
    const uint64_t counter = cursor_u64(c);
    if (c->failed || counter <= session->nonce_in)
        return false;
    memcpy(nonce, prefix, 16);
    put_counter(nonce + 16, counter);
    session->nonce_in = counter;
    return true;
}

/** name_is() - the command's, with its length before it */
static inline bool name_is(Cursor *c, const char *name, size_t size) {
    const uint8_t *at = cursor_take(c, size);
    return at && memcmp(at, name, size) == 0;
}
