#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Spool
 *
 * Opaque batches with their counts, kept until every hub they are meant for has stored them: in
 * files of a folder, or in memory. The spool gives each batch its place: an epoch, which is one
 * run's and is never written to again by another, and a sequence in it.
 *
 * A batch is written when spool_append() returns, so it outlives the process; a thread of the spool
 * makes it outlive the machine (fdatasync) at most 200 ms later. It may be sent before that: should
 * it be lost with the power, the hub may know more of the epoch than the spool does, and since the
 * epoch is never continued, no sequence can come to mean two batches.
 *
 * Segments are files of some MB, each of one epoch, with sequences without a gap. The oldest goes
 * when the limit is reached, which on_drop tells; what is missing is always known exactly, since
 * every record carries the totals of its epoch. When the folder cannot be written the batches stay
 * in memory, within a limit of its own, and go to the folder once it works again.
 *
 * A lane is what batches are appended to: with fanout there is one, for all hubs, else one a hub.
 * All functions may be called from any thread; one thread at a time appends.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/batch_counts.h"
#include "base/cleanup.h"
#include "base/epoch.h"
#include "base/reason.h"
#include "spool/record.h"

typedef struct Spool Spool;

/** SpoolBatch - what stands at a place: a batch, or a gap from first to last */
typedef struct SpoolBatch {
    EpochId epoch;
    uint64_t first;
    uint64_t last; /* == first unless a gap */
    bool gap;
    uint32_t bytes;
    BatchCounts counts; /* of a batch */
    BatchCounts totals; /* of the epoch, up to and including last */
} SpoolBatch;

/** SpoolDrop - all of this epoch up to the place is gone, as far as this hub has not stored it */
typedef struct SpoolDrop {
    unsigned hub;
    EpochId epoch;
    uint64_t last;
    BatchCounts totals;
    uint64_t bytes; /* of the batches let go */
} SpoolDrop;

/** SpoolFormer - an epoch of a former run that a hub still has to get */
typedef struct SpoolFormer {
    EpochId epoch;
    uint64_t stored; /* the hub has this, as far as is known; it may have more, even beyond last */
    BatchCounts stored_totals;
    uint64_t last;
    BatchCounts last_totals;
    uint64_t bytes; /* about */
} SpoolFormer;

typedef struct SpoolConfig {
    const char *folder;    /* exists, and is owned by this process; NULL: memory only */
    uint64_t limit_bytes;  /* of the folder */
    uint64_t memory_bytes; /* of what is in memory */
    size_t recent_bytes;   /* of what was appended last that stay in memory beside the folder, for
                            * a hub that is just behind; 0: none */
    /* who the hubs are: high half of the endpoint, low half of its key. The same hub has the same
     * number in the next run, whatever its place on the command line */
    uint64_t hubs[SPOOL_HUBS_MAX];
    unsigned n_hubs;
    bool fanout;
    /* both without the spool's lock: on_drop by the appending thread, on_word by any */
    void (*on_drop)(void *userdata, const SpoolDrop *drop);
    void (*on_word)(void *userdata, bool trouble, const char *text); /* a line for the log */
    void *userdata;
} SpoolConfig;

typedef enum SpoolDisk {
    SPOOL_DISK_NONE, /* memory only */
    SPOOL_DISK_GOOD,
    SPOOL_DISK_FULL,    /* no space: new batches stay in memory */
    SPOOL_DISK_FAILING, /* likewise; the reason says what the system says */
    SPOOL_DISK_N_WORDS,
} SpoolDisk;

typedef struct SpoolStatus {
    uint64_t batches;     /* not yet stored by every hub */
    uint64_t bytes;       /* of files and memory, what is stored meanwhile and not yet freed too */
    uint64_t limit_bytes; /* of where batches go just now */
    uint64_t disk_bytes;
    uint64_t memory_bytes;
    BatchCounts held;     /* of `batches` */
    BatchCounts appended; /* by this run */
    BatchCounts dropped;  /* for the limit, before every hub had stored them */
    uint64_t dropped_batches;
    uint64_t torn_bytes; /* damaged, seen by this run */
    uint64_t torn_batches;
    uint64_t set_aside; /* files that hold nothing of ours */
    uint64_t oldest_ms; /* age of the oldest batch; 0 when none */
    double bytes_s;     /* appended, of the last minute */
    double hours_left;  /* until the limit at that rate if no hub takes any; 0 when not known */
    SpoolDisk disk;
    char reason[256]; /* of SPOOL_DISK_FULL and SPOOL_DISK_FAILING */
} SpoolStatus;

enum {
    _SPOOL_E_SUCCESS,
    SPOOL_E_REFUSED,  /* the folder cannot be used: the reason says why */
    SPOOL_E_VOLATILE, /* spool_flush(): some of it is in memory only */
    SPOOL_E_UNKNOWN,  /* the epoch is not known, or never came so far */
    SPOOL_E_LATER,    /* out of memory or descriptors just now */
};

/** spool_new() - reads what former runs left; the folder may hold any garbage */
int spool_new(Spool **spoolp, const SpoolConfig *config, Reason *reason);

/** spool_free() - syncs, and notes what the hubs have stored; the batches stay in the folder */
Spool *spool_free(Spool *spool);

const char *spool_disk_word(SpoolDisk disk);
unsigned spool_lanes(const Spool *spool);

/** spool_append() - copies; *batch is its place. Never fails for want of disk, only of memory. */
int spool_append(Spool *spool, unsigned lane, const void *bytes, size_t size,
                 const BatchCounts *counts, SpoolBatch *batch);

/** spool_rotate() - the lane's next batch begins a new epoch */
void spool_rotate(Spool *spool, unsigned lane);

/** spool_flush() - wait until all that was appended is on the disk */
int spool_flush(Spool *spool);

/** spool_peek() - what stands at this place for this hub; a gap reaches as far as it goes */
int spool_peek(Spool *spool, unsigned hub, const EpochId *epoch, uint64_t sequence,
               SpoolBatch *batch);

/** spool_fetch() - copy the batch; SPOOL_E_UNKNOWN: not there (any more), of another size, damaged
 */
int spool_fetch(Spool *spool, unsigned hub, const EpochId *epoch, uint64_t sequence, void *to,
                size_t size);

/** SpoolBytes - a batch that is lent; it outlives the spool, if it must */
typedef struct SpoolBytes {
    void *bytes; /* not to be written to: others may have it too */
    uint32_t crc32c;
    void *block;
} SpoolBytes;

/** spool_borrow() - likewise without a copy where it is in memory; then spool_give_back() once */
int spool_borrow(Spool *spool, unsigned hub, const EpochId *epoch, uint64_t sequence, size_t size,
                 SpoolBytes *lent);

/** spool_give_back() - of SpoolBytes; by any thread */
void spool_give_back(void *bytes, void *block);

/** spool_release() - the hub has stored all of the epoch up to this sequence. Without totals: it
 * needs nothing more of the epoch, and the epoch is not to be remembered */
void spool_release(Spool *spool, unsigned hub, const EpochId *epoch, uint64_t last,
                   const BatchCounts *totals);

/** spool_former() - the i-th epoch of former runs that this hub still has to get, oldest first */
bool spool_former(Spool *spool, unsigned hub, size_t i, SpoolFormer *former);

/** spool_finished() - the i-th epoch that this hub has stored to its end, in order; the newest ones
 */
bool spool_finished(Spool *spool, unsigned hub, size_t i, SpoolFormer *former);

void spool_status(Spool *spool, SpoolStatus *status);

DEFINE_CLEANUP(Spool *, spool_free)
