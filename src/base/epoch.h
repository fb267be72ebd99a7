#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Epochs
 *
 * A batch is known everywhere by (probe key, epoch, sequence). Sequences of an epoch start at 1.
 */

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/** EpochId - one writer's run: 128 random bits, never reopened */
typedef struct EpochId {
    uint8_t bytes[16];
} EpochId;

static inline bool epoch_equal(const EpochId *a, const EpochId *b) {
    return memcmp(a->bytes, b->bytes, sizeof(a->bytes)) == 0;
}
