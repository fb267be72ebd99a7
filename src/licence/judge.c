/* SPDX-License-Identifier: Apache-2.0 */

#include "licence/judge.h"

#include <string.h>

enum { DAY_S = 86400 };

static const char *const state_names[_LICENCE_STATE_N] = {"valid",
                                                          "in grace",
                                                          "not valid yet",
                                                          "expired",
                                                          "revoked",
                                                          "for another machine",
                                                          "for another program"};

const char *licence_state_name(LicenceState state) {
    return state_names[state];
}

static int64_t grace_end_s(const Licence *licence) {
    return licence->expiry_s + (int64_t)licence->grace_days * DAY_S;
}

static bool other_program(const Licence *licence, const LicencePlace *place, Reason *line) {
    bool of_probe = licence->kind == LICENCE_PROBE;
    if (of_probe == place->probe)
        return false;
    reason_set(line,
               of_probe ? "it is a probe's licence: install it on that probe"
                        : "it is a %s licence: install it on the hub, its probes need none",
               licence_kind_name(licence->kind));
    return true;
}

static bool revoked(const Licence *licence, const LicencePlace *place, Reason *line) {
    if (!revocations_has(place->revoked, licence->id))
        return false;
    reason_set(line, "licence %s was revoked by its vendor; ask there for a new one", licence->id);
    return true;
}

static bool other_machine(const Licence *licence, const LicencePlace *place, Reason *line) {
    if (!licence->bound && licence->kind == LICENCE_CLOUD)
        return false;
    if (licence->bound && system_id_is(&licence->system, place->here))
        return false;
    if (!licence->bound) {
        reason_set(line, "a %s licence is for one machine, and this one names none",
                   licence_kind_name(licence->kind));
    } else if (system_id_facts(place->here) < SYSTEM_FACTS_NEEDED) {
        reason_set(line, "this machine shows too little of itself to be known by (in a container "
                         "that is usual): use a cloud licence");
    } else {
        char text[SYSTEM_ID_CHARS];
        reason_set(line,
                   "it is for another machine: of the four parts of its System ID %zu match "
                   "here, and %d are needed; the System ID here is %s",
                   system_id_matches(&licence->system, place->here), SYSTEM_FACTS_NEEDED,
                   system_id_text(place->here, text));
    }
    return true;
}

/* by a vendor whose clock was wrong: what it says of time is worth nothing */
static bool from_future(const Licence *licence, const LicencePlace *place, Reason *line) {
    char date[24];
    if (!place->issued_max_s || licence->issued_s <= place->issued_max_s)
        return false;
    reason_set(line,
               "it was issued in the future, on %s: ask its vendor for one issued by a right "
               "clock",
               licence_date(date, licence->issued_s));
    return true;
}

static bool not_yet(const Licence *licence, const LicencePlace *place, Reason *line) {
    char date[24];
    if (place->now_s >= licence->not_before_s)
        return false;
    reason_set(line, "it holds from %s on; is the clock of this machine right?",
               licence_date(date, licence->not_before_s));
    return true;
}

static bool expired(const Licence *licence, const LicencePlace *place, Reason *line) {
    char date[24];
    if (!licence->expiry_s || place->now_s < grace_end_s(licence))
        return false;
    reason_set(line, "it expired on %s%s; ask for a new one", licence_date(date, licence->expiry_s),
               licence->grace_days ? ", and its days of grace are over" : "");
    return true;
}

static bool in_grace(const Licence *licence, const LicencePlace *place, Reason *line) {
    char date[24];
    char until[24];
    if (!licence->expiry_s || place->now_s < licence->expiry_s)
        return false;
    int64_t left = (grace_end_s(licence) - place->now_s + DAY_S - 1) / DAY_S;
    reason_set(line, "it expired on %s; everything works until %s, %lld more day%s",
               licence_date(date, licence->expiry_s), licence_date(until, grace_end_s(licence)),
               (long long)left, left == 1 ? "" : "s");
    return true;
}

/* the first that applies; a licence for elsewhere is that, whatever its date */
static const struct {
    LicenceState state;
    bool (*applies)(const Licence *licence, const LicencePlace *place, Reason *line);
} cases[] = {
    {LICENCE_OTHER_PROGRAM, other_program},
    {LICENCE_REVOKED, revoked},
    {LICENCE_OTHER_MACHINE, other_machine},
    {LICENCE_NOT_YET, from_future},
    {LICENCE_NOT_YET, not_yet},
    {LICENCE_EXPIRED, expired},
    {LICENCE_GRACE, in_grace},
};

LicenceState licence_judge(const Licence *licence, const LicencePlace *place, Reason *line) {
    char date[24];
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        if (cases[i].applies(licence, place, line))
            return cases[i].state;
    if (licence->expiry_s)
        reason_set(line, "valid until %s", licence_date(date, licence->expiry_s));
    else
        reason_set(line, "valid, without an end");
    return LICENCE_VALID;
}

int64_t licence_clock_now(LicenceClock *clock, int64_t wall_s, bool synchronised) {
    if (synchronised && wall_s > clock->latest_s)
        clock->latest_s = wall_s;
    return wall_s > clock->latest_s ? wall_s : clock->latest_s;
}

void licence_clock_see(LicenceClock *clock, const Licence *licence) {
    if (licence->issued_s <= clock->issued_s)
        return;
    clock->issued_s = licence->issued_s;
    clock->latest_s = licence->issued_s;
}
