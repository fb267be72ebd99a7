/* SPDX-License-Identifier: Apache-2.0 */

#include "probe/pool.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "base/error.h"

static size_t pool_bytes(const Pool *pool) {
    return ((size_t)pool->capacity + 1) * pool->item_bytes;
}

int pool_init(Pool *pool, uint32_t capacity, size_t item_bytes) {
    *pool = (Pool){.item_bytes = item_bytes, .capacity = capacity};
    void *items = mmap(NULL, pool_bytes(pool), PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (items == MAP_FAILED)
        return error_origin(-errno);
    (void)madvise(items, pool_bytes(pool), MADV_HUGEPAGE); /* fewer TLB misses; not needed */
    pool->items = items;
    return 0;
}

void pool_deinit(Pool *pool) {
    if (pool->items)
        (void)munmap(pool->items, pool_bytes(pool));
    *pool = (Pool){0};
}

uint32_t pool_take(Pool *pool) {
    uint32_t number = pool->free;
    if (number)
        memcpy(&pool->free, pool_at(pool, number), sizeof(pool->free));
    else if (pool->fresh < pool->capacity)
        number = ++pool->fresh;
    else
        return 0;
    pool->used++;
    return number;
}

void pool_return(Pool *pool, uint32_t number) {
    memcpy(pool_at(pool, number), &pool->free, sizeof(pool->free));
    pool->free = number;
    pool->used--;
}
