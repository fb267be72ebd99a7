#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Hash
 *
 * A fast keyed 64-bit hash for tables in memory: 16 bytes a step, multiply and fold. The seed is
 * random per process, so that a sender cannot aim at one bucket. Not for storage, not for security.
 */

#include <stddef.h>
#include <stdint.h>
#include <string.h>

__extension__ typedef unsigned __int128 HashWide;

static inline uint64_t hash_mix(uint64_t a, uint64_t b) {
    HashWide product = (HashWide)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static inline uint64_t hash_u64(uint64_t v, uint64_t seed) {
    return hash_mix(v ^ 0x9e3779b97f4a7c15u, seed ^ 0xd6e8feb86659fd93u);
}

static inline uint64_t hash_bytes(const void *bytes, size_t size, uint64_t seed) {
    const uint8_t *p = bytes;
    uint64_t h = seed ^ ((uint64_t)size * 0x9e3779b97f4a7c15u);
    uint64_t a = 0;
    uint64_t b = 0;
    while (size > 16) {
        memcpy(&a, p, 8);
        memcpy(&b, p + 8, 8);
        h = hash_mix(a ^ 0xa0761d6478bd642fu, b ^ h);
        p += 16;
        size -= 16;
    }
    a = 0;
    b = 0;
    memcpy(&a, p, size < 8 ? size : 8);
    if (size > 8)
        memcpy(&b, p + 8, size - 8);
    return hash_mix(hash_mix(a ^ 0xe7037ed1a0b428dbu, b ^ h), h ^ 0x8ebc6af09c88c6e3u);
}
