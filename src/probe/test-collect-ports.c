/* SPDX-License-Identifier: Apache-2.0 */

#include "probe/collect_ports.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/clock.h"
#include "probe/collect_feed.h"
#include "probe/collect_receive.h"
#include "probe/collect_socket.h"

/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
/* clang-format on */

enum { WORKERS = 4, HOSTS = 60, PORTS = 3, WAIT_MS = 5000 };

typedef struct Scene {
    Capture *ports[COLLECT_WORKERS_MAX];
    unsigned workers;
    uint16_t port;
    Reason reason;
} Scene;

/* a port that is free by UDP and TCP now */
static uint16_t free_port(void) {
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(at);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &size), 0);
    (void)close(fd);
    return ntohs(at.sin_port);
}

static int open_ports(Scene *scene, uint16_t port, unsigned workers) {
    char text[16];
    const char *values[] = {text};
    const OptionList list = {.values = values, .n = 1};
    (void)snprintf(text, sizeof(text), "%u", port);
    *scene = (Scene){.port = port, .workers = workers};
    return collect_ports_open(scene->ports, workers, &list, NULL, &scene->reason);
}

static void begin(Scene *scene, unsigned workers) {
    int r = CAPTURE_E_REFUSED;
    for (int i = 0; r && i < 20; i++)
        r = open_ports(scene, free_port(), workers);
    assert_int_equal(r, 0);
}

/* from 127.0.0.host, and a port of its own */
static void send_from(const Scene *scene, uint8_t host, const void *bytes, size_t size) {
    const int fd = socket(AF_INET, SOCK_DGRAM, 0);
    struct sockaddr_in from = {.sin_family = AF_INET,
                               .sin_addr.s_addr = htonl(INADDR_LOOPBACK - 1 + host)};
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                             .sin_port = htons(scene->port)};
    assert_int_equal(bind(fd, (struct sockaddr *)&from, sizeof(from)), 0);
    assert_int_equal(sendto(fd, bytes, size, 0, (struct sockaddr *)&to, sizeof(to)), (ssize_t)size);
    (void)close(fd);
}

static void end(Scene *scene) {
    for (unsigned i = 0; i < scene->workers; i++)
        capture_free(scene->ports[i]);
}

static CollectedFrame from_of(const Frame *frame) {
    CollectedFrame from;
    assert_int_equal(frame->link_type, FRAME_LINK_COLLECTED);
    memcpy(&from, frame->bytes, sizeof(from));
    return from;
}

/* how many datagrams a worker got, looking whose they are; *endp: it was told that no more come */
static size_t take_all(Scene *scene, unsigned worker, bool *endp) {
    Frame frames[16];
    size_t all = 0;
    size_t n = 1;
    while (n > 0) {
        const int r =
            capture_read(scene->ports[worker], frames, 16, &n, endp ? 1000 : 50, &scene->reason);
        for (size_t i = 0; i < n; i++) {
            const CollectedFrame from = from_of(&frames[i]);
            assert_int_equal(from.address.family, 4);
            assert_int_equal(from.address.bytes[0], 127);
            if (scene->workers > 1)
                assert_int_equal(collect_socket_of(&from.address, scene->workers), worker);
        }
        all += n;
        if (endp && r == CAPTURE_E_END)
            *endp = true;
    }
    return all;
}

static void test_an_exporter_has_one_worker(void **state) {
    (void)state;
    Scene s;
    size_t n = 0;
    size_t busy = 0;
    begin(&s, WORKERS);
    for (int host = 1; host <= HOSTS; host++)
        for (int i = 0; i < PORTS; i++)
            send_from(&s, (uint8_t)host, "x", 1);
    const uint64_t end_ms = clock_monotonic_ms() + WAIT_MS;
    size_t of[WORKERS] = {0};
    while (n < HOSTS * PORTS && clock_monotonic_ms() < end_ms)
        for (unsigned i = 0; i < WORKERS; i++) {
            const size_t got = take_all(&s, i, NULL);
            of[i] += got;
            n += got;
        }
    assert_int_equal(n, HOSTS * PORTS);
    for (unsigned i = 0; i < WORKERS; i++)
        busy += of[i] > 0;
    assert_int_equal(busy, WORKERS);
    end(&s);
}

/* the program in the kernel and our own counting agree, for IPv6, too */
static void test_ipv6_goes_where_it_should(void **state) {
    (void)state;
    for (unsigned workers = 2; workers <= COLLECT_WORKERS_MAX; workers++) {
        Scene s;
        begin(&s, workers);
        const NetAddress from = {.family = 6, .bytes = {[15] = 1}};
        const struct sockaddr_in6 to = {.sin6_family = AF_INET6,
                                        .sin6_addr = IN6ADDR_LOOPBACK_INIT,
                                        .sin6_port = htons(s.port)};
        const int fd = socket(AF_INET6, SOCK_DGRAM, 0);
        if (fd < 0 || sendto(fd, "x", 1, 0, (const struct sockaddr *)&to, sizeof(to)) != 1)
            skip(); /* a machine without IPv6 */
        Frame frame;
        size_t got = 0;
        assert_int_equal(capture_read(s.ports[collect_socket_of(&from, workers)], &frame, 1, &got,
                                      WAIT_MS, &s.reason),
                         0);
        assert_int_equal(got, 1);
        const CollectedFrame said = from_of(&frame);
        assert_true(net_address_equal(&said.address, &from));
        (void)close(fd);
        end(&s);
    }
}

static void test_a_port_that_is_taken(void **state) {
    (void)state;
    Scene s;
    Scene other;
    for (unsigned workers = 1; workers <= 2; workers++) {
        begin(&s, workers);
        assert_int_equal(open_ports(&other, s.port, 1), CAPTURE_E_REFUSED);
        assert_non_null(strstr(other.reason.text, "another collector has it"));
        assert_int_equal(open_ports(&other, s.port, 2), CAPTURE_E_REFUSED);
        assert_non_null(strstr(other.reason.text, "another collector has it"));
        end(&s);
    }
}

/* Datagrams that the kernel has joined are told apart again: small runs, large ones, single ones
 * behind them, and each is counted. */
static void test_joined_datagrams(void **state) {
    (void)state;
    enum { EACH = 1000, TURNS = 40 };
    static const uint16_t sizes[] = {EACH, 2 * EACH, 10 * EACH + 7, 60 * EACH + 1, 1, EACH - 1};
    static uint8_t bytes[UINT16_MAX];
    const int each = EACH;
    Scene s;
    begin(&s, 1);
    const struct sockaddr_in to = {.sin_family = AF_INET,
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                                   .sin_port = htons(s.port)};
    const int fd = socket(AF_INET, SOCK_DGRAM, 0);
    if (setsockopt(fd, IPPROTO_UDP, UDP_SEGMENT, &each, sizeof(each)) != 0)
        skip(); /* an old kernel */
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)(i / EACH);
    for (unsigned turn = 0; turn < TURNS; turn++) {
        const size_t size = sizes[turn % (sizeof(sizes) / sizeof(sizes[0]))];
        size_t got = 0;
        size_t datagrams = 0;
        assert_int_equal(sendto(fd, bytes, size, 0, (const struct sockaddr *)&to, sizeof(to)),
                         (ssize_t)size);
        while (got < size) {
            Frame frame;
            size_t n = 0;
            assert_int_equal(capture_read(s.ports[0], &frame, 1, &n, WAIT_MS, &s.reason), 0);
            assert_int_equal(n, 1);
            const CollectedFrame from = from_of(&frame);
            const size_t payload = frame.captured_bytes - sizeof(from);
            assert_true(got + payload <= size);
            assert_true(from.each_bytes == 0 ? payload <= EACH : from.each_bytes == EACH);
            assert_memory_equal(frame.bytes + sizeof(from), bytes + got, payload);
            datagrams += collected_datagrams(&from, payload);
            got += payload;
        }
        assert_int_equal(datagrams, (size + EACH - 1) / EACH);
    }
    (void)close(fd);
    end(&s);
}

/* nobody decodes: what has no room in the chunks is counted, and the rest is there */
static void test_what_has_no_room_is_counted(void **state) {
    (void)state;
    enum { BYTES = 60000, SENT = CHUNKS * (CHUNK_BYTES / BYTES) + 40 };
    Scene s;
    CaptureStats stats = {0};
    bool ended = false;
    uint8_t *bytes = calloc(1, BYTES);
    assert_non_null(bytes);
    begin(&s, 1);
    for (int i = 0; i < SENT; i++) {
        send_from(&s, 1, bytes, BYTES);
        if (i % 8 == 7)
            (void)usleep(2000); /* so that the kernel drops none */
    }
    const uint64_t end_ms = clock_monotonic_ms() + WAIT_MS;
    do
        capture_stats(s.ports[0], &stats);
    while (stats.overrun == 0 && clock_monotonic_ms() < end_ms);
    assert_true(stats.overrun > 0);
    assert_true(collect_ports_stop(s.ports[0]));
    const size_t n = take_all(&s, 0, &ended);
    assert_true(ended);
    capture_stats(s.ports[0], &stats);
    assert_int_equal(n + stats.overrun + stats.dropped, SENT);
    Buffer text = {0};
    collect_ports_write_counters(s.ports, 1, &text);
    assert_non_null(strstr(buffer_text(&text), "socket_dropped_total{port=\""));
    buffer_deinit(&text);
    end(&s);
    free(bytes);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_exporter_has_one_worker),
        cmocka_unit_test(test_ipv6_goes_where_it_should),
        cmocka_unit_test(test_a_port_that_is_taken),
        cmocka_unit_test(test_joined_datagrams),
        cmocka_unit_test(test_what_has_no_room_is_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
