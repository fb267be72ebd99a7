/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Who opened a flow, where only nDPI can tell: flows met in their middle between ports that say
 * nothing, or the wrong thing.
 */

#include <stdio.h>
#include <string.h>

#include "probe/dpi.h"
#include "probe/test-meter-rig.h"

typedef struct Said {
    uint8_t from, to; /* last bytes of 10.0.0.x; 251: 224.0.0.251 */
    uint16_t sport, dport;
    uint8_t protocol, flags;
    const void *payload;
    size_t size;
    uint64_t at_ns;
} Said;

typedef struct Scene {
    Rig *rig;
    Dpi *dpi;
} Scene;

static Scene scene_new(void) {
    Scene scene = {.rig = rig_new(64)};
    Reason reason = {0};
    DpiConfig known = {.max_flows = 16, .counters = scene.rig->counters};
    assert_int_equal(dpi_new(&scene.dpi, &known, &reason), 0);
    meter_free(scene.rig->meter);
    MeterConfig config = {
        .max_flows = 64,
        .idle_s = 15,
        .active_s = 60,
        .seed = 1,
        .flow_id = 100,
        .mode = DISSECT_INNERMOST,
        .dpi = scene.dpi,
        .counters = scene.rig->counters,
        .record = take,
        .userdata = scene.rig,
    };
    assert_int_equal(meter_new(&scene.rig->meter, &config), 0);
    return scene;
}

static void scene_end(Scene *scene) {
    rig_end(scene->rig);
    dpi_free(scene->dpi);
}

static void put16(uint8_t *at, size_t value) {
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}

static void put_address(uint8_t at[4], uint8_t host) {
    static const uint8_t group[4] = {224, 0, 0, 251};
    memcpy(at, host == 251 ? group : (uint8_t[]){10, 0, 0, host}, 4);
}

static void say(Scene *scene, Said s) {
    uint8_t b[1500] = {0x45, [8] = 64, [9] = s.protocol};
    const size_t header = s.protocol == IP_TCP ? 20 : 8;
    const size_t bytes = 20 + header + s.size;
    assert_true(bytes <= sizeof(b));
    put16(b + 2, bytes);
    put_address(b + 12, s.from);
    put_address(b + 16, s.to);
    put16(b + 20, s.sport);
    put16(b + 22, s.dport);
    if (s.protocol == IP_TCP) {
        b[32] = 0x50;
        b[33] = s.flags ? s.flags : TCP_ACK | TCP_PSH;
        put16(b + 34, 8192);
    } else {
        put16(b + 24, 8 + s.size);
    }
    if (s.size)
        memcpy(b + 20 + header, s.payload, s.size);
    Frame frame = {.bytes = b,
                   .time_ns = s.at_ns ? s.at_ns : START,
                   .captured_bytes = (uint32_t)bytes,
                   .wire_bytes = (uint32_t)bytes,
                   .link_type = FRAME_LINK_RAW};
    meter_frames(scene->rig->meter, &frame, 1);
}

static const char request[] = "GET /index.html HTTP/1.1\r\nHost: www.example.org\r\n"
                              "User-Agent: test\r\nAccept: */*\r\n\r\n";
static const char answer[] = "HTTP/1.1 200 OK\r\nServer: test\r\nContent-Type: text/html\r\n"
                             "Content-Length: 2\r\n\r\nhi";
/* a.example A, asked and answered */
static const uint8_t query[] = {0x12, 0x34, 0,   0,   0,   1,   0,   0,   0, 0, 0, 0, 1, 'a',
                                7,    'e',  'x', 'a', 'm', 'p', 'l', 'e', 0, 0, 1, 0, 1};
static const uint8_t reply[] = {0x12, 0x34, 0x80, 0,  0,   1,    0,    1,   0,   0,   0,
                                0,    1,    'a',  7,  'e', 'x',  'a',  'm', 'p', 'l', 'e',
                                0,    0,    1,    0,  1,   0xc0, 0x0c, 0,   1,   0,   1,
                                0,    0,    0,    30, 0,   4,    192,  0,   2,   1};

#define TEXT(s) (s), sizeof(s) - 1

typedef struct Case {
    const char *what;
    Said said[2];
    uint8_t initiator;
    uint8_t told;
} Case;

static const Case cases[] = {
    {"an HTTP request from the lower port, in the middle",
     {{1, 2, 30000, 40000, IP_TCP, 0, TEXT(request), 0}},
     1,
     FLOW_DIRECTION_INITIATOR},
    {"its answer alone",
     {{2, 1, 40000, 30000, IP_TCP, 0, TEXT(answer), 0}},
     1,
     FLOW_DIRECTION_REVERSE},
    {"an answer, then a request",
     {{2, 1, 40000, 30000, IP_TCP, TCP_ACK, NULL, 0, 0},
      {1, 2, 30000, 40000, IP_TCP, 0, TEXT(request), 0}},
     1,
     FLOW_DIRECTION_REVERSE},
    {"a name asked for at a port of one's own",
     {{1, 2, 50000, 5355, IP_UDP, 0, query, sizeof(query), 0}},
     1,
     FLOW_DIRECTION_INITIATOR},
    {"mDNS: the question went to a group, the answer is a flow of its own",
     {{2, 1, 5353, 50000, IP_UDP, 0, reply, sizeof(reply), 0}},
     1,
     FLOW_DIRECTION_REVERSE},
    {"mDNS said to all: nobody asked",
     {{2, 251, 5353, 5353, IP_UDP, 0, reply, sizeof(reply), 0}},
     2,
     FLOW_DIRECTION_INITIATOR},
    {"a SYN is believed, whoever seems to ask then",
     {{2, 1, 40000, 30000, IP_TCP, TCP_SYN, NULL, 0, 0},
      {1, 2, 30000, 40000, IP_TCP, 0, TEXT(request), 0}},
     2,
     FLOW_DIRECTION_INITIATOR},
    {"a well-known port, too",
     {{1, 2, 80, 40000, IP_TCP, 0, TEXT(request), 0}},
     2,
     FLOW_DIRECTION_REVERSE},
    {"what nDPI cannot tell: who was first, and of TCP the lower port",
     {{1, 2, 5000, 4000, IP_UDP, 0, "hello", 5, 0}},
     1,
     FLOW_DIRECTION_INITIATOR},
};

static void test_told_by_ndpi(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        Scene scene = scene_new();
        for (size_t k = 0; k < 2 && cases[i].said[k].from; k++)
            say(&scene, cases[i].said[k]);
        meter_flush(scene.rig->meter);
        const FlowRecord *r = &scene.rig->records[0];
        if (scene.rig->n != 1 || r->src_ip.bytes[3] != cases[i].initiator ||
            r->biflow_direction != cases[i].told)
            fail_msg("%s: %zu records, initiator %u, told %u", cases[i].what, scene.rig->n,
                     r->src_ip.bytes[3], r->biflow_direction);
        scene_end(&scene);
    }
}

static void test_counts_go_with_the_sides(void **state) {
    (void)state;
    Scene scene = scene_new();
    say(&scene, (Said){2, 1, 40000, 30000, IP_TCP, TCP_ACK, NULL, 0, 0});
    say(&scene, (Said){2, 1, 40000, 30000, IP_TCP, TCP_ACK, NULL, 0, START + 1});
    say(&scene, (Said){1, 2, 30000, 40000, IP_TCP, 0, TEXT(request), START + 2});
    meter_flush(scene.rig->meter);
    const FlowRecord *r = &scene.rig->records[0];
    assert_int_equal(r->src_port, 30000);
    assert_true(r->packets == 1 && r->rev_packets == 2);
    assert_true(r->octets == 40 + sizeof(request) - 1 && r->rev_octets == 80);
    scene_end(&scene);
}

/* the first record has said who opened it: later ones of the flow say the same */
static void test_kept_across_splits(void **state) {
    (void)state;
    Scene scene = scene_new();
    for (uint64_t s = 0; s < 70; s++)
        say(&scene, (Said){2, 1, 40000, 30000, IP_TCP, TCP_ACK, NULL, 0, START + s * SECOND});
    say(&scene, (Said){1, 2, 30000, 40000, IP_TCP, 0, TEXT(request), START + 70 * SECOND});
    meter_flush(scene.rig->meter);
    assert_int_equal(scene.rig->n, 2);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(scene.rig->records[i].src_ip.bytes[3], 2);
        assert_true(scene.rig->records[i].flow_id == 100);
    }
    scene_end(&scene);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_told_by_ndpi),
        cmocka_unit_test(test_counts_go_with_the_sides),
        cmocka_unit_test(test_kept_across_splits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
