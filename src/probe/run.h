#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Run
 *
 * A probe's run: opens everything, meters until the input ends or a signal comes, flushes, waits
 * for delivery. The caller's thread captures and meters; the export and each hub's link have
 * threads of their own.
 */

#include "probe/options.h"

/* exit codes of weir-probe */
enum {
    RUN_DONE = 0,
    RUN_FAILED = 1, /* could not run, or could not read or write to the end */
    RUN_USAGE = 2,
    RUN_LEFT = 3, /* not every flow was stored by the hub in time */
};

int run_probe(const ProbeConfig *config);
