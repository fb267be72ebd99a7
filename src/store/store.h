#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Store
 *
 * Keeps flows, and with them how far each probe's batches have been stored: a group of flows and
 * the cursors that cover it become durable in one transaction, or not at all. This is the embedded
 * store, one DuckDB file in a folder of its own; docs/decisions/ says why and how.
 *
 * Threads: store_append() has one caller at a time (the writer). Everything else may be called by
 * any thread at any time, also while an append runs. The store has two threads of its own: one
 * checkpoints, one ends queries that are over their time. Callbacks must not call the store.
 *
 * The writer's loop, in which nothing is lost or doubled:
 *
 *     0                       the cursors of the group are stored: tell the probes
 *     STORE_E_FULL            nothing was stored; keep the group, try again in a second
 *     STORE_E_UNAVAILABLE     likewise keep it: whether it was stored cannot be told yet
 *     STORE_E_REOPENED        a commit may be durable and have failed all the same: store_cursors()
 *                             says whether the group is in (wholly or not at all); if not, discard
 *     STORE_E_MEMORY          nothing was stored within the patience given: discard the group, take
 *                             `received` back, change the session nonce; the probes send again
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/batch_counts.h"
#include "base/cleanup.h"
#include "base/reason.h"
#include "flow/record.h"
#include "query/plan.h"

typedef struct Store Store;

enum {
    STORE_KEY_BYTES = 32,
    STORE_EPOCH_BYTES = 16,
    /* A group of at least this many rows goes to the file as it is, a smaller one twice: through
     * the log. So commit when the rows reach this, or after five seconds. */
    STORE_GROUP_ROWS = 122880,
};

enum {
    _STORE_E_SUCCESS,
    STORE_E_REFUSED,     /* open: in use, not writable, damaged, of a newer weir. query: bad plan */
    STORE_E_FULL,        /* append: no space on the disk, rolled back */
    STORE_E_MEMORY,      /* append, query: the memory limit was reached */
    STORE_E_REOPENED,    /* append: the database was closed and opened again; see above */
    STORE_E_UNAVAILABLE, /* not opened again, each append tries once; query: the disk stands still
                          */
    STORE_E_TIMEOUT,     /* query: out of time */
    STORE_E_CANCELLED,   /* query: cancelled, or stopped in favour of an append */
};

/* zero means the default */
typedef struct StoreConfig {
    const char *dir;                   /* made if missing, one store and one process to a folder */
    uint64_t memory_limit_bytes;       /* 1 GiB */
    uint64_t temp_limit_bytes;         /* what large queries may spill to disk: 4 GiB */
    uint64_t checkpoint_reserve_bytes; /* space that must stay free beside the log: 256 MiB */
    uint64_t checkpoint_wal_bytes;     /* checkpoint when the log has grown to this: 32 MiB */
    uint64_t segment_rows;             /* rows of a hot table: 4,000,000 */
    unsigned checkpoint_interval_ms;   /* or after this, if there is a log: 600,000 */
    unsigned memory_patience_ms;       /* an append retries this long against the limit: 10,000 */
    unsigned threads;                  /* that queries use: the number of processors */
    unsigned readers; /* queries at once, further ones wait: one a processor, at least 2 */
} StoreConfig;

int store_open(Store **storep, const StoreConfig *config, Reason *reason);

/** store_close() - ends queries, checkpoints if there is space, closes; NULL is accepted */
Store *store_close(Store *store);

/* writing */

typedef struct StoreCursor {
    uint8_t key[STORE_KEY_BYTES]; /* public key of the probe */
    uint8_t epoch[STORE_EPOCH_BYTES];
    uint64_t sequence;  /* the last one stored */
    uint64_t at_ms;     /* when the hub took it */
    BatchCounts totals; /* of the epoch up to sequence: kept, and handed back as it came */
    bool finished;      /* the probe has closed the epoch and this was its last batch */
} StoreCursor;

/** StoreGap - batches first..last of an epoch that will never come; kept with the flows */
typedef struct StoreGap {
    uint8_t key[STORE_KEY_BYTES];
    uint8_t epoch[STORE_EPOCH_BYTES];
    uint64_t first;
    uint64_t last;
    BatchCounts counts; /* what is missing */
    uint64_t at_ms;     /* when the hub learnt of it */
    uint32_t reason;    /* the hub's numbering */
} StoreGap;

typedef struct StoreGroup {
    const FlowBatch *const *batches;
    size_t batch_n;
    const StoreCursor *cursors;
    size_t cursor_n;
    const StoreGap *gaps;
    size_t gap_n;
    uint64_t now_ms; /* wall clock: decides the segment */
} StoreGroup;

/** store_append() - durable when it returns 0; the reason is filled for every other answer */
int store_append(Store *store, const StoreGroup *group, Reason *reason);

/* what an interface of an exporter counted between two samples, by both its directions */
enum { _STORE_COUNTER_N = 8, STORE_COUNTERS_KEEP_DAYS = 30 };

typedef struct StoreCounter {
    uint64_t exporter; /* the hub's id of it */
    uint32_t sub_agent, interface;
    uint64_t at_ms; /* of the second sample */
    uint64_t ms;    /* between them */
    /* in: octets, packets, discards, errors; out: the same */
    uint64_t grown[_STORE_COUNTER_N];
} StoreCounter;

/** store_append_counters() - oldest first; 0, STORE_E_FULL or STORE_E_UNAVAILABLE. Not in the
 * writer's way for long, but it waits for it */
int store_append_counters(Store *store, const StoreCounter *rows, size_t n, Reason *reason);

typedef struct StoreCounterQuery {
    uint64_t exporter;
    uint32_t sub_agent, interface;
    uint64_t from_ms, to_ms; /* exclusive */
    uint64_t step_ms;
} StoreCounterQuery;

/** store_counters() - sums by step, oldest first; steps without samples are left out. at_ms is the
 * step's begin, ms what its samples cover */
typedef int StoreCounterFn(void *context, const StoreCounter *sum);
int store_counters(Store *store, const StoreCounterQuery *query, StoreCounterFn *fn, void *context);

/**
 * store_probe() - the number by which flows name the probe of a key (FlowRecord.probe), from 1. A
 * new key gets the next number, which becomes durable with the next group.
 */
int store_probe(Store *store, const uint8_t key[STORE_KEY_BYTES], uint32_t *numberp);

typedef int StoreProbeFn(void *context, uint32_t number, const uint8_t key[STORE_KEY_BYTES]);
int store_probes(Store *store, StoreProbeFn *fn, void *context);

/**
 * store_cursors() - the newest stored cursor of each (key, epoch), oldest first: whoever keeps only
 * so many of a key keeps the newest. Finished ones are forgotten after 30 days. A callback's
 * non-zero return ends it and is returned.
 */
typedef int StoreCursorFn(void *context, const StoreCursor *cursor);
int store_cursors(Store *store, StoreCursorFn *fn, void *context);

/**
 * store_gaps() - those with at_ms from since_ms on, oldest first; as store_cursors(). All of them,
 * or with a limit so many behind the first `offset`. *totalp, if not NULL, is how many there are
 */
typedef int StoreGapFn(void *context, const StoreGap *gap);
typedef struct StoreGapPage {
    uint64_t since_ms;
    uint64_t offset;
    uint64_t limit; /* 0: all */
} StoreGapPage;
int store_gaps(Store *store, const StoreGapPage *page, StoreGapFn *fn, void *context,
               uint64_t *totalp);

/** store_drop_before() - forget whole segments whose flows all ended before that; counts them */
int store_drop_before(Store *store, uint64_t before_ms, uint64_t *segmentsp);

/* reading */

typedef struct StoreBudget {
    unsigned timeout_ms;          /* 0: 10,000 */
    const atomic_bool *cancelled; /* may be NULL; set by any thread, acted on within 50 ms */
} StoreBudget;

/* one row of TOP, SERIES or TOTALS. Where the first group field is ip or port, octets and packets
 * are what that side sent and rev_ what it received; a flow counts for both sides. */
typedef struct StoreRow {
    QueryValue keys[QUERY_GROUP_MAX]; /* group_n of them */
    bool other;         /* SERIES: the sum of all keys that are not among the largest */
    uint64_t bucket_ms; /* SERIES */
    uint64_t value;     /* the plan's metric */
    uint64_t flows;
    uint64_t packets;
    uint64_t rev_packets;
    uint64_t octets;
    uint64_t rev_octets;
    uint64_t first_ms; /* TOTALS: smallest first_ms and largest last_ms of the flows */
    uint64_t last_ms;
} StoreRow;

typedef struct StoreResult {
    FlowBatch *flows; /* FLOWS, else NULL */
    StoreRow *rows;   /* TOP, SERIES in order of bucket, TOTALS exactly one */
    size_t row_n;
    Arena *texts;        /* of the rows' keys */
    bool more;           /* FLOWS, TOP: there are further rows behind limit */
    uint64_t elapsed_ms; /* waiting for a reader included */
} StoreResult;

/** store_query() - *resultp is the caller's */
int store_query(Store *store, const QueryPlan *plan, const StoreBudget *budget,
                StoreResult **resultp, Reason *reason);
StoreResult *store_result_free(StoreResult *result);

/* watching */

typedef struct StoreStatus {
    uint64_t file_bytes;
    uint64_t wal_bytes;  /* log not yet checkpointed */
    uint64_t free_bytes; /* on the disk */
    uint64_t rows;
    uint64_t segments;
    uint64_t oldest_ms; /* last_ms of the oldest flow kept, if there are rows */
    uint64_t checkpoints;
    uint64_t checkpoints_failed;
    uint64_t checkpoints_put_off; /* for want of disk space */
    uint64_t reopened;
    Reason checkpoint_problem; /* of the last one that failed, empty when there was none */
} StoreStatus;

void store_status(Store *store, StoreStatus *status);

/** store_checkpoint() - now, for tests and tools; STORE_E_FULL when there is too little space */
int store_checkpoint(Store *store, Reason *reason);

DEFINE_CLEANUP(Store *, store_close)
DEFINE_CLEANUP(StoreResult *, store_result_free)
