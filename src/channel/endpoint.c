/* SPDX-License-Identifier: Apache-2.0 */

#include "channel/endpoint.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FORM                                                                                       \
    "tcp://HOST:PORT or zmq://HOST:PORT (HOST a name, an address, [IPv6] or *; PORT 1-65535)"

static int refuse(Reason *reason, const char *text, const char *why) {
    reason_set(reason, "\"%s\" is not an endpoint: %s; accepted is " FORM, text, why);
    return ENDPOINT_E_REFUSED;
}

static bool is_name(const char *host, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (!isalnum((unsigned char)host[i]) && host[i] != '-' && host[i] != '.' && host[i] != '_')
            return false;
    return n > 0 && n <= 253 && host[0] != '-' && host[0] != '.';
}

/* all digits and dots, so it was meant as an address */
static bool is_bad_v4(const char *host) {
    struct in_addr a;
    return strspn(host, "0123456789.") == strlen(host) && inet_pton(AF_INET, host, &a) != 1;
}

static const char *read_host(Endpoint *endpoint, const char *host, size_t n) {
    bool bracketed = n >= 2 && host[0] == '[' && host[n - 1] == ']';
    if (bracketed) {
        host++;
        n -= 2;
    }
    if (n == 0)
        return "the host is missing";
    if (n >= sizeof(endpoint->host))
        return "the host is too long";
    memcpy(endpoint->host, host, n);
    endpoint->host[n] = '\0';
    if (bracketed) {
        char address[sizeof(endpoint->host)];
        struct in6_addr a;
        memcpy(address, endpoint->host, sizeof(address));
        address[strcspn(address, "%")] = '\0'; /* fe80::1%eth0 */
        endpoint->v6 = true;
        return inet_pton(AF_INET6, address, &a) == 1 ? NULL : "what the brackets hold is not IPv6";
    }
    endpoint->any = strcmp(endpoint->host, "*") == 0;
    if (endpoint->any)
        return NULL;
    if (memchr(host, ':', n))
        return "an IPv6 address is written in brackets";
    if (!is_name(host, n))
        return "the host has characters that no name has";
    return is_bad_v4(endpoint->host) ? "the host is not a valid IPv4 address" : NULL;
}

static const char *read_port(Endpoint *endpoint, const char *port) {
    size_t digits = strspn(port, "0123456789");
    const char *behind = port + digits;
    if (strcmp(port, "*") == 0 || strcmp(port, "*c") == 0) {
        endpoint->collector = port[1] == 'c';
        return NULL;
    }
    if (digits == 0)
        return "the port is missing";
    if (strcmp(behind, "c") == 0)
        endpoint->collector = true;
    else if (*behind)
        return "only a c (the hub binds) may follow the port";
    unsigned long value = digits <= 5 ? strtoul(port, NULL, 10) : 65536;
    if (value == 0 || value > 65535)
        return "the port is out of range";
    endpoint->port = (uint16_t)value;
    return NULL;
}

int endpoint_parse(Endpoint *endpoint, const char *text, Reason *reason) {
    Endpoint found = {0};
    const char *rest = strstr(text, "://");
    if (!rest) {
        if (!strchr(text, ':'))
            return refuse(reason, text, "it looks like the name of a network interface or a file");
        return refuse(reason, text, "it does not begin with tcp:// or zmq://");
    }
    if (strncmp(text, "tcp://", 6) != 0 && strncmp(text, "zmq://", 6) != 0)
        return refuse(reason, text, "only tcp:// and zmq:// are spoken here");
    rest += 3;
    const char *colon = strrchr(rest, ':');
    if (!colon || (strchr(rest, ']') && colon < strchr(rest, ']')))
        return refuse(reason, text, "the port is missing");
    const char *why = read_host(&found, rest, (size_t)(colon - rest));
    if (!why)
        why = read_port(&found, colon + 1);
    if (why)
        return refuse(reason, text, why);
    *endpoint = found;
    return 0;
}

void endpoint_write(const Endpoint *endpoint, char *text, size_t size) {
    char port[8] = "*";
    if (endpoint->port)
        (void)snprintf(port, sizeof(port), "%u", endpoint->port);
    (void)snprintf(text, size, endpoint->v6 ? "tcp://[%s]:%s" : "tcp://%s:%s", endpoint->host,
                   port);
}

int endpoint_next_port(Endpoint *events, const Endpoint *data, Reason *reason) {
    if (data->port == UINT16_MAX) {
        reason_set(reason,
                   "the events endpoint would be port 65536: name it with --zmq-publish-events");
        return ENDPOINT_E_REFUSED;
    }
    Endpoint next = *data;
    next.port = data->port ? (uint16_t)(data->port + 1) : 0;
    *events = next;
    return 0;
}
