/* SPDX-License-Identifier: Apache-2.0 */

#include "probe/client_hello.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cursor.h"
#include "base/error.h"
#include "probe/pool.h"
#include "probe/quic_initial.h"

enum {
    HANDSHAKE_BYTES = 4, /* type, and length in three bytes */
    RECORD_BYTES = 5,
    DTLS_RECORD_BYTES = 13,
    DTLS_HANDSHAKE_BYTES = 12,
    RECORD_HANDSHAKE = 22,
    CLIENT_HELLO = 1,
    DTLS_MAJOR = 0xfe,
};

/* a stream that has gaps while it comes together */
typedef struct Assembly {
    QuicOrigin origin;
    uint32_t base; /* TCP sequence number of its beginning; DTLS: number of the message */
    uint16_t from; /* port that the client sends from */
    uint16_t have; /* bytes without a gap */
    uint16_t need; /* DTLS: the hello's length */
    Ja4Transport transport;
    uint64_t present[HELLO_BYTES_MAX / 64]; /* a bit a byte */
    uint8_t bytes[HELLO_BYTES_MAX];
} Assembly;

struct HelloReader {
    QuicReader *quic;
    Pool assemblies;
    uint8_t hello[HELLO_BYTES_MAX]; /* of TLS, without the headers of records */
};

int hello_reader_new(HelloReader **readerp, uint32_t max) {
    cleanup(hello_reader_freep) HelloReader *reader = calloc(1, sizeof(*reader));
    if (!reader)
        return error_origin(-ENOMEM);
    int r = quic_reader_new(&reader->quic);
    if (r == 0)
        r = pool_init(&reader->assemblies, max, sizeof(Assembly));
    if (r < 0)
        return error_trace(r);
    *readerp = reader;
    reader = NULL;
    return 0;
}

HelloReader *hello_reader_free(HelloReader *reader) {
    if (!reader)
        return NULL;
    quic_reader_free(reader->quic);
    pool_deinit(&reader->assemblies);
    free(reader);
    return NULL;
}

/* --- putting together ----------------------------------------------------------------------- */

static Assembly *assembly_at(const HelloReader *reader, const HelloState *state) {
    return pool_at(&reader->assemblies, state->assembly);
}

static Assembly *assembly_begin(HelloReader *reader, HelloState *state, const Packet *packet,
                                Ja4Transport transport) {
    state->assembly = pool_take(&reader->assemblies);
    if (!state->assembly) {
        state->done = true;
        return NULL;
    }
    Assembly *a = assembly_at(reader, state);
    memset(a, 0, offsetof(Assembly, bytes));
    a->transport = transport;
    a->from = packet->src_port;
    a->base = packet->tcp_seq;
    return a;
}

static void assembly_add(Assembly *a, uint64_t offset, const uint8_t *bytes, size_t size) {
    if (offset >= HELLO_BYTES_MAX || !bytes)
        return;
    if (size > HELLO_BYTES_MAX - offset)
        size = (size_t)(HELLO_BYTES_MAX - offset);
    memcpy(a->bytes + offset, bytes, size);
    for (size_t i = offset; i < offset + size; i++)
        a->present[i / 64] |= (uint64_t)1 << (i % 64);
    while (a->have < HELLO_BYTES_MAX && (a->present[a->have / 64] >> (a->have % 64) & 1))
        a->have++;
}

static void take_crypto(void *userdata, uint64_t offset, const uint8_t *bytes, size_t size) {
    assembly_add(userdata, offset, bytes, size);
}

void hello_end(HelloReader *reader, HelloState *state) {
    if (state->assembly)
        pool_return(&reader->assemblies, state->assembly);
    state->assembly = 0;
    state->done = true;
}

/* --- looking for it ------------------------------------------------------------------------- */

typedef enum Found {
    FOUND_NOTHING, /* and there never will be */
    FOUND_PART,
    FOUND_ALL,
} Found;

static Found settle(HelloState *state, Ja4Transport transport, const uint8_t *body, size_t size) {
    state->has_ja4 = ja4_make(transport, body, size, state->ja4);
    return state->has_ja4 ? FOUND_ALL : FOUND_NOTHING;
}

/* a handshake message without records around it, as QUIC has it */
static Found look_bare(HelloState *state, Ja4Transport transport, const uint8_t *bytes,
                       size_t size) {
    if (size > 0 && bytes[0] != CLIENT_HELLO)
        return FOUND_NOTHING;
    if (size < HANDSHAKE_BYTES)
        return FOUND_PART;
    size_t n = (size_t)bytes[1] << 16 | (size_t)bytes[2] << 8 | bytes[3];
    if (n > HELLO_BYTES_MAX - HANDSHAKE_BYTES)
        return FOUND_NOTHING;
    if (size < HANDSHAKE_BYTES + n)
        return FOUND_PART;
    return settle(state, transport, bytes + HANDSHAKE_BYTES, n);
}

static bool is_tls_record(const uint8_t *bytes, size_t size) {
    return size >= RECORD_BYTES && bytes[0] == RECORD_HANDSHAKE && bytes[1] == 3;
}

/* a stream that begins with a handshake record; the hello may be in several */
static Found look_tls(HelloReader *reader, HelloState *state, const uint8_t *bytes, size_t size) {
    Cursor c = cursor_make(bytes, size);
    size_t have = 0;
    while (cursor_left(&c) >= RECORD_BYTES) {
        if (!is_tls_record(c.at, cursor_left(&c)))
            return FOUND_NOTHING;
        cursor_skip(&c, RECORD_BYTES - 2);
        size_t n = cursor_u16(&c);
        if (n > cursor_left(&c))
            n = cursor_left(&c);
        const uint8_t *from = cursor_take(&c, n);
        /* nearly always it is in one record, and is read where it is */
        Found found = have ? FOUND_PART : look_bare(state, JA4_TLS, from, n);
        if (found != FOUND_PART)
            return found;
        if (n > sizeof(reader->hello) - have)
            return FOUND_NOTHING;
        memcpy(reader->hello + have, from, n);
        have += n;
        found = look_bare(state, JA4_TLS, reader->hello, have);
        if (found != FOUND_PART)
            return found;
    }
    return FOUND_PART;
}

static Found look_tcp(HelloReader *reader, HelloState *state, const Packet *packet) {
    const uint8_t *p = packet->payload;
    size_t size = packet->payload_bytes;
    Assembly *a = NULL;
    if (state->assembly) {
        a = assembly_at(reader, state);
        if (packet->src_port != a->from)
            return FOUND_PART;
    } else {
        if (!is_tls_record(p, size) || (size > RECORD_BYTES && p[RECORD_BYTES] != CLIENT_HELLO))
            return FOUND_PART; /* what begins in the clear may go over to TLS later */
        Found found = look_tls(reader, state, p, size);
        if (found != FOUND_PART)
            return found;
        a = assembly_begin(reader, state, packet, JA4_TLS);
        if (!a)
            return FOUND_NOTHING;
    }
    uint32_t offset = packet->tcp_seq - a->base;
    if (offset < HELLO_BYTES_MAX)
        assembly_add(a, offset, p, size);
    if (a->have == HELLO_BYTES_MAX)
        return FOUND_NOTHING;
    return look_tls(reader, state, a->bytes, a->have);
}

static Found look_quic(HelloReader *reader, HelloState *state, const Packet *packet) {
    Assembly *a = state->assembly ? assembly_at(reader, state)
                                  : assembly_begin(reader, state, packet, JA4_QUIC);
    if (!a)
        return FOUND_NOTHING;
    if (packet->src_port != a->from)
        return FOUND_PART;
    if (!quic_read(reader->quic, &a->origin, packet->payload, packet->payload_bytes, take_crypto,
                   a))
        return a->origin.version ? FOUND_PART : FOUND_NOTHING;
    return look_bare(state, JA4_QUIC, a->bytes, a->have);
}

static bool is_dtls_hello(const uint8_t *p, size_t size) {
    return size >= DTLS_RECORD_BYTES + DTLS_HANDSHAKE_BYTES && p[0] == RECORD_HANDSHAKE &&
           p[1] == DTLS_MAJOR && p[DTLS_RECORD_BYTES] == CLIENT_HELLO;
}

/*
 * a record (13 bytes), then a handshake header of DTLS (RFC 9147 section 5.2):
 *   type (8) | length (24) | message_seq (16) | fragment_offset (24) | fragment_length (24)
 */
static Found look_dtls(HelloReader *reader, HelloState *state, const Packet *packet) {
    Cursor c = cursor_make(packet->payload, packet->payload_bytes);
    cursor_skip(&c, DTLS_RECORD_BYTES + 1);
    size_t length = cursor_uint(&c, 3);
    uint16_t message = cursor_u16(&c);
    size_t offset = cursor_uint(&c, 3);
    size_t n = cursor_uint(&c, 3);
    const uint8_t *body = cursor_take(&c, n);
    if (!body || length > HELLO_BYTES_MAX)
        return FOUND_NOTHING;
    if (offset == 0 && n == length)
        return settle(state, JA4_DTLS, body, n);
    const bool begins = !state->assembly;
    Assembly *a =
        begins ? assembly_begin(reader, state, packet, JA4_DTLS) : assembly_at(reader, state);
    if (!a)
        return FOUND_NOTHING;
    if (begins)
        a->base = message;
    if (packet->src_port != a->from || a->transport != JA4_DTLS || a->base != message)
        return FOUND_PART;
    a->need = (uint16_t)length;
    assembly_add(a, offset, body, n);
    return a->have < a->need ? FOUND_PART : settle(state, JA4_DTLS, a->bytes, a->need);
}

static Found look(HelloReader *reader, HelloState *state, const Packet *packet) {
    const uint8_t *p = packet->payload;
    size_t size = packet->payload_bytes;
    if (packet->protocol == IP_TCP)
        return look_tcp(reader, state, packet);
    if (packet->protocol != IP_UDP)
        return FOUND_NOTHING;
    if (is_dtls_hello(p, size))
        return look_dtls(reader, state, packet);
    if (quic_is_initial(p, size))
        return look_quic(reader, state, packet);
    return FOUND_PART;
}

bool hello_packet(HelloReader *reader, HelloState *state, const Packet *packet) {
    if (state->done || !packet->payload || packet->payload_bytes == 0)
        return true;
    Found found = look(reader, state, packet);
    bool full = state->done; /* no place in the pool */
    if (found != FOUND_PART)
        hello_end(reader, state);
    return !full;
}
