#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/* What the tests of collecting share: a collector that keeps its records, and messages for it. */

#include "collect/collect.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "collect/plan.h"
#include "flow/field.h"

/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
/* clang-format on */

enum { NOW_S = 1700000000, RECORDS_MAX = 64 };

typedef struct Scene {
    Collector *collector;
    MetricValue counters[_COLLECT_COUNT_N];
    CollectRecord records[RECORDS_MAX];
    char names[RECORDS_MAX][64]; /* of the interface where it came in */
    size_t n;
    CollectSource source;
    Buffer message;
    size_t set; /* where the length of the open set stands */
} Scene;

static inline void keep(void *userdata, CollectRecord *record) {
    Scene *scene = userdata;
    assert_true(scene->n < RECORDS_MAX);
    memcpy(scene->names[scene->n], record->input_if_name.text ? record->input_if_name.text : "",
           record->input_if_name.size);
    scene->records[scene->n++] = *record;
}

static inline void begin(Scene *scene, size_t held_bytes) {
    *scene = (Scene){.source = {.address = {.family = 4, .bytes = {192, 0, 2, 7}},
                                .received_ms = UINT64_C(1000) * NOW_S}};
    const CollectConfig config = {.held_bytes = held_bytes,
                                  .held_ms = 60000,
                                  .counters = scene->counters,
                                  .record = keep,
                                  .userdata = scene};
    assert_int_equal(collector_new(&scene->collector, &config), 0);
}

static inline void end(Scene *scene) {
    collector_free(scene->collector);
    buffer_deinit(&scene->message);
}

static inline uint64_t count(const Scene *scene, int id) {
    return metric_get(&scene->counters[id]);
}

/* --- writing messages --- */

static inline void ipfix(Scene *scene, uint32_t sequence) {
    Buffer *b = &scene->message;
    buffer_clear(b);
    buffer_put_u16(b, 10);
    buffer_put_u16(b, 0);
    buffer_put_u32(b, NOW_S);
    buffer_put_u32(b, sequence);
    buffer_put_u32(b, 99);
}

static inline void v9(Scene *scene, uint32_t sequence) {
    Buffer *b = &scene->message;
    buffer_clear(b);
    buffer_put_u16(b, 9);
    buffer_put_u16(b, 1);
    buffer_put_u32(b, 3600000); /* an hour up */
    buffer_put_u32(b, NOW_S);
    buffer_put_u32(b, sequence);
    buffer_put_u32(b, 99);
}

static inline void open_set(Scene *scene, uint16_t id) {
    buffer_put_u16(&scene->message, id);
    scene->set = scene->message.size;
    buffer_put_u16(&scene->message, 0);
}

static inline void close_set(Scene *scene) {
    buffer_patch_u16(&scene->message, scene->set, (uint16_t)(scene->message.size - scene->set + 2));
}

static inline void send(Scene *scene) {
    if (scene->message.bytes[1] == 10)
        buffer_patch_u16(&scene->message, 2, (uint16_t)scene->message.size);
    assert_int_equal(
        collector_take(scene->collector, &scene->source, scene->message.bytes, scene->message.size),
        0);
}

static inline void put_template(Scene *scene, uint16_t id, const PlanField *fields, size_t n) {
    Buffer *b = &scene->message;
    open_set(scene, b->bytes[1] == 10 ? 2 : 0);
    buffer_put_u16(b, id);
    buffer_put_u16(b, (uint16_t)n);
    for (size_t i = 0; i < n; i++) {
        buffer_put_u16(b, (uint16_t)(fields[i].element | (fields[i].pen ? 0x8000 : 0)));
        buffer_put_u16(b, fields[i].length);
        if (fields[i].pen)
            buffer_put_u32(b, fields[i].pen);
    }
    close_set(scene);
}

static inline void put_hex(Scene *scene, const char *hex) {
    for (; *hex; hex += 2) {
        while (*hex == ' ')
            hex++;
        const char digits[3] = {hex[0], hex[1], '\0'};
        char *end = NULL;
        buffer_put_u8(&scene->message, (uint8_t)strtoul(digits, &end, 16));
        assert_ptr_equal(end, digits + 2);
    }
}

static inline void put_data(Scene *scene, uint16_t id, const char *hex) {
    open_set(scene, id);
    put_hex(scene, hex);
    close_set(scene);
}

#define TEMPLATE(scene, id, ...)                                                                   \
    do {                                                                                           \
        static const PlanField fields_[] = {__VA_ARGS__};                                          \
        put_template(scene, id, fields_, sizeof(fields_) / sizeof(fields_[0]));                    \
    } while (0)
#define E(number, bytes)                                                                           \
    { .element = (number), .length = (bytes) }
#define P(number, bytes, pen_number)                                                               \
    { .element = (number), .length = (bytes), .pen = (pen_number) }

static inline bool is_address(const NetAddress *address, const char *text) {
    NetAddress expected;
    assert_true(net_address_parse(&expected, text));
    return net_address_equal(address, &expected);
}
