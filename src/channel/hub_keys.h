#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Hub Keys
 *
 * What the hub thinks of each key, for those who must know in less than a millisecond: ZAP at a
 * handshake, the receive thread at each message. In memory, one short lock. Internal to the layer.
 */

#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "channel/hub_link.h"
#include "channel/identity.h"

typedef struct HubKeys HubKeys;

int hub_keys_new(HubKeys **keysp);
HubKeys *hub_keys_free(HubKeys *keys);

/** hub_keys_get() - `*slotp` (may be NULL) is what hub_keys_set() was given; unknown: untouched */
HubAdmission hub_keys_get(HubKeys *keys, const PeerKey *key, uint32_t *slotp);

/** hub_keys_set() - add or change; `slot` is the caller's note */
int hub_keys_set(HubKeys *keys, const PeerKey *key, HubAdmission admission, uint32_t slot);

/** hub_keys_remove() - as if it had never been there */
void hub_keys_remove(HubKeys *keys, const PeerKey *key);

DEFINE_CLEANUP(HubKeys *, hub_keys_free)
