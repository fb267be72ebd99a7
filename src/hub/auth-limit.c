/* SPDX-License-Identifier: Apache-2.0 */

#include "hub/auth-limit.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "base/error.h"
#include "base/hash.h"

enum {
    SETS = 1024,
    WAYS = 4,
    WHO_MAX = 128,
};

typedef struct LimitRow {
    uint64_t burst;
    uint64_t refill_ms;
} LimitRow;

static const LimitRow rows[_AUTH_LIMIT_N] = {
    [AUTH_LIMIT_ADDRESS] = {10, 6000},
    [AUTH_LIMIT_NAME] = {60, 1000},
};

/* A bucket as a time: it is full at full_ms, and each attempt moves that away by refill_ms. */
typedef struct Bucket {
    uint64_t key;
    uint64_t full_ms;
} Bucket;

struct AuthLimit {
    uint64_t seed;
    Bucket buckets[SETS][WAYS];
};

int auth_limit_new(AuthLimit **limitp, uint64_t seed) {
    AuthLimit *limit = calloc(1, sizeof(*limit));
    if (!limit)
        return error_origin(-ENOMEM);
    limit->seed = seed;
    *limitp = limit;
    return 0;
}

AuthLimit *auth_limit_free(AuthLimit *limit) {
    free(limit);
    return NULL;
}

/** key_of() - names without case; one IPv6 user has a whole /64 of addresses */
static uint64_t key_of(const AuthLimit *limit, AuthLimitKind kind, const char *who) {
    uint8_t bytes[WHO_MAX];
    size_t size = strnlen(who, sizeof(bytes));
    if (kind == AUTH_LIMIT_ADDRESS && inet_pton(AF_INET6, who, bytes) == 1)
        size = 8;
    else
        for (size_t i = 0; i < size; i++)
            bytes[i] = (uint8_t)tolower((unsigned char)who[i]);
    return hash_bytes(bytes, size, limit->seed + kind) | 1;
}

static Bucket *bucket_of(AuthLimit *limit, AuthLimitKind kind, const char *who) {
    uint64_t key = key_of(limit, kind, who);
    Bucket *set = limit->buckets[(key >> 32) % SETS];
    Bucket *fullest = &set[0];
    for (size_t i = 0; i < WAYS; i++) {
        if (set[i].key == key)
            return &set[i];
        if (set[i].full_ms < fullest->full_ms)
            fullest = &set[i];
    }
    *fullest = (Bucket){.key = key};
    return fullest;
}

int auth_limit_take(AuthLimit *limit, AuthLimitKind kind, const char *who, uint64_t now_ms,
                    uint64_t *retry_msp) {
    const LimitRow *row = &rows[kind];
    Bucket *bucket = bucket_of(limit, kind, who);
    if (bucket->full_ms < now_ms)
        bucket->full_ms = now_ms;
    uint64_t after_ms = bucket->full_ms + row->refill_ms - now_ms;
    if (after_ms > row->burst * row->refill_ms) {
        *retry_msp = after_ms - row->burst * row->refill_ms;
        return AUTH_LIMIT_E_OVER;
    }
    bucket->full_ms += row->refill_ms;
    return 0;
}

void auth_limit_return(AuthLimit *limit, AuthLimitKind kind, const char *who, uint64_t now_ms) {
    Bucket *bucket = bucket_of(limit, kind, who);
    if (bucket->full_ms >= now_ms + rows[kind].refill_ms)
        bucket->full_ms -= rows[kind].refill_ms;
}
