/* SPDX-License-Identifier: Apache-2.0 */

#include "licence/token.h"

#include <errno.h>
#include <jansson.h>
#include <sodium.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/error.h"

enum { VARIANT = sodium_base64_VARIANT_URLSAFE_NO_PADDING };

typedef struct Line {
    const char *text;
    size_t size;
} Line;

/* blanks around it, and the mark that some editors put before a text in UTF-8 */
static Line trim(const char *text, size_t size) {
    if (size >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) {
        text += 3;
        size -= 3;
    }
    while (size && strchr(" \t\r\n", text[0]) && text[0]) {
        text++;
        size--;
    }
    while (size && text[size - 1] && strchr(" \t\r\n", text[size - 1]))
        size--;
    return (Line){.text = text, .size = size};
}

int token_init(void) {
    return sodium_init() < 0 ? error_origin(-ENOSYS) : 0;
}

static int refuse(Reason *reason, const char *why) {
    reason_set(reason, "it %s; copy the whole line again", why);
    return TOKEN_E_DAMAGED;
}

static void put_base64(Buffer *to, const void *bytes, size_t size) {
    size_t room = sodium_base64_ENCODED_LEN(size, VARIANT);
    char *text = (char *)buffer_reserve(to, room);
    if (!text)
        return;
    (void)sodium_bin2base64(text, room, bytes, size, VARIANT);
    to->size += strlen(text);
}

/* One text for each value, so that no bit of a line can be changed: libsodium's decoder takes some
 * bytes above 127 for letters, so what it read is written again. */
static bool decode(Buffer *to, Line from) {
    size_t size = 0;
    cleanup(buffer_deinit) Buffer again = {0};
    uint8_t *bytes = buffer_reserve(to, from.size + 1);
    if (!bytes || sodium_base642bin(bytes, from.size + 1, from.text, from.size, NULL, &size, NULL,
                                    VARIANT) != 0)
        return false;
    to->size += size;
    put_base64(&again, bytes, size);
    to->failed = to->failed || again.failed;
    return again.size == from.size &&
           (!from.size || memcmp(again.bytes, from.text, from.size) == 0);
}

static int check_signature(const json_t *payload, Line signed_text, const Buffer *signature,
                           const VendorKeys *keys, Reason *reason) {
    const char *kid = json_string_value(json_object_get(payload, "kid"));
    if (!kid || !vendor_kid_valid(kid))
        return refuse(reason, "names no key that it was signed with");
    const VendorKey *key = vendor_key_find(keys, kid);
    if (!key) {
        reason_set(reason,
                   "it was signed with the key '%s', which this program was not built with (it "
                   "knows",
                   kid);
        for (size_t i = 0; i < keys->n; i++)
            reason_append(reason, "%s %s", i ? "," : "", keys->keys[i].kid);
        reason_append(reason, "); is it from the vendor of this program?");
        return TOKEN_E_UNKNOWN;
    }
    if (crypto_sign_verify_detached(signature->bytes, (const uint8_t *)signed_text.text,
                                    signed_text.size, key->public_key) != 0)
        return refuse(reason, "was changed after it was signed: its signature does not match");
    return 0;
}

int token_open(json_t **payloadp, const char *text, size_t size, const VendorKeys *keys,
               Reason *reason) {
    Line line = trim(text, size);
    if (line.size > TOKEN_BYTES_MAX)
        return refuse(reason, "is longer than any such line");
    const char *dot = line.size ? memchr(line.text, '.', line.size) : NULL;
    if (!dot)
        return refuse(reason, line.size ? "is cut short: the signature behind a dot is missing"
                                        : "is empty");
    Line head = {.text = line.text, .size = (size_t)(dot - line.text)};
    Line tail = {.text = dot + 1, .size = line.size - head.size - 1};
    cleanup(buffer_deinit) Buffer payload = {0};
    cleanup(buffer_deinit) Buffer signature = {0};
    bool good = decode(&payload, head) && decode(&signature, tail);
    if (payload.failed || signature.failed)
        return error_origin(-ENOMEM);
    if (!good)
        return refuse(reason, "holds characters that do not belong there, or is cut short");
    if (signature.size != TOKEN_SIGNATURE_BYTES)
        return refuse(reason, "is cut short or too long: its signature is not one");
    json_t *object =
        json_loadb((const char *)payload.bytes, payload.size, JSON_REJECT_DUPLICATES, NULL);
    int r = json_is_object(object) ? check_signature(object, head, &signature, keys, reason)
                                   : refuse(reason, "holds no claims");
    if (r)
        json_decref(object);
    else
        *payloadp = object;
    return error_trace(r);
}

int token_sign(Buffer *line, const json_t *payload, const uint8_t secret_key[VENDOR_SECRET_BYTES]) {
    size_t at = line->size;
    uint8_t signature[TOKEN_SIGNATURE_BYTES];
    char *json = json_dumps(payload, JSON_COMPACT);
    if (!json)
        return error_origin(-ENOMEM);
    put_base64(line, json, strlen(json));
    free(json);
    if (line->failed)
        return error_origin(-ENOMEM);
    (void)crypto_sign_detached(signature, NULL, line->bytes + at, line->size - at, secret_key);
    buffer_put_text(line, ".");
    put_base64(line, signature, sizeof(signature));
    buffer_put_text(line, "\n");
    return line->failed ? error_origin(-ENOMEM) : 0;
}
