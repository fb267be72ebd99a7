#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Policies of Collecting
 *
 * What the probe's user says of exporters: who they are (--collector-nf-reforge, --exporter-names),
 * which of their interfaces count, one of how many packets they sample (--sampling), how their
 * interfaces are called (--snmp-mappings), and whose flows nobody wants (--black-list). Read once,
 * then only looked up in, by any thread. Files have a row a line; `#` begins a comment; columns are
 * set apart by blanks or, when a line has a tab, by tabs alone.
 *
 *     --collector-nf-reforge   ADDRESS  ADDRESS|*  INTERFACE,INTERFACE,...|*
 *     --exporter-names         ADDRESS  NAME  [SITE]
 *     --snmp-mappings          ADDRESS  INTERFACE  NAME
 *
 * The first address of the reforge file is that of the datagrams; everywhere else an exporter is
 * known by the address it is given there, or, of sFlow, by its agent's.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/option.h"
#include "base/reason.h"
#include "net/address.h"

typedef struct CollectPolicy CollectPolicy;

typedef struct CollectPolicyConfig {
    const char *reforge, *names, *interfaces; /* files, or NULL */
    const OptionList *rates;                  /* EXPORTER=RATE, *=RATE for who says none */
    const OptionList *black_list;             /* ADDRESS, NETWORK/BITS or NETWORK/MASK */
} CollectPolicyConfig;

typedef struct CollectPolicyExporter {
    NetAddress address;
    NetAddress reforged;     /* none: as it is */
    const uint32_t *allowed; /* interfaces where flows may come in, in order; NULL: any */
    size_t n_allowed;
    const char *name, *site; /* NULL: not said */
    uint32_t rate;           /* 0: not said */
} CollectPolicyExporter;

typedef struct CollectPolicyInterface {
    NetAddress exporter;
    uint32_t index;
    const char *name;
} CollectPolicyInterface;

enum {
    _COLLECT_POLICY_E_SUCCESS,
    COLLECT_POLICY_E_USAGE, /* the reason names the file and the line, or the option */
};

/** collect_policy_check() - whether it could be made */
int collect_policy_check(const CollectPolicyConfig *config, Reason *reason);
int collect_policy_new(CollectPolicy **policyp, const CollectPolicyConfig *config, Reason *reason);
CollectPolicy *collect_policy_free(CollectPolicy *policy);

/** collect_policy_exporter() - NULL: nothing is said of it */
const CollectPolicyExporter *collect_policy_exporter(const CollectPolicy *policy,
                                                     const NetAddress *address);
bool collect_policy_allows(const CollectPolicyExporter *exporter, uint32_t interface);
uint32_t collect_policy_usual_rate(const CollectPolicy *policy);

/** collect_policy_black() - are flows from this address unwanted? */
bool collect_policy_black(const CollectPolicy *policy, const NetAddress *address);
/** collect_policy_says_nothing() - of any exporter, rate or address */
bool collect_policy_says_nothing(const CollectPolicy *policy);
bool collect_policy_has_black(const CollectPolicy *policy);

/** collect_policy_interfaces() - those with names, by exporter and index */
size_t collect_policy_interfaces(const CollectPolicy *policy, const CollectPolicyInterface **rowsp);
/** collect_policy_interface() - its name, or NULL */
const char *collect_policy_interface(const CollectPolicy *policy, const NetAddress *exporter,
                                     uint32_t index);

/** collect_policy_black_filter() - "not (src net ... or ...)" behind a filter for packets; the
 * caller's, NULL: out of memory. `filter` may be NULL or empty */
char *collect_policy_black_filter(const OptionList *black_list, const char *filter);

DEFINE_CLEANUP(CollectPolicy *, collect_policy_free)
