/* SPDX-License-Identifier: Apache-2.0 */

#include "zmtp/curve_call.h"

#include "zmtp/curve_inner.h"

bool curve_call_hello(CurveSession *session, CurveCall *call, uint8_t to[CURVE_HELLO_BYTES]) {
    static const uint8_t zeros[64];
    uint8_t nonce[NONCE] = "";
    memcpy(nonce, "CurveZMQHELLO---", 16);
    session->calls = true;
    memset(to, 0, CURVE_HELLO_BYTES);
    memcpy(to, "\x05HELLO\x01", 7);
    if (crypto_box_keypair(call->shorts.public, call->shorts.secret) ||
        crypto_box_beforenm(call->hello, call->server, call->shorts.secret))
        return false;
    uint8_t *at = to + 8 + 72;
    memcpy(at, call->shorts.public, KEY);
    next_counter(session, nonce, at + KEY);
    return crypto_box_easy_afternm(at + KEY + COUNTER, zeros, sizeof(zeros), nonce, call->hello) ==
           0;
}

/** open_welcome() - S' and the cookie */
static CurveVerdict open_welcome(const CurveCall *call, const uint8_t *body, size_t size,
                                 uint8_t plain[KEY + COOKIE]) {
    uint8_t nonce[NONCE] = "WELCOME-";
    Cursor c = cursor_make(body, size);
    if (size != CURVE_WELCOME_BYTES || !name_is(&c, "\x07WELCOME", 8))
        return CURVE_MALFORMED;
    cursor_copy(&c, nonce + 8, LONG_NONCE);
    const size_t left = cursor_left(&c);
    return crypto_box_open_easy_afternm(plain, cursor_take(&c, left), left, nonce, call->hello)
               ? CURVE_WRONG_KEY
               : CURVE_GOOD;
}

/** vouch() - C' is ours, to this server: to `to`, a nonce before it */
static bool vouch(const CurveCall *call, const uint8_t server_short[KEY],
                  uint8_t to[LONG_NONCE + VOUCH]) {
    uint8_t nonce[NONCE] = "VOUCH---", said[2 * KEY];
    randombytes_buf(nonce + 8, LONG_NONCE);
    memcpy(to, nonce + 8, LONG_NONCE);
    memcpy(said, call->shorts.public, KEY);
    memcpy(said + KEY, call->server, KEY);
    return crypto_box_easy(to + LONG_NONCE, said, sizeof(said), nonce, server_short,
                           call->keys.secret) == 0;
}

CurveVerdict curve_call_initiate(CurveSession *session, CurveCall *call, const uint8_t *body,
                                 size_t size, const void *metadata, size_t n_metadata,
                                 uint8_t to[CURVE_INITIATE_MAX_BYTES], size_t *np) {
    enum { SAID = KEY + LONG_NONCE + VOUCH };
    uint8_t welcome[KEY + COOKIE], said[SAID + CURVE_METADATA_MAX_BYTES];
    uint8_t nonce[NONCE] = "";
    memcpy(nonce, "CurveZMQINITIATE", 16);
    if (n_metadata > CURVE_METADATA_MAX_BYTES)
        return CURVE_MALFORMED;
    const CurveVerdict verdict = open_welcome(call, body, size, welcome);
    if (verdict != CURVE_GOOD)
        return verdict;
    memcpy(said, call->keys.public, KEY);
    memcpy(said + SAID, metadata, n_metadata);
    if (!vouch(call, welcome, said + KEY) ||
        crypto_box_beforenm(session->shared, welcome, call->shorts.secret))
        return CURVE_MALFORMED;
    memcpy(to, "\x08INITIATE", 9);
    memcpy(to + 9, welcome + KEY, COOKIE);
    next_counter(session, nonce, to + 9 + COOKIE);
    (void)crypto_box_easy_afternm(to + 9 + COOKIE + COUNTER, said, SAID + n_metadata, nonce,
                                  session->shared);
    *np = 9 + COOKIE + COUNTER + MAC + SAID + n_metadata;
    return CURVE_GOOD;
}

CurveVerdict curve_call_ready(CurveSession *session, CurveCall *call, const uint8_t *body,
                              size_t size, uint8_t metadata[CURVE_INITIATE_MAX_BYTES], size_t *np) {
    uint8_t nonce[NONCE];
    Cursor c = cursor_make(body, size);
    if (size > CURVE_INITIATE_MAX_BYTES || !name_is(&c, "\x05READY", 6) ||
        !take_counter(session, &c, "CurveZMQREADY---", nonce))
        return CURVE_MALFORMED;
    const size_t left = cursor_left(&c);
    if (left < MAC ||
        crypto_box_open_easy_afternm(metadata, cursor_take(&c, left), left, nonce, session->shared))
        return CURVE_MALFORMED;
    *np = left - MAC;
    curve_call_forget(call);
    return CURVE_GOOD;
}

void curve_call_forget(CurveCall *call) {
    sodium_memzero(&call->shorts, sizeof(call->shorts));
    sodium_memzero(call->hello, sizeof(call->hello));
}
