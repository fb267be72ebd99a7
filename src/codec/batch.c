/* SPDX-License-Identifier: Apache-2.0 */

#include "codec/batch.h"

#include <errno.h>
#include <zstd.h>

#include "base/arena.h"
#include "base/buffer.h"
#include "base/error.h"
#include "codec/ipfix.h"
#include "flow/record.h"

enum { LEVEL = 1, DOMAIN = 1 };

struct BatchCodec {
    ZSTD_CCtx *compress;
    ZSTD_DCtx *decompress;
    IpfixDecoder *decoder;
    Buffer message;
    uint32_t sequence;
};

int batch_codec_new(BatchCodec **codecp) {
    cleanup(batch_codec_freep) BatchCodec *codec = calloc(1, sizeof(*codec));
    if (!codec)
        return error_origin(-ENOMEM);
    codec->compress = ZSTD_createCCtx();
    codec->decompress = ZSTD_createDCtx();
    if (!codec->compress || !codec->decompress)
        return error_origin(-ENOMEM);
    if (ZSTD_isError(ZSTD_CCtx_setParameter(codec->compress, ZSTD_c_compressionLevel, LEVEL)) ||
        ZSTD_isError(ZSTD_CCtx_setParameter(codec->compress, ZSTD_c_checksumFlag, 1)))
        return error_origin(-EINVAL);
    int r = ipfix_decoder_new(&codec->decoder);
    if (r)
        return error_trace(r);
    ipfix_decoder_alone(codec->decoder, true);
    *codecp = codec;
    codec = NULL;
    return 0;
}

BatchCodec *batch_codec_free(BatchCodec *codec) {
    if (!codec)
        return NULL;
    (void)ZSTD_freeCCtx(codec->compress);
    (void)ZSTD_freeDCtx(codec->decompress);
    ipfix_decoder_free(codec->decoder);
    buffer_deinit(&codec->message);
    free(codec);
    return NULL;
}

static BatchCounts counts_of(const FlowRecord *records, size_t n) {
    BatchCounts sums = {.flows = n};
    for (size_t i = 0; i < n; i++) {
        sums.packets += records[i].packets + records[i].rev_packets;
        sums.octets += records[i].octets + records[i].rev_octets;
    }
    return sums;
}

int batch_encode(BatchCodec *codec, Buffer *to, const FlowRecord *records, size_t n,
                 uint64_t export_ms, size_t *takenp, BatchCounts *counts) {
    size_t taken = 0;
    buffer_clear(&codec->message);
    int r = ipfix_encode(&codec->message, records, n, &taken, DOMAIN, codec->sequence, export_ms);
    if (r)
        return error_trace(r);

    size_t bound = ZSTD_compressBound(codec->message.size);
    uint8_t *at = buffer_reserve(to, bound);
    if (!at)
        return error_origin(-ENOMEM);
    size_t size =
        ZSTD_compress2(codec->compress, at, bound, codec->message.bytes, codec->message.size);
    if (ZSTD_isError(size))
        return error_origin(-ENOMEM);
    to->size += size;
    codec->sequence += (uint32_t)taken;
    *takenp = taken;
    *counts = counts_of(records, taken);
    return 0;
}

/* a whole frame and nothing behind it, with its size and a checksum in the header */
static int frame_check(const uint8_t *bytes, size_t size, size_t *contentp) {
    enum { DESCRIPTOR = 4, CHECKSUM_FLAG = 0x04 }; /* RFC 8878 section 3.1.1.1.1 */
    unsigned long long content = ZSTD_getFrameContentSize(bytes, size);
    if (content == ZSTD_CONTENTSIZE_ERROR || content == ZSTD_CONTENTSIZE_UNKNOWN ||
        size <= DESCRIPTOR || !(bytes[DESCRIPTOR] & CHECKSUM_FLAG))
        return BATCH_E_FRAME;
    if (content > BATCH_BYTES_MAX)
        return BATCH_E_SIZE;
    if (content == 0 || ZSTD_findFrameCompressedSize(bytes, size) != size)
        return BATCH_E_FRAME;
    *contentp = (size_t)content;
    return 0;
}

int batch_decode(BatchCodec *codec, const uint8_t *bytes, size_t size, FlowBatch *out,
                 BatchCounts *counts) {
    size_t content = 0;
    int r = frame_check(bytes, size, &content);
    if (r)
        return r;
    uint8_t *message = arena_alloc(out->texts, content);
    if (!message)
        return error_origin(-ENOMEM);
    if (ZSTD_decompressDCtx(codec->decompress, message, content, bytes, size) != content)
        return BATCH_E_FRAME;

    size_t before = out->n;
    IpfixCounts read = {0};
    r = ipfix_decode_in_place(codec->decoder, message, content, out, &read);
    if (r) {
        out->n = before;
        return r > 0 ? BATCH_E_MESSAGE : error_trace(r);
    }
    *counts = (BatchCounts){.flows = read.flows, .packets = read.packets, .octets = read.octets};
    return 0;
}
