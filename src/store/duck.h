#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * DuckDB, Narrowed
 *
 * The few ways in which the store talks to DuckDB, and what its errors mean for us. Errors come as
 * a type and English text; this is the only place that looks at either.
 */

#include <duckdb.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/reason.h"

typedef enum DuckAnswer {
    DUCK_OK,
    DUCK_FULL,        /* no space left on the disk */
    DUCK_MEMORY,      /* memory_limit reached, or no more room to spill */
    DUCK_INTERRUPTED, /* duckdb_interrupt() */
    DUCK_FATAL,       /* the database is unusable until it is closed and opened again */
    DUCK_LOCKED,      /* the file is in use by another process */
    DUCK_ERROR,       /* anything else */
} DuckAnswer;

DuckAnswer duck_classify(duckdb_error_type type, const char *message);

/** duck_run() - statements without a result; the reason gets the first line of what went wrong */
DuckAnswer duck_run(duckdb_connection connection, const char *sql, Reason *reason);

/**
 * duck_roll_back() - whatever it takes: where memory is short a rollback can fail too, and would
 * leave its transaction to the next user of the connection
 */
void duck_roll_back(duckdb_connection connection);

__attribute__((format(printf, 3, 4))) DuckAnswer duck_runf(duckdb_connection connection,
                                                           Reason *reason, const char *format, ...);

/** duck_each() - calls fn for every row; a non-zero return of fn ends it and lands in *endp */
typedef int DuckRowFn(void *context, duckdb_data_chunk chunk, idx_t row);
DuckAnswer duck_each(duckdb_connection connection, const char *sql, DuckRowFn *fn, void *context,
                     int *endp, Reason *reason);

/** duck_fail() - classify the error of a result, and keep its first line */
DuckAnswer duck_fail(duckdb_result *result, Reason *reason);

/* cells; NULL reads as zero and empty. Text points into the chunk */
uint64_t duck_u64(duckdb_data_chunk chunk, idx_t column, idx_t row); /* UBIGINT, BIGINT */
uint32_t duck_u32(duckdb_data_chunk chunk, idx_t column, idx_t row); /* UINTEGER */
bool duck_bool(duckdb_data_chunk chunk, idx_t column, idx_t row);
const char *duck_text(duckdb_data_chunk chunk, idx_t column, idx_t row, uint32_t *sizep);
bool duck_null(duckdb_data_chunk chunk, idx_t column, idx_t row);
