#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Pool
 *
 * Items of one size in one stretch of address space, named by a number. Memory is asked for once;
 * the kernel gives pages as they are touched, lowest first, so what is never used costs nothing.
 * Taking and returning cost a few instructions. One thread. Item 0 is never given out and stands
 * for "none".
 */

#include <stddef.h>
#include <stdint.h>

typedef struct Pool {
    uint8_t *items;
    size_t item_bytes;
    uint32_t capacity; /* highest number given out */
    uint32_t used;     /* items out now */
    uint32_t fresh;    /* highest number ever given out */
    uint32_t free;     /* head of the returned ones, linked through their first bytes */
} Pool;

int pool_init(Pool *pool, uint32_t capacity, size_t item_bytes);
void pool_deinit(Pool *pool);

static inline void *pool_at(const Pool *pool, uint32_t number) {
    return pool->items + (size_t)number * pool->item_bytes;
}

/** pool_take() - an item with whatever bytes it last had, or 0 when all are out */
uint32_t pool_take(Pool *pool);
void pool_return(Pool *pool, uint32_t number);
