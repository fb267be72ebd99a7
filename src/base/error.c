/* SPDX-License-Identifier: Apache-2.0 */

#include "base/error.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { TRACE_MAX = 8 };

typedef struct Trace {
    struct {
        const char *file;
        int line;
    } at[TRACE_MAX];
    size_t n;
} Trace;

static _Thread_local Trace trace;

int error_note(int r, const char *file, int line, int origin) {
    if (r >= 0)
        return r;
    if (origin)
        trace.n = 0;
    if (trace.n < TRACE_MAX) {
        trace.at[trace.n].file = file;
        trace.at[trace.n].line = line;
        trace.n++;
    }
    return r;
}

int error_fold_note(int r, const char *file, int line) {
    if (r > 0)
        return error_note(-ENOTRECOVERABLE, file, line, 1);
    return error_note(r, file, line, 0);
}

/** short_name() - the path below src/, for builds done from anywhere */
static const char *short_name(const char *file) {
    const char *found = strstr(file, "src/");
    return found ? found + 4 : file;
}

const char *error_describe(int r, char *text, size_t size) {
    int n = snprintf(text, size, "%s", strerror(r < 0 ? -r : r));
    for (size_t i = 0; i < trace.n && n >= 0 && (size_t)n < size; i++)
        n += snprintf(text + n, size - (size_t)n, "%s%s:%d", i ? " < " : " (",
                      short_name(trace.at[i].file), trace.at[i].line);
    if (trace.n && n >= 0 && (size_t)n + 1 < size) {
        text[n] = ')';
        text[n + 1] = 0;
    }
    return text;
}
