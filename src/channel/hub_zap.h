#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Hub ZAP
 *
 * Answers ZeroMQ's question who may connect (RFC 27, ZAP), from memory and on a thread of its own,
 * for a slow answer makes every handshake time out. Everyone who holds the server's key is let in,
 * but for revoked keys, and is known from then on by its own key as User-Id. Internal to the layer.
 */

#include "base/cleanup.h"
#include "channel/hub_keys.h"

typedef struct HubZap HubZap;

/** hub_zap_new() - before any other socket of the context is attached */
int hub_zap_new(HubZap **zapp, void *context, HubKeys *keys);
HubZap *hub_zap_free(HubZap *zap);

DEFINE_CLEANUP(HubZap *, hub_zap_free)
