#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Cleanup
 *
 * Scope-exit release. A type with `X *x_free(X *)` says DEFINE_CLEANUP(X *, x_free) after its
 * prototype; a local then reads `cleanup(x_freep) X *x = NULL;` and is handed over with
 * `*xp = x; x = NULL;`.
 */

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define cleanup(fn) __attribute__((cleanup(fn)))

/* NOLINTBEGIN(bugprone-macro-parentheses): a type cannot stand in them */
#define DEFINE_CLEANUP(type, fn)                                                                   \
    static inline void fn##p(type *p) {                                                            \
        if (*p)                                                                                    \
            fn(*p);                                                                                \
    }
/* NOLINTEND(bugprone-macro-parentheses) */

static inline void freep(void *p) {
    free(*(void **)p);
}

static inline void closep(const int *fdp) {
    if (*fdp >= 0)
        (void)close(*fdp);
}

static inline void fclosep(FILE **filep) {
    if (*filep)
        (void)fclose(*filep);
}
