/* SPDX-License-Identifier: Apache-2.0 */

#include "hub/tally.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/hash.h"

struct Tally {
    TallyEntry *entries; /* dense */
    uint32_t *slots;     /* index + 1 into entries; twice as many, so probing is short */
    size_t n;
    size_t capacity;
    uint64_t seed;
};

int tally_new(Tally **tallyp, size_t capacity) {
    cleanup(tally_freep) Tally *tally = calloc(1, sizeof(*tally));
    if (!tally)
        return error_origin(-ENOMEM);
    tally->capacity = capacity;
    tally->seed = hash_u64(clock_monotonic_ns(), (uint64_t)(uintptr_t)tally);
    tally->entries = calloc(capacity, sizeof(*tally->entries));
    tally->slots = calloc(capacity * 2, sizeof(*tally->slots));
    if (!tally->entries || !tally->slots)
        return error_origin(-ENOMEM);
    *tallyp = tally;
    tally = NULL;
    return 0;
}

Tally *tally_free(Tally *tally) {
    if (!tally)
        return NULL;
    free(tally->entries);
    free(tally->slots);
    free(tally);
    return NULL;
}

void tally_clear(Tally *tally) {
    if (tally->n)
        memset(tally->slots, 0, tally->capacity * 2 * sizeof(*tally->slots));
    tally->n = 0;
}

void tally_add(Tally *tally, const void *key, size_t key_size, uint64_t a, uint64_t b) {
    if (key_size > TALLY_KEY_MAX)
        key_size = TALLY_KEY_MAX;
    const size_t mask = tally->capacity * 2 - 1;
    size_t at = (size_t)hash_bytes(key, key_size, tally->seed) & mask;
    while (tally->slots[at]) {
        TallyEntry *entry = &tally->entries[tally->slots[at] - 1];
        if (entry->key_size == key_size && memcmp(entry->key, key, key_size) == 0) {
            entry->a += a;
            entry->b += b;
            return;
        }
        at = (at + 1) & mask;
    }
    if (tally->n == tally->capacity)
        return;
    TallyEntry *entry = &tally->entries[tally->n++];
    tally->slots[at] = (uint32_t)tally->n;
    memcpy(entry->key, key, key_size);
    entry->key_size = (uint16_t)key_size;
    entry->a = a;
    entry->b = b;
}

static uint64_t rank(const TallyEntry *entry, bool both) {
    return both ? entry->a + entry->b : entry->a;
}

size_t tally_top(const Tally *tally, bool both, const TallyEntry **top, size_t n) {
    size_t have = 0;
    for (size_t i = 0; i < tally->n; i++) {
        const TallyEntry *entry = &tally->entries[i];
        size_t at = have;
        while (at > 0 && rank(top[at - 1], both) < rank(entry, both))
            at--;
        if (at == n)
            continue;
        const size_t last = have < n ? have++ : n - 1;
        memmove(&top[at + 1], &top[at], (last - at) * sizeof(*top));
        top[at] = entry;
    }
    return have;
}
