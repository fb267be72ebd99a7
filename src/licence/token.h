#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Token
 *
 * One signed line of text: base64url(payload) "." base64url(signature), without padding (RFC 4648
 * §5). The signature is Ed25519 (RFC 8032) over the characters before the dot, exactly as they
 * stand. The payload is a JSON object whose `kid` names the vendor key. White space around the line
 * is allowed, nothing else is: of a line that verifies no bit can be changed.
 */

#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/reason.h"
#include "licence/vendor.h"

enum {
    TOKEN_BYTES_MAX = 256 * 1024, /* a long list of revocations; a licence is some 500 */
    TOKEN_SIGNATURE_BYTES = 64,
};

enum {
    _TOKEN_E_SUCCESS,
    TOKEN_E_DAMAGED, /* not a line of this shape, or its signature is not that of its text */
    TOKEN_E_UNKNOWN, /* signed by a key that is not among these */
};

typedef struct json_t json_t;

/** token_init() - libsodium; before any other function of this layer, more than once is fine */
int token_init(void);

/**
 * token_open() - verify a line and read its payload
 * @payloadp: owned by the caller, json_decref()
 *
 * The reason says what is wrong, for whoever pasted the line.
 */
int token_open(json_t **payloadp, const char *text, size_t size, const VendorKeys *keys,
               Reason *reason);

/** token_sign() - append the line for this payload, with a newline */
int token_sign(Buffer *line, const json_t *payload, const uint8_t secret_key[VENDOR_SECRET_BYTES]);
