#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Licensing
 *
 * What the hub's licence allows, and so which of the admitted probes deliver. Without one in force
 * it is an evaluation: everything works, for two probes. Stands between admission, which says who
 * may have a seat, and the link, which is told who has one: a probe without is pending there, stays
 * connected and keeps its flows. The rule is licence/seats.h, the licence licence/holder.h.
 *
 * Any thread may call; times are passed in.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/cleanup.h"
#include "base/reason.h"
#include "channel/hub_link.h"
#include "channel/lease.h"
#include "hub/probes.h"
#include "licence/holder.h"

typedef struct Licensing Licensing;

enum {
    LICENSING_LOOK_MS = 500, /* between two looks at the licence's files */
    LICENSING_DUE_MS = 100,  /* between two times that seats are given while they are too few */
};

typedef struct LicensingConfig {
    const char *path;   /* --license */
    const char *folder; /* the data directory */
    VendorKeys keys;
    SystemId here;
    Probes *probes;
    /* the verdict, for the link, and what admitted probes are told to have of the licence; called
     * with a lock held, so it must not call this module. tell() does nothing new when nothing is */
    void (*tell)(void *userdata, const PeerKey *key, HubAdmission verdict, const char *reason);
    void (*lease)(void *userdata, const Lease *lease);
    void *userdata;
} LicensingConfig;

typedef struct LicensingTime {
    uint64_t mono_ms;
    uint64_t wall_ms;
    bool synchronised; /* the wall clock is known to be right */
} LicensingTime;

/** licensing_time() - now */
LicensingTime licensing_time(void);

enum {
    _LICENSING_E_SUCCESS,
    LICENSING_E_REFUSED, /* the reason says why */
    LICENSING_E_MISSING, /* no such probe */
};

int licensing_new(Licensing **licensingp, const LicensingConfig *config, const LicensingTime *now);
Licensing *licensing_free(Licensing *licensing);

/** licensing_verdict() - of admission, and again with each hello: AdmissionConfig.tell */
void licensing_verdict(Licensing *licensing, const PeerKey *key, HubAdmission verdict,
                       const char *reason);

/** licensing_start() - admission has said all it knows: the last run's seats are kept for who had
 * them, and the link is told */
void licensing_start(Licensing *licensing, const LicensingTime *now);

/** licensing_speak() - the hub is up: say which licence it has, and from here on what changes */
void licensing_speak(Licensing *licensing);

/** licensing_hello() - it may show a licence of its own */
void licensing_hello(Licensing *licensing, const PeerKey *key, const char *json);

/** licensing_gone() - somebody disconnected */
void licensing_gone(Licensing *licensing);

/** licensing_turn() - look, and give seats, where it is time; often. Returns in how many ms it
 * wants to be called again at the latest */
unsigned licensing_turn(Licensing *licensing, const LicensingTime *now);

/** licensing_install() - a licence, or a list of revoked ones; acts at once */
int licensing_install(Licensing *licensing, const char *text, size_t size, const LicensingTime *now,
                      Reason *reason);

/** licensing_pin() - its seat comes first, or no longer; acts at once */
int licensing_pin(Licensing *licensing, const PeerKey *key, bool pinned, const LicensingTime *now);

typedef enum LicensingMode {
    LICENSING_EVALUATION,
    LICENSING_CLOUD,
    LICENSING_HUB,
} LicensingMode;

extern const char *const licensing_mode_names[];

typedef struct LicensingView {
    HolderView holder;
    LicensingMode mode;
    SystemId here;
    uint32_t limit, used, waiting;
    char warning[320]; /* "" or that it ends soon, or has ended */
} LicensingView;

void licensing_view(Licensing *licensing, LicensingView *view);

/** licensing_state_name() - "none", "valid", "grace", … as the API says it */
const char *licensing_state_name(const HolderView *view);

/** licensing_line() - the view in one line for people */
void licensing_line(const LicensingView *view, char *line, size_t size);

/** licensing_check() - --check-license: prints it; true: a licence is in force */
bool licensing_check(const char *path, const char *folder, FILE *out);

DEFINE_CLEANUP(Licensing *, licensing_free)
