/* SPDX-License-Identifier: Apache-2.0 */

/* Unmodified libzmq at the other end of the ZMTP server, over TCP: sockets as a probe has them */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <zmq.h>

#include "base/clock.h"
#include "zmtp/server-scene.h"

enum { PATIENCE_MS = 20000, LARGE = 100000 };

/** UNTIL() - the server has its turns, and libzmq its time, until this holds */
#define UNTIL(scene, condition)                                                                    \
    do {                                                                                           \
        const uint64_t begin_ms_ = clock_monotonic_ms();                                           \
        while (!(condition)) {                                                                     \
            if (clock_monotonic_ms() - begin_ms_ > PATIENCE_MS)                                    \
                fail_msg("waited in vain for %s", #condition);                                     \
            pass(scene, 1);                                                                        \
        }                                                                                          \
    } while (0)

typedef struct Remote {
    void *socket, *monitor;
    char public[41], secret[41];
    uint8_t key[32];
    unsigned n_lost; /* connections */
    unsigned n_refused;
    int status; /* why, of the last */
} Remote;

enum { REMOTES = 4 };
static void *context;
static void *remotes[REMOTES]; /* their sockets, as far as they are open */

/** tend() - libzmq does some of a socket's work only when its owner asks for something */
static void tend(void) {
    for (unsigned i = 0; i < REMOTES; i++) {
        int events;
        size_t size = sizeof(events);
        if (remotes[i])
            assert_int_equal(zmq_getsockopt(remotes[i], ZMQ_EVENTS, &events, &size), 0);
    }
}

/** pass() - the time */
static void pass(Scene *scene, int ms) {
    const uint64_t end_ms = clock_monotonic_ms() + (uint64_t)ms;
    do {
        struct pollfd more = {.fd = zmtp_server_fd(scene->server), .events = POLLIN};
        (void)poll(&more, 1, 1);
        turn(scene);
        tend();
    } while (clock_monotonic_ms() < end_ms);
}

static void set(Remote *remote, int option, int value) {
    assert_int_equal(zmq_setsockopt(remote->socket, option, &value, sizeof(value)), 0);
}

static void remote_make(Remote *remote, int type) {
    static unsigned n;
    char name[32];
    *remote = (Remote){.socket = zmq_socket(context, type)};
    assert_non_null(remote->socket);
    unsigned i = 0;
    while (i < REMOTES && remotes[i])
        i++;
    assert_true(i < REMOTES);
    remotes[i] = remote->socket;
    set(remote, ZMQ_LINGER, 0);
    set(remote, ZMQ_RECONNECT_IVL, 20);
    set(remote, ZMQ_IMMEDIATE, 1);
    if (type == ZMQ_XPUB) /* each subscription, also after a reconnect */
        set(remote, ZMQ_XPUB_VERBOSER, 1);
    (void)snprintf(name, sizeof(name), "inproc://remote-%u", n++);
    assert_int_equal(zmq_socket_monitor(remote->socket, name,
                                        ZMQ_EVENT_DISCONNECTED | ZMQ_EVENT_HANDSHAKE_FAILED_AUTH),
                     0);
    remote->monitor = zmq_socket(context, ZMQ_PAIR);
    assert_int_equal(zmq_connect(remote->monitor, name), 0);
}

static void remote_curve(Remote *remote, const uint8_t server[32]) {
    char server_z85[41];
    assert_non_null(zmq_z85_encode(server_z85, server, 32));
    assert_int_equal(zmq_curve_keypair(remote->public, remote->secret), 0);
    assert_non_null(zmq_z85_decode(remote->key, remote->public));
    assert_int_equal(zmq_setsockopt(remote->socket, ZMQ_CURVE_SERVERKEY, server_z85, 41), 0);
    assert_int_equal(zmq_setsockopt(remote->socket, ZMQ_CURVE_PUBLICKEY, remote->public, 41), 0);
    assert_int_equal(zmq_setsockopt(remote->socket, ZMQ_CURVE_SECRETKEY, remote->secret, 41), 0);
}

static void endpoint_of(const Scene *scene, unsigned side, char text[40]) {
    (void)snprintf(text, 40, "tcp://127.0.0.1:%u", scene->ports[side]);
}

static void remote_connect(Remote *remote, const Scene *scene, unsigned side) {
    char endpoint[40];
    endpoint_of(scene, side, endpoint);
    assert_int_equal(zmq_connect(remote->socket, endpoint), 0);
}

static void remote_again(Remote *remote, const Scene *scene, unsigned side) {
    char endpoint[40];
    endpoint_of(scene, side, endpoint);
    assert_int_equal(zmq_disconnect(remote->socket, endpoint), 0);
    remote_connect(remote, scene, side);
}

static void remote_open(Remote *remote, const Scene *scene, int type, unsigned side) {
    remote_make(remote, type);
    remote_curve(remote, scene->keys.public);
    remote_connect(remote, scene, side);
}

static void remote_close(Remote *remote) {
    /* else libzmq's own thread waits for somebody to take what the monitor says */
    assert_int_equal(zmq_socket_monitor(remote->socket, NULL, 0), 0);
    for (unsigned i = 0; i < REMOTES; i++)
        remotes[i] = remotes[i] == remote->socket ? NULL : remotes[i];
    (void)zmq_close(remote->monitor);
    (void)zmq_close(remote->socket);
}

/** watch() - what its monitor has told by now */
static unsigned watch(Remote *remote) {
    uint8_t event[6], address[256];
    while (zmq_recv(remote->monitor, event, sizeof(event), ZMQ_DONTWAIT) == sizeof(event)) {
        uint16_t kind;
        uint32_t value;
        memcpy(&kind, event, 2);
        memcpy(&value, event + 2, 4);
        assert_true(zmq_recv(remote->monitor, address, sizeof(address), 0) >= 0);
        remote->n_lost += kind == ZMQ_EVENT_DISCONNECTED;
        remote->n_refused += kind == ZMQ_EVENT_HANDSHAKE_FAILED_AUTH;
        remote->status = kind == ZMQ_EVENT_HANDSHAKE_FAILED_AUTH ? (int)value : remote->status;
    }
    return remote->n_lost;
}

/* as a PUB leaves out what nobody wanted yet: until it is told so */
static void remote_say(Remote *remote, const char *topic, const void *bytes, size_t size) {
    assert_int_equal(zmq_send(remote->socket, topic, strlen(topic), ZMQ_SNDMORE), strlen(topic));
    assert_int_equal(zmq_send(remote->socket, bytes, size, 0), size);
}

/** hears() - one message of two parts; false: none is there */
static bool hears(const Remote *remote, const char *topic, const void *bytes, size_t size) {
    static uint8_t got[ZMTP_FRAME_MAX_BYTES];
    int n = zmq_recv(remote->socket, got, sizeof(got), ZMQ_DONTWAIT);
    if (n < 0)
        return false;
    assert_int_equal(n, strlen(topic));
    assert_memory_equal(got, topic, (size_t)n);
    n = zmq_recv(remote->socket, got, sizeof(got), ZMQ_DONTWAIT);
    assert_int_equal(n, size);
    assert_memory_equal(got, bytes, size);
    return true;
}

static size_t tell(const Scene *scene, const Remote *remote, const char *topic, const void *bytes,
                   size_t size) {
    const void *const parts[] = {topic, bytes};
    const size_t sizes[] = {strlen(topic), size};
    return zmtp_server_send(scene->server, CONTROL, remote->key, parts, sizes, 2);
}

static bool listens(const Scene *scene, const Remote *remote) {
    return zmtp_server_listens(scene->server, CONTROL, remote->key);
}

/* ------------------------------------------------------------------------------------- the ways */

static void test_publishers(void **state) {
    (void)state;
    static const int types[] = {ZMQ_PUB, ZMQ_XPUB};
    for (size_t i = 0; i < 2; i++) {
        Scene scene;
        Remote remote;
        scene_open(&scene);
        remote_open(&remote, &scene, types[i], DATA);
        if (types[i] == ZMQ_XPUB) { /* is told what is wanted, once */
            char topic[8] = "";
            UNTIL(&scene, zmq_recv(remote.socket, topic, sizeof(topic), ZMQ_DONTWAIT) == 5);
            assert_memory_equal(topic, "\1weir", 5);
        }
        for (int k = 0; k < PATIENCE_MS / 5 && !scene.n_messages; k++) {
            remote_say(&remote, "other", "not wanted", 10);
            remote_say(&remote, "weir", "first", 5);
            pass(&scene, 5);
        }
        assert_int_equal(strncmp(buffer_text(&scene.said), "weir|first.", 11), 0);
        assert_null(strstr(buffer_text(&scene.said), "not"));
        buffer_clear(&scene.said);
        remote_say(&remote, "weir", "second", 6);
        UNTIL(&scene, strstr(buffer_text(&scene.said), "weir|second."));
        assert_int_equal(scene.n_up, 1);
        remote_close(&remote);
        UNTIL(&scene, scene.n_down[ZMTP_CLOSED] == 1);
        assert_true(scene.last_was_up);
        assert_memory_equal(scene.last_key, remote.key, 32);
        assert_int_equal(strncmp(scene.last_address, "127.0.0.1:", 10), 0);
        assert_true(strtoul(scene.last_address + 10, NULL, 10) > 0);
        scene_close(&scene);
    }
}

static void test_subscribers(void **state) {
    (void)state;
    Scene scene;
    Remote sub, xsub;
    scene_open(&scene);
    remote_open(&sub, &scene, ZMQ_SUB, CONTROL);
    remote_open(&xsub, &scene, ZMQ_XSUB, CONTROL);
    assert_int_equal(zmq_setsockopt(sub.socket, ZMQ_SUBSCRIBE, "abc", 3), 0);
    UNTIL(&scene, listens(&scene, &sub));
    assert_int_equal(tell(&scene, &sub, "ab", "not", 3), 0);
    assert_int_equal(tell(&scene, &sub, "abcd", "text", 4), 1);
    UNTIL(&scene, hears(&sub, "abcd", "text", 4));
    UNTIL(&scene, zmq_send(xsub.socket, "\1x", 2, ZMQ_DONTWAIT) == 2);
    UNTIL(&scene, scene.n_on >= 2);
    assert_false(listens(&scene, &xsub)); /* such a topic is for nobody */
    assert_int_equal(zmq_send(xsub.socket, "\1k", 2, 0), 2);
    UNTIL(&scene, listens(&scene, &xsub));
    assert_int_equal(tell(&scene, &xsub, "k", "", 0), 1);
    UNTIL(&scene, hears(&xsub, "k", "", 0));
    assert_int_equal(zmq_setsockopt(sub.socket, ZMQ_UNSUBSCRIBE, "abc", 3), 0);
    assert_int_equal(zmq_send(xsub.socket, "\0k", 2, 0), 2);
    UNTIL(&scene, !listens(&scene, &sub) && !listens(&scene, &xsub));
    assert_int_equal(tell(&scene, &sub, "abcd", "text", 4), 0);
    assert_int_equal(scene.n_up, 2);
    remote_close(&sub);
    remote_close(&xsub);
    scene_close(&scene);
}

/* no more than ZMTP_TOPICS_MAX of 64, the rest left out without a word; who gives one up may have
 * another */
static void test_64_subscriptions(void **state) {
    (void)state;
    Scene scene;
    Remote remote;
    char topic[8];
    unsigned had = 0, taken = 0;
    scene_open(&scene);
    remote_open(&remote, &scene, ZMQ_SUB, CONTROL);
    for (unsigned i = 0; i < 64; i++) {
        (void)snprintf(topic, sizeof(topic), "t%02u", i);
        assert_int_equal(zmq_setsockopt(remote.socket, ZMQ_SUBSCRIBE, topic, 3), 0);
    }
    UNTIL(&scene, scene.n_on >= ZMTP_TOPICS_MAX);
    pass(&scene, 100);
    assert_int_equal(scene.n_on, ZMTP_TOPICS_MAX);
    for (unsigned i = 0; i < 64; i++) {
        (void)snprintf(topic, sizeof(topic), "t%02u", i);
        if (!tell(&scene, &remote, topic, &i, sizeof(i)))
            continue;
        taken++;
        had = i;
        UNTIL(&scene, hears(&remote, topic, &i, sizeof(i)));
    }
    assert_int_equal(taken, ZMTP_TOPICS_MAX);
    (void)snprintf(topic, sizeof(topic), "t%02u", had);
    assert_int_equal(zmq_setsockopt(remote.socket, ZMQ_UNSUBSCRIBE, topic, 3), 0);
    assert_int_equal(zmq_setsockopt(remote.socket, ZMQ_SUBSCRIBE, "new", 3), 0);
    UNTIL(&scene, tell(&scene, &remote, "new", "text", 4) == 1);
    UNTIL(&scene, hears(&remote, "new", "text", 4));
    assert_int_equal(watch(&remote), 0);
    assert_int_equal(scene.n_up, 1);
    remote_close(&remote);
    scene_close(&scene);
}

/* ------------------------------------------------------------------------------ who is refused */

static void test_other_mechanisms(void **state) {
    (void)state;
    static const int types[] = {ZMQ_PUB, ZMQ_XPUB, ZMQ_SUB, ZMQ_XSUB, ZMQ_DEALER};
    for (size_t i = 0; i < 2 * sizeof(types) / sizeof(types[0]); i++) {
        const bool plain = i % 2;
        Scene scene;
        Remote remote;
        scene_open(&scene);
        remote_make(&remote, types[i / 2]);
        if (plain) {
            assert_int_equal(zmq_setsockopt(remote.socket, ZMQ_PLAIN_USERNAME, "user", 4), 0);
            assert_int_equal(zmq_setsockopt(remote.socket, ZMQ_PLAIN_PASSWORD, "word", 4), 0);
        }
        remote_connect(&remote, &scene, i / 2 % 2);
        UNTIL(&scene, scene.n_down[ZMTP_NOT_ENCRYPTED]);
        for (ZmtpFault fault = 0; fault < ZMTP_FAULTS; fault++)
            assert_true(fault == ZMTP_NOT_ENCRYPTED || !scene.n_down[fault]);
        assert_false(scene.last_was_up);
        assert_int_equal(scene.n_up, 0);
        remote_close(&remote);
        scene_close(&scene);
    }
}

static void test_wrong_keys(void **state) {
    (void)state;
    Scene scene;
    Remote stray, revoked, good;
    uint8_t other[2][32];
    scene_open(&scene);
    assert_int_equal(crypto_box_keypair(other[0], other[1]), 0);
    remote_make(&stray, ZMQ_XPUB);
    remote_curve(&stray, other[0]);
    remote_connect(&stray, &scene, DATA);
    UNTIL(&scene, scene.n_down[ZMTP_WRONG_KEY]);
    assert_int_equal(scene.n_up, 0);
    remote_close(&stray);
    pass(&scene, 50);

    /* is told so, and does not come again of itself */
    memset(scene.n_down, 0, sizeof(scene.n_down));
    remote_make(&revoked, ZMQ_SUB);
    remote_curve(&revoked, scene.keys.public);
    scene.refused = revoked.key;
    remote_connect(&revoked, &scene, CONTROL);
    UNTIL(&scene, scene.n_down[ZMTP_UNWANTED]);
    assert_memory_equal(scene.last_key, revoked.key, 32);
    UNTIL(&scene, (watch(&revoked), revoked.n_refused));
    assert_int_equal(revoked.status, 400);
    pass(&scene, 300);
    assert_int_equal(scene.n_down[ZMTP_UNWANTED], 1);
    assert_int_equal(scene.n_up, 0);
    remote_open(&good, &scene, ZMQ_SUB, CONTROL);
    UNTIL(&scene, scene.n_up == 1);
    remote_close(&revoked);
    remote_close(&good);
    scene_close(&scene);
}

/* the wrong socket: PUSH where PUB has to be */
static void test_wrong_socket(void **state) {
    (void)state;
    Scene scene;
    Remote remote;
    scene_open(&scene);
    remote_open(&remote, &scene, ZMQ_PUSH, DATA);
    UNTIL(&scene, scene.n_down[ZMTP_MALFORMED]);
    assert_int_equal(scene.n_up, 0);
    remote_close(&remote);
    scene_close(&scene);
}

/* --------------------------------------------------------------------------- restarts and sizes */

static void test_restart(void **state) {
    (void)state;
    Scene scene;
    Remote pub, sub;
    char topic[8];
    scene_open(&scene);
    remote_open(&pub, &scene, ZMQ_XPUB, DATA);
    remote_open(&sub, &scene, ZMQ_SUB, CONTROL);
    assert_int_equal(zmq_setsockopt(sub.socket, ZMQ_SUBSCRIBE, "topic", 5), 0);
    for (unsigned round = 0; round < 4; round++) {
        /* each time they find it again, and say again what they want */
        UNTIL(&scene, zmq_recv(pub.socket, topic, sizeof(topic), ZMQ_DONTWAIT) == 5);
        if (round) /* first the old end is told of, as of a SUB that is gone */
            UNTIL(&scene,
                  topic[0] == 1 || zmq_recv(pub.socket, topic, sizeof(topic), ZMQ_DONTWAIT) == 5);
        assert_memory_equal(topic, "\1weir", 5);
        remote_say(&pub, "weir", &round, sizeof(round));
        UNTIL(&scene, scene.n_messages == round + 1);
        UNTIL(&scene, tell(&scene, &sub, "topic", &round, sizeof(round)) == 1);
        UNTIL(&scene, hears(&sub, "topic", &round, sizeof(round)));
        assert_int_equal(scene.n_up, 2 * (round + 1));
        if (round == 2) { /* with its listeners kept: other keys and back again */
            for (unsigned side = 0; side < SIDES; side++)
                zmtp_listener_rekey(scene.listeners[side], &scene.keys);
            continue;
        }
        scene.server = zmtp_server_free(scene.server);
        (void)poll(NULL, 0, 60); /* nobody listens: they try and try */
        scene_start(&scene);
    }
    remote_close(&pub);
    remote_close(&sub);
    scene_close(&scene);
}

/** open_heard() - an XPUB whose subscription has come */
static void open_heard(Remote *remote, Scene *scene) {
    char topic[8];
    remote_make(remote, ZMQ_XPUB);
    remote_curve(remote, scene->keys.public);
    set(remote, ZMQ_SNDHWM, 0);
    remote_connect(remote, scene, DATA);
    UNTIL(scene, zmq_recv(remote->socket, topic, sizeof(topic), ZMQ_DONTWAIT) == 5);
}

/* 10 MB in frames that are taken, whole and in order */
static void test_much(void **state) {
    (void)state;
    static uint8_t text[LARGE];
    Scene scene;
    Remote remote;
    scene_open(&scene);
    open_heard(&remote, &scene);
    for (unsigned i = 0; i < 100; i++) {
        memset(text, 'a' + (int)(i % 26), sizeof(text));
        remote_say(&remote, "weir", text, sizeof(text));
    }
    UNTIL(&scene, scene.n_messages == 100);
    assert_int_equal(scene.said.size, 100 * (5 + LARGE + 1));
    for (unsigned i = 0; i < 100; i++) {
        const uint8_t *at = scene.said.bytes + i * (size_t)(5 + LARGE + 1);
        memset(text, 'a' + (int)(i % 26), sizeof(text));
        assert_memory_equal(at, "weir|", 5);
        assert_memory_equal(at + 5, text, sizeof(text));
    }
    assert_int_equal(scene.n_up, 1);
    remote_close(&remote);
    scene_close(&scene);
}

/* several MB: cut before they came, and it may come again and say less */
static void test_too_much(void **state) {
    (void)state;
    enum { MUCH = 5 << 20 };
    Scene scene;
    Remote remote, sub;
    char topic[8];
    uint8_t *text = calloc(1, MUCH);
    assert_non_null(text);
    scene_open(&scene);
    open_heard(&remote, &scene);
    remote_say(&remote, "weir", text, MUCH);
    UNTIL(&scene, scene.n_down[ZMTP_TOO_LARGE] == 1);
    assert_true(scene.last_was_up);
    assert_int_equal(scene.n_messages, 0);
    do
        UNTIL(&scene, zmq_recv(remote.socket, topic, sizeof(topic), ZMQ_DONTWAIT) == 5);
    while (topic[0] != 1);
    remote_say(&remote, "weir", "less", 4);
    UNTIL(&scene, scene.n_messages == 1);
    assert_string_equal(buffer_text(&scene.said), "weir|less.");
    /* the other way it is not even begun */
    remote_open(&sub, &scene, ZMQ_SUB, CONTROL);
    assert_int_equal(zmq_setsockopt(sub.socket, ZMQ_SUBSCRIBE, "t", 1), 0);
    UNTIL(&scene, listens(&scene, &sub));
    assert_int_equal(tell(&scene, &sub, "t", text, MUCH), 0);
    assert_int_equal(tell(&scene, &sub, "t", text, LARGE), 1);
    UNTIL(&scene, hears(&sub, "t", text, LARGE));
    assert_int_equal(watch(&sub), 0);
    remote_close(&remote);
    remote_close(&sub);
    scene_close(&scene);
    free(text);
}

/* the client's own limit: it goes when told more, and may come again */
static void test_maxmsgsize(void **state) {
    (void)state;
    static const uint8_t text[2000];
    const int64_t most = 1000;
    Scene scene;
    Remote remote;
    scene_open(&scene);
    remote_make(&remote, ZMQ_SUB);
    remote_curve(&remote, scene.keys.public);
    assert_int_equal(zmq_setsockopt(remote.socket, ZMQ_MAXMSGSIZE, &most, sizeof(most)), 0);
    assert_int_equal(zmq_setsockopt(remote.socket, ZMQ_SUBSCRIBE, "t", 1), 0);
    remote_connect(&remote, &scene, CONTROL);
    UNTIL(&scene, tell(&scene, &remote, "t", text, 900) == 1);
    UNTIL(&scene, hears(&remote, "t", text, 900));
    assert_int_equal(tell(&scene, &remote, "t", text, sizeof(text)), 1);
    UNTIL(&scene, scene.n_down[ZMTP_CLOSED] == 1);
    assert_true(scene.last_was_up);
    remote_again(&remote, &scene, CONTROL); /* libzmq does not of itself */
    UNTIL(&scene, tell(&scene, &remote, "t", text, 10) == 1);
    UNTIL(&scene, hears(&remote, "t", text, 10));
    assert_int_equal(scene.n_up, 2);
    remote_close(&remote);
    scene_close(&scene);
}

/* ---------------------------------------------------------------------------------- heartbeats */

/* libzmq asks: as long as the server has its turns it is answered */
static void test_it_asks(void **state) {
    (void)state;
    static const int types[] = {ZMQ_SUB, ZMQ_XPUB};
    for (unsigned i = 0; i < 2; i++) {
        Scene scene;
        Remote remote;
        scene_open(&scene);
        remote_make(&remote, types[i]);
        remote_curve(&remote, scene.keys.public);
        set(&remote, ZMQ_HEARTBEAT_IVL, 50);
        set(&remote, ZMQ_HEARTBEAT_TIMEOUT, 1000);
        set(&remote, ZMQ_HEARTBEAT_TTL, 1000);
        remote_connect(&remote, &scene, types[i] == ZMQ_SUB ? CONTROL : DATA);
        UNTIL(&scene, scene.n_up == 1);
        pass(&scene, 2500);
        assert_int_equal(watch(&remote), 0);
        assert_int_equal(scene.n_up, 1);
        /* and when it has none, libzmq notices */
        const uint64_t begin_ms = clock_monotonic_ms();
        while (!watch(&remote) && clock_monotonic_ms() - begin_ms < PATIENCE_MS)
            (void)poll(NULL, 0, 10);
        assert_int_equal(remote.n_lost, 1);
        UNTIL(&scene, scene.n_up == 2);
        remote_close(&remote);
        scene_close(&scene);
    }
}

/* the server asks: libzmq answers, whether it has heartbeats of its own or not */
static void test_server_asks(void **state) {
    (void)state;
    Scene scene;
    Remote sub, pub;
    scene_open(&scene);
    remote_open(&sub, &scene, ZMQ_SUB, CONTROL);
    assert_int_equal(zmq_setsockopt(sub.socket, ZMQ_SUBSCRIBE, "t", 1), 0);
    open_heard(&pub, &scene);
    remote_say(&pub, "weir", "text", 4);
    UNTIL(&scene, listens(&scene, &sub) && scene.n_messages);
    for (int i = 0; i < 6; i++) {
        later(&scene, ZMTP_PING_MS);
        pass(&scene, 200);
    }
    assert_int_equal(zmtp_server_counts(scene.server).n, 2);
    assert_int_equal(watch(&sub) + watch(&pub), 0);
    assert_int_equal(tell(&scene, &sub, "t", "text", 4), 1);
    UNTIL(&scene, hears(&sub, "t", "text", 4));
    remote_close(&sub);
    remote_close(&pub);
    scene_close(&scene);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_publishers),       cmocka_unit_test(test_subscribers),
        cmocka_unit_test(test_64_subscriptions), cmocka_unit_test(test_other_mechanisms),
        cmocka_unit_test(test_wrong_keys),       cmocka_unit_test(test_wrong_socket),
        cmocka_unit_test(test_restart),          cmocka_unit_test(test_much),
        cmocka_unit_test(test_too_much),         cmocka_unit_test(test_maxmsgsize),
        cmocka_unit_test(test_it_asks),          cmocka_unit_test(test_server_asks),
    };
    context = zmq_ctx_new();
    const int failed = sodium_init() < 0 ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
    if (!failed) /* else sockets were left open, and it would wait for them */
        (void)zmq_ctx_term(context);
    return failed;
}
