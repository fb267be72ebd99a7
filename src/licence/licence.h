#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Licence
 *
 * What a vendor grants, as one signed line (licence/token.h). Its claims are rows: parser, writer
 * and `weir-license inspect` read them. Claims that are not in the table are ignored, so that a
 * licence may say more than an older program knows.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/reason.h"
#include "licence/system_id.h"
#include "licence/token.h"
#include "licence/vendor.h"

typedef struct Json Json;

typedef enum LicenceKind {
    LICENCE_CLOUD, /* on the hub: unlocks it and up to N probes connected to it */
    LICENCE_HUB,   /* on one hub: unlocks it; the probes bring their own */
    LICENCE_PROBE, /* on one probe: unlocks it toward any collector */
    _LICENCE_KIND_N,
} LicenceKind;

typedef struct Licence {
    uint32_t version;
    char kid[VENDOR_KID_MAX + 1];
    char id[33];
    char customer[129];
    LicenceKind kind;
    uint32_t max_probes; /* of a cloud licence */
    int64_t issued_s;    /* Unix times */
    int64_t not_before_s;
    int64_t expiry_s;    /* the first second it no longer holds; 0: never */
    uint32_t grace_days; /* of full function after that */
    bool bound;          /* to a machine */
    SystemId system;
} Licence;

enum {
    _LICENCE_E_SUCCESS,
    LICENCE_E_DAMAGED = TOKEN_E_DAMAGED,
    LICENCE_E_UNKNOWN = TOKEN_E_UNKNOWN,
    LICENCE_E_FOREIGN, /* signed, and yet no licence, or of a kind or version we do not know */
};

/** licence_parse() - verified; the reason begins with "it …" */
int licence_parse(Licence *licence, const char *text, size_t size, const VendorKeys *keys,
                  Reason *reason);

enum { LICENCE_E_CLAIM = LICENCE_E_FOREIGN }; /* licence_sign(): a claim is missing or too long */

/** licence_sign() - append its line; the secret key is that of licence->kid */
int licence_sign(Buffer *line, const Licence *licence,
                 const uint8_t secret_key[VENDOR_SECRET_BYTES], Reason *reason);

const char *licence_kind_name(LicenceKind kind);
bool licence_kind_find(LicenceKind *kind, const char *name);

/** licence_write_json() - its claims as members; licence_print() - for people, a line each */
void licence_write_json(const Licence *licence, Json *json);
void licence_print(const Licence *licence, Buffer *text);

/** licence_date() - "2027-03-31" or "2027-03-31T12:30:00Z"; of 0 "never" */
const char *licence_date(char text[24], int64_t time_s);

/** licence_read_date() - the same back, a day being its beginning (UTC) */
bool licence_read_date(int64_t *time_s, const char *text);
