/* SPDX-License-Identifier: Apache-2.0 */

#include "licence/vendor.h"

#include <string.h>

/* a row a key: {"kid", {0x…}}; made from -Dlicense_keys */
static const VendorKey built_in[] = {
#include "vendor_keys.inc"
};

VendorKeys vendor_keys(void) {
    return (VendorKeys){.keys = built_in, .n = sizeof(built_in) / sizeof(built_in[0])};
}

const VendorKey *vendor_key_find(const VendorKeys *keys, const char *kid) {
    for (size_t i = 0; i < keys->n; i++)
        if (strcmp(keys->keys[i].kid, kid) == 0)
            return &keys->keys[i];
    return NULL;
}

bool vendor_kid_valid(const char *kid) {
    size_t n = strspn(kid, "abcdefghijklmnopqrstuvwxyz0123456789-_");
    return n >= 1 && n <= VENDOR_KID_MAX && kid[n] == '\0';
}
