#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A client for tests of ZMTP: the other end of a handshake, built from the RFC's layouts and
 * libsodium, not from curve.c. Bytes only; fd or line is the caller's.
 */

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "zmtp/line.h"

typedef struct Client {
    uint8_t keys[2][32], shorts[2][32], server[32], hello[32], shared[32];
    uint64_t nonce;
} Client;

static void client_nonce(uint8_t nonce[24], const char *prefix, uint64_t counter) {
    memcpy(nonce, prefix, 16);
    for (int i = 0; i < 8; i++)
        nonce[16 + i] = (uint8_t)(counter >> (56 - 8 * i));
}

static inline void client_init(Client *client, const uint8_t server[32]) {
    *client = (Client){0};
    (void)crypto_box_keypair(client->keys[0], client->keys[1]);
    (void)crypto_box_keypair(client->shorts[0], client->shorts[1]);
    memcpy(client->server, server, 32);
}

static inline void client_greeting(uint8_t to[64], const char *mechanism) {
    memset(to, 0, 64);
    to[0] = 0xff;
    to[8] = 1;
    to[9] = 0x7f;
    to[10] = 3;
    to[11] = 1;
    memcpy(to + 12, mechanism, strlen(mechanism));
}

/** client_hello() - 202 bytes */
static inline void client_hello(Client *client, uint8_t to[202]) {
    static const uint8_t zeros[64];
    uint8_t nonce[24];
    memset(to, 0, 202);
    memcpy(to, "\x04\xc8\x05HELLO\x01\x00", 10);
    memcpy(to + 82, client->shorts[0], 32);
    client_nonce(nonce, "CurveZMQHELLO---", ++client->nonce);
    memcpy(to + 114, nonce + 16, 8);
    if (crypto_box_beforenm(client->hello, client->server, client->shorts[1]))
        abort();
    (void)crypto_box_easy_afternm(to + 122, zeros, 64, nonce, client->hello);
}

/** client_initiate() - of the 170 bytes of a WELCOME; how many bytes, 0: it does not open */
static inline size_t client_initiate(Client *client, const uint8_t welcome[170], const char *type,
                                     uint8_t to[512]) {
    uint8_t nonce[24], plain[128], vouch[64], inner[256];
    memcpy(nonce, "WELCOME-", 8);
    memcpy(nonce + 8, welcome + 10, 16);
    if (memcmp(welcome, "\x04\xa8\x07WELCOME", 10) != 0 ||
        crypto_box_open_easy_afternm(plain, welcome + 26, 144, nonce, client->hello))
        return 0;
    memcpy(vouch, client->shorts[0], 32);
    memcpy(vouch + 32, client->server, 32);
    memcpy(nonce, "VOUCH---", 8);
    randombytes_buf(nonce + 8, 16);
    memcpy(inner, client->keys[0], 32);
    memcpy(inner + 32, nonce + 8, 16);
    if (crypto_box_easy(inner + 48, vouch, 64, nonce, plain, client->keys[1]) ||
        crypto_box_beforenm(client->shared, plain, client->shorts[1]))
        abort();
    size_t n = 128;
    memcpy(inner + n, "\x0bSocket-Type\0\0\0", 15);
    inner[n + 15] = (uint8_t)strlen(type);
    memcpy(inner + n + 16, type, strlen(type));
    n += 16 + strlen(type);
    const size_t body = 9 + 96 + 8 + n + 16;
    to[0] = 6;
    memset(to + 1, 0, 6);
    to[7] = (uint8_t)(body >> 8);
    to[8] = (uint8_t)body;
    memcpy(to + 9, "\x08INITIATE", 9);
    memcpy(to + 18, plain + 32, 96);
    client_nonce(nonce, "CurveZMQINITIATE", ++client->nonce);
    memcpy(to + 114, nonce + 16, 8);
    (void)crypto_box_easy_afternm(to + 122, inner, n, nonce, client->shared);
    return 9 + body;
}

/** client_message() - a frame; how many bytes */
static inline size_t client_message(Client *client, uint8_t flags, const void *bytes, size_t size,
                                    uint8_t *to) {
    uint8_t nonce[24];
    const size_t body = size + 33;
    to[0] = 2;
    for (int i = 0; i < 8; i++)
        to[1 + i] = (uint8_t)((uint64_t)body >> (56 - 8 * i));
    client_nonce(nonce, "CurveZMQMESSAGEC", ++client->nonce);
    memcpy(to + 9, "\x07MESSAGE", 8);
    memcpy(to + 17, nonce + 16, 8);
    to[41] = flags;
    memcpy(to + 42, bytes, size);
    (void)crypto_box_detached_afternm(to + 41, to + 25, to + 41, size + 1, nonce, client->shared);
    return 9 + body;
}
