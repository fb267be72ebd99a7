/* SPDX-License-Identifier: Apache-2.0 */

/* Any bytes as a batch. */

#include <stdlib.h>

#include "codec/batch.h"
#include "flow/record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static BatchCodec *codec;
    static FlowBatch *out;
    if (!codec && (batch_codec_new(&codec) || flow_batch_new(&out, 16)))
        abort();
    BatchCounts counts = {0};
    flow_batch_clear(out);
    int r = batch_decode(codec, data, size, out, &counts);
    if (r < 0 || counts.flows != out->n)
        abort();
    return 0;
}
