/* SPDX-License-Identifier: Apache-2.0 */

/* Who delivers, under which licence: every order of starting, restarts, absences of 5 and of 30
 * minutes, licences that come, change and go; in simulated time. */

#include "hub/licensing-world.h"

#include <fcntl.h>
#include <pthread.h>

static unsigned working(void) {
    unsigned n = 0;
    for (unsigned i = 0; i < N; i++)
        n += works(i);
    return n;
}

/* 100 orders of starting the hub, the licence and five probes */
static void test_any_order(void **state) {
    (void)state;
    enum { PROBES = 5, HUB = PROBES, LICENCE, THINGS };
    uint64_t slowest_ms = 0;
    for (uint64_t seed = 1; seed <= 100; seed++) {
        uint64_t x = seed * 0x9e3779b97f4a7c15u;
        unsigned order[THINGS];
        anew();
        for (unsigned i = 0; i < THINGS; i++)
            order[i] = i;
        for (unsigned i = THINGS; i-- > 1;) {
            const unsigned k = (unsigned)(draw(&x) % (i + 1));
            const unsigned other = order[k];
            order[k] = order[i];
            order[i] = other;
        }
        for (unsigned i = 0; i < THINGS; i++) {
            if (order[i] == LICENCE) {
                const Licence five = grant("five", LICENCE_CLOUD, PROBES);
                put_licence(&five);
            } else if (order[i] == HUB) {
                hub_start();
                for (unsigned k = 0; k < PROBES; k++)
                    hello(k);
            } else {
                come(order[i]);
            }
            if (i + 1 < THINGS)
                pass(draw(&x) % 4000);
        }
        const uint64_t last_ms = world.mono_ms;
        while (working() < PROBES && world.mono_ms < last_ms + 10000)
            pass(STEP_MS);
        slowest_ms = world.mono_ms - last_ms > slowest_ms ? world.mono_ms - last_ms : slowest_ms;
        assert_int_equal(working(), PROBES);
    }
    print_message("all at work %lu ms after the last start\n", (unsigned long)slowest_ms);
}

/* --- the rule ----------------------------------------------------------------------------- */

enum { SEATS = 4, MANY = SEATS + 2 };

/** who() - as DESIGN has it: the first, by enrolment, of those there or gone for less than ten
 * minutes; `gone` is 0 for who never was, and after a start of the hub for whoever had no seat */
static void who(bool expected[N], const unsigned order[N], const uint64_t gone_ms[N]) {
    unsigned left = SEATS;
    memset(expected, 0, N * sizeof(*expected));
    for (unsigned k = 0; k < MANY; k++) {
        const unsigned i = order[k];
        if (!world.running[i] && (!gone_ms[i] || world.mono_ms - gone_ms[i] >= SEATS_KEPT_MS))
            continue;
        expected[i] = left > 0;
        left -= left > 0;
    }
}

static void check_rule(const unsigned order[N], const uint64_t gone_ms[N]) {
    bool expected[N];
    for (unsigned i = 0; i < MANY; i++) /* not in the very second in which a seat is set free */
        if (gone_ms[i] && world.mono_ms - gone_ms[i] + 2000 > SEATS_KEPT_MS &&
            world.mono_ms - gone_ms[i] < SEATS_KEPT_MS + 2000)
            pass(4000);
    who(expected, order, gone_ms);
    for (unsigned i = 0; i < MANY; i++) {
        if (!world.running[i])
            continue;
        if (works(i) != expected[i] || waits(i) == expected[i])
            fail_msg("probe %u: %d '%s', expected %d", i, world.told[i].verdict,
                     world.told[i].reason, expected[i]);
    }
}

static void enrol_in(const unsigned order[N]) {
    const Licence four = grant("four", LICENCE_CLOUD, SEATS);
    put_licence(&four);
    hub_start();
    for (unsigned k = 0; k < MANY; k++) {
        pass(1000);
        come(order[k]);
    }
    pass(2000);
}

/* two more than seats: the hub and the probes come and go, in any order and for any time */
static void test_lives(void **state) {
    (void)state;
    const unsigned order[N] = {3, 0, 5, 1, 4, 2};
    for (uint64_t seed = 1; seed <= 20; seed++) {
        uint64_t x = seed * 0x2545f4914f6cdd1du;
        uint64_t gone_ms[N] = {0};
        anew();
        enrol_in(order);
        check_rule(order, gone_ms);
        for (unsigned step = 0; step < 40; step++) {
            const unsigned i = (unsigned)(draw(&x) % (MANY + 1));
            if (i == MANY) { /* the hub starts again; the probes come back in any order */
                bool had[N];
                unsigned n_had = 0;
                for (unsigned k = 0; k < MANY; k++) {
                    had[k] = seat_of(k).state == PROBE_SEAT_HELD;
                    n_had += had[k];
                }
                pass(1000); /* what a second old is, is kept even when it is killed */
                hub_stop(draw(&x) % 2);
                pass(draw(&x) % 600000);
                hub_start();
                for (unsigned k = 0; k < MANY; k++)
                    gone_ms[k] = had[k] ? world.mono_ms : 0;
                for (unsigned k = (unsigned)(draw(&x) % MANY), n = 0; n < MANY; n++) {
                    hello((k + n * 5) % MANY);
                    pass(draw(&x) % 500);
                    for (unsigned j = 0; j < MANY; j++) /* nobody slips in meanwhile */
                        assert_true(!works(j) || had[j] || n_had < SEATS);
                }
            } else if (world.running[i]) {
                leave(i);
                gone_ms[i] = world.mono_ms;
            } else {
                come(i);
            }
            pass(draw(&x) % 3 ? draw(&x) % 5000 : draw(&x) % 900000);
            pass(1500);
            check_rule(order, gone_ms);
        }
    }
}

/* one that has a seat is away for 5 minutes, and then for 30 */
static void test_away(void **state) {
    (void)state;
    const unsigned order[N] = {0, 1, 2, 3, 4, 5};
    enrol_in(order);
    assert_true(works(0) && works(3) && waits(4) && waits(5));
    assert_non_null(strstr(world.told[4].reason, "it is the next"));
    assert_non_null(strstr(world.told[5].reason, "1 before it"));
    leave(1);
    pass(5 * MINUTE_MS);
    assert_true(waits(4));
    come(1);
    pass(STEP_MS);
    assert_true(works(1) && waits(4));
    leave(1);
    pass(9 * MINUTE_MS + 58000);
    assert_true(waits(4));
    const uint64_t free_ms = world.mono_ms + 2000;
    while (!works(4) && world.mono_ms < free_ms + 5000)
        pass(STEP_MS);
    assert_true(works(4));
    print_message("admitted %ld ms after the seat was free\n", (long)(world.mono_ms - free_ms));
    assert_non_null(strstr(world.told[5].reason, "it is the next"));
    pass(20 * MINUTE_MS);
    come(1); /* back: the newest waits again, and is told why at once */
    pass(200);
    assert_true(works(1) && waits(4) && waits(5));
    assert_int_equal(working(), SEATS);
    /* one with a seat is revoked: its seat is free at once */
    Reason reason;
    const PeerKey key = key_of(2);
    assert_int_equal(admission_revoke(world.admission, &key, &reason), 0);
    pass(200);
    assert_int_equal(world.told[2].verdict, HUB_REVOKED);
    assert_true(works(4) && waits(5));
}

static void test_pins(void **state) {
    (void)state;
    const unsigned order[N] = {0, 1, 2, 3, 4, 5};
    const LicensingTime unused = {0};
    enrol_in(order);
    PeerKey key = key_of(5);
    LicensingTime now = now_of();
    assert_int_equal(licensing_pin(world.licensing, &key, true, &now), 0);
    assert_true(works(5) && waits(3) && waits(4));
    assert_int_equal(admission_keep(world.admission, &key), 0);
    hub_stop(true); /* at once; and it is kept */
    hub_start();
    for (unsigned i = 0; i < MANY; i++)
        hello(i);
    pass(2000);
    assert_true(works(5) && works(2) && waits(3) && waits(4));
    now = now_of();
    assert_int_equal(licensing_pin(world.licensing, &key, false, &now), 0);
    assert_true(waits(5) && works(3) && waits(4));
    key = key_of(11);
    assert_int_equal(licensing_pin(world.licensing, &key, true, &unused), LICENSING_E_MISSING);
}

/* --- the licence -------------------------------------------------------------------------- */

static void expect(const char *what, unsigned n, uint64_t limit_ms) {
    const uint64_t begin_ms = world.mono_ms;
    while (working() != n && world.mono_ms - begin_ms < limit_ms)
        pass(STEP_MS);
    if (working() != n)
        fail_msg("%s: %u at work after %lu ms, expected %u", what, working(),
                 (unsigned long)(world.mono_ms - begin_ms), n);
}

/* each acts within a second, with nothing started anew */
static void test_changes(void **state) {
    (void)state;
    LicensingView view;
    hub_start();
    for (unsigned i = 0; i < 6; i++) {
        come(i);
        pass(500);
    }
    expect("evaluation", SEATS_EVALUATION, 0);
    assert_non_null(strstr(world.told[5].reason, "evaluation"));
    assert_string_equal(world.lease.licence, "evaluation");
    assert_int_equal(world.lease.until_s, (int64_t)(world.wall_ms / 1000) + LEASE_S);
    Licence licence = grant("five", LICENCE_CLOUD, 5);
    put_licence(&licence);
    expect("installed", 5, 1000);
    assert_string_equal(world.lease.licence, "five");
    pass(3000);
    licence = grant("six", LICENCE_CLOUD, 6);
    put_licence(&licence);
    expect("renewed", 6, 1000);
    pass(3000);
    licence = grant("three", LICENCE_CLOUD, 3);
    put_licence(&licence);
    expect("downgraded", 3, 1000);
    assert_true(works(0) && works(1) && works(2) && waits(3) && waits(5));
    put(world.path, "half", 4);
    expect("damaged, and kept", 3, 0);
    pass(2000);
    expect("damaged, and kept", 3, 0);
    licensing_view(world.licensing, &view);
    assert_true(view.holder.kept);
    put_licence(&licence);
    pass(1000);
    revoke_licence("three");
    expect("revoked", SEATS_EVALUATION, 1000);
    licensing_view(world.licensing, &view);
    assert_string_equal(licensing_state_name(&view.holder), "revoked");
    assert_non_null(strstr(view.warning, "revoked"));
    pass(3000);
    licence = grant("of-hub", LICENCE_HUB, 0);
    put_licence(&licence); /* bound to no machine, which such a one must be */
    expect("of another machine", SEATS_EVALUATION, 1000);
}

/* through warnings and grace to its end: nothing changes until the very end, and then two stay */
static void test_end(void **state) {
    (void)state;
    char last[sizeof(((LicensingView *)0)->warning)] = "";
    unsigned n_warnings = 0;
    Licence licence = grant("ends", LICENCE_CLOUD, 4);
    put_licence(&licence);
    hub_start();
    for (unsigned i = 0; i < 4; i++)
        come(i);
    pass(1000);
    for (int hour = 0; hour < 131 * 24; hour += 2) {
        LicensingView view;
        world.mono_ms += 7200000;
        world.wall_ms += 7200000;
        turn();
        pass(STEP_MS);
        world.wall_ms -= STEP_MS;
        licensing_view(world.licensing, &view);
        const int day = (hour + 2) / 24;
        if (working() != (day < 130 ? 4u : 2u))
            fail_msg("on day %d %u are at work", day, working());
        if (strcmp(view.warning, last) != 0)
            n_warnings++;
        (void)snprintf(last, sizeof(last), "%s", view.warning);
    }
    assert_int_equal(n_warnings, 4 + 30 + 1); /* 30, 14, 7, 1; each day of grace; the end */
    assert_true(works(0) && works(1) && waits(2) && waits(3));
    licence = grant("renewed", LICENCE_CLOUD, 4);
    put_licence(&licence);
    expect("renewed", 4, 1000);
}

static void show(unsigned i, const Licence *licence, const char *system_id) {
    Buffer line = {0};
    line_of(&line, licence);
    line.size -= line.size && line.bytes[line.size - 1] == '\n';
    (void)snprintf(world.shows[i], sizeof(world.shows[i]),
                   ",\"licence\":\"%.*s\",\"system_id\":\"%s\"", (int)line.size,
                   (const char *)line.bytes, system_id);
    buffer_deinit(&line);
}

/* a probe with a licence of its own takes no seat; for one probe, at its place, while it holds */
static void test_own(void **state) {
    (void)state;
    SystemId place = {0};
    SystemId other = {0};
    char here[SYSTEM_ID_CHARS];
    char there[SYSTEM_ID_CHARS];
    for (size_t i = 0; i < _SYSTEM_FACT_N; i++) {
        system_fact_hash(place.hashes[i], (SystemFact)i, "here");
        system_fact_hash(other.hashes[i], (SystemFact)i, "there");
    }
    (void)system_id_text(&place, here);
    (void)system_id_text(&other, there);
    Licence own = grant("own", LICENCE_PROBE, 0);
    own.bound = true;
    own.system = place;
    hub_start();
    show(0, &own, here);
    for (unsigned i = 0; i < 4; i++) {
        come(i);
        pass(200);
    }
    assert_int_equal(seat_of(0).state, PROBE_SEAT_OWN);
    assert_true(works(0) && works(1) && works(2) && waits(3));
    /* shown by another as well, or for another machine: that takes a seat */
    show(3, &own, here);
    hello(3);
    pass(200);
    assert_true(waits(3) && works(0));
    own.system = other;
    show(3, &own, here);
    hello(3);
    pass(200);
    assert_true(waits(3));
    Licence second = own;
    (void)snprintf(second.id, sizeof(second.id), "second");
    show(3, &second, there);
    hello(3);
    pass(200);
    assert_int_equal(seat_of(3).state, PROBE_SEAT_OWN);
    assert_int_equal(working(), 4);
    revoke_licence("own");
    pass(1200);
    assert_int_equal(seat_of(0).state, PROBE_SEAT_HELD); /* the first to have come */
    assert_true(works(0) && works(1) && waits(2) && works(3));
    (void)snprintf(world.shows[3], sizeof(world.shows[3]), ",\"licence\":\"%s\"", "rubbish");
    hello(3);
    pass(200);
    assert_true(waits(3));
}

/* who comes while the clock is wrong comes after those who were there, also after a restart */
static void test_clock_back(void **state) {
    (void)state;
    hub_start(); /* in evaluation: two seats */
    come(0);
    pass(1000);
    come(1);
    pass(1000);
    world.wall_ms -= (uint64_t)DAY * 1000;
    come(2);
    pass(2000);
    assert_true(works(0) && works(1) && waits(2));
    hub_stop(false);
    world.wall_ms -= (uint64_t)DAY * 1000;
    hub_start();
    for (unsigned i = 0; i < 3; i++)
        hello(i);
    come(3);
    pass(2000);
    assert_true(works(0) && works(1) && waits(2) && waits(3));
    assert_true(seat_of(2).ahead < seat_of(3).ahead);
}

/* revoked by mistake and restored before it is back: it has its seat, for as long as any other */
static void test_restored(void **state) {
    (void)state;
    const PeerKey key = key_of(0);
    Reason reason = {""};
    hub_start(); /* in evaluation: two seats */
    for (unsigned i = 0; i < 3; i++) {
        come(i);
        pass(1000);
    }
    for (unsigned late = 0; late < 2; late++) {
        assert_true(works(0) && works(1) && waits(2));
        assert_int_equal(admission_revoke(world.admission, &key, &reason), 0);
        leave(0);
        pass(late ? SEATS_KEPT_MS + 2000 : 2000);
        assert_true(works(1) && works(2));
        assert_int_equal(admission_restore(world.admission, &key, world.wall_ms, &reason), 0);
        pass(2000);
        assert_true(works(1) && works(2) == (late == 1));
        come(0);
        pass(2000);
    }
    assert_true(works(0) && works(1) && waits(2));
}

/* one seat is not "all 1 seats"; who had to wait is not late with its report when it need not */
static void test_only_seat(void **state) {
    (void)state;
    const Licence one = grant("one", LICENCE_CLOUD, 1);
    const PeerKey key = key_of(1);
    const ProbePulse pulse = {.time_ms = world.wall_ms};
    put_licence(&one);
    hub_start();
    come(0);
    pass(1000);
    come(1);
    pass(1000);
    assert_int_equal(world.told[1].verdict, HUB_PENDING);
    assert_string_equal(world.told[1].reason,
                        "the only seat of the licence is taken by an earlier or pinned "
                        "probe (it is the next)");
    (void)probes_pulse(world.probes, &key, &pulse,
                       world.wall_ms); /* the last one it was heard by */
    pass(20000);
    leave(0);
    pass(SEATS_KEPT_MS + 2000);
    assert_true(works(1));
    const Probe *probe = probes_lock(world.probes, &key);
    assert_non_null(probe);
    char text[128];
    const ProbeState is = probe_state(probe, world.wall_ms, text, sizeof(text));
    probes_unlock(world.probes);
    assert_string_equal(text, "connected, no report yet");
    assert_int_equal(is, PROBE_CAPTURING);
}

/* who is put in the place of another has its seat */
static void test_take_over(void **state) {
    (void)state;
    const unsigned order[N] = {0, 1, 2, 3, 4, 5};
    Reason reason = {""};
    (void)snprintf(world.shows[1], sizeof(world.shows[1]), ",\"probe_id\":\"the-second\"");
    (void)snprintf(world.shows[7], sizeof(world.shows[7]), ",\"probe_id\":\"the-second\"");
    enrol_in(order);
    leave(1);
    pass(1000);
    come(7);
    pass(1000);
    assert_true(waits(7) && waits(4));
    const PeerKey key = key_of(7);
    if (admission_take_over(world.admission, &key, world.wall_ms, &reason))
        fail_msg("%s", reason.text);
    pass(1000);
    assert_true(works(7) && waits(4) && works(3));
}

static void *turn_once(void *unused) {
    turn();
    return unused;
}

/* a file that cannot be written for a while (a pipe nobody reads): only that look waits for it */
static void test_slow_disk(void **state) {
    (void)state;
    LicensingView view;
    pthread_t thread;
    hub_start();
    come(0);
    pass(2000);
    char slow[PATH_MAX + 32];
    (void)snprintf(slow, sizeof(slow), "%s/licence.verified.new", world.folder);
    assert_int_equal(mkfifo(slow, 0600), 0);
    const Licence five = grant("five", LICENCE_CLOUD, 5);
    put_licence(&five);
    world.mono_ms += 1000;
    assert_int_equal(pthread_create(&thread, NULL, turn_once, NULL), 0);
    (void)usleep(100000); /* it writes */
    (void)alarm(20);      /* or this stands still */
    const PeerKey key = key_of(1);
    admission_hello(world.admission, &key, 0, "192.0.2.1", "{\"name\":\"p1\"}", world.wall_ms);
    licensing_gone(world.licensing);
    licensing_view(world.licensing, &view);
    assert_int_equal(view.limit, SEATS_EVALUATION);
    const int fd = open(slow, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    (void)alarm(0);
    assert_int_equal(close(fd), 0);
    licensing_view(world.licensing, &view);
    assert_int_equal(view.limit, 5);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_any_order, begin, end),
        cmocka_unit_test_setup_teardown(test_lives, begin, end),
        cmocka_unit_test_setup_teardown(test_away, begin, end),
        cmocka_unit_test_setup_teardown(test_pins, begin, end),
        cmocka_unit_test_setup_teardown(test_changes, begin, end),
        cmocka_unit_test_setup_teardown(test_end, begin, end),
        cmocka_unit_test_setup_teardown(test_own, begin, end),
        cmocka_unit_test_setup_teardown(test_take_over, begin, end),
        cmocka_unit_test_setup_teardown(test_clock_back, begin, end),
        cmocka_unit_test_setup_teardown(test_restored, begin, end),
        cmocka_unit_test_setup_teardown(test_only_seat, begin, end),
        cmocka_unit_test_setup_teardown(test_slow_disk, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
