#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Login Limits
 *
 * A token bucket for each address and each user name that tries to log in, in a table of fixed
 * size; the fullest bucket makes room for a new one. One address cannot use up a name's bucket, so
 * that nobody is locked out by one stranger. Not locked; time is passed in.
 */

#include <stdint.h>

#include "base/cleanup.h"

typedef struct AuthLimit AuthLimit;

typedef enum AuthLimitKind {
    AUTH_LIMIT_ADDRESS, /* 10 at once, then one each 6 s; IPv6 counts by /64 */
    AUTH_LIMIT_NAME,    /* 60 at once, then one a second */
    _AUTH_LIMIT_N,
} AuthLimitKind;

enum {
    _AUTH_LIMIT_E_SUCCESS,
    AUTH_LIMIT_E_OVER, /* *retry_msp says when there is room again */
};

int auth_limit_new(AuthLimit **limitp, uint64_t seed);
AuthLimit *auth_limit_free(AuthLimit *limit);

int auth_limit_take(AuthLimit *limit, AuthLimitKind kind, const char *who, uint64_t now_ms,
                    uint64_t *retry_msp);

/** auth_limit_return() - the attempt was a good one */
void auth_limit_return(AuthLimit *limit, AuthLimitKind kind, const char *who, uint64_t now_ms);

DEFINE_CLEANUP(AuthLimit *, auth_limit_free)
