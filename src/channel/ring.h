#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Growing a ring whose capacity is a power of two. Internal to the layer.
 */

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"

/** ring_grow() - room for one more; `first` is the capacity of a new one. The head becomes 0 when
 * it grows */
static inline int ring_grow(void *ringp, size_t *headp, size_t n, size_t *capacityp, size_t size,
                            size_t first) {
    char *old = *(void **)ringp;
    if (n < *capacityp)
        return 0;
    const size_t capacity = *capacityp ? *capacityp * 2 : first;
    char *ring = malloc(capacity * size);
    if (!ring)
        return error_origin(-ENOMEM);
    const size_t tail = n ? *capacityp - *headp : 0;
    if (n) {
        memcpy(ring, old + *headp * size, tail * size);
        memcpy(ring + tail * size, old, *headp * size);
    }
    free(old);
    *(void **)ringp = ring;
    *capacityp = capacity;
    *headp = 0;
    return 0;
}
