/* SPDX-License-Identifier: Apache-2.0 */

#include "probe/capture_pipe.h"

#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/cursor.h"

enum {
    PIPE_BYTES = 1 << 20, /* room for the largest packet, and enough to read at once */
    STDIO_BYTES = 65536,
    PCAP_HEAD_BYTES = 24, /* as many bytes say of either format which it is */
    PCAPNG_BLOCK_MIN = 12,
    PCAPNG_SECTION = 0x0a0d0d0a, /* the same from either end */
    PCAPNG_ORDER = 0x1a2b3c4d,
};

typedef enum Framing {
    FRAMING_UNKNOWN, /* the head has not come */
    FRAMING_NONE,    /* nothing we can delimit: libpcap's affair */
    FRAMING_PCAP,
    FRAMING_PCAPNG,
} Framing;

/* of microseconds and of nanoseconds */
static const uint32_t pcap_magics[] = {0xa1b2c3d4, 0xa1b23c4d};

struct CapturePipe {
    int fd;
    Framing framing;
    bool swapped;    /* numbers are in the other byte order */
    bool ended;      /* nothing more comes; what has come is given as it is */
    size_t n_whole;  /* packets that have come and were not announced by capture_pipe_ready() */
    size_t begin;    /* of what libpcap's stdio was not given yet; */
    size_t complete; /* up to here packets are whole; */
    size_t end;      /* up to here bytes have come */
    uint8_t bytes[PIPE_BYTES];
};

CapturePipe *capture_pipe_new(int fd) {
    CapturePipe *pipe = malloc(sizeof(*pipe));
    if (!pipe) {
        (void)close(fd);
        return NULL;
    }
    memset(pipe, 0, offsetof(CapturePipe, bytes));
    pipe->fd = fd;
    return pipe;
}

CapturePipe *capture_pipe_free(CapturePipe *pipe) {
    if (!pipe)
        return NULL;
    (void)close(pipe->fd);
    free(pipe);
    return NULL;
}

/* --- is a packet whole? ------------------------------------------------------------------- */

static uint32_t take_u32(Cursor *cursor, bool swapped) {
    uint32_t value = cursor_u32(cursor);
    return swapped ? __builtin_bswap32(value) : value;
}

static void find_framing(CapturePipe *pipe, Cursor cursor) {
    const uint32_t magic = cursor_u32(&cursor);
    pipe->framing = FRAMING_NONE;
    if (magic == PCAPNG_SECTION)
        pipe->framing = FRAMING_PCAPNG;
    for (size_t i = 0; i < sizeof(pcap_magics) / sizeof(pcap_magics[0]); i++) {
        if (magic != pcap_magics[i] && magic != __builtin_bswap32(pcap_magics[i]))
            continue;
        pipe->framing = FRAMING_PCAP;
        pipe->swapped = magic != pcap_magics[i];
        pipe->complete = pipe->begin + PCAP_HEAD_BYTES;
    }
}

/* the size of what begins at the cursor, and if it is a packet; 0: its head has not come */
static size_t next_size(CapturePipe *pipe, Cursor cursor, bool *packetp) {
    if (pipe->framing == FRAMING_PCAP) {
        cursor_skip(&cursor, 8); /* the time */
        const size_t captured = take_u32(&cursor, pipe->swapped);
        cursor_skip(&cursor, 4); /* the length on the wire */
        *packetp = true;
        return cursor.failed ? 0 : 16 + captured;
    }
    const uint32_t type = take_u32(&cursor, pipe->swapped);
    const uint32_t size = cursor_u32(&cursor);
    const uint32_t order = cursor_u32(&cursor);
    if (cursor.failed)
        return 0;
    if (type == PCAPNG_SECTION)
        pipe->swapped = order != PCAPNG_ORDER;
    *packetp = type == 2 || type == 3 || type == 6; /* obsolete, simple, enhanced */
    const size_t bytes = pipe->swapped ? __builtin_bswap32(size) : size;
    return bytes < PCAPNG_BLOCK_MIN ? SIZE_MAX : bytes;
}

static void delimit(CapturePipe *pipe) {
    if (pipe->framing == FRAMING_UNKNOWN && pipe->end - pipe->begin >= PCAP_HEAD_BYTES)
        find_framing(pipe, cursor_make(pipe->bytes + pipe->begin, PCAP_HEAD_BYTES));
    while (pipe->framing > FRAMING_NONE) {
        const size_t have = pipe->end - pipe->complete;
        bool is_packet = false;
        size_t size = next_size(pipe, cursor_make(pipe->bytes + pipe->complete, have), &is_packet);
        if (size > PIPE_BYTES)
            pipe->framing = FRAMING_NONE;
        else if (size == 0 || size > have)
            return;
        else
            pipe->complete += size;
        pipe->n_whole += is_packet;
    }
    if (pipe->framing == FRAMING_NONE)
        pipe->complete = pipe->end;
}

/* --- bytes in, bytes out ------------------------------------------------------------------ */

/* what comes within timeout_ms, -1: whenever; false when nothing did, or a signal */
static bool fill(CapturePipe *pipe, int timeout_ms) {
    struct pollfd wanted = {.fd = pipe->fd, .events = POLLIN};
    if (poll(&wanted, 1, timeout_ms) <= 0)
        return false;
    memmove(pipe->bytes, pipe->bytes + pipe->begin, pipe->end - pipe->begin);
    pipe->complete -= pipe->begin;
    pipe->end -= pipe->begin;
    pipe->begin = 0;
    ssize_t n = read(pipe->fd, pipe->bytes + pipe->end, PIPE_BYTES - pipe->end);
    if (n < 0 && (errno == EINTR || errno == EAGAIN))
        return false;
    pipe->end += n > 0 ? (size_t)n : 0;
    pipe->ended = n <= 0; /* a pipe that cannot be read is at its end */
    delimit(pipe);
    if (pipe->ended)
        pipe->complete = pipe->end;
    return true;
}

static ssize_t on_read(void *cookie, char *to, size_t size) {
    CapturePipe *pipe = cookie;
    while (pipe->begin == pipe->complete && !pipe->ended)
        if (!fill(pipe, -1))
            return -1;
    const size_t have = pipe->complete - pipe->begin;
    const size_t n = size < have ? size : have;
    memcpy(to, pipe->bytes + pipe->begin, n);
    pipe->begin += n;
    return (ssize_t)n;
}

FILE *capture_pipe_file(CapturePipe *pipe) {
    FILE *file = fopencookie(pipe, "r", (cookie_io_functions_t){.read = on_read});
    if (file)
        (void)setvbuf(file, NULL, _IOFBF, STDIO_BYTES);
    return file;
}

bool capture_pipe_ready(CapturePipe *pipe, unsigned timeout_ms) {
    const uint64_t end_ms = clock_monotonic_ms() + timeout_ms;
    while (pipe->n_whole == 0 && pipe->framing != FRAMING_NONE && !pipe->ended &&
           pipe->end - pipe->begin < PIPE_BYTES) { /* full of what is no packet: to be skipped */
        const uint64_t now_ms = clock_monotonic_ms();
        if (!fill(pipe, now_ms < end_ms ? (int)(end_ms - now_ms) : 0))
            return false;
    }
    pipe->n_whole -= pipe->n_whole > 0;
    return true;
}
