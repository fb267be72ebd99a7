#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Identity
 *
 * A batch is known everywhere by (probe key, epoch, sequence). Sequences of an epoch start at 1.
 */

#include "base/epoch.h"

enum {
    BATCH_PAYLOAD_MAX_BYTES = 61440, /* 60,000 before compression, and what zstd may add */
    DELIVERY_EPOCHS_MAX = 64,        /* announced at a time; older ones first */
};

/** PeerKey - the public key of a probe, 40 characters Z85 and a NUL */
typedef struct PeerKey {
    char z85[41];
} PeerKey;
