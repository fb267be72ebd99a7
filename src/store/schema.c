/* SPDX-License-Identifier: Apache-2.0 */

#include "store/schema.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/buffer.h"
#include "store/store.h"

static const struct {
    const char *name;
    duckdb_type type;
    const char *unset;
} types[] = {
    [FLOW_KIND_U8] = {"UTINYINT", DUCKDB_TYPE_UTINYINT, "0"},
    [FLOW_KIND_U16] = {"USMALLINT", DUCKDB_TYPE_USMALLINT, "0"},
    [FLOW_KIND_U32] = {"UINTEGER", DUCKDB_TYPE_UINTEGER, "0"},
    [FLOW_KIND_U64] = {"UBIGINT", DUCKDB_TYPE_UBIGINT, "0"},
    [FLOW_KIND_TIME_MS] = {"TIMESTAMP_MS", DUCKDB_TYPE_TIMESTAMP_MS, "'1970-01-01'"},
    [FLOW_KIND_ADDRESS] = {"BLOB", DUCKDB_TYPE_BLOB, "''"},
    [FLOW_KIND_MAC] = {"UBIGINT", DUCKDB_TYPE_UBIGINT, "0"},
    [FLOW_KIND_TEXT] = {"VARCHAR", DUCKDB_TYPE_VARCHAR, "''"},
};

duckdb_type schema_type(FlowKind kind) {
    return types[kind].type;
}

const char *schema_type_name(FlowKind kind) {
    return types[kind].name;
}

const char *schema_unset(FlowKind kind) {
    return types[kind].unset;
}

void schema_flow_table(Buffer *sql, uint64_t segment) {
    buffer_printf(sql, "CREATE TABLE flow_%" PRIu64 " (", segment);
    for (size_t i = 0; i < _FLOW_FIELD_N; i++)
        buffer_printf(sql, "%s\"%s\" %s", i ? ", " : "", flow_fields[i].name,
                      types[flow_fields[i].kind].name);
    buffer_put_text(sql, ")");
}

static int take_u64(void *context, duckdb_data_chunk chunk, idx_t row) {
    *(uint64_t *)context = duck_u64(chunk, 0, row);
    return 0;
}

static DuckAnswer create(duckdb_connection connection, Reason *reason) {
    return duck_runf(connection, reason,
                     "BEGIN;"
                     "CREATE TABLE weir_schema (version UBIGINT);"
                     "INSERT INTO weir_schema VALUES (%d);"
                     "CREATE TABLE probe (number UINTEGER, key BLOB);"
                     "CREATE TABLE segment (id UBIGINT, kind VARCHAR, name VARCHAR,"
                     " opened_ms UBIGINT);"
                     "CREATE TABLE gap (probe UINTEGER, epoch BLOB, first UBIGINT, last UBIGINT,"
                     " flows UBIGINT, packets UBIGINT, octets UBIGINT, at_ms UBIGINT,"
                     " reason UINTEGER);"
                     "CREATE TABLE segment_end (id UBIGINT, rows UBIGINT, first_last_ms UBIGINT,"
                     " last_last_ms UBIGINT);"
                     "COMMIT",
                     STORE_SCHEMA_VERSION);
}

int schema_open(duckdb_connection connection, Reason *reason) {
    uint64_t tables = 0;
    uint64_t ours = 0;
    uint64_t version = 0;
    DuckAnswer answer = duck_each(connection, "SELECT count(*)::UBIGINT FROM duckdb_tables()",
                                  take_u64, &tables, NULL, reason);
    if (answer == DUCK_OK && tables == 0)
        return create(connection, reason) == DUCK_OK ? 0 : STORE_E_REFUSED;
    if (answer == DUCK_OK)
        answer = duck_each(connection,
                           "SELECT count(*)::UBIGINT FROM duckdb_tables()"
                           " WHERE table_name = 'weir_schema'",
                           take_u64, &ours, NULL, reason);
    if (answer == DUCK_OK && ours)
        answer = duck_each(connection, "SELECT version FROM weir_schema", take_u64, &version, NULL,
                           reason);
    if (answer != DUCK_OK)
        return STORE_E_REFUSED;
    if (version == 0) {
        reason_set(reason, "it is a database of something else");
        return STORE_E_REFUSED;
    }
    if (version > STORE_SCHEMA_VERSION) {
        reason_set(reason,
                   "it was written by a newer weir (schema %" PRIu64 ", this one knows up to %d);"
                   " install that version again",
                   version, STORE_SCHEMA_VERSION);
        return STORE_E_REFUSED;
    }
    return 0;
}

/* which fields a table has, and whether they stand in our order */
typedef struct Columns {
    bool present[_FLOW_FIELD_N];
    size_t n;
    bool in_order;
} Columns;

static int take_column(void *context, duckdb_data_chunk chunk, idx_t row) {
    Columns *columns = context;
    uint32_t size = 0;
    const char *name = duck_text(chunk, 0, row, &size);
    uint32_t type_size = 0;
    const char *type = duck_text(chunk, 1, row, &type_size);
    size_t found = _FLOW_FIELD_N;
    for (size_t i = 0; i < _FLOW_FIELD_N; i++)
        if (strlen(flow_fields[i].name) == size && memcmp(flow_fields[i].name, name, size) == 0)
            found = i;
    if (found < _FLOW_FIELD_N) {
        columns->present[found] = true;
        const char *expected = types[flow_fields[found].kind].name;
        if (strlen(expected) != type_size || memcmp(expected, type, type_size) != 0)
            columns->in_order = false;
    }
    if (found != columns->n++)
        columns->in_order = false;
    return 0;
}

DuckAnswer schema_upgrade(duckdb_connection connection, uint64_t segment, bool *samep,
                          Reason *reason) {
    char sql[160];
    (void)snprintf(sql, sizeof(sql),
                   "SELECT column_name, data_type FROM duckdb_columns()"
                   " WHERE table_name = 'flow_%" PRIu64 "' ORDER BY column_index",
                   segment);
    Columns columns = {.in_order = true};
    DuckAnswer answer = duck_each(connection, sql, take_column, &columns, NULL, reason);
    for (size_t i = 0; i < _FLOW_FIELD_N && answer == DUCK_OK; i++) {
        if (columns.present[i])
            continue;
        answer = duck_runf(connection, reason,
                           "ALTER TABLE flow_%" PRIu64 " ADD COLUMN \"%s\" %s DEFAULT %s", segment,
                           flow_fields[i].name, types[flow_fields[i].kind].name,
                           types[flow_fields[i].kind].unset);
        if (i != columns.n++)
            columns.in_order = false;
    }
    if (answer == DUCK_OK)
        *samep = columns.in_order && columns.n == _FLOW_FIELD_N;
    return answer;
}
