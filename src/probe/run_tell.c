/* SPDX-License-Identifier: Apache-2.0 */

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "probe/collect_ports.h"
#include "probe/run_inside.h"

enum { PULSE_MIN_MS = 250 /* between two; they come once a second */ };

static uint64_t records(const Run *run) {
    uint64_t n = run_counter(run, COUNTER_FLOWS_COLLECTED);
    for (int id = COUNTER_EXPORTED_IDLE; id <= COUNTER_EXPORTED_RESOURCES; id++)
        n += run_counter(run, id);
    return n;
}

/* how much the counter grew since the last pulse */
static uint64_t grown(Run *run, int id) {
    uint64_t now = run_counter(run, id);
    uint64_t since = now - run->last[id];
    run->last[id] = now;
    return since;
}

void run_count_spool(Run *run, SpoolStatus *status) {
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

typedef struct Report {
    uint64_t now_ms;
    Json *json;
} Report;

static void write_report(Worker *worker, void *userdata) {
    const Report *report = userdata;
    collect_feed_write_report(worker->feed, report->now_ms, report->json);
}

/* the exporters of one worker a second, in turn */
static void write_exporters(void *userdata, uint64_t now_ms, Json *json) {
    Run *run = userdata;
    Report report = {.now_ms = now_ms, .json = json};
    run->told_of = (run->told_of + 1) % workers_n(run->workers);
    workers_ask_one(run->workers, run->told_of, write_report, &report);
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
        .flows_active = run_counter(run, COUNTER_FLOWS_LIVE),
        .flows_exported = exported,
        .flows_waiting = deliver_waiting(run->deliver),
        .flows_metered = records(run),
        .flows_export_dropped = run_counter(run, COUNTER_EXPORT_DROPPED),
        .hubs = deliver_hubs(run->deliver),
        .spool = *spool,
        .configuration = remote_report(run->remote),
        .collectors = run->outside.doors ? &run->outside.status : NULL,
        .exporters = probe_collects(run->config) ? write_exporters : NULL,
        .exporters_userdata = run,
    };
    totals.n_causes = trouble_causes(&run->trouble, clock_monotonic_ms(), totals.causes);
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

/* a worker's part, on its thread */
static void gather(Worker *worker, void *userdata) {
    Run *run = userdata;
    worker_count(worker);
    if (!worker->pulse)
        return;
    meter_pulse(worker->meter);
    (void)pthread_mutex_lock(&run->pulse_lock);
    pulse_merge(run->pulse, worker->pulse);
    (void)pthread_mutex_unlock(&run->pulse_lock);
}

/* a row is counted by workers or by the run, never by both */
void run_gather(Run *run) {
    workers_ask(run->workers, gather, run);
    for (int id = 0; id < _COUNTER_N; id++) {
        const uint64_t sum = workers_sum(run->workers, id);
        run->of_workers[id] = run->of_workers[id] || sum;
        if (run->of_workers[id])
            metric_set(&run->counters[id], sum);
    }
}

static CaptureStats input_stats(const Run *run, size_t i) {
    CaptureStats all = {0};
    for (size_t k = 0; k < workers_n(run->workers); k++) {
        const CaptureStats *one = &workers_at(run->workers, k)->inputs[i];
        all.packets += one->packets;
        all.bytes += one->bytes;
        all.dropped += one->dropped;
        all.frozen += one->frozen;
        all.cut += one->cut;
    }
    return all;
}

static void look_at_interfaces(Run *run, uint64_t now_ms) {
    for (size_t i = 0; i < run->trouble.n; i++)
        trouble_second(&run->trouble, i, input_stats(run, i).packets, now_ms);
}

static void each_second(Run *run, uint64_t interval_ms) {
    const uint64_t now_ms = clock_monotonic_ms();
    run_gather(run);
    look_at_interfaces(run, now_ms);
    outside_count(&run->outside, run->counters);
    if (!run->deliver)
        return;
    SpoolStatus spool;
    run_count_spool(run, &spool);
    tell_let_go(run, spool.dropped.flows);
    trouble_spool(&run->trouble, run->letting_go, spool.disk > SPOOL_DISK_GOOD, now_ms);
    send_pulse(run, interval_ms, &spool);
}

/* the file is opened while it can be */
static int open_counters(Run *run, Reason *reason) {
    const char *path = run->config->counters;
    if (!path || strcmp(path, "-") == 0)
        return 0;
    run->counters_file = fopen(path, "we");
    if (run->counters_file)
        return 0;
    reason_set(reason, "--counters %s cannot be written: %s", path, strerror(errno));
    return 1;
}

static int begin_seconds(Run *run, Reason *reason) {
    (void)reason;
    run->second = clock_wall_ms() / 1000;
    run->second_ms = clock_monotonic_ms();
    return 0;
}

/* with the seconds of the wall clock: a period of our own would drift against those of the hub, and
 * every so often leave one of them without a pulse */
static void tick_seconds(Run *run) {
    const uint64_t now_ms = clock_monotonic_ms();
    const uint64_t second = clock_wall_ms() / 1000;
    if (second == run->second || now_ms - run->second_ms < PULSE_MIN_MS)
        return;
    each_second(run, now_ms - run->second_ms);
    run->second = second;
    run->second_ms = now_ms;
}

static int last_second(Run *run) {
    each_second(run, clock_monotonic_ms() - run->second_ms);
    return RUN_DONE;
}

static void close_seconds(Run *run) {
    buffer_deinit(&run->pulse_json);
    if (run->counters_file)
        (void)fclose(run->counters_file);
}

const RunPart run_telling = {.open = open_counters,
                             .start = begin_seconds,
                             .tick = tick_seconds,
                             .finish = last_second,
                             .close = close_seconds};

void run_say_summary(const Run *run) {
    uint64_t ignored = 0;
    for (int answer = 1; answer < _DISSECT_E_N; answer++)
        ignored += run_counter(run, counter_ignored_packets(answer));
    if (run_counter(run, COUNTER_PACKETS_SKIPPED))
        log_info("%llu packets left out by sampling",
                 (unsigned long long)run_counter(run, COUNTER_PACKETS_SKIPPED));
    log_info("%llu packets received, %llu metered, %llu ignored, %llu dropped by the kernel; "
             "%llu records",
             (unsigned long long)run_counter(run, COUNTER_PACKETS_RECEIVED),
             (unsigned long long)run_counter(run, COUNTER_PACKETS_METERED),
             (unsigned long long)ignored,
             (unsigned long long)run_counter(run, COUNTER_PACKETS_DROPPED),
             (unsigned long long)records(run));
}

/* row by row, for all samples of a name stand together */
static void write_inputs(const Run *run, Buffer *to) {
    for (int id = 0; id < _INPUT_COUNTER_N; id++)
        for (size_t i = 0; i < run->trouble.n; i++) {
            const CaptureStats stats = input_stats(run, i);
            const MetricValue values[_INPUT_COUNTER_N] = {
                [INPUT_COUNTER_PACKETS] = stats.packets, [INPUT_COUNTER_BYTES] = stats.bytes,
                [INPUT_COUNTER_DROPPED] = stats.dropped, [INPUT_COUNTER_FROZEN] = stats.frozen,
                [INPUT_COUNTER_CUT] = stats.cut,
            };
            char label[64];
            (void)snprintf(label, sizeof(label), "interface=\"%s\"", run->inputs.names[i]);
            metric_write(to, &input_counter_rows[id], &values[id], 1, label, i == 0);
        }
}

/* no worker's thread runs any more */
static void write_collected(const Run *run, Buffer *to) {
    CollectFeed *feeds[WORKERS_MAX];
    Capture *captures[WORKERS_MAX];
    const size_t n = probe_collects(run->config) ? workers_n(run->workers) : 0;
    for (size_t i = 0; i < n; i++) {
        feeds[i] = workers_at(run->workers, i)->feed;
        captures[i] = workers_at(run->workers, i)->capture;
    }
    collect_feed_write_counters(feeds, n, to);
    collect_ports_write_counters(captures, n, to);
}

int run_write_counters(const Run *run) {
    const char *path = run->config->counters;
    if (!path)
        return RUN_DONE;
    Buffer text = {0};
    metric_write(&text, counter_rows, run->counters, _COUNTER_N, NULL, 1);
    write_collected(run, &text);
    write_inputs(run, &text);
    FILE *to = run->counters_file ? run->counters_file : stdout;
    bool good = to && fwrite(text.bytes, 1, text.size, to) == text.size && fflush(to) == 0;
    if (!good)
        log_error("--counters %s could not be written: %s", path, strerror(errno));
    buffer_deinit(&text);
    return good ? RUN_DONE : RUN_FAILED;
}
