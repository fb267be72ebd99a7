/* SPDX-License-Identifier: Apache-2.0 */

#include "probe/options.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "probe/aggregation.h"
#include "probe/capture.h"
#include "probe/collect_ports.h"
#include "probe/outside.h"

enum { HUBS_MAX = 16 };

const char *options_key(const ProbeConfig *config, size_t i) {
    return config->keys.values[config->keys.n > 1 ? i : 0];
}

/* a number that ends where `end` is; false: there is none, or it is larger */
static bool take_number(const char **at, char end, unsigned long most, uint32_t *to) {
    char *rest = NULL;
    const unsigned long n = strtoul(*at, &rest, 10);
    if (**at < '0' || **at > '9' || *rest != end || n > most)
        return false;
    *to = (uint32_t)n;
    *at = rest;
    return true;
}

bool options_domain(const ProbeConfig *config, uint32_t *domainp) {
    const char *at = config->observation_point;
    uint32_t type = 0;
    uint32_t id = 0;
    *domainp = 0;
    if (!at)
        return true;
    const bool engine = strchr(at, ':') != NULL;
    if (engine && !take_number(&at, ':', UINT8_MAX, &type))
        return false;
    at += engine;
    if (!take_number(&at, '\0', engine ? UINT8_MAX : UINT32_MAX, &id))
        return false;
    *domainp = type << 8 | id;
    return true;
}

uint32_t options_left_out(const ProbeConfig *config) {
    uint32_t left_out = 0;
    Reason reason;
    (void)aggregation_parse(&left_out, config->aggregation, &reason);
    return left_out;
}

CollectPolicyConfig options_policy(const ProbeConfig *config) {
    return (CollectPolicyConfig){.reforge = config->reforge,
                                 .names = config->exporter_names,
                                 .interfaces = config->snmp_mappings,
                                 .rates = &config->exporter_rates,
                                 .black_list = &config->black_list};
}

static int check_keys(const ProbeConfig *config, Reason *reason) {
    const size_t n = config->keys.n;
    if (n <= 1 || config->hubs.n == 0 || n == config->hubs.n)
        return 0;
    reason_set(reason,
               "--zmq-encryption-key is given %zu times and --ntopng %zu times; give one key for "
               "all hubs, or one for each, in the same order",
               n, config->hubs.n);
    return OPTIONS_E_USAGE;
}

static int check_hubs(const ProbeConfig *config, Reason *reason) {
    if (config->hubs.n == 0) {
        if (config->events.n == 0)
            return 0;
        reason_set(reason, "--zmq-publish-events is given without --ntopng, the hub's data "
                           "endpoint, for example --ntopng tcp://HUB:5556");
        return OPTIONS_E_USAGE;
    }
    if (config->hubs.n > HUBS_MAX) {
        reason_set(reason, "--ntopng is given %zu times; %d hubs are the most", config->hubs.n,
                   HUBS_MAX);
        return OPTIONS_E_USAGE;
    }
    if (config->events.n > config->hubs.n) {
        reason_set(reason,
                   "--zmq-publish-events is given %zu times and --ntopng %zu times; each hub has "
                   "one events endpoint",
                   config->events.n, config->hubs.n);
        return OPTIONS_E_USAGE;
    }
    if (config->keys.n == 0) {
        reason_set(reason, "--ntopng needs --zmq-encryption-key, the hub's public key: a hub talks "
                           "to probes encrypted only; its interface page shows the key to copy");
        return OPTIONS_E_USAGE;
    }
    return check_keys(config, reason);
}

enum { SPOOL_MIN_BYTES = 1 << 20 };

/* packets, or what exporters send: one of them. nProbe's `-i none` says that there are no packets
 */
static int check_input(const ProbeConfig *config, Reason *reason) {
    const size_t n = config->inputs.n;
    if (config->collector_ports.n) {
        if (n == 0 || (n == 1 && strcmp(config->inputs.values[0], "none") == 0))
            return collect_ports_check(&config->collector_ports, reason) ? OPTIONS_E_USAGE : 0;
        reason_set(reason,
                   "-i %s and --collector-port are both given; one input a process: start "
                   "a second probe for the other",
                   config->inputs.values[0]);
        return OPTIONS_E_USAGE;
    }
    if (n == 0 && !config->file_list) {
        reason_set(reason, "nothing to meter: give -i INTERFACE or -i FILE, or --collector-port "
                           "PORT to collect what exporters send");
        return OPTIONS_E_USAGE;
    }
    return 0;
}

Sampling options_sampling(const ProbeConfig *config) {
    Sampling sampling = {.packets = 1, .told = 1, .collected = 1, .exported = 1};
    Reason reason;
    (void)sampling_parse(&sampling, config->sampling, &reason);
    return sampling;
}

/* packets of a file come in one order and go one way; several threads would only wait for it */
static int check_workers(const ProbeConfig *config, Reason *reason) {
    Sampling sampling;
    if (sampling_parse(&sampling, config->sampling, reason))
        return OPTIONS_E_USAGE;
    if (config->workers == 1)
        return 0;
    if (probe_collects(config)) {
        reason_set(reason, "--workers %u: what exporters send is decoded by one worker",
                   config->workers);
        return OPTIONS_E_USAGE;
    }
    for (size_t i = 0; i < config->inputs.n; i++)
        if (!capture_is_interface(config->inputs.values[i])) {
            reason_set(reason,
                       "--workers %u: several are for an interface, and -i %s is none; a file is "
                       "read by one",
                       config->workers, config->inputs.values[i]);
            return OPTIONS_E_USAGE;
        }
    return 0;
}

static int check_aggregation(const ProbeConfig *config, Reason *reason) {
    uint32_t left_out = 0;
    if (aggregation_parse(&left_out, config->aggregation, reason))
        return OPTIONS_E_USAGE;
    if (!(left_out & AGGREGATION_JOINS) || !config->protocols || probe_collects(config))
        return 0;
    reason_set(
        reason,
        "--aggregation %s and --ndpi-protocols are both given; applications are those of single "
        "connections, and without protocol, address or port there are none",
        config->aggregation);
    return OPTIONS_E_USAGE;
}

/* what would be left undone in silence */
static int check_dpi(const ProbeConfig *config, Reason *reason) {
    const char *needs = config->protocols       ? "--ndpi-protocols"
                        : config->custom_protos ? "--ndpi-custom-protos"
                                                : NULL;
    if (!config->no_dpi || !needs)
        return 0;
    reason_set(reason,
               "--no-dpi and %s are both given; without detection flows have no application",
               needs);
    return OPTIONS_E_USAGE;
}

static int check_merging(const ProbeConfig *config, Reason *reason) {
    if (!config->collector_merge_s || !config->collector_passthrough)
        return 0;
    reason_set(reason,
               "--collector-merge %u and --collector-passthrough are both given; one "
               "merges records, the other wants none merged",
               config->collector_merge_s);
    return OPTIONS_E_USAGE;
}

int options_check(const ProbeConfig *config, Reason *reason) {
    if (config->prepare_image || config->check_license)
        return check_keys(config, reason); /* there may be no configuration yet */
    if (config->force) {
        reason_set(reason, "--force is given without --prepare-image, which it belongs to");
        return OPTIONS_E_USAGE;
    }
    if (check_input(config, reason) || check_workers(config, reason) ||
        check_aggregation(config, reason) || check_dpi(config, reason) ||
        check_merging(config, reason))
        return OPTIONS_E_USAGE;
    uint32_t domain = 0;
    if (!options_domain(config, &domain)) {
        reason_set(reason,
                   "--netflow-engine %s: ID, at most 4294967295, or TYPE:ID, at most 255 each, are "
                   "accepted",
                   config->observation_point);
        return OPTIONS_E_USAGE;
    }
    const CollectPolicyConfig policy = options_policy(config);
    const int wrong = collect_policy_check(&policy, reason);
    if (wrong)
        return wrong > 0 ? OPTIONS_E_USAGE : error_trace(wrong);
    const DoorsConfig doors = outside_doors(config);
    if (doors_check(&doors, reason))
        return OPTIONS_E_USAGE;
    if (config->hubs.n == 0 && config->events.n == 0 && !config->json &&
        !doors_wanted(&config->collectors)) {
        reason_set(reason, "nowhere to deliver flows: give --ntopng ENDPOINT and "
                           "--zmq-encryption-key KEY for a hub, -n HOST:PORT for a collector, or "
                           "--json FILE (- is standard output)");
        return OPTIONS_E_USAGE;
    }
    if (config->spool_bytes && config->spool_bytes < SPOOL_MIN_BYTES) {
        reason_set(reason,
                   "--spool-size %llu: at least 1M bytes, or 0 to keep flows in memory only",
                   (unsigned long long)config->spool_bytes);
        return OPTIONS_E_USAGE;
    }
    return check_hubs(config, reason);
}
