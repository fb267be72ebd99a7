/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Several interfaces as one capture. The kernel hands packets over in blocks, so an answer that
 * came by one interface may be here before its question that came by another: packets go on in the
 * order of their times. A packet waits until every other interface has given a later one, or until
 * it is so old that none can: the kernel holds none back for longer than it takes to retire a
 * block.
 */

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/error.h"
#include "probe/capture.h"
#include "probe/capture_fanout.h"

enum {
    BATCH = 32,
    RETIRE_MS = 16,
    HOLD_MS = 40, /* with the kernel's timer, which counts in ticks of its own */
    STEP_MS = 5,  /* a packet waits */
    FUTURE_MS = 1000,
};

/* what an interface has given and was not handed on */
typedef struct Waiting {
    Frame frames[BATCH];
    size_t n;
    size_t at;
} Waiting;

typedef struct Several {
    Waiting waiting[CAPTURE_INPUTS_MAX];
    Capture *inputs[CAPTURE_INPUTS_MAX];
} Several;

static void several_close(Capture *capture) {
    for (size_t i = 0; i < capture->n_inputs; i++)
        capture_free(capture->inputs[i]);
    free(capture->state);
    capture->state = NULL;
}

static int several_open(Capture *capture, const CaptureConfig *config, Reason *reason) {
    Several *several = calloc(1, sizeof(*several));
    if (!several)
        return error_origin(-ENOMEM);
    capture->state = several; /* closed by whoever closes the capture */
    capture->inputs = several->inputs;
    for (size_t i = 0; i < config->n_inputs; i++) {
        CaptureConfig one = *config;
        one.input = config->inputs[i];
        one.number = (uint16_t)i;
        one.fanout = config->fanout ? &config->fanout[i] : NULL;
        one.retire_ms = RETIRE_MS;
        int r = capture_open(&several->inputs[i], &one, reason);
        if (r)
            return error_trace(r);
        capture->n_inputs++;
    }
    const Capture *first = several->inputs[0];
    capture->link_type = first ? first->link_type : 0;
    capture->interface_index = first ? first->interface_index : 0;
    return 0;
}

static int refill(Capture *capture, size_t i, Reason *reason) {
    Several *several = capture->state;
    Waiting *waiting = &several->waiting[i];
    if (waiting->at < waiting->n)
        return 0;
    waiting->at = waiting->n = 0;
    return error_trace(
        capture_read(several->inputs[i], waiting->frames, BATCH, &waiting->n, 0, reason));
}

/* the interface whose next packet is the oldest, n_inputs: there is none; *missing: another may
 * still give an older one */
static size_t oldest(const Capture *capture, bool *missing) {
    const Several *several = capture->state;
    size_t found = capture->n_inputs;
    *missing = false;
    for (size_t i = 0; i < capture->n_inputs; i++) {
        const Waiting *waiting = &several->waiting[i];
        if (waiting->at == waiting->n)
            *missing = true;
        else if (found == capture->n_inputs ||
                 waiting->frames[waiting->at].time_ns <
                     several->waiting[found].frames[several->waiting[found].at].time_ns)
            found = i;
    }
    return found;
}

/* none that is older can come; one from a future that is none waits for nothing */
static bool is_due(uint64_t time_ns, uint64_t now_ms) {
    const uint64_t time_ms = time_ns / 1000000;
    return time_ms + HOLD_MS < now_ms || time_ms > now_ms + FUTURE_MS;
}

static size_t take(Capture *capture, Frame *frames, size_t max) {
    Several *several = capture->state;
    const uint64_t now_ms = clock_wall_ms();
    size_t n = 0;
    while (n < max) {
        bool missing = false;
        const size_t i = oldest(capture, &missing);
        if (i == capture->n_inputs)
            break;
        Waiting *waiting = &several->waiting[i];
        if (missing && !is_due(waiting->frames[waiting->at].time_ns, now_ms))
            break;
        frames[n++] = waiting->frames[waiting->at++];
        if (waiting->at == waiting->n) /* it may have more at once, and older than the others */
            break;
    }
    return n;
}

/* until one that has nothing waiting has something, or a packet is old enough */
static void wait_for_any(const Capture *capture, unsigned timeout_ms) {
    const Several *several = capture->state;
    struct pollfd pollfds[CAPTURE_INPUTS_MAX];
    bool held = false;
    for (size_t i = 0; i < capture->n_inputs; i++) {
        const bool empty = several->waiting[i].at == several->waiting[i].n;
        held = held || !empty;
        pollfds[i] =
            (struct pollfd){.fd = empty ? several->inputs[i]->fd : -1, .events = POLLIN | POLLERR};
    }
    if (held && timeout_ms > STEP_MS)
        timeout_ms = STEP_MS;
    (void)poll(pollfds, capture->n_inputs, (int)timeout_ms);
}

static int several_read(Capture *capture, Frame *frames, size_t max, size_t *np,
                        unsigned timeout_ms, Reason *reason) {
    for (unsigned turn = 0; turn < 2; turn++) {
        for (size_t i = 0; i < capture->n_inputs; i++) {
            int r = refill(capture, i, reason);
            if (r)
                return error_trace(r);
        }
        *np = take(capture, frames, max);
        if (*np || turn)
            break;
        wait_for_any(capture, timeout_ms);
    }
    return 0;
}

static void several_stats(Capture *capture, CaptureStats *stats) {
    *stats = (CaptureStats){.away = true};
    for (size_t i = 0; i < capture->n_inputs; i++) {
        CaptureStats one;
        capture_stats(capture->inputs[i], &one);
        stats->packets += one.packets;
        stats->bytes += one.bytes;
        stats->dropped += one.dropped;
        stats->frozen += one.frozen;
        stats->cut += one.cut;
        stats->away = stats->away && one.away;
    }
}

/* the first says whether it is one; the others will then have it too */
static int several_filter(Capture *capture, const char *filter, Reason *reason) {
    int r = 0;
    for (size_t i = 0; r == 0 && i < capture->n_inputs; i++)
        r = capture_filter(capture->inputs[i], filter, reason);
    return error_trace(r);
}

const CaptureBackend capture_several = {
    .name = "several",
    .live = true,
    .open = several_open,
    .close = several_close,
    .read = several_read,
    .stats = several_stats,
    .filter = several_filter,
};
