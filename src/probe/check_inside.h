#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Inside the Check
 *
 * Shared by check.c (the table), check_here.c (this machine), check_hub.c (the way to the hubs) and
 * check_outside.c (licence and collectors).
 */

#include <stdbool.h>
#include <stddef.h>

#include "channel/keys.h"
#include "probe/options.h"

typedef struct Check {
    const ProbeConfig *config;
    unsigned n_ok, n_notes, n_fails;
    bool usage; /* an option that no run would take */

    /* found on the way, for what comes later */
    KeyPair keys;
    bool own_keys; /* these are the probe's; else there are none */
    bool running;  /* another process has the folder */
    struct HubTrial *hubs;
} Check;

__attribute__((format(printf, 2, 3))) void check_ok(Check *check, const char *format, ...);
__attribute__((format(printf, 2, 3))) void check_note(Check *check, const char *format, ...);
__attribute__((format(printf, 2, 3))) void check_fail(Check *check, const char *format, ...);

/* check_here.c */
void check_key(Check *check);
void check_folder(Check *check);
void check_input(Check *check);
void check_offloads(Check *check);
void check_spool(Check *check);

/* check_hub.c: the first tries all hubs at once */
void check_ports(Check *check);
void check_session(Check *check);
void check_clock(Check *check);

/* check_outside.c */
void check_licence(Check *check);
void check_collectors(Check *check);
