/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What delivery costs: IPFIX messages of made-up flows go through a spool on a disk (its thread
 * commits every 200 ms), the channel with CURVE, and back come the acknowledgements that free the
 * spool. With zstd, each is compressed before and decompressed behind. The hub, a process of its
 * own, stores nothing: it acknowledges each 10 ms what came. Sums are of both whole processes.
 *
 * Up to 4 MB wait to be stored: what is sent still lies in the probe's memory. `behind`: up to 64
 * MB, so most of it is read back from the disk.
 *
 *     deliver FOLDER plain|zstd v9|all MEGABYTES [behind]
 */

#include <errno.h>
#include <inttypes.h>
#include <malloc.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <zstd.h>

#pragma GCC diagnostic ignored "-Wunused-function" /* the harness has more than this needs */
#include "base/buffer.h"
#include "channel/link-harness.h"
#include "codec/ipfix.h"
#include "flows.h"
#include "spool/spool.h"
#include "spool_owner.h"

enum {
    MESSAGES = 16, /* different ones, 1 MB: in the cache, as what was just encoded */
    FLOWS_EACH = 2000,
    WAITING_BYTES_MAX = 4 << 20, /* of the spool */
    BEHIND_BYTES_MAX = 64 << 20,
    QUEUE = 65536,
    ACK_MS = 10,
    PAUSE_MS = 10,
    DRAIN_MS = 120000,
    LEVEL = 1,                  /* as codec/batch.c */
    HUB_TRIM_BYTES = 16 << 20,  /* as weir-hub */
    PROBE_TRIM_BYTES = 4 << 20, /* as weir-probe */
};

typedef struct Message {
    Buffer bytes;
    BatchCounts counts;
} Message;

static double cpu_s(const struct rusage *usage) {
    return (double)(usage->ru_utime.tv_sec + usage->ru_stime.tv_sec) +
           (double)(usage->ru_utime.tv_usec + usage->ru_stime.tv_usec) / 1e6;
}

/* ---------------------------------------------------------------------------------------- hub */

static bool take(void *userdata, HubBatch *batch) {
    return queue_push(userdata, batch);
}

static void decompress(ZSTD_DCtx *context, const HubBatch *batch) {
    static uint8_t message[65536];
    HARNESS_CHECK(!ZSTD_isError(
        ZSTD_decompressDCtx(context, message, sizeof(message), batch->payload, batch->size)));
}

static void run_hub(const KeyPair *keys, uint16_t port, bool zstd, int ready_fd) {
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void)mallopt(M_TRIM_THRESHOLD, HUB_TRIM_BYTES);
    char endpoint[64];
    (void)snprintf(endpoint, sizeof(endpoint), "tcp://127.0.0.1:%uc", port);
    HubInterfaceConfig interface = {.endpoint = endpoint};
    Queue *queue = NULL;
    HubLink *link = NULL;
    ZSTD_DCtx *context = ZSTD_createDCtx();
    HARNESS_CHECK(context && queue_new(&queue, QUEUE) == 0);
    HubLinkConfig config = {.interfaces = &interface,
                            .n_interfaces = 1,
                            .keys = *keys,
                            .on_batch = take,
                            .userdata = queue};
    HARNESS_CHECK(hub_link_new(&link, &config, NULL) == 0);
    HARNESS_CHECK(hub_link_start(link, NULL) == 0);
    HARNESS_CHECK(write(ready_fd, "r", 1) == 1);
    for (;;) {
        HubBatch *last = NULL;
        for (HubBatch *batch = queue_pop(queue, 0); batch; batch = queue_pop(queue, 0)) {
            if (zstd)
                decompress(context, batch);
            hub_batch_free(last);
            last = batch;
        }
        if (last)
            hub_link_stored(link, &last->key, &last->epoch, last->last);
        hub_batch_free(last);
        sleep_ms(ACK_MS);
    }
}

/* -------------------------------------------------------------------------------------- probe */

static void make_messages(Message messages[MESSAGES], bool all_fields) {
    static FlowRecord flows[FLOWS_EACH];
    FlowMaker maker = flow_maker(all_fields);
    for (size_t m = 0; m < MESSAGES; m++) {
        memset(flows, 0, sizeof(flows));
        for (size_t i = 0; i < FLOWS_EACH; i++)
            flow_make(&maker, &flows[i], 1795412018000u + m);
        size_t taken = 0;
        HARNESS_CHECK(
            ipfix_encode(&messages[m].bytes, flows, FLOWS_EACH, &taken, 1, 0, 1795412018000u) == 0);
        messages[m].counts.flows = taken;
    }
}

typedef struct Probe {
    Spool *spool;
    ProbeLink *link;
    ZSTD_CCtx *zstd; /* NULL: plain */
    uint64_t sent_bytes, most_waiting;
} Probe;

static void submit(Probe *probe, const Message *message) {
    static uint8_t frame[BATCH_PAYLOAD_MAX_BYTES];
    const void *bytes = message->bytes.bytes;
    size_t size = message->bytes.size;
    if (probe->zstd) {
        size = ZSTD_compress2(probe->zstd, frame, sizeof(frame), bytes, size);
        HARNESS_CHECK(!ZSTD_isError(size));
        bytes = frame;
    }
    SpoolBatch placed;
    HARNESS_CHECK(spool_append(probe->spool, 0, bytes, size, &message->counts, &placed) == 0);
    const DeliveryBatch batch = owner_batch(&placed);
    HARNESS_CHECK(probe_link_submit(probe->link, &batch) == 0);
    probe->sent_bytes += size;
}

/** deliver() - seconds until all of it was acknowledged and is on the disk; *donep is the sum */
static double deliver(Probe *probe, const Message messages[MESSAGES], uint64_t bytes,
                      uint64_t *donep) {
    const uint64_t begun_ns = clock_monotonic_ns();
    for (size_t i = 0; *donep < bytes; i++) {
        const Message *message = &messages[i % MESSAGES];
        submit(probe, message);
        *donep += message->bytes.size;
        for (;;) {
            ProbeLinkStatus status;
            probe_link_status(probe->link, &status);
            if (status.pending_bytes < probe->most_waiting)
                break;
            sleep_ms(PAUSE_MS);
        }
    }
    uint64_t left = 0;
    HARNESS_CHECK(probe_link_drain(probe->link, DRAIN_MS, &left) == 0);
    HARNESS_CHECK(spool_flush(probe->spool) == 0);
    return (double)(clock_monotonic_ns() - begun_ns) / 1e9;
}

static void open_probe(Probe *probe, const char *folder, bool zstd, const KeyPair *hub_keys,
                       uint16_t port) {
    char endpoint[64];
    (void)snprintf(endpoint, sizeof(endpoint), "tcp://127.0.0.1:%u", port);
    SpoolConfig spool = {.folder = folder,
                         .limit_bytes = UINT64_C(8) << 30,
                         .memory_bytes = 1 << 20,
                         .recent_bytes = OWNER_RECENT_BYTES,
                         .n_hubs = 1,
                         .hubs = {1}};
    Reason reason = {0};
    if (spool_new(&probe->spool, &spool, &reason)) {
        (void)fprintf(stderr, "deliver: %s: %s\n", folder, reason.text);
        exit(1);
    }
    if (zstd) {
        probe->zstd = ZSTD_createCCtx();
        HARNESS_CHECK(probe->zstd);
        (void)ZSTD_CCtx_setParameter(probe->zstd, ZSTD_c_compressionLevel, LEVEL);
        (void)ZSTD_CCtx_setParameter(probe->zstd, ZSTD_c_checksumFlag, 1);
    }
    ProbeLinkConfig config = {.endpoint = endpoint,
                              .server_z85 = hub_keys->public_z85,
                              .hello_json = "{}",
                              .spool = owner_for_link(probe->spool)};
    HARNESS_CHECK(key_pair_make(&config.keys) == 0);
    HARNESS_CHECK(probe_link_new(&probe->link, &config, NULL) == 0);
}

int main(int argc, char **argv) {
    if (argc < 5 || argc > 6) {
        (void)fprintf(stderr, "usage: deliver FOLDER plain|zstd v9|all MEGABYTES [behind]\n");
        return 2;
    }
    const bool zstd = strcmp(argv[2], "zstd") == 0;
    static Message messages[MESSAGES];
    KeyPair hub_keys;
    int ready[2];
    HARNESS_CHECK(key_pair_make(&hub_keys) == 0 && pipe(ready) == 0);
    uint16_t port = free_ports();
    pid_t child = fork();
    HARNESS_CHECK(child >= 0);
    if (child == 0)
        run_hub(&hub_keys, port, zstd, ready[1]);
    char byte;
    HARNESS_CHECK(read(ready[0], &byte, 1) == 1);

    (void)mallopt(M_TRIM_THRESHOLD, PROBE_TRIM_BYTES);
    Probe probe = {.most_waiting = argc > 5 ? BEHIND_BYTES_MAX : WAITING_BYTES_MAX};
    make_messages(messages, strcmp(argv[3], "all") == 0);
    open_probe(&probe, argv[1], zstd, &hub_keys, port);
    uint64_t warm = 0, done = 0;
    (void)deliver(&probe, messages, 20000000, &warm);
    probe.sent_bytes = 0;
    struct rusage before, after, hub;
    (void)getrusage(RUSAGE_SELF, &before);
    const double s = deliver(&probe, messages, strtoull(argv[4], NULL, 10) * 1000000, &done);
    (void)getrusage(RUSAGE_SELF, &after);
    ProbeLinkStatus status;
    probe_link_status(probe.link, &status);
    (void)kill(child, SIGKILL);
    HARNESS_CHECK(wait4(child, NULL, 0, &hub) == child);
    const double mb = (double)done / 1e6;
    (void)printf("{\"mb\":%.1f,\"s\":%.3f,\"probe_ms_mb\":%.3f,\"hub_ms_mb\":%.3f,"
                 "\"sent_part\":%.4f,\"resent\":%" PRIu64 "}\n",
                 mb, s, (cpu_s(&after) - cpu_s(&before)) * 1e3 / mb,
                 cpu_s(&hub) * 1e3 / ((double)warm / 1e6 + mb), (double)probe.sent_bytes / mb / 1e6,
                 status.resent_batches);
    probe_link_free(probe.link);
    spool_free(probe.spool);
    return 0;
}
