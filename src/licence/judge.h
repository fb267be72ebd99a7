#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Judge
 *
 * What a verified licence is worth at a given place and time, and the clock that decides it. Pure:
 * what it needs to know comes in, so every case can be put to it.
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/reason.h"
#include "licence/licence.h"
#include "licence/revocations.h"

typedef enum LicenceState {
    LICENCE_VALID,
    LICENCE_GRACE, /* expired, and everything still works */
    LICENCE_NOT_YET,
    LICENCE_EXPIRED,
    LICENCE_REVOKED,
    LICENCE_OTHER_MACHINE,
    LICENCE_OTHER_PROGRAM, /* a hub's on a probe, or the other way round */
    _LICENCE_STATE_N,
} LicenceState;

typedef struct LicencePlace {
    bool probe; /* else a hub */
    int64_t now_s;
    int64_t issued_max_s; /* one issued later than that is refused; 0: the time is not known well */
    const SystemId *here;
    const Revocations *revoked; /* NULL: none are known */
} LicencePlace;

/** licence_judge() - and in one line why, for people */
LicenceState licence_judge(const Licence *licence, const LicencePlace *place, Reason *line);

const char *licence_state_name(LicenceState state); /* "in grace" */

/** licence_unlocks() - in this state it does what it says */
static inline bool licence_unlocks(LicenceState state) {
    return state == LICENCE_VALID || state == LICENCE_GRACE;
}

/*
 * The clock. It never runs back past the latest time at which it was known to be right, so turning
 * it back does not lengthen a licence. A clock that nobody sets right moves no mark: a wild guess
 * (2040) then does not stay. Should a mark be wild all the same, a licence issued later than any
 * before says what time it is.
 */
typedef struct LicenceClock {
    int64_t latest_s; /* synchronised time seen */
    int64_t issued_s; /* of the newest licence seen */
} LicenceClock;

int64_t licence_clock_now(LicenceClock *clock, int64_t wall_s, bool synchronised);
void licence_clock_see(LicenceClock *clock, const Licence *licence);
