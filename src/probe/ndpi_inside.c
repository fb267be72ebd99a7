/* SPDX-License-Identifier: Apache-2.0 */

#include "probe/ndpi_inside.h"

#include <assert.h>
#include <ndpi_main.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- memory ------------------------------------------------------------------------------- */

/*
 * nDPI gives each TCP flow that may be TLS a buffer of 2 KB and keeps it until the end, mostly with
 * nothing or a few bytes in it. Between two packets it is as large as what is in it, and one that
 * is empty goes to the next flow; in its calls nDPI finds what it left. The condition is that of
 * ndpi_free_flow_data(): l4 is a union.
 */
enum { IP_TCP = 6, TLS_BUFFER_BYTES = 2048, TLS_PACKED_MAX = 512 };

static void spare_put(NdpiSpare *spare, void *buffer) {
    if (spare->buffer)
        ndpi_free(buffer);
    else
        spare->buffer = buffer;
}

static void *spare_take(NdpiSpare *spare) {
    void *buffer = spare->buffer;
    spare->buffer = NULL;
    return buffer ? buffer : ndpi_malloc(TLS_BUFFER_BYTES);
}

bool ndpi_pack(struct ndpi_flow_struct *flow, NdpiSpare *spare) {
    message_t *message = &flow->l4.tcp.tls.message;
    if (flow->l4_proto != IP_TCP || !message->buffer || message->buffer_len != TLS_BUFFER_BYTES ||
        message->buffer_used > TLS_PACKED_MAX)
        return false;
    const unsigned used = message->buffer_used;
    uint8_t *packed = used ? ndpi_malloc(used) : NULL;
    if (used && !packed)
        return false;
    if (used)
        memcpy(packed, message->buffer, used);
    spare_put(spare, message->buffer);
    message->buffer = packed;
    message->buffer_len = used;
    return !used;
}

void ndpi_unpack(struct ndpi_flow_struct *flow, NdpiSpare *spare, bool empty) {
    message_t *message = &flow->l4.tcp.tls.message;
    if (flow->l4_proto != IP_TCP ||
        !(empty || (message->buffer && message->buffer_len < TLS_BUFFER_BYTES)))
        return;
    uint8_t *buffer = spare_take(spare);
    if (!buffer)
        return;
    if (message->buffer) {
        memcpy(buffer, message->buffer, message->buffer_used);
        ndpi_free(message->buffer);
    }
    message->buffer = buffer;
    message->buffer_len = TLS_BUFFER_BYTES;
}

void ndpi_spare_deinit(NdpiSpare *spare) {
    ndpi_free(spare->buffer);
    spare->buffer = NULL;
}

#if NDPI_MAJOR == 4 && NDPI_MINOR == 2

/* --- masks of protocols ------------------------------------------------------------------- */

/*
 * Called some 50 times a packet, each time just after both were pushed word by word: what is read
 * wider than it was written waits until it has arrived, so the compiler must not join the words.
 */
int NDPI_BITMASK_COMPARE(NDPI_PROTOCOL_BITMASK a, NDPI_PROTOCOL_BITMASK b) {
    uint64_t both = 0;
    for (size_t i = 0; i < sizeof(a); i += sizeof(both)) {
        uint64_t of_a = 0;
        uint64_t of_b = 0;
        memcpy(&of_a, (const uint8_t *)&a + i, sizeof(of_a));
        memcpy(&of_b, (const uint8_t *)&b + i, sizeof(of_b));
        __asm__("" : "+r"(of_a)); /* stays a word of its own */
        both |= of_a & of_b;
    }
    return both != 0;
}

static_assert(sizeof(NDPI_PROTOCOL_BITMASK) % sizeof(uint64_t) == 0, "whole words");

/* --- certificates ------------------------------------------------------------------------- */

/* SHA-1 of each certificate: for lists of bad ones, of which none is loaded, and not exported */
void SHA1Transform(u_int32_t state[5], const u_char buffer[64]);

void SHA1Transform(u_int32_t state[5], const u_char buffer[64]) {
    (void)state;
    (void)buffer;
}

/* --- texts -------------------------------------------------------------------------------- */

/* the first place of a text in one of at most so many bytes, which may end sooner; of none it may
 * be NULL, and there is nothing in it */
char *ndpi_strnstr(const char *text, const char *find, size_t size) {
    if (!text)
        return NULL;
    return memmem(text, strnlen(text, size), find, strlen(find));
}

/*
 * JA3 is written number by number, some 100 a hello, and each time the C library sets up a file
 * that ends in memory. What nDPI writes mostly is read here: %s, %u, %d, %x and %X of int, with a
 * width filled with zeros (%02x). Anything else is left to the C library.
 */
typedef struct Text {
    char *at;
    size_t size; /* with the zero at the end */
    size_t n;    /* of the whole, also what had no room */
} Text;

static void put_char(Text *text, char c) {
    if (text->n + 1 < text->size)
        text->at[text->n] = c;
    text->n++;
}

static void put_text(Text *text, const char *from) {
    for (; *from; from++)
        put_char(text, *from);
}

static void put_number(Text *text, unsigned value, unsigned base, const char *digits,
                       unsigned width) {
    char room[16];
    unsigned n = 0;
    do {
        room[n++] = digits[value % base];
        value /= base;
    } while (value);
    while (n < width)
        room[n++] = '0';
    while (n)
        put_char(text, room[--n]);
}

/* one conversion, of which *format stands behind the percent sign; false: not one of these */
static bool put_one(Text *text, const char **format, va_list *values) {
    const char *f = *format;
    unsigned width = 0;
    if (f[0] == '0' && f[1] >= '1' && f[1] <= '8') {
        width = (unsigned)(f[1] - '0');
        f += 2;
    }
    *format = f + 1;
    if (*f == 'u')
        put_number(text, va_arg(*values, unsigned), 10, "0123456789", width);
    else if (*f == 'x')
        put_number(text, va_arg(*values, unsigned), 16, "0123456789abcdef", width);
    else if (*f == 'X')
        put_number(text, va_arg(*values, unsigned), 16, "0123456789ABCDEF", width);
    else if (width)
        return false;
    else if (*f == 's') {
        const char *from = va_arg(*values, const char *);
        put_text(text, from ? from : "(null)");
    } else if (*f == 'd') {
        const int value = va_arg(*values, int);
        if (value < 0)
            put_char(text, '-');
        put_number(text, value < 0 ? 0u - (unsigned)value : (unsigned)value, 10, "0123456789", 0);
    } else
        return false;
    return true;
}

static bool put_all(Text *text, const char *format, va_list *values) {
    while (*format) {
        if (*format != '%')
            put_char(text, *format++);
        else if (format++, !put_one(text, &format, values))
            return false;
    }
    if (text->size)
        text->at[text->n < text->size ? text->n : text->size - 1] = 0;
    return true;
}

/* what snprintf() is in libraries built with _FORTIFY_SOURCE; room: as far as the compiler knew */
int __snprintf_chk(char *to, size_t size, int flag, size_t room, const char *format, ...);

int __snprintf_chk(char *to, size_t size, int flag, size_t room, const char *format, ...) {
    (void)flag;
    if (room < size)
        abort();
    Text text = {.at = to, .size = size};
    va_list values;
    va_start(values, format);
    const bool done = put_all(&text, format, &values);
    va_end(values);
    if (done)
        return (int)text.n;
    va_start(values, format);
    const int n = vsnprintf(to, size, format, values);
    va_end(values);
    return n;
}

#endif
