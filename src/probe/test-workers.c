/* SPDX-License-Identifier: Apache-2.0 */

/* workers on threads of their own, with a capture that makes packets: all come through, once, and
 * what workers are asked their own threads do */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "probe/settings.h"
#include "probe/workers.h"

enum { N = 4, PACKETS = 20000, FLOWS = 500, SIZE = 42, BATCH = 32 };

/* --- a capture of PACKETS packets, live, in FLOWS flows --------------------------------------- */

typedef struct Made {
    uint8_t bytes[BATCH][SIZE];
    uint32_t sent;
    unsigned number;
    bool breaks; /* at the end, instead of being quiet */
} Made;

static void make(Made *made, uint8_t bytes[SIZE]) {
    static const uint8_t head[] = {
        0,    0,    0, 0,  0, 0, 2, 0, 0,  0,  0, 1, 0x08, 0x00,                    /* Ethernet */
        0x45, 0,    0, 28, 0, 0, 0, 0, 64, 17, 0, 0, 10,   0,    0, 0, 10, 1, 0, 1, /* IPv4 */
        0x30, 0x39, 0, 53, 0, 8, 0, 0,                                              /* UDP */
    };
    const uint32_t flow = made->sent % FLOWS;
    memcpy(bytes, head, SIZE);
    bytes[27] = (uint8_t)made->number;
    bytes[28] = (uint8_t)(flow >> 8);
    bytes[29] = (uint8_t)flow;
    made->sent++;
}

static int made_read(Capture *capture, Frame *frames, size_t max, size_t *np, unsigned timeout_ms,
                     Reason *reason) {
    Made *made = capture->state;
    size_t n = 0;
    for (; n < max && n < BATCH && made->sent < PACKETS; n++) {
        make(made, made->bytes[n]);
        frames[n] = (Frame){.bytes = made->bytes[n],
                            .time_ns = clock_wall_ms() * 1000000,
                            .captured_bytes = SIZE,
                            .wire_bytes = 60,
                            .link_type = FRAME_LINK_ETHERNET};
    }
    if (n == 0 && made->breaks) {
        reason_set(reason, "worker %u broke", made->number);
        return CAPTURE_E_BROKEN;
    }
    if (n == 0)
        (void)usleep(timeout_ms * 1000);
    *np = n;
    return 0;
}

static void made_close(Capture *capture) {
    free(capture->state);
}

static void made_stats(Capture *capture, CaptureStats *stats) {
    const Made *made = capture->state;
    *stats = (CaptureStats){.packets = made->sent, .dropped = 10 + made->number};
}

static int made_filter(Capture *capture, const char *filter, Reason *reason) {
    const Made *made = capture->state;
    if (strcmp(filter, "bad") != 0 || made->number != 2)
        return 0;
    reason_set(reason, "bad");
    return CAPTURE_E_USAGE;
}

static const CaptureBackend capture_made = {
    .name = "made",
    .live = true,
    .close = made_close,
    .read = made_read,
    .stats = made_stats,
    .filter = made_filter,
};

/* --- a rig --------------------------------------------------------------------------------- */

typedef struct Rig {
    Workers *workers;
    Export *export;
    ProbeConfig config;
    char path[64];
    atomic_uint asked;
    pthread_mutex_t lock;
    Pulse *pulse;
} Rig;

static void rig_open(Rig *rig, int breaks) {
    Reason reason = {""};
    *rig = (Rig){.config = {.no_dpi = true,
                            .max_flows = 4096,
                            .idle_s = 60,
                            .active_s = 60,
                            .sampling = "1",
                            .workers = N},
                 .lock = PTHREAD_MUTEX_INITIALIZER};
    (void)snprintf(rig->path, sizeof(rig->path), "/tmp/weir-workers-XXXXXX");
    const int fd = mkstemp(rig->path);
    assert_true(fd >= 0);
    (void)close(fd);
    const ExportConfig export = {.json = rig->path, .patient = true};
    assert_int_equal(export_new(&rig->export, &export, &reason), 0);
    assert_int_equal(workers_new(&rig->workers, N), 0);
    assert_int_equal(pulse_new(&rig->pulse, NULL, 1), 0);
    for (unsigned i = 0; i < N; i++) {
        Capture *capture = calloc(1, sizeof(*capture));
        Made *made = calloc(1, sizeof(*made));
        assert_true(capture && made);
        *made = (Made){.number = i, .breaks = (int)i == breaks};
        *capture = (Capture){.backend = &capture_made, .state = made, .fd = -1};
        const WorkerConfig config = {.config = &rig->config,
                                     .capture = capture,
                                     .export = rig->export,
                                     .number = i,
                                     .n = N,
                                     .pulse = true};
        assert_int_equal(worker_open(workers_at(rig->workers, i), &config, &reason), 0);
    }
}

static void rig_close(Rig *rig) {
    workers_free(rig->workers);
    export_free(rig->export);
    pulse_free(rig->pulse);
    (void)unlink(rig->path);
}

static unsigned lines(const char *path) {
    FILE *file = fopen(path, "re");
    unsigned n = 0;
    assert_non_null(file);
    for (int c; (c = fgetc(file)) != EOF;)
        n += c == '\n';
    (void)fclose(file);
    return n;
}

static void gather(Worker *worker, void *userdata) {
    Rig *rig = userdata;
    worker_count(worker);
    meter_pulse(worker->meter);
    (void)pthread_mutex_lock(&rig->lock);
    pulse_merge(rig->pulse, worker->pulse);
    (void)pthread_mutex_unlock(&rig->lock);
    atomic_fetch_add(&rig->asked, 1);
}

/* --- tests --------------------------------------------------------------------------------- */

static void test_all_come_through(void **state) {
    (void)state;
    Rig rig;
    Reason reason = {""};
    size_t frames = 0;
    rig_open(&rig, -1);
    assert_int_equal(workers_start(rig.workers), 0);
    const uint64_t end_ms = clock_monotonic_ms() + 60000;
    unsigned asked = 0;
    while (workers_sum(rig.workers, COUNTER_PACKETS_RECEIVED) < N * PACKETS) {
        assert_true(clock_monotonic_ms() < end_ms);
        assert_int_equal(workers_run(rig.workers, 1, &frames, &reason), 0);
        workers_ask(rig.workers, gather, &rig);
        asked += N;
        assert_int_equal(atomic_load(&rig.asked), asked); /* all have, when it returns */
    }
    workers_stop(rig.workers);
    workers_ask(rig.workers, gather, &rig); /* without threads it is done here */
    assert_int_equal(atomic_load(&rig.asked), asked + N);
    for (unsigned i = 0; i < N; i++) {
        assert_int_equal(workers_at(rig.workers, i)->inputs[0].packets, PACKETS);
        worker_flush(workers_at(rig.workers, i));
    }
    assert_int_equal(workers_sum(rig.workers, COUNTER_PACKETS_DROPPED), 10 + 11 + 12 + 13);
    assert_int_equal(export_finish(rig.export, &reason), 0);
    assert_int_equal(workers_sum(rig.workers, COUNTER_PACKETS_EXPORTED), N * PACKETS);
    assert_int_equal(workers_sum(rig.workers, COUNTER_EXPORTED_FORCED), N * FLOWS);
    assert_int_equal(lines(rig.path), N * FLOWS);
    rig_close(&rig);
}

/* one that breaks is heard; the others go on until they are stopped, and it can be asked still */
static void test_one_breaks(void **state) {
    (void)state;
    Rig rig;
    Reason reason = {""};
    size_t frames = 0;
    int r = 0;
    rig_open(&rig, 1);
    assert_int_equal(workers_start(rig.workers), 0);
    const uint64_t end_ms = clock_monotonic_ms() + 60000;
    while (r == 0 && clock_monotonic_ms() < end_ms)
        r = workers_run(rig.workers, 50, &frames, &reason);
    assert_int_equal(r, CAPTURE_E_BROKEN);
    assert_string_equal(reason.text, "worker 1 broke");
    workers_ask(rig.workers, gather, &rig);
    assert_int_equal(atomic_load(&rig.asked), N);
    workers_stop(rig.workers);
    assert_int_equal(export_finish(rig.export, &reason), 0);
    rig_close(&rig);
}

typedef struct Setting {
    const ProbeConfig *config;
    const Configuration *now;
    const Configuration *before;
    int r;
} Setting;

static void set(Worker *worker, void *userdata) {
    Setting *setting = userdata;
    Reason reason = {""};
    const SettingsParts parts = {.config = setting->config, .worker = worker};
    setting->r = settings_apply(&parts, setting->now, setting->before, &reason);
}

/* while packets come: each worker takes a setting, and one that cannot says so */
static void test_settings(void **state) {
    (void)state;
    Rig rig;
    rig_open(&rig, -1);
    Configuration before;
    settings_given(&rig.config, &before);
    Configuration now = before;
    now.sampling = 10;
    assert_int_equal(workers_start(rig.workers), 0);
    for (size_t i = 0; i < N; i++) {
        Setting setting = {.config = &rig.config, .now = &now, .before = &before};
        workers_ask_one(rig.workers, i, set, &setting);
        assert_int_equal(setting.r, 0);
    }
    Configuration bad = now;
    (void)snprintf(bad.filter, sizeof(bad.filter), "bad");
    for (size_t i = 0; i < N; i++) {
        Setting setting = {.config = &rig.config, .now = &bad, .before = &now};
        workers_ask_one(rig.workers, i, set, &setting);
        assert_int_equal(setting.r, i == 2 ? SETTINGS_E_REFUSED : 0);
    }
    workers_stop(rig.workers);
    for (size_t i = 0; i < N; i++)
        assert_int_equal(workers_at(rig.workers, i)->sampler.rate, 10);
    rig_close(&rig);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_come_through),
        cmocka_unit_test(test_one_breaks),
        cmocka_unit_test(test_settings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
