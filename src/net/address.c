/* SPDX-License-Identifier: Apache-2.0 */

#include "net/address.h"

#include <arpa/inet.h>
#include <string.h>

NetAddress net_address_v4(const uint8_t bytes[4]) {
    NetAddress address = {.family = 4};
    memcpy(address.bytes, bytes, 4);
    return address;
}

NetAddress net_address_v6(const uint8_t bytes[16]) {
    NetAddress address = {.family = 6};
    memcpy(address.bytes, bytes, 16);
    return address;
}

bool net_address_equal(const NetAddress *a, const NetAddress *b) {
    return memcmp(a, b, sizeof(*a)) == 0;
}

/* inet_ntop() prints IPv4 through sprintf(), ten times slower, and every flow has two addresses */
static void format_v4(const uint8_t *bytes, char *to) {
    for (int i = 0; i < 4; i++) {
        uint8_t v = bytes[i];
        if (v >= 100)
            *to++ = (char)('0' + v / 100);
        if (v >= 10)
            *to++ = (char)('0' + v / 10 % 10);
        *to++ = (char)('0' + v % 10);
        *to++ = i < 3 ? '.' : '\0';
    }
}

const char *net_address_format(const NetAddress *address, char *text) {
    text[0] = 0;
    if (address->family == 4)
        format_v4(address->bytes, text);
    else if (address->family == 6)
        (void)inet_ntop(AF_INET6, address->bytes, text, NET_ADDRESS_TEXT_MAX);
    return text;
}

bool net_address_parse(NetAddress *address, const char *text) {
    NetAddress parsed = {0};
    if (inet_pton(AF_INET, text, parsed.bytes) == 1)
        parsed.family = 4;
    else if (inet_pton(AF_INET6, text, parsed.bytes) == 1)
        parsed.family = 6;
    else
        return false;
    *address = parsed;
    return true;
}
