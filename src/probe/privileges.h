#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Privileges
 *
 * What a probe gives up once everything is open. Started by root it goes on as another user, with
 * no group beside that user's and of all capabilities only CAP_NET_RAW, and that only when it
 * captures live: an interface that came back is opened again. Started by anybody else (the unit
 * files do) it keeps no other capability either. In both cases no program that it might run could
 * have more (no_new_privs). Other threads have no capability at all; those started later have what
 * the caller has.
 */

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/reason.h"

/* the first of these that there is, unless one is named */
#define PRIVILEGES_USERS "weir-probe", "nobody"

typedef struct Privileges {
    const char *user; /* to go on as, NULL: one of PRIVILEGES_USERS */
    bool keep;        /* the user stays who it is */
    bool net_raw;
    const char *const *folders; /* of the probe's own, which that user must be able to write; what
                                 * root had made in them becomes the user's. NULL ones are none */
    size_t n_folders;
} Privileges;

enum {
    _PRIVILEGES_E_SUCCESS,
    PRIVILEGES_E_REFUSED, /* no such user, or a folder that it cannot write: the reason says so */
};

/** privileges_user() - the name it would go on as, NULL: as who it is. REFUSED: there is none */
int privileges_user(const Privileges *privileges, const char **namep, Reason *reason);

int privileges_drop(const Privileges *privileges, Reason *reason);
