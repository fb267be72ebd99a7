#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Collecting Keeper
 *
 * Brings what exporters have said (templates, sampling, names) over a restart, in one file of the
 * probe's data folder: read at the start, written aside and renamed by a thread of its own when
 * something has changed, at most every five seconds, and at the end. Whatever goes wrong with it
 * costs a notice, never the collecting.
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "probe/workers.h"

#define COLLECT_KEEPER_FILE "collector.state"

typedef struct CollectKeeper CollectKeeper;

/**
 * collect_keeper_new() - recall what was kept, before the workers start; folder_owned: its lock is
 * held already, by who has the probe's keys. Else the folder must be there, and is locked. NULL,
 * told in the log: nothing will be kept. All functions but this one take NULL.
 */
CollectKeeper *collect_keeper_new(Workers *workers, const char *folder, bool folder_owned);
CollectKeeper *collect_keeper_free(CollectKeeper *keeper);

/** collect_keeper_tick() - on the run's thread: ask workers now and then whether there is news */
void collect_keeper_tick(CollectKeeper *keeper, uint64_t now_ms);

/** collect_keeper_finish() - the last time, when nothing comes any more */
void collect_keeper_finish(CollectKeeper *keeper);

DEFINE_CLEANUP(CollectKeeper *, collect_keeper_free)
