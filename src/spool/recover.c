/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What former runs left. Of each segment only the first record is looked at: where it ends says the
 * first record of its epoch's next one. The last segment of each epoch is read to its end, for only
 * there can a record be torn; what is damaged elsewhere shows when it is read.
 */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/error.h"
#include "base/hash.h"
#include "spool/inside.h"

enum { UNREAD_DAYS = 3 };

/* --- the files ------------------------------------------------------------------------------ */

static bool read_name(const char *name, uint64_t *numberp) {
    char *end = NULL;
    errno = 0;
    uint64_t number = strtoull(name, &end, 16);
    char back[SEGMENT_NAME_BYTES];
    segment_name(back, number);
    if (errno || strcmp(back, name) != 0)
        return false;
    *numberp = number;
    return true;
}

static int compare_numbers(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static int list_numbers(const Spool *spool, uint64_t **numbersp, size_t *np) {
    int fd = openat(spool->folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (!dir)
        return error_origin(-errno);
    uint64_t *numbers = NULL;
    size_t n = 0, capacity = 0;
    int r = 0;
    for (const struct dirent *entry = readdir(dir); entry && !r; entry = readdir(dir)) {
        uint64_t number = 0;
        if (!read_name(entry->d_name, &number))
            continue;
        if (n == capacity) {
            capacity = capacity ? capacity * 2 : 64;
            uint64_t *more = realloc(numbers, capacity * sizeof(*more));
            if (!more) {
                r = error_origin(-ENOMEM);
                break;
            }
            numbers = more;
        }
        numbers[n++] = number;
    }
    (void)closedir(dir);
    if (n)
        qsort(numbers, n, sizeof(*numbers), compare_numbers);
    *numbersp = numbers;
    *np = n;
    return r;
}

/** set_aside() - not ours, or nothing to be read in it: it keeps its bytes under another name */
static void set_aside(Spool *spool, uint64_t number, const char *why) {
    char name[SEGMENT_NAME_BYTES];
    char other[SEGMENT_NAME_BYTES + 8];
    segment_name(name, number);
    (void)snprintf(other, sizeof(other), "%s.bad", name);
    bool moved = renameat(spool->folder, name, spool->folder, other) == 0;
    spool->tally.set_aside++;
    spool_say(spool, true, "%s/%s %s; it is %s", spool->path, name, why,
              moved ? "set aside as .bad" : "left out");
}

static void unread_name(char note[SEGMENT_NAME_BYTES + 8], uint64_t number) {
    char name[SEGMENT_NAME_BYTES];
    segment_name(name, number);
    (void)snprintf(note, SEGMENT_NAME_BYTES + 8, "%s.unread", name);
}

/** has_waited() - this one could not be read at a start some days ago either; a file beside it with
 * no bytes says since when */
static bool has_waited(const Spool *spool, uint64_t number, bool *notedp) {
    char note[SEGMENT_NAME_BYTES + 8];
    struct stat st;
    struct timespec now;
    unread_name(note, number);
    (void)clock_gettime(CLOCK_REALTIME, &now);
    *notedp = fstatat(spool->folder, note, &st, AT_SYMLINK_NOFOLLOW) == 0;
    if (*notedp && now.tv_sec - st.st_mtim.tv_sec >= UNREAD_DAYS * 86400) {
        (void)unlinkat(spool->folder, note, 0);
        return true;
    }
    int fd = *notedp ? -1 : openat(spool->folder, note, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    closep(&fd);
    return false;
}

/** leave() - it keeps its name and its bytes, uncounted: another start takes it. Not for ever:
 * true, it is set aside, and what it held is missing without a count */
static bool leave(Spool *spool, uint64_t number, const char *why) {
    char name[SEGMENT_NAME_BYTES];
    char text[256];
    bool noted = false;
    segment_name(name, number);
    if (has_waited(spool, number, &noted)) {
        (void)snprintf(text, sizeof(text),
                       "could not be read for %d days: %s; what it held is missing", UNREAD_DAYS,
                       why);
        set_aside(spool, number, text);
        return true;
    }
    spool->n_unread++;
    if (!noted) /* once, not at each start */
        spool_say(spool, true,
                  "%s/%s cannot be read: %s; it stays there, and is tried again at each start for "
                  "%d days",
                  spool->path, name, why, UNREAD_DAYS);
    return false;
}

/** Look - what the beginning of a segment's file shows */
typedef enum Look {
    LOOK_RECORD,
    LOOK_TORN, /* nothing in it ever reached the disk */
    LOOK_FOREIGN,
    LOOK_NEWER,
    LOOK_UNREADABLE, /* just now: the errno says why */
} Look;

/* of a file that does not begin with a record */
static Look look_through(const uint8_t *bytes, size_t size, Record *record) {
    RecordScan scan = {.bytes = bytes, .size = size};
    size_t offset = 0;
    bool whole = false;
    if (record_scan(&scan, record, &offset, &whole))
        return LOOK_RECORD;
    bool torn = size < RECORD_HEAD_MIN_BYTES; /* a first record that was cut */
    for (size_t i = 0; !torn && i < size && !bytes[i]; i++)
        torn = i + 1 == size; /* or never reached the disk */
    return torn ? LOOK_TORN : LOOK_FOREIGN;
}

static Look first_record(const Spool *spool, Segment *segment, Record *record) {
    uint8_t head[RECORD_HEAD_MAX_BYTES];
    size_t head_bytes = 0;
    size_t size = segment->bytes < sizeof(head) ? (size_t)segment->bytes : sizeof(head);
    errno = EIO; /* should the file have become shorter meanwhile */
    if (!segment_read(segment, spool->folder, 0, head, size))
        return LOOK_UNREADABLE;
    int r = record_read(record, &head_bytes, head, size);
    if (r == 0)
        return LOOK_RECORD;
    if (r == RECORD_E_NEWER)
        return LOOK_NEWER;
    if (segment->bytes > SEGMENT_FILE_MAX_BYTES)
        return LOOK_FOREIGN;
    uint8_t *bytes = malloc(segment->bytes ? segment->bytes : 1);
    if (!bytes)
        return LOOK_UNREADABLE;
    errno = EIO;
    bool read = segment_read(segment, spool->folder, 0, bytes, segment->bytes);
    Look look = read ? look_through(bytes, segment->bytes, record) : LOOK_UNREADABLE;
    int error = errno;
    free(bytes);
    errno = error;
    return look;
}

static void set_holders(SpoolEpoch *epoch, const Record *record) {
    epoch->n_holders = record->n_hubs;
    for (unsigned i = 0; i < record->n_hubs; i++)
        epoch->holders[i] = (HolderMark){.id = record->hubs[i], .hub = -1};
}

/** take_record() - the segment begins with this record; 1: it goes back behind the one before it */
static int take_record(Spool *spool, Segment *segment, const Record *record) {
    SpoolEpoch *epoch = spool_find_epoch(spool, &record->epoch);
    if (epoch && record->sequence <= epoch->last)
        return 1; /* a copy of another segment; epoch->last is the newest first here */
    int r = epoch ? 0 : spool_add_epoch(spool, &record->epoch, &epoch);
    if (r)
        return error_trace(r);
    if (!epoch->n_holders)
        set_holders(epoch, record);
    epoch->last = record->sequence;
    segment->epoch = epoch;
    segment->first = record->sequence;
    segment->last = record->sequence - 1;
    segment->before = batch_counts_subtract(record->totals, record->counts);
    segment->totals = segment->before;
    segment->begun_ms = record->written_ms;
    return error_trace(spool_add_segment(spool, segment));
}

/** take_file() - a segment whose first record is known, or the file is out of the way */
static int take_file(Spool *spool, uint64_t number) {
    char name[SEGMENT_NAME_BYTES];
    struct stat st;
    segment_name(name, number);
    if (fstatat(spool->folder, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode))
        return 0;
    Segment *segment = segment_new(number);
    if (!segment)
        return error_origin(-ENOMEM);
    segment->bytes = (uint64_t)st.st_size;
    Record record;
    Look look = first_record(spool, segment, &record);
    int error = errno;
    segment_unindex(segment);
    int r = look == LOOK_RECORD ? take_record(spool, segment, &record) : 0;
    if (look == LOOK_RECORD && !r)
        return 0;
    segment_free(segment);
    if (r < 0)
        return error_trace(r);
    if (r) {
        set_aside(spool, number, "goes back behind the one before it");
    } else if (look == LOOK_NEWER) {
        if (!spool->n_newer++)
            spool->newer = number;
    } else if (look == LOOK_FOREIGN) {
        set_aside(spool, number, "holds no record of a spool");
    } else if (look == LOOK_UNREADABLE) {
        (void)leave(spool, number, strerror(error));
    } else if (look == LOOK_TORN) {
        spool->tally.torn_bytes += (uint64_t)st.st_size;
        (void)unlinkat(spool->folder, name, 0);
    }
    return 0;
}

/** set_ends() - from the newest back: each segment ends where the next of its epoch begins */
static void set_ends(Spool *spool) {
    for (size_t i = spool->n_segments; i-- > 0;) {
        Segment *segment = spool->segments[i];
        Segment *next = segment->epoch->earliest;
        segment->epoch->earliest = segment;
        if (next) {
            segment->last = next->first - 1;
            segment->totals = next->before;
            continue;
        }
        SegmentEnd end;
        int r = segment_index(segment, spool->folder, true, &end);
        segment_unindex(segment);
        segment->counted = true;
        if (r) { /* for now the epoch ends before it */
            segment->left = true;
            segment->epoch->goes_on = !leave(spool, segment->number, strerror(r));
            end = (SegmentEnd){.last = segment->first - 1, .totals = segment->before};
        }
        segment->last = end.last;
        segment->totals = end.totals;
        segment->epoch->last = end.last;
        segment->epoch->last_totals = end.totals;
        spool->tally.torn_bytes += end.torn_bytes;
        spool->tally.torn_batches += end.torn_batches;
        if (end.torn_bytes)
            spool_say(spool, true,
                      "%s: %" PRIu64
                      " bytes at the end of the last run were not written whole, or damaged since",
                      spool->path, end.torn_bytes);
    }
}

/** drop_left() - those that could not be read are not of this run; their files stay */
static void drop_left(Spool *spool) {
    size_t kept = 0;
    for (size_t i = 0; i < spool->n_segments; i++) {
        Segment *segment = spool->segments[i];
        if (segment->left) {
            segment_free(segment);
            continue;
        }
        char note[SEGMENT_NAME_BYTES + 8];
        unread_name(note, segment->number); /* mostly there is none */
        (void)unlinkat(spool->folder, note, 0);
        spool->segments[kept++] = segment;
    }
    spool->n_segments = kept;
}

/* --- the hubs ------------------------------------------------------------------------------- */

static bool is_taken(const SpoolEpoch *epoch, unsigned n, int hub) {
    for (unsigned i = 0; i < epoch->n_holders; i++)
        if (i != n && epoch->holders[i].hub == hub)
            return true;
    return false;
}

enum { MATCH_BOTH, MATCH_ENDPOINT, MATCH_KEY, N_MATCHES };

static int match_hub(const Spool *spool, const SpoolEpoch *epoch, unsigned n, int how) {
    static const uint64_t masks[N_MATCHES] = {UINT64_MAX, UINT64_C(0xffffffff00000000), 0xffffffff};
    for (unsigned i = 0; i < spool->config.n_hubs; i++)
        if (((spool->config.hubs[i] ^ epoch->holders[n].id) & masks[how]) == 0 &&
            !is_taken(epoch, n, (int)i))
            return (int)i;
    return -1;
}

/* the one that has least of it, whether it is configured or not */
static const HolderMark *least_holder(const SpoolEpoch *epoch) {
    const HolderMark *least = &epoch->holders[0];
    for (unsigned i = 1; i < epoch->n_holders; i++)
        if (epoch->holders[i].stored < least->stored)
            least = &epoch->holders[i];
    return least;
}

static bool waits(const SpoolEpoch *epoch) {
    return epoch->n_holders && least_holder(epoch)->stored < epoch->last;
}

/**
 * has_moved() - a key at another endpoint is the same hub, if there is only one and none of what
 * waits was for that endpoint
 */
static bool has_moved(const Spool *spool) {
    for (size_t i = 0; i < spool->n_epochs; i++)
        for (unsigned k = 0; k < spool->epochs[i]->n_holders; k++)
            if (waits(spool->epochs[i]) &&
                match_hub(spool, spool->epochs[i], k, MATCH_ENDPOINT) >= 0)
                return false;
    return spool->config.n_hubs == 1;
}

/* another name, which is the same at the next start */
static EpochId adopted_name(const SpoolEpoch *epoch) {
    struct {
        EpochId id;
        uint64_t adopter, from;
    } seed = {epoch->id, epoch->adopter, epoch->from};
    EpochId shown;
    for (size_t i = 0; i < sizeof(shown.bytes); i += 8) {
        uint64_t h = hash_bytes(&seed, sizeof(seed), i + 1);
        memcpy(shown.bytes + i, &h, 8);
    }
    return shown;
}

static int find_adopter(const Spool *spool, const SpoolEpoch *epoch) {
    for (unsigned i = 0; i < spool->config.n_hubs; i++)
        if (spool->config.hubs[i] == epoch->adopter)
            return (int)i;
    return -1;
}

static bool adopt(Spool *spool, SpoolEpoch *epoch) {
    uint64_t stored = least_holder(epoch)->stored;
    BatchCounts totals = least_holder(epoch)->totals;
    int hub = epoch->adopted ? find_adopter(spool, epoch) : -1;
    bool fresh = hub < 0;
    if (fresh) {
        hub = epoch->id.bytes[0] % (int)spool->config.n_hubs;
        epoch->adopted = true;
        epoch->adopter = spool->config.hubs[hub];
        epoch->from = stored;
        epoch->from_totals = totals;
        spool->cursors_changed = true;
    }
    epoch->shown = adopted_name(epoch);
    epoch->holders[0] =
        (HolderMark){.id = epoch->holders[0].id, .hub = hub, .stored = stored, .totals = totals};
    epoch->n_holders = 1;
    return fresh;
}

/** match_holders() - the same endpoint and key, else the same endpoint, else the hub that moved;
 * false: none of its hubs is there */
static bool match_holders(Spool *spool, SpoolEpoch *epoch, bool moved) {
    bool any = false;
    for (unsigned k = 0; k < epoch->n_holders; k++)
        epoch->holders[k].hub = -1;
    /* one that is over is of interest to the very same hub only */
    int hows = !waits(epoch) ? MATCH_ENDPOINT : moved ? N_MATCHES : MATCH_KEY;
    for (int how = 0; how < hows && !epoch->adopted; how++)
        for (unsigned k = 0; k < epoch->n_holders; k++) {
            HolderMark *mark = &epoch->holders[k];
            int hub = mark->hub < 0 ? match_hub(spool, epoch, k, how) : -1;
            if (hub < 0)
                continue;
            mark->hub = hub;
            any = true;
            spool->cursors_changed = spool->cursors_changed || mark->id != spool->config.hubs[hub];
            mark->id = spool->config.hubs[hub];
        }
    return any;
}

static void match_hubs(Spool *spool) {
    uint64_t adopted = 0;
    bool moved = has_moved(spool);
    for (size_t i = 0; i < spool->n_epochs; i++) {
        SpoolEpoch *epoch = spool->epochs[i];
        if (!match_holders(spool, epoch, moved) && spool->config.n_hubs && waits(epoch) &&
            adopt(spool, epoch))
            adopted += epoch->last_totals.flows - epoch->from_totals.flows;
    }
    if (adopted)
        spool_say(spool, false,
                  "%" PRIu64 " flows in %s were for a hub that is no longer given; another gets "
                  "them",
                  adopted, spool->path);
    /* should it not be noted, the next start comes to the same end */
    int error = adopted ? cursors_write_adopted(spool) : 0;
    if (!error && spool->cursors_changed)
        error = cursors_write(spool);
    if (error)
        spool_disk_failed(spool, error);
}

static void say_newer(Spool *spool) {
    char name[SEGMENT_NAME_BYTES];
    segment_name(name, spool->newer);
    if (spool->n_newer)
        spool_say(spool, true,
                  "%s: %zu segments, the first of them %s, were written by a newer version of the "
                  "spool; they stay there until that runs again",
                  spool->path, spool->n_newer, name);
}

int spool_recover(Spool *spool) {
    uint64_t *numbers = NULL;
    size_t n = 0;
    int r = list_numbers(spool, &numbers, &n);
    for (size_t i = 0; i < n && !r; i++) {
        r = take_file(spool, numbers[i]);
        if (numbers[i] >= spool->next_number)
            spool->next_number = numbers[i] + 1;
    }
    free(numbers);
    if (r)
        return error_trace(r);
    say_newer(spool);
    set_ends(spool);
    drop_left(spool);
    r = cursors_read(spool);
    if (r)
        return error_trace(r);
    match_hubs(spool);
    for (size_t i = 0; i < spool->n_segments; i++)
        spool->tally.disk_bytes += spool->segments[i]->bytes;
    spool_sweep(spool);
    return 0;
}
