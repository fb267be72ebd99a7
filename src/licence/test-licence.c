/* SPDX-License-Identifier: Apache-2.0 */

/* signed lines, what they grant, where and when; the clock; revocations; the vendor's key file */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/sanitized.h"
#include "licence/judge.h"
#include "licence/licence.h"
#include "licence/revocations.h"
#include "licence/vendor_secret.h"

enum { DAY = 86400, NOW = 1800000000, END = NOW + 100 * DAY };

static VendorSecret vendor;
static VendorKeys keys;

static int make_vendor(void **state) {
    (void)state;
    assert_int_equal(token_init(), 0);
    vendor_secret_make(&vendor, "test-1");
    keys = (VendorKeys){.keys = &vendor.key, .n = 1};
    return 0;
}

static SystemId machine(const char *const raw[_SYSTEM_FACT_N]) {
    SystemId id = {0};
    for (size_t i = 0; i < _SYSTEM_FACT_N; i++)
        if (raw[i])
            system_fact_hash(id.hashes[i], (SystemFact)i, raw[i]);
    return id;
}

static Licence sample(LicenceKind kind) {
    Licence licence = {
        .kid = "test-1",
        .id = "L-1",
        .customer = "Norddeutsche Netze \xc3\xa4\xc3\xb6",
        .kind = kind,
        .max_probes = kind == LICENCE_CLOUD ? 50 : 0,
        .issued_s = NOW,
        .not_before_s = NOW,
        .expiry_s = END,
        .grace_days = 30,
        .bound = kind != LICENCE_CLOUD,
    };
    if (licence.bound)
        licence.system = machine((const char *const[]){"a", "b", "c", "d"});
    return licence;
}

static void sign(Buffer *line, const Licence *licence) {
    Reason reason = {""};
    assert_int_equal(licence_sign(line, licence, vendor.secret_key, &reason), 0);
}

static int parse(Licence *licence, const void *text, size_t size) {
    Reason reason = {""};
    int r = licence_parse(licence, text, size, &keys, &reason);
    assert_int_equal(r == 0, reason.text[0] == '\0');
    return r;
}

static void test_round_trip(void **state) {
    (void)state;
    for (int kind = 0; kind < _LICENCE_KIND_N; kind++) {
        Licence licence = sample((LicenceKind)kind);
        Licence read = {0};
        Buffer line = {0};
        sign(&line, &licence);
        assert_int_equal(parse(&read, line.bytes, line.size), 0);
        licence.version = 1;
        assert_memory_equal(&read, &licence, sizeof(read));
        buffer_deinit(&line);
    }
}

/* every bit of a line counts, and each of its characters */
static void test_changed(void **state) {
    (void)state;
    Licence licence = sample(LICENCE_CLOUD);
    Licence read = {0};
    Licence untouched = {0};
    Buffer line = {0};
    sign(&line, &licence);
    size_t size = line.size - 1; /* without the newline */
    char *text = strndup(buffer_text(&line), size);
    assert_non_null(text);
    for (size_t bit = 0; bit < size * 8; bit++) {
        text[bit / 8] = (char)(text[bit / 8] ^ (1 << bit % 8));
        if (parse(&read, text, size) == 0)
            fail_msg("accepted with bit %zu of %zu changed", bit, size * 8);
        text[bit / 8] = (char)(text[bit / 8] ^ (1 << bit % 8));
    }
    for (size_t n = 0; n < size; n++) {
        assert_int_equal(parse(&read, text, n), LICENCE_E_DAMAGED);
        assert_int_equal(parse(&read, text + size - n, n), LICENCE_E_DAMAGED);
    }
    for (size_t i = 0; i + 1 < size; i++) {
        char kept = text[i];
        if (text[i] == text[i + 1])
            continue;
        text[i] = text[i + 1];
        text[i + 1] = kept;
        assert_in_range(parse(&read, text, size), LICENCE_E_DAMAGED, LICENCE_E_UNKNOWN);
        text[i + 1] = text[i];
        text[i] = kept;
    }
    char *turned = malloc(size + 1);
    size_t head = (size_t)(strchr(text, '.') - text);
    memcpy(turned, text + head + 1, size - head - 1);
    turned[size - head - 1] = '.';
    memcpy(turned + size - head, text, head);
    assert_int_equal(parse(&read, turned, size), LICENCE_E_DAMAGED);
    assert_memory_equal(&read, &untouched, sizeof(read));
    assert_int_equal(parse(&read, text, size), 0);
    free(turned);
    free(text);
    buffer_deinit(&line);
}

/* pasted with what surrounds it, and extended by what does not belong to it */
static void test_surroundings(void **state) {
    (void)state;
    Licence licence = sample(LICENCE_CLOUD);
    Buffer line = {0};
    Buffer pasted = {0};
    sign(&line, &licence);
    buffer_printf(&pasted, " \r\n\t%s \r\n\n", buffer_text(&line));
    assert_int_equal(parse(&licence, pasted.bytes, pasted.size), 0);
    buffer_clear(&pasted);
    buffer_printf(&pasted, "\xef\xbb\xbf%s\r\n", buffer_text(&line));
    assert_int_equal(parse(&licence, pasted.bytes, pasted.size), 0);
    static const char *const added[] = {"=", ".", "A", " A", "\0", "\v"};
    for (size_t i = 0; i < sizeof(added) / sizeof(added[0]); i++) {
        buffer_clear(&pasted);
        buffer_put(&pasted, line.bytes, line.size - 1);
        buffer_put(&pasted, added[i], added[i][0] ? strlen(added[i]) : 1);
        assert_int_equal(parse(&licence, pasted.bytes, pasted.size), LICENCE_E_DAMAGED);
    }
    buffer_deinit(&pasted);
    buffer_deinit(&line);
}

/* a payload that is well signed and says something odd */
static int parse_payload(const char *json) {
    Buffer line = {0};
    Licence read = {0};
    json_t *payload = json_loads(json, 0, NULL);
    assert_non_null(payload);
    assert_int_equal(token_sign(&line, payload, vendor.secret_key), 0);
    json_decref(payload);
    int r = parse(&read, line.bytes, line.size);
    buffer_deinit(&line);
    return r;
}

#define CLAIMS(kid, rest)                                                                          \
    "{\"v\":1,\"kid\":\"" kid "\",\"id\":\"x\",\"customer\":\"y\",\"iat\":1,\"nbf\":1" rest "}"

static void test_payloads(void **state) {
    (void)state;
    static const struct {
        const char *json;
        int r;
    } cases[] = {
        {CLAIMS("test-1", ",\"kind\":\"cloud\""), 0},
        {CLAIMS("test-1", ",\"kind\":\"cloud\",\"colour\":[1,{}]"), 0},
        {CLAIMS("other", ",\"kind\":\"cloud\""), LICENCE_E_UNKNOWN},
        {CLAIMS("", ",\"kind\":\"cloud\""), LICENCE_E_DAMAGED},
        {CLAIMS("test-1", ""), LICENCE_E_FOREIGN},
        {CLAIMS("test-1", ",\"kind\":\"gold\""), LICENCE_E_FOREIGN},
        {CLAIMS("test-1", ",\"kind\":\"cloud\",\"probes\":-1"), LICENCE_E_FOREIGN},
        {CLAIMS("test-1", ",\"kind\":\"cloud\",\"probes\":4294967296"), LICENCE_E_FOREIGN},
        {CLAIMS("test-1", ",\"kind\":\"cloud\",\"probes\":\"5\""), LICENCE_E_FOREIGN},
        {CLAIMS("test-1", ",\"kind\":\"cloud\",\"exp\":1e300"), LICENCE_E_FOREIGN},
        {CLAIMS("test-1", ",\"kind\":\"hub\",\"system\":\"weir1-0-0-0-0-abcd\""),
         LICENCE_E_FOREIGN},
        {CLAIMS("test-1", ",\"kind\":\"cloud\",\"v\":2"), LICENCE_E_FOREIGN},
        {CLAIMS("test-1", ",\"kind\":\"cloud\",\"customer\":\"a\\nb\""), LICENCE_E_FOREIGN},
        {CLAIMS("test-1", ",\"kind\":\"cloud\",\"id\":\"\""), LICENCE_E_FOREIGN},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        if (parse_payload(cases[i].json) != cases[i].r)
            fail_msg("%s is not %d", cases[i].json, cases[i].r);
}

static void test_judged(void **state) {
    (void)state;
    const SystemId same = machine((const char *const[]){"a", "b", "c", "d"});
    const SystemId two = machine((const char *const[]){"a", NULL, "c", "x"});
    const SystemId one = machine((const char *const[]){"a", "x", "x", "x"});
    const SystemId none = machine((const char *const[]){NULL, NULL, NULL, "d"});
    const struct {
        const char *name;
        LicenceKind kind;
        bool probe;
        int64_t now_s;
        const SystemId *here;
        LicenceState state;
        const char *says;
    } cases[] = {
        {"cloud", LICENCE_CLOUD, false, NOW, &none, LICENCE_VALID, "valid until 2027-04-25"},
        {"too early", LICENCE_CLOUD, false, NOW - 1, &none, LICENCE_NOT_YET, "clock"},
        {"last second", LICENCE_CLOUD, false, END - 1, &none, LICENCE_VALID, "valid"},
        {"grace begins", LICENCE_CLOUD, false, END, &none, LICENCE_GRACE, "30 more days"},
        {"grace ends", LICENCE_CLOUD, false, END + 30 * DAY - 1, &none, LICENCE_GRACE,
         "1 more day"},
        {"over", LICENCE_CLOUD, false, END + 30 * DAY, &none, LICENCE_EXPIRED, "ask for a new"},
        {"year 2040", LICENCE_CLOUD, false, 2208988800, &none, LICENCE_EXPIRED, "expired"},
        {"cloud on a probe", LICENCE_CLOUD, true, NOW, &none, LICENCE_OTHER_PROGRAM, "on the hub"},
        {"probe's on a hub", LICENCE_PROBE, false, NOW, &same, LICENCE_OTHER_PROGRAM, "probe"},
        {"hub here", LICENCE_HUB, false, NOW, &same, LICENCE_VALID, "valid"},
        {"two facts", LICENCE_HUB, false, NOW, &two, LICENCE_VALID, "valid"},
        {"one fact", LICENCE_HUB, false, NOW, &one, LICENCE_OTHER_MACHINE, "1 match"},
        {"container", LICENCE_PROBE, true, NOW, &none, LICENCE_OTHER_MACHINE, "cloud licence"},
        {"probe here", LICENCE_PROBE, true, NOW, &same, LICENCE_VALID, "valid"},
        {"elsewhere, and over", LICENCE_HUB, false, END * 2ll, &one, LICENCE_OTHER_MACHINE,
         "match"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        Reason line = {""};
        Licence licence = sample(cases[i].kind);
        LicencePlace place = {
            .probe = cases[i].probe, .now_s = cases[i].now_s, .here = cases[i].here};
        LicenceState found = licence_judge(&licence, &place, &line);
        if (found != cases[i].state || !strstr(line.text, cases[i].says))
            fail_msg("%s: %s, %s", cases[i].name, licence_state_name(found), line.text);
    }
}

static void test_revoked(void **state) {
    (void)state;
    cleanup(revocations_freep) Revocations *list = revocations_new();
    cleanup(revocations_freep) Revocations *read = NULL;
    Buffer line = {0};
    Reason reason = {""};
    for (unsigned i = 0; i < 1000; i++) {
        char id[16];
        (void)snprintf(id, sizeof(id), "L-%u", i);
        assert_int_equal(revocations_add(list, id), 0);
    }
    assert_int_equal(revocations_add(list, "L-1"), 0);
    assert_int_equal(revocations_sign(&line, list, "test-1", NOW, vendor.secret_key), 0);
    assert_int_equal(revocations_parse(&read, (const char *)line.bytes, line.size, &keys, &reason),
                     0);
    assert_int_equal(revocations_count(read), 1000);
    assert_int_equal(revocations_number(read), 1);
    assert_true(revocations_has(read, "L-999"));
    assert_false(revocations_has(read, "L-1000"));
    assert_false(revocations_has(NULL, "L-1"));
    Licence licence = sample(LICENCE_CLOUD);
    const SystemId here = {0};
    LicencePlace place = {.now_s = NOW, .here = &here, .revoked = read};
    assert_int_equal(licence_judge(&licence, &place, &reason), LICENCE_REVOKED);

    /* neither is one taken for the other */
    assert_int_equal(parse(&licence, line.bytes, line.size), LICENCE_E_FOREIGN);
    buffer_clear(&line);
    sign(&line, &licence);
    Revocations *none = NULL;
    assert_int_equal(revocations_parse(&none, (const char *)line.bytes, line.size, &keys, &reason),
                     REVOCATIONS_E_FOREIGN);
    assert_null(none);
    buffer_deinit(&line);
}

static void test_clock(void **state) {
    (void)state;
    LicenceClock clock = {0};
    Licence licence = sample(LICENCE_CLOUD);
    licence_clock_see(&clock, &licence);
    assert_int_equal(licence_clock_now(&clock, NOW - DAY, false), NOW); /* it was issued at NOW */
    assert_int_equal(licence_clock_now(&clock, NOW + 9 * DAY, true), NOW + 9 * DAY);
    static const int64_t back[] = {3600, 2 * DAY, 730 * DAY};
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(licence_clock_now(&clock, NOW + 9 * DAY - back[i], true), NOW + 9 * DAY);
    /* set to 2040 by hand: so long only */
    assert_int_equal(licence_clock_now(&clock, 2208988800, false), 2208988800);
    assert_int_equal(licence_clock_now(&clock, NOW + 9 * DAY + 1, false), NOW + 9 * DAY + 1);
    /* set to 2040 by a mad time server: until a licence comes that is newer than any before */
    assert_int_equal(licence_clock_now(&clock, 2208988800, true), 2208988800);
    licence_clock_see(&clock, &licence);
    assert_int_equal(licence_clock_now(&clock, NOW + 10 * DAY, true), 2208988800);
    licence.issued_s = NOW + 10 * DAY;
    licence_clock_see(&clock, &licence);
    assert_int_equal(licence_clock_now(&clock, NOW + 10 * DAY + 5, true), NOW + 10 * DAY + 5);
}

static void test_dates(void **state) {
    (void)state;
    static const struct {
        const char *text;
        int64_t time_s;
    } good[] = {{"2027-01-15", 1800000000 - 28800},
                {"2027-01-15T08:00:00Z", 1800000000},
                {"1970-01-02", DAY},
                {"2100-02-28", 4107456000}};
    static const char *const bad[] = {
        "",         "2027",       "2027-02-30",          "2027-1-1x",   "27-01-01",
        "tomorrow", "1960-01-01", "2027-01-15T08:00:00", " 2027-01-15 "};
    char text[24];
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        int64_t time_s = 0;
        assert_true(licence_read_date(&time_s, good[i].text));
        assert_int_equal(time_s, good[i].time_s);
        assert_string_equal(licence_date(text, time_s), good[i].text);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        int64_t time_s = 7;
        if (licence_read_date(&time_s, bad[i]))
            fail_msg("'%s' is taken for a date", bad[i]);
        assert_int_equal(time_s, 7);
    }
}

static void test_fast(void **state) {
    (void)state;
    enum { N = 200 };
    Licence licence = sample(LICENCE_HUB);
    Buffer line = {0};
    sign(&line, &licence);
    uint64_t begin_ms = clock_monotonic_ms();
    for (size_t i = 0; i < N; i++)
        assert_int_equal(parse(&licence, line.bytes, line.size), 0);
    uint64_t took_ms = clock_monotonic_ms() - begin_ms;
    print_message("%.3f ms a verification\n", (double)took_ms / N);
    assert_true(WEIR_SANITIZED || took_ms < N); /* 1 ms each */
    buffer_deinit(&line);
}

static void test_key_file(void **state) {
    (void)state;
    char folder[] = "/tmp/weir-licence-XXXXXX";
    char path[64];
    struct stat st;
    Reason reason = {""};
    VendorSecret read = {0};
    assert_non_null(mkdtemp(folder));
    (void)snprintf(path, sizeof(path), "%s/key", folder);
    assert_int_equal(vendor_secret_save(&vendor, path, "correct horse", &reason), 0);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(vendor_secret_save(&vendor, path, "x", &reason), VENDOR_SECRET_E_REFUSED);
    assert_int_equal(vendor_secret_load(&read, path, "correct horse", &reason), 0);
    assert_memory_equal(&read, &vendor, sizeof(read));
    reason.text[0] = '\0';
    assert_int_equal(vendor_secret_load(&read, path, "wrong horse", &reason),
                     VENDOR_SECRET_E_REFUSED);
    assert_non_null(strstr(reason.text, "passphrase"));

    FILE *file = fopen(path, "r+");
    assert_non_null(file);
    assert_int_equal(fseek(file, -10, SEEK_END), 0);
    assert_int_equal(fputs("0000\n", file) >= 0, 1);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(vendor_secret_load(&read, path, "correct horse", &reason),
                     VENDOR_SECRET_E_REFUSED);
    assert_int_equal(truncate(path, 90), 0);
    assert_int_equal(vendor_secret_load(&read, path, "correct horse", &reason),
                     VENDOR_SECRET_E_REFUSED);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(vendor_secret_load(&read, path, "correct horse", &reason),
                     VENDOR_SECRET_E_REFUSED);
    assert_int_equal(rmdir(folder), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),   cmocka_unit_test(test_changed),
        cmocka_unit_test(test_surroundings), cmocka_unit_test(test_payloads),
        cmocka_unit_test(test_judged),       cmocka_unit_test(test_revoked),
        cmocka_unit_test(test_clock),        cmocka_unit_test(test_dates),
        cmocka_unit_test(test_fast),         cmocka_unit_test(test_key_file),
    };
    return cmocka_run_group_tests(tests, make_vendor, NULL);
}
