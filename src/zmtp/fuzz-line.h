#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Fuzz Line
 *
 * What the fuzz targets of ZMTP share: a line with its host, of which everything that can be seen
 * from outside is written down. Randomness begins the same each time, so that what was found can
 * be found again, and that the same bytes in other pieces have to come to the same.
 */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/cursor.h"
#include "zmtp/client.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct Fuzzed {
    CurveKeys keys;
    CurveJar jar;
    Buffer out, told; /* what is sent, and what the callbacks were given */
    ZmtpHost host;
    ZmtpLine line;
    ZmtpFault fault;
    Client client;
    bool refuses;
    unsigned n_up;
} Fuzzed;

static void must(bool good) {
    if (!good)
        abort();
}

/* ---------------------------------------------------------------------------------- randomness */

static uint64_t fuzz_random;

static uint32_t fuzz_next(void) {
    fuzz_random = fuzz_random * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(fuzz_random >> 32);
}

static void fuzz_fill(void *const to, const size_t size) {
    for (size_t i = 0; i < size; i++)
        ((uint8_t *)to)[i] = (uint8_t)fuzz_next();
}

static const char *fuzz_name(void) {
    return "the same each time";
}

static void fuzz_begin(void) {
    static randombytes_implementation implementation = {
        .implementation_name = fuzz_name, .random = fuzz_next, .buf = fuzz_fill};
    static bool begun;
    if (!begun)
        must(randombytes_set_implementation(&implementation) == 0 && sodium_init() >= 0);
    begun = true;
    fuzz_random = 1;
}

/* ---------------------------------------------------------------------------------- the line */

static bool fuzz_admits(void *userdata, const uint8_t key[CURVE_KEY_BYTES]) {
    const Fuzzed *fuzzed = userdata;
    must(memcmp(key, fuzzed->client.keys[0], CURVE_KEY_BYTES) == 0); /* it has shown to hold it */
    return !fuzzed->refuses;
}

static void fuzz_on_up(void *userdata, ZmtpLine *line) {
    Fuzzed *fuzzed = userdata;
    must(line == &fuzzed->line && line->state == ZMTP_UP);
    fuzzed->n_up++;
}

static void fuzz_on_message(void *userdata, ZmtpLine *line, const ZmtpMessage *message) {
    Fuzzed *fuzzed = userdata;
    must(line == &fuzzed->line && fuzzed->host.kind == ZMTP_SUB);
    must(message->n_parts >= 1 && message->n_parts <= ZMTP_PARTS_MAX + 1);
    buffer_put_u8(&fuzzed->told, (uint8_t)message->n_parts);
    buffer_put_u32(&fuzzed->told, (uint32_t)message->first_size);
    buffer_put(&fuzzed->told, message->first, message->first_size);
    if (message->n_parts > 1)
        buffer_put(&fuzzed->told, message->last, message->last_size);
}

static bool fuzz_on_topic(void *userdata, ZmtpLine *line, const uint8_t *topic, size_t size,
                          bool on) {
    Fuzzed *fuzzed = userdata;
    must(line == &fuzzed->line && fuzzed->host.kind == ZMTP_XPUB && size <= ZMTP_TOPIC_MAX_BYTES);
    buffer_put_u8(&fuzzed->told, on ? '+' : '-');
    buffer_put_u8(&fuzzed->told, (uint8_t)size);
    buffer_put(&fuzzed->told, topic, size);
    return !size || topic[0] != 'x';
}

static void fuzz_open(Fuzzed *fuzzed, ZmtpKind kind, bool refuses) {
    static uint8_t scratch[ZMTP_FRAME_MAX_BYTES];
    fuzz_begin();
    *fuzzed = (Fuzzed){.refuses = refuses};
    must(crypto_box_keypair(fuzzed->keys.public, fuzzed->keys.secret) == 0);
    curve_jar_init(&fuzzed->jar, 0);
    client_init(&fuzzed->client, fuzzed->keys.public);
    fuzzed->host = (ZmtpHost){.kind = kind,
                              .keys = &fuzzed->keys,
                              .jar = &fuzzed->jar,
                              .topic = "weir",
                              .out = &fuzzed->out,
                              .scratch = scratch,
                              .userdata = fuzzed,
                              .admits = fuzz_admits,
                              .on_up = fuzz_on_up,
                              .on_message = fuzz_on_message,
                              .on_topic = fuzz_on_topic};
    zmtp_line_begin(&fuzzed->line, &fuzzed->host, 1);
}

static void fuzz_close(Fuzzed *fuzzed) {
    zmtp_line_end(&fuzzed->line);
    must(!fuzzed->line.part && !fuzzed->line.topics && !fuzzed->line.first.bytes);
    buffer_deinit(&fuzzed->out);
    buffer_deinit(&fuzzed->told);
}

/** fuzz_bounds() - of what a line holds, which is of what has come and not of what was announced */
static void fuzz_bounds(const ZmtpLine *line, size_t came) {
    const size_t most = line->state < ZMTP_UP ? CURVE_INITIATE_MAX_BYTES : ZMTP_FRAME_MAX_BYTES;
    must(line->have <= line->room && line->room <= most + ZMTP_FRAME_HEAD_MAX_BYTES);
    must(line->room <= 2 * came + ZMTP_GREETING_BYTES);
    must((line->have > 0) == (line->part != NULL));
    must(line->first.size <= ZMTP_PART_MAX_BYTES && line->n_parts <= ZMTP_PARTS_MAX);
    must(line->n_topics <= ZMTP_TOPICS_MAX && (line->state == ZMTP_UP || !line->n_topics));
    must(line->topics_size <= line->n_topics * (1 + ZMTP_TOPIC_MAX_BYTES));
}

/**
 * fuzz_take() - in pieces: `pieces` 0 all at once, 1 each byte alone, else of sizes drawn from it.
 * Each piece is a copy of its own, so that a sanitizer sees a read past its end
 */
static void fuzz_take(Fuzzed *fuzzed, const uint8_t *bytes, size_t size, uint32_t pieces) {
    uint32_t draw = pieces;
    while (size && !fuzzed->fault) {
        draw = draw * 1664525u + 1013904223u;
        size_t n = pieces == 0 ? size : pieces == 1 ? 1 : 1 + (draw >> 16) % (1 + draw % 300);
        n = n < size ? n : size;
        uint8_t *piece = malloc(n);
        must(piece != NULL);
        memcpy(piece, bytes, n);
        fuzzed->fault = zmtp_line_take(&fuzzed->line, &fuzzed->host, piece, n);
        free(piece);
        fuzz_bounds(&fuzzed->line, fuzzed->line.have + n);
        bytes += n;
        size -= n;
    }
    must(fuzzed->fault < ZMTP_NO_MEMORY);
}

/** fuzz_same() - in whichever pieces it came */
static void fuzz_same(const Fuzzed *one, const Fuzzed *other) {
    must(one->fault == other->fault && one->n_up == other->n_up);
    must(one->out.size == other->out.size && one->told.size == other->told.size);
    must(!one->out.size || memcmp(one->out.bytes, other->out.bytes, one->out.size) == 0);
    must(!one->told.size || memcmp(one->told.bytes, other->told.bytes, one->told.size) == 0);
    must(one->line.state == other->line.state);
    if (one->fault) /* then what is left of the line is of no use */
        return;
    must(one->line.have == other->line.have && one->line.n_parts == other->line.n_parts);
    must(one->line.n_topics == other->line.n_topics);
    must(one->line.topics_size == other->line.topics_size);
}
