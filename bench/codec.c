/* SPDX-License-Identifier: Apache-2.0 */

/* Measures the codec on realistic records: ns a flow of each step, bytes a flow on the wire. */

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/buffer.h"
#include "codec/batch.h"
#include "codec/ipfix.h"
#include "codec/sample.h"

enum { RECORDS = 20000 };

typedef struct Result {
    double encode_ns, pack_ns, unpack_ns, decode_ns; /* a flow */
    double message_bytes, batch_bytes;
} Result;

static void must(int r) {
    if (r) {
        (void)fprintf(stderr, "failed: %d\n", r);
        exit(1);
    }
}

/* of this thread, so that what else the machine does counts little */
static uint64_t cpu_ns(void) {
    struct timespec t = {0};
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* everything in batches of at most n */
static Result measure(BatchCodec *codec, IpfixDecoder *decoder, const FlowRecord *records, size_t n,
                      FlowBatch *out) {
    Result result = {0};
    uint64_t encode = 0, decode = 0, pack = 0, unpack = 0;
    Buffer message = {0};
    Buffer batch = {0};
    size_t at = 0;
    for (size_t taken = 0; at < RECORDS; at += taken) {
        size_t left = RECORDS - at < n ? RECORDS - at : n;
        BatchCounts counts = {0};
        IpfixCounts read = {0};
        buffer_clear(&message);
        buffer_clear(&batch);
        uint64_t t0 = cpu_ns();
        must(ipfix_encode(&message, records + at, left, &taken, 1, 0, 1700000000000));
        uint64_t t1 = cpu_ns();
        must(batch_encode(codec, &batch, records + at, left, 1700000000000, &taken, &counts));
        uint64_t t2 = cpu_ns();
        flow_batch_clear(out);
        must(ipfix_decode(decoder, message.bytes, message.size, out, &read));
        uint64_t t3 = cpu_ns();
        flow_batch_clear(out);
        must(batch_decode(codec, batch.bytes, batch.size, out, &counts));
        uint64_t t4 = cpu_ns();
        encode += t1 - t0;
        pack += t2 - t1;
        decode += t3 - t2;
        unpack += t4 - t3;
        result.message_bytes += (double)message.size;
        result.batch_bytes += (double)batch.size;
    }
    result.encode_ns = (double)encode / RECORDS;
    result.pack_ns = (double)pack / RECORDS;
    result.decode_ns = (double)decode / RECORDS;
    result.unpack_ns = (double)unpack / RECORDS;
    result.message_bytes /= RECORDS;
    result.batch_bytes /= RECORDS;
    buffer_deinit(&message);
    buffer_deinit(&batch);
    return result;
}

static Result best_of(BatchCodec *codec, IpfixDecoder *decoder, const FlowRecord *records, size_t n,
                      FlowBatch *out) {
    Result best = measure(codec, decoder, records, n, out);
    for (int i = 0; i < 5; i++) {
        Result r = measure(codec, decoder, records, n, out);
        best.encode_ns = r.encode_ns < best.encode_ns ? r.encode_ns : best.encode_ns;
        best.pack_ns = r.pack_ns < best.pack_ns ? r.pack_ns : best.pack_ns;
        best.decode_ns = r.decode_ns < best.decode_ns ? r.decode_ns : best.decode_ns;
        best.unpack_ns = r.unpack_ns < best.unpack_ns ? r.unpack_ns : best.unpack_ns;
    }
    return best;
}

int main(void) {
    static const char *const names[] = {"v9 fields", "v9 biflow", "all fields"};
    static const size_t sizes[] = {10, 50, 350, 5000};
    static FlowRecord records[RECORDS];
    cleanup(batch_codec_freep) BatchCodec *codec = NULL;
    cleanup(ipfix_decoder_freep) IpfixDecoder *decoder = NULL;
    cleanup(flow_batch_freep) FlowBatch *out = NULL;
    must(batch_codec_new(&codec));
    must(ipfix_decoder_new(&decoder));
    must(flow_batch_new(&out, 2048));
    (void)printf("%-10s %5s  %8s %8s %8s %8s  %8s %8s   (a flow)\n", "", "flows", "encode", "+zstd",
                 "unzstd+", "decode", "message", "batch");
    for (size_t kind = 0; kind < sizeof(names) / sizeof(names[0]); kind++) {
        Sample sample = {.state = 42, .now_ms = 1700000000000};
        for (size_t i = 0; i < RECORDS; i++)
            records[i] = sample_realistic(&sample, (SampleKind)kind);
        for (size_t k = 0; k < sizeof(sizes) / sizeof(sizes[0]); k++) {
            Result r = best_of(codec, decoder, records, sizes[k], out);
            (void)printf("%-10s %5zu  %5.0f ns %5.0f ns %5.0f ns %5.0f ns  %6.1f B %6.1f B\n",
                         names[kind], sizes[k], r.encode_ns, r.pack_ns, r.unpack_ns, r.decode_ns,
                         r.message_bytes, r.batch_bytes);
        }
    }
    return 0;
}
