/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What reading exported datagrams costs, without any network: a load (bench/load.h) given to the
 * collector again and again, the checksum of every record that comes out compared with what was put
 * in.
 *
 *     decode 5|9|10|sflow [FLOWS [ROUNDS]]
 */

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "collect/collect.h"
#include "load.h"

typedef struct Sink {
    bool sums;
    CollectChecksum checksum;
    uint64_t flows;
} Sink;

static void take(void *userdata, CollectRecord *record) {
    Sink *sink = userdata;
    sink->flows++;
    if (sink->sums)
        collect_checksum_add(&sink->checksum, record);
}

static double cpu_s(void) {
    struct timespec at;
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &at);
    return (double)at.tv_sec + (double)at.tv_nsec / 1e9;
}

static int run(const Load *load, unsigned rounds, bool sums) {
    MetricValue counters[_COLLECT_COUNT_N] = {0};
    Sink sink = {.sums = sums};
    Collector *collector = NULL;
    const CollectConfig config = {.counters = counters, .record = take, .userdata = &sink};
    const CollectSource source = {.address = {.family = 4, .bytes = {192, 0, 2, 1}},
                                  .port = 2055,
                                  .received_ms = UINT64_C(1700000000000)};
    if (collector_new(&collector, &config))
        return 1;
    uint64_t expected = 0;
    uint32_t sequence = 0;
    if (load->definition_bytes)
        (void)collector_take(collector, &source, load->definition, load->definition_bytes);
    const double before = cpu_s();
    for (unsigned round = 0; round < rounds; round++)
        for (size_t i = 0; i < load->n; i++) {
            const LoadDatagram *d = &load->datagrams[i];
            sequence = load_number(load, load->bytes + d->at, d->flows, sequence);
            (void)collector_take(collector, &source, load->bytes + d->at, d->size);
            expected += d->checksum;
        }
    const double cpu = cpu_s() - before;
    const bool same = !sums || expected == sink.checksum.sum;
    (void)printf("%s: %" PRIu64 " flows, %.1f ns a flow, checksum %s\n",
                 sums ? "with checksum" : "read only", sink.flows, cpu / (double)sink.flows * 1e9,
                 !sums  ? "not made"
                 : same ? "right"
                        : "WRONG");
    collector_free(collector);
    return !same;
}

int main(int argc, char **argv) {
    const LoadKind kind = argc > 1 ? load_kind(argv[1]) : 0;
    if (!kind) {
        (void)fprintf(stderr, "usage: %s 5|9|10|sflow [FLOWS [ROUNDS]]\n", argv[0]);
        return 2;
    }
    const LoadConfig config = {.kind = kind,
                               .flows = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 10) : 100000,
                               .seed = 1,
                               .time_s = 1700000000};
    const unsigned rounds = argc > 3 ? (unsigned)strtoul(argv[3], NULL, 10) : 50;
    Load load;
    if (config.flows == 0 || load_make(&load, &config))
        return 1;
    int failed = 0;
    for (int i = 0; i < 4; i++)
        failed |= run(&load, rounds, i & 1);
    load_deinit(&load);
    return failed;
}
