/* SPDX-License-Identifier: Apache-2.0 */

#include <stdio.h>
#include <string.h>

#include "base/buffer.h"
#include "collect/collect.h"

/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
/* clang-format on */

enum { NOW_S = 1700000000 };

typedef struct Scene {
    Collector *collector;
    MetricValue counters[_COLLECT_COUNT_N];
    CollectSource source;
    CollectExporter seen; /* the only one */
    Buffer message;
} Scene;

static void keep(void *userdata, CollectRecord *record) {
    (void)userdata;
    (void)record;
}

static void look(void *userdata, const CollectExporter *exporter) {
    Scene *scene = userdata;
    scene->seen = *exporter;
}

static void begin(Scene *scene) {
    *scene = (Scene){.source = {.address = {.family = 4, .bytes = {192, 0, 2, 7}},
                                .received_ms = UINT64_C(1000) * NOW_S}};
    const CollectConfig config = {
        .held_ms = 60000, .counters = scene->counters, .record = keep, .userdata = scene};
    assert_int_equal(collector_new(&scene->collector, &config), 0);
}

static void end(Scene *scene) {
    collector_free(scene->collector);
    buffer_deinit(&scene->message);
}

/* what is where; it always adds up */
static void expect(Scene *scene, uint64_t sent, const uint64_t units[_COLLECT_FATE_N]) {
    collector_each(scene->collector, look, scene);
    const CollectAccount *account = &scene->seen.account;
    uint64_t sum = 0;
    for (int i = 0; i < _COLLECT_FATE_N; i++) {
        if (account->units[i] != units[i])
            fail_msg("%s: %llu, not %llu", collect_fate_names[i],
                     (unsigned long long)account->units[i], (unsigned long long)units[i]);
        sum += units[i];
    }
    assert_int_equal(account->sent, sent);
    assert_int_equal(sum, sent);
}

#define EXPECT(scene, sent, ...)                                                                   \
    expect((scene), (sent), (const uint64_t[_COLLECT_FATE_N]){__VA_ARGS__})

static void send(Scene *scene) {
    assert_int_equal(
        collector_take(scene->collector, &scene->source, scene->message.bytes, scene->message.size),
        0);
}

/* --- messages --- */

static void v5(Scene *scene, uint32_t sequence, uint16_t count, size_t records) {
    static const uint8_t zeros[48];
    Buffer *b = &scene->message;
    buffer_clear(b);
    buffer_put_u16(b, 5);
    buffer_put_u16(b, count);
    buffer_put_u32(b, 1000);
    buffer_put_u32(b, NOW_S);
    buffer_put_u32(b, 0);
    buffer_put_u32(b, sequence);
    buffer_put_u32(b, 0);
    for (size_t i = 0; i < records; i++)
        buffer_put(b, zeros, sizeof(zeros));
    send(scene);
}

static void head(Scene *scene, uint16_t version, uint32_t sequence) {
    Buffer *b = &scene->message;
    buffer_clear(b);
    buffer_put_u16(b, version);
    buffer_put_u16(b, 0);
    if (version == 9)
        buffer_put_u32(b, 1000);
    buffer_put_u32(b, NOW_S);
    buffer_put_u32(b, sequence);
    buffer_put_u32(b, 1);
}

static void finish(Scene *scene) {
    if (scene->message.bytes[1] == 10)
        buffer_patch_u16(&scene->message, 2, (uint16_t)scene->message.size);
    send(scene);
}

/* n records of four octets */
static void data(Scene *scene, uint16_t id, size_t n) {
    Buffer *b = &scene->message;
    buffer_put_u16(b, id);
    buffer_put_u16(b, (uint16_t)(4 + 4 * n));
    for (size_t i = 0; i < n; i++)
        buffer_put_u32(b, 1);
}

static void template(Scene *scene, uint16_t id) {
    Buffer *b = &scene->message;
    buffer_put_u16(b, scene->message.bytes[1] == 9 ? 0 : 2);
    buffer_put_u16(b, 12);
    buffer_put_u16(b, id);
    buffer_put_u16(b, 1);
    buffer_put_u16(b, 1); /* octets */
    buffer_put_u16(b, 4);
}

/* --- what becomes of them --- */

static void test_flows(void **state) {
    (void)state;
    Scene s;
    begin(&s);
    v5(&s, 100, 3, 3);
    v5(&s, 110, 2, 2); /* seven are missing */
    EXPECT(&s, 12, 5, 7);
    v5(&s, 112, 4, 1); /* cut */
    EXPECT(&s, 16, 6, 7, 0, 0, 3);
    v5(&s, 105, 5, 5); /* came late */
    EXPECT(&s, 16, 11, 2, 0, 0, 3);
    s.source.socket_drops = 9;
    v5(&s, 120, 1, 1); /* four are missing while our sockets dropped */
    EXPECT(&s, 21, 12, 2, 4, 0, 3);
    v5(&s, 0, 1, 1); /* began anew */
    EXPECT(&s, 22, 13, 2, 4, 0, 3);
    assert_int_equal(s.seen.account.resets, 1);
    end(&s);
}

static void test_datagrams(void **state) {
    (void)state;
    Scene s;
    begin(&s);
    head(&s, 9, 1);
    data(&s, 256, 2);
    data(&s, 257, 2);
    finish(&s);
    EXPECT(&s, 1, 0, 0, 0, 0, 0, 1);
    head(&s, 9, 2);
    data(&s, 257, 1);
    template(&s, 257); /* its own set waited for this */
    finish(&s);
    /* the first one stands for its last set, and that is read */
    EXPECT(&s, 2, 2);
    head(&s, 9, 3);
    data(&s, 300, 1);
    finish(&s);
    EXPECT(&s, 3, 2, 0, 0, 0, 0, 1);
    collector_tick(s.collector, s.source.received_ms + 60000);
    EXPECT(&s, 3, 2, 0, 0, 1);
    head(&s, 9, 5);
    template(&s, 300);
    buffer_put_u16(&s.message, 300);
    buffer_put_u16(&s.message, 2); /* shorter than a set may be */
    finish(&s);
    EXPECT(&s, 5, 2, 1, 0, 1, 1);
    end(&s);
}

static void test_records(void **state) {
    (void)state;
    Scene s;
    begin(&s);
    head(&s, 10, 0);
    template(&s, 256);
    data(&s, 256, 3);
    finish(&s);
    head(&s, 10, 3);
    data(&s, 256, 1);
    data(&s, 257, 5); /* nobody knows that there are five */
    finish(&s);
    EXPECT(&s, 4, 4);
    head(&s, 10, 9); /* now we do */
    data(&s, 256, 1);
    finish(&s);
    EXPECT(&s, 10, 5, 0, 0, 0, 0, 5);
    head(&s, 10, 10);
    template(&s, 257);
    finish(&s);
    EXPECT(&s, 10, 10);
    head(&s, 10, 12);
    data(&s, 256, 1);
    finish(&s);
    EXPECT(&s, 13, 11, 2);
    head(&s, 10, 10); /* the two that were missing */
    data(&s, 256, 2);
    finish(&s);
    EXPECT(&s, 13, 13);
    head(&s, 10, 13);
    data(&s, 300, 2);
    finish(&s);
    head(&s, 10, 15);
    data(&s, 256, 1);
    finish(&s);
    EXPECT(&s, 16, 14, 0, 0, 0, 0, 2);
    collector_tick(s.collector, s.source.received_ms + 60000);
    EXPECT(&s, 16, 14, 0, 0, 2);
    end(&s);
}

/* the template comes before the next message does: that is numbered behind what waited */
static void test_records_read_before_they_are_numbered(void **state) {
    (void)state;
    Scene s;
    begin(&s);
    head(&s, 10, 0);
    data(&s, 256, 4);
    finish(&s);
    EXPECT(&s, 0, 0);
    head(&s, 10, 4);
    template(&s, 256);
    data(&s, 256, 1);
    finish(&s);
    EXPECT(&s, 5, 5);
    head(&s, 10, 5);
    data(&s, 256, 1);
    finish(&s);
    EXPECT(&s, 6, 6);
    assert_int_equal(s.seen.account.resets, 0);
    end(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_flows),
        cmocka_unit_test(test_datagrams),
        cmocka_unit_test(test_records),
        cmocka_unit_test(test_records_read_before_they_are_numbered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
