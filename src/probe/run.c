/* SPDX-License-Identifier: Apache-2.0 */

#include "probe/run.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/json.h"
#include "base/log.h"
#include "probe/capture.h"
#include "probe/counters.h"
#include "probe/export.h"
#include "probe/meter.h"
#include "probe/pulse.h"

enum {
    READ_WAIT_MS = 100,
    MAX_FLOWS = 1 << 20,
    FLOW_BYTES = 216, /* entry, more, index and name, about */
};

typedef struct Run {
    const ProbeConfig *config;
    Capture *capture;
    Export *export;
    Dpi *dpi;
    Pulse *pulse;
    Meter *meter;
    MetricValue counters[_COUNTER_N];
} Run;

static volatile sig_atomic_t stop_signal;

static void on_signal(int number) {
    stop_signal = number;
}

static void catch_signals(void) {
    struct sigaction action = {.sa_handler = on_signal};
    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
    (void)signal(SIGPIPE, SIG_IGN);
}

/* a number that a sender of packets cannot know */
static uint64_t random_u64(void) {
    uint64_t v = 0;
    if (getrandom(&v, sizeof(v), 0) != sizeof(v))
        v = clock_monotonic_ns();
    return v;
}

static uint32_t flows_that_fit(void) {
    long pages = sysconf(_SC_PHYS_PAGES);
    long page = sysconf(_SC_PAGESIZE);
    uint64_t fit = pages > 0 && page > 0 ? (uint64_t)pages * (uint64_t)page / 8 / FLOW_BYTES : 0;
    if (fit == 0 || fit > MAX_FLOWS)
        return MAX_FLOWS;
    return (uint32_t)(fit < 1024 ? 1024 : fit);
}

/* --- opening ------------------------------------------------------------------------------ */

/* 0, or the exit code, having said why */
static int said(int r, const Reason *reason) {
    char text[256];
    if (r > 0)
        log_error("%s", reason->text);
    else if (r < 0)
        log_error("%s", error_describe(r, text, sizeof(text)));
    return r ? RUN_FAILED : RUN_DONE;
}

static int open_capture(Run *run, Reason *reason) {
    const ProbeConfig *config = run->config;
    CaptureConfig capture = {
        .input = config->inputs.values[0],
        .filter = config->filter,
        .snaplen = config->snaplen,
        .promisc = !config->no_promisc,
        .ring_bytes = config->ring_bytes,
    };
    return capture_open(&run->capture, &capture, reason);
}

static int open_export(Run *run, Reason *reason) {
    ExportConfig export = {
        .json = run->config->json,
        .patient = !run->capture->backend->live,
        .counters = run->counters,
    };
    return export_new(&run->export, &export, reason);
}

static int open_meter(Run *run, Reason *reason) {
    const ProbeConfig *config = run->config;
    bool live = run->capture->backend->live;
    int r = 0;
    if (!config->no_dpi)
        r = dpi_new(&run->dpi, config->max_dpi_flows, run->counters, reason);
    if (r)
        return error_trace(r);
    MeterConfig meter = {
        .max_flows = config->max_flows ? config->max_flows : flows_that_fit(),
        .idle_s = config->idle_s,
        .active_s = config->active_s,
        .input_if = config->input_if ? config->input_if : run->capture->interface_index,
        .seed = random_u64(),
        /* below 2^53, for JavaScript reads them; a file gives the same ids every time */
        .flow_id = live ? random_u64() % (UINT64_C(1) << 21) << 32 : 1,
        .dpi = run->dpi,
        .pulse = run->pulse,
        .counters = run->counters,
        .record = export_record,
        .userdata = run->export,
    };
    return meter_new(&run->meter, &meter);
}

static int run_open(Run *run) {
    Reason reason = {""};
    int r = open_capture(run, &reason);
    if (r == 0)
        r = open_export(run, &reason);
    if (r == 0)
        r = open_meter(run, &reason);
    return said(r, &reason);
}

static void run_close(Run *run) {
    meter_free(run->meter);
    pulse_free(run->pulse);
    dpi_free(run->dpi);
    export_free(run->export);
    capture_free(run->capture);
}

/* --- running ------------------------------------------------------------------------------ */

static void tick(Run *run, size_t frames) {
    export_tick(run->export, clock_monotonic_ms());
    /* the clock of packets drives flows; on a quiet live link, that of the wall */
    if (run->capture->backend->live && frames == 0)
        meter_tick(run->meter, clock_wall_ms() * 1000000);
}

/* frames until the input ends; RUN_DONE, or RUN_FAILED having said why */
static int run_frames(Run *run) {
    Frame frames[METER_BATCH];
    while (!stop_signal) {
        Reason reason = {""};
        size_t n = 0;
        int r = capture_read(run->capture, frames, METER_BATCH, &n, READ_WAIT_MS, &reason);
        if (r == CAPTURE_E_END)
            return RUN_DONE;
        if (r)
            return said(r, &reason);
        meter_frames(run->meter, frames, n);
        tick(run, n);
    }
    log_notice("stopping on %s", stop_signal == SIGINT ? "interrupt" : "termination signal");
    return RUN_DONE;
}

static uint64_t counter(const Run *run, int id) {
    return metric_get(&run->counters[id]);
}

static void say_summary(const Run *run) {
    uint64_t ignored = 0;
    for (int answer = 1; answer < _DISSECT_E_N; answer++)
        ignored += counter(run, counter_ignored_packets(answer));
    uint64_t flows = 0;
    for (int id = COUNTER_EXPORTED_IDLE; id <= COUNTER_EXPORTED_RESOURCES; id++)
        flows += counter(run, id);
    log_info("%llu packets received, %llu metered, %llu ignored, %llu dropped by the kernel; "
             "%llu records",
             (unsigned long long)counter(run, COUNTER_PACKETS_RECEIVED),
             (unsigned long long)counter(run, COUNTER_PACKETS_METERED), (unsigned long long)ignored,
             (unsigned long long)counter(run, COUNTER_PACKETS_DROPPED), (unsigned long long)flows);
}

static int write_counters(const Run *run) {
    const char *path = run->config->counters;
    cleanup(fclosep) FILE *file = NULL;
    if (!path)
        return RUN_DONE;
    bool out = strcmp(path, "-") == 0;
    if (!out)
        file = fopen(path, "we");
    Buffer text = {0};
    metric_write(&text, counter_rows, run->counters, _COUNTER_N, NULL, 1);
    FILE *to = out ? stdout : file;
    bool good = to && fwrite(text.bytes, 1, text.size, to) == text.size && fflush(to) == 0;
    if (!good)
        log_error("--counters %s could not be written: %s", path, strerror(errno));
    buffer_deinit(&text);
    return good ? RUN_DONE : RUN_FAILED;
}

/* the last flows leave; what the input did wrong does not keep them back */
static int run_finish(Run *run) {
    Reason reason = {""};
    meter_flush(run->meter);
    int code = said(export_finish(run->export, &reason), &reason);
    say_summary(run);
    int written = write_counters(run);
    return code != RUN_DONE ? code : written;
}

int run_probe(const ProbeConfig *config) {
    Run *run = calloc(1, sizeof(*run));
    if (!run)
        return said(-ENOMEM, NULL);
    run->config = config;
    catch_signals();
    int code = run_open(run);
    if (code == RUN_DONE) {
        int read = run_frames(run);
        int finish = run_finish(run);
        code = read != RUN_DONE ? read : finish;
    }
    run_close(run);
    free(run);
    return code;
}
