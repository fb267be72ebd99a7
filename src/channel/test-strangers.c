/* SPDX-License-Identifier: Apache-2.0 */

/* What the hub says of those who connect to it and are no probes: its cause and their address */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <zmq.h>

#include "channel/link-scene.h"

static unsigned told(Scene *scene, HubEventKind kind) {
    return atomic_load(&scene->hub.n_events[kind]);
}

/** only() - of this cause something was told, of the others nothing */
static void only(Scene *scene, HubEventKind kind) {
    wait_event(&scene->hub, kind);
    for (HubEventKind other = HUB_EVENT_SESSION_BEGIN; other <= HUB_EVENT_CLONE; other++)
        if (other != kind && told(scene, other))
            fail_msg("event %d was told as well as %d", (int)other, (int)kind);
    said(scene, scene->hub.last_address, "127.0.0.1");
}

static void set(void *socket, int option, const void *value, size_t size) {
    assert_int_equal(zmq_setsockopt(socket, option, value, size), 0);
}

static void test_mechanisms(void **state) {
    (void)state;
    static const int types[] = {ZMQ_PUB, ZMQ_XPUB, ZMQ_SUB};
    for (size_t i = 0; i < 2 * sizeof(types) / sizeof(types[0]); i++) {
        const int none = 0;
        const bool plain = i % 2;
        Scene scene;
        scene_open(&scene, true);
        hub_run(&scene.hub, &scene.shape);
        void *context = zmq_ctx_new();
        void *socket = zmq_socket(context, types[i / 2]);
        set(socket, ZMQ_LINGER, &none, sizeof(none));
        if (plain) {
            set(socket, ZMQ_PLAIN_USERNAME, "user", 4);
            set(socket, ZMQ_PLAIN_PASSWORD, "word", 4);
        }
        assert_int_equal(zmq_connect(socket, types[i / 2] == ZMQ_SUB ? scene.events : scene.data),
                         0);
        only(&scene, HUB_EVENT_PLAIN_PEER);
        (void)zmq_close(socket);
        (void)zmq_ctx_term(context);
        scene_close(&scene);
    }
}

/** serves() - a probe, as if nobody else had come */
static void serves(Scene *scene) {
    Probe probe;
    probe_open(&probe, scene, 0, (ProbeLinkConfig){0});
    submit(&probe, 50, 300);
    drain(&probe);
    check_once(scene, &probe);
    assert_int_equal(gaps_of(scene).flows, 0);
    probe_close(&probe);
}

static int dial(uint16_t port) {
    const struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(port)};
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)&to, sizeof(to)), 0);
    return fd;
}

/* greeted with what every version of ZMTP begins with; then the hub has heard enough */
static void test_greetings(void **state) {
    (void)state;
    static const struct {
        const char *bytes;
        size_t size;
        HubEventKind kind;
    } rows[] = {
        {"\xff\0\0\0\0\0\0\0\1\x7f\1\2\0\0", 14, HUB_EVENT_PLAIN_PEER}, /* ZMTP 2 */
        {"\1\0", 2, HUB_EVENT_NOT_SPOKEN},                              /* ZMTP 1 */
        {"GET / HTTP/1.1\r\n\r\n", 18, HUB_EVENT_NOT_SPOKEN},
        {"\x16\x03\x01\x02\0\1\0\1\xfc\3\3", 11, HUB_EVENT_NOT_SPOKEN}, /* TLS */
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        Scene scene;
        uint8_t got[64];
        scene_open(&scene, true);
        hub_run(&scene.hub, &scene.shape);
        const int fd = dial((uint16_t)(scene.port + i % 2));
        assert_int_equal(recv(fd, got, 12, MSG_WAITALL), 12);
        assert_memory_equal(got, "\xff\0\0\0\0\0\0\0\1\x7f\3\1", 12);
        assert_int_equal(send(fd, rows[i].bytes, rows[i].size, MSG_NOSIGNAL), rows[i].size);
        assert_true(recv(fd, got, sizeof(got), 0) <= 0);
        only(&scene, rows[i].kind);
        (void)close(fd);
        serves(&scene);
        scene_close(&scene);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mechanisms),
        cmocka_unit_test(test_greetings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
