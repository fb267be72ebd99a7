/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Where a hub listens that is given an address, an interface, a name: it is connected to there. The
 * network is one of the test's own, with `lo` and `pair0`, which has an IPv4 address and not before
 * the second test.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <sched.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "channel/hub_link.h"

static bool has_network;

/** runs() - by the shell, in this test's own network */
static bool runs(char *command) {
    char sh[] = "/bin/sh", e[] = "-ec";
    char *const arguments[] = {sh, e, command, NULL};
    pid_t child = 0;
    int status = 0;
    return posix_spawn(&child, sh, NULL, NULL, arguments, environ) == 0 &&
           waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static void run(const char *command) {
    char copy[256];
    (void)snprintf(copy, sizeof(copy), "%s", command);
    if (!runs(copy))
        fail_msg("%s", command);
}

static int enter_network(void **state) {
    (void)state;
    has_network = unshare(CLONE_NEWNET) == 0;
    if (!has_network)
        return 0;
    run("ip link set lo up && ip link add pair0 type veth peer name pair1");
    run("ip link set pair1 up && ip link set pair0 addrgenmode none && ip link set pair0 up");
    return 0;
}

static bool take_batch(void *userdata, HubBatch *batch) {
    (void)userdata, (void)batch;
    return false;
}

/** listen_at() - the hub's answer; its port, or what it said */
static int listen_at(HubLink **linkp, const char *endpoint, uint16_t *portp, Reason *reason) {
    const HubInterfaceConfig interface = {.endpoint = endpoint};
    HubLinkConfig config = {.interfaces = &interface, .n_interfaces = 1, .on_batch = take_batch};
    HubInterfaceStatus status;
    assert_int_equal(key_pair_make(&config.keys), 0);
    assert_int_equal(hub_link_new(linkp, &config, reason), 0);
    const int r = hub_link_start(*linkp, reason);
    if (r)
        return r;
    assert_true(hub_link_interface(*linkp, 0, &status));
    *portp = (uint16_t)strtoul(strrchr(status.endpoint, ':') + 1, NULL, 10);
    assert_int_not_equal(*portp, 0);
    return 0;
}

static bool connects(const char *host, uint16_t port) {
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    const bool is_v4 = inet_pton(AF_INET, host, &v4.sin_addr) == 1;
    if (!is_v4)
        assert_int_equal(inet_pton(AF_INET6, host, &v6.sin6_addr), 1);
    cleanup(closep) int fd = socket(is_v4 ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    return connect(fd, is_v4 ? (const struct sockaddr *)&v4 : (const struct sockaddr *)&v6,
                   is_v4 ? sizeof(v4) : sizeof(v6)) == 0;
}

static void expect_there(const char *endpoint, const char *there, const char *not_there) {
    HubLink *link = NULL;
    Reason reason = {""};
    uint16_t port = 0;
    if (listen_at(&link, endpoint, &port, &reason))
        fail_msg("%s", reason.text);
    assert_true(connects(there, port));
    if (not_there)
        assert_false(connects(not_there, port));
    hub_link_free(link);
}

static void expect_refused(const char *endpoint, const char *line) {
    HubLink *link = NULL;
    Reason reason = {""};
    uint16_t port = 0;
    assert_int_equal(listen_at(&link, endpoint, &port, &reason), HUB_LINK_E_REFUSED);
    assert_string_equal(reason.text, line);
    hub_link_free(link);
}

static void test_loopback(void **state) {
    (void)state;
    expect_there("tcp://127.0.0.1:*c", "127.0.0.1", "127.0.0.2");
    expect_there("tcp://lo:*c", "127.0.0.1", "::1");
    expect_there("tcp://[::1]:*c", "::1", "127.0.0.1");
    expect_there("tcp://*:*c", "127.0.0.1", NULL);
    expect_there("tcp://*:*c", "::1", NULL);
    expect_refused("tcp://nosuch0:9c", "cannot listen on tcp://nosuch0:9: No such device: no "
                                       "network interface has that name, and no host");
    expect_refused("tcp://192.0.2.77:9c", "cannot listen on tcp://192.0.2.77:9: Cannot assign "
                                          "requested address: this machine has no such address");
}

static void test_interface(void **state) {
    (void)state;
    if (!has_network)
        skip(); /* not allowed to make one */
    expect_refused("tcp://pair0:9c", "cannot listen on tcp://pair0:9: Cannot assign requested "
                                     "address: that interface has no address, or that name is "
                                     "another machine's");
    run("ip address add 2001:db8::7/64 dev pair0 nodad");
    expect_there("tcp://pair0:*c", "2001:db8::7", "::1");
    run("ip address add 192.0.2.7/24 dev pair0");
    expect_there("tcp://pair0:*c", "192.0.2.7", "2001:db8::7");
    run("ip address del 127.0.0.1/8 dev lo");
    expect_there("tcp://lo:*c", "::1", "192.0.2.7");
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_loopback),
                                       cmocka_unit_test(test_interface)};
    return cmocka_run_group_tests(tests, enter_network, NULL);
}
