#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Pages
 *
 * What a person takes away from the hub to set up a probe: address, command, configuration file,
 * what the firewall must let through. Pure text; no sockets but to guess this machine's address.
 */

#include <stdbool.h>
#include <stddef.h>

#include "base/buffer.h"
#include "base/reason.h"
#include "channel/endpoint.h"

typedef struct HubConfig HubConfig;

/* one -i of the hub */
typedef struct HubInterface {
    char given[256];        /* as given with -i */
    char name[256];         /* the same without scheme and c */
    char events_given[256]; /* "" when derived */
    Endpoint data;
    Endpoint events;
} HubInterface;

enum {
    _PAGES_E_SUCCESS,
    PAGES_E_REFUSED, /* the reason is one line for a person */
};

/** pages_interface() - the i-th -i with the events endpoint that goes with it */
int pages_interface(HubInterface *interface, const HubConfig *config, size_t i, Reason *reason);

typedef struct PageAddress {
    char host[256];
    bool known; /* false: only a guess could be made */
} PageAddress;

/**
 * pages_address() - by which a probe reaches this interface: the one asked for (somebody typed it,
 * who knows of a NAT in between), else the one configured, else the one the interface is bound to,
 * else that of the Host header, else a guess.
 */
int pages_address(PageAddress *address, const HubInterface *interface, const char *configured,
                  const char *asked, const char *host_header, Reason *reason);

void pages_probe_command(Buffer *to, const HubInterface *interface, const char *host,
                         const char *key_string);
/** pages_sample_config() - `secret`: the key string carries a join token */
void pages_sample_config(Buffer *to, const HubInterface *interface, const char *host,
                         const char *key_string, bool secret);
void pages_reach_text(Buffer *to, const HubInterface *interface, const char *host);
