/* SPDX-License-Identifier: Apache-2.0 */

/* the end that calls, over loopback, with the server of this layer and with peers that are none */

#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <sodium.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "zmtp/dial.h"
#include "zmtp/server.h"

enum { PATIENCE_MS = 10000, BIG = 100000, SUB_SIDE = 0, XPUB_SIDE = 1 };

typedef struct Scene {
    CurveKeys server_keys, keys;
    ZmtpServer *server;
    ZmtpListener *listeners[2];
    ZmtpDial *dial;
    uint64_t ahead_ms; /* of the clock: time that has not passed */
    bool refuses;
    /* what the server had */
    size_t n_messages, n_up, n_down;
    uint8_t last[BIG];
    size_t last_size;
    uint32_t next;  /* number in the message that is to come */
    bool unordered; /* another one came */
    /* what the dial had */
    int subscribed;
    size_t n_states;
    char state[64];
} Scene;

static uint64_t now_ms(const Scene *scene) {
    return clock_monotonic_ms() + scene->ahead_ms;
}

/* -------------------------------------------------------------------------------- the server */

static bool admits(void *userdata, const uint8_t key[CURVE_KEY_BYTES]) {
    const Scene *scene = userdata;
    return !scene->refuses && memcmp(key, scene->keys.public, CURVE_KEY_BYTES) == 0;
}

static void on_up(void *userdata, const ZmtpPeer *peer) {
    Scene *scene = userdata;
    (void)peer;
    scene->n_up++;
}

static void on_server_message(void *userdata, const ZmtpPeer *peer, const ZmtpMessage *message) {
    Scene *scene = userdata;
    uint32_t number = 0;
    (void)peer;
    assert_int_equal(message->n_parts, 2);
    assert_memory_equal(message->first, "weirhead", 8);
    if (message->last_size >= sizeof(number))
        memcpy(&number, message->last, sizeof(number));
    scene->unordered = scene->unordered || number != scene->next++;
    memcpy(scene->last, message->last, message->last_size);
    scene->last_size = message->last_size;
    scene->n_messages++;
}

static bool on_server_topic(void *userdata, const ZmtpPeer *peer, const uint8_t *topic, size_t size,
                            bool on) {
    (void)userdata;
    (void)peer;
    (void)on;
    return size == 5 && memcmp(topic, "topic", 5) == 0;
}

static void on_twins(void *userdata, const ZmtpPeer *newest, const ZmtpPeer *other) {
    (void)userdata;
    (void)newest;
    (void)other;
}

static void on_down(void *userdata, const ZmtpPeer *peer, ZmtpFault fault, bool up) {
    Scene *scene = userdata;
    (void)peer;
    (void)fault;
    scene->n_down += up;
}

static void listen_side(Scene *scene, unsigned side, uint16_t port) {
    const ZmtpListen what = {.side = side,
                             .kind = side == SUB_SIDE ? ZMTP_SUB : ZMTP_XPUB,
                             .topic = "weir",
                             .keys = scene->server_keys};
    const struct sockaddr_in at = {
        .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(port)};
    assert_int_equal(zmtp_listen(scene->server, &what, (const struct sockaddr *)&at, sizeof(at),
                                 &scene->listeners[side]),
                     0);
}

/* ---------------------------------------------------------------------------------- the dial */

static void on_state(void *userdata, const ZmtpMessage *message) {
    Scene *scene = userdata;
    assert_true(message->last_size < sizeof(scene->state));
    memcpy(scene->state, message->last, message->last_size);
    scene->state[message->last_size] = '\0';
    scene->n_states++;
}

static void on_topic(void *userdata, const uint8_t *topic, size_t size, bool on) {
    Scene *scene = userdata;
    assert_int_equal(size, 4);
    assert_memory_equal(topic, "weir", 4);
    scene->subscribed += on ? 1 : -1;
}

static void scene_open(Scene *scene, unsigned side) {
    const ZmtpCallbacks callbacks = {.userdata = scene,
                                     .admits = admits,
                                     .on_up = on_up,
                                     .on_message = on_server_message,
                                     .on_topic = on_server_topic,
                                     .on_twins = on_twins,
                                     .on_down = on_down};
    *scene = (Scene){0};
    assert_true(sodium_init() >= 0);
    (void)crypto_box_keypair(scene->server_keys.public, scene->server_keys.secret);
    (void)crypto_box_keypair(scene->keys.public, scene->keys.secret);
    assert_int_equal(zmtp_server_new(&scene->server, &callbacks), 0);
    listen_side(scene, SUB_SIDE, 0);
    listen_side(scene, XPUB_SIDE, 0);
    const ZmtpDialConfig config = {.kind = side == SUB_SIDE ? ZMTP_XPUB : ZMTP_SUB,
                                   .topic = "topic",
                                   .keys = scene->keys,
                                   .userdata = scene,
                                   .on_message = on_state,
                                   .on_topic = on_topic};
    assert_int_equal(zmtp_dial_new(&scene->dial, &config), 0);
}

static void scene_close(Scene *scene) {
    scene->dial = zmtp_dial_free(scene->dial);
    scene->server = zmtp_server_free(scene->server);
}

static void go_to(Scene *scene, uint16_t port) {
    zmtp_dial_to(scene->dial, "127.0.0.1", port, scene->server_keys.public, now_ms(scene));
}

static void go_to_side(Scene *scene, unsigned side) {
    go_to(scene, zmtp_listener_port(scene->listeners[side]));
}

static void turn_dial(Scene *scene, int wait_ms) {
    struct pollfd item = zmtp_dial_poll(scene->dial);
    (void)poll(&item, 1, wait_ms);
    zmtp_dial_turn(scene->dial, now_ms(scene));
}

static void turn(Scene *scene) {
    (void)zmtp_server_turn(scene->server, now_ms(scene));
    turn_dial(scene, 1);
}

static ZmtpDialView view_of(const Scene *scene) {
    ZmtpDialView view;
    zmtp_dial_view(scene->dial, &view);
    return view;
}

/* until `condition` holds; false after PATIENCE_MS of real time */
#define UNTIL(scene, condition)                                                                    \
    do {                                                                                           \
        const uint64_t end_ms = clock_monotonic_ms() + PATIENCE_MS;                                \
        while (!(condition) && clock_monotonic_ms() < end_ms)                                      \
            turn(scene);                                                                           \
        assert_true(condition);                                                                    \
    } while (0)

static bool put(Scene *scene, uint32_t number, size_t size) {
    uint8_t bytes[BIG];
    memset(bytes, (int)(number & 0xff), size);
    memcpy(bytes, &number, sizeof(number));
    return zmtp_dial_put(scene->dial, "weirhead", 8, bytes, size);
}

/* --------------------------------------------------------------------------------- it is well */

static void test_sends(void **state) {
    (void)state;
    static Scene scene;
    scene_open(&scene, SUB_SIDE);
    assert_false(put(&scene, 0, 8)); /* nobody is there */
    go_to_side(&scene, SUB_SIDE);
    UNTIL(&scene, scene.subscribed == 1);
    assert_true(view_of(&scene).up);
    assert_true(put(&scene, 0, BIG));
    assert_true(put(&scene, 1, 4));
    zmtp_dial_flush(scene.dial);
    UNTIL(&scene, scene.n_messages == 2);
    assert_false(scene.unordered);
    assert_int_equal(scene.last_size, 4);
    scene_close(&scene);
}

static void test_listens(void **state) {
    (void)state;
    static Scene scene;
    const void *const parts[] = {"topic of it", "what is said"};
    const size_t sizes[] = {11, 12};
    scene_open(&scene, XPUB_SIDE);
    go_to_side(&scene, XPUB_SIDE);
    UNTIL(&scene, zmtp_server_listens(scene.server, XPUB_SIDE, scene.keys.public));
    assert_int_equal(zmtp_server_send(scene.server, XPUB_SIDE, scene.keys.public, parts, sizes, 2),
                     1);
    UNTIL(&scene, scene.n_states == 1);
    assert_string_equal(scene.state, "what is said");
    scene_close(&scene);
}

/* a server that does not read: so much is taken and no more; then all of it comes, in order */
static void test_pushes_back(void **state) {
    (void)state;
    static Scene scene;
    uint32_t n = 0;
    scene_open(&scene, SUB_SIDE);
    go_to_side(&scene, SUB_SIDE);
    UNTIL(&scene, scene.subscribed == 1);
    for (int full = 0; full < 20; full++) { /* the system takes some while it is waited for */
        while (put(&scene, n, 50000))
            n++;
        turn_dial(&scene, 10);
    }
    assert_true(n > 2);
    assert_true(scene.n_messages == 0);
    assert_true(zmtp_dial_poll(scene.dial).events & POLLOUT);
    UNTIL(&scene, scene.n_messages == n);
    assert_false(scene.unordered);
    assert_false(zmtp_dial_poll(scene.dial).events & POLLOUT);
    assert_true(put(&scene, n, 8));
    scene_close(&scene);
}

static void test_comes_back(void **state) {
    (void)state;
    static Scene scene;
    scene_open(&scene, SUB_SIDE);
    go_to_side(&scene, SUB_SIDE);
    UNTIL(&scene, scene.subscribed == 1);
    const uint16_t port = zmtp_listener_port(scene.listeners[SUB_SIDE]);
    zmtp_listener_close(scene.listeners[SUB_SIDE]);
    UNTIL(&scene, scene.subscribed == 0);
    assert_false(view_of(&scene).up);
    assert_false(put(&scene, 0, 8));
    scene.ahead_ms += 1000;
    UNTIL(&scene, view_of(&scene).trouble == ZMTP_TROUBLE_REFUSED);
    assert_string_equal(view_of(&scene).detail, strerror(ECONNREFUSED));
    listen_side(&scene, SUB_SIDE, port);
    UNTIL(&scene, scene.subscribed == 1);
    assert_int_equal(view_of(&scene).trouble, ZMTP_TROUBLE_NONE);
    scene_close(&scene);
}

static void test_elsewhere(void **state) {
    (void)state;
    static Scene scene;
    scene_open(&scene, SUB_SIDE);
    go_to_side(&scene, SUB_SIDE);
    UNTIL(&scene, scene.subscribed == 1);
    zmtp_listener_rekey(scene.listeners[SUB_SIDE], &scene.keys); /* any other pair */
    UNTIL(&scene, view_of(&scene).trouble == ZMTP_TROUBLE_WRONG_KEY);
    zmtp_dial_to(scene.dial, "localhost", zmtp_listener_port(scene.listeners[SUB_SIDE]),
                 scene.keys.public, now_ms(&scene));
    UNTIL(&scene, scene.subscribed == 1);
    scene_close(&scene);
}

/* ------------------------------------------------------------------------------ it is not well */

static void test_key_of_another(void **state) {
    (void)state;
    static Scene scene;
    scene_open(&scene, SUB_SIDE);
    zmtp_dial_to(scene.dial, "127.0.0.1", zmtp_listener_port(scene.listeners[SUB_SIDE]),
                 scene.keys.public, now_ms(&scene));
    UNTIL(&scene, view_of(&scene).trouble == ZMTP_TROUBLE_WRONG_KEY);
    assert_int_equal(scene.n_up, 0);
    scene_close(&scene);
}

static void test_other_socket(void **state) {
    (void)state;
    static Scene scene;
    scene_open(&scene, SUB_SIDE);
    go_to_side(&scene, XPUB_SIDE); /* an XPUB to an XPUB */
    UNTIL(&scene, view_of(&scene).trouble == ZMTP_TROUBLE_OTHER_SOCKET);
    scene_close(&scene);
}

static void test_unwanted(void **state) {
    (void)state;
    static Scene scene;
    scene_open(&scene, SUB_SIDE);
    scene.refuses = true;
    go_to_side(&scene, SUB_SIDE);
    UNTIL(&scene, view_of(&scene).given_up);
    assert_int_equal(view_of(&scene).trouble, ZMTP_TROUBLE_UNWANTED);
    scene.refuses = false;
    scene.ahead_ms += 60000;
    for (int i = 0; i < 50; i++)
        turn(&scene);
    assert_int_equal(scene.n_up, 0); /* not by itself */
    zmtp_dial_again(scene.dial);
    UNTIL(&scene, scene.subscribed == 1);
    scene_close(&scene);
}

static void test_no_such_name(void **state) {
    (void)state;
    static Scene scene;
    scene_open(&scene, SUB_SIDE);
    zmtp_dial_to(scene.dial, "not..a..name", 5556, scene.server_keys.public, now_ms(&scene));
    UNTIL(&scene, view_of(&scene).trouble == ZMTP_TROUBLE_NAME);
    assert_true(*view_of(&scene).detail);
    scene_close(&scene);
}

/* a peer that is none: what it says as soon as it is connected, and whether it leaves then */
typedef struct Other {
    const char *name;
    const char *says;
    size_t size;
    bool leaves;
    ZmtpTrouble trouble;
    bool given_up;
} Other;

#define PLAIN                                                                                      \
    "\xff\0\0\0\0\0\0\0\1\x7f\3\1NULL\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"                             \
    "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
#define CLIENT "\xff\0\0\0\0\0\0\0\1\x7f\3\1CURVE\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
#define SERVER                                                                                     \
    "\xff\0\0\0\0\0\0\0\1\x7f\3\1CURVE\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1"                            \
    "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
#define SAYS(text) text, sizeof(text) - 1

static const Other others[] = {
    {"NULL", SAYS(PLAIN), false, ZMTP_TROUBLE_NOT_ENCRYPTED, true},
    {"ZMTP 2", SAYS("\xff\0\0\0\0\0\0\0\1\x7f\1\2\0\0"), false, ZMTP_TROUBLE_NOT_ENCRYPTED, true},
    {"a client", SAYS(CLIENT), false, ZMTP_TROUBLE_NOT_SPOKEN, true},
    {"SSH", SAYS("SSH-2.0-OpenSSH\r\n"), false, ZMTP_TROUBLE_NOT_SPOKEN, true},
    {"nothing", SAYS(""), true, ZMTP_TROUBLE_NOT_SPOKEN, false},
    {"leaves at HELLO", SAYS(SERVER), true, ZMTP_TROUBLE_WRONG_KEY, false},
    {"no WELCOME", SAYS(SERVER "\4\5\4NOPE"), false, ZMTP_TROUBLE_NOT_SPOKEN, true},
    {"ERROR",
     SAYS(SERVER "\4\12\5ERROR\3"
                 "400"),
     false, ZMTP_TROUBLE_UNWANTED, true},
    {"no command", SAYS(SERVER "\0\1x"), false, ZMTP_TROUBLE_NOT_SPOKEN, true},
    {"too large", SAYS(SERVER "\6\0\0\0\1\0\0\0\0"), false, ZMTP_TROUBLE_NOT_SPOKEN, true},
    {"silence", SAYS(SERVER), false, ZMTP_TROUBLE_NOT_SPOKEN, false},
};

static int listen_plain(uint16_t *portp) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(at);
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (const struct sockaddr *)&at, sizeof(at)), 0);
    assert_int_equal(listen(fd, 8), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &size), 0);
    *portp = ntohs(at.sin_port);
    return fd;
}

static void meet(Scene *scene, const Other *other) {
    uint16_t port = 0;
    int fds[64], n = 0;
    const int listener = listen_plain(&port);
    const uint64_t end_ms = clock_monotonic_ms() + PATIENCE_MS;
    go_to(scene, port);
    while (view_of(scene).trouble == ZMTP_TROUBLE_NONE && clock_monotonic_ms() < end_ms) {
        turn_dial(scene, 1);
        const int fd = n < 64 ? accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC) : -1;
        if (fd >= 0) {
            assert_int_equal(write(fd, other->says, other->size), other->size);
            fds[n++] = fd;
            for (int i = 0; i < 5; i++)
                turn_dial(scene, 5);
        } else if (n && !other->leaves) {
            scene->ahead_ms += 1000; /* of its patience */
        }
        if (fd >= 0 && other->leaves) {
            char taken[512];
            while (read(fd, taken, sizeof(taken)) > 0) /* else it would be reset, not closed */
                continue;
            (void)shutdown(fd, SHUT_RDWR);
            scene->ahead_ms += 500;
        }
    }
    const ZmtpDialView view = view_of(scene);
    if (view.trouble != other->trouble || view.given_up != other->given_up)
        fail_msg("%s: trouble %d, given up %d", other->name, view.trouble, view.given_up);
    assert_false(view.up);
    while (n)
        (void)close(fds[--n]);
    (void)close(listener);
}

static void test_others(void **state) {
    (void)state;
    static Scene scene;
    scene_open(&scene, SUB_SIDE);
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
        meet(&scene, &others[i]);
    scene_close(&scene);
}

static void test_no_answer(void **state) {
    (void)state;
    static Scene scene;
    uint16_t port = 0;
    int fds[64], n = 0;
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    scene_open(&scene, SUB_SIDE);
    const int listener = listen_plain(&port);
    (void)listen(listener, 0);
    at.sin_port = htons(port);
    for (; n < 8; n++) { /* its queue is full: a SYN has no answer */
        fds[n] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        (void)connect(fds[n], (const struct sockaddr *)&at, sizeof(at));
    }
    go_to(&scene, port);
    for (int i = 0; i < 10; i++)
        turn_dial(&scene, 1);
    scene.ahead_ms += ZMTP_DIAL_ADDRESS_MS;
    turn_dial(&scene, 1);
    assert_int_equal(view_of(&scene).trouble, ZMTP_TROUBLE_NO_ANSWER);
    while (n)
        (void)close(fds[--n]);
    (void)close(listener);
    scene_close(&scene);
}

/* --------------------------------------------------------------------------------------- silence
 */

/** a quiet server is asked, answers, and stays */
static void test_asks(void **state) {
    (void)state;
    static Scene scene;
    scene_open(&scene, SUB_SIDE);
    go_to_side(&scene, SUB_SIDE);
    UNTIL(&scene, scene.subscribed == 1);
    for (int i = 0; i < 12; i++) {
        scene.ahead_ms += ZMTP_DIAL_QUIET_MS;
        for (int j = 0; j < 5; j++)
            turn(&scene);
    }
    assert_int_equal(scene.n_up, 1);
    assert_int_equal(scene.n_down, 0);
    assert_int_equal(scene.subscribed, 1);
    scene_close(&scene);
}

/** one whose program stands still is left: TCP has taken the question, and there is no answer */
static void test_stands_still(void **state) {
    (void)state;
    static Scene scene;
    scene_open(&scene, SUB_SIDE);
    go_to_side(&scene, SUB_SIDE);
    UNTIL(&scene, scene.subscribed == 1);
    scene.ahead_ms += ZMTP_DIAL_QUIET_MS;
    turn_dial(&scene, 1);
    (void)poll(NULL, 0, 200); /* TCP takes a moment to acknowledge */
    scene.ahead_ms += ZMTP_DIAL_SILENT_MS - 2000;
    turn_dial(&scene, 1);
    assert_int_equal(scene.subscribed, 1);
    scene.ahead_ms += 2500;
    turn_dial(&scene, 1);
    assert_int_equal(scene.subscribed, 0);
    assert_false(view_of(&scene).connected);
    assert_int_equal(view_of(&scene).trouble, ZMTP_TROUBLE_NONE);
    UNTIL(&scene, scene.subscribed == 1); /* it goes on, and so do we */
    scene_close(&scene);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sends),        cmocka_unit_test(test_listens),
        cmocka_unit_test(test_pushes_back),  cmocka_unit_test(test_comes_back),
        cmocka_unit_test(test_elsewhere),    cmocka_unit_test(test_key_of_another),
        cmocka_unit_test(test_other_socket), cmocka_unit_test(test_unwanted),
        cmocka_unit_test(test_no_such_name), cmocka_unit_test(test_others),
        cmocka_unit_test(test_no_answer),    cmocka_unit_test(test_asks),
        cmocka_unit_test(test_stands_still),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
