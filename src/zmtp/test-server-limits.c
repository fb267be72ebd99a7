/* SPDX-License-Identifier: Apache-2.0 */

/* How long, how many: who is due, who is asked, who waits, and who has to go for whom */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sys/resource.h>

#include "zmtp/server-scene.h"
#include "zmtp/server_inner.h"

/* ----------------------------------------------------------------------------------- handshake */

/* at whichever step it stops, a byte now and then does not help, and not a moment before its time
 */
static void test_handshake_time(void **state) {
    (void)state;
    uint8_t bytes[512], greeting[64];
    client_greeting(greeting, "CURVE");
    for (ZmtpState stops = ZMTP_GREETING; stops <= ZMTP_UP; stops++) {
        Scene scene;
        Peer peer;
        scene_open(&scene);
        peer_open(&scene, &peer, DATA, "192.0.2.1");
        put(&scene, &peer, greeting, 20, 99);
        later(&scene, ZMTP_HANDSHAKE_MS / 2);
        put(&scene, &peer, greeting + 20, stops == ZMTP_GREETING ? 43 : 44, 99);
        (void)hear(&peer, SIZE_MAX);
        peer.in.size = 0;
        if (stops >= ZMTP_INITIATE) {
            const size_t n = initiate(&scene, &peer, "PUB", 99, bytes);
            put(&scene, &peer, bytes, stops == ZMTP_UP ? n : n - 1, 99);
        }
        later(&scene, ZMTP_HANDSHAKE_MS / 2 - 1);
        assert_int_equal(zmtp_server_counts(scene.server).n, 1);
        later(&scene, 1);
        if (stops < ZMTP_UP)
            expect_end(&scene, &peer, ZMTP_SLOW, false);
        else
            assert_int_equal(zmtp_server_counts(scene.server).n, 1);
        peer_close(&peer);
        scene_close(&scene);
    }
}

/* a byte now and then does not put it behind those who came later */
static void test_slow_and_slower(void **state) {
    (void)state;
    for (int greeted = 0; greeted < 2; greeted++) {
        Scene scene;
        Peer peer, later_one;
        scene_open(&scene);
        peer_open(&scene, &peer, DATA, "192.0.2.1");
        if (greeted)
            greet(&scene, &peer, 1, 99);
        later(&scene, ZMTP_HANDSHAKE_MS / 2);
        peer_open(&scene, &later_one, DATA, "192.0.2.1");
        if (greeted)
            greet(&scene, &later_one, 1, 99);
        put(&scene, &peer, greeted ? "\4" : "\xff", 1, 1);
        later(&scene, ZMTP_HANDSHAKE_MS / 2);
        expect_end(&scene, &peer, ZMTP_SLOW, false);
        peer_close(&peer);
        peer_close(&later_one);
        scene_close(&scene);
    }
}

/* one that is slow holds up nobody who came later */
static void test_others_are_slow(void **state) {
    (void)state;
    enum { SLOW = 40 };
    Scene scene;
    Peer slow[SLOW], peer;
    scene_open(&scene);
    for (int i = 0; i < SLOW; i++) {
        peer_open(&scene, &slow[i], DATA, "192.0.2.1");
        if (i % 2)
            greet(&scene, &slow[i], 1, 99);
        later(&scene, 100);
    }
    peer_up(&scene, &peer, DATA, "192.0.2.1");
    later(&scene, ZMTP_HANDSHAKE_MS - SLOW * 100);
    for (int i = 0; i < SLOW; i++) {
        assert_int_equal(scene.n_down[ZMTP_SLOW], i + 1);
        assert_int_equal(hear(&slow[i], SIZE_MAX), false);
        peer_close(&slow[i]);
        later(&scene, 100);
    }
    assert_int_equal(scene.n_down[ZMTP_SLOW], SLOW);
    say(&scene, &peer, 0, "text", 4, 99);
    expect_said(&scene, "text.");
    assert_int_equal(zmtp_server_counts(scene.server).n_strangers, 0);
    peer_close(&peer);
    scene_close(&scene);
}

/* ------------------------------------------------------------------------------------- silence */

static void test_silence(void **state) {
    (void)state;
    Scene scene;
    Peer mute, answers, quiet;
    scene_open(&scene);
    peer_up(&scene, &mute, DATA, "192.0.2.1");
    peer_up(&scene, &answers, CONTROL, "192.0.2.1");
    peer_up(&scene, &quiet, CONTROL, "192.0.2.1"); /* has said nothing, and answers */
    say(&scene, &mute, 0, "last", 4, 99);
    subscribe(&scene, &answers, "t");
    later(&scene, ZMTP_PING_MS - 1);
    expect_nothing(&scene, &mute);
    for (unsigned i = 0; i < 3; i++) {
        later(&scene, 1);
        expect(&scene, &answers, 2, "\4PING\0\0", 7);
        expect(&scene, &quiet, 2, "\4PING\0\0", 7);
        later(&scene, ZMTP_PING_MS / 2);
        expect_nothing(&scene, &answers); /* asked once */
        say(&scene, &answers, 2, "\4PONG", 5, 99);
        say(&scene, &quiet, 2, "\4PONG", 5, 99);
        later(&scene, ZMTP_PING_MS - 1);
        if (i == 0)
            expect(&scene, &mute, 2, "\4PING\0\0", 7);
        assert_int_equal(scene.n_down[ZMTP_SILENT], i > 0);
    }
    expect_end(&scene, &mute, ZMTP_SILENT, true);
    later(&scene, 1);
    expect(&scene, &answers, 2, "\4PING\0\0", 7);
    expect(&scene, &quiet, 2, "\4PING\0\0", 7);
    later(&scene, ZMTP_SILENT_MS - ZMTP_PING_MS - 1);
    assert_true(hear(&quiet, SIZE_MAX));
    say(&scene, &answers, 2, "\4PONG", 5, 99);
    later(&scene, 2);
    expect_end(&scene, &quiet, ZMTP_SILENT, true);
    assert_int_equal(send_to(&scene, &answers, "t", "text", 4), 1);
    peer_close(&mute);
    peer_close(&answers);
    peer_close(&quiet);
    scene_close(&scene);
}

/* to the millisecond; what is under way counts as being heard */
static void test_silent_since(void **state) {
    (void)state;
    Scene scene;
    Peer peer;
    uint8_t frame[128];
    scene_open(&scene);
    peer_up(&scene, &peer, DATA, "192.0.2.1");
    say(&scene, &peer, 0, "text", 4, 99);
    later(&scene, ZMTP_PING_MS);
    expect(&scene, &peer, 2, "\4PING\0\0", 7);
    const size_t n = client_message(&peer.client, 0, "more", 4, frame);
    later(&scene, ZMTP_SILENT_MS - ZMTP_PING_MS - 1);
    put(&scene, &peer, frame, 5, 5);
    later(&scene, ZMTP_PING_MS - 1);
    expect_nothing(&scene, &peer);
    later(&scene, 1);
    expect(&scene, &peer, 2, "\4PING\0\0", 7);
    put(&scene, &peer, frame + 5, n - 5, 99);
    expect_said(&scene, "text.more.");
    later(&scene, ZMTP_PING_MS);
    expect(&scene, &peer, 2, "\4PING\0\0", 7);
    later(&scene, ZMTP_SILENT_MS - ZMTP_PING_MS);
    assert_int_equal(zmtp_server_counts(scene.server).n, 1);
    later(&scene, 1);
    expect_end(&scene, &peer, ZMTP_SILENT, true);
    peer_close(&peer);
    scene_close(&scene);
}

/* a hub that was stopped, or whose machine slept: nobody was silent, it was deaf */
static void test_was_stopped(void **state) {
    (void)state;
    Scene scene;
    Peer peer;
    scene_open(&scene);
    peer_up(&scene, &peer, CONTROL, "192.0.2.1");
    subscribe(&scene, &peer, "t");
    later(&scene, ZMTP_SILENT_MS + 1);
    expect(&scene, &peer, 2, "\4PING\0\0", 7);
    later(&scene, 1); /* an answer takes its way */
    assert_int_equal(scene.n_down[ZMTP_SILENT], 0);
    say(&scene, &peer, 2, "\4PONG", 5, 99);
    later(&scene, 1);
    assert_int_equal(send_to(&scene, &peer, "t", "text", 4), 1);
    peer_close(&peer);
    scene_close(&scene);
}

/* who spoke last is asked last, though it was first once */
static void test_order_of_asking(void **state) {
    (void)state;
    Scene scene;
    Peer first, second;
    scene_open(&scene);
    peer_up(&scene, &first, DATA, "192.0.2.1");
    peer_up(&scene, &second, DATA, "192.0.2.1");
    say(&scene, &first, 0, "1", 1, 99);
    say(&scene, &second, 0, "2", 1, 99);
    later(&scene, ZMTP_PING_MS - 5);
    say(&scene, &first, 0, "3", 1, 99);
    later(&scene, 5);
    expect_nothing(&scene, &first);
    expect(&scene, &second, 2, "\4PING\0\0", 7);
    peer_close(&first);
    peer_close(&second);
    scene_close(&scene);
}

/* ------------------------------------------------------------------------------------ one key */

/* a fifth connection of one key goes for the one that was silent for longest; sides are apart */
static void test_twins(void **state) {
    (void)state;
    Scene scene;
    Peer peers[ZMTP_KEY_MAX + 2], other;
    char address[16];
    scene_open(&scene);
    peer_open(&scene, &other, CONTROL, "192.0.2.9");
    const Client client = other.client;
    shake(&scene, &other, 1, 99);
    subscribe(&scene, &other, "t");
    for (unsigned i = 0; i < ZMTP_KEY_MAX + 2; i++) {
        later(&scene, 10);
        if (i == ZMTP_KEY_MAX)
            say(&scene, &peers[0], 0, "I am not silent", 15, 99);
        peers[i] = (Peer){.client = client};
        peers[i].client.nonce = 0;
        (void)snprintf(address, sizeof(address), "192.0.2.1%u", i);
        adopt(&scene, &peers[i], DATA, address);
        assert_string_equal(scene.twins, i <= ZMTP_KEY_MAX ? "" : "192.0.2.14 192.0.2.11");
        shake(&scene, &peers[i], 1, 99);
    }
    assert_string_equal(scene.twins, "192.0.2.15 192.0.2.12");
    assert_int_equal(scene.n_down[ZMTP_TWIN], 2);
    assert_int_equal(zmtp_server_counts(scene.server).n, ZMTP_KEY_MAX + 1);
    for (unsigned i = 0; i < ZMTP_KEY_MAX + 2; i++) {
        assert_int_equal(hear(&peers[i], SIZE_MAX), i != 1 && i != 2);
        peer_close(&peers[i]);
    }
    assert_int_equal(send_to(&scene, &other, "t", "text", 4), 1);
    peer_close(&other);
    scene_close(&scene);
}

/* ----------------------------------------------------------------------------------- strangers */

/*
 * Where thousands would be needed, most of them are only counted: what is decided is decided by
 * these numbers.
 */
static void pretend(Scene *scene, int strangers, int partial) {
    scene->server->n_strangers += (size_t)strangers;
    scene->server->n_partial += (size_t)partial;
}

static void disperse(Scene *scene, Peer *peers, size_t n) {
    for (size_t i = 0; i < n; i++)
        peer_close(&peers[i]);
    turn(scene);
}

/** open_known() - strangers from where somebody has spoken, who is `known` */
static void open_known(Scene *scene, Peer *known) {
    scene->server->seed = 1; /* no two of our addresses count together */
    peer_up(scene, known, DATA, "198.51.100.1");
    say(scene, known, 0, "text", 4, 99);
    expect_said(scene, "text.");
}

/* when half of what is allowed has greeted they have less time; not so who comes from where
 * somebody is known */
static void test_many_strangers(void **state) {
    (void)state;
    enum { N = 6, GO = 3 };
    uint8_t bytes[512];
    Scene scene;
    Peer known, same, peers[N];
    scene_open(&scene);
    open_known(&scene, &known);
    peer_open(&scene, &same, DATA, "198.51.100.1");
    greet(&scene, &same, 1, 99);
    for (int i = 0; i < N; i++) {
        peer_open(&scene, &peers[i], DATA, "10.0.0.1");
        if (i == 2)
            shake(&scene, &peers[i], 1, 99); /* and said nothing */
        else
            greet(&scene, &peers[i], 1, 99);
        later(&scene, 1);
    }
    const int others = ZMTP_STRANGERS_MAX / 2 - (N + 1 - GO);
    pretend(&scene, others, 0);
    later(&scene, ZMTP_STRANGERS_PATIENCE_MS - N - 1);
    assert_int_equal(scene.n_down[ZMTP_TOO_MANY], 0);
    for (unsigned i = 1; i < N; i++) {
        later(&scene, 1);
        assert_int_equal(scene.n_down[ZMTP_TOO_MANY], i < GO ? i - (i > 2) : GO - (i < 3));
    }
    later(&scene, ZMTP_STRANGERS_PATIENCE_MS);
    pretend(&scene, -others, 0);
    assert_int_equal(scene.n_down[ZMTP_TOO_MANY], GO);
    assert_false(hear(&peers[0], SIZE_MAX) || hear(&peers[1], SIZE_MAX));
    const size_t n = initiate(&scene, &same, "PUB", 99, bytes);
    put(&scene, &same, bytes, n, n);
    assert_int_equal(scene.n_up, 3);
    disperse(&scene, peers, N);
    peer_close(&same);
    peer_close(&known);
    scene_close(&scene);
}

/* beyond what is allowed they go as soon as they have greeted; with the same exception, which has
 * an end too */
static void test_too_many_strangers(void **state) {
    (void)state;
    uint8_t greeting[64];
    Scene scene;
    Peer known, silent, one, many[ZMTP_STRANGERS_KNOWN_MAX + 1];
    scene_open(&scene);
    open_known(&scene, &known);
    pretend(&scene, ZMTP_STRANGERS_MAX - 1, 0);
    peer_open(&scene, &silent, DATA, "10.0.0.3"); /* costs nothing but a descriptor */
    peer_open(&scene, &one, DATA, "10.0.0.1");
    greet(&scene, &one, 1, 99);
    peer_open(&scene, &many[0], DATA, "10.0.0.2");
    client_greeting(greeting, "CURVE");
    put(&scene, &many[0], greeting, 63, 99);
    assert_int_equal(scene.n_down[ZMTP_TOO_MANY], 0);
    put(&scene, &many[0], greeting + 63, 1, 1);
    expect_end(&scene, &many[0], ZMTP_TOO_MANY, false);
    assert_true(hear(&one, SIZE_MAX));
    peer_close(&many[0]);
    for (int i = 0; i <= ZMTP_STRANGERS_KNOWN_MAX; i++) {
        peer_open(&scene, &many[i], DATA, "198.51.100.1");
        put(&scene, &many[i], greeting, 64, 64);
        assert_int_equal(scene.n_down[ZMTP_TOO_MANY], i == ZMTP_STRANGERS_KNOWN_MAX);
    }
    pretend(&scene, 1 - ZMTP_STRANGERS_MAX, 0);
    disperse(&scene, many, ZMTP_STRANGERS_KNOWN_MAX + 1);
    peer_close(&one);
    peer_close(&silent);
    turn(&scene);
    assert_int_equal(zmtp_server_counts(scene.server).n_strangers, 0);
    peer_close(&known);
    scene_close(&scene);
}

/* --------------------------------------------------------------------------------- descriptors */

/** fill() - silent ones until one is cut; which it was */
static size_t fill(Scene *scene, Peer *peers, size_t most, bool one_address) {
    char address[32];
    for (size_t i = 0; i < most; i++) {
        (void)snprintf(address, sizeof(address), "10.0.%zu.%zu", one_address ? 0 : 1 + i / 250,
                       one_address ? 0 : i % 250);
        peers[i] = (Peer){0};
        adopt(scene, &peers[i], DATA, address);
        turn(scene);
        if (scene->n_down[ZMTP_TOO_MANY])
            return i;
    }
    fail_msg("%zu, and none was cut", most);
    return 0;
}

/* of one address no more than some when half are taken, of nobody when they come to an end */
static void test_descriptors(void **state) {
    (void)state;
    enum { FDS = 600 };
    Scene scene;
    Peer known, one[FDS], others[FDS];
    scene_open(&scene);
    open_known(&scene, &known);
    scene.server->n_fds = FDS;
    const size_t n = fill(&scene, one, FDS, true);
    assert_in_range(one[n].fd, FDS / 2 - 4, FDS / 2 + 4);
    expect_end(&scene, &one[n], ZMTP_TOO_MANY, false);
    const size_t n_others = fill(&scene, others, FDS, false);
    assert_in_range(others[n_others].fd, FDS - ZMTP_FDS_RESERVE - 4, FDS - ZMTP_FDS_RESERVE + 4);
    assert_int_equal(zmtp_server_counts(scene.server).n, 1 + n + n_others);
    say(&scene, &known, 0, "text", 4, 99);
    expect_said(&scene, "text.");
    disperse(&scene, others, n_others + 1);
    disperse(&scene, one, n + 1);
    peer_close(&known);
    scene_close(&scene);
}

/** take_all() - descriptors; how many, of which the last is given back */
static size_t take_all(int fds[], size_t most) {
    size_t n = 0;
    while (n < most && (fds[n] = dup(0)) >= 0)
        n++;
    assert_int_equal(errno, EMFILE);
    return n;
}

/* none is left: the listener rests instead of being told of it again and again */
static void test_no_descriptor(void **state) {
    (void)state;
    enum { FDS = 256 };
    struct rlimit before, few;
    Scene scene;
    int fds[FDS];
    scene_open(&scene);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    few = (struct rlimit){.rlim_cur = FDS, .rlim_max = before.rlim_max};
    const struct sockaddr_in to = {.sin_family = AF_INET,
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                                   .sin_port = htons(zmtp_listener_port(scene.listeners[DATA]))};
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    const size_t n = take_all(fds, FDS);
    assert_int_equal(connect(fd, (const struct sockaddr *)&to, sizeof(to)), 0);
    struct pollfd more = {.fd = zmtp_server_fd(scene.server), .events = POLLIN};
    assert_int_equal(poll(&more, 1, 5000), 1);
    (void)zmtp_server_turn(scene.server, scene.now_ms);
    assert_int_equal(poll(&more, 1, 0), 0);
    for (size_t i = 0; i < n; i++)
        (void)close(fds[i]);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    later(&scene, 99);
    assert_int_equal(zmtp_server_counts(scene.server).n, 0);
    later(&scene, 1);
    assert_int_equal(zmtp_server_counts(scene.server).n, 1);
    uint8_t greeting[12];
    assert_int_equal(recv(fd, greeting, 12, MSG_WAITALL), 12);
    (void)close(fd);
    scene_close(&scene);
}

/* ------------------------------------------------------------------------------- who has to wait
 */

/* too many frames are under way: who says something new waits, unread, and is not thought silent */
static void test_waiting(void **state) {
    (void)state;
    Scene scene;
    Peer partial, spoke, quiet, leaves;
    uint8_t frame[128];
    scene_open(&scene);
    peer_up(&scene, &partial, DATA, "192.0.2.1");
    peer_up(&scene, &spoke, DATA, "192.0.2.1");
    peer_up(&scene, &quiet, DATA, "192.0.2.1");
    peer_up(&scene, &leaves, DATA, "192.0.2.1");
    say(&scene, &spoke, 0, "before", 6, 99);
    expect_said(&scene, "before.");
    pretend(&scene, 0, ZMTP_PARTIAL_MAX - 1);
    const size_t n = client_message(&partial.client, 0, "whole", 5, frame);
    put(&scene, &partial, frame, n - 3, 99);
    say(&scene, &spoke, 0, "first", 5, 99);
    say(&scene, &quiet, 0, "second", 6, 99);
    say(&scene, &leaves, 0, "never", 5, 99);
    assert_int_equal(zmtp_server_counts(scene.server).n_waiting, 3);
    peer_close(&leaves);
    turn(&scene);
    assert_int_equal(scene.n_down[ZMTP_CLOSED], 1);
    for (int i = 0; i < 5; i++) {
        put(&scene, &partial, frame + n - 3 + i / 3, i % 3 == 0, 1);
        later(&scene, ZMTP_PARTIAL_MS / 5);
    }
    expect_said(&scene, "");
    assert_int_equal(zmtp_server_counts(scene.server).n_waiting, 2);
    put(&scene, &partial, frame + n - 1, 1, 1);
    expect_said(&scene, "whole.first.second.");
    assert_int_equal(zmtp_server_counts(scene.server).n_waiting, 0);
    later(&scene, ZMTP_PING_MS - 1);
    expect_nothing(&scene, &spoke);
    pretend(&scene, 0, 1 - ZMTP_PARTIAL_MAX);
    assert_int_equal(zmtp_server_counts(scene.server).n_partial, 0);
    peer_close(&partial);
    peer_close(&spoke);
    peer_close(&quiet);
    scene_close(&scene);
}

/* whose frame takes too long is not waited for; but it may when nobody waits. Who waited has not
 * been silent */
static void test_long_under_way(void **state) {
    (void)state;
    Scene scene;
    Peer partial, peer;
    uint8_t frame[128];
    scene_open(&scene);
    peer_up(&scene, &partial, DATA, "192.0.2.1");
    peer_up(&scene, &peer, DATA, "192.0.2.1");
    say(&scene, &peer, 0, "before", 6, 99);
    (void)client_message(&partial.client, 0, "text", 4, frame);
    for (int i = 0; i < 8; i++) {
        put(&scene, &partial, frame + i, 1, 1);
        later(&scene, ZMTP_PARTIAL_MS / 6);
        (void)hear(&peer, SIZE_MAX); /* PING */
        say(&scene, &peer, 2, "\4PONG", 5, 99);
    }
    assert_int_equal(zmtp_server_counts(scene.server).n, 2);
    peer_close(&partial);
    turn(&scene);
    memset(scene.n_down, 0, sizeof(scene.n_down));
    peer_up(&scene, &partial, DATA, "192.0.2.1");
    (void)client_message(&partial.client, 0, "text", 4, frame);
    peer.in.size = 0;
    pretend(&scene, 0, ZMTP_PARTIAL_MAX - 1);
    put(&scene, &partial, frame, 1, 1);
    say(&scene, &peer, 0, "after", 5, 99);
    later(&scene, ZMTP_PARTIAL_MS / 2);
    put(&scene, &partial, frame + 1, 1, 1);
    later(&scene, ZMTP_PARTIAL_MS / 2);
    expect_said(&scene, "before.");
    later(&scene, 1000); /* it is not looked for all the time */
    expect_end(&scene, &partial, ZMTP_TOO_MANY, true);
    (void)zmtp_server_turn(scene.server, scene.now_ms);
    expect_said(&scene, "after.");
    expect_nothing(&scene, &peer);
    peer_close(&partial);
    peer_close(&peer);
    pretend(&scene, 0, 1 - ZMTP_PARTIAL_MAX);
    scene_close(&scene);
}

/* who closed before it said a byte is told from who was at it; a message begun is not one */
static void test_left(void **state) {
    (void)state;
    Scene scene;
    Peer peer;
    scene_open(&scene);
    for (int said = 0; said < 2; said++) {
        peer_open(&scene, &peer, DATA, "192.0.2.1");
        put(&scene, &peer, "\xff", (size_t)said, 1);
        assert_int_equal(shutdown(peer.fd, SHUT_WR), 0);
        expect_end(&scene, &peer, said ? ZMTP_CLOSED : ZMTP_LEFT, false);
        peer_close(&peer);
    }
    scene_close(&scene);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_handshake_time),
        cmocka_unit_test(test_others_are_slow),
        cmocka_unit_test(test_silence),
        cmocka_unit_test(test_silent_since),
        cmocka_unit_test(test_twins),
        cmocka_unit_test(test_was_stopped),
        cmocka_unit_test(test_order_of_asking),
        cmocka_unit_test(test_slow_and_slower),
        cmocka_unit_test(test_left),
        cmocka_unit_test(test_many_strangers),
        cmocka_unit_test(test_too_many_strangers),
        cmocka_unit_test(test_descriptors),
        cmocka_unit_test(test_no_descriptor),
        cmocka_unit_test(test_waiting),
        cmocka_unit_test(test_long_under_way),
    };
    return sodium_init() < 0 ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
