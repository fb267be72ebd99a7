/* SPDX-License-Identifier: Apache-2.0 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "probe/counters.h"
#include "probe/jitter.h"
#include "probe/metadata.h"
#include "probe/meter.h"

enum { HEADERS = 54, RECORDS = 64, US = 1000 };

static const uint64_t start_ns = UINT64_C(1700000000000000000);

typedef struct Rig {
    Meter *meter;
    MetricValue counters[_COUNTER_N];
    FlowRecord records[RECORDS];
    char texts[RECORDS][3][80];
    size_t n;
} Rig;

static void keep(FlowText *text, char *to) {
    memcpy(to, text->text ? text->text : "", text->size);
    to[text->size] = 0;
    text->text = to;
}

static void take(void *userdata, const FlowRecord *record) {
    Rig *rig = userdata;
    if (rig->n == RECORDS)
        return;
    FlowRecord *r = &rig->records[rig->n];
    *r = *record;
    keep(&r->packet_sizes, rig->texts[rig->n][0]);
    keep(&r->packet_gaps, rig->texts[rig->n][1]);
    keep(&r->tcp_fingerprint, rig->texts[rig->n][2]);
    rig->n++;
}

static int setup(void **state) {
    Rig *rig = calloc(1, sizeof(*rig));
    assert_non_null(rig);
    const MeterConfig config = {.max_flows = 64,
                                .idle_s = 15,
                                .active_s = 60,
                                .seed = 1,
                                .counters = rig->counters,
                                .record = take,
                                .userdata = rig};
    assert_int_equal(meter_new(&rig->meter, &config), 0);
    *state = rig;
    return 0;
}

static int teardown(void **state) {
    Rig *rig = *state;
    meter_free(rig->meter);
    free(rig);
    return 0;
}

/* one packet between 10.0.0.1:40000 and 10.0.0.2:443 */
typedef struct Sent {
    uint64_t at_us;
    uint32_t seq, ack;
    uint16_t bytes;
    uint16_t window;
    uint8_t flags;
    uint8_t ttl;
    bool back;
    const char *options; /* 4 n bytes */
    uint8_t option_bytes;
} Sent;

static void put16(uint8_t *at, uint32_t v) {
    at[0] = (uint8_t)(v >> 8);
    at[1] = (uint8_t)v;
}

static void put32(uint8_t *at, uint32_t v) {
    put16(at, v >> 16);
    put16(at + 2, v);
}

static void put_ip(uint8_t *frame, const Sent *s, uint8_t protocol, size_t ip_bytes) {
    memcpy(frame + 12, "\x08\x00\x45", 3);
    put16(frame + 16, (uint32_t)ip_bytes);
    frame[20] = 0x40;
    frame[22] = s->ttl ? s->ttl : 64;
    frame[23] = protocol;
    memcpy(frame + (s->back ? 30 : 26), "\x0a\0\0\1", 4);
    memcpy(frame + (s->back ? 26 : 30), "\x0a\0\0\2", 4);
    put16(frame + (s->back ? 36 : 34), 40000);
    put16(frame + (s->back ? 34 : 36), 443);
}

static void show(Rig *rig, const uint8_t *frame, size_t size, uint64_t at_us) {
    const Frame f = {.bytes = frame,
                     .time_ns = start_ns + at_us * US,
                     .captured_bytes = (uint32_t)size,
                     .wire_bytes = (uint32_t)size,
                     .link_type = FRAME_LINK_ETHERNET};
    meter_frames(rig->meter, &f, 1);
}

static void tcp(Rig *rig, Sent s) {
    uint8_t frame[1600] = {0};
    size_t size = HEADERS + s.option_bytes + (size_t)s.bytes;
    put_ip(frame, &s, 6, size - 14);
    put32(frame + 38, s.seq);
    put32(frame + 42, s.ack);
    frame[46] = (uint8_t)((5 + s.option_bytes / 4) << 4);
    frame[47] = s.flags;
    put16(frame + 48, s.window);
    if (s.option_bytes)
        memcpy(frame + HEADERS, s.options, s.option_bytes);
    show(rig, frame, size, s.at_us);
}

enum { SYN = TCP_SYN, ACK = TCP_ACK, FIN = TCP_FIN, PSH = TCP_PSH | TCP_ACK };

static const char options[] = "\x02\x04\x05\xb4\x04\x02\x08\x0a\0\0\0\1\0\0\0\0\x01\x03\x03\x07";

static void shake_hands(Rig *rig) {
    tcp(rig,
        (Sent){.seq = 100, .window = 64240, .flags = SYN, .options = options, .option_bytes = 20});
    tcp(rig, (Sent){.at_us = 30000,
                    .back = true,
                    .seq = 500,
                    .ack = 101,
                    .window = 65160,
                    .flags = SYN | ACK,
                    .options = "\x02\x04\x05\x50\x01\x03\x03\x02",
                    .option_bytes = 8,
                    .ttl = 50});
    tcp(rig, (Sent){.at_us = 40000, .seq = 101, .ack = 501, .window = 502, .flags = ACK});
}

static const FlowRecord *only(Rig *rig) {
    meter_flush(rig->meter);
    assert_int_equal(rig->n, 1);
    return &rig->records[0];
}

static void test_handshake(void **state) {
    Rig *rig = *state;
    shake_hands(rig);
    tcp(rig,
        (Sent){.at_us = 41000, .seq = 101, .ack = 501, .bytes = 100, .window = 502, .flags = PSH});
    tcp(rig, (Sent){.at_us = 95000,
                    .back = true,
                    .seq = 501,
                    .ack = 201,
                    .bytes = 1200,
                    .window = 600,
                    .flags = PSH,
                    .ttl = 51});
    const FlowRecord *r = only(rig);
    assert_int_equal(r->handshake_us, 40000);
    assert_int_equal(r->server_latency_us, 15000);
    assert_int_equal(r->client_latency_us, 5000);
    assert_int_equal(r->app_latency_us, 54000);
    assert_int_equal(r->tcp_mss, 1460);
    assert_int_equal(r->rev_tcp_mss, 1360);
    assert_int_equal(r->tcp_window_max, 502 << 7);
    assert_int_equal(r->rev_tcp_window_max, 65160); /* of the SYN-ACK, which is not scaled */
    assert_int_equal(r->rev_ttl_min, 50);
    assert_int_equal(r->rev_ttl_max, 51);
    assert_string_equal(r->tcp_fingerprint.text, "4:64240:MKTNW:1460:7:64:d");
    assert_int_equal(r->retransmitted + r->out_of_order + r->lost + r->duplicate_acks, 0);
}

static void test_sent_again(void **state) {
    Rig *rig = *state;
    shake_hands(rig);
    tcp(rig,
        (Sent){.at_us = 50000, .seq = 101, .ack = 501, .bytes = 100, .window = 502, .flags = PSH});
    tcp(rig, (Sent){.at_us = 350000,
                    .seq = 101,
                    .ack = 501,
                    .bytes = 100,
                    .window = 502,
                    .flags = PSH}); /* again */
    tcp(rig, (Sent){.at_us = 360000,
                    .seq = 301,
                    .ack = 501,
                    .bytes = 100,
                    .window = 502,
                    .flags = PSH}); /* 100 bytes are missing */
    tcp(rig, (Sent){.at_us = 361000,
                    .seq = 201,
                    .ack = 501,
                    .bytes = 100,
                    .window = 502,
                    .flags = PSH}); /* there they are, late */
    const FlowRecord *r = only(rig);
    assert_int_equal(r->retransmitted, 1);
    assert_int_equal(r->lost, 1);
    assert_int_equal(r->out_of_order, 1);
    assert_int_equal(r->rev_retransmitted + r->rev_lost + r->rev_out_of_order, 0);
}

static void test_acks(void **state) {
    Rig *rig = *state;
    shake_hands(rig);
    tcp(rig, (Sent){.at_us = 50000,
                    .back = true,
                    .seq = 501,
                    .ack = 101,
                    .bytes = 1000,
                    .window = 509,
                    .flags = PSH});
    tcp(rig, (Sent){.at_us = 51000,
                    .back = true,
                    .seq = 2501,
                    .ack = 101,
                    .bytes = 1000,
                    .window = 509,
                    .flags = PSH});
    for (uint32_t i = 0; i < 3; i++) /* the first is new */
        tcp(rig, (Sent){.at_us = 52000 + i, .seq = 101, .ack = 1501, .window = 500, .flags = ACK});
    tcp(rig, (Sent){.at_us = 53000,
                    .back = true,
                    .seq = 1501,
                    .ack = 101,
                    .bytes = 1000,
                    .window = 509,
                    .flags = PSH}); /* asked for by them: sent again, not late */
    tcp(rig, (Sent){.at_us = 54000, .seq = 101, .ack = 3501, .window = 0, .flags = ACK});
    const FlowRecord *r = only(rig);
    assert_int_equal(r->duplicate_acks, 2);
    assert_int_equal(r->zero_windows, 1);
    assert_int_equal(r->rev_lost, 1);
    assert_int_equal(r->rev_retransmitted, 1);
    assert_int_equal(r->rev_out_of_order, 0);
}

static void test_sequence_wraps(void **state) {
    Rig *rig = *state;
    uint32_t seq = UINT32_MAX - 149;
    for (uint64_t i = 0; i < 20; i++, seq += 100)
        tcp(rig,
            (Sent){
                .at_us = i * 2000, .seq = seq, .ack = 7, .bytes = 100, .window = 9, .flags = PSH});
    const FlowRecord *r = only(rig);
    assert_int_equal(r->lost + r->retransmitted + r->out_of_order, 0);
    assert_string_equal(r->packet_sizes.text, "0,20,0,0,0,0");
    assert_string_equal(r->packet_gaps.text, "0,0,19,0,0,0");
}

static void test_split_begins_anew(void **state) {
    Rig *rig = *state;
    shake_hands(rig);
    for (uint64_t i = 0; i < 100; i++)
        tcp(rig, (Sent){.at_us = 1000000 * (i + 1),
                        .seq = 101,
                        .ack = 501,
                        .bytes = 100,
                        .window = 502,
                        .flags = PSH});
    meter_flush(rig->meter);
    assert_int_equal(rig->n, 2);
    const FlowRecord *first = &rig->records[0];
    const FlowRecord *second = &rig->records[1];
    assert_int_equal(first->handshake_us, 40000);
    assert_int_equal(second->handshake_us, 0); /* it was in the first part */
    assert_int_equal(first->retransmitted + second->retransmitted, 99);
    assert_int_equal(first->packets + second->packets, 102);
    assert_int_equal(second->tcp_window_max, 502 << 7);
}

static void udp(Rig *rig, Sent s, const void *payload) {
    uint8_t frame[1600] = {0};
    size_t size = 42 + (size_t)s.bytes;
    put_ip(frame, &s, 17, size - 14);
    put16(frame + 38, 8u + s.bytes);
    if (payload)
        memcpy(frame + 42, payload, s.bytes);
    show(rig, frame, size, s.at_us);
}

static void test_question_and_answer(void **state) {
    Rig *rig = *state;
    udp(rig, (Sent){.bytes = 30}, NULL);
    udp(rig, (Sent){.at_us = 7000, .bytes = 90, .back = true, .ttl = 55}, NULL);
    const FlowRecord *r = only(rig);
    assert_int_equal(r->app_latency_us, 7000);
    assert_int_equal(r->ttl_min, 64);
    assert_int_equal(r->rev_ttl_max, 55);
    assert_int_equal(metric_get(&rig->counters[COUNTER_MEASURES_FULL]), 0);
}

static void test_histogram_has_every_packet(void **state) {
    Rig *rig = *state;
    udp(rig, (Sent){.bytes = 30}, NULL);
    udp(rig, (Sent){.at_us = 50, .bytes = 1000, .back = true}, NULL);
    for (uint64_t i = 0; i < 14; i++)
        udp(rig, (Sent){.at_us = 2000050 + i * 500, .bytes = 300}, NULL);
    const FlowRecord *r = only(rig);
    assert_string_equal(r->packet_sizes.text, "1,0,14,0,1,0"); /* 1028 bytes are over 1024 */
    assert_string_equal(r->packet_gaps.text, "1,13,0,0,0,1");
}

/* packets that come evenly have no jitter; RTP of 20 ms, each other packet 4 ms late, about 4 */
static void test_jitter(void **state) {
    Rig *rig = *state;
    for (uint64_t i = 0; i < 50; i++)
        udp(rig, (Sent){.at_us = i * 20000, .bytes = 100}, NULL);
    meter_flush(rig->meter);
    assert_int_equal(rig->records[0].jitter_us, 0);
    rig->n = 0;
    for (uint32_t i = 0; i < 200; i++) {
        uint8_t rtp[100] = {0x80, 0};
        put16(rtp + 2, i);
        put32(rtp + 4, i * 160); /* 8 kHz */
        put32(rtp + 8, 0xfeed);
        udp(rig, (Sent){.at_us = 5000000 + i * 20000 + i % 2 * 4000, .bytes = 100}, rtp);
    }
    meter_flush(rig->meter);
    assert_int_equal(rig->n, 1);
    assert_in_range(rig->records[0].jitter_us, 3900, 4100);
}

/* type 111 says no rate; the stamps of half a second do */
static void test_jitter_learns_the_clock(void **state) {
    Rig *rig = *state;
    for (uint32_t i = 0; i < 400; i++) {
        uint8_t rtp[100] = {0x80, 111};
        put16(rtp + 2, i);
        put32(rtp + 4, i * 960); /* 48 kHz */
        put32(rtp + 8, 0xfeed);
        udp(rig, (Sent){.at_us = i * 20000 + i % 2 * 1000, .bytes = 100}, rtp);
    }
    meter_flush(rig->meter);
    assert_in_range(rig->records[0].jitter_us, 950, 1050);
}

static void test_pool_is_bounded(void **state) {
    Rig *rig = *state; /* 64 flows, measures for 17 */
    for (unsigned flow = 0; flow < 40; flow++)
        for (unsigned i = 0; i < 2; i++) {
            uint8_t frame[60] = {0};
            const Sent s = {.at_us = flow};
            put_ip(frame, &s, 6, 40);
            put16(frame + 34, 1024 + flow);
            frame[46] = 0x50;
            frame[47] = ACK;
            show(rig, frame, sizeof(frame), flow);
        }
    assert_int_equal(metric_get(&rig->counters[COUNTER_MEASURES_FULL]), 40 - 17);
    meter_flush(rig->meter);
    assert_int_equal(rig->n, 40);
}

static void test_metadata(void **state) {
    (void)state;
    Pool chunks;
    bool full = false;
    static Metadata m, back;
    char long_text[2000];
    memset(long_text, 'x', sizeof(long_text));
    assert_int_equal(pool_init(&chunks, 12, METADATA_CHUNK_BYTES), 0);
    metadata_clear(&m);
    assert_int_equal(metadata_keep(&chunks, 0, &m, &full), 0); /* nothing takes nothing */
    m.dns_type = 28;
    metadata_put(&m, METADATA_SERVER_NAME, "a.example", 9);
    metadata_put(&m, METADATA_URL, long_text, sizeof(long_text)); /* is cut to 512 */
    uint32_t first = metadata_keep(&chunks, 0, &m, &full);
    assert_int_not_equal(first, 0);
    assert_int_equal(chunks.used, 9);
    metadata_read(&chunks, first, &back);
    assert_int_equal(back.dns_type, 28);
    assert_int_equal(back.texts[METADATA_URL].size, 512);
    assert_memory_equal(back.texts[METADATA_SERVER_NAME].text, "a.example", 9);
    assert_int_equal(back.texts[METADATA_JA4].size, 0);
    assert_int_equal(metadata_keep(&chunks, 0, &m, &full), 0); /* three chunks are left */
    assert_true(full);
    assert_int_equal(chunks.used, 9); /* those it had begun with are back */
    first = metadata_keep(&chunks, first, &m, &full);
    assert_false(full); /* it gave its own back first */
    metadata_drop(&chunks, first);
    assert_int_equal(chunks.used, 0);
    pool_deinit(&chunks);
}

#define IN_RIG(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        IN_RIG(test_handshake),
        IN_RIG(test_sent_again),
        IN_RIG(test_acks),
        IN_RIG(test_sequence_wraps),
        IN_RIG(test_split_begins_anew),
        IN_RIG(test_question_and_answer),
        IN_RIG(test_histogram_has_every_packet),
        IN_RIG(test_jitter),
        IN_RIG(test_jitter_learns_the_clock),
        IN_RIG(test_pool_is_bounded),
        cmocka_unit_test(test_metadata),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
