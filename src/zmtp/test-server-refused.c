/* SPDX-License-Identifier: Apache-2.0 */

/* Who is not let in, what is not believed, and which reason the server gives */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "zmtp/server-scene.h"
#include "zmtp/server_inner.h"

static uint8_t bytes[2 * ZMTP_FRAME_MAX_BYTES];

/* ------------------------------------------------------------------------------- who is let in */

static void test_wrong_server_key(void **state) {
    (void)state;
    Scene scene;
    Peer peer;
    uint8_t hello[202], other[2][32];
    scene_open(&scene);
    assert_int_equal(crypto_box_keypair(other[0], other[1]), 0);
    peer_open(&scene, &peer, DATA, "192.0.2.1");
    memcpy(peer.client.server, other[0], 32);
    greet(&scene, &peer, 1, 999);
    client_hello(&peer.client, hello);
    put(&scene, &peer, hello, 202, 999);
    expect_end(&scene, &peer, ZMTP_WRONG_KEY, false);
    assert_int_equal(peer.in.size, 0);
    assert_int_equal(zmtp_server_counts(scene.server).n_strangers, 0);
    peer_close(&peer);
    scene_close(&scene);
}

/* told so in clear, and cut when it stays; what it goes on to say is not looked at */
static void test_refused_key(void **state) {
    (void)state;
    Scene scene;
    Peer peer;
    scene_open(&scene);
    for (int stays = 0; stays < 2; stays++) {
        peer_open(&scene, &peer, CONTROL, "192.0.2.1");
        scene.refused = peer.client.keys[0];
        greet(&scene, &peer, 1, 999);
        const size_t n = initiate(&scene, &peer, "SUB", 999, bytes);
        put(&scene, &peer, bytes, n, n);
        assert_true(hear(&peer, SIZE_MAX));
        assert_int_equal(peer.in.size, 12);
        assert_memory_equal(peer.in.bytes, "\4\x0a\5ERROR\003400", 12);
        subscribe(&scene, &peer, "topic");
        put(&scene, &peer, "\4\5\4PING", 7, 7);
        assert_int_equal(zmtp_server_counts(scene.server).n,
                         1); /* it shall read what it was told */
        assert_int_equal(scene.n_up + scene.n_on, 0);
        assert_false(zmtp_server_listens(scene.server, CONTROL, peer.client.keys[0]));
        if (stays)
            later(&scene, ZMTP_HANDSHAKE_MS);
        else
            assert_int_equal(shutdown(peer.fd, SHUT_RDWR), 0);
        expect_end(&scene, &peer, ZMTP_UNWANTED, false);
        assert_memory_equal(scene.last_key, peer.client.keys[0], 32);
        peer_close(&peer);
    }
    scene_close(&scene);
}

/* the right public key but not the secret to it; what another short-term key was vouched for with;
 * what was said to another server, which hands it on */
static void test_not_vouched(void **state) {
    (void)state;
    for (int how = 0; how < 3; how++) {
        Scene scene;
        Peer honest, thief;
        uint8_t hello[202];
        scene_open(&scene);
        peer_up(&scene, &honest, DATA, "192.0.2.1");
        peer_open(&scene, &thief, DATA, "192.0.2.2");
        greet(&scene, &thief, 1, 999);
        client_hello(&thief.client, hello);
        put(&scene, &thief, hello, 202, 999);
        assert_true(hear(&thief, SIZE_MAX));
        uint8_t *place[] = {thief.client.keys[0], thief.client.shorts[0], thief.client.server};
        memcpy(place[how], honest.client.keys[0], 32);
        const size_t n = client_initiate(&thief.client, thief.in.bytes, "PUB", bytes);
        thief.in.size = 0;
        put(&scene, &thief, bytes, n, n);
        expect_end(&scene, &thief, ZMTP_MALFORMED, false);
        assert_int_equal(scene.n_up, 1);
        say(&scene, &honest, 0, "still there", 11, 99);
        expect_said(&scene, "still there.");
        peer_close(&thief);
        peer_close(&honest);
        scene_close(&scene);
    }
}

static void test_wrong_type(void **state) {
    (void)state;
    static const struct {
        unsigned side;
        const char *type;
        bool fits;
    } rows[] = {
        {DATA, "PUB", true},     {DATA, "XPUB", true},    {DATA, "SUB", false},
        {DATA, "PUSH", false},   {DATA, "PUBLIC", false}, {CONTROL, "SUB", true},
        {CONTROL, "XSUB", true}, {CONTROL, "PUB", false}, {CONTROL, "REQ", false},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        Scene scene;
        Peer peer;
        scene_open(&scene);
        peer_open(&scene, &peer, rows[i].side, "192.0.2.1");
        greet(&scene, &peer, 1, 999);
        const size_t n = initiate(&scene, &peer, rows[i].type, 999, bytes);
        put(&scene, &peer, bytes, n, n);
        assert_int_equal(scene.n_up, rows[i].fits);
        if (!rows[i].fits)
            expect_end(&scene, &peer, ZMTP_MALFORMED, false);
        peer_close(&peer);
        scene_close(&scene);
    }
}

/* another server key at the same port: those of the old are cut, and strangers from then on */
static void test_rekey(void **state) {
    (void)state;
    Scene scene;
    Peer old, other_side, fresh;
    uint8_t hello[202];
    CurveKeys keys;
    scene_open(&scene);
    peer_up(&scene, &old, DATA, "192.0.2.1");
    peer_up(&scene, &other_side, CONTROL, "192.0.2.1");
    assert_int_equal(crypto_box_keypair(keys.public, keys.secret), 0);
    zmtp_listener_rekey(scene.listeners[DATA], &keys);
    expect_end(&scene, &old, ZMTP_STOPPED, true);
    peer_close(&old);
    expect_nothing(&scene, &other_side);
    peer_open(&scene, &old, DATA, "192.0.2.1");
    greet(&scene, &old, 1, 999);
    client_hello(&old.client, hello);
    put(&scene, &old, hello, 202, 999);
    expect_end(&scene, &old, ZMTP_WRONG_KEY, false);
    fresh = (Peer){0};
    client_init(&fresh.client, keys.public);
    adopt(&scene, &fresh, DATA, "192.0.2.1");
    shake(&scene, &fresh, 1, 999);
    peer_close(&old);
    peer_close(&fresh);
    peer_close(&other_side);
    scene_close(&scene);
}

/* --------------------------------------------------------------------------- what is not new */

/* a whole recorded connection, and its INITIATE after a fresh HELLO of the same short-term key */
static void test_replayed_cookie(void **state) {
    (void)state;
    Scene scene;
    Peer peer, again;
    uint8_t greeting[64], hello[202];
    scene_open(&scene);
    peer_open(&scene, &peer, DATA, "192.0.2.1");
    client_greeting(greeting, "CURVE");
    greet(&scene, &peer, 1, 999);
    client_hello(&peer.client, hello);
    put(&scene, &peer, hello, 202, 999);
    assert_true(hear(&peer, SIZE_MAX));
    const size_t n = client_initiate(&peer.client, peer.in.bytes, "PUB", bytes);
    for (int first = 0; first < 2; first++) { /* before the cookie was used, and after */
        again = (Peer){0};
        adopt(&scene, &again, DATA, "192.0.2.1");
        put(&scene, &again, greeting, 64, 64);
        put(&scene, &again, hello, 202, 202);
        assert_int_equal(zmtp_server_counts(scene.server).n, 2);
        put(&scene, &again, bytes, n, n);
        expect_end(&scene, &again, ZMTP_MALFORMED, false);
        peer_close(&again);
        if (!first)
            put(&scene, &peer, bytes, n, n);
        assert_int_equal(scene.n_up, 1);
    }
    put(&scene, &peer, bytes, n, n); /* nor twice on its own connection */
    expect_end(&scene, &peer, ZMTP_MALFORMED, true);
    peer_close(&peer);
    scene_close(&scene);
}

/* what cookies are sealed with changes between HELLO and INITIATE: nobody notices */
static void test_old_cookie(void **state) {
    (void)state;
    Scene scene;
    Peer peer;
    scene_open(&scene);
    turn(&scene);
    later(&scene, CURVE_JAR_MS - 1);
    const uint32_t before = scene.server->jar.turn;
    peer_open(&scene, &peer, DATA, "192.0.2.1");
    greet(&scene, &peer, 1, 999);
    const size_t n = initiate(&scene, &peer, "PUB", 999, bytes);
    later(&scene, 1);
    assert_int_equal(scene.server->jar.turn, before + 1);
    put(&scene, &peer, bytes, n, n);
    assert_int_equal(scene.n_up, 1);
    peer_close(&peer);
    scene_close(&scene);
}

/* a message again, one of another connection, and one that an earlier one overtook */
static void test_replayed_message(void **state) {
    (void)state;
    for (int how = 0; how < 3; how++) {
        Scene scene;
        Peer peer, other;
        uint8_t first[128], second[128];
        scene_open(&scene);
        peer_up(&scene, &peer, DATA, "192.0.2.1");
        peer_up(&scene, &other, DATA, "192.0.2.1");
        const size_t n = client_message(&peer.client, 0, "first", 5, first);
        const size_t n_second = client_message(&peer.client, 0, "second", 6, second);
        if (how == 1) {
            put(&scene, &other, first, n, n);
            expect_end(&scene, &other, ZMTP_MALFORMED, true);
            expect_said(&scene, "");
        } else {
            put(&scene, &peer, how == 0 ? first : second, how == 0 ? n : n_second, 99);
            put(&scene, &peer, first, n, 99);
            expect_end(&scene, &peer, ZMTP_MALFORMED, true);
            expect_said(&scene, how == 0 ? "first." : "second.");
        }
        peer_close(&peer);
        peer_close(&other);
        scene_close(&scene);
    }
}

/* --------------------------------------------------------------------- what nobody should say */

typedef struct Row {
    const char *bytes;
    size_t size;
    ZmtpFault fault; /* ZMTP_FINE: it is waited for, or left out */
} Row;

static void say_as_stranger(const Row *row, ZmtpState when) {
    Scene scene;
    Peer peer;
    scene_open(&scene);
    peer_open(&scene, &peer, CONTROL, "192.0.2.1");
    if (when > ZMTP_GREETING)
        greet(&scene, &peer, 1, 999);
    if (when > ZMTP_HELLO)
        (void)initiate(&scene, &peer, "SUB", 999, bytes);
    put(&scene, &peer, row->bytes, row->size, when == ZMTP_HELLO ? 1 : 99);
    if (row->fault)
        expect_end(&scene, &peer, row->fault, false);
    else
        assert_int_equal(zmtp_server_counts(scene.server).n, 1);
    assert_int_equal(scene.n_up, 0);
    peer_close(&peer);
    scene_close(&scene);
}

static void test_stranger_says(void **state) {
    (void)state;
    static const Row greetings[] = {
        {"GET / HTTP/1.1\r\n\r\n", 18, ZMTP_NOT_ZMTP},
        {"\x16\x03\x01\x02", 4, ZMTP_NOT_ZMTP},
        {"\1\0", 2, ZMTP_NOT_ZMTP},                               /* ZMTP 1 */
        {"\xff\0\0\0\0\0\0\0\1\x7e", 10, ZMTP_NOT_ZMTP},          /* likewise, a long one */
        {"\xff\0\0\0\0\0\0\0\1\x7f\1\2", 12, ZMTP_NOT_ENCRYPTED}, /* ZMTP 2, of a SUB */
        {"\xff\0\0\0\0\0\0\0\1\x7f\3\1", 12, ZMTP_FINE},
        {"\xff\0\0\0\0\0\0\0\1\x7f\3\1NULL\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 32,
         ZMTP_NOT_ENCRYPTED},
        {"\xff\0\0\0\0\0\0\0\1\x7f\3\1CURVE\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1", 33, ZMTP_NOT_ZMTP},
    };
    static const Row commands[] = {
        {"\4\5", 2, ZMTP_FINE},
        {"\4\5\4PING", 7, ZMTP_MALFORMED},
        {"\4\x0a\5ERROR\003400", 12, ZMTP_MALFORMED},
        {"\4\6\5READY", 8, ZMTP_MALFORMED},
        {"\0\1a", 3, ZMTP_MALFORMED}, /* no command */
        {"\0", 1, ZMTP_MALFORMED},    /* not waited for either */
        {"\x0c", 1, ZMTP_MALFORMED},
        {"\4\0", 2, ZMTP_MALFORMED},
        {"\6\0\0\0\0\0\0\4\1", 9, ZMTP_MALFORMED}, /* more than any INITIATE */
        {"\6\xff\xff\xff\xff\xff\xff\xff\xff", 9, ZMTP_MALFORMED},
    };
    for (size_t i = 0; i < sizeof(greetings) / sizeof(greetings[0]); i++)
        say_as_stranger(&greetings[i], ZMTP_GREETING);
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        say_as_stranger(&commands[i], ZMTP_HELLO);
        say_as_stranger(&commands[i], ZMTP_INITIATE);
    }
}

/* of who is through the handshake: in clear, and encrypted */
static void test_peer_says(void **state) {
    (void)state;
    static const Row clear[] = {
        {"\4\5\4PING", 7, ZMTP_MALFORMED},
        {"\0\4text", 6, ZMTP_MALFORMED},
        {"\x10", 1, ZMTP_MALFORMED}, /* no such flag */
        {"\0\0", 2, ZMTP_MALFORMED},
        {"\0\x20\7MESSAGE0123456789abcdefghijklmn", 34, ZMTP_MALFORMED}, /* too short for a box */
        {"\2\0\0\0\0\0\2\0\1", 9, ZMTP_TOO_LARGE}, /* of the largest frame, and one more */
        {"\2\0\0\0\0\0\2\0\0", 9, ZMTP_FINE},
        {"\2\xff\xff\xff\xff\xff\xff\xff\xff", 9, ZMTP_TOO_LARGE},
    };
    static const Row boxes[] = {
        {"\7UNKNOWNmuch", 12, ZMTP_FINE},
        {"\5ERROR\003400", 10, ZMTP_FINE},
        {"\4PONGcontext", 12, ZMTP_FINE},
        {"\4PING", 5, ZMTP_FINE},
        {"\4PING\0\0seventeen bytes..", 24, ZMTP_FINE},
        {"\x20PING", 5, ZMTP_FINE},
        {"\6CANCELnothing", 14, ZMTP_FINE},
        {"", 0, ZMTP_FINE},
    };
    Scene scene;
    Peer peer;
    scene_open(&scene);
    for (size_t i = 0; i < sizeof(clear) / sizeof(clear[0]); i++) {
        peer_up(&scene, &peer, CONTROL, "192.0.2.1");
        put(&scene, &peer, clear[i].bytes, clear[i].size, 1);
        if (clear[i].fault)
            expect_end(&scene, &peer, clear[i].fault, true);
        else
            assert_int_equal(zmtp_server_counts(scene.server).n_partial, 1);
        peer_close(&peer);
        turn(&scene);
        memset(scene.n_down, 0, sizeof(scene.n_down));
    }
    peer_up(&scene, &peer, CONTROL, "192.0.2.1");
    for (size_t i = 0; i < sizeof(boxes) / sizeof(boxes[0]); i++) {
        say(&scene, &peer, 2, boxes[i].bytes, boxes[i].size, 99);
        expect_nothing(&scene, &peer);
        assert_int_equal(zmtp_server_counts(scene.server).n, 1);
    }
    say(&scene, &peer, 2, "\4PING\0\0sixteen bytes...", 23, 99);
    expect(&scene, &peer, 2, "\4PONGsixteen bytes...", 21);
    say(&scene, &peer, 3, "\4PING\0\0more", 11, 99); /* of a command that means nothing */
    expect(&scene, &peer, 2, "\4PONGmore", 9);
    peer_close(&peer);
    scene_close(&scene);
}

/* sealed as it has to be, but without a byte for the flags */
static void test_empty_box(void **state) {
    (void)state;
    Scene scene;
    Peer peer;
    uint8_t frame[34] = "\0\x20\7MESSAGE", nonce[24];
    scene_open(&scene);
    peer_up(&scene, &peer, DATA, "192.0.2.1");
    client_nonce(nonce, "CurveZMQMESSAGEC", ++peer.client.nonce);
    memcpy(frame + 10, nonce + 16, 8);
    assert_int_equal(crypto_box_easy_afternm(frame + 18, frame, 0, nonce, peer.client.shared), 0);
    put(&scene, &peer, frame, sizeof(frame), 99);
    expect_end(&scene, &peer, ZMTP_MALFORMED, true);
    assert_int_equal(scene.n_messages, 0);
    peer_close(&peer);
    scene_close(&scene);
}

/* the largest that is taken, of both directions, and what is larger */
static void test_sizes(void **state) {
    (void)state;
    enum { MOST = ZMTP_FRAME_MAX_BYTES - 33 };
    static uint8_t text[ZMTP_FRAME_MAX_BYTES];
    Scene scene;
    Peer data, control;
    scene_open(&scene);
    peer_up(&scene, &data, DATA, "192.0.2.1");
    peer_up(&scene, &control, CONTROL, "192.0.2.1");
    subscribe(&scene, &control, "t");
    memset(text, 't', sizeof(text));
    say(&scene, &data, 0, text, MOST, 65536);
    turn(&scene);
    assert_int_equal(scene.said.size, MOST + 1);
    assert_memory_equal(scene.said.bytes, text, MOST);
    const void *const parts[] = {text};
    size_t size = ZMTP_FRAME_MAX_BYTES - 32;
    const uint8_t *key = control.client.keys[0];
    assert_int_equal(zmtp_server_send(scene.server, CONTROL, key, parts, &size, 1), 0);
    size = MOST - 9; /* with its head, what may wait */
    assert_int_equal(zmtp_server_send(scene.server, CONTROL, key, parts, &size, 1), 1);
    expect(&scene, &control, 0, text, size);
    say(&scene, &data, 0, text, MOST + 1, 65536);
    expect_end(&scene, &data, ZMTP_TOO_LARGE, true);
    assert_int_equal(scene.n_messages, 1);
    peer_close(&data);
    peer_close(&control);
    scene_close(&scene);
}

/* parts before the last are kept: only so many bytes, only so many parts */
static void test_parts(void **state) {
    (void)state;
    Scene scene;
    Peer peer;
    scene_open(&scene);
    peer_up(&scene, &peer, DATA, "192.0.2.1");
    say(&scene, &peer, 1, "", 0, 99); /* an empty one is one */
    say(&scene, &peer, 0, "last", 4, 99);
    say(&scene, &peer, 1, "first", 5, 99);
    for (int i = 1; i < ZMTP_PARTS_MAX; i++)
        say(&scene, &peer, 1, "not kept", 8, 99);
    say(&scene, &peer, 0, "", 0, 99);
    expect_said(&scene, "|last.first||||||||||||||||.");
    for (int i = 0; i < ZMTP_PARTS_MAX; i++)
        say(&scene, &peer, 1, "part", 4, 99);
    assert_int_equal(zmtp_server_counts(scene.server).n, 1);
    say(&scene, &peer, 1, "part", 4, 99);
    expect_end(&scene, &peer, ZMTP_TOO_LARGE, true);
    peer_close(&peer);
    peer_up(&scene, &peer, DATA, "192.0.2.1");
    uint8_t *part = malloc(ZMTP_PART_MAX_BYTES);
    assert_non_null(part);
    memset(part, 'p', ZMTP_PART_MAX_BYTES);
    say(&scene, &peer, 1, part, ZMTP_PART_MAX_BYTES, 9999);
    expect_end(&scene, &peer, ZMTP_TOO_LARGE, true);
    free(part);
    peer_close(&peer);
    scene_close(&scene);
}

/* -------------------------------------------------------------------------- other versions */

/* 3.0: no commands for topics; what is greeted with is for all the same */
static void test_zmtp_3_0(void **state) {
    (void)state;
    Scene scene;
    Peer data, control;
    scene_open(&scene);
    peer_open(&scene, &data, DATA, "192.0.2.1");
    shake(&scene, &data, 0, 7);
    say(&scene, &data, 0, "of 3.0", 6, 99);
    expect_said(&scene, "of 3.0.");
    peer_open(&scene, &control, CONTROL, "192.0.2.1");
    shake(&scene, &control, 0, 7);
    say(&scene, &control, 0, "\1topic", 6, 99);
    assert_int_equal(send_to(&scene, &control, "topic", "text", 4), 1);
    expect(&scene, &control, 1, "topic", 5);
    expect(&scene, &control, 0, "text", 4);
    say(&scene, &control, 0, "\0topic", 6, 99);
    assert_int_equal(send_to(&scene, &control, "topic", "text", 4), 0);
    expect_nothing(&scene, &control);
    peer_close(&data);
    peer_close(&control);
    scene_close(&scene);
}

/* the mechanism is said only when the peer's greeting is there */
static void test_greeting(void **state) {
    (void)state;
    Scene scene;
    Peer peer;
    uint8_t greeting[64];
    scene_open(&scene);
    peer_open(&scene, &peer, DATA, "192.0.2.1");
    turn(&scene);
    assert_true(hear(&peer, SIZE_MAX));
    assert_int_equal(peer.in.size, 12);
    assert_memory_equal(peer.in.bytes, "\xff\0\0\0\0\0\0\0\1\x7f\3\1", 12);
    client_greeting(greeting, "CURVE");
    put(&scene, &peer, greeting, 63, 99);
    assert_true(hear(&peer, SIZE_MAX));
    assert_int_equal(peer.in.size, 12);
    put(&scene, &peer, greeting + 63, 1, 1);
    assert_true(hear(&peer, SIZE_MAX));
    assert_int_equal(peer.in.size, 64);
    peer_close(&peer);
    turn(&scene);
    memset(scene.n_down, 0, sizeof(scene.n_down));
    peer_open(&scene, &peer, DATA, "192.0.2.1"); /* ZMTP 2: nothing more, and the end */
    put(&scene, &peer, "\xff\0\0\0\0\0\0\0\1\x7f\1\1\0\0", 14, 99);
    expect_end(&scene, &peer, ZMTP_NOT_ENCRYPTED, false);
    assert_int_equal(peer.in.size, 12);
    peer_close(&peer);
    scene_close(&scene);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wrong_server_key),
        cmocka_unit_test(test_refused_key),
        cmocka_unit_test(test_not_vouched),
        cmocka_unit_test(test_wrong_type),
        cmocka_unit_test(test_rekey),
        cmocka_unit_test(test_replayed_cookie),
        cmocka_unit_test(test_old_cookie),
        cmocka_unit_test(test_replayed_message),
        cmocka_unit_test(test_stranger_says),
        cmocka_unit_test(test_peer_says),
        cmocka_unit_test(test_empty_box),
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_parts),
        cmocka_unit_test(test_zmtp_3_0),
        cmocka_unit_test(test_greeting),
    };
    return sodium_init() < 0 ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
