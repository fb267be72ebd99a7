#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Holder
 *
 * The licence a program runs under. It is looked for at the configured place and in the state
 * folder, where an upload puts it; of two that hold, the one issued later counts. Files are looked
 * at once a second, and read when they have changed, so a change acts without a restart. When the
 * file goes, no longer verifies, or is one that does not hold here, the one that was in force last
 * stays so for 24 hours, and it is said; that outlives a restart.
 *
 * Revocations are read from the file `revoked.list` beside either place. The highest number seen
 * is kept in the state folder.
 *
 * Of one thread at a time; the caller locks.
 */

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/reason.h"
#include "licence/judge.h"
#include "licence/licence.h"

typedef struct Holder Holder;

enum { HOLDER_KEPT_S = 24 * 3600 };

typedef struct HolderConfig {
    const char *path;   /* "/etc/weir/hub.license" */
    const char *folder; /* state; the upload goes to its `licence` */
    bool probe;
    bool look_only; /* nothing is written: for a look beside the program that does */
    VendorKeys keys;
    SystemId here;
} HolderConfig;

typedef struct HolderView {
    bool has;     /* is there any licence, whatever it is worth */
    bool unlocks; /* it is in force */
    bool kept;    /* only the memory of it is: its file is gone, damaged or another's */
    LicenceState state;
    Licence licence;
    char from[PATH_MAX]; /* its file */
    int64_t now_s;       /* the time by which it was judged */
    int64_t until_s;     /* kept until then */
    unsigned days_left;  /* of a licence that ends within 30 days, until it does, rounded up */
    uint64_t revoked;    /* number of the list, 0: none */
    Reason why;          /* of its state, in a sentence that begins with "it" or "valid" */
    Reason trouble;      /* what else is wrong: a file that does not verify; "" */
    Reason unwritten;    /* what a restart would not know, and why; "" */
} HolderView;

enum {
    _HOLDER_E_SUCCESS,
    HOLDER_E_REFUSED,   /* the reason says why */
    HOLDER_E_UNWRITTEN, /* the view is right; view->unwritten says what is not remembered */
};

/** holder_new() - the strings stay the caller's and must outlive it; looks once, and that something
 * could not be written is no error here */
int holder_new(Holder **holderp, const HolderConfig *config, int64_t wall_s, bool synchronised);
Holder *holder_free(Holder *holder);

/** holder_look() - at the files and the clock; *changedp: the view is another than before.
 * HOLDER_E_UNWRITTEN comes again until what is to be remembered could be written */
int holder_look(Holder *holder, int64_t wall_s, bool synchronised, bool *changedp);

const HolderView *holder_view(const Holder *holder);

/**
 * holder_install() - a licence or a list of revocations, as uploaded or pasted
 *
 * What would not be in force is refused with its reason, and nothing changes. A licence that does
 * less than the present one is taken: that is the administrator's choice.
 */
int holder_install(Holder *holder, const char *text, size_t size, int64_t wall_s, bool synchronised,
                   Reason *reason);

/** holder_judge() - another licence than the held one, at `place`, by this holder's time and list
 * of revocations; a probe's, shown to a hub */
LicenceState holder_judge(const Holder *holder, const Licence *licence, bool probe,
                          const SystemId *place, Reason *why);

/** holder_days_warned() - the warning that is due at so many days: 30, 14, 7, 1 or 0 for none */
unsigned holder_days_warned(unsigned days_left);

/** holder_clock_synchronised() - does the kernel say that this machine's clock is set right? */
bool holder_clock_synchronised(void);

DEFINE_CLEANUP(Holder *, holder_free)
