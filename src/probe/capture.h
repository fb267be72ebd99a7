#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Capture
 *
 * Where frames come from: a vtable with a backend for live interfaces (AF_PACKET, TPACKET_V3), one
 * for capture files (pcap, pcapng, standard input), and two that are made of others: several
 * interfaces, whose packets are put in the order of their times, and files one after the other.
 * capture_open() chooses: `-` and what is a file is a file, else it must be an interface.
 *
 * A capture is of one thread. Several workers have one each of the same interfaces, and share the
 * packets out among them (probe/capture_fanout.h).
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/option.h"
#include "base/reason.h"
#include "net/dissect.h"

typedef struct Capture Capture;
typedef struct CaptureFanout CaptureFanout;

enum { CAPTURE_INPUTS_MAX = 15 }; /* interfaces at a time */

typedef struct CaptureConfig {
    const char *input;            /* interface, file, or "-"; stays until the capture is freed */
    const char *filter;           /* BPF expression, NULL: everything */
    const OptionList *black_list; /* nothing from these networks; NULL: none. Borrowed */
    uint32_t snaplen;             /* bytes of a packet, 0: as the backend thinks best */
    bool promisc;
    size_t ring_bytes;     /* of a live capture's ring */
    unsigned retire_ms;    /* after which it hands over packets, 0: as the backend thinks best */
    uint16_t number;       /* written into its frames as their input */
    CaptureFanout *fanout; /* NULL: all packets are this capture's; borrowed. Of several inputs an
                            * array, one each */
    unsigned member;       /* of the fanout, from 0 */
    const char *const *inputs; /* of capture_open_all(): those of which input is the first */
    size_t n_inputs;
} CaptureConfig;

typedef struct CaptureStats {
    uint64_t packets; /* taken from an interface, all of these since the start */
    uint64_t bytes;
    uint64_t dropped; /* by the kernel */
    uint64_t frozen;  /* times that the ring was full */
    uint64_t cut;     /* packets of which not all was captured (snaplen) */
    uint64_t overrun; /* by the capture itself, for its reader was behind */
    bool truncated;   /* a file that ends in the middle of a packet */
    bool away;        /* the interface is gone; it is taken again when it comes back */
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
    uint32_t interface_index; /* of a live one; another when the interface went and came back */
    int fd;                   /* readable when frames may be there, -1: none */
    const char *input;        /* one of them */
    Capture **inputs;         /* those it is made of, NULL: none. Each has its number's place */
    size_t n_inputs;
    const OptionList *black_list;
};

extern const CaptureBackend capture_afpacket;
extern const CaptureBackend capture_pcapfile;
extern const CaptureBackend capture_several;
extern const CaptureBackend capture_files;

int capture_open(Capture **capturep, const CaptureConfig *config, Reason *reason);

/** capture_open_all() - of these inputs: one of any kind, or interfaces, or files in turn. fanouts:
 * one for each interface, or NULL; the config's input, number and fanout are set for each */
int capture_open_all(Capture **capturep, const CaptureConfig *config, const char *const *inputs,
                     size_t n_inputs, CaptureFanout *fanouts, Reason *reason);

/** capture_is_interface() - and not a file's name */
bool capture_is_interface(const char *input);
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

/* interfaces: itself, or those it is made of */
static inline size_t capture_inputs(const Capture *capture) {
    return capture->inputs ? capture->n_inputs : 1;
}

static inline Capture *capture_input(Capture *capture, size_t i) {
    return capture->inputs ? capture->inputs[i] : capture;
}

DEFINE_CLEANUP(Capture *, capture_free)
