#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Endpoint
 *
 * `tcp://HOST:PORT` or `zmq://HOST:PORT`, as users of ntopng and nProbe write it. HOST is a name,
 * an IPv4 address, an IPv6 address in brackets, or `*` (all addresses); to listen, an interface
 * too. A `c` behind the port means "collector": the hub binds and the probes connect.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/reason.h"

typedef struct Endpoint {
    char host[256]; /* without brackets; "*" for all */
    uint16_t port;  /* 0 when written as `*`: any free one (to bind, in tests) */
    bool collector; /* the `c` was there */
    bool any;       /* host is `*` */
    bool v6;        /* host is an IPv6 address */
} Endpoint;

enum {
    _ENDPOINT_E_SUCCESS,
    ENDPOINT_E_REFUSED, /* not of this form; the reason says what is */
};

int endpoint_parse(Endpoint *endpoint, const char *text, Reason *reason);

/** endpoint_write() - tcp://HOST:PORT, without the c */
void endpoint_write(const Endpoint *endpoint, char *text, size_t size);

/** endpoint_next_port() - where the events endpoint is when nobody says: same host, port + 1 */
int endpoint_next_port(Endpoint *events, const Endpoint *data, Reason *reason);
