#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Inside the spool: what its files share. Everything here is under the spool's lock; functions
 * without a word about it are called with the lock held.
 */

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "spool/recent.h"
#include "spool/segment.h"
#include "spool/spool.h"

enum {
    SEGMENT_MAX_BYTES = 8 << 20,
    SEGMENT_MIN_BYTES = 32 << 10,
    SEGMENTS_A_LIMIT = 16, /* of a lane, so that little goes at a time */
    COMMIT_MS = 200,
    GATHER_MS = 10,
    GATHER_BATCHES = 32, /* at least so many since the last commit: that is much */
    CURSORS_MS = 10000,
    DISK_AGAIN_MS = 10000,
    RATE_MS = 60000,
    OVER_MAX = 32,       /* epochs that are over and still remembered */
    SPOOL_WORDS_MAX = 8, /* lines that wait to be told; of a heap of trouble the first are enough */
};

#define CURSORS_NAME "cursors"
#define ADOPTED_NAME "adopted"

/** HolderMark - how far one of the hubs that an epoch is for has come */
typedef struct HolderMark {
    uint64_t id; /* as written in the records */
    int hub;     /* its place in this run's configuration; -1: needs nothing of it */
    uint64_t stored;
    BatchCounts totals; /* there */
} HolderMark;

struct SpoolEpoch {
    EpochId id;
    unsigned n_holders;
    HolderMark holders[SPOOL_HUBS_MAX];
    uint64_t last; /* that ever stood in it, as far as is known */
    BatchCounts last_totals;
    uint64_t gone; /* all up to here was let go */
    BatchCounts gone_totals;
    /* those between here and `gone` are counted as dropped by this run */
    bool drops_counted;
    uint64_t drops_from;
    BatchCounts drops_from_totals;
    uint64_t torn_batches; /* of those not stored */
    bool live;             /* a lane appends to it */
    bool renounced;        /* its end was appended anew, under another name: not to be remembered */
    bool goes_on;          /* its end could not be read by this run: it is not over */
    Segment *earliest;     /* while the ends of segments are worked out: the last one seen */

    /*
     * An epoch whose hubs are all gone from the configuration goes to another hub, which must not
     * take what the former had stored for missing: under another name and numbered from there.
     */
    bool adopted;
    uint64_t adopter;
    EpochId shown;
    uint64_t from;
    BatchCounts from_totals;
};

typedef struct SpoolLane {
    SpoolEpoch *epoch; /* NULL: the next batch begins one */
    Segment *active;
    Recent recent; /* of its epoch */
} SpoolLane;

/** SpoolPublished - what spool_status() needs, as it was when the spool's lock was last let go */
typedef struct SpoolPublished {
    SpoolStatus status;
    uint64_t oldest_written_ms;      /* wall clock; 0: there is none */
    uint64_t rate_ms, payload_bytes; /* of the present minute */
} SpoolPublished;

struct Spool {
    pthread_mutex_t lock;
    pthread_cond_t wake;   /* the committing thread */
    pthread_cond_t synced; /* who waits for it */
    pthread_t thread;
    bool started, stop, hurry;
    bool gather; /* much is appended: it is written in large pieces, and after GATHER_MS at last */
    SpoolConfig config;
    char *path;
    int folder; /* -1: memory only */
    size_t segment_bytes;

    Segment **segments; /* by number, oldest first */
    size_t n_segments, segments_capacity;
    SpoolEpoch **epochs; /* oldest first */
    size_t n_epochs, epochs_capacity;
    SpoolEpoch *over[OVER_MAX]; /* in the order in which they ended */
    size_t n_over;
    SpoolLane lanes[SPOOL_HUBS_MAX];
    unsigned n_lanes;
    uint64_t next_number;
    size_t n_newer; /* segments of a newer version, and the first of them */
    uint64_t newer;
    size_t n_unread;    /* that are tried again at the next start */
    uint64_t n_removed; /* flows that are in no segment any more, at the start */
    uint64_t use;       /* counts up, for Segment.used */
    Buffer head;        /* of the record that is being written */

    uint64_t n_appended, n_synced; /* batches */
    bool folder_unsynced;
    bool cursors_changed;
    uint64_t cursors_ms;
    uint64_t cursors_written;

    struct {
        bool trouble;
        char text[512];
    } words[SPOOL_WORDS_MAX];
    unsigned n_words;

    SpoolDisk disk;
    char disk_reason[256];
    uint64_t disk_again_ms;
    SpoolStatus tally;              /* what is counted as it happens */
    pthread_mutex_t published_lock; /* never held over anything that waits; taken last */
    SpoolPublished published;
    uint64_t payload_bytes;
    uint64_t rate_ms, rate_bytes; /* where the present minute began */
    double bytes_s;
};

/* spool.c */
SpoolEpoch *spool_find_epoch(const Spool *spool, const EpochId *id);
SpoolEpoch *spool_find_shown(const Spool *spool, const EpochId *shown);
int spool_add_epoch(Spool *spool, const EpochId *id, SpoolEpoch **epochp);
int spool_add_segment(Spool *spool, Segment *segment);
void spool_remove_segment(Spool *spool, size_t i);
/** spool_least_stored() - up to where nobody needs it: every hub has it, or it was let go */
uint64_t spool_least_stored(const SpoolEpoch *epoch, BatchCounts *totals);
/** spool_sweep() - segments and epochs that nobody needs any more go */
void spool_sweep(Spool *spool);
/** spool_rotate_lane() - its next batch begins a new epoch */
void spool_rotate_lane(Spool *spool, SpoolLane *lane);
/** spool_say() - a line for on_word, told when the lock is let go */
__attribute__((format(printf, 3, 4))) void spool_say(Spool *spool, bool trouble, const char *format,
                                                     ...);

/** spool_unlock() - publish, and tell what there is to say */
void spool_unlock(Spool *spool);

/* read.c */
/** spool_forget_indexes() - only few segments are read at a time, one or two a hub: the others are
 * closed */
void spool_forget_indexes(Spool *spool);

/** spool_publish() - what spool_status() shows from now on */
void spool_publish(Spool *spool);
/** spool_leave() - publish, and let the lock go */
void spool_leave(Spool *spool);

/* limit.c */
/** spool_drop_oldest() - one segment beyond the limit goes; false: there is room */
bool spool_drop_oldest(Spool *spool, const Segment *keep, SpoolDrop *drops, unsigned *n_dropsp);
/** spool_uncount_dropped() - a hub says that it had stored some of that: it did not know before */
void spool_uncount_dropped(Spool *spool, SpoolEpoch *epoch);
/** spool_drop_beyond() - at the start, when all is on the disk and no hub asks yet: all that is
 * beyond the limit, which may be lower now, with one note */
void spool_drop_beyond(Spool *spool);

/* disk.c: the folder as it may fail */
/** spool_disk_failed() - memory takes over, with epochs of its own, so that each goes in order */
void spool_disk_failed(Spool *spool, int error);
/** spool_disk_again() - once in a while: what is in memory goes to the folder */
void spool_disk_again(Spool *spool);
/** spool_close_active() - the lane's next batch begins a new segment; 0, or the disk's errno: then
 * what was held back of this one still is */
int spool_close_active(Spool *spool, SpoolLane *lane);
/** spool_open_active() - in the folder if it works, else in memory; 0, -ENOMEM, or the disk's errno
 */
int spool_open_active(Spool *spool, SpoolLane *lane);

/* commit.c */
int spool_commit_start(Spool *spool);
/** spool_write_tails() - of what is being appended; 0, or the disk's errno: what could not be
 * written is still held back, and the next to write it says so */
int spool_write_tails(Spool *spool);
void spool_commit_stop(Spool *spool);

/* cursors.c */
/** cursors_write() - 0, or the errno of the disk */
int cursors_write(Spool *spool);
/** cursors_write_adopted() - likewise, of what this run has adopted, to ADOPTED_NAME */
int cursors_write_adopted(Spool *spool);
/** cursors_write_aside() - likewise; the lock is let go meanwhile */
int cursors_write_aside(Spool *spool);
/** cursors_read() - into the epochs that are there; adds those of which only a gap is left */
int cursors_read(Spool *spool);
/** cursors_parse() - the bytes of the file; -EBADMSG when they are not sound */
int cursors_parse(Spool *spool, const void *bytes, size_t size);

/* recover.c */
int spool_recover(Spool *spool);
