#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Licensing
 *
 * What this probe may do beside delivering to hubs: with a licence of its own (licence/holder.h)
 * or a hub's lease (kept_lease.h) it exports to collectors of others without a limit. Looked at
 * once a second, which reads files and syncs what it writes; what changes goes to the log once. One
 * thread at a time.
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "channel/lease.h"
#include "licence/holder.h"
#include "probe/options.h"

typedef struct Licensing Licensing;

#define LICENSING_PATH "/etc/weir/probe.license"

/* when it is; of a run from licensing_now() */
typedef struct LicensingTime {
    int64_t wall_s;
    int64_t monotonic_s;
    bool synchronised;
} LicensingTime;

typedef struct LicensingConfig {
    const char *path;   /* of the licence */
    const char *folder; /* the data directory; may not be there */
    VendorKeys keys;
    SystemId here;
    bool exports;   /* to collectors: then the limit is told of */
    bool look_only; /* nothing is written */
} LicensingConfig;

LicensingTime licensing_now(void);

/** licensing_config() - of a probe on this machine; the strings stay those of config */
LicensingConfig licensing_config(const ProbeConfig *config);

int licensing_new(Licensing **licensingp, const LicensingConfig *config, LicensingTime now);
Licensing *licensing_free(Licensing *licensing);

/**
 * licensing_second() - look again
 * @word: what hubs say of a lease, NULL: there is no hub
 *
 * Returns whether what is shown to hubs, or what is allowed, is another than before.
 */
bool licensing_second(Licensing *licensing, const LeaseWord *word, LicensingTime now);

/** licensing_unlocked() - by a licence or a lease */
bool licensing_unlocked(const Licensing *licensing);

/** licensing_token() - the line of a licence in force, to be shown to hubs; "" without one */
const char *licensing_token(const Licensing *licensing);
const char *licensing_system_id(const Licensing *licensing);

const HolderView *licensing_view(const Licensing *licensing);

/** licensing_describe() - the licence in a line, and what is wrong with it; "" without one */
void licensing_describe(const Licensing *licensing, Reason *line);

/** licensing_line() - in a sentence, what it may do and why */
void licensing_line(const Licensing *licensing, Reason *line);

/** licensing_check() - `--check-license` on standard output; an exit code of run.h */
int licensing_check(const ProbeConfig *config);

DEFINE_CLEANUP(Licensing *, licensing_free)
