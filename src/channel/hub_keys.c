/* SPDX-License-Identifier: Apache-2.0 */

#include "channel/hub_keys.h"

#include <errno.h>
#include <pthread.h>
#include <sodium.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/hash.h"

typedef struct Entry {
    PeerKey key; /* "" in a free place */
    uint8_t admission;
    uint32_t slot;
} Entry;

/* open addressing, at most half full; a removal closes the gap behind it */
struct HubKeys {
    pthread_mutex_t lock;
    Entry *table;
    size_t size; /* a power of two */
    size_t n;
    uint64_t seed; /* so that nobody can choose keys that collide */
};

static size_t home_of(const HubKeys *keys, const PeerKey *key) {
    return hash_bytes(key->z85, sizeof(key->z85), keys->seed) & (keys->size - 1);
}

/** find() - its place, or the free one where it would go */
static Entry *find(const HubKeys *keys, const PeerKey *key) {
    size_t at = home_of(keys, key);
    while (keys->table[at].key.z85[0] && memcmp(&keys->table[at].key, key, sizeof(*key)) != 0)
        at = (at + 1) & (keys->size - 1);
    return &keys->table[at];
}

static int grow(HubKeys *keys) {
    const size_t before = keys->size;
    Entry *old = keys->table;
    Entry *table = calloc(before ? before * 2 : 64, sizeof(*table));
    if (!table)
        return error_origin(-ENOMEM);
    keys->table = table;
    keys->size = before ? before * 2 : 64;
    for (size_t i = 0; i < before; i++)
        if (old[i].key.z85[0])
            *find(keys, &old[i].key) = old[i];
    free(old);
    return 0;
}

int hub_keys_new(HubKeys **keysp) {
    cleanup(hub_keys_freep) HubKeys *keys = calloc(1, sizeof(*keys));
    if (!keys)
        return error_origin(-ENOMEM);
    (void)pthread_mutex_init(&keys->lock, NULL);
    randombytes_buf(&keys->seed, sizeof(keys->seed));
    int r = grow(keys);
    if (r)
        return error_trace(r);
    *keysp = keys;
    keys = NULL;
    return 0;
}

HubKeys *hub_keys_free(HubKeys *keys) {
    if (!keys)
        return NULL;
    free(keys->table);
    (void)pthread_mutex_destroy(&keys->lock);
    free(keys);
    return NULL;
}

HubAdmission hub_keys_get(HubKeys *keys, const PeerKey *key, uint32_t *slotp) {
    HubAdmission admission = HUB_UNKNOWN;
    (void)pthread_mutex_lock(&keys->lock);
    const Entry *entry = find(keys, key);
    if (entry->key.z85[0]) {
        admission = (HubAdmission)entry->admission;
        if (slotp)
            *slotp = entry->slot;
    }
    (void)pthread_mutex_unlock(&keys->lock);
    return admission;
}

int hub_keys_set(HubKeys *keys, const PeerKey *key, HubAdmission admission, uint32_t slot) {
    int r = 0;
    (void)pthread_mutex_lock(&keys->lock);
    Entry *entry = find(keys, key);
    if (!entry->key.z85[0] && (keys->n + 1) * 2 > keys->size) {
        r = grow(keys);
        entry = find(keys, key);
    }
    if (!r) {
        keys->n += !entry->key.z85[0];
        *entry = (Entry){.key = *key, .admission = (uint8_t)admission, .slot = slot};
    }
    (void)pthread_mutex_unlock(&keys->lock);
    return error_trace(r);
}

void hub_keys_remove(HubKeys *keys, const PeerKey *key) {
    (void)pthread_mutex_lock(&keys->lock);
    Entry *entry = find(keys, key);
    const size_t mask = keys->size - 1;
    size_t gap = (size_t)(entry - keys->table);
    if (entry->key.z85[0]) {
        keys->n--;
        for (size_t at = (gap + 1) & mask; keys->table[at].key.z85[0]; at = (at + 1) & mask) {
            /* what would still be found from its home may stay behind the gap */
            if (((at - home_of(keys, &keys->table[at].key)) & mask) < ((at - gap) & mask))
                continue;
            keys->table[gap] = keys->table[at];
            gap = at;
        }
        keys->table[gap] = (Entry){0};
    }
    (void)pthread_mutex_unlock(&keys->lock);
}
