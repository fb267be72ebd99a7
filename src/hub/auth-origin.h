#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Host and Origin
 *
 * A browser tells by Host which name it used, and by Origin which page asks. Another site's page
 * can point a name of its own at our address (DNS rebinding), so only addresses, localhost and the
 * names this hub was told are answered; and what changes something must come from our own page.
 */

#include <stdbool.h>
#include <stddef.h>

/** auth_host_known() - "192.0.2.1:3000", "[::1]", "localhost", or one of the names, any port */
bool auth_host_known(const char *host, const char *const *names, size_t n_names);

/** auth_origin_same() - is this origin (RFC 6454 section 6.1) a page that we served as `host`? */
bool auth_origin_same(const char *origin, const char *host);
