/* SPDX-License-Identifier: Apache-2.0 */

#include "store/duck.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/buffer.h"

DuckAnswer duck_classify(duckdb_error_type type, const char *message) {
    /* In order: a commit that fails for want of space is a "transaction" error by type, and an
     * invalidated database answers FATAL whatever the cause was. */
    static const struct {
        int type; /* -1: any */
        const char *text;
        DuckAnswer answer;
    } signs[] = {
        {DUCKDB_ERROR_FATAL, "", DUCK_FATAL},
        {DUCKDB_ERROR_INTERNAL, "", DUCK_FATAL},
        {-1, "database has been invalidated", DUCK_FATAL},
        {DUCKDB_ERROR_INTERRUPT, "", DUCK_INTERRUPTED},
        {DUCKDB_ERROR_OUT_OF_MEMORY, "", DUCK_MEMORY},
        {-1, "Out of Memory Error", DUCK_MEMORY},
        {-1, "No space left on device", DUCK_FULL},
        {-1, "Disk quota exceeded", DUCK_FULL},
        {-1, "Could not set lock on file", DUCK_LOCKED},
    };
    for (size_t i = 0; i < sizeof(signs) / sizeof(signs[0]); i++)
        if ((signs[i].type < 0 || signs[i].type == (int)type) &&
            strstr(message ? message : "", signs[i].text))
            return signs[i].answer;
    return DUCK_ERROR;
}

DuckAnswer duck_fail(duckdb_result *result, Reason *reason) {
    const char *message = duckdb_result_error(result);
    if (!message)
        message = "no message";
    reason_set(reason, "%.*s", (int)strcspn(message, "\n"), message);
    return duck_classify(duckdb_result_error_type(result), message);
}

DuckAnswer duck_run(duckdb_connection connection, const char *sql, Reason *reason) {
    duckdb_result result;
    DuckAnswer answer = DUCK_OK;
    if (duckdb_query(connection, sql, &result) != DuckDBSuccess)
        answer = duck_fail(&result, reason);
    duckdb_destroy_result(&result);
    return answer;
}

void duck_roll_back(duckdb_connection connection) {
    enum { TRIES = 50 };
    static const struct timespec pause = {.tv_nsec = 10 * 1000 * 1000};
    for (int i = 0; i < TRIES; i++) {
        Reason reason = {""};
        DuckAnswer answer = duck_run(connection, "ROLLBACK", &reason);
        if (answer == DUCK_OK || answer == DUCK_FATAL ||
            strstr(reason.text, "no transaction is active"))
            return;
        (void)nanosleep(&pause, NULL);
    }
}

DuckAnswer duck_runf(duckdb_connection connection, Reason *reason, const char *format, ...) {
    char sql[4096];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(sql, sizeof(sql), format, args);
    va_end(args);
    if (n < 0 || (size_t)n >= sizeof(sql)) {
        reason_set(reason, "statement too long");
        return DUCK_ERROR;
    }
    return duck_run(connection, sql, reason);
}

DuckAnswer duck_each(duckdb_connection connection, const char *sql, DuckRowFn *fn, void *context,
                     int *endp, Reason *reason) {
    duckdb_result result;
    DuckAnswer answer = DUCK_OK;
    int end = 0;
    if (duckdb_query(connection, sql, &result) != DuckDBSuccess)
        answer = duck_fail(&result, reason);
    while (answer == DUCK_OK && end == 0) {
        duckdb_data_chunk chunk = duckdb_fetch_chunk(result);
        if (!chunk)
            break;
        idx_t n = duckdb_data_chunk_get_size(chunk);
        for (idx_t i = 0; i < n && end == 0; i++)
            end = fn(context, chunk, i);
        duckdb_destroy_data_chunk(&chunk);
    }
    duckdb_destroy_result(&result);
    if (endp)
        *endp = end;
    return answer;
}

static const void *data(duckdb_data_chunk chunk, idx_t column) {
    return duckdb_vector_get_data(duckdb_data_chunk_get_vector(chunk, column));
}

bool duck_null(duckdb_data_chunk chunk, idx_t column, idx_t row) {
    uint64_t *validity = duckdb_vector_get_validity(duckdb_data_chunk_get_vector(chunk, column));
    return validity && !duckdb_validity_row_is_valid(validity, row);
}

uint64_t duck_u64(duckdb_data_chunk chunk, idx_t column, idx_t row) {
    return duck_null(chunk, column, row) ? 0 : ((const uint64_t *)data(chunk, column))[row];
}

uint32_t duck_u32(duckdb_data_chunk chunk, idx_t column, idx_t row) {
    return duck_null(chunk, column, row) ? 0 : ((const uint32_t *)data(chunk, column))[row];
}

bool duck_bool(duckdb_data_chunk chunk, idx_t column, idx_t row) {
    return !duck_null(chunk, column, row) && ((const bool *)data(chunk, column))[row];
}

const char *duck_text(duckdb_data_chunk chunk, idx_t column, idx_t row, uint32_t *sizep) {
    *sizep = 0;
    if (duck_null(chunk, column, row))
        return "";
    const duckdb_string_t *cell = (const duckdb_string_t *)data(chunk, column) + row;
    *sizep = cell->value.inlined.length;
    return *sizep <= sizeof(cell->value.inlined.inlined) ? cell->value.inlined.inlined
                                                         : cell->value.pointer.ptr;
}
