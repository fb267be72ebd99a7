/* SPDX-License-Identifier: Apache-2.0 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "base/buffer.h"
#include "base/json.h"
#include "probe/pulse.h"

typedef struct Came {
    uint8_t low, high; /* last bytes of the addresses */
    uint32_t from_low, from_high, packets;
    unsigned initiator;
} Came;

static void add(Pulse *pulse, Came came) {
    const FlowKey key = {
        .address = {{10, 0, 0, came.low}, {10, 0, 0, came.high}}, .ip_version = 4, .protocol = 17};
    const PulseFlow flow = {.key = &key,
                            .initiator = came.initiator,
                            .octets = {came.from_low, came.from_high},
                            .packets = came.packets};
    pulse_add(pulse, &flow);
}

static const char *written(Pulse *pulse, Buffer *buffer) {
    PulseTotals totals = {
        .time_ms = 5,
        .interval_ms = 1000,
        .packets = 9,
        .flows_waiting = 3,
        .flows_metered = 21,
        .flows_export_dropped = 1,
        .hubs = 1,
        .spool = {.batches = 2,
                  .bytes = 400,
                  .limit_bytes = 1000,
                  .held = {.flows = 3},
                  .appended = {.flows = 20},
                  .dropped = {.flows = 4},
                  .torn_batches = 6,
                  .oldest_ms = 1500,
                  .hours_left = 2.5,
                  .disk = SPOOL_DISK_GOOD},
    };
    Json json = json_make(buffer);
    buffer_clear(buffer);
    pulse_write(pulse, &totals, &json);
    return buffer_text(buffer);
}

static void test_sums_by_host_and_conversation(void **state) {
    (void)state;
    Pulse *pulse = NULL;
    Buffer buffer = {0};
    assert_int_equal(pulse_new(&pulse, NULL, 1), 0);
    add(pulse, (Came){1, 2, 100, 1000, 5, 0});
    add(pulse, (Came){1, 3, 10, 20, 2, 1}); /* the higher address opened it */
    assert_string_equal(
        written(pulse, &buffer),
        "{\"v\":1,\"time_ms\":5,\"interval_ms\":1000,\"packets\":9,\"octets\":0,\"drops\":0,"
        "\"flows_active\":0,\"flows_exported\":0,\"flows_waiting\":3,\"flows_metered\":21,"
        "\"flows_export_dropped\":1,\"spool\":{\"hubs\":1,\"disk\":\"good\",\"flows\":3,"
        "\"batches\":2,\"bytes\":400,\"limit_bytes\":1000,\"oldest_ms\":1500,\"hours_left\":2.5,"
        "\"flows_appended\":20,\"flows_dropped\":4,\"batches_torn\":6},\"causes\":[],"
        "\"apps\":[{\"name\":\"Unknown\",\"octets\":1130,\"packets\":7}],"
        "\"hosts\":[{\"ip\":\"10.0.0.1\",\"octets_in\":1020,\"octets_out\":110,\"packets\":7},"
        "{\"ip\":\"10.0.0.2\",\"octets_in\":100,\"octets_out\":1000,\"packets\":5},"
        "{\"ip\":\"10.0.0.3\",\"octets_in\":10,\"octets_out\":20,\"packets\":2}],"
        "\"conversations\":[{\"src_ip\":\"10.0.0.1\",\"dst_ip\":\"10.0.0.2\",\"octets\":100,"
        "\"rev_octets\":1000,\"packets\":5},{\"src_ip\":\"10.0.0.3\",\"dst_ip\":\"10.0.0.1\","
        "\"octets\":20,\"rev_octets\":10,\"packets\":2}]}");
    /* the next second begins empty */
    assert_non_null(strstr(written(pulse, &buffer), "\"apps\":[],\"hosts\":[],"));
    buffer_deinit(&buffer);
    pulse_free(pulse);
}

/* more hosts than the list holds: the heaviest come, in order */
static void test_the_heaviest_come(void **state) {
    (void)state;
    Pulse *pulse = NULL;
    Buffer buffer = {0};
    assert_int_equal(pulse_new(&pulse, NULL, 1), 0);
    for (unsigned i = 0; i < 200; i++) {
        add(pulse, (Came){(uint8_t)i, 250, (i * 7 % 200 + 1) * 1000, 0, 1, 0});
    }
    const char *text = strstr(written(pulse, &buffer), "\"conversations\"");
    assert_non_null(text);
    for (unsigned rank = 0; rank < 20; rank++) {
        char octets[32];
        (void)snprintf(octets, sizeof(octets), "\"octets\":%u,", (200 - rank) * 1000);
        text = strstr(text, octets);
        assert_non_null(text);
    }
    assert_null(strstr(text + 1, "\"octets\""));
    buffer_deinit(&buffer);
    pulse_free(pulse);
}

/* of workers: what two have seen of one host and one conversation is one line each, and gone from
 * them */
static void test_merged(void **state) {
    (void)state;
    Pulse *all = NULL;
    Pulse *parts[2] = {NULL, NULL};
    Pulse *alone = NULL;
    Buffer buffer = {0};
    Buffer expected = {0};
    assert_int_equal(pulse_new(&all, NULL, 1), 0);
    assert_int_equal(pulse_new(&alone, NULL, 2), 0);
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(pulse_new(&parts[i], NULL, 3 + i), 0);
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned i = 0; i < 40; i++) {
            const Came came = {(uint8_t)(i / 2 % 7), 250, 100 * (i + 1), 10, i + 1, i % 2};
            add(parts[i % 3 == 0], came);
            add(alone, came);
        }
        for (unsigned i = 0; i < 2; i++)
            pulse_merge(all, parts[i]);
        assert_string_equal(written(all, &buffer), written(alone, &expected));
    }
    pulse_merge(all, parts[0]);
    assert_non_null(strstr(written(all, &buffer), "\"apps\":[],\"hosts\":[],"));
    buffer_deinit(&buffer);
    buffer_deinit(&expected);
    pulse_free(all);
    pulse_free(alone);
    for (unsigned i = 0; i < 2; i++)
        pulse_free(parts[i]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sums_by_host_and_conversation),
        cmocka_unit_test(test_the_heaviest_come),
        cmocka_unit_test(test_merged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
