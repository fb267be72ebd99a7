#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Settings
 *
 * Puts a configuration into force in a probe that runs: filter, sampling, timeouts and the set of
 * fields, all of them or, when one cannot be, none. Of one worker, on its thread.
 */

#include "channel/configuration.h"
#include "probe/options.h"
#include "probe/worker.h"

typedef struct SettingsParts {
    const ProbeConfig *config;
    Worker *worker;
} SettingsParts;

enum {
    _SETTINGS_E_SUCCESS,
    SETTINGS_E_REFUSED, /* the reason says why; all is as before */
};

/** settings_given() - what the command line says, all of it set */
void settings_given(const ProbeConfig *config, Configuration *to);

/** settings_filter() - for the capture; the command line's may be longer than one of a hub */
const char *settings_filter(const ProbeConfig *config, const Configuration *configuration);

/** settings_apply() - `before` is in force, or at least its filter */
int settings_apply(const SettingsParts *parts, const Configuration *now,
                   const Configuration *before, Reason *reason);
