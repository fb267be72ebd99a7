/* SPDX-License-Identifier: Apache-2.0 */

#include "probe/park.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "base/error.h"

enum {
    SIZE_SHIFT = 30, /* of a number: which pool; the rest is the number there */
    WHOLE = PARK_SIZES - 1,
    ROW_PAIRS = 4,
    WORDS_MAX = PARK_STATE_MAX / sizeof(uint32_t),
    GROUPS_MAX = WORDS_MAX / 64,
};

/* what is kept: bits for groups of 64 words, then the words that are not zero */
typedef struct Packed {
    uint64_t bits[GROUPS_MAX];
    uint32_t words[WORDS_MAX];
} Packed;

/* TCP after a few packets without a name is 150 bytes */
static const size_t sizes[PARK_SIZES - 1] = {96, 152, 320};

static size_t groups_of(const Park *park) {
    return (park->state_bytes + 255) / 256;
}

static size_t head_bytes(const Park *park) {
    return groups_of(park) * sizeof(uint64_t);
}

static Pool *pool_of(Park *park, uint32_t number) {
    return &park->pools[number >> SIZE_SHIFT];
}

static uint32_t place_of(uint32_t number) {
    return number & ((UINT32_C(1) << SIZE_SHIFT) - 1);
}

int park_init(Park *park, uint32_t max, uint32_t whole, size_t state_bytes) {
    *park = (Park){.state_bytes = state_bytes, .max = max, .whole = whole};
    if (state_bytes > PARK_STATE_MAX || state_bytes % 8 != 0 || max >= PARK_MAX)
        return error_origin(-EINVAL);
    int r = 0;
    for (size_t i = 0; r == 0 && i < PARK_SIZES; i++)
        r = pool_init(&park->pools[i], max, i == WHOLE ? state_bytes : sizes[i]);
    return error_trace(r);
}

void park_deinit(Park *park) {
    for (size_t i = 0; i < PARK_SIZES; i++)
        pool_deinit(&park->pools[i]);
    *park = (Park){0};
}

/* the ones that are kept whole are not all taken */
static bool is_roomy(const Park *park) {
    return park->pools[WHOLE].used < park->whole;
}

uint32_t park_take(Park *park) {
    if (park->used == park->max)
        return 0;
    const uint32_t size = is_roomy(park) ? WHOLE : 0;
    const uint32_t place = pool_take(&park->pools[size]);
    memset(pool_at(&park->pools[size], place), 0,
           size == WHOLE ? park->state_bytes : head_bytes(park));
    park->used++;
    return size << SIZE_SHIFT | place;
}

void park_return(Park *park, uint32_t number) {
    pool_return(pool_of(park, number), place_of(number));
    park->used--;
}

void *park_load(const Park *park, uint32_t number, void *room) {
    uint8_t *from = pool_at(&park->pools[number >> SIZE_SHIFT], place_of(number));
    const uint8_t *words = from + head_bytes(park);
    uint8_t *to = room;
    if (number >> SIZE_SHIFT == WHOLE)
        return from;
    memset(to, 0, park->state_bytes);
    for (size_t group = 0; group < groups_of(park); group++) {
        uint64_t bits = 0;
        memcpy(&bits, from + group * sizeof(bits), sizeof(bits));
        for (; bits; bits &= bits - 1) {
            memcpy(to + (size_t)__builtin_ctzll(bits) * 4, words, 4);
            words += 4;
        }
        to += 256;
    }
    return room;
}

/* most stand in long rows */
static bool are_zeros(const uint8_t *from, size_t pairs) {
    uint64_t four[ROW_PAIRS] = {0};
    if (pairs < ROW_PAIRS)
        return false;
    memcpy(four, from, sizeof(four));
    return (four[0] | four[1] | four[2] | four[3]) == 0;
}

/* the bytes behind the bits that it takes */
static size_t pack(const Park *park, const uint8_t *from, Packed *to) {
    uint32_t *words = to->words;
    const size_t pairs = park->state_bytes / 8;
    memset(to->bits, 0, sizeof(to->bits));
    for (size_t i = 0; i < pairs; i++) {
        uint32_t pair[2];
        if (i % ROW_PAIRS == 0 && are_zeros(from + i * 8, pairs - i)) {
            i += ROW_PAIRS - 1;
            continue;
        }
        memcpy(pair, from + i * 8, 8);
        const uint64_t bits = (uint64_t)(pair[0] != 0) | (uint64_t)(pair[1] != 0) << 1;
        to->bits[i / 32] |= bits << i % 32 * 2;
        *words = pair[0];
        words += pair[0] != 0;
        *words = pair[1];
        words += pair[1] != 0;
    }
    return (size_t)(words - to->words) * sizeof(*words);
}

static uint32_t move(Park *park, uint32_t number, uint32_t size) {
    pool_return(pool_of(park, number), place_of(number));
    return size << SIZE_SHIFT | pool_take(&park->pools[size]); /* each has room for all */
}

static uint32_t store_packed(Park *park, uint32_t number, const void *state) {
    Packed packed;
    const size_t bytes = pack(park, state, &packed);
    uint32_t size = 0;
    while (size < WHOLE && head_bytes(park) + bytes > sizes[size])
        size++;
    if (number >> SIZE_SHIFT == WHOLE && size == WHOLE)
        return number;
    if (number >> SIZE_SHIFT != size)
        number = move(park, number, size);
    uint8_t *to = pool_at(&park->pools[size], place_of(number));
    if (size == WHOLE) {
        memcpy(to, state, park->state_bytes);
        return number;
    }
    memcpy(to, packed.bits, head_bytes(park));
    memcpy(to + head_bytes(park), packed.words, bytes);
    return number;
}

uint32_t park_store(Park *park, uint32_t number, const void *state) {
    const bool whole = number >> SIZE_SHIFT == WHOLE;
    if (whole && park->pools[WHOLE].used <= park->whole)
        return number;
    if (whole || !is_roomy(park))
        return store_packed(park, number, state);
    number = move(park, number, WHOLE);
    memcpy(pool_at(&park->pools[WHOLE], place_of(number)), state, park->state_bytes);
    return number;
}
