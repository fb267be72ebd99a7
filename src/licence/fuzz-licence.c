/* SPDX-License-Identifier: Apache-2.0 */

/* what is pasted as a licence: as it is, and, so that the claims are reached, as a payload that is
 * well signed */

#include <sodium.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "licence/licence.h"
#include "licence/revocations.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_both(const char *text, size_t size, const VendorKeys *keys) {
    Licence licence;
    Reason reason = {""};
    Revocations *list = NULL;
    Buffer shown = {0};
    if (licence_parse(&licence, text, size, keys, &reason) == 0)
        licence_print(&licence, &shown);
    if (revocations_parse(&list, text, size, keys, &reason) == 0)
        revocations_free(list);
    buffer_deinit(&shown);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    enum { VARIANT = sodium_base64_VARIANT_URLSAFE_NO_PADDING, MAX_BYTES = 16384 };
    static VendorKey key = {.kid = "test-1"};
    static uint8_t secret[VENDOR_SECRET_BYTES];
    static const uint8_t seed[crypto_sign_SEEDBYTES];
    static char line[MAX_BYTES * 2 + 256];
    const VendorKeys keys = {.keys = &key, .n = 1};
    if (token_init() != 0 || size > MAX_BYTES)
        return 0;
    (void)crypto_sign_seed_keypair(key.public_key, secret, seed);
    read_both((const char *)data, size, &keys);

    uint8_t signature[TOKEN_SIGNATURE_BYTES];
    (void)sodium_bin2base64(line, sizeof(line), data, size, VARIANT);
    size_t n = strlen(line);
    (void)crypto_sign_detached(signature, NULL, (const uint8_t *)line, n, secret);
    line[n++] = '.';
    (void)sodium_bin2base64(line + n, sizeof(line) - n, signature, sizeof(signature), VARIANT);
    read_both(line, strlen(line), &keys);
    return 0;
}
