#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Capture Files
 *
 * Reads pcap (both byte orders, micro- and nanoseconds) and pcapng (draft-ietf-opsawg-pcapng) a
 * quarter of a megabyte at a time; frames point into what was read, and nothing of them is copied.
 * Interfaces of one pcapng file may have different link types and resolutions of time. A packet
 * without a time (simple packet block) has that of the one before.
 *
 * Other formats that libpcap knows, and pipes, are libpcap's: capture_pcapfile.c.
 */

#include "base/cleanup.h"
#include "base/reason.h"
#include "net/dissect.h"

typedef struct CaptureReader CaptureReader;

enum {
    _CAPTURE_READER_E_SUCCESS,
    CAPTURE_READER_E_FOREIGN, /* neither of the two formats, or not even a whole head */
    CAPTURE_READER_E_EMPTY,  /* capture_reader_next(): nothing more without capture_reader_fill() */
    CAPTURE_READER_E_END,    /* capture_reader_fill() */
    CAPTURE_READER_E_CUT,    /* the same, in the middle of a packet */
    CAPTURE_READER_E_BROKEN, /* no more can be read; the reason says why */
};

/** capture_reader_new() - of a regular file, at its beginning; the descriptor stays the caller's */
int capture_reader_new(CaptureReader **filep, int fd);
CaptureReader *capture_reader_free(CaptureReader *file);

/** capture_reader_link_type() - of the first interface, FRAME_LINK_... if it is known here */
int capture_reader_link_type(const CaptureReader *file);

/** capture_reader_next() - the next frames, at most `max`, and how many; fewer: *answerp says why.
 * Their bytes stay good until capture_reader_fill() */
size_t capture_reader_next(CaptureReader *file, Frame *frames, size_t max, int *answerp,
                           Reason *reason);

/** capture_reader_fill() - read on; 0, or why not */
int capture_reader_fill(CaptureReader *file, Reason *reason);

DEFINE_CLEANUP(CaptureReader *, capture_reader_free)
