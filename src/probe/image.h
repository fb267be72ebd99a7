#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Image
 *
 * weir-probe --prepare-image: takes out of the state folder what must not be cloned with an image:
 * key pair, spool, what the hub had set. Each probe made from the image makes its own at its first
 * start. One line a thing on standard output.
 */

#include "probe/options.h"

/** image_prepare() - an exit code of run.h: RUN_DONE; RUN_FAILED in use, or not to be removed;
 * RUN_LEFT: flows that no hub has stored would go, and --force is not given */
int image_prepare(const ProbeConfig *config);
