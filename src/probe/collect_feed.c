/* SPDX-License-Identifier: Apache-2.0 */

#include "probe/collect_feed.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/json.h"
#include "collect/collect.h"
#include "collect/merge.h"
#include "probe/aggregation.h"
#include "probe/capture.h"
#include "probe/collect_ports.h"
#include "probe/collect_receive.h"
#include "probe/collect_report.h"

enum {
    LINES_BYTES = 64 * 1024,
    FRAMES = 32,     /* a call */
    EMPTY_MS = 2000, /* at the end, for what ports have received */
    EMPTY_STEP_MS = 20,
};

struct CollectFeed {
    CollectFeedConfig config;
    Collector *collector;
    CollectMerge *merge; /* NULL: records are not merged */
    CollectPolicy *policy;
    CollectInterfaces *interfaces;
    CollectReport *report;
    const CollectPolicyExporter *rule;  /* of who sent this datagram; NULL: none */
    NetAddress known_address;           /* whose `known` is, */
    const CollectPolicyExporter *known; /* or NULL */
    MetricValue counters[_COLLECT_COUNT_N];
    FILE *json;
    uint32_t left_out; /* by -p */
    bool judges;       /* the user has said something of exporters or addresses */
    bool sums;         /* in place of a file */
    CollectChecksum checksum;
    Buffer lines;
    int write_failure; /* errno */
};

/* --- records --- */

/* whole lines, and one feed after the other */
static void lines_flush(CollectFeed *feed) {
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    Buffer *lines = &feed->lines;
    if (lines->failed && !feed->write_failure)
        feed->write_failure = ENOMEM;
    if (lines->size && !feed->write_failure) {
        (void)pthread_mutex_lock(&lock);
        errno = 0;
        if (fwrite(lines->bytes, 1, lines->size, feed->json) != lines->size ||
            fflush(feed->json) != 0)
            feed->write_failure = errno ? errno : EIO;
        (void)pthread_mutex_unlock(&lock);
    }
    buffer_clear(lines);
}

static void write_line(CollectFeed *feed, const CollectRecord *record) {
    Json json = json_make(&feed->lines);
    collect_record_write_json(record, &json);
    buffer_put_u8(&feed->lines, '\n');
    if (feed->lines.size >= LINES_BYTES)
        lines_flush(feed);
}

static const CollectPolicyExporter *said_of(CollectFeed *feed, const NetAddress *exporter) {
    if (!net_address_equal(&feed->known_address, exporter)) {
        feed->known = collect_policy_exporter(feed->policy, exporter);
        feed->known_address = *exporter;
    }
    return feed->known;
}

/* false, counted: the user wants no such flows */
static bool is_wanted(CollectFeed *feed, const CollectRecord *record) {
    int why = -1;
    if (!collect_policy_allows(feed->rule, record->flow.input_if))
        why = COLLECT_COUNT_UNWANTED_INTERFACE;
    else if (collect_policy_black(feed->policy, &record->flow.src_ip))
        why = COLLECT_COUNT_UNWANTED_ADDRESS;
    if (why >= 0)
        metric_add(&feed->counters[why], 1);
    return why < 0;
}

static void put_rate(CollectFeed *feed, CollectRecord *record) {
    if (collect_is_discard(record))
        return;
    const CollectPolicyExporter *said = said_of(feed, &record->flow.exporter_ip);
    uint32_t rate = said ? said->rate : 0;
    if (!rate && !record->flow.sampling)
        rate = collect_policy_usual_rate(feed->policy);
    if (!rate)
        return;
    record->flow.sampling = rate;
    record->sampling_from = COLLECT_RATE_OVERRIDE;
    collect_see(record, COLLECT_SAMPLING);
}

static void take_interface(void *userdata, const CollectInterface *interface) {
    CollectFeed *feed = userdata;
    if (!collect_interfaces_take(feed->interfaces, interface))
        metric_add(&feed->counters[COLLECT_COUNT_INTERFACES_UNKNOWN], 1);
}

/* written, summed up, counted */
static void show(CollectFeed *feed, const CollectRecord *record) {
    if (feed->json)
        write_line(feed, record);
    if (feed->sums)
        collect_checksum_add(&feed->checksum, record);
    metric_add(feed->config.exported, 1);
}

static void mend(CollectFeed *feed, CollectRecord *record) {
    if (!feed->config.live)
        record->received_ms = record->export_ms ? record->export_ms : record->received_ms;
    if (collect_mend_times(record))
        metric_add(&feed->counters[COLLECT_COUNT_TIMES_MENDED], 1);
}

static void hand_on(CollectFeed *feed, FlowRecord *flow, const FlowText *app_name) {
    if (!flow->app_name.size)
        flow->app_name = *app_name;
    feed->config.record(feed->config.userdata, flow);
}

static void deliver(CollectFeed *feed, const CollectRecord *record) {
    show(feed, record);
    if (!feed->config.record)
        return;
    CollectRecord mended = *record;
    mend(feed, &mended);
    hand_on(feed, &mended.flow, &mended.app_name);
}

/* what was merged, or not; its times are mended already */
static void take_merged(void *userdata, const CollectRecord *record) {
    CollectFeed *feed = userdata;
    show(feed, record);
    if (!feed->config.record)
        return;
    FlowRecord flow = record->flow;
    hand_on(feed, &flow, &record->app_name);
}

static void take_record(void *userdata, CollectRecord *record) {
    CollectFeed *feed = userdata;
    if (feed->judges) {
        if (!is_wanted(feed, record))
            return;
        put_rate(feed, record);
    }
    if (!feed->left_out && !feed->merge) {
        deliver(feed, record);
        return;
    }
    CollectRecord changed = *record;
    aggregation_flow(&changed.flow, feed->left_out);
    if (!feed->merge) {
        deliver(feed, &changed);
        return;
    }
    mend(feed, &changed);
    collect_merge_take(feed->merge, &changed, record->received_ms);
}

/* --- life --- */

static int json_open(CollectFeed *feed, Reason *reason) {
    const char *path = feed->config.options->json;
    feed->sums = path && strcmp(path, COLLECT_FEED_NONE) == 0;
    if (!path || feed->sums)
        return 0;
    /* several write behind one another, and the first one makes it new */
    const bool several = probe_workers(feed->config.options) > 1;
    if (several && feed->config.number == 0)
        (void)truncate(path, 0);
    feed->json = strcmp(path, "-") == 0 ? stdout : fopen(path, several ? "ae" : "we");
    if (feed->json)
        return 0;
    reason_set(reason, "--json %s cannot be written: %s", path, strerror(errno));
    return COLLECT_FEED_E_REFUSED;
}

int collect_feed_new(CollectFeed **feedp, const CollectFeedConfig *config, Reason *reason) {
    cleanup(collect_feed_freep) CollectFeed *feed = calloc(1, sizeof(*feed));
    if (!feed)
        return error_origin(-ENOMEM);
    feed->config = *config;
    feed->left_out = options_left_out(config->options);
    const CollectConfig collect = {
        .seed = config->seed,
        .keep_unknown = config->options->keep_unknown,
        .serial = (uint64_t)config->number << 32, /* other ones than those of other feeds */
        .counters = feed->counters,
        .record = take_record,
        .interface = take_interface,
        .userdata = feed,
    };
    const CollectMergeConfig merge = {
        .seed = config->seed,
        .span_ms = UINT64_C(1000) * config->options->collector_merge_s,
        .flows = config->options->max_flows,
        .bytes = COLLECT_MERGE_BYTES / probe_workers(config->options),
        .counters = feed->counters,
        .record = take_merged,
        .userdata = feed,
    };
    const CollectPolicyConfig policy = options_policy(config->options);
    int r = collect_policy_new(&feed->policy, &policy, reason);
    if (r > 0)
        return COLLECT_FEED_E_REFUSED;
    feed->judges = r == 0 && !collect_policy_says_nothing(feed->policy);
    if (r == 0)
        r = collector_new(&feed->collector, &collect);
    if (r == 0 && merge.span_ms)
        r = collect_merge_new(&feed->merge, &merge);
    if (r == 0)
        r = collect_interfaces_new(&feed->interfaces, config->seed);
    if (r == 0)
        r = collect_report_new(&feed->report, feed->policy);
    if (r == 0)
        r = json_open(feed, reason);
    if (r)
        return error_trace(r);
    *feedp = feed;
    feed = NULL;
    return 0;
}

CollectFeed *collect_feed_free(CollectFeed *feed) {
    if (!feed)
        return NULL;
    if (feed->json && feed->json != stdout)
        (void)fclose(feed->json);
    collector_free(feed->collector);
    collect_merge_free(feed->merge);
    collect_report_free(feed->report);
    collect_interfaces_free(feed->interfaces);
    collect_policy_free(feed->policy);
    buffer_deinit(&feed->lines);
    free(feed);
    return NULL;
}

Collector *collect_feed_collector(CollectFeed *feed) {
    return feed->collector;
}

void collect_feed_write_counters(CollectFeed *const *feeds, size_t n, Buffer *to) {
    MetricValue sums[_COLLECT_COUNT_N] = {0};
    Collector *collectors[COLLECT_WORKERS_MAX];
    if (n == 0 || n > COLLECT_WORKERS_MAX)
        return;
    for (size_t i = 0; i < n; i++) {
        for (int id = 0; id < _COLLECT_COUNT_N; id++)
            metric_add(&sums[id], metric_get(&feeds[i]->counters[id]));
        collectors[i] = feeds[i]->collector;
    }
    metric_write(to, collect_counter_rows, sums, _COLLECT_COUNT_N, NULL, 1);
    collect_report_metrics(feeds[0]->policy, collectors, n, to);
}

void collect_feed_write_report(CollectFeed *feed, uint64_t now_ms, Json *json) {
    if (feed && collect_report_write(feed->report, feed->collector, feed->interfaces, now_ms, json))
        json->to->failed = true; /* a pulse that cannot be written is not sent */
}

/* --- frames --- */

/* whom it is from, as the user wants it */
static CollectSource source_of(CollectFeed *feed, const NetAddress *address, const Frame *frame) {
    feed->rule = collect_policy_exporter(feed->policy, address);
    return (CollectSource){
        .address = feed->rule && feed->rule->reforged.family ? feed->rule->reforged : *address,
        .received_ms = frame->time_ns / 1000000};
}

/* datagrams that a port received */
static int take_collected(CollectFeed *feed, const Frame *frame) {
    CollectedFrame from;
    memcpy(&from, frame->bytes, sizeof(from));
    CollectSource source = source_of(feed, &from.address, frame);
    source.port = from.port;
    source.stream = from.stream;
    source.socket_drops = from.socket_drops;
    if (from.broken)
        metric_add(&feed->counters[COLLECT_MALFORMED_STREAM], 1);
    if (from.ended) {
        metric_add(feed->config.packets, 1);
        collector_end_stream(feed->collector, &source);
        return 0;
    }
    const uint8_t *at = frame->bytes + sizeof(from);
    size_t left = frame->captured_bytes - sizeof(from);
    metric_add(feed->config.packets, collected_datagrams(&from, left));
    int r = 0;
    do {
        const size_t n = from.each_bytes && from.each_bytes < left ? from.each_bytes : left;
        r = collector_take(feed->collector, &source, at, n);
        at += n;
        left -= n;
    } while (left > 0 && r == 0);
    return error_trace(r);
}

/* a packet that may hold one */
static int take_packet(CollectFeed *feed, const Frame *frame) {
    Packet packet;
    metric_add(feed->config.packets, 1);
    if (dissect_frame(frame, DISSECT_OUTERMOST, &packet) != 0 || packet.protocol != IP_UDP ||
        !packet.payload || packet.fragment)
        return 0;
    const NetAddress address =
        packet.ip_version == 6 ? net_address_v6(packet.src) : net_address_v4(packet.src);
    CollectSource source = source_of(feed, &address, frame);
    source.port = packet.src_port;
    return error_trace(
        collector_take(feed->collector, &source, packet.payload, packet.payload_bytes));
}

int collect_feed_frames(CollectFeed *feed, const Frame *frames, size_t n) {
    int r = 0;
    for (size_t i = 0; i < n && r == 0; i++) {
        metric_add(feed->config.bytes, frames[i].wire_bytes);
        r = frames[i].link_type == FRAME_LINK_COLLECTED ? take_collected(feed, &frames[i])
                                                        : take_packet(feed, &frames[i]);
    }
    return error_trace(r);
}

void collect_feed_empty(CollectFeed *feed, Capture *capture) {
    Frame frames[FRAMES];
    Reason reason = {""};
    const uint64_t end_ms = clock_monotonic_ms() + EMPTY_MS;
    const bool ends = collect_ports_stop(capture);
    size_t n = 1;
    while ((n > 0 || ends) && clock_monotonic_ms() < end_ms &&
           capture_read(capture, frames, FRAMES, &n, EMPTY_STEP_MS, &reason) == 0)
        if (collect_feed_frames(feed, frames, n) != 0)
            return;
}

void collect_feed_tick(CollectFeed *feed, uint64_t now_ms) {
    metric_set(&feed->counters[COLLECT_COUNT_CHECKSUM], feed->checksum.sum);
    if (feed->json)
        lines_flush(feed);
    collector_tick(feed->collector, now_ms);
    if (feed->merge && feed->config.live) /* of a file, records are the clock */
        collect_merge_tick(feed->merge, now_ms);
}

void collect_feed_flush(CollectFeed *feed) {
    if (feed->merge)
        collect_merge_flush(feed->merge);
}

int collect_feed_finish(CollectFeed *feed, Reason *reason) {
    metric_set(&feed->counters[COLLECT_COUNT_CHECKSUM], feed->checksum.sum);
    collector_finish(feed->collector);
    if (!feed->json)
        return 0;
    lines_flush(feed);
    if (feed->json != stdout && fclose(feed->json) != 0 && !feed->write_failure)
        feed->write_failure = errno;
    feed->json = NULL;
    if (!feed->write_failure)
        return 0;
    reason_set(reason, "--json %s could not be written: %s", feed->config.options->json,
               strerror(feed->write_failure));
    return COLLECT_FEED_E_REFUSED;
}
