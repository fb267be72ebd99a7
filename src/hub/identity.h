#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Identity
 *
 * The hub's key pair as it is given, kept and printed. What becomes of it while the hub runs is in
 * server_key.h.
 */

#include "base/reason.h"
#include "channel/keys.h"

typedef struct HubConfig HubConfig;

/** hub_refused() - answers of the parts become that one; fatal errors get their trace as reason */
int hub_refused(int r, int answer, Reason *reason);

/** hub_given_keys() - --zmq-encryption-key-priv, if it is given */
int hub_given_keys(KeyPair *given, const HubConfig *config, Reason *reason);

/** hub_load_keys() - of the data directory, which is this process's; made if need be */
int hub_load_keys(KeyPair *keys, const HubConfig *config, Reason *reason);
