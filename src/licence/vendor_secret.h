#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Vendor secret
 *
 * The vendor's private key in its file: lines of `name: value`, the key itself in a secretbox
 * (XSalsa20-Poly1305) under a key that Argon2id makes of the passphrase. Only weir-license uses it.
 */

#include <stdint.h>

#include "base/reason.h"
#include "licence/vendor.h"

typedef struct VendorSecret {
    VendorKey key; /* the public half */
    uint8_t secret_key[VENDOR_SECRET_BYTES];
} VendorSecret;

enum {
    _VENDOR_SECRET_E_SUCCESS,
    VENDOR_SECRET_E_REFUSED, /* wrong passphrase, damaged, missing, there already: see the reason */
};

void vendor_secret_make(VendorSecret *secret, const char *kid);

/** vendor_secret_save() - mode 0600; a file that is there is refused, never written over */
int vendor_secret_save(const VendorSecret *secret, const char *path, const char *passphrase,
                       Reason *reason);
int vendor_secret_load(VendorSecret *secret, const char *path, const char *passphrase,
                       Reason *reason);

/** vendor_secret_wipe() - before the memory goes back */
void vendor_secret_wipe(VendorSecret *secret);
