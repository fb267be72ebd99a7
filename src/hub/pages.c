/* SPDX-License-Identifier: Apache-2.0 */

#include "hub/pages.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "hub/options.h"

/* --------------------------------------------------------------------------------- interfaces */

/* eth0, a file: what ntopng would capture from */
static int refuse_capture(const char *given, Reason *reason) {
    reason_set(reason,
               "-i %s: a hub does not capture; let a probe do it: weir-hub -i tcp://*:5556c, and "
               "weir-probe -i %s --ntopng tcp://HUB:5556 --zmq-probe-mode --zmq-encryption-key "
               "\"$(weir-hub --print-public-key)\"",
               given, given);
    return PAGES_E_REFUSED;
}

static int parse(Endpoint *endpoint, const char *option, const char *text, Reason *reason) {
    Reason detail = {0};
    const int r = endpoint_parse(endpoint, text, &detail);
    if (r > 0) {
        reason_set(reason, "%s %s: %s", option, text, detail.text);
        return PAGES_E_REFUSED;
    }
    return r;
}

int pages_interface(HubInterface *interface, const HubConfig *config, size_t i, Reason *reason) {
    const char *given = config->interfaces.values[i];
    if (!strstr(given, "://"))
        return refuse_capture(given, reason);
    HubInterface made = {0};
    (void)snprintf(made.given, sizeof(made.given), "%s", given);
    int r = parse(&made.data, "-i", given, reason);
    if (r)
        return r;

    /* one events endpoint for several interfaces serves them all, as in ntopng */
    const OptionList *events = &config->events;
    const size_t at = events->n == 1 ? 0 : i;
    if (at < events->n) {
        (void)snprintf(made.events_given, sizeof(made.events_given), "%s", events->values[at]);
        r = parse(&made.events, "--zmq-publish-events", events->values[at], reason);
    } else {
        Reason detail = {0};
        r = endpoint_next_port(&made.events, &made.data, &detail);
        if (r > 0)
            reason_set(reason, "-i %s: %s", given, detail.text);
    }
    if (r)
        return r < 0 ? r : PAGES_E_REFUSED;
    char text[300];
    endpoint_write(&made.data, text, sizeof(text));
    (void)snprintf(made.name, sizeof(made.name), "%s", strstr(text, "://") + 3);
    *interface = made;
    return 0;
}

/* ------------------------------------------------------------------------------------ address */

static bool is_loopback(const char *host) {
    return strcmp(host, "localhost") == 0 || strncmp(host, "127.", 4) == 0 ||
           strcmp(host, "::1") == 0;
}

/* all addresses of this machine: no address to give to others */
static bool is_wildcard(const char *host) {
    return strcmp(host, "0.0.0.0") == 0 || strcmp(host, "::") == 0 || strcmp(host, "*") == 0;
}

/* a name or an address, nothing that could break out of a quoted command */
static bool is_host(const char *host) {
    if (!*host || *host == '-' || strlen(host) > 253)
        return false;
    for (const char *c = host; *c; c++) {
        if (!isalnum((unsigned char)*c) && !strchr(".:-_", *c))
            return false;
    }
    return true;
}

/* "hub.example:3001", "[2001:db8::1]:3001", "192.0.2.1" */
static void host_of_header(const char *header, char *host, size_t size) {
    if (*header == '[') {
        const size_t n = strcspn(header + 1, "]");
        (void)snprintf(host, size, "%.*s", (int)n, header + 1);
        return;
    }
    (void)snprintf(host, size, "%.*s", (int)strcspn(header, ":"), header);
}

/* the first global address of an interface that is up; IPv4 first */
static void guess(char *host, size_t size) {
    struct ifaddrs *all = NULL;
    (void)snprintf(host, size, "127.0.0.1");
    if (getifaddrs(&all) < 0)
        return;
    bool found = false;
    for (const struct ifaddrs *each = all; each && !found; each = each->ifa_next) {
        if (!each->ifa_addr || each->ifa_addr->sa_family != AF_INET ||
            (each->ifa_flags & (IFF_UP | IFF_LOOPBACK)) != IFF_UP)
            continue;
        struct sockaddr_in in;
        memcpy(&in, each->ifa_addr, sizeof(in));
        char text[INET_ADDRSTRLEN];
        found = inet_ntop(AF_INET, &in.sin_addr, text, sizeof(text)) &&
                strncmp(text, "169.254.", 8) != 0;
        if (found)
            (void)snprintf(host, size, "%s", text);
    }
    freeifaddrs(all);
}

int pages_address(PageAddress *address, const HubInterface *interface, const char *configured,
                  const char *asked, const char *host_header, Reason *reason) {
    PageAddress made = {.known = true};
    char from_header[256] = "";
    if (host_header)
        host_of_header(host_header, from_header, sizeof(from_header));
    if (asked && *asked == '[') /* as browsers write IPv6 */
        host_of_header(asked, made.host, sizeof(made.host));
    else
        (void)snprintf(made.host, sizeof(made.host), "%s", asked ? asked : "");
    if (asked && *asked && !is_host(made.host)) {
        reason_set(reason, "address: a host name or an IP address is expected");
        return PAGES_E_REFUSED;
    }

    if (!*made.host) {
        const bool bound =
            interface->data.collector && !interface->data.any && !is_wildcard(interface->data.host);
        const char *host = configured ? configured : bound ? interface->data.host : from_header;
        (void)snprintf(made.host, sizeof(made.host), "%s", host);
        /* a browser on the hub itself says nothing about how others reach it */
        if (!is_host(made.host) || (!configured && !bound && is_loopback(made.host))) {
            made.known = false;
            guess(made.host, sizeof(made.host));
        }
    }
    *address = made;
    return 0;
}

/* -------------------------------------------------------------------------------------- texts */

static void put_endpoint(Buffer *to, const char *host, unsigned port) {
    const bool v6 = strchr(host, ':') != NULL;
    buffer_printf(to, "tcp://%s%s%s:%u", v6 ? "[" : "", host, v6 ? "]" : "", port);
}

/* Who listens for data listens for events as well, unless the hub was told where to. */
static bool events_at_hub(const HubInterface *interface) {
    return interface->data.collector || *interface->events_given;
}

static void put_data(Buffer *to, const HubInterface *interface, const char *host) {
    put_endpoint(to, interface->data.collector ? host : "*", interface->data.port);
}

void pages_probe_command(Buffer *to, const HubInterface *interface, const char *host,
                         const char *key_string) {
    buffer_put_text(to, "weir-probe -i <interface> --ntopng ");
    put_data(to, interface, host);
    if (events_at_hub(interface)) {
        buffer_put_text(to, " --zmq-publish-events ");
        put_endpoint(to, host, interface->events.port);
    }
    if (interface->data.collector)
        buffer_put_text(to, " --zmq-probe-mode");
    buffer_printf(to, " --zmq-encryption-key '%s'", key_string);
}

static const char sample_head[] =
    "# Configuration of weir-probe for this hub.\n"
    "#\n"
    "# 1. Put the name of the network interface to watch behind -i= below;\n"
    "#    `ip -br link` lists what there is.\n"
    "# 2. Start it:  weir-probe weir-probe.conf\n"
    "#    or as a service: copy this file to /etc/weir/probe.conf, then\n"
    "#    systemctl enable --now weir-probe\n"
    "\n"
    "# The network interface whose packets are metered.\n"
    "-i=<interface>\n"
    "\n";

void pages_sample_config(Buffer *to, const HubInterface *interface, const char *host,
                         const char *key_string, bool secret) {
    buffer_put_text(to, sample_head);
    buffer_put_text(to, interface->data.collector
                            ? "# Where flows are delivered; the probe connects to the hub.\n"
                              "--zmq-probe-mode=\n"
                              "--ntopng="
                            : "# Where the probe listens; the hub connects to it.\n"
                              "--ntopng=");
    put_data(to, interface, host);
    if (events_at_hub(interface)) {
        buffer_put_text(to, "\n\n"
                            "# Where the probe hears what was stored.\n"
                            "--zmq-publish-events=");
        put_endpoint(to, host, interface->events.port);
    }
    buffer_printf(to,
                  "\n"
                  "\n"
                  "%s"
                  "--zmq-encryption-key=%s\n",
                  secret ? "# The hub's public key, and the join token that admits this probe. "
                           "This is a secret:\n"
                           "# keep the file from others (chmod 600).\n"
                         : "# The hub's public key: flows are encrypted to it. It is no secret.\n",
                  key_string);
}

void pages_reach_text(Buffer *to, const HubInterface *interface, const char *host) {
    const bool v6 = strchr(host, ':') != NULL;
    const char *open = v6 ? "[" : "";
    const char *close = v6 ? "]" : "";
    if (interface->data.collector)
        buffer_printf(
            to, "The probe needs outbound TCP to %s%s%s:%u and %s%s%s:%u, nothing inbound.", open,
            host, close, interface->data.port, open, host, close, interface->events.port);
    else if (*interface->events_given)
        buffer_printf(to,
                      "The hub connects to the probe: the probe needs inbound TCP on port %u, and "
                      "outbound TCP to %s%s%s:%u.",
                      interface->data.port, open, host, close, interface->events.port);
    else
        buffer_printf(to,
                      "The hub connects to the probe: the probe needs inbound TCP on ports %u and "
                      "%u, nothing outbound.",
                      interface->data.port, interface->events.port);
}
