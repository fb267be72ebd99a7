#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Causes
 *
 * Why nothing comes of a probe, in words: each cause is a row of cause.def, from which the probe's
 * log, `weir-probe --check`, the hub's pages and docs/reference/causes.md have their texts.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum Cause {
    CAUSE_NONE,
#define CAUSE(id, cause, where, text, mend) CAUSE_##id,
#include "channel/cause.def"
#undef CAUSE
    _CAUSE_N,
} Cause;

/* shown on */
enum { CAUSE_ON_PROBE = 1, CAUSE_ON_CHECK = 2, CAUSE_ON_HUB = 4 };

typedef struct CauseRow {
    const char *id;    /* "WRONG_KEY" */
    const char *cause; /* "wrong server key": several rows may show one */
    unsigned where;
    const char *text; /* what it is, with {at} and {detail} */
    const char *mend; /* what to do */
    const char *line; /* both, "; " between */
} CauseRow;

extern const CauseRow cause_rows[_CAUSE_N]; /* that of CAUSE_NONE is empty */

/** cause_find() - by the row's id, CAUSE_NONE if there is none */
Cause cause_find(const char *id);

/**
 * cause_line() - "AT: TEXT; MEND", without "AT: " when `at` is "" or the text itself has it.
 * Truncated to size. `at` and `detail` must not lie in `to`.
 */
void cause_line(char *to, size_t size, Cause cause, const char *at, const char *detail);

/** cause_text() - "TEXT" only, filled in */
void cause_text(char *to, size_t size, Cause cause, const char *at, const char *detail);

/* of clocks: offset is the hub's minus the probe's. Off: by more than 30 s */
bool cause_clock_is_off(int64_t offset_ms);

/** cause_clock_text() - the detail of CAUSE_CLOCK: "41 s behind", "41 s ahead of" */
void cause_clock_text(char *text, size_t size, int64_t offset_ms);
