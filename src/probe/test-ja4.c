/* SPDX-License-Identifier: Apache-2.0 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "probe/client_hello.h"

typedef struct Bytes {
    uint8_t at[4096];
    size_t n;
} Bytes;

static void put(Bytes *b, const void *bytes, size_t n) {
    memcpy(b->at + b->n, bytes, n);
    b->n += n;
}

static void put16(Bytes *b, unsigned v) {
    put(b, (uint8_t[]){(uint8_t)(v >> 8), (uint8_t)v}, 2);
}

static void put_list(Bytes *b, const uint16_t *values, size_t n) {
    put16(b, (unsigned)(2 * n));
    for (size_t i = 0; i < n; i++)
        put16(b, values[i]);
}

/* the hello that FoxIO's description takes as its example, with GREASE among what it has */
static void example(Bytes *b, bool name, const char *alpn) {
    static const uint16_t ciphers[] = {0x0a0a, 0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f,
                                       0xc02c, 0xc030, 0xcca9, 0xcca8, 0xc013, 0xc014,
                                       0x009c, 0x009d, 0x002f, 0x0035};
    static const uint16_t plain[] = {0x9a9a, 0x001b, 0x0033, 0x4469, 0x0017, 0x002d, 0x0005,
                                     0x0023, 0x0012, 0xff01, 0x000b, 0x000a, 0x0015};
    static const uint16_t signatures[] = {0x0403, 0x0804, 0x0401, 0x0503,
                                          0x0805, 0x0501, 0x0806, 0x0601};
    static const uint8_t zeros[33];
    b->n = 0;
    put16(b, 0x0303);
    put(b, zeros, 33); /* random, no session id */
    put_list(b, ciphers, 16);
    put(b, "\1\0", 2);
    size_t length_at = b->n;
    put16(b, 0);
    for (size_t i = 0; i < sizeof(plain) / sizeof(plain[0]); i++) {
        put16(b, plain[i]);
        put16(b, 0);
    }
    if (name) {
        put16(b, 0x0000);
        put16(b, 4);
        put(b, "\0\2\0\0", 4);
    }
    if (alpn) {
        size_t n = strlen(alpn);
        put16(b, 0x0010);
        put16(b, (unsigned)n + 3);
        put16(b, (unsigned)n + 1);
        put(b, (uint8_t[]){(uint8_t)n}, 1);
        put(b, alpn, n);
    }
    put16(b, 0x000d);
    put16(b, 2 + 2 * 8);
    put_list(b, signatures, 8);
    put16(b, 0x002b);
    put16(b, 7);
    put(b, "\6\x2a\x2a\x03\x04\x03\x03", 7);
    size_t length = b->n - length_at - 2;
    b->at[length_at] = (uint8_t)(length >> 8);
    b->at[length_at + 1] = (uint8_t)length;
}

static void expect(Ja4Transport transport, bool name, const char *alpn, const char *want) {
    Bytes b;
    char text[JA4_BYTES + 1] = "";
    example(&b, name, alpn);
    assert_true(ja4_make(transport, b.at, b.n, text));
    assert_string_equal(text, want);
}

static void test_example(void **state) {
    (void)state;
    expect(JA4_TLS, true, "h2", "t13d1516h2_8daaf6152771_e5627efa2ab1");
    expect(JA4_QUIC, true, "h3", "q13d1516h3_8daaf6152771_e5627efa2ab1");
    /* to an address, and without ALPN: only what is before the hashes differs */
    expect(JA4_TLS, false, "h2", "t13i1515h2_8daaf6152771_e5627efa2ab1");
    expect(JA4_TLS, false, NULL, "t13i151400_8daaf6152771_e5627efa2ab1");
}

static void test_alpn(void **state) {
    (void)state;
    static const struct {
        const char *alpn, *want;
    } rows[] = {{"http/1.1", "h1"},
                {"x", "xx"},
                {"\xab", "ab"},
                {"\xab\xcd", "ad"},
                {"0\xab", "3b"},
                {"01\xab\xcd", "3d"},
                {"0\xab\xcd"
                 "1",
                 "01"}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        Bytes b;
        char text[JA4_BYTES + 1] = "";
        example(&b, true, rows[i].alpn);
        assert_true(ja4_make(JA4_TLS, b.at, b.n, text));
        assert_memory_equal(text + 8, rows[i].want, 2);
    }
}

/* TLS 1.0 without a word beyond the suites */
static void test_bare(void **state) {
    (void)state;
    static const uint8_t hello[] = {3, 1, [34] = 0, 0, 2, 0, 0x35, 1, 0};
    char text[JA4_BYTES + 1] = "";
    assert_true(ja4_make(JA4_TLS, hello, sizeof(hello), text));
    assert_memory_equal(text, "t10i010000_", 11);
    assert_memory_equal(text + 23, "_000000000000", 13);
}

static void test_every_truncation(void **state) {
    (void)state;
    Bytes b;
    char text[JA4_BYTES];
    example(&b, true, "h2");
    for (size_t n = 0; n < b.n; n++)
        assert_int_equal(ja4_make(JA4_TLS, b.at, n, text), n == 2 + 33 + 2 + 32 + 2);
}

/* as a TLS record with the handshake's header */
static void record(Bytes *to, const Bytes *hello) {
    to->n = 0;
    put(to,
        (uint8_t[]){22, 3, 1, (uint8_t)((hello->n + 4) >> 8), (uint8_t)(hello->n + 4), 1, 0,
                    (uint8_t)(hello->n >> 8), (uint8_t)hello->n},
        9);
    put(to, hello->at, hello->n);
}

static bool show(HelloReader *reader, HelloState *state, const Bytes *stream, size_t from, size_t n,
                 uint16_t port) {
    const Packet packet = {.protocol = IP_TCP,
                           .src_port = port,
                           .tcp_seq = (uint32_t)(0xffffff00u + from), /* wraps on the way */
                           .payload = stream->at + from,
                           .payload_bytes = (uint32_t)n};
    return hello_packet(reader, state, &packet);
}

static void test_in_pieces(void **state) {
    (void)state;
    cleanup(hello_reader_freep) HelloReader *reader = NULL;
    Bytes hello;
    Bytes stream;
    assert_int_equal(hello_reader_new(&reader, 1), 0);
    example(&hello, true, "h2");
    record(&stream, &hello);
    for (size_t cut = 1; cut < stream.n; cut++) {
        HelloState s = {0};
        assert_true(show(reader, &s, &stream, 0, cut, 9));
        assert_false(s.has_ja4);
        if (cut < 6 && !s.assembly)
            continue; /* too little to be known as a hello: only whole beginnings are */
        assert_true(show(reader, &s, &stream, cut, stream.n - cut, 8)); /* the other side's */
        assert_false(s.has_ja4);
        assert_true(show(reader, &s, &stream, cut, stream.n - cut, 9));
        assert_true(s.has_ja4);
        assert_int_equal(s.assembly, 0); /* the place is free again */
        assert_memory_equal(s.ja4, "t13d1516h2_8daaf6152771_e5627efa2ab1", JA4_BYTES);
    }
    /* the last piece before the one in the middle, and one twice */
    HelloState s = {0};
    (void)show(reader, &s, &stream, 0, 50, 9);
    (void)show(reader, &s, &stream, 100, stream.n - 100, 9);
    (void)show(reader, &s, &stream, 0, 50, 9);
    assert_false(s.has_ja4);
    (void)show(reader, &s, &stream, 50, 50, 9);
    assert_true(s.has_ja4);
}

static void test_pool_is_bounded(void **state) {
    (void)state;
    cleanup(hello_reader_freep) HelloReader *reader = NULL;
    Bytes hello;
    Bytes stream;
    assert_int_equal(hello_reader_new(&reader, 1), 0);
    example(&hello, true, "h2");
    record(&stream, &hello);
    HelloState first = {0};
    HelloState second = {0};
    assert_true(show(reader, &first, &stream, 0, 50, 9));
    assert_false(show(reader, &second, &stream, 0, 50, 9)); /* given up, and said once */
    assert_true(show(reader, &second, &stream, 50, stream.n - 50, 9));
    hello_end(reader, &first);
    HelloState third = {0};
    assert_true(show(reader, &third, &stream, 0, 50, 9));
    hello_end(reader, &third);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_example),   cmocka_unit_test(test_alpn),
        cmocka_unit_test(test_bare),      cmocka_unit_test(test_every_truncation),
        cmocka_unit_test(test_in_pieces), cmocka_unit_test(test_pool_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
