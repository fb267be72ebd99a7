#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Reason
 *
 * One clear line for a person: what and where, and what would be right. Functions that can be
 * refused by bad input take a `Reason *` as their last parameter and fill it before they return
 * an answer or an error; libraries never print. The caller owns the struct; no heap.
 */

typedef struct Reason {
    char text[512];
} Reason;

/** reason_set() - replace the text; NULL is allowed and ignored */
__attribute__((format(printf, 2, 3))) void reason_set(Reason *reason, const char *format, ...);

/** reason_append() - add to the end, truncating silently at the struct's size */
__attribute__((format(printf, 2, 3))) void reason_append(Reason *reason, const char *format, ...);
