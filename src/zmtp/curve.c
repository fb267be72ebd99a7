/* SPDX-License-Identifier: Apache-2.0 */

#include "zmtp/curve.h"

#include <string.h>

#include "zmtp/curve_inner.h"

enum { NAME_MESSAGE = 8 };

static const char BY_CLIENT[] = "CurveZMQMESSAGEC", BY_SERVER[] = "CurveZMQMESSAGES";

_Static_assert(crypto_box_PUBLICKEYBYTES == KEY && crypto_box_SECRETKEYBYTES == KEY, "keys");
_Static_assert(crypto_box_BEFORENMBYTES == KEY && crypto_secretbox_KEYBYTES == KEY, "keys");
_Static_assert(crypto_box_MACBYTES == MAC && crypto_secretbox_MACBYTES == MAC, "MAC");
_Static_assert(crypto_kdf_KEYBYTES == KEY && NONCE == 24, "sizes");

/* ----------------------------------------------------------------------------------- cookies */

void curve_jar_init(CurveJar *jar, uint64_t now_ms) {
    randombytes_buf(jar->masters, sizeof(jar->masters));
    jar->turn = 0;
    jar->made_ms = now_ms;
}

void curve_jar_turn(CurveJar *jar, uint64_t now_ms) {
    if (now_ms - jar->made_ms < CURVE_JAR_MS)
        return;
    jar->made_ms = now_ms;
    jar->turn++;
    randombytes_buf(jar->masters[jar->turn % 2], KEY);
}

void curve_jar_wipe(CurveJar *jar) {
    sodium_memzero(jar, sizeof(*jar));
}

/** cookie_key() - of one connection; false: it was made too long ago */
static bool cookie_key(uint8_t key[KEY], const CurveJar *jar, const CurveSession *session) {
    return jar->turn - session->turn <= 1 &&
           crypto_kdf_derive_from_key(key, KEY, session->serial, "cookie--",
                                      jar->masters[session->turn % 2]) == 0;
}

static bool bake(uint8_t cookie[COOKIE], const CurveJar *jar, CurveSession *session,
                 const uint8_t *client, const uint8_t secret[KEY]) {
    uint8_t nonce[NONCE] = "COOKIE--", plain[2 * KEY], key[KEY];
    session->turn = jar->turn;
    randombytes_buf(nonce + 8, LONG_NONCE);
    memcpy(cookie, nonce + 8, LONG_NONCE);
    memcpy(plain, client, KEY);
    memcpy(plain + KEY, secret, KEY);
    const bool good =
        cookie_key(key, jar, session) &&
        crypto_secretbox_easy(cookie + LONG_NONCE, plain, sizeof(plain), nonce, key) == 0;
    sodium_memzero(plain, sizeof(plain));
    sodium_memzero(key, sizeof(key));
    return good;
}

/** unbake() - C' and s' */
static bool unbake(uint8_t plain[2 * KEY], const CurveJar *jar, const CurveSession *session,
                   const uint8_t *cookie) {
    uint8_t nonce[NONCE] = "COOKIE--", key[KEY];
    memcpy(nonce + 8, cookie, LONG_NONCE);
    const bool good = cookie_key(key, jar, session) &&
                      crypto_secretbox_open_easy(plain, cookie + LONG_NONCE, COOKIE - LONG_NONCE,
                                                 nonce, key) == 0;
    sodium_memzero(key, sizeof(key));
    return good;
}

/* --------------------------------------------------------------------------------- handshake */

/** make_welcome() - with a short-term key pair of its own */
static bool make_welcome(CurveSession *session, const CurveJar *jar, const uint8_t *client,
                         const uint8_t key[KEY], uint8_t welcome[CURVE_WELCOME_BYTES]) {
    uint8_t nonce[NONCE] = "WELCOME-", plain[KEY + COOKIE], secret[KEY];
    randombytes_buf(nonce + 8, LONG_NONCE);
    memcpy(welcome, "\x07WELCOME", 8);
    memcpy(welcome + 8, nonce + 8, LONG_NONCE);
    const bool good =
        crypto_box_keypair(plain, secret) == 0 && bake(plain + KEY, jar, session, client, secret) &&
        crypto_box_easy_afternm(welcome + 8 + LONG_NONCE, plain, sizeof(plain), nonce, key) == 0;
    sodium_memzero(secret, sizeof(secret));
    sodium_memzero(plain, sizeof(plain));
    return good;
}

CurveVerdict curve_hello(CurveSession *session, const CurveJar *jar, const CurveKeys *keys,
                         const uint8_t *body, size_t size, uint8_t welcome[CURVE_WELCOME_BYTES]) {
    static const char name[] = {5, 'H', 'E', 'L', 'L', 'O', 1, 0};
    uint8_t nonce[NONCE], key[KEY], plain[64];
    Cursor c = cursor_make(body, size);
    if (size != CURVE_HELLO_BYTES || !name_is(&c, name, sizeof(name)))
        return CURVE_MALFORMED;
    cursor_skip(&c, 72);
    const uint8_t *client = cursor_take(&c, KEY);
    if (!take_counter(session, &c, "CurveZMQHELLO---", nonce) ||
        crypto_box_beforenm(key, client, keys->secret))
        return CURVE_MALFORMED;
    const size_t left = cursor_left(&c);
    CurveVerdict verdict = CURVE_WRONG_KEY;
    if (crypto_box_open_easy_afternm(plain, cursor_take(&c, left), left, nonce, key) == 0)
        verdict = make_welcome(session, jar, client, key, welcome) ? CURVE_GOOD : CURVE_MALFORMED;
    sodium_memzero(key, sizeof(key));
    return verdict;
}

/** is_vouched() - the holder of C has said that C' is its own, to this server */
static bool is_vouched(const uint8_t *client, const uint8_t *box, const uint8_t *vouch_nonce,
                       const uint8_t shorts[2 * KEY], const CurveKeys *keys) {
    uint8_t nonce[NONCE] = "VOUCH---", said[2 * KEY];
    memcpy(nonce + 8, vouch_nonce, LONG_NONCE);
    return crypto_box_open_easy(said, box, VOUCH, nonce, client, shorts + KEY) == 0 &&
           sodium_memcmp(said, shorts, KEY) == 0 &&
           sodium_memcmp(said + KEY, keys->public, KEY) == 0;
}

/** open_initiate() - `shorts` are C' and s' of its cookie */
static bool open_initiate(CurveSession *session, const CurveKeys *keys, Cursor *c,
                          const uint8_t shorts[2 * KEY], uint8_t metadata[CURVE_INITIATE_MAX_BYTES],
                          size_t *np) {
    uint8_t nonce[NONCE], plain[CURVE_INITIATE_MAX_BYTES];
    if (!take_counter(session, c, "CurveZMQINITIATE", nonce) ||
        crypto_box_beforenm(session->shared, shorts, shorts + KEY))
        return false;
    const size_t left = cursor_left(c);
    if (crypto_box_open_easy_afternm(plain, cursor_take(c, left), left, nonce, session->shared))
        return false;
    Cursor inner = cursor_make(plain, left - MAC);
    const uint8_t *client = cursor_take(&inner, KEY);
    const uint8_t *vouch_nonce = cursor_take(&inner, LONG_NONCE);
    const uint8_t *box = cursor_take(&inner, VOUCH);
    if (inner.failed || !is_vouched(client, box, vouch_nonce, shorts, keys))
        return false;
    memcpy(session->client, client, KEY);
    *np = cursor_left(&inner);
    cursor_copy(&inner, metadata, *np);
    return true;
}

CurveVerdict curve_initiate(CurveSession *session, const CurveJar *jar, const CurveKeys *keys,
                            const uint8_t *body, size_t size,
                            uint8_t metadata[CURVE_INITIATE_MAX_BYTES], size_t *np) {
    uint8_t shorts[2 * KEY];
    Cursor c = cursor_make(body, size);
    if (size < CURVE_INITIATE_MIN_BYTES || size > CURVE_INITIATE_MAX_BYTES ||
        !name_is(&c, "\x08INITIATE", 9))
        return CURVE_MALFORMED;
    const bool good = unbake(shorts, jar, session, cursor_take(&c, COOKIE)) &&
                      open_initiate(session, keys, &c, shorts, metadata, np);
    sodium_memzero(shorts, sizeof(shorts));
    return good ? CURVE_GOOD : CURVE_MALFORMED;
}

/* ---------------------------------------------------------------------------------- messages */

size_t curve_ready(CurveSession *session, const void *metadata, size_t size, uint8_t *to) {
    uint8_t nonce[NONCE] = "";
    memcpy(nonce, "CurveZMQREADY---", 16);
    memcpy(to, "\x05READY", 6);
    next_counter(session, nonce, to + 6);
    (void)crypto_box_easy_afternm(to + 6 + COUNTER, metadata, size, nonce, session->shared);
    return 6 + COUNTER + MAC + size;
}

void curve_seal(CurveSession *session, uint8_t flags, const void *bytes, size_t size, uint8_t *to) {
    uint8_t nonce[NONCE] = "";
    memcpy(nonce, session->calls ? BY_CLIENT : BY_SERVER, 16);
    memcpy(to, "\x07MESSAGE", NAME_MESSAGE);
    next_counter(session, nonce, to + NAME_MESSAGE);
    uint8_t *box = to + NAME_MESSAGE + COUNTER;
    box[MAC] = flags; /* sealed in place, behind the MAC */
    if (size)
        memcpy(box + MAC + 1, bytes, size);
    (void)crypto_box_detached_afternm(box + MAC, box, box + MAC, size + 1, nonce, session->shared);
}

bool curve_open(CurveSession *session, const uint8_t *body, size_t size, uint8_t *to, size_t *np) {
    uint8_t nonce[NONCE];
    Cursor c = cursor_make(body, size);
    if (!name_is(&c, "\x07MESSAGE", NAME_MESSAGE) ||
        !take_counter(session, &c, session->calls ? BY_SERVER : BY_CLIENT, nonce))
        return false;
    const size_t left = cursor_left(&c);
    if (left < MAC + 1 ||
        crypto_box_open_easy_afternm(to, cursor_take(&c, left), left, nonce, session->shared))
        return false;
    *np = left - MAC;
    return true;
}

void curve_session_wipe(CurveSession *session) {
    sodium_memzero(session, sizeof(*session));
}
