#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Confinement
 *
 * From here on no thread of the process may make another system call than those of confine.def, by
 * a filter of the kernel (seccomp(2)): what takes the probe over through a packet cannot start a
 * program, look into another process or change the system. One that is not among them ends the
 * process, with a line that names it: a library of another version may want more.
 */

#include "base/reason.h"

enum {
    _CONFINE_E_SUCCESS,
    CONFINE_E_REFUSED, /* the kernel has no such filters, or does not allow one: the reason says so
                        */
};

/** confine() - all threads, those there are and those to come; no_new_privs must be set. Nothing
 * in a build with sanitizers, which need more */
int confine(Reason *reason);
