#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Hub Address
 *
 * What the host of an endpoint is on this machine, to listen there. Internal to the layer.
 */

#include <sys/socket.h>

#include "channel/endpoint.h"

typedef struct HubAddress {
    struct sockaddr_storage at; /* with the endpoint's port */
    socklen_t size;
} HubAddress;

/**
 * hub_address_find() - of an address, an interface (its first IPv4 address, else its first IPv6
 * one), or a name; not of `*`. A name is looked up and may take the resolver's time, half a minute:
 * only when the hub starts. -ENODEV: no such interface or name; -EADDRNOTAVAIL: an interface
 * without an address
 */
int hub_address_find(HubAddress *address, const Endpoint *endpoint);

/** hub_address_any() - all of IPv6 and IPv4 at once; `v4`: of IPv4, for a machine without IPv6 */
HubAddress hub_address_any(uint16_t port, bool v4);

void hub_address_set_port(HubAddress *address, uint16_t port);
