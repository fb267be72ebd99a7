/* SPDX-License-Identifier: Apache-2.0 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/clock.h"
#include "base/file.h"
#include "codec/batch.h"
#include "flow/field.h"
#include "probe/counters.h"
#include "probe/export.h"

enum { LANES = 3 };

/* takes what is submitted, decodes it, and can be made to stand still */
typedef struct Taker {
    pthread_mutex_t gate;
    BatchCodec *codec;
    FlowBatch *out;
    BatchCounts counts;
    uint64_t flows_by_lane[LANES];
    uint64_t batches;
    int answer;
} Taker;

static int take(void *userdata, unsigned lane, const void *bytes, size_t size,
                const BatchCounts *counts) {
    Taker *taker = userdata;
    (void)pthread_mutex_lock(&taker->gate);
    BatchCounts decoded;
    int r = taker->answer;
    if (r == 0 && batch_decode(taker->codec, bytes, size, taker->out, &decoded) != 0)
        r = -1;
    if (r == 0 && !batch_counts_equal(decoded, *counts))
        r = -1;
    if (r == 0) {
        taker->counts = batch_counts_add(taker->counts, *counts);
        taker->flows_by_lane[lane] += counts->flows;
        taker->batches++;
    }
    (void)pthread_mutex_unlock(&taker->gate);
    return r;
}

static void taker_init(Taker *taker) {
    *taker = (Taker){.gate = PTHREAD_MUTEX_INITIALIZER};
    assert_int_equal(batch_codec_new(&taker->codec), 0);
    assert_int_equal(flow_batch_new(&taker->out, 16), 0);
}

static void taker_deinit(Taker *taker) {
    batch_codec_free(taker->codec);
    flow_batch_free(taker->out);
}

static FlowRecord record_of(uint32_t n, char *name, size_t size) {
    FlowRecord record = {.first_ms = 1700000000000 + n,
                         .last_ms = 1700000000005 + n,
                         .src_ip = net_address_v4((const uint8_t[]){10, 0, 0, (uint8_t)n}),
                         .dst_ip = net_address_v4((const uint8_t[]){10, 1, 0, 1}),
                         .src_port = (uint16_t)n,
                         .dst_port = 443,
                         .protocol = 6,
                         .octets = 100,
                         .packets = 2,
                         .rev_octets = 50,
                         .rev_packets = 1,
                         .end_reason = FLOW_END_IDLE};
    int written = snprintf(name, size, "name-%u.example", n);
    const FlowText text = {name, (uint32_t)written};
    for (size_t i = 0; i < _FLOW_FIELD_N; i++)
        if (flow_fields[i].kind == FLOW_KIND_TEXT)
            memcpy((uint8_t *)&record + flow_fields[i].offset, &text, sizeof(text));
    return record;
}

/* texts are copied: the meter's memory may be gone when the batch is encoded */
static void test_everything_arrives(void **state) {
    (void)state;
    enum { N = 10000 };
    static MetricValue counters[_COUNTER_N];
    Taker taker;
    taker_init(&taker);
    char path[] = "/tmp/weir-export-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    (void)close(fd);
    ExportConfig config = {
        .json = path, .patient = true, .submit = take, .userdata = &taker, .lanes = 1};
    Export *export = NULL;
    Reason reason;
    assert_int_equal(export_new(&export, &config, &reason), 0);
    ExportInlet *inlet = NULL;
    assert_int_equal(export_inlet(&inlet, export, counters), 0);
    for (uint32_t n = 0; n < N; n++) {
        char name[64];
        FlowRecord record = record_of(n, name, sizeof(name));
        export_record(inlet, &record);
        memset(name, 'x', sizeof(name));
    }
    assert_int_equal(export_finish(export, &reason), 0);
    export_free(export);
    assert_int_equal(taker.counts.flows, N);
    assert_int_equal(taker.counts.packets, 3 * N);
    assert_int_equal(taker.counts.octets, 150 * N);
    assert_int_equal(taker.out->n, N);
    const FlowRecord *last = &taker.out->records[N - 1];
    for (size_t i = 0; i < _FLOW_FIELD_N; i++) {
        const FlowText *text = flow_field_at(last, &flow_fields[i]);
        if (flow_fields[i].kind != FLOW_KIND_TEXT)
            continue;
        assert_int_equal(text->size, strlen("name-9999.example"));
        assert_memory_equal(text->text, "name-9999.example", text->size);
    }
    Buffer json = {0};
    assert_int_equal(file_read(&json, path, 1 << 24, &reason), 0);
    size_t lines = 0;
    for (size_t i = 0; i < json.size; i++)
        lines += json.bytes[i] == '\n';
    assert_int_equal(lines, N);
    assert_non_null(strstr(buffer_text(&json), "\"server_name\":\"name-0.example\""));
    buffer_deinit(&json);
    (void)unlink(path);
    taker_deinit(&taker);
}

/* live and behind: what finds no batch is dropped and counted, the rest arrives */
static void test_behind_is_counted(void **state) {
    (void)state;
    enum { N = 40000 };
    static MetricValue counters[_COUNTER_N];
    Taker taker;
    taker_init(&taker);
    ExportConfig config = {.submit = take, .userdata = &taker, .lanes = LANES};
    Export *export = NULL;
    Reason reason;
    assert_int_equal(export_new(&export, &config, &reason), 0);
    ExportInlet *inlet = NULL;
    assert_int_equal(export_inlet(&inlet, export, counters), 0);
    (void)pthread_mutex_lock(&taker.gate);
    for (uint32_t n = 0; n < N; n++) {
        char name[64];
        FlowRecord record = record_of(n, name, sizeof(name));
        export_record(inlet, &record);
    }
    (void)pthread_mutex_unlock(&taker.gate);
    assert_int_equal(export_finish(export, &reason), 0);
    export_free(export);
    uint64_t dropped = metric_get(&counters[COUNTER_EXPORT_DROPPED]);
    assert_true(dropped > 0 && dropped < N);
    assert_true(taker.counts.flows + dropped == N);
    assert_true(taker.counts.packets + metric_get(&counters[COUNTER_EXPORT_DROPPED_PACKETS]) ==
                3 * N);
    assert_true(taker.counts.octets + metric_get(&counters[COUNTER_EXPORT_DROPPED_OCTETS]) ==
                150 * N);
    for (unsigned lane = 0; lane < LANES; lane++)
        assert_true(taker.flows_by_lane[lane] > 0);
    taker_deinit(&taker);
}

/* a batch that is not full leaves after 200 ms, and not before */
static void test_age(void **state) {
    (void)state;
    static MetricValue counters[_COUNTER_N];
    Taker taker;
    taker_init(&taker);
    ExportConfig config = {.submit = take, .userdata = &taker, .lanes = 1};
    Export *export = NULL;
    Reason reason;
    assert_int_equal(export_new(&export, &config, &reason), 0);
    ExportInlet *inlet = NULL;
    assert_int_equal(export_inlet(&inlet, export, counters), 0);
    char name[64];
    FlowRecord record = record_of(1, name, sizeof(name));
    uint64_t now_ms = clock_monotonic_ms();
    export_record(inlet, &record);
    export_tick(inlet, now_ms + 100);
    assert_int_equal(metric_get(&counters[COUNTER_BATCHES]), 0);
    export_tick(inlet, now_ms + 5000);
    assert_int_equal(metric_get(&counters[COUNTER_BATCHES]), 1);
    assert_int_equal(export_finish(export, &reason), 0);
    export_free(export);
    assert_int_equal(taker.batches, 1);
    taker_deinit(&taker);
}

static void test_failures_are_told(void **state) {
    (void)state;
    static MetricValue counters[_COUNTER_N];
    Export *export = NULL;
    Reason reason;
    ExportConfig config = {.json = "/nonexistent/folder/file"};
    assert_int_equal(export_new(&export, &config, &reason), EXPORT_E_REFUSED);
    assert_non_null(strstr(reason.text, "/nonexistent/folder/file"));

    config.json = "/dev/full";
    assert_int_equal(export_new(&export, &config, &reason), 0);
    ExportInlet *inlet = NULL;
    assert_int_equal(export_inlet(&inlet, export, counters), 0);
    char name[64];
    FlowRecord record = record_of(1, name, sizeof(name));
    export_record(inlet, &record);
    assert_int_equal(export_finish(export, &reason), EXPORT_E_REFUSED);
    assert_true(export_failed(export));
    assert_non_null(strstr(reason.text, "No space left"));
    export_free(export);
}

/* one set of fields to the next: each record has the one of its time */
static void test_fields(void **state) {
    (void)state;
    static MetricValue counters[_COUNTER_N];
    Taker taker;
    taker_init(&taker);
    ExportConfig config = {.patient = true, .submit = take, .userdata = &taker, .lanes = 1};
    Export *export = NULL;
    Reason reason;
    assert_int_equal(export_new(&export, &config, &reason), 0);
    ExportInlet *inlet = NULL;
    assert_int_equal(export_inlet(&inlet, export, counters), 0);
    const FieldSet *sets[] = {fieldset_find("all"), fieldset_find("v9"), fieldset_find("all")};
    for (uint32_t i = 0; i < 3; i++) {
        char name[64];
        FlowRecord record = record_of(i, name, sizeof(name));
        assert_non_null(sets[i]);
        export_fields(inlet, sets[i]);
        export_record(inlet, &record);
    }
    assert_int_equal(export_finish(export, &reason), 0);
    export_free(export);
    assert_int_equal(taker.out->n, 3);
    assert_int_equal(metric_get(&counters[COUNTER_BATCHES]), 3); /* none has two sets in it */
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(taker.out->records[i].server_name.size, i == 1 ? 0 : 14);
        assert_int_equal(taker.out->records[i].packets, 2);
    }
    taker_deinit(&taker);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_everything_arrives),
        cmocka_unit_test(test_behind_is_counted),
        cmocka_unit_test(test_age),
        cmocka_unit_test(test_failures_are_told),
        cmocka_unit_test(test_fields),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
