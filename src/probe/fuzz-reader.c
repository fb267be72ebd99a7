/* SPDX-License-Identifier: Apache-2.0 */

/* Input: a capture file. Every byte of every frame is read, so that a sanitizer sees a bad one. */

#include <stddef.h>
#include <sys/mman.h>
#include <unistd.h>

#include "probe/capture_reader.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile uint8_t sink;

static void read_all(CaptureReader *reader) {
    Reason reason = {""};
    Frame frames[3];
    for (;;) {
        int r = 0;
        const size_t n = capture_reader_next(reader, frames, 3, &r, &reason);
        for (size_t k = 0; k < n; k++)
            for (uint32_t i = 0; i < frames[k].captured_bytes; i++)
                sink ^= frames[k].bytes[i];
        if (r == CAPTURE_READER_E_EMPTY)
            r = capture_reader_fill(reader, &reason);
        if (r)
            return;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    CaptureReader *reader = NULL;
    int fd = memfd_create("capture", MFD_CLOEXEC);
    if (fd < 0)
        return 0;
    if (write(fd, data, size) == (ssize_t)size && lseek(fd, 0, SEEK_SET) == 0 &&
        capture_reader_new(&reader, fd) == 0)
        read_all(reader);
    capture_reader_free(reader);
    (void)close(fd);
    return 0;
}
