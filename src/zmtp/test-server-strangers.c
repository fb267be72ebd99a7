/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Anyone who has the server's public key can shake hands, with as many keys as he likes. What he
 * may then have of the server, as long as nobody knows his key, and that others have all of it.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "zmtp/server-scene.h"
#include "zmtp/server_inner.h"

static void open_scene(Scene *scene) {
    scene_knows = true;
    scene_open(scene);
}

/** large() - all but `without` bytes of a message of this size */
static void large(Scene *scene, Peer *peer, size_t size, size_t without) {
    static uint8_t text[ZMTP_FRAME_MAX_BYTES], frame[ZMTP_FRAME_MAX_BYTES + 64];
    const size_t n = client_message(&peer->client, 0, text, size, frame);
    put(scene, peer, frame, n - without, n);
}

/* who is admitted stops to be a stranger with the next that he says, or was none when he came */
static void test_known(void **state) {
    (void)state;
    Scene scene;
    Peer stranger, friend;
    open_scene(&scene);
    peer_up(&scene, &stranger, DATA, "192.0.2.1");
    say(&scene, &stranger, 0, "text", 4, 99);
    say(&scene, &stranger, 0, "text", 4, 99);
    assert_int_equal(scene.n_messages, 2); /* it is the hub that makes him wait */
    assert_int_equal(zmtp_server_counts(scene.server).n_strangers, 1);
    scene.friend = stranger.client.keys[0];
    say(&scene, &stranger, 0, "text", 4, 99);
    assert_int_equal(zmtp_server_counts(scene.server).n_strangers, 0);
    large(&scene, &stranger, ZMTP_STRANGERS_FRAME_MAX_BYTES, 0);
    assert_int_equal(scene.n_messages, 4);
    peer_open(&scene, &friend, CONTROL, "192.0.2.1");
    friend.client = stranger.client; /* its keys */
    friend.client.nonce = 0;
    shake(&scene, &friend, 1, 99);
    assert_int_equal(scene.n_up, 2);
    assert_int_equal(zmtp_server_counts(scene.server).n_strangers, 0);
    peer_close(&stranger);
    peer_close(&friend);
    scene_close(&scene);
}

static void test_frame(void **state) {
    (void)state;
    Scene scene;
    Peer peer;
    open_scene(&scene);
    peer_up(&scene, &peer, DATA, "192.0.2.1");
    large(&scene, &peer, ZMTP_STRANGERS_FRAME_MAX_BYTES - CURVE_BOX_BYTES - 1, 0);
    assert_int_equal(scene.n_messages, 1);
    large(&scene, &peer, ZMTP_STRANGERS_FRAME_MAX_BYTES - CURVE_BOX_BYTES, 1);
    expect_end(&scene, &peer, ZMTP_TOO_LARGE, true);
    peer_close(&peer);
    scene_close(&scene);
}

/* they have frames under way: further ones are cut, and those who are known do not wait for them */
static void test_partial(void **state) {
    (void)state;
    Scene scene;
    Peer peers[3], friend;
    open_scene(&scene);
    for (int i = 0; i < 3; i++)
        peer_up(&scene, &peers[i], DATA, "192.0.2.1");
    scene.server->n_partial_strangers += ZMTP_STRANGERS_PARTIAL_MAX - 2;
    large(&scene, &peers[0], 1000, 1);
    say(&scene, &peers[1], 1, "first of two", 12, 99); /* is kept as well */
    assert_int_equal(scene.n_down[ZMTP_TOO_MANY], 0);
    large(&scene, &peers[2], 1000, 1);
    expect_end(&scene, &peers[2], ZMTP_TOO_MANY, true);
    peer_open(&scene, &friend, DATA, "192.0.2.1");
    scene.friend = friend.client.keys[0];
    shake(&scene, &friend, 1, 99);
    large(&scene, &friend, 1000, 1);
    assert_int_equal(zmtp_server_counts(scene.server).n_waiting, 0);
    assert_int_equal(scene.server->n_partial, 1);
    scene.friend = peers[1].client.keys[0]; /* what is under way is counted where he now belongs */
    say(&scene, &peers[1], 0, "second", 6, 3);
    assert_int_equal(scene.server->n_partial, 1);
    assert_int_equal(scene.server->n_partial_strangers, ZMTP_STRANGERS_PARTIAL_MAX - 1);
    for (int i = 0; i < 3; i++)
        peer_close(&peers[i]);
    peer_close(&friend);
    turn(&scene);
    assert_int_equal(scene.server->n_partial, 0);
    assert_int_equal(scene.server->n_partial_strangers, ZMTP_STRANGERS_PARTIAL_MAX - 2);
    scene_close(&scene);
}

/* asks and asks, and reads no answer */
static void test_reads_nothing(void **state) {
    (void)state;
    Scene scene;
    Peer peer;
    open_scene(&scene);
    peer_up(&scene, &peer, DATA, "192.0.2.1");
    size_t most = 0;
    for (int i = 0; i < 20000; i++) {
        say(&scene, &peer, 2, "\4PING\0\0context", 14, 99);
        const Conn *conn = conns_first(scene.server, peer.client.keys[0]);
        assert_non_null(conn);
        most = conn->out.size > most ? conn->out.size : most;
    }
    assert_true(most > ZMTP_STRANGERS_OUT_MAX_BYTES / 2 && most <= ZMTP_STRANGERS_OUT_MAX_BYTES);
    say(&scene, &peer, 0, "text", 4, 99);
    expect_said(&scene, "text."); /* he only harms himself */
    peer_close(&peer);
    scene_close(&scene);
}

/* an address of IPv6 is one of those that its holder has; those of others are others */
static void test_addresses(void **state) {
    (void)state;
    Scene scene;
    open_scene(&scene);
    ZmtpServer *server = scene.server;
    server->seed = 1; /* no two of ours by chance */
    const uint16_t slot = conns_slot(server, "2001:db8:1:2::1");
    assert_int_equal(conns_slot(server, "2001:db8:1:2:ffff:1:2:3"), slot);
    assert_int_not_equal(conns_slot(server, "2001:db8:1:3::1"), slot);
    assert_int_not_equal(conns_slot(server, "192.0.2.1"), conns_slot(server, "192.0.2.2"));
    scene_close(&scene);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known),     cmocka_unit_test(test_frame),
        cmocka_unit_test(test_partial),   cmocka_unit_test(test_reads_nothing),
        cmocka_unit_test(test_addresses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
