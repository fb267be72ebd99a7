#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Errors
 *
 * Every function that can fail returns an int:
 *
 *     0          success
 *     negative   a negative errno: something is broken. Never matched on, only forwarded with
 *                error_trace() until a daemon logs it and gives up what it was doing.
 *     positive   an answer of that very function, declared in its header as MODULE_E_NAME. The
 *                caller must handle it; it never leaks upward. error_fold() turns an answer that
 *                was not expected into a fatal error.
 *
 * Output parameters stay untouched unless the function returns 0. Malformed input is an answer
 * and a counter, never a negative errno.
 *
 * error_origin() and error_trace() note file and line in a small per-thread trace, which
 * error_describe() prints. The success path costs one comparison.
 */

#include <stddef.h>

int error_note(int r, const char *file, int line, int origin);

#ifndef __clang_analyzer__

/* where a fatal error is born */
#define error_origin(r) error_note((r), __FILE__, __LINE__, 1)

/* where it is passed on; 0 and answers pass unchanged */
#define error_trace(r) error_note((r), __FILE__, __LINE__, 0)

#else /* it cannot see into error.c that what is not 0 stays so */
#define error_origin(r) (r)
#define error_trace(r)  (r)
#endif

/* where an answer cannot happen: a positive value becomes -ENOTRECOVERABLE */
#define error_fold(r) error_fold_note((r), __FILE__, __LINE__)
int error_fold_note(int r, const char *file, int line);

/* one line for a log: "No such file or directory (base/file.c:40 < probe/main.c:12)" */
const char *error_describe(int r, char *text, size_t size);
