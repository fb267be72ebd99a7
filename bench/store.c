/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Measures the store: CPU and bytes a flow on the way in, seconds a question afterwards.
 *
 * usage: bench-store [--v9] [FLOWS [FLOWS_A_GROUP [FOLDER]]]
 */

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "flow/field.h"
#include "query/filter.h"
#include "store/store.h"

enum {
    LOCAL_HOSTS = 30000,
    REMOTE_HOSTS = 200000,
    NAMES = 50000,
    NAME_BYTES = 40,
    DAY_MS = 86400000,
};
#define START_MS 1700006400000ull

static uint64_t random_state = 42;
static char (*names)[NAME_BYTES];
static const char *const apps[] = {"TLS",  "DNS",         "TLS.Google", "QUIC.YouTube",  "HTTP",
                                   "SSH",  "TLS.Amazon",  "NTP",        "TLS.Microsoft", "SMTP",
                                   "ICMP", "TLS.Netflix", "QUIC",       "TLS.Facebook",  "MQTT"};
static const uint16_t ports[] = {443, 53, 443, 443, 80,  22,  443, 123,
                                 443, 25, 0,   443, 443, 443, 1883};

static uint64_t rnd(void) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state * 0x2545f4914f6cdd1du;
}

/** zipf() - 0 to n - 1, the small ones far more often */
static uint32_t zipf(uint32_t n) {
    double u = (double)(rnd() >> 11) / 9007199254740992.0;
    return (uint32_t)pow((double)n, u) - 1;
}

static NetAddress host(uint32_t number, bool local, bool v6) {
    uint32_t mixed = number * 2654435761u;
    if (v6)
        return net_address_v6((const uint8_t[16]){
            0x20, 0x01, local ? 0x0d : 0x04, local ? 0xb8 : 0x10, (uint8_t)(mixed >> 24),
            (uint8_t)(mixed >> 16), [14] = (uint8_t)(number >> 8), [15] = (uint8_t)number});
    if (local)
        return net_address_v4((const uint8_t[4]){10, (uint8_t)(number >> 16),
                                                 (uint8_t)(number >> 8), (uint8_t)number});
    return net_address_v4((const uint8_t[4]){(uint8_t)(20 + (mixed >> 24) % 200),
                                             (uint8_t)(mixed >> 16), (uint8_t)(mixed >> 8),
                                             (uint8_t)number});
}

static void make_flow(FlowRecord *r, uint64_t i, uint64_t flows, bool v9) {
    uint64_t random = rnd();
    bool v6 = random % 100 < 15;
    size_t app = zipf(sizeof(apps) / sizeof(apps[0]));
    r->last_ms = START_MS + i * DAY_MS / flows + random % 1000;
    r->first_ms = r->last_ms - (random >> 8) % 30000;
    r->received_ms = r->last_ms + 200 + (random >> 20) % 2000;
    r->src_ip = host(zipf(LOCAL_HOSTS), true, v6);
    r->dst_ip = host(zipf(REMOTE_HOSTS), false, v6);
    r->src_port = (uint16_t)(32768 + (random >> 24) % 28000);
    r->dst_port = ports[app];
    r->protocol = app == 1 || app == 3 || app == 12 || app == 7 ? 17 : app == 10 ? 1 : 6;
    r->packets = 1 + zipf(2000);
    r->octets = r->packets * (60 + (random >> 30) % 400);
    r->rev_packets = 1 + zipf(4000);
    r->rev_octets = r->rev_packets * (60 + (random >> 34) % 1400);
    r->tcp_flags = r->protocol == 6 ? 0x1b : 0;
    r->rev_tcp_flags = r->tcp_flags;
    r->end_reason = (uint8_t)(1 + (random >> 40) % 3);
    r->probe = (uint32_t)(1 + (random >> 44) % 4);
    r->input_if = (uint32_t)(1 + (random >> 46) % 4);
    r->output_if = (uint32_t)(1 + (random >> 48) % 4);
    if (v9)
        return;
    uint32_t name = zipf(NAMES);
    r->app_id = (uint16_t)(app * 13);
    r->app_master_id = app % 2 ? 91 : 0;
    r->app_name = (FlowText){.text = apps[app], .size = (uint32_t)strlen(apps[app])};
    r->app_category = (FlowText){.text = app % 3 ? "Web" : "Network", .size = app % 3 ? 3 : 7};
    r->app_confidence = 6;
    r->app_risk = (random >> 50) % 20 ? 0 : 1ull << ((random >> 55) % 50);
    r->app_risk_score = r->app_risk ? 100 : 0;
    r->server_name = (FlowText){.text = names[name], .size = (uint32_t)strlen(names[name])};
    r->flow_id = rnd();
    r->biflow_direction = 1;
    r->l2_octets = r->octets + r->packets * 14;
    r->rev_l2_octets = r->rev_octets + r->rev_packets * 14;
    r->src_mac = (FlowMac){{2, 0, 0, 0, (uint8_t)(name >> 8 & 7), (uint8_t)name}};
    r->dst_mac = (FlowMac){{2, 0, 0, 0, 0, 1}};
}

static double cpu_s(clockid_t clock) {
    struct timespec t = {0};
    (void)clock_gettime(clock, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double wall_s(void) {
    return (double)clock_monotonic_ns() / 1e9;
}

static void must(int r, const Reason *reason, const char *what) {
    if (!r)
        return;
    (void)fprintf(stderr, "%s answered %d: %s\n", what, r, reason->text);
    exit(1);
}

static void fill_store(Store *store, uint64_t flows, size_t group_rows, bool v9) {
    FlowBatch *batch = NULL;
    Reason reason = {0};
    double making_s = 0;
    double worst_s = 0;
    must(flow_batch_new(&batch, group_rows), &reason, "batch");
    double start_cpu_s = cpu_s(CLOCK_PROCESS_CPUTIME_ID);
    double start_s = wall_s();
    for (uint64_t i = 0; i < flows;) {
        double before_s = cpu_s(CLOCK_THREAD_CPUTIME_ID);
        flow_batch_clear(batch);
        while (batch->n < group_rows && i < flows)
            make_flow(flow_batch_add(batch), i++, flows, v9);
        making_s += cpu_s(CLOCK_THREAD_CPUTIME_ID) - before_s;
        StoreCursor cursor = {.key = {1}, .sequence = i};
        const FlowBatch *batches[] = {batch};
        StoreGroup group = {.batches = batches,
                            .batch_n = 1,
                            .cursors = &cursor,
                            .cursor_n = 1,
                            .now_ms = batch->records[batch->n - 1].received_ms};
        double append_s = wall_s();
        must(store_append(store, &group, &reason), &reason, "append");
        append_s = wall_s() - append_s;
        worst_s = append_s > worst_s ? append_s : worst_s;
    }
    (void)store_checkpoint(store, NULL);
    double took_s = wall_s() - start_s;
    double took_cpu_s = cpu_s(CLOCK_PROCESS_CPUTIME_ID) - start_cpu_s - making_s;
    StoreStatus status;
    store_status(store, &status);
    (void)printf(
        "stored %" PRIu64 " flows in groups of %zu: %.0f flows/s, CPU %.2f us a flow (making"
        " them %.2f us left out), %.1f bytes a flow, worst append %.0f ms, %" PRIu64 " segments\n",
        flows, group_rows, (double)flows / took_s, took_cpu_s / (double)flows * 1e6,
        making_s / (double)flows * 1e6, (double)status.file_bytes / (double)flows, worst_s * 1e3,
        status.segments);
    flow_batch_free(batch);
}

static void ask(Store *store, const char *what, QueryPlan plan, const char *filter_text) {
    Reason reason = {0};
    QueryFilter *filter = NULL;
    must(query_filter_new(&filter, filter_text, &reason), &reason, filter_text);
    plan.filter = filter;
    double best_s = 1e9;
    double best_cpu_s = 1e9; /* what counts when the machine is shared */
    size_t rows = 0;
    for (int run = 0; run < 3; run++) {
        StoreResult *result = NULL;
        StoreBudget budget = {.timeout_ms = 120000};
        double start_s = wall_s();
        double start_cpu_s = cpu_s(CLOCK_PROCESS_CPUTIME_ID);
        must(store_query(store, &plan, &budget, &result, &reason), &reason, what);
        double took_s = wall_s() - start_s;
        double took_cpu_s = cpu_s(CLOCK_PROCESS_CPUTIME_ID) - start_cpu_s;
        best_s = took_s < best_s ? took_s : best_s;
        best_cpu_s = took_cpu_s < best_cpu_s ? took_cpu_s : best_cpu_s;
        rows = result->flows ? result->flows->n : result->row_n;
        store_result_free(result);
    }
    (void)printf("%-46s %7.3f s, CPU %7.3f s  %6zu rows\n", what, best_s, best_cpu_s, rows);
    query_filter_free(filter);
}

static void ask_all(Store *store) {
    QueryPlan top = {.kind = QUERY_TOP,
                     .from_ms = START_MS,
                     .to_ms = START_MS + 2ull * DAY_MS,
                     .limit = 10,
                     .group = {FLOW_SRC_IP},
                     .group_n = 1};
    ask(store, "top 10 sources, day", top, "");
    QueryPlan hour = top;
    hour.from_ms = START_MS + 12ull * 3600000;
    hour.to_ms = hour.from_ms + 3600000;
    ask(store, "top 10 sources, hour", hour, "");
    top.group[0] = QUERY_FIELD_IP;
    ask(store, "top 10 hosts on either side, day", top, "");
    top.group[0] = FLOW_APP_NAME;
    ask(store, "top 10 applications, day", top, "");
    QueryPlan series = {.kind = QUERY_SERIES,
                        .from_ms = START_MS,
                        .to_ms = START_MS + DAY_MS,
                        .limit = 10,
                        .group = {FLOW_APP_NAME},
                        .group_n = 1,
                        .step_ms = 60000};
    ask(store, "application by minute, day", series, "");
    QueryPlan totals = {
        .kind = QUERY_TOTALS, .from_ms = START_MS, .to_ms = START_MS + 2ull * DAY_MS};
    ask(store, "totals, day", totals, "");
    ask(store, "totals of one address, day", totals, "ip = 10.0.0.200");
    ask(store, "totals of one prefix, day", totals, "ip in 10.0.64.0/24");
    QueryPlan list = {.kind = QUERY_FLOWS,
                      .from_ms = START_MS,
                      .to_ms = START_MS + 2ull * DAY_MS,
                      .sort = FLOW_LAST_MS,
                      .limit = 100};
    ask(store, "newest 100 flows, day", list, "");
    ask(store, "newest 100 flows of one address, day", list, "ip = 10.0.0.200");
    list.sort = QUERY_FIELD_BYTES;
    ask(store, "largest 100 flows, day", list, "");
    ask(store, "largest 100 flows with a name like it, day", list, "server_name ~ host777");
}

int main(int argc, char **argv) {
    bool v9 = argc > 1 && strcmp(argv[1], "--v9") == 0;
    argc -= v9;
    argv += v9;
    uint64_t flows = argc > 1 ? strtoull(argv[1], NULL, 10) : 4000000; /* 0: only ask */
    size_t group_rows = argc > 2 ? strtoull(argv[2], NULL, 10) : STORE_GROUP_ROWS;
    char made[] = "/tmp/weir-bench-store-XXXXXX";
    StoreConfig config = {.dir = argc > 3 ? argv[3] : mkdtemp(made)};
    names = calloc(NAMES, sizeof(*names));
    if (!group_rows || !config.dir || !names) {
        (void)fprintf(stderr, "usage: bench-store [--v9] [FLOWS [FLOWS_A_GROUP [FOLDER]]]\n");
        return 2;
    }
    for (uint32_t i = 0; i < NAMES; i++)
        (void)snprintf(names[i], sizeof(names[i]), "%s%" PRIu32 ".site%" PRIu32 ".example.com",
                       i % 3 ? "www.host" : "api-host", i, i % 977);
    Store *store = NULL;
    Reason reason = {0};
    must(store_open(&store, &config, &reason), &reason, "open");
    if (flows)
        fill_store(store, flows, group_rows, v9);
    ask_all(store);
    store_close(store);
    free(names);
    if (argc <= 3)
        (void)printf("the store is in %s\n", config.dir);
    return 0;
}
