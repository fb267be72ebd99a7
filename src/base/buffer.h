#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Buffer
 *
 * Growable bytes with one owner. Running out of memory is sticky like a cursor's failure: writes
 * after it do nothing and `failed` is checked once at the end. Embedded by value; integers are
 * written big endian.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct Buffer {
    uint8_t *bytes;
    size_t size; /* bytes written */
    size_t capacity;
    bool failed;
} Buffer;

void buffer_deinit(Buffer *buffer);
void buffer_clear(Buffer *buffer); /* size 0, memory kept, failure forgotten */

/** buffer_reserve() - room for n more bytes, which the caller fills and adds to size; or NULL */
uint8_t *buffer_reserve(Buffer *buffer, size_t n);

void buffer_put(Buffer *buffer, const void *bytes, size_t n);
void buffer_put_text(Buffer *buffer, const char *text);
__attribute__((format(printf, 2, 3))) void buffer_printf(Buffer *buffer, const char *format, ...);
void buffer_put_u8(Buffer *buffer, uint8_t v);
void buffer_put_u16(Buffer *buffer, uint16_t v);
void buffer_put_u32(Buffer *buffer, uint32_t v);
void buffer_put_u64(Buffer *buffer, uint64_t v);

/** buffer_patch_u16() - overwrite two bytes already written, for lengths known later */
void buffer_patch_u16(Buffer *buffer, size_t offset, uint16_t v);

/** buffer_text() - the bytes as a C string (a NUL is kept behind them), "" when empty */
const char *buffer_text(Buffer *buffer);
