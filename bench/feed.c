/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Feed
 *
 * A probe without packets: makes flows, encodes and sends them as weir-probe does, waits until the
 * hub has stored them all, and says how long that took. For measuring a hub.
 *
 *     feed DATA_ENDPOINT EVENTS_ENDPOINT SERVER_KEY_Z85 FLOWS FLOWS_A_BATCH all|v9
 */

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/error.h"
#include "channel/keys.h"
#include "channel/probe_link.h"
#include "codec/batch.h"
#include "flow/record.h"
#include "spool/spool.h"

enum { SPOOL_BYTES = 256 * 1024 * 1024, SPOOL_FULL_WAIT_MS = 1, DRAIN_MS = 300000 };

typedef struct Feed {
    Spool *spool;
    ProbeLink *link;
    uint64_t random;
    uint64_t made;
    uint64_t bytes;
    int all_fields;
} Feed;

static uint64_t next_random(Feed *feed) {
    feed->random ^= feed->random << 13;
    feed->random ^= feed->random >> 7;
    feed->random ^= feed->random << 17;
    return feed->random;
}

/** skewed() - 0 to n - 1, small numbers more often, about as hosts and services are */
static uint32_t skewed(Feed *feed, uint32_t n) {
    double u = (double)(next_random(feed) >> 11) / 9007199254740992.0;
    return (uint32_t)((double)n * u * u * u);
}

static FlowText text_of(const char *text) {
    return (FlowText){.text = text, .size = (uint32_t)strlen(text)};
}

static void make_what_it_is(Feed *feed, FlowRecord *record) {
    static const struct {
        const char *app, *category;
        uint16_t master, id, port;
    } apps[] = {
        {"TLS.Google", "Web", 91, 126, 443}, {"QUIC.YouTube", "Media", 188, 124, 443},
        {"DNS", "Network", 0, 5, 53},        {"TLS", "Web", 0, 91, 443},
        {"HTTP", "Web", 0, 7, 80},           {"SSH", "RemoteAccess", 0, 92, 22},
        {"NTP", "System", 0, 9, 123},        {"TLS.Microsoft", "Cloud", 91, 212, 443},
    };
    static char names[4096][40];
    uint32_t a = skewed(feed, sizeof(apps) / sizeof(apps[0]));
    uint32_t n = skewed(feed, 4096);
    if (!names[n][0])
        (void)snprintf(names[n], sizeof(names[n]), "host%u.service%u.example", n, n % 97);
    record->dst_port = apps[a].port;
    record->protocol = apps[a].port == 53 || apps[a].port == 123 ? 17 : 6;
    if (!feed->all_fields)
        return;
    record->app_id = apps[a].id;
    record->app_master_id = apps[a].master;
    record->app_name = text_of(apps[a].app);
    record->app_category = text_of(apps[a].category);
    record->app_confidence = 6;
    record->server_name = text_of(names[n]);
    record->l2_octets = record->octets + 14 * record->packets;
    record->rev_l2_octets = record->rev_octets + 14 * record->rev_packets;
    record->flow_id = next_random(feed);
    record->biflow_direction = FLOW_DIRECTION_INITIATOR;
    record->src_mac = (FlowMac){{2, 0, 0, 0, record->src_ip.bytes[2], record->src_ip.bytes[3]}};
    record->dst_mac = (FlowMac){{2, 0, 0, 0, 0, 1}};
}

static void make_flow(Feed *feed, FlowRecord *record, uint64_t now_ms) {
    uint32_t host = skewed(feed, 30000);
    uint32_t peer = skewed(feed, 200000);
    record->src_ip = net_address_v4((uint8_t[]){10, 0, (uint8_t)(host >> 8), (uint8_t)host});
    record->dst_ip = net_address_v4(
        (uint8_t[]){198, (uint8_t)(18 + (peer >> 16)), (uint8_t)(peer >> 8), (uint8_t)peer});
    record->src_port = (uint16_t)(32768 + next_random(feed) % 28000);
    record->packets = 1 + skewed(feed, 60);
    record->octets = record->packets * (60 + skewed(feed, 400));
    record->rev_packets = 1 + skewed(feed, 90);
    record->rev_octets = record->rev_packets * (60 + skewed(feed, 1300));
    record->last_ms = now_ms - next_random(feed) % 1000;
    record->first_ms = record->last_ms - skewed(feed, 30000);
    record->end_reason = FLOW_END_IDLE;
    make_what_it_is(feed, record);
    if (record->protocol == 6) {
        record->tcp_flags = 0x1b;
        record->rev_tcp_flags = 0x1b;
    }
}

static void on_change(void *userdata, ProbeLinkWord word, const char *reason) {
    (void)userdata;
    (void)fprintf(stderr, "feed: %s: %s\n", probe_link_word(word), reason);
}

static int load(void *spool, const EpochId *epoch, uint64_t sequence, DeliveryBatch *batch) {
    SpoolBatch found;
    if (spool_peek(spool, 0, epoch, sequence, &found))
        return DELIVERY_E_UNKNOWN;
    *batch = (DeliveryBatch){.epoch = found.epoch,
                             .first = found.first,
                             .last = found.last,
                             .gap = found.gap,
                             .bytes = found.bytes,
                             .counts = found.counts,
                             .totals = found.totals};
    return 0;
}

static int fetch(void *spool, const EpochId *epoch, uint64_t sequence, void *to, size_t size) {
    return spool_fetch(spool, 0, epoch, sequence, to, size) ? DELIVERY_E_UNKNOWN : 0;
}

static void release(void *spool, const EpochId *epoch, uint64_t last, const BatchCounts *totals) {
    spool_release(spool, 0, epoch, last, totals);
}

static int send_batch(Feed *feed, BatchCodec *codec, FlowRecord *records, size_t n) {
    Buffer payload = {0};
    int r = 0;
    for (size_t sent = 0, taken = 0; sent < n && !r; sent += taken) {
        BatchCounts sums = {0};
        buffer_clear(&payload);
        r = batch_encode(codec, &payload, records + sent, n - sent, clock_wall_ms(), &taken, &sums);
        SpoolStatus status;
        spool_status(feed->spool, &status);
        while (!r && status.bytes + payload.size > SPOOL_BYTES) {
            (void)nanosleep(&(struct timespec){.tv_nsec = SPOOL_FULL_WAIT_MS * 1000000L}, NULL);
            spool_status(feed->spool, &status);
        }
        SpoolBatch placed;
        DeliveryBatch batch;
        if (!r)
            r = spool_append(feed->spool, 0, payload.bytes, payload.size, &sums, &placed);
        if (!r) {
            (void)load(feed->spool, &placed.epoch, placed.first, &batch);
            r = probe_link_submit(feed->link, &batch);
        }
        feed->bytes += payload.size;
    }
    buffer_deinit(&payload);
    return error_trace(r);
}

static int feed_all(Feed *feed, uint64_t flows, size_t a_batch) {
    cleanup(batch_codec_freep) BatchCodec *codec = NULL;
    cleanup(freep) FlowRecord *records = calloc(a_batch, sizeof(*records));
    if (!records)
        return error_origin(-ENOMEM);
    int r = batch_codec_new(&codec);
    while (!r && feed->made < flows) {
        size_t n = flows - feed->made < a_batch ? (size_t)(flows - feed->made) : a_batch;
        memset(records, 0, n * sizeof(*records));
        uint64_t now_ms = clock_wall_ms();
        for (size_t i = 0; i < n; i++)
            make_flow(feed, &records[i], now_ms);
        r = send_batch(feed, codec, records, n);
        feed->made += n;
    }
    return error_trace(r);
}

static double cpu_s(void) {
    struct timespec ts = {0};
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static int run(Feed *feed, uint64_t flows, size_t a_batch) {
    uint64_t start_ns = clock_monotonic_ns();
    double start_cpu = cpu_s();
    int r = feed_all(feed, flows, a_batch);
    if (r)
        return error_trace(r);
    double made_s = (double)(clock_monotonic_ns() - start_ns) / 1e9;
    uint64_t left = 0;
    r = probe_link_drain(feed->link, DRAIN_MS, &left);
    double stored_s = (double)(clock_monotonic_ns() - start_ns) / 1e9;
    (void)printf("{\"flows\":%" PRIu64 ",\"left\":%" PRIu64 ",\"made_s\":%.3f,\"stored_s\":%.3f,"
                 "\"feed_cpu_s\":%.3f,\"payload_bytes\":%" PRIu64 "}\n",
                 feed->made, left, made_s, stored_s, cpu_s() - start_cpu, feed->bytes);
    return error_trace(r);
}

int main(int argc, char **argv) {
    if (argc != 7) {
        (void)fprintf(stderr, "usage: feed DATA EVENTS KEY_Z85 FLOWS FLOWS_A_BATCH all|v9\n");
        return 2;
    }
    Feed feed = {.random = 88172645463325252u, .all_fields = strcmp(argv[6], "all") == 0};
    Reason reason = {0};
    ProbeLinkConfig config = {
        .endpoint = argv[1],
        .events_endpoint = argv[2],
        .server_z85 = argv[3],
        .hello_json = "{\"name\":\"feed\",\"version\":\"bench\",\"interfaces\":[\"feed\"]}",
        .spool = {.load = load, .release = release, .fetch = fetch},
        .on_change = on_change,
    };
    SpoolConfig spool = {.memory_bytes = 2ull * SPOOL_BYTES, .n_hubs = 1, .hubs = {1}};
    int r = spool_new(&feed.spool, &spool, &reason);
    if (!r)
        r = key_pair_make(&config.keys);
    config.spool.spool = feed.spool;
    if (!r)
        r = probe_link_new(&feed.link, &config, &reason);
    if (!r)
        r = run(&feed, strtoull(argv[4], NULL, 10), strtoull(argv[5], NULL, 10));
    if (r)
        (void)fprintf(stderr, "feed: %s\n", r > 0 ? reason.text : strerror(-r));
    probe_link_free(feed.link);
    spool_free(feed.spool);
    return r ? 1 : 0;
}
