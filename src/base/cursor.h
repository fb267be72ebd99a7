#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Cursor
 *
 * The only way to read bytes that came off a wire. A read past the end sets `failed`, returns
 * zero and moves nothing; every later read does the same, so a parser reads a whole header in
 * diagram order and checks `failed` once. Integers are big endian unless the name says le.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef struct Cursor {
    const uint8_t *at;
    const uint8_t *end;
    bool failed;
} Cursor;

static inline Cursor cursor_make(const void *bytes, size_t size) {
    return (Cursor){.at = bytes, .end = bytes ? (const uint8_t *)bytes + size : NULL};
}

static inline size_t cursor_left(const Cursor *c) {
    return c->failed ? 0 : (size_t)(c->end - c->at);
}

/** cursor_take() - the next n bytes, or NULL */
static inline const uint8_t *cursor_take(Cursor *c, size_t n) {
    if (c->failed || (size_t)(c->end - c->at) < n) {
        c->failed = true;
        return NULL;
    }
    const uint8_t *p = c->at;
    c->at += n;
    return p;
}

/** cursor_peek() - the next n bytes without moving, or NULL without failing */
static inline const uint8_t *cursor_peek(const Cursor *c, size_t n) {
    return cursor_left(c) < n ? NULL : c->at;
}

static inline void cursor_skip(Cursor *c, size_t n) {
    (void)cursor_take(c, n);
}

/** cursor_sub() - a cursor over the next n bytes, which this one then stands behind */
static inline Cursor cursor_sub(Cursor *c, size_t n) {
    const uint8_t *p = cursor_take(c, n);
    if (!p)
        return (Cursor){.at = c->end, .end = c->end, .failed = true};
    return (Cursor){.at = p, .end = p + n};
}

static inline uint8_t cursor_u8(Cursor *c) {
    const uint8_t *p = cursor_take(c, 1);
    return p ? p[0] : 0;
}

static inline uint16_t cursor_u16(Cursor *c) {
    const uint8_t *p = cursor_take(c, 2);
    return p ? (uint16_t)((p[0] << 8) | p[1]) : 0;
}

static inline uint32_t cursor_u32(Cursor *c) {
    const uint8_t *p = cursor_take(c, 4);
    return p ? ((uint32_t)p[0] << 24) | ((uint32_t)p[1] << 16) | ((uint32_t)p[2] << 8) | p[3] : 0;
}

static inline uint64_t cursor_u64(Cursor *c) {
    const uint8_t *p = cursor_take(c, 8);
    uint64_t v = 0;
    for (size_t i = 0; p && i < 8; i++)
        v = (v << 8) | p[i];
    return v;
}

/** cursor_uint() - an unsigned integer of 1 to 8 bytes (RFC 7011 reduced-size encoding) */
static inline uint64_t cursor_uint(Cursor *c, size_t n) {
    if (n > 8)
        c->failed = true;
    const uint8_t *p = cursor_take(c, n);
    uint64_t v = 0;
    for (size_t i = 0; p && i < n; i++)
        v = (v << 8) | p[i];
    return v;
}

static inline void cursor_copy(Cursor *c, void *to, size_t n) {
    const uint8_t *p = cursor_take(c, n);
    if (p)
        memcpy(to, p, n);
}
