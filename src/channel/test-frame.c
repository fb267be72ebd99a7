/* SPDX-License-Identifier: Apache-2.0 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "channel/frame.h"

static void fill(void *to, size_t size, uint8_t from) {
    for (size_t i = 0; i < size; i++)
        ((uint8_t *)to)[i] = (uint8_t)(from + i);
}

static Frame batch_frame(void) {
    Frame frame = {.kind = FRAME_BATCH, .crc32c = 0xdeadbeef};
    fill(frame.batch.epoch.bytes, 16, 1);
    frame.batch.first = frame.batch.last = 1234567890123u;
    frame.batch.bytes = 60000;
    frame.batch.counts = (BatchCounts){1, 2, 3};
    frame.batch.totals = (BatchCounts){40, 50, UINT64_MAX};
    frame.batch.backlog_bytes = 77;
    return frame;
}

/* round() - every shorter or longer form is malformed, the right one reads back */
static void round_trip(const Frame *frame, Frame *back) {
    Buffer text = {0};
    frame_write(&text, frame);
    assert_true(text.size <= FRAME_HEADER_MAX_BYTES);
    for (size_t n = 0; n < text.size; n++) {
        uint8_t *cut = malloc(n ? n : 1);
        assert_non_null(cut);
        memcpy(cut, text.bytes, n);
        assert_int_equal(frame_read(back, cut, n), n < 4 ? FRAME_E_FOREIGN : FRAME_E_MALFORMED);
        free(cut);
    }
    assert_int_equal(frame_read(back, text.bytes, text.size), 0);
    assert_int_equal(back->kind, frame->kind);
    buffer_put_u8(&text, 0);
    Frame longer;
    assert_int_equal(frame_read(&longer, text.bytes, text.size), FRAME_E_MALFORMED);
    buffer_deinit(&text);
}

static void test_round_trips(void **state) {
    (void)state;
    Frame frame = batch_frame();
    Frame back;
    round_trip(&frame, &back);
    assert_memory_equal(&back.batch, &frame.batch, sizeof(frame.batch));
    assert_int_equal(back.crc32c, frame.crc32c);

    frame.kind = FRAME_GAP;
    frame.batch.gap = true;
    frame.batch.last += 10;
    round_trip(&frame, &back);
    assert_true(back.batch.gap);
    assert_int_equal(back.batch.last, frame.batch.last);
    assert_true(batch_counts_equal(back.batch.totals, frame.batch.totals));

    frame = (Frame){.kind = FRAME_HELLO};
    frame.hello.hello_id = 99;
    frame.hello.n_epochs = 64;
    for (size_t i = 0; i < 64; i++) {
        fill(frame.hello.epochs[i].epoch.bytes, 16, (uint8_t)i);
        frame.hello.epochs[i].closed = i < 63;
        frame.hello.epochs[i].last = i * 1000;
    }
    round_trip(&frame, &back);
    assert_int_equal(back.hello.n_epochs, 64);
    assert_memory_equal(&back.hello.epochs[63].epoch, &frame.hello.epochs[63].epoch, 16);
    assert_int_equal(back.hello.epochs[63].last, 63000);
    assert_false(back.hello.epochs[63].closed);

    frame = (Frame){.kind = FRAME_PULSE};
    round_trip(&frame, &back);
}

static void test_not_ours(void **state) {
    (void)state;
    Frame frame = batch_frame();
    Frame back;
    Buffer text = {0};
    frame_write(&text, &frame);
    text.bytes[4] = 2;
    assert_int_equal(frame_read(&back, text.bytes, text.size), FRAME_E_VERSION);
    text.bytes[4] = 1;
    text.bytes[5] = 0;
    assert_int_equal(frame_read(&back, text.bytes, text.size), FRAME_E_MALFORMED);
    text.bytes[5] = 200;
    assert_int_equal(frame_read(&back, text.bytes, text.size), FRAME_E_MALFORMED);
    assert_int_equal(frame_read(&back, "flow\0\0\0\0\0\0\0\0", 12), FRAME_E_FOREIGN);
    buffer_deinit(&text);
}

static void test_control(void **state) {
    (void)state;
    ControlState there = {.admission = "admitted", .server_time_ms = 1700000000123u};
    there.delivery = (DeliveryState){
        .nonce = 0xfedcba9876543210u, .hello_id = 7, .credit_bytes = 65536, .n_marks = 64};
    for (size_t i = 0; i < 64; i++) {
        fill(there.delivery.marks[i].epoch.bytes, 16, (uint8_t)(i * 3));
        there.delivery.marks[i].received = 1000000 + i;
        there.delivery.marks[i].stored = i;
    }
    Buffer text = {0};
    control_write(&text, &there);
    static ControlState back;
    assert_int_equal(control_read(&back, text.bytes, text.size), 0);
    assert_int_equal(back.delivery.nonce, there.delivery.nonce);
    assert_int_equal(back.delivery.hello_id, 7);
    assert_int_equal(back.delivery.credit_bytes, 65536);
    assert_true(back.delivery.admitted);
    assert_int_equal(back.delivery.n_marks, 64);
    assert_memory_equal(&back.delivery.marks, &there.delivery.marks, sizeof(back.delivery.marks));
    assert_int_equal(back.server_time_ms, there.server_time_ms);
    for (size_t n = 0; n < text.size; n++)
        assert_int_equal(control_read(&back, text.bytes, n), FRAME_E_MALFORMED);

    buffer_clear(&text);
    (void)snprintf(there.admission, sizeof(there.admission), "waiting");
    (void)snprintf(there.reason, sizeof(there.reason), "all 2 seats are taken");
    there.delivery.n_marks = 0;
    control_write(&text, &there);
    assert_int_equal(control_read(&back, text.bytes, text.size), 0);
    assert_false(back.delivery.admitted);
    assert_string_equal(back.reason, "all 2 seats are taken");
    assert_string_equal(back.configuration, "");

    buffer_clear(&text);
    (void)snprintf(there.configuration, sizeof(there.configuration),
                   "{\"version\":7,\"filter\":\"host \\\"a\\\"\"}");
    control_write(&text, &there);
    assert_int_equal(control_read(&back, text.bytes, text.size), 0);
    assert_string_equal(back.configuration, there.configuration);

    /* what is no object, or of no length that one can have, is as good as not there */
    buffer_clear(&text);
    memset(there.configuration, '1', 20);
    there.configuration[20] = 0;
    control_write(&text, &there);
    assert_int_equal(control_read(&back, text.bytes, text.size), FRAME_E_MALFORMED);
    there.configuration[2] = 0;
    buffer_clear(&text);
    control_write(&text, &there);
    assert_int_equal(control_read(&back, text.bytes, text.size), 0);
    assert_string_equal(back.configuration, "");
    buffer_deinit(&text);
}

static void test_lease(void **state) {
    (void)state;
    static ControlState back;
    ControlState there = {.admission = "admitted", .server_time_ms = 1};
    Buffer text = {0};
    control_write(&text, &there);
    assert_int_equal(control_read(&back, text.bytes, text.size), 0);
    assert_int_equal(back.lease.until_s, 0);
    buffer_clear(&text);
    there.lease = (Lease){.until_s = 1795412018, .licence = "4f0c2f9d1a7b33e0"};
    control_write(&text, &there);
    assert_int_equal(control_read(&back, text.bytes, text.size), 0);
    assert_int_equal(back.lease.until_s, 1795412018);
    assert_string_equal(back.lease.licence, "4f0c2f9d1a7b33e0");
    buffer_deinit(&text);
}

static void test_control_malformed(void **state) {
    (void)state;
#define HEAD "\"session\":\"0000000000000001\",\"hello\":\"0000000000000002\",\"server_time_ms\":1,"
    static const struct {
        const char *text;
        int r;
    } rows[] = {
        {"{\"v\":1," HEAD "\"epochs\":[],\"credit_bytes\":1,\"admission\":{\"state\":\"x\"}}", 0},
        {"{\"v\":2," HEAD "\"epochs\":[],\"credit_bytes\":1,\"admission\":{\"state\":\"x\"}}",
         FRAME_E_VERSION},
        {"{\"v\":1," HEAD "\"epochs\":[],\"credit_bytes\":-1,\"admission\":{}}", FRAME_E_MALFORMED},
        {"{\"v\":1," HEAD "\"epochs\":[],\"credit_bytes\":99999999999,\"admission\":{}}",
         FRAME_E_MALFORMED},
        {"{\"v\":1," HEAD "\"epochs\":{},\"credit_bytes\":1,\"admission\":{}}", FRAME_E_MALFORMED},
        {"{\"v\":1," HEAD "\"epochs\":[1],\"credit_bytes\":1,\"admission\":{}}", FRAME_E_MALFORMED},
        {"{\"v\":1," HEAD
         "\"epochs\":[{\"epoch\":\"00112233445566778899aabbccddeeff\",\"received\":1,"
         "\"stored\":2}],\"credit_bytes\":1,\"admission\":{}}",
         FRAME_E_MALFORMED},
        {"{\"v\":1," HEAD "\"epochs\":[{\"epoch\":\"0011\",\"received\":1,\"stored\":1}],"
         "\"credit_bytes\":1,\"admission\":{}}",
         FRAME_E_MALFORMED},
        {"[]", FRAME_E_MALFORMED},
        {"", FRAME_E_MALFORMED},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        static ControlState back;
        if (control_read(&back, rows[i].text, strlen(rows[i].text)) != rows[i].r)
            fail_msg("row %zu: %s", i, rows[i].text);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trips),       cmocka_unit_test(test_not_ours),
        cmocka_unit_test(test_control),           cmocka_unit_test(test_lease),
        cmocka_unit_test(test_control_malformed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
