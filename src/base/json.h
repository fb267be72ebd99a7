#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * JSON Writer
 *
 * Appends JSON to a Buffer; commas are its own business. For reading JSON the daemons use jansson,
 * whose names these keep clear of.
 * Text is taken as UTF-8; a byte that is not part of valid UTF-8 is written as U+FFFD, so output
 * is always valid whatever a packet held. Names are written as given (they come from our tables).
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct Buffer Buffer;

typedef struct Json {
    Buffer *to;
    bool comma; /* a value stands before the next one */
} Json;

static inline Json json_make(Buffer *to) {
    return (Json){.to = to};
}

/* containers; name is NULL at the top and inside arrays */
void json_object_begin(Json *json, const char *name);
void json_object_end(Json *json);
void json_array_begin(Json *json, const char *name);
void json_array_end(Json *json);

/* values; name is NULL inside arrays */
void json_text(Json *json, const char *name, const char *text); /* NULL text writes null */
void json_textn(Json *json, const char *name, const char *text, size_t size);
void json_u64(Json *json, const char *name, uint64_t v);
void json_i64(Json *json, const char *name, int64_t v);
void json_f64(Json *json, const char *name, double v); /* not finite: null */
void json_bool(Json *json, const char *name, bool v);
void json_none(Json *json, const char *name);
void json_raw(Json *json, const char *name, const char *json_value); /* already JSON */
