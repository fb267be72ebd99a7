/* SPDX-License-Identifier: Apache-2.0 */

#include "channel/hub_address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <netdb.h>
#include <netinet/in.h>
#include <string.h>

#include "base/error.h"

static socklen_t size_of(int family) {
    return family == AF_INET    ? sizeof(struct sockaddr_in)
           : family == AF_INET6 ? sizeof(struct sockaddr_in6)
                                : 0;
}

static void set(HubAddress *address, const struct sockaddr *from) {
    address->size = size_of(from->sa_family);
    memcpy(&address->at, from, address->size);
}

/** find_interface() - 0; -ENODEV, -EADDRNOTAVAIL: as hub_address_find() has it */
static int find_interface(HubAddress *address, const char *name) {
    struct ifaddrs *all = NULL;
    int r = -ENODEV;
    if (getifaddrs(&all) < 0)
        return error_origin(-errno);
    for (const struct ifaddrs *one = all; one; one = one->ifa_next) {
        if (strcmp(one->ifa_name, name) != 0)
            continue;
        const int family = one->ifa_addr ? one->ifa_addr->sa_family : AF_UNSPEC;
        if (r == -ENODEV)
            r = -EADDRNOTAVAIL;
        if (!size_of(family) || (r == 0 && (family != AF_INET || address->at.ss_family == AF_INET)))
            continue;
        set(address, one->ifa_addr);
        r = 0;
    }
    freeifaddrs(all);
    return r;
}

/** look_up() - of an address nobody is asked */
static int look_up(HubAddress *address, const char *host, int flags) {
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | flags};
    struct addrinfo *found = NULL;
    if (getaddrinfo(host, NULL, &hints, &found) != 0)
        return -ENODEV;
    set(address, found->ai_addr);
    freeaddrinfo(found);
    return 0;
}

int hub_address_find(HubAddress *address, const Endpoint *endpoint) {
    HubAddress found = {.size = 0};
    int r = look_up(&found, endpoint->host, AI_NUMERICHOST);
    if (r)
        r = find_interface(&found, endpoint->host);
    if (r == -ENODEV)
        r = look_up(&found, endpoint->host, 0);
    if (r)
        return r;
    hub_address_set_port(&found, endpoint->port);
    *address = found;
    return 0;
}

HubAddress hub_address_any(uint16_t port, bool v4) {
    const struct sockaddr_in6 any6 = {.sin6_family = AF_INET6, .sin6_addr = in6addr_any};
    const struct sockaddr_in any4 = {.sin_family = AF_INET};
    HubAddress address = {.size = 0};
    set(&address, v4 ? (const struct sockaddr *)&any4 : (const struct sockaddr *)&any6);
    hub_address_set_port(&address, port);
    return address;
}

void hub_address_set_port(HubAddress *address, uint16_t port) {
    if (address->at.ss_family == AF_INET6)
        ((struct sockaddr_in6 *)&address->at)->sin6_port = htons(port);
    else
        ((struct sockaddr_in *)&address->at)->sin_port = htons(port);
}
