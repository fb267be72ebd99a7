/* SPDX-License-Identifier: Apache-2.0 */

/* Input: a datagram of NetFlow v7, its version set right. */

#include "collect/fuzz-inside.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    return fuzz_version("\0\x07", 2, data, size);
}
