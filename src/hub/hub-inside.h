#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Hub, inside
 *
 * What the parts of hub_open() share: hub.c (the order of things) and hub_web.c (HTTP and HTTPS).
 */

#include "base/error.h"
#include "hub/hub.h"

/* answers of the parts become this one's; fatal errors get their trace as reason */
static inline int hub_refused(int r, int answer, Reason *reason) {
    char text[256];
    if (r > 0)
        return answer;
    if (r < 0 && !*reason->text)
        reason_set(reason, "%s", error_describe(r, text, sizeof(text)));
    return error_trace(r);
}

/** hub_open_http() - pages and API, on the addresses of the configuration */
int hub_open_http(Hub *hub, Reason *reason);
