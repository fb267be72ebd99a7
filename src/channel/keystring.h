#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Key String
 *
 * What a user pastes into --zmq-encryption-key, in any of its three forms:
 *
 *   40 characters Z85                                     the server's public key itself
 *   80 hex digits                                         of those 40 characters
 *   base64 of 32 hex digits and {"k":"<80 hex>", ...}     the cloud form, which weir-hub writes
 *
 * The 32 digits are the first 16 bytes of the BLAKE2b hash of the JSON, so that a cut paste is
 * told from a foreign string, whose digits mean something else and which is accepted with a notice.
 */

#include <stdbool.h>
#include <stddef.h>

#include "base/reason.h"

typedef struct Buffer Buffer;

typedef struct KeyString {
    char server_z85[41];
    char token[129];    /* join token, or "" */
    char endpoint[256]; /* data endpoint, or "" */
    char events[256];   /* events endpoint, or "" */
    bool checked;       /* ours, and whole */
    char notice[160];   /* for the log, or "" */
} KeyString;

enum {
    _KEYSTRING_E_SUCCESS,
    KEYSTRING_E_REFUSED, /* the reason says what is wrong and which lengths are accepted */
};

int keystring_parse(KeyString *key, const char *text, Reason *reason);

/** keystring_write() - the cloud form: letters, digits, + / and =, so no %, quotes or spaces */
int keystring_write(Buffer *to, const KeyString *key);

/** keystring_hex() - the 80 upper-case hex digits of the 40 characters, as ntopng shows them */
void keystring_hex(char hex[81], const char *server_z85);
