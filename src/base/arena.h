#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Arena
 *
 * Memory for one unit of work (a request, a batch), released in one call. Not for sharing
 * between threads. arena_reset() keeps the first chunk, so a loop that resets once a turn settles
 * at no allocation at all.
 */

#include <stddef.h>

#include "base/cleanup.h"

typedef struct Arena Arena;

int arena_new(Arena **arenap, size_t chunk_bytes);
Arena *arena_free(Arena *arena);
void arena_reset(Arena *arena);

/* NULL only when out of memory; aligned for any type; not zeroed */
void *arena_alloc(Arena *arena, size_t size);
char *arena_strndup(Arena *arena, const char *text, size_t size);
__attribute__((format(printf, 2, 3))) char *arena_printf(Arena *arena, const char *format, ...);

/* bytes handed out since the last reset */
size_t arena_used(const Arena *arena);

DEFINE_CLEANUP(Arena *, arena_free)
