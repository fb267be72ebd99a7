#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Check
 *
 * `weir-probe --check`: tries what a run with these options would need, in order, changes nothing,
 * and says of each in one line that it is well, or what is wrong and what to do. Takes 15 s at
 * most.
 */

#include "probe/options.h"

/** check_run() - the exit code: RUN_DONE, RUN_FAILED when anything fails, RUN_USAGE */
int check_run(const ProbeConfig *config);
