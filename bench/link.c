/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Bench of the channel: one probe and one hub on loopback, encrypted, stored by a store that only
 * counts. Prints throughput and the CPU of each side's threads a megabyte. The hub runs in a child
 * process, so that the two are told apart.
 *
 *     bench-link [payload bytes] [megabytes]
 */

#include <inttypes.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>

#pragma GCC diagnostic ignored "-Wunused-function" /* the harness has more than this needs */
#include "channel/link-harness.h"

static bool take_and_forget(void *userdata, HubBatch *batch) {
    return queue_push(userdata, batch);
}

typedef struct Sink {
    HubLink *link;
    Queue *queue;
} Sink;

static void run_hub(const KeyPair *keys, uint16_t port, int ready_fd) {
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    char endpoint[64];
    (void)snprintf(endpoint, sizeof(endpoint), "tcp://127.0.0.1:%uc", port);
    HubInterfaceConfig interface = {.endpoint = endpoint};
    Sink sink = {0};
    HARNESS_CHECK(queue_new(&sink.queue, 65536) == 0);
    HubLinkConfig config = {.interfaces = &interface,
                            .n_interfaces = 1,
                            .keys = *keys,
                            .on_batch = take_and_forget,
                            .userdata = sink.queue};
    HARNESS_CHECK(hub_link_new(&sink.link, &config, NULL) == 0);
    HARNESS_CHECK(hub_link_start(sink.link, NULL) == 0);
    HARNESS_CHECK(write(ready_fd, "r", 1) == 1);
    HubBatch *last = NULL;
    for (;;) { /* one "commit" every 10 ms */
        HubBatch *batch = queue_pop(sink.queue, 10);
        while (batch) {
            hub_batch_free(last);
            last = batch;
            batch = queue_pop(sink.queue, 0);
        }
        if (last)
            hub_link_stored(sink.link, &last->key, &last->epoch, last->last);
        sleep_ms(10);
    }
}

static double cpu_s(const struct rusage *usage) {
    return (double)usage->ru_utime.tv_sec + (double)usage->ru_utime.tv_usec / 1e6 +
           (double)usage->ru_stime.tv_sec + (double)usage->ru_stime.tv_usec / 1e6;
}

static double feed(ProbeLink *link, TestSpool *spool, size_t size, uint64_t n) {
    static uint8_t bytes[BATCH_PAYLOAD_MAX_BYTES];
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)(i * 2654435761u >> 7);
    uint64_t begun_ns = clock_monotonic_ns();
    for (uint64_t i = 0; i < n; i++) {
        BatchCounts counts = {size / 30, size, size * 100};
        DeliveryBatch batch = test_spool_append(spool, bytes, size, &counts, false);
        HARNESS_CHECK(probe_link_submit(link, &batch) == 0);
        for (;;) { /* at most 64 MB wait */
            ProbeLinkStatus status;
            probe_link_status(link, &status);
            if (status.pending_bytes < 64u << 20)
                break;
            sleep_ms(1);
        }
    }
    uint64_t left = 0;
    HARNESS_CHECK(probe_link_drain(link, 60000, &left) == 0);
    return (double)(clock_monotonic_ns() - begun_ns) / 1e9;
}

int main(int argc, char **argv) {
    size_t size = argc > 1 ? strtoul(argv[1], NULL, 10) : 50000;
    uint64_t megabytes = argc > 2 ? strtoull(argv[2], NULL, 10) : 2000;
    uint64_t n = megabytes * 1000000 / size;
    HARNESS_CHECK(size <= BATCH_PAYLOAD_MAX_BYTES && n < HARNESS_NUMBERS);
    KeyPair hub_keys, keys;
    int ready[2];
    HARNESS_CHECK(key_pair_make(&hub_keys) == 0 && key_pair_make(&keys) == 0);
    HARNESS_CHECK(pipe(ready) == 0);
    uint16_t port = free_ports();
    pid_t child = fork();
    HARNESS_CHECK(child >= 0);
    if (child == 0)
        run_hub(&hub_keys, port, ready[1]);
    char byte;
    HARNESS_CHECK(read(ready[0], &byte, 1) == 1);

    char endpoint[64];
    (void)snprintf(endpoint, sizeof(endpoint), "tcp://127.0.0.1:%u", port);
    TestSpool *spool = test_spool_new();
    ProbeLinkConfig config = {.endpoint = endpoint,
                              .server_z85 = hub_keys.public_z85,
                              .keys = keys,
                              .spool = test_spool_for_link(spool)};
    ProbeLink *link = NULL;
    HARNESS_CHECK(probe_link_new(&link, &config, NULL) == 0);
    (void)feed(link, spool, size, 100); /* connected and warm */
    struct rusage before, after, hub;
    (void)getrusage(RUSAGE_SELF, &before);
    double s = feed(link, spool, size, n);
    (void)getrusage(RUSAGE_SELF, &after);
    ProbeLinkStatus status;
    probe_link_status(link, &status);
    (void)kill(child, SIGKILL);
    HARNESS_CHECK(wait4(child, NULL, 0, &hub) == child);
    double mb = (double)(n * size) / 1e6;
    (void)printf("%zu-byte payloads: %.0f MB/s; CPU ms/MB probe %.2f, hub %.2f; %" PRIu64
                 " resent\n",
                 size, mb / s, (cpu_s(&after) - cpu_s(&before)) * 1e3 / mb, cpu_s(&hub) * 1e3 / mb,
                 status.resent_batches);
    probe_link_free(link);
    test_spool_free(spool);
    return 0;
}
