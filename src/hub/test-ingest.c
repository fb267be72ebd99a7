/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The hub's pipeline with nothing replaced: a probe's link on loopback, the hub's link, ingest and
 * the store; and batches that no real probe would send.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <dirent.h>
#include <ftw.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/crc32c.h"
#include "channel/probe_link.h"
#include "codec/batch.h"
#include "hub/ingest.h"
#include "hub/live.h"
#include "hub/metrics.h"
#include "hub/probes.h"
#include "store/store.h"

enum { BATCHES_MAX = 64 };

typedef struct Bench {
    char folder[64];
    Store *store;
    Live *live;
    Probes *probes;
    Ingest *ingest;
    HubLink *hub;
    ProbeLink *probe;
    KeyPair probe_keys;
    MetricValue metrics[_HUB_METRIC_N];
    /* the probe's spool: batches by sequence */
    Buffer batches[BATCHES_MAX];
    uint64_t n;
    BatchCounts totals;
} Bench;

static int load(void *spool, const EpochId *epoch, uint64_t sequence, DeliveryBatch *batch) {
    (void)spool, (void)epoch, (void)sequence, (void)batch;
    return DELIVERY_E_UNKNOWN; /* there are never so many that the link would ask */
}

static void give_back(void *bytes, void *owner) {
    (void)owner;
    free(bytes);
}

static int fetch(void *spool, const EpochId *epoch, uint64_t sequence, size_t size,
                 ProbeLinkBytes *lent) {
    (void)epoch;
    const Bench *bench = spool;
    void *copy = malloc(size);
    if (!copy)
        return DELIVERY_E_LATER;
    memcpy(copy, bench->batches[sequence - 1].bytes, size);
    *lent = (ProbeLinkBytes){copy, crc32c(0, copy, size), NULL, give_back};
    return 0;
}

static void release(void *spool, const EpochId *epoch, uint64_t last, const BatchCounts *totals) {
    (void)spool, (void)epoch, (void)last, (void)totals;
}

static int bench_setup(void **state) {
    Bench *bench = calloc(1, sizeof(*bench));
    assert_non_null(bench);
    Reason reason = {0};
    (void)snprintf(bench->folder, sizeof(bench->folder), "/tmp/weir-test-ingest-XXXXXX");
    assert_non_null(mkdtemp(bench->folder));
    char path[128];
    (void)snprintf(path, sizeof(path), "%s/store", bench->folder);
    const StoreConfig store = {.dir = path, .memory_limit_bytes = 256 << 20};
    assert_int_equal(store_open(&bench->store, &store, &reason), 0);
    assert_int_equal(live_new(&bench->live), 0);
    assert_int_equal(probes_new(&bench->probes), 0);
    const IngestConfig ingest = {.store = bench->store,
                                 .live = bench->live,
                                 .probes = bench->probes,
                                 .data_dir = bench->folder,
                                 .metrics = bench->metrics};
    assert_int_equal(ingest_new(&bench->ingest, &ingest), 0);

    const HubInterfaceConfig interface = {.endpoint = "tcp://127.0.0.1:*c",
                                          .events = "tcp://127.0.0.1:*"};
    HubLinkConfig hub = {.interfaces = &interface,
                         .n_interfaces = 1,
                         .on_batch = ingest_take,
                         .userdata = bench->ingest};
    assert_int_equal(key_pair_make(&hub.keys), 0);
    assert_int_equal(key_pair_make(&bench->probe_keys), 0);
    PeerKey key = {0};
    memcpy(key.z85, bench->probe_keys.public_z85, sizeof(key.z85));
    assert_non_null(probes_lock_new(bench->probes, &key));
    probes_unlock(bench->probes);
    assert_int_equal(hub_link_new(&bench->hub, &hub, &reason), 0);
    assert_int_equal(ingest_start(bench->ingest, bench->hub), 0);
    assert_int_equal(hub_link_start(bench->hub, &reason), 0);
    HubInterfaceStatus status;
    assert_true(hub_link_interface(bench->hub, 0, &status));

    const ProbeLinkConfig probe = {.endpoint = status.endpoint,
                                   .events_endpoint = status.events,
                                   .server_z85 = hub.keys.public_z85,
                                   .keys = bench->probe_keys,
                                   .hello_json = "{\"name\":\"test\"}",
                                   .spool = {bench, load, release, fetch, NULL}};
    assert_int_equal(probe_link_new(&bench->probe, &probe, &reason), 0);
    *state = bench;
    return 0;
}

static int unlink_one(const char *path, const struct stat *status, int kind, struct FTW *at) {
    (void)status;
    (void)kind;
    (void)at;
    return remove(path);
}

static int bench_teardown(void **state) {
    Bench *bench = *state;
    probe_link_free(bench->probe);
    ingest_stop(bench->ingest);
    hub_link_free(bench->hub);
    ingest_free(bench->ingest);
    store_close(bench->store);
    live_free(bench->live);
    probes_free(bench->probes);
    for (size_t i = 0; i < BATCHES_MAX; i++)
        buffer_deinit(&bench->batches[i]);
    (void)nftw(bench->folder, unlink_one, 8, FTW_DEPTH | FTW_PHYS);
    free(bench);
    return 0;
}

static void submit(Bench *bench, const BatchCounts *counts) {
    DeliveryBatch batch = {.epoch = {.bytes = {1}},
                           .bytes = (uint32_t)bench->batches[bench->n].size,
                           .counts = *counts};
    batch.first = batch.last = ++bench->n;
    batch.totals = bench->totals = batch_counts_add(bench->totals, *counts);
    assert_int_equal(probe_link_submit(bench->probe, &batch), 0);
}

/* a batch of n flows as a probe makes it, its counts */
static BatchCounts encode(Buffer *to, uint64_t first, size_t n) {
    cleanup(batch_codec_freep) BatchCodec *codec = NULL;
    cleanup(flow_batch_freep) FlowBatch *flows = NULL;
    BatchCounts counts = {0};
    size_t taken = 0;
    assert_int_equal(batch_codec_new(&codec), 0);
    assert_int_equal(flow_batch_new(&flows, n), 0);
    for (size_t i = 0; i < n; i++) {
        FlowRecord *record = flow_batch_add(flows);
        record->src_ip = net_address_v4((const uint8_t[4]){10, 0, 0, 1});
        record->dst_ip = net_address_v4((const uint8_t[4]){10, 0, 0, 2});
        record->first_ms = 1700000000000 + first + i;
        record->last_ms = record->first_ms + 10;
        record->octets = 100;
        record->packets = 1;
        record->flow_id = first + i;
    }
    assert_int_equal(batch_encode(codec, to, flows->records, n, 1700000000000, &taken, &counts), 0);
    assert_int_equal(taken, n);
    return counts;
}

static void send_flows(Bench *bench, uint64_t first, size_t n) {
    const BatchCounts counts = encode(&bench->batches[bench->n], first, n);
    submit(bench, &counts);
}

static void drain(Bench *bench) {
    uint64_t left = 0;
    const int r = probe_link_drain(bench->probe, 15000, &left);
    if (r)
        fail_msg("%lu flows left", (unsigned long)left);
}

/* each stored flow id is there once; how many */
static size_t stored(Bench *bench) {
    Reason reason = {0};
    const QueryPlan plan = {.kind = QUERY_FLOWS,
                            .to_ms = UINT64_MAX >> 2,
                            .sort = FLOW_FLOW_ID,
                            .ascending = true,
                            .limit = 10000};
    const StoreBudget budget = {.timeout_ms = 10000};
    StoreResult *result = NULL;
    assert_int_equal(store_query(bench->store, &plan, &budget, &result, &reason), 0);
    const size_t n = result->flows->n;
    for (size_t i = 0; i < n; i++) {
        const FlowRecord *record = &result->flows->records[i];
        assert_true(i == 0 || record->flow_id > record[-1].flow_id);
        assert_int_equal(record->probe, 1);
        assert_int_equal(record->interface, 1);
        assert_true(record->received_ms > 0);
    }
    store_result_free(result);
    return n;
}

static size_t quarantined(const Bench *bench) {
    char path[128];
    (void)snprintf(path, sizeof(path), "%s/quarantine", bench->folder);
    DIR *dir = opendir(path);
    size_t n = 0;
    for (const struct dirent *entry; dir && (entry = readdir(dir));)
        n += entry->d_name[0] != '.';
    if (dir)
        (void)closedir(dir);
    return n;
}

static void test_stored(void **state) {
    Bench *bench = *state;
    for (unsigned i = 0; i < 20; i++)
        send_flows(bench, i * 100 + 1, 100);
    drain(bench);
    assert_int_equal(stored(bench), 2000);
    assert_int_equal(metric_get(&bench->metrics[HUB_METRIC_FLOWS_STORED]), 2000);
    assert_int_equal(quarantined(bench), 0);
    assert_true(ingest_last_flow_ms(bench->ingest, 0) > 0);
}

/* what cannot be decoded is kept aside, counted and acknowledged; nothing behind it waits */
static void test_undecodable(void **state) {
    Bench *bench = *state;
    send_flows(bench, 1, 10);

    const BatchCounts claimed = {.flows = 7, .packets = 70, .octets = 700};
    buffer_put_text(&bench->batches[bench->n], "this is no batch");
    submit(bench, &claimed);

    /* sound, but with fewer flows than announced */
    BatchCounts counts = encode(&bench->batches[bench->n], 1000, 5);
    counts.flows = 6;
    submit(bench, &counts);

    /* cut in the middle */
    counts = encode(&bench->batches[bench->n], 2000, 50);
    bench->batches[bench->n].size /= 2;
    submit(bench, &counts);

    send_flows(bench, 11, 10);
    drain(bench);
    assert_int_equal(stored(bench), 20);
    assert_int_equal(quarantined(bench), 3);
    assert_int_equal(metric_get(&bench->metrics[HUB_METRIC_BATCHES_UNDECODABLE]), 3);
    assert_int_equal(metric_get(&bench->metrics[HUB_METRIC_FLOWS_UNDECODABLE]), 7 + 6 + 50);
    PeerKey key = {0};
    memcpy(key.z85, bench->probe_keys.public_z85, sizeof(key.z85));
    const Probe *probe = probes_lock(bench->probes, &key);
    assert_int_equal(probe->undecodable.flows, 7 + 6 + 50);
    assert_int_equal(probe->flows_stored, 20);
    probes_unlock(bench->probes);
}

/* a clock that is far ahead does not put flows into a future that no question reaches */
static void test_future(void **state) {
    Bench *bench = *state;
    send_flows(bench, 4000000000000, 3);
    drain(bench);
    Reason reason = {0};
    const QueryPlan plan = {.kind = QUERY_TOTALS, .to_ms = UINT64_MAX >> 2};
    const StoreBudget budget = {.timeout_ms = 10000};
    StoreResult *result = NULL;
    assert_int_equal(store_query(bench->store, &plan, &budget, &result, &reason), 0);
    assert_int_equal(result->rows[0].flows, 3);
    assert_true(result->rows[0].last_ms <= ingest_last_flow_ms(bench->ingest, 0));
    store_result_free(result);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_stored, bench_setup, bench_teardown),
        cmocka_unit_test_setup_teardown(test_undecodable, bench_setup, bench_teardown),
        cmocka_unit_test_setup_teardown(test_future, bench_setup, bench_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
