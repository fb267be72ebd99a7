#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Kept Keys
 *
 * What the hubs said of their keys, kept in `server-keys.json` of the data directory, a hub each:
 * the key in the configuration, which may be years old, and the one that took its place. Any
 * thread.
 */

#include <stdbool.h>
#include <stddef.h>

#include "base/cleanup.h"
#include "base/reason.h"
#include "channel/server_keys.h"

typedef struct KeptKeys KeptKeys;

/** KeptKey - of one hub */
typedef struct KeptKey {
    ServerKeys keys; /* .version 0: nothing was said yet */
    char first[41];  /* the key this began with: a name for the hub that stays */
} KeptKey;

enum {
    _KEPT_KEYS_E_SUCCESS,
    KEPT_KEYS_E_REFUSED, /* the file is there and cannot be read: the reason says why */
};

int kept_keys_new(KeptKeys **keptp, const char *folder, Reason *reason);
KeptKeys *kept_keys_free(KeptKeys *kept);

/**
 * kept_keys_find() - of the hub at this endpoint. What was kept counts as long as the configured
 * key is the first or one of those that were handed over: another one is a person's will.
 */
void kept_keys_find(KeptKeys *kept, const char *endpoint, const char *configured_z85,
                    KeptKey *found);

/** kept_keys_put() - to the disk; false: it could not be written, and was logged by nobody */
bool kept_keys_put(KeptKeys *kept, const char *endpoint, const char *configured_z85,
                   const ServerKeys *keys, Reason *reason);

DEFINE_CLEANUP(KeptKeys *, kept_keys_free)
