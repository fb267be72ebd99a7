#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Options of weir-probe
 *
 * One row each in options.c. Those of nProbe that have a meaning here have the same name and
 * letter; the others are accepted and ignored, or refused with what to use instead.
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/option.h"
#include "probe/collect_policy.h"
#include "probe/sampling.h"

typedef struct ProbeConfig {
    OptionList inputs; /* those of file_list behind them: options_read_list() */
    const char *file_list;
    uint32_t workers;
    bool deduplicate;
    const char *filter;
    uint32_t snaplen;
    bool no_promisc;
    uint64_t ring_bytes;
    uint32_t input_if;
    bool interpret_flow_packets;
    OptionList collector_ports;
    uint32_t collector_workers;
    bool keep_unknown;
    bool collector_passthrough;
    uint32_t collector_merge_s;
    const char *reforge;
    const char *exporter_names;
    const char *snmp_mappings;
    OptionList exporter_rates; /* EXPORTER=RATE */
    OptionList black_list;
    const char *observation_point; /* options_domain() */

    const char *sampling; /* options_sampling() */
    uint32_t active_s;
    uint32_t idle_s;
    uint32_t max_flows;
    bool no_tunnel;
    int vlan_key;            /* MeterVlan */
    const char *aggregation; /* options_left_out() */
    bool no_dpi;
    uint32_t max_dpi_flows;
    const char *custom_protos;
    const char *protocols;

    OptionList hubs;
    OptionList events;
    bool probe_mode;
    bool fanout;
    OptionList keys; /* the one of all hubs, or one of each: options_key() */
    const char *probe_id;
    const char *probe_name;
    const char *data_dir;
    const char *spool_dir;
    uint64_t spool_bytes; /* 0: memory only */
    uint64_t spool_memory_bytes;
    int template; /* index of fieldset_names */
    bool no_remote_config;
    const char *json;
    const char *counters;
    OptionList collectors; /* -n; "none" alone: none */
    uint32_t flow_version;
    bool all_collectors;
    uint32_t first_template;
    const char *flow_fields; /* -T; NULL: the usual ones */
    uint32_t queue_timeout_s;
    uint32_t templates_messages;
    const char *license;
    const char *user; /* to go on as */
    bool keep_user;
    bool no_seccomp;
    uint32_t exit_timeout_s;
    uint32_t verbose;
    bool check;
    bool check_license;
    bool prepare_image;
    bool force;
} ProbeConfig;

/* flows come from exporters, and no packets are metered */
static inline bool probe_collects(const ProbeConfig *config) {
    return config->interpret_flow_packets || config->collector_ports.n;
}

enum { SPOOL_BYTES_USUAL = 8 }; /* GB, the default */

extern const OptionProgram probe_program;

enum {
    _OPTIONS_E_SUCCESS,
    OPTIONS_E_USAGE,
};

/** options_check() - what no single row can tell: options that need each other */
int options_check(const ProbeConfig *config, Reason *reason);

/** options_sampling() - it was checked */
Sampling options_sampling(const ProbeConfig *config);
/** options_domain() - the observation domain of -E, 0 without; false: it is none */
bool options_domain(const ProbeConfig *config, uint32_t *domainp);

/** options_left_out() - by -p, AGGREGATION_... or-ed; it was checked */
uint32_t options_left_out(const ProbeConfig *config);

/** options_policy() - those of exporters; it borrows from config */
CollectPolicyConfig options_policy(const ProbeConfig *config);

/* threads that turn what comes into flows */
static inline uint32_t probe_workers(const ProbeConfig *config) {
    return config->collector_ports.n ? config->collector_workers : config->workers;
}

/** options_key() - the key string for the i-th hub; there is one at least */
const char *options_key(const ProbeConfig *config, size_t i);
