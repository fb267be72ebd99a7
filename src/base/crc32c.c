/* SPDX-License-Identifier: Apache-2.0 */

#include "base/crc32c.h"

#include <pthread.h>
#include <string.h>

static uint32_t table[8][256];
static pthread_once_t table_once = PTHREAD_ONCE_INIT;

static void fill_table(void) {
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t c = i;
        for (int bit = 0; bit < 8; bit++)
            c = (c >> 1) ^ ((c & 1) ? 0x82f63b78u : 0); /* the polynomial, bits reversed */
        table[0][i] = c;
    }
    for (uint32_t i = 0; i < 256; i++)
        for (size_t k = 1; k < 8; k++)
            table[k][i] = (table[k - 1][i] >> 8) ^ table[0][table[k - 1][i] & 0xff];
}

uint32_t crc32c_portable(uint32_t crc, const void *bytes, size_t size) {
    (void)pthread_once(&table_once, fill_table);
    const uint8_t *p = bytes;
    uint32_t c = ~crc;
    for (; size >= 8; size -= 8, p += 8)
        c = table[7][(c ^ p[0]) & 0xff] ^ table[6][((c >> 8) ^ p[1]) & 0xff] ^
            table[5][((c >> 16) ^ p[2]) & 0xff] ^ table[4][((c >> 24) ^ p[3]) & 0xff] ^
            table[3][p[4]] ^ table[2][p[5]] ^ table[1][p[6]] ^ table[0][p[7]];
    for (; size; size--, p++)
        c = (c >> 8) ^ table[0][(c ^ *p) & 0xff];
    return ~c;
}

#if defined(__x86_64__)
/*
 * The instruction gives its answer three cycles later, so three stretches are worked on at a time.
 * What the first two came to is then moved on over as many zeros as lie behind them: linear, so a
 * table for each byte of the register does it.
 */
enum { STRETCH = 2048, STRETCHES = 3 };

static uint32_t shift[4][256]; /* over STRETCH zeros */
static pthread_once_t shift_once = PTHREAD_ONCE_INIT;

__attribute__((target("sse4.2"))) static void fill_shift(void) {
    uint32_t bits[32];
    for (size_t bit = 0; bit < 32; bit++) {
        uint64_t c = UINT32_C(1) << bit;
        for (size_t i = 0; i < STRETCH / 8; i++)
            c = __builtin_ia32_crc32di(c, 0);
        bits[bit] = (uint32_t)c;
    }
    for (size_t k = 0; k < 4; k++)
        for (size_t i = 0; i < 256; i++)
            for (size_t bit = 0; bit < 8; bit++)
                shift[k][i] ^= i >> bit & 1 ? bits[8 * k + bit] : 0;
}

static uint64_t shifted(uint64_t c) {
    return shift[0][c & 0xff] ^ shift[1][c >> 8 & 0xff] ^ shift[2][c >> 16 & 0xff] ^
           shift[3][c >> 24 & 0xff];
}

static uint64_t word_at(const uint8_t *p) {
    uint64_t word;
    memcpy(&word, p, 8);
    return word;
}

__attribute__((target("sse4.2"))) static uint32_t by_instruction(uint32_t crc, const uint8_t *p,
                                                                 size_t size) {
    uint64_t c = ~crc;
    if (size >= (size_t)STRETCHES * STRETCH)
        (void)pthread_once(&shift_once, fill_shift);
    for (; size >= (size_t)STRETCHES * STRETCH; size -= (size_t)STRETCHES * STRETCH) {
        uint64_t second = 0;
        uint64_t third = 0;
        for (const uint8_t *end = p + STRETCH; p < end; p += 8) {
            c = __builtin_ia32_crc32di(c, word_at(p));
            second = __builtin_ia32_crc32di(second, word_at(p + STRETCH));
            third = __builtin_ia32_crc32di(third, word_at(p + (size_t)2 * STRETCH));
        }
        p += (size_t)2 * STRETCH;
        c = shifted(shifted(c) ^ second) ^ third;
    }
    for (; size >= 8; size -= 8, p += 8)
        c = __builtin_ia32_crc32di(c, word_at(p));
    for (; size; size--, p++)
        c = __builtin_ia32_crc32qi((uint32_t)c, *p);
    return ~(uint32_t)c;
}
#endif

uint32_t crc32c(uint32_t crc, const void *bytes, size_t size) {
#if defined(__x86_64__)
    if (__builtin_cpu_supports("sse4.2"))
        return by_instruction(crc, bytes, size);
#endif
    return crc32c_portable(crc, bytes, size);
}
