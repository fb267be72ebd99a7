#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Keys
 *
 * A CURVE key pair and its two files, `zmq-key.pub` and `zmq-key.priv`: 40 characters Z85 each, no
 * newline, mode 0600, as ntopng keeps them. An existing pair is kept and used.
 */

#include "base/reason.h"

typedef struct KeyPair {
    char public_z85[41];
    char secret_z85[41];
} KeyPair;

enum {
    _KEYS_E_SUCCESS,
    KEYS_E_REFUSED, /* no private half, wrong length, mode, characters, not a pair, not writable */
    KEYS_E_MISSING, /* key_pair_find(): there is none */
};

#define KEY_STEM "zmq-key" /* of the names of its two files */

int key_pair_make(KeyPair *pair);

/** key_pair_from_secret() - the pair that belongs to 40 characters Z85 (--zmq-encryption-key-priv)
 */
int key_pair_from_secret(KeyPair *pair, const char *secret_z85, Reason *reason);

/** key_pair_load() - from the files in the folder; made there first when neither is present, and
 * the public half when it alone is missing */
int key_pair_load(KeyPair *pair, const char *folder, Reason *reason);

/** key_pair_find() - likewise of the files STEM.pub and STEM.priv, but nothing is written */
int key_pair_find(KeyPair *pair, const char *folder, const char *stem, Reason *reason);

/** key_pair_save() - the private half first: from it the other can be made */
int key_pair_save(const KeyPair *pair, const char *folder, const char *stem, Reason *reason);

/** key_pair_wipe() - before the memory goes back */
void key_pair_wipe(KeyPair *pair);

/** key_check() - are these 40 characters a Z85 key? */
int key_check(const char *z85);
