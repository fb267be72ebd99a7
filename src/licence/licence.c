/* SPDX-License-Identifier: Apache-2.0 */

#include "licence/licence.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/error.h"
#include "base/json.h"

enum { VERSION = 1, DAY_S = 86400 };

typedef enum ClaimType { CLAIM_U32, CLAIM_TEXT, CLAIM_KIND, CLAIM_TIME, CLAIM_SYSTEM } ClaimType;

typedef struct Claim {
    const char *name; /* in the payload */
    const char *label;
    ClaimType type;
    size_t at, size; /* in a Licence; size of text */
    bool needed;
} Claim;

#define AT(member) offsetof(Licence, member), sizeof(((Licence *)0)->member)

static const Claim claims[] = {
    {"v", "version", CLAIM_U32, AT(version), true},
    {"kid", "signed by key", CLAIM_TEXT, AT(kid), true},
    {"id", "licence", CLAIM_TEXT, AT(id), true},
    {"customer", "customer", CLAIM_TEXT, AT(customer), true},
    {"kind", "kind", CLAIM_KIND, AT(kind), true},
    {"probes", "probes", CLAIM_U32, AT(max_probes), false},
    {"iat", "issued", CLAIM_TIME, AT(issued_s), true},
    {"nbf", "not before", CLAIM_TIME, AT(not_before_s), true},
    {"exp", "expires", CLAIM_TIME, AT(expiry_s), false},
    {"grace", "days of grace", CLAIM_U32, AT(grace_days), false},
    {"system", "System ID", CLAIM_SYSTEM, AT(system), false},
};

enum { N_CLAIMS = sizeof(claims) / sizeof(claims[0]) };

static const char *const kinds[_LICENCE_KIND_N] = {"cloud", "hub", "probe"};

const char *licence_kind_name(LicenceKind kind) {
    return kinds[kind];
}

bool licence_kind_find(LicenceKind *kind, const char *name) {
    for (size_t i = 0; i < _LICENCE_KIND_N; i++)
        if (strcmp(kinds[i], name) == 0) {
            *kind = (LicenceKind)i;
            return true;
        }
    return false;
}

/* --- times -------------------------------------------------------------------------------- */

const char *licence_date(char text[24], int64_t time_s) {
    time_t at = (time_t)time_s;
    struct tm tm;
    const char *format = time_s % DAY_S ? "%Y-%m-%dT%H:%M:%SZ" : "%Y-%m-%d";
    if (time_s == 0 || !gmtime_r(&at, &tm) || strftime(text, 24, format, &tm) == 0)
        (void)snprintf(text, 24, "never");
    return text;
}

bool licence_read_date(int64_t *time_s, const char *text) {
    static const char *const formats[] = {"%Y-%m-%d", "%Y-%m-%dT%H:%M:%SZ"};
    char again[24];
    for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
        struct tm tm = {0};
        const char *end = strptime(text, formats[i], &tm);
        if (!end || *end)
            continue;
        int64_t found = (int64_t)timegm(&tm);
        (void)licence_date(again, found);
        if (strncmp(again, text, 10) != 0 || found <= 0) /* 30 February is 2 March */
            return false;
        *time_s = found;
        return true;
    }
    return false;
}

/* --- reading ------------------------------------------------------------------------------ */

static int refuse(Reason *reason, const char *why, const char *name) {
    reason_set(reason, "it %s '%s'; a newer version of this program may know more", why, name);
    return LICENCE_E_FOREIGN;
}

static bool read_number(int64_t *number, const json_t *value, int64_t most) {
    json_int_t n = json_integer_value(value);
    if (!json_is_integer(value) || n < 0 || n > most)
        return false;
    *number = n;
    return true;
}

/* control characters and bytes that end a string too early have no place in what is shown */
static bool read_text(char *to, size_t size, const json_t *value) {
    const char *text = json_string_value(value);
    size_t n = json_string_length(value);
    if (!text || n == 0 || n >= size)
        return false;
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)
            return false;
    memcpy(to, text, n + 1);
    return true;
}

static bool read_claim(Licence *licence, const Claim *claim, const json_t *value) {
    char *at = (char *)licence + claim->at;
    int64_t number = 0;
    Reason ignored;
    switch (claim->type) {
    case CLAIM_U32:
        if (!read_number(&number, value, UINT32_MAX))
            return false;
        *(uint32_t *)(void *)at = (uint32_t)number;
        return true;
    case CLAIM_TIME:
        return read_number((int64_t *)(void *)at, value, 253402300799); /* the year 9999 */
    case CLAIM_TEXT:
        return read_text(at, claim->size, value);
    case CLAIM_KIND:
        return json_is_string(value) &&
               licence_kind_find((LicenceKind *)(void *)at, json_string_value(value));
    case CLAIM_SYSTEM:
        licence->bound = true;
        return json_is_string(value) &&
               system_id_parse(&licence->system, json_string_value(value), &ignored) == 0;
    }
    return false;
}

static int read_claims(Licence *licence, const json_t *payload, Reason *reason) {
    for (size_t i = 0; i < N_CLAIMS; i++) {
        const json_t *value = json_object_get(payload, claims[i].name);
        if (!value && claims[i].needed)
            return refuse(reason, "is no licence: it lacks the claim", claims[i].name);
        if (value && !read_claim(licence, &claims[i], value))
            return refuse(reason, "is no licence we can read: we do not know what it says of",
                          claims[i].name);
    }
    if (licence->version != VERSION)
        return refuse(reason, "has another version than ours, 1", "v");
    return 0;
}

int licence_parse(Licence *licence, const char *text, size_t size, const VendorKeys *keys,
                  Reason *reason) {
    json_t *payload = NULL;
    Licence found = {0};
    int r = token_open(&payload, text, size, keys, reason);
    if (r)
        return error_trace(r);
    r = read_claims(&found, payload, reason);
    json_decref(payload);
    if (r == 0)
        *licence = found;
    return r;
}

/* --- writing ------------------------------------------------------------------------------ */

/* a claim that says nothing is left out */
static json_t *claim_value(const Licence *licence, const Claim *claim) {
    const char *at = (const char *)licence + claim->at;
    char text[SYSTEM_ID_CHARS];
    int64_t number = 0;
    switch (claim->type) {
    case CLAIM_U32:
        number = *(const uint32_t *)(const void *)at;
        break;
    case CLAIM_TIME:
        number = *(const int64_t *)(const void *)at;
        break;
    case CLAIM_TEXT:
        return json_string(at);
    case CLAIM_KIND:
        return json_string(kinds[licence->kind]);
    case CLAIM_SYSTEM:
        return licence->bound ? json_string(system_id_text(&licence->system, text)) : NULL;
    }
    return number || claim->needed ? json_integer(number) : NULL;
}

int licence_sign(Buffer *line, const Licence *licence,
                 const uint8_t secret_key[VENDOR_SECRET_BYTES], Reason *reason) {
    Licence checked = {0};
    Licence versioned = *licence;
    versioned.version = VERSION;
    json_t *payload = json_object();
    for (size_t i = 0; payload && i < N_CLAIMS; i++) {
        json_t *value = claim_value(&versioned, &claims[i]);
        if (value && json_object_set_new(payload, claims[i].name, value) < 0)
            break;
    }
    int r = payload ? read_claims(&checked, payload, reason) : error_origin(-ENOMEM);
    if (r == 0)
        r = token_sign(line, payload, secret_key);
    json_decref(payload);
    return error_trace(r);
}

void licence_write_json(const Licence *licence, Json *json) {
    char text[SYSTEM_ID_CHARS];
    for (size_t i = 0; i < N_CLAIMS; i++) {
        json_t *value = claim_value(licence, &claims[i]);
        if (json_is_integer(value) && claims[i].type == CLAIM_TIME)
            json_text(json, claims[i].name, licence_date(text, json_integer_value(value)));
        else if (json_is_integer(value))
            json_u64(json, claims[i].name, (uint64_t)json_integer_value(value));
        else if (value)
            json_text(json, claims[i].name, json_string_value(value));
        json_decref(value);
    }
}

void licence_print(const Licence *licence, Buffer *text) {
    for (size_t i = 0; i < N_CLAIMS; i++) {
        char date[24];
        json_t *value = claim_value(licence, &claims[i]);
        if (claims[i].type == CLAIM_TIME)
            buffer_printf(text, "%-14s %s\n", claims[i].label,
                          licence_date(date, json_integer_value(value)));
        else if (json_is_integer(value))
            buffer_printf(text, "%-14s %lld\n", claims[i].label,
                          (long long)json_integer_value(value));
        else if (value)
            buffer_printf(text, "%-14s %s\n", claims[i].label, json_string_value(value));
        json_decref(value);
    }
}
