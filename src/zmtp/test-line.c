/* SPDX-License-Identifier: Apache-2.0 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "zmtp/client.h"

typedef struct World {
    CurveKeys keys;
    CurveJar jar;
    Buffer out, said; /* `said`: parts of messages, '|' between, '.' at the end */
    unsigned n_up, n_on, n_off;
    bool refuses;
    ZmtpHost host;
    ZmtpLine line;
    Client client;
} World;

static bool admits(void *userdata, const uint8_t key[CURVE_KEY_BYTES]) {
    const World *world = userdata;
    return !world->refuses && memcmp(key, world->client.keys[0], 32) == 0;
}

static void on_up(void *userdata, ZmtpLine *line) {
    World *world = userdata;
    (void)line;
    world->n_up++;
}

static void on_message(void *userdata, ZmtpLine *line, const ZmtpMessage *message) {
    World *world = userdata;
    (void)line;
    buffer_put(&world->said, message->first, message->first_size);
    for (size_t i = 1; i < message->n_parts; i++)
        buffer_put_text(&world->said, "|");
    if (message->n_parts > 1)
        buffer_put(&world->said, message->last, message->last_size);
    buffer_put_text(&world->said, ".");
}

static bool on_topic(void *userdata, ZmtpLine *line, const uint8_t *topic, size_t size, bool on) {
    World *world = userdata;
    (void)line;
    world->n_on += on;
    world->n_off += !on;
    return size && topic[0] != 'x';
}

static uint8_t scratch[ZMTP_FRAME_MAX_BYTES];

static void open_world(World *world, ZmtpKind kind) {
    *world = (World){0};
    assert_int_equal(crypto_box_keypair(world->keys.public, world->keys.secret), 0);
    curve_jar_init(&world->jar, 0);
    world->host = (ZmtpHost){.kind = kind,
                             .keys = &world->keys,
                             .jar = &world->jar,
                             .topic = "weir",
                             .out = &world->out,
                             .scratch = scratch,
                             .userdata = world,
                             .admits = admits,
                             .on_up = on_up,
                             .on_message = on_message,
                             .on_topic = on_topic};
    client_init(&world->client, world->keys.public);
    zmtp_line_begin(&world->line, &world->host, 1);
}

static void close_world(World *world) {
    zmtp_line_end(&world->line);
    buffer_deinit(&world->out);
    buffer_deinit(&world->said);
}

/* `step` bytes at a time */
static ZmtpFault take(World *world, const uint8_t *bytes, size_t size, size_t step) {
    ZmtpFault fault = ZMTP_FINE;
    for (size_t at = 0; at < size && !fault; at += step)
        fault = zmtp_line_take(&world->line, &world->host, bytes + at,
                               size - at < step ? size - at : step);
    return fault;
}

static ZmtpFault shake(World *world, const char *type, size_t step) {
    uint8_t bytes[512];
    client_greeting(bytes, "CURVE");
    ZmtpFault fault = take(world, bytes, 64, step);
    assert_int_equal(world->out.size, 64);
    client_hello(&world->client, bytes);
    if (!fault)
        fault = take(world, bytes, 202, step);
    if (fault)
        return fault;
    assert_int_equal(world->out.size, 64 + 170);
    const size_t n = client_initiate(&world->client, world->out.bytes + 64, type, bytes);
    assert_true(n > 0);
    return take(world, bytes, n, step);
}

static ZmtpFault say(World *world, uint8_t flags, const void *bytes, size_t size, size_t step) {
    static uint8_t frame[2 * ZMTP_FRAME_MAX_BYTES];
    return take(world, frame, client_message(&world->client, flags, bytes, size, frame), step);
}

static void test_steps(void **state) {
    (void)state;
    static uint8_t large[61440];
    for (size_t step = 1; step < 1000; step = step * 2 + 1) {
        World world;
        open_world(&world, ZMTP_SUB);
        assert_int_equal(shake(&world, "XPUB", step), ZMTP_FINE);
        assert_int_equal(world.n_up, 1);
        assert_int_equal(say(&world, 1, "a", 1, step), ZMTP_FINE);
        assert_int_equal(say(&world, 0, "bc", 2, step), ZMTP_FINE);
        assert_int_equal(say(&world, 0, "d", 1, step), ZMTP_FINE);
        assert_int_equal(say(&world, 2, "\x04PING\0\0hi", 9, step), ZMTP_FINE);
        assert_string_equal(buffer_text(&world.said), "a|bc.d.");
        buffer_clear(&world.said);
        assert_int_equal(say(&world, 0, large, sizeof(large), step), ZMTP_FINE);
        assert_int_equal(world.said.size, sizeof(large) + 1);
        assert_null(world.line.part); /* nothing is kept */
        assert_null(world.line.first.bytes);
        close_world(&world);
    }
}

static void test_topics(void **state) {
    (void)state;
    World world;
    open_world(&world, ZMTP_XPUB);
    assert_int_equal(shake(&world, "SUB", 7), ZMTP_FINE);
    assert_int_equal(say(&world, 0, "\001abc", 4, 99), ZMTP_FINE);
    assert_int_equal(say(&world, 2, "\011SUBSCRIBEde", 12, 99), ZMTP_FINE);
    assert_int_equal(say(&world, 0, "\001xyz", 4, 99), ZMTP_FINE);
    assert_int_equal(world.n_on, 3);
    assert_true(zmtp_line_wants(&world.line, "abcd", 4));
    assert_true(zmtp_line_wants(&world.line, "de", 2));
    assert_false(zmtp_line_wants(&world.line, "ab", 2));
    assert_false(zmtp_line_wants(&world.line, "xyz", 3));
    assert_int_equal(say(&world, 2, "\006CANCELabc", 10, 99), ZMTP_FINE);
    assert_int_equal(say(&world, 0, "\000nothing", 8, 99), ZMTP_FINE);
    assert_int_equal(world.n_off, 1);
    assert_false(zmtp_line_wants(&world.line, "abcd", 4));
    for (unsigned i = 0; i < 3 * ZMTP_TOPICS_MAX; i++) {
        const uint8_t topic[3] = {1, 't', (uint8_t)i};
        assert_int_equal(say(&world, 0, topic, 3, 99), ZMTP_FINE);
    }
    assert_int_equal(world.line.n_topics, ZMTP_TOPICS_MAX);
    close_world(&world);
}

static void test_strangers(void **state) {
    (void)state;
    const struct {
        const char *bytes;
        size_t size;
        ZmtpFault fault;
    } rows[] = {
        {"GET / HTTP/1.1\r\n", 16, ZMTP_NOT_ZMTP},
        {"\xff\0\0\0\0\0\0\0\1\x7f\1", 11, ZMTP_NOT_ENCRYPTED}, /* ZMTP 2 */
        {"\xff\0\0\0\0\0\0\0\1\x00", 10, ZMTP_NOT_ZMTP},
        {"\x16\x03\x01", 3, ZMTP_NOT_ZMTP},
    };
    const char *const mechanisms[] = {"NULL", "PLAIN", "GSSAPI", "CURVES"};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        World world;
        open_world(&world, ZMTP_SUB);
        assert_int_equal(take(&world, (const uint8_t *)rows[i].bytes, rows[i].size, 1),
                         rows[i].fault);
        close_world(&world);
    }
    for (size_t i = 0; i < sizeof(mechanisms) / sizeof(mechanisms[0]); i++) {
        World world;
        uint8_t greeting[64];
        open_world(&world, ZMTP_SUB);
        client_greeting(greeting, mechanisms[i]);
        assert_int_equal(take(&world, greeting, 64, 5), ZMTP_NOT_ENCRYPTED);
        close_world(&world);
    }
}

static void test_wrong_key_and_type(void **state) {
    (void)state;
    World world;
    open_world(&world, ZMTP_SUB);
    world.client.server[3] ^= 1;
    assert_int_equal(shake(&world, "PUB", 11), ZMTP_WRONG_KEY);
    close_world(&world);
    open_world(&world, ZMTP_SUB);
    assert_int_equal(shake(&world, "SUB", 11), ZMTP_MALFORMED);
    assert_int_equal(world.n_up, 0);
    close_world(&world);
    open_world(&world, ZMTP_SUB);
    world.refuses = true;
    assert_int_equal(shake(&world, "PUB", 11), ZMTP_FINE);
    assert_int_equal(world.line.state, ZMTP_REFUSED);
    assert_int_equal(world.n_up, 0);
    assert_memory_equal(world.out.bytes + 64 + 170,
                        "\x04\x0a\x05"
                        "ERROR\x03"
                        "400",
                        12);
    close_world(&world);
}

/* one bit of anything changed, one thing said twice: the line is over, and nothing was believed */
static void test_forged(void **state) {
    (void)state;
    uint8_t hello[202], initiate[512], frame[128];
    for (size_t bit = 0; bit < 202 * 8; bit += 5) {
        World world;
        open_world(&world, ZMTP_SUB);
        client_greeting(frame, "CURVE");
        assert_int_equal(take(&world, frame, 64, 64), ZMTP_FINE);
        client_hello(&world.client, hello);
        hello[bit / 8] ^= (uint8_t)(1u << bit % 8);
        const bool padding = bit / 8 >= 10 && bit / 8 < 82; /* may be anything */
        const ZmtpFault fault = take(&world, hello, 202, 202);
        if (!padding && bit / 8 > 1) /* a longer frame is waited for */
            assert_int_not_equal(fault, ZMTP_FINE);
        assert_int_equal(world.n_up, 0);
        close_world(&world);
    }
    for (size_t bit = 18 * 8; bit < 270 * 8; bit += 7) {
        World world;
        open_world(&world, ZMTP_SUB);
        client_greeting(frame, "CURVE");
        client_hello(&world.client, hello);
        assert_int_equal(take(&world, frame, 64, 64), ZMTP_FINE);
        assert_int_equal(take(&world, hello, 202, 202), ZMTP_FINE);
        const size_t n = client_initiate(&world.client, world.out.bytes + 64, "PUB", initiate);
        initiate[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_equal(take(&world, initiate, n, n), ZMTP_MALFORMED);
        assert_int_equal(world.n_up, 0);
        close_world(&world);
    }
    World world;
    open_world(&world, ZMTP_SUB);
    assert_int_equal(shake(&world, "PUB", 64), ZMTP_FINE);
    const size_t n = client_message(&world.client, 0, "once", 4, frame);
    assert_int_equal(take(&world, frame, n, n), ZMTP_FINE);
    assert_int_equal(take(&world, frame, n, n), ZMTP_MALFORMED);
    assert_string_equal(buffer_text(&world.said), "once.");
    close_world(&world);
}

/* a recorded handshake is of no use on another connection, nor after two minutes */
static void test_cookies(void **state) {
    (void)state;
    uint8_t hello[202], initiate[512], greeting[64];
    for (int late = 0; late < 2; late++) {
        World world;
        open_world(&world, ZMTP_SUB);
        client_greeting(greeting, "CURVE");
        client_hello(&world.client, hello);
        assert_int_equal(take(&world, greeting, 64, 64), ZMTP_FINE);
        assert_int_equal(take(&world, hello, 202, 202), ZMTP_FINE);
        const size_t n = client_initiate(&world.client, world.out.bytes + 64, "PUB", initiate);
        if (late) {
            curve_jar_turn(&world.jar, CURVE_JAR_MS);
            curve_jar_turn(&world.jar, 2 * CURVE_JAR_MS);
        } else {
            zmtp_line_end(&world.line);
            zmtp_line_begin(&world.line, &world.host, 2);
            assert_int_equal(take(&world, greeting, 64, 64), ZMTP_FINE);
            assert_int_equal(take(&world, hello, 202, 202), ZMTP_FINE);
        }
        assert_int_equal(take(&world, initiate, n, n), ZMTP_MALFORMED);
        close_world(&world);
    }
}

static void test_too_large(void **state) {
    (void)state;
    static const uint8_t huge[9] = {2, 0, 0, 0, 1, 0, 0, 0, 0};
    uint8_t part[ZMTP_PART_MAX_BYTES];
    World world;
    open_world(&world, ZMTP_SUB);
    assert_int_equal(shake(&world, "PUB", 64), ZMTP_FINE);
    assert_int_equal(take(&world, huge, 9, 1), ZMTP_TOO_LARGE);
    close_world(&world);
    open_world(&world, ZMTP_SUB);
    assert_int_equal(shake(&world, "PUB", 64), ZMTP_FINE);
    memset(part, 'p', sizeof(part));
    assert_int_equal(say(&world, 1, part, sizeof(part), 999), ZMTP_TOO_LARGE);
    close_world(&world);
    open_world(&world, ZMTP_SUB); /* a stranger's frame */
    client_greeting(part, "CURVE");
    assert_int_equal(take(&world, part, 64, 64), ZMTP_FINE);
    assert_int_equal(take(&world, (const uint8_t *)"\x06\0\0\0\0\0\0\x10\0", 9, 1), ZMTP_MALFORMED);
    close_world(&world);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_steps),     cmocka_unit_test(test_topics),
        cmocka_unit_test(test_strangers), cmocka_unit_test(test_wrong_key_and_type),
        cmocka_unit_test(test_forged),    cmocka_unit_test(test_cookies),
        cmocka_unit_test(test_too_large),
    };
    return sodium_init() < 0 ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
