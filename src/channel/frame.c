/* SPDX-License-Identifier: Apache-2.0 */

#include "channel/frame.h"

#include <inttypes.h>
#include <jansson.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "base/cursor.h"
#include "base/json.h"

/*
 *  0                   1                   2                   3
 *  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 * +---------------------------------------------------------------+
 * |                       "weir" (the topic)                      |
 * +---------------+---------------+-------------------------------+
 * |  version = 1  |     kind      |          reserved = 0         |
 * +---------------+---------------+-------------------------------+
 * batch: epoch 16, sequence 8, counts 3 x 8, totals 3 x 8, backlog 8, payload bytes 4, crc32c 4
 * gap:   epoch 16, first 8, last 8, totals 3 x 8
 * hello: hello id 8, n 2, n x {epoch 16, closed 1, last 8}
 * pulse: nothing
 */

static void put_counts(Buffer *to, const BatchCounts *counts) {
    buffer_put_u64(to, counts->flows);
    buffer_put_u64(to, counts->packets);
    buffer_put_u64(to, counts->octets);
}

static BatchCounts read_counts(Cursor *c) {
    BatchCounts counts;
    counts.flows = cursor_u64(c);
    counts.packets = cursor_u64(c);
    counts.octets = cursor_u64(c);
    return counts;
}

static void write_batch(Buffer *to, const Frame *frame) {
    const DeliveryBatch *batch = &frame->batch;
    buffer_put(to, batch->epoch.bytes, sizeof(batch->epoch.bytes));
    buffer_put_u64(to, batch->first);
    put_counts(to, &batch->counts);
    put_counts(to, &batch->totals);
    buffer_put_u64(to, batch->backlog_bytes);
    buffer_put_u32(to, batch->bytes);
    buffer_put_u32(to, frame->crc32c);
}

static void read_batch(Frame *frame, Cursor *c) {
    DeliveryBatch *batch = &frame->batch;
    cursor_copy(c, batch->epoch.bytes, sizeof(batch->epoch.bytes));
    batch->first = batch->last = cursor_u64(c);
    batch->counts = read_counts(c);
    batch->totals = read_counts(c);
    batch->backlog_bytes = cursor_u64(c);
    batch->bytes = cursor_u32(c);
    frame->crc32c = cursor_u32(c);
}

static void write_gap(Buffer *to, const Frame *frame) {
    const DeliveryBatch *batch = &frame->batch;
    buffer_put(to, batch->epoch.bytes, sizeof(batch->epoch.bytes));
    buffer_put_u64(to, batch->first);
    buffer_put_u64(to, batch->last);
    put_counts(to, &batch->totals);
}

static void read_gap(Frame *frame, Cursor *c) {
    DeliveryBatch *batch = &frame->batch;
    batch->gap = true;
    cursor_copy(c, batch->epoch.bytes, sizeof(batch->epoch.bytes));
    batch->first = cursor_u64(c);
    batch->last = cursor_u64(c);
    batch->totals = read_counts(c);
}

static void write_hello(Buffer *to, const Frame *frame) {
    buffer_put_u64(to, frame->hello.hello_id);
    buffer_put_u16(to, (uint16_t)frame->hello.n_epochs);
    for (size_t i = 0; i < frame->hello.n_epochs; i++) {
        const DeliveryEpoch *epoch = &frame->hello.epochs[i];
        buffer_put(to, epoch->epoch.bytes, sizeof(epoch->epoch.bytes));
        buffer_put_u8(to, epoch->closed);
        buffer_put_u64(to, epoch->last);
    }
}

static void read_hello(Frame *frame, Cursor *c) {
    DeliveryHello *hello = &frame->hello;
    hello->hello_id = cursor_u64(c);
    hello->n_epochs = cursor_u16(c);
    if (hello->n_epochs > DELIVERY_EPOCHS_MAX || hello->hello_id == 0) {
        hello->n_epochs = 0;
        c->failed = true;
    }
    for (size_t i = 0; i < hello->n_epochs; i++) {
        cursor_copy(c, hello->epochs[i].epoch.bytes, sizeof(hello->epochs[i].epoch.bytes));
        hello->epochs[i].closed = cursor_u8(c) != 0;
        hello->epochs[i].last = cursor_u64(c);
    }
}

static void write_pulse(Buffer *to, const Frame *frame) {
    (void)to;
    (void)frame;
}

static void read_pulse(Frame *frame, Cursor *c) {
    (void)frame;
    (void)c;
}

static const struct {
    void (*write)(Buffer *to, const Frame *frame);
    void (*read)(Frame *frame, Cursor *c);
} kinds[] = {
    [FRAME_HELLO] = {write_hello, read_hello},
    [FRAME_BATCH] = {write_batch, read_batch},
    [FRAME_GAP] = {write_gap, read_gap},
    [FRAME_PULSE] = {write_pulse, read_pulse},
};

void frame_write(Buffer *to, const Frame *frame) {
    buffer_put_text(to, FRAME_TOPIC);
    buffer_put_u8(to, FRAME_VERSION);
    buffer_put_u8(to, (uint8_t)frame->kind);
    buffer_put_u16(to, 0);
    kinds[frame->kind].write(to, frame);
}

int frame_read(Frame *frame, const void *bytes, size_t size) {
    Cursor c = cursor_make(bytes, size);
    const uint8_t *topic = cursor_take(&c, strlen(FRAME_TOPIC));
    if (!topic || memcmp(topic, FRAME_TOPIC, strlen(FRAME_TOPIC)) != 0)
        return FRAME_E_FOREIGN;
    uint8_t version = cursor_u8(&c);
    uint8_t kind = cursor_u8(&c);
    cursor_skip(&c, 2);
    if (c.failed)
        return FRAME_E_MALFORMED;
    if (version != FRAME_VERSION)
        return FRAME_E_VERSION;
    if (kind >= sizeof(kinds) / sizeof(kinds[0]) || !kinds[kind].read)
        return FRAME_E_MALFORMED;
    frame->kind = (FrameKind)kind;
    frame->batch = (DeliveryBatch){0};
    frame->hello.n_epochs = 0;
    kinds[kind].read(frame, &c);
    return c.failed || cursor_left(&c) ? FRAME_E_MALFORMED : 0;
}

/* ----------------------------------------------------------------------------------- control */

void epoch_text(char text[33], const EpochId *epoch) {
    (void)sodium_bin2hex(text, 33, epoch->bytes, sizeof(epoch->bytes));
}

static void put_hex(Json *json, const char *name, uint64_t v) {
    char text[17];
    (void)snprintf(text, sizeof(text), "%016" PRIx64, v);
    json_text(json, name, text);
}

static void put_totals(Json *json, const BatchCounts *totals) {
    json_array_begin(json, "totals");
    json_u64(json, NULL, totals->flows);
    json_u64(json, NULL, totals->packets);
    json_u64(json, NULL, totals->octets);
    json_array_end(json);
}

void control_write(Buffer *to, const ControlState *state) {
    Json json = json_make(to);
    json_object_begin(&json, NULL);
    json_u64(&json, "v", FRAME_VERSION);
    put_hex(&json, "session", state->delivery.nonce);
    put_hex(&json, "hello", state->delivery.hello_id);
    json_array_begin(&json, "epochs");
    for (size_t i = 0; i < state->delivery.n_marks; i++) {
        char text[33];
        epoch_text(text, &state->delivery.marks[i].epoch);
        json_object_begin(&json, NULL);
        json_text(&json, "epoch", text);
        json_u64(&json, "received", state->delivery.marks[i].received);
        json_u64(&json, "stored", state->delivery.marks[i].stored);
        if (state->delivery.marks[i].counted)
            put_totals(&json, &state->delivery.marks[i].totals);
        json_object_end(&json);
    }
    json_array_end(&json);
    json_u64(&json, "credit_bytes", state->delivery.credit_bytes);
    json_object_begin(&json, "admission");
    json_text(&json, "state", state->admission);
    json_text(&json, "reason", state->reason);
    json_object_end(&json);
    json_u64(&json, "server_time_ms", state->server_time_ms);
    json_text(&json, "hub_version", *state->hub_version ? state->hub_version : WEIR_VERSION);
    if (state->notice != CAUSE_NONE)
        json_text(&json, "notice", cause_rows[state->notice].id);
    if (*state->configuration)
        json_raw(&json, "configuration", state->configuration);
    if (state->server_keys.version)
        server_keys_write(&json, "server_keys", &state->server_keys);
    if (state->lease.until_s > 0) {
        json_object_begin(&json, "lease");
        json_u64(&json, "until_s", (uint64_t)state->lease.until_s);
        json_text(&json, "licence", state->lease.licence);
        json_object_end(&json);
    }
    json_object_end(&json);
}

static bool get_hex(const json_t *object, const char *name, void *to, size_t size) {
    const char *text = json_string_value(json_object_get(object, name));
    size_t found = 0;
    return text && strlen(text) == size * 2 &&
           sodium_hex2bin(to, size, text, size * 2, NULL, &found, NULL) == 0 && found == size;
}

static bool get_hex_u64(const json_t *object, const char *name, uint64_t *to) {
    uint8_t bytes[8];
    if (!get_hex(object, name, bytes, sizeof(bytes)))
        return false;
    Cursor c = cursor_make(bytes, sizeof(bytes));
    *to = cursor_u64(&c);
    return true;
}

static bool get_u64(const json_t *object, const char *name, uint64_t *to) {
    const json_t *value = json_object_get(object, name);
    if (!json_is_integer(value) || json_integer_value(value) < 0)
        return false;
    *to = (uint64_t)json_integer_value(value);
    return true;
}

static void copy_text(char *to, size_t size, const json_t *object, const char *name) {
    const char *text = json_string_value(json_object_get(object, name));
    (void)snprintf(to, size, "%s", text ? text : "");
}

/* what is no object, or too long for one, is as good as not there: it will not be confirmed */
static void copy_object(char *to, size_t size, const json_t *value) {
    size_t n = json_is_object(value) ? json_dumpb(value, to, size - 1, JSON_COMPACT) : 0;
    to[n < size ? n : 0] = 0;
}

/** get_totals() - false: it does not say, or not in numbers that can be compared */
static bool get_totals(const json_t *object, BatchCounts *totals) {
    const json_t *array = json_object_get(object, "totals");
    uint64_t *to[] = {&totals->flows, &totals->packets, &totals->octets};
    for (size_t i = 0; i < 3; i++) {
        const json_t *value = json_array_get(array, i);
        if (!json_is_integer(value) || json_integer_value(value) < 0)
            return false;
        *to[i] = (uint64_t)json_integer_value(value);
    }
    return true;
}

static bool read_marks(DeliveryState *state, const json_t *epochs) {
    if (!json_is_array(epochs) || json_array_size(epochs) > DELIVERY_EPOCHS_MAX)
        return false;
    for (size_t i = 0; i < json_array_size(epochs); i++) {
        const json_t *object = json_array_get(epochs, i);
        DeliveryMark *mark = &state->marks[i];
        if (!get_hex(object, "epoch", mark->epoch.bytes, sizeof(mark->epoch.bytes)) ||
            !get_u64(object, "received", &mark->received) ||
            !get_u64(object, "stored", &mark->stored) || mark->stored > mark->received)
            return false;
        mark->counted = get_totals(object, &mark->totals);
    }
    state->n_marks = json_array_size(epochs);
    return true;
}

/* what cannot be read is no lease, and must not stop delivery */
static void read_lease(Lease *lease, const json_t *object) {
    uint64_t until_s = 0;
    *lease = (Lease){0};
    if (!get_u64(object, "until_s", &until_s) || until_s > INT64_MAX)
        return;
    lease->until_s = (int64_t)until_s;
    copy_text(lease->licence, sizeof(lease->licence), object, "licence");
}

int control_read(ControlState *state, const void *bytes, size_t size) {
    if (size > FRAME_JSON_MAX_BYTES)
        return FRAME_E_MALFORMED;
    json_t *object = json_loadb(bytes, size, JSON_REJECT_DUPLICATES, NULL);
    if (!object)
        return FRAME_E_MALFORMED;
    uint64_t version = 0;
    uint64_t credit = 0;
    DeliveryState *delivery = &state->delivery;
    const json_t *admission = json_object_get(object, "admission");
    bool good =
        get_u64(object, "v", &version) && get_hex_u64(object, "session", &delivery->nonce) &&
        get_hex_u64(object, "hello", &delivery->hello_id) &&
        get_u64(object, "credit_bytes", &credit) && credit <= UINT32_MAX &&
        get_u64(object, "server_time_ms", &state->server_time_ms) && json_is_object(admission) &&
        read_marks(delivery, json_object_get(object, "epochs"));
    if (good) {
        delivery->credit_bytes = (uint32_t)credit;
        copy_text(state->admission, sizeof(state->admission), admission, "state");
        copy_text(state->reason, sizeof(state->reason), admission, "reason");
        delivery->admitted = strcmp(state->admission, "admitted") == 0;
        copy_text(state->hub_version, sizeof(state->hub_version), object, "hub_version");
        const char *notice = json_string_value(json_object_get(object, "notice"));
        state->notice = notice && strcmp(notice, cause_rows[CAUSE_HUB_IS_FULL].id) == 0
                            ? CAUSE_HUB_IS_FULL
                            : CAUSE_NONE;
        copy_object(state->configuration, sizeof(state->configuration),
                    json_object_get(object, "configuration"));
        state->server_keys.version = 0; /* one that cannot be read must not stop delivery */
        (void)server_keys_read(&state->server_keys, json_object_get(object, "server_keys"));
        read_lease(&state->lease, json_object_get(object, "lease"));
    }
    json_decref(object);
    if (good && version != FRAME_VERSION)
        return FRAME_E_VERSION;
    return good ? 0 : FRAME_E_MALFORMED;
}

char *pulse_with_echo(const char *json, const PulseEcho *echo) {
    const char *end = strrchr(json, '}');
    char *text = NULL;
    if (!end || !echo->hub_ms)
        return strdup(json);
    const bool first = strspn(json + 1, " ") == (size_t)(end - json - 1);
    if (asprintf(&text,
                 "%.*s%s\"echo\":{\"hub_ms\":%" PRIu64 ",\"held_ms\":%" PRIu64
                 ",\"sent_ms\":%" PRIu64 "}}",
                 (int)(end - json), json, first ? "" : ",", echo->hub_ms, echo->held_ms,
                 echo->sent_ms) < 0)
        return NULL;
    return text;
}
