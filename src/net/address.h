#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Addresses
 *
 * An IPv4 or IPv6 address as a value of 17 bytes. IPv4 uses the first four of `bytes`, the others
 * are zero, so that two addresses are equal when their structs are. Text is RFC 5952.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct NetAddress {
    uint8_t family; /* 4, 6, or 0: none */
    uint8_t bytes[16];
} NetAddress;

enum { NET_ADDRESS_TEXT_MAX = 46 };

/** net_address_bytes() - 4, 16 or 0 */
static inline size_t net_address_bytes(const NetAddress *address) {
    return address->family == 4 ? 4 : address->family == 6 ? 16 : 0;
}

NetAddress net_address_v4(const uint8_t bytes[4]);
NetAddress net_address_v6(const uint8_t bytes[16]);
bool net_address_equal(const NetAddress *a, const NetAddress *b);

/** net_address_format() - text of at most NET_ADDRESS_TEXT_MAX bytes with NUL; "" when none */
const char *net_address_format(const NetAddress *address, char *text);

/** net_address_parse() - false when the text is no address */
bool net_address_parse(NetAddress *address, const char *text);
