/* SPDX-License-Identifier: Apache-2.0 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "base/buffer.h"
#include "codec/batch.h"
#include "codec/ipfix.h"
#include "codec/sample.h"

enum { N = 900 };

typedef struct Fixture {
    BatchCodec *codec;
    FlowBatch *out;
    Buffer batch;
    FlowRecord records[N];
} Fixture;

static int set_up(void **state) {
    Fixture *f = calloc(1, sizeof(*f));
    if (!f || batch_codec_new(&f->codec) || flow_batch_new(&f->out, 4))
        return -1;
    Sample sample = {.state = 3, .now_ms = 1700000000000};
    for (size_t i = 0; i < N; i++)
        f->records[i] = sample_realistic(&sample, SAMPLE_ALL);
    *state = f;
    return 0;
}

static int tear_down(void **state) {
    Fixture *f = *state;
    batch_codec_free(f->codec);
    flow_batch_free(f->out);
    buffer_deinit(&f->batch);
    free(f);
    return 0;
}

static void encode(Fixture *f, size_t n, size_t *takenp, BatchCounts *counts) {
    buffer_clear(&f->batch);
    assert_int_equal(
        batch_encode(f->codec, &f->batch, f->records, n, 1700000000000, takenp, counts), 0);
}

static void test_counts_agree(void **state) {
    Fixture *f = *state;
    size_t taken = 0;
    BatchCounts sent = {0};
    BatchCounts got = {0};
    encode(f, N, &taken, &sent);
    assert_int_equal(sent.flows, taken);
    assert_int_equal(batch_decode(f->codec, f->batch.bytes, f->batch.size, f->out, &got), 0);
    assert_memory_equal(&sent, &got, sizeof(sent));
    assert_int_equal(f->out->n, taken);
    uint64_t packets = 0;
    for (size_t i = 0; i < taken; i++)
        packets += f->records[i].packets + f->records[i].rev_packets;
    assert_true(packets == got.packets);
}

static void test_batches_add_up_in_one_flow_batch(void **state) {
    Fixture *f = *state;
    BatchCounts counts = {0};
    size_t at = 0;
    for (size_t taken = 0; at < N; at += taken) {
        buffer_clear(&f->batch);
        assert_int_equal(
            batch_encode(f->codec, &f->batch, f->records + at, N - at, 0, &taken, &counts), 0);
        assert_int_equal(batch_decode(f->codec, f->batch.bytes, f->batch.size, f->out, &counts), 0);
    }
    assert_int_equal(f->out->n, N);
    /* texts of the first batch still stand after the later ones */
    size_t names = 0;
    for (size_t i = 0; i < N; i++) {
        assert_true(f->out->records[i].app_name.size > 0);
        assert_non_null(memchr("TDQHNSIUM", f->out->records[i].app_name.text[0], 9));
        names += f->out->records[i].server_name.size > 0;
    }
    assert_true(names > N / 2);
}

static void test_small_beside_the_promise(void **state) {
    Fixture *f = *state;
    size_t taken = 0;
    BatchCounts counts = {0};
    encode(f, N, &taken, &counts);
    assert_true((double)f->batch.size / (double)taken <= 66); /* all fields */
    Sample sample = {.state = 3, .now_ms = 1700000000000};
    for (size_t i = 0; i < N; i++)
        f->records[i] = sample_realistic(&sample, SAMPLE_V9);
    encode(f, N, &taken, &counts);
    assert_true((double)f->batch.size / (double)taken <= 26);
}

static void assert_refused(Fixture *f, const uint8_t *bytes, size_t size, int answer) {
    uint8_t *copy = malloc(size ? size : 1); /* exact, so that a sanitizer sees a read past it */
    assert_non_null(copy);
    if (size)
        memcpy(copy, bytes, size);
    BatchCounts counts = {.flows = 77};
    int r = batch_decode(f->codec, copy, size, f->out, &counts);
    free(copy);
    assert_int_equal(r, answer);
    assert_int_equal(f->out->n, 1); /* untouched */
    assert_int_equal(counts.flows, 77);
}

static void test_damage_is_refused_whole(void **state) {
    Fixture *f = *state;
    size_t taken = 0;
    BatchCounts counts = {0};
    encode(f, 30, &taken, &counts);
    assert_non_null(flow_batch_add(f->out));
    for (size_t size = 0; size < f->batch.size; size++)
        assert_refused(f, f->batch.bytes, size, BATCH_E_FRAME);
    /* a few bits of a frame say nothing (the checksum is of the content): what went in comes out */
    size_t taken_anyway = 0;
    for (size_t i = 0; i < 8 * f->batch.size; i++) {
        f->batch.bytes[i / 8] ^= (uint8_t)(1 << i % 8);
        BatchCounts got = {0};
        int r = batch_decode(f->codec, f->batch.bytes, f->batch.size, f->out, &got);
        assert_in_range(r, 0, BATCH_E_MESSAGE);
        if (r == 0) {
            assert_memory_equal(&got, &counts, sizeof(got));
            f->out->n = 1;
            taken_anyway++;
        }
        assert_int_equal(f->out->n, 1);
        f->batch.bytes[i / 8] ^= (uint8_t)(1 << i % 8);
    }
    assert_in_range(taken_anyway, 0, 8 * f->batch.size / 100);
    buffer_put(&f->batch, "x", 1); /* something behind the frame */
    assert_refused(f, f->batch.bytes, f->batch.size, BATCH_E_FRAME);
}

/* a frame as we do not make them */
static size_t frame(uint8_t *to, size_t room, const void *from, size_t size, int checksum,
                    int content_size) {
    ZSTD_CCtx *context = ZSTD_createCCtx();
    assert_non_null(context);
    (void)ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, checksum);
    (void)ZSTD_CCtx_setParameter(context, ZSTD_c_contentSizeFlag, content_size);
    size_t n = ZSTD_compress2(context, to, room, from, size);
    (void)ZSTD_freeCCtx(context);
    assert_false(ZSTD_isError(n));
    return n;
}

static void test_foreign_frames_are_refused(void **state) {
    Fixture *f = *state;
    assert_non_null(flow_batch_add(f->out));
    size_t taken = 0;
    Buffer message = {0};
    assert_int_equal(ipfix_encode(&message, f->records, 10, &taken, 1, 0, 0), 0);
    static uint8_t bytes[1 << 20];
    static uint8_t zeros[1 << 20];
    size_t n = frame(bytes, sizeof(bytes), message.bytes, message.size, 0, 1);
    assert_refused(f, bytes, n, BATCH_E_FRAME); /* no checksum */
    n = frame(bytes, sizeof(bytes), message.bytes, message.size, 1, 0);
    assert_refused(f, bytes, n, BATCH_E_FRAME); /* no size */
    n = frame(bytes, sizeof(bytes), zeros, sizeof(zeros), 1, 1);
    assert_refused(f, bytes, n, BATCH_E_SIZE); /* a bomb */
    n = frame(bytes, sizeof(bytes), zeros, 100, 1, 1);
    assert_refused(f, bytes, n, BATCH_E_MESSAGE);
    n = frame(bytes, sizeof(bytes), message.bytes, message.size - 1, 1, 1);
    assert_refused(f, bytes, n, BATCH_E_MESSAGE);
    assert_refused(f, (const uint8_t *)"\x50\x2a\x4d\x18\x02\0\0\0ab", 10, BATCH_E_FRAME);

    n = frame(bytes, sizeof(bytes), message.bytes, message.size, 1, 1);
    BatchCounts counts = {0};
    assert_int_equal(batch_decode(f->codec, bytes, n, f->out, &counts), 0);
    assert_int_equal(f->out->n, 11);
    buffer_deinit(&message);
}

int main(void) {
#define FIXTURE_TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        FIXTURE_TEST(test_counts_agree),
        FIXTURE_TEST(test_batches_add_up_in_one_flow_batch),
        FIXTURE_TEST(test_small_beside_the_promise),
        FIXTURE_TEST(test_damage_is_refused_whole),
        FIXTURE_TEST(test_foreign_frames_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
