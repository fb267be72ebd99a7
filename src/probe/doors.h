#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Doors
 *
 * All collectors of others (-n): records go to one after the other, a message at a time, or with
 * --all-collectors to each. Each has a stream of its own (codec/netflow.h); over UDP its templates
 * are said again every 20 messages (-o) and every 10 s, over TCP once a connection; and what the
 * exporter says of itself (options records) as often, over TCP every 10 s. A message that is not
 * full waits for more records as long as --queue-timeout says.
 *
 * A probe with neither licence nor lease (licensing.h) exports so only the first 25,000 records;
 * copies for several collectors all count. Hubs, --json and files are never limited.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/option.h"
#include "base/reason.h"
#include "flow/record.h"
#include "probe/door.h"

typedef struct Doors Doors;

enum { DOORS_LIMIT_RECORDS = 25000, DOORS_MAX = 16, DOORS_TEMPLATES_MESSAGES = 20 };

typedef struct DoorsConfig {
    const OptionList *collectors;
    NetflowVersion version;
    bool all;                    /* a copy to each */
    uint32_t domain;             /* observation domain, source id, engine */
    uint32_t first_template;     /* id; 0: 256 */
    uint32_t templates_messages; /* said again after so many; 0: 20 */
    uint32_t linger_ms;          /* a message that is not full waits so long; 0: goes at once */
    const char *fields;          /* -T; NULL: the usual ones */
    bool collecting;             /* flows are those of exporters */
    const char *name;            /* this exporter's; borrowed, as is the interface's */
    const char *interface;       /* or NULL */
    uint32_t interface_index;
    bool patient; /* a file: it can wait, and the time is that of its packets */
    bool limited;
} DoorsConfig;

/* what the metering counted, for options records */
typedef struct DoorsMetered {
    uint64_t ignored_packets, ignored_octets;
    uint64_t dropped_packets; /* of the ignored, those lost for want of room */
    uint64_t flows;
} DoorsMetered;

typedef struct DoorsStatus {
    DoorStatus sum;
    uint64_t unfit_flows;    /* IPv6 in NetFlow v5, and what is longer than a message */
    uint64_t withheld_flows; /* by the limit */
    bool limited;
    uint64_t left_records; /* until the limit, while there is one */
} DoorsStatus;

enum {
    _DOORS_E_SUCCESS,
    DOORS_E_USAGE, /* an address, or what does not go together: the reason says what */
};

/** doors_wanted() - are there any: no -n, or -n none, says no */
bool doors_wanted(const OptionList *collectors);

/** doors_check() - before anything is opened; 0 or DOORS_E_USAGE */
int doors_check(const DoorsConfig *config, Reason *reason);

int doors_new(Doors **doorsp, const DoorsConfig *config, Reason *reason);
Doors *doors_free(Doors *doors);

/** doors_batch() - from the export's thread; never waits for a network, but for a file */
void doors_batch(Doors *doors, const FlowRecord *records, size_t n);

/** doors_tick() - from the same thread, at least once a second: what waited long enough goes */
void doors_tick(Doors *doors);

/** doors_metered() - totals; any thread */
void doors_metered(Doors *doors, const DoorsMetered *metered);

/** doors_limit() - from now on; a limit that comes back counts from then. Any thread */
void doors_limit(Doors *doors, bool limited);

/** doors_finish() - what waits goes; wait so long until all is sent. No more batches come */
void doors_finish(Doors *doors, unsigned timeout_ms);

/** doors_status() - any thread */
void doors_status(Doors *doors, DoorsStatus *status);

DEFINE_CLEANUP(Doors *, doors_free)
