/* SPDX-License-Identifier: Apache-2.0 */

#include <sys/random.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "probe/collect_ports.h"
#include "probe/run_inside.h"
#include "probe/settings.h"

enum {
    MAX_FLOWS = 1 << 20,
    COLLECTING_FLOWS = 1024, /* of a meter that meters nothing */
    FLOW_BYTES = 216,        /* entry, more, index and name, about */
};

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

static const Configuration *in_force(const Run *run) {
    return run->remote ? remote_running(run->remote) : &run->given;
}

/* what the hub had set is there from the first packet on */
static int open_remote(Run *run, Reason *reason) {
    (void)reason;
    const ProbeConfig *config = run->config;
    settings_given(config, &run->given);
    const RemoteConfig remote = {
        .folder = config->data_dir, .given = run->given, .refuse = config->no_remote_config};
    return config->hubs.n ? remote_new(&run->remote, &remote) : 0;
}

static void close_remote(Run *run) {
    remote_free(run->remote);
}

const RunPart run_remote = {.open = open_remote, .close = close_remote};

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

static void close_capture(Run *run) {
    capture_free(run->capture);
}

const RunPart run_input = {.open = open_capture, .close = close_capture};

/* --- the way out -------------------------------------------------------------------------- */

static int open_outside(Run *run, Reason *reason) {
    return outside_open(&run->outside, run->config, !run->capture->backend->live, reason);
}

static int finish_outside(Run *run) {
    outside_finish(&run->outside, run->counters);
    return RUN_DONE;
}

const RunPart run_outside = {.open = open_outside, .finish = finish_outside};

static int start_licence(Run *run, Reason *reason) {
    (void)reason;
    return outside_start(&run->outside, run->deliver);
}

static void close_licence(Run *run) {
    outside_close(&run->outside);
}

const RunPart run_licence = {.start = start_licence, .close = close_licence};

static bool is_stopping(void) {
    return run_stop_signal != 0;
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

static int finish_hubs(Run *run) {
    SpoolStatus spool;
    if (!run->deliver)
        return RUN_DONE;
    const int drained = run_drain(run);
    run_count_spool(run, &spool);
    if (!run->let_go)
        return drained;
    log_error("%llu flows were let go: the spool was full (--spool-size)",
              (unsigned long long)run->let_go);
    return run->capture->backend->live ? drained : RUN_LEFT; /* of a file nobody expects it */
}

static void close_hubs(Run *run) {
    deliver_free(run->deliver);
}

const RunPart run_hubs = {.open = open_deliver, .finish = finish_hubs, .close = close_hubs};

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

static void tick_export(Run *run, size_t frames) {
    (void)frames;
    export_tick(run->export, clock_monotonic_ms());
}

static int finish_export(Run *run) {
    Reason reason = {""};
    return run_said(export_finish(run->export, &reason), &reason);
}

static void close_export(Run *run) {
    export_free(run->export);
}

const RunPart run_export = {
    .open = open_export, .tick = tick_export, .finish = finish_export, .close = close_export};

/* --- from packets to flows -------------------------------------------------------------------- */

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

static void tick_feed(Run *run, size_t frames) {
    (void)frames;
    if (run->feed)
        collect_feed_tick(run->feed, clock_wall_ms());
}

static int finish_feed(Run *run) {
    Reason reason = {""};
    return run->feed ? run_said(collect_feed_finish(run->feed, &reason), &reason) : RUN_DONE;
}

static void close_feed(Run *run) {
    collect_feed_free(run->feed);
}

const RunPart run_feed = {
    .open = open_feed, .tick = tick_feed, .finish = finish_feed, .close = close_feed};

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

/* the clock of packets drives flows; on a quiet live link, that of the wall */
static void tick_meter(Run *run, size_t frames) {
    if (run->capture->backend->live && frames == 0)
        meter_tick(run->meter, clock_wall_ms() * 1000000);
}

static int finish_meter(Run *run) {
    meter_flush(run->meter);
    return RUN_DONE;
}

static void close_meter(Run *run) {
    meter_free(run->meter);
    pulse_free(run->pulse);
    dpi_free(run->dpi);
}

const RunPart run_meter = {
    .open = open_meter, .tick = tick_meter, .finish = finish_meter, .close = close_meter};

/* --- settings, by the command line and by the hub ------------------------------------------ */

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

/* what the hub wants to be set */
static void take_configuration(Run *run, size_t frames) {
    (void)frames;
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

const RunPart run_settings = {.start = begin_settings, .tick = take_configuration};
