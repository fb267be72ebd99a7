#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Version
 *
 * Which probes a hub serves: those of its own minor version and of the two before it, whatever the
 * patch level; none of another major version. A probe newer than its hub waits until the hub is
 * updated. A text that is no version (a build of somebody's own) is served.
 */

#include "channel/cause.h"

/** version_judge() - CAUSE_NONE: served, else CAUSE_PEER_VERSION_OLD or _NEW */
Cause version_judge(const char *hub, const char *probe);
