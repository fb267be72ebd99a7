/* SPDX-License-Identifier: Apache-2.0 */

/* What is sent together arrives one by one, each as long as it was. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "probe/datagrams.h"

static uint8_t bytes[DATAGRAMS_MAX][1400];

static int socket_of(struct sockaddr_in *address) {
    *address =
        (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(*address);
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)address, size), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)address, &size), 0);
    return fd;
}

static void check(const size_t *sizes, size_t n, bool join, size_t together) {
    struct sockaddr_in address;
    struct iovec parts[DATAGRAMS_MAX];
    uint8_t got[2000];
    const int to = socket_of(&address);
    const int from = socket(AF_INET, SOCK_DGRAM, 0);
    assert_int_equal(connect(from, (struct sockaddr *)&address, sizeof(address)), 0);
    for (size_t i = 0; i < n; i++) {
        memset(bytes[i], (int)i + 1, sizeof(bytes[i]));
        parts[i] = (struct iovec){.iov_base = bytes[i], .iov_len = sizes[i]};
    }
    const DatagramsSent sent = datagrams_send(from, parts, n, &join);
    assert_int_equal(sent.n, n);
    if (join)
        assert_int_equal(sent.together, together);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(recv(to, got, sizeof(got), MSG_DONTWAIT), (ssize_t)sizes[i]);
        assert_memory_equal(got, bytes[i], sizes[i]);
    }
    assert_int_equal(recv(to, got, sizeof(got), MSG_DONTWAIT), -1);
    (void)close(to);
    (void)close(from);
}

static void test_sizes(void **state) {
    static const size_t sizes[] = {900, 1400, 1400, 1400, 700, 700, 1400, 3, 3, 2, 1400};
    (void)state;
    check(sizes, 11, true, 1);
    check(sizes, 11, false, 1);
    check(sizes + 1, 4, true, 4);
    check(sizes, 1, true, 1);
}

static void test_many(void **state) {
    size_t sizes[DATAGRAMS_MAX];
    (void)state;
    for (size_t i = 0; i < DATAGRAMS_MAX; i++)
        sizes[i] = 1400;
    check(sizes, DATAGRAMS_MAX, true, DATAGRAMS_MAX);
}

/* nobody listens: the first send goes, the next one hears of it */
static void test_refused(void **state) {
    struct sockaddr_in address;
    bool join = true;
    const struct iovec parts[2] = {{.iov_base = bytes[0], .iov_len = 100},
                                   {.iov_base = bytes[1], .iov_len = 100}};
    (void)state;
    (void)close(socket_of(&address));
    const int from = socket(AF_INET, SOCK_DGRAM, 0);
    assert_int_equal(connect(from, (struct sockaddr *)&address, sizeof(address)), 0);
    const DatagramsSent first = datagrams_send(from, parts, 2, &join);
    assert_int_equal(first.n, first.together);
    assert_int_equal(datagrams_send(from, parts, 2, &join).n, 0);
    assert_int_equal(errno, ECONNREFUSED);
    (void)close(from);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_many),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
