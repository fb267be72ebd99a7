/* SPDX-License-Identifier: Apache-2.0 */

#include "probe/run.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
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
#include "probe/collect_feed.h"
#include "probe/collect_ports.h"
#include "probe/counters.h"
#include "probe/deliver.h"
#include "probe/export.h"
#include "probe/meter.h"
#include "probe/outside.h"
#include "probe/pulse.h"
#include "probe/remote.h"
#include "probe/settings.h"
#include "probe/trouble.h"

enum {
    READ_WAIT_MS = 100,
    PULSE_MIN_MS = 250, /* between two; they come once a second */
    DRAIN_STEP_MS = 200,
    DRAIN_TELL_MS = 1000,
    SECOND_SIGNAL_MS = 500,
    DRAIN_LIVE_MS = 6000, /* a hub commits every 5 s; what it has not by then is in the spool */
    MAX_FLOWS = 1 << 20,
    COLLECTING_FLOWS = 1024, /* of a meter that meters nothing */
    FLOW_BYTES = 216,        /* entry, more, index and name, about */
};

typedef struct Run {
    const ProbeConfig *config;
    Capture *capture;
    Outside outside;  /* licence and collectors */
    Deliver *deliver; /* NULL without a hub */
    Export *export;
    Dpi *dpi;
    Pulse *pulse; /* NULL without a hub */
    Meter *meter;
    CollectFeed *feed; /* collects in the meter's place; NULL: packets are metered */
    Sampler sampler;
    Configuration given;       /* by the command line */
    Remote *remote;            /* NULL without a hub */
    uint64_t second;           /* of the wall clock, that of the last pulse */
    uint64_t second_ms;        /* when that was, monotonic */
    uint64_t last[_COUNTER_N]; /* counters at that time */
    uint64_t let_go;           /* flows, by a full spool */
    bool letting_go;
    Trouble trouble;
    Buffer pulse_json;
    MetricValue counters[_COUNTER_N];
} Run;

static volatile sig_atomic_t stop_signal; /* the last one */
static volatile sig_atomic_t stop_hurry;  /* a second one ends the waiting for the hub */
static _Atomic uint64_t stop_first_ms;

/* timeout(1), sudo and terminals may send the same wish twice at once: that is no second one */
static void on_signal(int number) {
    uint64_t now_ms = clock_monotonic_ms();
    if (!stop_signal)
        stop_first_ms = now_ms;
    else if (now_ms - stop_first_ms >= SECOND_SIGNAL_MS)
        stop_hurry = 1;
    stop_signal = number;
}

static bool is_stopping(void) {
    return stop_signal != 0;
}

static void catch_signals(void) {
    struct sigaction action = {.sa_handler = on_signal};
    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
    (void)sigaction(SIGHUP, &action, NULL); /* a closed terminal must not cost the live flows */
    (void)signal(SIGPIPE, SIG_IGN);
    (void)signal(SIGXFSZ, SIG_IGN); /* a limit on file sizes is a full disk like any other */
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

static const Configuration *in_force(const Run *run) {
    return run->remote ? remote_running(run->remote) : &run->given;
}

/* what the hub had set is there from the first packet on */
static int open_remote(Run *run) {
    const ProbeConfig *config = run->config;
    settings_given(config, &run->given);
    const RemoteConfig remote = {
        .folder = config->data_dir, .given = run->given, .refuse = config->no_remote_config};
    return config->hubs.n ? remote_new(&run->remote, &remote) : 0;
}

static int open_capture(Run *run, Reason *reason) {
    const ProbeConfig *config = run->config;
    if (config->collector_ports.n) {
        trouble_begin(&run->trouble, NULL, clock_monotonic_ms());
        return collect_ports_open(&run->capture, &config->collector_ports,
                                  settings_filter(config, in_force(run)), reason);
    }
    CaptureConfig capture = {
        .input = config->inputs.values[0],
        .filter = settings_filter(config, in_force(run)),
        .black_list = probe_collects(config) ? NULL : &config->black_list,
        .snaplen = config->snaplen,
        .promisc = !config->no_promisc,
        .ring_bytes = config->ring_bytes,
    };
    int r = capture_open(&run->capture, &capture, reason);
    if (r == CAPTURE_E_USAGE && run->remote && remote_fall_back(run->remote, reason->text)) {
        capture.filter = config->filter;
        r = capture_open(&run->capture, &capture, reason);
    }
    if (r == 0)
        trouble_begin(&run->trouble, run->capture->backend->live ? capture.input : NULL,
                      clock_monotonic_ms());
    return r;
}

static void on_configuration(void *userdata, const char *json) {
    remote_offer(userdata, json);
}

static int open_deliver(Run *run, Reason *reason) {
    DeliverSource source = {
        .interface = run->config->collector_ports.n ? "collector" : run->config->inputs.values[0],
        .index = run->capture->interface_index,
        .mode = run->capture->backend->live ? "live" : "file",
        .patient = !run->capture->backend->live,
        .stopping = is_stopping,
        .on_configuration = on_configuration,
        .userdata = run->remote,
    };
    if (run->config->hubs.n == 0)
        return 0;
    source.licence = licensing_token(run->outside.licensing);
    source.system_id = licensing_system_id(run->outside.licensing);
    return deliver_new(&run->deliver, run->config, &source, reason);
}

static int open_feed(Run *run, Reason *reason) {
    const ProbeConfig *config = run->config;
    if (!probe_collects(config))
        return 0;
    const CollectFeedConfig feed = {
        .options = config,
        .seed = random_u64(),
        .live = run->capture->backend->live,
        .packets = &run->counters[COUNTER_PACKETS_RECEIVED],
        .bytes = &run->counters[COUNTER_BYTES_RECEIVED],
        .exported = &run->counters[COUNTER_FLOWS_COLLECTED],
        .record = run->deliver || run->outside.doors ? export_record : NULL,
        .userdata = run->export,
    };
    return collect_feed_new(&run->feed, &feed, reason);
}

static int open_export(Run *run, Reason *reason) {
    ExportConfig export = {
        .json = probe_collects(run->config) ? NULL : run->config->json,
        .patient = !run->capture->backend->live,
        .counters = run->counters,
        .submit = run->deliver ? deliver_submit : NULL,
        .userdata = run->deliver,
        .doors = run->outside.doors,
        .lanes = run->deliver ? deliver_lanes(run->deliver) : 1,
    };
    return export_new(&run->export, &export, reason);
}

static int open_meter(Run *run, Reason *reason) {
    const ProbeConfig *config = run->config;
    bool live = run->capture->backend->live;
    int r = 0;
    if (!config->no_dpi && !probe_collects(config))
        r = dpi_new(&run->dpi, config->max_dpi_flows, run->counters, reason);
    if (r == 0 && run->deliver)
        r = pulse_new(&run->pulse, run->dpi, random_u64());
    if (r)
        return error_trace(r);
    MeterConfig meter = {
        .max_flows = probe_collects(config) ? COLLECTING_FLOWS
                     : config->max_flows    ? config->max_flows
                                            : flows_that_fit(),
        .idle_s = config->idle_s,
        .active_s = config->active_s,
        .input_if = config->input_if ? config->input_if : run->capture->interface_index,
        .seed = random_u64(),
        /* below 2^53, for JavaScript reads them; a file gives the same ids every time */
        .vlan_key = (MeterVlan)config->vlan_key,
        .mode = config->no_tunnel ? DISSECT_OUTERMOST : DISSECT_INNERMOST,
        .flow_id = live ? random_u64() % (UINT64_C(1) << 21) << 32 : 1,
        .dpi = run->dpi,
        .pulse = run->pulse,
        .counters = run->counters,
        .record = export_record,
        .userdata = run->export,
    };
    return meter_new(&run->meter, &meter);
}

static int set(Run *run, const Configuration *now, const Configuration *before, Reason *reason) {
    const SettingsParts parts = {.config = run->config,
                                 .capture = run->capture,
                                 .sampler = &run->sampler,
                                 .meter = run->meter,
                                 .export = run->export};
    return settings_apply(&parts, now, before, reason);
}

static int begin_settings(Run *run, Reason *reason) {
    const Configuration begin = *in_force(run);
    run->sampler = sampler_make(run->capture->backend->live ? random_u64() : 1, run->counters);
    int r = set(run, &begin, &begin, reason);
    if (r > 0 && run->remote && remote_fall_back(run->remote, reason->text))
        r = set(run, in_force(run), &begin, reason);
    return r;
}

static int run_open(Run *run) {
    Reason reason = {""};
    int r = open_remote(run);
    if (r == 0)
        r = open_capture(run, &reason);
    if (r == CAPTURE_E_USAGE) {
        (void)said(r, &reason);
        return RUN_USAGE;
    }
    if (r == 0)
        r = outside_open(&run->outside, run->config, !run->capture->backend->live, &reason);
    if (r == 0)
        r = open_deliver(run, &reason);
    if (r == 0)
        r = open_export(run, &reason);
    if (r == 0)
        r = open_feed(run, &reason);
    if (r == 0)
        r = open_meter(run, &reason);
    if (r == 0)
        r = begin_settings(run, &reason);
    if (r == 0)
        r = outside_start(&run->outside, run->deliver);
    return said(r, &reason);
}

static void run_close(Run *run) {
    meter_free(run->meter);
    collect_feed_free(run->feed);
    pulse_free(run->pulse);
    dpi_free(run->dpi);
    export_free(run->export);
    outside_close(&run->outside);
    deliver_free(run->deliver);
    remote_free(run->remote);
    buffer_deinit(&run->pulse_json);
    capture_free(run->capture);
}

/* --- running ------------------------------------------------------------------------------ */

static uint64_t counter(const Run *run, int id) {
    return metric_get(&run->counters[id]);
}

static uint64_t records(const Run *run) {
    uint64_t n = counter(run, COUNTER_FLOWS_COLLECTED);
    for (int id = COUNTER_EXPORTED_IDLE; id <= COUNTER_EXPORTED_RESOURCES; id++)
        n += counter(run, id);
    return n;
}

/* how much the counter grew since the last pulse */
static uint64_t grown(Run *run, int id) {
    uint64_t now = counter(run, id);
    uint64_t since = now - run->last[id];
    run->last[id] = now;
    return since;
}

static void count_spool(Run *run, SpoolStatus *status) {
    deliver_spool_status(run->deliver, status);
    const struct {
        int id;
        uint64_t value;
    } rows[] = {
        {COUNTER_SPOOL_DROPPED, status->dropped.flows},
        {COUNTER_SPOOL_DROPPED_PACKETS, status->dropped.packets},
        {COUNTER_SPOOL_DROPPED_OCTETS, status->dropped.octets},
        {COUNTER_SPOOL_APPENDED, status->appended.flows},
        {COUNTER_SPOOL_FLOWS, status->held.flows},
        {COUNTER_SPOOL_BATCHES, status->batches},
        {COUNTER_SPOOL_BYTES, status->bytes},
        {COUNTER_SPOOL_LIMIT, status->limit_bytes},
        {COUNTER_SPOOL_OLDEST, status->oldest_ms},
        {COUNTER_SPOOL_LEFT,
         status->hours_left < 1e12 ? (uint64_t)(status->hours_left * 3600) : UINT64_MAX},
        {COUNTER_SPOOL_TROUBLE, status->disk > SPOOL_DISK_GOOD},
        {COUNTER_SPOOL_TORN, status->torn_batches},
        {COUNTER_SPOOL_TORN_BYTES, status->torn_bytes},
        {COUNTER_SPOOL_SET_ASIDE, status->set_aside},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
        metric_set(&run->counters[rows[i].id], rows[i].value);
}

static void send_pulse(Run *run, uint64_t interval_ms, const SpoolStatus *spool) {
    uint64_t exported = grown(run, COUNTER_FLOWS_COLLECTED);
    for (int id = COUNTER_EXPORTED_IDLE; id <= COUNTER_EXPORTED_RESOURCES; id++)
        exported += grown(run, id);
    PulseTotals totals = {
        .time_ms = clock_wall_ms(),
        .interval_ms = interval_ms,
        .packets = grown(run, COUNTER_PACKETS_METERED),
        .octets = grown(run, COUNTER_OCTETS_METERED),
        .drops = grown(run, COUNTER_PACKETS_DROPPED) + grown(run, COUNTER_PACKETS_OVERRUN),
        .flows_active = counter(run, COUNTER_FLOWS_LIVE),
        .flows_exported = exported,
        .flows_waiting = deliver_waiting(run->deliver),
        .flows_metered = records(run),
        .flows_export_dropped = counter(run, COUNTER_EXPORT_DROPPED),
        .hubs = deliver_hubs(run->deliver),
        .spool = *spool,
        .configuration = remote_report(run->remote),
        .collectors = run->outside.doors ? &run->outside.status : NULL,
        .feed = run->feed,
    };
    totals.n_causes = trouble_causes(&run->trouble, clock_monotonic_ms(), totals.causes);
    meter_pulse(run->meter);
    buffer_clear(&run->pulse_json);
    Json json = json_make(&run->pulse_json);
    pulse_write(run->pulse, &totals, &json);
    if (!run->pulse_json.failed)
        deliver_pulse(run->deliver, buffer_text(&run->pulse_json));
}

/* once when it begins and once when it is over */
static void tell_let_go(Run *run, uint64_t let_go) {
    bool letting_go = let_go > run->let_go;
    if (letting_go && !run->letting_go)
        log_warning("%s", cause_rows[CAUSE_SPOOL_FULL].line);
    if (!letting_go && run->letting_go)
        log_notice("the spool has room again; %llu flows were let go since the start",
                   (unsigned long long)let_go);
    run->let_go = let_go;
    run->letting_go = letting_go;
}

static void each_second(Run *run, uint64_t interval_ms) {
    CaptureStats stats;
    capture_stats(run->capture, &stats);
    metric_set(&run->counters[COUNTER_PACKETS_DROPPED], stats.dropped);
    metric_set(&run->counters[COUNTER_PACKETS_OVERRUN], stats.overrun);
    const uint64_t now_ms = clock_monotonic_ms();
    trouble_second(&run->trouble, counter(run, COUNTER_PACKETS_RECEIVED), now_ms);
    outside_count(&run->outside, run->counters);
    if (!run->deliver)
        return;
    SpoolStatus spool;
    count_spool(run, &spool);
    tell_let_go(run, spool.dropped.flows);
    trouble_spool(&run->trouble, run->letting_go, spool.disk > SPOOL_DISK_GOOD, now_ms);
    send_pulse(run, interval_ms, &spool);
}

/* what the hub wants to be set */
static void take_configuration(Run *run) {
    Configuration now;
    Reason reason = {""};
    char text[256];
    if (!run->remote || !remote_next(run->remote, &now))
        return;
    const int r = set(run, &now, in_force(run), &reason);
    remote_settle(run->remote, r > 0   ? reason.text
                               : r < 0 ? error_describe(r, text, sizeof(text))
                                       : NULL);
}

static void tick(Run *run, size_t frames) {
    uint64_t now_ms = clock_monotonic_ms();
    take_configuration(run);
    export_tick(run->export, now_ms);
    if (run->feed)
        collect_feed_tick(run->feed, clock_wall_ms());
    /* the clock of packets drives flows; on a quiet live link, that of the wall */
    if (run->capture->backend->live && frames == 0)
        meter_tick(run->meter, clock_wall_ms() * 1000000);
    /* with the seconds of the wall clock: a period of our own would drift against those of the hub,
     * and every so often leave one of them without a pulse */
    const uint64_t second = clock_wall_ms() / 1000;
    if (second != run->second && now_ms - run->second_ms >= PULSE_MIN_MS) {
        each_second(run, now_ms - run->second_ms);
        run->second = second;
        run->second_ms = now_ms;
    }
}

static int take_frames(Run *run, Frame *frames, size_t n) {
    if (run->feed)
        return error_trace(collect_feed_frames(run->feed, frames, n));
    const uint64_t last_ns = n ? frames[n - 1].time_ns : 0;
    const size_t kept = sampler_take(&run->sampler, frames, n);
    meter_frames(run->meter, frames, kept);
    if (kept < n)
        meter_tick(run->meter, last_ns); /* time goes on for those left out, too */
    return 0;
}

/* frames until the input ends; RUN_DONE, or RUN_FAILED having said why */
static int run_frames(Run *run) {
    Frame frames[METER_BATCH];
    run->second = clock_wall_ms() / 1000;
    run->second_ms = clock_monotonic_ms();
    while (!stop_signal && !export_failed(run->export)) {
        Reason reason = {""};
        size_t n = 0;
        int r = capture_read(run->capture, frames, METER_BATCH, &n, READ_WAIT_MS, &reason);
        if (r == CAPTURE_E_END)
            return RUN_DONE;
        if (r)
            return said(r, &reason);
        r = take_frames(run, frames, n);
        if (r)
            return said(r, &reason);
        tick(run, n);
    }
    if (run->feed && run->capture->backend->live)
        collect_feed_empty(run->feed, run->capture);
    if (stop_signal)
        log_notice("stopping on %s", stop_signal == SIGINT ? "interrupt" : "termination signal");
    return RUN_DONE;
}

static void say_summary(const Run *run) {
    uint64_t ignored = 0;
    for (int answer = 1; answer < _DISSECT_E_N; answer++)
        ignored += counter(run, counter_ignored_packets(answer));
    if (counter(run, COUNTER_PACKETS_SKIPPED))
        log_info("%llu packets left out by sampling",
                 (unsigned long long)counter(run, COUNTER_PACKETS_SKIPPED));
    log_info("%llu packets received, %llu metered, %llu ignored, %llu dropped by the kernel; "
             "%llu records",
             (unsigned long long)counter(run, COUNTER_PACKETS_RECEIVED),
             (unsigned long long)counter(run, COUNTER_PACKETS_METERED), (unsigned long long)ignored,
             (unsigned long long)counter(run, COUNTER_PACKETS_DROPPED),
             (unsigned long long)records(run));
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
    collect_feed_write_counters(run->feed, &text);
    FILE *to = out ? stdout : file;
    bool good = to && fwrite(text.bytes, 1, text.size, to) == text.size && fflush(to) == 0;
    if (!good)
        log_error("--counters %s could not be written: %s", path, strerror(errno));
    buffer_deinit(&text);
    return good ? RUN_DONE : RUN_FAILED;
}

/* a live probe only stays for a hub that is just storing: the rest is safe in the spool */
static bool may_leave(Run *run, uint64_t waited_ms) {
    return run->capture->backend->live && deliver_spool(run->deliver) &&
           (waited_ms >= DRAIN_LIVE_MS || !deliver_reaching(run->deliver));
}

static int say_left(Run *run, uint64_t left, bool signalled) {
    const char *spool = deliver_spool(run->deliver);
    if (run->capture->backend->live && spool) {
        log_notice("%llu flows wait in %s for the next start", (unsigned long long)left, spool);
        return RUN_DONE;
    }
    Reason then = {""};
    if (spool)
        reason_set(&then, "; they wait in %s and go to the hub at the next start", spool);
    if (signalled)
        log_error("%llu flows left: told to stop before the hub had stored them%s",
                  (unsigned long long)left, then.text);
    else
        log_error("%llu flows left: the hub has not stored them within --exit-timeout %u s%s",
                  (unsigned long long)left, run->config->exit_timeout_s, then.text);
    return RUN_LEFT;
}

/* wait for the hubs, in steps, so that a second signal can end it */
static int drain(Run *run) {
    uint64_t begin_ms = clock_monotonic_ms();
    uint64_t end_ms = begin_ms + (uint64_t)run->config->exit_timeout_s * 1000;
    uint64_t left = 0;
    bool called = stop_signal;
    /* of a file the end is no surprise, and what is in the spool is not waited for */
    bool told = !called || (run->capture->backend->live && deliver_spool(run->deliver));
    for (;;) {
        uint64_t now_ms = clock_monotonic_ms();
        if (!told && now_ms - begin_ms >= DRAIN_TELL_MS) {
            log_notice(
                "waiting up to %u s for the hub to store %llu flows; a second signal ends it",
                run->config->exit_timeout_s, (unsigned long long)left);
            told = true;
        }
        uint64_t step_ms = now_ms < end_ms ? end_ms - now_ms : 0;
        int r = deliver_drain(run->deliver,
                              (unsigned)(step_ms < DRAIN_STEP_MS ? step_ms : DRAIN_STEP_MS), &left);
        if (r <= 0)
            return said(r, NULL);
        bool hurry = stop_hurry || (stop_signal && !called);
        if (step_ms == 0 || hurry || may_leave(run, now_ms - begin_ms))
            return say_left(run, left, hurry);
    }
}

/* the last flows leave; what the input did wrong does not keep them back */
static int run_finish(Run *run) {
    Reason reason = {""};
    meter_flush(run->meter);
    int code = run->feed ? said(collect_feed_finish(run->feed, &reason), &reason) : RUN_DONE;
    if (code == RUN_DONE)
        code = said(export_finish(run->export, &reason), &reason);
    each_second(run, clock_monotonic_ms() - run->second_ms);
    int drained = run->deliver ? drain(run) : RUN_DONE;
    outside_finish(&run->outside, run->counters); /* hubs come first; collectors go on meanwhile */
    SpoolStatus spool;
    if (run->deliver)
        count_spool(run, &spool);
    if (run->let_go) {
        log_error("%llu flows were let go: the spool was full (--spool-size)",
                  (unsigned long long)run->let_go);
        if (!run->capture->backend->live) /* nobody expects a file to lose any */
            drained = RUN_LEFT;
    }
    say_summary(run);
    int written = write_counters(run);
    if (code == RUN_DONE)
        code = drained;
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
