/* SPDX-License-Identifier: Apache-2.0 */

#include "probe/collect_socket.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"

enum {
    RECEIVE_BYTES = 64 << 20, /* asked of the kernel; it gives what it allows */
    RECEIVE_ENOUGH = 8 << 20,
    LISTEN_BACKLOG = 64,
    TRIES = 16, /* for a free port that both protocols have */
};

static bool parse_port(const char *text, uint16_t *portp) {
    char *end = NULL;
    if (text[0] < '0' || text[0] > '9')
        return false;
    const unsigned long port = strtoul(text, &end, 10);
    if (*end || port > UINT16_MAX)
        return false;
    *portp = (uint16_t)port;
    return true;
}

bool collect_endpoint_parse(CollectEndpoint *endpoint, const char *text) {
    CollectEndpoint parsed = {0};
    char host[NET_ADDRESS_TEXT_MAX + 2];
    const char *colon = strrchr(text, ':');
    if (!parse_port(colon ? colon + 1 : text, &parsed.port))
        return false;
    if (colon) {
        const bool brackets = text[0] == '[' && colon > text && colon[-1] == ']';
        const char *from = brackets ? text + 1 : text;
        const size_t n = (size_t)(colon - from) - (brackets ? 1 : 0);
        if (n >= sizeof(host))
            return false;
        memcpy(host, from, n);
        host[n] = 0;
        if (n > 0 && strcmp(host, "*") != 0 && !net_address_parse(&parsed.address, host))
            return false;
    }
    *endpoint = parsed;
    return true;
}

static socklen_t sockaddr_of(const NetAddress *address, bool v6, uint16_t port,
                             struct sockaddr_storage *to) {
    *to = (struct sockaddr_storage){0};
    if (v6) {
        struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)to;
        in6->sin6_family = AF_INET6;
        in6->sin6_port = htons(port);
        memcpy(&in6->sin6_addr, address->bytes, sizeof(in6->sin6_addr));
        return sizeof(*in6);
    }
    struct sockaddr_in *in = (struct sockaddr_in *)to;
    in->sin_family = AF_INET;
    in->sin_port = htons(port);
    memcpy(&in->sin_addr, address->bytes, sizeof(in->sin_addr));
    return sizeof(*in);
}

static uint16_t port_of(int fd) {
    struct sockaddr_storage at = {0};
    socklen_t size = sizeof(at);
    uint16_t port = 0;
    if (getsockname(fd, (struct sockaddr *)&at, &size) == 0)
        (void)collect_peer(&at, &port);
    return port;
}

static int buffer_bytes(int fd) {
    int bytes = RECEIVE_BYTES;
    socklen_t size = sizeof(bytes);
    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes)) != 0)
        (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
    if (getsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, &size) != 0)
        bytes = 0;
    return bytes;
}

static void say_small(int bytes) {
    log_notice("the kernel keeps %d bytes of datagrams waiting at most; sysctl "
               "net.core.rmem_max=67108864 lets a burst wait instead of being dropped",
               bytes);
}

enum { SCATTER_SHIFT = 16 };
static const uint32_t scatter = 0x9e3779b1;

/* what the program below does */
unsigned collect_socket_of(const NetAddress *address, unsigned n) {
    uint32_t folded = 0;
    for (size_t i = 0; i < net_address_bytes(address); i += 4) {
        uint32_t word = 0;
        memcpy(&word, address->bytes + i, sizeof(word));
        folded ^= ntohl(word);
    }
    return (folded * scatter >> SCATTER_SHIFT) % n;
}

/*
 * Which socket of the group takes a datagram: by its source address, IPv4 at 12 of the network
 * header, the halves of IPv6 at 8. Data begins at the UDP payload there; SKF_NET_OFF reaches back.
 */
static bool steer(int fd, unsigned n) {
    const uint32_t net = (uint32_t)SKF_NET_OFF;
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, net),
        BPF_STMT(BPF_ALU | BPF_RSH | BPF_K, 4),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 6, 2, 0),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, net + 12),
        BPF_STMT(BPF_JMP | BPF_JA, 10),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, net + 8),
        BPF_STMT(BPF_MISC | BPF_TAX, 0),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, net + 12),
        BPF_STMT(BPF_ALU | BPF_XOR | BPF_X, 0),
        BPF_STMT(BPF_MISC | BPF_TAX, 0),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, net + 16),
        BPF_STMT(BPF_ALU | BPF_XOR | BPF_X, 0),
        BPF_STMT(BPF_MISC | BPF_TAX, 0),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, net + 20),
        BPF_STMT(BPF_ALU | BPF_XOR | BPF_X, 0),
        BPF_STMT(BPF_ALU | BPF_MUL | BPF_K, scatter),
        BPF_STMT(BPF_ALU | BPF_RSH | BPF_K, SCATTER_SHIFT),
        BPF_STMT(BPF_ALU | BPF_MOD | BPF_K, n),
        BPF_STMT(BPF_RET | BPF_A, 0),
    };
    const struct sock_fprog program = {.len = sizeof(code) / sizeof(code[0]), .filter = code};
    return setsockopt(fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &program, sizeof(program)) == 0;
}

/* what it tells with a datagram: drops before it; of several of one sender and size, which come as
 * one (UDP_GRO, since Linux 5.0), that size */
static void tell_more(int udp) {
    const int one = 1;
    (void)setsockopt(udp, SOL_SOCKET, SO_RXQ_OVFL, &one, sizeof(one));
    (void)setsockopt(udp, IPPROTO_UDP, UDP_GRO, &one, sizeof(one));
}

/* a bound socket, or -1 with errno */
static int open_one(const NetAddress *address, bool v6, int type, uint16_t port, bool share) {
    const int one = 1;
    const int zero = 0;
    struct sockaddr_storage at;
    const socklen_t size = sockaddr_of(address, v6, port, &at);
    const int fd = socket(v6 ? AF_INET6 : AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -1;
    bool good = !share || setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one)) == 0;
    if (v6 && !address->family)
        good = good && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof(zero)) == 0;
    if (type == SOCK_STREAM)
        good = good && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) == 0;
    else
        tell_more(fd);
    good = good && bind(fd, (struct sockaddr *)&at, size) == 0;
    if (type == SOCK_STREAM)
        good = good && listen(fd, LISTEN_BACKLOG) == 0;
    if (good)
        return fd;
    const int error = errno;
    (void)close(fd);
    errno = error;
    return -1;
}

static bool open_pair(const CollectEndpoint *endpoint, bool *v6p, uint16_t port, bool share,
                      CollectPair *pair) {
    const NetAddress *address = &endpoint->address;
    for (int i = 0; i < TRIES; i++) {
        cleanup(closep) int udp = open_one(address, *v6p, SOCK_DGRAM, port, share);
        if (udp < 0 && *v6p && !address->family && errno == EAFNOSUPPORT) {
            *v6p = false; /* a machine without IPv6 */
            continue;
        }
        cleanup(closep) int tcp =
            udp < 0 ? -1 : open_one(address, *v6p, SOCK_STREAM, port_of(udp), share);
        if (tcp >= 0) {
            *pair = (CollectPair){.udp = udp, .tcp = tcp};
            udp = tcp = -1;
            return true;
        }
        if (port || errno != EADDRINUSE)
            return false;
    }
    return false;
}

static void close_pairs(const CollectPair *pairs, unsigned n) {
    const int error = errno;
    for (unsigned i = 0; i < n; i++) {
        (void)close(pairs[i].udp);
        (void)close(pairs[i].tcp);
    }
    errno = error;
}

/* The port alone first: whoever has it already, even one who would share it, is to be told of. */
static bool open_pairs(const CollectEndpoint *endpoint, CollectPair *pairs, unsigned n) {
    bool v6 = endpoint->address.family != 4;
    if (!open_pair(endpoint, &v6, endpoint->port, false, &pairs[0]))
        return false;
    if (n == 1)
        return true;
    const uint16_t port = port_of(pairs[0].udp);
    close_pairs(pairs, 1);
    for (unsigned i = 0; i < n; i++)
        if (!open_pair(endpoint, &v6, port, true, &pairs[i])) {
            close_pairs(pairs, i);
            return false;
        }
    if (steer(pairs[0].udp, n))
        return true;
    close_pairs(pairs, n);
    return false;
}

int collect_socket_group(const CollectEndpoint *endpoint, CollectPair *pairs, unsigned n,
                         CollectGroup *group, Reason *reason) {
    if (!open_pairs(endpoint, pairs, n)) {
        reason_set(reason, "--collector-port %u cannot be opened: %s%s", endpoint->port,
                   strerror(errno),
                   errno == EADDRINUSE ? "; another collector has it, by UDP or by TCP" : "");
        return COLLECT_SOCKET_E_REFUSED;
    }
    int least = RECEIVE_BYTES;
    for (unsigned i = 0; i < n; i++) {
        const int bytes = buffer_bytes(pairs[i].udp);
        least = bytes < least ? bytes : least;
    }
    *group = (CollectGroup){.port = port_of(pairs[0].udp), .large = least >= RECEIVE_ENOUGH};
    if (!group->large)
        say_small(least);
    return 0;
}

NetAddress collect_peer(const struct sockaddr_storage *from, uint16_t *portp) {
    if (from->ss_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)from;
        uint8_t bytes[4];
        memcpy(bytes, &in->sin_addr, sizeof(bytes));
        *portp = ntohs(in->sin_port);
        return net_address_v4(bytes);
    }
    struct sockaddr_in6 in6;
    memcpy(&in6, from, sizeof(in6));
    *portp = ntohs(in6.sin6_port);
    if (IN6_IS_ADDR_V4MAPPED(&in6.sin6_addr))
        return net_address_v4(in6.sin6_addr.s6_addr + 12);
    return net_address_v6(in6.sin6_addr.s6_addr);
}
