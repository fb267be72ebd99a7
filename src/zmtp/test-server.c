/* SPDX-License-Identifier: Apache-2.0 */

/* What is said over the server's connections, and how each ends. Limits: test-server-limits.c */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "zmtp/server-scene.h"

/* ----------------------------------------------------------------------------------- in pieces */

/* each byte is a read of the server's */
static void test_byte_by_byte(void **state) {
    (void)state;
    Scene scene;
    Peer data, control;
    uint8_t large[3000];
    scene_open(&scene);
    peer_open(&scene, &data, DATA, "192.0.2.1");
    shake(&scene, &data, 1, 1);
    peer_open(&scene, &control, CONTROL, "192.0.2.1");
    shake(&scene, &control, 1, 1);
    say(&scene, &data, 1, "weir", 4, 1);
    assert_int_equal(scene.n_messages, 0); /* waits for the rest */
    assert_int_equal(zmtp_server_counts(scene.server).n_partial, 1);
    say(&scene, &data, 0, "rest", 4, 1);
    assert_int_equal(zmtp_server_counts(scene.server).n_partial, 0);
    expect_said(&scene, "weir|rest.");
    memset(large, 'l', sizeof(large));
    say(&scene, &data, 0, large, sizeof(large), 1);
    turn(&scene);
    assert_int_equal(scene.said.size, sizeof(large) + 1);
    assert_memory_equal(scene.said.bytes, large, sizeof(large));
    say(&scene, &control, 0, "\1topic", 6, 1);
    assert_int_equal(scene.n_on, 1);
    assert_int_equal(send_to(&scene, &control, "topic", "text", 4), 1);
    expect(&scene, &control, 1, "topic", 5);
    expect(&scene, &control, 0, "text", 4);
    say(&scene, &data, 2, "\4PING\0\0context", 14, 1);
    expect(&scene, &data, 2, "\4PONGcontext", 12);
    peer_close(&data);
    peer_close(&control);
    scene_close(&scene);
}

/* counted as under way, and no longer when it is whole or gone */
static void test_partial(void **state) {
    (void)state;
    Scene scene;
    Peer whole, gone;
    uint8_t frame[128];
    scene_open(&scene);
    peer_up(&scene, &whole, DATA, "192.0.2.1");
    peer_up(&scene, &gone, DATA, "192.0.2.1");
    put(&scene, &gone, "\0\xf0\7MESS", 7, 7);
    const size_t n = client_message(&whole.client, 0, "text", 4, frame);
    put(&scene, &whole, frame, n - 1, n);
    assert_int_equal(zmtp_server_counts(scene.server).n_partial, 2);
    put(&scene, &whole, frame + n - 1, 1, 1);
    assert_int_equal(zmtp_server_counts(scene.server).n_partial, 1);
    expect_said(&scene, "text.");
    peer_close(&gone);
    turn(&scene);
    assert_int_equal(zmtp_server_counts(scene.server).n_partial, 0);
    assert_int_equal(zmtp_server_counts(scene.server).n, 1);
    peer_close(&whole);
    scene_close(&scene);
}

/* -------------------------------------------------------------------- who does not take things */

enum { MESSAGE = 5000 };

/** send_numbered() - as many as are taken, of at most `most` */
static unsigned send_numbered(Scene *scene, const Peer *peer, unsigned first, unsigned most) {
    uint8_t text[MESSAGE];
    for (unsigned i = 0; i < most; i++) {
        memset(text, (int)(first + i) & 0xff, sizeof(text));
        text[0] = (uint8_t)((first + i) >> 8);
        if (!send_to(scene, peer, "t", text, sizeof(text)))
            return i;
    }
    return most;
}

/** expect_numbered() - whole and in order, `step` bytes of a turn at a time */
static void expect_numbered(Scene *scene, Peer *peer, unsigned first, unsigned n, size_t step) {
    static uint8_t plain[ZMTP_FRAME_MAX_BYTES];
    for (unsigned i = first; i < first + n;) {
        size_t size = 0;
        assert_true(hear(peer, step));
        turn(scene);
        while (next_said(peer, plain, sizeof(plain), &size)) {
            if (plain[0] == 1) {
                assert_int_equal(size, 2);
                assert_int_equal(plain[1], 't');
                continue;
            }
            if (plain[0] == 2) { /* there was room for the answer to a PING */
                assert_int_equal(size, 1 + 12);
                continue;
            }
            assert_int_equal(size, 1 + MESSAGE);
            assert_int_equal(plain[1], i >> 8);
            assert_int_equal(plain[2], i & 0xff);
            assert_int_equal(plain[MESSAGE], i & 0xff);
            i++;
        }
    }
}

static void open_reluctant(Scene *scene, Peer *peer) {
    int fds[2], least = 1;
    *peer = (Peer){.side = CONTROL};
    client_init(&peer->client, scene->keys.public);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    assert_int_equal(setsockopt(fds[1], SOL_SOCKET, SO_SNDBUF, &least, sizeof(least)), 0);
    peer->fd = fds[0];
    assert_int_equal(
        zmtp_listener_adopt(scene->listeners[CONTROL], fds[1], "192.0.2.9", 7, scene->now_ms), 0);
    shake(scene, peer, 1, 999);
    subscribe(scene, peer, "t");
}

/* what waits is bounded, what is left out is left out whole, and it goes on afterwards */
static void test_does_not_read(void **state) {
    (void)state;
    Scene scene;
    Peer slow, other;
    scene_open(&scene);
    open_reluctant(&scene, &slow);
    peer_up(&scene, &other, CONTROL, "192.0.2.1");
    subscribe(&scene, &other, "t");
    const unsigned most = ZMTP_OUT_MAX_BYTES / MESSAGE + 5;
    const unsigned n = send_numbered(&scene, &slow, 0, most);
    assert_in_range(n, ZMTP_OUT_MAX_BYTES / MESSAGE - 2, most - 1);
    assert_int_equal(send_numbered(&scene, &slow, n, 1), 0);
    turn(&scene);
    assert_int_equal(send_to(&scene, &other, "t", "text", 4), 1); /* the others' are no less */
    expect(&scene, &other, 1, "t", 1);
    expect(&scene, &other, 0, "text", 4);
    /* what was asked of it is left out as well, and it is not cut for that */
    say(&scene, &slow, 2, "\4PING\0\0context", 14, 99);
    assert_int_equal(zmtp_server_counts(scene.server).n, 2);
    expect_numbered(&scene, &slow, 0, n, 997);
    assert_int_equal(send_numbered(&scene, &slow, n, 20), 20);
    expect_numbered(&scene, &slow, n, 20, 1);
    expect_nothing(&scene, &slow);
    peer_close(&slow);
    peer_close(&other);
    scene_close(&scene);
}

/* what comes when some of it has gone already stays behind what waits */
static void test_order(void **state) {
    (void)state;
    Scene scene;
    Peer slow;
    scene_open(&scene);
    open_reluctant(&scene, &slow);
    assert_int_equal(send_numbered(&scene, &slow, 0, 10), 10);
    assert_true(hear(&slow, SIZE_MAX)); /* the system has room, and the server no turn */
    assert_int_equal(send_numbered(&scene, &slow, 10, 5), 5);
    expect_numbered(&scene, &slow, 0, 15, 4096);
    expect_nothing(&scene, &slow);
    peer_close(&slow);
    scene_close(&scene);
}

/* closed by either end while there is more for it, and while there is more from it */
static void test_closed_while_waiting(void **state) {
    (void)state;
    for (int how = 0; how < 4; how++) {
        Scene scene;
        Peer slow, data;
        scene_open(&scene);
        open_reluctant(&scene, &slow);
        assert_int_equal(send_numbered(&scene, &slow, 0, 10), 10);
        if (how == 0)
            (void)close(slow.fd);
        else if (how == 1)
            zmtp_listener_close(scene.listeners[CONTROL]);
        else if (how == 2)
            zmtp_listener_rekey(scene.listeners[CONTROL], &scene.keys);
        assert_int_equal(zmtp_server_listens(scene.server, CONTROL, slow.client.keys[0]),
                         how == 0 || how == 3);
        if (how < 3) {
            assert_int_equal(send_numbered(&scene, &slow, 10, 1), how == 0);
            turn(&scene);
            assert_int_equal(scene.n_down[how == 0 ? ZMTP_CLOSED : ZMTP_STOPPED], 1);
            assert_int_equal(zmtp_server_counts(scene.server).n, 0);
            assert_int_equal(send_numbered(&scene, &slow, 10, 1), 0);
        }
        /* what was said before it closed is heard, a part of a message is not */
        peer_up(&scene, &data, DATA, "192.0.2.1");
        uint8_t frames[400];
        size_t n = client_message(&data.client, 0, "one", 3, frames);
        n += client_message(&data.client, 1, "weir", 4, frames + n);
        n += client_message(&data.client, 0, "two", 3, frames + n);
        n += client_message(&data.client, 1, "not", 3, frames + n);
        assert_int_equal(send(data.fd, frames, n, 0), (ssize_t)n);
        peer_close(&data);
        expect_said(&scene, "one.weir|two.");
        assert_int_equal(scene.n_down[ZMTP_CLOSED], how == 0 ? 2 : 1);
        scene_close(&scene);
        if (how)
            (void)close(slow.fd);
        buffer_deinit(&slow.in);
    }
}

/* found to be gone when something is sent to it: not taken, and an end like others */
static void test_sent_to_the_dead(void **state) {
    (void)state;
    Scene scene;
    Peer peer;
    scene_open(&scene);
    peer_up(&scene, &peer, CONTROL, "192.0.2.1");
    subscribe(&scene, &peer, "t");
    peer_close(&peer);
    assert_int_equal(send_to(&scene, &peer, "t", "text", 4), 0);
    turn(&scene);
    assert_int_equal(scene.n_down[ZMTP_CLOSED], 1);
    assert_true(scene.last_was_up);
    assert_int_equal(zmtp_server_counts(scene.server).n, 0);
    scene_close(&scene);
}

/* ------------------------------------------------------------------------------- subscriptions */

static void test_topics(void **state) {
    (void)state;
    Scene scene;
    Peer peer;
    scene_open(&scene);
    peer_up(&scene, &peer, CONTROL, "192.0.2.1");
    assert_false(zmtp_server_listens(scene.server, CONTROL, peer.client.keys[0]));
    assert_int_equal(send_to(&scene, &peer, "abc", "0", 1), 0);
    subscribe(&scene, &peer, "abc");
    assert_true(zmtp_server_listens(scene.server, CONTROL, peer.client.keys[0]));
    assert_false(zmtp_server_listens(scene.server, DATA, peer.client.keys[0]));
    assert_int_equal(send_to(&scene, &peer, "abc", "1", 1), 1);
    assert_int_equal(send_to(&scene, &peer, "abcd", "2", 1), 1);
    assert_int_equal(send_to(&scene, &peer, "ab", "3", 1), 0);
    assert_int_equal(send_to(&scene, &peer, "abd", "4", 1), 0);
    expect(&scene, &peer, 1, "abc", 3);
    expect(&scene, &peer, 0, "1", 1);
    expect(&scene, &peer, 1, "abcd", 4);
    expect(&scene, &peer, 0, "2", 1);
    subscribe(&scene, &peer, "x is not for it");
    assert_int_equal(send_to(&scene, &peer, "x is not for it", "5", 1), 0);
    subscribe(&scene, &peer, "ab");
    assert_int_equal(send_to(&scene, &peer, "abd", "6", 1), 1);
    expect(&scene, &peer, 1, "abd", 3);
    expect(&scene, &peer, 0, "6", 1);
    say(&scene, &peer, 2, "\6CANCELab", 9, 99);
    assert_int_equal(send_to(&scene, &peer, "abd", "7", 1), 0);
    assert_int_equal(send_to(&scene, &peer, "abc", "8", 1), 1);
    expect(&scene, &peer, 1, "abc", 3);
    expect(&scene, &peer, 0, "8", 1);
    say(&scene, &peer, 0, "\0abc", 4, 99); /* as before 3.1 */
    assert_false(zmtp_server_listens(scene.server, CONTROL, peer.client.keys[0]));
    say(&scene, &peer, 2, "\6CANCELabc", 10, 99); /* it has it no more */
    assert_int_equal(scene.n_on, 3);
    assert_int_equal(scene.n_off, 2);
    subscribe(&scene, &peer, ""); /* all */
    assert_int_equal(send_to(&scene, &peer, "any", "9", 1), 1);
    expect(&scene, &peer, 1, "any", 3);
    expect(&scene, &peer, 0, "9", 1);
    expect_nothing(&scene, &peer);
    peer_close(&peer);
    scene_close(&scene);
}

/* one key at two sides: each is told what is said there */
static void test_two_sides(void **state) {
    (void)state;
    Scene scene;
    Peer one, other;
    ZmtpListener *third = NULL;
    scene_open(&scene);
    const ZmtpListen what = {.side = SIDES, .kind = ZMTP_XPUB, .keys = scene.keys};
    const struct sockaddr_in at = {.sin_family = AF_INET,
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    assert_int_equal(
        zmtp_listen(scene.server, &what, (const struct sockaddr *)&at, sizeof(at), &third), 0);
    peer_up(&scene, &one, CONTROL, "192.0.2.1");
    subscribe(&scene, &one, "t");
    other = (Peer){.client = one.client};
    other.client.nonce = 0;
    scene.listeners[DATA] = third;
    adopt(&scene, &other, DATA, "192.0.2.1");
    other.side = CONTROL; /* as it is one */
    shake(&scene, &other, 1, 99);
    subscribe(&scene, &other, "t");
    assert_int_equal(send_to(&scene, &one, "t", "text", 4), 1);
    expect(&scene, &one, 1, "t", 1);
    expect(&scene, &one, 0, "text", 4);
    expect_nothing(&scene, &other);
    say(&scene, &one, 2, "\6CANCELt", 8, 99);
    assert_false(zmtp_server_listens(scene.server, CONTROL, one.client.keys[0]));
    assert_true(zmtp_server_listens(scene.server, SIDES, one.client.keys[0]));
    peer_close(&one);
    peer_close(&other);
    scene_close(&scene);
}

/* each gets its own, whoever else goes meanwhile */
static void test_many(void **state) {
    (void)state;
    enum { MANY = 300 };
    Scene scene;
    Peer *peers = calloc(MANY, sizeof(*peers));
    assert_non_null(peers);
    scene_open(&scene);
    for (unsigned i = 0; i < MANY; i++) {
        peer_up(&scene, &peers[i], CONTROL, "192.0.2.1");
        subscribe(&scene, &peers[i], "t");
    }
    assert_int_equal(zmtp_server_counts(scene.server).n, MANY);
    assert_int_equal(zmtp_server_counts(scene.server).n_strangers, 0);
    unsigned left = MANY;
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned i = round; i < MANY; i++) {
            const bool gone = i % 3 < round;
            assert_int_equal(send_to(&scene, &peers[i], "t", &i, sizeof(i)), !gone);
        }
        for (unsigned i = round; i < MANY; i++)
            if (i % 3 >= round) {
                expect(&scene, &peers[i], 1, "t", 1);
                expect(&scene, &peers[i], 0, &i, sizeof(i));
                assert_int_equal(peers[i].in.size, 0);
            }
        for (unsigned i = round; i < MANY; i += 3) {
            peer_close(&peers[i]);
            left--;
        }
        turn(&scene);
        assert_int_equal(scene.n_down[ZMTP_CLOSED], MANY - left);
        assert_int_equal(zmtp_server_counts(scene.server).n, left);
        assert_int_equal(zmtp_server_counts(scene.server).n_strangers, 0);
    }
    scene_close(&scene);
    free(peers);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_byte_by_byte),
        cmocka_unit_test(test_partial),
        cmocka_unit_test(test_does_not_read),
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_closed_while_waiting),
        cmocka_unit_test(test_sent_to_the_dead),
        cmocka_unit_test(test_topics),
        cmocka_unit_test(test_two_sides),
        cmocka_unit_test(test_many),
    };
    return sodium_init() < 0 ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
