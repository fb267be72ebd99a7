/* SPDX-License-Identifier: Apache-2.0 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "hub/exporters.h"

#define NOW UINT64_C(1700000000000)

static const PeerKey key = {"0123456789012345678901234567890123456789"};

/* as a probe reports it, whose clock is an hour behind */
static void take(Exporters *exporters, const char *text, uint64_t at_ms) {
    json_t *report = json_loads(text, 0, NULL);
    assert_non_null(report);
    exporters_take(exporters, &key, report, at_ms - 3600000, at_ms);
    json_decref(report);
}

typedef struct Found {
    ExporterState state;
    ExporterSum sum;
    char text[160];
    uint64_t id;
    uint64_t now_ms;
    bool there;
    size_t n;
} Found;

static void look(void *context, Exporter *exporter) {
    Found *found = context;
    found->n++;
    found->id = exporter->id;
    found->sum = exporter_sum(exporter, found->now_ms);
    found->state = exporter_state(exporter, &found->sum, found->there, found->now_ms, found->text,
                                  sizeof(found->text));
}

static Found find(Exporters *exporters, uint64_t now_ms, bool there) {
    Found found = {.now_ms = now_ms, .there = there};
    exporters_each(exporters, look, &found);
    return found;
}

static void report(Exporters *exporters, uint64_t at_ms, unsigned flows, unsigned lost) {
    char text[400];
    (void)snprintf(text, sizeof(text),
                   "{\"rows\":[{\"id\":1,\"ip\":\"192.0.2.1\",\"version\":5,\"first_ms\":%llu,"
                   "\"last_ms\":%llu,\"datagrams\":%u,\"flows\":%u,\"sent\":%u,\"decoded\":%u,"
                   "\"lost\":%u}]}",
                   (unsigned long long)(NOW - 3600000), (unsigned long long)(at_ms - 3600000),
                   flows, flows, flows + lost, flows, lost);
    take(exporters, text, at_ms);
}

static void test_states(void **state) {
    (void)state;
    cleanup(exporters_freep) Exporters *exporters = NULL;
    assert_int_equal(exporters_new(&exporters), 0);
    for (unsigned s = 0; s <= 120; s++)
        report(exporters, NOW + s * 1000, s * 10, s >= 100 ? 7 : 0);
    Found found = find(exporters, NOW + 120000, true);
    assert_int_equal(found.state, EXPORTER_ATTENTION);
    assert_string_equal(found.text, "7 of the last minute not decoded");
    assert_true(found.sum.flows_per_s > 9 && found.sum.flows_per_s < 11);
    assert_int_equal(found.sum.last_ms, NOW + 120000); /* by the hub's clock */
    /* it stops */
    found = find(exporters, NOW + 179999, true);
    assert_int_not_equal(found.state, EXPORTER_SILENT);
    found = find(exporters, NOW + 180000, true);
    assert_int_equal(found.state, EXPORTER_SILENT);
    assert_non_null(strstr(found.text, "no datagram for 60 s"));
    assert_true(find(exporters, NOW + 190000, true).sum.flows_per_s == 0);
    assert_int_equal(find(exporters, NOW + 190000, false).state, EXPORTER_UNKNOWN);
    /* and sends again, well */
    for (unsigned s = 200; s <= 300; s++)
        report(exporters, NOW + s * 1000, s * 10, 7);
    assert_int_equal(find(exporters, NOW + 300000, true).state, EXPORTER_SENDING);
    exporters_forget(exporters, &key);
    assert_int_equal(find(exporters, NOW, true).n, 0);
}

static void interface(Exporters *exporters, uint64_t at_ms, unsigned run, unsigned sample,
                      unsigned long long octets, unsigned long long errors) {
    char text[400];
    (void)snprintf(
        text, sizeof(text),
        "{\"interfaces\":[[\"192.0.2.1\",0,7,%llu,%u,%u,0,1000,3,%llu,10,0,%llu,0,0,0,0]]}",
        (unsigned long long)(at_ms - 3600000), run, sample, octets, errors);
    take(exporters, text, at_ms);
}

static void test_counters(void **state) {
    (void)state;
    cleanup(exporters_freep) Exporters *exporters = NULL;
    StoreCounter rows[8];
    uint64_t lost = 0;
    assert_int_equal(exporters_new(&exporters), 0);
    interface(exporters, NOW, 1, 1, 500, 4294967290);
    assert_int_equal(exporters_pending(exporters, rows, 8, &lost), 0);
    interface(exporters, NOW + 20000, 1, 2, 700, 4);
    interface(exporters, NOW + 20000, 1, 2, 700, 4);  /* told twice */
    interface(exporters, NOW + 80000, 1, 5, 1000, 4); /* two did not come */
    interface(exporters, NOW + 100000, 2, 6, 30, 0);  /* began anew */
    interface(exporters, NOW + 120000, 2, 7, 100, 0);
    assert_int_equal(exporters_pending(exporters, rows, 8, &lost), 3);
    assert_int_equal(lost, 0);
    assert_int_equal(rows[0].grown[0], 200);
    assert_int_equal(rows[0].grown[3], 10); /* 32 bits went round */
    assert_int_equal(rows[0].ms, 20000);
    assert_int_equal(rows[0].at_ms, NOW + 20000);
    assert_int_equal(rows[1].grown[0], 300);
    assert_int_equal(rows[1].ms, 60000);
    assert_int_equal(rows[2].grown[0], 70);
    assert_int_equal(exporters_pending(exporters, rows, 8, &lost), 0);
}

/* whatever a probe says, it is bounded and does no harm */
static void test_lies(void **state) {
    (void)state;
    cleanup(exporters_freep) Exporters *exporters = NULL;
    assert_int_equal(exporters_new(&exporters), 0);
    static const char *const reports[] = {
        "{}",
        "[]",
        "{\"rows\":7,\"names\":{},\"interfaces\":\"x\"}",
        "{\"rows\":[7,{},{\"ip\":7},{\"ip\":\"192.0.2.300\"}]}",
        "{\"rows\":[{\"ip\":\"192.0.2.1\",\"version\":-1,\"sent\":-5,\"last_ms\":1e300,"
        "\"first_ms\":9223372036854775807,\"name\":7,\"site\":[]}]}",
        "{\"names\":[[],[1,2,3,4],[\"192.0.2.1\",\"interface\",-1,\"x\"],[\"192.0.2.1\","
        "\"nothing\","
        "1,\"x\"],[\"192.0.2.1\",\"vrf\",1,7]]}",
        "{\"interfaces\":[[],[\"192.0.2.1\"],7,[\"192.0.2.1\",\"a\",\"b\",1,1,1,1,1,1,1,1,1,1,1,1,"
        "1,1,1]]}",
    };
    for (size_t i = 0; i < sizeof(reports) / sizeof(*reports); i++)
        take(exporters, reports[i], NOW);
    assert_int_equal(find(exporters, NOW, true).n, 1);
    char text[200];
    for (unsigned i = 0; i < EXPORTERS_DOMAINS_MAX + 10; i++) {
        (void)snprintf(text, sizeof(text),
                       "{\"rows\":[{\"ip\":\"192.0.2.1\",\"version\":10,\"domain\":%u}]}", i);
        take(exporters, text, NOW);
    }
    const Found found = find(exporters, NOW, true);
    Exporter *exporter = exporters_lock(exporters, found.id);
    assert_non_null(exporter);
    assert_int_equal(exporter->n_domains, EXPORTERS_DOMAINS_MAX);
    exporters_unlock(exporters);
    for (unsigned i = 0; i < EXPORTERS_OF_PROBE_MAX + 100; i++) {
        (void)snprintf(text, sizeof(text), "{\"rows\":[{\"ip\":\"10.%u.%u.%u\",\"version\":9}]}",
                       i >> 16, i >> 8 & 255, i & 255);
        take(exporters, text, NOW);
    }
    assert_int_equal(find(exporters, NOW, true).n, EXPORTERS_OF_PROBE_MAX);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_states),
        cmocka_unit_test(test_counters),
        cmocka_unit_test(test_lies),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
