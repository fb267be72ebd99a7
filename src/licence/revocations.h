#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Revocations
 *
 * The licences a vendor has taken back: one signed line (licence/token.h) with their ids. A list
 * only grows; of two lists by one key the one with the higher number counts, so that an old one put
 * back brings nothing back. Of two by different keys, whose numbers may begin anew, it is the one
 * that was signed later.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/reason.h"
#include "licence/token.h"

typedef struct Revocations Revocations;

enum {
    _REVOCATIONS_E_SUCCESS,
    REVOCATIONS_E_DAMAGED = TOKEN_E_DAMAGED,
    REVOCATIONS_E_UNKNOWN = TOKEN_E_UNKNOWN,
    REVOCATIONS_E_FOREIGN, /* signed, and yet no such list */
};

/** revocations_parse() - verified; the reason begins with "it …" */
int revocations_parse(Revocations **listp, const char *text, size_t size, const VendorKeys *keys,
                      Reason *reason);

/** revocations_new() - an empty list with the number 0; NULL for want of memory */
Revocations *revocations_new(void);
Revocations *revocations_free(Revocations *list);

bool revocations_has(const Revocations *list, const char *id); /* of NULL no */
size_t revocations_count(const Revocations *list);
uint64_t revocations_number(const Revocations *list);

/** revocations_newer() - does `list` count before `than`? `than` NULL: yes */
bool revocations_newer(const Revocations *list, const Revocations *than);

/** revocations_add() - an id that is in it already is no error */
int revocations_add(Revocations *list, const char *id);

/** revocations_sign() - append the line, with the next number */
int revocations_sign(Buffer *line, const Revocations *list, const char *kid, int64_t now_s,
                     const uint8_t secret_key[VENDOR_SECRET_BYTES]);

DEFINE_CLEANUP(Revocations *, revocations_free)
