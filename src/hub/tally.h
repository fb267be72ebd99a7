#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Tally
 *
 * Sums of two numbers by key, of bounded size, for one second of live tables. Keys are bytes and
 * copied. When it is full, what is new is left out: the totals of the second are kept elsewhere.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"

enum { TALLY_KEY_MAX = 112 };

typedef struct Tally Tally;

typedef struct TallyEntry {
    uint8_t key[TALLY_KEY_MAX];
    uint16_t key_size;
    uint64_t a;
    uint64_t b;
} TallyEntry;

int tally_new(Tally **tallyp, size_t capacity); /* a power of two */
Tally *tally_free(Tally *tally);
void tally_clear(Tally *tally);

/** tally_add() - longer keys are cut */
void tally_add(Tally *tally, const void *key, size_t key_size, uint64_t a, uint64_t b);

/** tally_top() - the n entries with the largest a, or a + b (`both`), largest first; how many */
size_t tally_top(const Tally *tally, bool both, const TallyEntry **top, size_t n);

DEFINE_CLEANUP(Tally *, tally_free)
