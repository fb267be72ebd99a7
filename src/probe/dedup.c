/* SPDX-License-Identifier: Apache-2.0 */

#include "probe/dedup.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/hash.h"
#include "probe/counters.h"

enum {
    WAYS = 8,
    SETS = 8192, /* a power of two; 64 Ki packets of the last 5 ms: 13 Mpps */
    MACS_BYTES = 12,
    TYPE_BYTES = 2,
    TAG_BYTES = 4,
    LOOK_BYTES = 512, /* of a packet, beside its length */
};

static const uint64_t window_ns = DEDUP_WINDOW_MS * UINT64_C(1000000);

typedef struct Seen {
    uint64_t digest;
    uint64_t time_ns;
} Seen;

struct Dedup {
    uint64_t seed;
    MetricValue *counters;
    Seen seen[SETS][WAYS];
};

int dedup_new(Dedup **dedupp, uint64_t seed, MetricValue *counters) {
    Dedup *dedup = calloc(1, sizeof(*dedup));
    if (!dedup)
        return error_origin(-ENOMEM);
    dedup->seed = seed;
    dedup->counters = counters;
    *dedupp = dedup;
    return 0;
}

Dedup *dedup_free(Dedup *dedup) {
    free(dedup);
    return NULL;
}

static bool is_tag(const uint8_t *type) {
    return (type[0] == 0x81 && type[1] == 0x00) || (type[0] == 0x88 && type[1] == 0xa8) ||
           (type[0] == 0x91 && type[1] == 0x00);
}

/* where the packet begins: behind addresses and tags, which differ between two copies */
static uint32_t packet_at(const Frame *frame) {
    if (frame->link_type != FRAME_LINK_ETHERNET)
        return 0;
    uint32_t at = MACS_BYTES;
    while (at + TAG_BYTES + TYPE_BYTES <= frame->captured_bytes && is_tag(frame->bytes + at))
        at += TAG_BYTES;
    return at < frame->captured_bytes ? at : frame->captured_bytes;
}

static uint64_t digest_of(const Dedup *dedup, const Frame *frame) {
    const uint32_t at = packet_at(frame);
    const uint32_t kernel_tag = frame->tag_type ? TAG_BYTES : 0;
    const uint32_t captured = frame->captured_bytes - at;
    const uint32_t wire = frame->wire_bytes - at - kernel_tag;
    const uint64_t bytes =
        hash_bytes(frame->bytes + at, captured < LOOK_BYTES ? captured : LOOK_BYTES, dedup->seed);
    return hash_u64(bytes, wire); /* in the seed, it would weigh as much as a bit of the packet */
}

static bool seen_before(Dedup *dedup, const Frame *frame) {
    const uint64_t digest = digest_of(dedup, frame);
    Seen *set = dedup->seen[digest & (SETS - 1)];
    Seen *oldest = set;
    for (unsigned i = 0; i < WAYS; i++) {
        const uint64_t time_ns = set[i].time_ns;
        const uint64_t apart_ns =
            time_ns > frame->time_ns ? time_ns - frame->time_ns : frame->time_ns - time_ns;
        if (set[i].digest == digest && apart_ns <= window_ns)
            return true;
        if (time_ns < oldest->time_ns)
            oldest = &set[i];
    }
    *oldest = (Seen){.digest = digest, .time_ns = frame->time_ns};
    return false;
}

size_t dedup_take(Dedup *dedup, Frame *frames, size_t n) {
    uint64_t bytes = 0;
    size_t kept = 0;
    for (size_t i = 0; i < n; i++) {
        if (seen_before(dedup, &frames[i]))
            bytes += frames[i].wire_bytes;
        else
            frames[kept++] = frames[i];
    }
    metric_add(&dedup->counters[COUNTER_PACKETS_RECEIVED], n - kept);
    metric_add(&dedup->counters[COUNTER_BYTES_RECEIVED], bytes);
    metric_add(&dedup->counters[COUNTER_PACKETS_DUPLICATE], n - kept);
    metric_add(&dedup->counters[COUNTER_BYTES_DUPLICATE], bytes);
    return kept;
}
