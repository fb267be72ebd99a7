#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The Embedded Store's Inside
 *
 * Shared by the files of the embedded store only.
 *
 * Who may touch the database, in two steps:
 *   - every use stands between use_begin() and use_end(). A fatal error makes the next user reopen
 *     the database: it waits for the others to leave, interrupting queries meanwhile.
 *   - of those uses, one at a time writes: write_begin() and write_end(). Maintenance (checkpoint,
 *     retention) goes before the next append, so that a busy writer cannot starve it.
 */

#include <duckdb.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buffer.h"
#include "store/duck.h"
#include "store/store.h"

enum {
    STORE_READERS_MAX = 64,
    STORE_CURSOR_KEEP_DAYS = 30,
    STORE_PATIENCE_MS = 3000, /* a commit that takes longer: the disk stands still */
};

typedef struct Segment {
    uint64_t id;
    uint64_t opened_ms;
    uint64_t rows;
    uint64_t first_last_ms; /* smallest and largest last_ms; a segment without rows: max, 0 */
    uint64_t last_last_ms;
} Segment;

typedef struct Reader {
    duckdb_connection connection;
    bool busy;
    bool settled;         /* its question is answered: not to be interrupted any more */
    bool unended;         /* answered during a commit, whose end rolls its transaction back */
    uint64_t deadline_ms; /* monotonic */
    const atomic_bool *cancelled;
    int stopped; /* 0, or the answer that the watchdog chose when it interrupted */
} Reader;

typedef struct ProbeKey {
    uint8_t bytes[STORE_KEY_BYTES];
} ProbeKey;

struct Store {
    StoreConfig config; /* defaults filled in */
    char *dir;
    char *path;
    char *wal_path;
    char *temp_path;
    uint64_t counters_hour; /* of the newest interface counters, see counters.c */
    int dir_fd;             /* the folder's lock */

    pthread_mutex_t lock; /* everything below, but for what the current writer alone uses */
    pthread_cond_t changed;
    bool closing; /* store_close() has begun */
    bool broken;  /* a fatal error was seen: reopen before the next use */
    bool opening; /* one thread is reopening */
    bool missing; /* reopening failed; there is no database */
    unsigned users;
    bool writing;
    unsigned maintenance_waiting;
    bool committing;        /* and no query begins */
    uint64_t committing_ms; /* since when, monotonic */
    unsigned beginning;     /* queries that do */
    bool stop_queries;      /* interrupt every query until told otherwise */
    bool reopened;          /* not yet told to the writer */

    duckdb_database database;
    duckdb_connection writer;
    Reader readers[STORE_READERS_MAX];

    Segment *segments; /* in order of id */
    size_t segment_n;
    bool appendable; /* the newest segment's columns are the field table's */

    ProbeKey *probes; /* number - 1 is the index */
    size_t probe_n;
    size_t probe_durable;
    uint32_t *probe_slots; /* index by key */
    size_t probe_slot_n;

    uint64_t checkpoints;
    uint64_t checkpoints_failed;
    uint64_t checkpoints_put_off;
    uint64_t reopens;
    Reason checkpoint_problem;

    pthread_t watchdog; /* ends queries */
    pthread_t keeper;   /* checkpoints */
    bool watchdog_runs;
    bool keeper_runs;
};

/* database.c: opening and closing, and what is remembered of it */
int database_open(Store *store, Reason *reason);
void database_close(Store *store);

/** use_begin() - 0, STORE_E_UNAVAILABLE (cannot be reopened, or closing) */
int use_begin(Store *store, Reason *reason);
void use_end(Store *store);

/** use_failed() - a DuckDB answer was DUCK_FATAL: reopen before the next use */
void use_failed(Store *store);

void write_begin(Store *store, bool maintenance);
/** write_begin_soon() - for what a person waits for; false: not within 3 s */
bool write_begin_soon(Store *store);
void write_end(Store *store);

/**
 * commit_begin() - to commit_end(): what writes to the log or the file and waits for the disk.
 * DuckDB lets no transaction begin or end meanwhile, and nothing can interrupt one that waits for
 * it; so questions wait here, and not for longer than a person would, and who is answered leaves
 * its end to commit_end().
 */
void commit_begin(Store *store);
void commit_end(Store *store);

/* keeper.c */
int keeper_start(Store *store);
void keeper_stop(Store *store);
uint64_t keeper_file_bytes(const char *path); /* 0 when it is missing */
uint64_t keeper_free_bytes(const Store *store);

/** keeper_wait() - with the lock held: until something changed, at most ms */
void keeper_wait(Store *store, unsigned ms);

/* segment.c */
DuckAnswer segments_load(Store *store, Reason *reason);
DuckAnswer segment_next(Store *store, uint64_t now_ms, Reason *reason);

/* delivery.c */

/** probe_number() - store_probe() with the lock held, or before the threads run */
int probe_number(Store *store, const uint8_t key[STORE_KEY_BYTES], uint32_t *numberp);

/* sql.c: a plan as a statement, and its bindings */

typedef struct Binding {
    FlowKind kind;
    uint64_t number;
    NetAddress address;
    FlowText text; /* borrowed from the plan's filter */
} Binding;

typedef struct Statement {
    Buffer sql;
    Binding *bindings; /* $1 and on */
    size_t n;
    size_t capacity;
    bool failed; /* out of memory */
} Statement;

void statement_build(Statement *statement, const QueryPlan *plan, const uint64_t *segments,
                     size_t segment_n);
void statement_deinit(Statement *statement);

/* fill.c: records into data chunks */
typedef struct Arena Arena;
void fill_chunk(duckdb_data_chunk chunk, const FlowRecord *const *records, size_t n,
                Arena *scratch);

/** fill_value() - one cell; a text is copied */
int fill_value(QueryValue *value, FlowKind kind, duckdb_data_chunk chunk, idx_t column, idx_t row,
               Arena *texts);

/** fill_record() - one row of the columns of the field table back into a record; texts copied */
int fill_record(FlowRecord *record, duckdb_data_chunk chunk, idx_t row, Arena *texts);
