/* SPDX-License-Identifier: Apache-2.0 */

/* Input: a datagram of sFlow v5, its version set right. */

#include "collect/fuzz-inside.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    return fuzz_version("\0\0\0\x05", 4, data, size);
}
