/* SPDX-License-Identifier: Apache-2.0 */

/* collectors on loopback that count: the limit to the record, lifted and put back; addresses */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/cursor.h"
#include "probe/doors.h"

enum { BATCH = 350, WAIT_MS = 5000 };

typedef struct Sink {
    int fd;
    char address[32];
    const char *values[1];
    OptionList list;
} Sink;

static void sink_open(Sink *sink) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(at);
    sink->fd = socket(AF_INET, SOCK_DGRAM, 0);
    assert_true(sink->fd >= 0);
    assert_int_equal(bind(sink->fd, (struct sockaddr *)&at, size), 0);
    assert_int_equal(getsockname(sink->fd, (struct sockaddr *)&at, &size), 0);
    (void)snprintf(sink->address, sizeof(sink->address), "127.0.0.1:%u", ntohs(at.sin_port));
    sink->values[0] = sink->address;
    sink->list = (OptionList){.values = sink->values, .n = 1};
}

/* records of v5 datagrams: the header has how many. Until nothing comes for a while */
static uint64_t sink_count(const Sink *sink, uint64_t expected, unsigned quiet_ms) {
    uint64_t n = 0;
    struct pollfd one = {.fd = sink->fd, .events = POLLIN};
    while (poll(&one, 1, n < expected ? WAIT_MS : (int)quiet_ms) > 0) {
        uint8_t bytes[2048];
        const ssize_t size = recv(sink->fd, bytes, sizeof(bytes), 0);
        assert_true(size >= 24);
        assert_int_equal((size - 24) % 48, 0);
        n += (uint64_t)(size - 24) / 48;
    }
    return n;
}

static void export(Doors *doors, uint32_t flows, bool pairs) {
    static FlowRecord records[BATCH];
    for (uint32_t done = 0; done < flows;) {
        uint32_t n = flows - done < BATCH ? flows - done : BATCH;
        for (uint32_t i = 0; i < n; i++)
            records[i] = (FlowRecord){.first_ms = 1700000000000 + i,
                                      .last_ms = 1700000000000 + i,
                                      .src_ip = net_address_v4((const uint8_t[]){10, 0, 0, 1}),
                                      .dst_ip = net_address_v4((const uint8_t[]){10, 0, 0, 2}),
                                      .protocol = 17,
                                      .packets = 1,
                                      .octets = 100,
                                      .rev_packets = pairs,
                                      .rev_octets = pairs ? 60 : 0};
        doors_batch(doors, records, n);
        done += n;
    }
}

static Doors *open_doors(const Sink *sink, bool limited) {
    Doors *doors = NULL;
    Reason reason;
    const DoorsConfig config = {
        .collectors = &sink->list, .version = NETFLOW_5, .patient = true, .limited = limited};
    assert_int_equal(doors_new(&doors, &config, &reason), 0);
    return doors;
}

static void export_counted(Doors *doors, const Sink *sink, uint32_t flows, bool pairs,
                           uint64_t records) {
    /* in steps that a receive buffer holds */
    uint64_t got = 0;
    for (uint32_t done = 0; done < flows; done += 2 * BATCH) {
        DoorsStatus before;
        DoorsStatus now;
        doors_status(doors, &before);
        export(doors, flows - done < 2 * BATCH ? flows - done : 2 * BATCH, pairs);
        doors_status(doors, &now);
        const uint64_t end_ms = clock_monotonic_ms() + WAIT_MS;
        while (now.sum.waiting_messages && clock_monotonic_ms() < end_ms) {
            (void)usleep(100);
            doors_status(doors, &now);
        }
        got += sink_count(sink, 0, 3);
    }
    got += sink_count(sink, records - got, 50);
    assert_int_equal(got, records);
}

static void test_limit(void **state) {
    (void)state;
    Sink sink;
    sink_open(&sink);
    Doors *doors = open_doors(&sink, true);
    DoorsStatus status;
    export_counted(doors, &sink, 10000, true, 20000);
    doors_status(doors, &status);
    assert_true(status.limited);
    assert_int_equal(status.left_records, 5000);
    assert_int_equal(status.withheld_flows, 0);
    export_counted(doors, &sink, 3001, true, 5000);
    doors_status(doors, &status);
    assert_int_equal(status.left_records, 0);
    assert_int_equal(status.withheld_flows, 501);
    /* lifted: everything goes */
    doors_limit(doors, false);
    export_counted(doors, &sink, 30000, false, 30000);
    /* put back: from then on 25,000 */
    doors_limit(doors, true);
    export_counted(doors, &sink, 26000, false, DOORS_LIMIT_RECORDS);
    doors_status(doors, &status);
    assert_int_equal(status.withheld_flows, 501 + 1000);
    doors_limit(doors, true); /* said again, it is the same limit */
    export_counted(doors, &sink, 10, false, 0);
    doors_finish(doors, WAIT_MS);
    doors_status(doors, &status);
    assert_int_equal(status.sum.sent_records, 20000 + 5000 + 30000 + DOORS_LIMIT_RECORDS);
    assert_int_equal(status.sum.failed_records, 0);
    doors_free(doors);
    (void)close(sink.fd);
}

/* a pair is never cut: the last record of an odd rest is not used */
static void test_limit_keeps_pairs(void **state) {
    (void)state;
    Sink sink;
    sink_open(&sink);
    Doors *doors = open_doors(&sink, true);
    export_counted(doors, &sink, 1, false, 1);
    export_counted(doors, &sink, 12501, true, DOORS_LIMIT_RECORDS - 2);
    export_counted(doors, &sink, 1, false, 0 + 1);
    doors_free(doors);
    (void)close(sink.fd);
}

static void test_addresses(void **state) {
    (void)state;
    const struct {
        const char *text;
        const char *is; /* NULL: refused */
    } cases[] = {
        {"192.0.2.1:2055", "udp://192.0.2.1:2055"},
        {"udp://collector:9995", "udp://collector:9995"},
        {"tcp://collector.example.org:4739", "tcp://collector.example.org:4739"},
        {"[2001:db8::1]:2055", "udp://[2001:db8::1]:2055"},
        {"tcp://[::1]:1", "tcp://[::1]:1"},
        {"192.0.2.1", "udp://192.0.2.1:2055"},
        {"tcp://[2001:db8::1]", "tcp://[2001:db8::1]:2055"},
        {"192.0.2.1:", NULL},
        {":2055", NULL},
        {"192.0.2.1:0", NULL},
        {"192.0.2.1:65536", NULL},
        {"192.0.2.1:+5", NULL},
        {"192.0.2.1:20x", NULL},
        {"2001:db8::1:2055", NULL},
        {"sctp://host:1", NULL},
        {"tcp://a/b:1", NULL},
        {"none", NULL},
        {"", NULL},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        DoorAddress address;
        Reason reason = {""};
        int r = door_parse(&address, cases[i].text, &reason);
        assert_int_equal(r, cases[i].is ? 0 : DOOR_E_USAGE);
        if (cases[i].is)
            assert_string_equal(address.text, cases[i].is);
        else
            assert_non_null(strstr(reason.text, "HOST:PORT"));
    }
}

/* a queue that does not move: live it never waits, and what does not fit is counted */
static void test_nobody_takes(void **state) {
    (void)state;
    const char *values[] = {"tcp://127.0.0.1:1"};
    const OptionList list = {.values = values, .n = 1};
    const DoorsConfig config = {.collectors = &list, .version = NETFLOW_IPFIX};
    Doors *doors = NULL;
    Reason reason;
    DoorsStatus status;
    assert_int_equal(doors_new(&doors, &config, &reason), 0);
    const uint64_t begin_ms = clock_monotonic_ms();
    export(doors, 400000, false);
    const uint64_t took_ms = clock_monotonic_ms() - begin_ms;
    assert_in_range(took_ms, 0, 30000); /* some 60 ms of encoding, fifty times that sanitized */
    doors_finish(doors, 200);
    doors_status(doors, &status);
    assert_int_equal(status.sum.sent_records, 0);
    assert_int_equal(status.sum.failed_records, 400000);
    doors_free(doors);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_limit),
        cmocka_unit_test(test_limit_keeps_pairs),
        cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_nobody_takes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
