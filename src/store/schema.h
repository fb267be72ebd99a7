#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Schema
 *
 * What stands in the database file, and its DDL, read off the field table.
 *
 *     weir_schema   one row: version
 *     probe         number, key of each probe
 *     segment       id, kind, name, opened_ms; the manifest. A segment is a hot table flow_ID
 *     segment_end   id, rows, first_last_ms, last_last_ms; added when its successor is opened
 *     flow_ID       the flows; a column a field
 *     cursor_ID     probe, epoch, sequence, at_ms, totals, finished; of the newest segment only.
 * Rows are only ever appended; the largest of an epoch counts (none ever falls). The next segment's
 * table starts with the largest of each, and this one is dropped.
 *     gap           probe, epoch, first, last, what is missing, at_ms, reason
 *
 * Everything but retention is an INSERT: an UPDATE or an upsert would make checkpoints fail while
 * a reader holds a snapshot.
 *
 * Zero and empty mean "not known". So does NULL, which a rare field (FLOW_RARE_FIRST) is in chunks
 * where no flow has it; others are never NULL. An address is a BLOB of
 * 4 or 16 bytes in network order, so that a prefix is a range; a MAC is a UBIGINT.
 */

#include <duckdb.h>
#include <stdint.h>

#include "base/reason.h"
#include "flow/field.h"
#include "store/duck.h"

typedef struct Buffer Buffer;

enum {
    STORE_SCHEMA_VERSION = 1,
    /* Counters and times are kept below this, so that the sum of two directions cannot overflow
     * and a time is a TIMESTAMP, whatever a sender claims. */
    SCHEMA_COUNTER_BITS = 62,
};
#define SCHEMA_COUNTER_MAX ((1ull << SCHEMA_COUNTER_BITS) - 1)
#define SCHEMA_TIME_MAX_MS 9223372036854775ull /* its microseconds fit in 63 bits */

duckdb_type schema_type(FlowKind kind);

/** schema_unset() - the value of a field that is not set, as SQL */
const char *schema_unset(FlowKind kind);

const char *schema_type_name(FlowKind kind);

/** schema_flow_table() - CREATE TABLE flow_ID */
void schema_flow_table(Buffer *sql, uint64_t segment);

/** schema_open() - creates what an empty file lacks; STORE_E_REFUSED for what we cannot read */
int schema_open(duckdb_connection connection, Reason *reason);

/**
 * schema_upgrade() - adds the columns that flow_ID lacks. *samep: its columns are now exactly the
 * field table's, in order, so that it can be appended to.
 */
DuckAnswer schema_upgrade(duckdb_connection connection, uint64_t segment, bool *samep,
                          Reason *reason);
