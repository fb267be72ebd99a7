#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Kept Lease
 *
 * What a hub lent last (channel/lease.h), remembered for seven days while no hub is there to say it
 * again, in `lease` of the data directory. It is measured by the probe's own licence clock, from
 * when it was told, and no run takes longer over it than that by the monotonic clock: turning the
 * wall clock back does not lengthen it. Pure but for load and save.
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/reason.h"
#include "channel/lease.h"

typedef struct KeptLease {
    int64_t until_s; /* by the licence clock */
    int64_t left_s;  /* what is left of it; 0: nothing, or there was none */
    char licence[LEASE_LICENCE_BYTES];

    uint64_t told_ms; /* when this run heard of it last */
    int64_t saved_s;  /* what was left when it was saved */
    int64_t saved_until_s;
} KeptLease;

#define KEPT_LEASE_FILE "lease"

/** kept_lease_hear() - as hubs say it now: seven days from each time that it is told anew, and none
 * when it is over; the same word once more is no news */
void kept_lease_hear(KeptLease *kept, const LeaseWord *word, int64_t now_s);

/** kept_lease_pass() - time goes on: now_s by the licence clock, passed_s by the monotonic one */
void kept_lease_pass(KeptLease *kept, int64_t now_s, int64_t passed_s);

static inline bool kept_lease_counts(const KeptLease *kept) {
    return kept->left_s > 0;
}

/** kept_lease_load() - of a former run; what cannot be read is no lease */
void kept_lease_load(KeptLease *kept, const char *folder, int64_t now_s);

/** kept_lease_save() - when it differs by more than ten minutes; false: it could not, see reason */
bool kept_lease_save(KeptLease *kept, const char *folder, Reason *reason);
