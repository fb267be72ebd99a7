/* SPDX-License-Identifier: Apache-2.0 */

#include "channel/cause.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { CLOCK_MS = 30000 };

#define PROBE CAUSE_ON_PROBE
#define CHECK CAUSE_ON_CHECK
#define HUB   CAUSE_ON_HUB

const CauseRow cause_rows[_CAUSE_N] = {
#define CAUSE(id, cause, where, text, mend)                                                        \
    [CAUSE_##id] = {#id, cause, where, text, mend, text "; " mend},
#include "channel/cause.def"
#undef CAUSE
};

Cause cause_find(const char *id) {
    for (int i = CAUSE_NONE + 1; i < _CAUSE_N; i++)
        if (strcmp(cause_rows[i].id, id) == 0)
            return (Cause)i;
    return CAUSE_NONE;
}

typedef struct To {
    char *at;
    size_t left; /* room for the NUL included */
} To;

static void put(To *to, const char *text, size_t n) {
    if (n >= to->left)
        n = to->left - 1;
    memcpy(to->at, text, n);
    to->at += n;
    to->left -= n;
    *to->at = '\0';
}

static void fill(To *to, const char *form, const char *at, const char *detail) {
    while (*form) {
        size_t n = strcspn(form, "{");
        put(to, form, n);
        form += n;
        if (strncmp(form, "{at}", 4) == 0) {
            put(to, at, strlen(at));
            form += 4;
        } else if (strncmp(form, "{detail}", 8) == 0) {
            put(to, detail, strlen(detail));
            form += 8;
        } else if (*form) {
            put(to, form++, 1);
        }
    }
}

void cause_line(char *to, size_t size, Cause cause, const char *at, const char *detail) {
    const CauseRow *row = &cause_rows[cause];
    To line = {to, size};
    *to = '\0';
    if (*at && !strstr(row->text, "{at}")) {
        put(&line, at, strlen(at));
        put(&line, ": ", 2);
    }
    fill(&line, row->line, at, detail);
}

void cause_text(char *to, size_t size, Cause cause, const char *at, const char *detail) {
    To text = {to, size};
    *to = '\0';
    fill(&text, cause_rows[cause].text, at, detail);
}

bool cause_clock_is_off(int64_t offset_ms) {
    return offset_ms > CLOCK_MS || offset_ms < -CLOCK_MS;
}

void cause_clock_text(char *text, size_t size, int64_t offset_ms) {
    (void)snprintf(text, size, "%" PRId64 " s %s", (offset_ms < 0 ? -offset_ms : offset_ms) / 1000,
                   offset_ms < 0 ? "ahead of" : "behind");
}
