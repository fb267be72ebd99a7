/* SPDX-License-Identifier: Apache-2.0 */

#include "base/buffer.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void buffer_deinit(Buffer *buffer) {
    free(buffer->bytes);
    *buffer = (Buffer){0};
}

void buffer_clear(Buffer *buffer) {
    buffer->size = 0;
    buffer->failed = false;
}

uint8_t *buffer_reserve(Buffer *buffer, size_t n) {
    if (buffer->failed || n > SIZE_MAX / 4) {
        buffer->failed = true;
        return NULL;
    }
    /* one byte is always left for the NUL of buffer_text() */
    if (buffer->capacity - buffer->size < n + 1 || !buffer->bytes) {
        size_t capacity = buffer->capacity ? buffer->capacity : 256;
        while (capacity - buffer->size < n + 1)
            capacity *= 2;
        uint8_t *bytes = realloc(buffer->bytes, capacity);
        if (!bytes) {
            buffer->failed = true;
            return NULL;
        }
        buffer->bytes = bytes;
        buffer->capacity = capacity;
    }
    return buffer->bytes + buffer->size;
}

void buffer_put(Buffer *buffer, const void *bytes, size_t n) {
    if (!n)
        return;
    uint8_t *p = buffer_reserve(buffer, n);
    if (!p)
        return;
    memcpy(p, bytes, n);
    buffer->size += n;
}

void buffer_put_text(Buffer *buffer, const char *text) {
    buffer_put(buffer, text, strlen(text));
}

void buffer_printf(Buffer *buffer, const char *format, ...) {
    va_list ap;
    va_start(ap, format);
    int n = vsnprintf(NULL, 0, format, ap);
    va_end(ap);
    uint8_t *p = n < 0 ? NULL : buffer_reserve(buffer, (size_t)n + 1);
    if (!p) {
        buffer->failed = true;
        return;
    }
    va_start(ap, format);
    (void)vsnprintf((char *)p, (size_t)n + 1, format, ap);
    va_end(ap);
    buffer->size += (size_t)n;
}

static void put_uint(Buffer *buffer, uint64_t v, size_t n) {
    uint8_t *p = buffer_reserve(buffer, n);
    if (!p)
        return;
    for (size_t i = 0; i < n; i++)
        p[i] = (uint8_t)(v >> (8 * (n - 1 - i)));
    buffer->size += n;
}

void buffer_put_u8(Buffer *buffer, uint8_t v) {
    put_uint(buffer, v, 1);
}

void buffer_put_u16(Buffer *buffer, uint16_t v) {
    put_uint(buffer, v, 2);
}

void buffer_put_u32(Buffer *buffer, uint32_t v) {
    put_uint(buffer, v, 4);
}

void buffer_put_u64(Buffer *buffer, uint64_t v) {
    put_uint(buffer, v, 8);
}

void buffer_patch_u16(Buffer *buffer, size_t offset, uint16_t v) {
    if (buffer->failed || offset + 2 > buffer->size)
        return;
    buffer->bytes[offset] = (uint8_t)(v >> 8);
    buffer->bytes[offset + 1] = (uint8_t)v;
}

const char *buffer_text(Buffer *buffer) {
    if (!buffer->bytes)
        return "";
    buffer->bytes[buffer->size] = 0;
    return (const char *)buffer->bytes;
}
