/* SPDX-License-Identifier: Apache-2.0 */

#include "zmtp/line_inner.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/cursor.h"

/*
 * greeting  0xff, 8 padding, 0x7f, version 3 1, mechanism 20, as-server 1, 31 zeros
 * frame     flags 1, size 1 (LONG: 8), body
 * command   name length 1, name, data
 */
enum {
    AT_SIGNATURE_END = 9,
    AT_MAJOR = 10,
    AT_MINOR = 11,
    AT_MECHANISM = 12,
    MECHANISM_BYTES = 20,
    AT_AS_SERVER = 32,
    FLAG_LONG = 2,
    FLAG_COMMAND = 4,
    FLAGS = 7,
    BOX_MORE = 1, /* inside a box */
    BOX_COMMAND = 2,
    PING_CONTEXT_MAX = 16,
    PART_FIRST = 64, /* bytes a part has room for at first */
};

/* ------------------------------------------------------------------------------------ sending */

/** put_frame() - its head; where `size` bytes of body go, or NULL */
static uint8_t *put_frame(Buffer *to, uint8_t flags, size_t size) {
    const bool is_long = size > UINT8_MAX;
    if (!buffer_reserve(to, size + ZMTP_FRAME_HEAD_MAX_BYTES))
        return NULL;
    buffer_put_u8(to, flags | (is_long ? FLAG_LONG : 0));
    if (is_long)
        buffer_put_u64(to, size);
    else
        buffer_put_u8(to, (uint8_t)size);
    uint8_t *body = to->bytes + to->size;
    to->size += size;
    return body;
}

uint8_t *zmtp_put_command(Buffer *to, size_t size) {
    return put_frame(to, FLAG_COMMAND, size);
}

static bool put_box(ZmtpLine *line, Buffer *to, uint8_t flags, const void *bytes, size_t size) {
    const size_t whole = size + CURVE_BOX_BYTES + 1;
    uint8_t *body = whole > ZMTP_FRAME_MAX_BYTES ? NULL : put_frame(to, 0, whole);
    if (body)
        curve_seal(&line->curve, flags, bytes, size, body);
    return body;
}

bool zmtp_line_put(ZmtpLine *line, Buffer *to, const void *bytes, size_t size, bool more) {
    return put_box(line, to, more ? BOX_MORE : 0, bytes, size);
}

bool zmtp_line_ping(ZmtpLine *line, Buffer *to) {
    static const uint8_t ping[] = {4, 'P', 'I', 'N', 'G', 0, 0}; /* it need not watch for more */
    return put_box(line, to, BOX_COMMAND, ping, sizeof(ping));
}

/**
 * put_greeting() - up to the version at first, the rest when the peer's is there: one that does not
 * encrypt would go at once at the sight of our mechanism, and nobody would know why. Who calls
 * waits for the version only, as the server waits for all of it.
 */
static void put_greeting(const ZmtpHost *host, size_t from, size_t end) {
    uint8_t greeting[ZMTP_GREETING_BYTES] = {
        0xff,           [8] = 1,        [AT_SIGNATURE_END] = 0x7f,
        [AT_MAJOR] = 3, [AT_MINOR] = 1, [AT_AS_SERVER] = !host->call};
    memcpy(greeting + AT_MECHANISM, "CURVE", 5);
    buffer_put(host->out, greeting + from, end - from);
}

/** greet() - the rest of the greeting, once */
static void greet(ZmtpLine *line, const ZmtpHost *host) {
    if (!line->greeted)
        put_greeting(host, AT_MECHANISM, ZMTP_GREETING_BYTES);
    line->greeted = true;
}

void zmtp_line_begin(ZmtpLine *line, const ZmtpHost *host, uint64_t serial) {
    *line = (ZmtpLine){.frame_max = ZMTP_FRAME_MAX_BYTES, .curve.serial = serial};
    put_greeting(host, 0, AT_MECHANISM);
}

/* ---------------------------------------------------------------------------------- handshake */

/** check_greeting() - as far as it has come: whoever talks of something else is not waited for */
static ZmtpFault check_greeting(const ZmtpHost *host, const uint8_t *bytes, size_t n) {
    static const uint8_t curve[MECHANISM_BYTES] = "CURVE";
    if (n > 0 && bytes[0] != 0xff)
        return ZMTP_NOT_ZMTP;
    if (n > AT_SIGNATURE_END && !(bytes[AT_SIGNATURE_END] & 1)) /* of before ZMTP 2 */
        return ZMTP_NOT_ZMTP;
    if (n > AT_MAJOR && bytes[AT_MAJOR] < 3) /* had no mechanisms yet */
        return ZMTP_NOT_ENCRYPTED;
    if (n >= AT_AS_SERVER && memcmp(bytes + AT_MECHANISM, curve, sizeof(curve)) != 0)
        return ZMTP_NOT_ENCRYPTED;
    if (n > AT_AS_SERVER && bytes[AT_AS_SERVER] != (host->call ? 1 : 0))
        return ZMTP_NOT_ZMTP; /* two servers, or two clients */
    return ZMTP_FINE;
}

static ZmtpFault take_hello(ZmtpLine *line, const ZmtpHost *host, const uint8_t *body,
                            size_t size) {
    uint8_t welcome[CURVE_WELCOME_BYTES];
    const CurveVerdict verdict =
        curve_hello(&line->curve, host->jar, host->keys, body, size, welcome);
    if (verdict != CURVE_GOOD)
        return verdict == CURVE_WRONG_KEY ? ZMTP_WRONG_KEY : ZMTP_MALFORMED;
    uint8_t *to = put_frame(host->out, FLAG_COMMAND, sizeof(welcome));
    if (!to)
        return ZMTP_NO_MEMORY;
    memcpy(to, welcome, sizeof(welcome));
    line->state = ZMTP_INITIATE;
    return ZMTP_FINE;
}

static bool text_is(const uint8_t *bytes, size_t size, const char *text) {
    return size == strlen(text) && strncasecmp((const char *)bytes, text, size) == 0;
}

/* metadata: name length 1, name, value length 4, value */
bool zmtp_fits(ZmtpKind kind, const uint8_t *metadata, size_t size) {
    static const char *const peers[][2] = {
        [ZMTP_SUB] = {"PUB", "XPUB"}, [ZMTP_XPUB] = {"SUB", "XSUB"}};
    Cursor c = cursor_make(metadata, size);
    bool found = false;
    while (cursor_left(&c)) {
        const size_t n_name = cursor_u8(&c);
        const uint8_t *name = cursor_take(&c, n_name);
        const size_t n_value = cursor_u32(&c);
        const uint8_t *value = cursor_take(&c, n_value);
        if (!c.failed && text_is(name, n_name, "Socket-Type"))
            found =
                text_is(value, n_value, peers[kind][0]) || text_is(value, n_value, peers[kind][1]);
    }
    return found && !c.failed;
}

/** refuse() - a client that is told so does not come again at once */
static ZmtpFault refuse(ZmtpLine *line, const ZmtpHost *host) {
    static const uint8_t error[] = {5, 'E', 'R', 'R', 'O', 'R', 3, '4', '0', '0'};
    uint8_t *to = put_frame(host->out, FLAG_COMMAND, sizeof(error));
    if (!to)
        return ZMTP_NO_MEMORY;
    memcpy(to, error, sizeof(error));
    line->state = ZMTP_REFUSED;
    return ZMTP_FINE;
}

size_t zmtp_metadata(ZmtpKind kind, uint8_t to[32]) {
    const char *type = kind == ZMTP_SUB ? "SUB" : "XPUB";
    const uint8_t n = (uint8_t)strlen(type);
    memcpy(to, "\x0bSocket-Type\0\0\0", 15);
    to[15] = n; /* a length of 4 bytes from 12 on */
    memcpy(to + 16, type, n);
    return 16 + (size_t)n;
}

static void say_ready(ZmtpLine *line, const ZmtpHost *host) {
    uint8_t metadata[32];
    const size_t n = zmtp_metadata(host->kind, metadata);
    uint8_t *to = zmtp_put_command(host->out, 30 + n);
    if (to)
        (void)curve_ready(&line->curve, metadata, n, to);
}

/** subscribe() - as its version has it */
static void subscribe(ZmtpLine *line, const ZmtpHost *host) {
    uint8_t said[16 + ZMTP_TOPIC_MAX_BYTES] = "\x09SUBSCRIBE";
    const size_t n_name = line->minor ? 10 : 1;
    const size_t n = strnlen(host->topic, ZMTP_TOPIC_MAX_BYTES);
    if (!line->minor)
        said[0] = 1;
    memcpy(said + n_name, host->topic, n);
    (void)put_box(line, host->out, line->minor ? BOX_COMMAND : 0, said, n_name + n);
}

ZmtpFault zmtp_up(ZmtpLine *line, const ZmtpHost *host) {
    if (host->kind == ZMTP_SUB && *host->topic)
        subscribe(line, host);
    if (host->out->failed)
        return ZMTP_NO_MEMORY;
    line->state = ZMTP_UP;
    host->on_up(host->userdata, line);
    return ZMTP_FINE;
}

static ZmtpFault take_initiate(ZmtpLine *line, const ZmtpHost *host, const uint8_t *body,
                               size_t size) {
    uint8_t metadata[CURVE_INITIATE_MAX_BYTES];
    size_t n = 0;
    if (curve_initiate(&line->curve, host->jar, host->keys, body, size, metadata, &n) !=
            CURVE_GOOD ||
        !zmtp_fits(host->kind, metadata, n))
        return ZMTP_MALFORMED;
    if (!host->admits(host->userdata, line->curve.client))
        return refuse(line, host);
    say_ready(line, host);
    return zmtp_up(line, host);
}

/* ------------------------------------------------------------------------------ subscriptions */

/** find_topic() - where its length stands; topics_size: nowhere */
static uint16_t find_topic(const ZmtpLine *line, const uint8_t *topic, size_t size) {
    uint16_t at = 0;
    while (at < line->topics_size &&
           (line->topics[at] != size || memcmp(line->topics + at + 1, topic, size) != 0))
        at = (uint16_t)(at + 1 + line->topics[at]);
    return at;
}

static void remove_topic(ZmtpLine *line, const ZmtpHost *host, const uint8_t *topic, size_t size) {
    const uint16_t at = find_topic(line, topic, size);
    if (at >= line->topics_size)
        return;
    const size_t gone = size + 1;
    memmove(line->topics + at, line->topics + at + gone, line->topics_size - at - gone);
    line->topics_size = (uint16_t)(line->topics_size - gone);
    line->n_topics--;
    (void)host->on_topic(host->userdata, line, topic, size, false);
}

/* what cannot be had is left out, as a subscription has no answer */
static void add_topic(ZmtpLine *line, const ZmtpHost *host, const uint8_t *topic, size_t size) {
    if (size > ZMTP_TOPIC_MAX_BYTES)
        return;
    const bool known = find_topic(line, topic, size) < line->topics_size;
    if ((!known && line->n_topics == ZMTP_TOPICS_MAX) ||
        !host->on_topic(host->userdata, line, topic, size, true) || known)
        return;
    uint8_t *grown = realloc(line->topics, line->topics_size + size + 1);
    if (!grown)
        return;
    grown[line->topics_size] = (uint8_t)size;
    memcpy(grown + line->topics_size + 1, topic, size);
    line->topics = grown;
    line->topics_size = (uint16_t)(line->topics_size + size + 1);
    line->n_topics++;
}

static void set_topic(ZmtpLine *line, const ZmtpHost *host, const uint8_t *topic, size_t size,
                      bool on) {
    if (host->kind == ZMTP_XPUB)
        (on ? add_topic : remove_topic)(line, host, topic, size);
}

bool zmtp_line_wants(const ZmtpLine *line, const void *topic, size_t size) {
    for (uint16_t at = 0; at < line->topics_size; at = (uint16_t)(at + 1 + line->topics[at]))
        if (line->topics[at] <= size && memcmp(line->topics + at + 1, topic, line->topics[at]) == 0)
            return true;
    return false;
}

/* ------------------------------------------------------------------------------------ traffic */

static void answer_ping(ZmtpLine *line, const ZmtpHost *host, Cursor *c) {
    uint8_t pong[5 + PING_CONTEXT_MAX] = "\x04PONG";
    cursor_skip(c, 2);
    const size_t n = cursor_left(c);
    if (c->failed || n > PING_CONTEXT_MAX)
        return;
    cursor_copy(c, pong + 5, n);
    (void)put_box(line, host->out, BOX_COMMAND, pong, 5 + n);
}

/* commands that are not known are no fault: what comes after 3.1 may have more */
static void take_command(ZmtpLine *line, const ZmtpHost *host, const uint8_t *bytes, size_t size) {
    Cursor c = cursor_make(bytes, size);
    const size_t n = cursor_u8(&c);
    const uint8_t *name = cursor_take(&c, n);
    if (!name)
        return;
    const bool on = text_is(name, n, "SUBSCRIBE");
    const size_t left = cursor_left(&c);
    if (text_is(name, n, "PING"))
        answer_ping(line, host, &c);
    else if (on || text_is(name, n, "CANCEL"))
        set_topic(line, host, c.at, left, on);
}

/** take_last() - a message is whole */
static void take_last(ZmtpLine *line, const ZmtpHost *host, const uint8_t *bytes, size_t size) {
    ZmtpMessage message = {
        .n_parts = line->n_parts + (size_t)1, .first = bytes, .first_size = size};
    if (line->n_parts) {
        message.first = line->first.bytes;
        message.first_size = line->first.size;
        message.last = bytes;
        message.last_size = size;
    }
    if (host->kind == ZMTP_SUB)
        host->on_message(host->userdata, line, &message);
    else if (message.n_parts == 1 && size && bytes[0] <= 1) /* as before ZMTP 3.1 */
        set_topic(line, host, bytes + 1, size - 1, bytes[0]);
    buffer_deinit(&line->first); /* thousands of lines: none keeps what it does not use */
    line->n_parts = 0;
}

static ZmtpFault take_box(ZmtpLine *line, const ZmtpHost *host, const uint8_t *body, size_t size) {
    uint8_t *plain = host->scratch;
    size_t n = 0;
    if (!curve_open(&line->curve, body, size, plain, &n))
        return ZMTP_MALFORMED;
    const uint8_t flags = plain[0];
    if (flags & BOX_COMMAND) {
        take_command(line, host, plain + 1, n - 1);
    } else if (!(flags & BOX_MORE)) {
        take_last(line, host, plain + 1, n - 1);
    } else {
        if (line->first.size + n > ZMTP_PART_MAX_BYTES || line->n_parts == ZMTP_PARTS_MAX)
            return ZMTP_TOO_LARGE;
        if (!line->n_parts++)
            buffer_put(&line->first, plain + 1, n - 1);
    }
    return host->out->failed || line->first.failed ? ZMTP_NO_MEMORY : ZMTP_FINE;
}

/* -------------------------------------------------------------------------------------- bytes */

/** look() - at what begins here; *wholep: bytes of it all, 0: not known yet */
static ZmtpFault look(const ZmtpLine *line, const ZmtpHost *host, const uint8_t *bytes, size_t n,
                      size_t *headp, size_t *wholep) {
    *headp = ZMTP_GREETING_BYTES;
    *wholep = ZMTP_GREETING_BYTES;
    if (line->state == ZMTP_GREETING)
        return check_greeting(host, bytes, n);
    const bool up = line->state == ZMTP_UP;
    Cursor c = cursor_make(bytes, n);
    const uint8_t flags = cursor_u8(&c);
    if (flags & ~FLAGS || (!up && !c.failed && !(flags & FLAG_COMMAND)))
        return ZMTP_MALFORMED;
    const uint64_t size = flags & FLAG_LONG ? cursor_u64(&c) : cursor_u8(&c);
    *headp = flags & FLAG_LONG ? ZMTP_FRAME_HEAD_MAX_BYTES : 2;
    *wholep = c.failed ? 0 : *headp + (size_t)size;
    if (!c.failed && size > (up ? line->frame_max : CURVE_INITIATE_MAX_BYTES))
        return up ? ZMTP_TOO_LARGE : ZMTP_MALFORMED;
    return ZMTP_FINE;
}

static ZmtpFault take_whole(ZmtpLine *line, const ZmtpHost *host, const uint8_t *bytes, size_t head,
                            size_t whole) {
    const uint8_t *body = bytes + head;
    const size_t size = whole - head;
    switch (line->state) {
    case ZMTP_GREETING:
        line->minor = bytes[AT_MAJOR] > 3 ? 1 : bytes[AT_MINOR];
        line->state = ZMTP_HELLO;
        greet(line, host);
        if (host->call)
            return zmtp_call_hello(line, host);
        return host->out->failed ? ZMTP_NO_MEMORY : ZMTP_FINE;
    case ZMTP_HELLO:
        return take_hello(line, host, body, size);
    case ZMTP_INITIATE:
        return take_initiate(line, host, body, size);
    case ZMTP_WELCOME:
        return zmtp_call_welcome(line, host, body, size);
    case ZMTP_READY:
        return zmtp_call_ready(line, host, body, size);
    case ZMTP_UP:
        return take_box(line, host, body, size);
    case ZMTP_REFUSED:
        break;
    }
    return ZMTP_FINE;
}

/** hold() - in `part`, which grows as it is filled and up to `whole` bytes */
static bool hold(ZmtpLine *line, const uint8_t *bytes, size_t n, size_t whole) {
    const size_t needed = line->have + n;
    if (needed > line->room) {
        size_t room = line->room ? (size_t)line->room * 2 : PART_FIRST;
        if (whole && room > whole)
            room = whole;
        if (room < needed)
            room = needed;
        uint8_t *grown = realloc(line->part, room);
        if (!grown)
            return false;
        line->part = grown;
        line->room = (uint32_t)room;
    }
    memcpy(line->part + line->have, bytes, n);
    line->have += (uint32_t)n;
    return true;
}

static void let_go(ZmtpLine *line) {
    free(line->part);
    line->part = NULL;
    line->have = line->room = 0;
}

/** go_on() - with the frame that is held; *np: bytes taken for it */
static ZmtpFault go_on(ZmtpLine *line, const ZmtpHost *host, const uint8_t *bytes, size_t size,
                       size_t *np) {
    size_t head = 0, whole = 0;
    ZmtpFault fault = look(line, host, line->part, line->have, &head, &whole);
    size_t n = (whole ? whole : line->have < head ? head : line->have + (size_t)1) - line->have;
    n = n < size ? n : size;
    *np = n;
    if (!fault && !hold(line, bytes, n, whole))
        fault = ZMTP_NO_MEMORY;
    if (!fault)
        fault = look(line, host, line->part, line->have, &head, &whole);
    if (fault || !whole || line->have < whole)
        return fault;
    fault = take_whole(line, host, line->part, head, whole);
    let_go(line);
    return fault;
}

ZmtpFault zmtp_line_take(ZmtpLine *line, const ZmtpHost *host, const uint8_t *bytes, size_t size) {
    ZmtpFault fault = ZMTP_FINE;
    while (size && !fault && line->state != ZMTP_REFUSED) {
        size_t head = 0, whole = 0, n = size;
        if (line->have) {
            fault = go_on(line, host, bytes, size, &n);
        } else {
            fault = look(line, host, bytes, size, &head, &whole);
            if (!fault && whole && whole <= size) {
                n = whole;
                fault = take_whole(line, host, bytes, head, whole);
            } else if (!fault && !hold(line, bytes, size, whole)) {
                fault = ZMTP_NO_MEMORY;
            }
        }
        bytes += n;
        size -= n;
    }
    if (!fault && host->call && line->state == ZMTP_GREETING && line->have >= AT_MECHANISM)
        greet(line, host);
    return fault;
}

void zmtp_line_end(ZmtpLine *line) {
    let_go(line);
    free(line->topics);
    line->topics = NULL;
    line->topics_size = line->n_topics = 0;
    buffer_deinit(&line->first);
    curve_session_wipe(&line->curve);
}
