/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What a peer may say that is through the handshake: what the input says is encrypted as a peer
 * does it, so that frames, commands, topics and messages of parts are reached. Whatever it says,
 * what is answered opens, topics are as they were told, and the same bytes in other pieces come to
 * the same.
 *
 * input: 1 (kind, version, metadata?), 1 pieces, then steps: 1 what (below) and its arguments
 */

#include <strings.h>

#include "zmtp/fuzz-line.h"

enum { STREAM_MAX = 1 << 19, TOPICS = 64, MODEL_MAX = 1 << 16 };

typedef enum What {
    SAY,     /* a message or a part of one: 1 size, bytes */
    COMMAND, /* 1 which, 1 size, bytes */
    BOX,     /* 1 flags, 1 size, bytes */
    RAW,     /* 1 size, bytes, in clear */
    LARGE,   /* 2 size, 1 of which byte */
    AGAIN,   /* the frame before */
    SPOILED, /* likewise, the next one: 1 where, 1 how */
    WHATS,
} What;

typedef struct Stream {
    uint8_t bytes[STREAM_MAX];
    size_t size, before; /* where the frame before begins */
} Stream;

/* ----------------------------------------------------------------------------- what it will say */

static bool has_room(const Stream *stream, size_t n) {
    return stream->size + n + ZMTP_FRAME_HEAD_MAX_BYTES + CURVE_BOX_BYTES + 1 <= STREAM_MAX;
}

/** put_box() - with a short head where it can have one, as libzmq does it */
static void put_box(Stream *stream, Client *client, uint8_t flags, const void *bytes, size_t n) {
    if (!has_room(stream, n))
        return;
    uint8_t *to = stream->bytes + stream->size;
    stream->before = stream->size;
    size_t size = client_message(client, flags, bytes, n, to);
    if (size - 9 <= UINT8_MAX) {
        to[0] = 0;
        to[1] = to[8];
        memmove(to + 2, to + 9, size - 9);
        size -= 7;
    }
    stream->size += size;
}

static void put_command(Stream *stream, Client *client, uint8_t which, const uint8_t *bytes,
                        size_t n) {
    static const char *const names[] = {"\4PING\0\0", "\4PONG",  "\x09SUBSCRIBE", "\6CANCEL",
                                        "\5ERROR",    "\5READY", "\4JOIN",        "\4ping"};
    static const size_t sizes[] = {7, 5, 10, 7, 6, 6, 5, 5};
    uint8_t text[16 + UINT8_MAX];
    which %= sizeof(sizes) / sizeof(sizes[0]);
    memcpy(text, names[which], sizes[which]);
    if (n)
        memcpy(text + sizes[which], bytes, n);
    put_box(stream, client, 2, text, sizes[which] + n);
}

static void put_large(Stream *stream, Client *client, uint8_t flags, size_t n, uint8_t byte) {
    static uint8_t text[4 * UINT16_MAX];
    memset(text, byte, n);
    put_box(stream, client, flags, text, n);
}

static void put_raw(Stream *stream, const uint8_t *bytes, size_t n) {
    if (!n || !has_room(stream, n))
        return;
    memcpy(stream->bytes + stream->size, bytes, n);
    stream->size += n;
}

/** take_text() - 1 size, bytes */
static const uint8_t *take_text(Cursor *c, size_t *np) {
    *np = cursor_u8(c);
    *np = *np < cursor_left(c) ? *np : cursor_left(c);
    return cursor_take(c, *np);
}

static void put_step(Stream *stream, Client *client, Cursor *c) {
    const uint8_t first = cursor_u8(c), more = first >> 7;
    size_t n = 0;
    const What what = (What)(first % WHATS);
    const uint8_t argument = what == COMMAND || what == BOX || what == SPOILED ? cursor_u8(c) : 0;
    if (what == LARGE) {
        const size_t size = cursor_u16(c) * (size_t)(first & 64 ? 3 : 1);
        put_large(stream, client, more, size, cursor_u8(c));
        return;
    }
    if (what == AGAIN) {
        put_raw(stream, stream->bytes + stream->before, stream->size - stream->before);
        return;
    }
    const uint8_t *bytes = take_text(c, &n);
    if (what == SAY)
        put_box(stream, client, more, bytes, n);
    else if (what == COMMAND)
        put_command(stream, client, argument, bytes, n);
    else if (what == BOX)
        put_box(stream, client, argument, bytes, n);
    else if (what == RAW)
        put_raw(stream, bytes, n);
    else if (n) {
        put_box(stream, client, more, bytes, n);
        const size_t last = stream->size - stream->before;
        if (last)
            stream->bytes[stream->before + argument % last] ^= bytes[0];
    }
}

/* --------------------------------------------------------------------------------- handshake */

/** say_of_itself() - other metadata in an INITIATE of client_initiate(); how many bytes it is then
 */
static size_t say_of_itself(const Client *client, uint8_t *initiate, size_t size,
                            const uint8_t *metadata, size_t n) {
    uint8_t nonce[24], inner[512];
    client_nonce(nonce, "CurveZMQINITIATE", client->nonce);
    must(crypto_box_open_easy_afternm(inner, initiate + 122, size - 122, nonce, client->shared) ==
         0);
    if (n)
        memcpy(inner + 128, metadata, n);
    must(crypto_box_easy_afternm(initiate + 122, inner, 128 + n, nonce, client->shared) == 0);
    const size_t body = 122 - 9 + 128 + n + 16;
    initiate[7] = (uint8_t)(body >> 8);
    initiate[8] = (uint8_t)body;
    return 9 + body;
}

/** shake() - `metadata` NULL: what fits */
static void shake(Fuzzed *fuzzed, uint8_t minor, const uint8_t *metadata, size_t n_metadata) {
    uint8_t bytes[1024];
    client_greeting(bytes, "CURVE");
    bytes[11] = minor;
    fuzz_take(fuzzed, bytes, ZMTP_GREETING_BYTES, 0);
    client_hello(&fuzzed->client, bytes);
    fuzz_take(fuzzed, bytes, 2 + CURVE_HELLO_BYTES, 0);
    size_t n = client_initiate(&fuzzed->client, fuzzed->out.bytes + ZMTP_GREETING_BYTES,
                               fuzzed->host.kind == ZMTP_SUB ? "XPUB" : "XSUB", bytes);
    must(n > 0);
    if (metadata)
        n = say_of_itself(&fuzzed->client, bytes, n, metadata, n_metadata);
    fuzz_take(fuzzed, bytes, n, 0);
}

/** begun() - a handshake costs more than all that follows: one of each kind is done once */
static void begin(Fuzzed *fuzzed, ZmtpKind kind, uint8_t minor) {
    static Fuzzed made[2][2];
    Fuzzed *from = &made[kind][minor];
    if (!from->n_up) {
        fuzz_open(from, kind, false);
        shake(from, minor, NULL, 0);
        must(from->n_up == 1 && from->line.state == ZMTP_UP);
        buffer_deinit(&from->out);
        must(!from->line.part && !from->line.topics && !from->line.first.bytes);
    }
    *fuzzed = *from;
    fuzzed->host.out = &fuzzed->out;
    fuzzed->host.keys = &fuzzed->keys;
    fuzzed->host.jar = &fuzzed->jar;
    fuzzed->host.userdata = fuzzed;
}

/* ------------------------------------------------------------------------------ what came of it */

/** check_answers() - each frame opens, in order; of the line's own accord it says PONG only */
static void check_answers(Fuzzed *fuzzed, const Client *client, size_t from) {
    static uint8_t plain[ZMTP_FRAME_MAX_BYTES];
    uint64_t before = 0;
    Cursor c = cursor_make(fuzzed->out.bytes, fuzzed->out.size);
    while (cursor_left(&c)) {
        const bool answers = fuzzed->out.size - cursor_left(&c) < from;
        uint8_t nonce[24];
        const uint8_t flags = cursor_u8(&c);
        const size_t size = flags & 2 ? cursor_u64(&c) : cursor_u8(&c);
        const uint8_t *name = cursor_take(&c, 8);
        const uint64_t counter = cursor_u64(&c);
        must(!c.failed && size >= 33 && !(flags & ~2) && memcmp(name, "\7MESSAGE", 8) == 0);
        const uint8_t *box = cursor_take(&c, size - 16);
        client_nonce(nonce, "CurveZMQMESSAGES", counter);
        must(box && counter > before &&
             crypto_box_open_easy_afternm(plain, box, size - 16, nonce, client->shared) == 0);
        before = counter;
        if (answers)
            must(plain[0] == 2 && size - 32 <= 1 + 5 + 16 && memcmp(plain + 1, "\4PONG", 5) == 0);
    }
}

/** wanted() - by what on_topic() was told and said: a topic stays where it came first */
static bool wanted(const Fuzzed *fuzzed, const uint8_t *topic, size_t size) {
    const uint8_t *had[TOPICS];
    size_t sizes[TOPICS], n = 0;
    Cursor c = cursor_make(fuzzed->told.bytes, fuzzed->told.size);
    while (cursor_left(&c)) {
        const bool on = cursor_u8(&c) == '+';
        const size_t length = cursor_u8(&c);
        const uint8_t *one = cursor_take(&c, length);
        size_t i = 0;
        while (i < n && (sizes[i] != length || memcmp(had[i], one, length) != 0))
            i++;
        must(on || i < n); /* only what it has can be given up */
        if (!on) {
            had[i] = had[--n];
            sizes[i] = sizes[n];
        } else if (i == n && !(length && one[0] == 'x')) {
            must(n < ZMTP_TOPICS_MAX);
            had[n] = one;
            sizes[n++] = length;
        }
    }
    must(n == fuzzed->line.n_topics);
    bool found = false;
    for (size_t i = 0; i < n; i++)
        found = found || (sizes[i] <= size && memcmp(had[i], topic, sizes[i]) == 0);
    return found;
}

static void check(Fuzzed *fuzzed, const uint8_t *data, size_t size) {
    const size_t answers = fuzzed->out.size;
    const size_t n = size < 80 ? size : 80;
    const Client client = fuzzed->client;
    if (!fuzzed->fault) {
        must(zmtp_line_put(&fuzzed->line, &fuzzed->out, data, n, true));
        must(zmtp_line_ping(&fuzzed->line, &fuzzed->out));
    }
    check_answers(fuzzed, &client, answers);
    if (fuzzed->fault || fuzzed->host.kind != ZMTP_XPUB || fuzzed->told.size > MODEL_MAX)
        return;
    for (size_t at = 0; at < n; at++)
        must(zmtp_line_wants(&fuzzed->line, data + at, n - at) ==
             wanted(fuzzed, data + at, n - at));
}

/** fits() - properties that are whole, the last that says its type says this or that */
static bool fits(const uint8_t *data, size_t size, const char *one, const char *other) {
    static const char name[] = "Socket-Type";
    bool good = false;
    for (size_t at = 0; at < size;) {
        const size_t n_name = data[at++];
        if (size - at < n_name + 4)
            return false;
        const char *said = (const char *)data + at;
        at += n_name + 4;
        const size_t n = (size_t)data[at - 4] << 24 | (size_t)data[at - 3] << 16 |
                         (size_t)data[at - 2] << 8 | data[at - 1];
        if (size - at < n)
            return false;
        const char *value = (const char *)data + at;
        if (n_name == sizeof(name) - 1 && strncasecmp(said, name, n_name) == 0)
            good = (n == strlen(one) && strncasecmp(value, one, n) == 0) ||
                   (n == strlen(other) && strncasecmp(value, other, n) == 0);
        at += n;
    }
    return good;
}

/* the metadata of an INITIATE: who is not of the right type does not come in */
static void fuzz_metadata(ZmtpKind kind, const uint8_t *data, size_t size) {
    Fuzzed fuzzed;
    size = size < 700 ? size : 700;
    fuzz_open(&fuzzed, kind, false);
    shake(&fuzzed, 1, data, size);
    must(fuzzed.n_up ==
         (kind == ZMTP_SUB ? fits(data, size, "PUB", "XPUB") : fits(data, size, "SUB", "XSUB")));
    must(fuzzed.fault == (fuzzed.n_up ? ZMTP_FINE : ZMTP_MALFORMED));
    fuzz_close(&fuzzed);
}

static void run(Fuzzed *fuzzed, ZmtpKind kind, uint8_t minor, const Stream *stream,
                uint32_t pieces) {
    begin(fuzzed, kind, minor);
    fuzz_take(fuzzed, stream->bytes, stream->size, pieces);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static Stream stream;
    Fuzzed whole, other;
    Cursor c = cursor_make(data, size);
    const uint8_t first = cursor_u8(&c), pieces = cursor_u8(&c);
    const ZmtpKind kind = first & 1 ? ZMTP_XPUB : ZMTP_SUB;
    const uint8_t minor = first >> 1 & 1;
    if (c.failed)
        return 0;
    if (first & 4) {
        fuzz_metadata(kind, c.at, cursor_left(&c));
        return 0;
    }
    begin(&whole, kind, minor);
    Client client = whole.client;
    stream.size = stream.before = 0;
    while (cursor_left(&c))
        put_step(&stream, &client, &c);
    run(&whole, kind, minor, &stream, 0);
    run(&other, kind, minor, &stream, 2 + (uint32_t)pieces);
    fuzz_same(&whole, &other);
    fuzz_close(&other);
    if (stream.size < 3000) {
        run(&other, kind, minor, &stream, 1);
        fuzz_same(&whole, &other);
        fuzz_close(&other);
    }
    check(&whole, data, size);
    fuzz_close(&whole);
    return 0;
}
