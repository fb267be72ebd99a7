/* SPDX-License-Identifier: Apache-2.0 */

#include "probe/ja4.h"

#include <gcrypt.h> /* its SHA-256 uses what the processor has for it */
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "base/cursor.h"

enum {
    LIST_MAX = 256, /* more of anything is no real hello */
    HASH_DIGITS = 12,
    PREFIX_BYTES = 10,
};

/* IANA tls-extensiontype-values */
enum {
    EXTENSION_SERVER_NAME = 0x0000,
    EXTENSION_SIGNATURES = 0x000d,
    EXTENSION_ALPN = 0x0010,
    EXTENSION_VERSIONS = 0x002b,
};

typedef struct List {
    size_t n;
    uint16_t values[LIST_MAX]; /* n of them, the others are not written */
} List;

typedef struct Hello {
    uint16_t version;
    List ciphers;
    List extensions; /* all but server name and ALPN, which are in the prefix already */
    List signatures;
    size_t n_extensions;
    bool has_name;
    char alpn[2];
} Hello;

/* RFC 8701 section 2: both bytes alike, and their lower half is ten */
static bool is_grease(uint16_t v) {
    return (v & 0x0f0f) == 0x0a0a && v >> 8 == (v & 0xff);
}

static void list_add(List *list, uint16_t v, Cursor *c) {
    if (is_grease(v))
        return;
    if (list->n == LIST_MAX) {
        c->failed = true;
        return;
    }
    list->values[list->n++] = v;
}

static void take_list(Cursor *c, size_t bytes, List *list) {
    Cursor sub = cursor_sub(c, bytes);
    while (cursor_left(&sub) > 0)
        list_add(list, cursor_u16(&sub), &sub);
    c->failed |= sub.failed;
}

/* how new a version is, for the highest of several counts; DTLS counts downwards */
static unsigned version_rank(uint16_t v) {
    return v >> 8 == 0xfe ? 0x10000u - v : v;
}

static void take_versions(Cursor *c, Hello *hello) {
    Cursor sub = cursor_sub(c, cursor_u8(c));
    uint16_t best = 0;
    while (cursor_left(&sub) > 0) {
        uint16_t v = cursor_u16(&sub);
        if (!is_grease(v) && (!best || version_rank(v) > version_rank(best)))
            best = v;
    }
    c->failed |= sub.failed;
    if (best)
        hello->version = best;
}

static bool is_alphanumeric(uint8_t c) {
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

/* first and last character of the first value, or of its bytes in hex where they are none */
static void take_alpn(Cursor *c, Hello *hello) {
    static const char digits[] = "0123456789abcdef";
    cursor_skip(c, 2);
    size_t n = cursor_u8(c);
    const uint8_t *value = cursor_take(c, n);
    if (!value || n == 0)
        return;
    uint8_t first = value[0];
    uint8_t last = value[n - 1];
    bool plain = is_alphanumeric(first) && is_alphanumeric(last);
    hello->alpn[0] = plain ? (char)first : digits[first >> 4];
    hello->alpn[1] = plain ? (char)last : digits[last & 15];
}

/* what is wrong inside an extension makes only this extension say nothing */
static void take_extension(Cursor *c, Hello *hello) {
    uint16_t type = cursor_u16(c);
    Cursor body = cursor_sub(c, cursor_u16(c));
    if (c->failed || body.failed) {
        c->failed = true;
        return;
    }
    if (is_grease(type))
        return;
    hello->n_extensions++;
    switch (type) {
    case EXTENSION_SERVER_NAME:
        hello->has_name = true;
        return;
    case EXTENSION_ALPN:
        take_alpn(&body, hello);
        return;
    case EXTENSION_VERSIONS:
        take_versions(&body, hello);
        break;
    case EXTENSION_SIGNATURES:
        take_list(&body, cursor_u16(&body), &hello->signatures);
        break;
    default:
        break;
    }
    list_add(&hello->extensions, type, c);
}

static bool hello_read(Hello *hello, Ja4Transport transport, const uint8_t *bytes, size_t size) {
    Cursor c = cursor_make(bytes, size);
    hello->version = cursor_u16(&c);
    cursor_skip(&c, 32);            /* random */
    cursor_skip(&c, cursor_u8(&c)); /* session id */
    if (transport == JA4_DTLS)
        cursor_skip(&c, cursor_u8(&c)); /* cookie */
    take_list(&c, cursor_u16(&c), &hello->ciphers);
    cursor_skip(&c, cursor_u8(&c)); /* compression */
    if (c.failed)
        return false;
    if (cursor_left(&c) == 0) /* TLS 1.2 and before may have none */
        return true;
    Cursor extensions = cursor_sub(&c, cursor_u16(&c));
    while (cursor_left(&extensions) > 0)
        take_extension(&extensions, hello);
    return !extensions.failed;
}

static const char *version_name(uint16_t version) {
    static const struct {
        uint16_t version;
        char name[3];
    } names[] = {
        {0x0304, "13"}, {0x0303, "12"}, {0x0302, "11"}, {0x0301, "10"}, {0x0300, "s3"},
        {0x0002, "s2"}, {0xfeff, "d1"}, {0xfefd, "d2"}, {0xfefc, "d3"},
    };
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (names[i].version == version)
            return names[i].name;
    return "00";
}

static void list_sort(List *list) {
    for (size_t i = 1; i < list->n; i++) {
        uint16_t v = list->values[i];
        size_t at = i;
        for (; at > 0 && list->values[at - 1] > v; at--)
            list->values[at] = list->values[at - 1];
        list->values[at] = v;
    }
}

/* "1301,1302"; the end of it. By hand, for it is most of the work of a hello. */
static char *put_list(char *at, const List *list) {
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < list->n; i++) {
        if (i)
            *at++ = ',';
        for (int shift = 12; shift >= 0; shift -= 4)
            *at++ = digits[list->values[i] >> shift & 15];
    }
    return at;
}

/* "000000000000" where the first list is empty */
static void put_hash(char *to, const List *list, const List *more) {
    memset(to, '0', HASH_DIGITS);
    if (list->n == 0)
        return;
    char words[2 * LIST_MAX * 5];
    char *end = put_list(words, list);
    if (more->n) {
        *end++ = '_';
        end = put_list(end, more);
    }
    uint8_t digest[32];
    char hex[HASH_DIGITS + 1];
    gcry_md_hash_buffer(GCRY_MD_SHA256, digest, words, (size_t)(end - words));
    (void)sodium_bin2hex(hex, sizeof(hex), digest, HASH_DIGITS / 2);
    memcpy(to, hex, HASH_DIGITS);
}

bool ja4_make(Ja4Transport transport, const uint8_t *bytes, size_t size, char text[JA4_BYTES]) {
    static const List none;
    Hello hello;
    hello.ciphers.n = hello.extensions.n = hello.signatures.n = hello.n_extensions = 0;
    hello.has_name = false;
    hello.alpn[0] = hello.alpn[1] = '0';
    if (!hello_read(&hello, transport, bytes, size))
        return false;
    size_t ciphers = hello.ciphers.n < 99 ? hello.ciphers.n : 99;
    size_t extensions = hello.n_extensions < 99 ? hello.n_extensions : 99;
    char prefix[PREFIX_BYTES + 1];
    (void)snprintf(prefix, sizeof(prefix), "%c%.2s%c%02u%02u%.2s", (char)transport,
                   version_name(hello.version), hello.has_name ? 'd' : 'i', (unsigned)ciphers,
                   (unsigned)extensions, hello.alpn);
    list_sort(&hello.ciphers);
    list_sort(&hello.extensions);
    memcpy(text, prefix, PREFIX_BYTES);
    text[PREFIX_BYTES] = '_';
    put_hash(text + PREFIX_BYTES + 1, &hello.ciphers, &none);
    text[PREFIX_BYTES + 1 + HASH_DIGITS] = '_';
    put_hash(text + PREFIX_BYTES + 2 + HASH_DIGITS, &hello.extensions, &hello.signatures);
    return true;
}
