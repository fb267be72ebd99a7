/* SPDX-License-Identifier: Apache-2.0 */

#include <stdio.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "probe/collect_ports.h"
#include "probe/run_inside.h"
#include "probe/settings.h"

enum {
    RING_LEAST = 1 << 20,
    PORTS_WAIT_MS = 250, /* what comes meanwhile, receivers and sockets hold */
};

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

/* --- input -------------------------------------------------------------------------------- */

static int name_inputs(Run *run, Reason *reason) {
    const ProbeConfig *config = run->config;
    int r = 0;
    for (size_t i = 0; r == 0 && i < config->inputs.n; i++)
        r = capture_list_add(&run->inputs, config->inputs.values[i]);
    if (r == 0 && config->file_list)
        r = capture_list_read(&run->inputs, config->file_list, reason);
    if (r)
        return error_trace(r);
    size_t used = 0;
    for (size_t i = 0; i < run->inputs.n && used < sizeof(run->input_names); i++)
        used += (size_t)snprintf(run->input_names + used, sizeof(run->input_names) - used, "%s%s",
                                 i ? "," : "", run->inputs.names[i]);
    return 0;
}

/* one a worker, of the same inputs; the memory for waiting packets is shared, too */
static int open_each(Run *run, const char *filter, Reason *reason) {
    const ProbeConfig *config = run->config;
    const uint32_t n = config->workers;
    int r = 0;
    for (uint32_t i = 0; r == 0 && i < n; i++) {
        const CaptureConfig capture = {
            .filter = filter,
            .black_list = probe_collects(config) ? NULL : &config->black_list,
            .snaplen = config->snaplen,
            .promisc = !config->no_promisc,
            .ring_bytes = config->ring_bytes / n > RING_LEAST ? config->ring_bytes / n : RING_LEAST,
            .member = i,
        };
        r = capture_open_all(&run->captures[i], &capture, (const char *const *)run->inputs.names,
                             run->inputs.n, n > 1 ? run->fanouts : NULL, reason);
    }
    return error_trace(r);
}

static void close_captures(Run *run) {
    for (size_t i = 0; i < WORKERS_MAX; i++)
        run->captures[i] = capture_free(run->captures[i]);
}

static int open_interfaces(Run *run, Reason *reason) {
    for (size_t i = 0; i < CAPTURE_INPUTS_MAX; i++)
        capture_fanout_init(&run->fanouts[i], run->config->workers);
    int r = name_inputs(run, reason);
    if (r == 0)
        r = open_each(run, settings_filter(run->config, in_force(run)), reason);
    if (r == CAPTURE_E_USAGE && run->remote && remote_fall_back(run->remote, reason->text)) {
        close_captures(run);
        r = open_each(run, run->config->filter, reason);
    }
    if (r)
        return error_trace(r);
    for (size_t i = 0; run->captures[0]->backend->live && i < run->inputs.n; i++)
        trouble_add(&run->trouble, run->inputs.names[i], clock_monotonic_ms());
    return 0;
}

static int open_input(Run *run, Reason *reason) {
    const ProbeConfig *config = run->config;
    int r = 0;
    if (config->collector_ports.n) {
        (void)snprintf(run->input_names, sizeof(run->input_names), "collector");
        r = collect_ports_open(run->captures, probe_workers(config), &config->collector_ports,
                               settings_filter(config, in_force(run)), reason);
    } else {
        r = open_interfaces(run, reason);
    }
    if (r)
        return error_trace(r);
    run->live = run->captures[0]->backend->live;
    run->interface_index = run->captures[0]->interface_index;
    return 0;
}

/* those of workers are closed with them, and need the fanouts no more */
static void close_input(Run *run) {
    close_captures(run);
    for (size_t i = 0; i < CAPTURE_INPUTS_MAX; i++)
        capture_fanout_deinit(&run->fanouts[i]);
    capture_list_deinit(&run->inputs);
}

const RunPart run_input = {.open = open_input, .close = close_input};

/* --- the way out -------------------------------------------------------------------------- */

static int open_outside(Run *run, Reason *reason) {
    return outside_open(&run->outside, run->config, !run->live, reason);
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
        .interface = run->input_names,
        .index = run->interface_index,
        .mode = run->live ? "live" : "file",
        .patient = !run->live,
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
    return run->live ? drained : RUN_LEFT; /* of a file nobody expects it */
}

static void close_hubs(Run *run) {
    deliver_free(run->deliver);
}

const RunPart run_hubs = {.open = open_deliver, .finish = finish_hubs, .close = close_hubs};

static int open_export(Run *run, Reason *reason) {
    ExportConfig export = {
        .json = probe_collects(run->config) ? NULL : run->config->json,
        .patient = !run->live,
        .wait_ms = run->config->collector_ports.n ? PORTS_WAIT_MS : 0,
        .submit = run->deliver ? deliver_submit : NULL,
        .userdata = run->deliver,
        .doors = run->outside.doors,
        .doors_rate = options_sampling(run->config).exported,
        .skipped = &run->counters[COUNTER_COLLECTOR_SKIPPED],
        .lanes = run->deliver ? deliver_lanes(run->deliver) : 1,
    };
    return export_new(&run->export, &export, reason);
}

static int finish_export(Run *run) {
    Reason reason = {""};
    return run_said(export_finish(run->export, &reason), &reason);
}

static void close_export(Run *run) {
    export_free(run->export);
}

const RunPart run_export = {.open = open_export, .finish = finish_export, .close = close_export};

/* --- from packets to flows ---------------------------------------------------------------- */

static int open_workers(Run *run, Reason *reason) {
    (void)pthread_mutex_init(&run->pulse_lock, NULL);
    const uint32_t n = probe_workers(run->config);
    int r = workers_new(&run->workers, n);
    for (unsigned i = 0; r == 0 && i < n; i++) {
        const WorkerConfig config = {
            .config = run->config,
            .capture = run->captures[i],
            .export = run->export,
            .number = i,
            .n = n,
            .pulse = run->deliver != NULL,
            .deliver = run->deliver || run->outside.doors,
        };
        run->captures[i] = NULL;
        r = worker_open(workers_at(run->workers, i), &config, reason);
    }
    if (r == 0 && run->deliver)
        r = pulse_new(&run->pulse, workers_at(run->workers, 0)->dpi, 0);
    return error_trace(r);
}

/* what exporters have said before is there from the first datagram on */
static int start_workers(Run *run, Reason *reason) {
    (void)reason;
    if (run->config->collector_ports.n)
        run->keeper = collect_keeper_new(run->workers, run->config->data_dir, run->deliver != NULL);
    return workers_start(run->workers);
}

/* nothing comes any more but, of ports, what has come already */
static int finish_workers(Run *run) {
    Reason reason = {""};
    int code = RUN_DONE;
    workers_stop(run->workers);
    for (size_t i = 0; i < workers_n(run->workers); i++) {
        Worker *worker = workers_at(run->workers, i);
        if (worker->feed && run->live)
            collect_feed_empty(worker->feed, worker->capture);
        if (worker->feed)
            collect_feed_flush(worker->feed);
        worker_flush(worker);
        if (worker->feed && code == RUN_DONE)
            code = run_said(collect_feed_finish(worker->feed, &reason), &reason);
    }
    collect_keeper_finish(run->keeper);
    return code;
}

static void close_workers(Run *run) {
    collect_keeper_free(run->keeper);
    pulse_free(run->pulse);
    workers_free(run->workers);
    (void)pthread_mutex_destroy(&run->pulse_lock);
}

static void tick_workers(Run *run) {
    collect_keeper_tick(run->keeper, clock_monotonic_ms());
}

const RunPart run_workers = {.open = open_workers,
                             .start = start_workers,
                             .tick = tick_workers,
                             .finish = finish_workers,
                             .close = close_workers};

/* --- settings, by the command line and by the hub ------------------------------------------ */

typedef struct Setting {
    const Run *run;
    const Configuration *now;
    const Configuration *before;
    Reason *reason;
    int r;
} Setting;

static void set_worker(Worker *worker, void *userdata) {
    Setting *setting = userdata;
    const SettingsParts parts = {.config = setting->run->config, .worker = worker};
    setting->r = settings_apply(&parts, setting->now, setting->before, setting->reason);
}

/* of all workers, or of none: what one cannot do is taken back from those before it */
static int set(Run *run, const Configuration *now, const Configuration *before, Reason *reason) {
    Setting setting = {.run = run, .now = now, .before = before, .reason = reason};
    size_t done = 0;
    for (; setting.r == 0 && done < workers_n(run->workers); done++)
        workers_ask_one(run->workers, done, set_worker, &setting);
    const int r = setting.r;
    if (r == 0)
        return 0;
    Reason unused = {""};
    Setting back = {.run = run, .now = before, .before = now, .reason = &unused};
    for (size_t i = 0; i + 1 < done; i++)
        workers_ask_one(run->workers, i, set_worker, &back);
    return error_trace(r);
}

/* before the workers run */
static int begin_settings(Run *run, Reason *reason) {
    const Configuration begin = *in_force(run);
    int r = set(run, &begin, &begin, reason);
    if (r > 0 && run->remote && remote_fall_back(run->remote, reason->text))
        r = set(run, in_force(run), &begin, reason);
    return r;
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

const RunPart run_settings = {.start = begin_settings, .tick = take_configuration};
