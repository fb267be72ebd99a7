/* SPDX-License-Identifier: Apache-2.0 */

/*
 * How far each hub has come, and what was let go, in a small file beside the segments; epochs that
 * are over come first:
 *
 *     "WSPC" 4, version 1, ends 1 (1: they follow), reserved 2, epochs 4
 *     an epoch: id 16, holders 1, adopted 1, gone 8, totals there 24,
 *               adopter 8, from 8, totals there 24,
 *               holders x {hub 8, stored 8, totals there 24}
 *     its end, for each epoch: last 8, totals there 24
 *     CRC-32C 4
 *
 * What was adopted stands in a second file of this form, ADOPTED_NAME, too, written once: should
 * the first be lost, the hub would get it under another name, and store it again.
 *
 * It may be older than the segments: then hubs are asked about, or sent, what they have. It is
 * written before a segment goes for the limit, so that the gap is told even if the epoch has
 * nothing else left. The ends tell of segments that somebody removed meanwhile.
 */

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/crc32c.h"
#include "base/cursor.h"
#include "base/error.h"
#include "base/file.h"
#include "spool/inside.h"

enum { VERSION = 1, WITH_ENDS = 1, CURSORS_MAX_BYTES = 64 << 20 };

static const uint8_t tag[4] = {'W', 'S', 'P', 'C'};

static void put_place(Buffer *to, uint64_t sequence, const BatchCounts *totals) {
    buffer_put_u64(to, sequence);
    buffer_put_u64(to, totals->flows);
    buffer_put_u64(to, totals->packets);
    buffer_put_u64(to, totals->octets);
}

static uint64_t get_place(Cursor *c, BatchCounts *totals) {
    uint64_t sequence = cursor_u64(c);
    totals->flows = cursor_u64(c);
    totals->packets = cursor_u64(c);
    totals->octets = cursor_u64(c);
    return sequence;
}

static void put_epoch(Buffer *to, const SpoolEpoch *epoch) {
    buffer_put(to, epoch->id.bytes, sizeof(epoch->id.bytes));
    buffer_put_u8(to, (uint8_t)epoch->n_holders);
    buffer_put_u8(to, epoch->adopted);
    put_place(to, epoch->gone, &epoch->gone_totals);
    buffer_put_u64(to, epoch->adopter);
    put_place(to, epoch->from, &epoch->from_totals);
    for (unsigned i = 0; i < epoch->n_holders; i++) {
        buffer_put_u64(to, epoch->holders[i].id);
        put_place(to, epoch->holders[i].stored, &epoch->holders[i].totals);
    }
}

static void put_adopted(const Spool *spool, Buffer *to) {
    uint32_t n = 0;
    for (size_t i = 0; i < spool->n_epochs; i++)
        n += spool->epochs[i]->adopted;
    buffer_put(to, tag, sizeof(tag));
    buffer_put_u32(to, (uint32_t)VERSION << 24);
    buffer_put_u32(to, n);
    for (size_t i = 0; i < spool->n_epochs; i++)
        if (spool->epochs[i]->adopted)
            put_epoch(to, spool->epochs[i]);
    if (!to->failed)
        buffer_put_u32(to, crc32c(0, to->bytes, to->size));
}

static void put_all(const Spool *spool, Buffer *to) {
    buffer_put(to, tag, sizeof(tag));
    buffer_put_u32(to, (uint32_t)VERSION << 24 | (uint32_t)WITH_ENDS << 16);
    buffer_put_u32(to, (uint32_t)(spool->n_over + spool->n_epochs));
    for (size_t i = 0; i < spool->n_over; i++)
        put_epoch(to, spool->over[i]);
    for (size_t i = 0; i < spool->n_epochs; i++)
        put_epoch(to, spool->epochs[i]);
    for (size_t i = 0; i < spool->n_over; i++)
        put_place(to, spool->over[i]->last, &spool->over[i]->last_totals);
    for (size_t i = 0; i < spool->n_epochs; i++)
        put_place(to, spool->epochs[i]->last, &spool->epochs[i]->last_totals);
    if (!to->failed)
        buffer_put_u32(to, crc32c(0, to->bytes, to->size));
}

static int write_file(const Spool *spool, const char *name, const Buffer *bytes) {
    char path[PATH_MAX];
    int n = snprintf(path, sizeof(path), "%s/%s", spool->path, name);
    if (bytes->failed)
        return ENOMEM;
    if (n < 0 || (size_t)n >= sizeof(path))
        return ENAMETOOLONG;
    errno = 0;
    if (file_write(path, bytes->bytes, bytes->size, 0600, NULL) != 0)
        return errno ? errno : EIO;
    return 0;
}

int cursors_write(Spool *spool) {
    Buffer bytes = {0};
    (void)spool_write_tails(spool); /* what it says of an epoch's end is then in the file */
    put_all(spool, &bytes);
    int r = write_file(spool, CURSORS_NAME, &bytes);
    buffer_deinit(&bytes);
    if (!r) {
        spool->cursors_changed = false;
        spool->cursors_written++;
    }
    return r;
}

int cursors_write_adopted(Spool *spool) {
    Buffer bytes = {0};
    put_adopted(spool, &bytes);
    int r = write_file(spool, ADOPTED_NAME, &bytes);
    buffer_deinit(&bytes);
    return r;
}

int cursors_write_aside(Spool *spool) {
    Buffer bytes = {0};
    (void)spool_write_tails(spool);
    put_all(spool, &bytes);
    uint64_t written = spool->cursors_written;
    spool->cursors_changed = false;
    (void)pthread_mutex_unlock(&spool->lock);
    int r = write_file(spool, CURSORS_NAME ".next", &bytes);
    (void)pthread_mutex_lock(&spool->lock);
    buffer_deinit(&bytes);
    /* meanwhile something may have been let go: what says so must not be written over */
    if (!r && spool->cursors_written == written &&
        renameat(spool->folder, CURSORS_NAME ".next", spool->folder, CURSORS_NAME) < 0)
        r = errno;
    if (r)
        spool->cursors_changed = true;
    return r;
}

static bool read_row(Cursor *c, SpoolEpoch *row) {
    cursor_copy(c, row->id.bytes, sizeof(row->id.bytes));
    row->n_holders = cursor_u8(c);
    row->adopted = cursor_u8(c) != 0;
    row->gone = get_place(c, &row->gone_totals);
    row->adopter = cursor_u64(c);
    row->from = get_place(c, &row->from_totals);
    for (unsigned i = 0; i < row->n_holders && i < SPOOL_HUBS_MAX; i++) {
        row->holders[i].hub = -1;
        row->holders[i].id = cursor_u64(c);
        row->holders[i].stored = get_place(c, &row->holders[i].totals);
    }
    return !c->failed && row->n_holders <= SPOOL_HUBS_MAX;
}

/* of an epoch without segments: a gap, or one that is over */
static void take_end(SpoolEpoch *epoch, uint64_t last, const BatchCounts *totals) {
    if (last <= epoch->last)
        return;
    epoch->last = last;
    epoch->last_totals = *totals;
}

/** take_removed() - what stood in it and is in no file any more is a gap; not while a file waits to
 * be readable again */
static void take_removed(Spool *spool, SpoolEpoch *epoch, const SpoolEpoch *row) {
    if (row->last <= epoch->last || spool->n_unread || spool->n_newer)
        return;
    spool->n_removed += row->last_totals.flows - epoch->last_totals.flows;
    take_end(epoch, row->last, &row->last_totals);
}

/**
 * take_row() - merged into the epoch of the segments; without any only a gap is left of it, or the
 * memory that it is over, and it is older than those that have some. Whose its holders are now the
 * row knows better than the records: a hub that has moved is written down here.
 */
static int take_row(Spool *spool, const SpoolEpoch *row, size_t *n_gapsp) {
    SpoolEpoch *epoch = spool_find_epoch(spool, &row->id);
    bool known = epoch != NULL;
    if (!known) {
        int r = spool_add_epoch(spool, &row->id, &epoch);
        if (r)
            return error_trace(r);
        size_t at = (*n_gapsp)++;
        memmove(&spool->epochs[at + 1], &spool->epochs[at],
                (spool->n_epochs - 1 - at) * sizeof(*spool->epochs));
        spool->epochs[at] = epoch;
    }
    epoch->n_holders = row->n_holders;
    memcpy(epoch->holders, row->holders, sizeof(row->holders));
    epoch->gone = row->gone;
    epoch->gone_totals = row->gone_totals;
    take_end(epoch, row->gone, &row->gone_totals);
    for (unsigned i = 0; i < row->n_holders && !known; i++)
        take_end(epoch, row->holders[i].stored, &row->holders[i].totals);
    take_removed(spool, epoch, row);
    epoch->adopted = row->adopted;
    epoch->adopter = row->adopter;
    epoch->from = row->from;
    epoch->from_totals = row->from_totals;
    return 0;
}

int cursors_parse(Spool *spool, const void *bytes, size_t size) {
    if (size < 16)
        return -EBADMSG;
    Cursor c = cursor_make(bytes, size - 4);
    Cursor end = cursor_make((const uint8_t *)bytes + size - 4, 4);
    const uint8_t *mark = cursor_take(&c, sizeof(tag));
    uint8_t version = cursor_u8(&c);
    const bool with_ends = cursor_u8(&c) == WITH_ENDS;
    cursor_skip(&c, 2);
    uint32_t n = cursor_u32(&c);
    if (c.failed || memcmp(mark, tag, sizeof(tag)) != 0 || version != VERSION ||
        cursor_u32(&end) != crc32c(0, bytes, size - 4))
        return -EBADMSG;
    size_t n_gaps = 0;
    Cursor ends = c;
    for (uint32_t i = 0; i < n && with_ends; i++) {
        SpoolEpoch row = {0};
        if (!read_row(&ends, &row))
            return -EBADMSG;
    }
    for (uint32_t i = 0; i < n; i++) {
        SpoolEpoch row = {0};
        if (!read_row(&c, &row))
            return -EBADMSG;
        if (with_ends)
            row.last = get_place(&ends, &row.last_totals);
        if (ends.failed)
            return -EBADMSG;
        int r = take_row(spool, &row, &n_gaps);
        if (r)
            return error_trace(r);
    }
    return 0;
}

/** read_cursors() - an answer of file_read(), -EBADMSG, or 0 */
static int read_cursors(Spool *spool, const char *name) {
    char path[PATH_MAX];
    Buffer bytes = {0};
    int n = snprintf(path, sizeof(path), "%s/%s", spool->path, name);
    int r = n > 0 && (size_t)n < sizeof(path) ? file_read(&bytes, path, CURSORS_MAX_BYTES, NULL)
                                              : FILE_E_REFUSED;
    if (r == 0)
        r = bytes.size ? cursors_parse(spool, bytes.bytes, bytes.size) : FILE_E_REFUSED;
    buffer_deinit(&bytes);
    return r;
}

int cursors_read(Spool *spool) {
    int r = read_cursors(spool, CURSORS_NAME);
    if (r == -EBADMSG) {
        spool->tally.set_aside++;
        spool_say(spool, true,
                  "%s/" CURSORS_NAME
                  " is damaged: hubs are asked how far they are, and what was let go at the end "
                  "of an epoch is not told",
                  spool->path);
    }
    if (r == -EBADMSG || r > 0)
        r = read_cursors(spool, ADOPTED_NAME);
    if (spool->n_removed)
        spool_say(spool, true,
                  "%s: %" PRIu64
                  " flows of former runs are in no file any more: somebody removed it, or the "
                  "disk lost it; those that no hub has stored are missing, and counted",
                  spool->path, spool->n_removed);
    return r == -EBADMSG || r > 0 ? 0 : error_trace(r);
}
