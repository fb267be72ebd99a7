#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Server Key Files
 *
 * The hub's key pairs in its data directory: `zmq-key.*` is the present one, `zmq-key-next.*` the
 * one to come, `zmq-key-retired.*` the one before. Each step can be cut short by a crash and is
 * finished, or undone, at the next start.
 */

#include <stdbool.h>

#include "base/reason.h"
#include "channel/keys.h"

enum {
    _SERVER_KEY_FILES_E_SUCCESS,
    SERVER_KEY_FILES_E_REFUSED, /* damaged, or not to be written: the reason says why */
    SERVER_KEY_FILES_E_NONE,    /* there is no next pair */
};

/** server_key_files_mend() - what was cut short; before the present pair is loaded */
int server_key_files_mend(const char *folder, Reason *reason);

int server_key_files_next(KeyPair *pair, const char *folder, Reason *reason);
int server_key_files_save_next(const KeyPair *pair, const char *folder, Reason *reason);
int server_key_files_drop_next(const char *folder, Reason *reason);

/** server_key_files_finish() - the next pair is the present one, the present one retired */
int server_key_files_finish(const KeyPair *present, const char *folder, Reason *reason);

/** server_key_files_retired() - is this the secret of the pair that was replaced? */
bool server_key_files_retired(const char *secret_z85, const char *folder);
