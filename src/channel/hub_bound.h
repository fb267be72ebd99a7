#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Where the Hub Binds
 *
 * The sides of the link that probes connect to are served by src/zmtp, on the link's own thread;
 * those that connect to a probe are sockets of libzmq. What comes of either is handed to
 * hub_take_message() and hub_take_topic(), which do not know the difference. Internal to the layer.
 */

#include <stddef.h>

#include "base/reason.h"
#include "channel/hub_link.h"
#include "channel/keys.h"
#include "zmtp/server.h"

int hub_bound_init(HubLink *link);

/** hub_bound_attach() - with the key of the hub; the side's `attached` says where. Looks its host
 * up: hub_address_find() says how long that may take, and this is called when the hub starts only
 */
int hub_bound_attach(HubLink *link, size_t side, Reason *reason);

/** hub_bound_listen() - where an attached side listens, at another port (0: any); does not wait.
 * HUB_LINK_E_REFUSED: the address is not ours, or in use */
int hub_bound_listen(HubLink *link, size_t side, uint16_t port, const KeyPair *keys,
                     ZmtpListener **listenerp, Reason *reason);

/** hub_bound_rekey() - the side's own listener has this key from now on; its connections end */
void hub_bound_rekey(HubLink *link, size_t side, const KeyPair *keys);

/** hub_bound_send() - on a probe's topic, if it has subscribed to it there */
void hub_bound_send(HubLink *link, size_t side, const PeerKey *key, const void *text, size_t size);

/** hub_bound_turn() - each turn of the thread, after the server's: memory given back */
void hub_bound_turn(HubLink *link);
