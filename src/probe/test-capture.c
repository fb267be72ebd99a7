/* SPDX-License-Identifier: Apache-2.0 */

/* captures that come through a pipe: packets are handed out when they are whole, and not waited for
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/clock.h"
#include "probe/capture.h"

enum { N_PACKETS = 40, MAX_PACKET_BYTES = 900, RAW_IP = 101 };

typedef struct Writer {
    Buffer bytes;
    bool swapped;
    size_t ends[N_PACKETS]; /* where a packet is whole */
} Writer;

static void put(Writer *writer, uint32_t value) {
    if (writer->swapped)
        value = __builtin_bswap32(value);
    buffer_put(&writer->bytes, &value, sizeof(value));
}

/* a datagram with its number in the identification; the odd ones are TCP */
static size_t packet(unsigned number, uint8_t bytes[MAX_PACKET_BYTES]) {
    size_t size = 20 + (number * 97) % (MAX_PACKET_BYTES - 20);
    memset(bytes, (int)number, size);
    const uint8_t head[] = {0x45, 0,  (uint8_t)(size >> 8), (uint8_t)size, 0, (uint8_t)number, 0,
                            0,    64, number % 2 ? 6 : 17};
    memcpy(bytes, head, sizeof(head));
    return size;
}

static void write_pcap(Writer *writer) {
    put(writer, 0xa1b2c3d4);
    put(writer, writer->swapped ? 0x00020004 : 0x00040002); /* two of 16 bits: 2, 4 */
    put(writer, 0);
    put(writer, 0);
    put(writer, 65535);
    put(writer, RAW_IP);
    for (unsigned i = 0; i < N_PACKETS; i++) {
        uint8_t bytes[MAX_PACKET_BYTES];
        size_t size = packet(i, bytes);
        put(writer, 1700000000 + i);
        put(writer, 7);
        put(writer, (uint32_t)size);
        put(writer, (uint32_t)size);
        buffer_put(&writer->bytes, bytes, size);
        writer->ends[i] = writer->bytes.size;
    }
}

static void write_block(Writer *writer, uint32_t type, const uint32_t *words, size_t n_words,
                        const uint8_t *bytes, size_t size) {
    static const uint8_t padding[4];
    size_t pad = (4 - size % 4) % 4;
    uint32_t total = (uint32_t)(12 + n_words * 4 + size + pad);
    put(writer, type);
    put(writer, total);
    for (size_t i = 0; i < n_words; i++)
        put(writer, words[i]);
    buffer_put(&writer->bytes, bytes, size);
    buffer_put(&writer->bytes, padding, pad);
    put(writer, total);
}

static void write_pcapng(Writer *writer) {
    const uint32_t version = writer->swapped ? 0x00010000 : 0x00000001;
    const uint32_t section[] = {0x1a2b3c4d, version, 0xffffffff, 0xffffffff};
    const uint32_t interface[] = {writer->swapped ? RAW_IP << 16 : RAW_IP, 65535};
    write_block(writer, 0x0a0d0d0a, section, 4, NULL, 0);
    write_block(writer, 1, interface, 2, NULL, 0);
    for (unsigned i = 0; i < N_PACKETS; i++) {
        uint8_t bytes[MAX_PACKET_BYTES];
        size_t size = packet(i, bytes);
        const uint32_t head[] = {0, 0, i * 1000, (uint32_t)size, (uint32_t)size};
        if (i % 3 == 0) /* what is no packet, before one */
            write_block(writer, 0x0bad, head, 5, bytes, size);
        write_block(writer, 6, head, 5, bytes, size);
        writer->ends[i] = writer->bytes.size;
    }
}

static Capture *open_through(int fd, const char *filter) {
    static char path[64]; /* stays with the capture */
    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    Capture *capture = NULL;
    Reason reason = {""};
    CaptureConfig config = {.input = path, .filter = filter};
    assert_int_equal(capture_open(&capture, &config, &reason), 0);
    assert_string_equal(reason.text, "");
    return capture;
}

/* numbers in a row from *next on, each `step` behind the other */
static void read_some(Capture *capture, unsigned *next, unsigned step) {
    Frame frames[8];
    size_t n = 0;
    do {
        Reason reason = {""};
        assert_int_equal(capture_read(capture, frames, 8, &n, 0, &reason), 0);
        for (size_t i = 0; i < n; i++, *next += step) {
            uint8_t expected[MAX_PACKET_BYTES];
            size_t size = packet(*next, expected);
            assert_int_equal(frames[i].captured_bytes, size);
            assert_memory_equal(frames[i].bytes, expected, size);
        }
    } while (n);
}

/* in pieces of every size: after each, all that is whole has come, and nothing was waited for */
static void feed(void (*write_file)(Writer *), bool swapped, size_t piece) {
    Writer writer = {.swapped = swapped};
    write_file(&writer);
    assert_false(writer.bytes.failed);
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    size_t first = 128; /* the file's head; opening waits for that */
    assert_int_equal(write(ends[1], writer.bytes.bytes, first), first);
    Capture *capture = open_through(ends[0], NULL);
    unsigned next = 0;
    for (size_t at = first; at < writer.bytes.size; at += piece) {
        size_t n = writer.bytes.size - at < piece ? writer.bytes.size - at : piece;
        assert_int_equal(write(ends[1], writer.bytes.bytes + at, n), n);
        read_some(capture, &next, 1);
        unsigned whole = 0;
        while (whole < N_PACKETS && writer.ends[whole] <= at + n)
            whole++;
        assert_int_equal(next, whole);
    }
    assert_int_equal(close(ends[1]), 0);
    Frame frame;
    size_t n = 0;
    Reason reason = {""};
    assert_int_equal(capture_read(capture, &frame, 1, &n, 0, &reason), CAPTURE_E_END);
    capture_free(capture);
    assert_int_equal(close(ends[0]), 0);
    buffer_deinit(&writer.bytes);
}

static void test_pieces(void **state) {
    (void)state;
    for (size_t piece = 1; piece < 3000; piece += 1 + piece / 2)
        for (int swapped = 0; swapped < 2; swapped++) {
            feed(write_pcap, swapped, piece);
            feed(write_pcapng, swapped, piece);
        }
}

static void test_filter_and_cut(void **state) {
    (void)state;
    Writer writer = {0};
    write_pcapng(&writer);
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    size_t cut = writer.bytes.size - 3;
    assert_int_equal(write(ends[1], writer.bytes.bytes, cut), cut);
    Capture *capture = open_through(ends[0], "tcp");
    unsigned next = 1;
    read_some(capture, &next, 2);
    assert_int_equal(next, N_PACKETS - 1); /* the last is not whole */
    Frame frame;
    size_t n = 0;
    Reason reason = {""};
    uint64_t begin_ms = clock_monotonic_ms();
    assert_int_equal(capture_read(capture, &frame, 1, &n, 50, &reason), 0);
    assert_int_equal(n, 0);
    assert_true(clock_monotonic_ms() - begin_ms >= 49);
    assert_int_equal(close(ends[1]), 0);
    assert_int_equal(capture_read(capture, &frame, 1, &n, 50, &reason), CAPTURE_E_BROKEN);
    assert_non_null(strstr(reason.text, "ends in the middle of a packet"));
    capture_free(capture);
    assert_int_equal(close(ends[0]), 0);
    buffer_deinit(&writer.bytes);
}

/* numbers of those of the next 8 packets that pass */
static size_t numbers(Capture *capture, unsigned to[8]) {
    Frame frames[8];
    size_t n = 0;
    Reason reason = {""};
    assert_int_equal(capture_read(capture, frames, 8, &n, 0, &reason), 0);
    for (size_t i = 0; i < n; i++)
        to[i] = frames[i].bytes[5];
    return n;
}

/* another filter while reading goes on: from the next packet on, or not at all */
static void test_filter_changes(void **state) {
    (void)state;
    Writer writer = {0};
    write_pcap(&writer);
    char path[] = "/tmp/weir-capture-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, writer.bytes.bytes, writer.bytes.size), writer.bytes.size);
    Capture *capture = NULL;
    Reason reason = {""};
    const CaptureConfig config = {.input = path};
    unsigned got[8] = {0};
    assert_int_equal(capture_open(&capture, &config, &reason), 0);
    assert_int_equal(numbers(capture, got), 8);
    assert_int_equal(got[7], 7);
    assert_int_equal(capture_filter(capture, "tcp", &reason), 0);
    assert_int_equal(numbers(capture, got), 4); /* of 8 looked at */
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(got[i], 9 + 2 * i);
    assert_int_equal(capture_filter(capture, "udp porl 5", &reason), CAPTURE_E_USAGE);
    assert_non_null(strstr(reason.text, "'udp porl 5' is not valid"));
    assert_int_equal(numbers(capture, got), 4);
    assert_int_equal(got[0], 17);
    assert_int_equal(got[1], 19);
    capture_free(capture);
    assert_int_equal(capture_open(&capture, &config, &reason), 0);
    assert_int_equal(capture_filter(capture, "udp", &reason), 0);
    assert_int_equal(capture_filter(capture, "", &reason), 0);
    assert_int_equal(numbers(capture, got), 8);
    assert_int_equal(got[7], 7);
    capture_free(capture);
    assert_int_equal(close(fd), 0);
    (void)unlink(path);
    buffer_deinit(&writer.bytes);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pieces),
        cmocka_unit_test(test_filter_and_cut),
        cmocka_unit_test(test_filter_changes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
