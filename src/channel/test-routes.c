/* SPDX-License-Identifier: Apache-2.0 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "channel/probe_routes.h"

#define OLD   "oldoldoldoldoldoldoldoldoldoldoldoldold1"
#define NEW   "newnewnewnewnewnewnewnewnewnewnewnewnew2"
#define IMAGE "imageimageimageimageimageimageimageimag3"

static ServerKeys kept(const char *now, const char *next, uint16_t port) {
    ServerKeys keys = {.version = 1, .data_port = port, .events_port = port ? port + 1 : 0};
    (void)snprintf(keys.now, sizeof(keys.now), "%s", now);
    (void)snprintf(keys.next, sizeof(keys.next), "%s", next);
    return keys;
}

static void expect(const ProbeRoutes *routes, const char *z85, uint16_t port) {
    assert_string_equal(routes->current.server_z85, z85);
    assert_int_equal(routes->current.data_port, port);
    assert_int_equal(routes->current.events_port, port ? port + 1 : 0);
}

/** Bench - the two sockets as a test wants them, and the clock */
typedef struct Bench {
    ProbeRoutes routes;
    ProbeView views[PROBE_N_SIDES];
    uint64_t now_ms;
} Bench;

/** up() - or down, with this trouble */
static void stand(Bench *bench, bool up, ProbeLinkWord trouble) {
    for (int i = 0; i < PROBE_N_SIDES; i++) {
        bench->views[i].ready = up;
        bench->views[i].trouble = trouble;
        bench->views[i].trouble_ms = bench->now_ms;
    }
}

/** steps() - how often it goes over within so long; the sockets begin anew each time */
static unsigned steps(Bench *bench, uint64_t ms) {
    unsigned n = 0;
    for (const uint64_t end_ms = bench->now_ms + ms; bench->now_ms < end_ms; bench->now_ms += 10) {
        if (!probe_routes_step(&bench->routes, bench->views, bench->now_ms))
            continue;
        n++;
        stand(bench, false, PROBE_LINK_CONNECTING);
    }
    return n;
}

static Bench begin(const ServerKeys *keys, bool bind) {
    Bench bench = {.now_ms = 1000};
    probe_routes_set(&bench.routes, IMAGE, keys, bind, bench.now_ms);
    return bench;
}

static void test_no_change_no_choice(void **state) {
    (void)state;
    Bench bench = begin(&(ServerKeys){0}, false);
    expect(&bench.routes, IMAGE, 0);
    stand(&bench, false, PROBE_LINK_REFUSED);
    assert_int_equal(steps(&bench, 100000), 0);
    stand(&bench, true, PROBE_LINK_CONNECTING);
    assert_int_equal(steps(&bench, 1000), 0);
    stand(&bench, false, PROBE_LINK_WRONG_KEY);
    assert_int_equal(steps(&bench, 100000), 0);
    expect(&bench.routes, IMAGE, 0);
    assert_false(probe_routes_trying(&bench.routes, bench.views));
}

static void test_next_present_next_again(void **state) {
    (void)state;
    const ServerKeys keys = kept(OLD, NEW, 5558);
    Bench bench = begin(&keys, false);
    expect(&bench.routes, NEW, 5558);
    assert_int_equal(steps(&bench, 5900), 0); /* it may take its time */
    assert_int_equal(steps(&bench, 200), 1);
    expect(&bench.routes, OLD, 0);
    assert_true(probe_routes_trying(&bench.routes, bench.views));
    stand(&bench, false, PROBE_LINK_WRONG_KEY); /* known at once, and told soon */
    assert_int_equal(steps(&bench, 1100), 1);
    expect(&bench.routes, NEW, 0);
    stand(&bench, false, PROBE_LINK_REFUSED);
    assert_int_equal(steps(&bench, 1100), 1);
    expect(&bench.routes, NEW, 5558);
    assert_false(probe_routes_trying(&bench.routes, bench.views));
}

/* a hub that is away says nothing of keys: the next one is not tried where the present one is */
static void test_hub_away(void **state) {
    (void)state;
    const ServerKeys keys = kept(OLD, NEW, 5558);
    Bench bench = begin(&keys, false);
    for (int i = 0; i < 2; i++) {
        stand(&bench, false, PROBE_LINK_REFUSED);
        assert_int_equal(steps(&bench, 2200), 0);
        assert_int_equal(steps(&bench, 400), 1);
        expect(&bench.routes, OLD, 0);
        stand(&bench, false, PROBE_LINK_REFUSED);
        assert_int_equal(steps(&bench, 1000), 1);
        expect(&bench.routes, NEW, 5558);
    }
}

static void test_from_a_fallback_to_the_first(void **state) {
    (void)state;
    const ServerKeys keys = kept(OLD, NEW, 5558);
    Bench bench = begin(&keys, false);
    stand(&bench, false, PROBE_LINK_REFUSED);
    assert_int_equal(steps(&bench, 2600), 1);
    stand(&bench, true, PROBE_LINK_CONNECTING);
    assert_int_equal(steps(&bench, 100000), 0); /* what is good is left alone */
    expect(&bench.routes, OLD, 0);
    stand(&bench, false, PROBE_LINK_CONNECTING);
    assert_int_equal(steps(&bench, 100), 1); /* the next connection */
    expect(&bench.routes, NEW, 5558);
}

/* data gets through, events does not: half a way is none */
static void test_both_ports_count(void **state) {
    (void)state;
    const ServerKeys keys = kept(OLD, NEW, 5558);
    Bench bench = begin(&keys, false);
    bench.views[PROBE_SIDE_DATA].ready = true;
    assert_int_equal(steps(&bench, 6100), 1);
    expect(&bench.routes, OLD, 0);
}

static void test_kept_while_connected(void **state) {
    (void)state;
    Bench bench = begin(&(ServerKeys){0}, false);
    stand(&bench, true, PROBE_LINK_CONNECTING);
    assert_int_equal(steps(&bench, 1000), 0);
    ServerKeys keys = kept(IMAGE, NEW, 5558);
    probe_routes_set(&bench.routes, IMAGE, &keys, false, bench.now_ms);
    assert_int_equal(steps(&bench, 10000), 0);
    expect(&bench.routes, IMAGE, 0);
    stand(&bench, false, PROBE_LINK_CONNECTING);
    assert_int_equal(steps(&bench, 100), 1);
    expect(&bench.routes, NEW, 5558);
    stand(&bench, true, PROBE_LINK_CONNECTING);
    assert_int_equal(steps(&bench, 100), 0);
    keys = kept(NEW, "", 0); /* finished: the image's key is never used again */
    probe_routes_set(&bench.routes, IMAGE, &keys, false, bench.now_ms);
    assert_int_equal(steps(&bench, 100), 0);
    stand(&bench, false, PROBE_LINK_CONNECTING);
    assert_int_equal(steps(&bench, 100), 1);
    expect(&bench.routes, NEW, 0);
    stand(&bench, false, PROBE_LINK_WRONG_KEY);
    assert_int_equal(steps(&bench, 100000), 0);
}

static void test_no_port_of_its_own(void **state) {
    (void)state;
    const ServerKeys keys = kept(OLD, NEW, 0);
    Bench bench = begin(&keys, false);
    expect(&bench.routes, OLD, 0);
    stand(&bench, false, PROBE_LINK_WRONG_KEY);
    assert_int_equal(steps(&bench, 2600), 1);
    expect(&bench.routes, NEW, 0);
}

static void test_what_no_other_way_would_mend(void **state) {
    (void)state;
    const ServerKeys keys = kept(OLD, NEW, 5558);
    static const ProbeLinkWord words[] = {PROBE_LINK_KEY_REVOKED, PROBE_LINK_NAME_UNKNOWN};
    for (size_t i = 0; i < 2; i++) {
        Bench bench = begin(&keys, false);
        stand(&bench, false, words[i]);
        assert_int_equal(steps(&bench, 100000), 0);
    }
}

/* who listens changes the key only when somebody comes with another one */
static void test_probe_binds(void **state) {
    (void)state;
    ServerKeys keys = kept(IMAGE, NEW, 5558);
    Bench bench = begin(&keys, true);
    expect(&bench.routes, IMAGE, 0);
    stand(&bench, false, PROBE_LINK_CONNECTING);
    assert_int_equal(steps(&bench, 100000), 0);
    stand(&bench, true, PROBE_LINK_CONNECTING);
    assert_int_equal(steps(&bench, 1000), 0);
    keys = kept(NEW, "", 0);
    probe_routes_set(&bench.routes, IMAGE, &keys, true, bench.now_ms);
    stand(&bench, false, PROBE_LINK_CONNECTING);
    assert_int_equal(steps(&bench, 10000), 0);
    stand(&bench, false, PROBE_LINK_WRONG_KEY);
    assert_int_equal(steps(&bench, 2600), 1);
    expect(&bench.routes, NEW, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_change_no_choice),
        cmocka_unit_test(test_next_present_next_again),
        cmocka_unit_test(test_hub_away),
        cmocka_unit_test(test_from_a_fallback_to_the_first),
        cmocka_unit_test(test_both_ports_count),
        cmocka_unit_test(test_kept_while_connected),
        cmocka_unit_test(test_no_port_of_its_own),
        cmocka_unit_test(test_what_no_other_way_would_mend),
        cmocka_unit_test(test_probe_binds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
