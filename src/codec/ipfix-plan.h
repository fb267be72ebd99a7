#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * IPFIX Plans
 *
 * A template compiled for reading: its fields of fixed length between two variable ones form a
 * run, whose bytes are taken off the cursor at once; each op then reads at a place inside the run.
 * What is not known is not read. A template has one op for each member at most: where it names
 * several elements for one member (octetDeltaCount and octetTotalCount), the best one is taken.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"

typedef struct Cursor Cursor;
typedef struct IpfixPlan IpfixPlan;

/* what a plan reads an options record into */
typedef struct IpfixOptions {
    uint64_t process_id;
    uint64_t lost_flows, lost_packets, lost_octets;
    uint64_t boot_ms; /* systemInitTimeMilliseconds */
} IpfixOptions;

/* a field of a template as it stands on the wire */
typedef struct IpfixElement {
    uint32_t pen;
    uint16_t element;
    uint16_t length;
} IpfixElement;

typedef struct IpfixReading {
    uint64_t export_ms;   /* for times relative to it */
    uint64_t boot_ms;     /* for times of the exporter's uptime, as its options said; 0: unknown */
    uint64_t own_boot_ms; /* as the record being read says */
    const uint8_t *from;  /* the message, and where its texts stay; the same when in place */
    const char *texts;
} IpfixReading;

struct IpfixPlan {
    size_t record_bytes; /* the least a record can take */
    bool options;
    bool has_texts;
    bool has_gap; /* options that say what was not sent */
    bool has_duration;
    bool first_uptime, last_uptime; /* times that are uptimes */
    size_t n_ops;
    struct IpfixOp *ops;
};

/** ipfix_plan_make() - of n elements, for FlowRecords or for IpfixOptions; -ENOMEM */
int ipfix_plan_make(IpfixPlan *plan, const IpfixElement *elements, size_t n, bool options);
void ipfix_plan_deinit(IpfixPlan *plan);

/** ipfix_plan_read() - one record into a zeroed FlowRecord or IpfixOptions; false when cut short */
bool ipfix_plan_read(const IpfixPlan *plan, Cursor *c, void *to, IpfixReading *reading);
