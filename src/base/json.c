/* SPDX-License-Identifier: Apache-2.0 */

#include "base/json.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "base/buffer.h"

static void begin(Json *json, const char *name) {
    if (json->comma)
        buffer_put_u8(json->to, ',');
    json->comma = true;
    if (name) {
        buffer_put_u8(json->to, '"');
        buffer_put_text(json->to, name);
        buffer_put(json->to, "\":", 2);
    }
}

static void open_with(Json *json, const char *name, uint8_t bracket) {
    begin(json, name);
    buffer_put_u8(json->to, bracket);
    json->comma = false;
}

static void close_with(Json *json, uint8_t bracket) {
    buffer_put_u8(json->to, bracket);
    json->comma = true;
}

void json_object_begin(Json *json, const char *name) {
    open_with(json, name, '{');
}

void json_object_end(Json *json) {
    close_with(json, '}');
}

void json_array_begin(Json *json, const char *name) {
    open_with(json, name, '[');
}

void json_array_end(Json *json) {
    close_with(json, ']');
}

/**
 * utf8_length() - how many bytes the sequence at p has (RFC 3629 section 4), 0 if it is not valid
 */
static size_t utf8_length(const uint8_t *p, size_t left) {
    static const struct {
        uint8_t first_low, first_high, second_low, second_high, length;
    } forms[] = {
        {0x00, 0x7f, 0x00, 0x00, 1}, {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3},
        {0xe1, 0xec, 0x80, 0xbf, 3}, {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3},
        {0xf0, 0xf0, 0x90, 0xbf, 4}, {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4},
    };
    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
        if (p[0] < forms[i].first_low || p[0] > forms[i].first_high)
            continue;
        size_t n = forms[i].length;
        if (n > left)
            return 0;
        if (n > 1 && (p[1] < forms[i].second_low || p[1] > forms[i].second_high))
            return 0;
        for (size_t k = 2; k < n; k++)
            if ((p[k] & 0xc0) != 0x80)
                return 0;
        return n;
    }
    return 0;
}

static void put_escaped(Buffer *to, uint8_t c) {
    static const char names[] = "\bb\ff\nn\rr\tt\"\"\\\\";
    for (size_t i = 0; names[i]; i += 2)
        if ((uint8_t)names[i] == c) {
            buffer_put_u8(to, '\\');
            buffer_put_u8(to, (uint8_t)names[i + 1]);
            return;
        }
    buffer_printf(to, "\\u%04x", c);
}

static bool is_plain(uint8_t c) {
    return c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
}

/* how many bytes from here on are written as they are, one by one */
static size_t plain_run(const uint8_t *p, size_t left) {
    size_t n = 0;
    while (n < left && is_plain(p[n]))
        n++;
    return n;
}

void json_textn(Json *json, const char *name, const char *text, size_t size) {
    begin(json, name);
    buffer_put_u8(json->to, '"');
    const uint8_t *p = (const uint8_t *)text;
    for (size_t i = 0; i < size;) {
        size_t run = plain_run(p + i, size - i);
        if (run) {
            buffer_put(json->to, p + i, run);
            i += run;
            continue;
        }
        size_t n = utf8_length(p + i, size - i);
        if (n == 0)
            buffer_put_text(json->to, "\xef\xbf\xbd");
        else if (n == 1)
            put_escaped(json->to, p[i]);
        else
            buffer_put(json->to, p + i, n);
        i += n ? n : 1;
    }
    buffer_put_u8(json->to, '"');
}

void json_text(Json *json, const char *name, const char *text) {
    if (text)
        json_textn(json, name, text, strlen(text));
    else
        json_none(json, name);
}

void json_u64(Json *json, const char *name, uint64_t v) {
    char digits[20];
    size_t n = 0;
    do
        digits[sizeof(digits) - ++n] = (char)('0' + v % 10);
    while ((v /= 10) != 0);
    begin(json, name);
    buffer_put(json->to, digits + sizeof(digits) - n, n);
}

void json_i64(Json *json, const char *name, int64_t v) {
    begin(json, name);
    buffer_printf(json->to, "%" PRId64, v);
}

void json_f64(Json *json, const char *name, double v) {
    if (!isfinite(v)) {
        json_none(json, name);
        return;
    }
    begin(json, name);
    buffer_printf(json->to, "%.10g", v);
}

void json_bool(Json *json, const char *name, bool v) {
    begin(json, name);
    buffer_put_text(json->to, v ? "true" : "false");
}

void json_none(Json *json, const char *name) {
    begin(json, name);
    buffer_put_text(json->to, "null");
}

void json_raw(Json *json, const char *name, const char *json_value) {
    begin(json, name);
    buffer_put_text(json->to, json_value);
}
