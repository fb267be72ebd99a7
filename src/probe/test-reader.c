/* SPDX-License-Identifier: Apache-2.0 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/buffer.h"
#include "probe/capture_reader.h"

/* a capture being written, in either byte order */
typedef struct Writer {
    Buffer bytes;
    bool little;
} Writer;

static void put_u16(Writer *w, uint16_t v) {
    buffer_put_u16(&w->bytes, w->little ? __builtin_bswap16(v) : v);
}

static void put_u32(Writer *w, uint32_t v) {
    buffer_put_u32(&w->bytes, w->little ? __builtin_bswap32(v) : v);
}

static size_t block_begin(Writer *w, uint32_t type) {
    put_u32(w, type);
    put_u32(w, 0);
    return w->bytes.size - 8;
}

static void block_end(Writer *w, size_t start) {
    while (w->bytes.size % 4)
        buffer_put_u8(&w->bytes, 0);
    const uint32_t size = (uint32_t)(w->bytes.size - start) + 4;
    const uint32_t written = w->little ? size : __builtin_bswap32(size);
    put_u32(w, size);
    memcpy(w->bytes.bytes + start + 4, &written, 4);
}

static void section(Writer *w) {
    const size_t at = block_begin(w, 0x0a0d0d0a);
    put_u32(w, 0x1a2b3c4d);
    put_u16(w, 1);
    put_u16(w, 0);
    put_u32(w, UINT32_MAX);
    put_u32(w, UINT32_MAX);
    block_end(w, at);
}

/* offset_s 0: no such option */
static void interface(Writer *w, uint16_t link_type, uint32_t snaplen, uint8_t resolution,
                      uint32_t offset_s) {
    const size_t at = block_begin(w, 1);
    put_u16(w, link_type);
    put_u16(w, 0);
    put_u32(w, snaplen);
    put_u16(w, 2); /* a name, to be stepped over */
    put_u16(w, 3);
    buffer_put(&w->bytes, "eth\0", 4);
    put_u16(w, 9);
    put_u16(w, 1);
    buffer_put_u8(&w->bytes, resolution);
    buffer_put(&w->bytes, "\0\0\0", 3);
    if (offset_s) {
        put_u16(w, 14);
        put_u16(w, 8);
        put_u32(w, w->little ? offset_s : 0);
        put_u32(w, w->little ? 0 : offset_s);
    }
    put_u32(w, 0);
    block_end(w, at);
}

static void enhanced(Writer *w, uint32_t number, uint64_t ticks, const char *bytes) {
    const uint32_t size = (uint32_t)strlen(bytes);
    const size_t at = block_begin(w, 6);
    put_u32(w, number);
    put_u32(w, (uint32_t)(ticks >> 32));
    put_u32(w, (uint32_t)ticks);
    put_u32(w, size);
    put_u32(w, size + 100);
    buffer_put(&w->bytes, bytes, size);
    block_end(w, at);
}

static int open_written(Writer *w, CaptureReader **readerp, int *fdp) {
    *fdp = memfd_create("capture", MFD_CLOEXEC);
    assert_true(*fdp >= 0);
    assert_false(w->bytes.failed);
    assert_true(write(*fdp, w->bytes.bytes, w->bytes.size) == (ssize_t)w->bytes.size);
    assert_true(lseek(*fdp, 0, SEEK_SET) == 0);
    return capture_reader_new(readerp, *fdp);
}

static int next(CaptureReader *reader, Frame *frame) {
    Reason reason = {""};
    int r = 0;
    while (capture_reader_next(reader, frame, 1, &r, &reason) == 0 && r == CAPTURE_READER_E_EMPTY) {
        r = capture_reader_fill(reader, &reason);
        if (r)
            break;
    }
    return r;
}

static void assert_frame(CaptureReader *reader, const char *bytes, uint64_t time_ns,
                         uint16_t link_type) {
    Frame frame;
    assert_int_equal(next(reader, &frame), 0);
    assert_int_equal(frame.captured_bytes, strlen(bytes));
    assert_memory_equal(frame.bytes, bytes, strlen(bytes));
    assert_true(frame.time_ns == time_ns);
    assert_int_equal(frame.link_type, link_type);
}

/* interfaces that differ in all they can, blocks that nobody wants, another section */
static void test_pcapng(void **state) {
    (void)state;
    for (int little = 0; little < 2; little++) {
        Writer w = {.little = little};
        CaptureReader *reader = NULL;
        int fd = -1;
        section(&w);
        interface(&w, 1, 0, 6, 0);
        interface(&w, 101, 5, 9, 1000);
        interface(&w, 113, 0, 0x80 | 10, 0);
        enhanced(&w, 0, 1700000000000001u, "one");
        size_t at = block_begin(&w, 0x80000001); /* larger than is read at once */
        put_u32(&w, 32473);
        for (int i = 0; i < 300000; i++)
            put_u32(&w, 6);
        block_end(&w, at);
        enhanced(&w, 1, 5, "two");
        enhanced(&w, 2, 3 << 10 | 512, "three");
        at = block_begin(&w, 3); /* simple: no time, cut by the first interface's limit */
        put_u32(&w, 4);
        buffer_put(&w.bytes, "four", 4);
        block_end(&w, at);
        at = block_begin(&w, 2); /* obsolete */
        put_u16(&w, 1);
        put_u16(&w, 9);
        put_u32(&w, 0);
        put_u32(&w, 7);
        put_u32(&w, 4);
        put_u32(&w, 4);
        buffer_put(&w.bytes, "five", 4);
        block_end(&w, at);
        w.little = !w.little;
        section(&w);
        interface(&w, 12, 0, 3, 0);
        enhanced(&w, 0, 8, "six");
        assert_int_equal(open_written(&w, &reader, &fd), 0);
        assert_int_equal(capture_reader_link_type(reader), 1);
        assert_frame(reader, "one", UINT64_C(1700000000000001000), 1);
        assert_frame(reader, "two", UINT64_C(1000000000005), FRAME_LINK_RAW);
        assert_frame(reader, "three", UINT64_C(3500000000), 113);
        assert_frame(reader, "four", UINT64_C(3500000000), 1);
        assert_frame(reader, "five", UINT64_C(1000000000007), FRAME_LINK_RAW);
        assert_frame(reader, "six", 8000000, FRAME_LINK_RAW);
        Frame frame;
        assert_int_equal(next(reader, &frame), CAPTURE_READER_E_END);
        capture_reader_free(reader);
        (void)close(fd);
        buffer_deinit(&w.bytes);
    }
}

static void pcap_head(Writer *w, uint32_t magic) {
    put_u32(w, magic);
    put_u16(w, 2);
    put_u16(w, 4);
    put_u32(w, 0);
    put_u32(w, 0);
    put_u32(w, 65535);
    put_u32(w, 1);
}

static void pcap_packet(Writer *w, uint32_t fraction, uint32_t size) {
    put_u32(w, 1700000000);
    put_u32(w, fraction);
    put_u32(w, size);
    put_u32(w, size + 1);
    for (uint32_t i = 0; i < size; i++)
        buffer_put_u8(&w->bytes, (uint8_t)(i * 7 + fraction));
}

/* of all sizes, over many fillings; both orders and resolutions; whole, and cut anywhere at the end
 */
static void test_pcap(void **state) {
    (void)state;
    enum { N = 3000 };
    for (unsigned kind = 0; kind < 8; kind++) {
        Writer w = {.little = kind & 1};
        const bool nano = kind & 2;
        const uint32_t cut = kind >> 2;
        CaptureReader *reader = NULL;
        Frame frame;
        int fd = -1;
        pcap_head(&w, nano ? 0xa1b23c4d : 0xa1b2c3d4);
        for (uint32_t i = 0; i < N; i++)
            pcap_packet(&w, i, i % 1000 == 999 ? 200000 : i % 1500);
        w.bytes.size -= cut ? 1 + kind : 0;
        assert_int_equal(open_written(&w, &reader, &fd), 0);
        for (uint32_t i = 0; i < N - cut; i++) {
            assert_int_equal(next(reader, &frame), 0);
            const uint32_t size = i % 1000 == 999 ? 200000 : i % 1500;
            assert_int_equal(frame.captured_bytes, size);
            assert_int_equal(frame.wire_bytes, size + 1);
            assert_true(frame.time_ns ==
                        UINT64_C(1700000000000000000) + (uint64_t)i * (nano ? 1 : 1000));
            for (uint32_t k = 0; k < size; k += 97)
                assert_int_equal(frame.bytes[k], (uint8_t)(k * 7 + i));
        }
        assert_int_equal(next(reader, &frame), cut ? CAPTURE_READER_E_CUT : CAPTURE_READER_E_END);
        capture_reader_free(reader);
        (void)close(fd);
        buffer_deinit(&w.bytes);
    }
}

static void test_malformed(void **state) {
    (void)state;
    static const struct {
        uint32_t at, value; /* what is written over */
        int opened, read;
    } cases[] = {
        {0, 0x12345678, CAPTURE_READER_E_FOREIGN, 0},
        {8, 0x12345678, CAPTURE_READER_E_FOREIGN, 0},              /* byte order */
        {12, 0x00020000, CAPTURE_READER_E_FOREIGN, 0},             /* version */
        {4, 8, CAPTURE_READER_E_FOREIGN, 0},                       /* length of the section */
        {28 + 4, 0xfffffff0, CAPTURE_READER_E_FOREIGN, 0},         /* of the interface */
        {28 + 40 + 4, 1, 0, CAPTURE_READER_E_BROKEN},              /* of the packet */
        {28 + 40 + 8, 1, 0, CAPTURE_READER_E_BROKEN},              /* no such interface */
        {28 + 40 + 20, 500, 0, CAPTURE_READER_E_BROKEN},           /* captured */
        {28 + 40 + 4 + 28, 0x11111111, 0, CAPTURE_READER_E_BROKEN} /* the second length */
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        Writer w = {0};
        CaptureReader *reader = NULL;
        Frame frame;
        int fd = -1;
        section(&w);
        interface(&w, 1, 0, 6, 0);
        assert_int_equal(w.bytes.size, 28 + 40);
        enhanced(&w, 0, 1, "abc");
        const uint32_t value = __builtin_bswap32(cases[i].value);
        memcpy(w.bytes.bytes + cases[i].at, &value, 4);
        assert_int_equal(open_written(&w, &reader, &fd), cases[i].opened);
        if (!cases[i].opened)
            assert_int_equal(next(reader, &frame), cases[i].read);
        capture_reader_free(reader);
        (void)close(fd);
        buffer_deinit(&w.bytes);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pcapng),
        cmocka_unit_test(test_pcap),
        cmocka_unit_test(test_malformed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
