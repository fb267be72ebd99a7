/* SPDX-License-Identifier: Apache-2.0 */

#include "probe/custom_protos.h"

#include <ndpi_main.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
/* clang-format on */

static int check(Buffer *rules, const char *text, Reason *reason) {
    return custom_protos_check(rules, text, strlen(text), reason);
}

/* what nDPI is given: trimmed, each line with an end, names as it will have them */
static void test_right(void **state) {
    (void)state;
    static const struct {
        const char *text, *given;
    } rows[] = {
        {"", ""},
        {"# a@b\n\n", "\n\n"},
        {"tcp:80@Foo", "tcp:80@Foo\n"},
        {"  tcp:81 ,\ttcp:8181 @ HTTP \r\n", "tcp:81,tcp:8181@HTTP\n"},
        {"udp:1-65535@A\n", "udp:1-65535@A\n"},
        {"ip:213.75.170.11/32:443@C\n", "ip:213.75.170.11/32:443@C\n"},
        {"ip:8.8.8.8:443@C\nip:0.0.0.0/0@D\n", "ip:8.8.8.8:443@C\nip:0.0.0.0/0@D\n"},
        {"host:\"*.a.org\",host:b.org@E\n", "host:\"*.a.org\",host:b.org@E\n"},
        {"tcp:1@My own: app\n", "tcp:1@My_own__app\n"},
        {"ip_risk_mask:10.0.0.0/8=0\n", "ip_risk_mask:10.0.0.0/8=0\n"},
        {"host_risk_mask:\".home\"=12\n", "host_risk_mask:\".home\"=12\n"},
        {"trusted_issuer_dn:\"CN=1, O=Code42\"\n", "trusted_issuer_dn:\"CN=1, O=Code42\"\n"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        Buffer rules = {0};
        Reason reason = {""};
        assert_int_equal(check(&rules, rows[i].text, &reason), 0);
        assert_string_equal(buffer_text(&rules), rows[i].given);
        buffer_deinit(&rules);
    }
}

static void test_wrong(void **state) {
    (void)state;
    static const struct {
        const char *text, *line, *accepted;
    } rows[] = {
        {"rubbish\n", "line 1: 'rubbish' ", "then @PROTOCOL"},
        {"#\n\nrubbish@Foo", "line 3: 'rubbish' ", "before @PROTOCOL"},
        {"tcp:80@Foo\n:\n", "line 2: ':' ", "@PROTOCOL"},
        {"@", "line 1: '' ", "1 to 63 characters"},
        {"@Foo", "line 1: '' ", "before @PROTOCOL"},
        {"tcp:80@", "line 1: '' ", "1 to 63 characters"},
        {"tcp:80,,udp:80@X", "line 1: '' ", "before @PROTOCOL"},
        {"tcp:0@X", "'tcp:0' ", "from 1 to 65535"},
        {"tcp:65536@X", "'tcp:65536' ", "from 1 to 65535"},
        {"udp:9-8@X", "'udp:9-8' ", "the lower first"},
        {"udp:9-@X", "'udp:9-' ", "the lower first"},
        {"tcp:http@X", "'tcp:http' ", "from 1 to 65535"},
        {"ip:300.1.1.1@X", "'ip:300.1.1.1' ", "an IPv4 address"},
        {"ip:1.2.3.4/33@X", "'ip:1.2.3.4/33' ", "an IPv4 address"},
        {"ip:1.2.3.4/@X", "'ip:1.2.3.4/' ", "an IPv4 address"},
        {"ip:1.2.3.4:0@X", "'ip:1.2.3.4:0' ", "an IPv4 address"},
        {"ip:2001:db8::1@X", "'ip:2001:db8::1' ", "no IPv6"},
        {"host:@X", "'host:' ", "a name in quotes"},
        {"host:\"\"@X", "'host:\"\"' ", "a name in quotes"},
        {"host:\"a b\"@X", "'host:\"a b\"' ", "a name in quotes"},
        {"ip_risk_mask:10.0.0.0/8=0xff", "'ip_risk_mask:10.0.0.0/8=0xff' ", "decimal"},
        {"ip_risk_mask:10.0.0.0/8", "'ip_risk_mask:10.0.0.0/8' ", "decimal"},
        {"host_risk_mask:=0", "'host_risk_mask:=0' ", "decimal"},
        {"trusted_issuer_dn:CN=1", "'trusted_issuer_dn:CN=1' ", "in quotes"},
        {"trusted_issuer_dn:\"", "'trusted_issuer_dn:\"' ", "in quotes"},
        {"\x7f"
         "ELF\x01\x02",
         "'?ELF?", "a file of text"},
        {"tcp:80@aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
         "line 1: 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'... ",
         "1 to 63 characters"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        Buffer rules = {0};
        Reason reason = {""};
        assert_int_equal(check(&rules, rows[i].text, &reason), CUSTOM_PROTOS_E_REFUSED);
        if (!strstr(reason.text, rows[i].line) || !strstr(reason.text, rows[i].accepted))
            fail_msg("%s: %s", rows[i].text, reason.text);
        buffer_deinit(&rules);
    }
}

static void test_cut_in_a_nul(void **state) {
    (void)state;
    Buffer rules = {0};
    Reason reason = {""};
    assert_int_equal(custom_protos_check(&rules, "tcp:80@A\0B\n", 11, &reason),
                     CUSTOM_PROTOS_E_REFUSED);
    buffer_deinit(&rules);
}

/* --- nDPI itself --- */

typedef struct Loading {
    char path[64];
    FILE *file;
    struct ndpi_detection_module_struct *module;
    Reason reason;
} Loading;

static void loading_open(Loading *l) {
    *l = (Loading){.path = "/tmp/weir-protos-XXXXXX"};
    const int fd = mkstemp(l->path);
    assert_true(fd >= 0);
    l->file = fdopen(fd, "w");
    assert_non_null(l->file);
    l->module = ndpi_init_detection_module(ndpi_no_prefs);
    assert_non_null(l->module);
}

static int loading_end(Loading *l) {
    assert_int_equal(fclose(l->file), 0);
    int r = custom_protos_load(l->module, l->path, &l->reason);
    ndpi_exit_detection_module(l->module);
    assert_int_equal(unlink(l->path), 0);
    return r;
}

static void test_room(void **state) {
    (void)state;
    for (int over = 0; over < 2; over++) {
        Loading l;
        loading_open(&l);
        const int n = NDPI_MAX_NUM_CUSTOM_PROTOCOLS - 1 + over;
        for (int i = 0; i < n; i++)
            (void)fprintf(l.file, "tcp:%d@My own %d\n", 20000 + i, i);
        assert_int_equal(loading_end(&l), over ? CUSTOM_PROTOS_E_REFUSED : 0);
        char line[64];
        (void)snprintf(line, sizeof(line), ", line %d: nDPI has room for %d protocols", n,
                       NDPI_MAX_NUM_CUSTOM_PROTOCOLS - 1);
        assert_int_equal(strstr(l.reason.text, line) != NULL, over);
    }
}

/* too many: nDPI says so on standard output, which others may read; they do not see it */
static void test_stdout(void **state) {
    (void)state;
    Loading l;
    struct stat written;
    FILE *aside = tmpfile();
    loading_open(&l);
    for (int i = 0; i < NDPI_MAX_NUM_CUSTOM_PROTOCOLS; i++)
        (void)fprintf(l.file, "udp:%d@Mine%d\n", 20000 + i, i);
    assert_non_null(aside);
    assert_int_equal(fflush(stdout), 0);
    const int kept = dup(STDOUT_FILENO);
    assert_int_equal(dup2(fileno(aside), STDOUT_FILENO), STDOUT_FILENO);
    const int r = loading_end(&l);
    (void)fflush(stdout);
    assert_int_equal(write(STDOUT_FILENO, "ours\n", 5), 5);
    assert_int_equal(dup2(kept, STDOUT_FILENO), STDOUT_FILENO);
    (void)close(kept);
    assert_int_equal(fstat(fileno(aside), &written), 0);
    (void)fclose(aside);
    assert_int_equal(r, CUSTOM_PROTOS_E_REFUSED);
    assert_int_equal(written.st_size, 5);
}

static void test_no_file(void **state) {
    (void)state;
    Reason reason = {""};
    assert_int_equal(custom_protos_load(NULL, "/nonexistent/protos", &reason),
                     CUSTOM_PROTOS_E_REFUSED);
    assert_non_null(strstr(reason.text, "/nonexistent/protos: No such file"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_right),        cmocka_unit_test(test_wrong),
        cmocka_unit_test(test_cut_in_a_nul), cmocka_unit_test(test_room),
        cmocka_unit_test(test_stdout),       cmocka_unit_test(test_no_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
