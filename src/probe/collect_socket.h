#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/* Sockets of collector ports: opening them, and who is at the other end. */

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/reason.h"
#include "net/address.h"

typedef struct CollectEndpoint {
    NetAddress address; /* none: every one, IPv4 and IPv6 */
    uint16_t port;      /* 0: one that is free */
} CollectEndpoint;

enum {
    _COLLECT_SOCKET_E_SUCCESS,
    COLLECT_SOCKET_E_REFUSED,
};

/** collect_endpoint_parse() - false: it is none */
bool collect_endpoint_parse(CollectEndpoint *endpoint, const char *text);

/** collect_socket_pair() - a UDP socket and a TCP listener of one port, which *portp becomes */
int collect_socket_pair(const CollectEndpoint *endpoint, int *udpp, int *tcpp, uint16_t *portp,
                        Reason *reason);

/** collect_peer() - IPv4 in IPv6 clothes becomes IPv4 */
NetAddress collect_peer(const struct sockaddr_storage *from, uint16_t *portp);
