/* SPDX-License-Identifier: Apache-2.0 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "channel/keystring.h"

#define Z85 "Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID"

static void expect(const char *text, int r, const char *words) {
    KeyString key;
    Reason reason = {""};
    int got = keystring_parse(&key, text, &reason);
    if (got != r)
        fail_msg("%s: %d %s", text, got, reason.text);
    if (r == 0)
        assert_string_equal(key.server_z85, Z85);
    else if (!strstr(reason.text, words))
        fail_msg("%s: expected \"%s\": %s", text, words, reason.text);
}

static void test_three_forms(void **state) {
    (void)state;
    char hex[81];
    keystring_hex(hex, Z85);
    assert_int_equal(strlen(hex), 80);
    assert_memory_equal(hex, "596E6540", 8);
    expect(Z85, 0, NULL);
    expect("  " Z85 "\n", 0, NULL);
    expect(hex, 0, NULL);
    for (char *c = hex; *c; c++)
        *c = (char)(*c >= 'A' && *c <= 'F' ? *c + 32 : *c);
    expect(hex, 0, NULL);

    KeyString key = {.server_z85 = Z85, .token = "join-1", .endpoint = "tcp://hub.example:5556"};
    Buffer text = {0};
    assert_int_equal(keystring_write(&text, &key), 0);
    assert_null(strpbrk(buffer_text(&text), "%'\" \\$`"));
    KeyString back;
    assert_int_equal(keystring_parse(&back, buffer_text(&text), NULL), 0);
    assert_string_equal(back.server_z85, Z85);
    assert_string_equal(back.token, "join-1");
    assert_string_equal(back.endpoint, "tcp://hub.example:5556");
    assert_string_equal(back.events, "");
    assert_true(back.checked);
    assert_string_equal(back.notice, "");
    buffer_deinit(&text);
}

/* a wrapped terminal line, a quoted word of a mail */
static void test_pasted(void **state) {
    (void)state;
    char hex[81];
    char text[256];
    keystring_hex(hex, Z85);
    (void)snprintf(text, sizeof(text), " \"%.37s\r\n  %s\"\n", hex, hex + 37);
    expect(text, 0, NULL);
    (void)snprintf(text, sizeof(text), "'%s'", Z85);
    expect(text, 0, NULL);
    (void)snprintf(text, sizeof(text), "%.40s", hex); /* as long as a key in Z85 */
    expect(text, KEYSTRING_E_REFUSED, "40 hex digits instead of 80");
}

static void test_every_cut_is_named(void **state) {
    (void)state;
    KeyString key = {.server_z85 = Z85};
    Buffer text = {0};
    assert_int_equal(keystring_write(&text, &key), 0);
    size_t whole = strlen(buffer_text(&text));
    size_t needed = whole - (size_t)(buffer_text(&text)[whole - 1] == '=') -
                    (size_t)(buffer_text(&text)[whole - 2] == '=');
    for (size_t n = 8; n < needed; n++) {
        char *cut = strndup(buffer_text(&text), n);
        expect(cut, KEYSTRING_E_REFUSED, "cut short");
        free(cut);
    }
    buffer_deinit(&text);
}

/* base64 of 32 digits that are no checksum of ours, the JSON, and a NUL, as ntopng writes it */
#define FOREIGN                                                                                    \
    "YzgwNTVhMThjODA1NWExOGM4MDU1YTE4YzgwNTVhMTh7ImsiOiI1OTZFNjU0MDI0NzcyRDc2NkYzQzY2NTY3NjY5NUQ2" \
    "MTNDNEU1OTM2NTQzMTY1NjQzQTREMjQ2NjQzNDcyQTVCNDk2MTRDNTY3QjY4NDk0NCJ9AA=="

static void test_foreign_checksum_is_a_notice(void **state) {
    (void)state;
    KeyString key;
    Reason reason = {""};
    if (keystring_parse(&key, FOREIGN, &reason))
        fail_msg("%s", reason.text);
    assert_string_equal(key.server_z85, Z85);
    assert_false(key.checked);
    assert_non_null(strstr(key.notice, "checksum"));
}

static void test_refused(void **state) {
    (void)state;
    expect("", KEYSTRING_E_REFUSED, "is empty");
    expect("abc", KEYSTRING_E_REFUSED, "3 hex digits instead of 80");
    expect("hello", KEYSTRING_E_REFUSED, "has 5 characters");
    expect("Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hI", KEYSTRING_E_REFUSED, "has 39 characters");
    expect("Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID5", KEYSTRING_E_REFUSED, "has 41 characters");
    expect("Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hI~", KEYSTRING_E_REFUSED, "Z85 alphabet");
    expect("596E6540", KEYSTRING_E_REFUSED, "8 hex digits instead of 80");
    expect("596E65402477", KEYSTRING_E_REFUSED, "hex digits instead of 80");
    char zeros[81];
    memset(zeros, '0', 80);
    zeros[80] = '\0';
    expect(zeros, KEYSTRING_E_REFUSED, "not those of a key");
    char *longer = calloc(1, 5001);
    assert_non_null(longer);
    memset(longer, 'A', 5000);
    expect(longer, KEYSTRING_E_REFUSED, "longer than 4095");
    free(longer);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_three_forms),
        cmocka_unit_test(test_pasted),
        cmocka_unit_test(test_every_cut_is_named),
        cmocka_unit_test(test_foreign_checksum_is_a_notice),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
