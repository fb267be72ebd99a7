/* SPDX-License-Identifier: Apache-2.0 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <jansson.h>
#include <string.h>

#include "base/json.h"
#include "channel/frame.h"
#include "channel/keys.h"
#include "channel/server_keys.h"

static ServerKeys example(void) {
    ServerKeys keys = {.version = 3, .data_port = 5558, .events_port = 65535};
    KeyPair pair;
    assert_int_equal(key_pair_make(&pair), 0);
    memcpy(keys.now, pair.public_z85, sizeof(keys.now));
    assert_int_equal(key_pair_make(&pair), 0);
    memcpy(keys.next, pair.public_z85, sizeof(keys.next));
    return keys;
}

static bool read_text(ServerKeys *keys, const char *text) {
    json_t *object = json_loads(text, 0, NULL);
    assert_non_null(object);
    const bool good = server_keys_read(keys, object);
    json_decref(object);
    return good;
}

static void test_round_trip(void **state) {
    (void)state;
    for (int next = 0; next < 2; next++) {
        ServerKeys keys = example();
        if (!next) {
            keys.next[0] = '\0';
            keys.data_port = keys.events_port = 0;
        }
        Buffer text = {0};
        Json json = json_make(&text);
        server_keys_write(&json, NULL, &keys);
        ServerKeys back = {0};
        assert_true(read_text(&back, buffer_text(&text)));
        assert_int_equal(back.version, 3);
        assert_true(server_keys_same(&keys, &back));
        buffer_deinit(&text);
    }
}

static void test_refused(void **state) {
    (void)state;
    const ServerKeys keys = example();
    static const char *const forms[] = {
        "{\"version\": 0, \"now\": \"%s\"}",
        "{\"now\": \"%s\"}",
        "{\"version\": 1, \"next\": \"%s\"}",
        "{\"version\": 1, \"now\": \"%sx\"}",
        "{\"version\": 1, \"now\": \"%s\", \"next\": \"short\"}",
        "{\"version\": 1, \"now\": \"%s\", \"next\": 7}",
        "{\"version\": 1, \"now\": \"%s\", \"data_port\": 65536}",
        "{\"version\": 1, \"now\": \"%s\", \"events_port\": -1}",
        "{\"version\": 1, \"now\": \"%s\", \"events_port\": \"5\"}",
        "[\"%s\"]",
    };
    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
        Buffer text = {0};
        const char *at = strstr(forms[i], "%s");
        buffer_put(&text, forms[i], (size_t)(at - forms[i]));
        buffer_put_text(&text, keys.now);
        buffer_put_text(&text, at + 2);
        ServerKeys back = {.version = 77};
        if (read_text(&back, buffer_text(&text)) || back.version != 77)
            fail_msg("taken: %s", buffer_text(&text));
        buffer_deinit(&text);
    }
    ServerKeys back = {.version = 77};
    assert_false(server_keys_read(&back, NULL));
}

/* a state with keys that cannot be read is a state all the same */
static void test_in_a_state(void **state) {
    (void)state;
    ControlState told = {.admission = "admitted", .server_keys = example()};
    ControlState back = {.server_keys = {.version = 9}};
    Buffer text = {0};
    control_write(&text, &told);
    assert_int_equal(control_read(&back, text.bytes, text.size), 0);
    assert_true(server_keys_same(&told.server_keys, &back.server_keys));
    char *next = strstr(buffer_text(&text), told.server_keys.next);
    assert_non_null(next);
    *next = '"';
    assert_int_equal(control_read(&back, text.bytes, text.size), FRAME_E_MALFORMED);
    *next = '~'; /* no character of a key */
    assert_int_equal(control_read(&back, text.bytes, text.size), 0);
    assert_int_equal(back.server_keys.version, 0);
    assert_true(back.delivery.admitted);

    told.server_keys = (ServerKeys){0};
    buffer_clear(&text);
    control_write(&text, &told);
    assert_null(strstr(buffer_text(&text), "server_keys"));
    back.server_keys.version = 9;
    assert_int_equal(control_read(&back, text.bytes, text.size), 0);
    assert_int_equal(back.server_keys.version, 0);
    buffer_deinit(&text);
}

static void test_hello(void **state) {
    (void)state;
    const ServerKeys keys = example();
    ServerKeysHeld held = {.said = true, .trouble = "a \"full\" disk"};
    memcpy(held.now, keys.now, sizeof(held.now));
    memcpy(held.next, keys.next, sizeof(held.next));
    memcpy(held.uses, keys.next, sizeof(held.uses));
    static const char *const hellos[] = {"{}", "{ }", "{\"name\":\"a}b\"}",
                                         "{\"name\": \"x\", \"interfaces\": [{}]\n}\n"};
    for (size_t i = 0; i < sizeof(hellos) / sizeof(hellos[0]); i++) {
        Buffer text = {0};
        ServerKeysHeld back;
        server_keys_hello(&text, hellos[i], &held);
        server_keys_held(&back, buffer_text(&text));
        if (!back.said)
            fail_msg("not to be read: %s", buffer_text(&text));
        assert_string_equal(back.now, held.now);
        assert_string_equal(back.next, held.next);
        assert_string_equal(back.uses, held.uses);
        assert_string_equal(back.trouble, held.trouble);
        buffer_clear(&text);
        server_keys_hello(&text, hellos[i], &(ServerKeysHeld){0});
        assert_string_equal(buffer_text(&text), hellos[i]);
        buffer_deinit(&text);
    }
    static const char *const others[] = {"{\"name\":\"x\"}", "{\"server_keys\":[]}", "nonsense",
                                         "{\"server_keys\":{\"uses\":5}}"};
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        ServerKeysHeld back;
        server_keys_held(&back, others[i]);
        assert_false(back.said);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_in_a_state),
        cmocka_unit_test(test_hello),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
