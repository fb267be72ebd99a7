/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Records into data chunks and back. A chunk's texts point into the records' own memory: it must
 * be handed to the appender, which copies, before that goes away.
 */

#include <errno.h>
#include <string.h>

#include "base/arena.h"
#include "base/error.h"
#include "store/embedded.h"
#include "store/schema.h"

/* Records are wide and columns are many: a block of records stays in the cache while all its
 * columns are read. */
enum { FILL_BLOCK = 64 };

typedef struct FillColumn {
    const FlowField *field;
    void *to;
} FillColumn;

static void set_string(duckdb_string_t *cell, const void *bytes, uint32_t size) {
    memset(cell, 0, sizeof(*cell));
    cell->value.inlined.length = size;
    if (size <= sizeof(cell->value.inlined.inlined)) {
        if (size)
            memcpy(cell->value.inlined.inlined, bytes, size);
        return;
    }
    memcpy(cell->value.pointer.prefix, bytes, sizeof(cell->value.pointer.prefix));
    memcpy(&cell->value.pointer.ptr, &bytes, sizeof(bytes));
}

static bool is_ascii(const char *text, uint32_t size) {
    uint8_t all = 0;
    for (uint32_t i = 0; i < size; i++)
        all |= (uint8_t)text[i];
    return all < 0x80;
}

/** utf8_length() - of the sequence at p (RFC 3629 section 4), 0 when it is not valid */
static uint32_t utf8_length(const uint8_t *p, uint32_t left) {
    uint32_t n = p[0] < 0x80   ? 1
                 : p[0] < 0xc2 ? 0
                 : p[0] < 0xe0 ? 2
                 : p[0] < 0xf0 ? 3
                 : p[0] < 0xf5 ? 4
                               : 0;
    if (n > left)
        return 0;
    for (uint32_t i = 1; i < n; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) ||
        (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f))
        return 0;
    return n;
}

/** mend_text() - a VARCHAR must be UTF-8, whatever a packet held: U+FFFD for each byte that is not
 */
static FlowText mend_text(FlowText text, Arena *scratch) {
    char *mended = arena_alloc(scratch, (size_t)text.size * 3);
    if (!mended)
        return (FlowText){0};
    const uint8_t *p = (const uint8_t *)text.text;
    uint32_t size = 0;
    for (uint32_t i = 0; i < text.size;) {
        uint32_t n = utf8_length(p + i, text.size - i);
        memcpy(mended + size, n ? (const char *)p + i : "\xef\xbf\xbd", n ? n : 3);
        size += n ? n : 3;
        i += n ? n : 1;
    }
    return (FlowText){.text = mended, .size = size};
}

static uint64_t at_most(uint64_t v, uint64_t max) {
    return v < max ? v : max;
}

#define FILL(type, expression)                                                                     \
    for (size_t i = from; i < to; i++) {                                                           \
        const void *at = flow_field_at(records[i], column->field);                                 \
        ((type *)column->to)[i] = (type)(expression);                                              \
    }

static void fill_column(const FillColumn *column, const FlowRecord *const *records, size_t from,
                        size_t to, Arena *scratch) {
    switch (column->field->kind) {
    case FLOW_KIND_U8:
        FILL(uint8_t, *(const uint8_t *)at)
        break;
    case FLOW_KIND_U16:
        FILL(uint16_t, *(const uint16_t *)at)
        break;
    case FLOW_KIND_U32:
        FILL(uint32_t, *(const uint32_t *)at)
        break;
    case FLOW_KIND_U64: {
        /* bit sets and ids are kept whole: only what is counted is ever added up */
        uint64_t max = column->field->unit[0] ? SCHEMA_COUNTER_MAX : UINT64_MAX;
        FILL(uint64_t, at_most(*(const uint64_t *)at, max))
        break;
    }
    case FLOW_KIND_TIME_MS:
        FILL(int64_t, at_most(*(const uint64_t *)at, SCHEMA_TIME_MAX_MS))
        break;
    case FLOW_KIND_MAC:
        for (size_t i = from; i < to; i++)
            ((uint64_t *)column->to)[i] = flow_field_u64(records[i], column->field);
        break;
    case FLOW_KIND_ADDRESS:
        for (size_t i = from; i < to; i++) {
            const NetAddress *address = flow_field_at(records[i], column->field);
            set_string((duckdb_string_t *)column->to + i, address->bytes,
                       (uint32_t)net_address_bytes(address));
        }
        break;
    case FLOW_KIND_TEXT:
        for (size_t i = from; i < to; i++) {
            FlowText text = *(const FlowText *)flow_field_at(records[i], column->field);
            if (!is_ascii(text.text, text.size))
                text = mend_text(text, scratch);
            set_string((duckdb_string_t *)column->to + i, text.text, text.size);
        }
        break;
    }
}

static bool is_rare(size_t c) {
    return c >= (size_t)FLOW_RARE_FIRST;
}

/*
 * A rare field that no record of the chunk has is NULL in all of them, which costs DuckDB next to
 * nothing: it neither hashes nor compresses it, and the vector's memory need not be written.
 */
static void find_set(const FlowRecord *const *records, size_t n, bool set[_FLOW_FIELD_N]) {
    memset(set, true, (size_t)FLOW_RARE_FIRST);
    memset(set + FLOW_RARE_FIRST, false, _FLOW_FIELD_N - (size_t)FLOW_RARE_FIRST);
    size_t missing = _FLOW_FIELD_N - (size_t)FLOW_RARE_FIRST;
    for (size_t i = 0; i < n && missing; i++) {
        if (!flow_record_has_rare(records[i]))
            continue;
        for (size_t c = (size_t)FLOW_RARE_FIRST; c < _FLOW_FIELD_N; c++)
            if (!set[c] && flow_field_is_set(records[i], &flow_fields[c])) {
                set[c] = true;
                missing--;
            }
    }
}

void fill_chunk(duckdb_data_chunk chunk, const FlowRecord *const *records, size_t n,
                Arena *scratch) {
    FillColumn columns[_FLOW_FIELD_N];
    bool set[_FLOW_FIELD_N];
    size_t used = 0;
    find_set(records, n, set);
    for (size_t c = 0; c < _FLOW_FIELD_N; c++) {
        duckdb_vector vector = duckdb_data_chunk_get_vector(chunk, c);
        if (is_rare(c)) {
            duckdb_vector_ensure_validity_writable(vector);
            memset(duckdb_vector_get_validity(vector), set[c] ? 0xff : 0,
                   (duckdb_vector_size() + 7) / 8);
        }
        if (set[c])
            columns[used++] =
                (FillColumn){.field = &flow_fields[c], .to = duckdb_vector_get_data(vector)};
    }
    for (size_t from = 0; from < n; from += FILL_BLOCK) {
        size_t to = from + FILL_BLOCK < n ? from + FILL_BLOCK : n;
        for (size_t c = 0; c < used; c++)
            fill_column(&columns[c], records, from, to, scratch);
    }
    duckdb_data_chunk_set_size(chunk, n);
}

/* and back */

static void take_mac(FlowMac *mac, uint64_t v) {
    for (size_t i = sizeof(mac->bytes); i-- > 0; v >>= 8)
        mac->bytes[i] = (uint8_t)v;
}

static NetAddress take_address(const char *bytes, uint32_t size) {
    NetAddress address = {.family = size == 4 ? 4 : size == 16 ? 6 : 0};
    if (address.family)
        memcpy(address.bytes, bytes, size);
    return address;
}

static int take_text(FlowText *text, const char *bytes, uint32_t size, Arena *texts) {
    char *copy = size ? arena_strndup(texts, bytes, size) : NULL;
    if (size && !copy)
        return error_origin(-ENOMEM);
    *text = (FlowText){.text = copy, .size = size};
    return 0;
}

int fill_value(QueryValue *value, FlowKind kind, duckdb_data_chunk chunk, idx_t column, idx_t row,
               Arena *texts) {
    *value = (QueryValue){0};
    if (duck_null(chunk, column, row))
        return 0;
    const void *data = duckdb_vector_get_data(duckdb_data_chunk_get_vector(chunk, column));
    uint32_t size = 0;
    switch (kind) {
    case FLOW_KIND_U8:
        value->number = ((const uint8_t *)data)[row];
        break;
    case FLOW_KIND_U16:
        value->number = ((const uint16_t *)data)[row];
        break;
    case FLOW_KIND_U32:
        value->number = ((const uint32_t *)data)[row];
        break;
    case FLOW_KIND_U64:
    case FLOW_KIND_TIME_MS:
    case FLOW_KIND_MAC:
        value->number = ((const uint64_t *)data)[row];
        break;
    case FLOW_KIND_ADDRESS: {
        const char *bytes = duck_text(chunk, column, row, &size);
        value->address = take_address(bytes, size);
        value->prefix_bits = (uint8_t)(size * 8);
        break;
    }
    case FLOW_KIND_TEXT: {
        const char *bytes = duck_text(chunk, column, row, &size);
        return take_text(&value->text, bytes, size, texts);
    }
    }
    return 0;
}

int fill_record(FlowRecord *record, duckdb_data_chunk chunk, idx_t row, Arena *texts) {
    for (size_t c = 0; c < _FLOW_FIELD_N; c++) {
        const FlowField *field = &flow_fields[c];
        void *to = (unsigned char *)record + field->offset;
        QueryValue value;
        int r = fill_value(&value, field->kind, chunk, c, row, texts);
        if (r)
            return error_trace(r);
        switch (field->kind) {
        case FLOW_KIND_U8:
            *(uint8_t *)to = (uint8_t)value.number;
            break;
        case FLOW_KIND_U16:
            *(uint16_t *)to = (uint16_t)value.number;
            break;
        case FLOW_KIND_U32:
            *(uint32_t *)to = (uint32_t)value.number;
            break;
        case FLOW_KIND_U64:
        case FLOW_KIND_TIME_MS:
            *(uint64_t *)to = value.number;
            break;
        case FLOW_KIND_MAC:
            take_mac(to, value.number);
            break;
        case FLOW_KIND_ADDRESS:
            *(NetAddress *)to = value.address;
            break;
        case FLOW_KIND_TEXT:
            *(FlowText *)to = value.text;
            break;
        }
    }
    return 0;
}
