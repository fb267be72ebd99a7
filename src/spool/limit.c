/* SPDX-License-Identifier: Apache-2.0 */

#include <string.h>
#include <unistd.h>

#include "spool/inside.h"

static bool is_beyond(const Spool *spool, bool in_memory) {
    return in_memory ? spool->tally.memory_bytes > spool->config.memory_bytes
                     : spool->tally.disk_bytes > spool->config.limit_bytes;
}

/** let_go() - up to the segment's end; *n_dropsp hubs had not stored all of it */
static void let_go(Spool *spool, const Segment *segment, SpoolDrop *drops, unsigned *n_dropsp) {
    SpoolEpoch *epoch = segment->epoch;
    BatchCounts before;
    uint64_t least = spool_least_stored(epoch, &before);
    *n_dropsp = 0;
    if (least >= segment->last)
        return;
    if (least < segment->first - 1) { /* what was before it went in another way: torn, or by hand */
        least = segment->first - 1;
        before = segment->before;
    }
    spool->tally.dropped =
        batch_counts_add(spool->tally.dropped, batch_counts_subtract(segment->totals, before));
    spool->tally.dropped_batches += segment->last - least;
    if (!epoch->drops_counted) {
        epoch->drops_counted = true;
        epoch->drops_from = least;
        epoch->drops_from_totals = before;
    }
    epoch->gone = segment->last;
    epoch->gone_totals = segment->totals;
    for (unsigned i = 0; i < epoch->n_holders; i++) {
        const HolderMark *mark = &epoch->holders[i];
        if (mark->hub < 0 || mark->stored >= segment->last || segment->last <= epoch->from)
            continue;
        drops[(*n_dropsp)++] = (SpoolDrop){
            .hub = (unsigned)mark->hub,
            .epoch = epoch->shown,
            .last = segment->last - epoch->from,
            .totals = batch_counts_subtract(segment->totals, epoch->from_totals),
            .bytes = segment->bytes,
        };
    }
}

void spool_uncount_dropped(Spool *spool, SpoolEpoch *epoch) {
    const HolderMark *least = NULL;
    for (unsigned i = 0; i < epoch->n_holders; i++)
        if (epoch->holders[i].hub >= 0 && (!least || epoch->holders[i].stored < least->stored))
            least = &epoch->holders[i];
    /* one that is at the end of the gap, or behind it, was told of the gap */
    if (!epoch->drops_counted || !least || least->stored <= epoch->drops_from ||
        least->stored >= epoch->gone)
        return;
    spool->tally.dropped = batch_counts_subtract(
        spool->tally.dropped, batch_counts_subtract(least->totals, epoch->drops_from_totals));
    spool->tally.dropped_batches -= least->stored - epoch->drops_from;
    epoch->drops_from = least->stored;
    epoch->drops_from_totals = least->totals;
}

/* the oldest segment of the kind that there is too much of, but the one just written */
static Segment *oldest_beyond(const Spool *spool, const Segment *keep) {
    bool from_disk = spool->disk == SPOOL_DISK_FULL && is_beyond(spool, true);
    Segment *found = NULL;
    for (size_t i = 0; i < spool->n_segments && !found; i++) {
        Segment *segment = spool->segments[i];
        bool kept = keep && segment == keep;
        if (!kept && (is_beyond(spool, segment->in_memory) || (from_disk && !segment->in_memory)))
            found = segment;
    }
    /* what is gone of an epoch is always its beginning */
    for (size_t i = 0; i < spool->n_segments && found; i++)
        if (spool->segments[i]->epoch == found->epoch)
            return spool->segments[i] == keep ? NULL : spool->segments[i];
    return NULL;
}

bool spool_drop_oldest(Spool *spool, const Segment *keep, SpoolDrop *drops, unsigned *n_dropsp) {
    Segment *segment = oldest_beyond(spool, keep);
    if (!segment)
        return false;
    for (unsigned lane = 0; lane < spool->n_lanes; lane++)
        if (spool->lanes[lane].active == segment)
            (void)spool_close_active(spool, &spool->lanes[lane]); /* it goes anyway */
    bool on_disk = !segment->in_memory;
    let_go(spool, segment, drops, n_dropsp);
    /* first the note, then the bytes; if there is no room for the note, there is afterwards */
    bool noted = !*n_dropsp || spool->folder < 0 || cursors_write(spool) == 0;
    for (size_t i = 0; i < spool->n_segments; i++)
        if (spool->segments[i] == segment) {
            spool_remove_segment(spool, i);
            break;
        }
    if (!noted && on_disk)
        (void)cursors_write(spool);
    if (on_disk && spool->disk == SPOOL_DISK_FULL) { /* there is room now */
        spool->disk_again_ms = 0;
        spool_disk_again(spool);
    }
    return true;
}

void spool_drop_beyond(Spool *spool) {
    SpoolDrop drops[SPOOL_HUBS_MAX];
    unsigned n_drops = 0;
    size_t n_before = spool->n_segments;
    for (Segment *segment = oldest_beyond(spool, NULL); segment;
         segment = oldest_beyond(spool, NULL)) {
        let_go(spool, segment, drops, &n_drops);
        spool->tally.disk_bytes -= segment->bytes;
        size_t i = 0;
        while (spool->segments[i] != segment)
            i++;
        spool->n_segments--; /* it goes behind the others until the note is written */
        memmove(&spool->segments[i], &spool->segments[i + 1],
                (spool->n_segments - i) * sizeof(spool->segments[0]));
        spool->segments[spool->n_segments] = segment;
    }
    if (spool->n_segments == n_before)
        return;
    bool noted = cursors_write(spool) == 0; /* as in spool_drop_oldest() */
    for (size_t i = n_before; i-- > spool->n_segments;) {
        char name[SEGMENT_NAME_BYTES];
        segment_name(name, spool->segments[i]->number);
        (void)unlinkat(spool->folder, name, 0);
        spool->segments[i] = segment_free(spool->segments[i]);
    }
    if (!noted)
        (void)cursors_write(spool);
}
