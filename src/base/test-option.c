/* SPDX-License-Identifier: Apache-2.0 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/option-example.h"

#define ARGUMENTS 8

typedef struct Case {
    const char *what;
    const char *arguments[ARGUMENTS]; /* "@" stands for the config file */
    const char *file;                 /* its content */
    const char *variable, *content;   /* of the environment */
    const char *refused;              /* the reason, where "@" stands for the file; else: */
    const char *config;               /* what was read, as show() writes it */
} Case;

static const Case cases[] = {
    {"nothing: defaults", {NULL}, .config = "hubs= idle=15 spool=1073741824 format=0"},
    {"letters", {"-i", "eth0"}, .config = "i=eth0 hubs= idle=15 spool=1073741824 format=0"},
    {"joined", {"-ieth0"}, .config = "i=eth0 hubs= idle=15 spool=1073741824 format=0"},
    {"letter, equals", {"-i=eth0"}, .config = "i=eth0 hubs= idle=15 spool=1073741824 format=0"},
    {"bundle", {"-vpi-"}, .config = "v p i=- hubs= idle=15 spool=1073741824 format=0"},
    {"minus", {"-i", "-"}, .config = "i=- hubs= idle=15 spool=1073741824 format=0"},
    {"long", {"--idle-timeout", "7"}, .config = "hubs= idle=7 spool=1073741824 format=0"},
    {"long, equals", {"--idle-timeout=7"}, .config = "hubs= idle=7 spool=1073741824 format=0"},
    {"flag, no", {"-v", "--verbose=no"}, .config = "hubs= idle=15 spool=1073741824 format=0"},
    {"list and alias",
     {"--ntopng", "a, b", "--zmq=c,"},
     .config = "hubs=a|b|c| idle=15 spool=1073741824 format=0"},
    {"suffix", {"--spool-size=3k"}, .config = "hubs= idle=15 spool=3072 format=0"},
    {"word", {"--zmq-format", "IPFIX"}, .config = "hubs= idle=15 spool=1073741824 format=2"},

    {"file",
     {"@"},
     .file = "# as nProbe has it\n\n-i=eno1\n--ntopng=\"tcp://h:5556\" # hub\n--zmq-probe-mode=\r\n"
             "--zmq-encryption-key='a#b'\n-d 30\n--zmq-format ipfix\n  --verbose",
     .config = "v p i=eno1 key=a#b hubs=tcp://h:5556| idle=30 spool=1073741824 format=2"},
    {"file of another system: byte order mark, CR LF after a flag",
     {"@"},
     .file = "\xef\xbb\xbf-i=eno1\r\n\r\n--zmq-probe-mode\r\n--idle-timeout=30\r\n",
     .config = "p i=eno1 hubs= idle=30 spool=1073741824 format=0"},
    {"file: a hash inside",
     {"@"},
     .file = "-i=a#b\n",
     .config = "i=a#b hubs= idle=15 "
               "spool=1073741824 format=0"},
    {"command line beats file, lists are replaced",
     {"@", "-d", "9", "--ntopng=x"},
     .file = "-d=30\n--ntopng=a\n--ntopng=b\n-i=f\n",
     .config = "i=f hubs=x| idle=9 spool=1073741824 format=0"},
    {"file beats environment",
     {"@"},
     .file = "-d=30\n",
     .variable = "WEIR_EXAMPLE_IDLE_TIMEOUT",
     .content = "20",
     .config = "hubs= idle=30 spool=1073741824 format=0"},
    {"environment beats default",
     {NULL},
     .variable = "WEIR_EXAMPLE_ZMQ_PROBE_MODE",
     .content = "yes",
     .config = "p hubs= idle=15 spool=1073741824 format=0"},
    {"environment, empty",
     {NULL},
     .variable = "WEIR_EXAMPLE_IDLE_TIMEOUT",
     .content = "",
     .config = "hubs= idle=15 spool=1073741824 format=0"},

    {"twice",
     {"-d1", "--idle-timeout=1"},
     .refused = "--idle-timeout is given more than once (command line); give the one that counts"},
    {"twice in a file",
     {"@"},
     .file = "-i=a\n-v\n-i=b\n",
     .refused = "--interface is given more than once (@:3); give the one that counts"},
    {"unknown, near",
     {"--ntopgn=x"},
     .refused = "unknown option --ntopgn (command line); did you mean --ntopng?"},
    {"unknown, far",
     {"--blue-moon"},
     .refused = "unknown option --blue-moon (command line); weir-example --help lists them"},
    {"unknown letter",
     {"-vQ"},
     .refused = "unknown option -Q (command line); weir-example --help lists them"},
    {"unknown in file",
     {"@"},
     .file = "-v\n--idle-timeot=3",
     .refused = "unknown option --idle-timeot (@:2); did you mean --idle-timeout?"},
    {"unknown letter in file",
     {"@"},
     .file = "-Q=1\n",
     .refused = "unknown option -Q (@:1); weir-example --help lists them"},
    {"range",
     {"-d0"},
     .refused = "--idle-timeout does not take '0' (command line); accepted is 1 to 3600 s"},
    {"range in file",
     {"@"},
     .file = "#\n-d=3601\n",
     .refused = "--idle-timeout does not take '3601' (@:2); accepted is 1 to 3600 s"},
    {"range in environment",
     {NULL},
     .variable = "WEIR_EXAMPLE_IDLE_TIMEOUT",
     .content = "-1",
     .refused = "--idle-timeout does not take '-1' (environment variable "
                "WEIR_EXAMPLE_IDLE_TIMEOUT); accepted is 1 to 3600 s"},
    {"not a number",
     {"-d", "7s"},
     .refused = "--idle-timeout does not take '7s' (command line); accepted is 1 to 3600 s"},
    {"too large",
     {"--spool-size", "99999999999G"},
     .refused = "--spool-size does not take '99999999999G' (command line); accepted is 1K to "
                "4T bytes, K, M, G or T may follow"},
    {"word",
     {"--zmq-format=xml"},
     .refused = "--zmq-format does not take 'xml' (command line); accepted is one of auto, tlv, "
                "ipfix"},
    {"no value", {"-i"}, .refused = "--interface needs a value (command line); accepted is NAME"},
    {"value forgotten",
     {"-i", "--verbose"},
     .refused = "--interface needs a value (command line); accepted is NAME"},
    {"empty value",
     {"@"},
     .file = "--ntopng=\n",
     .refused = "--ntopng needs a value (@:1); accepted is ENDPOINT, several separated by commas"},
    {"only commas",
     {"--ntopng", " , ,"},
     .refused = "--ntopng does not take ' , ,' (command line); accepted is ENDPOINT, several "
                "separated by commas"},
    {"flag with a value",
     {"--verbose=2"},
     .refused = "--verbose does not take '2' (command line); accepted is no value, or yes or no"},
    {"replaced",
     {"-P", "/tmp"},
     .refused = "--dump-path is not an option of weir-example (command line): use --json FILE"},
    {"quote not closed",
     {"@"},
     .file = "-i=\"eno1\n",
     .refused = "@:1: '-i=\"eno1' is not understood; accepted is -x=value, --option=value or "
                "--flag, # begins a comment"},
    {"words in a file",
     {"@"},
     .file = "interface eno1\n",
     .refused = "@:1: 'interface eno1' is not understood; accepted is -x=value, --option=value or "
                "--flag, # begins a comment"},
    {"two plain arguments",
     {"a.conf", "b.conf"},
     .refused = "'b.conf' is one argument too many: only one config file (a.conf) may be named"},
    {"no such file",
     {"/nonexistent.conf"},
     .refused = "cannot read /nonexistent.conf: No such file or directory"},
};

static void show(const Example *c, char *text, size_t size) {
    int n = snprintf(text, size, "%s%s%s%s%s%s%s%shubs=", c->verbose ? "v " : "",
                     c->probe_mode ? "p " : "", c->interface ? "i=" : "",
                     c->interface ? c->interface : "", c->interface ? " " : "",
                     c->key ? "key=" : "", c->key ? c->key : "", c->key ? " " : "");
    for (size_t i = 0; i < c->hubs.n; i++)
        n += snprintf(text + n, size - (size_t)n, "%s|", c->hubs.values[i]);
    (void)snprintf(text + n, size - (size_t)n, " idle=%u spool=%llu format=%d", c->idle_s,
                   (unsigned long long)c->spool_bytes, c->format);
}

static void write_file(char *path, const char *text) {
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    assert_int_equal(close(fd), 0);
}

/* "@" becomes the path */
static void expand(char *out, size_t size, const char *text, const char *path) {
    const char *at = strchr(text, '@');
    if (at)
        (void)snprintf(out, size, "%.*s%s%s", (int)(at - text), text, path, at + 1);
    else
        (void)snprintf(out, size, "%s", text);
}

static void check(const Case *c) {
    char path[] = "/tmp/weir-option-XXXXXX";
    if (c->file)
        write_file(path, c->file);
    if (c->variable)
        assert_int_equal(setenv(c->variable, c->content, 1), 0);

    char storage[ARGUMENTS][64];
    char name[] = "weir-example";
    char *argv[ARGUMENTS + 1] = {name};
    int argc = 1;
    for (; argc < ARGUMENTS && c->arguments[argc - 1]; argc++) {
        expand(storage[argc], sizeof(storage[argc]), c->arguments[argc - 1], path);
        argv[argc] = storage[argc];
    }
    Example config;
    Reason reason = {""};
    cleanup(option_set_freep) OptionSet *set = NULL;
    int r = option_read(&set, &example_program, &config, argc, argv, stdout, &reason);

    char expected[512];
    char got[512];
    expand(expected, sizeof(expected), c->refused ? c->refused : c->config, path);
    if (r == 0)
        show(&config, got, sizeof(got));
    else
        (void)snprintf(got, sizeof(got), "%s", reason.text);
    if (strcmp(got, expected) != 0)
        print_message("in '%s'\n", c->what);
    assert_string_equal(got, expected);
    assert_int_equal(r, c->refused ? OPTION_E_USAGE : 0);

    if (c->file)
        (void)unlink(path);
    if (c->variable)
        (void)unsetenv(c->variable);
}

static void test_cases(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        check(&cases[i]);
}

static void test_notices(void **state) {
    (void)state;
    char *argv[] = {(char[]){"weir-example"}, (char[]){"-w1"}, (char[]){"--hash-size=2"},
                    (char[]){"-v"}, NULL};
    assert_int_equal(setenv("WEIR_EXAMPLE_COLOUR", "blue", 1), 0);
    Example config;
    cleanup(option_set_freep) OptionSet *set = NULL;
    assert_int_equal(option_read(&set, &example_program, &config, 4, argv, stdout, NULL), 0);
    (void)unsetenv("WEIR_EXAMPLE_COLOUR");

    const char *const *lines = NULL;
    assert_int_equal(option_notices(set, &lines), 2);
    assert_string_equal(lines[0], "environment variable WEIR_EXAMPLE_COLOUR names no option: "
                                  "ignored");
    assert_string_equal(lines[1], "--hash-size (command line) is accepted and ignored: the flow "
                                  "table has a fixed size");
    assert_true(option_given(set, "verbose"));
    assert_false(option_given(set, "idle-timeout"));
    assert_false(option_given(set, "no-such"));
}

static void read_printed(const char *argument, char *text, size_t size) {
    char *argv[] = {(char[]){"weir-example"}, (char[]){"-v"}, strdup(argument), NULL};
    FILE *out = tmpfile();
    Example config;
    OptionSet *set = NULL;
    assert_int_equal(option_read(&set, &example_program, &config, 3, argv, out, NULL),
                     OPTION_E_DONE);
    assert_null(set);
    rewind(out);
    text[fread(text, 1, size - 1, out)] = '\0';
    (void)fclose(out);
    free(argv[2]);
}

static void test_built_in(void **state) {
    (void)state;
    static char text[16384];
    read_printed("--version", text, sizeof(text));
    assert_string_equal(text, "weir-example " WEIR_VERSION "\n");

    static const char *const helped[] = {
        "weir-example: shows what options can be\n\n  weir-example -i NAME --ntopng ENDPOINT\n",
        "\nInput:\n  -i, --interface NAME",
        "      --ntopng ENDPOINT       Hub to deliver to. (repeatable; also --zmq)\n",
        "Silence after which a flow ends. (1 to 3600; default 15 s)\n",
        "(1K to 4T; default 1G bytes)\n",
        "(auto, tlv, ipfix; default auto)\n",
        "Accepted and ignored:\n  -w, --hash-size             the flow table",
        "Replaced:\n  -P, --dump-path             use --json FILE",
    };
    read_printed("-h", text, sizeof(text));
    for (size_t i = 0; i < sizeof(helped) / sizeof(helped[0]); i++)
        if (!strstr(text, helped[i]))
            fail_msg("--help lacks '%s':\n%s", helped[i], text);

    read_printed("--describe", text, sizeof(text));
    assert_non_null(strstr(text, "\"variable\":\"WEIR_EXAMPLE_IDLE_TIMEOUT\""));
    assert_non_null(strstr(text, "\"words\":[\"auto\",\"tlv\",\"ipfix\"]"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cases),
        cmocka_unit_test(test_notices),
        cmocka_unit_test(test_built_in),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
