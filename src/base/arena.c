/* SPDX-License-Identifier: Apache-2.0 */

#include "base/arena.h"

#include <errno.h>
#include <stdalign.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"

typedef struct Chunk Chunk;

struct Chunk {
    Chunk *next;
    size_t size;
    size_t used;
    alignas(max_align_t) unsigned char bytes[];
};

struct Arena {
    Chunk *chunks; /* newest first; the last one is kept over a reset */
    size_t chunk_bytes;
    size_t used;
};

static Chunk *chunk_new(size_t size) {
    Chunk *chunk = malloc(sizeof(*chunk) + size);
    if (chunk)
        *chunk = (Chunk){.size = size};
    return chunk;
}

int arena_new(Arena **arenap, size_t chunk_bytes) {
    cleanup(arena_freep) Arena *arena = calloc(1, sizeof(*arena));
    if (!arena)
        return error_origin(-ENOMEM);
    arena->chunk_bytes = chunk_bytes;
    arena->chunks = chunk_new(chunk_bytes);
    if (!arena->chunks)
        return error_origin(-ENOMEM);
    *arenap = arena;
    arena = NULL;
    return 0;
}

Arena *arena_free(Arena *arena) {
    if (!arena)
        return NULL;
    for (Chunk *chunk = arena->chunks; chunk;) {
        Chunk *next = chunk->next;
        free(chunk);
        chunk = next;
    }
    free(arena);
    return NULL;
}

void arena_reset(Arena *arena) {
    while (arena->chunks->next) {
        Chunk *next = arena->chunks->next;
        free(arena->chunks);
        arena->chunks = next;
    }
    arena->chunks->used = 0;
    arena->used = 0;
}

void *arena_alloc(Arena *arena, size_t size) {
    const size_t align = alignof(max_align_t);
    if (size > SIZE_MAX / 2)
        return NULL;
    size = (size + align - 1) & ~(align - 1);

    Chunk *chunk = arena->chunks;
    if (chunk->size - chunk->used < size) {
        chunk = chunk_new(size > arena->chunk_bytes ? size : arena->chunk_bytes);
        if (!chunk)
            return NULL;
        chunk->next = arena->chunks;
        arena->chunks = chunk;
    }
    void *p = chunk->bytes + chunk->used;
    chunk->used += size;
    arena->used += size;
    return p;
}

char *arena_strndup(Arena *arena, const char *text, size_t size) {
    char *copy = arena_alloc(arena, size + 1);
    if (!copy)
        return NULL;
    memcpy(copy, text, size);
    copy[size] = 0;
    return copy;
}

char *arena_printf(Arena *arena, const char *format, ...) {
    va_list ap;
    va_start(ap, format);
    int n = vsnprintf(NULL, 0, format, ap);
    va_end(ap);
    if (n < 0)
        return NULL;
    char *text = arena_alloc(arena, (size_t)n + 1);
    if (!text)
        return NULL;
    va_start(ap, format);
    (void)vsnprintf(text, (size_t)n + 1, format, ap);
    va_end(ap);
    return text;
}

size_t arena_used(const Arena *arena) {
    return arena->used;
}
