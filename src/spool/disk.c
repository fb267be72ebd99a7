/* SPDX-License-Identifier: Apache-2.0 */

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "spool/inside.h"

void spool_disk_failed(Spool *spool, int error) {
    bool full = error == ENOSPC || error == EDQUOT;
    SpoolDisk word = full ? SPOOL_DISK_FULL : SPOOL_DISK_FAILING;
    bool news = spool->disk != word;
    spool->disk = word;
    spool->disk_again_ms = clock_monotonic_ms() + DISK_AGAIN_MS;
    (void)snprintf(spool->disk_reason, sizeof(spool->disk_reason), "%s: %s", spool->path,
                   strerror(error));
    for (unsigned i = 0; i < spool->n_lanes; i++)
        spool_rotate_lane(spool, &spool->lanes[i]);
    if (news)
        spool_say(spool, true,
                  "the spool cannot be written, %s; new flows wait in memory, up to %" PRIu64
                  " MB, until it can",
                  spool->disk_reason, spool->config.memory_bytes >> 20);
}

/** move_out() - what was held back into its file, every segment in memory into one of its own,
 * oldest first; the errno that ended it */
static int move_out(Spool *spool) {
    for (size_t i = 0; i < spool->n_segments; i++) {
        Segment *segment = spool->segments[i];
        const bool in_memory = segment->in_memory;
        segment->unsynced = segment->unsynced || segment->n_tail;
        int r = in_memory ? segment_make_file(segment, spool->folder)
                          : segment_write_tail(segment, spool->folder);
        if (r)
            return r;
        if (!in_memory)
            continue;
        spool->folder_unsynced = true;
        spool->tally.memory_bytes -= segment->bytes;
        spool->tally.disk_bytes += segment->bytes;
    }
    return 0;
}

void spool_disk_again(Spool *spool) {
    if (spool->disk <= SPOOL_DISK_GOOD || clock_monotonic_ms() < spool->disk_again_ms)
        return;
    int r = move_out(spool);
    if (r) {
        spool_disk_failed(spool, r);
        return;
    }
    spool->disk = SPOOL_DISK_GOOD;
    spool->disk_reason[0] = 0;
    spool->hurry = true;
    (void)pthread_cond_signal(&spool->wake);
    spool_say(spool, false, "the spool in %s can be written again", spool->path);
}

int spool_close_active(Spool *spool, SpoolLane *lane) {
    Segment *segment = lane->active;
    if (!segment)
        return 0;
    segment->active = false;
    lane->active = NULL;
    return segment_write_tail(segment, spool->folder);
}

int spool_open_active(Spool *spool, SpoolLane *lane) {
    Segment *segment = segment_new(spool->next_number);
    if (!segment)
        return error_origin(-ENOMEM);
    segment->epoch = lane->epoch;
    segment->first = lane->epoch->last + 1;
    segment->last = lane->epoch->last;
    segment->before = segment->totals = lane->epoch->last_totals;
    segment->begun_ms = clock_wall_ms();
    segment->in_memory = true;
    segment->counted = true;
    int r = spool->disk == SPOOL_DISK_GOOD ? segment_make_file(segment, spool->folder) : 0;
    if (!r)
        r = spool_add_segment(spool, segment);
    if (r) {
        segment_free(segment);
        return r; /* positive: the disk's */
    }
    segment->active = true;
    lane->active = segment;
    spool_forget_indexes(spool);
    spool->next_number++;
    if (!segment->in_memory)
        spool->folder_unsynced = true;
    return 0;
}
