#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Quarantine
 *
 * Batches that cannot be decoded, kept as they came in <data-dir>/quarantine/ for whoever looks
 * into it: EPOCH-SEQUENCE.batch. Bounded; when it is full, they are only counted.
 */

#include "base/reason.h"
#include "channel/hub_link.h"

enum { QUARANTINE_FILES_MAX = 1000 };

/** quarantine_put() - *where says what became of it, for the log */
void quarantine_put(const char *data_dir, const HubBatch *batch, Reason *where);
