#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Batches
 *
 * What a probe spools and sends: one IPFIX message with templates of its own in one zstd frame
 * that carries its size and a checksum. A codec keeps its contexts, so that nothing is allocated
 * once it is warm. One codec a thread; it codes and decodes.
 */

#include <stddef.h>
#include <stdint.h>

#include "base/batch_counts.h"
#include "base/cleanup.h"

typedef struct BatchCodec BatchCodec;
typedef struct Buffer Buffer;
typedef struct FlowBatch FlowBatch;
typedef struct FlowRecord FlowRecord;

enum {
    BATCH_BYTES_MAX = 65535, /* of the message inside a frame that is read */
};

/* answers of batch_decode() */
enum {
    _BATCH_E_SUCCESS,
    BATCH_E_FRAME,   /* not one whole zstd frame with size and checksum, or damaged */
    BATCH_E_SIZE,    /* more than BATCH_BYTES_MAX inside */
    BATCH_E_MESSAGE, /* not a sound IPFIX message with its own templates */
};

int batch_codec_new(BatchCodec **codecp);
BatchCodec *batch_codec_free(BatchCodec *codec);

/**
 * batch_encode() - append one batch with the first records, as many as fit
 * @takenp: how many that were; call again for the rest
 * @counts: of these, both directions
 *
 * The batch is numbered by the codec: domain 1, sequence the flows coded before. Returns 0, or a
 * fatal error.
 */
int batch_encode(BatchCodec *codec, Buffer *to, const FlowRecord *records, size_t n,
                 uint64_t export_ms, size_t *takenp, BatchCounts *counts);

/**
 * batch_decode() - add the records of one batch to out
 *
 * All or nothing: after an answer out is as it was. Texts live in the arena of out. Returns 0, an
 * answer, or a fatal error.
 */
int batch_decode(BatchCodec *codec, const uint8_t *bytes, size_t size, FlowBatch *out,
                 BatchCounts *counts);

DEFINE_CLEANUP(BatchCodec *, batch_codec_free)
