#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Capture
 *
 * Where frames come from: a vtable with a backend for live interfaces (AF_PACKET, TPACKET_V3) and
 * one for capture files (pcap, pcapng, standard input). capture_open() chooses: `-` and what is a
 * file is a file, else it must be an interface.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/option.h"
#include "base/reason.h"
#include "net/dissect.h"

typedef struct Capture Capture;

typedef struct CaptureConfig {
    const char *input;            /* interface, file, or "-"; stays until the capture is freed */
    const char *filter;           /* BPF expression, NULL: everything */
    const OptionList *black_list; /* nothing from these networks; NULL: none. Borrowed */
    uint32_t snaplen;             /* bytes of a packet, 0: as the backend thinks best */
    bool promisc;
    size_t ring_bytes; /* of a live capture's ring */
} CaptureConfig;

typedef struct CaptureStats {
    uint64_t dropped; /* by the kernel, since the start */
    uint64_t overrun; /* by the capture itself, for its reader was behind */
    bool truncated;   /* a file that ends in the middle of a packet */
} CaptureStats;

enum {
    _CAPTURE_E_SUCCESS,
    CAPTURE_E_REFUSED, /* cannot be opened: the reason says why and what would do */
    CAPTURE_E_USAGE,   /* the filter is none: the reason says why */
    CAPTURE_E_END,     /* capture_read(): the file is done */
    CAPTURE_E_BROKEN,  /* capture_read(): no more can be read; the reason says why */
};

typedef struct CaptureBackend {
    const char *name;
    bool live; /* packets carry the time of now, and reading may wait */

    int (*open)(Capture *capture, const CaptureConfig *config, Reason *reason);
    void (*close)(Capture *capture);

    /*
     * Up to max frames; they stay good until the next call. Waits at most timeout_ms for the first;
     * none came: 0 and *np 0. Frames read before an end or a break are handed out first.
     */
    int (*read)(Capture *capture, Frame *frames, size_t max, size_t *np, unsigned timeout_ms,
                Reason *reason);
    void (*stats)(Capture *capture, CaptureStats *stats);

    /* from now on only what matches this ("": everything) while reading goes on; CAPTURE_E_USAGE or
     * _REFUSED: the one before stays */
    int (*filter)(Capture *capture, const char *filter, Reason *reason);
} CaptureBackend;

/* what every backend begins with */
struct Capture {
    const CaptureBackend *backend;
    void *state; /* the backend's own */
    uint16_t link_type;
    uint32_t interface_index; /* of a live one */
    const OptionList *black_list;
};

extern const CaptureBackend capture_afpacket;
extern const CaptureBackend capture_pcapfile;

int capture_open(Capture **capturep, const CaptureConfig *config, Reason *reason);
Capture *capture_free(Capture *capture);

static inline int capture_read(Capture *capture, Frame *frames, size_t max, size_t *np,
                               unsigned timeout_ms, Reason *reason) {
    return capture->backend->read(capture, frames, max, np, timeout_ms, reason);
}

static inline void capture_stats(Capture *capture, CaptureStats *stats) {
    capture->backend->stats(capture, stats);
}

/** capture_filter() - see the backend's; the black list stays */
int capture_filter(Capture *capture, const char *filter, Reason *reason);

DEFINE_CLEANUP(Capture *, capture_free)
