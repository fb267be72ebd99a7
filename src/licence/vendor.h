#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Vendor keys
 *
 * The Ed25519 public keys whose signatures count, built in by `-Dlicense_keys=KID:HEX,…`. The
 * default is the evaluation key, whose private half is public (licences/evaluation.key).
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { VENDOR_KID_MAX = 16, VENDOR_PUBLIC_BYTES = 32, VENDOR_SECRET_BYTES = 64 };

typedef struct VendorKey {
    char kid[VENDOR_KID_MAX + 1];
    uint8_t public_key[VENDOR_PUBLIC_BYTES];
} VendorKey;

typedef struct VendorKeys {
    const VendorKey *keys;
    size_t n;
} VendorKeys;

/** vendor_keys() - those built in */
VendorKeys vendor_keys(void);

const VendorKey *vendor_key_find(const VendorKeys *keys, const char *kid);

/** vendor_kid_valid() - 1 to 16 of a-z, 0-9, `-` and `_` */
bool vendor_kid_valid(const char *kid);
