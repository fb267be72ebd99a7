/* SPDX-License-Identifier: Apache-2.0 */

#include "probe/worker.h"

#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "probe/aggregation.h"

enum {
    MAX_FLOWS = 1 << 24,
    MIN_FLOWS = 1024,
    COLLECTING_FLOWS = 1024, /* of a meter that meters nothing */
};

/* --- opening ------------------------------------------------------------------------------ */

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
    uint64_t fit =
        pages > 0 && page > 0 ? (uint64_t)pages * (uint64_t)page / 8 / METER_FLOW_BYTES : 0;
    if (fit == 0 || fit > MAX_FLOWS)
        return MAX_FLOWS;
    return (uint32_t)fit;
}

static uint32_t share(uint32_t all, const WorkerConfig *config) {
    return (all + config->n - 1) / config->n;
}

static uint32_t max_flows(const WorkerConfig *config) {
    if (probe_collects(config->config))
        return COLLECTING_FLOWS;
    if (config->config->max_flows)
        return share(config->config->max_flows, config);
    const uint32_t part = share(flows_that_fit(), config);
    return part < MIN_FLOWS ? MIN_FLOWS : part;
}

/* below 2^53, for JavaScript reads them; a file gives the same ids every time. Workers count in
 * different stretches: the first one's begin is drawn from what comes with the seed */
static uint64_t first_flow_id(const WorkerConfig *config, bool live) {
    static uint64_t drawn;
    if (!live)
        return 1;
    if (config->number == 0)
        drawn = random_u64();
    return (drawn + config->number) % (UINT64_C(1) << 21) << 32;
}

static int open_dpi(Worker *worker, const WorkerConfig *config, Reason *reason) {
    const DpiConfig dpi = {
        .max_flows = share(config->config->max_dpi_flows, config),
        .custom_protos = config->config->custom_protos,
        .protocols = config->config->protocols,
        .counters = worker->counters,
    };
    return dpi_new(&worker->dpi, &dpi, reason);
}

static int open_meter(Worker *worker, const WorkerConfig *config, Reason *reason) {
    const ProbeConfig *options = config->config;
    const bool live = worker->capture->backend->live;
    int r = 0;
    const uint32_t left_out = options_left_out(options);
    if (!options->no_dpi && !probe_collects(options) && !(left_out & AGGREGATION_JOINS))
        r = open_dpi(worker, config, reason);
    if (r == 0 && config->pulse)
        r = pulse_new(&worker->pulse, worker->dpi, random_u64());
    if (r)
        return error_trace(r);
    uint32_t domain = 0;
    (void)options_domain(options, &domain); /* it was checked */
    MeterConfig meter = {
        .observation_domain = domain,
        .max_flows = max_flows(config),
        .idle_s = options->idle_s,
        .active_s = options->active_s,
        .input_ifs = worker->input_ifs,
        .seed = random_u64(),
        .vlan_key = (MeterVlan)options->vlan_key,
        .left_out = left_out,
        .mode = options->no_tunnel ? DISSECT_OUTERMOST : DISSECT_INNERMOST,
        .flow_id = first_flow_id(config, live),
        .dpi = worker->dpi,
        .pulse = worker->pulse,
        .counters = worker->counters,
        .record = export_record,
        .userdata = worker->out,
    };
    return meter_new(&worker->meter, &meter);
}

/* what exporters said, and the command line of those that did not say how they sample */
static void record_collected(void *userdata, const FlowRecord *record) {
    const Worker *worker = userdata;
    if (record->sampling || worker->collected <= 1) {
        export_record(worker->out, record);
        return;
    }
    FlowRecord copy = *record;
    copy.sampling = worker->collected;
    export_record(worker->out, &copy);
}

static int open_feed(Worker *worker, const WorkerConfig *config, Reason *reason) {
    const CollectFeedConfig feed = {
        .options = config->config,
        .number = config->number,
        .seed = random_u64(),
        .live = worker->capture->backend->live,
        .packets = &worker->counters[COUNTER_PACKETS_RECEIVED],
        .bytes = &worker->counters[COUNTER_BYTES_RECEIVED],
        .exported = &worker->counters[COUNTER_FLOWS_COLLECTED],
        .record = config->deliver ? record_collected : NULL,
        .userdata = worker,
    };
    if (!probe_collects(config->config))
        return 0;
    return collect_feed_new(&worker->feed, &feed, reason);
}

/* an interface that came back has another index */
static void learn_indexes(Worker *worker) {
    const uint32_t told = worker->told_if;
    for (size_t i = 0; i < capture_inputs(worker->capture); i++)
        worker->input_ifs[i] = told ? told : capture_input(worker->capture, i)->interface_index;
}

int worker_open(Worker *worker, const WorkerConfig *config, Reason *reason) {
    *worker = (Worker){.capture = config->capture,
                       .told_if = config->config->input_if,
                       .collected = options_sampling(config->config).collected};
    learn_indexes(worker);
    int r = export_inlet(&worker->out, config->export, worker->counters);
    if (r == 0)
        r = open_feed(worker, config, reason);
    if (r == 0)
        r = open_meter(worker, config, reason);
    if (r == 0 && config->config->deduplicate)
        r = dedup_new(&worker->dedup, random_u64(), worker->counters);
    worker->sampler =
        sampler_make(worker->capture->backend->live ? random_u64() : 1, worker->counters);
    return error_trace(r);
}

void worker_close(Worker *worker) {
    meter_free(worker->meter);
    collect_feed_free(worker->feed);
    pulse_free(worker->pulse);
    dpi_free(worker->dpi);
    dedup_free(worker->dedup);
    capture_free(worker->capture);
}

/* --- running ------------------------------------------------------------------------------ */

static int take_frames(Worker *worker, Frame *frames, size_t n) {
    if (worker->feed)
        return error_trace(collect_feed_frames(worker->feed, frames, n));
    const uint64_t last_ns = n ? frames[n - 1].time_ns : 0;
    size_t kept = worker->dedup ? dedup_take(worker->dedup, frames, n) : n;
    kept = sampler_take(&worker->sampler, frames, kept);
    meter_frames(worker->meter, frames, kept);
    if (kept < n)
        meter_tick(worker->meter, last_ns); /* time goes on for those left out, too */
    return 0;
}

int worker_turn(Worker *worker, unsigned wait_ms, size_t *framesp, Reason *reason) {
    Frame frames[METER_BATCH];
    size_t n = 0;
    int r = capture_read(worker->capture, frames, METER_BATCH, &n, wait_ms, reason);
    if (r == 0)
        r = take_frames(worker, frames, n);
    if (r)
        return error_trace(r);
    export_tick(worker->out, clock_monotonic_ms());
    if (worker->feed)
        collect_feed_tick(worker->feed, clock_wall_ms());
    /* the clock of packets drives flows; on a quiet live link, that of the wall */
    if (worker->capture->backend->live && n == 0)
        meter_tick(worker->meter, clock_wall_ms() * 1000000);
    *framesp = n;
    return 0;
}

void worker_count(Worker *worker) {
    CaptureStats stats;
    capture_stats(worker->capture, &stats);
    metric_set(&worker->counters[COUNTER_PACKETS_DROPPED], stats.dropped);
    metric_set(&worker->counters[COUNTER_PACKETS_OVERRUN], stats.overrun);
    for (size_t i = 0; i < capture_inputs(worker->capture); i++)
        capture_stats(capture_input(worker->capture, i), &worker->inputs[i]);
    learn_indexes(worker);
}

void worker_flush(Worker *worker) {
    meter_flush(worker->meter);
}
