#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Remote Configuration
 *
 * What the hub set of this probe: over what the command line says, setting by setting. Kept in the
 * data folder, so that the next start begins with it, hub or no hub. What cannot be applied is
 * refused with its reason, and what was before goes on.
 *
 * remote_offer() may be called from any thread; all else from one, that of the capture.
 */

#include <stdbool.h>

#include "base/cleanup.h"
#include "channel/configuration.h"

typedef struct Remote Remote;

typedef struct RemoteConfig {
    const char *folder;  /* where it is kept; owned by this process */
    Configuration given; /* by the command line; all of it set */
    bool refuse;         /* --no-remote-config */
} RemoteConfig;

#define REMOTE_FILE "configuration.json"

/** remote_new() - and what was kept; a file that cannot be read is as good as none */
int remote_new(Remote **remotep, const RemoteConfig *config);
Remote *remote_free(Remote *remote);

/** remote_running() - all settings in force; at the start those to begin with */
const Configuration *remote_running(const Remote *remote);

/** remote_fall_back() - what was kept cannot be applied: the command line's it is. true: there was
 * something else */
bool remote_fall_back(Remote *remote, const char *why);

/** remote_offer() - from the hub, again and again */
void remote_offer(Remote *remote, const char *json);

/** remote_next() - something new is to be applied; remote_settle() must follow */
bool remote_next(Remote *remote, Configuration *to);

/** remote_settle() - it is in force, or refused: why */
void remote_settle(Remote *remote, const char *refused);

const ConfigurationReport *remote_report(const Remote *remote);

DEFINE_CLEANUP(Remote *, remote_free)
