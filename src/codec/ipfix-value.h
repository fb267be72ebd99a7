#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * IPFIX Values
 *
 * How values stand on the wire (RFC 7011 sections 6 and 7), for who reads records by a plan: the
 * bytes were taken off a Cursor before, many at a time.
 */

#include <endian.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/cursor.h"

static inline uint16_t ipfix_load_16(const uint8_t *p) {
    uint16_t v = 0;
    memcpy(&v, p, sizeof(v));
    return be16toh(v);
}

static inline uint32_t ipfix_load_32(const uint8_t *p) {
    uint32_t v = 0;
    memcpy(&v, p, sizeof(v));
    return be32toh(v);
}

static inline uint64_t ipfix_load_64(const uint8_t *p) {
    uint64_t v = 0;
    memcpy(&v, p, sizeof(v));
    return be64toh(v);
}

/** ipfix_load() - a number of 1 to 8 bytes */
static inline uint64_t ipfix_load(const uint8_t *p, size_t width) {
    uint64_t v = 0;
    for (size_t i = 0; i < width; i++)
        v = v << 8 | p[i];
    return v;
}

/** ipfix_store() - a number into a member of any size; one too big for it becomes the biggest */
static inline void ipfix_store(void *to, size_t size, uint64_t v) {
    if (size < 8 && v >> (8 * size))
        v = ((uint64_t)1 << (8 * size)) - 1;
    switch (size) {
    case 1:
        *(uint8_t *)to = (uint8_t)v;
        break;
    case 2:
        *(uint16_t *)to = (uint16_t)v;
        break;
    case 4:
        *(uint32_t *)to = (uint32_t)v;
        break;
    default:
        *(uint64_t *)to = v;
    }
}

/** ipfix_ntp_ms() - section 6.1.9: seconds since 1900 and their fraction */
static inline uint64_t ipfix_ntp_ms(uint64_t ntp) {
    const uint64_t epoch_s = 2208988800u; /* 1970 as seconds since 1900 */
    const uint64_t seconds = ntp >> 32;
    if (seconds < epoch_s)
        return 0;
    return (seconds - epoch_s) * 1000 + (((ntp & UINT32_MAX) * 1000) >> 32);
}

/** ipfix_take_variable() - section 7: the length in one byte, or 255 and two; NULL: cut short */
static inline const uint8_t *ipfix_take_variable(Cursor *c, size_t *sizep) {
    size_t size = cursor_u8(c);
    if (size == 255)
        size = cursor_u16(c);
    *sizep = size;
    return cursor_take(c, size);
}
