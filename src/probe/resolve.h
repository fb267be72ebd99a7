#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Resolve
 *
 * getaddrinfo(3) that can be given up: a name server that does not answer holds it for half a
 * minute, and a program that is to end does not wait for it. A name is asked for by a thread of its
 * own, which is left to itself when nobody wants the answer any more; an address needs none.
 */

#include <netdb.h>
#include <stdbool.h>

enum { RESOLVE_GIVEN_UP = 1 }; /* no number of getaddrinfo(3), which are negative */

/**
 * resolve_name() - 0 and *foundp, to be freed with freeaddrinfo(3); or as getaddrinfo(3) answers
 * @is_over: asked ten times a second; true: RESOLVE_GIVEN_UP
 */
int resolve_name(struct addrinfo **foundp, const char *host, const char *port, int socktype,
                 bool (*is_over)(const void *userdata), const void *userdata);
