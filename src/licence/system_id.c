/* SPDX-License-Identifier: Apache-2.0 */

#include "licence/system_id.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>

enum { CHECK_CHARS = 4, PREFIX_CHARS = 6 };

static const char prefix[] = "weir1-";
/* without i, l, o, u: nothing to mistake when it is read out */
static const char alphabet[] = "0123456789abcdefghjkmnpqrstvwxyz";
static const char *const names[_SYSTEM_FACT_N] = {"machine-id", "DMI UUID", "network card",
                                                  "root file system"};

const char *system_fact_name(SystemFact fact) {
    return names[fact];
}

/* n characters of 5 bits each from the front of a hash */
static void to_base32(char *text, size_t n, const uint8_t *bytes) {
    for (size_t i = 0; i < n; i++) {
        size_t bit = i * 5;
        unsigned two = (unsigned)bytes[bit / 8] << 8 | bytes[bit / 8 + 1];
        text[i] = alphabet[two >> (11 - bit % 8) & 31];
    }
    text[n] = '\0';
}

void system_fact_hash(char hash[SYSTEM_HASH_CHARS + 1], SystemFact fact, const char *raw) {
    uint8_t sum[crypto_generichash_BYTES];
    char key[32];
    (void)snprintf(key, sizeof(key), "weir system id, fact %d", (int)fact);
    (void)crypto_generichash(sum, sizeof(sum), (const uint8_t *)raw, strlen(raw),
                             (const uint8_t *)key, strlen(key));
    to_base32(hash, SYSTEM_HASH_CHARS, sum);
}

size_t system_id_facts(const SystemId *id) {
    size_t n = 0;
    for (size_t i = 0; i < _SYSTEM_FACT_N; i++)
        n += id->hashes[i][0] != '\0';
    return n;
}

size_t system_id_matches(const SystemId *a, const SystemId *b) {
    size_t n = 0;
    for (size_t i = 0; i < _SYSTEM_FACT_N; i++)
        n += a->hashes[i][0] && strcmp(a->hashes[i], b->hashes[i]) == 0;
    return n;
}

bool system_id_is(const SystemId *licensed, const SystemId *here) {
    return system_id_matches(licensed, here) >= SYSTEM_FACTS_NEEDED;
}

static void checksum(char check[CHECK_CHARS + 1], const char *text, size_t size) {
    uint8_t sum[crypto_generichash_BYTES];
    (void)crypto_generichash(sum, sizeof(sum), (const uint8_t *)text, size, NULL, 0);
    to_base32(check, CHECK_CHARS, sum);
}

const char *system_id_text(const SystemId *id, char text[SYSTEM_ID_CHARS]) {
    int n = snprintf(text, SYSTEM_ID_CHARS, "%s", prefix);
    for (size_t i = 0; i < _SYSTEM_FACT_N; i++)
        n += snprintf(text + n, SYSTEM_ID_CHARS - (size_t)n, "%s-",
                      id->hashes[i][0] ? id->hashes[i] : "0");
    checksum(text + n, text, (size_t)n);
    return text;
}

static int refuse(Reason *reason, const char *text, const char *why) {
    reason_set(reason,
               "'%.*s' is not a System ID: %s; it is what weir-hub --version and weir-probe "
               "--version print",
               SYSTEM_ID_CHARS, text, why);
    return SYSTEM_ID_E_REFUSED;
}

int system_id_parse(SystemId *id, const char *text, Reason *reason) {
    SystemId found = {0};
    const size_t size = strlen(text);
    char check[CHECK_CHARS + 1];
    if (strncmp(text, prefix, PREFIX_CHARS) != 0)
        return refuse(reason, text, "it does not begin with weir1-");
    const char *at = text + PREFIX_CHARS;
    for (size_t i = 0; i < _SYSTEM_FACT_N; i++) {
        size_t n = strcspn(at, "-");
        bool none = n == 1 && at[0] == '0';
        if (at[n] != '-' || !(none || (n == SYSTEM_HASH_CHARS && strspn(at, alphabet) == n)))
            return refuse(reason, text, "it is cut short, or a part of it is misspelt");
        if (!none)
            memcpy(found.hashes[i], at, n);
        at += n + 1;
    }
    checksum(check, text, (size_t)(at - text));
    if (size != (size_t)(at - text) + CHECK_CHARS || strcmp(at, check) != 0)
        return refuse(reason, text, "its last four characters do not fit the others");
    *id = found;
    return 0;
}
