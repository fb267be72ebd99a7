/* SPDX-License-Identifier: Apache-2.0 */

#include "probe/capture_reader.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cursor.h"
#include "base/error.h"

enum {
    READ_BYTES = 128 * 1024, /* at once: less than the second cache holds */
    RECORD_MAX = 512 * 1024, /* a frame of 256 KB with its options */
    FRAME_MAX = 256 * 1024,
    INTERFACES_MAX = 4096,
    PCAP_HEAD_BYTES = 24,
    PCAP_PACKET_BYTES = 16,
};

/* pcapng, section 4 */
enum {
    BLOCK_SECTION = 0x0a0d0d0a, /* the same from either end */
    BLOCK_ORDER = 0x1a2b3c4d,
    BLOCK_INTERFACE = 1,
    BLOCK_PACKET = 2, /* obsolete */
    BLOCK_SIMPLE = 3,
    BLOCK_ENHANCED = 6,
    BLOCK_LEAST = 12,
    OPTION_RESOLUTION = 9,
    OPTION_OFFSET = 14,
};

typedef struct FileInterface {
    uint16_t link_type;
    uint8_t resolution; /* of time, as it is written: 10^-n s, or with the top bit 2^-n */
    uint32_t snaplen;   /* 0: no limit */
    uint64_t offset_ns;
} FileInterface;

struct CaptureReader {
    int fd;
    bool ng;
    bool swapped;         /* numbers are little endian */
    uint32_t nanoseconds; /* a unit of a pcap file's fraction */
    uint64_t last_ns;
    FileInterface *interfaces; /* of the section; a pcap file has one */
    size_t n_interfaces;
    uint64_t skip; /* bytes of a block that nobody wants */
    size_t begin;  /* of what was not taken yet */
    size_t end;
    uint8_t bytes[READ_BYTES + RECORD_MAX];
};

static int broken(Reason *reason, const char *what) {
    reason_set(reason, "%s", what);
    return CAPTURE_READER_E_BROKEN;
}

static inline uint32_t take_u32(const CaptureReader *file, Cursor *c) {
    const uint32_t v = cursor_u32(c);
    return file->swapped ? __builtin_bswap32(v) : v;
}

static inline uint16_t take_u16(const CaptureReader *file, Cursor *c) {
    const uint16_t v = cursor_u16(c);
    return file->swapped ? __builtin_bswap16(v) : v;
}

static Cursor rest(const CaptureReader *file) {
    return cursor_make(file->bytes + file->begin, file->end - file->begin);
}

/* what stands in files for raw IP differs from libpcap's number of it */
static uint16_t link_of(uint32_t written) {
    const uint16_t link = (uint16_t)written;
    return link == 101 || link == 14 ? FRAME_LINK_RAW : link;
}

/* --- pcap --------------------------------------------------------------------------------- */

static inline uint32_t host_u32(const CaptureReader *file, const uint8_t *at) {
    uint32_t v = 0;
    memcpy(&v, at, sizeof(v));
    return file->swapped == (__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__) ? v : __builtin_bswap32(v);
}

/* seconds | fraction | bytes captured | bytes on the wire */
static int next_pcap(CaptureReader *file, Frame *frame, Reason *reason) {
    Cursor c = rest(file);
    const uint8_t *head = cursor_take(&c, PCAP_PACKET_BYTES);
    if (!head)
        return CAPTURE_READER_E_EMPTY;
    const uint32_t captured = host_u32(file, head + 8);
    const uint32_t wire = host_u32(file, head + 12);
    if (captured > FRAME_MAX)
        return broken(reason, "a packet of an impossible length");
    const uint8_t *bytes = cursor_take(&c, captured);
    if (!bytes)
        return CAPTURE_READER_E_EMPTY;
    *frame = (Frame){.bytes = bytes,
                     .time_ns = host_u32(file, head) * UINT64_C(1000000000) +
                                (uint64_t)host_u32(file, head + 4) * file->nanoseconds,
                     .captured_bytes = captured,
                     .wire_bytes = wire < captured ? captured : wire,
                     .link_type = file->interfaces[0].link_type};
    file->begin += PCAP_PACKET_BYTES + captured;
    return 0;
}

/* magic | version 2 + 2 | zone 4 | accuracy 4 | longest packet | link type */
static int head_pcap(CaptureReader *file, uint32_t magic) {
    static const struct {
        uint32_t magic, nanoseconds;
    } kinds[] = {{0xa1b2c3d4, 1000}, {0xa1b23c4d, 1}};
    Cursor c = rest(file);
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if (magic != kinds[i].magic && magic != __builtin_bswap32(kinds[i].magic))
            continue;
        file->swapped = magic != kinds[i].magic;
        file->nanoseconds = kinds[i].nanoseconds;
        cursor_skip(&c, PCAP_HEAD_BYTES - 4);
        file->interfaces[0] = (FileInterface){.link_type = link_of(take_u32(file, &c))};
        file->n_interfaces = 1;
        file->begin += PCAP_HEAD_BYTES;
        return c.failed ? CAPTURE_READER_E_FOREIGN : 0;
    }
    return CAPTURE_READER_E_FOREIGN;
}

/* --- pcapng ------------------------------------------------------------------------------- */

static uint64_t time_of(const FileInterface *interface, uint64_t ticks) {
    const unsigned n = interface->resolution & 0x7f;
    __extension__ unsigned __int128 ns = ticks;
    if (interface->resolution & 0x80) {
        ns = ns * 1000000000u >> n;
    } else {
        for (unsigned i = n; i < 9; i++)
            ns *= 10;
        for (unsigned i = 9; i < n; i++)
            ns /= 10;
    }
    return (uint64_t)ns + interface->offset_ns;
}

/* code | length | value, padded to four bytes; 0 ends */
static void read_options(const CaptureReader *file, Cursor c, FileInterface *to) {
    for (;;) {
        const uint16_t code = take_u16(file, &c);
        const uint16_t size = take_u16(file, &c);
        Cursor value = cursor_sub(&c, size);
        cursor_skip(&c, -(size_t)size & 3);
        if (code == 0 || value.failed)
            return;
        if (code == OPTION_RESOLUTION && size == 1)
            to->resolution = cursor_u8(&value);
        else if (code == OPTION_OFFSET && size == 8) {
            const uint64_t first = take_u32(file, &value);
            const uint64_t second = take_u32(file, &value);
            to->offset_ns =
                (file->swapped ? second << 32 | first : first << 32 | second) * 1000000000u;
        }
    }
}

/* link type 2 | reserved 2 | longest packet | options */
static int take_interface(CaptureReader *file, Cursor c, Reason *reason) {
    if (file->n_interfaces == INTERFACES_MAX)
        return broken(reason, "too many interfaces");
    FileInterface *to = &file->interfaces[file->n_interfaces];
    *to = (FileInterface){.resolution = 6};
    to->link_type = link_of(take_u16(file, &c));
    cursor_skip(&c, 2);
    to->snaplen = take_u32(file, &c);
    if (c.failed)
        return broken(reason, "an interface block that is too short");
    file->n_interfaces++;
    read_options(file, c, to);
    return 0;
}

/* enhanced: interface 4 | time 8 | captured | wire | bytes; obsolete: interface 2, drops 2 | ...;
 * simple: wire | bytes */
static int take_packet(CaptureReader *file, uint32_t type, Cursor c, Frame *frame, Reason *reason) {
    uint32_t number = 0;
    uint64_t ticks = 0;
    uint32_t captured = 0;
    if (type == BLOCK_ENHANCED) {
        number = take_u32(file, &c);
    } else if (type == BLOCK_PACKET) {
        number = take_u16(file, &c);
        cursor_skip(&c, 2);
    }
    if (number >= file->n_interfaces)
        return broken(reason, "a packet of an interface that is not described");
    const FileInterface *interface = &file->interfaces[number];
    if (type != BLOCK_SIMPLE) {
        ticks = take_u32(file, &c);
        ticks = ticks << 32 | take_u32(file, &c);
        captured = take_u32(file, &c);
    }
    const uint32_t wire = take_u32(file, &c);
    if (type == BLOCK_SIMPLE) {
        captured = interface->snaplen && interface->snaplen < wire ? interface->snaplen : wire;
        if (captured > cursor_left(&c))
            captured = (uint32_t)cursor_left(&c);
    } else {
        file->last_ns = time_of(interface, ticks);
    }
    const uint8_t *bytes = cursor_take(&c, captured);
    if (!bytes || captured > FRAME_MAX)
        return broken(reason, "a packet of an impossible length");
    *frame = (Frame){.bytes = bytes,
                     .time_ns = file->last_ns,
                     .captured_bytes = captured,
                     .wire_bytes = wire < captured ? captured : wire,
                     .link_type = interface->link_type};
    return 0;
}

/* type | length of it all | body | length of it all. *bodyp is set when the block is all there */
static int next_block(CaptureReader *file, uint32_t *typep, Cursor *bodyp, Reason *reason) {
    Cursor c = rest(file);
    const uint8_t *start = c.at;
    const uint32_t raw = cursor_u32(&c);
    const uint32_t first = cursor_u32(&c);
    const uint32_t order = cursor_u32(&c);
    if (c.failed)
        return CAPTURE_READER_E_EMPTY;
    if (raw == BLOCK_SECTION) {
        if (order != BLOCK_ORDER && order != __builtin_bswap32(BLOCK_ORDER))
            return broken(reason, "a section in no known byte order");
        file->swapped = order != BLOCK_ORDER;
        const uint16_t version = take_u16(file, &c);
        if (c.failed)
            return CAPTURE_READER_E_EMPTY;
        if (version != 1)
            return broken(reason, "a section of a version of the format that is not known");
    }
    const uint32_t type = file->swapped ? __builtin_bswap32(raw) : raw;
    const uint32_t size = file->swapped ? __builtin_bswap32(first) : first;
    const bool wanted = type == BLOCK_SECTION ||
                        (type >= BLOCK_INTERFACE && type <= BLOCK_SIMPLE) || type == BLOCK_ENHANCED;
    if (size < BLOCK_LEAST || (wanted && size > RECORD_MAX))
        return broken(reason, "a block of an impossible length");
    if (!wanted) {
        const size_t here = file->end - file->begin;
        file->skip = size > here ? size - here : 0;
        file->begin += size < here ? size : here;
        *typep = 0;
        return 0;
    }
    if (size > file->end - file->begin)
        return CAPTURE_READER_E_EMPTY;
    Cursor last = cursor_make(start + size - 4, 4);
    if (take_u32(file, &last) != size)
        return broken(reason, "a block whose two lengths differ");
    *typep = type;
    *bodyp = cursor_make(start + 8, size - BLOCK_LEAST);
    file->begin += size;
    return 0;
}

/* with no frame asked for, up to the first interface */
static int next_ng(CaptureReader *file, Frame *frame, Reason *reason) {
    for (;;) {
        uint32_t type = 0;
        Cursor body = {0};
        int r = next_block(file, &type, &body, reason);
        if (r)
            return r;
        if (type == BLOCK_SECTION)
            file->n_interfaces = 0;
        else if (type == BLOCK_INTERFACE)
            r = take_interface(file, body, reason);
        else if (type)
            return frame ? take_packet(file, type, body, frame, reason)
                         : broken(reason, "a packet before the first interface");
        if (r || (!frame && file->n_interfaces))
            return r;
        if (type == 0 && file->skip)
            return CAPTURE_READER_E_EMPTY;
    }
}

static int head_ng(CaptureReader *file) {
    Reason reason;
    int r = 0;
    file->ng = true;
    while ((r = next_ng(file, NULL, &reason)) == CAPTURE_READER_E_EMPTY)
        if (capture_reader_fill(file, &reason))
            return CAPTURE_READER_E_FOREIGN;
    return r ? CAPTURE_READER_E_FOREIGN : 0;
}

/* --- life --------------------------------------------------------------------------------- */

int capture_reader_new(CaptureReader **filep, int fd) {
    Reason reason;
    cleanup(capture_reader_freep) CaptureReader *file = malloc(sizeof(*file));
    if (!file)
        return error_origin(-ENOMEM);
    memset(file, 0, offsetof(CaptureReader, bytes));
    file->fd = fd;
    file->interfaces = calloc(INTERFACES_MAX, sizeof(*file->interfaces));
    if (!file->interfaces)
        return error_origin(-ENOMEM);
    (void)posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
    if (capture_reader_fill(file, &reason))
        return CAPTURE_READER_E_FOREIGN;
    Cursor c = rest(file);
    const uint32_t magic = cursor_u32(&c);
    int r = magic == BLOCK_SECTION ? head_ng(file) : head_pcap(file, magic);
    if (r)
        return r;
    *filep = file;
    file = NULL;
    return 0;
}

CaptureReader *capture_reader_free(CaptureReader *file) {
    if (!file)
        return NULL;
    free(file->interfaces);
    free(file);
    return NULL;
}

int capture_reader_link_type(const CaptureReader *file) {
    return file->interfaces[0].link_type;
}

size_t capture_reader_next(CaptureReader *file, Frame *frames, size_t max, int *answerp,
                           Reason *reason) {
    size_t n = 0;
    int r = 0;
    if (file->ng)
        while (n < max && (r = next_ng(file, &frames[n], reason)) == 0)
            n++;
    else
        while (n < max && (r = next_pcap(file, &frames[n], reason)) == 0)
            n++;
    *answerp = r;
    return n;
}

int capture_reader_fill(CaptureReader *file, Reason *reason) {
    memmove(file->bytes, file->bytes + file->begin, file->end - file->begin);
    file->end -= file->begin;
    file->begin = 0;
    ssize_t n = 0;
    do
        n = read(file->fd, file->bytes + file->end, READ_BYTES);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return broken(reason, strerror(errno));
    if (n == 0)
        return file->end || file->skip ? CAPTURE_READER_E_CUT : CAPTURE_READER_E_END;
    file->end += (size_t)n;
    const size_t skipped = file->skip < file->end ? (size_t)file->skip : file->end;
    file->skip -= skipped;
    file->begin = skipped;
    return 0;
}
