/* SPDX-License-Identifier: Apache-2.0 */

/* Any bytes as two messages to one decoder; what was read must survive our own encoder. */

#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "codec/ipfix.h"
#include "flow/record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* the length put right, so that not every change of size ends at the header */
static void decode(IpfixDecoder *decoder, const uint8_t *bytes, size_t size, FlowBatch *out) {
    uint8_t *copy = malloc(size ? size : 1);
    if (!copy)
        return;
    if (size)
        memcpy(copy, bytes, size);
    if (size >= 4 && size <= UINT16_MAX) {
        copy[2] = (uint8_t)(size >> 8);
        copy[3] = (uint8_t)size;
    }
    IpfixCounts counts = {0};
    size_t before = out->n;
    int r = ipfix_decode(decoder, copy, size, out, &counts);
    free(copy);
    if (r < 0 || counts.flows != out->n - before)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static IpfixDecoder *decoder;
    static FlowBatch *out;
    if (!decoder && (ipfix_decoder_new(&decoder) || flow_batch_new(&out, 16)))
        abort();
    ipfix_decoder_forget(decoder);
    flow_batch_clear(out);
    ipfix_decoder_alone(decoder, size % 2);
    size_t split = size > 300 ? size / 2 : size;
    decode(decoder, data, split, out);
    decode(decoder, data + split, size - split, out);
    decode(decoder, data, size, out);

    Buffer message = {0};
    size_t n = out->n;
    for (size_t at = 0, taken = 0; at < n; at += taken) {
        buffer_clear(&message);
        size_t before = out->n;
        if (ipfix_encode(&message, out->records + at, n - at, &taken, 1, 0, 0) || taken == 0)
            abort();
        decode(decoder, message.bytes, message.size, out);
        if (out->n != before + taken)
            abort();
    }
    buffer_deinit(&message);
    return 0;
}
