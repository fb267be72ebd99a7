/* SPDX-License-Identifier: Apache-2.0 */

#include "net/fragment.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "base/error.h"
#include "base/hash.h"

enum { WAYS = 4 };

static const uint64_t lifetime_ns = UINT64_C(30000000000);

typedef struct FragmentKey {
    uint8_t src[16];
    uint8_t dst[16];
    uint32_t id;
    uint16_t vlan;
    uint8_t protocol; /* IPv4 only: in IPv6 it differs between the first and later ones */
    uint8_t ip_version;
} FragmentKey;

typedef struct FragmentEntry {
    FragmentKey key;
    uint64_t time_ns; /* 0: free */
    uint16_t src_port;
    uint16_t dst_port;
    uint8_t protocol;
    uint8_t icmp_type;
    uint8_t icmp_code;
} FragmentEntry;

struct FragmentCache {
    size_t sets; /* a power of two */
    uint64_t seed;
    FragmentEntry entries[];
};

int fragment_cache_new(FragmentCache **cachep, size_t entries, uint64_t seed) {
    size_t sets = 1;
    while (sets * WAYS < entries)
        sets *= 2;
    FragmentCache *cache = calloc(1, sizeof(*cache) + sets * WAYS * sizeof(FragmentEntry));
    if (!cache)
        return error_origin(-ENOMEM);
    cache->sets = sets;
    cache->seed = seed;
    *cachep = cache;
    return 0;
}

FragmentCache *fragment_cache_free(FragmentCache *cache) {
    free(cache);
    return NULL;
}

static bool entry_stale(const FragmentEntry *entry, uint64_t now_ns) {
    return entry->time_ns == 0 || entry->time_ns + lifetime_ns < now_ns;
}

static void learn(FragmentEntry *set, const FragmentKey *key, const Packet *packet) {
    FragmentEntry *victim = &set[0];
    for (size_t i = 0; i < WAYS; i++) {
        if (memcmp(&set[i].key, key, sizeof(*key)) == 0) {
            victim = &set[i];
            break;
        }
        if (set[i].time_ns < victim->time_ns)
            victim = &set[i];
    }
    *victim = (FragmentEntry){
        .key = *key,
        .time_ns = packet->time_ns ? packet->time_ns : 1,
        .src_port = packet->src_port,
        .dst_port = packet->dst_port,
        .protocol = packet->protocol,
        .icmp_type = packet->icmp_type,
        .icmp_code = packet->icmp_code,
    };
}

int fragment_resolve(FragmentCache *cache, Packet *packet) {
    FragmentKey key = {
        .id = packet->fragment_id,
        .vlan = packet->vlan,
        .protocol = packet->ip_version == 4 ? packet->ip[9] : 0,
        .ip_version = packet->ip_version,
    };
    memcpy(key.src, packet->src, 16);
    memcpy(key.dst, packet->dst, 16);
    uint64_t hash = hash_bytes(&key, sizeof(key), cache->seed);
    FragmentEntry *set = &cache->entries[(hash & (cache->sets - 1)) * WAYS];

    if (packet->fragment == PACKET_FRAGMENT_FIRST) {
        learn(set, &key, packet);
        return 0;
    }
    for (size_t i = 0; i < WAYS; i++) {
        FragmentEntry *entry = &set[i];
        if (entry_stale(entry, packet->time_ns) || memcmp(&entry->key, &key, sizeof(key)) != 0)
            continue;
        entry->time_ns = packet->time_ns;
        packet->src_port = entry->src_port;
        packet->dst_port = entry->dst_port;
        packet->protocol = entry->protocol;
        packet->icmp_type = entry->icmp_type;
        packet->icmp_code = entry->icmp_code;
        return 0;
    }
    return FRAGMENT_E_UNKNOWN;
}
