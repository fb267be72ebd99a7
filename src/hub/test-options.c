/* SPDX-License-Identifier: Apache-2.0 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "hub/options.h"

typedef struct ListenCase {
    const char *w;
    const char *W;
    const char *public_address;
    bool login_disabled;
    const char *http;    /* expected "address port" */
    const char *https;   /* "" when it does not listen */
    const char *refused; /* words of the reason, or NULL */
} ListenCase;

static const ListenCase listen_cases[] = {
    {"3000", NULL, NULL, false, "127.0.0.1 3000", "", NULL},
    {"0", "3001", NULL, false, "", "* 3001", NULL},
    {"127.0.0.1:80", "192.0.2.1:443", NULL, false, "127.0.0.1 80", "192.0.2.1 443", NULL},
    {"[::1]:3000", NULL, NULL, false, "::1 3000", "", NULL},
    {":3000", NULL, NULL, false, "127.0.0.1 3000", "", NULL},
    {"localhost:8", "0.0.0.0:9", NULL, false, "127.0.0.1 8", "* 9", NULL},
    {"3000", NULL, "hub.example", false, "127.0.0.1 3000", "* 3001", NULL},
    {"3000", "0", "hub.example", false, "127.0.0.1 3000", "", NULL},
    {"3000", NULL, "hub.example", true, "127.0.0.1 3000", "", NULL},
    {"3000", NULL, "2001:db8::1", false, "127.0.0.1 3000", "* 3001", NULL},
    {"3000", NULL, "https://hub.example", false, "", "", "without scheme"},
    {"3000", NULL, "hub.example:3001", false, "", "", "without scheme"},
    {"3000", NULL, "[2001:db8::1]", false, "", "", "without scheme"},
    {"3000", NULL, "$(id)", false, "", "", "--public-address"},
    {"3000", NULL, "", false, "", "", "--public-address"},
    {"192.0.2.1:3000", NULL, NULL, false, "", "", "loopback only"},
    {"*:3000", NULL, NULL, false, "", "", "loopback only"},
    {"70000", NULL, NULL, false, "", "", "0 to 65535"},
    {"x", NULL, NULL, false, "", "", "[ADDR:]PORT"},
    {"", NULL, NULL, false, "", "", "[ADDR:]PORT"},
    {"0", NULL, NULL, false, "", "", "nobody could reach"},
    {"3000", "3001", NULL, true, "", "", "--disable-login"},
};

static void listen_text(const HubListen *listen, char *text, size_t size) {
    if (listen->port)
        (void)snprintf(text, size, "%s %u", listen->address, listen->port);
    else
        *text = 0;
}

static void test_listen(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof(listen_cases) / sizeof(*listen_cases); i++) {
        const ListenCase *c = &listen_cases[i];
        const HubConfig config = {.http_port = c->w,
                                  .https_port = c->W,
                                  .public_address = c->public_address,
                                  .login_disabled = c->login_disabled};
        HubListen http = {0};
        HubListen https = {0};
        Reason reason = {0};
        const int r = hub_options_listen(&config, &http, &https, &reason);
        assert_int_equal(r, c->refused ? HUB_OPTIONS_E_USAGE : 0);
        if (c->refused) {
            assert_non_null(strstr(reason.text, c->refused));
            assert_int_equal(http.port, 0);
            continue;
        }
        char text[128];
        listen_text(&http, text, sizeof(text));
        assert_string_equal(text, c->http);
        listen_text(&https, text, sizeof(text));
        assert_string_equal(text, c->https);
    }
}

/* a certificate without its key says so */
static void test_certificate_alone(void **state) {
    (void)state;
    const HubConfig config = {.http_port = "3000", .tls_cert = "/x.pem"};
    HubListen http = {0};
    HubListen https = {0};
    Reason reason = {0};
    assert_int_equal(hub_options_listen(&config, &http, &https, &reason), HUB_OPTIONS_E_USAGE);
    assert_non_null(strstr(reason.text, "--tls-key"));
}

/* the whole command line of an ntopng user goes through, with a notice for what is not needed */
static void test_ntopng_line(void **state) {
    (void)state;
    char *argv[] = {(char *)"weir-hub",
                    (char *)"-i",
                    (char *)"tcp://*:5556c",
                    (char *)"-i",
                    (char *)"tcp://*:5558c,tcp://*:5560c",
                    (char *)"-m",
                    (char *)"10.0.0.0/8",
                    (char *)"-e",
                    (char *)"-n",
                    (char *)"1",
                    (char *)"--zmq-encryption",
                    (char *)"-v",
                    (char *)"3",
                    (char *)"-d",
                    (char *)"/x",
                    NULL};
    HubConfig config;
    cleanup(option_set_freep) OptionSet *set = NULL;
    Reason reason = {0};
    const int argc = (int)(sizeof(argv) / sizeof(*argv)) - 1;
    assert_int_equal(option_read(&set, &hub_program, &config, argc, argv, stdout, &reason), 0);
    assert_int_equal(config.interfaces.n, 3);
    assert_string_equal(config.interfaces.values[2], "tcp://*:5560c");
    assert_string_equal(config.data_dir, "/x");
    assert_int_equal(config.verbose, 3);
    assert_true(config.zmq_encryption);
    const char *const *lines = NULL;
    assert_int_equal(option_notices(set, &lines), 3);
}

static void test_refusals(void **state) {
    (void)state;
    static const char *const lines[][3] = {
        {"-I", "tcp://*:9", "--ntopng"},
        {"--nonsense", NULL, "--nonsense"},
        {"--store-memory", "1M", "--store-memory"},
        {"-v", "9", "-v"},
    };
    for (size_t i = 0; i < sizeof(lines) / sizeof(*lines); i++) {
        char *argv[] = {(char *)"weir-hub", (char *)lines[i][0], (char *)lines[i][1], NULL};
        HubConfig config;
        cleanup(option_set_freep) OptionSet *set = NULL;
        Reason reason = {0};
        const int r =
            option_read(&set, &hub_program, &config, lines[i][1] ? 3 : 2, argv, stdout, &reason);
        assert_int_equal(r, OPTION_E_USAGE);
        assert_non_null(strstr(reason.text, lines[i][2]));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_listen),
        cmocka_unit_test(test_certificate_alone),
        cmocka_unit_test(test_ntopng_line),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
