/* SPDX-License-Identifier: Apache-2.0 */

#include "channel/keystring.h"

#include <ctype.h>
#include <errno.h>
#include <jansson.h>
#include <sodium.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/buffer.h"
#include "base/error.h"
#include "base/json.h"
#include "channel/keys.h"

enum { Z85_CHARS = 40, HEX_DIGITS = 80, SUM_DIGITS = 32, TEXT_MAX = 4096 };

#define LENGTHS                                                                                    \
    "accepted are the 80 hex digits that weir-hub --print-public-key gives, the longer base64 "    \
    "form that its page Interface > Details gives, or 40 characters (Z85)"

static int refuse(Reason *reason, const char *why) {
    reason_set(reason, "the encryption key %s; " LENGTHS, why);
    return KEYSTRING_E_REFUSED;
}

static int refuse_cut(Reason *reason, size_t n) {
    reason_set(reason,
               "the encryption key is cut short: %zu characters of the base64 form, and its end is "
               "missing; copy the whole string again",
               n);
    return KEYSTRING_E_REFUSED;
}

static size_t count_hex(const char *text, size_t n) {
    size_t i = 0;
    while (i < n && isxdigit((unsigned char)text[i]))
        i++;
    return i;
}

static bool key_from_hex(char z85[41], const char *hex) {
    char key[41] = "";
    size_t size = 0;
    if (sodium_hex2bin((unsigned char *)key, Z85_CHARS, hex, HEX_DIGITS, NULL, &size, NULL) != 0 ||
        size != Z85_CHARS || memchr(key, 0, Z85_CHARS) || !key_check(key))
        return false;
    memcpy(z85, key, sizeof(key));
    return true;
}

/** decode_base64() - both alphabets, with or without padding; a cut string loses its last bits */
static size_t decode_base64(uint8_t *to, const char *text, size_t n) {
    size_t size = 0;
    uint32_t bits = 0;
    unsigned have = 0;
    while (n && text[n - 1] == '=')
        n--;
    for (size_t i = 0; i < n; i++) {
        static const char alphabet[] =
            "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_";
        const char *at = text[i] ? strchr(alphabet, text[i]) : NULL;
        if (!at)
            return 0;
        uint32_t v = (uint32_t)(at - alphabet);
        bits = (bits << 6) | (v >= 64 ? v - 2 : v);
        have += 6;
        if (have >= 8) {
            have -= 8;
            to[size++] = (uint8_t)(bits >> have);
        }
    }
    return size;
}

static void checksum(char digits[SUM_DIGITS + 1], const char *json, size_t size) {
    uint8_t sum[SUM_DIGITS / 2];
    (void)crypto_generichash(sum, sizeof(sum), (const uint8_t *)json, size, NULL, 0);
    (void)sodium_bin2hex(digits, SUM_DIGITS + 1, sum, sizeof(sum));
}

static bool copy_member(char *to, size_t size, const json_t *object, const char *name) {
    const char *text = json_string_value(json_object_get(object, name));
    if (text && strlen(text) >= size)
        return false;
    (void)snprintf(to, size, "%s", text ? text : "");
    return true;
}

/** read_json() - the part behind the digits; NULL when it cannot be used, and why */
static const char *read_json(KeyString *key, const json_t *object) {
    const char *hex = json_string_value(json_object_get(object, "k"));
    if (!hex || strlen(hex) != HEX_DIGITS || !key_from_hex(key->server_z85, hex))
        return "does not hold a server key of 80 hex digits";
    if (!copy_member(key->token, sizeof(key->token), object, "t") ||
        !copy_member(key->endpoint, sizeof(key->endpoint), object, "e") ||
        !copy_member(key->events, sizeof(key->events), object, "p"))
        return "holds a token or an endpoint that is too long";
    return NULL;
}

static int parse_cloud(KeyString *key, const char *text, size_t n, Reason *reason) {
    uint8_t bytes[TEXT_MAX];
    size_t size = decode_base64(bytes, text, n);
    const char *plain = (const char *)bytes;
    if (size <= SUM_DIGITS + 1)
        return refuse_cut(reason, n);
    while (size && bytes[size - 1] == 0) /* ntopng's own ends with a NUL */
        size--;
    const char *json = plain + SUM_DIGITS;
    size_t json_size = size - SUM_DIGITS;
    json_t *object =
        json[0] == '{' ? json_loadb(json, json_size, JSON_REJECT_DUPLICATES, NULL) : NULL;
    if (!object)
        return json[0] == '{' && json[json_size - 1] != '}'
                   ? refuse_cut(reason, n)
                   : refuse(reason, "is damaged: what it holds is not JSON");
    KeyString found = {0};
    const char *why = read_json(&found, object);
    json_decref(object);
    if (why)
        return refuse(reason, why);
    char sum[SUM_DIGITS + 1];
    checksum(sum, json, json_size);
    found.checked = sodium_memcmp(sum, plain, SUM_DIGITS) == 0;
    if (!found.checked)
        (void)snprintf(found.notice, sizeof(found.notice),
                       "the encryption key's checksum is not weir's: made by another product, or a "
                       "character was changed");
    *key = found;
    return 0;
}

/** begins_like_cloud() - the start of the base64 form: hex digits once decoded */
static bool begins_like_cloud(const char *text, size_t n) {
    uint8_t bytes[TEXT_MAX];
    size_t size = decode_base64(bytes, text, n);
    if (size > SUM_DIGITS)
        size = SUM_DIGITS;
    return size >= 6 && count_hex((const char *)bytes, size) == size;
}

static int parse_hex(KeyString *key, const char *text, size_t n, Reason *reason) {
    KeyString found = {0};
    char why[128];
    if (n != HEX_DIGITS) {
        (void)snprintf(why, sizeof(why), "has %zu hex digits instead of 80", n);
        return refuse(reason, why);
    }
    if (!key_from_hex(found.server_z85, text))
        return refuse(reason, "has 80 hex digits, but they are not those of a key");
    *key = found;
    return 0;
}

static int parse_z85(KeyString *key, const char *text, Reason *reason) {
    KeyString found = {0};
    memcpy(found.server_z85, text, Z85_CHARS);
    if (!key_check(found.server_z85))
        return refuse(reason, "has 40 characters, but is not a key in the Z85 alphabet");
    *key = found;
    return 0;
}

/** tidy() - what a terminal or a mail puts into a long word: white space; quotes around it */
static size_t tidy(char to[TEXT_MAX], const char *text) {
    size_t n = 0;
    for (; *text && n < TEXT_MAX; text++)
        if (!isspace((unsigned char)*text))
            to[n++] = *text;
    if (n >= 2 && (to[0] == '\'' || to[0] == '"') && to[n - 1] == to[0]) {
        n -= 2;
        memmove(to, to + 1, n);
    }
    return n;
}

int keystring_parse(KeyString *key, const char *given, Reason *reason) {
    char text[TEXT_MAX];
    size_t n = tidy(text, given);
    if (n == 0)
        return refuse(reason, "is empty");
    if (n >= TEXT_MAX)
        return refuse(reason, "is longer than 4095 characters");
    if (begins_like_cloud(text, n)) /* first: cut after 40 characters it would pass for Z85 */
        return parse_cloud(key, text, n, reason);
    if (count_hex(text, n) == n) /* likewise: no key in Z85 is hex digits only, but by 1 in 10^23 */
        return parse_hex(key, text, n, reason);
    if (n == Z85_CHARS)
        return parse_z85(key, text, reason);
    char why[64];
    (void)snprintf(why, sizeof(why), "has %zu characters and none of the known forms", n);
    return refuse(reason, why);
}

void keystring_hex(char hex[81], const char *server_z85) {
    for (size_t i = 0; i < Z85_CHARS; i++)
        (void)snprintf(hex + 2 * i, 3, "%02X", (unsigned char)server_z85[i]);
}

int keystring_write(Buffer *to, const KeyString *key) {
    char hex[HEX_DIGITS + 1];
    keystring_hex(hex, key->server_z85);
    Buffer plain = {0};
    Json json = json_make(&plain);
    json_object_begin(&json, NULL);
    json_text(&json, "k", hex);
    const struct {
        const char *name, *value;
    } members[] = {{"t", key->token}, {"e", key->endpoint}, {"p", key->events}};
    for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++)
        if (members[i].value[0])
            json_text(&json, members[i].name, members[i].value);
    json_object_end(&json);

    char sum[SUM_DIGITS + 1];
    checksum(sum, (const char *)plain.bytes, plain.size);
    Buffer whole = {0};
    buffer_put_text(&whole, sum);
    buffer_put(&whole, plain.bytes, plain.size);
    size_t room = sodium_base64_encoded_len(whole.size, sodium_base64_VARIANT_ORIGINAL);
    char *text = (char *)buffer_reserve(to, room);
    if (text && !plain.failed && !whole.failed) {
        (void)sodium_bin2base64(text, room, whole.bytes, whole.size,
                                sodium_base64_VARIANT_ORIGINAL);
        to->size += room - 1;
    }
    bool failed = !text || plain.failed || whole.failed;
    buffer_deinit(&plain);
    buffer_deinit(&whole);
    return failed ? error_origin(-ENOMEM) : 0;
}
