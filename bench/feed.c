/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Feed
 *
 * A probe without packets: makes flows, encodes and sends them as weir-probe does, waits until the
 * hub has stored them all, and says how long that took. For measuring a hub.
 *
 *     feed DATA_ENDPOINT EVENTS_ENDPOINT SERVER_KEY_Z85 FLOWS FLOWS_A_BATCH all|v9 [FOLDER [MS]]
 *
 * With FOLDER, unless it is -, the flows are those of the spool segments in it, again from the
 * first after the last; with MS there is a batch each so many milliseconds.
 */

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <zstd.h>

#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/error.h"
#include "channel/keys.h"
#include "channel/probe_link.h"
#include "codec/batch.h"
#include "flows.h"
#include "segments.h"
#include "spool/spool.h"
#include "spool_owner.h"

enum { SPOOL_BYTES = 256 * 1024 * 1024, SPOOL_FULL_WAIT_MS = 1, DRAIN_MS = 300000 };

typedef struct Feed {
    Spool *spool;
    ProbeLink *link;
    uint64_t made;
    uint64_t bytes;
    uint64_t ipfix_bytes; /* before compression */
    FlowMaker maker;
    const FlowBatch *given; /* NULL: made up */
    unsigned pace_ms;
} Feed;

static void on_change(void *userdata, ProbeLinkWord word, const char *reason) {
    (void)userdata;
    (void)fprintf(stderr, "feed: %s: %s\n", probe_link_word(word), reason);
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
        if (!r)
            r = spool_append(feed->spool, 0, payload.bytes, payload.size, &sums, &placed);
        if (!r) {
            const DeliveryBatch batch = owner_batch(&placed);
            r = probe_link_submit(feed->link, &batch);
        }
        feed->bytes += payload.size;
        feed->ipfix_bytes += ZSTD_getFrameContentSize(payload.bytes, payload.size);
    }
    buffer_deinit(&payload);
    return error_trace(r);
}

static void pause_ms(unsigned ms) {
    (void)nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L}, NULL);
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
        for (size_t i = 0; i < n && feed->given; i++)
            records[i] = feed->given->records[(feed->made + i) % feed->given->n];
        for (size_t i = 0; i < n && !feed->given; i++)
            flow_make(&feed->maker, &records[i], now_ms);
        r = send_batch(feed, codec, records, n);
        feed->made += n;
        if (feed->pace_ms)
            pause_ms(feed->pace_ms);
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
                 "\"feed_cpu_s\":%.3f,\"payload_bytes\":%" PRIu64 ",\"ipfix_bytes\":%" PRIu64 "}\n",
                 feed->made, left, made_s, stored_s, cpu_s() - start_cpu, feed->bytes,
                 feed->ipfix_bytes);
    return error_trace(r);
}

int main(int argc, char **argv) {
    if (argc < 7 || argc > 9) {
        (void)fprintf(stderr, "usage: feed DATA EVENTS KEY_Z85 FLOWS FLOWS_A_BATCH all|v9 "
                              "[FOLDER [MS]]\n");
        return 2;
    }
    Feed feed = {.maker = flow_maker(strcmp(argv[6], "all") == 0)};
    const bool made_up = argc <= 7 || strcmp(argv[7], "-") == 0;
    FlowBatch *given = made_up ? NULL : segments_load(argv[7]);
    if (!made_up && !given) {
        (void)fprintf(stderr, "feed: no flows below %s\n", argv[7]);
        return 1;
    }
    if (given && !feed.maker.all_fields)
        segments_only_v9(given);
    feed.given = given;
    feed.pace_ms = argc > 8 ? (unsigned)strtoul(argv[8], NULL, 10) : 0;
    Reason reason = {0};
    ProbeLinkConfig config = {
        .endpoint = argv[1],
        .events_endpoint = argv[2],
        .server_z85 = argv[3],
        .hello_json = "{\"name\":\"feed\",\"version\":\"bench\",\"interfaces\":[\"feed\"]}",
        .on_change = on_change,
    };
    SpoolConfig spool = {.memory_bytes = 2ull * SPOOL_BYTES, .n_hubs = 1, .hubs = {1}};
    int r = spool_new(&feed.spool, &spool, &reason);
    if (!r)
        r = key_pair_make(&config.keys);
    config.spool = owner_for_link(feed.spool);
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
