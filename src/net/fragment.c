/* SPDX-License-Identifier: Apache-2.0 */

#include "net/fragment.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/hash.h"

enum { WAYS = 4, KEY_BYTES = offsetof(Datagram, part) };

static const uint64_t lifetime_ns = UINT64_C(30000000000);
static const uint64_t patience_ns = UINT64_C(3000000000);

/* what the first fragment says of all */
typedef struct Whole {
    uint8_t src[16];
    uint8_t dst[16];
    uint16_t src_port;
    uint16_t dst_port;
    uint16_t vlan;
    uint16_t inner_vlan;
    uint8_t protocol;
    uint8_t ip_version;
    uint8_t icmp_type;
    uint8_t icmp_code;
    PacketPath path;
} Whole;

typedef struct FragmentEntry {
    Datagram key;
    uint64_t time_ns;       /* of the last fragment; 0: free */
    uint64_t waiting_since; /* 0: the first one was seen */
    uint32_t waiting;       /* the first that waits for it, and the last */
    uint32_t waiting_last;
    Whole whole;
} FragmentEntry;

/* a packet that waits; slot 0 is never used and stands for "none" */
typedef struct Slot {
    Packet packet;
    uint8_t macs[12];
    bool known;
    uint32_t next;
} Slot;

/* a datagram that began to wait, in order of time */
typedef struct Note {
    uint32_t entry;
    uint64_t since;
} Note;

struct FragmentCache {
    uint32_t sets; /* a power of two */
    uint64_t seed;
    Slot *slots;
    uint32_t n_slots;
    uint32_t fresh; /* highest slot ever used */
    uint32_t free;
    uint32_t ready; /* waits no more: the first of them, and the last */
    uint32_t ready_last;
    uint32_t taken; /* given out last, free at the next call */
    Note *notes;    /* n_slots of them, for each waiting datagram has a packet */
    uint64_t noted;
    uint64_t looked; /* at so many of them */
    FragmentHeld held;
    FragmentEntry entries[];
};

/* --- life --------------------------------------------------------------------------------- */

int fragment_cache_new(FragmentCache **cachep, uint32_t datagrams, uint32_t held, uint64_t seed) {
    uint32_t sets = 1;
    while (sets * WAYS < datagrams)
        sets *= 2;
    cleanup(fragment_cache_freep) FragmentCache *cache =
        calloc(1, sizeof(*cache) + (size_t)sets * WAYS * sizeof(FragmentEntry));
    if (!cache)
        return error_origin(-ENOMEM);
    cache->sets = sets;
    cache->seed = seed;
    cache->n_slots = held;
    cache->slots = calloc((size_t)held + 1, sizeof(*cache->slots));
    cache->notes = calloc((size_t)held + 1, sizeof(*cache->notes));
    if (!cache->slots || !cache->notes)
        return error_origin(-ENOMEM);
    *cachep = cache;
    cache = NULL;
    return 0;
}

FragmentCache *fragment_cache_free(FragmentCache *cache) {
    if (!cache)
        return NULL;
    free(cache->slots);
    free(cache->notes);
    free(cache);
    return NULL;
}

/* --- what waits --------------------------------------------------------------------------- */

static void fill_in(Packet *packet, const Whole *whole) {
    /* of a tunnel's packet the tunnel's own headers are not the flow's */
    if (whole->path.depth > packet->path.depth)
        packet->ip_bytes = packet->fragment_bytes;
    memcpy(packet->src, whole->src, 16);
    memcpy(packet->dst, whole->dst, 16);
    packet->src_port = whole->src_port;
    packet->dst_port = whole->dst_port;
    packet->vlan = whole->vlan;
    packet->inner_vlan = whole->inner_vlan;
    packet->protocol = whole->protocol;
    packet->ip_version = whole->ip_version;
    packet->icmp_type = whole->icmp_type;
    packet->icmp_code = whole->icmp_code;
    packet->path = whole->path;
}

/* those that wait for the first fragment wait no more: with what it says, or NULL */
static void release(FragmentCache *cache, FragmentEntry *entry, const Whole *whole) {
    uint32_t number = entry->waiting;
    entry->waiting = 0;
    entry->waiting_since = 0;
    while (number) {
        Slot *slot = &cache->slots[number];
        uint32_t next = slot->next;
        slot->known = whole != NULL;
        slot->next = 0;
        if (whole)
            fill_in(&slot->packet, whole);
        if (cache->ready)
            cache->slots[cache->ready_last].next = number;
        else
            cache->ready = number;
        cache->ready_last = number;
        number = next;
    }
}

/* the oldest note is looked at and forgotten */
static void look_at_note(FragmentCache *cache) {
    const Note *note = &cache->notes[cache->looked++ % (cache->n_slots + 1)];
    FragmentEntry *entry = &cache->entries[note->entry];
    if (entry->waiting_since == note->since && entry->waiting) {
        release(cache, entry, NULL);
        entry->time_ns = 0;
    }
}

void fragment_expire(FragmentCache *cache, uint64_t now_ns) {
    while (cache->looked < cache->noted) {
        uint64_t since = cache->notes[cache->looked % (cache->n_slots + 1)].since;
        if (since + patience_ns >= now_ns)
            return;
        look_at_note(cache);
    }
}

static void note_waiting(FragmentCache *cache, const FragmentEntry *entry) {
    if (cache->noted - cache->looked > cache->n_slots) /* most of them got what they wait for */
        look_at_note(cache);
    cache->notes[cache->noted++ % (cache->n_slots + 1)] =
        (Note){.entry = (uint32_t)(entry - cache->entries), .since = entry->waiting_since};
}

static uint32_t slot_new(FragmentCache *cache) {
    uint32_t number = cache->free;
    if (number)
        cache->free = cache->slots[number].next;
    else if (cache->fresh < cache->n_slots)
        number = ++cache->fresh;
    return number;
}

static int hold(FragmentCache *cache, FragmentEntry *entry, const Packet *packet) {
    uint32_t number = slot_new(cache);
    if (!number)
        return FRAGMENT_E_UNKNOWN;
    Slot *slot = &cache->slots[number];
    slot->packet = *packet;
    slot->packet.ip = slot->packet.payload = NULL;
    if (packet->macs) {
        memcpy(slot->macs, packet->macs, sizeof(slot->macs));
        slot->packet.macs = slot->macs;
    }
    slot->next = 0;
    if (entry->waiting)
        cache->slots[entry->waiting_last].next = number;
    else {
        entry->waiting_since = packet->time_ns ? packet->time_ns : 1;
        note_waiting(cache, entry);
        entry->waiting = number;
    }
    entry->waiting_last = number;
    cache->held.packets++;
    cache->held.frame_bytes += packet->frame_bytes;
    return FRAGMENT_E_HELD;
}

FragmentHeld fragment_held(const FragmentCache *cache) {
    return cache->held;
}

/* --- datagrams ---------------------------------------------------------------------------- */

static bool entry_stale(const FragmentEntry *entry, uint64_t now_ns) {
    return entry->time_ns == 0 || entry->time_ns + lifetime_ns < now_ns;
}

/* the entry of this datagram: as it was, or one made new with time 0 */
static FragmentEntry *entry_find(FragmentCache *cache, const Datagram *key, uint64_t now_ns) {
    uint64_t hash = hash_bytes(key, KEY_BYTES, cache->seed);
    FragmentEntry *set = &cache->entries[(hash & (cache->sets - 1)) * WAYS];
    FragmentEntry *oldest = &set[0];
    for (size_t i = 0; i < WAYS; i++) {
        if (!entry_stale(&set[i], now_ns) && memcmp(&set[i].key, key, KEY_BYTES) == 0)
            return &set[i];
        if (set[i].time_ns < oldest->time_ns)
            oldest = &set[i];
    }
    release(cache, oldest, NULL);
    oldest->key = *key;
    oldest->time_ns = 0;
    return oldest;
}

static void learn(FragmentCache *cache, const Datagram *key, const Packet *packet) {
    FragmentEntry *entry = entry_find(cache, key, packet->time_ns);
    entry->time_ns = packet->time_ns ? packet->time_ns : 1;
    entry->whole = (Whole){
        .src_port = packet->src_port,
        .dst_port = packet->dst_port,
        .vlan = packet->vlan,
        .inner_vlan = packet->inner_vlan,
        .protocol = packet->protocol,
        .ip_version = packet->ip_version,
        .icmp_type = packet->icmp_type,
        .icmp_code = packet->icmp_code,
        .path = packet->path,
    };
    memcpy(entry->whole.src, packet->src, 16);
    memcpy(entry->whole.dst, packet->dst, 16);
    bool late = entry->waiting && entry->waiting_since + patience_ns < packet->time_ns;
    release(cache, entry, late ? NULL : &entry->whole);
}

/* what is known of the innermost datagram is so of those around it, whose first fragment this is */
static void learn_around(FragmentCache *cache, const Packet *packet) {
    for (unsigned n = packet->n_datagrams; n-- > 0;)
        if (packet->datagrams[n].part == PACKET_FRAGMENT_FIRST)
            learn(cache, &packet->datagrams[n], packet);
}

static int look_up(FragmentCache *cache, const Datagram *key, Packet *packet) {
    FragmentEntry *entry = entry_find(cache, key, packet->time_ns);
    bool known = entry->time_ns && !entry->waiting;
    if (entry->waiting && entry->waiting_since + patience_ns < packet->time_ns)
        release(cache, entry, NULL);
    entry->time_ns = packet->time_ns ? packet->time_ns : 1;
    if (known) {
        fill_in(packet, &entry->whole);
        return 0;
    }
    int r = hold(cache, entry, packet);
    if (r != FRAGMENT_E_HELD && !entry->waiting)
        entry->time_ns = 0; /* nothing known, nothing waits */
    return r;
}

/* the last datagram is the innermost */
int fragment_resolve(FragmentCache *cache, Packet *packet) {
    const Datagram key = packet->datagrams[packet->n_datagrams - 1];
    if (key.part == PACKET_FRAGMENT_LATER) {
        int r = look_up(cache, &key, packet);
        if (r)
            return r;
    }
    learn_around(cache, packet);
    return 0;
}

bool fragment_take(FragmentCache *cache, Packet *packet, bool *knownp) {
    if (cache->taken) {
        cache->slots[cache->taken].next = cache->free;
        cache->free = cache->taken;
        cache->taken = 0;
    }
    uint32_t number = cache->ready;
    if (!number)
        return false;
    const Slot *slot = &cache->slots[number];
    *packet = slot->packet;
    *knownp = slot->known;
    cache->ready = slot->next;
    cache->taken = number;
    cache->held.packets--;
    cache->held.frame_bytes -= packet->frame_bytes;
    if (*knownp)
        learn_around(cache, packet);
    return true;
}
