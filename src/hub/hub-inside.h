#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Hub, inside
 *
 * What the parts of hub_open() share: hub.c (the order of things) and hub_web.c (HTTP and HTTPS).
 */

#include "base/error.h"
#include "hub/hub.h"
#include "hub/identity.h"

/** hub_open_http() - pages and API, on the addresses of the configuration */
int hub_open_http(Hub *hub, Reason *reason);
