/* SPDX-License-Identifier: Apache-2.0 */

#include "hub/options.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "hub/admission.h"
#include "licence/system_id.h"

#define AT(member) offsetof(HubConfig, member)

#define LISTEN  "Listening"
#define WEB     "Web and API"
#define STORE   "Storage"
#define OTHER   "Other"
#define LICENCE "Licence"
#define COMPAT  "Options of ntopng"

/* clang-format off */
#define IGNORED_FLAG(long_name, short_letter, why) \
    {.name = (long_name), .letter = (short_letter), .type = OPTION_FLAG, .use = OPTION_IGNORED, \
     .group = COMPAT, .help = "Accepted and ignored.", .note = (why)}
#define IGNORED_VALUE(long_name, short_letter, why) \
    {.name = (long_name), .letter = (short_letter), .type = OPTION_TEXT, .use = OPTION_IGNORED, \
     .takes_value = true, .metavar = "VALUE", .group = COMPAT, .help = "Accepted and ignored.", \
     .note = (why)}
#define REPLACED(long_name, short_letter, instead) \
    {.name = (long_name), .letter = (short_letter), .type = OPTION_TEXT, .use = OPTION_REPLACED, \
     .takes_value = true, .metavar = "VALUE", .group = COMPAT, .help = "Refused.", .note = (instead)}
/* clang-format on */

static const Option rows[] = {
    {.name = "interface",
     .letter = 'i',
     .type = OPTION_LIST,
     .at = AT(interfaces),
     .metavar = "ENDPOINT",
     .group = LISTEN,
     .help = "Where probes deliver, for example tcp://*:5556c; with the c at the end the hub "
             "listens and probes connect, without it the hub connects to a probe that listens. "
             "Repeatable; each is an interface of its own in the web pages."},
    {.name = "zmq-publish-events",
     .type = OPTION_LIST,
     .at = AT(events),
     .metavar = "ENDPOINT",
     .group = LISTEN,
     .help = "The second endpoint of each -i, in the same order, by which probes are told what "
             "was stored; the same host and the next port when left out."},
    {.name = "public-address",
     .type = OPTION_TEXT,
     .at = AT(public_address),
     .metavar = "HOST",
     .group = LISTEN,
     .help = "Address or name by which probes and browsers reach this hub, shown in probe "
             "commands; also turns on -W 3001 when -W is left out."},
    {.name = "zmq-encryption-key-priv",
     .type = OPTION_TEXT,
     .at = AT(private_key),
     .metavar = "Z85",
     .group = LISTEN,
     .help = "Private key to use and keep, 40 characters, as copied from ntopng; must match the "
             "pair in the data directory when there is one."},
    {.name = "admission",
     .type = OPTION_WORD,
     .at = AT(admission),
     .unset = "open",
     .words = admission_mode_names,
     .metavar = "MODE",
     .group = LISTEN,
     .help =
         "Who may deliver: open admits every probe that holds the public key, token those whose "
         "key string carries a join token, approve waits for an administrator. What was "
         "chosen last counts, here or in the web pages: a start with the same option as "
         "before changes nothing."},
    {.name = "zmq-encryption",
     .type = OPTION_FLAG,
     .at = AT(zmq_encryption),
     .group = LISTEN,
     .help = "Accepted; the channel is always encrypted."},

    {.name = "http-port",
     .letter = 'w',
     .type = OPTION_TEXT,
     .at = AT(http_port),
     .unset = "3000",
     .metavar = "[ADDR:]PORT",
     .group = WEB,
     .help = "Plain HTTP, on loopback only; 0 turns it off."},
    {.name = "https-port",
     .letter = 'W',
     .type = OPTION_TEXT,
     .at = AT(https_port),
     .metavar = "[ADDR:]PORT",
     .group = WEB,
     .help = "HTTPS, on all addresses unless one is given; 0 turns it off."},
    {.name = "tls-cert",
     .type = OPTION_TEXT,
     .at = AT(tls_cert),
     .metavar = "FILE",
     .group = WEB,
     .help = "Certificate chain for HTTPS, PEM; a self-signed one is made when left out."},
    {.name = "tls-key",
     .type = OPTION_TEXT,
     .at = AT(tls_key),
     .metavar = "FILE",
     .group = WEB,
     .help = "Private key of the certificate, PEM."},
    {.name = "disable-login",
     .type = OPTION_FLAG,
     .at = AT(login_disabled),
     .group = WEB,
     .help = "Everybody is administrator, for scripts on this machine; only with HTTP on loopback "
             "and no HTTPS."},
    {.name = "web-dir",
     .type = OPTION_TEXT,
     .at = AT(web_dir),
     .metavar = "FOLDER",
     .group = WEB,
     .help = "The browser application's files; the installed ones when left out."},

    {.name = "data-dir",
     .letter = 'd',
     .type = OPTION_TEXT,
     .at = AT(data_dir),
     .unset = "/var/lib/weir-hub",
     .metavar = "FOLDER",
     .group = STORE,
     .help = "Keys, flows and settings; made when missing, used by one hub at a time."},
    {.name = "store-memory",
     .type = OPTION_U64,
     .at = AT(store_memory),
     .unset = "1G",
     .min = 256u << 20,
     .max = (uint64_t)1 << 40,
     .unit = "bytes",
     .metavar = "BYTES",
     .group = STORE,
     .help = "Memory for the flow store and the questions asked of it."},

    {.name = "license",
     .type = OPTION_TEXT,
     .at = AT(license),
     .unset = "/etc/weir/hub.license",
     .metavar = "FILE",
     .group = LICENCE,
     .help = "The licence of this hub and, of a cloud licence, of its probes; read again each "
             "second. One uploaded in the web pages is in the data directory; of both the one "
             "issued later counts. Without one, everything works for two probes. A list of revoked "
             "licences is read from revoked.list beside it."},
    {.name = "check-license",
     .type = OPTION_FLAG,
     .at = AT(check_license),
     .group = LICENCE,
     .help = "Say whether the licence is in force and why, and the System ID of this machine; exit "
             "0 or 1."},

    {.name = "print-public-key",
     .type = OPTION_FLAG,
     .at = AT(print_public_key),
     .group = OTHER,
     .help = "Print the public key as probes take it, 80 hexadecimal digits, and exit."},
    {.name = "print-sample-config",
     .type = OPTION_FLAG,
     .at = AT(print_sample_config),
     .group = OTHER,
     .help = "Print a weir-probe configuration file for this hub and exit."},
    {.name = "verbose",
     .letter = 'v',
     .type = OPTION_U32,
     .at = AT(verbose),
     .unset = "2",
     .max = 6,
     .metavar = "LEVEL",
     .group = OTHER,
     .help = "How much is logged: 0 errors, 1 warnings, 2 notices, 3 more, 4 everything."},

    IGNORED_FLAG("daemon", 'e', "weir-hub stays in the foreground; systemd runs it as a service"),
    IGNORED_FLAG("community", 0, "there is one edition"),
    IGNORED_FLAG("no-promisc", 'u', "a hub does not capture"),
    IGNORED_FLAG("disable-autologout", 'q', "sessions last 12 hours unused"),
    IGNORED_FLAG("dont-change-user", 's', "the service file chooses the user"),
    IGNORED_FLAG("disable-alerts", 'H', "there are no alerts yet"),
    IGNORED_FLAG("disable-purge", 0, "memory is bounded"),
    IGNORED_FLAG("ignore-vlans", 0, "VLANs are kept with each flow"),
    IGNORED_FLAG("ignore-macs", 0, "hosts are told apart by address"),
    IGNORED_FLAG("enable-user-scripts", 0, "there are no user scripts"),
    IGNORED_FLAG("limit-resources", 0, "memory is bounded; see --store-memory"),
    IGNORED_FLAG("insecure", 0, "nothing here needs it"),
    IGNORED_VALUE("local-networks", 'm', "hosts are not yet grouped into local and remote"),
    IGNORED_VALUE("dns-mode", 'n', "names come with the flows, the hub asks no name server"),
    IGNORED_VALUE("dump-flows", 'F', "every flow is stored in the data directory"),
    IGNORED_VALUE("max-num-flows", 'X', "memory is bounded without it"),
    IGNORED_VALUE("max-num-hosts", 'x', "memory is bounded without it"),
    IGNORED_VALUE("sticky-hosts", 'S', "hosts do not leave memory"),
    IGNORED_VALUE("redis", 'r', "the hub needs no Redis"),
    IGNORED_VALUE("pid", 'G', "systemd knows the process"),
    IGNORED_VALUE("user", 'U', "the service file chooses the user"),
    IGNORED_VALUE("core-affinity", 'g', "threads are placed by the kernel"),
    IGNORED_VALUE("httpdocs-dir", '1', "see --web-dir"),
    IGNORED_VALUE("scripts-dir", '2', "there are no scripts"),
    IGNORED_VALUE("callbacks-dir", '3', "there are no scripts"),
    IGNORED_VALUE("pcap-dir", '5', "a hub does not capture"),
    IGNORED_VALUE("install-dir", 't', "see --web-dir"),
    IGNORED_VALUE("instance-name", 'N', "the host's name is used"),
    REPLACED("disable-login-mode", 'l', "use --disable-login with -w on loopback"),
    REPLACED("packet-filter", 'B', "use weir-probe -f FILTER, a hub does not capture"),
    REPLACED("ndpi-protocols", 'p', "use it at the probe, a hub does not inspect packets"),
    REPLACED("export-flows", 'I', "use a second --ntopng at the probe, a hub does not forward"),
    REPLACED("zmq-encrypt-pwd", 0, "use --zmq-encryption-key at the probe"),
    REPLACED("http-prefix", 'Z', "use a reverse proxy with a host name of its own"),
};

const OptionProgram hub_program = {
    .name = "weir-hub",
    .summary = "Collects flows from weir probes, stores them and shows them.",
    .usage = "weir-hub -i tcp://*:5556c --zmq-publish-events tcp://*:5557\n"
             "weir-hub -i tcp://192.0.2.1:5556c -d /var/lib/weir-hub --public-address 192.0.2.1\n"
             "weir-hub /etc/weir/hub.conf\n",
    .options = rows,
    .n_options = sizeof(rows) / sizeof(*rows),
    .config_bytes = sizeof(HubConfig),
    .version_more = system_id_print,
};

static int refuse(Reason *reason, const char *option, const char *value, const char *what) {
    reason_set(reason, "%s%s%s: %s", option, *value ? " " : "", value, what);
    return HUB_OPTIONS_E_USAGE;
}

static bool is_loopback(const char *address) {
    uint8_t bytes[16];
    if (inet_pton(AF_INET, address, bytes) == 1)
        return bytes[0] == 127;
    return inet_pton(AF_INET6, address, bytes) == 1 &&
           memcmp(bytes, &in6addr_loopback, sizeof(in6addr_loopback)) == 0;
}

/* "[ADDR:]PORT", the address perhaps in brackets, ":PORT" as in ntopng */
static int parse_listen(const char *option, const char *text, const char *unset, HubListen *listen,
                        Reason *reason) {
    const char *colon = strrchr(text, ':');
    const char *digits = colon ? colon + 1 : text;
    char *end = NULL;
    errno = 0;
    const unsigned long port = strtoul(digits, &end, 10);
    if (*digits < '0' || *digits > '9' || *end || errno || port > 65535)
        return refuse(reason, option, text, "expected [ADDR:]PORT with a port from 0 to 65535");

    size_t size = colon ? (size_t)(colon - text) : 0;
    const char *address = text;
    if (size >= 2 && text[0] == '[' && text[size - 1] == ']') {
        address++;
        size -= 2;
    }
    if (size >= sizeof(listen->address))
        return refuse(reason, option, text, "the address is too long");
    HubListen made = {.port = (uint16_t)port};
    if (size)
        memcpy(made.address, address, size);
    else
        (void)snprintf(made.address, sizeof(made.address), "%s", unset);
    if (strcmp(made.address, "localhost") == 0)
        (void)snprintf(made.address, sizeof(made.address), "127.0.0.1");
    if (strcmp(made.address, "0.0.0.0") == 0 || strcmp(made.address, "::") == 0)
        (void)snprintf(made.address, sizeof(made.address), "*");
    *listen = made;
    return 0;
}

/* goes into commands, links and certificates: a scheme or a port would spoil each of them */
static bool is_public_address(const char *host) {
    struct in6_addr address;
    if (inet_pton(AF_INET6, host, &address) == 1)
        return true;
    const size_t n = strlen(host);
    return n > 0 && n < 254 && *host != '-' && *host != '.' &&
           strspn(host, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_") == n;
}

int hub_options_listen(const HubConfig *config, HubListen *http, HubListen *https, Reason *reason) {
    HubListen plain = {0};
    HubListen tls = {0};
    if (config->public_address && !is_public_address(config->public_address))
        return refuse(
            reason, "--public-address", config->public_address,
            "a host name or an IP address is expected, without scheme, port and brackets");
    int r = parse_listen("-w", config->http_port, "127.0.0.1", &plain, reason);
    if (r)
        return r;
    if (plain.port && !is_loopback(plain.address))
        return refuse(reason, "-w", config->http_port,
                      "plain HTTP is served on loopback only; use -W PORT for HTTPS on all "
                      "addresses");
    const char *secure = config->https_port;
    if (!secure && config->public_address && !config->login_disabled)
        secure = "3001";
    if (secure) {
        r = parse_listen("-W", secure, "*", &tls, reason);
        if (r)
            return r;
    }
    if (!plain.port && !tls.port)
        return refuse(reason, "-w", config->http_port,
                      "with no -W either nobody could reach the hub");
    if (config->login_disabled && tls.port)
        return refuse(reason, "--disable-login", "",
                      "only with plain HTTP on loopback; leave out -W");
    if ((config->tls_cert != NULL) != (config->tls_key != NULL))
        return refuse(reason, config->tls_cert ? "--tls-cert" : "--tls-key",
                      config->tls_cert ? config->tls_cert : config->tls_key,
                      "the certificate and its key go together: give --tls-cert and --tls-key");
    *http = plain;
    *https = tls;
    return 0;
}
