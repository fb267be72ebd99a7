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

/* a UDP socket and a TCP listener of one port */
typedef struct CollectPair {
    int udp, tcp;
} CollectPair;

typedef struct CollectGroup {
    uint16_t port;
    bool large; /* what the kernel keeps waiting for each UDP socket */
} CollectGroup;

/**
 * collect_socket_group() - n pairs of one port. All datagrams that come from one address, whatever
 * its port, are given to the UDP socket of the same pair; connections go to any.
 */
int collect_socket_group(const CollectEndpoint *endpoint, CollectPair *pairs, unsigned n,
                         CollectGroup *group, Reason *reason);

/** collect_socket_of() - which of n pairs an address is given to */
unsigned collect_socket_of(const NetAddress *address, unsigned n);

/** collect_peer() - IPv4 in IPv6 clothes becomes IPv4 */
NetAddress collect_peer(const struct sockaddr_storage *from, uint16_t *portp);
