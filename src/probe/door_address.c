/* SPDX-License-Identifier: Apache-2.0 */

#include "probe/door.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int refuse(const char *text, Reason *reason) {
    reason_set(reason,
               "-n %s: a collector is HOST:PORT, udp://HOST:PORT or tcp://HOST:PORT "
               "(IPv6: [ADDRESS]:PORT; without a port 2055), or none",
               text);
    return DOOR_E_USAGE;
}

static bool parse_port(const char *text, unsigned long *port) {
    char *end = NULL;
    const unsigned long v = strtoul(text, &end, 10);
    *port = v;
    return text[0] >= '0' && text[0] <= '9' && !*end && v && v <= UINT16_MAX;
}

int door_parse(DoorAddress *address, const char *text, Reason *reason) {
    static const char udp[] = "udp://";
    static const char tcp[] = "tcp://";
    DoorAddress found = {.tcp = strncmp(text, tcp, sizeof(tcp) - 1) == 0};
    const char *host = text;
    if (found.tcp || strncmp(text, udp, sizeof(udp) - 1) == 0)
        host += sizeof(udp) - 1;
    const char *colon = strrchr(host, ':');
    if (!colon || strchr(colon, ']')) /* that of an IPv6 address */
        colon = NULL;
    size_t size = colon ? (size_t)(colon - host) : strlen(host);
    const bool brackets = size > 2 && host[0] == '[' && host[size - 1] == ']';
    if (brackets) {
        host++;
        size -= 2;
    }
    unsigned long port = DOOR_PORT;
    if (!size || size >= sizeof(found.host) || strcspn(host, "/@?") < size ||
        (!brackets && memchr(host, ':', size)) || strcmp(host, "none") == 0 ||
        (colon && !parse_port(colon + 1, &port)))
        return refuse(text, reason);
    memcpy(found.host, host, size);
    (void)snprintf(found.port, sizeof(found.port), "%lu", port);
    (void)snprintf(found.text, sizeof(found.text), brackets ? "%s[%s]:%s" : "%s%s:%s",
                   found.tcp ? tcp : udp, found.host, found.port);
    *address = found;
    return 0;
}
