/* SPDX-License-Identifier: Apache-2.0 */

/* What a hub sets: taken, refused, kept for the next start; and sampling, which it may set. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "probe/counters.h"
#include "probe/remote.h"
#include "probe/sampler.h"

static char folder[64];

static const Configuration given = {.set = CONFIGURATION_ALL,
                                    .filter = "udp",
                                    .sampling = 1,
                                    .active_s = 60,
                                    .idle_s = 15,
                                    .template = "all"};

static Remote *start(bool refuse) {
    Remote *remote = NULL;
    const RemoteConfig config = {.folder = folder, .given = given, .refuse = refuse};
    assert_int_equal(remote_new(&remote, &config), 0);
    return remote;
}

static bool is_kept(void) {
    char path[128];
    (void)snprintf(path, sizeof(path), "%s/" REMOTE_FILE, folder);
    return access(path, F_OK) == 0;
}

#define SEVEN "{\"version\":7,\"id\":\"0000000000000007\",\"filter\":\"tcp\",\"sampling\":10}"
#define EIGHT "{\"version\":8,\"id\":\"0000000000000008\",\"filter\":\"tcp porl\"}"
#define NONE  "{\"version\":0,\"id\":\"0000000000000000\"}"

static void assert_report(const Remote *remote, uint64_t version, ConfigurationState standing,
                          const char *reason) {
    const ConfigurationReport *report = remote_report(remote);
    assert_int_equal(report->version, version);
    assert_int_equal(report->id, version);
    assert_int_equal(report->state, standing);
    assert_non_null(strstr(report->reason, reason));
    assert_true(configuration_same(&report->given, &given));
}

static void test_taken_and_kept(void **state) {
    (void)state;
    Configuration now;
    Remote *remote = start(false);
    assert_report(remote, 0, CONFIGURATION_NONE, "");
    assert_true(configuration_same(remote_running(remote), &given));
    assert_false(remote_next(remote, &now));
    remote_offer(remote, NONE); /* that is what there is */
    assert_false(remote_next(remote, &now));

    remote_offer(remote, SEVEN);
    remote_offer(remote, SEVEN);
    assert_true(remote_next(remote, &now));
    assert_int_equal(now.set, CONFIGURATION_ALL);
    assert_string_equal(now.filter, "tcp");
    assert_int_equal(now.sampling, 10);
    assert_int_equal(now.idle_s, 15); /* as started */
    remote_settle(remote, NULL);
    assert_report(remote, 7, CONFIGURATION_APPLIED, "");
    remote_offer(remote, SEVEN);
    assert_false(remote_next(remote, &now));
    remote_free(remote);

    remote = start(false);
    assert_report(remote, 7, CONFIGURATION_APPLIED, "");
    assert_string_equal(remote_running(remote)->filter, "tcp");

    /* refused: what was before goes on, now and after a restart */
    remote_offer(remote, EIGHT);
    assert_true(remote_next(remote, &now));
    remote_settle(remote, "it is none");
    assert_report(remote, 8, CONFIGURATION_REFUSED, "it is none");
    assert_string_equal(remote_running(remote)->filter, "tcp");
    remote_offer(remote, EIGHT);
    assert_false(remote_next(remote, &now));
    remote_free(remote);
    remote = start(false);
    assert_report(remote, 7, CONFIGURATION_APPLIED, "");

    /* a hub that went back to a backup gives the number again: by the id it is another one */
    remote_offer(remote, "{\"version\":7,\"id\":\"00000000000000ff\",\"idle_s\":3}");
    assert_true(remote_next(remote, &now));
    assert_string_equal(now.filter, "udp");
    assert_int_equal(now.idle_s, 3);
    remote_settle(remote, NULL);

    /* nothing is set any more, and nothing stays */
    remote_offer(remote, NONE);
    assert_true(remote_next(remote, &now));
    assert_true(is_kept());
    remote_settle(remote, NULL);
    assert_false(is_kept());
    assert_report(remote, 0, CONFIGURATION_NONE, "");
    remote_free(remote);
}

static void test_what_it_does_not_know(void **state) {
    (void)state;
    Configuration now;
    Remote *remote = start(false);
    remote_offer(remote, "{\"version\":9,\"id\":\"0000000000000009\",\"dpi\":false}");
    assert_false(remote_next(remote, &now));
    assert_report(remote, 9, CONFIGURATION_REFUSED, "dpi: there is no such setting");
    remote_offer(remote, "no JSON");
    assert_false(remote_next(remote, &now));
    remote_free(remote);
}

static void test_no_remote_config(void **state) {
    (void)state;
    Configuration now;
    Remote *remote = start(false);
    remote_offer(remote, SEVEN);
    assert_true(remote_next(remote, &now));
    remote_settle(remote, NULL);
    remote_free(remote);

    remote = start(true);
    assert_string_equal(remote_running(remote)->filter, "udp");
    remote_offer(remote, SEVEN);
    assert_false(remote_next(remote, &now));
    assert_report(remote, 7, CONFIGURATION_REFUSED, "--no-remote-config");
    remote_free(remote);
    assert_true(is_kept()); /* for a start that allows it again */

    /* what was kept cannot be applied at a start: the command line's, and the hub is told */
    remote = start(false);
    assert_true(remote_fall_back(remote, "the interface is another"));
    assert_report(remote, 7, CONFIGURATION_REFUSED, "the interface is another");
    assert_true(configuration_same(remote_running(remote), &given));
    assert_false(remote_fall_back(remote, "again"));
    remote_free(remote);
}

/* offers come from a thread of their own */
static void *offer(void *remote) {
    for (int i = 0; i < 10000; i++)
        remote_offer(remote, i % 2 ? SEVEN : EIGHT);
    return NULL;
}

static void test_threads(void **state) {
    (void)state;
    Configuration now;
    pthread_t thread;
    Remote *remote = start(true);
    assert_int_equal(pthread_create(&thread, NULL, offer, remote), 0);
    for (int i = 0; i < 100000; i++)
        assert_false(remote_next(remote, &now));
    assert_int_equal(pthread_join(thread, NULL), 0);
    remote_free(remote);
}

static void test_sampler(void **state) {
    (void)state;
    static MetricValue counters[_COUNTER_N];
    enum { N = 100000, BATCH = 32 };
    static const uint32_t rates[] = {1, 2, 7, 10, 1000, N * 2};
    for (size_t r = 0; r < sizeof(rates) / sizeof(rates[0]); r++) {
        memset(counters, 0, sizeof(counters));
        Sampler sampler = sampler_make(r, counters);
        sampler_set(&sampler, rates[r]);
        uint64_t kept = 0;
        uint64_t last_ns = 0;
        uint64_t even = 0;
        for (uint64_t i = 0; i < N; i += BATCH) {
            Frame frames[BATCH];
            for (size_t k = 0; k < BATCH; k++)
                frames[k] = (Frame){.time_ns = i + k + 1, .wire_bytes = 100};
            const size_t n = sampler_take(&sampler, frames, BATCH);
            for (size_t k = 0; k < n; k++) {
                assert_true(frames[k].time_ns > last_ns); /* in their order */
                last_ns = frames[k].time_ns;
                even += last_ns % 2;
            }
            kept += n;
        }
        /* one of each group, but for the one that is not full */
        assert_true(kept >= N / rates[r] && kept <= N / rates[r] + 1);
        /* no beat: about as many of one kind as of the other */
        assert_true(rates[r] != 10 || (even > kept * 45 / 100 && even < kept * 55 / 100));
        const uint64_t skipped = metric_get(&counters[COUNTER_PACKETS_SKIPPED]);
        assert_int_equal(skipped, N - kept);
        assert_int_equal(metric_get(&counters[COUNTER_PACKETS_RECEIVED]), skipped);
        assert_int_equal(metric_get(&counters[COUNTER_BYTES_SKIPPED]), skipped * 100);
        assert_int_equal(metric_get(&counters[COUNTER_BYTES_RECEIVED]), skipped * 100);
    }
}

static int make_folder(void **state) {
    (void)state;
    (void)snprintf(folder, sizeof(folder), "/tmp/weir-remote-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state) {
    (void)state;
    char path[128];
    (void)snprintf(path, sizeof(path), "%s/" REMOTE_FILE, folder);
    (void)unlink(path);
    return rmdir(folder);
}

#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)

int main(void) {
    const struct CMUnitTest tests[] = {
        IN_FOLDER(test_taken_and_kept),   IN_FOLDER(test_what_it_does_not_know),
        IN_FOLDER(test_no_remote_config), IN_FOLDER(test_threads),
        cmocka_unit_test(test_sampler),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
