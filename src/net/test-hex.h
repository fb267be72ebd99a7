#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/* Frames written as hex, for tests. */

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

/* spaces in the text are ignored */
typedef struct Hex {
    uint8_t bytes[512];
    uint32_t n;
} Hex;

static inline Hex hex(const char *text) {
    Hex h = {.n = 0};
    unsigned nibbles = 0;
    for (; *text; text++) {
        if (*text == ' ')
            continue;
        unsigned v = (unsigned)(*text <= '9' ? *text - '0' : *text - 'a' + 10);
        assert(h.n < sizeof(h.bytes));
        h.bytes[h.n] = (uint8_t)((unsigned)h.bytes[h.n] << 4 | v);
        if (++nibbles % 2 == 0)
            h.n++;
    }
    assert(nibbles % 2 == 0);
    return h;
}
